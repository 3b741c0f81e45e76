//! The loop that hears what other replicas have done, so that nobody here waits for the next look.
//! Step by step: `docs/loops/replica.md`.

use std::{sync::Arc, time::Duration};

use invite_store::News;

use crate::{
    lane::Lane,
    shared::{Shared, catch_panic},
};

/// The pause before it listens again after the connection broke.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs until shutdown; with SQLite there is nobody to hear.
pub(crate) async fn run(shared: Arc<Shared>) {
    while shared.store.is_shared() && !shared.stopping.is_cancelled() {
        tokio::select! {
            heard = catch_panic(listen(&shared)) => {
                if let Err(error) = heard {
                    tracing::debug!(%error, "other replicas are not heard at present; what they do is found by looking");
                }
            }
            () = shared.stopping.cancelled() => return,
        }
        shared.pause(AGAIN).await;
    }
}

async fn listen(shared: &Arc<Shared>) -> Result<(), invite_store::Error> {
    let Some(mut listener) = shared.store.listen().await? else { return Ok(()) };
    loop {
        for news in listener.next().await? {
            match news {
                News::Written(batch) => shared.waiters.wake(std::iter::once(batch)),
                News::Queued(provider) => {
                    if let Some(lane) = lane(shared, &provider) {
                        lane.wake_for_table();
                    }
                }
                News::Freed(provider) => {
                    if let Some(lane) = lane(shared, &provider) {
                        lane.set_elsewhere(Duration::ZERO);
                        lane.wake_for_all();
                        lane.wake_look_ups.notify_one();
                    }
                }
            }
        }
    }
}

/// The lane of a provider that there is: its name comes from outside.
fn lane(shared: &Shared, provider: &str) -> Option<Arc<Lane>> {
    shared.live.current().provider(provider).map(|_| shared.lane(provider))
}
