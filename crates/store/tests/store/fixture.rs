//! A fresh database for each check, and short ways to put something into it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use invite_core::{
    AttemptId, AttemptOutcome, BatchId, Clock, Destination, InviteId, Invitee, ManualClock,
    Operation, PreparedCall, RouteTaken, Status, SystemClock,
};
use invite_store::{
    Acceptance, Actor, Added, AttemptEnd, AttemptView, Change, Changed, Decision, Error,
    InviteRecord, InviteState, Lock, NewAttempt, NewBatch, NewItem, NewRevision, OnDuplicate,
    Phase, Placement, Quotas, Revision, Store,
};
use jiff::Timestamp;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;

use crate::states::phase;

/// Makes two tests of each check: `sqlite::…` and `postgres::…`.
macro_rules! on_both {
    ($($check:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $check() {
                super::$check(&$crate::fixture::Db::sqlite()).await;
            })+
        }
        mod postgres {
            $(#[tokio::test] async fn $check() {
                let db = $crate::fixture::Db::postgres().await;
                super::$check(&db).await;
                db.remove().await;
            })+
        }
    };
}
pub(crate) use on_both;

/// An empty database.
pub struct Db {
    url: String,
    machine: Arc<dyn Clock>,
    place: Place,
}

enum Place {
    Folder { _removed_with_this: TempDir },
    Elsewhere,
    Schema { server: String, name: String },
}

impl Db {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a folder that is not there yet").join("invites.db");
        Self {
            url: format!("sqlite://{}", path.display()),
            machine: Arc::new(ManualClock::new(SystemClock.now())),
            place: Place::Folder { _removed_with_this: folder },
        }
    }

    #[expect(clippy::disallowed_methods, reason = "tests are told where PostgreSQL is")]
    pub async fn postgres() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let Ok(server) = std::env::var("TEST_POSTGRES_URL") else {
            panic!("TEST_POSTGRES_URL names no PostgreSQL: run tests/run, which starts one");
        };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("store_{}_{number}", std::process::id());
        let schema = format!("DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}");
        execute_at(&server, &schema).await;
        let separator = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{separator}options[search_path]={name}&application_name={name}");
        // Its clock goes on, so the machine's has to.
        Self { url, machine: Arc::new(SystemClock), place: Place::Schema { server, name } }
    }

    pub async fn remove(self) {
        if let Place::Schema { server, name } = &self.place {
            execute_at(server, &format!("DROP SCHEMA {name} CASCADE")).await;
        }
    }

    pub async fn open(&self) -> Store {
        self.open_on(Arc::clone(&self.machine)).await
    }

    /// As a machine with these clocks opens it.
    pub async fn open_on(&self, machine: Arc<dyn Clock>) -> Store {
        Store::open(&self.url, machine).await.unwrap()
    }

    /// With a setting of PostgreSQL for all its connections.
    pub async fn open_with(&self, setting: &str) -> Store {
        let (name, value) = setting.split_once('=').unwrap();
        let url = format!("{}&options[{name}]={value}", self.url);
        Store::open(&url, Arc::clone(&self.machine)).await.unwrap()
    }

    /// As the process that serves it.
    pub async fn open_to_serve(&self) -> Result<(Store, Option<Lock>), Error> {
        Store::open_to_serve(&self.url, Arc::clone(&self.machine)).await
    }

    /// The same file of SQLite by another name.
    pub fn by_another_name(&self, path: &Path) -> Self {
        let url = format!("sqlite://{}", path.display());
        Self { url, machine: Arc::clone(&self.machine), place: Place::Elsewhere }
    }

    /// The file of SQLite.
    pub fn file(&self) -> PathBuf {
        self.url.strip_prefix("sqlite://").unwrap().into()
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self.place, Place::Schema { .. })
    }

    /// Runs SQL on a connection of its own.
    pub async fn execute(&self, sql: &str) {
        if self.is_postgres() {
            return execute_at(&self.url, sql).await;
        }
        rusqlite::Connection::open(self.file()).unwrap().execute_batch(sql).unwrap();
    }

    /// The one number that SQL selects.
    pub async fn number(&self, sql: &str) -> i64 {
        if self.is_postgres() {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            return sqlx::query_scalar(AssertSqlSafe(sql))
                .fetch_one(&mut connection)
                .await
                .unwrap();
        }
        let file = rusqlite::Connection::open(self.file()).unwrap();
        file.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// Every value of every table, as text.
    pub async fn texts(&self) -> String {
        let mut texts = String::new();
        if self.is_postgres() {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            let tables: Vec<String> = sqlx::query_scalar(
                "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
            )
            .fetch_all(&mut connection)
            .await
            .unwrap();
            for table in tables {
                let rows = format!("SELECT CAST(x AS text) FROM {table} AS x");
                let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(rows))
                    .fetch_all(&mut connection)
                    .await
                    .unwrap();
                texts.push_str(&rows.join("\n"));
            }
            return texts;
        }
        let file = rusqlite::Connection::open(self.file()).unwrap();
        let column = |sql: &str| -> Vec<String> {
            let mut statement = file.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| row.get(0)).unwrap();
            rows.collect::<Result<_, _>>().unwrap()
        };
        for values in column(
            "SELECT 'SELECT quote(' || c.name || ') FROM ' || t.name \
             FROM sqlite_schema AS t, pragma_table_info(t.name) AS c WHERE t.type = 'table'",
        ) {
            texts.push_str(&column(&values).join("\n"));
        }
        texts
    }

    /// Cuts every connection of this check's stores to PostgreSQL.
    pub async fn cut_connections(&self) {
        let Place::Schema { server, name } = &self.place else { return };
        let cut = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'"
        );
        execute_at(server, &cut).await;
    }
}

async fn execute_at(server: &str, sql: &str) {
    let mut connection = PgConnection::connect(server).await.unwrap();
    connection.execute(AssertSqlSafe(sql)).await.unwrap();
}

pub fn destination() -> Destination {
    Destination {
        kind: "securegate".into(),
        base_url: "https://provider.example".into(),
        scope: "event-456".into(),
    }
}

/// An invite to `email` at the provider `summit`.
pub fn item(index: usize, email: &str) -> NewItem {
    NewItem {
        id: InviteId::generate(),
        index,
        invitee: Invitee {
            email: email.into(),
            first_name: Some("Ada".into()),
            ..Invitee::default()
        },
        address: Some(email.parse().unwrap()),
        external_id: None,
        labels: [("team".to_owned(), "r-and-d".to_owned())].into(),
        placement: Placement::Bound {
            provider: "summit".into(),
            kind: "securegate".into(),
            destination: destination(),
            call_key: "kyc 2".into(),
            params: json!({ "notify": 2 }),
            route: Some(RouteTaken { rule: 2, name: Some("guests".into()) }),
        },
    }
}

pub fn batch(items: Vec<NewItem>) -> NewBatch {
    NewBatch {
        traceparent: None,
        id: BatchId::generate(),
        tenant: "default".into(),
        config_revision: 7,
        idempotency: None,
        day_limits: Vec::new(),
        on_duplicate: OnDuplicate::ReturnExisting,
        items,
    }
}

/// Accepts a batch that nothing speaks against.
pub async fn accept(store: &Store, batch: NewBatch) -> BatchId {
    let id = batch.id;
    let accepted = store.accept(batch, 0, Quotas::new()).await.unwrap().unwrap();
    assert!(
        matches!(accepted, Acceptance::Accepted(ref new) if new.batch.id == id),
        "{accepted:?}"
    );
    id
}

/// Accepts one invite to each address; their ids in order.
pub async fn queue<const N: usize>(store: &Store, emails: [&str; N]) -> [InviteId; N] {
    let mut place = 0;
    let items = emails.map(|email| {
        place += 1;
        item(place - 1, email)
    });
    let ids = items.each_ref().map(|item| item.id);
    accept(store, batch(items.into())).await;
    ids
}

/// Writes to the state of one invite.
pub async fn set(
    store: &Store,
    id: InviteId,
    write: impl Fn(&mut InviteState, Timestamp) + Send + Sync + 'static,
) -> Changed {
    let change = Change::of(vec![id], move |_, _, state, now| {
        write(state, now);
        Decision::Write
    });
    store.change(change).await.unwrap()
}

pub async fn set_status(store: &Store, id: InviteId, status: Status) {
    let changed = set(store, id, move |state, _| state.phase = phase(status)).await;
    assert!(matches!(changed, Changed::Written(_)), "{changed:?}");
}

pub async fn status(store: &Store, id: InviteId) -> Status {
    store.invite(id).await.unwrap().unwrap().state.status()
}

/// The attempt of a create call.
pub fn attempt(fingerprint: Option<&str>) -> NewAttempt {
    NewAttempt {
        id: AttemptId::generate(),
        provider: "summit".into(),
        operation: Operation::Create,
        call: Some(PreparedCall {
            destination: destination(),
            path: "/invites".into(),
            body: "{\"text\": \"line\\u0000\"}".into(),
            fingerprint: fingerprint.map(str::to_owned),
            account: None,
        }),
        config_revision: 7,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        started_at: SystemClock.now(),
    }
}

pub fn end(id: AttemptId, outcome: AttemptOutcome) -> AttemptEnd {
    AttemptEnd {
        id,
        finished_at: SystemClock.now(),
        outcome,
        http_status: Some(201),
        detail: None,
        target: Some("POST https://provider.example/invites".into()),
        provider_request_id: Some("req-1".into()),
        request: None,
        reply: Some("{}".into()),
        unpaired: Vec::new(),
    }
}

/// Claims an invite: it becomes `sending`, held by a new attempt.
pub async fn claim(store: &Store, id: InviteId) -> (AttemptId, Changed) {
    let begin = attempt(None);
    let holder = begin.id;
    let mut change = Change::of(vec![id], move |_, invite, state, now| {
        if invite.state.status() != Status::Queued {
            return Decision::Abort;
        }
        let lease_until = now + Duration::from_secs(60);
        state.phase = Phase::Sending { holder, lease_until, next_attempt_at: None };
        Decision::Write
    });
    change.begin = Some(begin);
    (holder, store.change(change).await.unwrap())
}

/// An invite's attempts with what was exchanged.
pub async fn attempts(store: &Store, id: InviteId) -> Vec<AttemptView> {
    store.attempts(id, None, 200, true).await.unwrap().attempts
}

/// A time in whole milliseconds, as the store keeps it.
pub fn millis(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap()
}

pub fn now() -> Timestamp {
    millis(SystemClock.now())
}

/// `now` and some seconds.
pub fn seconds(from_now: i64) -> Timestamp {
    Timestamp::from_millisecond(now().as_millisecond() + 1000 * from_now).unwrap()
}

/// Who makes changes in these checks.
pub fn api() -> Actor {
    Actor { name: "key_1".into(), source: "api".into() }
}

/// A document from the API.
pub fn draft(document: &str) -> NewRevision {
    NewRevision { document: document.into(), actor: api(), note: None, restored: None }
}

/// The revision that a document became.
pub fn added(result: Result<Added, Error>) -> Revision {
    match result.unwrap() {
        Added::Revision(revision) => revision,
        other => panic!("{other:?}"),
    }
}

/// What is due of `summit` at a time in all queues, each asked for so many.
pub async fn due_anywhere(store: &Store, at: Timestamp, each: u32) -> Vec<InviteRecord> {
    let mut due = Vec::new();
    for queue in store.queues("summit", None, &[]).await.unwrap().queues {
        let (tenant, destination) = (&queue.tenant, &queue.destination);
        due.extend(store.due("summit", tenant, destination, None, at, each).await.unwrap());
    }
    due
}
