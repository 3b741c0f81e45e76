//! `config check`, `config show` and `config schema`.

use invite_config::{Checked, Finding, Severity};
use serde_json::json;

use crate::{
    apply, args::ConfigCommand, compose, failure::Failure, print, print_json, probe,
    settings::Loaded,
};

pub async fn run(loaded: &Loaded, command: ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check { file, probe, json } => check(loaded, file, probe, json).await,
        ConfigCommand::Apply(args) => apply::run(&loaded.settings, args).await,
        ConfigCommand::Show { json } => show(loaded, json),
        ConfigCommand::Schema => schema(loaded),
    }
}

async fn check(
    loaded: &Loaded,
    file: Option<std::path::PathBuf>,
    probe: bool,
    json: bool,
) -> Result<(), Failure> {
    let path = file.unwrap_or_else(|| loaded.settings.providers.file.clone());
    let text = compose::read_document(&path)?.ok_or_else(|| {
        Failure::wrong(format!(
            "there is no provider document {}: name one, or set providers.file",
            path.display()
        ))
    })?;
    let Checked { findings, configuration } =
        compose::gate(&loaded.settings, compose::machine())?.check(&text);
    let findings: Vec<_> = findings.iter().map(Finding::for_operator).collect();
    let errors = findings.iter().filter(|f| f.severity == Severity::Error).count();
    let probes = match (&configuration, probe) {
        (Some(configuration), true) => probe::all(configuration).await,
        _ => Vec::new(),
    };
    if json {
        print_json(
            &json!({ "passes": configuration.is_some(), "findings": findings, "probes": probes }),
        )?;
    } else {
        for finding in &findings {
            print(&format!("{}: {finding}\n", path.display()))?;
        }
        for probe in &probes {
            print(&format!("{probe}\n"))?;
        }
    }
    if errors > 0 {
        return Err(Failure::wrong(format!("{}: {errors} error(s)", path.display())));
    }
    probe::verdict(&probes)?;
    if !json {
        print(&format!("{}: passes\n", path.display()))?;
    }
    Ok(())
}

fn show(loaded: &Loaded, json: bool) -> Result<(), Failure> {
    let settings = loaded.effective();
    if json {
        return print_json(&json!({ "settings": settings }));
    }
    for setting in settings {
        print(&format!("{} = {}  # {}\n", setting.key, setting.value, setting.origin))?;
    }
    Ok(())
}

fn schema(loaded: &Loaded) -> Result<(), Failure> {
    print_json(&json!({
        "gateway": invite_core::schema::Schema::of::<crate::settings::Settings>().document(),
        "providers": compose::gate(&loaded.settings, compose::machine())?.schema(),
    }))
}
