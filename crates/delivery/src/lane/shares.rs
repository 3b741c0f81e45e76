//! How much of a provider's queue is whose.

use std::{collections::HashMap, time::Duration};

use invite_store::Store;
use tokio::time::Instant;

/// How long a count holds at least before the store is asked again, and for how many times as long as it took: it takes the
/// longer the longer the queue is.
const FRESH: Duration = Duration::from_secs(1);
const REST: u32 = 50;
/// How long it holds at most: what was sent since is not taken from it.
const MOST: Duration = Duration::from_secs(5);

/// About how many invites each tenant has queued at a provider; counted only while its queue is so long
/// that one tenant may have too many of them.
#[derive(Default)]
pub(crate) struct Shares(tokio::sync::Mutex<Option<Counted>>);

struct Counted {
    until: Instant,
    queued: HashMap<String, u64>,
}

impl Shares {
    /// Counts this many more invites of a tenant, if it has no more than `most` then.
    pub async fn reserve(
        &self,
        store: &Store,
        provider: &str,
        tenant: &str,
        count: usize,
        most: u64,
    ) -> Result<bool, invite_store::Error> {
        let mut counted = self.0.lock().await;
        let counted = match counted.take().filter(|counted| Instant::now() < counted.until) {
            Some(fresh) => counted.insert(fresh),
            None => {
                let began = Instant::now();
                let queued = store.queued_by_tenant(provider).await?;
                let until = Instant::now() + (began.elapsed() * REST).clamp(FRESH, MOST);
                counted.insert(Counted { until, queued })
            }
        };
        let queued = counted.queued.entry(tenant.to_owned()).or_default();
        let all = queued.saturating_add(count as u64);
        if all <= most {
            *queued = all;
        }
        Ok(all <= most)
    }

    /// Counts this many more invites of a tenant that has room for sure.
    pub async fn add(&self, tenant: &str, count: usize) {
        if let Some(counted) = &mut *self.0.lock().await {
            *counted.queued.entry(tenant.to_owned()).or_default() += count as u64;
        }
    }
}
