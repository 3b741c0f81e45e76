//! What replies say besides what was asked: how long to wait, how much of the rate limit is left, and what the
//! provider's clock shows.

use std::time::Duration;

use invite_core::{Retry, http::CallContext};
use jiff::{SignedDuration, Timestamp};

use super::{Lane, state};

impl Lane {
    /// Obeys what a reply said of the provider's rate limit, and the wait that it asked for, whatever the reply was to
    /// and whatever its status.
    pub fn apply_hints(&self, context: &CallContext, retry: &Retry, now: Timestamp) {
        let hint = context.rate_hint();
        // While part of the limit is left, waiting for its reset longer than `retry.max` would waste it.
        let most = |left| if left < 1.0 { Duration::MAX } else { retry.max };
        let scarce = hint.and_then(|hint| Some(hint.back_off()?.min(most(hint.remaining))));
        let waits = [(scarce, state::NEARLY_USED_UP), (context.retry_after(), state::TOLD_TO_WAIT)];
        let changed = self.with_state(|state| {
            for (by, why) in waits.into_iter().filter_map(|(by, why)| Some((by?, why))) {
                state.back_off(now, by, why, retry);
            }
            context.clock_difference().and_then(|difference| state.note_clock(difference))
        });
        if let Some(difference) = context.clock_difference() {
            self.log_clock(difference.proven(), changed);
        }
    }

    /// `is_off` is `None` unless the clock has just come to differ, or to agree again.
    fn log_clock(&self, difference: SignedDuration, is_off: Option<bool>) {
        let (name, seconds) = (&self.name, difference.as_secs_f64());
        metrics::gauge!("invite_provider_clock_difference_seconds", "provider" => name.clone())
            .set(seconds);
        match is_off {
            Some(true) => tracing::warn!(
                provider.name = name,
                clock.difference_seconds = seconds,
                "the clock of provider {name} differs from this machine's by {seconds:.0} s (positive: it is \
                 ahead); set the one that is wrong, since signed requests and times are judged by it"
            ),
            Some(false) => {
                tracing::info!(
                    provider.name = name,
                    "the clock of provider {name} agrees with this machine's again"
                );
            }
            None => {}
        }
    }
}
