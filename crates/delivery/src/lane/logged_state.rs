//! What the log last said of a lane's state, so that it says each change once.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use super::{status::LaneState, until};

/// How long after a line the next may say only that a lane is slowed, or no longer is: a provider whose rate limit is
/// nearly used up would fill the log with those.
const MINOR_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct LoggedState(Mutex<Option<Said>>);

#[derive(Clone, Copy, Debug)]
struct Said {
    state: LaneState,
    at: Timestamp,
    /// Since when the lane is not ready.
    not_ready_since: Option<Timestamp>,
}

impl LoggedState {
    /// `None` if the log is to say nothing; otherwise it is to say that this is the state now, and the inner value is since when
    /// the lane was not ready before, if it was not.
    pub fn change(&self, state: LaneState, now: Timestamp) -> Option<Option<Timestamp>> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_well = matches!(state, LaneState::Ready | LaneState::Disabled);
        let (before, not_ready_since) = match *said {
            Some(before) => (before.state, before.not_ready_since),
            None => (LaneState::Ready, None),
        };
        if before == state {
            return None;
        }
        let is_minor =
            state == LaneState::Slowed || before == LaneState::Slowed && state == LaneState::Ready;
        if is_minor && said.is_some_and(|said| until(said.at, now) < MINOR_EVERY) {
            return None;
        }
        let still = if is_well { None } else { not_ready_since.or(Some(now)) };
        *said = Some(Said { state, at: now, not_ready_since: still });
        Some(not_ready_since)
    }
}

#[cfg(test)]
mod tests {
    use LaneState::{Disabled, Misconfigured, Paused, Ready, Slowed};

    use super::*;

    #[test]
    fn each_change_is_said_once_and_what_comes_and_goes_seldom() {
        let logged = LoggedState::default();
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
            let due = logged.change(state, at(second));
            assert_eq!(due, said.map(|since: Option<i64>| since.map(at)), "{second} s: {state:?}");
        }
    }
}
