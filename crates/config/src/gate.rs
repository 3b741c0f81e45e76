//! The gate: every document has to pass it before it goes live.
//!
//! It depends only on the text, the rules, and what the secret references lead to at that moment. What depends on the document
//! in force, such as removing a provider that has invites, is not here.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use invite_core::{
    BuildContext, Clock, Destination, Fault, InviteProvider, Invitee, Limits, NewInvite,
    ProviderKind,
    http::{AddressGuard, HttpClient, TlsRoots},
    schema::{Schema, escape, nearest},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    Accounts, Configuration, Environment, Finding, Provider, Released, Severity,
    base_url::{self, Hosts},
    document::{Document, Located},
    limits::LimitsPart,
    process_environment,
    release::Access,
    routes::{self, Route},
    schema,
    secret::{Resolver, SecretFile},
    size::{too_long, too_many},
};

/// The process's settings that a document is checked against.
#[derive(Clone)]
pub struct Rules {
    /// `delivery.lease`; a provider's `timeout` is at most half of it.
    pub lease: Duration,
    /// `server.allow_private_hosts`.
    pub allow_private_hosts: Vec<String>,
    /// `webhooks.allow_private_hosts`.
    pub webhook_private_hosts: Vec<String>,
    /// `providers.allowed_hosts`; empty for any.
    pub allowed_hosts: Vec<String>,
    /// Which secrets documents from the network may use beside those in use.
    pub released: Released,
    /// What resolves `{ env = "NAME" }`.
    pub environment: Environment,
}

impl Rules {
    /// Rules that resolve variables in the environment of this process, allow any public host, and release nothing.
    pub fn new(lease: Duration, allow_private_hosts: Vec<String>) -> Self {
        Self {
            lease,
            allow_private_hosts,
            webhook_private_hosts: Vec::new(),
            allowed_hosts: Vec::new(),
            released: Released::default(),
            environment: process_environment(),
        }
    }
}

/// The result of checking a document.
#[derive(Debug)]
pub struct Checked {
    /// Everything that is wrong or doubtful, in the order of the text.
    pub findings: Vec<Finding>,
    /// What can go live; `None` if a finding is an error.
    pub configuration: Option<Configuration>,
}

/// Checks documents for the kinds of providers that there are.
pub struct Gate {
    kinds: Vec<Arc<ProviderKind>>,
    pub(crate) rules: Rules,
    clock: Arc<dyn Clock>,
    schema: Schema,
}

impl Gate {
    /// A gate for documents with providers of these kinds.
    ///
    /// # Panics
    /// If the schema of a kind is no schema: a defect that every check would show.
    pub fn new(kinds: Vec<Arc<ProviderKind>>, rules: Rules, clock: Arc<dyn Clock>) -> Self {
        let schema = schema::of(&kinds);
        Self { kinds, rules, clock, schema }
    }

    /// The kinds of providers that there are.
    pub fn kinds(&self) -> &[Arc<ProviderKind>] {
        &self.kinds
    }

    /// The JSON Schema (2020-12) of the whole document.
    pub fn schema(&self) -> Value {
        self.schema.document().clone()
    }

    /// Checks a document that comes from the gateway's machine, and builds its providers. Reads the secrets
    /// that it refers to and blocks meanwhile; sends nothing, and changes nothing.
    pub fn check(&self, text: &str) -> Checked {
        self.check_with(text, &Access::Any)
    }

    /// The same for a document that comes over the network, which may use only the secrets that are released
    /// to it, and those that the document `in_force` names for the same use.
    pub fn check_from_network(&self, text: &str, in_force: &str) -> Checked {
        self.check_with(text, &Access::over_network(in_force, &self.rules.released))
    }

    fn check_with(&self, text: &str, access: &Access<'_>) -> Checked {
        if let Some(found) = too_long(text) {
            return Checked { findings: vec![found], configuration: None };
        }
        let document = match Document::parse(text) {
            Ok(document) => document,
            Err(findings) => return Checked { findings, configuration: None },
        };
        let mut report = Report::new(&document);
        // All of them: which are reported is decided when the others are known.
        report.errors(self.schema.check_up_to(document.value(), usize::MAX));
        let parts = document.members("/providers");
        if let Some(found) = too_many(&document, parts.len()) {
            return Checked { findings: document.findings(vec![found]), configuration: None };
        }
        report.errors(parts.iter().filter_map(|(name, part)| misspelt_kind(name, part)));
        // What the system trusts is read once for each document.
        let roots = TlsRoots::read();
        let built: Vec<_> = parts
            .iter()
            .filter_map(|(name, part)| self.build(name, part, access, &roots, &mut report))
            .collect();
        let names: Vec<_> = parts.iter().map(|(name, _)| *name).collect();
        let routes = check_routes(&names, &mut report);
        report.warnings(check_destinations(built.iter().map(|(provider, _)| provider)));
        if names.is_empty() {
            let detail = "there is no provider yet, so no invite can be accepted";
            report.warnings([Fault::new("/providers", "no-providers", detail)]);
        }
        let passes = report.found.iter().all(|found| found.severity != Severity::Error);
        let findings = document.findings(report.found);
        let configuration = passes.then(|| {
            let (providers, files): (Vec<_>, Vec<_>) = built.into_iter().unzip();
            let names = providers.iter().map(|provider| provider.name.clone());
            let files = names.zip(files).flat_map(|(name, files)| {
                files.into_iter().map(move |file| (name.clone(), Arc::new(file)))
            });
            let files = files.collect();
            Configuration::new(text, document.value().clone(), providers, routes, files)
        });
        Checked { findings, configuration }
    }

    /// Which account each provider of a document is, whether the document passes or not; none if it cannot be parsed.
    pub fn accounts(&self, text: &str) -> Accounts {
        let document = Document::parse(text);
        Accounts::of(document.as_ref().map_or(&Value::Null, Document::value), &self.kinds)
    }

    /// Builds one provider; `None` if something is wrong, which the report says then.
    fn build(
        &self,
        name: &str,
        part: &Value,
        access: &Access<'_>,
        roots: &Result<TlsRoots, String>,
        report: &mut Report<'_>,
    ) -> Option<(Arc<Provider>, Vec<SecretFile>)> {
        let at = format!("/providers/{}", escape(name));
        if let Some(detail) = routes::invalid_name(name) {
            report.errors([Fault::new(&at, "invalid", detail)]);
        }
        let kind = part.get("kind")?.as_str()?;
        let kind = self.kinds.iter().find(|known| known.name == kind)?;
        let enabled = part.get("enabled").and_then(Value::as_bool).unwrap_or(true);
        let settings = schema::settings_of(part);
        let is_loopback = self.check_base_url(&settings, &at, report);
        let guard = AddressGuard::new(&self.rules.allow_private_hosts);
        let http = roots
            .clone()
            .and_then(|roots| HttpClient::with_roots(guard, &roots))
            .map_err(|error| report.errors([Fault::new(&at, "http-client", error)]))
            .ok()?;
        let resolver = Resolver::new(&self.rules.environment, is_loopback, access.of(part));
        let adapter = (kind.build)(&BuildContext {
            name,
            settings: &settings,
            clock: self.clock.clone(),
            http,
            resolve_secret: &|references| resolver.resolve(references),
        });
        let adapter = adapter.map_err(|faults| {
            report.further_errors(faults.into_iter().map(|fault| fault.under(&at)));
            report.need_error(&at);
        });
        let exposed = resolver.check_permissions(&settings);
        report.warnings(exposed.into_iter().map(|fault| fault.under(&at)));
        let limits = self.check_limits(part, &at, kind.default_limits.clone(), report);
        let (mut limits, adapter) = (limits?, adapter.ok()?);
        report.warnings(cap_batch(&mut limits, part, &*adapter).map(|fault| fault.under(&at)));
        report.errors(check_batch(&limits, &*adapter).map(|fault| fault.under(&at)));
        let (name, kind) = (name.to_owned(), kind.clone());
        let (revision, adapter_since, account_since) = (0, 0, 0);
        let provider = Provider {
            name,
            kind,
            enabled,
            limits,
            adapter,
            revision,
            adapter_since,
            account_since,
        };
        Some((Arc::new(provider), resolver.into_files()))
    }

    /// Reports what is wrong with `base_url`, if there is one; returns whether that is on loopback, where literal secrets are
    /// taken.
    fn check_base_url(&self, settings: &Value, at: &str, report: &mut Report<'_>) -> bool {
        let Some(base_url) = settings.get("base_url").and_then(Value::as_str) else { return false };
        let Rules { allow_private_hosts: private, allowed_hosts: allowed, .. } = &self.rules;
        if let Err(fault) = base_url::check(base_url, Hosts { private, allowed }) {
            report.errors([fault.under(&format!("{at}/base_url"))]);
        }
        base_url::is_on_loopback(base_url)
    }

    fn check_limits(
        &self,
        part: &Value,
        at: &str,
        defaults: Limits,
        report: &mut Report<'_>,
    ) -> Option<Limits> {
        let at = format!("{at}/limits");
        let limits: LimitsPart = match part.get("limits") {
            Some(limits) => report.read(limits, &at)?,
            None => LimitsPart::default(),
        };
        let (limits, faults) = limits.resolve(defaults, self.rules.lease);
        report.errors(faults.into_iter().map(|fault| fault.under(&at)));
        Some(limits)
    }
}

/// The fault that a member probably was to be `kind`, where that is missing. Of other members only the kind tells what they
/// should be.
fn misspelt_kind(provider: &str, part: &Value) -> Option<Fault> {
    let members = part.as_object().filter(|part| !part.contains_key("kind"))?;
    let known = |name: &&String| schema::COMMON.contains(&name.as_str());
    let is_near = |name: &&String| nearest(name, schema::COMMON) == Some("kind");
    let name = members.keys().filter(|name| !known(name)).find(is_near)?;
    let at = format!("/providers/{}/{}", escape(provider), escape(name));
    let fault = Fault::new(at, "unknown-member", format!("`{name}` is not known here"));
    Some(Fault { suggestion: Some("kind".to_owned()), ..fault })
}

/// Lowers `max_batch` for a provider that takes one invite at a time; a warning if more was asked.
fn cap_batch(limits: &mut Limits, part: &Value, adapter: &dyn InviteProvider) -> Option<Fault> {
    let create = &adapter.capabilities().create;
    let is_set = part.pointer("/limits/max_batch").is_some();
    if !is_set {
        limits.max_batch = limits.max_batch.min(create.max_batch);
    }
    if create.native_batch || limits.max_batch <= 1 {
        return None;
    }
    limits.max_batch = 1;
    let detail = "the provider takes one invite in one call, so 1 is used; max_in_flight is what \
                  sets how many are sent side by side";
    Some(Fault::new("/limits/max_batch", "out-of-range", detail))
}

/// The fault that a call may hold more invites than the adapter can read the answer to: all of them would be unknown.
fn check_batch(limits: &Limits, adapter: &dyn InviteProvider) -> Option<Fault> {
    let most = adapter.capabilities().create.max_batch;
    let detail = format!(
        "`max_batch` of {} is more than {most}, which is as many invites as a call to this kind may \
         hold for its answer to be read to the end",
        limits.max_batch
    );
    (limits.max_batch > most).then(|| Fault::new("/limits/max_batch", "out-of-range", detail))
}

fn check_routes(providers: &[&str], report: &mut Report<'_>) -> Vec<Route> {
    let document = report.document.value();
    let routes: Vec<_> =
        document.get("routes").and_then(Value::as_array).into_iter().flatten().collect();
    let parts: Vec<_> = routes
        .iter()
        .enumerate()
        .filter_map(|(index, value)| {
            Some((index, report.read(value, &format!("/routes/{index}"))?))
        })
        .collect();
    let all_read = parts.len() == routes.len();
    let (routes, faults) = routes::resolve(parts, providers);
    // Where a faulty route leads is not known.
    if all_read && faults.is_empty() {
        report.warnings(routes::check_unrouted(&routes, providers));
    }
    report.errors(faults);
    routes
}

/// The warnings about two names for one destination, as far as the settings alone tell: by what destination each gives to an
/// invite with nothing but the person's data.
fn check_destinations<'a>(providers: impl Iterator<Item = &'a Arc<Provider>>) -> Vec<Fault> {
    let text = |text: &str| Some(text.to_owned());
    let invitee = Invitee {
        email: "somebody@example.org".to_owned(),
        first_name: text("Some"),
        last_name: text("Body"),
        phone: text("+15550100000"),
        message: text("-"),
    };
    let sample = NewInvite { invitee, ..NewInvite::default() };
    let mut names: HashMap<Destination, &str> = HashMap::new();
    let mut faults = Vec::new();
    for provider in providers {
        let Ok(resolved) = provider.adapter.resolve(&sample) else { continue };
        let name = &provider.name;
        if let Some(earlier) = names.get(&resolved.destination) {
            let detail = format!(
                "`{name}` and `{earlier}` are two names for one destination; whoever was invited \
                 through one is a duplicate for the other"
            );
            faults.push(Fault::new(
                format!("/providers/{}", escape(name)),
                "same-destination",
                detail,
            ));
        } else {
            names.insert(resolved.destination, name);
        }
    }
    faults
}

struct Report<'a> {
    document: &'a Document<'a>,
    found: Vec<Located>,
    /// The pointers of the errors among them.
    errors_at: BTreeSet<String>,
}

impl<'a> Report<'a> {
    fn new(document: &'a Document<'a>) -> Self {
        Self { document, found: Vec::new(), errors_at: BTreeSet::new() }
    }

    fn errors(&mut self, faults: impl IntoIterator<Item = Fault>) {
        for fault in faults {
            self.errors_at.insert(fault.pointer.clone());
            self.found.push(self.document.locate(Severity::Error, fault));
        }
    }

    fn warnings(&mut self, faults: impl IntoIterator<Item = Fault>) {
        let located = faults.into_iter().map(|f| self.document.locate(Severity::Warning, f));
        self.found.extend(located);
    }

    /// Adds errors, except at places where there is one already: adapters check their schema as well.
    fn further_errors(&mut self, faults: impl IntoIterator<Item = Fault>) {
        let is_known = |fault: &Fault| self.errors_at.contains(&fault.pointer);
        let further: Vec<_> = faults.into_iter().filter(|fault| !is_known(fault)).collect();
        self.errors(further);
    }

    /// A part as its type; `None`, with an error, if it does not fit.
    fn read<T: DeserializeOwned>(&mut self, part: &Value, at: &str) -> Option<T> {
        let read = T::deserialize(part).ok();
        if read.is_none() {
            self.need_error(at);
        }
        read
    }

    /// Makes sure that there is an error at a part that could not be used.
    fn need_error(&mut self, at: &str) {
        let within = format!("{at}/");
        let first_within = self.errors_at.range(within.clone()..).next();
        let has_error = self.errors_at.contains(at)
            || first_within.is_some_and(|pointer| pointer.starts_with(&within));
        if !has_error {
            let detail = "this cannot be read; `config schema` shows what may stand here";
            self.errors([Fault::new(at, "invalid", detail)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, sync::LazyLock};

    use invite_core::text::is_control;
    use proptest::{collection::vec, prelude::*, sample::select};
    use secrecy::ExposeSecret;

    use super::*;
    use crate::{SecretOutcome, made_up};

    /// Severity, place, code, pointer and suggestion of each finding, one line each.
    fn findings(text: &str) -> Vec<String> {
        let checked = made_up::gate(&[("TOKEN", "t0ken")]).check(text);
        let has_error = checked.findings.iter().any(|f| f.severity == Severity::Error);
        assert_eq!(checked.configuration.is_none(), has_error);
        assert!(!format!("{checked:?}").contains("s3cret"), "{checked:?}");
        let line = |f: &Finding| {
            let severity = if f.severity == Severity::Error { "error" } else { "warning" };
            let suggestion = f.suggestion.as_deref().unwrap_or("-");
            format!("{severity} {}:{} {} {} {suggestion}", f.line, f.column, f.code, f.pointer)
        };
        checked.findings.iter().map(line).collect()
    }

    #[test]
    fn a_reference_writes_no_line_of_its_own_into_the_log() {
        for reference in ["{ file = \"/x\\n2026 INFO told\" }", "{ env = \"A\\u001b[31m\" }"] {
            let text = format!("[providers.a]\nkind = \"pigeon\"\ntoken = {reference}\n");
            let findings = made_up::gate(&[]).check(&text).findings;
            let told: Vec<_> = findings.iter().map(|it| it.for_operator().to_string()).collect();
            assert!(findings.iter().any(|it| it.code == "invalid"), "{told:?}");
            assert!(!told.concat().contains(is_control), "{told:?}");
        }
    }

    #[test]
    fn a_document_without_providers_passes_with_a_warning() {
        for text in ["", "# nothing yet\n", "[providers]\n"] {
            let [finding] = &findings(text)[..] else { panic!("{text}") };
            assert!(finding.starts_with("warning 1:") && finding.contains("no-providers"));
        }
    }

    #[test]
    fn a_sound_document_passes_without_a_finding() {
        let text = r#"
[providers.north]
kind = "pigeon"
enabled = false
base_url = "https://pigeon.example/v1"
token = [{ env = "TOKEN" }, { env = "TOKEN" }]
loft = "n"
[providers.north.limits]
timeout = "30s"
max_batch = 1
retry = { first = "2s" }

[providers.south]
kind = "pigeon"
base_url = "http://127.0.0.1:8081"
token = "literal"

[[routes]]
name = "cold"
when = { email_domain = ["example.org"] }
to = ["north"]
[[routes]]
name = "warm"
to = ["south", "north"]
[[routes]]
name = "only-by-name"
to = ["south"]
"#;
        let checked = made_up::gate(&[("TOKEN", "t0ken")]).check(text);
        assert_eq!(checked.findings, []);
        let configuration = checked.configuration.unwrap();
        assert_eq!((configuration.text(), configuration.revision()), (text, 0));
        let north = configuration.provider("north").unwrap();
        assert!(!north.enabled);
        assert_eq!(north.adapter.credential().secrets().len(), 2);
        assert_eq!(north.limits.timeout, Duration::from_secs(30));
        let south = configuration.provider("south").unwrap();
        assert!(south.enabled);
        assert_eq!(south.limits.timeout, Duration::from_secs(5), "the kind's own default");
        assert_eq!(south.limits.max_batch, 1, "what a pigeon takes in one call");
        assert!(!format!("{configuration:?}").contains("literal"));
    }

    #[test]
    fn a_document_of_nothing_but_mistakes_is_refused_with_the_first_of_them() {
        let unknown: String = (0..2000).map(|number| format!("k{number} = 1\n")).collect();
        for (text, line) in [
            (format!("[providers.a]\nkind = \"pigeon\"\n{unknown}"), 3),
            (unknown.clone(), 1),
            (unknown.replace('1', "1979-05-27"), 1),
            (unknown.replace("= 1", "= ="), 1),
        ] {
            let checked = made_up::gate(&[]).check(&text);
            assert!(checked.configuration.is_none());
            assert_eq!(checked.findings.len(), 101);
            assert_eq!(checked.findings[0].line, line);
            let last = &checked.findings[100];
            assert_eq!((&*last.code, last.severity), ("more-findings", Severity::Error));
        }
    }

    #[test]
    fn a_text_that_is_no_toml_is_refused_at_its_line_and_column() {
        let text = "[providers.a]\nkind = \"pigeon\"\ntoken = s3cret\n";
        assert_eq!(findings(text), ["error 3:9 syntax  -"]);
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest_one() {
        let text = r#"
[provider.a]
[providers.a]
kind = "pigeon"
enabeld = true
lofts = "a"
token = { envv = "TOKEN" }
limits = { time_out = "5s", retry = { frist = "1s" }, MAX_BACKLOG = 1 }
[[routes]]
too = "a"
to = "a"
when = { label = {} }
"#;
        assert_eq!(
            findings(text),
            [
                "error 2:2 unknown-member /provider providers",
                "error 5:1 unknown-member /providers/a/enabeld enabled",
                "error 6:1 unknown-member /providers/a/lofts loft",
                "error 7:11 unknown-member /providers/a/token/envv env",
                "error 8:12 unknown-member /providers/a/limits/time_out timeout",
                "error 8:39 unknown-member /providers/a/limits/retry/frist first",
                "error 8:55 unknown-member /providers/a/limits/MAX_BACKLOG max_backlog",
                "error 10:1 unknown-member /routes/0/too to",
                "error 12:10 unknown-member /routes/0/when/label labels",
            ]
        );
    }

    #[test]
    fn a_provider_needs_a_known_kind_and_a_name_fit_for_addresses() {
        let text = r#"
[providers.a]
[providers.b]
kind = "pidgeon"
whatever = 1
[providers."c/d"]
kind = "pigeon"
"#;
        assert_eq!(
            findings(text),
            [
                "error 2:1 required /providers/a/kind -",
                "warning 2:1 unrouted-provider /providers/a -",
                "warning 3:1 unrouted-provider /providers/b -",
                "error 4:8 not-allowed /providers/b/kind pigeon",
                "error 6:1 invalid /providers/c~1d -",
                "warning 6:1 unrouted-provider /providers/c~1d -",
            ]
        );
    }

    #[test]
    fn a_misspelt_kind_is_told_as_such() {
        for name in ["knd", "Kind", "KIND", "kinds"] {
            let text = format!(
                "routes = [{{ to = \"a\" }}]\n[providers.a]\nloft = \"x\"\n{name} = \"pigeon\"\n"
            );
            let found = findings(&text);
            let told = format!("error 4:1 unknown-member /providers/a/{name} kind");
            assert_eq!(found, ["error 2:1 required /providers/a/kind -", &told]);
        }
    }

    #[test]
    fn the_adapters_own_faults_are_told_once_at_their_place() {
        let text = r#"[[routes]]
to = "a"
[providers.a]
kind = "pigeon"
range = 7
base_url = "pigeon.example"
token = { env = "NOWHERE" }
limits = { linger = "2s" }
"#;
        assert_eq!(
            findings(text),
            [
                "error 5:9 odd /providers/a/range -",
                "error 6:12 invalid /providers/a/base_url -",
                "error 7:17 secret-unresolved /providers/a/token/env -",
                "error 8:21 out-of-range /providers/a/limits/linger -",
            ]
        );
        let text = text.replace("range = 7", "range = 'far'");
        assert_eq!(findings(&text)[0], "error 5:9 wrong-type /providers/a/range -");
        assert_eq!(findings(&text).len(), 3);
    }

    #[test]
    fn a_provider_that_cannot_be_built_never_passes() {
        let text = "routes = [{ to = \"a\" }]\n[providers.a]\nkind = \"pigeon\"\nrange = 0\n";
        assert_eq!(findings(text), ["error 2:1 invalid /providers/a -"]);
    }

    #[test]
    fn literal_secrets_are_refused_except_on_loopback() {
        for (base_url, expected) in [
            ("https://pigeon.example", vec!["error 5:9 literal-secret /providers/a/token -"]),
            ("https://10.0.0.7", vec!["error 5:9 literal-secret /providers/a/token -"]),
            ("http://localhost:1", vec![]),
        ] {
            let text = format!(
                "routes = [{{ to = \"a\" }}]\n[providers.a]\nkind = \"pigeon\"\n\
                 base_url = \"{base_url}\"\ntoken = \"s3cret\""
            );
            assert_eq!(findings(&text), expected, "{base_url}");
        }
    }

    #[test]
    fn a_base_url_is_refused_unless_it_is_public_https_or_loopback() {
        for (base_url, expected) in [
            ("http://pigeon.example", "not-https /providers/a/base_url https://pigeon.example"),
            ("https://169.254.169.254", "private-host /providers/a/base_url -"),
            ("https://u:s3cret@pigeon.example", "literal-secret /providers/a/base_url -"),
            ("pigeon.example", "invalid /providers/a/base_url -"),
        ] {
            let text = format!(
                "routes = [{{ to = \"a\" }}]\n[providers.a]\nkind = \"pigeon\"\n\
                 base_url = \"{base_url}\""
            );
            assert_eq!(findings(&text), [format!("error 4:12 {expected}")]);
        }
    }

    #[test]
    fn limits_out_of_range_are_refused_and_batches_are_lowered_where_there_are_none() {
        let text = r#"routes = [{ to = "a" }]
[providers.a]
kind = "pigeon"
[providers.a.limits]
timeout = "31s"
linger = 2
max_in_flight = 8.5
"#;
        assert_eq!(
            findings(text),
            [
                "error 6:10 wrong-type /providers/a/limits/linger -",
                "error 7:17 wrong-type /providers/a/limits/max_in_flight -",
            ]
        );
        let text = text.replace("linger = 2\nmax_in_flight = 8.5", "max_batch = 2");
        assert_eq!(
            findings(&text),
            [
                "error 5:11 out-of-range /providers/a/limits/timeout -",
                "warning 6:13 out-of-range /providers/a/limits/max_batch -",
            ]
        );
    }

    #[test]
    fn a_batch_is_no_larger_than_the_adapter_can_read_the_answer_to() {
        let text = "[providers.a]\nkind = \"pigeon\"\nbase_url = \"http://127.0.0.1:8081\"";
        let checked = made_up::gate(&[]).check(text);
        let adapter = checked.configuration.unwrap().provider("a").unwrap().adapter.clone();
        let limits = |max_batch| Limits { max_batch, ..Limits::default() };
        assert!(check_batch(&limits(1), &*adapter).is_none());
        let fault = check_batch(&limits(2), &*adapter).unwrap();
        assert_eq!(
            (fault.pointer.as_str(), fault.code.as_str()),
            ("/limits/max_batch", "out-of-range")
        );
    }

    const TWO: &str = "[providers.ada]\nkind = \"pigeon\"\n[providers.bob]\nkind = \"pigeon\"\n";

    #[test]
    fn routes_lead_to_providers_by_their_names() {
        let text = format!(
            "{TWO}{}",
            r#"[[routes]]
name = "ada"
when.labels.x = "x"
to = ["bobb", "pair"]
[[routes]]
name = "pair"
when.labels.x = "y"
to = []
[[routes]]
name = "pair"
when.email_domain = ["example.org", "who@example.com"]
to = "zoë"
"#
        );
        assert_eq!(
            findings(&text),
            [
                "error 6:8 name-clash /routes/0/name -",
                "error 8:7 unknown-provider /routes/0/to/0 bob",
                "error 8:15 unknown-provider /routes/0/to/1 -",
                "error 12:6 too-few /routes/1/to -",
                "error 14:8 name-clash /routes/2/name -",
                "error 15:37 invalid /routes/2/when/email_domain/1 example.com",
                "error 16:6 unknown-provider /routes/2/to -",
            ]
        );
    }

    #[test]
    fn a_route_that_no_invite_reaches_is_refused() {
        let text = format!(
            "{TWO}{}",
            r#"[[routes]]
when = { labels = { a = ["1", "2"] } }
to = ["ada", "bob"]
[[routes]]
name = "equal"
when = { labels = { a = ["2", "1"] } }
to = ["ada"]
[[routes]]
when = { labels = { a = "1", b = "2" }, email_domain = "example.org" }
to = ["ada"]
[[routes]]
when = { labels = { a = "3" } }
to = ["ada"]
[[routes]]
to = ["ada"]
[[routes]]
name = "late"
when = { labels = { c = "1" } }
to = ["ada"]
[[routes]]
name = "by-name"
to = ["bob"]
[[routes]]
when = {}
to = ["bob"]
"#
        );
        assert_eq!(
            findings(&text),
            [
                "error 8:1 unreachable-route /routes/1 -",
                "error 12:1 unreachable-route /routes/2 -",
                "error 20:1 unreachable-route /routes/5 -",
                "error 27:1 unreachable-route /routes/7 -",
            ]
        );
    }

    #[test]
    fn a_route_for_labels_that_no_invite_can_have_is_refused() {
        let (key, value) = ("k".repeat(65), "v".repeat(257));
        let text = format!(
            "[providers.ada]\nkind = \"pigeon\"\n[[routes]]\nto = \"ada\"\n\
             [routes.when.labels]\n\"a:b\" = \"x\"\n\"\" = \"x\"\n{key} = \"x\"\n\
             long = [\"x\", \"{value}\"]\n\"a\\u0000b\" = \"x\"\n"
        );
        assert_eq!(
            findings(&text),
            [
                "error 6:9 invalid /routes/0/when/labels/a:b -".to_owned(),
                "error 7:6 invalid /routes/0/when/labels/ -".to_owned(),
                format!("error 8:69 too-long /routes/0/when/labels/{key} -"),
                "error 9:14 too-long /routes/0/when/labels/long/1 -".to_owned(),
                r"error 10:14 invalid /routes/0/when/labels/a\u0000b -".to_owned(),
            ]
        );
        let labels = |count: u32| {
            let labels: String = (0..count).map(|n| format!("l{n} = \"x\"\n")).collect();
            findings(&format!(
                "[providers.ada]\nkind = \"pigeon\"\n[[routes]]\nto = \"ada\"\n\
                 [routes.when.labels]\n{labels}"
            ))
        };
        assert_eq!(labels(16), Vec::<String>::new());
        assert_eq!(labels(17), ["error 5:1 too-many /routes/0/when/labels -"]);
    }

    #[test]
    fn what_is_hardly_meant_is_a_warning() {
        let text = r#"[providers.ada]
kind = "pigeon"
loft = "one"
[providers.bob]
kind = "pigeon"
loft = "one"
[providers.cyd]
kind = "pigeon"
[[routes]]
to = ["ada", "bob"]
"#;
        assert_eq!(
            findings(text),
            [
                "warning 4:1 same-destination /providers/bob -",
                "warning 7:1 unrouted-provider /providers/cyd -",
            ]
        );
    }

    #[test]
    fn a_part_of_the_wrong_type_is_refused_and_nothing_else_is_made_of_it() {
        let text = "routes = 5\n[providers]\na = 1\n";
        assert_eq!(
            findings(text),
            [
                "error 1:10 wrong-type /routes -",
                "error 3:5 wrong-type /providers/a -",
                "warning 3:5 unrouted-provider /providers/a -",
            ]
        );
    }

    #[test]
    fn a_secret_file_is_warned_about_if_others_may_read_it_and_read_again_when_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "old\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let text = format!(
            "routes = [{{ to = \"a\" }}]\n[providers.a]\nkind = \"pigeon\"\n\
             token = {{ file = {:?} }}\n",
            path.to_str().unwrap()
        );
        assert_eq!(findings(&text), ["warning 4:18 secret-exposed /providers/a/token/file -"]);

        let configuration = made_up::gate(&[]).check(&text).configuration.unwrap();
        let secret = configuration.provider("a").unwrap().adapter.credential().secrets()[0].clone();
        assert_eq!(configuration.refresh_secrets(), []);
        let next = directory.path().join("next");
        fs::write(&next, "new").unwrap();
        fs::rename(&next, &path).unwrap();
        let changes = configuration.refresh_secrets();
        assert_eq!(changes.len(), 1);
        assert_eq!((&*changes[0].provider, &changes[0].outcome), ("a", &SecretOutcome::Replaced));
        assert_eq!(secret.current().1.expose_secret(), "new");
    }

    #[test]
    fn a_finding_reads_as_one_line_with_its_place_first() {
        let text = "[providers.a]\nkind = \"pidgeon\"\n[[routes]]\nto = \"a\"\n";
        let checked = made_up::gate(&[]).check(text);
        assert_eq!(
            checked.findings[0].to_string(),
            "line 2, column 8: error at /providers/a/kind: the value is not one of \"pigeon\", \
             \"dove\" (did you mean `pigeon`?)"
        );
    }

    #[test]
    fn the_published_schema_is_the_one_enforced() {
        let gate = made_up::gate(&[]);
        let schema = Schema::new(gate.schema());
        let fits = serde_json::json!({
            "providers": {"a": {"kind": "pigeon", "enabled": true, "loft": "x", "limits": {}}},
            "routes": [{"name": "r", "when": {"labels": {"a": ["b"]}}, "to": ["a"]}],
        });
        assert_eq!(schema.check(&fits), []);
        let unfit = serde_json::json!({"providers": {"a": {"kind": "pigeon", "loot": "x"}}});
        assert_eq!(schema.check(&unfit)[0].suggestion.as_deref(), Some("loft"));
    }

    proptest! {
        #[test]
        fn any_text_gets_its_findings_within_its_lines(
            pieces in vec(
                prop_oneof![
                    3 => select(&[
                        "[", "]", "[[", "]]", "\n", "\r\n", " = ", ".", "\"", "{", "}", ",", "#",
                        "providers", "routes", "kind", "name", "when", "labels", "to", "limits",
                        "timeout", "retry", "'pigeon'", "'a'", "a", "1", "-0.5", "2026-01-01", "ä",
                    ][..]).prop_map(str::to_owned),
                    1 => any::<String>(),
                ],
                0..24,
            ),
        ) {
            let text = pieces.concat();
            let lines: Vec<_> = text.split('\n').collect();
            for finding in GATE.check(&text).findings {
                let line = lines.get(finding.line - 1).copied();
                let length = line.map(|line| line.chars().count());
                prop_assert!(length.is_some_and(|length| finding.column <= length + 1));
            }
        }
    }

    static GATE: LazyLock<Gate> = LazyLock::new(|| made_up::gate(&[]));

    /// The example in the repository, as it is and with what is commented out put to use.
    #[test]
    fn the_example_document_passes_as_it_is_and_is_sound_when_uncommented() {
        let example = include_str!("../../../config/providers.toml");
        let checked = made_up::gate(&[]).check(example);
        assert_eq!(checked.findings.len(), 1, "{:?}", checked.findings);
        assert_eq!(checked.findings[0].code, "no-providers");
        let is_setting = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
        let used: Vec<_> = example.lines().filter(is_setting).map(|line| &line[1..]).collect();
        let used = used.join("\n");
        let document = Document::parse(&used).map_err(|found| format!("{found:?}\n{used}"));
        let kinds: Vec<_> = document
            .unwrap()
            .members("/providers")
            .into_iter()
            .filter_map(|(_, part)| part.get("kind")?.as_str().map(str::to_owned))
            .collect();
        assert!(kinds.len() > 1, "{kinds:?}");
    }
}
