//! What was accepted here, in memory, so that a lane need not read what this process has just written.
//!
//! The table is what counts: a claim reads each invite in it anew, and whatever may be queued there without being here is
//! read from there, too.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use invite_core::Destination;
use invite_store::{InviteRecord, Queue, QueueScan};
use jiff::Timestamp;

/// How many invites are kept here at most.
const MOST: usize = 4_000;

/// The queued invites of a lane that this process accepted.
#[derive(Default)]
pub(crate) struct Fresh(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    knows: Knows,
    count: usize,
    /// By tenant and destination; none is empty.
    queues: BTreeMap<(String, Destination), VecDeque<InviteRecord>>,
}

/// What is known of the queue in the table.
#[derive(Default)]
enum Knows {
    /// It may hold what is not here. What is accepted is not kept.
    #[default]
    Nothing,
    /// It is being read. What is accepted meanwhile is kept.
    Asking,
    /// Until then it holds nothing that is not here.
    All { until: Timestamp },
}

impl Fresh {
    /// Keeps what was accepted, in this order, unless the table has to be read anyway.
    pub fn add<'a>(&self, accepted: impl Iterator<Item = &'a InviteRecord>) {
        let mut kept = self.kept();
        for invite in accepted {
            if let Knows::Nothing = kept.knows {
                return;
            }
            if kept.count == MOST {
                kept.forget();
                return;
            }
            kept.push_back(invite.clone());
        }
    }

    /// Has the table read: it holds, or may hold, what is not here.
    pub fn forget(&self) {
        self.kept().forget();
    }

    /// To be called before the table is read.
    pub fn begin_scan(&self) {
        let mut kept = self.kept();
        kept.forget();
        kept.knows = Knows::Asking;
    }

    /// To be called when the table has been read: if it was empty then, it is not read again before `until`, unless something
    /// else than accepting changes it.
    pub fn end_scan(&self, scan: &QueueScan, until: Timestamp) {
        let mut kept = self.kept();
        match kept.knows {
            Knows::Asking if scan.is_empty => kept.knows = Knows::All { until },
            _ => kept.forget(),
        }
    }

    /// What there is to choose from, and until when that is all; `None` if the table has to be read.
    pub fn queues(&self) -> Option<(Vec<Queue>, Timestamp)> {
        let kept = self.kept();
        let Knows::All { until } = kept.knows else { return None };
        let queue = |(tenant, destination): &(String, Destination)| Queue {
            tenant: tenant.clone(),
            destination: destination.clone(),
            due: Timestamp::UNIX_EPOCH,
        };
        Some((kept.queues.keys().map(queue).collect(), until))
    }

    pub fn len(&self) -> usize {
        self.kept().count
    }

    /// Takes the first `most` out of a queue.
    pub fn take(&self, tenant: &str, destination: &Destination, most: usize) -> Vec<InviteRecord> {
        let mut kept = self.kept();
        let key = (tenant.to_owned(), destination.clone());
        let Some(queue) = kept.queues.get_mut(&key) else { return Vec::new() };
        let taken: Vec<_> = queue.drain(..most.min(queue.len())).collect();
        if queue.is_empty() {
            kept.queues.remove(&key);
        }
        kept.count -= taken.len();
        taken
    }

    /// Puts back what was taken last and is not sent now.
    pub fn give_back(&self, left: Vec<InviteRecord>) {
        let mut kept = self.kept();
        if let Knows::All { .. } = kept.knows {
            left.into_iter().rev().for_each(|invite| kept.push_front(invite));
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn forget(&mut self) {
        *self = Self::default();
    }

    fn push_back(&mut self, invite: InviteRecord) {
        if let Some(queue) = self.queue_of(&invite) {
            queue.push_back(invite);
            self.count += 1;
        }
    }

    fn push_front(&mut self, invite: InviteRecord) {
        if let Some(queue) = self.queue_of(&invite) {
            queue.push_front(invite);
            self.count += 1;
        }
    }

    fn queue_of(&mut self, invite: &InviteRecord) -> Option<&mut VecDeque<InviteRecord>> {
        let key = (invite.tenant.clone(), invite.destination.clone()?);
        Some(self.queues.entry(key).or_default())
    }
}
