//! When something that a person asks for may be asked of the provider.

use std::time::Duration;

use invite_config::Provider;

use super::{OperationError, Result};
use crate::{engine::Inner, lane::Lane};

/// How long a person is kept waiting for a provider's rate budget.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for the next request that the provider's rate budget allows, but not for longer than
/// `patience`; and for nothing while the provider asked to be left alone for longer than that.
pub(crate) async fn take_token(
    engine: &Inner,
    lane: &Lane,
    provider: &Provider,
    patience: Duration,
) -> Result<()> {
    let busy = || OperationError::Busy { provider: provider.name.clone() };
    let left = lane.with_state(|state| state.eased(engine.clock.now())).unwrap_or_default();
    if left >= patience {
        return Err(busy());
    }
    let waiting = async {
        tokio::time::sleep(left).await;
        lane.take_token(&provider.limits).await;
    };
    tokio::time::timeout(patience, waiting).await.map_err(|_| busy())
}
