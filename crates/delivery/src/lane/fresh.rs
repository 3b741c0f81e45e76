//! What was accepted here, in memory, so that a lane need not read what this process has just written.
//!
//! The table is what counts: a claim takes no invite from here that was written since, and whatever may be queued there without being here is
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use invite_core::{BatchId, InviteId, Invitee};
    use invite_store::{InviteFacts, InviteState};
    use proptest::prelude::*;

    use super::*;

    const TENANT: &str = "default";

    fn destination() -> Destination {
        let [kind, base_url, scope] = ["fake", "http://fake", "here"].map(str::to_owned);
        Destination { kind, base_url, scope }
    }

    fn invite() -> InviteRecord {
        let now = Timestamp::UNIX_EPOCH;
        let facts = InviteFacts {
            id: InviteId::generate(),
            batch_id: BatchId::generate(),
            index: 0,
            tenant: TENANT.to_owned(),
            provider: Some("fake".to_owned()),
            kind: Some("fake".to_owned()),
            destination: Some(destination()),
            call_key: None,
            params: serde_json::Value::Null,
            route: None,
            config_revision: 1,
            address: None,
            invitee: Invitee::default(),
            external_id: None,
            labels: BTreeMap::new(),
            created_at: now,
            is_erased: false,
        };
        InviteRecord { facts: Arc::new(facts), version: 0, state: InviteState::queued(now) }
    }

    fn ids(invites: &[InviteRecord]) -> Vec<InviteId> {
        invites.iter().map(|invite| invite.id).collect()
    }

    fn scan(is_empty: bool) -> QueueScan {
        QueueScan { queues: Vec::new(), held_back: Vec::new(), next: None, is_empty }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Accept,
        /// A retry, an outcome, another replica.
        QueueOtherwise,
        /// With so many accepted after the table was read and before that is known.
        Scan(usize),
        Call {
            takes: usize,
            sends: usize,
        },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => Just(Step::Accept),
            1 => Just(Step::QueueOtherwise),
            2 => (0usize..3).prop_map(Step::Scan),
            4 => (1usize..5, 0usize..5).prop_map(|(takes, sends)| Step::Call { takes, sends }),
        ];
        prop::collection::vec(step, 1..60)
    }

    proptest! {
        /// What is said to be all is what the table holds, in its order.
        #[test]
        fn nothing_is_queued_that_it_does_not_know_when_it_says_that_it_knows_all(steps in steps()) {
            let (fresh, mut table) = (Fresh::default(), Vec::new());
            for step in steps {
                match step {
                    Step::Accept => {
                        table.push(invite());
                        fresh.add(table.last().into_iter());
                    }
                    Step::QueueOtherwise => {
                        table.push(invite());
                        fresh.forget();
                    }
                    Step::Scan(meanwhile) => {
                        fresh.begin_scan();
                        let found = scan(table.is_empty());
                        for _ in 0..meanwhile {
                            table.push(invite());
                            fresh.add(table.last().into_iter());
                        }
                        fresh.end_scan(&found, Timestamp::MAX);
                    }
                    Step::Call { takes, sends } if fresh.queues().is_some() => {
                        let mut taken = fresh.take(TENANT, &destination(), takes);
                        let left = taken.split_off(sends.min(taken.len()));
                        table.retain(|queued| taken.iter().all(|sent| sent.id != queued.id));
                        fresh.give_back(left);
                    }
                    Step::Call { .. } => table.clear(),
                }
                if fresh.queues().is_some() {
                    let all = fresh.take(TENANT, &destination(), usize::MAX);
                    prop_assert_eq!(ids(&all), ids(&table));
                    prop_assert_eq!(fresh.len(), 0);
                    fresh.give_back(all);
                    prop_assert_eq!(fresh.len(), table.len());
                }
            }
        }
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let fresh = Fresh::default();
        fresh.begin_scan();
        fresh.end_scan(&scan(true), Timestamp::MAX);
        let one = invite();
        fresh.add(std::iter::repeat_n(&one, MOST));
        assert_eq!(fresh.len(), MOST);
        fresh.add(std::iter::once(&one));
        assert_eq!((fresh.len(), fresh.queues()), (0, None), "the table has to be read");
    }
}
