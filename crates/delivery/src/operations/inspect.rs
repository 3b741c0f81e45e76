//! What a person asks of a provider as a whole: how it is doing, whether its credential is good, and
//! what it lists.

use std::sync::Arc;

use invite_config::Provider;
use invite_core::{
    ListQuery, Operation, Page, Status,
    http::{CallContext, ClockDifference},
};
use invite_store::{Actor, Ended, LiveCounts};

use crate::{
    ask::{PERSON_WAITS, Result, question_error},
    door::Subject,
    error::OperationError,
    lane::{Counters, LastProbe, ProbeResult, ProviderStatus, Report},
    shared::Engine,
};

impl Engine {
    /// What the provider itself lists.
    ///
    /// # Errors
    /// The provider is not configured, offers no list, refused or did not answer.
    pub async fn list_remote(&self, provider: &str, query: &ListQuery) -> Result<Page> {
        let provider = self.provider(provider)?;
        self.wait_for_budget(&provider, PERSON_WAITS).await?;
        let lane = self.shared.lane(&provider.name);
        let door = self.door(&lane, &provider, Subject::default());
        let list = async |context: &CallContext| provider.adapter.list(context, query).await;
        let asked = door.ask(Operation::List, None, list).await;
        asked.result.map_err(|error| question_error(&provider, error))
    }

    /// Checks a provider's credential without side effects.
    ///
    /// # Errors
    /// The provider is not configured, refused or did not answer.
    pub async fn probe(&self, provider: &str) -> Result<LastProbe> {
        let provider = self.provider(provider)?;
        self.wait_for_budget(&provider, PERSON_WAITS).await?;
        let lane = self.shared.lane(&provider.name);
        let door = self.door(&lane, &provider, Subject::default());
        let mut difference = None;
        let probe = async |context: &CallContext| {
            let report = provider.adapter.probe(context).await;
            difference = context.clock_difference();
            report
        };
        let report = door.ask(Operation::Probe, None, probe).await.result;
        let (result, detail) = match &report {
            Ok(report) => (ProbeResult::Accepted, report.detail.clone()),
            Err(error) => (ProbeResult::of(error), error.message.clone()),
        };
        let (at, clock_difference_seconds) = (self.shared.clock.now(), seconds(difference));
        let probe = LastProbe { at, result, detail, clock_difference_seconds };
        lane.with_state(|state| state.last_probe = Some(probe.clone()));
        report.map(|_| probe).map_err(|error| question_error(&provider, error))
    }

    /// How a provider is doing, with these counts of live invites; `None` if it is not configured.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn provider_status(
        &self,
        name: &str,
        counts: &LiveCounts,
    ) -> Result<Option<ProviderStatus>, invite_store::Error> {
        let Some(provider) = self.shared.live.current().provider(name).cloned() else {
            return Ok(None);
        };
        let lane = self.shared.lane(name);
        let own = lane.report(&self.shared, &provider);
        let (holder, report) = match self.shared.store.is_shared() {
            true => self.holder_of(name).await?,
            false => (Some(self.shared.owner.clone()), None),
        };
        let Report { state, reason, until, destinations, last_error } = report.unwrap_or(own);
        Ok(Some(lane.with_state(|known| ProviderStatus {
            state,
            reason,
            until,
            holder,
            queued: counts.of(name, Status::Queued),
            in_flight: lane.in_flight(),
            live: counts.live(name),
            unreadable: counts.unreadable(name),
            last_error,
            counters: Counters {
                outcomes: known.outcomes.clone(),
                invites: known.invites,
                credentials: provider.adapter.credential().usage(),
            },
            destinations,
            last_probe: known.last_probe.clone(),
            clock_difference_seconds: seconds(known.clock_difference),
        })))
    }

    /// The replica that makes a provider's calls, and what it knows of the provider unless it is this one.
    async fn holder_of(
        &self,
        provider: &str,
    ) -> std::result::Result<(Option<String>, Option<Report>), invite_store::Error> {
        let Some(holder) = self.shared.store.lane_holder(provider).await? else {
            return Ok((None, None));
        };
        let others = holder.report.filter(|_| holder.owner != self.shared.owner);
        // A report from another version of the gateway may have another form.
        let report = others.and_then(|report| serde_json::from_value(report).ok());
        Ok((Some(holder.owner), report))
    }

    /// Ends an invite that cannot be read; see [`Store::end_unreadable`](invite_store::Store). Whoever
    /// waits for it is told.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub async fn end_unreadable(
        &self,
        id: &str,
        actor: &Actor,
    ) -> std::result::Result<Ended, invite_store::Error> {
        let ended = self.shared.store.end_unreadable(id, actor).await?;
        if let Ended::Now(invite) = &ended {
            self.shared.waiters.wake(invite.batch_id.into_iter());
            // Another invite to the person may have waited for this, at any provider.
            self.shared.sync_lanes();
        }
        Ok(ended)
    }

    fn provider(&self, name: &str) -> Result<Arc<Provider>> {
        self.shared.live.current().provider(name).cloned().ok_or(OperationError::NotFound)
    }
}

fn seconds(difference: Option<ClockDifference>) -> Option<f64> {
    difference.map(|difference| difference.proven().as_secs_f64())
}
