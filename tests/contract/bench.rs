//! Where a check runs: one adapter, its simulator, what stands between them, and time. Every call
//! to the adapter goes through here, so that what holds for every call is checked on every call.

use std::{
    io::{Read, Seek},
    sync::Arc,
    time::{Duration, Instant},
};

use invite_core::{
    Account, Capabilities, Clock, Destination, Doubt, Fault, InviteId, InviteProvider, Invitee,
    ListQuery, Lookup, ManualClock, NewInvite, Observed, Page, PreparedCall, ProbeReport,
    ProviderError, Recipient, Remote, Resolved, Sighting, Status, SystemClock, http::CallContext,
    secret::CredentialUse,
};
use invite_sandbox::Sandbox;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tracing_subscriber::util::SubscriberInitExt;

use crate::{
    Run,
    audit::Audit,
    people::{invite, person},
    simulator::Simulator,
    subject::Subject,
    wire::Wire,
};

/// One result per recipient, or one for all.
pub type Created = Result<Vec<Result<Observed, ProviderError>>, ProviderError>;

/// Everything that one check needs.
pub struct Bench {
    pub subject: Subject,
    pub simulator: Simulator,
    pub wire: Arc<Wire>,
    /// The adapter's clock. It stands still at the start of the check, unless moved.
    pub clock: ManualClock,
    pub audit: Arc<Audit>,
    /// The adapter with a good secret.
    pub provider: Provider,
    _sandbox: Sandbox,
}

/// Runs a check, and then looks at what was said and recorded during it.
pub async fn run(subject: Subject, covers: &[&str], check: Run) {
    let log = Arc::new(tempfile::tempfile().unwrap());
    let ours = format!("invite_core=trace,invite_{}=trace", subject.kind.name);
    let bench = Bench::start(subject).await;
    let subscriber = tracing_subscriber::fmt().with_env_filter(ours).with_writer(log.clone());
    let logged = subscriber.finish().set_default();
    check(&bench).await;
    drop(logged);
    let mut text = String::new();
    (&*log).rewind().unwrap();
    (&*log).read_to_string(&mut text).unwrap();
    bench.audit.says(&text);
    bench.audit.finish(&bench.wire, covers);
}

impl Bench {
    async fn start(subject: Subject) -> Self {
        let sandbox = invite_sandbox::start(invite_sandbox::Options::default()).await.unwrap();
        let url = sandbox.url(subject.kind.name).unwrap();
        let wire = Arc::new(Wire::to(&url).await);
        let clock = ManualClock::new(SystemClock.now());
        let audit = Arc::new(Audit::default());
        let part = subject.part(&wire.url, &[subject.good]);
        audit.secret(subject.good);
        audit.operation("kind.build");
        let adapter = subject.build(&part, Arc::new(clock.clone())).unwrap();
        let provider = Provider::new(adapter, &audit, &wire);
        let simulator = Simulator::at(url);
        Self { subject, simulator, wire, clock, audit, provider, _sandbox: sandbox }
    }

    /// The adapter with other secrets.
    pub fn with_secrets(&self, secrets: &[&str]) -> Provider {
        self.with(json!({}), secrets)
    }

    /// The adapter with other settings and secrets.
    pub fn with(&self, settings: Value, secrets: &[&str]) -> Provider {
        secrets.iter().for_each(|secret| self.audit.secret(secret));
        let mut part = self.subject.part(&self.wire.url, secrets);
        for (name, value) in settings.as_object().unwrap() {
            part[name] = value.clone();
        }
        let adapter = self.subject.build(&part, Arc::new(self.clock.clone())).unwrap();
        Provider::new(adapter, &self.audit, &self.wire)
    }

    /// Time passes, here and at the provider.
    pub async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        let offset = self.clock.now().duration_since(SystemClock.now()).as_millis() as i64;
        self.simulator.set(json!({ "clock_offset_ms": offset })).await;
    }

    /// The adapter's time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The recipient of this number, bound to the provider.
    pub fn recipient(&self, number: usize) -> Recipient {
        self.recipient_of(&person(number))
    }

    pub fn recipients(&self, numbers: std::ops::Range<usize>) -> Vec<Recipient> {
        numbers.map(|number| self.recipient(number)).collect()
    }

    pub fn recipient_of(&self, invitee: &Invitee) -> Recipient {
        self.bound(&self.provider, invitee)
    }

    /// A recipient as `provider` binds it.
    pub fn bound(&self, provider: &Provider, invitee: &Invitee) -> Recipient {
        self.audit.person(invitee);
        let Resolved { destination, params, .. } = provider.resolve(&invite(invitee)).unwrap();
        Recipient {
            id: InviteId::generate(),
            invitee: invitee.clone(),
            address: invitee.email.parse().unwrap(),
            destination,
            params,
        }
    }

    /// The frozen call for these recipients.
    pub async fn call(&self, recipients: &[Recipient]) -> PreparedCall {
        self.provider.prepare(recipients, self.clock.now()).await.unwrap()
    }

    /// What came of inviting the person of this number while this fault holds.
    pub async fn create_under(
        &self,
        rule: Value,
        number: usize,
    ) -> (Recipient, PreparedCall, Created) {
        let recipients = [self.recipient(number)];
        let call = self.call(&recipients).await;
        self.simulator.fault(rule).await;
        let created = self.provider.create(&call, &recipients).await;
        self.simulator.clear_faults().await;
        let [recipient] = recipients;
        (recipient, call, created)
    }

    /// An invite to the person of this number, which exists at the provider.
    pub async fn invited(&self, number: usize) -> (Recipient, Remote) {
        let recipients = [self.recipient(number)];
        let call = self.call(&recipients).await;
        let created = self.provider.create(&call, &recipients).await;
        let observed = each(created, 1).remove(0).unwrap();
        let [recipient] = recipients;
        let remote = remote(&recipient, &observed);
        (recipient, remote)
    }

    /// A call whose outcome is unknown, begun just now.
    pub fn doubt(&self, call: &PreparedCall, recipients: &[Recipient]) -> Doubt {
        let now = self.clock.now();
        Doubt {
            call: call.clone(),
            recipients: recipients.to_vec(),
            first_attempts: vec![now; recipients.len()],
            absence_counts: vec![true; recipients.len()],
            started_at: now,
            data: Map::new(),
        }
    }

    /// What a claim about one recipient is worth: the effects that there are.
    pub async fn assert_claim(&self, email: &str, result: &Result<Observed, ProviderError>) {
        use invite_core::Outcome::{NotSent, Rejected, Throttled, Unknown};
        let effects = self.simulator.effects_for(email).await;
        match result {
            Ok(observed) => {
                let ids: Vec<_> = effects.iter().map(|effect| effect["id"].as_str()).collect();
                assert_eq!(ids, [observed.provider_ref.as_deref()], "claimed to exist");
            }
            Err(error) => match error.outcome {
                NotSent | Throttled | Rejected => {
                    assert_eq!(effects.len(), 0, "claimed to be without effect: {error:?}");
                }
                Unknown => assert!(effects.len() <= 1, "{effects:?}"),
            },
        }
    }
}

/// The invite of a recipient, as the store would remember it.
pub fn remote(recipient: &Recipient, observed: &Observed) -> Remote {
    Remote {
        destination: recipient.destination.clone(),
        provider_ref: observed.provider_ref.clone(),
        data: observed.data.clone(),
        invitee: recipient.invitee.clone(),
        address: recipient.address.clone(),
        index: 0,
        status: observed.status,
        expires_at: observed.expires_at,
        revoke_sent: false,
    }
}

/// The result of each of `count` recipients.
pub fn each(created: Created, count: usize) -> Vec<Result<Observed, ProviderError>> {
    match created {
        Ok(results) => {
            assert_eq!(results.len(), count, "one result per recipient");
            results
        }
        Err(error) => vec![Err(error); count],
    }
}

/// The error of the one recipient of a call.
pub fn refusal(created: Created) -> ProviderError {
    each(created, 1).remove(0).unwrap_err()
}

/// An adapter; what it says and records is kept for the audit.
#[derive(Clone)]
pub struct Provider {
    pub adapter: Arc<dyn InviteProvider>,
    pub timeout: Duration,
    pub offline: bool,
    audit: Arc<Audit>,
    wire: Arc<Wire>,
}

impl Provider {
    fn new(adapter: Arc<dyn InviteProvider>, audit: &Arc<Audit>, wire: &Arc<Wire>) -> Self {
        audit.says(&format!("{adapter:?} {:?}", adapter.credential()));
        let timeout = Duration::from_secs(20);
        Self { adapter, timeout, offline: false, audit: audit.clone(), wire: wire.clone() }
    }

    /// The same adapter with less time for each attempt.
    pub fn hurried(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// The same adapter in a dry run.
    pub fn offline(&self) -> Self {
        Self { offline: true, ..self.clone() }
    }

    pub fn capabilities(&self) -> Capabilities {
        self.audit.operation("capabilities");
        self.adapter.capabilities().clone()
    }

    /// How the secrets fared, in their order.
    pub fn usage(&self) -> Vec<CredentialUse> {
        self.audit.operation("credential");
        let usage = self.adapter.credential().usage();
        self.audit.says(&format!("{usage:?}"));
        usage
    }

    pub fn resolve(&self, invite: &NewInvite) -> Result<Resolved, Vec<Fault>> {
        self.audit.operation("resolve");
        let result = self.adapter.resolve(invite);
        if let Err(faults) = &result {
            self.audit.says(&format!("{faults:?}"));
        }
        result
    }

    pub async fn prepare(
        &self,
        recipients: &[Recipient],
        at: Timestamp,
    ) -> Result<PreparedCall, ProviderError> {
        let context = self.context();
        let began = Instant::now();
        let result = self.adapter.prepare(&context, recipients, at).await;
        // A call holds its recipients, so only whether there is one is said.
        let said = result.as_ref().map(|_| ()).map_err(Clone::clone);
        self.audit.call("prepare", &context, (began.elapsed(), self.timeout), &said);
        result
    }

    pub async fn create(&self, call: &PreparedCall, recipients: &[Recipient]) -> Created {
        let result =
            self.attempt("create", async |c| self.adapter.create(c, call, recipients).await).await;
        for error in result.iter().flatten().filter_map(|each| each.as_ref().err()) {
            self.audit.error(error);
        }
        result
    }

    pub async fn get(&self, remote: &Remote) -> Result<Observed, ProviderError> {
        self.attempt("get", async |c| self.adapter.get(c, remote).await).await
    }

    pub async fn list(&self, query: &ListQuery) -> Result<Page, ProviderError> {
        let context = self.context();
        let began = Instant::now();
        let result = self.adapter.list(&context, query).await;
        let said = result.as_ref().map(|page| &page.invites).map_err(Clone::clone);
        self.audit.call("list", &context, (began.elapsed(), self.timeout), &said);
        result
    }

    pub async fn update_status(
        &self,
        remote: &Remote,
        to: Status,
    ) -> Result<Observed, ProviderError> {
        let update = async |c: &CallContext| self.adapter.update_status(c, remote, to).await;
        self.attempt("update_status", update).await
    }

    pub async fn revoke(&self, remote: &Remote, force: bool) -> Result<Observed, ProviderError> {
        self.attempt("revoke", async |c| self.adapter.revoke(c, remote, force).await).await
    }

    pub async fn probe(&self) -> Result<ProbeReport, ProviderError> {
        self.attempt("probe", async |c| self.adapter.probe(c).await).await
    }

    pub async fn account(&self) -> Result<Option<Account>, ProviderError> {
        self.attempt("account", async |c| self.adapter.account(c).await).await
    }

    /// Follows a lookup of these calls to its end, one request at a step.
    pub async fn look(&self, doubts: &[Doubt]) -> Result<Vec<Vec<Sighting>>, ProviderError> {
        let destination = doubts[0].call.destination.clone();
        self.look_at(destination, doubts).await
    }

    pub async fn look_at(
        &self,
        destination: Destination,
        doubts: &[Doubt],
    ) -> Result<Vec<Vec<Sighting>>, ProviderError> {
        let before = self.wire.requests().len();
        let mut lookup = self.adapter.reconcile(Lookup { destination, doubts: doubts.to_vec() });
        self.audit.operation("reconcile");
        assert_eq!(self.wire.requests().len(), before, "a lookup sends nothing before its steps");
        for _ in 0..1000 {
            let before = self.wire.calls().len();
            let context = self.context();
            let began = Instant::now();
            let step = lookup.step(&context).await;
            let said = step.as_ref().map(|seen| seen.is_some()).map_err(Clone::clone);
            self.audit.call("step", &context, (began.elapsed(), self.timeout), &said);
            let asked = self.wire.calls().len() - before;
            assert!(asked <= 1, "a step made {asked} requests");
            if let Some(seen) = step? {
                let shape: Vec<usize> = seen.iter().map(Vec::len).collect();
                let expected: Vec<usize> = doubts.iter().map(|d| d.recipients.len()).collect();
                assert_eq!(shape, expected, "a sighting for each recipient of each doubt");
                return Ok(seen);
            }
        }
        panic!("the lookup does not end");
    }

    fn context(&self) -> CallContext {
        if self.offline { CallContext::offline() } else { CallContext::new(self.timeout) }
    }

    async fn attempt<T: std::fmt::Debug>(
        &self,
        operation: &str,
        call: impl AsyncFnOnce(&CallContext) -> Result<T, ProviderError>,
    ) -> Result<T, ProviderError> {
        let context = self.context();
        let began = Instant::now();
        let result = call(&context).await;
        self.audit.call(operation, &context, (began.elapsed(), self.timeout), &result);
        result
    }
}
