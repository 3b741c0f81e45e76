//! Erasing a person. The receipt does not name them.

use std::sync::LazyLock;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, Uri},
};
use invite_core::schema::Schema;
use invite_delivery::Erasure;
use invite_store::NewAudit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Gateway,
    auth::{Caller, Scope},
    body::{read_json, read_members},
    openapi,
    problem::Problem,
    query::Parameters,
    submission::read_address,
};

/// A person to erase.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EraseRequest {
    /// The address, in any of its spellings.
    #[schemars(required, length(max = 254), email, example = "ada@example.org")]
    email: Option<String>,
    /// Withdraw live invites first. Without it they are named and left.
    withdraw: Option<bool>,
}

static ERASE: LazyLock<Schema> = LazyLock::new(Schema::of::<EraseRequest>);

/// What was erased, and what is left.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Receipt {
    /// A keyed hash of the address, as in the record of changes: the same for the same person in this
    /// database, and of no use without its key.
    person: String,
    #[serde(flatten)]
    erasure: Erasure,
}

/// Erase a person
///
/// All that is held of an address, over all tenants and providers, goes from the invites that have ended; the
/// others are named. Asking again goes on where this ended.
#[utoipa::path(
    post, path = "/v1/admin/erase", tag = "administration",
    request_body = EraseRequest,
    responses(
        (status = 200, description = "What was erased, and what is left", body = Receipt),
        openapi::AnyCall, openapi::Stored, openapi::WithBody, openapi::Unprocessable,
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
    let mut faults = Parameters::read(&uri, &[]).into_faults();
    let EraseRequest { email, withdraw } = read_members(body, &ERASE, &mut faults);
    let address = email.and_then(|email| read_address(&email, "#/email", &mut faults));
    let Some(address) = address.filter(|_| faults.is_empty()) else {
        return Err(Problem::invalid(faults.into_vec()));
    };
    let withdraw = withdraw.unwrap_or_default();
    let person = gateway.store().pseudonym(&address);
    let engine = gateway.engine.traced(caller.traceparent());
    let (actor, target) = (caller.actor(), person.clone());
    let erasure = crate::run_to_completion(async move {
        let done = engine.erase(&address, withdraw).await;
        let after = match &done {
            Ok(done) => json!({
                "withdraw": withdraw, "erased": done.erased, "withdrawn": done.withdrawn,
                "left": done.left.len(), "cleaned": done.is_cleaned,
            }),
            // What was erased before the error stays erased.
            Err(error) => json!({ "withdraw": withdraw, "failed": error.to_string() }),
        };
        let change = NewAudit::new(actor, "person.erase", target);
        super::audit::record(&engine, NewAudit { after: Some(after), ..change }).await;
        done
    });
    Ok(Json(Receipt { person, erasure: erasure.await?? }))
}
