//! A PostgreSQL database for one test, on the server that `tests/run` starts.

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// An empty database.
pub(crate) struct PostgresDatabase {
    server: String,
    name: String,
}

impl PostgresDatabase {
    /// Makes one, named after the folder of the test, which is unique.
    pub async fn create(folder: &Path) -> Self {
        let unique = folder.file_name().unwrap().to_str().unwrap();
        let name = format!("{}_{}", unique.to_lowercase().replace('-', "_"), std::process::id());
        let database = Self { server: server(), name };
        // To copy files takes a fifth of what it takes to write them page by page.
        let create = format!("CREATE DATABASE {} STRATEGY file_copy", database.name);
        execute_at(&database.server, &create).await;
        database
    }

    /// The server's host and port.
    pub fn host(&self) -> String {
        let (_, rest) = self.server.split_once("://").unwrap();
        let (authority, _) = rest.split_once('/').unwrap();
        authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_owned()
    }

    /// Its address if its server were at this host and port.
    pub fn url_at(&self, host: &str) -> String {
        let (server, _) = self.server.rsplit_once('/').unwrap();
        format!("{}/{}", server.replace(&self.host(), host), self.name)
    }

    /// Drops it, whoever is still connected.
    pub async fn remove(&self) {
        execute_at(&self.server, &format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }

    /// Runs SQL on it.
    pub async fn execute(&self, sql: &str) {
        execute_at(&self.url_at(&self.host()), sql).await;
    }
}

async fn execute_at(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    connection.execute(AssertSqlSafe(sql)).await.unwrap();
    connection.close().await.unwrap();
}

#[expect(clippy::disallowed_methods, reason = "tests/run says where its server is")]
fn server() -> String {
    std::env::var("TEST_POSTGRES_URL").unwrap_or_else(|_| {
        panic!("TEST_POSTGRES_URL names no PostgreSQL server: run tests/run, which starts one")
    })
}
