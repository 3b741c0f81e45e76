//! Finding out which batches have completed: from the events of their invites, because replicas that settle the last two
//! invites of a batch at the same time do not see each other's.

use std::collections::{BTreeMap, BTreeSet};

use invite_core::{EventId, EventType, Status};
use serde_json::json;

use crate::{
    Error, Store,
    connection::Connection,
    rows::UNSETTLED,
    statement::{Statement, chunks},
    values::Value,
    writer::Tx,
};

/// How many events are looked at together.
const LOOKED_AT: i64 = 500;
/// Under which name it is kept up to where the feed was read.
const READER: &str = "completing";

/// What events tell of batches.
#[derive(Clone)]
struct Step {
    /// The batches of which invites left a status, and none is queued, sending or unknown.
    settled: Vec<String>,
    /// All events behind this one, and up to the other, were looked at.
    after: Option<EventId>,
    up_to: EventId,
}

impl Store {
    /// Looks at the next events, and writes one for each batch of which no invite is queued, sending or unknown any more.
    /// Nothing is done if `may` says no, which is asked only if there is anything to do. Returns whether there may be more.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn complete_batches(
        &self,
        may: impl AsyncFnOnce() -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        let read = Statement::new("SELECT read_up_to FROM feed_readers WHERE name = ")
            .bind(READER)
            .first(&mut *self.reader().await?, |row| Ok(EventId::of(row.number()?)))
            .await?;
        let after = read.unwrap_or(EventId::START);
        let bound = self.feed_bound().await?;
        let (up_to, looked_at) = self.window(None, after, bound, LOOKED_AT).await?;
        if looked_at == 0 || !may().await? {
            return Ok(false);
        }
        // Read after the events: an invite that is not settled by now will be told of by a later one. One that was just accepted
        // completes nothing.
        let settled = Statement::new(
            "SELECT DISTINCT batch_id FROM events JOIN invites ON invites.id = events.subject WHERE \
             (previous IS NOT NULL OR type <> 'invite.queued') AND events.id > ",
        )
        .bind(after.number())
        .text(" AND events.id <= ")
        .bind(up_to.number())
        .text(" AND NOT EXISTS (SELECT 1 FROM invites AS other WHERE other.batch_id = invites.batch_id AND other.")
        .text(UNSETTLED)
        .text(")")
        .all(&mut *self.reader().await?, |row| row.string())
        .await?;
        if settled.is_empty() && looked_at < LOOKED_AT {
            // They are looked at again with the next ones, which costs less than a commit.
            return Ok(false);
        }
        let step = Step { settled, after: read, up_to };
        self.write(Vec::new(), step, |mut tx, step| {
            Box::pin(async move { apply(&mut tx, step).await })
        })
        .await?;
        Ok(looked_at == LOOKED_AT)
    }
}

async fn apply(tx: &mut Tx<'_>, step: &Step) -> Result<(), Error> {
    if !advance(tx, step).await? {
        // Somebody else took this step, whose lease this one outlived.
        return Ok(());
    }
    for chunk in chunks(&step.settled) {
        // Whoever has one of their invites sent again waits for these locks.
        let rows = Statement::new("SELECT id, tenant, completed_at FROM batches WHERE id")
            .one_of(chunk.iter().map(Value::from))
            .text(" ORDER BY id")
            .text(tx.dialect.for_update())
            .all(tx.connection, |row| {
                Ok((row.string()?, row.string()?, row.optional_number()?.is_some()))
            })
            .await?;
        let rows: Vec<_> = rows.into_iter().filter(|(.., is_complete)| !is_complete).collect();
        let mut counts = counts(tx, &rows).await?;
        let mut completed = Vec::new();
        for (id, tenant, _) in rows {
            let counts = counts.remove(&id).unwrap_or_default();
            if counts.keys().all(|status| status.is_settled()) {
                let data = json!({ "counts": counts });
                tx.events.tell(EventType::BatchCompleted, Some(&tenant), &id, &data);
                completed.push(id);
            }
        }
        for chunk in chunks(&completed) {
            Statement::new("UPDATE batches SET completed_at = ")
                .bind(tx.now)
                .text(" WHERE id")
                .one_of(chunk.iter().map(Value::from))
                .execute(tx.connection)
                .await?;
        }
    }
    Ok(())
}

/// Stores up to where the feed was read, in the transaction of what was found there, so that nothing is found twice or not at
/// all; false if it is not where the step began.
async fn advance(tx: &mut Tx<'_>, step: &Step) -> Result<bool, Error> {
    let statement = match step.after {
        Some(after) => Statement::new("UPDATE feed_readers SET read_up_to = ")
            .bind(step.up_to.number())
            .text(" WHERE name = ")
            .bind(READER)
            .text(" AND read_up_to = ")
            .bind(after.number()),
        None => Statement::new("INSERT INTO feed_readers (name, read_up_to) VALUES (")
            .values([READER.into(), step.up_to.number().into()])
            .text(") ON CONFLICT (name) DO NOTHING"),
    };
    Ok(statement.execute(tx.connection).await? > 0)
}

/// Batches of which an invite is to be sent again have not completed any more.
pub(crate) async fn reopen(
    connection: &mut Connection,
    batches: &BTreeSet<String>,
) -> Result<(), Error> {
    let batches: Vec<&String> = batches.iter().collect();
    for chunk in chunks(&batches) {
        // Also where none has completed yet: this waits for whoever is about to find that one has.
        Statement::new("UPDATE batches SET completed_at = NULL WHERE id")
            .one_of(chunk.iter().map(|id| Value::from(*id)))
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// How many invites of these batches are in which status.
async fn counts(
    tx: &mut Tx<'_>,
    batches: &[(String, String, bool)],
) -> Result<BTreeMap<String, BTreeMap<Status, i64>>, Error> {
    let mut counts: BTreeMap<String, BTreeMap<Status, i64>> = BTreeMap::new();
    for chunk in chunks(batches) {
        let rows = Statement::new("SELECT batch_id, status, count(*) FROM invites WHERE batch_id")
            .one_of(chunk.iter().map(|(id, ..)| Value::from(id)))
            .text(" GROUP BY batch_id, status")
            .all(tx.connection, |row| Ok((row.string()?, row.string()?, row.number()?)))
            .await?;
        for (batch, status, count) in rows {
            if let Ok(status) = status.parse() {
                counts.entry(batch).or_default().insert(status, count);
            }
        }
    }
    Ok(counts)
}
