//! How a look-up of calls whose outcome is unknown goes on after requests that failed. What it asks, and what it makes
//! of the replies, is up to each adapter.

use crate::{Cause, Outcome, ProviderError, Sighting};

/// So many failed requests in a row end a look-up.
const MAX_IN_A_ROW: u32 = 3;

/// Counts the failed requests of a look-up in a row.
#[derive(Debug, Default)]
pub struct Failures(u32);

impl Failures {
    /// Begins anew, because a request was answered.
    pub fn reset(&mut self) {
        self.0 = 0;
    }

    /// Counts a failure; whether the look-up ends with it, because it is one too many in a row, or because the
    /// provider would answer any other request in the same way.
    pub fn is_last(&mut self, error: &ProviderError) -> bool {
        self.0 += 1;
        error.cause == Cause::Credentials
            || error.outcome == Outcome::Throttled
            || self.0 == MAX_IN_A_ROW
    }
}

/// The gap of an invite that does not show, where its absence would not count yet and so was not proven
/// ([`Doubt::absence_counts`](crate::Doubt::absence_counts)).
pub const TOO_EARLY: &str = "it does not show so far, and absence counts later at the earliest";

/// The gap of a look-up that this error ended: why it cannot tell absence.
pub fn unfinished(error: &ProviderError) -> String {
    format!("the look-up did not come to its end: {error}")
}

/// The end of a look-up that could not go on: what it saw still counts.
///
/// # Errors
/// The error, if it saw no invite.
pub fn seen_or(
    seen: Vec<Vec<Sighting>>,
    error: ProviderError,
) -> Result<Vec<Vec<Sighting>>, ProviderError> {
    let has_seen = seen.iter().flatten().any(|sighting| !sighting.exact.is_empty());
    if has_seen { Ok(seen) } else { Err(error) }
}
