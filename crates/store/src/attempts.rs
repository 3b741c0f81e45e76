//! Attempts: the calls made for invites, as they begin, end and are looked at.

use std::{collections::HashSet, fmt};

use invite_core::{AttemptId, InviteId, PreparedCall};
use jiff::Timestamp;
use sqlx::AnyConnection;

use crate::{
    Error, InviteRecord, Store,
    query::read_invites,
    rows::{json, place},
    statement::{Fields, Statement, Value, chunks},
};

/// An attempt before its call.
#[derive(Clone)]
pub struct NewAttempt {
    /// Its id.
    pub id: AttemptId,
    /// The configured provider.
    pub provider: String,
    /// `create`, `get`, `list`, `update_status`, `revoke` or `reconcile`.
    pub operation: &'static str,
    /// The frozen call of a create.
    pub call: Option<PreparedCall>,
    /// The revision of the provider document that it is made with.
    pub config_revision: i64,
    /// The W3C trace that it belongs to.
    pub traceparent: Option<String>,
    /// When it begins.
    pub started_at: Timestamp,
}

impl fmt::Debug for NewAttempt {
    /// Without the call, which holds personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewAttempt")
            .field("id", &self.id)
            .field("provider", &self.provider)
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}

/// How an attempt ended.
#[derive(Clone)]
pub struct AttemptEnd {
    /// Which attempt.
    pub id: AttemptId,
    /// When.
    pub finished_at: Timestamp,
    /// `succeeded`, or the word of an [`Outcome`](invite_core::Outcome).
    pub outcome: String,
    /// The status that the provider answered with.
    pub http_status: Option<u16>,
    /// What went wrong, in one line.
    pub detail: Option<String>,
    /// Where the request went; none leaves what is stored.
    pub target: Option<String>,
    /// The request's body, redacted; none leaves what is stored (a create's is in its call).
    pub request: Option<String>,
    /// The reply's body, redacted; none leaves what is stored.
    pub reply: Option<String>,
}

impl fmt::Debug for AttemptEnd {
    /// Without texts, which may be personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptEnd")
            .field("id", &self.id)
            .field("outcome", &self.outcome)
            .field("http_status", &self.http_status)
            .finish_non_exhaustive()
    }
}

/// One attempt, as seen from one of its invites.
#[derive(Clone, PartialEq)]
pub struct AttemptView {
    /// Its id.
    pub id: AttemptId,
    /// The configured provider.
    pub provider: String,
    /// `create`, `get`, `list`, `update_status`, `revoke` or `reconcile`.
    pub operation: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// `succeeded`, or the word of an [`Outcome`](invite_core::Outcome).
    pub outcome: Option<String>,
    /// The status that the provider answered with.
    pub http_status: Option<u16>,
    /// The revision of the provider document that it was made with.
    pub config_revision: i64,
    /// What went wrong, in one line.
    pub detail: Option<String>,
    /// The W3C trace that it belongs to.
    pub traceparent: Option<String>,
    /// The frozen call of a create.
    pub call: Option<PreparedCall>,
    /// Where the request went.
    pub target: Option<String>,
    /// The request's body, redacted.
    pub request: Option<String>,
    /// The reply's body, redacted.
    pub reply: Option<String>,
    /// The place in the call of the invite asked about.
    pub position: usize,
}

impl fmt::Debug for AttemptView {
    /// Without the exchange, which holds personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptView")
            .field("id", &self.id)
            .field("provider", &self.provider)
            .field("operation", &self.operation)
            .field("outcome", &self.outcome)
            .field("http_status", &self.http_status)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// The attempts made for an invite, oldest first.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn attempts(&self, invite: InviteId) -> Result<Vec<AttemptView>, Error> {
        let mut connection = self.reader().await?;
        Statement::new(
            // A create may be shared: each invite's belongs to the trace that it came with.
            "SELECT attempts.id, attempts.provider, operation, started_at, finished_at, outcome, \
             http_status, attempts.config_revision, detail, \
             coalesce(attempts.traceparent, batches.traceparent), call, target, request, reply, \
             position FROM attempt_invites JOIN attempts ON attempts.id = attempt_id \
             JOIN invites ON invites.id = invite_id JOIN batches ON batches.id = batch_id \
             WHERE invite_id = ",
        )
        .bind(invite.to_string())
        .text(" ORDER BY started_at, attempts.id")
        .all(&mut connection, read_attempt)
        .await
    }

    /// An attempt's invites, by their place in its call.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn attempt_invites(&self, attempt: AttemptId) -> Result<Vec<InviteRecord>, Error> {
        let mut connection = self.reader().await?;
        let ids: Vec<InviteId> =
            Statement::new("SELECT invite_id FROM attempt_invites WHERE attempt_id = ")
                .bind(attempt.to_string())
                .text(" ORDER BY position")
                .all(&mut connection, |row| row.parsed())
                .await?;
        read_invites(&mut connection, &ids, "").await
    }
}

fn read_attempt(row: &mut Fields<'_>) -> Result<AttemptView, Error> {
    Ok(AttemptView {
        id: row.parsed()?,
        provider: row.string()?,
        operation: row.string()?,
        started_at: row.time()?,
        finished_at: row.optional_time()?,
        outcome: row.optional_string()?,
        http_status: row.optional_count()?,
        config_revision: row.number()?,
        detail: row.optional_string()?,
        traceparent: row.optional_string()?,
        call: row.optional_json()?,
        target: row.optional_string()?,
        request: row.optional_string()?,
        reply: row.optional_string()?,
        position: row.count()?,
    })
}

pub(crate) async fn begin_attempt(
    connection: &mut AnyConnection,
    attempt: &NewAttempt,
    asked: &[InviteId],
    found: &[InviteRecord],
) -> Result<(), Error> {
    let call = attempt.call.as_ref();
    Statement::new(
        "INSERT INTO attempts (id, provider, operation, call, fingerprint, config_revision, \
         traceparent, started_at) VALUES (",
    )
    .values([
        attempt.id.to_string().into(),
        (&attempt.provider).into(),
        attempt.operation.into(),
        call.map_or(Value::Text(None), json),
        call.and_then(|call| call.fingerprint.as_deref()).into(),
        attempt.config_revision.into(),
        attempt.traceparent.as_deref().into(),
        attempt.started_at.into(),
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
        Statement::new("INSERT INTO attempt_invites (invite_id, attempt_id, position) VALUES ")
            .rows(rows)
            .execute(connection)
            .await?;
    }
    Ok(())
}

pub(crate) async fn end_attempt(
    connection: &mut AnyConnection,
    end: &AttemptEnd,
) -> Result<(), Error> {
    Statement::new("UPDATE attempts SET finished_at = ")
        .bind(end.finished_at)
        .text(", outcome = ")
        .bind(&end.outcome)
        .text(", http_status = ")
        .bind(end.http_status.map(i64::from))
        .text(", detail = ")
        .bind(end.detail.as_deref())
        .text(", target = coalesce(")
        .bind(end.target.as_deref())
        .text(", target), request = coalesce(")
        .bind(end.request.as_deref())
        .text(", request), reply = coalesce(")
        .bind(end.reply.as_deref())
        .text(", reply) WHERE id = ")
        .bind(end.id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}
