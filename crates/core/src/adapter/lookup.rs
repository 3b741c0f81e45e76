//! How a look-up of calls whose outcome is unknown goes on after requests that failed. What it asks, and
//! what it makes of the replies, is each provider's.

use crate::{Cause, Outcome, ProviderError, Sighting};

/// Failed requests in a row after which a look-up ends with what it has.
const PATIENCE: u32 = 3;

/// Failed requests of a look-up, in a row.
#[derive(Debug, Default)]
pub struct Failures(u32);

impl Failures {
    /// A request was answered.
    pub fn reset(&mut self) {
        self.0 = 0;
    }

    /// Whether the look-up ends with this failure: it is one too many in a row, or the provider would
    /// answer whatever is asked next with the same.
    pub fn is_last(&mut self, error: &ProviderError) -> bool {
        self.0 += 1;
        error.cause == Cause::Credentials
            || error.outcome == Outcome::Throttled
            || self.0 == PATIENCE
    }
}

/// Why absence cannot be told by a look-up that could not go on.
pub fn unfinished(error: &ProviderError) -> String {
    format!("the look-up did not come to its end: {error}")
}

/// What a look-up saw that could not go on: it still counts.
///
/// # Errors
/// The error, if no invite was seen.
pub fn seen_or(
    seen: Vec<Vec<Sighting>>,
    error: ProviderError,
) -> Result<Vec<Vec<Sighting>>, ProviderError> {
    let has_seen = seen.iter().flatten().any(|sighting| !sighting.exact.is_empty());
    if has_seen { Ok(seen) } else { Err(error) }
}
