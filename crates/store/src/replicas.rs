//! The replicas, and which revision of the provider document each serves.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{Error, Listener, News, Store, clock, statement::Statement, unreadable::or_unreadable};

/// How long a replica counts without a report.
const KNOWN_FOR: Duration = Duration::from_secs(15);

/// A process that serves this gateway's database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Replica {
    /// Its name, a new one at each start.
    pub id: String,
    /// The revision of the provider document that it serves.
    #[serde(rename = "config_revision")]
    pub revision: i64,
    /// Why it does not serve the newest, or sends nothing, if so, in one line; null for a key that is
    /// limited to some providers.
    pub refusal: Option<String>,
    /// When it was last heard of.
    pub seen_at: Timestamp,
}

impl Store {
    /// Stores that a replica is there and what it serves, and the time for whoever starts next; forgets replicas that do not
    /// report any more. A SQLite database has one process, so there whoever reports is the only one.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn report_replica(
        &self,
        id: &str,
        revision: i64,
        refusal: Option<&str>,
    ) -> Result<(), Error> {
        let data = (id.to_owned(), refusal.map(str::to_owned), self.clock());
        let is_only_one = !self.is_shared();
        self.write(Vec::new(), data, move |tx, (id, refusal, clock)| {
            Box::pin(async move {
                let gone = tx.now.saturating_sub(KNOWN_FOR).unwrap_or(tx.now);
                Statement::with(
                    "DELETE FROM config_replicas WHERE replica <> ? AND (seen_at < ? OR 1 = ?)",
                    [id.into(), gone.into(), is_only_one.into()],
                )
                .execute(&mut *tx.connection)
                .await?;
                Statement::with(
                    "INSERT INTO config_replicas (replica, revision, refusal, seen_at) \
                     VALUES (?, ?, ?, ?) ON CONFLICT (replica) DO UPDATE SET \
                     revision = excluded.revision, refusal = excluded.refusal, \
                     seen_at = excluded.seen_at",
                    [id.into(), revision.into(), refusal.as_deref().into(), tx.now.into()],
                )
                .execute(&mut *tx.connection)
                .await?;
                clock::keep(tx.connection, clock).await
            })
        })
        .await
    }

    /// The replicas that reported in the last 15 seconds, by their names.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn replicas(&self) -> Result<Vec<Replica>, Error> {
        let mut connection = self.reader().await?;
        let now = self.synchronized_now(&mut connection).await?;
        Statement::new("SELECT replica, revision, refusal, seen_at FROM config_replicas")
            .text(" WHERE seen_at >= ")
            .bind(now.saturating_sub(KNOWN_FOR).unwrap_or(now))
            .text(" ORDER BY replica")
            .all(
                &mut connection,
                or_unreadable(|row| {
                    Ok(Replica {
                        id: row.string()?,
                        revision: row.number()?,
                        refusal: row.optional_string()?,
                        seen_at: row.time()?,
                    })
                }),
            )
            .await
            // A row that cannot be read is written anew by its replica, or forgotten.
            .map(|replicas| replicas.into_iter().flatten().collect())
    }

    /// Tells the other replicas, soon and without waiting for it. With SQLite there are none.
    pub fn tell(&self, news: impl Iterator<Item = News>) {
        if let Some(teller) = self.teller() {
            teller.tell(news);
        }
    }

    /// Listens to the other replicas; `None` with SQLite.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn listen(&self) -> Result<Option<Listener>, Error> {
        match self.teller() {
            Some(teller) => teller.listen(self.database()).await,
            None => Ok(None),
        }
    }

    /// Forgets a replica that ends.
    ///
    /// # Errors
    /// The database cannot be used; the replica is then forgotten in a while.
    pub async fn retire_replica(&self, id: &str) -> Result<(), Error> {
        self.write(Vec::new(), id.to_owned(), |tx, id| {
            Box::pin(async move {
                Statement::new("DELETE FROM config_replicas WHERE replica = ")
                    .bind(id)
                    .execute(tx.connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }
}
