#![doc = include_str!("../README.md")]

mod activity;
#[cfg(test)]
mod canned;
mod client;
mod config;
mod error;
mod excerpt;
mod reconcile;
#[cfg(not(feature = "bench"))]
mod stamp;
#[cfg(feature = "bench")]
pub mod stamp;
mod state;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use invite_core::{
    Account, BuildContext, Capabilities, Cause, CreateCapability, Destination, Doubt, Fault,
    InviteProvider, Limits, ListQuery, Lookup, NewInvite, Observed, Outcome, Page, PreparedCall,
    ProbeReport, ProviderError, ProviderKind, Recipient, Reconciliation, Remote, Resolved, Status,
    adapter::{Operation, Service, extra, without_effect},
    http::CallContext,
    secret::Credential,
};
use jiff::Timestamp;
use serde_json::json;

use activity::Subject;
use client::Client;
use config::{DOCUMENT, KIND, OPTIONS, Params, Settings};
use error::{about_recipients, before_create, check_clocks, misconfigured};
use stamp::{Stamper, fingerprint};
use wire::{
    CREATE_INVITATIONS, CreateInvitations, InvitationParams, STATUS_FAILED, Submission, TYPE_CREATE,
};

/// So many invites may share a call. Turnkey documents no figure, but 100 invitations per organization; and a page of 100
/// such activities, by which calls are looked up, is still read to its end.
const MAX_BATCH: u32 = 100;

pub fn kind() -> ProviderKind {
    ProviderKind {
        name: KIND,
        capabilities: capabilities(),
        config_schema: DOCUMENT.document().clone(),
        options_schema: OPTIONS.document().clone(),
        account_settings: &["base_url", "organization_id"],
        default_limits: Limits {
            requests_per_second: 1.0,
            max_batch: MAX_BATCH,
            ..Limits::default()
        },
        codes: &[],
        build: Box::new(build),
        excerpt: excerpt::of,
        read_back: config::read_back,
    }
}

fn capabilities() -> Capabilities {
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
    Capabilities {
        create: CreateCapability {
            native_batch: true,
            max_batch: MAX_BATCH,
            idempotent: true,
            required_fields: names(&["first_name|last_name"]),
            fields: names(&["email", "first_name", "last_name"]),
        },
        get: true,
        list: true,
        update_status: Vec::new(),
        revoke: true,
        reconcile: "By the fingerprint of the request's bytes: the same bytes are sent again \
                    while Turnkey takes them, after that its activities are listed."
            .into(),
        approval: true,
    }
}

fn build(part: &BuildContext<'_>) -> Result<Arc<dyn InviteProvider>, Vec<Fault>> {
    let settings = Settings::parse(part.settings)?;
    let usable = |key: &str| Stamper::parse(key).map(drop).map_err(str::to_owned);
    let credential = part.credential("/api_private_key", &settings.api_private_key, usable)?;
    let service = Service::new(part, settings.base_url.clone(), credential);
    Ok(Arc::new(Turnkey {
        client: Arc::new(Client::new(service, settings.get_organization)),
        capabilities: capabilities(),
        settings,
    }))
}

#[derive(Debug)]
struct Turnkey {
    settings: Settings,
    client: Arc<Client>,
    capabilities: Capabilities,
}

impl Turnkey {
    fn operation(&self, doing: &str) -> Operation {
        self.client.service.operation(doing)
    }

    fn operation_on(&self, remote: &Remote, doing: &str) -> Operation {
        self.operation(doing).about(remote.invitee.personal_data())
    }

    /// Refuses a destination elsewhere, before anything is sent.
    fn check_destination(
        &self,
        operation: &Operation,
        destination: &Destination,
    ) -> Result<(), ProviderError> {
        if *destination == self.destination() {
            return Ok(());
        }
        let why = "it belongs to another base_url or organization_id than is configured";
        Err(operation.not_found(why))
    }

    fn destination(&self) -> Destination {
        Destination {
            kind: KIND.into(),
            base_url: self.settings.base_url.as_str().into(),
            scope: self.settings.organization_id.clone(),
        }
    }
}

#[async_trait]
impl InviteProvider for Turnkey {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn resolve(&self, invite: &NewInvite) -> Result<Resolved, Vec<Fault>> {
        let params = self.settings.resolve(invite)?;
        Ok(Resolved {
            // Each invitation says all that it needs, so any of them may share an activity.
            call_key: extra::call_key(String::new(), &params.extra),
            params: json!(params),
            destination: self.destination(),
        })
    }

    async fn prepare(
        &self,
        context: &CallContext,
        recipients: &[Recipient],
        at: Timestamp,
    ) -> Result<PreparedCall, ProviderError> {
        let operation = about_recipients(self.operation("preparing invitations"), recipients);
        let Some(first) = recipients.first() else {
            return Err(operation.failed(Outcome::Rejected, "there is nobody to invite"));
        };
        self.check_destination(&operation, &first.destination)?;
        let organization_id = first.destination.scope.as_str();
        let recorded = recipients.iter().enumerate().map(|(i, r)| operation.recorded(i, r));
        let params: Vec<Params> = recorded.collect::<Result<_, _>>()?;
        let mut own = String::new();
        if params.iter().any(|params| params.sender_user_id.is_none()) {
            own = match context.is_offline() {
                true => "(whoami)".into(),
                false => {
                    let asked = self.client.sender(context, &operation, organization_id).await;
                    asked.map_err(before_create)?
                }
            };
        }
        let invitations =
            recipients.iter().zip(&params).map(|(recipient, params)| InvitationParams {
                receiver_user_name: &params.receiver_user_name,
                receiver_user_email: &recipient.invitee.email,
                receiver_user_tags: &params.receiver_user_tags,
                access_type: params.access_type,
                sender_user_id: params.sender_user_id.as_deref().unwrap_or(&own),
                extra: &params.extra,
            });
        let submission = Submission {
            r#type: TYPE_CREATE,
            timestamp_ms: at.as_millisecond().to_string(),
            organization_id,
            parameters: CreateInvitations { invitations: invitations.collect() },
        };
        let body = client::encode(&operation, &submission)?;
        Ok(PreparedCall {
            destination: first.destination.clone(),
            path: CREATE_INVITATIONS.into(),
            fingerprint: Some(fingerprint(body.as_bytes())),
            body,
            account: None,
        })
    }

    async fn create(
        &self,
        context: &CallContext,
        call: &PreparedCall,
        recipients: &[Recipient],
    ) -> Result<Vec<Result<Observed, ProviderError>>, ProviderError> {
        let operation = about_recipients(self.operation("creating invitations"), recipients);
        self.check_destination(&operation, &call.destination)?;
        let activity =
            self.client.create_invitations(context, &operation, &call.path, &call.body).await?;
        let ours = fingerprint(call.body.as_bytes());
        if activity.fingerprint.as_ref().is_some_and(|shown| !shown.eq_ignore_ascii_case(&ours)) {
            return Err(operation.outcome_unknown("the reply is about another activity"));
        }
        let subject = Subject {
            organization_id: &call.destination.scope,
            fingerprint: Some(&ours),
            count: Some(recipients.len()),
        };
        match activity::observe(&activity, &subject, &operation) {
            Ok(observed) => Ok(observed.into_iter().map(Ok).collect()),
            Err(error) if activity.status.as_deref() == Some(STATUS_FAILED) => {
                let addresses: Vec<_> = recipients.iter().map(|r| &r.address).collect();
                let effects = state::after_failure(
                    &self.client,
                    context,
                    &operation,
                    &activity,
                    &subject,
                    &addresses,
                )
                .await?;
                if effects.iter().all(Option::is_none) {
                    return Err(error);
                }
                Ok(effects.into_iter().map(|effect| effect.ok_or_else(|| error.clone())).collect())
            }
            Err(error) if error.outcome == Outcome::Rejected => Err(error),
            Err(error) => Ok(vec![Err(error); recipients.len()]),
        }
    }

    async fn get(&self, context: &CallContext, remote: &Remote) -> Result<Observed, ProviderError> {
        let operation = self.operation_on(remote, "reading an invitation");
        self.check_destination(&operation, &remote.destination)?;
        let Some(id) = remote.provider_ref.as_deref() else {
            return state::follow(&self.client, context, &operation, remote).await;
        };
        state::read(&self.client, context, &operation, remote, id).await
    }

    async fn list(&self, context: &CallContext, query: &ListQuery) -> Result<Page, ProviderError> {
        let operation = self.operation("listing invitations").about(query.email.as_deref());
        operation.only_page(query)?;
        let organization_id = query.scope.as_deref().unwrap_or(&self.settings.organization_id);
        let mut invites: Vec<Observed> =
            match self.client.invitations(context, &operation, organization_id, true).await? {
                Some(shown) => shown.iter().map(|i| state::listed(i, organization_id)).collect(),
                None => {
                    activity::list_invitations(&self.client, context, &operation, organization_id)
                        .await?
                }
            };
        invites.retain(|invite| query.wants(invite));
        Ok(Page { invites, next_cursor: None })
    }

    async fn update_status(
        &self,
        _: &CallContext,
        _: &Remote,
        _: Status,
    ) -> Result<Observed, ProviderError> {
        Err(ProviderError::unsupported(KIND, "set an invite's status"))
    }

    async fn revoke(
        &self,
        context: &CallContext,
        remote: &Remote,
        force: bool,
    ) -> Result<Observed, ProviderError> {
        let operation = self.operation_on(remote, "deleting an invitation");
        self.check_destination(&operation, &remote.destination)?;
        let id = operation.id_of(remote)?;
        let earlier = state::earlier_deletion(&self.client, context, &operation, remote).await;
        let mut remote = remote.clone();
        if let Some(activity) = earlier.map_err(without_effect)? {
            match state::deleted_by(&activity, &operation, &remote, id) {
                Ok(observed) => return Ok(observed),
                // That delete was refused, so whatever is gone was not deleted by it.
                Err(_) => remote.revoke_sent = false,
            }
        }
        let remote = &remote;
        let answer =
            state::before_deleting(&self.client, context, &operation, remote, id, force).await;
        if let Some(answer) = answer.map_err(without_effect)? {
            return Ok(answer);
        }
        let organization_id = &remote.destination.scope;
        let activity =
            self.client.delete_invitation(context, &operation, organization_id, id).await;
        let activity = match activity {
            // The delete before this one took effect.
            Err(error) if error.cause == Cause::NotFound && remote.revoke_sent => {
                return Ok(state::inferred(remote, id, Status::Revoked, Some("gone")));
            }
            other => other?,
        };
        state::deleted_by(&activity, &operation, remote, id)
    }

    fn reconcile(&self, lookup: Lookup) -> Box<dyn Reconciliation> {
        let looking = self.operation("looking for invitations");
        let of_doubt = |looking, doubt: &Doubt| about_recipients(looking, &doubt.recipients);
        let operation = lookup.doubts.iter().fold(looking, of_doubt);
        let misplaced = self.check_destination(&operation, &lookup.destination).err();
        let client = self.client.clone();
        Box::new(reconcile::ByFingerprint::new(client, operation, lookup, misplaced))
    }

    async fn account(&self, _: &CallContext) -> Result<Option<Account>, ProviderError> {
        Ok(None)
    }

    async fn probe(&self, context: &CallContext) -> Result<ProbeReport, ProviderError> {
        let operation = self.operation("checking the API key");
        let ours = self.settings.organization_id.as_str();
        let (whoami, ahead) = self.client.whoami(context, &operation, ours).await?;
        if let Some(shown) = &whoami.organization_id
            && !shown.eq_ignore_ascii_case(ours)
        {
            let why = format!("the key belongs to organization {shown}, not to {ours}");
            return Err(misconfigured(&operation, &why));
        }
        let clocks = check_clocks(&operation, ahead)?;
        let or_unnamed = |text: Option<String>| text.unwrap_or_else(|| "(unnamed)".into());
        let mut detail = format!(
            "whoami: the key belongs to user {} of organization {} ({})",
            or_unnamed(whoami.user_id),
            or_unnamed(whoami.organization_name),
            or_unnamed(whoami.organization_id),
        );
        detail.extend(clocks.map(|told| format!("; {told}")));
        Ok(ProbeReport { detail })
    }

    fn credential(&self) -> &Credential {
        &self.client.service.credential
    }
}

#[cfg(test)]
mod tests {
    use invite_core::{
        StatusSource,
        canned::{Asked, Bench, Peer, context},
    };
    use serde_json::Value;

    use super::*;
    use crate::canned::{
        AT, KEY, ORGANIZATION, OTHER_KEY, SENDER, build, completed, endpoints, now, provider,
        provider_with, recipients, remote, signer, with_activity, with_status,
    };
    use crate::wire::STATUS_COMPLETED;

    const ADA: (&str, &str) = ("Ada Lovelace", "ada@example.org");
    const GRACE: (&str, &str) = ("Grace", "grace@example.org");

    async fn prepared(provider: &Bench, people: &[(&str, &str)]) -> (PreparedCall, Vec<Recipient>) {
        let recipients = recipients(provider, people);
        (provider.prepare(&context(), &recipients, now()).await.unwrap(), recipients)
    }

    type Created = Result<Vec<Result<Observed, ProviderError>>, ProviderError>;

    async fn created(server: &Peer, people: &[(&str, &str)]) -> Created {
        let provider = provider(server);
        let (call, recipients) = prepared(&provider, people).await;
        provider.create(&context(), &call, &recipients).await
    }

    async fn created_as(activity: Value, people: &[(&str, &str)]) -> Created {
        created(&with_activity(activity), people).await
    }

    fn organization(invitations: Value) -> (u16, Value) {
        (
            200,
            json!({ "organizationData": { "organizationId": ORGANIZATION, "invitations": invitations } }),
        )
    }

    fn invitation(id: &str, email: &str, status: &str) -> Value {
        json!({
            "invitationId": id, "receiverEmail": email, "receiverUserName": "Ada",
            "status": status, "createdAt": {"seconds": "1746736510", "nanos": "0"},
        })
    }

    #[tokio::test]
    async fn a_prepared_call_is_byte_for_byte_vector_4() {
        let server = with_activity(json!({}));
        let (call, _) = prepared(&provider(&server), &[ADA]).await;
        assert_eq!(
            call.body,
            r#"{"type":"ACTIVITY_TYPE_CREATE_INVITATIONS","timestampMs":"1746736509954","organizationId":"89881fc7-6ff3-4b43-b962-916698f8ff58","parameters":{"invitations":[{"receiverUserName":"Ada Lovelace","receiverUserEmail":"ada@example.org","receiverUserTags":[],"accessType":"ACCESS_TYPE_WEB","senderUserId":"c7517305-6772-4e74-8101-108fbab0c11e"}]}}"#
        );
        assert_eq!(
            call.fingerprint.as_deref(),
            Some("sha256:198af166f6390e43aca47562ad07db269cf3f0f95b494636f9cfc9530618b28f")
        );
        assert_eq!((call.path.as_str(), server.asked().len()), (CREATE_INVITATIONS, 0));
    }

    #[tokio::test]
    async fn the_frozen_bytes_go_out_signed_and_again_the_same() {
        let server = with_activity(completed(&["inv-1"]));
        let provider = provider(&server);
        let (call, recipients) = prepared(&provider, &[ADA]).await;
        for _ in 0..2 {
            provider.create(&context(), &call, &recipients).await.unwrap();
        }
        for asked in server.asked() {
            assert_eq!(asked.line, format!("POST {CREATE_INVITATIONS}"));
            assert_eq!(asked.body, call.body);
            assert_eq!(
                signer(&asked),
                "02b8877aec786dbb182fdb6513f9a998806bf0d21c48adb35edb57edd5f2ff5725"
            );
        }
        assert_eq!(server.asked().len(), 2);
    }

    #[tokio::test]
    async fn a_completed_activity_gives_each_recipient_the_id_at_its_place() {
        let all = created_as(completed(&["one", "two"]), &[ADA, GRACE]).await.unwrap();
        for (result, id) in all.iter().zip(["one", "two"]) {
            let observed = result.as_ref().unwrap();
            assert_eq!(
                (observed.provider_ref.as_deref(), observed.status),
                (Some(id), Status::Pending)
            );
            assert_eq!(observed.provider_status.as_deref(), Some(STATUS_COMPLETED));
            assert_eq!(observed.data["pairing"], "unproven");
            assert_eq!(observed.data["organization_id"], ORGANIZATION);
            assert_eq!(observed.data["activity_id"], "0196b0f7-801d-75d8-a40e-e4f69944b711");
            assert!(observed.data["fingerprint"].as_str().unwrap().starts_with("sha256:"));
        }
        let one = created_as(completed(&["one"]), &[ADA]).await.unwrap();
        assert_eq!(one[0].as_ref().unwrap().data["pairing"], "proven");
    }

    #[tokio::test]
    async fn the_documented_nested_reply_is_read_as_the_recorded_one() {
        let nested = json!({"id": "a", "status": STATUS_COMPLETED, "result": {"activity": completed(&["one"])}});
        let all = created_as(nested, &[ADA]).await.unwrap();
        assert_eq!(all[0].as_ref().unwrap().provider_ref.as_deref(), Some("one"));
    }

    #[tokio::test]
    async fn an_activity_under_way_or_awaiting_approval_is_no_error() {
        for (word, status) in [
            ("ACTIVITY_STATUS_CREATED", Status::Sending),
            ("ACTIVITY_STATUS_PENDING", Status::Sending),
            ("ACTIVITY_STATUS_NEVER_HEARD_OF", Status::Sending),
            ("ACTIVITY_STATUS_CONSENSUS_NEEDED", Status::AwaitingApproval),
            ("ACTIVITY_STATUS_AUTHENTICATORS_NEEDED", Status::AwaitingApproval),
        ] {
            let all = created_as(with_status(word), &[ADA, GRACE]).await.unwrap();
            assert_eq!(all.len(), 2);
            let observed = all[1].as_ref().unwrap();
            assert_eq!((observed.status, observed.provider_ref.as_deref()), (status, None));
            assert_eq!(observed.provider_status.as_deref(), Some(word));
            assert!(observed.data.contains_key("activity_id"));
        }
    }

    #[tokio::test]
    async fn ids_that_are_not_one_per_recipient_leave_each_outcome_unknown() {
        for ids in [&["one"][..], &["one", "one"], &["one", ""], &["1", "2", "3"], &[]] {
            let all = created_as(completed(ids), &[ADA, GRACE]).await.unwrap();
            assert_eq!(all.len(), 2);
            assert!(all.iter().all(|r| r.as_ref().unwrap_err().outcome == Outcome::Unknown));
        }
        let no_result = with_status(STATUS_COMPLETED);
        let all = created_as(no_result, &[ADA]).await.unwrap();
        assert_eq!(all[0].as_ref().unwrap_err().outcome, Outcome::Unknown);
    }

    #[tokio::test]
    async fn a_success_that_cannot_be_read_leaves_the_outcome_unknown() {
        for body in [
            json!("<html>"),
            json!({}),
            json!({"activity": null}),
            json!([]),
            json!({"activity": 5}),
        ] {
            let server = Peer::start(move |_| (200, body.clone()));
            let error = created(&server, &[ADA]).await.unwrap_err();
            assert_eq!((error.outcome, error.cause), (Outcome::Unknown, Cause::Transport));
        }
        let mut other = completed(&["one"]);
        other["fingerprint"] = "sha256:00".into();
        assert_eq!(created_as(other, &[ADA]).await.unwrap_err().outcome, Outcome::Unknown);
    }

    fn failing(organization: (u16, Value)) -> impl Fn(&Asked) -> (u16, Value) {
        move |asked| {
            if asked.step() == "get_organization" {
                return organization.clone();
            }
            let mut activity = with_status(STATUS_FAILED);
            activity["failure"] = json!({"code": 3, "message": "no MX for Grace", "turnkeyErrorCode": "INVALID_FQDN"});
            (200, json!({ "activity": activity }))
        }
    }

    #[tokio::test]
    async fn a_failed_activity_is_rejected_as_a_whole() {
        let refused = (403, json!({"code": 7, "message": "no"}));
        for organization in [refused, organization(json!([]))] {
            let server = Peer::start(failing(organization));
            let error = created(&server, &[ADA, GRACE]).await.unwrap_err();
            assert_eq!(
                (error.outcome, error.code.as_deref()),
                (Outcome::Rejected, Some("INVALID_FQDN"))
            );
            assert!(error.message.ends_with("no MX for …"), "{error}");
            assert_eq!(endpoints(&server), ["create_invitations", "get_organization"]);
        }
    }

    #[tokio::test]
    async fn a_failed_activity_is_unknown_while_the_organization_does_not_answer() {
        let server = Peer::start(failing((500, json!("x"))));
        let error = created(&server, &[ADA, GRACE]).await.unwrap_err();
        assert_eq!(error.outcome, Outcome::Unknown);
    }

    #[tokio::test]
    async fn what_a_failed_activity_left_behind_is_found() {
        let mut older = invitation("old", "grace@example.org", "INVITATION_STATUS_CREATED");
        older["createdAt"]["seconds"] = "1746730000".into();
        let shown =
            json!([older, invitation("new", "ADA@example.org", "INVITATION_STATUS_CREATED")]);
        let server = Peer::start(failing(organization(shown)));
        let all = created(&server, &[ADA, GRACE]).await.unwrap();
        let ada = all[0].as_ref().unwrap();
        assert_eq!((ada.provider_ref.as_deref(), ada.status), (Some("new"), Status::Pending));
        assert!(ada.data.contains_key("activity_id"));
        assert_eq!(all[1].as_ref().unwrap_err().outcome, Outcome::Rejected);
    }

    #[tokio::test]
    async fn an_activity_that_people_rejected_names_each_invite_of_the_call() {
        let rejected = with_status("ACTIVITY_STATUS_REJECTED");
        let error = created_as(rejected, &[ADA, GRACE]).await.unwrap_err();
        assert_eq!(error.outcome, Outcome::Rejected);
        assert_eq!(error.items.iter().map(|item| item.index).collect::<Vec<_>>(), [0, 1]);
        let failed = created_as(with_status(STATUS_FAILED), &[ADA, GRACE]).await;
        // Nobody is named, so that the one at fault can be found.
        assert!(failed.unwrap_err().items.is_empty());
    }

    /// Refuses stamps of the key of vector 4.
    fn refuses_first_key(asked: &Asked) -> (u16, Value) {
        if signer(asked).starts_with("02b8877a") {
            return (
                401,
                json!({"code": 16, "message": "x", "turnkeyErrorCode": "PUBLIC_KEY_NOT_FOUND"}),
            );
        }
        (200, json!({ "activity": completed(&["one"]) }))
    }

    #[tokio::test]
    async fn the_second_key_takes_over_with_the_same_bytes_and_is_remembered() {
        let server = Peer::start(refuses_first_key);
        let provider = build(&server.url, json!({}), &[KEY, OTHER_KEY]).unwrap();
        let (call, recipients) = prepared(&provider, &[ADA]).await;
        for _ in 0..2 {
            provider.create(&context(), &call, &recipients).await.unwrap();
        }
        assert_eq!(server.asked().len(), 3);
        assert!(server.asked().iter().all(|asked| asked.body == call.body));
        assert_eq!(provider.usage(), [(1, 1), (2, 0)]);

        // A new value of the first secret is tried again.
        provider.rotate(0, &format!("{OTHER_KEY}:p256"));
        provider.create(&context(), &call, &recipients).await.unwrap();
        assert_eq!(provider.usage(), [(2, 1), (2, 0)]);
    }

    #[tokio::test]
    async fn a_key_that_became_unusable_sends_nothing() {
        let server = with_activity(completed(&["one"]));
        let provider = provider(&server);
        let (call, recipients) = prepared(&provider, &[ADA]).await;
        provider.rotate(0, "nonsense");
        let error = provider.create(&context(), &call, &recipients).await.unwrap_err();
        assert_eq!((error.outcome, error.cause), (Outcome::NotSent, Cause::Credentials));
        assert!(server.asked().is_empty() && !error.message.contains("nonsense"), "{error}");
    }

    #[test]
    fn an_unusable_key_is_a_fault_of_the_configuration() {
        let faults = |keys: &[&str]| {
            let built = build("https://api.turnkey.com", json!({}), keys);
            built.err().unwrap().into_iter().map(|f| f.pointer).collect::<Vec<_>>()
        };
        assert_eq!(faults(&["zz"]), ["/api_private_key"]);
        assert_eq!(faults(&[KEY, "zz"]), ["/api_private_key/1"]);
    }

    #[tokio::test]
    async fn the_sender_comes_from_whoami_once_per_key() {
        let server =
            Peer::start(|_| (200, json!({ "userId": SENDER, "organizationId": ORGANIZATION })));
        let provider = provider_with(&server, json!({ "sender_user_id": null }));
        let (first, _) = prepared(&provider, &[ADA]).await;
        let (second, _) = prepared(&provider, &[ADA]).await;
        assert_eq!(first, second);
        assert!(first.body.contains(SENDER));
        assert_eq!(endpoints(&server), ["whoami"]);
        provider.rotate(0, OTHER_KEY);
        prepared(&provider, &[ADA]).await;
        assert_eq!(endpoints(&server), ["whoami", "whoami"]);
        assert_eq!(server.asked()[0].json(), json!({ "organizationId": ORGANIZATION }));
    }

    #[tokio::test]
    async fn a_sender_that_cannot_be_asked_for_has_no_effect() {
        let server = Peer::start(|_| (500, json!("down")));
        let provider = provider_with(&server, json!({ "sender_user_id": null }));
        let recipients = recipients(&provider, &[ADA]);
        let result = provider.prepare(&context(), &recipients, Timestamp::UNIX_EPOCH).await;
        assert_eq!(result.unwrap_err().outcome, Outcome::NotSent);
    }

    #[tokio::test]
    async fn a_refused_question_before_the_call_fails_no_invite() {
        use Cause::{Credentials, Quota};
        let quota = json!({"code": 8, "message": "over quota", "turnkeyErrorCode": "SIGNING_QUOTA_EXCEEDED"});
        let denied = json!({"code": 7, "turnkeyErrorCode": "REQUEST_NOT_AUTHORIZED"});
        for (answer, outcome, cause) in [
            ((429, quota), Outcome::Throttled, Quota),
            ((402, json!({})), Outcome::Throttled, Quota),
            ((429, json!({"code": 8})), Outcome::Throttled, Cause::Request),
            ((401, json!({"code": 16})), Outcome::Rejected, Credentials),
            ((403, denied), Outcome::Rejected, Credentials),
            ((400, json!({"code": 3})), Outcome::NotSent, Cause::Request),
            ((404, json!("no such page")), Outcome::NotSent, Cause::NotFound),
        ] {
            let http = answer.0;
            let server = Peer::start(move |_| answer.clone());
            let provider = provider_with(&server, json!({ "sender_user_id": null }));
            let recipients = recipients(&provider, &[ADA, GRACE]);
            let result = provider.prepare(&context(), &recipients, Timestamp::UNIX_EPOCH).await;
            let error = result.unwrap_err();
            assert_eq!((error.outcome, error.cause), (outcome, cause), "{http}");
        }
    }

    async fn read(shown: (u16, Value), change: impl Fn(&mut Remote)) -> Observed {
        let server = Peer::start(move |asked| {
            if asked.step() == "get_organization" {
                shown.clone()
            } else {
                (200, json!({"activities": []}))
            }
        });
        let provider = provider(&server);
        let mut invite =
            remote(&server.url, Some("one"), json!({"activity_id": "a", "pairing": "unproven"}));
        change(&mut invite);
        provider.get(&context(), &invite).await.unwrap()
    }

    #[tokio::test]
    async fn the_organization_shows_the_state_and_proves_the_pairing() {
        for (word, status) in [
            ("INVITATION_STATUS_CREATED", Status::Pending),
            ("INVITATION_STATUS_ACCEPTED", Status::Accepted),
            ("INVITATION_STATUS_REVOKED", Status::Revoked),
            ("INVITATION_STATUS_NEVER_HEARD_OF", Status::Pending),
        ] {
            let shown = organization(json!([invitation("one", "ada@EXAMPLE.org", word)]));
            let observed = read(shown, |_| {}).await;
            assert_eq!((observed.status, observed.source), (status, StatusSource::Provider));
            assert_eq!(observed.provider_status.as_deref(), Some(word));
            assert_eq!(
                (&observed.data["pairing"], &observed.data["activity_id"]),
                (&json!("proven"), &json!("a"))
            );
        }
    }

    #[tokio::test]
    async fn another_address_under_the_id_says_nothing_of_this_invite() {
        let shown = json!([invitation("one", "grace@example.org", "INVITATION_STATUS_ACCEPTED")]);
        let observed = read(organization(shown), |_| {}).await;
        assert_eq!(
            (observed.status, &observed.data["pairing"]),
            (Status::Pending, &json!("unproven"))
        );
    }

    #[tokio::test]
    async fn an_id_that_is_gone_is_revoked_only_if_a_delete_was_sent() {
        let kept = read(organization(json!([])), |_| {}).await;
        assert_eq!((kept.status, kept.provider_status.as_deref()), (Status::Pending, Some("gone")));
        let gone = read(organization(json!([])), |invite| invite.revoke_sent = true).await;
        assert_eq!((gone.status, gone.source), (Status::Revoked, StatusSource::Inferred));
    }

    #[tokio::test]
    async fn where_the_organization_is_refused_activities_tell_and_the_refusal_is_remembered() {
        let server = Peer::start(|asked| {
            if asked.step() == "get_organization" {
                return (
                    403,
                    json!({"code": 7, "message": "internal", "turnkeyErrorCode": "FORBIDDEN"}),
                );
            }
            let answer = |name: &str, id: &str| json!({"id": format!("{name}{id}"), "result": {name: {"invitationId": id}}});
            (
                200,
                json!({"activities": [answer("acceptInvitationResult", "one"), answer("deleteInvitationResult", "two")]}),
            )
        });
        let provider = provider(&server);
        let get = async |id: &str| {
            let invite = remote(&server.url, Some(id), json!({}));
            let observed = provider.get(&context(), &invite).await.unwrap();
            (observed.status, observed.source)
        };
        assert_eq!(get("one").await, (Status::Accepted, StatusSource::Inferred));
        assert_eq!(get("two").await, (Status::Revoked, StatusSource::Inferred));
        assert_eq!(get("six").await.0, Status::Pending);
        assert_eq!(
            endpoints(&server),
            ["get_organization", "list_activities", "list_activities", "list_activities"]
        );
        assert_eq!(
            server.asked()[1].json(),
            json!({
                "organizationId": ORGANIZATION, "filterByStatus": ["ACTIVITY_STATUS_COMPLETED"],
                "filterByType": ["ACTIVITY_TYPE_ACCEPT_INVITATION", "ACTIVITY_TYPE_ACCEPT_INVITATION_V2", "ACTIVITY_TYPE_DELETE_INVITATION"],
                "paginationOptions": {"limit": "100"},
            })
        );
        provider.clock.advance(std::time::Duration::from_secs(3601));
        get("one").await;
        assert_eq!(endpoints(&server)[4..], ["get_organization", "list_activities"]);
    }

    #[tokio::test]
    async fn a_refused_key_or_a_throttle_is_no_refusal_of_the_organization() {
        for http in [401, 429, 500] {
            let server = Peer::start(move |_| (http, json!({"message": "quota"})));
            let provider = provider(&server);
            let invite = remote(&server.url, Some("one"), json!({}));
            for _ in 0..2 {
                let error = provider.get(&context(), &invite).await.unwrap_err();
                assert_eq!(error.http_status, Some(http));
            }
            assert_eq!(endpoints(&server), ["get_organization", "get_organization"]);
        }
    }

    #[tokio::test]
    async fn an_invite_without_an_id_is_followed_by_its_activity() {
        let mut three = completed(&["zero", "one", "two"]);
        three["intent"] = json!({"createInvitationsIntent": {"invitations": [{}, {}, {}]}});
        for (activity, status, id) in [
            (three, Status::Pending, Some("one")),
            (with_status("ACTIVITY_STATUS_PENDING"), Status::Sending, None),
            (with_status("ACTIVITY_STATUS_CONSENSUS_NEEDED"), Status::AwaitingApproval, None),
            (with_status("ACTIVITY_STATUS_FAILED"), Status::Failed, None),
            (with_status("ACTIVITY_STATUS_REJECTED"), Status::Failed, None),
        ] {
            let server = with_activity(activity);
            let invite =
                Remote { index: 1, ..remote(&server.url, None, json!({"activity_id": "a"})) };
            let observed = provider(&server).get(&context(), &invite).await.unwrap();
            assert_eq!((observed.status, observed.provider_ref.as_deref()), (status, id));
            assert_eq!(observed.failure.is_some(), status == Status::Failed);
            assert_eq!(
                server.asked()[0].json(),
                json!({"organizationId": ORGANIZATION, "activityId": "a"})
            );
        }
    }

    #[tokio::test]
    async fn a_followed_activity_that_people_rejected_names_each_invite_of_it() {
        let mut activity = with_status("ACTIVITY_STATUS_REJECTED");
        activity["intent"] = json!({"createInvitationsIntent": {"invitations": [{}, {}, {}]}});
        let server = with_activity(activity);
        let invite = Remote { index: 1, ..remote(&server.url, None, json!({"activity_id": "a"})) };
        let observed = provider(&server).get(&context(), &invite).await.unwrap();
        let items = observed.failure.unwrap().items;
        assert_eq!(items.iter().map(|item| item.index).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[tokio::test]
    async fn a_followed_activity_that_failed_names_those_that_are_at_fault() {
        let mut activity = with_status(STATUS_FAILED);
        activity["intent"] = json!({"createInvitationsIntent": {"invitations": [{}, {}, {}]}});
        let violation =
            json!({"field": "invitations[2].receiverUserEmail", "description": "no MX"});
        activity["failure"] =
            json!({"code": 3, "message": "bad", "details": [{"fieldViolations": [violation]}]});
        let server = with_activity(activity);
        let invite = remote(&server.url, None, json!({"activity_id": "a"}));
        let observed = provider(&server).get(&context(), &invite).await.unwrap();
        let items = observed.failure.unwrap().items;
        assert_eq!(items.iter().map(|item| item.index).collect::<Vec<_>>(), [2]);
    }

    #[tokio::test]
    async fn an_invite_of_a_rejected_activity_is_named_also_where_its_intent_is_not_shown() {
        let server = with_activity(with_status("ACTIVITY_STATUS_REJECTED"));
        let invite = Remote { index: 1, ..remote(&server.url, None, json!({"activity_id": "a"})) };
        let observed = provider(&server).get(&context(), &invite).await.unwrap();
        assert!(observed.failure.unwrap().items.iter().any(|item| item.index == 1));
    }

    #[tokio::test]
    async fn an_invite_with_neither_id_is_not_asked_about() {
        let server = with_activity(completed(&["one"]));
        let invite = remote(&server.url, None, json!({}));
        let error = provider(&server).get(&context(), &invite).await.unwrap_err();
        assert_eq!(error.cause, Cause::NotFound);
        assert!(server.asked().is_empty());
    }

    /// Withdraws invite `one`; the organization answers `shown`, the deletion `deleted`.
    async fn withdraw(
        shown: (u16, Value),
        deleted: (u16, Value),
        pairing: &str,
        force: bool,
    ) -> (Result<Observed, ProviderError>, bool) {
        withdraw_once_more(false, shown, deleted, pairing, force).await
    }

    /// The same where a delete of ours went out before this one, or did not.
    async fn withdraw_once_more(
        revoke_sent: bool,
        shown: (u16, Value),
        deleted: (u16, Value),
        pairing: &str,
        force: bool,
    ) -> (Result<Observed, ProviderError>, bool) {
        let server = Peer::start(move |asked| {
            if asked.step() == "get_organization" { shown.clone() } else { deleted.clone() }
        });
        let invite = remote(&server.url, Some("one"), json!({"pairing": pairing}));
        let invite = Remote { revoke_sent, ..invite };
        let result = provider(&server).revoke(&context(), &invite, force).await;
        (result, endpoints(&server).contains(&"delete_invitation".to_owned()))
    }

    fn deletion(status: &str) -> (u16, Value) {
        (200, json!({"activity": with_status(status)}))
    }

    fn hidden() -> (u16, Value) {
        (404, json!({"code": 5, "message": "unknown path"}))
    }

    fn showing(email: &str, status: &str) -> (u16, Value) {
        organization(json!([invitation("one", email, status)]))
    }

    #[tokio::test]
    async fn a_proven_invitation_is_deleted() {
        let own = showing("ada@example.org", "INVITATION_STATUS_CREATED");
        for (shown, pairing) in [(own, "unproven"), (hidden(), "proven")] {
            let (result, sent) = withdraw(shown, deletion(STATUS_COMPLETED), pairing, false).await;
            let observed = result.unwrap();
            assert_eq!(
                (observed.status, observed.source, sent),
                (Status::Revoked, StatusSource::Provider, true)
            );
        }
    }

    #[tokio::test]
    async fn the_deletion_is_what_the_swagger_says() {
        let server = Peer::start(|_| deletion(STATUS_COMPLETED));
        let provider = provider_with(&server, json!({"get_organization": false}));
        let invite = remote(&server.url, Some("one"), json!({"pairing": "proven"}));
        provider.revoke(&context(), &invite, false).await.unwrap();
        assert_eq!(server.asked()[0].line, "POST /public/v1/submit/delete_invitation");
        assert_eq!(
            server.asked()[0].body,
            format!(
                r#"{{"type":"ACTIVITY_TYPE_DELETE_INVITATION","timestampMs":"{AT}","organizationId":"{ORGANIZATION}","parameters":{{"invitationId":"one"}}}}"#
            )
        );
    }

    #[tokio::test]
    async fn an_unproven_invitation_is_deleted_only_by_force() {
        let other = showing("grace@example.org", "INVITATION_STATUS_CREATED");
        for shown in [other, hidden(), organization(json!([]))] {
            let (result, sent) =
                withdraw(shown.clone(), deletion(STATUS_COMPLETED), "unproven", false).await;
            assert_eq!((result.unwrap_err().cause, sent), (Cause::PairingUnproven, false));
            let (result, _) = withdraw(shown, deletion(STATUS_COMPLETED), "unproven", true).await;
            assert_eq!(result.unwrap().status, Status::Revoked);
        }
    }

    #[tokio::test]
    async fn what_is_over_already_is_not_deleted_again() {
        for (shown, status) in [
            (showing("ada@example.org", "INVITATION_STATUS_REVOKED"), Status::Revoked),
            (showing("ada@example.org", "INVITATION_STATUS_ACCEPTED"), Status::Accepted),
        ] {
            let (result, sent) = withdraw(shown, deletion(STATUS_COMPLETED), "proven", false).await;
            assert_eq!((result.unwrap().status, sent), (status, false));
        }
    }

    #[tokio::test]
    async fn what_the_organization_does_not_show_any_more_is_revoked_unless_its_id_may_be_wrong() {
        let gone = || organization(json!([]));
        let not_found = || (404, json!({"code": 5, "message": "no such invitation"}));
        // Turnkey may be asked to delete the id all the same; it then does not know it.
        let (result, sent) = withdraw(gone(), not_found(), "unproven", true).await;
        let error = result.unwrap_err();
        assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::NotFound));
        assert!(sent, "{error}");
        for (revoke_sent, pairing, force) in
            [(false, "proven", false), (false, "proven", true), (true, "unproven", true)]
        {
            let (result, sent) =
                withdraw_once_more(revoke_sent, gone(), not_found(), pairing, force).await;
            let observed = result.unwrap();
            assert_eq!(
                (observed.status, observed.source, sent),
                (Status::Revoked, StatusSource::Inferred, false)
            );
        }
    }

    #[tokio::test]
    async fn a_deletion_that_waits_leaves_the_status_and_one_that_fails_is_an_error() {
        for word in ["ACTIVITY_STATUS_CONSENSUS_NEEDED", "ACTIVITY_STATUS_PENDING"] {
            let (result, _) = withdraw(hidden(), deletion(word), "proven", false).await;
            let observed = result.unwrap();
            assert_eq!(
                (observed.status, observed.provider_status.as_deref()),
                (Status::Pending, Some(word))
            );
        }
        for word in [STATUS_FAILED, "ACTIVITY_STATUS_REJECTED"] {
            let (result, _) = withdraw(hidden(), deletion(word), "proven", false).await;
            assert_eq!(result.unwrap_err().outcome, Outcome::Rejected);
        }
    }

    #[tokio::test]
    async fn a_question_before_the_deletion_that_fails_means_that_nothing_was_sent() {
        let (result, sent) =
            withdraw((500, json!("x")), deletion(STATUS_COMPLETED), "proven", false).await;
        assert_eq!((result.unwrap_err().outcome, sent), (Outcome::NotSent, false));
        let (result, sent) = withdraw(hidden(), (500, json!("x")), "proven", false).await;
        assert_eq!((result.unwrap_err().outcome, sent), (Outcome::Unknown, true));
    }

    #[tokio::test]
    async fn a_repeated_deletion_of_what_is_gone_is_revoked() {
        let server = Peer::start(|_| (404, json!({"code": 5, "message": "no such invitation"})));
        let provider = provider(&server);
        let mut invite = remote(&server.url, Some("one"), json!({"pairing": "proven"}));
        let error = provider.revoke(&context(), &invite, false).await.unwrap_err();
        assert_eq!(error.cause, Cause::NotFound);
        invite.revoke_sent = true;
        let observed = provider.revoke(&context(), &invite, false).await.unwrap();
        assert_eq!((observed.status, observed.source), (Status::Revoked, StatusSource::Inferred));
    }

    /// A server at which a delete waits for approval; its activity is then as `word` says. The
    /// organization shows `shown`.
    async fn awaiting_deletion(word: &'static str, shown: fn() -> (u16, Value)) -> (Peer, Remote) {
        let server = Peer::start(move |asked| match asked.step() {
            "get_organization" => shown(),
            "get_activity" if word.is_empty() => (404, json!({"code": 5})),
            "get_activity" => deletion(word),
            _ => deletion("ACTIVITY_STATUS_CONSENSUS_NEEDED"),
        });
        let invite = remote(&server.url, Some("one"), json!({"pairing": "proven"}));
        let first = provider(&server).revoke(&context(), &invite, false).await.unwrap();
        assert_eq!(first.status, Status::Pending);
        assert_eq!(first.data["delete_activity_id"], "0196b0f7-801d-75d8-a40e-e4f69944b711");
        assert_eq!(first.data["pairing"], "proven");
        (server, Remote { revoke_sent: true, data: first.data, ..invite })
    }

    fn deletions(server: &Peer) -> usize {
        endpoints(server).iter().filter(|step| *step == "delete_invitation").count()
    }

    #[tokio::test]
    async fn a_repeated_deletion_follows_the_one_under_way_instead_of_submitting_another() {
        for (word, status) in [
            ("ACTIVITY_STATUS_CONSENSUS_NEEDED", Status::Pending),
            (STATUS_COMPLETED, Status::Revoked),
        ] {
            let (server, invite) = awaiting_deletion(word, hidden).await;
            let observed = provider(&server).revoke(&context(), &invite, false).await.unwrap();
            assert_eq!(
                (observed.status, observed.provider_status.as_deref()),
                (status, Some(word))
            );
            assert_eq!(deletions(&server), 1, "{word}");
        }
    }

    #[tokio::test]
    async fn a_deletion_that_was_refused_or_is_not_known_any_more_is_submitted_anew() {
        for word in ["ACTIVITY_STATUS_REJECTED", STATUS_FAILED, ""] {
            let (server, invite) = awaiting_deletion(word, hidden).await;
            provider(&server).revoke(&context(), &invite, false).await.unwrap();
            assert_eq!(deletions(&server), 2, "{word}");
        }
    }

    #[tokio::test]
    async fn what_is_gone_after_its_deletion_was_refused_was_not_revoked_by_us() {
        for (word, status) in [
            ("ACTIVITY_STATUS_REJECTED", Status::Pending),
            (STATUS_COMPLETED, Status::Revoked),
            ("ACTIVITY_STATUS_CONSENSUS_NEEDED", Status::Revoked),
        ] {
            let gone = || organization(json!([]));
            let own = || showing("ada@example.org", "INVITATION_STATUS_CREATED");
            let (first, invite) = awaiting_deletion(word, own).await;
            let server = Peer::start(move |asked| match asked.step() == "get_activity" {
                true => deletion(word),
                false => gone(),
            });
            let mut invite = invite;
            invite.destination.base_url = server.url.clone();
            let observed = provider(&server).get(&context(), &invite).await.unwrap();
            assert_eq!((observed.status, deletions(&first)), (status, 1), "{word}");
            assert_eq!(observed.provider_status.as_deref(), Some("gone"));
        }
    }

    #[tokio::test]
    async fn what_is_not_shown_after_its_deletion_was_refused_does_not_count_as_revoked() {
        let server = Peer::start(|asked| match asked.step() {
            "get_organization" => organization(json!([])),
            "get_activity" => deletion("ACTIVITY_STATUS_REJECTED"),
            _ => deletion("ACTIVITY_STATUS_CONSENSUS_NEEDED"),
        });
        let mut invite = remote(&server.url, Some("one"), json!({"pairing": "unproven"}));
        for count in 1..3 {
            let observed = provider(&server).revoke(&context(), &invite, true).await.unwrap();
            assert_eq!((observed.status, deletions(&server)), (Status::Pending, count));
            invite = Remote { revoke_sent: true, data: observed.data, ..invite };
        }
    }

    async fn listing(server: &Peer, email: Option<&str>) -> Vec<(String, Status, String)> {
        let query = ListQuery { email: email.map(str::to_owned), ..ListQuery::default() };
        let page = provider(server).list(&context(), &query).await.unwrap();
        assert_eq!(page.next_cursor, None);
        let row = |o: Observed| (o.provider_ref.unwrap(), o.status, o.invitee.unwrap().email);
        page.invites.into_iter().map(row).collect()
    }

    #[tokio::test]
    async fn invitations_are_listed_from_the_organization() {
        let shown = json!([
            invitation("one", "ada@example.org", "INVITATION_STATUS_ACCEPTED"),
            invitation("two", "grace@bücher.example", "INVITATION_STATUS_CREATED"),
            invitation("three", "Grace@xn--bcher-kva.example", "INVITATION_STATUS_CREATED"),
        ]);
        let server = Peer::start(move |_| organization(shown.clone()));
        assert_eq!(listing(&server, None).await.len(), 3);
        let to_grace = listing(&server, Some("GRACE@Bücher.example")).await;
        let ids: Vec<_> = to_grace.into_iter().map(|(id, ..)| id).collect();
        assert_eq!(ids, ["two", "three"]);
    }

    #[tokio::test]
    async fn an_invitation_listed_without_its_address_proves_nothing() {
        let shown = json!([
            {"invitationId": "one", "status": "INVITATION_STATUS_ACCEPTED"},
            invitation("two", "grace@example.org", "INVITATION_STATUS_CREATED"),
        ]);
        let server = Peer::start(move |_| organization(shown.clone()));
        let page = provider(&server).list(&context(), &ListQuery::default()).await;
        let listed = page.unwrap().invites;
        assert_eq!((listed[0].data.get("pairing"), &listed[0].invitee), (None, &None));
        assert_eq!(listed[1].data["pairing"], "proven");
    }

    #[tokio::test]
    async fn without_the_organization_the_list_is_folded_from_activities() {
        let server = Peer::start(|asked| {
            if asked.step() == "get_organization" {
                return (501, json!({"code": 12}));
            }
            let mut creation = completed(&["one", "two", "three"]);
            let to = |email: &str| json!({"receiverUserEmail": email});
            creation["intent"] = json!({"createInvitationsIntent": {"invitations": [to("ada@example.org"), to("grace@example.org"), to("joan@example.org")]}});
            let answer =
                |name: &str, id: &str| json!({"id": name, "result": {name: {"invitationId": id}}});
            (
                200,
                json!({"activities": [answer("deleteInvitationResult", "two"), answer("acceptInvitationResult", "one"), creation]}),
            )
        });
        assert_eq!(
            listing(&server, None).await,
            [
                ("one".into(), Status::Accepted, "ada@example.org".into()),
                ("two".into(), Status::Revoked, "grace@example.org".into()),
                ("three".into(), Status::Pending, "joan@example.org".into()),
            ]
        );
    }

    #[tokio::test]
    async fn a_probe_says_whom_the_key_belongs_to_or_that_it_is_refused() {
        let whoami = json!({"userId": SENDER, "organizationId": ORGANIZATION, "organizationName": "Acme", "username": "Ada"});
        let server = Peer::start(move |_| (200, whoami.clone()));
        let report = provider(&server).probe(&context()).await.unwrap();
        assert!(
            report.detail.contains(SENDER)
                && report.detail.contains("Acme")
                && !report.detail.contains("Ada")
        );
        let server = Peer::start(refuses_first_key);
        let error = provider(&server).probe(&context()).await.unwrap_err();
        assert_eq!(error.cause, Cause::Credentials);
    }

    #[tokio::test]
    async fn a_probe_is_red_where_submissions_would_be_refused_for_the_clock() {
        // The provider's clock stands at AT, 2025-05-08T20:35:09Z.
        for (date, told) in [
            ("20:35:09", Ok("")),
            ("20:35:19", Ok("")),
            ("20:31:00", Ok("249 s ahead of Turnkey's")),
            ("20:30:00", Err("309 s ahead of Turnkey's")),
            ("18:35:09", Err("7200 s ahead of Turnkey's")),
            ("21:30:00", Ok("3290 s behind Turnkey's")),
            ("21:36:00", Err("3650 s behind Turnkey's")),
        ] {
            let header = format!("date: Thu, 08 May 2025 {date} GMT\r\n");
            let whoami = json!({"userId": SENDER, "organizationId": ORGANIZATION});
            let server = Peer::with_header(&header, move |_| (200, whoami.clone()));
            match (provider(&server).probe(&context()).await, told) {
                (Ok(report), Ok(told)) => {
                    assert_eq!(report.detail.contains("clock"), !told.is_empty(), "{date}");
                    assert!(report.detail.contains(told), "{date} {report:?}");
                }
                (Err(error), Err(told)) => {
                    let expected = (Outcome::Rejected, Cause::Configuration);
                    assert_eq!((error.outcome, error.cause), expected);
                    assert!(error.message.contains(told), "{date} {error}");
                }
                (probed, _) => panic!("{date}: {probed:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_probe_is_red_where_the_key_is_of_another_organization() {
        let whoami =
            json!({"userId": SENDER, "organizationId": "35e5c619-ba95-417c-bb48-b16f1543aea0"});
        let server = Peer::start(move |_| (200, whoami.clone()));
        let error = provider(&server).probe(&context()).await.unwrap_err();
        assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::Configuration));
        assert!(error.message.contains(ORGANIZATION), "{error}");
    }

    #[tokio::test]
    async fn no_exchange_on_record_holds_a_stamp() {
        let server = with_activity(completed(&["one"]));
        let provider = provider(&server);
        let (call, recipients) = prepared(&provider, &[ADA]).await;
        let context: CallContext = context();
        provider.create(&context, &call, &recipients).await.unwrap();
        let record = format!("{:?}", context.exchanges());
        assert!(
            record.contains("create_invitations")
                && !record.contains(server.asked()[0].header("x-stamp").unwrap())
        );
    }

    /// What the official client (`turnkey_client` 0.17.1) sends for the same and makes of the same replies, as
    /// it was recorded at this peer: the client itself would bring fifty packages into every build of the tests.
    mod official {
        use super::*;

        /// As values: the official client adds members that are `null` or empty.
        fn without_empty(mut body: Value) -> Value {
            if let Some(members) = body.as_object_mut() {
                members.retain(|_, value| !value.is_null() && *value != json!(""));
                members.values_mut().for_each(|value| *value = without_empty(value.take()));
            }
            body
        }

        fn full(mut activity: Value) -> Value {
            activity["fingerprint"] =
                "sha256:198af166f6390e43aca47562ad07db269cf3f0f95b494636f9cfc9530618b28f".into();
            activity
        }

        fn assert_sends(request: &Asked, path: &str, theirs: Value) {
            assert_eq!(request.line, format!("POST {path}"));
            assert_eq!(without_empty(theirs), request.json());
        }

        #[tokio::test]
        async fn creates_with_the_same_request_and_reads_the_same_reply() {
            let server = with_activity(full(completed(&["one"])));
            let ours = created(&server, &[ADA]).await.unwrap();
            let theirs = json!({
                "type": "ACTIVITY_TYPE_CREATE_INVITATIONS",
                "timestampMs": "1746736509954",
                "organizationId": "89881fc7-6ff3-4b43-b962-916698f8ff58",
                "parameters": {"invitations": [{
                    "receiverUserName": "Ada Lovelace",
                    "receiverUserEmail": "ada@example.org",
                    "receiverUserTags": [],
                    "accessType": "ACCESS_TYPE_WEB",
                    "senderUserId": "c7517305-6772-4e74-8101-108fbab0c11e",
                }]},
                "generateAppProofs": null,
            });
            let [request] = &server.asked()[..] else { unreachable!() };
            assert_sends(request, "/public/v1/submit/create_invitations", theirs);
            assert_eq!(
                signer(request),
                "02b8877aec786dbb182fdb6513f9a998806bf0d21c48adb35edb57edd5f2ff5725"
            );
            let ours = ours[0].as_ref().unwrap();
            assert_eq!(ours.provider_ref.as_deref(), Some("one"));
            assert_eq!(ours.data["activity_id"], "0196b0f7-801d-75d8-a40e-e4f69944b711");
        }

        /// The official client returns `ActivityRequiresApproval` for the first two and `ActivityFailed` for
        /// the third.
        #[tokio::test]
        async fn tells_the_same_lifecycles_apart() {
            for word in ["CONSENSUS_NEEDED", "AUTHENTICATORS_NEEDED"] {
                let status = format!("ACTIVITY_STATUS_{word}");
                let ours = created_as(full(with_status(&status)), &[ADA]).await.unwrap();
                assert_eq!(ours[0].as_ref().unwrap().status, Status::AwaitingApproval);
            }
            let ours = created_as(full(with_status("ACTIVITY_STATUS_FAILED")), &[ADA]).await;
            assert_eq!(ours.unwrap_err().outcome, Outcome::Rejected);
        }

        #[tokio::test]
        async fn deletes_and_queries_with_the_same_requests() {
            let server = Peer::start(|asked| {
                let mut deleted = full(with_status(STATUS_COMPLETED));
                deleted["type"] = "ACTIVITY_TYPE_DELETE_INVITATION".into();
                deleted["result"] = json!({"deleteInvitationResult": {"invitationId": "one"}});
                match asked.step() {
                    "list_activities" => (200, json!({"activities": [deleted]})),
                    _ => (200, json!({"activity": deleted})),
                }
            });
            let provider = provider_with(&server, json!({"get_organization": false}));
            let invite = remote(&server.url, Some("one"), json!({"pairing": "proven"}));
            let revoked = provider.revoke(&context(), &invite, false).await.unwrap();
            assert_eq!(revoked.status, Status::Revoked);
            let followed = remote(&server.url, None, json!({"activity_id": "a"}));
            let _ = provider.get(&context(), &followed).await;
            assert_eq!(provider.get(&context(), &invite).await.unwrap().status, Status::Revoked);

            let [delete, get, list] = &server.asked()[..] else { unreachable!() };
            let theirs = json!({
                "type": "ACTIVITY_TYPE_DELETE_INVITATION",
                "timestampMs": "1746736509954",
                "organizationId": "89881fc7-6ff3-4b43-b962-916698f8ff58",
                "parameters": {"invitationId": "one"},
                "generateAppProofs": null,
            });
            assert_sends(delete, "/public/v1/submit/delete_invitation", theirs);
            let theirs = json!({
                "organizationId": "89881fc7-6ff3-4b43-b962-916698f8ff58", "activityId": "a",
            });
            assert_sends(get, "/public/v1/query/get_activity", theirs);
            let theirs = json!({
                "organizationId": "89881fc7-6ff3-4b43-b962-916698f8ff58",
                "filterByStatus": ["ACTIVITY_STATUS_COMPLETED"],
                "paginationOptions": {"limit": "100", "before": "", "after": ""},
                "filterByType": [
                    "ACTIVITY_TYPE_ACCEPT_INVITATION",
                    "ACTIVITY_TYPE_ACCEPT_INVITATION_V2",
                    "ACTIVITY_TYPE_DELETE_INVITATION",
                ],
            });
            assert_sends(list, "/public/v1/query/list_activities", theirs);
        }
    }
}
