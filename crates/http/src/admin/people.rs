//! What is held of one person, over all tenants and providers, for a person who asks.

use std::sync::LazyLock;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, Uri},
};
use invite_core::{Address, Faults, InviteId, schema::Schema};
use invite_store::{InviteFilter, UnreadableInvite};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Gateway,
    auth::{Caller, Scope},
    body::{read_json, read_members},
    openapi,
    problem::Problem,
    query::{Parameters, cursor, cut_to_fit},
    reads,
    submission::read_address,
    views::InviteView,
};

/// A person to look for.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PersonRequest {
    /// The address, in any of its spellings.
    #[schemars(required, length(max = 254), email, example = "ada@example.org")]
    email: Option<String>,
}

static PERSON: LazyLock<Schema> = LazyLock::new(Schema::of::<PersonRequest>);

/// What is held of a person.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Person {
    /// Their invites at all providers and of all tenants, newest first; none of which they were erased.
    invites: Vec<HeldInvite>,
    /// Those that cannot be read, newest first; left out if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<UnreadableInvite>,
    /// Where the next page starts; null on the last.
    next_cursor: Option<String>,
}

/// An invite, and what else is held of it.
#[derive(Serialize, JsonSchema)]
pub(crate) struct HeldInvite {
    /// It.
    invite: InviteView,
    /// Calls that were made for it: `GET /v1/invites/{id}/attempts` lists them.
    attempts: u64,
    /// Of those the ones of which a request or a reply is kept: with the scope invites:raw the list shows
    /// them.
    exchanges: u64,
}

/// See what is held of a person
///
/// A proxy may write down the address in the query: `POST` takes it in the body.
#[utoipa::path(
    get, path = "/v1/admin/people", tag = "administration",
    params(
        ("email" = String, Query, format = "email", description = "The address, in any of its spellings",
            example = "ada@example.org"),
        openapi::Page,
    ),
    responses(
        (status = 200, description = "A page", body = Person),
        openapi::AnyCall, openapi::Stored, openapi::Unprocessable,
    )
)]
pub(crate) async fn get_person(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<Person>, Problem> {
    require(&caller)?;
    let mut parameters = Parameters::read(&uri, &["email", "limit", "cursor"]);
    let given = parameters.all("email");
    let address = match given.as_slice() {
        [email] => email.parse::<Address>().ok(),
        _ => None,
    };
    if address.is_none() {
        parameters.fault("email", "invalid", "give one email address");
    }
    page(&gateway, &caller, parameters, address).await
}

/// See what is held of a person, whose address no URL shows
#[utoipa::path(
    post, path = "/v1/admin/people", tag = "administration",
    params(openapi::Page),
    request_body = PersonRequest,
    responses(
        (status = 200, description = "A page", body = Person),
        openapi::AnyCall, openapi::Stored, openapi::WithBody, openapi::Unprocessable,
    )
)]
pub(crate) async fn find_person(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Person>, Problem> {
    require(&caller)?;
    let body = read_json(&headers, body, gateway.body_bounds(&caller)).await?;
    let parameters = Parameters::read(&uri, &["limit", "cursor"]);
    let mut faults = Faults::default();
    let PersonRequest { email } = read_members(body, &PERSON, &mut faults);
    let address = email.and_then(|email| read_address(&email, "#/email", &mut faults));
    if !faults.is_empty() {
        let mut all = parameters.into_faults();
        all.extend(faults);
        return Err(Problem::invalid(all.into_vec()));
    }
    page(&gateway, &caller, parameters, address).await
}

fn require(caller: &Caller) -> Result<(), Problem> {
    caller.require(Scope::InvitesRead)?;
    caller.require_for_all(Scope::InvitesAllTenants)
}

async fn page(
    gateway: &Gateway,
    caller: &Caller,
    mut parameters: Parameters,
    address: Option<Address>,
) -> Result<Json<Person>, Problem> {
    let limit = parameters.limit();
    let before = parameters.cursor::<String>();
    parameters.finish()?;
    if let Some(address) = &address {
        let person = gateway.store().pseudonym(address);
        reads::record(gateway, caller, "person.read", &person).await?;
    }
    let filter = InviteFilter { address, ..InviteFilter::default() };
    let mut page = gateway.store().invites(&filter, before, limit).await?;
    let ids: Vec<InviteId> = page.invites.iter().map(|invite| invite.id).collect();
    let holdings = gateway.store().kept_calls(&ids).await?;
    let mut invites: Vec<HeldInvite> = page
        .invites
        .into_iter()
        .map(|record| {
            let holding = holdings.get(&record.id).copied().unwrap_or_default();
            HeldInvite {
                invite: InviteView::new(record, gateway, caller),
                attempts: holding.attempts,
                exchanges: holding.exchanges,
            }
        })
        .collect();
    if let Some(last) = cut_to_fit(&mut invites, &ids) {
        page.unreadable.retain(|unreadable| unreadable.id > last);
        page.next = Some(last);
    }
    Ok(Json(Person { invites, unreadable: page.unreadable, next_cursor: page.next.map(cursor) }))
}
