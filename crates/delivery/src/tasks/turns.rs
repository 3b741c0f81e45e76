//! Whose turn it is: which invites go into the next call of a lane.
//!
//! Tenants take turns, whatever each has queued; of a tenant's destinations the one comes next to which
//! no call was made for longest. Destinations do not take turns beside tenants, because a tenant chooses
//! them and could have as many turns as it names. A call is filled up with other tenants' invites to
//! the same destination, one of each in turn.
//! Step by step: `docs/loops/sending.md`.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use invite_config::Provider;
use invite_core::Destination;
use invite_store::{InviteRecord, Queue, QueueScan};
use jiff::Timestamp;

use crate::{
    lane::{Lane, State, until},
    shared::Shared,
    waiting::give_up,
};

/// How many tenants share a call at most; the others come next.
const MAX_TENANTS: usize = 16;
/// How soon the next scan comes after one that found nothing to do and left out some destinations.
const NEXT_SCAN: Duration = Duration::from_millis(100);

/// Whose turn it is.
pub(super) struct Turn {
    pub destination: Destination,
    /// The tenants that have something due there, first the one whose turn it is.
    tenants: Vec<String>,
    /// Whether it was chosen by what is in memory alone.
    is_fresh: bool,
}

impl Turn {
    /// Reads anew which tenants have something due there; the one whose turn it is stays first if it still has.
    fn reread(&mut self, mut queues: Vec<Queue>, now: Timestamp) {
        queues.retain(|queue| queue.due <= now && queue.destination == self.destination);
        let first = self.tenants.first().cloned();
        queues.sort_by_key(|queue| (Some(&queue.tenant) < first.as_ref(), queue.tenant.clone()));
        self.tenants = queues.into_iter().map(|queue| queue.tenant).take(MAX_TENANTS).collect();
    }
}

/// The next turn; the error is how long until there is one, if that is known.
pub(super) async fn next(
    shared: &Shared,
    lane: &Lane,
    now: Timestamp,
) -> Result<Result<Turn, Option<Duration>>, invite_store::Error> {
    if let Some((queues, until_then)) = lane.fresh.queues().filter(|(_, then)| now < *then) {
        let chosen = lane.with_state(|state| choose(state, queues, now));
        return Ok(chosen.map(|turn| Turn { is_fresh: true, ..turn }).map_err(|wait| {
            let table = until(now, until_then);
            Some(wait.map_or(table, |wait| wait.min(table)))
        }));
    }
    let from = lane.with_state(|state| state.scan_from.clone());
    lane.fresh.begin_scan();
    let (heads, look) = match lane.held_back.heads() {
        Ok((heads, left)) => (heads, Err(left)),
        Err(look) => (Vec::new(), Ok(look)),
    };
    let scan = shared.store.queues(&lane.name, from.as_deref(), &heads).await?;
    if let Ok(look) = &look {
        lane.held_back.note(look, &scan, now);
    }
    lane.fresh.end_scan(&scan, now.saturating_add(shared.idle()).unwrap_or(now));
    let chosen = lane.with_state(|state| choose_from(state, scan, now));
    // What is passed over now is looked at then.
    Ok(chosen.map_err(|wait| match look {
        Ok(_) => wait,
        Err(left) => Some(wait.map_or(left, |wait| wait.min(left))),
    }))
}

/// The next turn by one scan of the queues. The next scan goes on behind this one once each tenant could have had a turn.
fn choose_from(
    state: &mut State,
    scan: QueueScan,
    now: Timestamp,
) -> Result<Turn, Option<Duration>> {
    let QueueScan { queues, next, .. } = scan;
    let tenants = queues.iter().map(|queue| &queue.tenant).collect::<BTreeSet<_>>().len();
    let turn = choose(state, queues, now);
    state.scans += 1;
    if turn.is_ok() && state.scans < tenants {
        return turn;
    }
    let leaves_out = next.is_some();
    (state.scans, state.scan_from) = (0, next);
    turn.map_err(|wait| match leaves_out {
        true => Some(wait.map_or(NEXT_SCAN, |wait| wait.min(NEXT_SCAN))),
        false => wait,
    })
}

fn choose(state: &mut State, queues: Vec<Queue>, now: Timestamp) -> Result<Turn, Option<Duration>> {
    let closed = state.closed(now, false);
    let wait = |queue: &Queue| {
        let due = until(now, queue.due);
        closed.get(&queue.destination).map_or(due, |closed| due.max(*closed))
    };
    let first = queues.iter().map(wait).min();
    let mut open: Vec<Queue> = queues.into_iter().filter(|it| wait(it).is_zero()).collect();
    // In the order of the tenants' names, from the one behind the last one on, and then from the start.
    let last = state.last_tenant.take();
    open.sort_by_key(|queue| (Some(&queue.tenant) <= last.as_ref(), queue.tenant.clone()));
    let Some(tenant) = open.first().map(|queue| queue.tenant.clone()) else {
        state.last_tenant = last;
        return Err(first);
    };
    let own = open.iter().filter(|queue| queue.tenant == tenant).map(|queue| &queue.destination);
    let destination = own.min_by_key(|destination| state.last_call(destination)).cloned();
    let destination = destination.ok_or(None)?;
    let there = open.into_iter().filter(|queue| queue.destination == destination);
    let tenants = there.map(|queue| queue.tenant).take(MAX_TENANTS).collect();
    state.last_tenant = Some(tenant);
    state.note_call(&destination);
    Ok(Turn { destination, tenants, is_fresh: false })
}

/// The invites of a call: those that are due, of one call key and group, each person once.
pub(super) async fn fill_call(
    shared: &Arc<Shared>,
    lane: &Lane,
    provider: &Provider,
    mut turn: Turn,
) -> Result<Vec<InviteRecord>, invite_store::Error> {
    let most = provider.limits.max_batch;
    let now = shared.clock.now();
    let max_batch = lane.with_state(|state| state.most_in_call(&turn.destination, most, now));
    let mut due = read(shared, lane, &turn, max_batch).await?;
    if lane.in_flight() > 0 && !due.is_empty() && due.len() < max_batch as usize {
        // The first of them wait for others to share their call, which may be other tenants'.
        lane.fresh.give_back(due);
        lane.gather(provider.limits.linger, max_batch).await;
        let there = match turn.is_fresh {
            true => lane.fresh.queues().map(|(queues, _)| queues).unwrap_or_default(),
            false => {
                let heads = lane.held_back.heads().map(|(heads, _)| heads).unwrap_or_default();
                shared.store.queues_at(&lane.name, &turn.destination, &heads).await?
            }
        };
        turn.reread(there, shared.clock.now());
        due = read(shared, lane, &turn, max_batch).await?;
    }
    let give_up_after = provider.limits.retry.give_up_after;
    let now = shared.clock.now();
    let (late, due): (Vec<_>, Vec<_>) =
        due.into_iter().partition(|invite| until(invite.state.queued_at, now) > give_up_after);
    if !late.is_empty() {
        give_up(shared, late).await?;
    }
    let (mut group, mut left) = (Vec::<InviteRecord>::new(), Vec::new());
    let mut people = BTreeSet::new();
    for invite in due {
        let fits = group.first().is_none_or(|first| {
            first.call_key == invite.call_key && first.state.group_id == invite.state.group_id
        });
        let has_room = group.len() < max_batch as usize;
        if fits && has_room && people.insert(invite.address.clone()) {
            group.push(invite);
        } else {
            left.push(invite);
        }
    }
    lane.fresh.give_back(left);
    Ok(group)
}

/// What is due at the turn's destination, one invite of each tenant after the other.
async fn read(
    shared: &Shared,
    lane: &Lane,
    turn: &Turn,
    max_batch: u32,
) -> Result<Vec<InviteRecord>, invite_store::Error> {
    // Twice as many as fit, because some may not share a call with the first.
    let tenants = u32::try_from(turn.tenants.len()).unwrap_or(u32::MAX).max(1);
    let each = max_batch.saturating_mul(2).div_ceil(tenants);
    let now = shared.clock.now();
    let mut due = Vec::new();
    for tenant in &turn.tenants {
        let own = match turn.is_fresh {
            true => lane.fresh.take(tenant, &turn.destination, each as usize),
            false => {
                let since = lane.held_back.since(tenant, &turn.destination);
                let (store, to) = (&shared.store, &turn.destination);
                store.due(&lane.name, tenant, to, since, now, each).await?
            }
        };
        due.extend(own.into_iter().enumerate());
    }
    // The sort is stable, so it keeps the order of the tenants.
    due.sort_by_key(|(place, _)| *place);
    Ok(due.into_iter().map(|(_, invite)| invite).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use invite_core::Retry;
    use proptest::prelude::*;

    use super::*;
    use crate::lane::Event;

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn at(scope: usize) -> Destination {
        let (kind, base_url) = ("fake".to_owned(), "http://fake".to_owned());
        Destination { kind, base_url, scope: scope.to_string() }
    }

    fn queue(tenant: usize, scope: usize) -> Queue {
        let due = Timestamp::UNIX_EPOCH;
        Queue { tenant: format!("tenant-{tenant}"), destination: at(scope), due }
    }

    #[test]
    fn a_tenant_with_many_destinations_has_no_more_turns_than_one_with_few() {
        let mut state = State::default();
        let queues: Vec<_> = (0..40).map(|n| queue(0, n)).chain([queue(1, 99)]).collect();
        let turns: Vec<_> = (0..4)
            .map(|_| choose(&mut state, queues.clone(), now()).ok().unwrap().tenants[0].clone())
            .collect();
        assert_eq!(turns, ["tenant-0", "tenant-1", "tenant-0", "tenant-1"]);
    }

    #[test]
    fn every_destination_of_many_has_its_turn_however_many_others_are_closed() {
        // A store whose scan finds two destinations of a tenant from the first on, and two others.
        let scan = |waiting: &BTreeSet<(usize, usize)>, from: Option<&str>| {
            let mut found = QueueScan {
                queues: Vec::new(),
                held_back: Vec::new(),
                next: None,
                is_empty: false,
            };
            for tenant in 0..2 {
                let own = waiting.iter().filter(|(of, _)| *of == tenant);
                let own: Vec<Queue> = own.map(|(_, scope)| queue(tenant, *scope)).collect();
                let (first, rest) = own.split_at(own.len().min(2));
                let behind = rest.iter().filter(|it| Some(it.destination.scope.as_str()) > from);
                let told: Vec<&Queue> = behind.take(2).collect();
                let cut = told.get(1).map(|last| last.destination.scope.clone());
                found.next = [found.next, cut].into_iter().flatten().min();
                found.queues.extend(first.iter().chain(told).cloned());
            }
            found
        };
        let mut waiting: BTreeSet<(usize, usize)> =
            (0..2).flat_map(|tenant| (10..40).map(move |scope| (tenant, scope))).collect();
        let (mut state, mut time) = (State::default(), now());
        let refuse = |state: &mut State, scope: usize, time: Timestamp| {
            let event = Event::Refused;
            state.destination(&at(scope)).health.update(&event, None, &Retry::default(), time);
        };
        for _ in 0..400 {
            // Those at even places take nothing.
            (10..40).step_by(2).for_each(|scope| refuse(&mut state, scope, time));
            let from = state.scan_from.clone();
            let found = scan(&waiting, from.as_deref());
            match choose_from(&mut state, found, time) {
                Ok(turn) => {
                    let tenant = usize::from(turn.tenants[0] == "tenant-1");
                    waiting.remove(&(tenant, turn.destination.scope.parse().unwrap()));
                }
                Err(wait) => time += wait.unwrap(),
            }
        }
        assert!(waiting.iter().all(|(_, scope)| scope % 2 == 0), "{waiting:?}");
    }

    #[test]
    fn nothing_due_says_when_something_will_be() {
        let mut state = State::default();
        let mut later = queue(0, 0);
        later.due = now() + Duration::from_secs(7);
        let waits = choose(&mut state, vec![later], now()).err().unwrap();
        assert_eq!(waits, Some(Duration::from_secs(7)));
        assert_eq!(choose(&mut state, Vec::new(), now()).err().unwrap(), None);
    }

    proptest! {
        /// Whatever the destinations answer, a queue whose destination is well has its turn among as
        /// many calls as there are queues, at most for each of its tenant's destinations.
        #[test]
        fn whatever_other_destinations_answer_each_healthy_queue_has_its_turn(
            pairs in prop::collection::btree_set((0usize..4, 0usize..6), 1..16),
            bad in prop::collection::btree_map(0usize..6, 0u8..3, 0..4),
        ) {
            let healthy = |scope: usize| !bad.contains_key(&scope);
            let mut state = State::default();
            let queues: Vec<_> = pairs.iter().map(|(tenant, scope)| queue(*tenant, *scope)).collect();
            let mut served: BTreeMap<(String, Destination), usize> = BTreeMap::new();
            let (mut time, rounds) = (now(), 4 * 6 * pairs.len());
            for _ in 0..rounds {
                time += Duration::from_millis(10);
                if state.wait(time, 0).is_some() {
                    // What several of them failed alike for is over sooner or later.
                    time += Duration::from_secs(3600);
                }
                let Ok(turn) = choose(&mut state, queues.clone(), time) else { continue };
                let scope: usize = turn.destination.scope.parse().unwrap();
                let event = match bad.get(&scope) {
                    None => Event::Success,
                    Some(0) => Event::Refused,
                    Some(_) => Event::Failing { pauses_at_once: false },
                };
                state.begin(&turn.destination);
                state.end(&turn.destination);
                state.update(&turn.destination, &event, None, &Retry::default(), time);
                for tenant in turn.tenants {
                    *served.entry((tenant, turn.destination.clone())).or_default() += 1;
                }
            }
            for (tenant, scope) in pairs.iter().filter(|(_, scope)| healthy(*scope)) {
                let key = (format!("tenant-{tenant}"), at(*scope));
                prop_assert!(served.contains_key(&key), "{key:?} was never served: {served:?}");
            }
        }
    }
}
