//! The lists of batches, and of the invites of one.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    str::FromStr,
    time::Duration,
};

use axum::{Json, extract::State, http::Uri};
use invite_core::{BatchId, InviteId};
use invite_store::{InvitePage, Row};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    Gateway,
    auth::{Caller, Scope},
    batches::{find_batch, view_all},
    invites::{read_tenant, redact},
    openapi,
    problem::Problem,
    query::{Parameters, cursor, cut_to_fit},
    reads,
    segment::Segment,
    views::{
        InviteView,
        batches::{BatchInvites, BatchList, BatchView},
    },
};

/// No more batches, and no more invites of batches, are looked at for a page, but for those looked at together.
const MOST_BATCHES: usize = 1000;
const MOST_INVITES: u64 = 50_000;
/// Nor is there another look after this time.
const MOST_TIME: Duration = Duration::from_secs(2);
/// How many batches are looked at together.
const AT_ONCE: u32 = 50;

/// List batches
///
/// Newest first; the pages do not shift when batches are accepted meanwhile. One that cannot be read is left out.
#[utoipa::path(
    get, path = "/v1/batches", tag = "invites",
    params(openapi::BatchFilters, openapi::Page),
    responses(
        (status = 200, description = "A page", body = BatchList),
        openapi::AnyCall, openapi::Stored, openapi::Unprocessable,
    )
)]
pub(crate) async fn list_batches(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<BatchList>, Problem> {
    caller.require(Scope::InvitesRead)?;
    let mut parameters = Parameters::read(&uri, &["state", "tenant", "limit", "cursor"]);
    let target = reads::filters(parameters.given());
    let state = parameters.one("state").and_then(|word| {
        let state = serde_json::from_value(Value::String(word)).ok();
        if state.is_none() {
            parameters.fault("state", "not-allowed", "there is no such state");
        }
        state
    });
    let tenant = read_tenant(&mut parameters, &caller)?;
    let limit = parameters.limit() as usize;
    let mut next = parameters.cursor::<String>();
    parameters.finish()?;
    let (mut batches, mut tenants) = (Vec::new(), BTreeSet::new());
    let (mut looked_at, mut counted, began) = (0, 0, Instant::now());
    while batches.len() < limit
        && looked_at < MOST_BATCHES
        && counted < MOST_INVITES
        && began.elapsed() < MOST_TIME
    {
        let left = u32::try_from(limit - batches.len()).unwrap_or(AT_ONCE);
        let at_once = if state.is_some() { AT_ONCE } else { left.min(AT_ONCE) };
        let page = gateway.store().batches(tenant.as_deref(), next.as_deref(), at_once).await?;
        next = page.next;
        looked_at += page.batches.len();
        let owners: Vec<String> = page.batches.iter().map(|batch| batch.tenant.clone()).collect();
        let views = view_all(&gateway, page.batches).await?;
        counted += views.iter().map(|batch| batch.counts.total()).sum::<u64>();
        let shown = views.into_iter().zip(owners);
        for (batch, owner) in shown.filter(|(batch, _)| state.is_none_or(|it| batch.state == it)) {
            if batches.len() == limit {
                // The rest of what was looked at comes on the next page.
                next = batches.last().map(|last: &BatchView| last.id.to_string());
                break;
            }
            tenants.insert(owner);
            batches.push(batch);
        }
        if next.is_none() {
            break;
        }
    }
    if tenants.iter().any(|tenant| tenant != caller.tenant()) {
        reads::record(&gateway, &caller, "batches.read", &target).await?;
    }
    Ok(Json(BatchList { batches, next_cursor: next.map(cursor) }))
}

/// A place in the invites of a batch: by the item, those that existed before behind the others, by id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    index: usize,
    is_duplicate: bool,
    id: String,
}

impl Place {
    /// That of an invite which was stored with the batch. One whose index cannot be read has its place, too, at the end.
    fn of(row: &Row) -> Self {
        let (index, id) = match row {
            Ok(invite) => (invite.index, invite.id.to_string()),
            Err(it) => (it.index.unwrap_or(u32::MAX as usize), it.id.clone()),
        };
        Self { index, is_duplicate: false, id }
    }

    /// Where to go on among those that were stored with the batch.
    fn in_own(&self) -> (usize, &str) {
        match self.is_duplicate {
            // All others of its item come before it.
            true => (self.index + 1, ""),
            false => (self.index, &self.id),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.index, u8::from(self.is_duplicate), self.id)
    }
}

/// It is no place.
#[derive(Debug)]
struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let mut parts = text.splitn(3, ' ');
        let index = parts.next().and_then(|part| part.parse::<u32>().ok()).ok_or(NoPlace)?;
        let is_duplicate = match parts.next() {
            Some("0") => false,
            Some("1") => true,
            _ => return Err(NoPlace),
        };
        let id = parts.next().filter(|id| id.len() <= 100).ok_or(NoPlace)?.to_owned();
        Ok(Self { index: index as usize, is_duplicate, id })
    }
}

/// List the Invites of a batch
///
/// In the order of its request, with those that existed before and answer items of it.
#[utoipa::path(
    get, path = "/v1/batches/{id}/invites", tag = "invites",
    params(openapi::BatchParameter, openapi::Page),
    responses(
        (status = 200, description = "A page", body = BatchInvites),
        openapi::AnyCall, openapi::Stored, openapi::NotFound, openapi::Unprocessable,
    )
)]
pub(crate) async fn list_batch_invites(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
) -> Result<Json<BatchInvites>, Problem> {
    caller.require(Scope::InvitesRead)?;
    let id: BatchId = id.parse().map_err(|_| Problem::not_found("batch"))?;
    let batch = find_batch(&gateway, &caller, id).await?;
    let mut parameters = Parameters::read(&uri, &["limit", "cursor"]);
    let limit = parameters.limit();
    let behind = parameters.cursor::<Place>();
    parameters.finish()?;
    let name = id.to_string();
    reads::across_tenants(&gateway, &caller, &batch.tenant, "batch.read_invites", &name).await?;
    let from = behind.as_ref().map_or((0, ""), Place::in_own);
    // One more than asked for tells whether there is a next page.
    let own = gateway.store().batch_invites_behind(id, from, limit + 1).await?;
    let own = rows(own).map(|row| (Place::of(&row), Some(row)));
    let duplicates = batch.duplicates.iter().map(|(index, id)| Place {
        index: *index,
        is_duplicate: true,
        id: id.to_string(),
    });
    let duplicates = duplicates.filter(|place| behind.as_ref().is_none_or(|behind| place > behind));
    let mut entries: Vec<(Place, Option<Row>)> =
        own.chain(duplicates.map(|place| (place, None))).collect();
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    let has_more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let last = entries.last().filter(|_| has_more).map(|(place, _)| place.to_string());

    let wanted = entries.iter().filter(|(place, _)| place.is_duplicate);
    let wanted: Vec<InviteId> = wanted.filter_map(|(place, _)| place.id.parse().ok()).collect();
    let existing = rows(gateway.store().invites_by_id(&wanted).await?);
    let existing: HashMap<String, Row> = existing.map(|row| (Place::of(&row).id, row)).collect();
    let (mut invites, mut shown, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
    for (place, row) in entries {
        match row.or_else(|| existing.get(&place.id).cloned()) {
            Some(Ok(invite)) if caller.may_use_any(invite.provider.as_ref()) => {
                let view = InviteView::new(invite, &gateway, &caller);
                invites.push(match place.is_duplicate {
                    true => view.into_duplicate(place.index),
                    false => view,
                });
                shown.push(place);
            }
            Some(Err(it)) if caller.may_use_any(it.provider.as_ref()) => {
                unreadable.push((place, redact(*it, &caller)));
            }
            _ => {}
        }
    }
    let cut = cut_to_fit(&mut invites, &shown);
    if let (Some(_), Some(end)) = (&cut, shown.get(invites.len().saturating_sub(1))) {
        unreadable.retain(|(place, _)| place <= end);
    }
    let unreadable = unreadable.into_iter().map(|(_, it)| it).collect();
    Ok(Json(BatchInvites { invites, unreadable, next_cursor: cut.or(last).map(cursor) }))
}

fn rows(page: InvitePage) -> impl Iterator<Item = Row> {
    let unreadable = page.unreadable.into_iter().map(|it| Err(Box::new(it)));
    page.invites.into_iter().map(Ok).chain(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_and_anything_else_is_none() {
        for (index, is_duplicate) in [(0, false), (999, true)] {
            let place = Place { index, is_duplicate, id: "inv_0".into() };
            assert_eq!(place.to_string().parse::<Place>().unwrap(), place);
        }
        for text in ["", "1", "1 0", "1 2 inv_0", "-1 0 inv_0", "x 0 inv_0"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_existed_before_comes_behind_the_others_of_its_item() {
        let place = |index, is_duplicate, id: &str| Place { index, is_duplicate, id: id.into() };
        let order = [place(0, false, "b"), place(0, true, "a"), place(1, false, "a")];
        assert!(order.is_sorted());
        let own: Vec<_> = order.iter().map(Place::in_own).collect();
        assert_eq!(own, [(0, "b"), (1, ""), (1, "a")]);
    }
}
