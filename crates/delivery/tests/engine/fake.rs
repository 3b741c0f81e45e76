//! A made-up provider that answers as a test says, remembers what it was asked, and has effects.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use invite_core::{
    Account, Capabilities, CreateCapability, Fault, InviteProvider, Invitee, Limits, ListQuery,
    Lookup, NewInvite, Observed, Outcome, Page, PreparedCall, ProbeReport, ProviderError,
    ProviderKind, Recipient, Reconciliation, Remote, Resolved, SentWith, Status,
    http::{CallContext, HttpClient},
    secret::Credential,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{sync::Notify, time::Instant};

use crate::{fake_lookup::ByAddress, fake_peer::Reply};

pub const BASE_URL: &str = "http://127.0.0.1:9";

/// What becomes of a create call.
pub enum Answer {
    /// It takes effect and says so.
    Takes,
    /// It is still being worked on.
    Works,
    /// People have to approve it first.
    AwaitsApproval,
    /// It takes effect but for those at these places, which it refuses alike.
    TakesBut(Vec<usize>, ProviderError),
    /// It has no effect.
    Fails(ProviderError),
    /// It takes effect, and names the ids but not whose they are; look-ups recognize nobody.
    Names,
    /// It takes effect, but does not say so.
    TakesButFails(ProviderError),
    /// Not before it is let go on.
    After(Arc<Notify>, Box<Answer>),
}

/// A create call as it came in.
pub struct Asked {
    pub to: Vec<String>,
    pub at: Instant,
}

type Rule = Box<dyn FnMut(&[String]) -> Answer + Send>;

pub struct Inner {
    rule: Rule,
    pub asked: Vec<Asked>,
    /// Ids in the order in which they came about.
    pub effects: Vec<(String, String)>,
    /// The address that a list shows under an id, where it is not the true one; empty: none.
    pub shown_as: BTreeMap<String, String>,
    /// What `get` and `list` say of an id, `Pending` where it is not in here.
    pub states: BTreeMap<String, [Status; 2]>,
    /// What look-ups were told of when each invite was first tried.
    pub first_attempts: Vec<Vec<Timestamp>>,
    /// What look-ups were told of whose absence counts.
    pub absence_counts: Vec<Vec<bool>>,
    /// Why nothing can be asked.
    pub silence: Option<ProviderError>,
    pub lookups: usize,
    /// The next look-up waits for this once it has come.
    pub lookup_waits_for: Option<Arc<Notify>>,
    /// Why no look-up comes to an end.
    pub lookups_fail: Option<ProviderError>,
    /// How the provider ended calls that had no effect, as whoever asks about them sees it.
    pub ended: Option<ProviderError>,
    /// Look-ups show calls that had no effect as still being worked on.
    pub is_working: bool,
    pub lists: usize,
    /// The next question about invites that exist waits for this once it has come.
    pub question_waits_for: Option<Arc<Notify>>,
    pub is_blind: bool,
    /// Look-ups show invites in a spelling that nobody recognizes.
    pub is_respelling: bool,
    /// Ids of invites to anybody that look-ups show as similar.
    pub similar: Vec<String>,
    /// Equal bytes are one call.
    pub is_idempotent: bool,
    /// The id that `get` shows in the place of another.
    pub shown_for: BTreeMap<String, String>,
    /// Why nothing is withdrawn.
    pub refusal: Option<ProviderError>,
    /// Withdrawals wait for this.
    pub withdrawal_waits_for: Option<Arc<Notify>>,
    /// Of each withdrawal asked for: whether one was said to have been sent before.
    pub withdrawals: Vec<bool>,
    pub panics_in_prepare: usize,
    /// What the next request of an operation is answered with.
    pub reply: Option<Reply>,
}

/// The provider's side, shared with the test.
#[derive(Clone)]
pub struct World(Arc<Mutex<Inner>>);

impl Inner {
    /// From now on calls are answered so.
    pub fn rule_is(&mut self, rule: impl FnMut(&[String]) -> Answer + Send + 'static) {
        self.rule = Box::new(rule);
    }
}

impl World {
    pub fn new(rule: impl FnMut(&[String]) -> Answer + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            rule: Box::new(rule),
            asked: Vec::new(),
            effects: Vec::new(),
            shown_as: BTreeMap::new(),
            states: BTreeMap::new(),
            first_attempts: Vec::new(),
            absence_counts: Vec::new(),
            silence: None,
            lookups: 0,
            lookup_waits_for: None,
            lookups_fail: None,
            ended: None,
            is_working: false,
            lists: 0,
            question_waits_for: None,
            is_blind: false,
            is_respelling: false,
            similar: Vec::new(),
            is_idempotent: false,
            shown_for: BTreeMap::new(),
            refusal: None,
            withdrawal_waits_for: None,
            withdrawals: Vec::new(),
            panics_in_prepare: 0,
            reply: None,
        })))
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    async fn answer_later(&self) {
        let waits_for = self.lock().question_waits_for.take();
        if let Some(waits_for) = waits_for {
            waits_for.notified().await;
        }
    }

    /// The calls so far, each by the names before the `@`.
    pub fn calls(&self) -> Vec<String> {
        let name = |address: &String| address.split('@').next().unwrap().to_owned();
        let names = |asked: &Asked| asked.to.iter().map(name).collect::<Vec<_>>().join(" ");
        self.lock().asked.iter().map(names).collect()
    }

    /// How many effects there are for a name.
    pub fn effects_of(&self, name: &str) -> usize {
        let prefix = format!("{name}@");
        self.lock().effects.iter().filter(|(to, _)| to.starts_with(&prefix)).count()
    }
}

#[derive(Clone)]
struct Fake {
    world: World,
    capabilities: Capabilities,
    credential: Arc<Credential>,
    http: HttpClient,
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fake")
    }
}

/// The kind, whose providers live in this world.
pub fn kind(world: World) -> ProviderKind {
    ProviderKind {
        name: "fake",
        capabilities: capabilities(&world),
        config_schema: json!({"type": "object", "properties": {"base_url": {"type": "string"}}}),
        options_schema: Value::Null,
        account_settings: &["base_url"],
        default_limits: Limits { requests_per_second: 10_000.0, ..Limits::default() },
        codes: &[],
        build: Box::new(move |part| {
            let credential = Arc::new(Credential::new(Vec::new()));
            let (world, capabilities) = (world.clone(), capabilities(&world));
            Ok(Arc::new(Fake { world, capabilities, credential, http: part.http.clone() }))
        }),
        excerpt: |_, _, _, _| (Value::Null, Value::Null),
        read_back: |_, _, _| SentWith::default(),
    }
}

fn capabilities(world: &World) -> Capabilities {
    Capabilities {
        create: CreateCapability {
            native_batch: true,
            max_batch: 100,
            idempotent: world.lock().is_idempotent,
            required_fields: Vec::new(),
            fields: Vec::new(),
        },
        get: true,
        list: true,
        update_status: vec![Status::Accepted],
        revoke: true,
        reconcile: "by address".into(),
        approval: false,
    }
}

pub fn observed(id: &str, email: &str, status: Status) -> Observed {
    Observed {
        invitee: Some(Invitee { email: email.to_owned(), ..Invitee::default() }),
        ..Observed::new(Some(id.to_owned()), status)
    }
}

#[async_trait]
impl InviteProvider for Fake {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn resolve(&self, _: &NewInvite) -> Result<Resolved, Vec<Fault>> {
        Err(Vec::new())
    }

    async fn prepare(
        &self,
        _: &CallContext,
        recipients: &[Recipient],
        _: Timestamp,
    ) -> Result<PreparedCall, ProviderError> {
        let panics = {
            let mut world = self.world.lock();
            let left = world.panics_in_prepare;
            world.panics_in_prepare = left.saturating_sub(1);
            left > 0
        };
        assert!(!panics, "made up");
        Ok(PreparedCall {
            destination: recipients[0].destination.clone(),
            path: "/".into(),
            body: "{}".into(),
            fingerprint: None,
            account: None,
        })
    }

    async fn create(
        &self,
        context: &CallContext,
        _: &PreparedCall,
        recipients: &[Recipient],
    ) -> Result<Vec<Result<Observed, ProviderError>>, ProviderError> {
        let to: Vec<String> = recipients.iter().map(|r| r.address.as_str().to_owned()).collect();
        let (mut answer, is_repeat) = {
            let mut world = self.world.lock();
            let is_repeat = world.is_idempotent && world.asked.iter().any(|asked| asked.to == to);
            world.asked.push(Asked { to: to.clone(), at: Instant::now() });
            ((world.rule)(&to), is_repeat)
        };
        let operation = if is_repeat { "repeat" } else { "create" };
        self.world.ask_peer(operation, &self.http, context).await?;
        while let Answer::After(gate, then) = answer {
            gate.notified().await;
            answer = *then;
        }
        if let Answer::Fails(error) = answer {
            return Err(error);
        }
        let all = |status| Ok(vec![Ok(Observed::new(None, status)); to.len()]);
        match answer {
            Answer::Works => return all(Status::Sending),
            Answer::AwaitsApproval => return all(Status::AwaitingApproval),
            _ => {}
        }
        let mut world = self.world.lock();
        let mut results = Vec::new();
        for (place, address) in to.into_iter().enumerate() {
            if let Answer::TakesBut(places, error) = &answer
                && places.contains(&place)
            {
                results.push(Err(error.clone()));
                continue;
            }
            let id = format!("id-{}", world.effects.len());
            results.push(Ok(observed(&id, &address, Status::Pending)));
            world.effects.push((address, id));
        }
        match answer {
            Answer::TakesButFails(error) => Err(error),
            Answer::Names => {
                world.is_respelling = true;
                let ids = results.iter().flatten().filter_map(|seen| seen.provider_ref.clone());
                let error =
                    ProviderError { unpaired: ids.collect(), ..crate::error(Outcome::Unknown) };
                Ok(vec![Err(error); results.len()])
            }
            _ => Ok(results),
        }
    }

    async fn get(&self, context: &CallContext, remote: &Remote) -> Result<Observed, ProviderError> {
        self.world.ask_peer("get", &self.http, context).await?;
        self.world.answer_later().await;
        let world = self.world.lock();
        if let Some(error) = &world.silence {
            return Err(error.clone());
        }
        if let (Status::AwaitingApproval, Some(error)) = (remote.status, &world.ended) {
            let failure = Some(error.clone());
            return Ok(Observed { failure, ..Observed::new(None, Status::Failed) });
        }
        let id = remote.provider_ref.clone().ok_or_else(|| crate::error(Outcome::Rejected))?;
        let status = world.states.get(&id).map_or(Status::Pending, |states| states[0]);
        let id = world.shown_for.get(&id).unwrap_or(&id);
        Ok(observed(id, remote.address.as_str(), status))
    }

    async fn list(&self, context: &CallContext, _: &ListQuery) -> Result<Page, ProviderError> {
        self.world.ask_peer("list", &self.http, context).await?;
        self.world.lock().lists += 1;
        self.world.answer_later().await;
        let world = self.world.lock();
        if let Some(error) = &world.silence {
            return Err(error.clone());
        }
        let show = |(to, id): &(String, String)| {
            let status = world.states.get(id).map_or(Status::Pending, |states| states[1]);
            let shown = world.shown_as.get(id).unwrap_or(to);
            let seen = observed(id, shown, status);
            Observed { invitee: seen.invitee.filter(|_| !shown.is_empty()), ..seen }
        };
        Ok(Page { invites: world.effects.iter().map(show).collect(), next_cursor: None })
    }

    async fn update_status(
        &self,
        context: &CallContext,
        remote: &Remote,
        to: Status,
    ) -> Result<Observed, ProviderError> {
        self.world.ask_peer("update_status", &self.http, context).await?;
        Ok(observed("id-0", remote.address.as_str(), to))
    }

    async fn revoke(
        &self,
        context: &CallContext,
        remote: &Remote,
        _: bool,
    ) -> Result<Observed, ProviderError> {
        let email = remote.address.as_str();
        if self.world.ask_peer("revoke", &self.http, context).await? {
            return Ok(observed("id-0", email, Status::Revoked));
        }
        let gate = {
            let mut world = self.world.lock();
            world.withdrawals.push(remote.revoke_sent);
            world.withdrawal_waits_for.take()
        };
        if let Some(gate) = gate {
            gate.notified().await;
        }
        Err(self.world.lock().refusal.clone().unwrap_or_else(|| crate::error(Outcome::Unknown)))
    }

    fn reconcile(&self, lookup: Lookup) -> Box<dyn Reconciliation> {
        Box::new(ByAddress { world: self.world.clone(), http: self.http.clone(), lookup })
    }

    async fn account(&self, context: &CallContext) -> Result<Option<Account>, ProviderError> {
        self.world.ask_peer("account", &self.http, context).await?;
        Ok(None)
    }

    async fn probe(&self, context: &CallContext) -> Result<ProbeReport, ProviderError> {
        self.world.ask_peer("probe", &self.http, context).await?;
        match &self.world.lock().silence {
            Some(error) => Err(error.clone()),
            None => Ok(ProbeReport { detail: "made up".into() }),
        }
    }

    fn credential(&self) -> &Credential {
        &self.credential
    }
}
