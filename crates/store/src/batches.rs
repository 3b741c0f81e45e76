//! Reading batches, as callers ask for them.

use std::collections::{BTreeMap, HashMap};

use invite_core::{BatchId, InviteId, Status};
use jiff::Timestamp;
use tokio::time::timeout;

use crate::{
    Error, InvitePage, Store,
    connections::InUse,
    error::LIST,
    query::status_now,
    rows::{SET_ASIDE, select_invites},
    statement::{Fields, Statement, chunks},
    values::Value,
};

/// One accepted request.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchView {
    pub id: BatchId,
    pub tenant: String,
    /// The revision of the provider document that it was resolved with.
    pub config_revision: i64,
    pub created_at: Timestamp,
    /// The existing invites that items were answered with, by the item's place in the request.
    pub duplicates: Vec<(usize, InviteId)>,
}

/// How far the invites of a batch have come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchCounts {
    /// How many are in which status; no entry for none.
    pub by_status: BTreeMap<Status, u64>,
    /// How many are set aside because they could not be read; they are in no status.
    pub unreadable: u64,
}

/// Some batches of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchPage {
    /// Newest first, without those that cannot be read.
    pub batches: Vec<BatchView>,
    /// Where the next page goes on: behind the batch of this id; none on the last.
    pub next: Option<String>,
}

/// More than so many rows, or batches, are read beside the async workers.
const FEW: usize = 8;

const COLUMNS: &str =
    "SELECT id, tenant, config_revision, created_at, duplicates FROM batches WHERE ";

impl Store {
    /// One batch.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn batch(&self, id: BatchId) -> Result<Option<BatchView>, Error> {
        Statement::new(COLUMNS)
            .text("id = ")
            .bind(id.to_string())
            .first(&mut *self.reader().await?, read_batch)
            .await
    }

    /// A page of at most `limit` (at least 1) batches of a tenant, or of all, newest first, those before the batch whose id
    /// is `before`.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn batches(
        &self,
        tenant: Option<&str>,
        before: Option<&str>,
        limit: u32,
    ) -> Result<BatchPage, Error> {
        let limit = limit.max(1);
        let mut statement = Statement::new(COLUMNS);
        statement = match tenant {
            Some(tenant) => statement.text("tenant = ").bind(tenant),
            None => statement.text("true"),
        };
        if let Some(before) = before {
            statement = statement.text(" AND id < ").bind(before);
        }
        // One more than asked for tells whether there is a next page.
        let statement = statement.text(" ORDER BY id DESC").limit(i64::from(limit) + 1);
        let read = |row: &mut Fields<'_>| {
            Ok((row.text_at(0).unwrap_or_default().to_owned(), read_batch(row).ok()))
        };
        let mut connection = self.lister().await?;
        let mut rows = in_time(statement.all(&mut connection, read)).await?;
        let has_more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| has_more).map(|(id, _)| id.clone());
        Ok(BatchPage { batches: rows.into_iter().filter_map(|(_, batch)| batch).collect(), next })
    }

    /// The invites that were stored with a batch, in the order of its request.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn batch_invites(&self, id: BatchId) -> Result<InvitePage, Error> {
        let statement = select_invites().text(" WHERE batch_id = ").bind(id.to_string());
        Ok(InvitePage::of(self.rows(statement.text(" ORDER BY item_index, id")).await?))
    }

    /// At most `limit` of them, those behind this place in the request and this id.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn batch_invites_behind(
        &self,
        id: BatchId,
        (index, behind): (usize, &str),
        limit: u32,
    ) -> Result<InvitePage, Error> {
        let statement = select_invites()
            .text(" WHERE batch_id = ")
            .bind(id.to_string())
            .text(" AND (item_index, id) > (")
            .values([Value::Number(i64::try_from(index).ok()), behind.into()])
            .text(") ORDER BY item_index, id")
            .limit(i64::from(limit));
        Ok(InvitePage::of(self.rows(statement).await?))
    }

    /// How many of the invites that were stored with a batch are in which status, as it reads now.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn batch_counts(&self, id: BatchId) -> Result<BatchCounts, Error> {
        Ok(self.counts_of_batches(&[id]).await?.remove(&id).unwrap_or_default())
    }

    /// The same of several; no entry for one without invites.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn counts_of_batches(
        &self,
        ids: &[BatchId],
    ) -> Result<HashMap<BatchId, BatchCounts>, Error> {
        let mut counts: HashMap<BatchId, BatchCounts> = HashMap::with_capacity(ids.len());
        let mut connection = self.reader_or_lister(ids.len()).await?;
        for chunk in chunks(ids) {
            let statement = Statement::new("SELECT batch_id, CASE WHEN ")
                .text(SET_ASIDE)
                .text(" THEN '' ELSE ");
            let statement = status_now(statement, self.clock_now())
                .text(" END AS status_now, count(*) FROM invites WHERE batch_id")
                .one_of(chunk.iter().map(|id| Value::from(id.to_string())))
                .text(" GROUP BY batch_id, status_now");
            let read =
                |row: &mut Fields<'_>| Ok((row.parsed()?, row.string()?, row.count::<u64>()?));
            for (id, word, count) in in_time(statement.all(&mut connection, read)).await? {
                let counts = counts.entry(id).or_default();
                match word.parse() {
                    Ok(status) => _ = counts.by_status.insert(status, count),
                    Err(_) => counts.unreadable += count,
                }
            }
        }
        Ok(counts)
    }
}

impl Store {
    /// The statuses of these invites, as they read now; `None` for one that cannot be read, and no entry for one that does
    /// not exist.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn statuses(
        &self,
        ids: &[InviteId],
    ) -> Result<HashMap<InviteId, Option<Status>>, Error> {
        let mut statuses = HashMap::with_capacity(ids.len());
        if ids.is_empty() {
            return Ok(statuses);
        }
        let mut connection = self.reader_or_lister(ids.len()).await?;
        for chunk in chunks(ids) {
            let statement =
                Statement::new("SELECT id, CASE WHEN ").text(SET_ASIDE).text(" THEN '' ELSE ");
            let statement = status_now(statement, self.clock_now())
                .text(" END FROM invites WHERE id")
                .one_of(chunk.iter().map(|id| Value::from(id.to_string())));
            let read = |row: &mut Fields<'_>| Ok((row.parsed()?, row.text()?.parse().ok()));
            statuses.extend(in_time(statement.all(&mut connection, read)).await?);
        }
        Ok(statuses)
    }

    /// For so many rows: a few are read at once.
    async fn reader_or_lister(&self, rows: usize) -> Result<InUse, Error> {
        if rows <= FEW { self.reader().await } else { self.lister().await }
    }
}

/// A part of a list that a caller asks for, which may take no longer than [`LIST`].
async fn in_time<T>(read: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(LIST, read).await.map_err(|_| Error::SlowList)?
}

fn read_batch(row: &mut Fields<'_>) -> Result<BatchView, Error> {
    Ok(BatchView {
        id: row.parsed()?,
        tenant: row.string()?,
        config_revision: row.number()?,
        created_at: row.time()?,
        duplicates: row.json()?,
    })
}
