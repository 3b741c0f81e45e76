//! Counting what became of invites, from the events: by minute and by hour, for each tenant and for all.

use std::{collections::BTreeMap, time::Duration};

use invite_core::{EventType, Status};
use jiff::Timestamp;

use crate::{
    Error, InviteState, Store,
    feed_reader::{Span, advance},
    statement::{Statement, chunks},
    values::Value,
    writer::Tx,
};

/// Under which name it is kept up to where the feed was read.
const READER: &str = "counting";
/// The row that counts all tenants; no tenant has this name.
const ALL_TENANTS: &str = "";
/// Where items count that were refused before they were bound to a provider; none has this name.
const NO_PROVIDER: &str = "";

/// For how long a count is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    #[expect(missing_docs, reason = "its name says all")]
    Minute,
    #[expect(missing_docs, reason = "its name says all")]
    Hour,
}

impl Interval {
    /// How long it is.
    pub const fn length(self) -> Duration {
        match self {
            Self::Minute => Duration::from_secs(60),
            Self::Hour => Duration::from_secs(3600),
        }
    }

    fn seconds(self) -> i64 {
        i64::try_from(self.length().as_secs()).unwrap_or(i64::MAX)
    }

    /// When the one began that a time is in.
    pub fn begin(self, at: Timestamp) -> Timestamp {
        let length = self.seconds() * 1000;
        let begin = at.as_millisecond().div_euclid(length) * length;
        Timestamp::from_millisecond(begin).unwrap_or(at)
    }
}

/// Which counts to read.
#[derive(Clone, Debug)]
pub struct CountFilter {
    /// `None`: of all together.
    pub tenant: Option<String>,
    /// If not empty: at one of these.
    pub providers: Vec<String>,
    /// From the beginning of this interval on.
    pub from: Timestamp,
    /// Before this.
    pub to: Timestamp,
    #[expect(missing_docs, reason = "its name says all")]
    pub interval: Interval,
    /// The counts of each interval, not their sum.
    pub is_by_interval: bool,
}

/// How many invites came into a status.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "other fields say all by their names")]
pub struct Count {
    /// In the interval that began then; `None`: in all.
    pub at: Option<Timestamp>,
    /// `None`: they were refused before they were bound to one.
    pub provider: Option<String>,
    pub status: Status,
    /// Why they failed.
    pub code: Option<String>,
    pub count: u64,
}

/// What was counted in a step: how many invites of a provider left `queued`, `sending` and `unknown` for a status.
pub type Settled = BTreeMap<(String, Status), u64>;

/// Tenant, seconds, since when, provider, status, code.
type Key = (String, i64, i64, String, &'static str, String);

#[derive(Clone)]
struct Step {
    counts: BTreeMap<Key, i64>,
    span: Span,
}

impl Store {
    /// Counts the next events. Nothing is done if `may` says no, which is asked only if there is anything to do. Returns what
    /// settled, and whether there may be more.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn count_events(
        &self,
        may: impl AsyncFnOnce() -> Result<bool, Error>,
    ) -> Result<(Settled, bool), Error> {
        let Some(span) = self.next_span(READER).await? else { return Ok(Default::default()) };
        if !may().await? {
            return Ok(Default::default());
        }
        let events = Statement::new(
            "SELECT at, type, events.tenant, previous, data, provider FROM events JOIN invites \
             ON invites.id = subject WHERE events.id > ",
        )
        .bind(span.after())
        .text(" AND events.id <= ")
        .bind(span.up_to())
        .all(&mut *self.reader().await?, |row| {
            let (at, event_type, tenant) = (row.time()?, row.string()?, row.optional_string()?);
            // A word of a later version tells nothing here.
            let previous: Option<Status> =
                row.optional_string()?.and_then(|word| word.parse().ok());
            Ok((at, event_type, tenant, previous, row.string()?, row.optional_string()?))
        })
        .await?;
        let (mut counts, mut settled) = (BTreeMap::new(), Settled::new());
        for (at, event_type, tenant, previous, data, provider) in events {
            let provider = provider.unwrap_or_else(|| NO_PROVIDER.to_owned());
            let status = event_type.strip_prefix("invite.").and_then(|word| word.parse().ok());
            let Some(status): Option<Status> = status else { continue };
            if EventType::of(status).as_str() != event_type {
                continue;
            }
            if status.is_settled() && previous.is_some_and(|before| !before.is_settled()) {
                *settled.entry((provider.clone(), status)).or_default() += 1;
            }
            let code = match status {
                Status::Failed => code(&data),
                _ => String::new(),
            };
            for interval in [Interval::Minute, Interval::Hour] {
                let begin = interval.begin(at).as_millisecond();
                for tenant in tenant.iter().map(String::as_str).chain([ALL_TENANTS]) {
                    let (tenant, seconds) = (tenant.to_owned(), interval.seconds());
                    let key =
                        (tenant, seconds, begin, provider.clone(), status.as_str(), code.clone());
                    *counts.entry(key).or_default() += 1;
                }
            }
        }
        let step = Step { counts, span };
        let is_counted = self.write(Vec::new(), step, |mut tx, step| {
            Box::pin(async move { apply(&mut tx, step).await })
        });
        match is_counted.await? {
            true => Ok((settled, span.has_more)),
            false => Ok((Settled::new(), span.has_more)),
        }
    }

    /// Counts of invites that came into a status, at most `most` and one; by time, provider, status and code.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn counts(&self, filter: &CountFilter, most: usize) -> Result<Vec<Count>, Error> {
        let (at, group) = match filter.is_by_interval {
            true => ("at", "at, provider, status, code"),
            false => ("NULL", "provider, status, code"),
        };
        let mut statement = Statement::new("SELECT ")
            .text(at)
            .text(", provider, status, code, CAST(sum(count) AS BIGINT) FROM invite_counts WHERE tenant = ")
            .bind(filter.tenant.as_deref().unwrap_or(ALL_TENANTS))
            .text(" AND seconds = ")
            .bind(filter.interval.seconds())
            .text(" AND at >= ")
            .bind(filter.interval.begin(filter.from))
            .text(" AND at < ")
            .bind(filter.to);
        if !filter.providers.is_empty() {
            let providers = filter.providers.iter().map(Value::from);
            statement = statement.text(" AND provider").one_of(providers);
        }
        statement
            .text(" GROUP BY ")
            .text(group)
            .text(" ORDER BY ")
            .text(group)
            .limit(i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1))
            .all(&mut *self.lister().await?, |row| {
                Ok(Count {
                    at: row.optional_time()?,
                    provider: Some(row.string()?).filter(|name| name != NO_PROVIDER),
                    status: row.parsed()?,
                    code: Some(row.string()?).filter(|code| !code.is_empty()),
                    count: row.count()?,
                })
            })
            .await
    }

    /// Removes about `limit` counts of intervals that began before a time, whole intervals from the first on; returns how
    /// many.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn remove_counts(
        &self,
        interval: Interval,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, Error> {
        self.write(Vec::new(), before, move |tx, before| {
            Box::pin(async move {
                let seconds = interval.seconds();
                let last = Statement::new(
                    "SELECT max(at) FROM (SELECT at FROM invite_counts WHERE seconds = ",
                )
                .bind(seconds)
                .text(" AND at < ")
                .bind(*before)
                .text(" ORDER BY at")
                .limit(i64::from(limit))
                .text(") AS first")
                .first(tx.connection, |row| row.optional_number())
                .await?;
                let Some(last) = last.flatten() else { return Ok(0) };
                Statement::new("DELETE FROM invite_counts WHERE seconds = ")
                    .bind(seconds)
                    .text(" AND at <= ")
                    .bind(last)
                    .execute(tx.connection)
                    .await
            })
        })
        .await
    }
}

/// The code of the error that a state has.
fn code(data: &str) -> String {
    let state: Option<InviteState> = serde_json::from_str(data).ok();
    state.and_then(|state| state.error).map(|error| error.code.to_string()).unwrap_or_default()
}

async fn apply(tx: &mut Tx<'_>, step: &Step) -> Result<bool, Error> {
    if !advance(tx, READER, step.span).await? {
        return Ok(false);
    }
    let counts: Vec<_> = step.counts.iter().collect();
    for chunk in chunks(&counts) {
        let rows = chunk.iter().map(
            |((tenant, seconds, at, provider, status, code), count)| -> [Value<'_>; 7] {
                [
                    tenant.into(),
                    (*seconds).into(),
                    (*at).into(),
                    provider.into(),
                    (*status).into(),
                    code.into(),
                    (**count).into(),
                ]
            },
        );
        Statement::new(
            "INSERT INTO invite_counts (tenant, seconds, at, provider, status, code, count) SELECT v.* FROM ",
        )
        .rows(rows)
        .text(
            " WHERE true ON CONFLICT (tenant, seconds, at, provider, status, code) \
             DO UPDATE SET count = invite_counts.count + excluded.count",
        )
        .execute(tx.connection)
        .await?;
    }
    Ok(true)
}
