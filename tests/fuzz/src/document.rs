//! The provider document, as it comes through the API, from a file or from another replica.

use std::{
    env::VarError,
    sync::{Arc, LazyLock},
    time::Duration,
};

use invite_config::{Gate, Rules, Severity, line_of};
use invite_core::SystemClock;

use crate::assert_plain;

/// What every secret is that a document refers to.
const SECRET: &str = "kept-9f3c1d77a2b04e5f8c6d";

static GATE: LazyLock<Gate> = LazyLock::new(|| {
    let kinds = invite_kinds::all();
    let environment = |name: &str| match name {
        "KEY" => Ok(SECRET.to_owned()),
        "P256" => Ok("9720de87f61537e481f95f4433bed97b9d60719457c4dd20dac4bbf377f59c69".to_owned()),
        _ => Err(VarError::NotPresent),
    };
    let rules = Rules::new(Duration::from_secs(60), vec!["inside.example".to_owned()]);
    Gate::new(kinds, Rules { environment: Arc::new(environment), ..rules }, Arc::new(SystemClock))
});

/// A provider document before the gate.
pub fn document(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    // Which files there are is the machine's; and what stands in the document itself is no secret.
    if text.contains("file") || text.contains(SECRET) {
        return;
    }
    let checked = GATE.check(text);
    let errors = checked.findings.iter().filter(|it| it.severity == Severity::Error).count();
    assert_eq!(errors == 0, checked.configuration.is_some(), "{:?}", checked.findings);
    assert!(checked.findings.len() <= 101, "{} findings", checked.findings.len());
    let lines = text.matches('\n').count() + 1;
    for found in &checked.findings {
        assert!((1..=lines).contains(&found.line) && found.column > 0, "{found:?}");
        assert_plain("a finding", &found.to_string());
        assert!(!found.to_string().contains(SECRET), "{found:?}");
    }
    assert!(checked.findings.is_sorted_by_key(|found| (found.line, found.column)));
    if let Some(configuration) = &checked.configuration {
        assert_eq!(configuration.text(), text);
        assert!(!format!("{configuration:?}").contains(SECRET));
        for provider in configuration.providers() {
            let at = format!("/providers/{}", provider.name.replace('~', "~0").replace('/', "~1"));
            assert!(line_of(text, &at).is_some_and(|line| line <= lines), "{at}");
        }
    }
    let _ = GATE.accounts(text);
}
