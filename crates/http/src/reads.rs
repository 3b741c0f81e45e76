//! Reads that are on record: what a key reads of other tenants, and what was exchanged with a
//! provider.
//!
//! A read is recorded before it is answered, and not answered if it cannot be recorded. The same
//! read by the same key is recorded once in [`WINDOW`], so that polling does not fill the record.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use invite_core::KeyId;
use invite_store::NewAudit;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::{Gateway, auth::Caller, problem::Problem};

/// For how long a recorded read stands for others like it.
const WINDOW: Duration = Duration::from_secs(600);
/// How many recorded reads are remembered. One that is forgotten is recorded again.
const MAX_REMEMBERED: usize = 10_000;
/// The longest target that is recorded, in characters.
const MAX_TARGET: usize = 300;
/// Filters whose values may say who somebody is.
const PERSONAL: [&str; 3] = ["email", "external_id", "label"];
const PAGING: [&str; 3] = ["limit", "cursor", "after"];

/// The key, and a hash of what was done and to what, which may be long.
type Read = (KeyId, [u8; 32]);

#[derive(Default)]
pub(crate) struct RecordedReads(Mutex<HashMap<Read, Instant>>);

impl RecordedReads {
    /// Whether this read has to be recorded now. From here on it counts as recorded, until [`forget`](Self::forget).
    fn is_due(&self, read: Read, now: Instant) -> bool {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recorded.get(&read).is_some_and(|at| now.duration_since(*at) < WINDOW) {
            return false;
        }
        if recorded.len() >= MAX_REMEMBERED {
            recorded.retain(|_, at| now.duration_since(*at) < WINDOW);
        }
        if recorded.len() >= MAX_REMEMBERED {
            recorded.clear();
        }
        recorded.insert(read, now);
        true
    }

    /// The read could not be recorded after all.
    fn forget(&self, read: &Read) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(read);
    }
}

/// Records a read that is about to be answered, if it is of another tenant.
pub(crate) async fn across_tenants(
    gateway: &Gateway,
    caller: &Caller,
    tenant: &str,
    action: &'static str,
    target: &str,
) -> Result<(), Problem> {
    match tenant == caller.tenant() {
        true => Ok(()),
        false => record(gateway, caller, action, target).await,
    }
}

pub(crate) async fn record(
    gateway: &Gateway,
    caller: &Caller,
    action: &'static str,
    target: &str,
) -> Result<(), Problem> {
    let read = (caller.id(), Sha256::digest(format!("{action} {target}")).into());
    if !gateway.recorded_reads.is_due(read, Instant::now()) {
        return Ok(());
    }
    let entry = NewAudit::new(caller.actor(), action, target);
    let recorded = gateway.store().record_audit(entry).await;
    if recorded.is_err() {
        gateway.recorded_reads.forget(&read);
    }
    Ok(recorded?)
}

/// The filters of a list, as they are recorded: the tenant first, each filter once, and those that may be
/// personal without their values. Where that is too long it ends in its hash.
pub(crate) fn filters<'a>(given: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut shown: Vec<String> = Vec::new();
    for (name, value) in given.filter(|(name, _)| !PAGING.contains(name)) {
        let value = if PERSONAL.contains(&name) { "…" } else { value };
        let filter = format!("{name}={value}");
        if !shown.contains(&filter) {
            shown.push(filter);
        }
    }
    // The sort is stable: the other filters stay in the order in which they were given.
    shown.sort_by_key(|filter| !filter.starts_with("tenant="));
    let all = if shown.is_empty() { "all".to_owned() } else { shown.join("&") };
    let Some((end, _)) = all.char_indices().nth(MAX_TARGET) else { return all };
    let hash = base16ct::lower::encode_string(&Sha256::digest(&all));
    format!("{}… (SHA-256 of all: {hash})", &all[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_recorded_once_in_ten_minutes_for_each_key_and_target() {
        let (reads, key, now) = (RecordedReads::default(), KeyId::generate(), Instant::now());
        let (one, other) = ((key, [1; 32]), (key, [2; 32]));
        assert!(reads.is_due(one, now));
        assert!(!reads.is_due(one, now + WINDOW - Duration::from_secs(1)));
        assert!(reads.is_due(other, now));
        assert!(reads.is_due((KeyId::generate(), [1; 32]), now));
        assert!(reads.is_due(one, now + WINDOW));
        reads.forget(&other);
        assert!(reads.is_due(other, now));
    }

    #[test]
    fn what_is_remembered_of_reads_is_bounded() {
        let (reads, key, now) = (RecordedReads::default(), KeyId::generate(), Instant::now());
        for n in 0..2 * MAX_REMEMBERED + 1 {
            let hash = Sha256::digest(n.to_string()).into();
            assert!(reads.is_due((key, hash), now));
        }
        assert!(reads.0.lock().unwrap().len() <= MAX_REMEMBERED);
    }

    #[test]
    fn the_record_of_a_list_holds_nothing_personal() {
        assert_eq!(filters([].into_iter()), "all");
        assert_eq!(filters([("limit", "5"), ("cursor", "abc")].into_iter()), "all");
        let given = [
            ("status", "failed"),
            ("email", "ada@example.org"),
            ("label", "name:Ada"),
            ("label", "name:Grace"),
            ("external_id", "7"),
            ("tenant", "hr"),
        ];
        let told = "tenant=hr&status=failed&email=…&label=…&external_id=…";
        assert_eq!(filters(given.into_iter()), told);
    }

    #[test]
    fn nothing_that_is_repeated_or_long_hides_whose_invites_were_read() {
        let repeated = |tenant| {
            let statuses = std::iter::repeat_n(("status", "pending"), 50);
            filters(statuses.chain([("tenant", tenant)]))
        };
        assert_eq!(repeated("tb"), "tenant=tb&status=pending");
        let long = |provider: &str| {
            let name = "p".repeat(500) + provider;
            filters([("provider", name.as_str()), ("tenant", "tb")].into_iter())
        };
        assert!(long("a").starts_with("tenant=tb&provider=ppp"), "{}", long("a"));
        assert!(long("a").chars().count() < 400);
        assert_ne!(long("a"), long("b"));
    }
}
