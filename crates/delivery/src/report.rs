//! What a lane shows of itself: to whoever asks, to the other replicas, and in the log.

use invite_config::Provider;
use jiff::Timestamp;

use crate::{
    lane::{Lane, LaneState, Report, until},
    obstacle::obstacle,
    reason,
    shared::Shared,
};

impl Lane {
    /// What it shows of itself: its state, the reason, and the end of a pause.
    pub fn describe(
        &self,
        shared: &Shared,
        provider: &Provider,
    ) -> (LaneState, Option<String>, Option<Timestamp>) {
        match obstacle(shared).or_else(|| self.is_stuck().then(reason::stuck)) {
            Some(why) if provider.enabled => (LaneState::Paused, Some(why), None),
            _ => self.with_state(|it| it.describe(provider.enabled, shared.clock.now())),
        }
    }

    /// What this process knows of its provider, for whoever asks another one.
    pub fn report(&self, shared: &Shared, provider: &Provider) -> Report {
        let (state, reason, until) = self.describe(shared, provider);
        self.with_state(|known| Report {
            state,
            reason,
            until,
            destinations: known.describe_places(shared.clock.now()),
            last_error: known.last_error.clone(),
        })
    }

    /// Says in the log that the lane's state is another one, if it is: by the replica that works it.
    pub fn tell_of_change(&self, shared: &Shared) {
        let document = shared.live.current();
        let Some(provider) = document.provider(&self.name).filter(|_| self.held().is_some()) else {
            return;
        };
        let now = shared.clock.now();
        let (state, reason, end) = self.describe(shared, provider);
        let Some(unwell) = self.news.is_due(state, now) else { return };
        let (name, word) = (&self.name, state.as_str());
        let lasted = unwell.map(|since| until(since, now).as_secs_f64());
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
