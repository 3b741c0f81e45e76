//! What one bad destination, one bad invite or one tenant's queue does to everybody else: while it lasts
//! and nothing else goes wrong, others are invited, and have to be settled within a time of their own.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use crate::gateway::{Caller, Gateway};
use crate::load::{Load, spoil};
use crate::providers::Providers;
use crate::trouble::{BAD_EVENT, Trouble};

/// How long the others may take, in looks at the gateway's list: 20 s on a machine that has time for it,
/// and longer on one that is busy with something else, where a look takes longer too. That is many times
/// what one needs here, also when it has to wait for its turn among calls that run into their time-outs,
/// or for a connection to the database that went silent just before (10 s), and far less than anything
/// gives up after.
const HEALTHY_WITHIN: usize = 400;
const LOOK_EVERY: Duration = Duration::from_millis(50);
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
    starved.extend(
        left.iter()
            .map(|own| format!("{own} unsettled after {HEALTHY_WITHIN} looks beside {what}")),
    );
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
    let ahead = CROWD - settled(gateway, &crowd, 1).await.len();
    if !left.is_empty() {
        vec![format!(
            "{left:?} unsettled after {HEALTHY_WITHIN} looks beside another tenant's {CROWD}"
        )]
    } else if ahead > AHEAD {
        vec![format!("{single:?} waited until {ahead} of another tenant's {CROWD} were settled")]
    } else {
        Vec::new()
    }
}

/// Which of these are not settled after so many looks.
async fn settled(gateway: &Gateway, wanted: &BTreeSet<String>, looks: usize) -> Vec<String> {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut left = Vec::new();
    for _ in 0..looks {
        ticks.tick().await;
        left = match gateway.invites(&UNSETTLED).await {
            Ok(open) => {
                let open = open.iter().map(id).filter(|id| wanted.contains(*id));
                open.map(str::to_owned).collect()
            }
            Err(why) => vec![why],
        };
        if left.is_empty() {
            break;
        }
    }
    left
}

fn id(invite: &Value) -> &str {
    invite["id"].as_str().unwrap_or_default()
}
