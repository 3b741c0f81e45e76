//! Creating invites, and the batch that a request to create them becomes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use invite_core::{BatchId, InviteId};
use invite_store::{Acceptance, IdempotencyKey, InviteRecord, NewBatch};
use tokio::time::Instant;

use crate::{
    Gateway,
    auth::{Caller, Scope},
    binding::{Binding, bind},
    body::read_json,
    idempotency, openapi,
    prefer::{DEFAULT_WAIT, Handling, Preferences},
    problem::{Problem, codes},
    query::{Parameters, refuse_parameters},
    requests::NewInvites,
    segment::Segment,
    submission,
    views::{Accepted, BatchState, BatchView, CountsView, InviteView, Plan},
};

/// What a request to create invites is answered with.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the two bodies that an answer 200 has")]
pub(crate) enum AcceptedOrPlan {
    /// The batch of an earlier request with the same Idempotency-Key, as it is now.
    Replayed(Accepted),
    /// What would be sent (`dry_run=true`).
    Plan(Plan),
}

/// Create invites
///
/// Accepts invites durably and hands them to their providers. Waits for them to settle as long as
/// `Prefer: wait=N` says, 10 seconds if it does not.
#[utoipa::path(
    post,
    path = "/v1/invites",
    tag = "invites",
    params(
        ("dry_run" = Option<bool>, Query, description = "Validate, route and render the calls; \
            accept and send nothing"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the request: the same \
            key and body are answered with the same batch, and nothing is sent again",
            pattern = r#"^("[!#-\[\]-~]{1,255}"|[!#-~]{1,255})$"#),
        ("Prefer" = Option<String>, Header, description = "`wait=N` (0 to 60 seconds), \
            `respond-async`, `handling=strict` or `handling=lenient` (RFC 7240)"),
    ),
    request_body = NewInvites,
    responses(
        (status = 200, description = "The batch of an earlier request with the same \
            Idempotency-Key, or the plan of a dry run", body = AcceptedOrPlan),
        (status = 201, description = "Accepted, and every item has settled", body = Accepted,
            headers(("Location" = String, description = "The batch"))),
        (status = 202, description = "Accepted", body = Accepted,
            headers(("Location" = String, description = "The batch"))),
        openapi::AnyCall,
        openapi::WithBody,
        openapi::Unprocessable,
    )
)]
pub(crate) async fn create_invites(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.require(Scope::InvitesWrite)?;
    let body = read_json(&headers, body, gateway.limits().max_body_bytes).await?;
    let key = idempotency::read_key(&headers)?;
    let preferences = Preferences::read(&headers);
    let mut parameters = Parameters::read(&uri, &["dry_run"]);
    let is_dry_run = parameters.flag("dry_run");
    let parameter_faults = parameters.into_faults();

    let idempotency = key.filter(|_| !is_dry_run).map(|key| IdempotencyKey {
        key,
        body_hash: idempotency::hash_body(&body),
        retention: gateway.limits().idempotency_retention,
    });
    if let Some(key) = idempotency.as_ref().filter(|_| parameter_faults.is_empty())
        && let Some(earlier) = gateway.store().find_idempotent(caller.tenant(), key).await?
    {
        return answer(&gateway, &caller, earlier, preferences).await;
    }

    let submission = submission::read(body, gateway.limits().max_invites_per_request);
    let on_duplicate = submission.on_duplicate;
    let configuration = gateway.live().current();
    let mut binding = bind(submission, &configuration, gateway.kinds(), &caller)?;
    binding.request_faults.extend(parameter_faults);
    let Binding { items, request_faults, item_faults } = binding;
    let is_lenient = preferences.handling() == Handling::Lenient && request_faults.is_empty();
    if !(is_lenient || request_faults.is_empty() && item_faults.is_empty()) {
        return Err(Problem::invalid(request_faults.into_iter().chain(item_faults).collect()));
    }
    if is_dry_run {
        let plan = gateway.engine().plan(&items).await;
        return Ok(Json(Plan { plan, errors: item_faults }).into_response());
    }
    let batch = NewBatch {
        id: BatchId::generate(),
        tenant: caller.tenant().to_owned(),
        config_revision: configuration.revision(),
        idempotency,
        on_duplicate,
        items,
    };
    let engine = gateway.engine().clone();
    let accepted = crate::to_the_end(async move { engine.accept(batch).await }).await??;
    answer(&gateway, &caller, accepted, preferences).await
}

async fn answer(
    gateway: &Gateway,
    caller: &Caller,
    acceptance: Acceptance,
    preferences: Preferences,
) -> Result<Response, Problem> {
    let (id, is_replay) = match acceptance {
        Acceptance::Accepted(id) => (id, false),
        Acceptance::Replayed(id) => (id, true),
        Acceptance::KeyReused => {
            let detail = "this Idempotency-Key was used with another body; use a new key";
            return Err(Problem::new(&codes::IDEMPOTENCY_KEY_REUSED, detail));
        }
    };
    let wait = preferences.wait(DEFAULT_WAIT);
    let accepted = settle(gateway, caller, id, wait).await.map_err(|problem| {
        // Whatever went wrong with reading it, it was accepted.
        let detail = format!(
            "the request was accepted as {id}, but cannot be shown now ({}); ask GET \
             /v1/batches/{id} later",
            problem.code()
        );
        Problem::new(&codes::ACCEPT_UNKNOWN, detail)
    })?;
    let status = match (accepted.batch.state, is_replay) {
        (BatchState::InProgress, _) => StatusCode::ACCEPTED,
        (_, true) => StatusCode::OK,
        (_, false) => StatusCode::CREATED,
    };
    let mut response = (status, Json(accepted)).into_response();
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(format!("/v1/batches/{id}")) {
        headers.insert(header::LOCATION, location);
    }
    if is_replay {
        headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    preferences.write_applied(headers, true);
    Ok(response)
}

/// Waits until every item has settled or `wait` is over, and reads what they became.
async fn settle(
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
    let view = |record| InviteView::new(record, now, caller.is_admin());
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
