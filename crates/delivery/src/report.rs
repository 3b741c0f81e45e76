//! What a lane shows of itself: to whoever asks, to the other replicas, and in the log.

use invite_config::Provider;
use serde_json::json;

use crate::{
    lane::{Condition, Lane, LaneState, Report, until},
    obstacle::obstacle,
    reason,
    shared::Shared,
};

impl Lane {
    /// How the provider is doing as far as this replica knows, which may be kept from sending itself.
    pub fn condition(&self, shared: &Shared, provider: &Provider) -> Condition {
        match obstacle(shared).or_else(|| self.is_stuck().then(reason::stuck)) {
            Some(why) if provider.enabled => {
                Condition { state: LaneState::Paused, reason: Some(why), until: None }
            }
            _ => self.with_state(|it| it.condition(provider.enabled, shared.clock.now())),
        }
    }

    /// What this replica knows of the provider, for others to show.
    pub fn report(&self, shared: &Shared, provider: &Provider) -> Report {
        let Condition { state, reason, until } = self.condition(shared, provider);
        self.with_state(|known| Report {
            state,
            reason,
            until,
            destinations: known.waiting_destinations(shared.clock.now()),
            last_error: known.last_error.clone(),
        })
    }

    /// Logs that the lane's state has changed, if it has, and tells the feed. Only the replica that works the lane does.
    pub fn log_change(&self, shared: &Shared) {
        let document = shared.live.current();
        let Some(provider) = document.provider(&self.name).filter(|_| self.lease().is_some())
        else {
            return;
        };
        let now = shared.clock.now();
        let Condition { state, reason, until: end } = self.condition(shared, provider);
        let Some(not_ready_since) = self.logged_state.change(state, now) else { return };
        let (name, word) = (&self.name, state.as_str());
        let told = json!({ "state": word, "reason": reason, "until": end });
        shared.store.tell_provider_state(name, told);
        let lasted = not_ready_since.map(|since| until(since, now).as_secs_f64());
        match state {
            LaneState::Ready => {
                let how_long = lasted.map(|lasted| format!(" again after {lasted:.0} s"));
                tracing::info!(
                    provider.name = name,
                    lane.state = word,
                    lasted.seconds = lasted,
                    "provider {name} is ready{}",
                    how_long.unwrap_or_default()
                );
            }
            LaneState::Disabled => {
                tracing::info!(
                    provider.name = name,
                    lane.state = word,
                    "provider {name} is disabled"
                );
            }
            LaneState::Slowed | LaneState::Paused | LaneState::Misconfigured => {
                let reason = reason.unwrap_or_default();
                let end = end.map(|end| format!(" until {end:.0}")).unwrap_or_default();
                tracing::warn!(
                    provider.name = name,
                    lane.state = word,
                    "provider {name} is {word}{end}: {reason}"
                );
            }
        }
    }
}
