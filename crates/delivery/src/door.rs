//! The one door to a provider: everything that is ever asked of one goes through here.
//!
//! Here a request waits until it may start; what its reply says of waiting is obeyed; and how it ended goes into
//! the lane's health, counters and last error, the metrics and the log. What a reply means for invites is its caller's
//! to say, and [`crate::commit`] stores it as an attempt.

use std::{sync::Arc, time::Duration};

use invite_config::Provider;
use invite_core::{
    AttemptId, AttemptOutcome, BatchId, Cause, Destination, InviteId, Lookup, Operation, Outcome,
    ProviderError, Sighting, Stopwatch,
    failpoint::failpoint,
    http::{CallContext, Exchange},
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
    /// The batch, if all invites are of one.
    pub batch: Option<BatchId>,
    /// The invite, if there is only one.
    pub invite: Option<InviteId>,
    pub invites: usize,
    /// The W3C trace of the request that asks.
    pub trace: Option<Arc<str>>,
}

impl Subject {
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

/// The provider's rate budget leaves no room in time.
#[derive(Debug)]
pub(crate) struct Busy;

/// When a request began.
#[derive(Clone)]
pub(crate) struct Begun {
    pub at: Timestamp,
    /// How long ago that was, by whichever clock says more: the machine may have been suspended since.
    pub age: Arc<Stopwatch>,
    started: Instant,
}

/// The result of a call, with what is stored of it.
pub(crate) struct Asked<T> {
    pub result: Result<T, ProviderError>,
    pub begun: Begun,
    pub exchange: Option<Exchange>,
}

impl<T> Asked<T> {
    pub fn map<U>(self, form: impl FnOnce(T) -> U) -> Asked<U> {
        let Self { result, begun, exchange } = self;
        Asked { result: result.map(form), begun, exchange }
    }
}

impl Door<'_> {
    /// Waits until a call for a person may start, at most for `max_wait`; fails at once if the provider asked to be
    /// left alone for longer than that.
    pub async fn wait_for_person(&self, max_wait: Duration) -> Result<(), Busy> {
        let left = self.lane.with_state(|state| state.backing_off(self.shared.clock.now()));
        let left = left.unwrap_or_default();
        if left >= max_wait {
            return Err(Busy);
        }
        let waiting = async {
            tokio::time::sleep(left).await;
            self.lane.wait_for_budget(&self.provider.limits).await;
        };
        tokio::time::timeout(max_wait, waiting).await.map_err(|_| Busy)
    }

    /// Waits until a question of the engine's own may start: only one at a time waits beside the creates.
    pub async fn wait_for_question(&self) {
        self.lane.wait_for_budget_to_ask(&self.provider.limits, &*self.shared.clock).await;
    }

    /// The context of a call: each of its requests starts when the rate budget allows it.
    pub fn context(&self) -> CallContext {
        self.lane.context(&self.provider.limits)
    }

    pub fn begin(&self) -> Begun {
        let age = Arc::new(Stopwatch::start(self.shared.clock.clone()));
        Begun { at: self.shared.clock.now(), age, started: Instant::now() }
    }

    /// Makes a call, and obeys what its replies say of waiting, whatever it was for. The caller has to say how it
    /// ended, with [`Self::finish`] or [`Self::report`].
    pub async fn call<T>(
        &self,
        context: &CallContext,
        ask: impl AsyncFnOnce(&CallContext) -> T,
    ) -> T {
        let answer = context.aside(ask(context)).await;
        self.lane.apply_hints(context, &self.provider.limits.retry, self.shared.clock.now());
        answer
    }

    /// Makes a call that is no create, once the caller has waited for the rate budget.
    pub async fn ask<T>(
        &self,
        operation: Operation,
        destination: Option<&Destination>,
        ask: impl AsyncFnOnce(&CallContext) -> Result<T, ProviderError>,
    ) -> Asked<T> {
        let (begun, context) = (self.begin(), self.context());
        let result = self.call(&context, ask).await;
        self.finish(operation, destination, &begun, result.as_ref().err()).await;
        Asked { result, begun, exchange: context.exchanges().pop() }
    }

    /// Looks up calls page by page, each page when the rate budget allows it, for no longer than `within`.
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
                // Our own budget is to blame, which says nothing of the provider.
                false => ProviderError::new(
                    Outcome::Throttled,
                    "the provider's rate budget (limits.requests_per_second) left the look-up no turn in time",
                ),
            })
        });
        self.finish(Operation::Reconcile, Some(&destination), &begun, result.as_ref().err()).await;
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
            self.wait_for_question().await;
            let context = self.context();
            failpoint("reconcile-before-request");
            *is_asked = true;
            let step =
                self.call(&context, async |context| reconciliation.step(context).await).await;
            failpoint("reconcile-after-reply");
            *exchange = context.exchanges().pop();
            if let Some(seen) = step? {
                return Ok(seen);
            }
        }
    }

    /// Reports how a call ended that is no create, and updates the lane's health by that.
    pub async fn finish(
        &self,
        operation: Operation,
        destination: Option<&Destination>,
        begun: &Begun,
        error: Option<&ProviderError>,
    ) {
        self.report(operation, AttemptOutcome::of(error), error, begun);
        if let Some(event) = self.health_event(error)
            && self.counts_for_health(destination, &event).await
        {
            self.update_health(destination, &event, error);
        }
    }

    /// Tells the lane's counters and last error, the metrics and the log how a call ended.
    pub fn report(
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
            // The person who asked is told of the refusal; that of a create is the operator's business.
            Some(error) if error.outcome == Outcome::Rejected && operation != Operation::Create => {
                line!(info, "{operation} at {name} was refused: {error}");
            }
            Some(error) => line!(warn, "{operation} at {name} did not succeed: {error}"),
        }
    }

    /// Updates the lane's health by how a call ended.
    pub fn update_health(
        &self,
        destination: Option<&Destination>,
        event: &Event,
        error: Option<&ProviderError>,
    ) {
        let (retry, now) = (&self.provider.limits.retry, self.shared.clock.now());
        self.lane.with_state(|state| match destination {
            Some(destination) => state.update(destination, event, error, retry, now),
            None => state.update_provider(event, error, retry, now),
        });
        self.lane.log_change(self.shared);
    }

    /// What the end of a question says of the provider's health. A wait that the provider asks for counts, whatever
    /// the question was. A refused credential does not: it may be good for creates and not for questions.
    fn health_event(&self, error: Option<&ProviderError>) -> Option<Event> {
        let Some(error) = error else { return Some(Event::Success) };
        let told = error.retry_after;
        match (error.outcome, error.cause) {
            (Outcome::Throttled, _) if error.is_of_own_budget() => None,
            (Outcome::Rejected, _) | (_, Cause::Credentials) => None,
            (Outcome::Throttled, _) => Some(Event::Throttled(told)),
            _ if told.is_some() => Some(Event::Throttled(told)),
            (outcome, cause) => Some(Event::Failing {
                pauses_at_once: outcome == Outcome::NotSent && cause == Cause::Transport,
            }),
        }
    }

    /// Whether the end of a question changes the lane's health. A wait that the provider asks for always does; anything
    /// else only at a destination that awaits a success while no create is due there, which would bring one.
    async fn counts_for_health(&self, destination: Option<&Destination>, event: &Event) -> bool {
        if matches!(event, Event::Throttled(_)) {
            return true;
        }
        let awaits = |it: &&Destination| self.lane.with_state(|state| state.awaits_success(it));
        let Some(destination) = destination.filter(awaits) else { return false };
        let (store, now) = (&self.shared.store, self.shared.clock.now());
        let is_due = store.is_any_due(&self.lane.name, destination, now).await;
        is_due.map_or_else(
            |error| {
                let name = &self.lane.name;
                tracing::warn!(provider.name = name, %error, "cannot read from the store whether invites to {name} are due");
                false
            },
            |is_due| !is_due,
        )
    }
}
