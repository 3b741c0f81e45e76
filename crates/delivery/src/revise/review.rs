//! What would become of a document if it went live now: what the gate said, what it changes, and what
//! the live document and the work of its providers make of it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use invite_config::{Accounts, Checked, Configuration, Finding, Provider, Severity, diff};
use invite_core::{Fault, MAX_FAULTS, schema::escape};
use invite_store::Store;
use tokio::time::timeout_at;

use crate::lane::{Budget, ProbeResult};

/// How many errors of a refused document are named in one line.
const MAX_SHOWN: usize = 5;

/// How many credentials are checked at once, and for how long all of them at most, so that no document takes all
/// connections that this process may have.
const PROBES: usize = 16;
const PROBE_TIME: Duration = Duration::from_secs(60);

/// How long the shortest diff of two documents is looked for.
const DIFF_TIME: Duration = Duration::from_millis(500);

/// A document that is to go live.
pub(super) struct Candidate<'a> {
    pub text: &'a str,
    /// The result of the gate.
    pub checked: Checked,
    /// What it changes in the live document.
    pub diff: String,
    /// Whether it comes from the file.
    pub is_file: bool,
}

/// What would become of a document if it went live now.
pub struct Review {
    /// Everything that is wrong or doubtful, in the order of the text.
    pub findings: Vec<Finding>,
    /// What it changes in the live document, unified; empty if it is the same.
    pub diff: String,
    /// The providers that it adds, removes or changes; none if it does not pass the gate.
    pub changed: Vec<String>,
    /// The providers that it takes away: those that are gone, and those that are another account.
    pub(super) removed: Vec<String>,
    /// What would go live, if the gate let it through.
    pub(super) configuration: Option<Configuration>,
}

impl Review {
    /// `before` are the accounts that may have work.
    pub(super) async fn of(
        candidate: Candidate<'_>,
        live: &Configuration,
        before: &Accounts,
        store: &Store,
    ) -> Result<Self, invite_store::Error> {
        let Candidate { text, checked, diff, is_file } = candidate;
        let Checked { findings, configuration } = checked;
        let is_without_providers =
            configuration.as_ref().is_some_and(|next| next.providers().next().is_none());
        if !before.is_empty() && is_without_providers && (is_file || text.trim().is_empty()) {
            let fault = Fault::new("", "empty-document", empty(is_file));
            let findings = vec![Finding::unplaced(Severity::Error, fault)];
            return Ok(Self::refused(findings, diff));
        }
        let Some(configuration) = configuration else {
            return Ok(Self::refused(findings, diff));
        };
        let changed = configuration.changed_since(live);
        let removed = before.removed_by(&configuration.accounts());
        let unfinished = store.unfinished(&removed).await?;
        let configuration = configuration.adopting(live);
        let work: Vec<Finding> = unfinished
            .iter()
            .map(|(name, count)| has_work(&configuration, before, name, *count))
            .collect();
        let configuration = Some(configuration);
        let mut review = Self { findings, diff, changed, removed, configuration };
        review.add(work);
        Ok(review)
    }

    /// The review of a document that cannot be used at all.
    fn refused(findings: Vec<Finding>, diff: String) -> Self {
        let (changed, removed) = (Vec::new(), Vec::new());
        Self { findings, diff, changed, removed, configuration: None }
    }

    /// Whether it could go live.
    pub fn passes(&self) -> bool {
        self.configuration.is_some() && !self.findings.iter().any(is_error)
    }

    /// The providers whose credentials would be checked, each with its base URL.
    pub(super) fn to_be_probed(&self) -> BTreeMap<String, String> {
        let Some(configuration) = self.configuration.as_ref().filter(|_| self.passes()) else {
            return BTreeMap::new();
        };
        let base_url = |provider: &Arc<Provider>| {
            let part = configuration.document().pointer("/providers")?.get(&provider.name)?;
            part.get("base_url")?.as_str().map(str::to_owned)
        };
        let new = configuration.providers().filter(is_new);
        new.map(|it| (it.name.clone(), base_url(it).unwrap_or_default())).collect()
    }

    /// Checks the credentials of the adapters that would be new, some at a time. They have no lane yet whose health could
    /// show a failure, so only the rate budget of the name is kept to. A failure is a warning: a credential may be meant
    /// to be good only later, and a provider may be down.
    pub(super) async fn probe(&mut self, budget: impl Fn(&str) -> Arc<Budget>) {
        let Some(configuration) = &self.configuration else { return };
        let end = tokio::time::Instant::now() + PROBE_TIME;
        let new: Vec<_> = configuration.providers().filter(is_new).cloned().collect();
        let probes = new.into_iter().map(|provider| {
            let budget = budget(&provider.name);
            async move {
                let context = budget.context(&provider.limits);
                let probed = timeout_at(end, provider.adapter.probe(&context)).await;
                let (code, what) = match &probed {
                    Ok(Ok(_)) => return None,
                    Ok(Err(error)) => match ProbeResult::of(error) {
                        ProbeResult::Refused => {
                            ("credential-refused", format!("was refused: {error}"))
                        }
                        ProbeResult::Unusable => {
                            ("probe-refused", format!("cannot be used as configured: {error}"))
                        }
                        ProbeResult::NotChecked | ProbeResult::Accepted => {
                            ("credential-not-checked", format!("could not be checked: {error}"))
                        }
                    },
                    Err(_) => {
                        let most = PROBE_TIME.as_secs();
                        let why =
                            format!("was not checked: all of them together may take {most} s");
                        ("credential-not-checked", why)
                    }
                };
                let detail = format!("the credential of `{}` {what}", provider.name);
                Some((provider.name.clone(), code, detail))
            }
        });
        let failed: Vec<_> = stream::iter(probes).buffer_unordered(PROBES).collect().await;
        let warn = |(name, code, detail): (String, &'static str, String)| {
            configuration.finding(Severity::Warning, fault(&name, code, detail))
        };
        let failed = failed.into_iter().flatten().map(warn).collect();
        self.add(failed);
    }

    fn add(&mut self, findings: Vec<Finding>) {
        self.findings.extend(findings);
        // Of very many, errors are told rather than warnings.
        self.findings.sort_by_key(|finding| (!is_error(finding), finding.line, finding.column));
        let left = self.findings.split_off(self.findings.len().min(MAX_FAULTS));
        self.findings.sort_by_key(|finding| (finding.line, finding.column));
        if let (Some(first), Some(last)) = (left.first(), self.findings.last()) {
            let detail = format!("{} more findings are not listed", left.len());
            let fault = Fault::new("", "more-findings", detail);
            let (line, column) = (last.line, last.column);
            let more = Finding { line, column, ..Finding::unplaced(first.severity, fault) };
            self.findings.push(more);
        }
    }
}

impl fmt::Debug for Review {
    /// Without the diff: on loopback a document may hold a literal secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Review")
            .field("findings", &self.findings)
            .field("changed", &self.changed)
            .finish_non_exhaustive()
    }
}

/// Why a document without providers is refused. One may be a file that somebody is still writing, or a
/// template that nobody filled in.
fn empty(is_file: bool) -> &'static str {
    if is_file {
        "the file declares no provider while there are some, as a file does that is still being \
         written; to remove every provider, put a comment in force through the API or the console, \
         or set enabled = false in each"
    } else {
        "the document is empty; to remove every provider, leave a comment in it"
    }
}

/// What a text changes in the live document. It is found on a thread of its own, as long texts take a while.
pub(super) async fn difference(live: &Arc<Configuration>, text: &str) -> String {
    let (live, text) = (live.clone(), text.to_owned());
    let told = tokio::task::spawn_blocking(move || {
        let shown = format!("revision {}", live.revision());
        diff((&shown, live.text()), ("candidate", &text), Instant::now() + DIFF_TIME)
    });
    told.await.unwrap_or_else(|_| "the difference could not be told".to_owned())
}

/// Whether a provider's adapter is in no document that went live.
fn is_new(provider: &&Arc<Provider>) -> bool {
    provider.adapter_since == 0
}

/// The first errors among findings in one line, for whoever runs the gateway.
pub(super) fn operator_errors(findings: &[Finding]) -> String {
    public_errors(&findings.iter().map(Finding::for_operator).collect::<Vec<_>>())
}

/// The same for anybody.
pub(super) fn public_errors(findings: &[Finding]) -> String {
    let errors: Vec<String> =
        findings.iter().filter(|f| is_error(f)).map(ToString::to_string).collect();
    let more = errors.len().saturating_sub(MAX_SHOWN);
    let line = errors.into_iter().take(MAX_SHOWN).collect::<Vec<_>>().join("; ");
    if more > 0 { format!("{line}; and {more} more") } else { line }
}

fn is_error(finding: &Finding) -> bool {
    finding.severity == Severity::Error
}

/// The error that the document takes a provider away that still has work.
fn has_work(next: &Configuration, before: &Accounts, name: &str, count: u64) -> Finding {
    let what = match next.provider(name) {
        Some(_) => {
            let settings = [&["kind"], &before.settings(name)[..]].concat().join(", ");
            format!("`{name}` would be another account ({settings})")
        }
        None => format!("`{name}` would be removed"),
    };
    let detail = format!(
        "{what} while {count} of its invites are not finished (queued, sending, awaiting_approval, or \
         unknown with look-ups left); set enabled = false first, so that no new ones come, and wait"
    );
    next.finding(Severity::Error, fault(name, "has-work", detail))
}

/// A fault of a provider as a whole.
fn fault(provider: &str, code: &str, detail: String) -> Fault {
    Fault::new(format!("/providers/{}", escape(provider)), code, detail)
}
