//! Fills a gateway's database with copies of the rows that it holds, so that it looks as if the gateway had worked for
//! long. It knows which tables hold what an invite leaves behind, and how ids, addresses and fingerprints look.

use std::error::Error;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// The tables that hold rows for each invite.
const TABLES: [&str; 5] = ["batches", "invites", "invite_labels", "attempts", "attempt_invites"];
/// So many rows are copied in a transaction.
const AT_ONCE: u64 = 50_000;
/// Ids begin with their time; a copy has its number in place of the first digits of that, so that it is older.
const DIGITS: usize = 6;

/// What became of the copies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// As the rows that are copied: at the provider, and open there.
    Live,
    /// They have ended.
    Settled,
}

/// An open connection to the database of a gateway that does not run.
pub enum Database {
    Sqlite(rusqlite::Connection),
    Postgres(PgConnection),
}

impl Database {
    pub async fn open(url: &str) -> Result<Self, String> {
        let opened = match url.strip_prefix("sqlite://") {
            Some(file) => rusqlite::Connection::open(file).map(Self::Sqlite).map_err(told),
            None => PgConnection::connect(url).await.map(Self::Postgres).map_err(told),
        };
        opened.map_err(|error| format!("cannot open {url} to fill it: {error}"))
    }

    /// Adds about so many invites, and all that belongs to them.
    ///
    /// # Errors
    /// The tables are not as this file expects them.
    pub async fn fill(&mut self, invites: u64, fate: Fate) -> Result<(), String> {
        self.run(match self {
            Self::Sqlite(_) => "PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000",
            Self::Postgres(_) => "SET synchronous_commit = off",
        })
        .await?;
        let samples = self.number("SELECT count(*) FROM invites").await?;
        let known = self.number("SELECT count(DISTINCT substr(id, 1, 10)) FROM invites").await?;
        if samples == 0 || known != 1 {
            return Err("the first digits of the time changed while the rows to copy were made: run it again".to_owned());
        }
        let time = self.text("SELECT min(substr(id, 5, 6)) FROM invites").await?;
        let copies = invites.div_ceil(samples);
        if copies >= u64::from_str_radix(&time, 16).unwrap_or_default() {
            return Err(format!("{samples} rows cannot be copied {copies} times"));
        }
        let mut statements = Vec::new();
        for table in TABLES {
            self.run(&format!("CREATE TEMP TABLE sample_{table} AS SELECT * FROM {table}")).await?;
            statements.push(self.copying(table, &time, fate).await?);
        }
        let step = (AT_ONCE / samples).max(1);
        for first in (1..=copies).step_by(step as usize) {
            let last = (first + step - 1).min(copies);
            self.run("BEGIN").await?;
            for statement in &statements {
                let numbers = match self {
                    Self::Sqlite(_) => format!(
                        "(WITH RECURSIVE c(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM c WHERE n < {last}) \
                         SELECT n FROM c)"
                    ),
                    Self::Postgres(_) => {
                        format!("(SELECT generate_series({first}, {last}) AS n)")
                    }
                };
                self.run(&statement.replace("{NUMBERS}", &numbers)).await?;
            }
            self.run("COMMIT").await?;
        }
        self.run(match self {
            Self::Sqlite(_) => "PRAGMA wal_checkpoint(TRUNCATE)",
            Self::Postgres(_) => "VACUUM ANALYZE",
        })
        .await
    }

    pub async fn close(self) {
        // What was filled is stored, so that nothing is lost if this fails.
        match self {
            Self::Sqlite(connection) => drop(connection),
            Self::Postgres(connection) => drop(connection.close().await),
        }
    }

    /// What its tables take on the disk.
    pub async fn bytes(&mut self) -> Result<u64, String> {
        self.number(match self {
            Self::Sqlite(_) => {
                "SELECT (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size)"
            }
            Self::Postgres(_) => "SELECT pg_database_size(current_database())",
        })
        .await
    }

    /// The statement that copies a table's rows, with the numbers of the copies left open.
    async fn copying(&mut self, table: &str, time: &str, fate: Fate) -> Result<String, String> {
        let hex = |digits: usize| match self {
            Self::Sqlite(_) => format!("printf('%0{digits}x', n)"),
            Self::Postgres(_) => format!("lpad(to_hex(n), {digits}, '0')"),
        };
        let (id, number) = (hex(DIGITS), hex(8));
        let columns = self.columns(table).await?;
        let mut values = Vec::new();
        for (name, is_text) in &columns {
            values.push(match (name.as_str(), fate) {
                ("status", Fate::Settled) if table == "invites" => "'accepted'".to_owned(),
                ("final_since", Fate::Settled) => "created_at".to_owned(),
                _ if *is_text => {
                    let mut value = name.clone();
                    for prefix in ["inv_", "bat_", "att_"] {
                        value = format!("replace({value}, '{prefix}{time}', '{prefix}' || {id})");
                    }
                    // An address, the ids that the upstream gives, a call's fingerprint.
                    value = format!(
                        "replace({value}, '@example.org', '.' || {number} || '@example.org')"
                    );
                    value = format!("replace({value}, '0196b0f7-', {number} || '-')");
                    format!("replace({value}, 'sha256:', 'sha256:' || {number})")
                }
                _ => name.clone(),
            });
        }
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        Ok(format!(
            "INSERT INTO {table} ({}) SELECT {} FROM {{NUMBERS}} AS numbers CROSS JOIN sample_{table}",
            names.join(", "),
            values.join(", ")
        ))
    }

    /// The columns of a table, and whether each holds text.
    async fn columns(&mut self, table: &str) -> Result<Vec<(String, bool)>, String> {
        let found: Result<Vec<(String, String)>, String> = match self {
            Self::Sqlite(connection) => {
                let query = format!("SELECT name, type FROM pragma_table_info('{table}')");
                connection
                    .prepare(&query)
                    .and_then(|mut statement| {
                        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                        rows.collect()
                    })
                    .map_err(told)
            }
            Self::Postgres(connection) => {
                let query = format!(
                    "SELECT column_name::text, data_type::text FROM information_schema.columns \
                     WHERE table_name = '{table}' AND table_schema = current_schema() ORDER BY ordinal_position"
                );
                sqlx::query_as(AssertSqlSafe(query)).fetch_all(connection).await.map_err(told)
            }
        };
        let found =
            found.map_err(|error| format!("cannot read the columns of {table}: {error}"))?;
        Ok(found
            .into_iter()
            .map(|(name, kind)| (name, kind.eq_ignore_ascii_case("text")))
            .collect())
    }

    async fn run(&mut self, sql: &str) -> Result<(), String> {
        let shown: String = sql.chars().take(200).collect();
        let run = match self {
            Self::Sqlite(connection) => connection.execute_batch(sql).map_err(told),
            Self::Postgres(connection) => {
                let sql = AssertSqlSafe(sql.to_owned());
                connection.execute(sql).await.map(drop).map_err(told)
            }
        };
        run.map_err(|error| format!("cannot fill the database: {shown}: {error}"))
    }

    async fn number(&mut self, sql: &str) -> Result<u64, String> {
        self.text(&format!("SELECT CAST(({sql}) AS text)"))
            .await?
            .parse()
            .map_err(|error| format!("cannot fill the database: {sql}: {error}"))
    }

    async fn text(&mut self, sql: &str) -> Result<String, String> {
        let found: Result<String, String> = match self {
            Self::Sqlite(connection) => {
                connection.query_row(sql, [], |row| row.get(0)).map_err(told)
            }
            Self::Postgres(connection) => {
                let query = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()));
                query.fetch_one(connection).await.map_err(told)
            }
        };
        found.map_err(|error| format!("cannot fill the database: {sql}: {error}"))
    }
}

fn told(error: impl Error) -> String {
    error.to_string()
}
