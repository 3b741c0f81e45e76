//! The one door to a provider: everything that is ever asked of one goes through here.
//!
//! Here a request waits until it may start, and how it ended is obeyed and told: what the reply says of
//! waiting, how the lane fares, its counters and its last error, metrics and log. What a reply means for
//! invites is its caller's to say, and the attempt that it was is [`crate::record`]'s.

use std::{sync::Arc, time::Duration};

use invite_config::Provider;
use invite_core::{
    AttemptId, AttemptOutcome, BatchId, Cause, Destination, InviteId, Lookup, Operation, Outcome,
    ProviderError, Sighting, Stopwatch,
    http::{CallContext, Exchange},
    sabotage::crash_point,
};
use invite_store::InviteRecord;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    lane::{Event, Lane},
    shared::Shared,
};

/// Everything that is asked of one provider about one subject.
pub(crate) struct Door<'a> {
    pub shared: &'a Arc<Shared>,
    pub lane: &'a Lane,
    pub provider: &'a Provider,
    pub subject: Subject,
}

/// What a request is about, for the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    pub attempt: Option<AttemptId>,
    /// Where all of its invites are of one.
    pub batch: Option<BatchId>,
    /// Where there is one only.
    pub invite: Option<InviteId>,
    /// How many there are.
    pub invites: usize,
    /// The W3C trace of who asked.
    pub trace: Option<Arc<str>>,
}

impl Subject {
    /// What concerns these invites.
    pub fn of<'a>(invites: impl IntoIterator<Item = &'a InviteRecord>) -> Self {
        let mut invites = invites.into_iter();
        let Some(first) = invites.next() else { return Self::default() };
        let (mut count, mut is_one_batch) = (1, true);
        for invite in invites {
            count += 1;
            is_one_batch &= invite.batch_id == first.batch_id;
        }
        Self {
            batch: is_one_batch.then_some(first.batch_id),
            invite: (count == 1).then_some(first.id),
            invites: count,
            ..Self::default()
        }
    }
}

/// The provider's rate budget leaves no room for as long as somebody waits.
#[derive(Debug)]
pub(crate) struct Busy;

/// When a request began.
#[derive(Clone)]
pub(crate) struct Begun {
    pub at: Timestamp,
    /// Since then, by whichever clock says more: meanwhile the machine may be suspended.
    pub age: Arc<Stopwatch>,
    started: Instant,
}

/// What something that was asked came to.
pub(crate) struct Asked<T> {
    pub result: Result<T, ProviderError>,
    pub begun: Begun,
    /// The last exchange.
    pub exchange: Option<Exchange>,
}

impl<T> Asked<T> {
    /// The same with another form of what was answered.
    pub fn map<U>(self, form: impl FnOnce(T) -> U) -> Asked<U> {
        let Self { result, begun, exchange } = self;
        Asked { result: result.map(form), begun, exchange }
    }
}

impl Door<'_> {
    /// Waits until something may be asked for a person, but not for longer than `patience`; and for nothing
    /// while the provider asked to be left alone for longer than that.
    pub async fn wait_for_person(&self, patience: Duration) -> Result<(), Busy> {
        let eased = self.lane.with_state(|state| state.eased(self.shared.clock.now()));
        let left = eased.unwrap_or_default();
        if left >= patience {
            return Err(Busy);
        }
        let waiting = async {
            tokio::time::sleep(left).await;
            self.lane.take_token(&self.provider.limits).await;
        };
        tokio::time::timeout(patience, waiting).await.map_err(|_| Busy)
    }

    /// Waits until the engine may ask something by itself: one question at a time, beside the creates.
    pub async fn wait_for_turn(&self) {
        self.lane.take_turn(&self.provider.limits, &*self.shared.clock).await;
    }

    /// The context of what is asked: each request starts when the rate budget allows it.
    pub fn context(&self) -> CallContext {
        self.lane.context(&self.provider.limits)
    }

    /// Something begins to be asked.
    pub fn begin(&self) -> Begun {
        let age = Arc::new(Stopwatch::start(self.shared.clock.clone()));
        Begun { at: self.shared.clock.now(), age, started: Instant::now() }
    }

    /// Asks, and obeys what the replies say of waiting, whatever they were to. How it ended has to be told
    /// by the caller, with [`Self::hear`] or [`Self::tell`].
    pub async fn make<T>(
        &self,
        context: &CallContext,
        ask: impl AsyncFnOnce(&CallContext) -> T,
    ) -> T {
        let answer = context.apart(ask(context)).await;
        self.lane.ease(context, &self.provider.limits.retry, self.shared.clock.now());
        answer
    }

    /// Asks something that is no create, where a wait is over.
    pub async fn ask<T>(
        &self,
        operation: Operation,
        destination: Option<&Destination>,
        ask: impl AsyncFnOnce(&CallContext) -> Result<T, ProviderError>,
    ) -> Asked<T> {
        let (begun, context) = (self.begin(), self.context());
        let result = self.make(&context, ask).await;
        self.hear(operation, destination, &begun, result.as_ref().err()).await;
        Asked { result, begun, exchange: context.exchanges().pop() }
    }

    /// Looks up calls page by page, each in its turn, for no longer than `within`.
    pub async fn look_up(
        &self,
        lookup: Lookup,
        within: Option<Duration>,
    ) -> Asked<Vec<Vec<Sighting>>> {
        let (begun, destination) = (self.begin(), lookup.destination.clone());
        let (mut is_asked, mut exchange) = (false, None);
        let searching = self.search(lookup, &mut is_asked, &mut exchange);
        let searched = match within {
            None => Ok(searching.await),
            Some(within) => tokio::time::timeout(within, searching).await,
        };
        let result = searched.unwrap_or_else(|_| {
            Err(match is_asked {
                true => ProviderError::new(Outcome::Unknown, "the look-up took too long"),
                // It is our own budget's doing, and says nothing of the provider.
                false => ProviderError::new(
                    Outcome::Throttled,
                    "the provider's rate budget (limits.requests_per_second) left the look-up no turn in time",
                ),
            })
        });
        self.hear(Operation::Reconcile, Some(&destination), &begun, result.as_ref().err()).await;
        Asked { result, begun, exchange }
    }

    async fn search(
        &self,
        lookup: Lookup,
        is_asked: &mut bool,
        exchange: &mut Option<Exchange>,
    ) -> Result<Vec<Vec<Sighting>>, ProviderError> {
        let mut reconciliation = self.provider.adapter.reconcile(lookup);
        loop {
            self.wait_for_turn().await;
            let context = self.context();
            crash_point("reconcile-before-request");
            *is_asked = true;
            let step =
                self.make(&context, async |context| reconciliation.step(context).await).await;
            crash_point("reconcile-after-reply");
            *exchange = context.exchanges().pop();
            if let Some(seen) = step? {
                return Ok(seen);
            }
        }
    }

    /// Obeys and tells how something ended that was asked and is no create.
    pub async fn hear(
        &self,
        operation: Operation,
        destination: Option<&Destination>,
        begun: &Begun,
        error: Option<&ProviderError>,
    ) {
        self.tell(operation, AttemptOutcome::of(error), error, begun);
        if let Some(event) = self.event(error)
            && self.is_heeded(destination, &event).await
        {
            self.take(destination, &event, error);
        }
    }

    /// Tells counters, last error, metrics and log how something ended that was asked.
    pub fn tell(
        &self,
        operation: Operation,
        outcome: AttemptOutcome,
        error: Option<&ProviderError>,
        begun: &Begun,
    ) {
        let (name, now) = (&self.lane.name, self.shared.clock.now());
        self.lane.with_state(|state| state.count(operation, outcome, error, now));
        let took = begun.started.elapsed();
        metrics::counter!("invite_attempts_total", "provider" => name.clone(),
            "operation" => operation.as_str(), "outcome" => outcome.as_str())
        .increment(1);
        metrics::histogram!("invite_attempt_duration_seconds", "provider" => name.clone(),
            "operation" => operation.as_str())
        .record(took.as_secs_f64());
        let Subject { attempt, batch, invite, invites, trace } = &self.subject;
        let attempt = attempt.map(|id| id.to_string());
        let (batch, invite) = (batch.map(|id| id.to_string()), invite.map(|id| id.to_string()));
        let of_trace = trace.as_deref().and_then(|trace| trace.split('-').nth(1));
        let took = took.as_secs_f64();
        macro_rules! line {
            ($level:ident, $($text:tt)*) => {
                tracing::$level!(
                    provider.name = name, operation = operation.as_str(), outcome = outcome.as_str(),
                    took.seconds = took, invites,
                    attempt.id = attempt, batch.id = batch, invite.id = invite, trace.id = of_trace,
                    $($text)*
                )
            };
        }
        match error {
            None if operation == Operation::Create => {
                let noun = if *invites == 1 { "invite" } else { "invites" };
                line!(info, "created {invites} {noun} at {name}");
            }
            None => line!(debug, "{name} answered to {operation}"),
            // What a person asked for was refused to them; a create that is refused is the operator's business.
            Some(error) if error.outcome == Outcome::Rejected && operation != Operation::Create => {
                line!(info, "{operation} at {name} was refused: {error}");
            }
            Some(error) => line!(warn, "{operation} at {name} did not succeed: {error}"),
        }
    }

    /// Takes a call's end into the lane's health.
    pub fn take(
        &self,
        destination: Option<&Destination>,
        event: &Event,
        error: Option<&ProviderError>,
    ) {
        let (retry, now) = (&self.provider.limits.retry, self.shared.clock.now());
        self.lane.with_state(|state| match destination {
            Some(destination) => state.take(destination, event, error, retry, now),
            None => state.take_of_whole(event, error, retry, now),
        });
        self.lane.tell_of_change(self.shared);
    }

    /// What the end of a question says of how the provider is doing. A wait that is asked for counts whoever
    /// asked; a refused credential pauses nothing, as what it may ask may differ from what it may create.
    fn event(&self, error: Option<&ProviderError>) -> Option<Event> {
        let Some(error) = error else { return Some(Event::Success) };
        let told = error.retry_after;
        match (error.outcome, error.cause) {
            (Outcome::Throttled, _) if error.is_of_own_budget() => None,
            (Outcome::Rejected, _) | (_, Cause::Credentials) => None,
            (Outcome::Throttled, _) => Some(Event::Throttled(told)),
            _ if told.is_some() => Some(Event::Throttled(told)),
            (outcome, cause) => Some(Event::Failing {
                unreachable: outcome == Outcome::NotSent && cause == Cause::Transport,
            }),
        }
    }

    /// Whether the end of a question says how the provider is doing: a wait that is asked for does always,
    /// and anything at a destination that is paused while no create is due there, which would.
    async fn is_heeded(&self, destination: Option<&Destination>, event: &Event) -> bool {
        if matches!(event, Event::Throttled(_)) {
            return true;
        }
        let paused = destination
            .filter(|destination| self.lane.with_state(|state| state.is_paused(destination)));
        let Some(destination) = paused else { return false };
        let (store, now) = (&self.shared.store, self.shared.clock.now());
        let is_due = store.is_any_due(&self.lane.name, destination, now).await;
        is_due.map_or_else(
            |error| {
                let name = &self.lane.name;
                tracing::error!(provider.name = name, %error, "cannot read whether invites to {name} are due");
                false
            },
            |is_due| !is_due,
        )
    }
}
