//! The document at the start: the newest stored revision that can be served here. And the accounts of a newer one that
//! cannot.

use invite_config::{Accounts, Checked, Configuration};
use invite_store::Revision;

use super::{LiveDocument, Origin, STORE};

const PAGE: u32 = 20;

impl LiveDocument {
    /// Puts the newest stored revision in force that passes here; false if none does. The newest of all counts as refused,
    /// as after [`catch_up`](Self::catch_up): an older one serves to read invites, not to send any.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn resume(&self) -> Result<bool, invite_store::Error> {
        if self.catch_up().await? {
            return Ok(true);
        }
        let newest = self.store.latest_revision_number().await?;
        let mut before = Some(newest);
        while before.is_some() {
            let page = self.store.revisions(before, PAGE).await?;
            for revision in page.revisions {
                if self.serve_older(&revision).await? {
                    tracing::error!(
                        config.revision = revision.revision,
                        config.newest = newest,
                        "the newest provider document does not pass here: until it does, nothing is \
                         sent, and invites are read with an older one"
                    );
                    return Ok(true);
                }
            }
            before = page.next;
        }
        Ok(false)
    }

    /// Puts an older revision in force, if it passes and by it no unfinished invite would go to another account.
    async fn serve_older(&self, revision: &Revision) -> Result<bool, invite_store::Error> {
        let Checked { configuration: Some(next), .. } = self.check(&revision.document).await else {
            return Ok(false);
        };
        let _changing = self.changing.write().await;
        let live = self.live.current();
        let mut moved = self.accounts(&live).await?.removed_by(&next.accounts());
        moved.retain(|name| next.provider(name).is_some());
        if !self.store.unfinished(&moved).await?.is_empty() {
            return Ok(false);
        }
        let origin = Origin { source: STORE, actor: STORE.to_owned(), note: None, restored: None };
        self.swap(next.adopting(&live).with_revision(revision.revision), &origin);
        Ok(true)
    }

    /// The accounts that may have work: those of the newest revision, and also those of the live one if the newest cannot
    /// be served here.
    pub(super) async fn accounts(
        &self,
        live: &Configuration,
    ) -> Result<Accounts, invite_store::Error> {
        Ok(match self.store.latest_revision().await? {
            Some(newest) if newest.revision > live.revision() => {
                self.gate.accounts(&newest.document).and(live.accounts())
            }
            _ => live.accounts(),
        })
    }
}
