//! Finding out which batches have completed: from the events of their invites, because replicas that settle the last two
//! invites of a batch at the same time do not see each other's.

use std::collections::{BTreeMap, BTreeSet};

use invite_core::{EventType, Status};
use serde_json::json;

use crate::{
    Error, Store,
    connection::Connection,
    feed_reader::{Span, advance},
    rows::UNSETTLED,
    statement::{Statement, chunks},
    values::Value,
    writer::Tx,
};

/// Under which name it is kept up to where the feed was read.
const READER: &str = "completing";

/// What events tell of batches.
#[derive(Clone)]
struct Step {
    /// The batches of which invites left a status, and none is queued, sending or unknown.
    settled: Vec<String>,
    /// The events that were looked at.
    span: Span,
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
        let Some(span) = self.next_span(READER).await? else { return Ok(false) };
        if !may().await? {
            return Ok(false);
        }
        // Read after the events: an invite that is not settled by now will be told of by a later one. One that was just accepted
        // completes nothing.
        let settled = Statement::new(
            "SELECT DISTINCT batch_id FROM events JOIN invites ON invites.id = events.subject WHERE \
             (previous IS NOT NULL OR type <> 'invite.queued') AND events.id > ",
        )
        .bind(span.after())
        .text(" AND events.id <= ")
        .bind(span.up_to())
        .text(" AND NOT EXISTS (SELECT 1 FROM invites AS other WHERE other.batch_id = invites.batch_id AND other.")
        .text(UNSETTLED)
        .text(")")
        .all(&mut *self.reader().await?, |row| row.string())
        .await?;
        if settled.is_empty() && !span.has_more {
            // They are looked at again with the next ones, which costs less than a commit.
            return Ok(false);
        }
        let step = Step { settled, span };
        self.write(Vec::new(), step, |mut tx, step| {
            Box::pin(async move { apply(&mut tx, step).await })
        })
        .await?;
        Ok(span.has_more)
    }
}

async fn apply(tx: &mut Tx<'_>, step: &Step) -> Result<(), Error> {
    if !advance(tx, READER, step.span).await? {
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
