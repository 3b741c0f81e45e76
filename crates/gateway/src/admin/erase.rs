//! Erasing a person, with a receipt that names nobody.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, Uri},
};
use invite_core::Fault;
use invite_delivery::Erasure;
use invite_store::NewAudit;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::people::take_address;
use crate::{
    Gateway,
    auth::{Caller, Scope},
    body::read_json,
    openapi,
    problem::Problem,
    query::Parameters,
    requests::EraseRequest,
    submission::{members_of, refuse_unknown, take},
};

/// What was erased, and what is left.
#[derive(Serialize, ToSchema)]
pub(crate) struct Receipt {
    /// A keyed hash of the address, as in the record of changes: the same for the same person in this
    /// database, and of no use without its key.
    person: String,
    /// What was erased by this call.
    erased: ErasedCounts,
    /// Invites that were withdrawn first.
    withdrawn: u64,
    /// Invites that still hold the person, newest first, up to about a thousand.
    left: Vec<LeftInvite>,
    /// There are more than are listed.
    more_left: bool,
    /// The database let go of what it keeps beside its tables: SQLite's file was rewritten and its log
    /// truncated, PostgreSQL's tables were vacuumed. If false, ask again, or see docs/privacy.md.
    cleaned: bool,
}

/// How much was erased.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErasedCounts {
    /// Invites.
    invites: u64,
    /// Calls made for them.
    attempts: u64,
    /// Of those the ones of which a request or a reply was kept.
    exchanges: u64,
    /// Labels.
    labels: u64,
}

/// An invite that still holds the person.
#[derive(Serialize, ToSchema)]
pub(crate) struct LeftInvite {
    /// Its id.
    id: String,
    /// Whose it is.
    tenant: Option<String>,
    /// The configured provider.
    provider: Option<String>,
    /// The word for its status.
    status: Option<String>,
    /// `live`: it has not ended, and withdrawing it was not asked for. `not-withdrawn`: that was not
    /// possible. `call-unsettled`: it shares a call with an invite of which it has to be found out yet
    /// what became of it. `unreadable`: its row cannot be read, and it may not have ended.
    reason: &'static str,
    /// What to do about it.
    detail: String,
}

/// Erase a person
///
/// All that is held of an address, over all tenants and providers, goes from the invites that have ended; the
/// others are named. Asking again goes on where this ended.
#[utoipa::path(
    post,
    path = "/v1/admin/erase",
    tag = "administration",
    request_body = EraseRequest,
    responses(
        (status = 200, description = "What was erased, and what is left", body = Receipt),
        openapi::AnyCall,
        openapi::WithBody,
        openapi::Unprocessable,
    )
)]
pub(crate) async fn erase_person(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Receipt>, Problem> {
    caller.require_for_all(Scope::PeopleErase)?;
    let body = read_json(&headers, body, gateway.body_bounds(&caller)).await?;
    let mut all = Parameters::read(&uri, &[]).into_faults();
    let mut faults = invite_core::Faults::default();
    let mut members = members_of(body, &mut faults);
    let address = take_address(&mut members, &mut faults);
    let withdraw = match take(&mut members, "withdraw") {
        None => false,
        Some(Value::Bool(flag)) => flag,
        Some(_) => {
            let detail = "`withdraw` must be true or false";
            faults.push(Fault::new("/withdraw", "wrong-type", detail));
            false
        }
    };
    refuse_unknown(&members, &["email", "withdraw"], &mut faults);
    all.extend(faults.under("#"));
    let Some(address) = address.filter(|_| all.is_empty()) else {
        return Err(Problem::invalid(all.into_vec()));
    };
    let person = gateway.store().pseudonym(&address);
    let engine = gateway.engine().traced(caller.traceparent());
    let (actor, target) = (caller.actor(), person.clone());
    let erasure = crate::to_the_end(async move {
        let done = engine.erase(&address, withdraw).await;
        let after = match &done {
            Ok(done) => json!({
                "withdraw": withdraw, "erased": done.erased, "withdrawn": done.withdrawn,
                "left": done.left.len(), "cleaned": done.is_cleaned,
            }),
            // What was erased until then is.
            Err(error) => json!({ "withdraw": withdraw, "failed": error.to_string() }),
        };
        let (action, after) = ("person.erase".to_owned(), Some(after));
        let change = NewAudit { actor, action, target, before: None, after, note: None };
        super::audit::record(&engine, change).await;
        done
    });
    let Erasure { erased, withdrawn, left, has_more, is_cleaned } = erasure.await??;
    let left = left.into_iter().map(|left| LeftInvite {
        id: left.id,
        tenant: left.tenant,
        provider: left.provider,
        status: left.status,
        reason: left.reason,
        detail: left.detail,
    });
    Ok(Json(Receipt {
        person,
        erased: ErasedCounts {
            invites: erased.invites,
            attempts: erased.attempts,
            exchanges: erased.exchanges,
            labels: erased.labels,
        },
        withdrawn,
        left: left.collect(),
        more_left: has_more,
        cleaned: is_cleaned,
    }))
}
