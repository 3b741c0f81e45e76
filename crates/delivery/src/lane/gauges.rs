//! A lane in the metrics.

use invite_core::{AttemptOutcome, Operation, Status};

use super::{Lane, LaneState};

impl Lane {
    /// Shows the lane in the metrics: its state, and how many of its invites are not settled. Metrics cannot forget a
    /// name, so a provider that is no longer configured has no state and shows zeros.
    pub fn set_gauges(&self, state: Option<LaneState>, count: impl Fn(Status) -> u64) {
        let provider = &self.name;
        for known in LaneState::ALL {
            metrics::gauge!("invite_lane_state", "provider" => provider.clone(),
                "state" => known.as_str())
            .set(if state == Some(*known) { 1.0 } else { 0.0 });
        }
        for status in [Status::Queued, Status::Sending, Status::Unknown] {
            metrics::gauge!("invites_unsettled", "provider" => provider.clone(),
                "status" => status.as_str())
            .set(count(status) as f64);
        }
        let in_flight = if state.is_some() { self.in_flight() } else { 0 };
        metrics::gauge!("invite_calls_in_flight", "provider" => provider.clone())
            .set(f64::from(in_flight));
        if state.is_some() {
            begin_at_zero(provider);
        } else {
            metrics::gauge!("invite_provider_clock_difference_seconds", "provider" => provider.clone())
                .set(0.0);
        }
    }
}

/// Makes the counters of a provider, so that the first of something is seen as an increase.
fn begin_at_zero(provider: &str) {
    for operation in Operation::ALL {
        for outcome in AttemptOutcome::ALL {
            metrics::counter!("invite_attempts_total", "provider" => provider.to_owned(),
                "operation" => operation.as_str(), "outcome" => outcome.as_str())
            .increment(0);
        }
    }
    for status in Status::ALL.iter().filter(|status| status.is_settled()) {
        metrics::counter!("invites_settled_total", "provider" => provider.to_owned(),
            "status" => status.as_str())
        .increment(0);
    }
    metrics::counter!("invite_duplicate_effects_total", "provider" => provider.to_owned())
        .increment(0);
}
