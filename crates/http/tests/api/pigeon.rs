//! A made-up kind of provider that lives in the process: it takes every invite, except that one with
//! the message `refuse` is refused, one with the message `silence` is never answered, and with one
//! with the message `storm` no pigeon flies.

use std::sync::Arc;

use async_trait::async_trait;
use invite_core::{
    Account, Capabilities, Cause, CreateCapability, Destination, Fault, InviteProvider, Limits,
    ListQuery, Lookup, NewInvite, Observed, Outcome, Page, PreparedCall, ProbeReport,
    ProviderError, ProviderKind, Recipient, Reconciliation, Remote, Resolved, SentWith, Sighting,
    Status, http::CallContext, secret::Credential,
};
use jiff::Timestamp;
use serde_json::{Value, json};

#[derive(Debug)]
struct Loft {
    capabilities: Capabilities,
    credential: Credential,
    name: String,
}

fn capabilities() -> Capabilities {
    Capabilities {
        create: CreateCapability {
            native_batch: true,
            max_batch: 10,
            idempotent: false,
            required_fields: vec!["first_name".into()],
            fields: vec!["email".into(), "first_name".into(), "message".into()],
        },
        get: true,
        list: true,
        update_status: vec![Status::Declined],
        revoke: false,
        reconcile: "never".into(),
        approval: false,
    }
}

/// The kind.
pub fn kind() -> ProviderKind {
    ProviderKind {
        name: "pigeon",
        capabilities: capabilities(),
        config_schema: json!({ "type": "object" }),
        options_schema: json!({ "type": "object" }),
        account_settings: &["loft"],
        default_limits: Limits { requests_per_second: 1000.0, ..Limits::default() },
        codes: &["code"],
        build: Box::new(|part| {
            Ok(Arc::new(Loft {
                capabilities: capabilities(),
                credential: Credential::new(Vec::new()),
                name: part.name.to_owned(),
            }))
        }),
        excerpt: |request, reply, index, _| {
            let part = |text: Option<&str>| {
                let whole: Option<Value> = text.and_then(|text| serde_json::from_str(text).ok());
                whole.and_then(|whole| whole.get(index).cloned()).unwrap_or_default()
            };
            (part(request), part(reply))
        },
        read_back: |_, destination, _| {
            let options = json!({ "loft": destination.scope });
            SentWith::new(&options, None)
        },
    }
}

fn refused() -> ProviderError {
    ProviderError::new(Outcome::Rejected, "the pigeon refused")
        .with_code(Some("NO"))
        .with_status(422)
}

fn seen(provider_ref: Option<String>, status: Status) -> Observed {
    let data = json!({ "code": "s3same", "perch": "3" });
    let data = data.as_object().cloned().unwrap_or_default();
    Observed { data, ..Observed::new(provider_ref, status) }
}

#[async_trait]
impl InviteProvider for Loft {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn resolve(&self, invite: &NewInvite) -> Result<Resolved, Vec<Fault>> {
        if invite.invitee.first_name.is_none() {
            let detail = format!("the provider `{}` needs `first_name`", self.name);
            return Err(vec![Fault::new("/first_name", "required", detail)]);
        }
        let destination = Destination {
            kind: "pigeon".into(),
            base_url: "https://pigeon.example".into(),
            scope: self.name.clone(),
        };
        Ok(Resolved { destination, call_key: String::new(), params: Value::Null })
    }

    async fn prepare(
        &self,
        _: &CallContext,
        recipients: &[Recipient],
        _: Timestamp,
    ) -> Result<PreparedCall, ProviderError> {
        let names: Vec<_> = recipients.iter().map(|r| &r.invitee.first_name).collect();
        Ok(PreparedCall {
            destination: recipients[0].destination.clone(),
            path: "/fly".into(),
            body: json!(names).to_string(),
            fingerprint: None,
            account: None,
        })
    }

    async fn create(
        &self,
        _: &CallContext,
        _: &PreparedCall,
        recipients: &[Recipient],
    ) -> Result<Vec<Result<Observed, ProviderError>>, ProviderError> {
        if recipients.iter().any(|r| r.invitee.message.as_deref() == Some("storm")) {
            let error = ProviderError::new(Outcome::NotSent, "no pigeon flies in a storm");
            return Err(error.caused_by(Cause::Transport));
        }
        let fly = |recipient: &Recipient| match recipient.invitee.message.as_deref() {
            Some("refuse") => Err(refused()),
            Some("silence") => Err(ProviderError::new(Outcome::Unknown, "no answer")),
            _ => Ok(seen(Some(recipient.id.to_string()), Status::Pending)),
        };
        Ok(recipients.iter().map(fly).collect())
    }

    async fn get(&self, _: &CallContext, remote: &Remote) -> Result<Observed, ProviderError> {
        Ok(seen(remote.provider_ref.clone(), Status::Accepted))
    }

    async fn list(&self, _: &CallContext, query: &ListQuery) -> Result<Page, ProviderError> {
        if query.email.as_deref() == Some("many@example.org") {
            let one = |n: usize| seen(Some(format!("id-{n}")), Status::Sent);
            return Ok(Page { invites: (0..20_000).map(one).collect(), next_cursor: None });
        }
        let next_cursor = query.cursor.is_none().then(|| "second".to_owned());
        Ok(Page { invites: vec![seen(Some("a".into()), Status::Sent)], next_cursor })
    }

    async fn update_status(
        &self,
        _: &CallContext,
        remote: &Remote,
        to: Status,
    ) -> Result<Observed, ProviderError> {
        match remote.invitee.first_name.as_deref() {
            Some("Stubborn") => Err(refused()),
            Some("Mute") => Err(ProviderError::new(Outcome::Unknown, "no answer")),
            _ => Ok(seen(remote.provider_ref.clone(), to)),
        }
    }

    async fn revoke(
        &self,
        _: &CallContext,
        _: &Remote,
        _: bool,
    ) -> Result<Observed, ProviderError> {
        Err(ProviderError::unsupported("pigeon", "withdraw an invite"))
    }

    fn reconcile(&self, _: Lookup) -> Box<dyn Reconciliation> {
        Box::new(Blind)
    }

    async fn account(&self, _: &CallContext) -> Result<Option<Account>, ProviderError> {
        Ok(None)
    }

    async fn probe(&self, _: &CallContext) -> Result<ProbeReport, ProviderError> {
        Ok(ProbeReport { detail: "it flies".into() })
    }

    fn credential(&self) -> &Credential {
        &self.credential
    }
}

/// A lookup that never tells anything.
struct Blind;

#[async_trait]
impl Reconciliation for Blind {
    async fn step(&mut self, _: &CallContext) -> Result<Option<Vec<Vec<Sighting>>>, ProviderError> {
        Err(ProviderError::new(Outcome::Unknown, "cannot tell"))
    }
}
