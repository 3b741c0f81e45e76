//! The PostgreSQL server of the run: a database for each cell, and what a plain INSERT costs it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::procfs::{Cost, Processes};

pub const NO_SERVER: &str = "there is no PostgreSQL server: tests/bench/run starts one";

/// The server that tests/bench/run has started.
pub struct Server {
    pub address: SocketAddr,
    /// The process that all others of it descend from.
    pub processes: Processes,
}

/// A database that is removed again.
pub struct Database<'a> {
    server: &'a Server,
    name: String,
}

/// A row as the peers store it, in a transaction of its own.
const TABLE: &str = "CREATE TABLE invites (id text PRIMARY KEY, batch_id text NOT NULL, email text NOT NULL, \
    first_name text, last_name text, provider text NOT NULL, status text NOT NULL, provider_ref text, \
    created_at bigint NOT NULL)";
const INSERT: &str = "INSERT INTO invites VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

impl Server {
    pub async fn database(&self, cell: &str) -> Database<'_> {
        let name = format!("bench_{}", cell.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
        let database = Database { server: self, name };
        database.remove().await;
        self.execute(&format!("CREATE DATABASE {}", database.name)).await;
        // What making it left to do is not the cell's.
        self.execute("CHECKPOINT").await;
        database
    }

    async fn execute(&self, statement: &str) {
        let url = url(self.address, "postgres");
        let mut connection = PgConnection::connect(&url).await.unwrap();
        connection.execute(AssertSqlSafe(statement)).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Rows that are inserted one after the other with a prepared statement, and what they cost the server.
    pub async fn insert_rows(&self, cell: &str, time: Duration) -> (u64, Cost) {
        let database = self.database(cell).await;
        let mut connection = PgConnection::connect(&database.url(self.address)).await.unwrap();
        connection.execute(TABLE).await.unwrap();
        // The first ones prepare the statement and fill caches.
        let first = insert_for(&mut connection, 0, time / 4).await;
        let before = self.processes.read();
        let rows = insert_for(&mut connection, first, time).await - first;
        let cost = self.processes.read().since(&before);
        connection.close().await.unwrap();
        database.remove().await;
        (rows, cost)
    }
}

/// Inserts rows with the numbers from `next` on; the number after the last.
async fn insert_for(connection: &mut PgConnection, mut next: u64, time: Duration) -> u64 {
    let began = Instant::now();
    while began.elapsed() < time {
        let row = sqlx::query(INSERT)
            .bind(format!("inv_{next:032x}"))
            .bind("bat_01a200509bfe748b95d235e2840fedc5")
            .bind(format!("person.{next:08}@example.org"))
            .bind("Ada")
            .bind("Lovelace")
            .bind("treasury")
            .bind("sending")
            .bind(None::<String>)
            .bind(1_764_000_000_000_i64);
        row.execute(&mut *connection).await.unwrap();
        next += 1;
    }
    next
}

impl Database<'_> {
    /// Its address by way of the server, or of a proxy in front of that.
    pub fn url(&self, way: SocketAddr) -> String {
        url(way, &self.name)
    }

    pub async fn remove(&self) {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        self.server.execute(&statement).await;
    }
}

fn url(address: SocketAddr, database: &str) -> String {
    format!("postgres://postgres@{address}/{database}")
}
