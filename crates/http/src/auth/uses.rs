//! Remembers when API keys were last used, and writes it every few seconds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use invite_core::KeyId;
use invite_store::Store;
use jiff::Timestamp;

/// How long uses are gathered before they are written.
const FLUSH_AFTER: Duration = Duration::from_secs(3);

/// When keys were last used, gathered so that a request costs no write of its own. What was gathered in the
/// last seconds before the process ends is lost.
#[derive(Clone, Default)]
pub(crate) struct KeyUses(Arc<Mutex<HashMap<KeyId, Timestamp>>>);

impl KeyUses {
    pub fn record(&self, store: &Store, key: KeyId, at: Timestamp) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = uses.is_empty();
        uses.insert(key, at);
        if is_first {
            tokio::spawn(self.clone().flush(store.clone()));
        }
    }

    async fn flush(self, store: Store) {
        tokio::time::sleep(FLUSH_AFTER).await;
        let uses = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let uses: Vec<_> = uses.into_iter().collect();
        if let Err(error) = store.touch_keys(&uses).await {
            tracing::warn!(%error, "cannot store when API keys were last used");
        }
    }
}
