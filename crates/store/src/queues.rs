//! Which tenants have something queued at a provider, and for which destinations: by this a lane chooses its turns.
//!
//! Every call needs it, so a scan costs a few index searches for each queue that it finds, however long that is; and it finds
//! no more than [`MAX_SCANNED`] queues of a tenant, which names its destinations and could have as many as invites.

use invite_core::Destination;
use jiff::Timestamp;

use crate::{
    Error, Store,
    queue::{DUE, SENDABLE},
    rows::select_invites,
    statement::{Fields, Statement},
    values::Value,
};

/// What a tenant has queued at a provider for one destination.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    pub tenant: String,
    pub destination: Destination,
    /// When the first invite is due.
    pub due: Timestamp,
}

/// Where to begin in a queue: what was due before is not looked at.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub tenant: String,
    pub destination: Destination,
    pub since: Timestamp,
}

/// One scan of the queues of a provider.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueScan {
    pub queues: Vec<Queue>,
    /// Queues whose first invites may not be sent at present, from the first on that may be; with the latest moment that
    /// there is if none may.
    pub held_back: Vec<Head>,
    /// Where the next scan goes on, if some tenant has more destinations than this one found.
    pub next: Option<String>,
    /// Nothing at all is queued, not even what may not be sent at present.
    pub is_empty: bool,
}

/// How many of a tenant's destinations one scan finds at most: half of them from the first one on, and half from where the
/// scan before left off.
pub const MAX_SCANNED: usize = 256;
const FROM_THE_FIRST: usize = MAX_SCANNED / 2;

/// Selects the id of a queued invite; the provider and further conditions have to follow.
const QUEUED: &str =
    "(SELECT id FROM invites WHERE status = 'queued' AND destination IS NOT NULL AND provider = ";

impl Store {
    /// What is queued at a provider, by tenant and destination. Left out are invites to people of whom
    /// another invite at what may be the same destination is `sending` or `unknown`. Of a tenant with very many destinations
    /// some are left out, too: `from` is the [`QueueScan::next`] of the scan before, and scans until that is `None` have
    /// found all. Queues that `heads` names are looked at from there on.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn queues(
        &self,
        provider: &str,
        from: Option<&str>,
        heads: &[Head],
    ) -> Result<QueueScan, Error> {
        let found = select_queues("", provider, from.unwrap_or_default(), heads)
            .all(&mut *self.scanner().await?, |row| {
                let next = row.text_at(4).map(str::to_owned);
                let id = row.text_at(0).unwrap_or_default().to_owned();
                let queue = read_queue(row).map(|queue| (queue, row.moment_at(5)));
                Ok((queue.ok_or((id, row.number_at(3).is_some())), next))
            })
            .await?;
        let next = found.iter().find_map(|(_, next)| next.clone());
        let is_empty = found.is_empty();
        let (mut queues, mut held_back) = (Vec::with_capacity(found.len()), Vec::new());
        for queue in found.into_iter().map(|(queue, _)| queue) {
            match queue {
                Ok(((tenant, destination, due), first)) => {
                    if due.is_none_or(|due| first.is_some_and(|first| first < due)) {
                        let since = due.unwrap_or(Timestamp::MAX);
                        let (tenant, destination) = (tenant.clone(), destination.clone());
                        held_back.push(Head { tenant, destination, since });
                    }
                    queues.extend(due.map(|due| Queue { tenant, destination, due }));
                }
                // Reading an invite that cannot be read sets it aside.
                Err((id, true)) => {
                    drop(self.readable(select_invites().text(" WHERE id = ").bind(id)).await?)
                }
                Err(_) => {}
            }
        }
        Ok(QueueScan { queues, held_back, next, is_empty })
    }

    /// The queues of all tenants for one destination, as [`Store::queues`] finds them.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn queues_at(
        &self,
        provider: &str,
        destination: &Destination,
        heads: &[Head],
    ) -> Result<Vec<Queue>, Error> {
        let found = select_queues_at("", provider, destination, heads)
            .all(&mut *self.scanner().await?, |row| Ok(read_queue(row)))
            .await?;
        let queue = |(tenant, destination, due): (_, _, Option<_>)| {
            due.map(|due| Queue { tenant, destination, due })
        };
        Ok(found.into_iter().flatten().filter_map(queue).collect())
    }

    /// Whether something that a provider has queued for a destination is due.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn is_any_due(
        &self,
        provider: &str,
        destination: &Destination,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let queues = self.queues_at(provider, destination, &[]).await?;
        Ok(queues.iter().any(|queue| queue.due <= now))
    }
}

/// A queue's tenant and destination, and when the first invite is due that may be sent; `None` if it cannot be read.
fn read_queue(row: &Fields<'_>) -> Option<(String, Destination, Option<Timestamp>)> {
    // If it is no time, it never comes.
    let due = row.number_at(3).map(|_| row.moment_at(3).unwrap_or(Timestamp::MAX));
    let destination = row.text_at(2)?.parse().ok()?;
    Some((row.text_at(1)?.to_owned(), destination, due))
}

/// Walks from each queue to the next in two steps, each one search of an index. One step with `(tenant, destination) > …`
/// would read the tenant's queues from their first one. `explain` is put before it.
fn select_queues<'a>(
    explain: &str,
    provider: &'a str,
    from: &'a str,
    heads: &'a [Head],
) -> Statement<'a> {
    let goes_on = format!(
        " AND tenant = queues.tenant AND queues.place < {MAX_SCANNED} AND destination > CASE WHEN \
         queues.place = {FROM_THE_FIRST} AND queues.destination < "
    );
    let statement = first(explain, provider)
        .text(
            "destination, CAST(1 AS BIGINT), coalesce(next_attempt_at, queued_at) FROM invites JOIN \
             first ON invites.id = first.id UNION ALL SELECT next.id, next.provider, next.tenant, \
             next.destination, CASE WHEN \
             next.tenant = queues.tenant THEN queues.place + 1 ELSE 1 END, \
             coalesce(next.next_attempt_at, next.queued_at) FROM queues JOIN invites AS next ON \
             next.id = coalesce(",
        )
        .text(QUEUED)
        .text("queues.provider")
        .text(&goes_on)
        .bind(from)
        .text(" THEN ")
        .bind(from)
        .text(" ELSE queues.destination END ORDER BY destination LIMIT 1), ");
    let cut = format!("(SELECT min(destination) FROM queues WHERE place = {MAX_SCANNED})");
    with_dues(next_tenant(statement).text(")"), &cut, heads)
}

/// Walks along the index with one step for each tenant that has anything queued at this destination.
fn select_queues_at<'a>(
    explain: &str,
    provider: &'a str,
    destination: &Destination,
    heads: &'a [Head],
) -> Statement<'a> {
    let statement = first(explain, provider).text("CAST(").bind(destination.to_string()).text(
        " AS TEXT), CAST(1 AS BIGINT), CAST(0 AS BIGINT) FROM invites JOIN first ON invites.id = \
             first.id UNION ALL SELECT next.id, next.provider, next.tenant, queues.destination, \
             queues.place, queues.first_due FROM queues \
             JOIN invites AS next ON next.id = ",
    );
    with_dues(next_tenant(statement), "NULL", heads)
}

/// The beginning of a walk, at the first queue of a provider. What is selected as destination, place and when the first invite
/// of the queue is due has to follow.
fn first<'a>(explain: &str, provider: &'a str) -> Statement<'a> {
    Statement::new(explain)
        .text("WITH RECURSIVE first (id) AS ")
        .text(QUEUED)
        .bind(provider)
        .text(" ORDER BY tenant, destination LIMIT 1), queues (id, provider, tenant, destination, ")
        .text("place, first_due) AS (SELECT invites.id, provider, tenant, ")
}

fn next_tenant(statement: Statement<'_>) -> Statement<'_> {
    statement
        .text(QUEUED)
        .text("queues.provider AND tenant > queues.tenant ORDER BY tenant, destination LIMIT 1)")
}

/// The end of a walk, which selects when the first invite of each queue is due that may be sent, `cut` beside it, and when the
/// first of all is due.
fn with_dues<'a>(walk: Statement<'a>, cut: &str, heads: &'a [Head]) -> Statement<'a> {
    let mut statement = walk.text(")");
    if !heads.is_empty() {
        statement = statement.text(", heads (tenant, destination, since) AS (SELECT * FROM ");
        statement = statement
            .rows(heads.iter().map(|head| {
                [Value::from(&head.tenant), head.destination.to_string().into(), head.since.into()]
            }))
            .text(")");
    }
    statement = statement
        .text(" SELECT id, tenant, destination, (SELECT ")
        .text(DUE)
        .text(" FROM invites WHERE ")
        .text(&SENDABLE)
        .text("invites.provider = queues.provider AND invites.tenant = queues.tenant AND ")
        .text("invites.destination = queues.destination");
    if !heads.is_empty() {
        statement = statement
            .text(" AND ")
            .text(DUE)
            .text(" >= coalesce((SELECT max(since) FROM heads WHERE heads.tenant = queues.tenant AND ")
            .text("heads.destination = queues.destination), 0)");
    }
    statement
        .text(" ORDER BY ")
        .text(DUE)
        .text(", id LIMIT 1) AS due, ")
        .text(cut)
        .text(" AS cut, first_due FROM queues")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use invite_core::{InviteId, SystemClock};

    use super::*;
    use crate::{
        admission::{Person, select_live},
        queue::{select_due, select_lapsed, select_stale},
    };

    /// The plans of both walks, of reading a queue, of looking for duplicates, of a walk and a queue that begin at a head, and
    /// of looking for what has lapsed and for what to ask about, in lines.
    async fn plans(store: &Store, explain: &str, detail: usize) -> [String; 8] {
        let (kind, base_url) = ("fake".to_owned(), "http://fake".to_owned());
        let destination = Destination { kind, base_url, scope: "x".to_owned() };
        let now = Timestamp::UNIX_EPOCH;
        let [tenant, address] = ["default", "ada@example.org"].map(str::to_owned);
        let person = Person { tenant, destination: destination.to_string(), address };
        let people = [(InviteId::generate(), person)];
        let (tenant, place) = ("default".to_owned(), destination.clone());
        let heads = [Head { tenant, destination: place, since: now }];
        let statements = [
            select_queues(explain, "summit", "x", &[]),
            select_queues_at(explain, "summit", &destination, &[]),
            select_due(explain, "summit", "default", &destination, None, now, 64),
            select_live(explain, now, &[&people[0]]),
            select_queues(explain, "summit", "x", &heads),
            select_due(explain, "summit", "default", &destination, Some(now), now, 64),
            select_lapsed(explain, now, 64),
            select_stale(explain, "summit", &[], now, 64),
        ];
        let mut plans = [const { String::new() }; 8];
        for (statement, plan) in statements.into_iter().zip(&mut plans) {
            let mut reader = store.reader().await.unwrap();
            let lines = statement.all(&mut reader, move |row| {
                Ok(row.text_at(detail).unwrap_or_default().to_owned())
            });
            *plan = lines.await.unwrap().join("\n");
        }
        plans
    }

    async fn open(url: &str) -> Store {
        Store::open(url, Arc::new(SystemClock)).await.unwrap()
    }

    #[tokio::test]
    async fn each_step_from_queue_to_queue_is_one_search_of_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&format!("sqlite://{}", folder.path().join("invites.db").display())).await;
        let [all, at, due, live, from_heads, due_since, lapsed, stale] =
            plans(&store, "EXPLAIN QUERY PLAN ", 3).await;
        store.close().await;
        let count = |plan: &str, terms: &str| {
            let search = format!("invites_due ({terms})");
            plan.lines().filter(|line| line.ends_with(&search)).count()
        };
        assert_eq!(count(&all, "provider=? AND tenant=? AND destination>?"), 1, "{all}");
        let behind = "provider=? AND tenant=? AND destination=? AND <expr>>?";
        assert_eq!(count(&from_heads, behind), 1, "{from_heads}");
        let within = "provider=? AND tenant=? AND destination=? AND <expr>>? AND <expr><?";
        assert_eq!(count(&due_since, within), 1, "{due_since}");
        for plan in [&all, &at, &from_heads] {
            assert_eq!(count(plan, "provider=? AND tenant>?"), 1, "{plan}");
            assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN invites"), "{plan}");
        }
        for plan in [&all, &at] {
            assert_eq!(count(plan, "provider=? AND tenant=? AND destination=?"), 1, "{plan}");
        }
        assert_eq!(
            count(&due, "provider=? AND tenant=? AND destination=? AND <expr><?"),
            1,
            "{due}"
        );
        assert!(!due.contains("TEMP B-TREE"), "{due}");
        assert!(live.contains("invites_person (address=? AND destination=?)"), "{live}");
        let until = "invites_lapsing (expires_at>? AND expires_at<?)";
        assert!(lapsed.contains(until), "{lapsed}");
        assert!(!lapsed.contains("TEMP B-TREE"), "{lapsed}");
        assert!(stale.contains("invites_lapsed (provider=? AND <expr><?)"), "{stale}");
        assert!(stale.contains("invites_live (provider=? AND status=? AND <expr><?)"), "{stale}");
        assert!(!stale.contains("SCAN invites"), "{stale}");
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "tests are told where PostgreSQL is")]
    async fn so_it_is_on_postgresql() {
        let url = std::env::var("TEST_POSTGRES_URL").expect("tests/run starts a PostgreSQL");
        let schema = format!("queues_{}", std::process::id());
        let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
        let mut run = async |text: String| {
            sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut connection).await.unwrap();
        };
        run(format!("CREATE SCHEMA {schema}")).await;
        let separator = if url.contains('?') { '&' } else { '?' };
        let store = open(&format!("{url}{separator}options[search_path]={schema}")).await;
        let young = plans(&store, "EXPLAIN ", 0).await;
        // It plans otherwise for a table of a few rows.
        run(format!(
            "INSERT INTO {schema}.invites (id, batch_id, item_index, tenant, provider, destination, \
             config_revision, address, invitee, labels, created_at, status, status_source, \
             provider_data, attempt_count, duplicate_effect, revoke_sent, queued_at, lookups, found_absent, updated_at) SELECT \
             'inv_' || n, '', 0, 'default', 'summit', 'fake ' || n, 1, 'a' || n, '', '', 0, 'queued', \
             'gateway', '', 0, 0, 0, 0, 0, 0, 0 FROM generate_series(1, 4000) AS n; \
             ANALYZE {schema}.invites"
        ))
        .await;
        let [all, at, due, live, from_heads, due_since, lapsed, stale] =
            plans(&store, "EXPLAIN ", 0).await;
        store.close().await;
        run(format!("DROP SCHEMA {schema} CASCADE")).await;
        let next_destination = "(tenant = queues_1.tenant) AND (destination IS NOT NULL) AND \
                                (destination > ";
        assert!(all.contains(next_destination), "{all}");
        let behind = "(destination = queues.destination) AND (COALESCE(next_attempt_at, queued_at) >= COALESCE(";
        assert!(from_heads.contains(behind), "{from_heads}");
        for plan in [&all, &at, &from_heads] {
            assert!(plan.contains("(tenant > queues_1.tenant)"), "{plan}");
            assert!(plan.contains("(destination = queues.destination)"), "{plan}");
            assert!(!plan.contains("Sort") && !plan.contains("Seq Scan on invites"), "{plan}");
        }
        let [_, _, young_due, young_live, _, young_since, young_lapsed, young_stale] = young;
        for plan in [young_lapsed, lapsed] {
            assert!(plan.contains("invites_lapsing") && !plan.contains("Sort"), "{plan}");
        }
        for plan in [young_stale, stale] {
            assert!(plan.contains("invites_lapsed") && plan.contains("invites_live"), "{plan}");
            assert!(!plan.contains("Seq Scan on invites"), "{plan}");
        }
        for plan in [&young_since, &due_since] {
            let both = "(COALESCE(next_attempt_at, queued_at) >= ";
            assert!(plan.contains(both), "{plan}");
        }
        for plan in [young_due, due, young_since, due_since] {
            let due = "(destination = 'fake http://fake x'::text) AND (COALESCE(next_attempt_at, queued_at)";
            assert!(plan.contains("invites_due") && plan.contains(due), "{plan}");
            assert!(!plan.contains("Sort"), "{plan}");
        }
        for plan in [young_live, live] {
            let person = "Index Cond: ((address = 'ada@example.org'::text) AND (destination = ";
            assert!(plan.contains("invites_person") && plan.contains(person), "{plan}");
        }
    }
}
