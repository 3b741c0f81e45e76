//! What keeps this replica from sending anything.

use jiff::SignedDuration;

use crate::{reason, shared::Shared};

/// How far the clock of a replica's machine may be from the database's.
pub(crate) const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// Why this replica must not send anything; `None` if it may.
pub(crate) fn obstacle(shared: &Shared) -> Option<String> {
    shared
        .document
        .unserved_revision()
        .map(reason::revision_unserved)
        .or_else(|| clock_fault(shared))
}

/// What is wrong with this machine's clock, for which nothing is sent; `None` unless it is far from the database's. What
/// goes by it, such as the time in a request, would be wrong, and what it measures may be.
pub(crate) fn clock_fault(shared: &Shared) -> Option<String> {
    let ahead = shared.store.clock().wall_ahead();
    (ahead.abs() > CLOCK_TOLERANCE).then(|| reason::clock_off(ahead))
}
