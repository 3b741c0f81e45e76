//! Room for new invites: in the providers' queues, for all and for each tenant, and in their quotas.

use std::{collections::BTreeMap, time::Duration};

use invite_core::Limits;
use invite_store::Quotas;
use jiff::Timestamp;

use crate::{error::AcceptError, lane::Lane, shared::Engine};

const DAY: i64 = 24 * 3600;

impl Engine {
    /// The `limits.quota` of each of these providers that has one.
    pub(crate) fn quotas<'a>(&self, providers: impl Iterator<Item = &'a str>) -> Quotas {
        let document = self.shared.live.current();
        let quota = |name: &str| Some((name.to_owned(), document.provider(name)?.limits.quota?));
        providers.filter_map(quota).collect()
    }

    /// Reserves room for new invites of a tenant in the queues of all these providers, or in none; what is queued has to
    /// be counted before.
    pub(crate) async fn reserve(
        &self,
        tenant: &str,
        new: &BTreeMap<String, usize>,
    ) -> Result<(), AcceptError> {
        let document = self.shared.live.current();
        for (place, (name, count)) in new.iter().enumerate() {
            let limits = document.provider(name).map(|provider| provider.limits.clone());
            // A provider that is gone by now is refused later, with a better reason.
            let Some(limits) = limits else { continue };
            let lane = self.shared.lane(name);
            let taken = self.reserve_at(&lane, &limits, tenant, *count).await;
            if let Err(error) = taken {
                let before = new.iter().take(place);
                before
                    .filter(|(name, _)| document.provider(name).is_some())
                    .for_each(|(name, count)| self.shared.lane(name).queue_shrank(*count));
                return Err(error);
            }
        }
        Ok(())
    }

    pub(crate) fn day_exhausted(&self, room: u64) -> AcceptError {
        let retry_after = until_midnight(self.shared.clock.now());
        AcceptError::DayExhausted { room, retry_after }
    }

    async fn reserve_at(
        &self,
        lane: &Lane,
        limits: &Limits,
        tenant: &str,
        count: usize,
    ) -> Result<(), AcceptError> {
        let provider = lane.name.clone();
        // The time in which the lane works off a hundredth of its backlog.
        let rate = limits.requests_per_second * f64::from(limits.max_batch);
        let wait = (limits.max_backlog as f64 / 100.0 / rate).clamp(1.0, 60.0);
        let retry_after = Duration::from_secs_f64(wait);
        if !lane.reserve(count, limits.max_backlog) {
            return Err(AcceptError::BacklogFull { provider, retry_after });
        }
        let most = limits.max_backlog_per_tenant;
        // No tenant can have more in the queue than all have together.
        if lane.queued() <= most {
            lane.shares.add(tenant, count).await;
            return Ok(());
        }
        let is_taken =
            lane.shares.reserve(&self.shared.store, &provider, tenant, count, most).await;
        if !matches!(is_taken, Ok(true)) {
            lane.queue_shrank(count);
        }
        match is_taken? {
            true => Ok(()),
            false => Err(AcceptError::ShareFull { provider, retry_after }),
        }
    }
}

/// How long it is until the next day begins in UTC.
fn until_midnight(now: Timestamp) -> Duration {
    let left = DAY - now.as_second().rem_euclid(DAY);
    Duration::from_secs(left.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_at_midnight_in_utc() {
        let until = |at: &str| until_midnight(at.parse().unwrap()).as_secs();
        assert_eq!(until("2026-01-31T00:00:00Z"), 24 * 3600);
        assert_eq!(until("2026-01-31T23:59:59Z"), 1);
        assert_eq!(until("1969-12-31T23:00:00Z"), 3600);
    }
}
