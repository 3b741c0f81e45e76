//! When an invite is another one for callers.

use std::{sync::Arc, time::Duration};

use invite_core::{Status, StatusSource, SystemClock};
use invite_store::{InviteState, Phase};

use crate::fixture::{Db, on_both, queue, seconds, set};
use crate::states::{phase, reason};

on_both!(an_invite_is_updated_when_callers_see_another_one_and_only_then,);

async fn an_invite_is_updated_when_callers_see_another_one_and_only_then(db: &Db) {
    let store = db.open_on(Arc::new(SystemClock)).await;
    let [id] = queue(&store, ["ada@example.org"]).await;
    set(&store, id, |state, _| state.phase = phase(Status::Pending)).await;
    type Set = fn(&mut InviteState);
    let unseen: [Set; 8] = [
        |_| {},
        |state| state.checked_at = Some(seconds(-1)),
        |state| state.shown_fingerprint = Some("sha256:1".into()),
        |state| state.group_id = Some("g".into()),
        |state| state.revoke_sent = true,
        |state| state.queued_at = seconds(-1),
        |state| (state.found_absent, state.is_unconfirmed) = (1, true),
        |state| state.updated_at = seconds(-1),
    ];
    let seen: [Set; 13] = [
        |state| state.phase = phase(Status::Sent),
        |state| state.source = StatusSource::Provider,
        |state| state.provider_ref = Some("ref-1".into()),
        |state| state.provider_status = Some("MAILED".into()),
        |state| _ = state.provider_data.insert("session_id".into(), "s".into()),
        |state| state.second_effects = vec!["ref-2".into()],
        |state| state.expires_at = Some(seconds(60)),
        |state| state.sent_at = Some(seconds(-2)),
        |state| state.attempt_count += 1,
        |state| state.error = Some(reason("x")),
        |state| state.duplicate_effect = true,
        |state| state.phase = Phase::Queued { next_attempt_at: None },
        |state| state.phase = Phase::Queued { next_attempt_at: Some(seconds(9)) },
    ];
    let later: Set = |state| state.phase = Phase::Queued { next_attempt_at: Some(seconds(10)) };
    let steps = unseen.iter().map(|set| (set, false)).chain(seen.iter().map(|set| (set, true)));
    let steps = steps.chain([(&later, false)]);
    for (place, (step, is_seen)) in steps.enumerate() {
        let before = store.invite(id).await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
        let step = *step;
        set(&store, id, move |state, _| step(state)).await;
        let after = store.invite(id).await.unwrap().unwrap();
        assert!(after.version > before.version, "{place}");
        assert_eq!(after.state.updated_at > before.state.updated_at, is_seen, "{place}");
    }
}
