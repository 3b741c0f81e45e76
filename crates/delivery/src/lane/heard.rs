//! What replies say beside what they were asked: how long to wait, how much of the rate limit is left,
//! and what the provider's clock shows.

use std::time::Duration;

use invite_core::{Retry, http::CallContext};
use jiff::{SignedDuration, Timestamp};

use super::{Lane, state};

impl Lane {
    /// Heeds what a reply said of the provider's rate limit, and the wait that it asked for, whatever
    /// the reply was to and whatever its status.
    pub fn ease(&self, context: &CallContext, retry: &Retry, now: Timestamp) {
        let hint = context.rate_hint();
        // While something is left, how long to do without it is for us to say.
        let most = |left| if left < 1.0 { Duration::MAX } else { retry.max };
        let scarce = hint.and_then(|hint| Some(hint.ease()?.min(most(hint.remaining))));
        let waits =
            [(scarce, state::NEARLY_USED_UP), (context.told_to_wait(), state::TOLD_TO_WAIT)];
        let changed = self.with_state(|state| {
            for (by, why) in waits.into_iter().filter_map(|(by, why)| Some((by?, why))) {
                state.ease(now, by, why, retry);
            }
            context.clock_difference().and_then(|difference| state.measure(difference))
        });
        if let Some(difference) = context.clock_difference() {
            self.tell_of_clock(difference.proven(), changed);
        }
    }

    /// `is_off`: whether it came to be so, or no longer is.
    fn tell_of_clock(&self, difference: SignedDuration, is_off: Option<bool>) {
        let (name, seconds) = (&self.name, difference.as_secs_f64());
        metrics::gauge!("invite_provider_clock_difference_seconds", "provider" => name.clone())
            .set(seconds);
        match is_off {
            Some(true) => tracing::warn!(
                provider.name = name,
                clock.difference_seconds = seconds,
                "the provider's clock differs from this machine's by more than 30 s (positive: it is \
                 ahead); set the one that is wrong, since signed requests and times are judged by it"
            ),
            Some(false) => {
                tracing::info!(
                    provider.name = name,
                    "the provider's clock is that of this machine again"
                );
            }
            None => {}
        }
    }
}
