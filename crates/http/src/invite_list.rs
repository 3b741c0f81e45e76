//! Listing invites.

use axum::{Json, extract::State, http::Uri};
use invite_core::{EventId, InviteId};
use invite_store::{ChangedInvites, ChangesFrom, InviteFilter, InvitePage, RemovedUpTo, Row};

use crate::{
    Gateway,
    auth::{Caller, Scope},
    invites::{FILTERS, read_filter, redact},
    openapi,
    problem::{Problem, codes},
    query::{Parameters, cursor, cut_to_fit},
    reads,
    views::{InviteList, InviteSort, InviteView},
};

/// List invites
///
/// Newest first; the pages do not shift when invites are created meanwhile. With `sort=updated` by their last change, longest
/// ago first: whoever goes on with `next_cursor`, also after the last page, gets each invite that has changed since, as it is
/// then, and misses none. That needs `updated_after` at first, which may be no longer ago than `events.retention`.
#[utoipa::path(
    get, path = "/v1/invites", tag = "invites",
    params(
        openapi::StatusFilter, openapi::Filters, openapi::Sort,
        ("unreadable" = Option<bool>, Query, description = "Only those that are set aside because \
            they cannot be read"),
        openapi::Page,
    ),
    responses(
        (status = 200, description = "A page", body = InviteList),
        openapi::AnyCall, openapi::Stored, openapi::Removed, openapi::Unprocessable,
    )
)]
pub(crate) async fn list_invites(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<InviteList>, Problem> {
    caller.require(Scope::InvitesRead)?;
    let known = FILTERS.iter().copied().chain(["status", "unreadable", "sort", "limit", "cursor"]);
    let mut parameters = Parameters::read(&uri, &known.collect::<Vec<_>>());
    let target = reads::filters(parameters.given());
    let sort = read_sort(&mut parameters);
    let unreadable = parameters.flag("unreadable");
    let filter = InviteFilter { unreadable, ..read_filter(&mut parameters, &caller)? };
    let limit = parameters.limit();
    let order = Order::read(&mut parameters, sort, &filter);
    parameters.finish()?;
    let found = match order {
        Order::Created { before } => gateway.store().invites(&filter, before, limit).await?.into(),
        Order::Updated { from } => {
            let changed = gateway.store().changed_invites(&filter, from, limit).await?;
            Found::from(changed.map_err(changes_removed)?)
        }
    };
    if found.tenants().any(|tenant| tenant != Some(caller.tenant())) {
        reads::record(&gateway, &caller, "invites.read", &target).await?;
    }
    Ok(Json(found.shown(&gateway, &caller)))
}

/// In which order invites are asked for, and where the page begins.
enum Order {
    /// Newest first, before this one.
    Created { before: Option<String> },
    /// By their last change, longest ago first.
    Updated { from: ChangesFrom },
}

impl Order {
    /// Reads where the page begins. What is wrong with that is among the faults of the parameters.
    fn read(parameters: &mut Parameters, sort: InviteSort, filter: &InviteFilter) -> Self {
        match sort {
            InviteSort::Created => {
                let before = parameters.cursor::<String>();
                if before.as_ref().is_some_and(|before| before.parse::<EventId>().is_ok()) {
                    let detail = "this is the `next_cursor` of a list with `sort=updated`";
                    parameters.fault("cursor", "invalid", detail);
                }
                Self::Created { before }
            }
            InviteSort::Updated => {
                let place = parameters.cursor().map(ChangesFrom::Place);
                let from = place.or(filter.updated_after.map(ChangesFrom::Time));
                Self::Updated { from: from.unwrap_or(ChangesFrom::Place(EventId::START)) }
            }
        }
    }
}

/// Reads the parameter `sort`, before any other is taken: by their last change they are listed from a time or a place on.
fn read_sort(parameters: &mut Parameters) -> InviteSort {
    let sort = match parameters.one("sort").as_deref() {
        None | Some("created") => InviteSort::Created,
        Some("updated") => InviteSort::Updated,
        Some(_) => {
            parameters.fault("sort", "not-allowed", "expected `created` or `updated`");
            InviteSort::Created
        }
    };
    let begins = parameters.given().any(|(name, _)| name == "cursor" || name == "updated_after");
    if sort == InviteSort::Updated && !begins {
        let detail = "`sort=updated` begins at a time: give `updated_after`, or the `next_cursor` of an \
                      earlier answer as `cursor`";
        parameters.fault("updated_after", "missing", detail);
    }
    sort
}

/// What there is to show.
struct Found {
    /// In their order, each with where a page goes on that ends with it.
    rows: Vec<(String, Row)>,
    next: Option<String>,
    has_more: bool,
}

impl From<InvitePage> for Found {
    fn from(page: InvitePage) -> Self {
        let place = |id: InviteId| id.to_string();
        let invites = page.invites.into_iter().map(|invite| (place(invite.id), Ok(invite)));
        let unreadable = page.unreadable.into_iter().map(|it| (it.id.clone(), Err(Box::new(it))));
        let mut rows: Vec<(String, Row)> = invites.chain(unreadable).collect();
        rows.sort_by(|(one, _), (other, _)| other.cmp(one));
        Self { rows, has_more: page.next.is_some(), next: page.next }
    }
}

impl From<ChangedInvites> for Found {
    fn from(page: ChangedInvites) -> Self {
        let rows = page.rows.into_iter().map(|(place, row)| (place.to_string(), row)).collect();
        Self { rows, next: Some(page.next.to_string()), has_more: !page.is_last }
    }
}

impl Found {
    /// Whose invites they are; `None` where that cannot be read.
    fn tenants(&self) -> impl Iterator<Item = Option<&str>> {
        self.rows.iter().map(|(_, row)| match row {
            Ok(invite) => Some(invite.tenant.as_str()),
            Err(unreadable) => unreadable.tenant.as_deref(),
        })
    }

    /// As much of it as a page has room for.
    fn shown(self, gateway: &Gateway, caller: &Caller) -> InviteList {
        let (mut invites, mut places, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
        for (place, row) in self.rows {
            match row {
                Ok(invite) => {
                    invites.push(InviteView::new(invite, gateway, caller));
                    places.push(place);
                }
                Err(row) => unreadable.push((invites.len(), redact(*row, caller))),
            }
        }
        let cut = cut_to_fit(&mut invites, &places);
        // What stands behind the last invite comes with the next page.
        unreadable.retain(|(before, _)| cut.is_none() || *before < invites.len());
        InviteList {
            invites,
            unreadable: unreadable.into_iter().map(|(_, row)| row).collect(),
            has_more: cut.is_some() || self.has_more,
            next_cursor: cut.or(self.next).map(cursor),
        }
    }
}

/// Some of the changes that were asked for are kept no more.
fn changes_removed(RemovedUpTo(last): RemovedUpTo) -> Problem {
    let detail = format!(
        "changes up to {last} were removed (`events.retention`), so that some of those asked for may be missing: list \
         the invites once by creation, and go on with `sort=updated` and an `updated_after` from before that"
    );
    Problem::new(&codes::EVENTS_REMOVED, detail)
}
