//! Reading invites, as callers ask for them.

use std::collections::HashMap;

use invite_core::{Address, BatchId, InviteId, ReasonCode, Status};
use jiff::Timestamp;
use tokio::time::timeout;

use crate::{
    Error, InviteRecord, Row, Store, UnreadableInvite,
    debug::debug_only,
    error::LIST,
    rows::{COLUMNS, HAS_HOLDER, OPEN, SET_ASIDE, select_invites},
    statement::{Statement, chunks},
    unreadable::{id_of, page, separate},
    values::Value,
};

/// Which invites to list; every given member must hold.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, Default)]
pub struct InviteFilter {
    /// `None`: of all tenants.
    pub tenant: Option<String>,
    pub batch_id: Option<BatchId>,
    /// If not empty: at one of these.
    pub providers: Vec<String>,
    /// If not empty: in one of these, as they read now.
    pub statuses: Vec<Status>,
    pub address: Option<Address>,
    /// The caller's own id.
    pub external_id: Option<String>,
    /// If not empty: whose error has one of these codes.
    pub error_codes: Vec<ReasonCode>,
    pub labels: Vec<(String, String)>,
    pub created_after: Option<Timestamp>,
    pub created_before: Option<Timestamp>,
    pub updated_after: Option<Timestamp>,
    /// In doubt since before this.
    pub in_doubt_before: Option<Timestamp>,
    /// Set aside because they could not be read.
    pub unreadable: bool,
}

impl InviteFilter {
    /// Whether it asks for nothing but invites in some of these statuses.
    fn is_only(&self, statuses: &[Status]) -> bool {
        !self.statuses.is_empty() && self.statuses.iter().all(|status| statuses.contains(status))
    }
}

debug_only!(InviteFilter: batch_id, providers, statuses);

/// Some invites of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct InvitePage {
    /// Newest first.
    pub invites: Vec<InviteRecord>,
    /// Those that cannot be read, newest first.
    pub unreadable: Vec<UnreadableInvite>,
    /// Where the next page goes on: behind the invite of this id; none on the last.
    pub next: Option<String>,
}

impl InvitePage {
    pub(crate) fn of(rows: Vec<Row>) -> Self {
        let (invites, unreadable) = separate(rows);
        Self { invites, unreadable: unreadable.into_iter().map(|it| *it).collect(), next: None }
    }
}

impl Store {
    /// One invite.
    ///
    /// # Errors
    /// The database cannot be used, or [`Error::Corrupt`].
    pub async fn invite(&self, id: InviteId) -> Result<Option<InviteRecord>, Error> {
        let row = self.invite_row(&id.to_string()).await?.transpose();
        row.map_err(|unreadable| Error::Corrupt { what: unreadable.column })
    }

    /// One invite, or what can be told of it if it cannot be read; `id` as it is stored.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn invite_row(&self, id: &str) -> Result<Option<Row>, Error> {
        let rows = self.rows(select_invites().text(" WHERE id = ").bind(id)).await?;
        Ok(rows.into_iter().next())
    }

    /// These invites, in the order asked for; ids that do not exist are left out, and one that is
    /// named twice is there once.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn invites_by_id(&self, ids: &[InviteId]) -> Result<InvitePage, Error> {
        let mut found = HashMap::with_capacity(ids.len());
        for chunk in chunks(ids) {
            let ids = chunk.iter().map(|id| Value::from(id.to_string()));
            let statement = select_invites().text(" WHERE id").one_of(ids);
            found.extend(self.rows(statement).await?.into_iter().map(|row| (id_of(&row), row)));
        }
        let rows = ids.iter().filter_map(|id| found.remove(&id.to_string()));
        Ok(InvitePage::of(rows.collect()))
    }

    /// A page of at most `limit` (at least 1) invites, newest first, those before the invite whose id
    /// is `before`. Invites that are accepted meanwhile do not shift the pages.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn invites(
        &self,
        filter: &InviteFilter,
        before: Option<String>,
        limit: u32,
    ) -> Result<InvitePage, Error> {
        let limit = limit.max(1);
        // One more than asked for tells whether there is a next page.
        let statement = list(filter, before, i64::from(limit) + 1, self.clock_now());
        let (rows, next) = page(self.listed(statement).await?, limit, id_of);
        Ok(InvitePage { next, ..InvitePage::of(rows) })
    }

    /// How many invites there are, counted up to `most`.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn count_invites(&self, filter: &InviteFilter, most: u32) -> Result<u64, Error> {
        let counted = list(filter, None, i64::from(most), self.clock_now()).counted();
        let mut connection = self.lister().await?;
        let count = counted.first(&mut connection, |row| row.count());
        let count = timeout(LIST, count).await.map_err(|_| Error::SlowList)??;
        Ok(count.unwrap_or_default())
    }
}

/// The status as [`InviteRecord::status_at`] tells it.
pub(crate) fn status_now(statement: Statement<'_>, now: Timestamp) -> Statement<'_> {
    statement
        .text("CASE WHEN ")
        .text(OPEN)
        .text(" AND expires_at <= ")
        .bind(now)
        .text(" THEN 'expired' ELSE status END")
}

/// The page of a list, newest first along an index. A planner that knows nothing of the values in a column cannot choose it,
/// so the statement does: conditions that few invites meet are subqueries for ids; without one, the index of failed invites
/// leads if only those are asked for, or else that of a label.
fn list(
    filter: &InviteFilter,
    before: Option<String>,
    limit: i64,
    now: Timestamp,
) -> Statement<'_> {
    let narrow = narrow_conditions(filter);
    let failed_leads = narrow.is_empty() && filter.is_only(&[Status::Failed]);
    let (mut statement, key, labels_left) = match (narrow.is_empty(), filter.labels.first()) {
        _ if failed_leads => {
            (select_invites().text(" WHERE status = 'failed'"), "id", &filter.labels[..])
        }
        // SQLite takes the tables of a CROSS JOIN in their order.
        (true, Some((name, value))) => (
            Statement::new("SELECT ")
                .text(COLUMNS)
                .text(", unreadable FROM invite_labels AS label CROSS JOIN invites WHERE id = label.invite_id")
                .text(" AND label.name = ")
                .bind(name)
                .text(" AND label.value = ")
                .bind(value),
            "label.invite_id",
            &filter.labels[1..],
        ),
        _ => (select_invites().text(" WHERE true"), "id", &filter.labels[..]),
    };
    let mut cursor = before;
    for (condition, value) in narrow {
        statement = statement.text(" AND id IN (SELECT id FROM invites WHERE ").text(condition);
        if let Some(value) = value {
            statement = statement.bind(value);
        }
        // Inside the subquery, so that the planner does not begin with it.
        if let Some(before) = cursor.take() {
            statement = statement.text(" AND id < ").bind(before);
        }
        statement = statement.text(")");
    }
    statement = label_conditions(statement, labels_left);
    // The expression keeps the planner from the index of tenants: few of a tenant's invites may have failed.
    let tenant = if failed_leads { "tenant || ''" } else { "tenant" };
    statement = wide_conditions(statement, filter, tenant, now);
    if let Some(before) = cursor {
        statement = statement.text(" AND ").text(key).text(" < ").bind(before);
    }
    statement.text(" ORDER BY ").text(key).text(" DESC").limit(limit)
}

/// Those of these invites that meet a filter, in no order.
pub(crate) fn matching<'a>(
    filter: &'a InviteFilter,
    ids: &'a [String],
    now: Timestamp,
) -> Statement<'a> {
    let ids = ids.iter().map(Value::from);
    let mut statement = select_invites().text(" WHERE id").one_of(ids);
    for (condition, value) in narrow_conditions(filter) {
        statement = statement.text(" AND ").text(condition);
        if let Some(value) = value {
            statement = statement.bind(value);
        }
    }
    statement = label_conditions(statement, &filter.labels);
    wide_conditions(statement, filter, "tenant", now)
}

fn label_conditions<'a>(
    mut statement: Statement<'a>,
    labels: &'a [(String, String)],
) -> Statement<'a> {
    for (name, value) in labels {
        statement = statement
            .text(" AND EXISTS (SELECT 1 FROM invite_labels AS other WHERE other.invite_id = id")
            .text(" AND other.name = ")
            .bind(name)
            .text(" AND other.value = ")
            .bind(value)
            .text(")");
    }
    statement
}

/// Conditions that few invites meet, each with an index of its own.
fn narrow_conditions(filter: &InviteFilter) -> Vec<(&'static str, Option<String>)> {
    let mut conditions = Vec::new();
    if let Some(id) = filter.batch_id {
        conditions.push(("batch_id = ", Some(id.to_string())));
    }
    if let Some(address) = &filter.address {
        conditions.push(("address = ", Some(address.as_str().to_owned())));
    }
    if let Some(id) = &filter.external_id {
        conditions.push(("external_id = ", Some(id.clone())));
    }
    if filter.unreadable {
        conditions.push((SET_ASIDE, None));
    }
    if filter.is_only(&[Status::Sending, Status::Unknown]) {
        conditions.push((HAS_HOLDER, None));
    }
    conditions
}

/// Conditions that many invites meet.
fn wide_conditions<'a>(
    mut statement: Statement<'a>,
    filter: &'a InviteFilter,
    tenant_column: &str,
    now: Timestamp,
) -> Statement<'a> {
    if let Some(tenant) = &filter.tenant {
        statement = statement.text(" AND ").text(tenant_column).text(" = ").bind(tenant);
    }
    if !filter.providers.is_empty() {
        let providers = filter.providers.iter().map(Value::from);
        statement = statement.text(" AND provider").one_of(providers);
    }
    if !filter.statuses.is_empty() {
        let statuses = filter.statuses.iter().map(|status| Value::from(status.as_str()));
        statement = status_now(statement.text(" AND "), now).one_of(statuses);
    }
    for (place, code) in filter.error_codes.iter().enumerate() {
        let text = if place == 0 { " AND (error LIKE " } else { " OR error LIKE " };
        // The code is what a stored reason begins with. A row whose reason is damaged is no error so.
        statement = statement.text(text).bind(format!("{{\"code\":\"{code}\",%"));
    }
    if !filter.error_codes.is_empty() {
        statement = statement.text(")");
    }
    let times = [
        (" AND created_at > ", filter.created_after),
        (" AND created_at < ", filter.created_before),
        (" AND updated_at > ", filter.updated_after),
        (" AND ended_at < ", filter.in_doubt_before),
    ];
    for (text, at) in times {
        if let Some(at) = at {
            statement = statement.text(text).bind(at);
        }
    }
    statement
}
