//! A bounded number of slots for connections, in all and for each address. Where none is free a new connection
//! gets that of one that has no request under way, so that clients who say nothing lock nobody out.

use std::{
    cmp::Reverse,
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::Notify,
    time::{Duration, Instant},
};

use super::progress::{Phase, Progress};

/// How often the log says at most that connections are refused.
const WARN_INTERVAL: Duration = Duration::from_secs(10);
/// After how long an answer that is still on its way is slow, and its connection may be evicted.
const SLOW_ANSWER: Duration = Duration::from_secs(1);

/// After how long a body that is still on its way is slow, and its connection may be evicted.
const SLOW_BODY: Duration = Duration::from_secs(5);

pub(super) struct Slots {
    most: usize,
    most_per_address: usize,
    taken: Mutex<Taken>,
    /// Notified whenever a slot becomes free.
    freed: Notify,
}

#[derive(Default)]
struct Taken {
    slots: HashMap<u64, (IpAddr, Arc<Progress>)>,
    of_address: HashMap<IpAddr, usize>,
    next: u64,
    warned_at: Option<Instant>,
}

/// The slot of one connection, until it is dropped.
pub(super) struct Slot {
    slots: Arc<Slots>,
    number: u64,
    pub progress: Arc<Progress>,
}

enum Attempt {
    Acquired(Slot),
    /// A connection was evicted, and its slot is about to become free.
    Wait,
    Full,
}

impl Slots {
    pub fn new(most: usize, most_per_address: usize) -> Self {
        Self { most, most_per_address, taken: Mutex::default(), freed: Notify::new() }
    }

    /// A slot, for which another connection may be evicted; `None` if none may be. The limit for one
    /// address does not hold for proxies.
    pub async fn acquire(self: &Arc<Self>, address: IpAddr, is_proxy: bool) -> Option<Slot> {
        loop {
            let freed = self.freed.notified();
            match self.attempt(address, is_proxy) {
                Attempt::Acquired(slot) => return Some(slot),
                Attempt::Wait => freed.await,
                Attempt::Full => return None,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attempt(self: &Arc<Self>, address: IpAddr, is_proxy: bool) -> Attempt {
        let address = client_network(address);
        let mut taken = self.lock();
        let own = taken.of_address.get(&address).copied().unwrap_or_default();
        let only = if own >= self.most_per_address && !is_proxy {
            Some(address)
        } else if taken.slots.len() >= self.most {
            None
        } else {
            return Attempt::Acquired(self.add(&mut taken, address));
        };
        if taken.evict_one(only) {
            return Attempt::Wait;
        }
        metrics::counter!("http_connections_closed_total", "reason" => "no-room").increment(1);
        if taken.warned_at.is_none_or(|at| at.elapsed() >= WARN_INTERVAL) {
            taken.warned_at = Some(Instant::now());
            let (limit, setting) = match only {
                Some(_) => (self.most_per_address, "server.max_connections_per_address"),
                None => (self.most, "server.max_connections"),
            };
            tracing::warn!(
                client.address = %address,
                limit,
                "a connection is refused: as many as {setting} allows have a request under way"
            );
        }
        Attempt::Full
    }

    fn add(self: &Arc<Self>, taken: &mut Taken, address: IpAddr) -> Slot {
        let progress = Arc::new(Progress::new());
        let number = taken.next;
        taken.next += 1;
        taken.slots.insert(number, (address, progress.clone()));
        *taken.of_address.entry(address).or_default() += 1;
        metrics::gauge!("http_connections").set(taken.slots.len() as f64);
        Slot { slots: self.clone(), number, progress }
    }
}

impl Taken {
    /// Evicts one connection, one of this address if there is one. False if none may be evicted.
    ///
    /// First goes a connection that waits for a request, then one that does not take its answer, then one
    /// that is slow to send a body; among those, one of the address with the most connections; among those,
    /// the one that waits longest.
    fn evict_one(&mut self, only: Option<IpAddr>) -> bool {
        loop {
            let mut best = None;
            for (of, progress) in self.slots.values() {
                if only.is_some_and(|only| only != *of) {
                    continue;
                }
                let (phase, since) = progress.now();
                let order = match phase {
                    Phase::Evicted => return true,
                    Phase::Head | Phase::Idle => 0,
                    Phase::Answer | Phase::Answered if since.elapsed() >= SLOW_ANSWER => 1,
                    Phase::Body if since.elapsed() >= SLOW_BODY => 2,
                    Phase::Request | Phase::Body | Phase::Answer | Phase::Answered => continue,
                };
                let rank = (order, Reverse(self.of_address.get(of)), since);
                if best.as_ref().is_none_or(|(lowest, _)| rank < *lowest) {
                    best = Some((rank, progress));
                }
            }
            match best {
                None => return false,
                Some((_, progress)) if progress.evict() => return true,
                // It has begun a request since it was looked at, so another one is looked for.
                Some(_) => {}
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        if let Some((address, _)) = taken.slots.remove(&self.number)
            && let Some(count) = taken.of_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                taken.of_address.remove(&address);
            }
        }
        metrics::gauge!("http_connections").set(taken.slots.len() as f64);
        drop(taken);
        self.slots.freed.notify_waiters();
    }
}

/// What counts as one address: with IPv6 a network of 64 bits, as every subscriber has a whole one.
pub(crate) fn client_network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(long) => {
            let [a, b, c, d, ..] = long.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}
