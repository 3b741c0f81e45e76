//! Removing what is past its retention, in steps of a few invites along an index. What an invite that has not ended still
//! needs is left.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use invite_core::{BatchId, Status};
use jiff::Timestamp;

use crate::{
    Error, Store,
    attempts::delete_without_invites,
    connection::Connection,
    erase::{Extent, STEP, take_out},
    keyed::HashKey,
    rows::{FINAL, PERSON_GONE},
    statement::{Statement, chunks},
    values::Value,
    writer::Tx,
};

/// What is removed of an invite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// What was exchanged about it with its provider.
    Bodies,
    /// All that may tell of its person.
    Person,
    /// The row, from which the person was erased before; of a batch all rows or none, so that its counts never fall.
    Row,
}

/// Where a walk along the invites that have ended goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    level: i64,
    since: i64,
    id: String,
}

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// From how many invites something was removed.
    pub removed: u64,
    /// Where the next step goes on; `None` after the last.
    pub next: Option<Cursor>,
}

impl Stage {
    /// Where the walk begins: at the level of invites from which most was removed.
    fn start(self) -> Cursor {
        let level = match self {
            Self::Bodies => 0,
            Self::Person => PERSON_GONE - 1,
            Self::Row => PERSON_GONE,
        };
        Cursor::of(level)
    }

    /// Where the walk goes on when a level is done.
    fn after(self, level: i64) -> Option<Cursor> {
        (self == Self::Person && level > 0).then(|| Cursor::of(level - 1))
    }
}

impl Cursor {
    fn of(level: i64) -> Self {
        Self { level, since: i64::MIN, id: String::new() }
    }
}

impl Store {
    /// Removes what the stage says from the next few invites behind `after` that ended by `before`. It leaves those that share a
    /// call with an unsettled invite, and those that cannot be read.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn remove_old(
        &self,
        stage: Stage,
        before: Timestamp,
        after: Option<Cursor>,
    ) -> Result<Step, Error> {
        let data = (Arc::clone(self.hash_key()), after.unwrap_or_else(|| stage.start()));
        self.write(Vec::new(), data, move |mut tx, (key, from)| {
            Box::pin(async move { step(&mut tx, key, stage, before, from.clone()).await })
        })
        .await
    }

    /// Removes the next few batches behind `after` that were accepted before a time and have no invites, because all were
    /// answered with existing ones. Returns where the next step goes on; `None` after the last.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn remove_empty_batches(
        &self,
        before: Timestamp,
        after: String,
    ) -> Result<Option<String>, Error> {
        self.write(Vec::new(), after, move |tx, after| {
            Box::pin(async move {
                // Ids begin with the time, so no batch behind this id was accepted before.
                let until = format!("{}{:012x}", BatchId::PREFIX, before.as_millisecond().max(0));
                let ids = Statement::with(
                    "SELECT id FROM batches WHERE id > ? AND id < ? ORDER BY id",
                    [after.into(), until.into()],
                )
                .limit(i64::from(STEP))
                .all(tx.connection, |row| row.string())
                .await?;
                for chunk in chunks(&ids) {
                    Statement::new("DELETE FROM batches WHERE id")
                        .one_of(chunk.iter().map(Value::from))
                        .text(" AND NOT EXISTS (SELECT 1 FROM invites WHERE batch_id = batches.id)")
                        .execute(tx.connection)
                        .await?;
                }
                let is_last = ids.len() < STEP as usize;
                Ok(ids.into_iter().next_back().filter(|_| !is_last))
            })
        })
        .await
    }

    /// How many invites have ever been removed, by provider and status. Those that were bound to none have an empty name.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn removed_counts(&self) -> Result<BTreeMap<(String, Status), u64>, Error> {
        let rows = Statement::new("SELECT provider, status, removed FROM removed_invites")
            .all(&mut *self.scanner().await?, |row| {
                Ok(((row.string()?, row.parsed()?), row.count()?))
            })
            .await?;
        Ok(rows.into_iter().collect())
    }
}

async fn step(
    tx: &mut Tx<'_>,
    key: &HashKey,
    stage: Stage,
    before: Timestamp,
    from: Cursor,
) -> Result<Step, Error> {
    let level = from.level;
    let due = select_due("", before, from)
        .text(tx.dialect.for_update())
        .all(tx.connection, |row| Ok((row.number()?, row.string()?)))
        .await?;
    let next = match due.last() {
        Some((since, id)) if due.len() == STEP as usize => {
            Some(Cursor { level, since: *since, id: id.clone() })
        }
        _ => stage.after(level),
    };
    let ids: Vec<String> = due.into_iter().map(|(_, id)| id).collect();
    let removed = match stage {
        Stage::Bodies => take_out(tx, key, ids, Extent::Exchange).await?.invites,
        Stage::Person => take_out(tx, key, ids, Extent::Person).await?.invites,
        Stage::Row => remove(tx, before, &ids).await?,
    };
    Ok(Step { removed, next })
}

/// Selects the next invites of a level, in the order of the index `invites_ended`. `explain` is put before it.
fn select_due(explain: &str, before: Timestamp, from: Cursor) -> Statement<'static> {
    Statement::new(explain)
        .text("SELECT final_since, id FROM invites WHERE final_since IS NOT NULL AND erased = ")
        .bind(from.level)
        .text(" AND final_since <= ")
        .bind(before)
        .text(" AND (final_since, id) > (")
        .values([from.since.into(), from.id.into()])
        .text(") AND unreadable IS NULL AND ")
        .text(FINAL)
        .text(" ORDER BY final_since, id")
        .limit(i64::from(STEP))
}

/// Removes those of these rows all of whose batch may be removed, and their batches.
async fn remove(tx: &mut Tx<'_>, before: Timestamp, ids: &[String]) -> Result<u64, Error> {
    let mut removed = 0;
    for chunk in chunks(ids) {
        let rows =
            Statement::new("SELECT id, batch_id, coalesce(provider, ''), status FROM invites")
                .text(" WHERE id")
                .one_of(chunk.iter().map(Value::from))
                .all(tx.connection, |row| {
                    Ok([row.string()?, row.string()?, row.string()?, row.string()?])
                })
                .await?;
        let batches: Vec<&String> = rows.iter().map(|[_, batch, _, _]| batch).collect();
        let open = kept_batches(tx.connection, &batches, before).await?;
        let over: Vec<&[String; 4]> =
            rows.iter().filter(|[_, batch, _, _]| !open.contains(batch)).collect();
        if !over.is_empty() {
            count(tx.connection, &over).await?;
            removed += delete(tx.connection, &over).await?;
        }
    }
    Ok(removed)
}

/// Those of these batches of which an invite must stay.
async fn kept_batches(
    connection: &mut Connection,
    batches: &[&String],
    before: Timestamp,
) -> Result<HashSet<String>, Error> {
    let open = Statement::new("SELECT DISTINCT batch_id FROM invites WHERE batch_id")
        .one_of(batches.iter().map(|id| Value::from(id.as_str())))
        .text(" AND (final_since IS NULL OR final_since > ")
        .bind(before)
        .text(" OR erased < ")
        .bind(PERSON_GONE)
        .text(" OR unreadable IS NOT NULL OR NOT ")
        .text(FINAL)
        .text(")")
        .all(connection, |row| row.string())
        .await?;
    Ok(open.into_iter().collect())
}

/// Counts what is about to be deleted.
async fn count(connection: &mut Connection, rows: &[&[String; 4]]) -> Result<(), Error> {
    let mut counts: BTreeMap<(&String, &String), i64> = BTreeMap::new();
    for [_, _, provider, status] in rows {
        *counts.entry((provider, status)).or_default() += 1;
    }
    for ((provider, status), count) in counts {
        Statement::new("INSERT INTO removed_invites (provider, status, removed) VALUES (")
            .values([provider.into(), status.into(), count.into()])
            .text(
                ") ON CONFLICT (provider, status) DO UPDATE SET removed = removed_invites.removed + \
                 excluded.removed",
            )
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Deletes rows with all that refers to them; returns how many.
async fn delete(connection: &mut Connection, rows: &[&[String; 4]]) -> Result<u64, Error> {
    let ids = || rows.iter().map(|[id, ..]| Value::from(id));
    let attempts = Statement::new("DELETE FROM attempt_invites WHERE invite_id")
        .one_of(ids())
        .text(" RETURNING attempt_id")
        .all(connection, |row| row.string())
        .await?;
    delete_without_invites(connection, &attempts).await?;
    Statement::new("DELETE FROM invite_labels WHERE invite_id")
        .one_of(ids())
        .execute(connection)
        .await?;
    // A batch goes with the first of its invites; the others may be removed, too, and go in the next steps.
    Statement::new("DELETE FROM batches WHERE id")
        .one_of(rows.iter().map(|[_, batch, ..]| Value::from(batch)))
        .execute(connection)
        .await?;
    Statement::new("DELETE FROM invites WHERE id").one_of(ids()).execute(connection).await
}

#[cfg(test)]
mod tests {
    use invite_core::SystemClock;

    use super::*;

    async fn plan(url: &str, explain: &str, detail: usize) -> String {
        let store = Store::open(url, Arc::new(SystemClock)).await.unwrap();
        let rows = select_due(explain, Timestamp::UNIX_EPOCH, Stage::Person.start())
            .all(&mut store.reader().await.unwrap(), move |row| {
                Ok(row.text_at(detail).unwrap_or_default().to_owned())
            })
            .await;
        store.close().await;
        rows.unwrap().join("\n")
    }

    #[tokio::test]
    async fn a_step_walks_along_an_index_in_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("invites.db").display());
        let plan = plan(&url, "EXPLAIN QUERY PLAN ", 3).await;
        let walk = "SEARCH invites USING INDEX invites_ended (erased=? AND (final_since,id)>(?,?) AND \
                    final_since<?)";
        assert_eq!(plan, walk);
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "tests are told where PostgreSQL is")]
    async fn so_it_does_on_postgresql() {
        let url = std::env::var("TEST_POSTGRES_URL").expect("tests/run starts a PostgreSQL");
        let schema = format!("plan_{}", std::process::id());
        let separator = if url.contains('?') { '&' } else { '?' };
        let made = sqlx::query(sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}")));
        let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
        made.execute(&mut connection).await.unwrap();
        let plan =
            plan(&format!("{url}{separator}options[search_path]={schema}"), "EXPLAIN ", 0).await;
        let dropped = sqlx::query(sqlx::AssertSqlSafe(format!("DROP SCHEMA {schema} CASCADE")));
        dropped.execute(&mut connection).await.unwrap();
        assert!(plan.contains("Index Scan using invites_ended"), "{plan}");
        assert!(!plan.contains("Sort"), "{plan}");
    }
}
