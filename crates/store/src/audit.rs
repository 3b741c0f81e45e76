//! What administrators changed: entries are added and read, and nothing changes or removes one.

use std::sync::Arc;

use invite_core::AuditId;
use jiff::Timestamp;
use serde_json::Value as Json;

use crate::{
    Error, Store,
    rows::json,
    statement::{Fields, Statement, Value},
    writer::Tx,
};

/// Who makes a change, and by which way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// An API key's id, or what else it is: `file`, `command line`.
    pub name: String,
    /// `api`, `file`, `restore` or `cli`.
    pub source: String,
}

/// A change to be recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct NewAudit {
    /// Who made it.
    pub actor: Actor,
    /// What was done, in a word: `config.revise`, `key.create`, `key.revoke`, `invites.redrive`,
    /// `invite.status`, `invite.revoke`, `invite.retry`.
    pub action: String,
    /// To what: a revision's number, the id of a key or an invite, the query of a filter.
    pub target: String,
    /// What there was before; without secrets, documents and personal data.
    pub before: Option<Json>,
    /// What there is now; likewise.
    pub after: Option<Json>,
    /// Why, in the words of who made it.
    pub note: Option<String>,
}

/// A change as recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// Its id; a later entry has a higher one.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// What.
    pub change: NewAudit,
}

/// Some entries of the record.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditPage {
    /// Newest first.
    pub entries: Vec<AuditEntry>,
    /// Where the next page goes on; none on the last.
    pub next: Option<AuditId>,
}

impl Store {
    /// A page of at most `limit` (at least 1) entries, newest first, those before `before`.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn audit(&self, before: Option<AuditId>, limit: u32) -> Result<AuditPage, Error> {
        let limit = limit.max(1);
        let mut statement = Statement::new(
            "SELECT id, at, actor, source, action, target, before, after, note FROM audit_entries",
        );
        if let Some(before) = before {
            statement = statement.text(" WHERE id < ").bind(before.to_string());
        }
        // One more than asked for tells whether there is a next page.
        let statement = statement.text(" ORDER BY id DESC LIMIT ").bind(i64::from(limit) + 1);
        let mut entries = statement.all(&mut *self.reader().await?, read_entry).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let next = (entries.len() > limit).then(|| entries[limit - 1].id);
        entries.truncate(limit);
        Ok(AuditPage { entries, next })
    }

    /// Records a change that is not one of the store's own.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn record_audit(&self, change: NewAudit) -> Result<(), Error> {
        let change = Arc::new(change);
        self.write(Vec::new(), move |mut tx| {
            let change = Arc::clone(&change);
            Box::pin(async move { record(&mut tx, &change).await })
        })
        .await
    }
}

/// Records a change in the transaction that makes it.
pub(crate) async fn record(tx: &mut Tx<'_>, change: &NewAudit) -> Result<(), Error> {
    let part = |part: &Option<Json>| part.as_ref().map_or(Value::Text(None), json);
    Statement::new(
        "INSERT INTO audit_entries \
         (id, at, actor, source, action, target, before, after, note) VALUES (",
    )
    .values([
        AuditId::generate().to_string().into(),
        tx.now.into(),
        (&change.actor.name).into(),
        (&change.actor.source).into(),
        (&change.action).into(),
        (&change.target).into(),
        part(&change.before),
        part(&change.after),
        change.note.as_deref().into(),
    ])
    .text(")")
    .execute(tx.connection)
    .await?;
    Ok(())
}

fn read_entry(row: &mut Fields<'_>) -> Result<AuditEntry, Error> {
    Ok(AuditEntry {
        id: row.parsed()?,
        at: row.time()?,
        change: NewAudit {
            actor: Actor { name: row.string()?, source: row.string()? },
            action: row.string()?,
            target: row.string()?,
            before: row.optional_json()?,
            after: row.optional_json()?,
            note: row.optional_string()?,
        },
    })
}
