//! Finding out which batches have completed: from the events of their invites, because replicas that settle the last two
//! invites of a batch at the same time do not see each other's.

use std::collections::{BTreeMap, BTreeSet};

use invite_core::{EventId, EventType, Status};
use serde_json::json;

use crate::{
    Error, Store,
    rows::UNSETTLED,
    statement::{Statement, chunks},
    values::Value,
    writer::Tx,
};

/// How many events are looked at together.
const LOOKED_AT: i64 = 500;
/// Under which name it is kept up to where the feed was read.
const READER: &str = "completing";

/// Invites of a batch that events tell of.
#[derive(Clone)]
struct Step {
    /// The batches, and whether an invite of theirs was queued again.
    batches: BTreeMap<String, bool>,
    /// All events up to this one were looked at.
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
        let told = Statement::new(
            "SELECT batch_id, type, previous FROM events JOIN invites ON invites.id = events.subject \
             WHERE events.id > ",
        )
        .bind(after.number())
        .text(" AND events.id <= ")
        .bind(up_to.number())
        .all(&mut *self.reader().await?, |row| {
            Ok((row.string()?, row.string()?, row.optional_string()?))
        })
        .await?;
        let mut batches = BTreeMap::new();
        for (batch, event_type, previous) in told {
            let is_queued = event_type == EventType::InviteQueued.as_str();
            // An invite that was just accepted completes nothing.
            if !is_queued || previous.is_some() {
                *batches.entry(batch).or_default() |= is_queued;
            }
        }
        if batches.is_empty() && looked_at < LOOKED_AT {
            // They are looked at again with the next ones, which costs less than a commit.
            return Ok(false);
        }
        let step = Step { batches, up_to };
        self.write(Vec::new(), step, |mut tx, step| {
            Box::pin(async move { apply(&mut tx, step).await })
        })
        .await?;
        Ok(looked_at == LOOKED_AT)
    }
}

async fn apply(tx: &mut Tx<'_>, step: &Step) -> Result<(), Error> {
    let ids: Vec<&String> = step.batches.keys().collect();
    for chunk in chunks(&ids) {
        let chosen = || chunk.iter().map(|id| Value::from(id.as_str()));
        let open = Statement::new("SELECT DISTINCT batch_id FROM invites WHERE batch_id")
            .one_of(chosen())
            .text(" AND ")
            .text(UNSETTLED)
            .all(tx.connection, |row| row.string())
            .await?;
        let open: BTreeSet<String> = open.into_iter().collect();
        let rows = Statement::new("SELECT id, tenant, completed_at FROM batches WHERE id")
            .one_of(chosen())
            .text(" ORDER BY id")
            .text(tx.dialect.for_update())
            .all(tx.connection, |row| {
                Ok((row.string()?, row.string()?, row.optional_number()?.is_some()))
            })
            .await?;
        let mut counts = counts(tx, &rows).await?;
        let mut set: Vec<(String, Option<i64>)> = Vec::new();
        for (id, tenant, was_complete) in rows {
            match (open.contains(&id), was_complete) {
                (true, true) => set.push((id, None)),
                (false, complete) if !complete || step.batches[&id] => {
                    let data = json!({ "counts": counts.remove(&id).unwrap_or_default() });
                    tx.events.tell(EventType::BatchCompleted, Some(&tenant), &id, &data);
                    set.push((id, Some(tx.now.as_millisecond())));
                }
                _ => {}
            }
        }
        for chunk in chunks(&set) {
            Statement::new("UPDATE batches SET completed_at = v.column2 FROM ")
                .rows(chunk.iter().map(|(id, at)| [Value::from(id), Value::from(*at)]))
                .text(" WHERE batches.id = v.column1")
                .execute(tx.connection)
                .await?;
        }
    }
    // In the transaction of what was found there, so that nothing is found twice or not at all.
    Statement::new("INSERT INTO feed_readers (name, read_up_to) VALUES (")
        .values([READER.into(), step.up_to.number().into()])
        .text(") ON CONFLICT (name) DO UPDATE SET read_up_to = excluded.read_up_to")
        .execute(tx.connection)
        .await?;
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
