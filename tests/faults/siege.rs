//! What one bad destination, one bad invite or one tenant's queue does to everybody else: while it lasts
//! and nothing else goes wrong, others are invited, and have to be settled within a time of their own.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use crate::gateway::{Caller, Gateway};
use crate::load::{Load, spoil};
use crate::providers::Providers;
use crate::trouble::{BAD_EVENT, Trouble};

/// How long the others may take. That is many times what one needs here, also when it has to wait for
/// its turn among calls that run into their time-outs, or for a connection to the database that went
/// silent just before (10 s), and far less than anything gives up after.
const HEALTHY_WITHIN: Duration = Duration::from_secs(20);
/// Invites to what is bad.
const BAD: usize = 12;
/// Invites of others.
const HEALTHY: usize = 3;
/// One tenant's queue.
const CROWD: usize = 40;
/// So many of the queue may be settled before the other tenant's single invite: half of it. Taking
/// turns means that two calls of each at the most come before it, and no more than six are under way.
const AHEAD: usize = CROWD / 2;
const UNSETTLED: [&str; 3] = ["queued", "sending", "unknown"];

/// Invites others while the troubles of a round last, and tells who starved.
pub async fn endure(
    gateway: &Gateway,
    providers: &Providers,
    load: &Load,
    troubles: &[Trouble],
) -> Vec<String> {
    let mut starved = Vec::new();
    if troubles.contains(&Trouble::BadDestination) {
        let bad = json!({ "to": "event", "invites": load.people(BAD, Some(BAD_EVENT)) });
        let well = json!({ "to": "event", "invites": load.people(HEALTHY, None) });
        starved.extend(beside(gateway, load, &bad, &well, "a bad destination").await);
    }
    if troubles.contains(&Trouble::BadItem) {
        let mut people = load.people(1, None);
        spoil(&mut people[0]);
        let bad = json!({ "to": "event", "invites": people });
        let well = json!({ "to": "event", "invites": load.people(HEALTHY, None) });
        starved.extend(beside(gateway, load, &bad, &well, "a bad invite").await);
    }
    if troubles.contains(&Trouble::Crowd) {
        let slow = json!({ "operation": "create", "kind": "latency", "delay": "300ms" });
        providers.break_down("rkvst", &slow).await;
        starved.extend(behind_a_crowd(gateway, load).await);
    }
    starved
}

/// Others are invited right after the bad ones.
async fn beside(
    gateway: &Gateway,
    load: &Load,
    bad: &Value,
    well: &Value,
    what: &str,
) -> Vec<String> {
    let asked = async {
        load.invite(gateway, Caller::First, bad).await?;
        load.invite(gateway, Caller::Other, well).await
    };
    let wanted: BTreeSet<String> = match asked.await {
        Ok(ids) => ids.into_iter().collect(),
        Err(why) => return vec![format!("beside {what}: {why}")],
    };
    let left = settled(gateway, &wanted, HEALTHY_WITHIN).await;
    let failed = gateway.invites(&["failed"]).await.unwrap_or_default();
    let failed = failed.iter().filter(|invite| wanted.contains(id(invite)));
    let mut starved: Vec<String> =
        failed.map(|invite| format!("failed beside {what}: {invite}")).collect();
    let after = HEALTHY_WITHIN.as_secs();
    starved.extend(left.iter().map(|own| format!("{own} unsettled after {after} s beside {what}")));
    starved
}

async fn behind_a_crowd(gateway: &Gateway, load: &Load) -> Vec<String> {
    let crowd = json!({ "to": "tenancy", "invites": load.people(CROWD, None) });
    let single = json!({ "to": "tenancy", "invites": load.people(1, None) });
    let asked = async {
        let crowd = load.invite(gateway, Caller::First, &crowd).await?;
        Ok::<_, String>((crowd, load.invite(gateway, Caller::Other, &single).await?))
    };
    let (crowd, single) = match asked.await {
        Ok((crowd, single)) => (crowd.into_iter().collect(), single.into_iter().collect()),
        Err(why) => return vec![format!("behind a crowd: {why}")],
    };
    let left = settled(gateway, &single, HEALTHY_WITHIN).await;
    let ahead = CROWD - settled(gateway, &crowd, Duration::ZERO).await.len();
    let after = HEALTHY_WITHIN.as_secs();
    if !left.is_empty() {
        vec![format!("{left:?} unsettled after {after} s beside another tenant's {CROWD}")]
    } else if ahead > AHEAD {
        vec![format!("{single:?} waited until {ahead} of another tenant's {CROWD} were settled")]
    } else {
        Vec::new()
    }
}

/// Which of these are not settled by then.
async fn settled(gateway: &Gateway, wanted: &BTreeSet<String>, within: Duration) -> Vec<String> {
    let began = Instant::now();
    let mut looks = interval(Duration::from_millis(50));
    loop {
        looks.tick().await;
        let open = gateway.invites(&UNSETTLED).await;
        let left = open.map(|open| {
            open.iter().map(id).filter(|id| wanted.contains(*id)).map(str::to_owned).collect()
        });
        match left {
            Ok(left) if Vec::is_empty(&left) || began.elapsed() >= within => return left,
            Err(why) if began.elapsed() >= within => return vec![why],
            Ok(_) | Err(_) => {}
        }
    }
}

fn id(invite: &Value) -> &str {
    invite["id"].as_str().unwrap_or_default()
}
