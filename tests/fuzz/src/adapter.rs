//! What providers answer: each adapter before a peer that gives the fuzzer's replies.
//!
//! An input is a byte for the operation, a byte for what is known of the invite before, and replies
//! that are parted by a zero byte; the last one is given again for as long as it is asked. A reply is a
//! byte for its status, a line that may be a header (`name: value`), and the body.

mod peer;

use std::{sync::Arc, time::Duration};

use invite_core::{
    BuildContext, Doubt, Fault, InviteId, InviteProvider, Invitee, ListQuery, Lookup, ManualClock,
    NewInvite, Observed, Outcome, ProviderError, ProviderKind, Recipient, Remote, Status,
    http::{CallContext, HttpClient},
    secret::{Credential, Secret, SecretRef, SecretRefs},
    text::plain_json,
};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::{assert_plain, choose, texts};
use peer::{Peer, Reply};

/// By the adapters' clock.
const NOW: &str = "2026-11-21T10:00:00Z";
/// Lookups end: no peer here has more pages than replies, but for those that it makes up.
const MOST_STEPS: usize = 400;
const SECRETS: [&str; 3] = [
    "9720de87f61537e481f95f4433bed97b9d60719457c4dd20dac4bbf377f59c69",
    "kept-9f3c1d77a2b04e5f8c6d",
    "eyJhbGciOiJSUzI1NiJ9.kept9f3c1d77a2b04e5f.c2FuZGJveA",
];
const STATUSES: [Status; 10] = [
    Status::Queued,
    Status::Sending,
    Status::Unknown,
    Status::Pending,
    Status::Sent,
    Status::Accepted,
    Status::Declined,
    Status::Expired,
    Status::Revoked,
    Status::Failed,
];

/// Securegate's replies.
pub fn securegate(data: &[u8]) {
    let settings = json!({
        "event_id": "event-456", "authentication_method": "QR Code", "revoke_as": "rejected",
        "api_key": SECRETS[1],
    });
    answer("securegate", settings, data);
}

/// RKVST's replies, to requests with a token and with client credentials.
pub fn rkvst(data: &[u8]) {
    let settings = match data.first() {
        Some(byte) if byte & 128 == 0 => json!({ "bearer_token": SECRETS[2] }),
        _ => json!({
            "client_id": "d1fb6c87-faa9-4d56-b2fd-a5b70a9af065", "client_secret": SECRETS[1],
            "message_reference": true,
        }),
    };
    answer("rkvst", settings, data);
}

/// Turnkey's replies.
pub fn turnkey(data: &[u8]) {
    let mut settings = json!({
        "organization_id": "89881fc7-6ff3-4b43-b962-916698f8ff58", "api_private_key": SECRETS[0],
    });
    if data.first().is_some_and(|byte| byte & 128 == 0) {
        settings["sender_user_id"] = "c7517305-6772-4e74-8101-108fbab0c11e".into();
    }
    answer("turnkey", settings, data);
}

fn answer(kind: &str, mut settings: Value, data: &[u8]) {
    let [operation, known, replies @ ..] = data else { return };
    let kind = invite_kinds::all().into_iter().find(|it| it.name == kind).unwrap();
    let replies: Vec<Reply> = replies.split(|byte| *byte == 0).map(Reply::read).collect();
    Peer::with(|peer| {
        settings["base_url"] = peer.url().into();
        peer.set_replies(&replies);
        let provider = build(&kind, &settings, peer.client());
        let is_about_somebody = ![4, 5, 8, 9].contains(&(operation & 15));
        let holds = |member| settings.get(member).is_some();
        let sent = (holds("api_key").then_some(SECRETS[1]))
            .or_else(|| holds("bearer_token").then_some(SECRETS[2]));
        let case = Case { kind: &kind, provider, replies, known: *known, is_about_somebody, sent };
        peer.block_on(case.run(*operation));
    });
}

fn build(kind: &ProviderKind, settings: &Value, http: HttpClient) -> Arc<dyn InviteProvider> {
    let clock = Arc::new(ManualClock::new(NOW.parse().unwrap()));
    let resolve_secret = &literal_secrets;
    let part = BuildContext { name: "acme", settings, clock, http, resolve_secret };
    (kind.build)(&part).unwrap()
}

fn literal_secrets(references: &SecretRefs) -> Result<Credential, Fault> {
    let literal = |reference: &SecretRef| match reference {
        SecretRef::Literal(value) => {
            Ok(Arc::new(Secret::new(reference, SecretString::from(value.as_str()))))
        }
        _ => Err(Fault::new("", "secret-unresolved", "only literal secrets stand here")),
    };
    references.iter().map(literal).collect::<Result<_, _>>().map(Credential::new)
}

/// One operation and the replies that it gets.
struct Case<'a> {
    kind: &'a ProviderKind,
    provider: Arc<dyn InviteProvider>,
    replies: Vec<Reply>,
    known: u8,
    /// What is asked is asked of a person.
    is_about_somebody: bool,
    /// The secret that every request carries as it is.
    sent: Option<&'static str>,
}

impl Case<'_> {
    async fn run(&self, operation: u8) {
        let context = CallContext::new(Duration::from_secs(20));
        let remote = self.remote();
        match operation & 15 {
            0 | 1 => self.create(&context, 1).await,
            2 => self.create(&context, 2).await,
            3 => self.shows("get", self.provider.get(&context, &remote).await),
            4 | 5 => self.list(&context).await,
            6 => {
                let to = choose(self.known, &STATUSES);
                let answer = self.provider.update_status(&context, &remote, to).await;
                self.shows("update_status", answer);
            }
            7 => {
                let force = self.known & 64 != 0;
                self.shows("revoke", self.provider.revoke(&context, &remote, force).await);
            }
            8 => match self.provider.account(&context).await {
                Ok(Some(account)) => {
                    assert!(!account.destination.is_provisional());
                    assert!(account.provisional.may_be(&account.destination));
                }
                Ok(None) => {}
                Err(error) => self.is_told(&error),
            },
            9 => match self.provider.probe(&context).await {
                Ok(report) => {
                    assert!(!self.is_garbage(), "garbage proves a credential: {report:?}");
                    self.is_silent("a probe's report", &report.detail);
                }
                Err(error) => self.is_told(&error),
            },
            _ => self.reconcile(&context).await,
        }
        self.excerpts(&context, &remote.invitee);
        let _ = context.retry_after();
    }

    async fn create(&self, context: &CallContext, count: usize) {
        let most = self.provider.capabilities().create.max_batch as usize;
        let recipients: Vec<_> = (0..count.min(most)).map(|n| self.recipient(n)).collect();
        let call = match self.provider.prepare(context, &recipients, NOW.parse().unwrap()).await {
            Ok(call) => call,
            Err(error) => return self.is_told(&error),
        };
        match self.provider.create(context, &call, &recipients).await {
            Ok(results) => {
                assert_eq!(results.len(), recipients.len(), "a result for each recipient");
                for result in results {
                    result.iter().for_each(|_| assert!(!self.is_garbage(), "garbage is an effect"));
                    result.iter().for_each(|seen| self.is_credible(seen));
                    result.err().iter().for_each(|error| self.leaves_open(error));
                }
            }
            Err(error) => {
                self.leaves_open(&error);
                assert!(error.items.iter().all(|item| item.index < recipients.len()));
                self.is_told(&error);
            }
        }
    }

    async fn list(&self, context: &CallContext) {
        let email = (self.known & 1 != 0).then(|| invitee(0).email);
        let mut query = ListQuery { email, ..ListQuery::default() };
        let mut before = Vec::new();
        for _ in 0..8 {
            let page = match self.provider.list(context, &query).await {
                Ok(page) => page,
                Err(error) => return self.is_told(&error),
            };
            assert!(!self.is_garbage(), "garbage lists {:?}", page.invites);
            page.invites.iter().for_each(|seen| self.is_credible(seen));
            let Some(cursor) = page.next_cursor else { return };
            assert!(!before.contains(&cursor), "a listing in a circle at {cursor}");
            before.push(cursor.clone());
            query.cursor = Some(cursor);
        }
    }

    async fn reconcile(&self, context: &CallContext) {
        let recipients: Vec<_> = (0..1).map(|n| self.recipient(n)).collect();
        let at: Timestamp = NOW.parse().unwrap();
        let offline = CallContext::offline();
        let prepared = match self.provider.prepare(&offline, &recipients, at).await {
            Ok(call) => Ok(call),
            Err(_) => self.provider.prepare(context, &recipients, at).await,
        };
        let call = match prepared {
            Ok(call) => call,
            Err(error) => return self.is_told(&error),
        };
        let destination = call.destination.clone();
        let data = if self.known & 32 == 0 { Default::default() } else { self.remote().data };
        let started_at =
            if self.known & 64 == 0 { at } else { "2026-11-20T10:00:00Z".parse().unwrap() };
        let doubt = Doubt {
            call,
            first_attempts: vec![started_at; recipients.len()],
            absence_counts: vec![true; recipients.len()],
            recipients,
            started_at,
            data,
        };
        let mut lookup = self.provider.reconcile(Lookup { destination, doubts: vec![doubt] });
        for _ in 0..MOST_STEPS {
            let sightings = match lookup.step(context).await {
                Ok(None) => continue,
                Ok(Some(sightings)) => sightings,
                Err(error) => return self.is_told(&error),
            };
            assert_eq!(sightings.iter().map(Vec::len).collect::<Vec<_>>(), [1]);
            let seen = &sightings[0][0];
            let is_found = !seen.exact.is_empty() || !seen.near.is_empty();
            assert!(!self.is_garbage() || !is_found, "garbage shows {seen:?}");
            assert!(!self.is_garbage() || seen.gap.is_some(), "garbage shows absence");
            seen.exact.iter().for_each(|seen| self.is_credible(seen));
            seen.near.iter().for_each(|id| self.is_of_reply(id));
            if let Some(gap) = &seen.gap {
                self.is_silent("why absence cannot be told", gap);
            }
            return;
        }
        panic!("the lookup does not end");
    }

    fn shows(&self, operation: &str, result: Result<Observed, ProviderError>) {
        match result {
            Ok(seen) => {
                let by_word = seen.source == invite_core::StatusSource::Provider;
                assert!(
                    !self.is_garbage() || !by_word,
                    "garbage is an effect of {operation}: {seen:?}"
                );
                self.is_credible(&seen);
            }
            Err(error) => self.is_told(&error),
        }
    }

    /// What is known of an invite stands in a reply.
    fn is_credible(&self, seen: &Observed) {
        if let Some(id) = &seen.provider_ref {
            self.is_of_reply(id);
        }
        if let Some(failure) = &seen.failure {
            self.is_told(failure);
        }
        let _ = seen.clone().since(NOW.parse().unwrap());
    }

    fn is_of_reply(&self, id: &str) {
        let known = self.remote().provider_ref;
        // A credential that a reply repeats is taken out of it.
        let mut pieces = id.split('…');
        let is_there = pieces.all(|piece| self.replies.iter().any(|reply| reply.holds(piece)));
        assert!(is_there || known.as_deref() == Some(id), "no reply names {id:?}");
        assert!(!id.is_empty(), "an id that is none");
    }

    /// An error says what it may, on one line.
    fn is_told(&self, error: &ProviderError) {
        self.is_silent("an error", &error.message);
        assert!(error.message.len() < 2_000, "{} bytes", error.message.len());
        if let Some(code) = &error.code {
            assert_plain("a code", code);
            assert!(code.len() <= 100, "{} bytes of code", code.len());
        }
        for item in &error.items {
            self.is_silent("a fault", &format!("{} {}", item.fault.code, item.fault.detail));
        }
        error.unpaired.iter().for_each(|id| self.is_of_reply(id));
    }

    /// A success that cannot be read may have been one.
    fn leaves_open(&self, error: &ProviderError) {
        self.is_told(error);
        if self.is_garbage() && error.http_status.is_some_and(|status| status < 300) {
            assert_eq!(error.outcome, Outcome::Unknown, "{error:?}");
        }
    }

    /// Neither a secret nor the person is in it.
    fn is_silent(&self, what: &str, text: &str) {
        assert_plain(what, text);
        assert!(!self.sent.is_some_and(|secret| text.contains(secret)), "{what}: {text}");
        let person = invitee(0);
        let known = [Some(person.email), person.first_name, person.last_name, person.phone];
        // Who asks about nobody knows no names.
        let is_known = |known: &&String| self.is_about_somebody || known.contains('@');
        for known in known.iter().flatten().filter(is_known) {
            assert!(!text.contains(known.as_str()), "{what} holds {known}: {text}");
        }
    }

    /// What was exchanged is shown without what cannot be read.
    fn excerpts(&self, context: &CallContext, recipient: &Invitee) {
        for exchange in context.exchanges() {
            let reply = exchange.reply.as_deref();
            let (own, replied) =
                (self.kind.excerpt)(exchange.request.as_deref(), reply, 0, recipient);
            let is_json = reply.is_none_or(|it| serde_json::from_str::<Value>(it).is_ok());
            let shown = plain_json(&replied).to_string();
            assert!(is_json || shown.len() < 100, "of what cannot be read: {shown}");
            let (mut found, plain) = (Vec::new(), plain_json(&replied));
            texts(&plain, &mut found);
            found.iter().for_each(|text| assert_plain("an excerpt", text));
            let own = own.to_string();
            let shows = |secret: &str| own.contains(secret) || shown.contains(secret);
            assert!(!self.sent.is_some_and(shows), "{own} {shown}");
        }
    }

    /// Nothing of what was answered can be read, although all of it is a success.
    fn is_garbage(&self) -> bool {
        self.replies.iter().all(|reply| reply.is_success() && !reply.is_json())
    }

    fn recipient(&self, number: usize) -> Recipient {
        let invitee = invitee(number);
        let invite = NewInvite { invitee: invitee.clone(), ..NewInvite::default() };
        let resolved = self.provider.resolve(&invite).unwrap();
        Recipient {
            id: InviteId::generate(),
            address: invitee.email.parse().unwrap(),
            invitee,
            destination: resolved.destination,
            params: resolved.params,
        }
    }

    /// The invite as it was known before.
    fn remote(&self) -> Remote {
        let Recipient { address, destination, invitee, .. } = self.recipient(0);
        let data = json!({
            "activity_id": "0196b0f7-801d-75d8-a40e-e4f69944b711", "fingerprint": "sha256:1",
            "identity": "invites/1f2e", "session_id": "session-1", "event_id": "event-456",
        });
        Remote {
            destination,
            provider_ref: (self.known & 16 == 0).then(|| "known-1".to_owned()),
            data: data.as_object().cloned().unwrap(),
            invitee,
            address,
            index: 0,
            status: choose(self.known & 15, &STATUSES),
            expires_at: None,
            revoke_sent: self.known & 128 != 0,
        }
    }
}

fn invitee(number: usize) -> Invitee {
    let [first_name, email] =
        [["Tamsinora", "tamsinora@example.org"], ["Grace", "grace@example.org"]][number];
    Invitee {
        email: email.to_owned(),
        first_name: Some(first_name.to_owned()),
        last_name: Some("Quillfeather".to_owned()),
        phone: Some("+15552000001".to_owned()),
        message: Some("You are invited.".to_owned()),
    }
}
