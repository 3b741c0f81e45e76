//! The gateway's own readers of the feed, which keep up to where they have read it with what they made of that.

use invite_core::EventId;

use crate::{Error, Store, statement::Statement, writer::Tx};

/// How many events are looked at together.
const LOOKED_AT: i64 = 500;

/// Events that are looked at together: those behind one, and up to another.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    /// `None`: it is the first time.
    after: Option<EventId>,
    up_to: EventId,
    /// Whether there may be more behind them.
    pub has_more: bool,
}

impl Span {
    pub fn after(&self) -> i64 {
        self.after.unwrap_or(EventId::START).number()
    }

    pub fn up_to(&self) -> i64 {
        self.up_to.number()
    }
}

impl Store {
    /// What the reader of this name has to look at next; `None`: nothing.
    pub(crate) async fn next_span(&self, reader: &str) -> Result<Option<Span>, Error> {
        let after = Statement::new("SELECT read_up_to FROM feed_readers WHERE name = ")
            .bind(reader)
            .first(&mut *self.reader().await?, |row| Ok(EventId::of(row.number()?)))
            .await?;
        let bound = self.feed_bound().await?;
        let from = after.unwrap_or(EventId::START);
        let (up_to, looked_at) = self.window(None, from, bound, LOOKED_AT).await?;
        let span = Span { after, up_to, has_more: looked_at == LOOKED_AT };
        Ok(Some(span).filter(|_| looked_at > 0))
    }
}

/// Stores that a span was looked at, in the transaction of what was made of it, so that nothing is counted twice or not at
/// all; false if it is not where the reader is: somebody else did so, whose lease this one outlived.
pub(crate) async fn advance(tx: &mut Tx<'_>, reader: &str, span: Span) -> Result<bool, Error> {
    let statement = match span.after {
        Some(after) => Statement::new("UPDATE feed_readers SET read_up_to = ")
            .bind(span.up_to.number())
            .text(" WHERE name = ")
            .bind(reader)
            .text(" AND read_up_to = ")
            .bind(after.number()),
        None => Statement::new("INSERT INTO feed_readers (name, read_up_to) VALUES (")
            .values([reader.into(), span.up_to.number().into()])
            .text(") ON CONFLICT (name) DO NOTHING"),
    };
    Ok(statement.execute(tx.connection).await? > 0)
}
