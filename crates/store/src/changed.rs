//! Reading invites by their last change, longest ago first, in the order of the feed: so no reader misses one.

use std::collections::HashMap;

use invite_core::EventId;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, timeout};

use crate::{
    Error, InviteFilter, RemovedUpTo, Row, Store,
    error::LIST,
    feed::{LOOKED_AT, LOOKING},
    query::matching,
    statement::{Statement, chunks},
    unreadable::id_of,
};

/// By how much the times of events may be in another order than their ids: replicas take the time when a transaction begins,
/// and the id when it ends.
const DISORDER: SignedDuration = SignedDuration::from_mins(1);

/// How many rows are read together at least.
const AT_ONCE: usize = 50;

/// Where to begin among the changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangesFrom {
    /// Behind the place where an earlier page ended.
    Place(EventId),
    /// With what changed at this time or later, or a little earlier.
    Time(Timestamp),
}

/// Some invites by their last change.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangedInvites {
    /// Each with the place of its last change, longest ago first.
    pub rows: Vec<(EventId, Row)>,
    /// Where to go on: all changes before were looked at.
    pub next: EventId,
    /// There was no more when it was read.
    pub is_last: bool,
}

impl Store {
    /// At most `limit` (at least 1) invites as they are now, by their last change, longest ago first. One that changes again
    /// comes again, at the place of that change. If hardly any meets the filter it may be fewer although there are more: the
    /// page says where to go on.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn changed_invites(
        &self,
        filter: &InviteFilter,
        from: ChangesFrom,
        limit: u32,
    ) -> Result<Result<ChangedInvites, RemovedUpTo>, Error> {
        let read = timeout(LIST, self.read_changed(filter, from, limit.max(1) as usize));
        let page = read.await.map_err(|_| Error::SlowList)??;
        // Read after the events, so that one that is removed meanwhile is not missed unnoticed.
        let removed = self.removed_events().await?.filter(|(last, before)| match from {
            ChangesFrom::Place(place) => place < *last,
            ChangesFrom::Time(at) => at.saturating_sub(DISORDER).unwrap_or(at) < *before,
        });
        Ok(removed.map_or(Ok(page), |(last, _)| Err(RemovedUpTo(last))))
    }

    async fn read_changed(
        &self,
        filter: &InviteFilter,
        from: ChangesFrom,
        limit: usize,
    ) -> Result<ChangedInvites, Error> {
        let began = Instant::now();
        let bound = self.feed_bound().await?;
        let mut next = match from {
            ChangesFrom::Place(place) => place,
            ChangesFrom::Time(at) => self.place_before(at, bound).await?,
        };
        let mut rows = Vec::new();
        loop {
            let (last, looked_at) = self.window(None, next, bound, LOOKED_AT).await?;
            let changes = self.last_changes(filter, next, last, bound).await?;
            // Not all that stand in the window may be asked for, and each is a whole row.
            for changes in changes.chunks(limit.max(AT_ONCE)) {
                rows.extend(self.matching_changes(filter, changes).await?);
                if rows.len() > limit {
                    rows.truncate(limit);
                    let next = rows.last().map_or(next, |(place, _)| *place);
                    return Ok(ChangedInvites { rows, next, is_last: false });
                }
            }
            next = last;
            let is_last = looked_at < LOOKED_AT;
            if is_last || rows.len() == limit || began.elapsed() >= LOOKING {
                return Ok(ChangedInvites { rows, next, is_last });
            }
            // On SQLite nothing of this waits for anything.
            tokio::task::yield_now().await;
        }
    }

    /// The events from behind one up to another that are the last of what they tell of, and of what that is.
    async fn last_changes(
        &self,
        filter: &InviteFilter,
        after: EventId,
        up_to: EventId,
        bound: i64,
    ) -> Result<Vec<(EventId, String)>, Error> {
        let mut statement = Statement::new("SELECT id, subject FROM events AS event WHERE id > ")
            .bind(after.number());
        statement = statement.text(" AND id <= ").bind(up_to.number());
        if let Some(tenant) = &filter.tenant {
            statement = statement.text(" AND tenant = ").bind(tenant);
        }
        statement
            .text(" AND NOT EXISTS (SELECT 1 FROM events AS later WHERE later.subject = event.subject ")
            .text("AND later.id > event.id AND later.id < ")
            .bind(bound)
            .text(") ORDER BY id")
            .all(&mut *self.lister().await?, |row| Ok((EventId::of(row.number()?), row.string()?)))
            .await
    }

    /// The invites of these changes that meet a filter, in the order of the changes.
    async fn matching_changes(
        &self,
        filter: &InviteFilter,
        changes: &[(EventId, String)],
    ) -> Result<Vec<(EventId, Row)>, Error> {
        let ids: Vec<String> = changes.iter().map(|(_, id)| id.clone()).collect();
        let mut found = HashMap::new();
        for chunk in chunks(&ids) {
            let rows = self.listed(matching(filter, chunk, self.clock_now())).await?;
            found.extend(rows.into_iter().map(|row| (id_of(&row), row)));
        }
        let row = |(place, id): &(EventId, String)| Some((*place, found.remove(id)?));
        Ok(changes.iter().filter_map(row).collect())
    }

    /// A place that all events are behind which are not older than a time.
    async fn place_before(&self, at: Timestamp, bound: i64) -> Result<EventId, Error> {
        let surely = at.saturating_sub(DISORDER).unwrap_or(at);
        // What is at `older` or before is older; what is at `bound` or behind is not, or may not be read yet.
        let (mut older, mut newer) = (EventId::START.number(), bound);
        while newer - older > 1 {
            let middle = older + (newer - older) / 2;
            let next = Statement::new("SELECT id, at FROM events WHERE id >= ")
                .bind(middle)
                .text(" AND id < ")
                .bind(newer)
                .text(" ORDER BY id")
                .limit(1)
                .first(&mut *self.reader().await?, |row| Ok((row.number()?, row.time()?)))
                .await?;
            match next {
                Some((id, at)) if at < surely => older = id,
                _ => newer = middle,
            }
        }
        Ok(EventId::of(older))
    }
}
