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
use invite_core::{BatchId, InviteId};
use invite_store::InviteRecord;
use tokio::time::Instant;

use crate::{
    Gateway,
    auth::{Caller, Scope},
    openapi,
    prefer::Preferences,
    problem::Problem,
    query::refuse_parameters,
    segment::Segment,
    views::{Accepted, BatchState, BatchView, CountsView, InviteView},
};

/// Waits until every item has settled or `wait` is over, and reads what they became.
pub(crate) async fn settle(
    gateway: &Gateway,
    caller: &Caller,
    id: BatchId,
    wait: Duration,
) -> Result<Accepted, Problem> {
    let deadline = Instant::now() + wait;
    if !wait.is_zero() {
        gateway.engine().wait_settled(id, wait).await;
    }
    let accepted = read_accepted(gateway, caller, id).await?;
    let elsewhere: BTreeSet<BatchId> = accepted
        .invites
        .iter()
        .filter(|invite| invite.is_duplicate() && !invite.status().is_settled())
        .map(InviteView::batch_id)
        .collect();
    if elsewhere.is_empty() || wait.is_zero() {
        return Ok(accepted);
    }
    for batch in elsewhere {
        let left = deadline.saturating_duration_since(Instant::now());
        gateway.engine().wait_settled(batch, left).await;
    }
    read_accepted(gateway, caller, id).await
}

async fn read_accepted(
    gateway: &Gateway,
    caller: &Caller,
    id: BatchId,
) -> Result<Accepted, Problem> {
    let store = gateway.store();
    let batch = find_batch(gateway, caller, id).await?;
    let own = store.batch_invites(id).await?;
    let existing = read_duplicates(gateway, &batch).await?;
    let now = gateway.clock().now();
    let view = |record| InviteView::new(record, gateway.engine(), now, caller.is_admin());
    let mut invites: Vec<_> = own.into_iter().map(view).collect();
    if !existing.is_empty() {
        let again = existing.into_iter().map(|(index, record)| view(record).into_duplicate(index));
        invites.extend(again);
        // Stable: invites of one item stay in the order in which they were routed.
        invites.sort_by_key(InviteView::index);
    }
    let mut counts = BTreeMap::new();
    for invite in &invites {
        *counts.entry(invite.status()).or_default() += 1;
    }
    Ok(Accepted { batch: view_batch(batch, counts), invites })
}

async fn find_batch(
    gateway: &Gateway,
    caller: &Caller,
    id: BatchId,
) -> Result<invite_store::BatchView, Problem> {
    let batch = gateway.store().batch(id).await?;
    batch.filter(|batch| caller.sees(&batch.tenant)).ok_or_else(|| Problem::not_found("batch"))
}

/// The invites of other requests that answer items of this one, with the items' places.
async fn read_duplicates(
    gateway: &Gateway,
    batch: &invite_store::BatchView,
) -> Result<Vec<(usize, InviteRecord)>, Problem> {
    if batch.duplicates.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<InviteId> = batch.duplicates.iter().map(|(_, id)| *id).collect();
    let records = gateway.store().invites_by_id(&ids).await?;
    let by_id: HashMap<InviteId, InviteRecord> =
        records.into_iter().map(|record| (record.id, record)).collect();
    let find = |(index, id): &(usize, InviteId)| Some((*index, by_id.get(id)?.clone()));
    Ok(batch.duplicates.iter().filter_map(find).collect())
}

fn view_batch(
    batch: invite_store::BatchView,
    counts: BTreeMap<invite_core::Status, u64>,
) -> BatchView {
    BatchView {
        id: batch.id,
        state: BatchState::of(counts.keys().copied()),
        created_at: batch.created_at,
        config_revision: batch.config_revision,
        counts: CountsView::new(counts, batch.duplicates.len()),
    }
}

/// Read a batch
///
/// How far the invites of one request have come. Waits for them to settle if `Prefer: wait=N` says
/// so.
#[utoipa::path(
    get,
    path = "/v1/batches/{id}",
    tag = "invites",
    params(
        ("id" = String, Path, description = "The batch's id", pattern = "^bat_[0-9a-f]{32}$"),
        ("Prefer" = Option<String>, Header, description = "`wait=N` (0 to 60 seconds)"),
    ),
    responses(
        (status = 200, description = "The batch", body = BatchView),
        openapi::AnyCall,
        openapi::NotFound,
        openapi::Unprocessable,
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
    let preferences = Preferences::read(&headers);
    let wait = preferences.wait(Duration::ZERO);
    if !wait.is_zero() {
        gateway.engine().wait_settled(id, wait).await;
    }
    let mut counts = gateway.store().batch_counts(id).await?;
    let now = gateway.clock().now();
    for (_, duplicate) in read_duplicates(&gateway, &batch).await? {
        *counts.entry(duplicate.status_at(now).0).or_default() += 1;
    }
    let mut response = Json(view_batch(batch, counts)).into_response();
    preferences.write_applied(response.headers_mut(), false);
    Ok(response)
}
