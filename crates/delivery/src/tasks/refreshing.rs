//! The loop that asks about invites that exist and may still change at their provider, each once in `delivery.refresh`, by
//! list where the provider has one. For an invite that was sent again it also looks for a second effect.
//! Step by step: `docs/loops/refreshing.md`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use invite_core::{
    Address, Destination, InviteId, ListQuery, Observed, Operation, http::CallContext, random,
};
use invite_store::{Change, Decision, InviteRecord, InviteState};
use jiff::Timestamp;

use crate::{
    ask::is_known_there,
    door::{Door, Subject},
    error::OperationError,
    lane::Lane,
    lookups::second_effects::find_second_effects,
    shared::{Engine, Shared, catch_panic},
    transition,
};

/// How many invites a round takes on, that may each need a question of its own.
const AT_ONCE: u32 = 5000;
/// How many others are looked for in the lists of a round at most: as many as the longest list that is read shows.
const MOST_LISTED: u32 = 200_000;
/// How many of those one commit changes: creates wait for it.
const IN_A_COMMIT: usize = 500;
/// How many invites are asked about one by one at a time, so that slow replies do not keep the rate budget from being used.
const AT_A_TIME: usize = 4;
/// From how many invites at one destination its list is cheaper than asking for each.
const LIST_FROM: usize = 3;
/// How many pages of one list are read at most.
const MAX_PAGES: usize = 1000;

/// Runs until shutdown.
pub(crate) async fn run(engine: Engine, lane: Arc<Lane>) {
    let every = engine.shared.settings.refresh;
    if every.is_zero() {
        return;
    }
    let mut has_more = false;
    loop {
        // Spread out, so that replicas and lanes do not ask all at once.
        let rest = rest(every, has_more).mul_f64(0.5 + random::fraction());
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = engine.shared.stopping.cancelled() => return,
        }
        let ended = tokio::select! {
            // Nothing is lost with an answer that is not waited for.
            ended = catch_panic(round(&engine, &lane, every)) => ended,
            () = engine.shared.stopping.cancelled() => return,
        };
        has_more = ended.unwrap_or_else(|error| {
            let name = &lane.name;
            tracing::error!(provider.name = name, %error, "a round of refreshing at provider {name} failed; trying again");
            false
        });
    }
}

/// The pause between two rounds: so short that no invite waits much longer than it should, and next to nothing while there
/// are more than one round takes on, which the rate budget spreads out then.
fn rest(every: Duration, has_more: bool) -> Duration {
    let rest = (every / 20).clamp(Duration::from_millis(200), Duration::from_secs(60));
    if has_more { rest.min(Duration::from_secs(1)) } else { rest }
}

/// Asks about the invites that were not asked about for `every`; says whether there are more.
async fn round(
    engine: &Engine,
    lane: &Arc<Lane>,
    every: Duration,
) -> Result<bool, invite_store::Error> {
    let shared = &engine.shared;
    if shared.live.current().provider(&lane.name).is_none() {
        return Ok(false);
    }
    let now = shared.clock.now();
    if is_paused(shared, lane) || lane.acquire_lease(shared).await?.is_none() {
        return Ok(false);
    }
    let Ok(before) = now.checked_sub(every) else { return Ok(false) };
    let closed: Vec<Destination> =
        lane.with_state(|state| state.closed(now, false)).into_keys().collect();
    let stale = shared.store.stale(&lane.name, &closed, before, AT_ONCE).await?;
    let has_more = stale.len() == AT_ONCE as usize;
    let mut by_destination: BTreeMap<Destination, Vec<InviteRecord>> = BTreeMap::new();
    for invite in stale {
        if let Some(destination) = invite.destination.clone() {
            by_destination.entry(destination).or_default().push(invite);
        }
    }
    // A list shows all that is there, so that nobody has to be looked for in the next one as well.
    let is_worth_a_list = |invites: &Vec<InviteRecord>| {
        invites.iter().filter(|it| is_listable(it)).count() >= LIST_FROM
    };
    let worth = by_destination.iter().filter(|(_, invites)| is_worth_a_list(invites));
    let worth: Vec<Destination> = worth.map(|(destination, _)| destination.clone()).collect();
    let mut others: HashMap<Destination, HashMap<String, InviteId>> =
        worth.iter().map(|destination| (destination.clone(), HashMap::new())).collect();
    for (destination, id, invite) in shared.store.listable(&lane.name, &worth, MOST_LISTED).await? {
        others.entry(destination).or_default().insert(id, invite);
    }
    for (destination, mut invites) in by_destination {
        // A round may take long, and another document go live meanwhile.
        let Some(provider) = shared.live.current().provider(&lane.name).cloned() else { break };
        find_second_effects(shared, lane, &provider, &destination, &invites).await?;
        if provider.adapter.capabilities().list
            && let Some(others) = others.remove(&destination)
        {
            let subject = Subject::of(&invites);
            let door = Door { shared, lane, provider: &provider, subject };
            invites = by_list(&door, &destination, invites, others, has_more).await?;
        }
        let in_turn = stream::iter(invites).then(async |invite| {
            lane.yield_to_creates().await;
            invite
        });
        in_turn
            .map(Ok)
            .try_for_each_concurrent(AT_A_TIME, async |invite| ask(engine, lane, &invite).await)
            .await?;
        if is_paused(shared, lane) {
            return Ok(false);
        }
    }
    Ok(has_more)
}

fn is_paused(shared: &Shared, lane: &Lane) -> bool {
    lane.with_state(|state| state.wait(shared.clock.now(), 0)).is_some()
}

/// Asks about one invite, unless the lane pauses.
async fn ask(
    engine: &Engine,
    lane: &Lane,
    invite: &InviteRecord,
) -> Result<(), invite_store::Error> {
    if is_paused(&engine.shared, lane) {
        return Ok(());
    }
    let asked = engine.ask(invite.id, Duration::MAX).await;
    match &asked {
        // The door has logged it.
        Ok(_) | Err(OperationError::Provider { .. } | OperationError::Unanswered { .. }) => {}
        Err(error) => {
            let name = &lane.name;
            tracing::warn!(provider.name = name, invite.id = %invite.id, %error, "cannot ask {name} about an invite");
        }
    }
    if asked.is_err() || !is_known_there(invite) {
        // It is asked about again after all others.
        let change = Change::each(vec![invite.id], transition::ask_later);
        engine.shared.store.change(change).await?;
    }
    Ok(())
}

/// Stores what the provider's list shows, and returns those of a round's invites that it does not tell about. The list is
/// read until it has shown all of those, or all of the `others` as well if the round `is_full`.
async fn by_list(
    door: &Door<'_>,
    destination: &Destination,
    invites: Vec<InviteRecord>,
    others: HashMap<String, InviteId>,
    is_full: bool,
) -> Result<Vec<InviteRecord>, invite_store::Error> {
    let (listable, mut left): (Vec<_>, Vec<_>) = invites.into_iter().partition(is_listable);
    let mut wanted = others;
    let mut missing = BTreeMap::new();
    for invite in listable {
        wanted.extend(invite.state.provider_ref.clone().map(|id| (id, invite.id)));
        missing.insert(invite.id, invite);
    }
    let mut query = ListQuery { scope: Some(destination.scope.clone()), ..ListQuery::default() };
    for _ in 0..MAX_PAGES {
        door.lane.yield_to_creates().await;
        door.wait_for_question().await;
        let list = async |context: &CallContext| door.provider.adapter.list(context, &query).await;
        let asked = door.ask(Operation::List, Some(destination), list).await;
        let page = match asked.result {
            Ok(page) => page,
            Err(error) => {
                let name = &door.lane.name;
                tracing::warn!(provider.name = name, %error, "cannot list the invites of {name}; asking about each");
                break;
            }
        };
        let whose = |seen: Observed| Some((wanted.remove(seen.provider_ref.as_deref()?)?, seen));
        let shown: Vec<_> = page.invites.into_iter().filter_map(whose).collect();
        for (id, seen) in &shown {
            left.extend(missing.remove(id).filter(|invite| !is_to(seen, invite)));
        }
        for shown in shown.chunks(IN_A_COMMIT) {
            observe(door.shared, shown, asked.begun.at).await?;
        }
        let is_done = missing.is_empty() && (!is_full || wanted.is_empty());
        match page.next_cursor.filter(|_| !is_done) {
            Some(cursor) => query.cursor = Some(cursor),
            None => break,
        }
    }
    left.extend(missing.into_values());
    Ok(left)
}

/// Whether a list can tell about an invite. Of one that we tried to withdraw, only an answer about it alone says what
/// became of it.
fn is_listable(invite: &InviteRecord) -> bool {
    invite.state.provider_ref.is_some() && !invite.state.revoke_sent
}

/// Stores what a list shows that was asked for at a time.
async fn observe(
    shared: &Shared,
    shown: &[(InviteId, Observed)],
    asked_at: Timestamp,
) -> Result<(), invite_store::Error> {
    let (ids, seen): (Vec<_>, Vec<_>) = shown.iter().cloned().unzip();
    let observe = move |i: usize, invite: &InviteRecord, state: &mut InviteState, now| {
        // It may have been withdrawn, or asked about, since the list was asked for.
        let is_older = state.revoke_sent || state.checked_at.is_some_and(|at| at >= asked_at);
        match seen.get(i).filter(|seen| !is_older && is_to(seen, invite)) {
            Some(seen) => transition::observe(state, &seen.clone().since(invite.created_at), now),
            None => Decision::Keep,
        }
    };
    shared.store.change(Change::of(ids, observe)).await?;
    Ok(())
}

/// Whether what the list shows is to this invite's person. Which invite an id belongs to may be unproven; one that shows
/// another address, or none, is asked about by itself.
fn is_to(seen: &Observed, invite: &InviteRecord) -> bool {
    let shown = seen.invitee.as_ref().map(|invitee| Address::shown(&invitee.email));
    shown.is_some() && shown == invite.address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_follow_each_other_fast_enough_for_ten_million_invites_an_hour() {
        let hour = Duration::from_secs(3600);
        assert!(rest(hour, true) * (10_000_000 / AT_ONCE) < hour);
        assert_eq!(rest(hour, false), Duration::from_secs(60));
    }
}
