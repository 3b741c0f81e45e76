//! The batch that a request to create invites becomes: what it shows, and waiting for it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Uri},
    response::{IntoResponse, Response},
};
use invite_core::{BatchId, InviteId, Status};
use invite_delivery::Waiting;
use invite_store::{self as store, BatchCounts, InviteRecord, UnreadableInvite};
use tokio::time::Instant;

use crate::{
    Gateway,
    auth::{Caller, Scope},
    invites::redact,
    openapi,
    prefer::Preferences,
    problem::Problem,
    query::refuse_parameters,
    reads,
    segment::Segment,
    views::{
        InviteView,
        batches::{Accepted, BatchState, BatchView, CountsView},
        shown::ShownInvite,
    },
    warnings,
};

/// Waits until every item has settled, those that live invites of other requests answer too, or until
/// `wait` is over; then reads them.
pub(crate) async fn await_settled(
    gateway: &Gateway,
    caller: &Caller,
    id: BatchId,
    wait: Duration,
) -> Result<Accepted, Problem> {
    let deadline = Instant::now() + wait;
    if !wait.is_zero() {
        gateway.engine.wait_settled(id, wait).await;
    }
    let accepted = read_accepted(gateway, caller, id).await?;
    let elsewhere: BTreeSet<BatchId> = accepted
        .invites
        .iter()
        .map(ShownInvite::outline)
        .filter(|invite| invite.duplicate && !invite.status.is_settled())
        .map(|invite| invite.batch_id)
        .collect();
    if elsewhere.is_empty() || wait.is_zero() {
        return Ok(accepted);
    }
    for batch in elsewhere {
        let left = deadline.saturating_duration_since(Instant::now());
        gateway.engine.wait_settled(batch, left).await;
    }
    read_accepted(gateway, caller, id).await
}

/// The same for a request that was accepted just now. What this process knows of it is not read again.
pub(crate) async fn await_new(
    gateway: &Gateway,
    caller: &Caller,
    accepted: store::Accepted,
    waiting: Waiting<'_>,
    wait: Duration,
) -> Result<Accepted, Problem> {
    let store::Accepted { batch, invites } = accepted;
    if !batch.duplicates.is_empty() {
        return await_settled(gateway, caller, batch.id, wait).await;
    }
    let known = match wait.is_zero() {
        true => Some(invites),
        false => gateway.engine.settled(waiting, invites, wait).await,
    };
    match known {
        Some(invites) => Ok(view_accepted(gateway, caller, batch, invites)),
        None => read_accepted(gateway, caller, batch.id).await,
    }
}

/// A batch all of whose invites can be read.
fn view_accepted(
    gateway: &Gateway,
    caller: &Caller,
    batch: store::BatchView,
    invites: Vec<InviteRecord>,
) -> Accepted {
    let warnings = warnings::of_stored(&gateway.kinds, &invites);
    let view = |record| ShownInvite::Whole(Box::new(InviteView::new(record, gateway, caller)));
    let invites: Vec<_> = invites.into_iter().map(view).collect();
    let counts = BatchCounts { by_status: count_statuses(&invites), unreadable: 0 };
    let batch = view_batch(batch, counts);
    Accepted { batch, invites, warnings, unreadable: Vec::new() }
}

fn count_statuses(invites: &[ShownInvite]) -> BTreeMap<Status, u64> {
    let mut counts = BTreeMap::new();
    for invite in invites {
        *counts.entry(invite.outline().status).or_default() += 1;
    }
    counts
}

async fn read_accepted(
    gateway: &Gateway,
    caller: &Caller,
    id: BatchId,
) -> Result<Accepted, Problem> {
    let store = gateway.store();
    let batch = find_batch(gateway, caller, id).await?;
    let own = store.batch_invites(id).await?;
    let (existing, mut unreadable) = read_duplicates(gateway, &batch).await?;
    unreadable.extend(own.unreadable);
    unreadable.retain(|it| caller.may_use_any(it.provider.as_ref()));
    let warnings = warnings::of_stored(&gateway.kinds, &own.invites);
    let view = |record| InviteView::new(record, gateway, caller);
    let own = own.invites.into_iter().map(|record| ShownInvite::Whole(Box::new(view(record))));
    let mut invites: Vec<_> = own.collect();
    if !existing.is_empty() {
        let again = existing.into_iter().map(|(index, record)| view(record).into_duplicate(index));
        invites.extend(again.map(|invite| ShownInvite::existing(invite, caller)));
        // The sort is stable: the invites of one item stay in the order in which they were routed.
        invites.sort_by_key(|invite| invite.outline().index);
    }
    let unreadable_count = unreadable.len() as u64;
    let counts = BatchCounts { by_status: count_statuses(&invites), unreadable: unreadable_count };
    let unreadable = unreadable.into_iter().map(|it| redact(it, caller)).collect();
    Ok(Accepted { batch: view_batch(batch, counts), invites, warnings, unreadable })
}

pub(crate) async fn find_batch(
    gateway: &Gateway,
    caller: &Caller,
    id: BatchId,
) -> Result<store::BatchView, Problem> {
    let batch = gateway.store().batch(id).await?;
    batch.filter(|batch| caller.sees(&batch.tenant)).ok_or_else(|| Problem::not_found("batch"))
}

/// The invites of other requests that answer items of this one, with the places of these items; and those
/// of them that cannot be read.
async fn read_duplicates(
    gateway: &Gateway,
    batch: &store::BatchView,
) -> Result<(Vec<(usize, InviteRecord)>, Vec<UnreadableInvite>), Problem> {
    if batch.duplicates.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let ids: Vec<InviteId> = batch.duplicates.iter().map(|(_, id)| *id).collect();
    let page = gateway.store().invites_by_id(&ids).await?;
    let by_id: HashMap<InviteId, InviteRecord> =
        page.invites.into_iter().map(|record| (record.id, record)).collect();
    let find = |(index, id): &(usize, InviteId)| Some((*index, by_id.get(id)?.clone()));
    Ok((batch.duplicates.iter().filter_map(find).collect(), page.unreadable))
}

fn view_batch(batch: store::BatchView, counts: BatchCounts) -> BatchView {
    BatchView {
        id: batch.id,
        state: BatchState::of(counts.by_status.keys().copied()),
        created_at: batch.created_at,
        config_revision: batch.config_revision,
        counts: CountsView::new(counts, batch.duplicates.len()),
    }
}

/// What is shown of these batches.
pub(crate) async fn view_all(
    gateway: &Gateway,
    batches: Vec<store::BatchView>,
) -> Result<Vec<BatchView>, Problem> {
    let ids: Vec<BatchId> = batches.iter().map(|batch| batch.id).collect();
    let mut counts = gateway.store().counts_of_batches(&ids).await?;
    let existing = batches.iter().flat_map(|batch| &batch.duplicates).map(|(_, id)| *id);
    let existing = gateway.store().statuses(&existing.collect::<Vec<_>>()).await?;
    let view = |batch: store::BatchView| {
        let mut counts = counts.remove(&batch.id).unwrap_or_default();
        for status in batch.duplicates.iter().filter_map(|(_, id)| existing.get(id)) {
            match status {
                Some(status) => *counts.by_status.entry(*status).or_default() += 1,
                None => counts.unreadable += 1,
            }
        }
        view_batch(batch, counts)
    };
    Ok(batches.into_iter().map(view).collect())
}

/// Read a batch
///
/// How far the invites of one request have come. Waits for them to settle if `Prefer: wait=N` says
/// so.
#[utoipa::path(
    get, path = "/v1/batches/{id}", tag = "invites",
    params(
        openapi::BatchParameter,
        ("Prefer" = Option<String>, Header, description = "`wait=N` (0 to 60 seconds)",
            example = "wait=1"),
    ),
    responses(
        (status = 200, description = "The batch", body = BatchView, headers(
            ("Preference-Applied" = String, description = "The wait, unless it is not waited for"))),
        openapi::AnyCall, openapi::Stored, openapi::NotFound, openapi::Unprocessable,
    )
)]
pub(crate) async fn get_batch(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.require(Scope::InvitesRead)?;
    let id: BatchId = id.parse().map_err(|_| Problem::not_found("batch"))?;
    let batch = find_batch(&gateway, &caller, id).await?;
    refuse_parameters(&uri)?;
    let name = id.to_string();
    reads::across_tenants(&gateway, &caller, &batch.tenant, "batch.read", &name).await?;
    let preferences = Preferences::read(&headers);
    let (preferences, wait, _waiting) = preferences.admit(&gateway, &caller, Duration::ZERO);
    if !wait.is_zero() {
        gateway.engine.wait_settled(id, wait).await;
    }
    let view = view_all(&gateway, vec![batch]).await?.remove(0);
    let mut response = Json(view).into_response();
    preferences.write_applied(response.headers_mut(), false);
    Ok(response)
}
