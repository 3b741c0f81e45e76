//! Failed authentications by address: each further one is answered later.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::listener::subscriber;

/// So many failures are nothing unusual. One of them is forgotten every second.
const UNUSUAL: f64 = 10.0;
/// How many failures are remembered of one address.
const MOST: f64 = 60.0;
/// By how much each failure beyond the usual ones is answered later, and the latest.
const STEP: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(1);
/// How many addresses are remembered.
const MOST_ADDRESSES: usize = 10_000;

/// How many failures each address had lately.
#[derive(Default)]
pub(crate) struct Failures(Mutex<HashMap<IpAddr, Recent>>);

#[derive(Clone, Copy)]
struct Recent {
    count: f64,
    at: Instant,
}

impl Recent {
    fn count_at(&self, now: Instant) -> f64 {
        (self.count - now.duration_since(self.at).as_secs_f64()).max(0.0)
    }
}

impl Failures {
    /// Records a failure and returns how much later than at once it has to be answered.
    pub fn record(&self, address: IpAddr, now: Instant) -> Duration {
        let address = subscriber(address);
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= MOST_ADDRESSES && !recent.contains_key(&address) {
            recent.retain(|_, of| of.count_at(now) > 0.0);
            // Whoever has so many addresses is not slowed down by address.
            if recent.len() >= MOST_ADDRESSES {
                recent.clear();
            }
        }
        let own = recent.entry(address).or_insert(Recent { count: 0.0, at: now });
        *own = Recent { count: (own.count_at(now) + 1.0).min(MOST), at: now };
        STEP.mul_f64((own.count - UNUSUAL).max(0.0)).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u32) -> IpAddr {
        IpAddr::from(last.to_be_bytes())
    }

    #[test]
    fn failures_are_answered_later_and_later_and_are_forgotten() {
        let (failures, now) = (Failures::default(), Instant::now());
        let record = |after: u64| failures.record(address(1), now + Duration::from_secs(after));
        let delays: Vec<_> = (0..100).map(|_| record(0)).collect();
        assert!(delays[..10].iter().all(Duration::is_zero), "{delays:?}");
        assert_eq!((delays[10], delays[12]), (STEP, STEP * 3));
        assert_eq!(delays[99], LONGEST);
        assert_eq!(failures.record(address(2), now), Duration::ZERO);
        assert_eq!(record(60), Duration::ZERO);
    }

    #[test]
    fn no_number_of_addresses_takes_more_memory() {
        let (failures, now) = (Failures::default(), Instant::now());
        for number in 0..25_000 {
            failures.record(address(number), now);
        }
        assert!(failures.0.lock().unwrap().len() <= MOST_ADDRESSES);
    }
}
