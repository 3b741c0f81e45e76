//! Attempts: the calls made for invites, as they begin, end and are read.

use std::collections::{BTreeSet, HashSet};

use invite_core::{AttemptId, AttemptOutcome, InviteId, Operation, PreparedCall};
use jiff::Timestamp;

use crate::{
    Error, InviteRecord, Store,
    connection::Connection,
    debug::debug_only,
    rows::{COLUMNS, json, place},
    statement::{Fields, Statement, chunks},
    unreadable::{Unreadable, or_unreadable, page, separate, with_stand_ins},
    values::Value,
};

/// An attempt before its call.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone)]
pub struct NewAttempt {
    pub id: AttemptId,
    pub provider: String,
    pub operation: Operation,
    /// The frozen call of a create.
    pub call: Option<PreparedCall>,
    /// The revision of the provider document that it is made with.
    pub config_revision: i64,
    /// The W3C trace that it belongs to.
    pub traceparent: Option<String>,
    pub started_at: Timestamp,
}

debug_only!(NewAttempt: id, provider, operation);

/// How an attempt ended.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone)]
pub struct AttemptEnd {
    pub id: AttemptId,
    pub finished_at: Timestamp,
    pub outcome: AttemptOutcome,
    /// The status that the provider answered with.
    pub http_status: Option<u16>,
    /// What went wrong, in one line.
    pub detail: Option<String>,
    /// Where the request went; none leaves what is stored.
    pub target: Option<String>,
    /// The provider's own id of the request; none leaves what is stored.
    pub provider_request_id: Option<String>,
    /// The request's body, redacted; none leaves what is stored (a create's is in its call).
    pub request: Option<String>,
    /// The reply's body, redacted; none leaves what is stored.
    pub reply: Option<String>,
    /// Provider ids of new invites that the reply named without showing whose they are.
    pub unpaired: Vec<String>,
}

impl AttemptEnd {
    /// The same without texts, which may tell of a person.
    pub(crate) fn without_texts(&self) -> Self {
        Self {
            detail: None,
            target: None,
            provider_request_id: None,
            request: None,
            reply: None,
            unpaired: Vec::new(),
            ..self.clone()
        }
    }
}

debug_only!(AttemptEnd: id, outcome, http_status);

/// One attempt, as seen from one of its invites.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, PartialEq)]
pub struct AttemptView {
    pub id: AttemptId,
    pub provider: String,
    pub operation: Operation,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub outcome: Option<AttemptOutcome>,
    pub http_status: Option<u16>,
    /// The revision of the provider document that it was made with.
    pub config_revision: i64,
    /// What went wrong, in one line.
    pub detail: Option<String>,
    /// The W3C trace that it belongs to.
    pub traceparent: Option<String>,
    /// The frozen call of a create.
    pub call: Option<PreparedCall>,
    /// Where the request went: the method and the full address.
    pub target: Option<String>,
    /// The provider's own id of the request.
    pub provider_request_id: Option<String>,
    /// The request's body, redacted.
    pub request: Option<String>,
    /// The reply's body, redacted.
    pub reply: Option<String>,
    /// Provider ids of new invites that the reply named without showing whose they are.
    pub unpaired: Vec<String>,
    /// It was for invites of several tenants, or for some that could not be read, so that what the provider said may be
    /// about another tenant's.
    pub is_shared: bool,
    /// The invite's place in the call.
    pub position: usize,
}

debug_only!(AttemptView: id, provider, operation, outcome, http_status);

/// Some of an invite's attempts.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptPage {
    /// Oldest first.
    pub attempts: Vec<AttemptView>,
    pub unreadable: Vec<Unreadable>,
    /// Where the next page goes on; none on the last.
    pub next: Option<String>,
}

/// How many attempts are kept for an invite of each operation that only asks, the newest.
const KEPT: i64 = 20;

impl Store {
    /// The create attempts of an invite, oldest first, each with its frozen call; `request` and
    /// `reply` are none.
    ///
    /// # Errors
    /// The database cannot be used, or [`Error::Corrupt`] if one cannot be read: conclusions from only
    /// some of them could be wrong.
    pub async fn creates(&self, invite: InviteId) -> Result<Vec<AttemptView>, Error> {
        select_attempts("call, NULL, NULL", invite)
            .text(" AND operation = 'create' ORDER BY attempt_id")
            .all(&mut *self.reader().await?, read_attempt)
            .await
    }

    /// A page of at most `limit` (at least 1) attempts made for an invite, oldest first, those after
    /// the attempt `after`. Of the calls that only ask (`get`, `list`, `reconcile`) the newest 20 each
    /// are kept. `call`, `request` and `reply` are none unless `with_exchange`.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn attempts(
        &self,
        invite: InviteId,
        after: Option<String>,
        limit: u32,
        with_exchange: bool,
    ) -> Result<AttemptPage, Error> {
        let limit = limit.max(1);
        let exchange = if with_exchange { "call, request, reply" } else { "NULL, NULL, NULL" };
        let mut statement = select_attempts(exchange, invite);
        if let Some(after) = after {
            statement = statement.text(" AND attempt_id > ").bind(after);
        }
        // One more than asked for tells whether there is a next page.
        let rows = statement
            .text(" ORDER BY attempt_id")
            .limit(i64::from(limit) + 1)
            .all(&mut *self.lister().await?, or_unreadable(read_attempt))
            .await?;
        let (rows, next) = page(rows, limit, |row| match row {
            Ok(attempt) => attempt.id.to_string(),
            Err(unreadable) => unreadable.id.clone(),
        });
        let (attempts, unreadable) = separate(rows);
        Ok(AttemptPage { attempts, unreadable, next })
    }

    /// An attempt's invites, by their place in its call. In place of one that cannot be read there is one that has ended, so
    /// that the others keep their places; that one is never written.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn attempt_invites(&self, attempt: AttemptId) -> Result<Vec<InviteRecord>, Error> {
        let statement = Statement::new("SELECT ")
            .text(COLUMNS)
            .text(
                ", unreadable FROM attempt_invites LEFT JOIN invites ON invites.id = invite_id \
                 WHERE attempt_id = ",
            )
            .bind(attempt.to_string())
            .text(" ORDER BY position");
        Ok(with_stand_ins(self.rows(statement).await?))
    }
}

/// `SELECT … WHERE invite_id = …`, to be continued. `exchange` are the columns call, request and reply, or NULLs for them,
/// as they may be large.
fn select_attempts(exchange: &str, invite: InviteId) -> Statement<'static> {
    Statement::new(
        // Invites may share a create, which belongs to the trace of each one's own request.
        "SELECT attempts.id, attempts.provider, operation, started_at, finished_at, outcome, \
         http_status, attempts.config_revision, detail, \
         coalesce(attempts.traceparent, batches.traceparent), target, provider_request_id, unpaired, \
         shared, position, ",
    )
    .text(exchange)
    .text(" FROM attempt_invites JOIN attempts ON attempts.id = attempt_id ")
    .text("JOIN invites ON invites.id = invite_id LEFT JOIN batches ON batches.id = batch_id ")
    .text("WHERE invite_id = ")
    .bind(invite.to_string())
}

fn read_attempt(row: &mut Fields<'_>) -> Result<AttemptView, Error> {
    Ok(AttemptView {
        id: row.parsed()?,
        provider: row.string()?,
        operation: row.parsed()?,
        started_at: row.time()?,
        finished_at: row.optional_time()?,
        outcome: row.optional_parsed()?,
        http_status: row.optional_count()?,
        config_revision: row.number()?,
        detail: row.optional_string()?,
        traceparent: row.optional_string()?,
        target: row.optional_string()?,
        provider_request_id: row.optional_string()?,
        unpaired: row.optional_json()?.unwrap_or_default(),
        is_shared: row.flag()?,
        position: row.count()?,
        call: row.optional_json()?,
        request: row.optional_string()?,
        reply: row.optional_string()?,
    })
}

pub(crate) async fn begin_attempt(
    connection: &mut Connection,
    attempt: &NewAttempt,
    asked: &[InviteId],
    found: &[InviteRecord],
) -> Result<(), Error> {
    let call = attempt.call.as_ref();
    let is_shared =
        found.len() < asked.len() || found.iter().any(|invite| invite.tenant != found[0].tenant);
    Statement::new(
        "INSERT INTO attempts (id, provider, operation, call, fingerprint, config_revision, \
         traceparent, started_at, shared) VALUES (",
    )
    .values([
        attempt.id.to_string().into(),
        (&attempt.provider).into(),
        attempt.operation.as_str().into(),
        call.map_or(Value::Text(None), json),
        call.and_then(|call| call.fingerprint.as_deref()).into(),
        attempt.config_revision.into(),
        attempt.traceparent.as_deref().into(),
        attempt.started_at.into(),
        is_shared.into(),
    ])
    .text(")")
    .execute(connection)
    .await?;
    let found: HashSet<InviteId> = found.iter().map(|invite| invite.id).collect();
    let links: Vec<(usize, &InviteId)> =
        asked.iter().enumerate().filter(|(_, id)| found.contains(id)).collect();
    for chunk in chunks(&links) {
        let rows = chunk.iter().map(|(position, invite)| {
            [invite.to_string().into(), attempt.id.to_string().into(), place(*position)]
        });
        Statement::new(
            "INSERT INTO attempt_invites (invite_id, attempt_id, position) SELECT * FROM ",
        )
        .rows(rows)
        .execute(connection)
        .await?;
    }
    if attempt.operation.is_question() {
        let invites: Vec<&InviteId> = links.into_iter().map(|(_, invite)| invite).collect();
        forget_old_questions(connection, attempt.operation, &invites).await?;
    }
    Ok(())
}

/// Deletes all but the newest [`KEPT`] attempts of this operation from each of these invites, and
/// those attempts that no invite has any more.
async fn forget_old_questions(
    connection: &mut Connection,
    operation: Operation,
    invites: &[&InviteId],
) -> Result<(), Error> {
    let mut forgotten = BTreeSet::new();
    for chunk in chunks(invites) {
        let attempts: Vec<String> = Statement::new(
            "DELETE FROM attempt_invites WHERE (invite_id, attempt_id) IN (SELECT invite_id, \
             attempt_id FROM (SELECT invite_id, attempt_id, row_number() OVER (PARTITION BY \
             invite_id ORDER BY attempt_id DESC) AS age FROM attempt_invites JOIN attempts \
             ON attempts.id = attempt_id WHERE invite_id",
        )
        .one_of(chunk.iter().map(|invite| Value::from(invite.to_string())))
        .text(" AND operation = ")
        .bind(operation.as_str())
        .text(") AS ranked WHERE age > ")
        .bind(KEPT)
        .text(") RETURNING attempt_id")
        .all(connection, |row| row.string())
        .await?;
        forgotten.extend(attempts);
    }
    delete_without_invites(connection, &Vec::from_iter(forgotten)).await
}

/// Deletes those of these attempts that no invite has any more.
pub(crate) async fn delete_without_invites(
    connection: &mut Connection,
    attempts: &[String],
) -> Result<(), Error> {
    for chunk in chunks(attempts) {
        Statement::new("DELETE FROM attempts WHERE id")
            .one_of(chunk.iter().map(Value::from))
            .text(" AND NOT EXISTS (SELECT 1 FROM attempt_invites WHERE attempt_id = attempts.id)")
            .execute(connection)
            .await?;
    }
    Ok(())
}

pub(crate) async fn end_attempt(
    connection: &mut Connection,
    end: &AttemptEnd,
    only_once: bool,
) -> Result<(), Error> {
    let unpaired = Some(&end.unpaired).filter(|ids| !ids.is_empty());
    Statement::with(
        "UPDATE attempts SET finished_at = ?, outcome = ?, http_status = ?, detail = ?, \
         target = coalesce(?, target), provider_request_id = coalesce(?, provider_request_id), \
         request = coalesce(?, request), \
         reply = coalesce(?, reply), unpaired = ? WHERE id = ?",
        [
            end.finished_at.into(),
            end.outcome.as_str().into(),
            end.http_status.map(i64::from).into(),
            end.detail.as_deref().into(),
            end.target.as_deref().into(),
            end.provider_request_id.as_deref().into(),
            end.request.as_deref().into(),
            end.reply.as_deref().into(),
            unpaired.map_or(Value::Text(None), json),
            end.id.to_string().into(),
        ],
    )
    .text(if only_once { " AND finished_at IS NULL" } else { "" })
    .execute(connection)
    .await?;
    Ok(())
}
