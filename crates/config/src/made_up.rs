//! A made-up kind of provider, for the tests of this crate.

use std::{env::VarError, sync::Arc, time::Duration};

use async_trait::async_trait;
use invite_core::{
    Account, BuildContext, Capabilities, CreateCapability, Destination, Fault, InviteProvider,
    Limits, ListQuery, Lookup, ManualClock, NewInvite, Observed, Page, PreparedCall, ProbeReport,
    ProviderError, ProviderKind, Recipient, Reconciliation, Remote, Resolved, SentWith, Status,
    http::CallContext,
    schema::Schema,
    secret::{Credential, SecretRefs},
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{Gate, Released, Rules};

/// A gate for pigeons, with these variables in its environment.
pub(crate) fn gate(environment: &[(&'static str, &'static str)]) -> Gate {
    gate_with(environment, |rules| rules)
}

/// The same with other rules.
pub(crate) fn gate_with(
    environment: &[(&'static str, &'static str)],
    change: impl FnOnce(Rules) -> Rules,
) -> Gate {
    let environment = environment.to_vec();
    let rules = change(Rules {
        lease: Duration::from_secs(60),
        allow_private_hosts: ["10.0.0.7", "127.0.0.1", "localhost", "::1"]
            .map(str::to_owned)
            .into(),
        webhook_private_hosts: Vec::new(),
        allowed_hosts: Vec::new(),
        released: Released::default(),
        environment: Arc::new(move |name| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned()).ok_or(VarError::NotPresent)
        }),
    });
    let kinds = ["pigeon", "dove"].map(|name| Arc::new(kind(name)));
    Gate::new(kinds.into(), rules, Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)))
}

/// A part of the document.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Where it is.
    base_url: Option<String>,
    /// What the pigeon is called by.
    token: Option<SecretRefs>,
    /// What it wears.
    ring: Option<SecretRefs>,
    /// Where it flies to.
    loft: Option<String>,
    /// How far.
    range: Option<i64>,
}

/// The kind, under this name.
fn kind(name: &'static str) -> ProviderKind {
    let schema = Schema::of::<Settings>();
    ProviderKind {
        name,
        capabilities: capabilities(),
        config_schema: schema.document().clone(),
        options_schema: Value::Null,
        account_settings: &["base_url", "loft"],
        default_limits: Limits { timeout: Duration::from_secs(5), ..Limits::default() },
        codes: &[],
        build: Box::new(move |part| build(&schema, part)),
        excerpt: |_, _, _, _| (Value::Null, Value::Null),
        read_back: |_, _, _| SentWith::default(),
    }
}

fn capabilities() -> Capabilities {
    Capabilities {
        create: CreateCapability {
            native_batch: false,
            max_batch: 1,
            idempotent: false,
            required_fields: Vec::new(),
            fields: Vec::new(),
        },
        get: false,
        list: false,
        update_status: Vec::new(),
        revoke: false,
        reconcile: "never".into(),
        approval: false,
    }
}

fn build(schema: &Schema, part: &BuildContext<'_>) -> Result<Arc<dyn InviteProvider>, Vec<Fault>> {
    if part.settings.get("range") == Some(&Value::from(0)) {
        // A defect: it does not say what is wrong.
        return Err(Vec::new());
    }
    let mut faults = schema.check(part.settings);
    let settings = Settings::deserialize(part.settings).map_err(|_| faults.clone())?;
    if settings.base_url.is_some_and(|base_url| !base_url.contains("://")) {
        faults.push(Fault::new("/base_url", "no-url", "told by the gate as well"));
    }
    if settings.range.is_some_and(|range| range % 2 == 1) {
        faults.push(Fault::new("/range", "odd", "pigeons fly even ranges"));
    }
    let mut credential = Credential::new(Vec::new());
    for (secret, at) in [(&settings.token, "/token"), (&settings.ring, "/ring")] {
        match secret.as_ref().map(part.resolve_secret) {
            Some(Ok(resolved)) => credential = resolved,
            Some(Err(fault)) => faults.push(fault.under(at)),
            None => {}
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Arc::new(Loft { capabilities: capabilities(), credential, loft: settings.loft }))
}

/// A provider of the kind.
#[derive(Debug)]
struct Loft {
    capabilities: Capabilities,
    credential: Credential,
    loft: Option<String>,
}

fn unsupported<T>(operation: &str) -> Result<T, ProviderError> {
    Err(ProviderError::unsupported("pigeon", operation))
}

#[async_trait]
impl InviteProvider for Loft {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn resolve(&self, _: &NewInvite) -> Result<Resolved, Vec<Fault>> {
        let Some(scope) = self.loft.clone() else {
            return Err(vec![Fault::new("/options/pigeon/loft", "required", "no loft")]);
        };
        let kind = "pigeon".to_owned();
        let destination = Destination { kind, base_url: "https://pigeon.example".into(), scope };
        Ok(Resolved { destination, call_key: String::new(), params: Value::Null })
    }

    async fn prepare(
        &self,
        _: &CallContext,
        _: &[Recipient],
        _: Timestamp,
    ) -> Result<PreparedCall, ProviderError> {
        unsupported("prepare")
    }

    async fn create(
        &self,
        _: &CallContext,
        _: &PreparedCall,
        _: &[Recipient],
    ) -> Result<Vec<Result<Observed, ProviderError>>, ProviderError> {
        unsupported("create")
    }

    async fn get(&self, _: &CallContext, _: &Remote) -> Result<Observed, ProviderError> {
        unsupported("get")
    }

    async fn list(&self, _: &CallContext, _: &ListQuery) -> Result<Page, ProviderError> {
        unsupported("list")
    }

    async fn update_status(
        &self,
        _: &CallContext,
        _: &Remote,
        _: Status,
    ) -> Result<Observed, ProviderError> {
        unsupported("update")
    }

    async fn revoke(
        &self,
        _: &CallContext,
        _: &Remote,
        _: bool,
    ) -> Result<Observed, ProviderError> {
        unsupported("revoke")
    }

    fn reconcile(&self, _: Lookup) -> Box<dyn Reconciliation> {
        Box::new(Nothing)
    }

    async fn account(&self, _: &CallContext) -> Result<Option<Account>, ProviderError> {
        Ok(None)
    }

    async fn probe(&self, _: &CallContext) -> Result<ProbeReport, ProviderError> {
        unsupported("probe")
    }

    fn credential(&self) -> &Credential {
        &self.credential
    }
}

/// A lookup that cannot be made.
struct Nothing;

#[async_trait]
impl Reconciliation for Nothing {
    async fn step(
        &mut self,
        _: &CallContext,
    ) -> Result<Option<Vec<Vec<invite_core::Sighting>>>, ProviderError> {
        unsupported("look up")
    }
}
