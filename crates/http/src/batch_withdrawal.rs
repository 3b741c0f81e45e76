//! Withdrawing what one request asked for.

use axum::{Json, body::Body, extract::State, http::Uri};
use invite_core::{BatchId, MAX_FAULTS, text::cut};
use invite_delivery::Withdrawn;
use invite_store::{InvitePage, NewAudit};
use serde_json::json;

use crate::{
    Gateway,
    admin::audit,
    auth::{Caller, Scope},
    batches::find_batch,
    body::refuse_body,
    changes::is_open,
    invites::unreadable_invite,
    openapi,
    problem::{Problem, codes},
    query::Parameters,
    reads,
    segment::Segment,
    views::batches::{BatchWithdrawal, NotWithdrawn},
};

/// The longest detail of one failure, in bytes.
const MAX_DETAIL: usize = 500;

/// Withdraw a batch
///
/// All of its Invites that can be withdrawn, each as `DELETE /v1/invites/{id}` does it without `force`: the queued ones at once,
/// then those that exist at providers that can, for about 20 seconds. Asking again goes on with those that `remain`, and with
/// those that were not settled. Invites of other requests that answer items of this one are left alone.
#[utoipa::path(
    delete, path = "/v1/batches/{id}", tag = "invites",
    params(
        openapi::BatchParameter,
        ("dry_run" = Option<bool>, Query, description = "Only count", example = true),
    ),
    responses(
        (status = 200, description = "What became of them", body = BatchWithdrawal),
        openapi::AnyCall, openapi::Stored, openapi::WithoutBody, openapi::NotFound,
    )
)]
pub(crate) async fn revoke_batch(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
    body: Body,
) -> Result<Json<BatchWithdrawal>, Problem> {
    caller.require(Scope::InvitesWrite)?;
    let id: BatchId = id.parse().map_err(|_| Problem::not_found("batch"))?;
    let batch = find_batch(&gateway, &caller, id).await?;
    refuse_body(body, gateway.body_bounds(&caller), &["dry_run"]).await?;
    let mut parameters = Parameters::read(&uri, &["dry_run"]);
    let is_dry_run = parameters.flag("dry_run");
    parameters.finish()?;
    let name = id.to_string();
    reads::across_tenants(&gateway, &caller, &batch.tenant, "batch.read", &name).await?;
    let mut page = gateway.store().batch_invites(id).await?;
    let total = page.invites.len() + page.unreadable.len();
    page.invites.retain(|invite| caller.may_use_any(invite.provider.as_ref()));
    page.unreadable.retain(|it| caller.may_use_any(it.provider.as_ref()));
    let hidden = total - page.invites.len() - page.unreadable.len();
    let mut answer = BatchWithdrawal {
        batch_id: id,
        is_dry_run,
        total: total as u64,
        withdrawn_here: 0,
        withdrawn_at_provider: 0,
        ended: 0,
        not_withdrawn: [(codes::PROVIDER_NOT_ALLOWED.word, hidden as u64)]
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect(),
        remaining: 0,
        failures: Vec::new(),
    };
    let noted = (caller.sees_all_tenants() && !is_dry_run)
        .then(|| NewAudit::new(caller.actor(), "batch.revoke", name));
    let engine = gateway.engine.traced(caller.traceparent());
    let withdrawing = crate::run_to_completion(async move {
        let InvitePage { invites, unreadable, .. } = page;
        let withdrawn = engine.revoke_all(&invites, is_dry_run).await;
        if let Some(noted) = noted.filter(|_| may_have_changed(&withdrawn)) {
            let after = match &withdrawn {
                Ok(done) => json!({ "withdrawn": done.here + done.at_provider }),
                // What was withdrawn before the error stays withdrawn.
                Err(error) => json!({ "failed": error.to_string() }),
            };
            audit::record(&engine, NewAudit { after: Some(after), ..noted }).await;
        }
        withdrawn.map(|withdrawn| (withdrawn, unreadable))
    });
    let (Withdrawn { here, at_provider, ended, refused, remaining }, unreadable) =
        withdrawing.await??;
    (answer.withdrawn_here, answer.withdrawn_at_provider) = (here, at_provider);
    (answer.ended, answer.remaining) = (ended, remaining);
    let refused = refused.into_iter().map(|(id, error)| (id.to_string(), Problem::from(error)));
    let unreadable = unreadable.into_iter().map(|it| (it.id.clone(), unreadable_invite(&it)));
    for (invite_id, problem) in refused.chain(unreadable) {
        let code = problem.code();
        *answer.not_withdrawn.entry(code).or_default() += 1;
        if answer.failures.len() < MAX_FAULTS {
            let detail = cut(problem.detail().to_owned(), MAX_DETAIL);
            answer.failures.push(NotWithdrawn { invite_id, code, detail });
        }
    }
    Ok(Json(answer))
}

/// Whether an invite was withdrawn, or may have been.
fn may_have_changed(withdrawn: &Result<Withdrawn, invite_store::Error>) -> bool {
    let Ok(done) = withdrawn else { return true };
    done.here + done.at_provider > 0 || done.refused.iter().any(|(_, error)| is_open(error))
}
