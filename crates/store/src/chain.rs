//! The chain of hashes through the record of changes, which shows entries that were altered, removed or inserted.
//!
//! Whoever can write to the database can also make a new chain. That one differs from the hashes in the
//! log, where each entry is written when it is committed.

use std::{collections::BTreeMap, fmt};

use invite_core::AuditId;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::{
    Actor, Error, NewAudit, Store,
    connection::Connection,
    dialect::AUDIT_LOCK,
    statement::{Fields, Statement},
    values::{Value, storable},
    writer::Tx,
};

/// The `previous` hash of the first entry.
const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The action of the entry that is added when older ones are removed.
const TRIM: &str = "audit.trim";
/// Entries in one read of [`Store::verify_audit`].
const PAGE: i64 = 1000;
/// How many faults are reported.
const MAX_FAULTS: usize = 100;

/// An entry as the database holds it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) sequence: i64,
    previous: String,
    hash: String,
    id: String,
    at: i64,
    actor: String,
    source: String,
    action: String,
    target: String,
    before: Option<String>,
    after: Option<String>,
    note: Option<String>,
}

/// An entry's place in the chain and its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// Its place, from 1 on.
    pub sequence: i64,
    /// Its hash: SHA-256 in hexadecimal.
    pub hash: String,
}

/// What [`Store::verify_audit`] found.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditCheck {
    pub entries: u64,
    /// The place of the first; none if there is none.
    pub first: Option<i64>,
    /// The newest; none if there is none.
    pub head: Option<AuditHead>,
    /// What does not fit, the first hundred.
    pub faults: Vec<AuditFault>,
}

/// Something in the record of changes that is not as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditFault {
    /// What it says is not what its hash was made of.
    Altered(i64),
    /// It does not follow the one before it.
    Unlinked(i64),
    /// There are none from one place to another.
    Missing(i64, i64),
    /// Entries before this one are gone, and none says that they were removed because of their age.
    Beheaded(i64),
    /// The log shows another hash for it.
    Differs(i64),
    /// The log shows it, but the record ends before it.
    CutOff(i64),
}

impl fmt::Display for AuditFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered(at) => {
                write!(f, "entry {at} was altered: it does not say what its hash was made of")
            }
            Self::Unlinked(at) => write!(f, "entry {at} does not follow the one before it"),
            Self::Missing(from, to) if from == to => write!(f, "entry {from} is missing"),
            Self::Missing(from, to) => write!(f, "the entries {from} to {to} are missing"),
            Self::Beheaded(first) => write!(
                f,
                "the entries before {first} are missing, and none says that they were removed for \
                 their age"
            ),
            Self::Differs(at) => write!(f, "entry {at} is not the one that the log shows"),
            Self::CutOff(at) => {
                write!(f, "the log shows entry {at}, and the record ends before it")
            }
        }
    }
}

/// Records a change in the transaction that makes it, which must hold [`AUDIT_LOCK`].
pub(crate) async fn record(tx: &mut Tx<'_>, change: &NewAudit) -> Result<(), Error> {
    let link = Link::next(tx.connection, AuditId::generate(), tx.now, change).await?;
    link.insert(tx.connection).await?;
    tx.committed.push(Box::new(move || link.log()));
    Ok(())
}

impl Link {
    /// The entry that follows the newest one, which has to be read under [`AUDIT_LOCK`].
    pub(crate) async fn next(
        connection: &mut Connection,
        id: AuditId,
        at: Timestamp,
        change: &NewAudit,
    ) -> Result<Self, Error> {
        let head = Statement::new(
            "SELECT sequence, hash FROM audit_entries ORDER BY sequence DESC LIMIT 1",
        );
        let head = head.first(connection, |row| Ok((row.number()?, row.string()?))).await?;
        let (last, previous) = head.unwrap_or_else(|| (0, GENESIS.to_owned()));
        let text = |text: &str| storable(text).into_owned();
        let part = |part: &Option<serde_json::Value>| part.as_ref().map(ToString::to_string);
        let mut link = Self {
            sequence: last + 1,
            previous,
            hash: String::new(),
            id: id.to_string(),
            at: at.as_millisecond(),
            actor: text(&change.actor.name),
            source: text(&change.actor.source),
            action: text(&change.action),
            target: text(&change.target),
            before: part(&change.before),
            after: part(&change.after),
            note: change.note.as_deref().map(text),
        };
        link.hash = link.hashed();
        Ok(link)
    }

    /// SHA-256 of a JSON array without white space, so that anybody can compute it.
    fn hashed(&self) -> String {
        let of = serde_json::json!([
            self.previous,
            self.sequence,
            self.id,
            self.at,
            self.actor,
            self.source,
            self.action,
            self.target,
            self.before,
            self.after,
            self.note,
        ]);
        let text = of.to_string();
        base16ct::lower::encode_string(&Sha256::digest(text))
    }

    pub(crate) async fn insert(&self, connection: &mut Connection) -> Result<(), Error> {
        let values: [Value<'_>; 12] = [
            (&self.id).into(),
            self.sequence.into(),
            (&self.previous).into(),
            (&self.hash).into(),
            self.at.into(),
            (&self.actor).into(),
            (&self.source).into(),
            (&self.action).into(),
            (&self.target).into(),
            self.before.as_deref().into(),
            self.after.as_deref().into(),
            self.note.as_deref().into(),
        ];
        Statement::new(
            "INSERT INTO audit_entries (id, sequence, previous, hash, at, actor, source, action, \
             target, before, after, note) VALUES (",
        )
        .values(values)
        .text(")")
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Writes all of it to the log, from where it can be restored if it is gone from the database.
    pub(crate) fn log(&self) {
        tracing::event!(
            target: "audit",
            tracing::Level::INFO,
            audit.sequence = self.sequence,
            audit.hash = self.hash,
            audit.previous = self.previous,
            audit.id = self.id,
            audit.at = self.at,
            audit.actor = self.actor,
            audit.source = self.source,
            audit.action = self.action,
            audit.target = self.target,
            audit.before = self.before,
            audit.after = self.after,
            audit.note = self.note,
            // `audit verify` finds the line in a log by this text.
            "a change or a read was recorded"
        );
    }
}

/// A walk along the chain, with what it has found so far.
#[derive(Default)]
struct Walk {
    check: AuditCheck,
    /// The last entries that were removed for their age, as later entries say.
    trimmed: Vec<AuditHead>,
    /// The entry before the first, as the first one says.
    before_first: Option<AuditHead>,
}

impl Walk {
    fn report(&mut self, fault: AuditFault) {
        if self.check.faults.len() < MAX_FAULTS {
            self.check.faults.push(fault);
        }
    }

    fn step(&mut self, link: &Link, logged: &BTreeMap<i64, Vec<String>>) {
        let at = link.sequence;
        match self.check.head.take() {
            None => {
                self.check.first = Some(at);
                self.before_first =
                    Some(AuditHead { sequence: at - 1, hash: link.previous.clone() });
            }
            Some(head) if head.sequence + 1 < at => {
                self.report(AuditFault::Missing(head.sequence + 1, at - 1));
            }
            Some(head) if head.hash != link.previous => self.report(AuditFault::Unlinked(at)),
            Some(_) => {}
        }
        if link.hashed() != link.hash {
            self.report(AuditFault::Altered(at));
        }
        if logged.get(&at).is_some_and(|hashes| hashes.iter().any(|hash| *hash != link.hash)) {
            self.report(AuditFault::Differs(at));
        }
        if link.action == TRIM {
            self.trimmed.extend(link.after.as_deref().and_then(read_trim));
        }
        self.check.entries += 1;
        self.check.head = Some(AuditHead { sequence: at, hash: link.hash.clone() });
    }

    fn finish(mut self, logged: &BTreeMap<i64, Vec<String>>) -> AuditCheck {
        if let Some(before) = self.before_first.take() {
            let is_start = before.sequence == 0 && before.hash == GENESIS;
            if !is_start && !self.trimmed.contains(&before) {
                self.report(AuditFault::Beheaded(before.sequence + 1));
            }
        }
        let last = self.check.head.as_ref().map_or(0, |head| head.sequence);
        if let Some((newest, _)) = logged.last_key_value().filter(|(newest, _)| **newest > last) {
            self.report(AuditFault::CutOff(*newest));
        }
        self.check
    }
}

fn read_trim(after: &str) -> Option<AuditHead> {
    let after: serde_json::Value = serde_json::from_str(after).ok()?;
    Some(AuditHead {
        sequence: after["through"].as_i64()?,
        hash: after["hash"].as_str()?.to_owned(),
    })
}

impl Store {
    /// Checks the whole record of changes. `logged` are the hashes that the log shows, by place; those of entries that were
    /// removed for their age are ignored.
    ///
    /// # Errors
    /// The database cannot be used, or [`Error::Corrupt`].
    pub async fn verify_audit(
        &self,
        logged: &BTreeMap<i64, Vec<String>>,
    ) -> Result<AuditCheck, Error> {
        let mut walk = Walk::default();
        let mut last = i64::MIN;
        loop {
            let links = Statement::new(
                "SELECT sequence, previous, hash, id, at, actor, source, action, target, before, \
                 after, note FROM audit_entries WHERE sequence > ",
            )
            .bind(last)
            .text(" ORDER BY sequence")
            .limit(PAGE)
            .all(&mut *self.lister().await?, read_link)
            .await?;
            let Some(newest) = links.last() else { return Ok(walk.finish(logged)) };
            last = newest.sequence;
            links.iter().for_each(|link| walk.step(link, logged));
        }
    }

    /// Removes the oldest entries, at most `most` (at least 1), that were made before a time, but never
    /// the newest; how many. An entry says where the record begins since.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn trim_audit(&self, before: Timestamp, most: u32) -> Result<u64, Error> {
        self.write(vec![AUDIT_LOCK], (), move |mut tx, ()| {
            Box::pin(async move {
                let oldest = Statement::new(
                    "SELECT sequence, hash, at FROM audit_entries WHERE sequence < \
                     (SELECT max(sequence) FROM audit_entries) ORDER BY sequence",
                )
                .limit(i64::from(most.max(1)))
                .all(tx.connection, |row| Ok((row.number()?, row.string()?, row.number()?)))
                .await?;
                let is_old = |(_, _, at): &&(i64, String, i64)| *at < before.as_millisecond();
                let old: Vec<_> = oldest.iter().take_while(is_old).collect();
                let Some((through, hash, _)) = old.last() else { return Ok(0) };
                Statement::new("DELETE FROM audit_entries WHERE sequence <= ")
                    .bind(*through)
                    .execute(tx.connection)
                    .await?;
                let actor = Actor { name: "retention".to_owned(), source: "gateway".to_owned() };
                let change = NewAudit {
                    after: Some(serde_json::json!({ "through": through, "hash": hash })),
                    ..NewAudit::new(actor, TRIM, format!("{} to {through}", oldest[0].0))
                };
                record(&mut tx, &change).await?;
                Ok(old.len() as u64)
            })
        })
        .await
    }
}

fn read_link(row: &mut Fields<'_>) -> Result<Link, Error> {
    Ok(Link {
        sequence: row.number()?,
        previous: row.string()?,
        hash: row.string()?,
        id: row.string()?,
        at: row.number()?,
        actor: row.string()?,
        source: row.string()?,
        action: row.string()?,
        target: row.string()?,
        before: row.optional_string()?,
        after: row.optional_string()?,
        note: row.optional_string()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_an_entry_is_what_anybody_computes_of_it() {
        let link = Link {
            sequence: 1,
            previous: GENESIS.to_owned(),
            hash: String::new(),
            id: "aud_1".to_owned(),
            at: 1_000,
            actor: "file".to_owned(),
            source: "file".to_owned(),
            action: "config.revise".to_owned(),
            target: "1".to_owned(),
            before: None,
            after: Some(r#"{"revision":1}"#.to_owned()),
            note: None,
        };
        assert_eq!(
            link.hashed(),
            "cdeb2128cf6315533125b75c0134e1f512121067b15bebd668471a6cee83d8c1"
        );
    }
}
