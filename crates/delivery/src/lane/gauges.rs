//! A lane in the metrics.

use invite_core::Status;

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
        if state.is_none() {
            metrics::gauge!("invite_provider_clock_difference_seconds", "provider" => provider.clone())
                .set(0.0);
        }
    }
}
