//! The loop that asks about invites that exist and may still change at their provider, each once in `delivery.refresh`, by
//! list where the provider has one. For an invite that was sent again it also looks for a second effect.
//! Step by step: `docs/loops/refreshing.md`.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use invite_config::Provider;
use invite_core::{
    Address, Destination, ListQuery, Observed, Operation, ProviderError, http::CallContext, random,
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

/// How many invites a round takes on, and so how many are looked for in one list at most.
const AT_ONCE: u32 = 5000;
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
    for (destination, mut invites) in by_destination {
        // A round may take long, and another document go live meanwhile.
        let Some(provider) = shared.live.current().provider(&lane.name).cloned() else { break };
        find_second_effects(shared, lane, &provider, &destination, &invites).await?;
        if provider.adapter.capabilities().list && invites.len() >= LIST_FROM {
            invites = by_list(shared, lane, &provider, &destination, invites).await?;
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

/// Stores what the provider's list shows, and returns the invites that it does not show.
async fn by_list(
    shared: &Arc<Shared>,
    lane: &Lane,
    provider: &Provider,
    destination: &Destination,
    invites: Vec<InviteRecord>,
) -> Result<Vec<InviteRecord>, invite_store::Error> {
    // Of an invite that we tried to withdraw, only an answer about it alone says what became of it.
    let (single, listable): (Vec<_>, Vec<_>) =
        invites.into_iter().partition(|invite| invite.state.revoke_sent);
    let wanted: HashSet<&str> =
        listable.iter().filter_map(|invite| invite.state.provider_ref.as_deref()).collect();
    let door = Door { shared, lane, provider, subject: Subject::of(&listable) };
    let listed = match list(&door, destination, &wanted).await {
        Ok(listed) => listed,
        Err(error) => {
            let name = &lane.name;
            tracing::warn!(provider.name = name, %error, "cannot list the invites of {name}; asking about each");
            return Ok(single.into_iter().chain(listable).collect());
        }
    };
    let seen = |invite: &InviteRecord| {
        let seen = invite.state.provider_ref.as_ref().and_then(|id| listed.get(id))?;
        is_to(seen, invite).then(|| seen.clone())
    };
    let (shown, missing): (Vec<_>, Vec<_>) = listable
        .into_iter()
        .map(|invite| (seen(&invite), invite))
        .partition(|(seen, _)| seen.is_some());
    for shown in shown.chunks(IN_A_COMMIT) {
        let ids = shown.iter().map(|(_, invite)| invite.id).collect();
        let since = |(seen, invite): &(Option<Observed>, InviteRecord)| {
            seen.clone().map(|seen| seen.since(invite.created_at))
        };
        let seen: Vec<_> = shown.iter().map(since).collect();
        let observe = move |i: usize, _: &InviteRecord, state: &mut InviteState, now: Timestamp| {
            // It may have been withdrawn since the list was asked for.
            let seen = seen.get(i).and_then(Option::as_ref).filter(|_| !state.revoke_sent);
            seen.map_or(Decision::Keep, |seen| transition::observe(state, seen, now))
        };
        shared.store.change(Change::of(ids, observe)).await?;
    }
    Ok(single.into_iter().chain(missing.into_iter().map(|(_, invite)| invite)).collect())
}

/// Whether what the list shows is to this invite's person. Which invite an id belongs to may be unproven; one that shows
/// another address, or none, is asked about by itself.
fn is_to(seen: &Observed, invite: &InviteRecord) -> bool {
    let shown = seen.invitee.as_ref().map(|invitee| Address::shown(&invitee.email));
    shown.is_some() && shown == invite.address
}

async fn list(
    door: &Door<'_>,
    destination: &Destination,
    wanted: &HashSet<&str>,
) -> Result<HashMap<String, Observed>, ProviderError> {
    let mut query = ListQuery { scope: Some(destination.scope.clone()), ..ListQuery::default() };
    let mut listed = HashMap::new();
    for _ in 0..MAX_PAGES {
        door.lane.yield_to_creates().await;
        door.wait_for_question().await;
        let list = async |context: &CallContext| door.provider.adapter.list(context, &query).await;
        let page = door.ask(Operation::List, Some(destination), list).await.result?;
        let by_ref = |seen: Observed| seen.provider_ref.clone().map(|id| (id, seen));
        let is_wanted = |(id, _): &(String, Observed)| wanted.contains(id.as_str());
        listed.extend(page.invites.into_iter().filter_map(by_ref).filter(is_wanted));
        match page.next_cursor.filter(|_| listed.len() < wanted.len()) {
            Some(cursor) => query.cursor = Some(cursor),
            None => break,
        }
    }
    Ok(listed)
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
