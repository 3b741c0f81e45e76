//! A lane in the metrics.

use invite_core::Status;

use super::{Lane, status::LaneState};

impl Lane {
    /// Takes a provider that is configured no more out of the metrics, which cannot forget a name.
    pub fn hide(&self) {
        let provider = &self.name;
        for state in LaneState::ALL {
            metrics::gauge!("invite_lane_state", "provider" => provider.clone(),
                "state" => state.as_str())
            .set(0.0);
        }
        for status in [Status::Queued, Status::Sending, Status::Unknown] {
            metrics::gauge!("invites_unsettled", "provider" => provider.clone(),
                "status" => status.as_str())
            .set(0.0);
        }
        metrics::gauge!("invite_calls_in_flight", "provider" => provider.clone()).set(0.0);
        metrics::gauge!("invite_provider_clock_difference_seconds", "provider" => provider.clone())
            .set(0.0);
    }
}
