//! What the log says of a lane's state: each change once.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use invite_config::Provider;
use jiff::Timestamp;

use super::{Lane, LaneState, until};
use crate::engine::Inner;

/// How long after a line of the log the next one comes that says only that a lane is slowed, or no longer is: a
/// provider whose rate limit is nearly used up would fill the log with those.
const SELDOM: Duration = Duration::from_secs(60);

/// What the log said last.
#[derive(Debug, Default)]
pub(super) struct News(Mutex<Option<Said>>);

#[derive(Clone, Copy, Debug)]
struct Said {
    state: LaneState,
    at: Timestamp,
    /// Since when it is not ready.
    unwell: Option<Timestamp>,
}

impl News {
    /// Whether the log is to say that this is the state now; and since when it was not ready.
    fn is_due(&self, state: LaneState, now: Timestamp) -> Option<Option<Timestamp>> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_well = matches!(state, LaneState::Ready | LaneState::Disabled);
        let (before, unwell) = match *said {
            Some(before) => (before.state, before.unwell),
            None => (LaneState::Ready, None),
        };
        if before == state {
            return None;
        }
        let is_minor =
            state == LaneState::Slowed || before == LaneState::Slowed && state == LaneState::Ready;
        if is_minor && said.is_some_and(|said| until(said.at, now) < SELDOM) {
            return None;
        }
        let still = if is_well { None } else { unwell.or(Some(now)) };
        *said = Some(Said { state, at: now, unwell: still });
        Some(unwell)
    }
}

impl Lane {
    /// Says in the log that the lane's state is another one, if it is.
    pub fn tell_of_change(&self, engine: &Inner, provider: &Provider) {
        let now = engine.clock.now();
        let (state, reason, end) = self.describe(engine, provider);
        let Some(unwell) = self.news.is_due(state, now) else { return };
        let (name, word) = (&self.name, state.as_str());
        let lasted = unwell.map(|since| until(since, now).as_secs_f64());
        match state {
            LaneState::Ready => {
                let lasted = lasted.unwrap_or_default();
                tracing::info!(
                    provider.name = name,
                    lane.state = word,
                    lasted.seconds = lasted,
                    "provider {name} is ready again after {lasted:.0} s"
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

#[cfg(test)]
mod tests {
    use LaneState::{Disabled, Misconfigured, Paused, Ready, Slowed};

    use super::*;

    #[test]
    fn each_change_is_said_once_and_what_comes_and_goes_seldom() {
        let news = News::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        for (second, state, said) in [
            (0, Ready, None),
            (1, Paused, Some(None)),
            (2, Paused, None),
            (3, Slowed, None),
            (4, Misconfigured, Some(Some(1))),
            (9, Slowed, None),
            (10, Ready, Some(Some(1))),
            (11, Slowed, None),
            (12, Ready, None),
            (71, Slowed, Some(None)),
            (72, Ready, None),
            (73, Paused, Some(Some(71))),
            (74, Disabled, Some(Some(71))),
            (75, Ready, Some(None)),
        ] {
            let due = news.is_due(state, at(second));
            assert_eq!(due, said.map(|since: Option<i64>| since.map(at)), "{second} s: {state:?}");
        }
    }
}
