//! Revisions of the provider document, and the unfinished invites that keep a provider in it.

use std::collections::BTreeMap;

use invite_core::EventType;
use jiff::Timestamp;
use serde_json::json;

use crate::{
    Actor, Error, Store,
    actor::NewAudit,
    chain,
    connection::Connection,
    dialect::{AUDIT_LOCK, Dialect, REVISION_LOCK},
    epochs::raise_epochs,
    rows::LIVE,
    statement::{Fields, Statement},
    values::Value,
    writer::Tx,
};

/// What is returned for a document that cannot be read; it is no TOML, so the gate refuses it.
const UNREADABLE: &str = "(this document cannot be read from the database)";

/// One version of the provider document.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// 1, 2, 3 …
    pub revision: i64,
    pub document: String,
    /// Where it came from: `file`, `api` or `restore`.
    pub source: String,
    pub actor: Option<String>,
    pub note: Option<String>,
    /// The revision whose document it is again, if it came from a restore.
    pub restored: Option<i64>,
    pub created_at: Timestamp,
}

/// A document that is to be the next revision.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRevision {
    /// The document, byte for byte.
    pub document: String,
    /// Who brings it, and from where.
    pub actor: Actor,
    pub note: Option<String>,
    /// The revision that is restored by it.
    pub restored: Option<i64>,
}

/// Some revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionPage {
    /// Newest first.
    pub revisions: Vec<Revision>,
    /// Where the next page goes on; none on the last.
    pub next: Option<i64>,
}

/// What became of a document that was to be the next revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is this one.
    Revision(Revision),
    /// Another one was first, and nothing was stored.
    Outdated {
        /// The newest one; 0 if there is none.
        latest: i64,
    },
    /// One of the providers that it takes away still has work, and nothing was stored.
    Unfinished,
}

impl Store {
    /// The newest revision.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn latest_revision(&self) -> Result<Option<Revision>, Error> {
        select()
            .text(" ORDER BY revision DESC LIMIT 1")
            .first(&mut *self.reader().await?, read_revision)
            .await
    }

    /// The number of the newest revision; 0 if there is none.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn latest_revision_number(&self) -> Result<i64, Error> {
        find_latest(&mut *self.reader().await?).await
    }

    /// The newest revision that came from `source`.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn latest_revision_from(&self, source: &str) -> Result<Option<Revision>, Error> {
        select()
            .text(" WHERE source = ")
            .bind(source)
            .text(" ORDER BY revision DESC LIMIT 1")
            .first(&mut *self.reader().await?, read_revision)
            .await
    }

    /// One revision.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn revision(&self, revision: i64) -> Result<Option<Revision>, Error> {
        select()
            .text(" WHERE revision = ")
            .bind(revision)
            .first(&mut *self.reader().await?, read_revision)
            .await
    }

    /// A page of at most `limit` (at least 1) revisions, newest first, those before `before`.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn revisions(&self, before: Option<i64>, limit: u32) -> Result<RevisionPage, Error> {
        let limit = limit.max(1);
        let mut statement = select();
        if let Some(before) = before {
            statement = statement.text(" WHERE revision < ").bind(before);
        }
        // One more than asked for tells whether there is a next page.
        let statement = statement.text(" ORDER BY revision DESC").limit(i64::from(limit) + 1);
        let mut revisions = statement.all(&mut *self.reader().await?, read_revision).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let next = (revisions.len() > limit).then(|| revisions[limit - 1].revision);
        revisions.truncate(limit);
        Ok(RevisionPage { revisions, next })
    }

    /// Stores a document as the next revision, with its entry in the record of changes; the numbers have no gaps. `expected` is
    /// the newest revision that the document was made for, `removed` are the providers that it takes away, which must have
    /// no [`unfinished`](Self::unfinished) invites. Afterwards every lane has to be asked for again before a claim.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn add_revision(
        &self,
        new: NewRevision,
        expected: Option<i64>,
        removed: &[String],
    ) -> Result<Added, Error> {
        let data = (new, removed.to_vec());
        self.write(vec![AUDIT_LOCK, REVISION_LOCK], data, move |mut tx, (new, removed)| {
            Box::pin(async move {
                let latest = find_latest(tx.connection).await?;
                if expected.is_some_and(|expected| expected != latest) {
                    return Ok(Added::Outdated { latest });
                }
                if !count_unfinished(tx.connection, removed).await?.is_empty() {
                    return Ok(Added::Unfinished);
                }
                let NewRevision { document, actor, note, restored } = new.clone();
                let revision = Revision {
                    revision: latest + 1,
                    document,
                    source: actor.source.clone(),
                    actor: Some(actor.name.clone()),
                    note: note.clone(),
                    restored,
                    created_at: tx.now,
                };
                insert(tx.connection, &revision).await?;
                *tx.newest = None;
                raise_epochs(tx.connection).await?;
                let number = revision.revision;
                let after = match restored {
                    Some(restored) => json!({ "revision": number, "restored": restored }),
                    None => json!({ "revision": number }),
                };
                let change = NewAudit {
                    before: (latest > 0).then(|| json!({ "revision": latest })),
                    after: Some(after),
                    note,
                    ..NewAudit::new(actor, "config.revise", number.to_string())
                };
                chain::record(&mut tx, &change).await?;
                let told = json!({
                    "revision": number, "source": revision.source, "actor": revision.actor,
                    "restored": restored,
                });
                tx.events.tell(EventType::ConfigRevised, None, number.to_string(), &told);
                Ok(Added::Revision(revision))
            })
        })
        .await
    }

    /// How many invites each of these providers has that it still must do something about: `queued`,
    /// `sending`, `awaiting_approval`, or `unknown` with look-ups left. No entry for none.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn unfinished(&self, providers: &[String]) -> Result<BTreeMap<String, u64>, Error> {
        count_unfinished(&mut *self.scanner().await?, providers).await
    }
}

async fn count_unfinished(
    connection: &mut Connection,
    providers: &[String],
) -> Result<BTreeMap<String, u64>, Error> {
    if providers.is_empty() {
        return Ok(BTreeMap::new());
    }
    let statement = Statement::new("SELECT provider, count(*) FROM invites WHERE ")
        // Redundant, but the index `invites_live` can be used only with it.
        .text(LIVE)
        .text(
            " AND (status IN ('queued', 'sending', 'awaiting_approval') \
             OR (status = 'unknown' AND next_attempt_at IS NOT NULL)) AND provider",
        )
        .one_of(providers.iter().map(Value::from))
        .text(" GROUP BY provider");
    let counts = statement.all(connection, |row| Ok((row.string()?, row.count()?))).await?;
    Ok(counts.into_iter().collect())
}

async fn insert(connection: &mut Connection, revision: &Revision) -> Result<(), Error> {
    Statement::new(
        "INSERT INTO config_revisions \
         (revision, document, source, actor, note, restored, created_at) VALUES (",
    )
    .values([
        revision.revision.into(),
        (&revision.document).into(),
        (&revision.source).into(),
        revision.actor.as_deref().into(),
        revision.note.as_deref().into(),
        revision.restored.into(),
        revision.created_at.into(),
    ])
    .text(")")
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether nobody has added a revision that the writer does not know. A SQLite database has one process, which knows all; on
/// PostgreSQL the writer has the lock [`REVISION_LOCK_SHARED`](crate::dialect::REVISION_LOCK_SHARED).
pub(crate) async fn is_newest(tx: &mut Tx<'_>, known: i64) -> Result<bool, Error> {
    if tx.dialect == Dialect::Sqlite {
        return Ok(true);
    }
    let newest = match *tx.newest {
        Some(newest) => newest,
        None => *tx.newest.insert(find_latest(tx.connection).await?),
    };
    Ok(newest <= known)
}

async fn find_latest(connection: &mut Connection) -> Result<i64, Error> {
    let latest = Statement::new("SELECT coalesce(max(revision), 0) FROM config_revisions");
    Ok(latest.first(connection, |row| row.number()).await?.unwrap_or(0))
}

fn select() -> Statement<'static> {
    Statement::new(
        "SELECT revision, document, source, actor, note, restored, created_at FROM config_revisions",
    )
}

/// Reads a revision even if something of it cannot be read, so that the gateway starts and the others are listed. Its number
/// alone decides which is the newest.
fn read_revision(row: &mut Fields<'_>) -> Result<Revision, Error> {
    Ok(Revision {
        revision: row.number()?,
        document: row.string().unwrap_or_else(|_| UNREADABLE.to_owned()),
        source: row.string().unwrap_or_default(),
        actor: row.optional_string().unwrap_or_default(),
        note: row.optional_string().unwrap_or_default(),
        restored: row.optional_count().unwrap_or_default(),
        created_at: row.moment().unwrap_or_default(),
    })
}
