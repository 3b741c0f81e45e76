//! Withdrawing many invites for one caller: those that are queued together, the others one by one, as far as there is time.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use invite_core::{InviteId, Outcome};
use invite_store::{Change, Changed, Decision, InviteRecord, News};
use tokio::time::Instant;

use super::change::Withdrawal;
use crate::{error::OperationError, shared::Engine, transition};

/// How many queued invites are withdrawn in one transaction, so that other writers need not wait long.
const TOGETHER: usize = 200;
/// No call begins after this time, since whoever asks waits for it.
const CALLING: Duration = Duration::from_secs(20);

/// What became of invites that were to be withdrawn; in a dry run what would.
#[derive(Debug, Default)]
pub struct Withdrawn {
    /// They were queued, and are not sent.
    pub here: u64,
    /// They existed at their providers, which withdrew them.
    pub at_provider: u64,
    /// They had ended before, withdrawn or otherwise.
    pub ended: u64,
    /// They were not withdrawn, and why.
    pub refused: Vec<(InviteId, OperationError)>,
    /// There was no time left for them, or their provider is to be left alone for a while.
    pub remaining: u64,
}

impl Engine {
    /// Withdraws these invites, each by the rules of [`revoke`](Self::revoke). Asking again goes on where this ended.
    ///
    /// # Errors
    /// If the store cannot be read or written; what was withdrawn until then stays withdrawn.
    pub async fn revoke_all(
        &self,
        invites: &[InviteRecord],
        is_dry_run: bool,
    ) -> Result<Withdrawn, invite_store::Error> {
        let mut done = Withdrawn::default();
        let mut sorted = Sorted::default();
        for invite in invites {
            self.sort(invite, &mut sorted, &mut done);
        }
        if is_dry_run {
            done.here = sorted.here.len() as u64;
            done.at_provider = sorted.at_provider.values().map(|ids| ids.len() as u64).sum();
            return Ok(done);
        }
        let until = Instant::now() + CALLING;
        for chunk in std::mem::take(&mut sorted.here).chunks(TOGETHER) {
            for (invite, is_written) in self.withdraw_queued(chunk).await? {
                // One that was sent meanwhile is withdrawn where it came to be.
                match is_written {
                    true => done.here += 1,
                    false => self.sort(&invite, &mut sorted, &mut done),
                }
            }
        }
        let calls = sorted.at_provider.into_values().map(|ids| self.revoke_one_by_one(ids, until));
        for called in join_all(calls).await {
            let called = called?;
            done.at_provider += called.at_provider;
            done.ended += called.ended;
            done.refused.extend(called.refused);
            done.remaining += called.remaining;
        }
        Ok(done)
    }

    fn sort(&self, invite: &InviteRecord, sorted: &mut Sorted, done: &mut Withdrawn) {
        match self.how_to_withdraw(invite) {
            Ok(Withdrawal::Made) | Err(OperationError::AlreadyFinal { .. }) => done.ended += 1,
            Ok(Withdrawal::Here) => sorted.here.push(invite.id),
            Ok(Withdrawal::AtProvider(provider)) => {
                sorted.at_provider.entry(provider.name.clone()).or_default().push(invite.id);
            }
            Err(error) => done.refused.push((invite.id, error)),
        }
    }

    /// Withdraws those of these invites that are still queued, in one transaction; returns all of them as they are now, and
    /// whether this is what withdrew them.
    pub(crate) async fn withdraw_queued(
        &self,
        ids: &[InviteId],
    ) -> Result<Vec<(InviteRecord, bool)>, invite_store::Error> {
        // What is decided last about an invite is what is written.
        let written: Arc<[AtomicBool]> = ids.iter().map(|_| AtomicBool::new(false)).collect();
        let told = Arc::clone(&written);
        let change = Change::of(ids.to_vec(), move |place, _, state, _| {
            let is_queued = transition::withdraw(state) == Decision::Write;
            told[place].store(is_queued, Ordering::Relaxed);
            if is_queued { Decision::Write } else { Decision::Keep }
        });
        // No decision ends the change.
        let Changed::Written(invites) = self.shared.store.change(change).await? else {
            return Ok(Vec::new());
        };
        let withdrawn: HashSet<InviteId> = ids
            .iter()
            .zip(written.iter())
            .filter(|(_, is_written)| is_written.load(Ordering::Relaxed))
            .map(|(id, _)| *id)
            .collect();
        for invite in invites.iter().filter(|invite| withdrawn.contains(&invite.id)) {
            if let Some(provider) = &invite.provider {
                self.shared.lane(provider).queue_shrank(1);
            }
        }
        let elsewhere = self.shared.waiters.tell(&invites);
        self.shared.tell_others(elsewhere.into_iter().map(News::Written));
        let is_withdrawn = |invite: InviteRecord| {
            let is_written = withdrawn.contains(&invite.id);
            (invite, is_written)
        };
        Ok(invites.into_iter().map(is_withdrawn).collect())
    }

    /// Withdraws invites of one provider there, which then has one call of these at a time.
    async fn revoke_one_by_one(
        &self,
        ids: Vec<InviteId>,
        until: Instant,
    ) -> Result<Withdrawn, invite_store::Error> {
        let mut done = Withdrawn::default();
        let mut left = ids.into_iter();
        for id in left.by_ref() {
            if Instant::now() >= until || self.shared.stopping.is_cancelled() {
                done.remaining += 1;
                break;
            }
            match self.revoke(id, false).await {
                Ok(_) => done.at_provider += 1,
                Err(OperationError::AlreadyFinal { .. }) => done.ended += 1,
                Err(OperationError::Store(error)) => return Err(error),
                Err(OperationError::Busy { .. }) => {
                    done.remaining += 1;
                    break;
                }
                Err(error) => {
                    let is_throttled = matches!(
                        &error,
                        OperationError::Provider { error, .. } if error.outcome == Outcome::Throttled
                    );
                    done.refused.push((id, error));
                    if is_throttled {
                        break;
                    }
                }
            }
        }
        done.remaining += left.count() as u64;
        Ok(done)
    }
}

/// Invites by where they can be withdrawn.
#[derive(Default)]
struct Sorted {
    here: Vec<InviteId>,
    at_provider: BTreeMap<String, Vec<InviteId>>,
}
