//! Reads that are on record: what a key reads of other tenants, and what was exchanged with a provider.
//!
//! They are recorded before they are answered. The same read by the same key is recorded once in
//! [`WINDOW`], so that whoever polls does not fill the record.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::http::Uri;
use invite_core::KeyId;
use invite_store::NewAudit;
use tokio::time::Instant;
use url::form_urlencoded;

use crate::{Gateway, admin::audit, auth::Caller};

/// How long a recorded read stands for others like it.
const WINDOW: Duration = Duration::from_secs(600);
/// Recorded reads that are remembered at most; one that is forgotten is recorded again.
const MAX_REMEMBERED: usize = 10_000;
/// The longest target that is recorded, in characters.
const MAX_TARGET: usize = 300;
/// Filters whose values may tell who somebody is.
const PERSONAL: [&str; 3] = ["email", "external_id", "label"];
/// Parameters that say which part of a list is read.
const PAGING: [&str; 2] = ["limit", "cursor"];

/// What was recorded a short while ago.
#[derive(Default)]
pub(crate) struct RecordedReads(Mutex<HashMap<(KeyId, &'static str, String), Instant>>);

impl RecordedReads {
    /// Whether this read is to be recorded now; it then counts as recorded.
    fn is_due(&self, key: KeyId, action: &'static str, target: &str, now: Instant) -> bool {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let read = (key, action, target.to_owned());
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
}

/// Records that something of another tenant is about to be shown, if it is of another one.
pub(crate) async fn across_tenants(
    gateway: &Gateway,
    caller: &Caller,
    tenant: &str,
    action: &'static str,
    target: &str,
) {
    if tenant != caller.tenant() {
        record(gateway, caller, action, target).await;
    }
}

/// Records a read that is about to be answered.
pub(crate) async fn record(gateway: &Gateway, caller: &Caller, action: &'static str, target: &str) {
    let target: String = target.chars().take(MAX_TARGET).collect();
    if !gateway.recorded_reads().is_due(caller.id(), action, &target, Instant::now()) {
        return;
    }
    let read = NewAudit {
        actor: caller.actor(),
        action: action.to_owned(),
        target,
        before: None,
        after: None,
        note: None,
    };
    audit::record(gateway.engine(), read).await;
}

/// By what a list was filtered: of what may be personal only that it was.
pub(crate) fn filters(uri: &Uri) -> String {
    let given = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let kept = given.filter(|(name, _)| !PAGING.contains(&&**name));
    let shown: Vec<String> = kept
        .map(|(name, value)| {
            if PERSONAL.contains(&&*name) {
                format!("{name}=…")
            } else {
                format!("{name}={value}")
            }
        })
        .collect();
    if shown.is_empty() { "all".to_owned() } else { shown.join("&") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_recorded_once_in_ten_minutes_for_each_key_and_target() {
        let (reads, key, now) = (RecordedReads::default(), KeyId::generate(), Instant::now());
        assert!(reads.is_due(key, "invite.read", "a", now));
        assert!(!reads.is_due(key, "invite.read", "a", now + WINDOW - Duration::from_secs(1)));
        assert!(reads.is_due(key, "invite.read", "b", now));
        assert!(reads.is_due(key, "invite.read_raw", "a", now));
        assert!(reads.is_due(KeyId::generate(), "invite.read", "a", now));
        assert!(reads.is_due(key, "invite.read", "a", now + WINDOW));
    }

    #[test]
    fn what_is_remembered_of_reads_is_bounded() {
        let (reads, key, now) = (RecordedReads::default(), KeyId::generate(), Instant::now());
        for n in 0..2 * MAX_REMEMBERED + 1 {
            assert!(reads.is_due(key, "invite.read", &n.to_string(), now));
        }
        assert!(reads.0.lock().unwrap().len() <= MAX_REMEMBERED);
    }

    #[test]
    fn the_record_of_a_list_holds_nothing_personal() {
        let target = |query: &str| filters(&Uri::try_from(format!("/v1/invites?{query}")).unwrap());
        assert_eq!(target(""), "all");
        assert_eq!(target("limit=5&cursor=abc"), "all");
        let query = "status=failed&email=ada%40example.org&label=name:Ada&external_id=7&tenant=hr";
        assert_eq!(target(query), "status=failed&email=…&label=…&external_id=…&tenant=hr");
    }
}
