#![doc = include_str!("../README.md")]

#[cfg(test)]
mod canned;
mod client;
mod config;
mod error;
mod excerpt;
mod reconcile;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use invite_core::{
    Account, Address, BuildContext, Capabilities, CreateCapability, Destination, Fault,
    InviteProvider, Limits, ListQuery, Lookup, NewInvite, Observed, Outcome, Page, PreparedCall,
    ProbeReport, ProviderError, ProviderKind, Recipient, Reconciliation, Remote, Resolved, Status,
    StatusSource,
    adapter::{Operation, Service},
    http::{CallContext, check_header},
    secret::Credential,
};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    client::Client,
    config::{CONFIG, Config, OPTIONS, Options, Params, RevokeAs},
    reconcile::EventLookup,
    wire::{Invite, InviteBatchRequest, InviteCreate, InviteStatusUpdate},
};

const KIND: &str = "securegate";

pub fn kind() -> ProviderKind {
    ProviderKind {
        name: KIND,
        capabilities: capabilities(None),
        config_schema: CONFIG.document().clone(),
        options_schema: OPTIONS.document().clone(),
        account_settings: &["base_url"],
        default_limits: Limits::default(),
        codes: &["session_code"],
        build: Box::new(build),
        excerpt: excerpt::of,
        read_back: config::read_back,
    }
}

fn build(part: &BuildContext<'_>) -> Result<Arc<dyn InviteProvider>, Vec<Fault>> {
    let (config, base_url) = Config::read(part.settings)?;
    let credential = part.credential("/api_key", &config.api_key, check_header)?;
    Ok(Arc::new(Securegate {
        client: Arc::new(Client { service: Service::new(part, base_url, credential) }),
        defaults: config.defaults(),
        revoke_as: config.revoke_as,
        allow_extra: config.allow_extra,
        capabilities: capabilities(config.revoke_as),
    }))
}

/// So many invites may share a call. Securegate documents no figure; the reply to this many has less than 9 MiB
/// ([`reply_cap`](invite_core::http::reply_cap)).
const MAX_BATCH: u32 = 1000;

fn capabilities(revoke_as: Option<RevokeAs>) -> Capabilities {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    Capabilities {
        create: CreateCapability {
            native_batch: true,
            max_batch: MAX_BATCH,
            idempotent: false,
            required_fields: words(&["first_name", "last_name", "phone"]),
            fields: words(&["email", "first_name", "last_name", "phone"]),
        },
        get: true,
        list: true,
        update_status: vec![Status::Pending, Status::Sent, Status::Accepted, Status::Declined],
        revoke: revoke_as.is_some(),
        reconcile: "looked for in the event's list, then by address; absent only in an event that \
                    exists"
            .into(),
        approval: false,
    }
}

#[derive(Debug)]
struct Securegate {
    client: Arc<Client>,
    defaults: Options,
    revoke_as: Option<RevokeAs>,
    allow_extra: bool,
    capabilities: Capabilities,
}

impl Securegate {
    fn creating(&self, destination: &Destination, recipients: &[Recipient]) -> Operation {
        // It does not say how many: a call may hold other tenants' invites, whose number is not for everybody.
        let operation = self.operation(format!("creating invites at event {}", destination.scope));
        operation.for_recipients(recipients)
    }

    fn operation(&self, doing: impl Into<String>) -> Operation {
        self.client.service.operation(doing)
    }

    async fn read_invite(
        &self,
        context: &CallContext,
        operation: &Operation,
        remote: &Remote,
    ) -> Result<Observed, ProviderError> {
        self.client.check_destination(operation, &remote.destination)?;
        let id = operation.id_of(remote)?;
        Ok(self.client.get_invite(context, operation, id).await?.observed())
    }

    async fn set_status(
        &self,
        context: &CallContext,
        doing: &str,
        remote: &Remote,
        status: &'static str,
    ) -> Result<Observed, ProviderError> {
        let operation = self.operation(doing).about(remote.invitee.personal_data());
        let (id, event_id) = (operation.id_of(remote)?, &remote.destination.scope);
        let update = InviteStatusUpdate { status };
        let invite =
            self.client.update_invite_status(context, &operation, event_id, id, &update).await?;
        Ok(invite.observed())
    }
}

/// Reads a declined invite as withdrawn, because Securegate has one word for both.
fn withdrawn(observed: Observed, source: StatusSource) -> Observed {
    match observed.status {
        Status::Declined => Observed { status: Status::Revoked, source, ..observed },
        _ => observed,
    }
}

#[async_trait]
impl InviteProvider for Securegate {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn resolve(&self, invite: &NewInvite) -> Result<Resolved, Vec<Fault>> {
        let name = &self.client.service.name;
        let mut faults = wire::check_invitee(&invite.invitee, name);
        let bound = Options::read(invite.options.get(KIND), &self.defaults)
            .and_then(|options| Params::of(options, name, self.allow_extra));
        match bound {
            Ok((event_id, params)) if faults.is_empty() => {
                let base_url = self.client.base().to_owned();
                Ok(Resolved {
                    destination: Destination { kind: KIND.to_owned(), base_url, scope: event_id },
                    call_key: params.call_key(),
                    params: json!(params),
                })
            }
            Ok(_) => Err(faults),
            Err(wrong) => {
                faults.extend(wrong.into_iter().map(|f| f.under(&format!("/options/{KIND}"))));
                Err(faults)
            }
        }
    }

    async fn prepare(
        &self,
        _: &CallContext,
        recipients: &[Recipient],
        _: Timestamp,
    ) -> Result<PreparedCall, ProviderError> {
        let nobody = || ProviderError::new(Outcome::Rejected, "a create call needs a recipient");
        let destination = recipients.first().ok_or_else(nobody)?.destination.clone();
        let operation = self.creating(&destination, recipients);
        self.client.check_destination(&operation, &destination)?;
        let mut query = None;
        let mut invites = Vec::with_capacity(recipients.len());
        for (index, recipient) in recipients.iter().enumerate() {
            let params: Params = operation.recorded(index, recipient)?;
            query.get_or_insert_with(|| params.query());
            let invite = InviteCreate::of(recipient, params.authentication_method, params.extra);
            invites.push(invite.ok_or_else(|| operation.unusable(index))?);
        }
        let query = query.unwrap_or_default();
        Ok(PreparedCall {
            path: self.client.create_path(&operation, &destination.scope, &query)?,
            body: json!(InviteBatchRequest { invites }).to_string(),
            destination,
            fingerprint: None,
            account: None,
        })
    }

    async fn create(
        &self,
        context: &CallContext,
        call: &PreparedCall,
        recipients: &[Recipient],
    ) -> Result<Vec<Result<Observed, ProviderError>>, ProviderError> {
        let operation = self.creating(&call.destination, recipients);
        self.client.check_destination(&operation, &call.destination)?;
        self.client.create_invites(context, &operation, call, recipients).await
    }

    async fn get(&self, context: &CallContext, remote: &Remote) -> Result<Observed, ProviderError> {
        let operation = self.operation("reading an invite").about(remote.invitee.personal_data());
        let observed = self.read_invite(context, &operation, remote).await?;
        let was_withdrawn = remote.revoke_sent;
        Ok(if was_withdrawn { withdrawn(observed, StatusSource::Inferred) } else { observed })
    }

    async fn list(&self, context: &CallContext, query: &ListQuery) -> Result<Page, ProviderError> {
        let operation = self.operation("listing invites").about(query.email.as_deref());
        operation.only_page(query)?;
        let Some(event_id) = query.scope.as_ref().or(self.defaults.event_id.as_ref()) else {
            let why = "no event is named, and the configuration has no event_id";
            return Err(operation.failed(Outcome::Rejected, why));
        };
        let listed = self.client.list_invites(context, &operation, event_id).await?.body;
        // The endpoint for one address would show one of several invites to it, and hide the others.
        let invites = listed.into_iter().map(Invite::observed).filter(|it| query.wants(it));
        Ok(Page { invites: invites.collect(), next_cursor: None })
    }

    async fn update_status(
        &self,
        context: &CallContext,
        remote: &Remote,
        to: Status,
    ) -> Result<Observed, ProviderError> {
        let Some(word) = wire::status_word(to) else {
            return Err(ProviderError::unsupported(KIND, &format!("set the status {to}")));
        };
        let operation = self.operation("reading an invite before its status is set");
        let operation = operation.about(remote.invitee.personal_data());
        let present = self.read_invite(context, &operation, remote).await?;
        if present.provider_status.as_deref() == Some(word) {
            return Ok(present);
        }
        self.set_status(context, "setting the status of an invite", remote, word).await
    }

    async fn revoke(
        &self,
        context: &CallContext,
        remote: &Remote,
        force: bool,
    ) -> Result<Observed, ProviderError> {
        let Some(RevokeAs::Rejected) = self.revoke_as else {
            return Err(ProviderError::unsupported(KIND, "withdraw an invite"));
        };
        let operation = self.operation("reading an invite before it is withdrawn");
        let operation = operation.about(remote.invitee.personal_data());
        let present = self.read_invite(context, &operation, remote).await?;
        let shown = present.invitee.as_ref().map(|invitee| Address::shown(&invitee.email));
        if !force && shown.as_ref() != Some(&remote.address) {
            let why = "it shows another address under this invite's id, or none";
            return Err(operation.unproven(why));
        }
        match present.status {
            Status::Declined if remote.revoke_sent => {
                Ok(withdrawn(present, StatusSource::Inferred))
            }
            // A withdrawal does not override the person's answer, which its sender did not know of.
            Status::Accepted | Status::Declined => Ok(present),
            _ => {
                let doing = "withdrawing an invite";
                let observed = self.set_status(context, doing, remote, "rejected").await?;
                Ok(withdrawn(observed, StatusSource::Provider))
            }
        }
    }

    fn reconcile(&self, lookup: Lookup) -> Box<dyn Reconciliation> {
        Box::new(EventLookup::new(self.client.clone(), lookup))
    }

    async fn account(&self, _: &CallContext) -> Result<Option<Account>, ProviderError> {
        Ok(None)
    }

    async fn probe(&self, context: &CallContext) -> Result<ProbeReport, ProviderError> {
        let operation = self.operation("checking the API key");
        let detail = match &self.defaults.event_id {
            Some(event_id) => {
                let event = self.client.get_event(context, &operation, event_id).await?;
                let deleted = if event.is_deleted() { ", which is deleted" } else { "" };
                format!("the API key may read event {event_id}{deleted}")
            }
            None => {
                self.client.list_events(context, &operation).await?;
                "the API key may list events".to_owned()
            }
        };
        Ok(ProbeReport { detail })
    }

    fn credential(&self) -> &Credential {
        &self.client.service.credential
    }
}

#[cfg(test)]
mod tests {
    use invite_core::{
        Cause,
        canned::{Bench, context},
    };
    use serde_json::Value;

    use super::*;
    use crate::canned::{recipient, replying, requests, shown};

    const AT: &str = "2026-11-21T10:00:00Z";

    fn provider(base_url: &str, more: Value) -> Bench {
        let mut settings = json!({
            "base_url": base_url, "api_key": "k", "event_id": "event-456",
            "authentication_method": "QR Code",
        });
        for (name, value) in more.as_object().unwrap() {
            settings[name] = value.clone();
        }
        let now = AT.parse().unwrap();
        Bench::build(build, "berlin-summit", &settings, &["key-0"], now).unwrap()
    }

    fn remote(base_url: &str, revoke_sent: bool) -> Remote {
        let ada = recipient(base_url, "ada@example.org", "Ada");
        let invite = invite_core::canned::remote(ada, Some("invite/1"), json!({}));
        Remote { revoke_sent, ..invite }
    }

    fn with_status(status: &str) -> Value {
        let mut invite = shown("invite/1", "ada@example.org", "Ada", AT);
        invite["status"] = status.into();
        invite
    }

    fn new_invite(options: Value) -> NewInvite {
        let invitee = recipient("http://localhost", "ada@example.org", "Ada").invitee;
        let options = [(KIND.to_owned(), options)].into();
        NewInvite { invitee, options, ..NewInvite::default() }
    }

    async fn create(
        provider: &dyn InviteProvider,
        recipients: &[Recipient],
    ) -> Result<Vec<Result<Observed, ProviderError>>, ProviderError> {
        let call = provider.prepare(&context(), recipients, AT.parse().unwrap()).await?;
        provider.create(&context(), &call, recipients).await
    }

    #[test]
    fn an_invite_is_bound_with_what_it_says_and_what_is_configured() {
        let provider = provider(
            "https://api.securegate.ai/",
            json!({"onboarding_flow_type": "kyc", "notify": 2}),
        );
        let options = json!({"event_id": "other event", "notify": 0});
        let resolved = provider.resolve(&new_invite(options)).unwrap();
        assert_eq!(resolved.destination.base_url, "https://api.securegate.ai");
        assert_eq!(resolved.destination.scope, "other event");
        assert_eq!(resolved.call_key, "onboarding_flow_type=kyc&notify=0");
        let plain = NewInvite { options: Default::default(), ..new_invite(json!({})) };
        assert_eq!(provider.resolve(&plain).unwrap().destination.scope, "event-456");
    }

    #[test]
    fn all_faults_of_an_invite_come_at_once_with_the_callers_pointers() {
        let nothing = json!({"event_id": null, "authentication_method": null});
        let provider = provider("https://api.securegate.ai", nothing);
        let pointers = |invite: &NewInvite| -> Vec<String> {
            provider.resolve(invite).unwrap_err().into_iter().map(|f| f.pointer).collect()
        };
        let mut invite = new_invite(json!({}));
        invite.invitee.first_name = None;
        invite.invitee.phone = Some("+4915112345678".into());
        let (event_id, method) =
            ("/options/securegate/event_id", "/options/securegate/authentication_method");
        assert_eq!(pointers(&invite), ["/first_name", "/phone", event_id, method]);
        let wrong = new_invite(json!({"authentication_method": "Face", "evnt_id": "e"}));
        let mut found = pointers(&wrong);
        found.sort();
        assert_eq!(found, [method, "/options/securegate/evnt_id"]);
        assert_eq!(pointers(&new_invite(json!("kyc"))), ["/options/securegate"]);
    }

    #[tokio::test]
    async fn a_prepared_call_is_the_same_each_time_and_sends_no_null() {
        let base_url = "https://proxy.example.org/securegate";
        let provider = provider(&format!("{base_url}//"), json!({}));
        let mut ada = recipient(base_url, "ada@example.org", "Ada");
        ada.destination.scope = "a/b?c %".into();
        let mut calls = Vec::new();
        for _ in 0..2 {
            let at = AT.parse().unwrap();
            calls.push(provider.prepare(&context(), &[ada.clone()], at).await.unwrap());
        }
        assert_eq!(calls[0], calls[1]);
        assert_eq!(calls[0].path, "/events/a%2Fb%3Fc%20%25/invites");
        assert!(!calls[0].body.contains("null"));
    }

    #[tokio::test]
    async fn an_invite_whose_record_is_of_no_use_is_named_and_nothing_is_sent() {
        let peer = replying(vec![]);
        let ada = recipient(&peer.url, "ada@example.org", "Ada");
        let mut grace = recipient(&peer.url, "grace@example.org", "Grace");
        grace.params = json!({});
        let error = create(&*provider(&peer.url, json!({})), &[ada, grace]).await.unwrap_err();
        assert_eq!((error.outcome, error.items[0].index), (Outcome::Rejected, 1));
        assert!(requests(&peer).is_empty());
    }

    #[tokio::test]
    async fn a_create_call_is_paired_by_address_and_what_is_missing_is_unknown() {
        let reply = json!([
            shown("invite-9", "nobody@example.org", "Nobody", AT),
            shown("invite-2", "GRACE@example.org", "Grace", AT),
            {"email": "joan@example.org"},
            shown("invite-1", "ada@example.org", "Ada", AT),
        ]);
        let peer = replying(vec![(200, reply)]);
        let base_url = format!("{}/v0", peer.url);
        let provider = provider(&format!("{base_url}/"), json!({}));
        let mut recipients = ["ada", "grace", "edith", "joan"]
            .map(|name| recipient(&base_url, &format!("{name}@example.org"), name));
        for recipient in &mut recipients {
            recipient.params["notify"] = 0.into();
        }
        let results = create(&*provider, &recipients).await.unwrap();
        let ids: Vec<_> = results
            .iter()
            .map(|result| result.as_ref().map(|o| o.provider_ref.as_deref()).map_err(|e| e.outcome))
            .collect();
        let unknown = Err(Outcome::Unknown);
        assert_eq!(ids, [Ok(Some("invite-1")), Ok(Some("invite-2")), unknown, unknown]);
        let request = &requests(&peer)[0];
        assert!(
            request.starts_with("POST /v0/events/event-456/invites?notify=0 [key-0] {"),
            "{request}"
        );
    }

    #[tokio::test]
    async fn two_recipients_of_one_address_get_one_invite_each() {
        let invite = |id| shown(id, "ada@example.org", "Ada", AT);
        let peer = replying(vec![(200, json!([invite("invite-1"), invite("invite-2")]))]);
        let ada = recipient(&peer.url, "ada@example.org", "Ada");
        let results = create(&*provider(&peer.url, json!({})), &[ada.clone(), ada]).await.unwrap();
        let ids: Vec<_> = results.into_iter().map(|r| r.unwrap().provider_ref.unwrap()).collect();
        assert_eq!(ids, ["invite-1", "invite-2"]);
    }

    #[tokio::test]
    async fn a_success_that_cannot_be_read_is_unknown_and_quotes_nothing() {
        for reply in [json!({"id": "invite-1"}), json!(["Ada"]), json!(null)] {
            let peer = replying(vec![(200, reply)]);
            let ada = recipient(&peer.url, "ada@example.org", "Ada");
            let error = create(&*provider(&peer.url, json!({})), &[ada]).await.unwrap_err();
            assert_eq!((error.outcome, error.http_status), (Outcome::Unknown, Some(200)));
            assert!(!error.message.contains("Ada"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_cut_connection_is_unknown_and_says_what_was_being_done() {
        let peer = replying(vec![(0, json!(null))]);
        let ada = recipient(&peer.url, "ada@example.org", "Ada");
        let error = create(&*provider(&peer.url, json!({})), &[ada]).await.unwrap_err();
        assert_eq!((error.outcome, error.cause), (Outcome::Unknown, Cause::Transport));
        let doing = "creating invites at event event-456 at berlin-summit: POST /events";
        assert!(error.message.starts_with(doing), "{error}");
    }

    #[tokio::test]
    async fn reading_an_invite_tells_a_withdrawal_from_a_refusal_and_from_nothing() {
        let missing = (404, json!({"detail": "Invite not found"}));
        let other = (200, shown("invite-2", "ada@example.org", "Ada", AT));
        let rejected = (200, with_status("rejected"));
        let peer = replying(vec![missing, other, rejected.clone(), rejected]);
        let provider = provider(&peer.url, json!({}));
        let get =
            async |revoke_sent| provider.get(&context(), &remote(&peer.url, revoke_sent)).await;
        let error = get(false).await.unwrap_err();
        assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::NotFound));
        assert_eq!(get(false).await.unwrap_err().outcome, Outcome::Unknown);
        assert_eq!(get(false).await.unwrap().status, Status::Declined);
        let withdrawn = get(true).await.unwrap();
        assert_eq!(withdrawn.status, Status::Revoked);
        assert_eq!(withdrawn.source, StatusSource::Inferred);
        assert_eq!(requests(&peer)[0], "GET /invites/invite%2F1 [key-0]");
        let unknown = Remote { provider_ref: None, ..remote(&peer.url, false) };
        assert_eq!(provider.get(&context(), &unknown).await.unwrap_err().cause, Cause::NotFound);
    }

    #[tokio::test]
    async fn a_status_is_set_only_where_it_is_another() {
        let peer = replying(vec![
            (200, with_status("sent")),
            (200, with_status("rejected")),
            (200, with_status("rejected")),
        ]);
        let provider = provider(&peer.url, json!({}));
        let remote = remote(&peer.url, false);
        for _ in 0..2 {
            let set = provider.update_status(&context(), &remote, Status::Declined).await.unwrap();
            assert_eq!(set.status, Status::Declined);
        }
        let read = "GET /invites/invite%2F1 [key-0]";
        let set = r#"PUT /events/event-456/invites/invite%2F1 [key-0] {"status":"rejected"}"#;
        assert_eq!(requests(&peer), [read, set, read]);
        let error = provider.update_status(&context(), &remote, Status::Revoked).await.unwrap_err();
        assert_eq!((error.cause, requests(&peer).len()), (Cause::Unsupported, 3));
    }

    #[tokio::test]
    async fn withdrawing_sets_rejected_once_and_leaves_an_acceptance_alone() {
        let peer = replying(vec![
            (200, with_status("pending")),
            (200, with_status("rejected")),
            (200, with_status("rejected")),
            (200, with_status("accepted")),
        ]);
        let provider = provider(&peer.url, json!({"revoke_as": "rejected"}));
        assert!(provider.capabilities().revoke);
        let mut statuses = Vec::new();
        for _ in 0..3 {
            let observed = provider.revoke(&context(), &remote(&peer.url, true), false).await;
            statuses.push(observed.unwrap().status);
        }
        assert_eq!(statuses, [Status::Revoked, Status::Revoked, Status::Accepted]);
        let methods: Vec<_> = requests(&peer).iter().map(|r| r[..3].to_owned()).collect();
        assert_eq!(methods, ["GET", "PUT", "GET", "GET"]);
    }

    #[tokio::test]
    async fn a_listing_is_one_page_of_an_event_or_of_an_address() {
        let of = |id: &str, email: &str| shown(id, email, "Ada", AT);
        // One person twice, as after a call that took effect unseen and was made again.
        let list = json!([
            of("invite-1", "ada@example.org"),
            of("invite-2", "grace@example.org"),
            of("invite-3", "ADA@example.org"),
        ]);
        let peer = replying(vec![(200, list); 3]);
        let provider = provider(&peer.url, json!({}));
        let query = |email: Option<&str>| ListQuery {
            email: email.map(str::to_owned),
            cursor: None,
            scope: Some("event-7".into()),
        };
        let mut counts = Vec::new();
        for email in [None, Some("Ada@Example.org"), Some("nobody@example.org")] {
            let page = provider.list(&context(), &query(email)).await.unwrap();
            assert_eq!(page.next_cursor, None);
            counts.push(page.invites.len());
        }
        assert_eq!(counts, [3, 2, 0]);
        assert_eq!(requests(&peer), ["GET /events/event-7/invites [key-0]"; 3]);
        let next = ListQuery { cursor: Some("2".into()), ..query(None) };
        assert!(provider.list(&context(), &next).await.is_err());
        let provider = self::provider(&peer.url, json!({"event_id": null}));
        let nowhere = provider.list(&context(), &ListQuery::default()).await.unwrap_err();
        assert!(nowhere.message.contains("no event_id"), "{nowhere}");
        assert_eq!(requests(&peer).len(), 3);
    }

    #[tokio::test]
    async fn a_probe_reads_the_event_or_lists_events_and_says_so() {
        let deleted = (200, json!({"id": "event-456", "is_deleted": true}));
        let peer = replying(vec![deleted, (200, json!([]))]);
        let report = provider(&peer.url, json!({})).probe(&context()).await.unwrap();
        assert!(report.detail.contains("event event-456, which is deleted"), "{}", report.detail);
        provider(&peer.url, json!({"event_id": null})).probe(&context()).await.unwrap();
        assert_eq!(requests(&peer), ["GET /events/event-456 [key-0]", "GET /events [key-0]"]);
    }
}
