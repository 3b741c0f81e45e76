//! What the two databases are told differently: settings, locks and spelling.

use std::{fmt::Write, ops::Range};

/// The advisory locks for addresses.
pub(crate) const ADDRESS_LOCKS: Range<u32> = 0..1024;
/// For idempotency keys, and for API keys with a limit.
pub(crate) const KEY_LOCKS: Range<u32> = ADDRESS_LOCKS.end..ADDRESS_LOCKS.end + 1024;
/// For bringing the tables up to date.
pub(crate) const MIGRATION_LOCK: u32 = KEY_LOCKS.end;
/// For providers with a quota.
pub(crate) const QUOTA_LOCKS: Range<u32> = 4096..4352;
/// For providers' rate budgets.
pub(crate) const RATE_LOCKS: Range<u32> = QUOTA_LOCKS.end..QUOTA_LOCKS.end + 256;
/// For adding an entry to the record of changes.
pub(crate) const AUDIT_LOCK: u32 = RATE_LOCKS.end;
/// For adding a revision of the provider document.
pub(crate) const REVISION_LOCK: u32 = AUDIT_LOCK + 1;
/// Under this lock no revision is added. Any number of writers may have it at once.
pub(crate) const REVISION_LOCK_SHARED: u32 = SHARED + REVISION_LOCK;
/// From here on the same locks again, which any number of writers may have at once.
pub(crate) const SHARED: u32 = 1 << 16;

/// The advisory lock of a number of events, on PostgreSQL, is this and the number. Gateways that share a database, each with
/// a schema of its own, hardly ever have the same.
const EVENT_LOCKS: &str = "((CAST(1047 AS bigint) << 52) + \
     ((CAST(CAST('event_numbers' AS regclass) AS bigint) & 4095) << 40))";
/// The next number of the sequence.
const NEXT_NUMBER: &str = "(last_value + CASE WHEN is_called THEN 1 ELSE 0 END)";
/// An event's id is the number that its commit has, times this, plus its place among those written together.
pub(crate) const PER_NUMBER: i64 = 1024;

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// A text with `?` for every value, as the database reads it. SQLite reads PostgreSQL's `$1` too, but as a name that it
    /// has to search for.
    pub(crate) fn spell(self, text: String) -> String {
        if self == Self::Sqlite {
            return text;
        }
        let mut spelled = String::with_capacity(2 * text.len());
        for (number, part) in text.split('?').enumerate() {
            if number > 0 {
                // Writing to a String cannot fail.
                let _ = write!(spelled, "${number}");
            }
            spelled.push_str(part);
        }
        spelled
    }

    /// For every connection. All our statements have an index; PostgreSQL would not use it on a table that its statistics
    /// still say is small.
    pub(crate) fn settings(self) -> &'static str {
        match self {
            // On macOS a plain fsync leaves what was written in the drive's memory. `secure_delete` overwrites what is
            // deleted.
            Self::Sqlite => {
                "PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = OFF; PRAGMA fullfsync = ON; \
                 PRAGMA checkpoint_fullfsync = ON; PRAGMA secure_delete = ON"
            }
            // The server gives up what takes too long before this side does, and notices when this
            // machine is gone.
            Self::Postgres => {
                "SET enable_seqscan = off; SET jit = off; SET statement_timeout = '9s'; \
                 SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; \
                 SET tcp_keepalives_count = 3; SET tcp_user_timeout = '30s'"
            }
        }
    }

    pub(crate) fn writer_settings(self) -> &'static str {
        match self {
            // A cache of 32 MB, and a checkpoint every 16 MB instead of 4, because the same pages are written again and
            // again.
            Self::Sqlite => {
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = EXTRA; PRAGMA temp_store = MEMORY; \
                 PRAGMA cache_size = -32000; PRAGMA wal_autocheckpoint = 4000"
            }
            // A replica that is frozen in the middle of a write, or was cut off, must not hold up the
            // others. A commit is durable when it is answered: `on` waits for the disk, and where
            // there are synchronous standbys for theirs; only `remote_apply` waits for more.
            Self::Postgres => {
                "SET lock_timeout = '8s'; SET idle_in_transaction_session_timeout = '5s'; \
                 SELECT set_config('synchronous_commit', 'on', false) \
                 WHERE current_setting('synchronous_commit') <> 'remote_apply'"
            }
        }
    }

    pub(crate) fn reader_settings(self) -> &'static str {
        match self {
            Self::Sqlite => "PRAGMA query_only = ON",
            Self::Postgres => "SET default_transaction_read_only = on",
        }
    }

    /// Within the transaction that brings the tables up to date, which may have much to do.
    pub(crate) fn migration_settings(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "SET LOCAL statement_timeout = 0",
        }
    }

    /// SQLite would otherwise find out too late that another process is writing. PostgreSQL's locks are
    /// of no use to a transaction that sees what there was before it had them, which a database may
    /// have as its default.
    pub(crate) fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        }
    }

    /// Selects the number under which a commit's next events are written: a higher one than that of any event whose writer is
    /// done. [`feed_bound`](Self::feed_bound) tells up to which number none can be missing.
    pub(crate) fn next_event_number(self) -> String {
        match self {
            Self::Sqlite => format!("SELECT coalesce(max(id), 0) / {PER_NUMBER} + 1 FROM events"),
            // The lock is there first, and names the lowest number that may come.
            Self::Postgres => format!(
                "SELECT nextval('event_numbers') FROM (SELECT \
                 count(pg_advisory_xact_lock_shared({EVENT_LOCKS} + {NEXT_NUMBER})) AS locks \
                 FROM event_numbers) AS held WHERE locks >= 0"
            ),
        }
    }

    /// Selects the lowest number that an event may still get, or has while it is not committed. It has to be read before the
    /// events themselves, in a statement of its own.
    ///
    /// Who has taken a number by now had its lock before. Either the lock is still there, or the events are committed and show in
    /// the statement that comes next.
    pub(crate) fn feed_bound(self) -> Option<String> {
        (self == Self::Postgres).then(|| {
            format!(
                "WITH numbers AS MATERIALIZED (SELECT {NEXT_NUMBER} AS next, {EVENT_LOCKS} AS locks FROM \
                 event_numbers) SELECT least(next, coalesce((SELECT min(((CAST(classid AS bigint) << 32) + \
                 CAST(objid AS bigint)) - numbers.locks) FROM pg_locks WHERE locktype = 'advisory' AND \
                 objsubid = 1 AND CAST(classid AS bigint) >> 8 = numbers.locks >> 40 AND database = \
                 (SELECT oid FROM pg_database WHERE datname = current_database())), next)) FROM numbers"
            )
        })
    }

    /// A row, if the database holds tables of ours.
    pub(crate) fn has_tables(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT 1 FROM sqlite_master WHERE name = 'schema_versions'",
            Self::Postgres => "SELECT 1 WHERE to_regclass('schema_versions') IS NOT NULL",
        }
    }

    /// At the end of a SELECT whose rows are about to be changed.
    pub(crate) fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE",
        }
    }
}
