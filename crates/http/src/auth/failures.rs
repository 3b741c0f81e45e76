//! Failed authentications by address. The more of them an address had lately, the later the next one is answered.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::listener::client_network;

/// How many failures are answered without delay. Each second one failure is forgotten.
const TOLERATED: f64 = 10.0;
/// How many failures of one address are counted, which bounds how long it takes until they are forgotten.
const MAX_COUNT: f64 = 60.0;
/// By how much each further failure is answered later, up to the longest delay.
const DELAY_STEP: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(1);
const MAX_ADDRESSES: usize = 10_000;

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
    /// Counts a failure and returns by how much its answer is to be delayed.
    pub fn record(&self, address: IpAddr, now: Instant) -> Duration {
        let address = client_network(address);
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= MAX_ADDRESSES && !recent.contains_key(&address) {
            recent.retain(|_, of| of.count_at(now) > 0.0);
            // With more addresses than are remembered nobody is slowed down by a delay for one of them.
            if recent.len() >= MAX_ADDRESSES {
                recent.clear();
            }
        }
        let own = recent.entry(address).or_insert(Recent { count: 0.0, at: now });
        *own = Recent { count: (own.count_at(now) + 1.0).min(MAX_COUNT), at: now };
        DELAY_STEP.mul_f64((own.count - TOLERATED).max(0.0)).min(MAX_DELAY)
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
        assert_eq!((delays[10], delays[12]), (DELAY_STEP, DELAY_STEP * 3));
        assert_eq!(delays[99], MAX_DELAY);
        assert_eq!(failures.record(address(2), now), Duration::ZERO);
        assert_eq!(record(60), Duration::ZERO);
    }

    #[test]
    fn no_number_of_addresses_takes_more_memory() {
        let (failures, now) = (Failures::default(), Instant::now());
        for number in 0..25_000 {
            failures.record(address(number), now);
        }
        assert!(failures.0.lock().unwrap().len() <= MAX_ADDRESSES);
    }
}
