//! What delivery measures, in words.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};

/// Describes the metrics of delivery to the recorder that the process has, and begins those at zero that are of no provider.
pub fn describe_metrics() {
    describe_counter!("invite_attempts_total", "Calls to providers, by operation and outcome");
    describe_histogram!(
        "invite_attempt_duration_seconds",
        Unit::Seconds,
        "Time that a call to a provider took"
    );
    describe_counter!(
        "invites_settled_total",
        "Invites that left queued, sending and unknown, by the status they came into; counted by one replica at a time"
    );
    describe_counter!(
        "invite_duplicate_effects_total",
        "Second effects of one invite that were found at a provider"
    );
    describe_counter!("webhook_attempts_total", "Requests to webhooks, by outcome");
    describe_counter!(
        "invite_config_refusals_total",
        "Provider documents that did not go live, by where they came from"
    );
    describe_gauge!(
        "invite_config_revision",
        "The revision of the provider document that is served"
    );
    describe_gauge!("invite_lane_state", "1 for the state that a provider is in, 0 for the others");
    describe_gauge!(
        "invites_unsettled",
        "Invites that are queued, sending or unknown, by provider"
    );
    describe_gauge!(
        "invites_oldest_queued_seconds",
        Unit::Seconds,
        "For how long the oldest queued invite of a provider has been queued"
    );
    describe_gauge!("invites_unreadable", "Invites that are set aside because they cannot be read");
    describe_gauge!("invites_removed", "Invites that retention removed, by provider and status");
    describe_gauge!("invite_calls_in_flight", "Calls to a provider that are under way");
    describe_gauge!(
        "invite_provider_clock_difference_seconds",
        Unit::Seconds,
        "How far a provider's clock is ahead"
    );
    describe_gauge!(
        "invite_clock_ahead_seconds",
        Unit::Seconds,
        "How far this machine's clock is ahead of the database's"
    );
    describe_gauge!(
        "invite_clock_to_make_up_seconds",
        Unit::Seconds,
        "How far the clock that the gateway follows is ahead of its own since it was set"
    );
    for outcome in ["taken", "failed"] {
        counter!("webhook_attempts_total", "outcome" => outcome).increment(0);
    }
}
