//! The record of changes: what administrators changed, and what was read across tenants. Entries are added and read, and
//! never changed; `chain` links them.

use invite_core::AuditId;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    Error, Store,
    actor::{Actor, NewAudit},
    chain,
    dialect::AUDIT_LOCK,
    statement::{Fields, Statement},
    unreadable::{Unreadable, or_unreadable, page, separate},
};

/// An entry of the record of changes: who changed, tried to change or read what.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct AuditEntry {
    /// Its id; a later entry has a higher one.
    pub id: AuditId,
    /// Its place in the record, from 1 on.
    #[schemars(range(min = 1))]
    pub sequence: i64,
    /// SHA-256 over the entry and the hash of the one before it.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub hash: String,
    /// When.
    pub at: Timestamp,
    #[expect(missing_docs, reason = "flattened, it would describe the whole entry")]
    #[serde(flatten)]
    pub change: NewAudit,
}

/// Some entries of the record.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, Debug, PartialEq)]
pub struct AuditPage {
    /// Newest first.
    pub entries: Vec<AuditEntry>,
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
            "SELECT id, sequence, hash, at, actor, source, action, target, before, after, note FROM audit_entries",
        );
        if let Some(before) = before {
            statement = statement.text(" WHERE id < ").bind(before);
        }
        // One more than asked for tells whether there is a next page.
        let statement = statement.text(" ORDER BY id DESC").limit(i64::from(limit) + 1);
        let rows = statement.all(&mut *self.lister().await?, or_unreadable(read_entry)).await?;
        let (rows, next) = page(rows, limit, |row| match row {
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
        self.write(vec![AUDIT_LOCK], change, |mut tx, change| {
            Box::pin(async move { chain::record(&mut tx, change).await })
        })
        .await
    }
}

fn read_entry(row: &mut Fields<'_>) -> Result<AuditEntry, Error> {
    Ok(AuditEntry {
        id: row.parsed()?,
        sequence: row.number()?,
        hash: row.string()?,
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
