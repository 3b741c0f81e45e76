//! Asking about invites that exist and may still change at their provider.
//!
//! Every live invite is asked about once in `delivery.refresh`, by list where the provider has one,
//! within the lane's rate budget. An invite that was sent again after an earlier call seemed to have
//! had no effect is looked for as well: a second effect is reported.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use invite_config::Provider;
use invite_core::{
    Address, Destination, ListQuery, Observed, ProviderError, http::CallContext, random,
};
use invite_store::{Change, InviteRecord};
use jiff::Timestamp;

use crate::{
    Engine, attempt,
    engine::{Inner, contain},
    lane::Lane,
    operation, reconcile, transition,
};

/// Invites taken on at once.
const AT_ONCE: u32 = 500;
/// From how many invites at one destination its list is cheaper than asking for each.
const LIST_FROM: usize = 3;
/// Pages of one list at most.
const PAGES: usize = 1000;

/// Runs until shutdown.
pub(crate) async fn run(engine: Engine, lane: Arc<Lane>) {
    let every = engine.0.settings.refresh;
    if every.is_zero() {
        return;
    }
    // Between rounds: often enough that no invite waits for much longer than it should, and spread
    // out so that replicas and lanes do not ask all at once.
    let rest = (every / 20).clamp(Duration::from_millis(200), Duration::from_secs(60));
    loop {
        tokio::select! {
            () = tokio::time::sleep(rest.mul_f64(0.5 + random::fraction())) => {}
            () = engine.0.stopping.cancelled() => return,
        }
        let ended = tokio::select! {
            // Only questions are asked, which may be left unanswered.
            ended = contain(round(&engine, &lane, every)) => ended,
            () = engine.0.stopping.cancelled() => return,
        };
        if let Err(error) = ended {
            tracing::error!(provider.name = lane.name, %error, "cannot ask about live invites");
        }
    }
}

/// Asks about everything that was not asked about for long enough.
async fn round(
    engine: &Engine,
    lane: &Arc<Lane>,
    every: Duration,
) -> Result<(), invite_store::Error> {
    let inner = &engine.0;
    let Some(provider) = inner.live.current().provider(&lane.name).cloned() else { return Ok(()) };
    let now = inner.clock.now();
    let is_paused = || lane.with_state(|state| state.wait(inner.clock.now(), 0)).is_some();
    if is_paused() || lane.hold(inner).await?.is_none() {
        return Ok(());
    }
    let Ok(before) = now.checked_sub(every) else { return Ok(()) };
    let stale = inner.store.stale(&lane.name, before, AT_ONCE).await?;
    let mut places: BTreeMap<Destination, Vec<InviteRecord>> = BTreeMap::new();
    for invite in stale {
        if let Some(destination) = invite.destination.clone() {
            places.entry(destination).or_default().push(invite);
        }
    }
    for (destination, mut invites) in places {
        reconcile::find_second_effects(inner, lane, &provider, &destination, &invites).await?;
        if provider.adapter.capabilities().list && invites.len() >= LIST_FROM {
            invites = by_list(inner, lane, &provider, &destination, invites).await?;
        }
        for invite in invites {
            if is_paused() {
                return Ok(());
            }
            let asked = engine.refresh(invite.id).await;
            if let Err(error) = &asked {
                tracing::warn!(invite.id = %invite.id, %error, "cannot ask about an invite");
            }
            if asked.is_err() || !operation::is_known_there(&invite) {
                // Asked in vain: it is its turn again when the others have had theirs.
                touch(inner, &invite).await?;
            }
        }
    }
    Ok(())
}

/// Settles what the provider's list shows; returns what it does not.
async fn by_list(
    engine: &Inner,
    lane: &Lane,
    provider: &Provider,
    destination: &Destination,
    invites: Vec<InviteRecord>,
) -> Result<Vec<InviteRecord>, invite_store::Error> {
    // A list does not say what a reply means for an invite that we tried to withdraw.
    let (asked, listable): (Vec<_>, Vec<_>) =
        invites.into_iter().partition(|invite| invite.state.revoke_sent);
    let wanted: HashSet<&str> =
        listable.iter().filter_map(|invite| invite.state.provider_ref.as_deref()).collect();
    let listed = match list(lane, provider, destination, &wanted).await {
        Ok(listed) => listed,
        Err(error) => {
            tracing::warn!(provider.name = lane.name, %error, "cannot list invites; asking for each");
            return Ok(asked.into_iter().chain(listable).collect());
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
    let (shown, known): (Vec<_>, Vec<_>) = shown.into_iter().unzip();
    let ids: Vec<_> = known.iter().map(|invite| invite.id).collect();
    let change = Change::of(
        ids,
        move |i: usize, _: &InviteRecord, state: &mut _, now: Timestamp| match shown
            .get(i)
            .and_then(Option::as_ref)
        {
            Some(seen) => transition::observe(state, seen, now),
            None => invite_store::Decision::Keep,
        },
    );
    engine.store.change(change).await?;
    Ok(asked.into_iter().chain(missing.into_iter().map(|(_, invite)| invite)).collect())
}

/// Whose invite an id stands for may be unproven: another person's says nothing of this one.
fn is_to(seen: &Observed, invite: &InviteRecord) -> bool {
    let shown = seen.invitee.as_ref().map(|invitee| invitee.email.parse::<Address>().ok());
    shown.is_none_or(|shown| shown == invite.address)
}

/// What the list shows of the wanted ids.
async fn list(
    lane: &Lane,
    provider: &Provider,
    destination: &Destination,
    wanted: &HashSet<&str>,
) -> Result<HashMap<String, Observed>, ProviderError> {
    let mut query = ListQuery { scope: Some(destination.scope.clone()), ..ListQuery::default() };
    let mut listed = HashMap::new();
    for _ in 0..PAGES {
        lane.take_token(&provider.limits).await;
        let context = CallContext::new(provider.limits.timeout);
        let started = tokio::time::Instant::now();
        let page = provider.adapter.list(&context, &query).await;
        let outcome = operation::outcome(page.as_ref().err());
        attempt::count(&lane.name, "list", outcome, started.elapsed());
        let page = page?;
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

async fn touch(engine: &Inner, invite: &InviteRecord) -> Result<(), invite_store::Error> {
    let change =
        Change::of(vec![invite.id], |_, _: &InviteRecord, state: &mut _, now: Timestamp| {
            transition::ask_later(state, now)
        });
    engine.store.change(change).await.map(|_| ())
}
