//! `probe`: the credential check of each configured provider, without side effects.

use std::fmt;

use invite_config::{Configuration, Provider};
use invite_core::http::CallContext;
use invite_delivery::ProbeResult;
use serde_json::json;

use crate::{args::ProbeArgs, compose, failure::Failure, print, print_json, settings::Settings};

#[derive(Debug, serde::Serialize)]
pub struct Probe {
    pub provider: String,
    pub result: ProbeResult,
    pub detail: String,
    /// By how much the provider's clock is ahead of this machine's, if its reply told.
    pub clock_difference_seconds: Option<f64>,
}

/// By how many seconds clocks may differ before the difference is shown.
const TOLERATED_DIFFERENCE: f64 = 30.0;

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.result {
            ProbeResult::Accepted => "ok",
            ProbeResult::Refused => "REFUSED",
            ProbeResult::Unusable => "NOT USABLE AS CONFIGURED",
            ProbeResult::NotChecked => "NOT CHECKED",
        };
        write!(f, "{}: {verdict}: {}", self.provider, self.detail)?;
        match self.clock_difference_seconds {
            Some(seconds) if seconds.abs() > TOLERATED_DIFFERENCE => {
                let side = if seconds > 0.0 { "ahead of" } else { "behind" };
                write!(f, " (its clock is {:.0} s {side} this machine's)", seconds.abs())
            }
            _ => Ok(()),
        }
    }
}

/// Checks the providers of the document that `providers.file` names.
pub async fn run(settings: &Settings, args: ProbeArgs) -> Result<(), Failure> {
    let path = settings.providers.file.display();
    let text = compose::read_document(&settings.providers.file)?.ok_or_else(|| {
        Failure::wrong(format!("there is no provider document {path}: set providers.file"))
    })?;
    let configuration =
        compose::check(&compose::gate(settings, compose::machine())?, &path.to_string(), &text)?;
    let probes = match &args.name {
        Some(name) => {
            let provider = configuration.provider(name);
            let missing = || Failure::wrong(format!("{path} has no provider `{name}`"));
            vec![one(provider.ok_or_else(missing)?).await]
        }
        None => all(&configuration).await,
    };
    if args.json {
        print_json(&json!({ "probes": probes }))?;
    } else {
        for probe in &probes {
            print(&format!("{probe}\n"))?;
        }
    }
    verdict(&probes)
}

/// Fails unless all credentials were accepted.
pub fn verdict(probes: &[Probe]) -> Result<(), Failure> {
    let count = |result| probes.iter().filter(|probe| probe.result == result).count();
    let told = [
        (count(ProbeResult::Refused), "refused"),
        (count(ProbeResult::Unusable), "good, but not usable as configured"),
        (count(ProbeResult::NotChecked), "not checked: the provider did not answer well"),
    ];
    let told = told.into_iter().filter(|(count, _)| *count > 0);
    let told: Vec<_> = told.map(|(count, what)| format!("{count} credential(s) {what}")).collect();
    if told.is_empty() { Ok(()) } else { Err(Failure::failed(told.join(", "))) }
}

/// Checks every provider of a configuration, one after the other.
pub async fn all(configuration: &Configuration) -> Vec<Probe> {
    let mut probes = Vec::new();
    for provider in configuration.providers() {
        probes.push(one(provider).await);
    }
    probes
}

async fn one(provider: &Provider) -> Probe {
    let context = CallContext::new(provider.limits.timeout);
    let (result, detail) = match provider.adapter.probe(&context).await {
        Ok(report) => (ProbeResult::Accepted, report.detail),
        Err(error) => (ProbeResult::of(&error), error.to_string()),
    };
    let difference = context.clock_difference().map(|it| it.proven().as_secs_f64());
    let provider = provider.name.clone();
    Probe { provider, result, detail, clock_difference_seconds: difference }
}
