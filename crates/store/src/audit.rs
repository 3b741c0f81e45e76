//! What administrators changed: entries are added and read, and nothing changes or removes one.

use std::sync::Arc;

use invite_core::AuditId;
use jiff::Timestamp;
use serde_json::Value as Json;

use crate::{
    Error, Store,
    rows::json,
    statement::{Fields, Statement, Value},
    unreadable::{Unreadable, apart, cut, separate},
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
    /// What was done, in a word: `config.revise`, `key.create`, `key.change`, `key.revoke`, `invites.redrive`,
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
    /// Those that cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Where the next page goes on: behind the entry of this id; none on the last.
    pub next: Option<String>,
}

impl Store {
    /// A page of at most `limit` (at least 1) entries, newest first, those before the one whose id is
    /// `before`.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn audit(&self, before: Option<String>, limit: u32) -> Result<AuditPage, Error> {
        let limit = limit.max(1);
        let mut statement = Statement::new(
            "SELECT id, at, actor, source, action, target, before, after, note FROM audit_entries",
        );
        if let Some(before) = before {
            statement = statement.text(" WHERE id < ").bind(before);
        }
        // One more than asked for tells whether there is a next page.
        let statement = statement.text(" ORDER BY id DESC LIMIT ").bind(i64::from(limit) + 1);
        let rows = statement.all(&mut *self.lister().await?, apart(read_entry)).await?;
        let (rows, next) = cut(rows, limit, |row| match row {
            Ok(entry) => entry.id.to_string(),
            Err(unreadable) => unreadable.id.clone(),
        });
        let (entries, unreadable) = separate(rows);
        Ok(AuditPage { entries, unreadable, next })
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
