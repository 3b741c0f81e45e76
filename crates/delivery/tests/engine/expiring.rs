//! What lapses by the clock.

use invite_core::StatusSource;
use jiff::SignedDuration;

use super::*;

/// Invites that are open at the provider until a time from now.
async fn open_for(bench: &Bench, names: &str, time: SignedDuration) -> Vec<InviteRecord> {
    let batch = bench.post(names).await;
    bench.until(batch, &[Status::Pending]).await;
    let ids = bench.invites(batch).await.iter().map(|invite| invite.id).collect();
    let change = Change::each(ids, move |state, now| {
        state.expires_at = Some(now + time);
        Decision::Write
    });
    bench.store.change(change).await.unwrap();
    bench.invites(batch).await
}

async fn until_it_is(bench: &Bench, before: &InviteRecord, status: Status) -> InviteRecord {
    bench
        .eventually(status.as_str(), async || {
            let invite = bench.store.invite(before.id).await.unwrap().unwrap();
            (invite.state.status() == status).then_some(invite)
        })
        .await
}

#[tokio::test]
async fn an_invite_expires_at_its_time_and_is_another_one_from_then_on() {
    let bench = start("max_batch = 1", World::new(|_| Answer::Takes)).await;
    let before = open_for(&bench, "ada", SignedDuration::from_millis(700)).await.remove(0);
    let after = until_it_is(&bench, &before, Status::Expired).await;
    assert_eq!(after.state.source, StatusSource::Inferred);
    assert!(after.state.updated_at >= before.state.expires_at.unwrap());
}

#[tokio::test]
async fn many_that_lapse_at_once_all_expire() {
    let bench = start("max_batch = 32", World::new(|_| Answer::Takes)).await;
    let names: Vec<String> = (0..1500).map(|n| format!("p{n}")).collect();
    for invite in open_for(&bench, &names.join(" "), SignedDuration::from_millis(100)).await {
        until_it_is(&bench, &invite, Status::Expired).await;
    }
}

#[tokio::test]
async fn one_that_was_accepted_in_time_is_found_to_be_so_and_another_is_asked_about_once() {
    let bench = start("max_batch = 2", World::new(|_| Answer::Takes)).await;
    let lapsing = open_for(&bench, "ada bob", -SignedDuration::from_hours(1)).await;
    for invite in &lapsing {
        until_it_is(&bench, invite, Status::Expired).await;
    }
    bench.engine.shutdown().await;
    bench.world.lock().states.insert("id-0".into(), [Status::Accepted; 2]);
    let refreshed = Settings { refresh: Duration::from_millis(200), ..settings() };
    let _asking = serve(&bench.store, &bench.live, &bench.world, refreshed).await;
    let [accepted, expired] = &lapsing[..] else { panic!() };
    let after = until_it_is(&bench, accepted, Status::Accepted).await;
    assert_eq!(after.state.source, StatusSource::Provider);
    let confirmed = bench
        .eventually("a question about the other", async || {
            let invite = bench.store.invite(expired.id).await.unwrap().unwrap();
            let is_expired = invite.state.status() == Status::Expired;
            (is_expired && !invite.state.is_unconfirmed).then_some(invite)
        })
        .await;
    let_pass(Duration::from_secs(1)).await;
    let later = bench.store.invite(expired.id).await.unwrap().unwrap();
    assert_eq!(later.state.checked_at, confirmed.state.checked_at);
}

#[tokio::test]
async fn what_is_refreshed_and_is_the_same_was_not_updated() {
    let refreshed = Settings { refresh: Duration::from_millis(50), ..settings() };
    let bench = start_with(refreshed, "max_batch = 1", World::new(|_| Answer::Takes)).await;
    let batch = bench.post("ada").await;
    bench.until(batch, &[Status::Pending]).await;
    // The first answer may show more than the reply to the call did.
    let asked = async |before: Option<InviteRecord>| {
        bench
            .eventually("a question", async || {
                let invite = bench.one(batch).await;
                let asked = before.as_ref().and_then(|before| before.state.checked_at);
                (invite.state.checked_at > asked).then_some(invite)
            })
            .await
    };
    let first = asked(Some(bench.one(batch).await)).await;
    let second = asked(Some(first.clone())).await;
    assert_eq!(second.state.updated_at, first.state.updated_at);
}
