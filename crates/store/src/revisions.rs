//! Revisions of the provider document.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    Error, Store,
    dialect::REVISION_LOCK,
    statement::{Fields, Statement},
};

/// One version of the provider document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// 1, 2, 3 …
    pub revision: i64,
    /// The document, byte for byte.
    pub document: String,
    /// Where it came from: `file`, `api` or `restore`.
    pub source: String,
    /// Who made it.
    pub actor: Option<String>,
    /// Why.
    pub note: Option<String>,
    /// When it was stored.
    pub created_at: Timestamp,
}

impl Store {
    /// The newest revision.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn latest_revision(&self) -> Result<Option<Revision>, Error> {
        let mut connection = self.reader().await?;
        select().text(" ORDER BY revision DESC LIMIT 1").first(&mut connection, read_revision).await
    }

    /// The newest revision that came from `source`.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn latest_revision_from(&self, source: &str) -> Result<Option<Revision>, Error> {
        let mut connection = self.reader().await?;
        select()
            .text(" WHERE source = ")
            .bind(source)
            .text(" ORDER BY revision DESC LIMIT 1")
            .first(&mut connection, read_revision)
            .await
    }

    /// One revision.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn revision(&self, revision: i64) -> Result<Option<Revision>, Error> {
        let mut connection = self.reader().await?;
        select()
            .text(" WHERE revision = ")
            .bind(revision)
            .first(&mut connection, read_revision)
            .await
    }

    /// All revisions, newest first.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn revisions(&self) -> Result<Vec<Revision>, Error> {
        let mut connection = self.reader().await?;
        select().text(" ORDER BY revision DESC").all(&mut connection, read_revision).await
    }

    /// Stores a document as the next revision; the numbers have no gaps.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn add_revision(
        &self,
        document: &str,
        source: &str,
        actor: Option<&str>,
        note: Option<&str>,
    ) -> Result<Revision, Error> {
        let draft = Arc::new(Revision {
            revision: 0,
            document: document.to_owned(),
            source: source.to_owned(),
            actor: actor.map(str::to_owned),
            note: note.map(str::to_owned),
            created_at: self.clock_now(),
        });
        self.write(vec![REVISION_LOCK], move |tx| {
            let draft = Arc::clone(&draft);
            Box::pin(async move {
                let latest =
                    Statement::new("SELECT coalesce(max(revision), 0) FROM config_revisions")
                        .first(tx.connection, |row| row.number())
                        .await?;
                let revision = Revision {
                    revision: latest.unwrap_or(0) + 1,
                    created_at: tx.now,
                    ..Revision::clone(&draft)
                };
                Statement::new(
                    "INSERT INTO config_revisions \
                     (revision, document, source, actor, note, created_at) VALUES (",
                )
                .values([
                    revision.revision.into(),
                    (&revision.document).into(),
                    (&revision.source).into(),
                    revision.actor.as_deref().into(),
                    revision.note.as_deref().into(),
                    revision.created_at.into(),
                ])
                .text(")")
                .execute(tx.connection)
                .await?;
                Ok(revision)
            })
        })
        .await
    }
}

fn select() -> Statement<'static> {
    Statement::new(
        "SELECT revision, document, source, actor, note, created_at FROM config_revisions",
    )
}

fn read_revision(row: &mut Fields<'_>) -> Result<Revision, Error> {
    Ok(Revision {
        revision: row.number()?,
        document: row.string()?,
        source: row.string()?,
        actor: row.optional_string()?,
        note: row.optional_string()?,
        created_at: row.time()?,
    })
}
