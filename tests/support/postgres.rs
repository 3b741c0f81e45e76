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
        database.execute(&format!("CREATE DATABASE {}", database.name)).await;
        database
    }

    /// Its address.
    pub fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').unwrap();
        format!("{server}/{}", self.name)
    }

    /// Drops it, whoever is still connected.
    pub async fn remove(&self) {
        self.execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }

    async fn execute(&self, statement: &str) {
        execute(&self.server, statement).await;
    }
}

/// Runs SQL on a connection of its own.
pub(crate) async fn execute(url: &str, statement: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    connection.execute(AssertSqlSafe(statement)).await.unwrap();
    connection.close().await.unwrap();
}

#[expect(clippy::disallowed_methods, reason = "tests/run says where its server is")]
fn server() -> String {
    std::env::var("TEST_POSTGRES_URL").unwrap_or_else(|_| {
        panic!("TEST_POSTGRES_URL names no PostgreSQL server: run tests/run, which starts one")
    })
}
