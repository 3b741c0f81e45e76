//! What is held of one person, over all tenants and providers: for who asks what the gateway knows of
//! them.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, Uri},
};
use invite_core::{Address, Fault, Faults, InviteId, address::InvalidAddress};
use invite_store::InviteFilter;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    Gateway,
    auth::{Caller, Scope},
    body::read_json,
    openapi,
    problem::Problem,
    query::{Parameters, cursor, cut_to_fit},
    reads,
    requests::PersonRequest,
    submission::{members_of, refuse_unknown},
    views::{InviteView, unreadable::UnreadableInviteView},
};

/// What is held of a person.
#[derive(Serialize, ToSchema)]
pub(crate) struct Person {
    /// Their invites at all providers and of all tenants, newest first; none of which they were erased.
    invites: Vec<HeldInvite>,
    /// Those that cannot be read, newest first; left out if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<UnreadableInviteView>,
    /// Where the next page starts; null on the last.
    next_cursor: Option<String>,
}

/// An invite, and what else is held of it.
#[derive(Serialize, ToSchema)]
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
    get,
    path = "/v1/admin/people",
    tag = "administration",
    params(
        ("email" = String, Query, format = "email", description = "The address, in any of its spellings"),
        openapi::Page,
    ),
    responses(
        (status = 200, description = "A page", body = Person),
        openapi::AnyCall,
        openapi::Unprocessable,
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
    post,
    path = "/v1/admin/people",
    tag = "administration",
    params(openapi::Page),
    request_body = PersonRequest,
    responses(
        (status = 200, description = "A page", body = Person),
        openapi::AnyCall,
        openapi::WithBody,
        openapi::Unprocessable,
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
    let mut members = members_of(body, &mut faults);
    let address = take_address(&mut members, &mut faults);
    refuse_unknown(&members, &["email"], &mut faults);
    if !faults.is_empty() {
        let mut all = parameters.into_faults();
        all.extend(faults.under("#"));
        return Err(Problem::invalid(all.into_vec()));
    }
    page(&gateway, &caller, parameters, address).await
}

fn require(caller: &Caller) -> Result<(), Problem> {
    caller.require(Scope::InvitesRead)?;
    caller.require_for_all(Scope::InvitesAllTenants)
}

/// Takes the address out of the members of a body.
pub(super) fn take_address(
    members: &mut Map<String, Value>,
    faults: &mut Faults,
) -> Option<Address> {
    let (code, detail) = match members.remove("email") {
        Some(Value::String(email)) => match email.parse::<Address>() {
            Ok(address) => return Some(address),
            Err(error @ InvalidAddress::TooLong) => ("too-long", error.to_string()),
            Err(error) => ("invalid", error.to_string()),
        },
        Some(_) => ("wrong-type", "`email` must be a string".to_owned()),
        None => ("required", "`email` is missing".to_owned()),
    };
    faults.push(Fault::new("/email", code, detail));
    None
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
    let unreadable = page.unreadable.into_iter();
    Ok(Json(Person {
        invites,
        unreadable: unreadable.map(|it| UnreadableInviteView::new(it, true)).collect(),
        next_cursor: page.next.map(cursor),
    }))
}
