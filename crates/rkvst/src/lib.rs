#![doc = include_str!("../README.md")]

mod auth;
#[cfg(test)]
mod canned;
mod client;
mod config;
mod error;
mod reconcile;
mod state;
mod wire;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use invite_core::{
    Account, Address, BuildContext, Capabilities, CreateCapability, Destination, Fault,
    InviteProvider, Limits, ListQuery, Lookup, NewInvite, Observed, Outcome, Page, PreparedCall,
    ProbeReport, ProviderError, ProviderKind, Recipient, Reconciliation, Remote, Resolved, Status,
    StatusSource,
    adapter::{Operation, Service, extra, without_effect},
    http::CallContext,
    secret::Credential,
};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    client::{Client, Position, Shown},
    config::{Config, OPTIONS, Params, SETTINGS},
    reconcile::InviteLookup,
    state::{observe, tenancy_at, tenancy_of},
    wire::CreateInvite,
};

const KIND: &str = "rkvst";

pub fn kind() -> ProviderKind {
    ProviderKind {
        name: KIND,
        capabilities: capabilities(),
        config_schema: SETTINGS.document().clone(),
        options_schema: OPTIONS.document().clone(),
        account_settings: &["base_url", "client_id"],
        // A call carries one invite, so none waits for others.
        default_limits: Limits { max_batch: 1, linger: Duration::ZERO, ..Limits::default() },
        codes: &[],
        build: Box::new(build),
        excerpt: wire::excerpt,
        read_back: config::read_back,
    }
}

fn build(part: &BuildContext<'_>) -> Result<Arc<dyn InviteProvider>, Vec<Fault>> {
    let (config, base_url, credential) = Config::check(part)?;
    let known_by = config.client_id.as_deref().unwrap_or(part.name);
    let provisional = Destination::provisional(KIND, base_url.as_str(), known_by);
    let service = Service::new(part, base_url, credential);
    Ok(Arc::new(Rkvst {
        client: Arc::new(Client::new(service, &config)),
        capabilities: capabilities(),
        config,
        provisional,
    }))
}

fn capabilities() -> Capabilities {
    Capabilities {
        create: CreateCapability {
            native_batch: false,
            max_batch: 1,
            idempotent: false,
            required_fields: Vec::new(),
            fields: vec!["email".into(), "message".into()],
        },
        get: true,
        list: true,
        update_status: Vec::new(),
        revoke: true,
        reconcile: "looks for the address and message in the list of invites; absent only if the \
                    address is in neither the whole list nor the members, within 24 hours"
            .into(),
        approval: false,
    }
}

struct Rkvst {
    client: Arc<Client>,
    capabilities: Capabilities,
    config: Config,
    /// The destination of invites while nothing shows which tenancy it is.
    provisional: Destination,
}

impl fmt::Debug for Rkvst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rkvst({})", self.provisional)
    }
}

#[async_trait]
impl InviteProvider for Rkvst {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn resolve(&self, invite: &NewInvite) -> Result<Resolved, Vec<Fault>> {
        let params = json!(self.config.resolve(invite)?);
        // A configured token shows its tenancy. That of an app registration has to be asked for.
        let destination = match self.client.configured_account() {
            Some(account) => self.place(&account),
            None => self.provisional.clone(),
        };
        Ok(Resolved { destination, call_key: String::new(), params })
    }

    async fn prepare(
        &self,
        context: &CallContext,
        recipients: &[Recipient],
        _at: Timestamp,
    ) -> Result<PreparedCall, ProviderError> {
        let operation = self.operation("preparing an invite").for_recipients(recipients);
        let recipient = only_one(&operation, recipients)?;
        self.check_destination(&operation, &recipient.destination)?;
        let params: Params = operation.recorded(0, recipient)?;
        let extra = params.extra.clone();
        let (message, email) = (params.message_for(recipient.id), &recipient.invitee.email);
        let body = serde_json::to_string(&CreateInvite { message: &message, email, extra });
        // A dry run asks for no token, so the tenancy stays open.
        let account = match context.is_offline() {
            true => None,
            false => {
                self.client.account(context, &operation, tenancy_at(&recipient.destination)).await?
            }
        };
        Ok(PreparedCall {
            destination: recipient.destination.clone(),
            path: self.client.invites_path(),
            body: body.map_err(|_| operation.unusable(0))?,
            fingerprint: None,
            account,
        })
    }

    async fn create(
        &self,
        context: &CallContext,
        call: &PreparedCall,
        recipients: &[Recipient],
    ) -> Result<Vec<Result<Observed, ProviderError>>, ProviderError> {
        let operation = self.operation("creating an invite").for_recipients(recipients);
        only_one(&operation, recipients)?;
        self.check_destination(&operation, &call.destination)?;
        let Shown { what: invite, account } =
            self.client.create_invite(context, &operation, call).await?;
        // The call held one invite, so the new one is that, however its address is spelt there.
        Ok(vec![Ok(observe(&invite, account.as_deref(), self.now()))])
    }

    async fn get(&self, context: &CallContext, remote: &Remote) -> Result<Observed, ProviderError> {
        let operation = self.operation("reading an invite").about(remote.invitee.personal_data());
        let identity = self.identity(&operation, remote)?;
        let only = tenancy_of(remote);
        let shown = self.client.get_invite(context, &operation, identity, only).await?;
        let account = shown.account.as_deref();
        match &shown.what {
            Some(invite) => Ok(observe(invite, account, self.now())),
            None => self.explain_absence(context, &operation, remote, account).await,
        }
    }

    async fn list(&self, context: &CallContext, query: &ListQuery) -> Result<Page, ProviderError> {
        let operation = self.operation("listing invites").about(query.email.as_deref());
        let place = query.scope.as_deref().map(|scope| self.place(scope));
        if let Some(place) = &place {
            self.check_destination(&operation, place)?;
        }
        let only = place.as_ref().and_then(tenancy_at);
        let position = query.cursor.as_deref().map(|cursor| {
            let why = "the cursor is not from one of its lists";
            Position::from_cursor(cursor).ok_or_else(|| operation.failed(Outcome::Rejected, why))
        });
        let position = position.transpose()?;
        let (email, at) = (query.email.as_deref(), position.as_ref());
        let listed = self.client.list_invites(context, &operation, email, at, only).await?;
        let next = listed
            .what
            .next
            .map(|token| Position::after(at, token).ok_or_else(|| error::endless(&operation)));
        let next_cursor = next.transpose()?.map(|next| next.to_cursor());
        let (account, now) = (listed.account.as_deref(), self.now());
        let invites = listed.what.invites.iter().map(|invite| observe(invite, account, now));
        Ok(Page { invites: invites.filter(|it| query.wants(it)).collect(), next_cursor })
    }

    async fn update_status(
        &self,
        _context: &CallContext,
        _remote: &Remote,
        _to: Status,
    ) -> Result<Observed, ProviderError> {
        Err(ProviderError::unsupported(KIND, "set an invite's status"))
    }

    async fn revoke(
        &self,
        context: &CallContext,
        remote: &Remote,
        force: bool,
    ) -> Result<Observed, ProviderError> {
        let operation =
            self.operation("withdrawing an invite").about(remote.invitee.personal_data());
        let identity = self.identity(&operation, remote)?;
        let only = tenancy_of(remote);
        let read = self.client.get_invite(context, &operation, identity, only).await;
        let Shown { what: invite, account } = read.map_err(without_effect)?;
        // What follows is about the tenancy that this was read in.
        let account = account.as_deref();
        let Some(invite) = invite else {
            let gone = self.already_gone(context, &operation, remote, account).await;
            return gone.map_err(without_effect);
        };
        let shown = invite.email.as_deref().map(Address::shown);
        if !force && shown.as_ref() != Some(&remote.address) {
            let why = "it shows another address under this invite's id, or none";
            return Err(operation.unproven(why));
        }
        if !self.client.delete_invite(context, &operation, identity, account).await? {
            return self.already_gone(context, &operation, remote, account).await;
        }
        Ok(Observed {
            status: Status::Revoked,
            source: StatusSource::Provider,
            ..observe(&invite, account, self.now())
        })
    }

    fn reconcile(&self, lookup: Lookup) -> Box<dyn Reconciliation> {
        let people = lookup.recipients().flat_map(|(_, r)| r.invitee.personal_data());
        let added = lookup.recipients().filter_map(|(_, r)| r.params.get("extra"));
        let operation = self.operation("looking up invites").about(people);
        let operation = operation.about(added.flat_map(extra::texts));
        let misplaced = self.check_destination(&operation, &lookup.destination).err();
        Box::new(InviteLookup::new(self.client.clone(), operation, lookup, misplaced))
    }

    async fn account(&self, context: &CallContext) -> Result<Option<Account>, ProviderError> {
        if self.config.client_id.is_none() {
            // The next token that is configured may be of another tenancy.
            return Ok(None);
        }
        let operation = self.operation("asking whose the credential is");
        let account = self.client.account(context, &operation, None).await?;
        Ok(account.map(|account| Account {
            provisional: self.provisional.clone(),
            destination: self.place(&account),
        }))
    }

    async fn probe(&self, context: &CallContext) -> Result<ProbeReport, ProviderError> {
        let operation = self.operation("checking the credential");
        let account = self.client.probe(context, &operation).await?;
        let who = match &self.config.client_id {
            Some(client_id) => format!("client {client_id}"),
            None => "the bearer token".into(),
        };
        let tenancy = account.map_or_else(String::new, |account| format!(" of tenancy {account}"));
        Ok(ProbeReport { detail: format!("{who}{tenancy} may list invites") })
    }

    fn credential(&self) -> &Credential {
        &self.client.service().credential
    }
}

impl Rkvst {
    fn operation(&self, doing: &str) -> Operation {
        self.client.service().operation(doing)
    }

    fn now(&self) -> Timestamp {
        self.client.service().clock.now()
    }

    fn place(&self, scope: &str) -> Destination {
        Destination { scope: scope.to_owned(), ..self.provisional.clone() }
    }

    /// Refuses a destination at another service, where this provider's credential must not be sent. Its tokens show
    /// whether the tenancy is right.
    fn check_destination(
        &self,
        operation: &Operation,
        destination: &Destination,
    ) -> Result<(), ProviderError> {
        let is_tenancy = !destination.is_provisional() && destination.may_be(&self.provisional);
        if is_tenancy || *destination == self.provisional {
            return Ok(());
        }
        let why = "it belongs to another base URL or tenancy than is configured now";
        Err(operation.not_found(why))
    }

    /// What became of an invite that was to be withdrawn and is not there any more. Whoever deleted it, nothing is left
    /// to withdraw.
    async fn already_gone(
        &self,
        context: &CallContext,
        operation: &Operation,
        remote: &Remote,
        account: Option<&str>,
    ) -> Result<Observed, ProviderError> {
        let remote = Remote { revoke_sent: true, ..remote.clone() };
        self.explain_absence(context, operation, &remote, account).await
    }

    /// What became of an invite that is not there any more, as the tenancy `account` shows (docs/delivery.md, *After it
    /// exists*).
    ///
    /// # Errors
    /// It cannot be told for now whether the person is a member.
    async fn explain_absence(
        &self,
        context: &CallContext,
        operation: &Operation,
        remote: &Remote,
        account: Option<&str>,
    ) -> Result<Observed, ProviderError> {
        let now = self.now();
        let is_member = self.client.is_member(context, operation, &remote.address, account).await?;
        let (status, word) = if is_member {
            (Status::Accepted, None)
        } else if remote.revoke_sent {
            (Status::Revoked, None)
        } else if remote.expires_at.is_some_and(|at| at <= now) {
            (Status::Expired, None)
        } else {
            (Status::Pending, Some("gone".to_owned()))
        };
        Ok(Observed {
            source: StatusSource::Inferred,
            provider_status: word,
            expires_at: remote.expires_at,
            data: remote.data.clone(),
            ..Observed::new(remote.provider_ref.clone(), status)
        })
    }

    fn identity<'a>(
        &self,
        operation: &Operation,
        remote: &'a Remote,
    ) -> Result<&'a str, ProviderError> {
        self.check_destination(operation, &remote.destination)?;
        operation.id_of(remote)
    }
}

fn only_one<'a>(
    operation: &Operation,
    recipients: &'a [Recipient],
) -> Result<&'a Recipient, ProviderError> {
    match recipients {
        [recipient] => Ok(recipient),
        _ => {
            let why = format!("a call takes one invite, not {}", recipients.len());
            Err(operation.failed(Outcome::Rejected, &why))
        }
    }
}

#[cfg(test)]
mod tests {
    use invite_core::{
        Cause, Invitee,
        canned::{Asked, Bench, Peer, context},
        secret::Secret,
    };
    use serde_json::Value;

    use super::*;
    use crate::canned::{
        EMAIL, INVITES, NOW, at, bench, invite, invitee, jwt, recipient, remote, with_token,
    };
    use crate::wire::TENANCY;

    fn nowhere(settings: Value) -> Bench {
        bench("http://127.0.0.1:9/", settings, &["token-1"])
    }

    fn faults(bench: &Bench, invite: &NewInvite) -> Vec<(String, String)> {
        let found = bench.resolve(invite).unwrap_err();
        found.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
    }

    #[test]
    fn an_invite_without_a_message_gets_the_configured_one() {
        let bench = nowhere(json!({"bearer_token": "t", "message": "Join us."}));
        let message = |given| recipient(&bench, given).params["message"].clone();
        assert_eq!(message(None), "Join us.");
        assert_eq!(message(Some(" ")), "Join us.");
        assert_eq!(message(Some("Hello Ada")), "Hello Ada");
    }

    #[test]
    fn the_destination_is_the_tenancy_that_the_token_shows_and_else_provisional() {
        let place = |bench: &Bench| recipient(bench, None).destination.to_string();
        let client = json!({"client_id": "app-1", "client_secret": "s"});
        assert_eq!(place(&nowhere(client)), "rkvst http://127.0.0.1:9 #app-1");
        let bench = nowhere(json!({"bearer_token": "t"}));
        assert_eq!(place(&bench), "rkvst http://127.0.0.1:9 #acme");
        for (token, scope) in [
            (jwt("tenant/1", 1), "tenant/1"),
            (format!("Authorization: Bearer {}\n", jwt("tenant/2", 1)), "tenant/2"),
            // What would look like a place that is not known, or like none.
            (jwt("#acme", 1), "#acme"),
            (jwt("#other", 1), "#acme"),
            (jwt(" ", 1), "#acme"),
            (jwt("a\nb", 1), "#acme"),
            ("e30.W10.sig".to_owned(), "#acme"),
        ] {
            bench.rotate(0, &token);
            assert_eq!(place(&bench), format!("rkvst http://127.0.0.1:9 {scope}"), "{token}");
        }
    }

    #[tokio::test]
    async fn a_registrations_tenancy_is_asked_for_and_a_tokens_is_not() {
        let token = json!({"access_token": jwt("tenant/1", 1), "expires_in": 3600});
        let peer = Peer::start(move |_| (200, token.clone()));
        let client = json!({"client_id": "app-1", "client_secret": "s"});
        let bench = bench(&peer.url, client, &["secret-1"]);
        let account = bench.account(&context()).await.unwrap().unwrap();
        assert_eq!(account.provisional, recipient(&bench, None).destination);
        assert_eq!(account.destination.scope, "tenant/1");
        assert_eq!(account.destination.service(), account.provisional.service());
        assert_eq!(peer.asked().len(), 1);
        assert_eq!(with_token(&peer).account(&context()).await, Ok(None));
        assert_eq!(peer.asked().len(), 1, "nothing was asked");
        // Bound to either, it is this provider's; the call is made in that tenancy.
        let mut to_ada = recipient(&bench, None);
        for destination in [account.provisional, account.destination] {
            to_ada.destination = destination;
            let to_ada = std::slice::from_ref(&to_ada);
            let call = bench.prepare(&context(), to_ada, at(NOW)).await.unwrap();
            assert_eq!(call.account.as_deref(), Some("tenant/1"));
        }
    }

    #[tokio::test]
    async fn what_was_bound_to_a_tenancy_waits_for_a_token_of_it() {
        let peer = Peer::start(|_| (200, json!({})));
        let bench = with_token(&peer);
        bench.rotate(0, &jwt("tenant/1", 1));
        let to_ada = [recipient(&bench, None)];
        for token in [jwt("tenant/2", 1), "shows-none".to_owned()] {
            bench.rotate(0, &token);
            let error = bench.prepare(&context(), &to_ada, at(NOW)).await.unwrap_err();
            let expected = (Outcome::NotSent, Cause::Configuration);
            assert_eq!((error.outcome, error.cause), expected);
            assert!(error.message.contains("tenant/1"), "{error}");
        }
        bench.rotate(0, &jwt("tenant/1", 2));
        assert!(bench.prepare(&context(), &to_ada, at(NOW)).await.is_ok());
        assert!(peer.asked().is_empty());
    }

    #[tokio::test]
    async fn an_expiry_that_is_none_leaves_an_invite_pending() {
        for none in
            ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "", "never"]
        {
            let invite = json!({"identity": "invites/1", "email": EMAIL, "expiry_time": none});
            let peer = Peer::start(move |_| (200, invite.clone()));
            let bench = with_token(&peer);
            let to_ada = [recipient(&bench, None)];
            let call = bench.prepare(&context(), &to_ada, at(NOW)).await.unwrap();
            let made = bench.create(&context(), &call, &to_ada).await.unwrap().remove(0);
            let read = bench.get(&context(), &remote(&bench)).await;
            for seen in [made.unwrap(), read.unwrap()] {
                let expected = (Status::Pending, StatusSource::Provider, None);
                assert_eq!((seen.status, seen.source, seen.expires_at), expected, "{none}");
            }
        }
    }

    #[test]
    fn all_faults_of_an_invite_are_found_at_once() {
        let bench = nowhere(json!({"bearer_token": "t"}));
        let wrong = NewInvite {
            invitee: Invitee {
                email: format!("{}@example.org", "x".repeat(117)),
                message: Some("x".repeat(257)),
                ..Invitee::default()
            },
            options: [("rkvst".to_owned(), json!({"notify": 1}))].into(),
            ..NewInvite::default()
        };
        let found = faults(&bench, &wrong);
        let expected = [
            ("/options/rkvst/notify", "unknown-member"),
            ("/email", "too-long"),
            ("/message", "too-long"),
        ];
        assert_eq!(found, expected.map(|(pointer, code)| (pointer.into(), code.into())));
        let empty = [("rkvst".to_owned(), json!({}))].into();
        let right = NewInvite { invitee: invitee(None), options: empty, ..NewInvite::default() };
        assert!(bench.resolve(&right).is_ok());
    }

    #[tokio::test]
    async fn a_reference_makes_a_message_of_its_own_and_fits_its_limit() {
        let bench = nowhere(json!({"bearer_token": "t", "message_reference": true}));
        let long = "é".repeat(237);
        let to_ada = recipient(&bench, Some(&long));
        let prepare = || async {
            let recipients = [to_ada.clone()];
            bench.prepare(&context(), &recipients, at(NOW)).await.unwrap()
        };
        let (call, again) = (prepare().await, prepare().await);
        assert_eq!(call, again);
        let body: Value = serde_json::from_str(&call.body).unwrap();
        let message = body["message"].as_str().unwrap();
        let id = to_ada.id.to_string();
        assert_eq!(message, format!("{long} [ref {}]", &id[id.len() - 12..]));
        assert_eq!(message.chars().count(), 256);
        let too_long = Invitee { message: Some("x".repeat(238)), ..invitee(None) };
        let too_long = NewInvite { invitee: too_long, ..NewInvite::default() };
        assert_eq!(faults(&bench, &too_long), [("/message".into(), "too-long".into())]);
    }

    #[tokio::test]
    async fn a_dry_run_renders_the_call_without_asking_for_a_token() {
        let peer = Peer::start(|_| (500, json!("")));
        let settings = json!({"client_id": "app", "client_secret": "s"});
        let bench = bench(&peer.url, settings, &["a"]);
        let to_ada = [recipient(&bench, None)];
        let dry = CallContext::offline();
        let call = bench.prepare(&dry, &to_ada, at(NOW)).await.unwrap();
        assert_eq!(call.body, r#"{"message":"You are invited.","email":"Ada@example.org"}"#);
        assert_eq!((call.account, peer.asked().len()), (None, 0));
    }

    #[tokio::test]
    async fn a_call_is_sent_as_it_was_frozen_and_read_back() {
        let peer = Peer::start(|_| (200, invite("1", "ada@EXAMPLE.org", "Hi")));
        let bench = bench(
            &format!("{}/prefix/", peer.url),
            json!({"bearer_token": "t"}),
            &["Authorization: Bearer token-1\n"],
        );
        let to_ada = [recipient(&bench, Some("Hi"))];
        let call = bench.prepare(&context(), &to_ada, at(NOW)).await.unwrap();
        assert_eq!(call.path, INVITES);
        assert_eq!(call.body, r#"{"message":"Hi","email":"Ada@example.org"}"#);
        assert_eq!(call.account, None);
        let seen = bench.create(&context(), &call, &to_ada).await.unwrap();
        let [Ok(seen)] = &seen[..] else { unreachable!("one result for one recipient") };
        assert_eq!(seen.provider_ref.as_deref(), Some("invites/1"));
        assert_eq!((seen.status, seen.source), (Status::Pending, StatusSource::Provider));
        assert_eq!(seen.expires_at, Some(at("2026-12-01T10:00:00Z")));
        assert_eq!(Value::from(seen.data.clone()), json!({"identity": "invites/1"}));
        let asked = &peer.asked()[0];
        assert_eq!(asked.line, format!("POST /prefix{INVITES}"));
        assert_eq!(asked.header("authorization"), Some("Bearer token-1"));
        assert_eq!(asked.header("content-type"), Some("application/json"));
        assert_eq!(asked.body, call.body);
    }

    #[tokio::test]
    async fn a_call_frozen_for_one_tenancy_is_not_made_in_another() {
        let peer = Peer::start(|asked| match asked.header("authorization") {
            Some(token) if token.contains(&jwt("tenant/1", 1)) => (401, json!("")),
            _ => (200, invite("1", EMAIL, "Hi")),
        });
        let (first, second) = (jwt("tenant/1", 1), jwt("tenant/2", 1));
        let bench = bench(&peer.url, json!({"bearer_token": "t"}), &[&first, &second]);
        let to_ada = [recipient(&bench, None)];
        let call = bench.prepare(&context(), &to_ada, at(NOW)).await.unwrap();
        let error = bench.create(&context(), &call, &to_ada).await.unwrap_err();
        assert_eq!((error.outcome, peer.asked().len()), (Outcome::NotSent, 1));
    }

    async fn create(answer: (u16, &str)) -> Result<Observed, ProviderError> {
        let (status, body) = (answer.0, json!(answer.1));
        let peer = Peer::start(move |_| (status, body.clone()));
        let bench = with_token(&peer);
        let to_ada = [recipient(&bench, None)];
        let call = bench.prepare(&context(), &to_ada, at(NOW)).await.unwrap();
        bench.create(&context(), &call, &to_ada).await?.remove(0)
    }

    #[tokio::test]
    async fn a_success_that_shows_no_invite_to_the_person_leaves_the_outcome_unknown() {
        for body in ["", "{}", "<html>", r#"{"email":"ada@example.org"}"#] {
            let error = create((200, body)).await.unwrap_err();
            assert_eq!(
                (error.outcome, error.cause),
                (Outcome::Unknown, Cause::Transport),
                "{body}"
            );
        }
    }

    #[tokio::test]
    async fn a_new_id_is_the_invites_however_the_reply_spells_the_address() {
        for email in ["", r#","email":"a**@example.org""#, r#","email":"ADA @ example.org""#] {
            let body = format!(r#"{{"identity":"invites/1"{email}}}"#);
            assert_eq!(
                create((201, &body)).await.unwrap().provider_ref.as_deref(),
                Some("invites/1")
            );
        }
    }

    #[tokio::test]
    async fn a_refusal_says_what_was_done_where_and_why_but_not_to_whom() {
        let error = create((400, r#"{"message":"ada@example.org is bad"}"#)).await.unwrap_err();
        assert_eq!(error.outcome, Outcome::Rejected);
        assert_eq!(error.message, "creating an invite at acme: HTTP 400: … is bad");
        let error = create((403, "")).await.unwrap_err();
        assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::Credentials));
        assert!(error.message.contains("Owner"));
    }

    #[tokio::test]
    async fn nothing_is_sent_for_another_place() {
        let peer = Peer::start(|_| (200, json!({})));
        let bench = with_token(&peer);
        let mut elsewhere = remote(&bench);
        elsewhere.destination.scope = "other".into();
        let to_ada = [recipient(&bench, None)];
        let mut call = bench.prepare(&context(), &to_ada, at(NOW)).await.unwrap();
        call.destination.base_url = "https://app.rkvst.io".into();
        let errors = [
            bench.create(&context(), &call, &to_ada).await.unwrap_err(),
            bench.get(&context(), &elsewhere).await.unwrap_err(),
            bench.revoke(&context(), &elsewhere, true).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::NotFound));
        }
        assert!(peer.asked().is_empty());
    }

    #[tokio::test]
    async fn an_id_that_is_no_identity_never_addresses_the_whole_list() {
        let peer = Peer::start(|_| (200, json!({})));
        let bench = with_token(&peer);
        for identity in ["", "invites/", "invites/..", ".", "a/b", "1?x=y", "1#"] {
            let odd = Remote { provider_ref: Some(identity.into()), ..remote(&bench) };
            let error = bench.revoke(&context(), &odd, true).await.unwrap_err();
            assert_eq!(error.cause, Cause::NotFound, "{identity}");
        }
        assert!(peer.asked().is_empty());
    }

    /// An invite that is there, or else these members in two pages.
    fn service(invite: Option<Value>, members: Result<&'static [&str], u16>) -> Peer {
        let page = |emails: &[&str], next: &str| {
            let members: Vec<_> = emails.iter().map(|email| json!({"email": email})).collect();
            (200, json!({"members": members, "page_token": next}))
        };
        Peer::start(move |asked| match (&invite, members) {
            (Some(_), _) if asked.is("DELETE ") => (200, json!({})),
            (Some(invite), _) => (200, invite.clone()),
            (None, _) if !asked.is("GET /archivist/iam/v1/members?page_size=") => (404, json!("")),
            (None, Err(status)) => (status, json!("")),
            (None, Ok(emails)) if asked.line.contains("page_token=second") => page(emails, ""),
            (None, Ok(_)) => page(&["grace@example.org"], "second"),
        })
    }

    #[tokio::test]
    async fn an_invite_that_is_there_is_pending_until_it_lapses() {
        let peer = service(Some(invite("1", EMAIL, "Hi")), Ok(&[]));
        let bench = with_token(&peer);
        let get = || async { bench.get(&context(), &remote(&bench)).await.unwrap() };
        let seen = get().await;
        assert_eq!((seen.status, seen.source), (Status::Pending, StatusSource::Provider));
        assert_eq!(seen.provider_status, None);
        bench.clock.advance(Duration::from_secs(10 * 24 * 3600));
        let seen = get().await;
        assert_eq!((seen.status, seen.source), (Status::Expired, StatusSource::Inferred));
        assert_eq!(peer.asked()[0].line, format!("GET {INVITES}/1"));
    }

    #[tokio::test]
    async fn an_invite_that_is_gone_is_accepted_revoked_expired_or_just_gone() {
        use Status::{Accepted, Expired, Pending, Revoked};
        let past = at("2026-11-20T10:00:00Z");
        let future = at("2026-12-01T10:00:00Z");
        for (members, revoke_sent, expires_at, status) in [
            (Ok(&["ADA@example.org"][..]), true, past, Accepted),
            (Ok(&[][..]), true, past, Revoked),
            (Ok(&[]), false, past, Expired),
            (Ok(&[]), false, future, Pending),
            (Err(403), false, future, Pending),
            (Err(403), true, future, Revoked),
        ] {
            let bench = with_token(&service(None, members));
            let known = Remote { revoke_sent, expires_at: Some(expires_at), ..remote(&bench) };
            let seen = bench.get(&context(), &known).await.unwrap();
            assert_eq!((seen.status, seen.source), (status, StatusSource::Inferred));
            assert_eq!(seen.provider_status.as_deref() == Some("gone"), status == Pending);
            assert_eq!((seen.provider_ref, seen.data), (known.provider_ref, known.data));
        }
        let bench = with_token(&service(None, Err(500)));
        let error = bench.get(&context(), &remote(&bench)).await.unwrap_err();
        assert_eq!(error.outcome, Outcome::Unknown);
    }

    #[tokio::test]
    async fn a_listing_of_members_that_runs_in_a_circle_is_an_error() {
        let peer = Peer::start(|asked| match asked.is(&format!("GET {INVITES}")) {
            true => (404, json!("")),
            false => (200, json!({"members": [], "next_page_token": "again"})),
        });
        let bench = with_token(&peer);
        assert!(bench.get(&context(), &remote(&bench)).await.is_err());
        assert_eq!(peer.count("GET /archivist/iam/v1/members"), 2);
    }

    fn revoke(answer: impl Fn(&Asked) -> (u16, Value) + Send + 'static) -> (Bench, Peer) {
        let peer = Peer::start(answer);
        (with_token(&peer), peer)
    }

    #[tokio::test]
    async fn a_withdrawal_reads_first_and_takes_any_empty_answer() {
        for (status, body) in [(200, "{}"), (200, ""), (204, "")] {
            let there = invite("1", EMAIL, "Hi");
            let (bench, peer) = revoke(move |asked| match asked.is("GET ") {
                true => (200, there.clone()),
                false => (status, json!(body)),
            });
            let seen = bench.revoke(&context(), &remote(&bench), false).await.unwrap();
            assert_eq!((seen.status, seen.source), (Status::Revoked, StatusSource::Provider));
            let lines = peer.lines();
            assert_eq!(lines, [format!("GET {INVITES}/1"), format!("DELETE {INVITES}/1")]);
        }
    }

    #[tokio::test]
    async fn what_is_already_gone_counts_as_withdrawn_unless_the_person_is_a_member() {
        for (members, status) in [(&[][..], Status::Revoked), (&[EMAIL], Status::Accepted)] {
            let peer = service(None, Ok(members));
            let bench = with_token(&peer);
            let seen = bench.revoke(&context(), &remote(&bench), false).await.unwrap();
            assert_eq!((seen.status, seen.source), (status, StatusSource::Inferred));
            assert_eq!(peer.count("DELETE "), 0);
        }
        let bench = with_token(&service(None, Err(500)));
        let result = bench.revoke(&context(), &remote(&bench), false).await;
        assert_eq!(result.unwrap_err().outcome, Outcome::NotSent);
    }

    #[tokio::test]
    async fn what_goes_while_it_is_being_withdrawn_counts_as_withdrawn() {
        let there = invite("1", EMAIL, "Hi");
        let (bench, _peer) = revoke(move |asked| match asked {
            asked if asked.is("DELETE ") => (404, json!("")),
            asked if asked.is("GET /archivist/iam/v1/members") => (200, json!({"members": []})),
            _ => (200, there.clone()),
        });
        let seen = bench.revoke(&context(), &remote(&bench), false).await.unwrap();
        assert_eq!((seen.status, seen.source), (Status::Revoked, StatusSource::Inferred));
    }

    /// A bench with a token of tenancy 1, which is where the invite is.
    fn in_tenancy_1(peer: &Peer) -> (Bench, Remote) {
        let bench = bench(&peer.url, json!({"bearer_token": "t"}), &[&jwt("tenant/1", 1)]);
        let mut known = remote(&bench);
        known.data.insert(TENANCY.into(), "tenant/1".into());
        (bench, known)
    }

    /// What its invites were bound to while its token showed no tenancy.
    fn bench_provisional(bench: &Bench) -> Destination {
        Destination::provisional(KIND, &recipient(bench, None).destination.base_url, "acme")
    }

    fn assert_of_another_tenancy(error: &ProviderError) {
        assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::NotFound));
        for part in ["at acme: ", "tenancy tenant/1", "nothing was sent", "give the provider"] {
            assert!(error.message.contains(part), "{error}");
        }
        assert!(!error.message.contains('\n'));
    }

    #[tokio::test]
    async fn an_invite_remembers_the_tenancy_that_it_is_in_wherever_it_is_shown() {
        let there = invite("1", EMAIL, "Hi");
        let peer = Peer::start(move |asked| match asked.line.contains("page_size") {
            true => (200, json!({"invites": [there]})),
            false => (200, there.clone()),
        });
        let (bench, known) = in_tenancy_1(&peer);
        let to_ada = [recipient(&bench, Some("Hi"))];
        let call = bench.prepare(&context(), &to_ada, at(NOW)).await.unwrap();
        let created = bench.create(&context(), &call, &to_ada).await.unwrap().remove(0);
        let listed = bench.list(&context(), &ListQuery::default()).await.unwrap();
        // One that was recorded before tenancies were learns its own when it is next seen.
        let destination = bench_provisional(&bench);
        let without = Remote { destination, ..remote(&bench) };
        assert_eq!(tenancy_of(&without), None);
        for seen in [
            created.unwrap(),
            listed.invites[0].clone(),
            bench.get(&context(), &known).await.unwrap(),
            bench.get(&context(), &without).await.unwrap(),
            bench.revoke(&context(), &known, false).await.unwrap(),
        ] {
            assert_eq!(Value::from(seen.data), Value::from(known.data.clone()));
        }
    }

    #[tokio::test]
    async fn nothing_is_asked_or_concluded_under_the_token_of_another_tenancy() {
        // There the address is a member's, and the invite is nowhere.
        let peer = service(None, Ok(&[EMAIL]));
        let (bench, known) = in_tenancy_1(&peer);
        for token in [jwt("tenant/2", 1), "opaque".into()] {
            bench.rotate(0, &token);
            for revoke_sent in [false, true] {
                let past = Some(at("2026-11-20T10:00:00Z"));
                let known = Remote { revoke_sent, expires_at: past, ..known.clone() };
                let get = bench.get(&context(), &known).await;
                assert_of_another_tenancy(&get.unwrap_err());
                for force in [false, true] {
                    let revoke = bench.revoke(&context(), &known, force).await;
                    assert_of_another_tenancy(&revoke.unwrap_err());
                }
            }
        }
        assert!(peer.asked().is_empty());
        bench.rotate(0, &jwt("tenant/1", 2));
        let seen = bench.get(&context(), &known).await.unwrap();
        assert_eq!(seen.status, Status::Accepted);
        // Of one that was recorded without its tenancy, what is seen today is all there is.
        bench.rotate(0, &jwt("tenant/2", 1));
        let seen = bench.get(&context(), &remote(&bench)).await.unwrap();
        assert_eq!(seen.status, Status::Accepted);
    }

    /// A service at which the token comes to be of tenancy 2 once `until` was asked.
    fn changing_hands(until: &'static str, there: Option<Value>) -> (Bench, Remote, Peer) {
        let held: Arc<std::sync::Mutex<Option<Arc<Secret>>>> = Arc::default();
        let secret = held.clone();
        let peer = Peer::start(move |asked| {
            if asked.is(until) {
                let token = jwt("tenant/2", 1).into();
                secret.lock().unwrap().as_ref().unwrap().replace(token);
            }
            match &there {
                Some(there) => (200, there.clone()),
                None if asked.is("GET /archivist/iam/v1/members") => {
                    (200, json!({"members": [{"email": EMAIL}]}))
                }
                None => (404, json!("")),
            }
        });
        let (bench, known) = in_tenancy_1(&peer);
        *held.lock().unwrap() = Some(bench.credential().secrets()[0].clone());
        (bench, known, peer)
    }

    #[tokio::test]
    async fn a_token_that_changes_hands_between_two_requests_is_not_used_for_the_second() {
        let read = "GET /archivist/iam/v1/invites/1";
        let (bench, known, peer) = changing_hands(read, None);
        // Pinned by what was read, also where nothing was recorded.
        let unrecorded = Remote { data: remote(&bench).data, ..known };
        let error = bench.get(&context(), &unrecorded).await.unwrap_err();
        assert_of_another_tenancy(&error);
        assert_eq!(peer.asked().len(), 1);
        let there = Some(invite("1", EMAIL, "Hi"));
        let (bench, known, peer) = changing_hands(read, there);
        let unrecorded = Remote { data: remote(&bench).data, ..known };
        let error = bench.revoke(&context(), &unrecorded, false).await.unwrap_err();
        assert_of_another_tenancy(&error);
        assert_eq!(peer.count("DELETE "), 0);
    }

    #[tokio::test]
    async fn a_withdrawal_that_cannot_read_first_sends_nothing_and_one_cut_off_is_unknown() {
        let there = invite("1", EMAIL, "Hi");
        for (read, outcome) in [(500, Outcome::NotSent), (200, Outcome::Unknown)] {
            let there = there.clone();
            let (bench, peer) = revoke(move |asked| match asked.is("GET ") {
                true => (read, there.clone()),
                false => (500, json!("")),
            });
            let result = bench.revoke(&context(), &remote(&bench), false).await;
            assert_eq!(result.unwrap_err().outcome, outcome);
            assert_eq!(peer.count("DELETE "), usize::from(read == 200));
        }
    }

    #[tokio::test]
    async fn another_persons_invite_is_withdrawn_only_by_force() {
        let peer = service(Some(invite("1", "eve@example.org", "Hi")), Ok(&[]));
        let bench = with_token(&peer);
        let error = bench.revoke(&context(), &remote(&bench), false).await.unwrap_err();
        assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::PairingUnproven));
        assert_eq!(peer.count("DELETE "), 0);
        assert!(bench.revoke(&context(), &remote(&bench), true).await.is_ok());
    }

    #[tokio::test]
    async fn a_list_is_paged_without_repeating_its_filter_and_filtered_here_too() {
        let peer = Peer::start(|asked| {
            let (id, next) =
                if asked.line.contains("page_token") { ("2", "") } else { ("1", "t+2") };
            let found = [invite(id, EMAIL, "Hi"), invite("9", "ada@example.org.evil", "Hi")];
            (200, json!({"invites": found, "next_page_token": next}))
        });
        let bench = with_token(&peer);
        let mut query = ListQuery { email: Some("ada+x@example.org".into()), ..Default::default() };
        assert!(bench.list(&context(), &query).await.unwrap().invites.is_empty());
        query.email = Some("ADA@example.org".into());
        let first = bench.list(&context(), &query).await.unwrap();
        query.cursor = first.next_cursor.clone();
        let second = bench.list(&context(), &query).await.unwrap();
        let ids = |page: &Page| -> Vec<_> {
            page.invites.iter().map(|invite| invite.provider_ref.clone().unwrap()).collect()
        };
        assert_eq!(
            (ids(&first), ids(&second)),
            (vec!["invites/1".into()], vec!["invites/2".into()])
        );
        assert_eq!(second.next_cursor, None);
        let lines = peer.lines();
        assert_eq!(lines[0], format!("GET {INVITES}?page_size=100&email=ada%2Bx%40example.org"));
        assert_eq!(lines[2], format!("GET {INVITES}?page_size=100&page_token=t%2B2"));
    }

    #[tokio::test]
    async fn a_list_that_repeats_a_page_token_is_an_error() {
        let peer = Peer::start(|_| (200, json!({"invites": [], "next_page_token": "again"})));
        let bench = with_token(&peer);
        let first = bench.list(&context(), &ListQuery::default()).await.unwrap();
        let query = ListQuery { cursor: first.next_cursor, ..ListQuery::default() };
        assert!(bench.list(&context(), &query).await.is_err());
        for query in [
            ListQuery { cursor: Some("nonsense".into()), ..ListQuery::default() },
            ListQuery { scope: Some("other".into()), ..ListQuery::default() },
        ] {
            let error = bench.list(&context(), &query).await.unwrap_err();
            assert_eq!(error.outcome, Outcome::Rejected);
        }
        assert_eq!(peer.asked().len(), 2);
    }

    #[tokio::test]
    async fn a_probe_lists_one_invite_and_says_whose_token_it_is() {
        let peer = Peer::start(|asked| match asked.header("authorization") {
            Some("Bearer bad") => (403, json!("")),
            _ => (200, json!({"invites": []})),
        });
        let token = jwt("tenant/7", 1);
        let good = bench(&peer.url, json!({"bearer_token": "t"}), &[&token]);
        let report = good.probe(&context()).await.unwrap();
        assert_eq!(report.detail, "the bearer token of tenancy tenant/7 may list invites");
        assert_eq!(peer.asked()[0].line, format!("GET {INVITES}?page_size=1"));
        let bad = bench(&peer.url, json!({"bearer_token": "t"}), &["bad"]);
        let error = bad.probe(&context()).await.unwrap_err();
        assert_eq!(error.cause, Cause::Credentials);
        assert!(!format!("{:?}", good.provider).contains(&token));
    }

    #[test]
    fn an_excerpt_shows_the_recipients_own_exchange_and_nobody_elses() {
        let request = json!({"message": "Hi", "email": EMAIL}).to_string();
        let reply = invite("1", "ada@example.org", "Hi");
        let excerpt =
            |reply: &str, index| wire::excerpt(Some(&request), Some(reply), index, &invitee(None));
        let (shown_request, shown_reply) = excerpt(&reply.to_string(), 0);
        assert_eq!((&shown_request["email"], &shown_reply), (&json!(EMAIL), &reply));
        assert_eq!(excerpt(&invite("1", "eve@example.org", "Hi").to_string(), 0).1, Value::Null);
        assert_eq!(excerpt("busy", 0).1, json!("[not JSON]"));
        let directory = json!({"members": [{"email": EMAIL}, {"email": "boss@example.org"}]});
        assert_eq!(excerpt(&directory.to_string(), 0).1, Value::Null);
        let mut novel = reply.clone();
        novel["owner"] = json!({"email": "boss@example.org"});
        assert_eq!(excerpt(&novel.to_string(), 0).1, reply, "only what is known");
        let refusal = json!({"code": 3, "message": "eve@example.org is there", "members": ["x"]});
        assert_eq!(excerpt(&refusal.to_string(), 0).1, json!({"code": 3, "message": "… is there"}));
        assert_eq!(excerpt(&reply.to_string(), 1), (Value::Null, Value::Null));
        assert_eq!(wire::excerpt(None, None, 0, &invitee(None)), (Value::Null, Value::Null));
    }
}
