//! Why this replica sends nothing.

use jiff::SignedDuration;

use crate::{reason, shared::Shared};

/// How far the clock of a replica's machine may be from the database's.
pub(crate) const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// Why this replica sends nothing, if it must not.
pub(crate) fn obstacle(shared: &Shared) -> Option<String> {
    shared.document.behind().map(reason::behind).or_else(|| clock_fault(shared))
}

/// Why nothing is sent by this machine's clock, if that is far from the database's: what goes by it (the
/// time in a request, certificates) would be wrong, and so may be what it measures.
pub(crate) fn clock_fault(shared: &Shared) -> Option<String> {
    let ahead = shared.store.clock().wall_ahead();
    (ahead.abs() > CLOCK_TOLERANCE).then(|| reason::clock_off(ahead))
}
