//! Creating invites: `POST /v1/invites`.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use invite_core::{BatchId, Fault, Faults};
use invite_delivery::{AcceptError, Waiting};
use invite_store::{
    self as store, Acceptance, IdempotencyKey, NewBatch, NewItem, OnDuplicate, Placement,
};

use crate::{
    Gateway,
    auth::{Caller, Scope},
    batches::{await_new, await_settled},
    binding::{Binding, bind},
    body::{parse, read_json_text},
    dry_run, idempotency, openapi,
    prefer::{DEFAULT_WAIT, Handling, Preferences},
    problem::{Problem, codes},
    query::Parameters,
    submission::{self, NewInvites},
    views::{
        Plan,
        batches::{Accepted, BatchState},
    },
};

/// How many values a body may hold for each invite that a request may make: several times what an invite consists of.
const VALUES_PER_INVITE: usize = 100;
/// After how many seconds it is worth asking for a batch that is still on its way.
const ASK_AFTER: u64 = 1;

/// What a request to create invites is answered with.
#[derive(schemars::JsonSchema)]
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
    post, path = "/v1/invites", tag = "invites",
    params(
        ("dry_run" = Option<bool>, Query, description = "Validate, route and render the calls; \
            accept and send nothing. What `on_duplicate` would not send is in `duplicates`; whether \
            there is room in queue and quota is not looked at"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the request: the same \
            key and body are answered with the same batch, and nothing is sent again",
            pattern = r#"^("([!#-\[\]-~]|\\["\\]){1,255}"|[!#-~]{1,255})$"#),
        ("Prefer" = Option<String>, Header, description = "`wait=N` (0 to 60 seconds), \
            `respond-async`, `handling=strict` or `handling=lenient` (RFC 7240)",
            example = "wait=10"),
    ),
    request_body = NewInvites,
    responses(
        (status = 200, description = "The batch of an earlier request with the same \
            Idempotency-Key, or the plan of a dry run", body = AcceptedOrPlan, headers(
                ("Location" = String, description = "The batch"),
                ("Preference-Applied" = String, description = "What was taken of `Prefer`"),
                ("Idempotency-Replayed" = bool, description = "`true` with a batch"))),
        (status = 201, description = "Accepted, and every item has settled", body = Accepted, headers(
            ("Location" = String, description = "The batch"),
            ("Preference-Applied" = String, description = "What was taken of `Prefer`"))),
        (status = 202, description = "Accepted", body = Accepted, headers(
            ("Location" = String, description = "The batch"),
            ("Retry-After" = u64, description = "Seconds until it is worth asking for it"),
            ("Preference-Applied" = String, description = "What was taken of `Prefer`"),
            ("Idempotency-Replayed" = bool, description = "`true` if an earlier request with the same \
                Idempotency-Key made it"))),
        openapi::AnyCall, openapi::Stored, openapi::WithBody, openapi::Unprocessable,
        openapi::NotAccepted,
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
    let bytes = read_json_text(&headers, body, gateway.body_bounds(&caller)).await?;
    let key = idempotency::read_key(&headers);
    let preferences = Preferences::read(&headers);
    let mut parameters = Parameters::read(&uri, &["dry_run"]);
    let is_dry_run = parameters.flag("dry_run");
    let parameter_faults = parameters.into_faults();
    let is_named = !is_dry_run && matches!(key, Ok(Some(_)));

    let mut is_within_rate = false;
    loop {
        let configuration = gateway.live().current();
        let revision = configuration.revision();
        let (text, shared, as_who) = (bytes.clone(), gateway.clone(), caller.clone());
        let faults = parameter_faults.to_vec();
        // Parsing and binding are one piece of work, so that there are no more parsed bodies at
        // once than threads to work on them.
        let work = move || {
            let most = shared.limits.max_invites_per_request;
            let body = parse(&text, most.saturating_mul(VALUES_PER_INVITE))?;
            let hash = is_named.then(|| idempotency::hash_body(&body));
            let read = || {
                let handling = preferences.handling();
                let submission = submission::read(body, most, handling);
                let on_duplicate = submission.on_duplicate;
                let mut binding =
                    bind(submission, &configuration, &shared.kinds, &as_who, handling, most)?;
                binding.request_faults.extend(faults);
                let (items, item_faults) = accept_faults(binding, &preferences)?;
                Ok::<_, Problem>((on_duplicate, items, item_faults))
            };
            Ok::<_, Problem>((hash, read()))
        };
        let (body_hash, read) =
            gateway.offload.run_for_body(caller.id(), bytes.len(), work).await??;
        let idempotency = key.clone()?.zip(body_hash).map(|(key, body_hash)| IdempotencyKey {
            key,
            body_hash,
            retention: gateway.limits.idempotency_retention,
        });
        if let Some(key) = idempotency.as_ref().filter(|_| parameter_faults.is_empty())
            && let Some(earlier) = gateway.store().find_idempotent(caller.tenant(), key).await?
        {
            drop((bytes, read));
            return answer_known(&gateway, &caller, earlier, preferences).await;
        }
        let (on_duplicate, items, item_faults) = read?;
        if is_dry_run {
            let plan =
                dry_run::plan(&gateway, caller.tenant(), on_duplicate, items, item_faults).await?;
            let mut response = Json(plan).into_response();
            preferences.without_waiting().write_applied(response.headers_mut(), true);
            return Ok(response);
        }
        let is_refused = |item: &&NewItem| matches!(item.placement, Placement::Refused { .. });
        let refused = items.iter().filter(is_refused).count();
        let count = items.len();
        if !is_within_rate {
            let now = gateway.clock.now();
            let budgets = &gateway.budgets;
            if refused > 0 || on_duplicate == OnDuplicate::Reject {
                budgets.take_refused(caller.tenant(), refused, now)?;
            }
            budgets.take_invites(caller.lineage(), count, now).inspect_err(|_| {
                budgets.correct_refused(caller.tenant(), refused, 0);
            })?;
            is_within_rate = true;
        }
        let batch = NewBatch {
            id: BatchId::generate(),
            tenant: caller.tenant().to_owned(),
            config_revision: revision,
            traceparent: caller.traceparent().map(str::to_owned),
            idempotency,
            day_limits: caller.day_limits(),
            on_duplicate,
            items,
        };
        let engine = gateway.engine.clone();
        let waiting = gateway.engine.wait_for(batch.id);
        match crate::run_to_completion(async move { engine.accept(batch).await }).await? {
            // The document changed since it was read. The request is bound again, by the one that is live now.
            Err(AcceptError::Outdated) => {}
            accepted => {
                let stored = match &accepted {
                    Ok(Acceptance::Accepted(accepted)) => match on_duplicate {
                        OnDuplicate::Reject => count.saturating_sub(accepted.queued().count()),
                        OnDuplicate::ReturnExisting | OnDuplicate::Send => refused,
                    },
                    _ => 0,
                };
                gateway.budgets.correct_refused(caller.tenant(), refused, stored);
                // The memory of the body is given back before the caller waits.
                drop(bytes);
                return match accepted? {
                    Acceptance::Accepted(accepted) => {
                        answer_new(&gateway, &caller, accepted, preferences, waiting).await
                    }
                    known => answer_known(&gateway, &caller, known, preferences).await,
                };
            }
        }
    }
}

/// The items that are accepted, and what is wrong with the other items if the caller wants those left out.
fn accept_faults(
    binding: Binding,
    preferences: &Preferences,
) -> Result<(Vec<NewItem>, Vec<Fault>), Problem> {
    let Binding { items, request_faults, item_faults } = binding;
    let is_lenient = preferences.handling() == Handling::Lenient && request_faults.is_empty();
    if is_lenient || request_faults.is_empty() && item_faults.is_empty() {
        return Ok((items, item_faults.into_vec()));
    }
    let mut faults = Faults::default();
    faults.extend(request_faults.into_iter().chain(item_faults));
    Err(Problem::invalid(faults.into_vec()))
}

/// Answers a request that was accepted just now.
async fn answer_new(
    gateway: &Gateway,
    caller: &Caller,
    accepted: store::Accepted,
    preferences: Preferences,
    waiting: Waiting<'_>,
) -> Result<Response, Problem> {
    let id = accepted.batch.id;
    let (preferences, wait, _place) = preferences.admit(gateway, caller, DEFAULT_WAIT);
    let accepted = await_new(gateway, caller, accepted, waiting, wait)
        .await
        .map_err(|problem| unshown(id, &problem))?;
    let status = match accepted.batch.state {
        BatchState::InProgress => StatusCode::ACCEPTED,
        _ => StatusCode::CREATED,
    };
    Ok(respond(status, accepted, preferences))
}

/// Answers a request that was accepted before, or whose key was used for another one.
async fn answer_known(
    gateway: &Gateway,
    caller: &Caller,
    known: Acceptance,
    preferences: Preferences,
) -> Result<Response, Problem> {
    let Acceptance::Replayed(id) = known else {
        let detail = "this Idempotency-Key was used with another body; use a new key";
        return Err(Problem::new(&codes::IDEMPOTENCY_KEY_REUSED, detail));
    };
    let (preferences, wait, _place) = preferences.admit(gateway, caller, DEFAULT_WAIT);
    let accepted =
        await_settled(gateway, caller, id, wait).await.map_err(|problem| unshown(id, &problem))?;
    // The batch may have been made with another key of the tenant, for providers that this key may not use.
    let mut shown = accepted.invites.iter().filter_map(|it| it.outline().provider.as_ref());
    shown.try_for_each(|name| caller.require_provider(name))?;
    let status = match accepted.batch.state {
        BatchState::InProgress => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    };
    let mut response = respond(status, accepted, preferences);
    response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    Ok(response)
}

/// Whatever went wrong with reading the batch, the request was accepted.
fn unshown(id: BatchId, problem: &Problem) -> Problem {
    let detail = format!(
        "the request was accepted as {id}, but cannot be shown now ({}); ask GET \
         /v1/batches/{id} later",
        problem.code()
    );
    Problem::new(&codes::ACCEPT_UNKNOWN, detail)
}

fn respond(status: StatusCode, accepted: Accepted, preferences: Preferences) -> Response {
    let id = accepted.batch.id;
    let mut response = (status, Json(accepted)).into_response();
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(format!("/v1/batches/{id}")) {
        headers.insert(header::LOCATION, location);
    }
    if status == StatusCode::ACCEPTED {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(ASK_AFTER));
    }
    preferences.write_applied(headers, true);
    response
}
