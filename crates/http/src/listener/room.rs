//! Room for connections: so many in all and of one address. Who comes when there is none gets the
//! place of one that has no request under way, so that clients who say nothing lock nobody out.

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

/// How often the log says that connections are refused.
const WARN_EVERY: Duration = Duration::from_secs(10);
/// How long an answer may be on its way before its connection counts as one that can go.
const STUCK: Duration = Duration::from_secs(1);

/// How long after a request's head its body may be on its way before its connection counts as one that can
/// go.
const SLOW_BODY: Duration = Duration::from_secs(5);

/// Room for so many connections.
pub(super) struct Room {
    most: usize,
    most_per_address: usize,
    places: Mutex<Places>,
    /// Told whenever a place becomes free.
    freed: Notify,
}

#[derive(Default)]
struct Places {
    taken: HashMap<u64, (IpAddr, Arc<Progress>)>,
    of_address: HashMap<IpAddr, usize>,
    next: u64,
    warned_at: Option<Instant>,
}

/// The place of one connection, until it is dropped.
pub(super) struct Place {
    room: Arc<Room>,
    number: u64,
    pub progress: Arc<Progress>,
}

enum Attempt {
    Taken(Place),
    /// Somebody is leaving.
    Wait,
    Full,
}

impl Room {
    pub fn new(most: usize, most_per_address: usize) -> Self {
        Self { most, most_per_address, places: Mutex::default(), freed: Notify::new() }
    }

    /// A place, for which another connection may have to go; none if all that could go are busy.
    /// A proxy has no limit of its own.
    pub async fn take(self: &Arc<Self>, address: IpAddr, is_proxy: bool) -> Option<Place> {
        loop {
            let freed = self.freed.notified();
            match self.attempt(address, is_proxy) {
                Attempt::Taken(place) => return Some(place),
                Attempt::Wait => freed.await,
                Attempt::Full => return None,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attempt(self: &Arc<Self>, address: IpAddr, is_proxy: bool) -> Attempt {
        let address = subscriber(address);
        let mut places = self.lock();
        let own = places.of_address.get(&address).copied().unwrap_or_default();
        let only = if own >= self.most_per_address && !is_proxy {
            Some(address)
        } else if places.taken.len() >= self.most {
            None
        } else {
            return Attempt::Taken(self.place(&mut places, address));
        };
        if places.free_one(only) {
            return Attempt::Wait;
        }
        metrics::counter!("http_connections_closed_total", "reason" => "no-room").increment(1);
        if places.warned_at.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            places.warned_at = Some(Instant::now());
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

    fn place(self: &Arc<Self>, places: &mut Places, address: IpAddr) -> Place {
        let progress = Arc::new(Progress::new());
        let number = places.next;
        places.next += 1;
        places.taken.insert(number, (address, progress.clone()));
        *places.of_address.entry(address).or_default() += 1;
        metrics::gauge!("http_connections").set(places.taken.len() as f64);
        Place { room: self.clone(), number, progress }
    }
}

impl Places {
    /// Has a connection go, of this address if there is one. False if all are busy.
    ///
    /// First goes who waits for a request, then who does not take its answer, then who is slow to send a
    /// request's body; of those, one of the address with the most connections; of those, the one that waits longest.
    fn free_one(&mut self, only: Option<IpAddr>) -> bool {
        loop {
            let mut best = None;
            for (of, progress) in self.taken.values() {
                if only.is_some_and(|only| only != *of) {
                    continue;
                }
                let (phase, since) = progress.now();
                let reluctance = match phase {
                    Phase::Evicted => return true,
                    Phase::Head | Phase::Idle => 0,
                    Phase::Answer | Phase::Answered if since.elapsed() >= STUCK => 1,
                    Phase::Body if since.elapsed() >= SLOW_BODY => 2,
                    Phase::Request | Phase::Body | Phase::Answer | Phase::Answered => continue,
                };
                let rank = (reluctance, Reverse(self.of_address.get(of)), since);
                if best.as_ref().is_none_or(|(lowest, _)| rank < *lowest) {
                    best = Some((rank, progress));
                }
            }
            match best {
                None => return false,
                Some((_, progress)) if progress.evict() => return true,
                // It has begun a request in between.
                Some(_) => {}
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.room.lock();
        if let Some((address, _)) = places.taken.remove(&self.number)
            && let Some(count) = places.of_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                places.of_address.remove(&address);
            }
        }
        metrics::gauge!("http_connections").set(places.taken.len() as f64);
        drop(places);
        self.room.freed.notify_waiters();
    }
}

/// What counts as one address: with IPv6 a network of 64 bits, as everybody has a whole one.
pub(crate) fn subscriber(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(long) => {
            let [a, b, c, d, ..] = long.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}
