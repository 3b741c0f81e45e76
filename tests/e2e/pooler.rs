//! PgBouncer between the gateway and PostgreSQL.

use std::net::TcpListener;
use std::process::Stdio;

use invite_tests::{Database, Gateway, eventually, invites, person};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;
use tokio::process::{Child, Command};

const URL: &str = "INVITE_GATEWAY__STORAGE__URL";

/// Ends when dropped.
struct Pooler {
    /// The gateway's database by way of it.
    url: String,
    _process: Child,
    _folder: TempDir,
}

impl Pooler {
    /// One with these settings before the database of a gateway.
    async fn start(gateway: &Gateway, settings: &str) -> Self {
        let direct = gateway.postgres_url();
        let (scheme, host) = direct.split_once('@').unwrap();
        let (host, database) = host.split_once('/').unwrap();
        let (name, port) = host.split_once(':').unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pgbouncer.ini");
        loop {
            // Somebody else may have the port by the time that it listens.
            let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let url = format!("{scheme}@{free}/{database}");
            // It refuses to run as root.
            let user = if rustix::process::geteuid().is_root() { "user = postgres\n" } else { "" };
            let text = format!(
                "[databases]\n* = host={name} port={port} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {}\nunix_socket_dir =\nauth_type = any\n{user}{settings}\n",
                free.port()
            );
            std::fs::write(&file, text).unwrap();
            let mut command = Command::new("/usr/sbin/pgbouncer");
            command.arg("-q").arg(&file).stdin(Stdio::null()).kill_on_drop(true);
            let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let is_up = async || match process.try_wait().unwrap() {
                Some(_) => Some(false),
                None => connect(&url).await.ok().map(|_| true),
            };
            if eventually("the pooler runs, or ends", is_up).await {
                return Self { url, _process: process, _folder: folder };
            }
        }
    }
}

async fn connect(url: &str) -> Result<PgConnection, sqlx::Error> {
    let options: PgConnectOptions = url.parse()?;
    PgConnection::connect_with(&options.extra_float_digits(None)).await
}

#[tokio::test]
async fn a_pooler_that_keeps_a_session_for_each_client_serves_and_any_other_is_refused() {
    let mut gateway = Gateway::builder().database(Database::Postgres).start().await;
    for settings in [
        "pool_mode = transaction",
        "pool_mode = statement",
        "pool_mode = transaction\nserver_reset_query_always = 1",
        "pool_mode = transaction\nserver_round_robin = 1",
    ] {
        let pooler = Pooler::start(&gateway, settings).await;
        if settings.contains("robin") {
            // Each statement outside of a transaction is then another session's.
            let mut sessions = Vec::new();
            for _ in 0..4 {
                let mut session = connect(&pooler.url).await.unwrap();
                session.execute("BEGIN").await.unwrap();
                sessions.push(session);
            }
            for mut session in sessions {
                session.execute("COMMIT").await.unwrap();
            }
        }
        gateway.binary.set_variable(URL, &pooler.url);
        for command in [&["serve"][..], &["keys", "list"]] {
            let refused = gateway.command(command).await;
            let complaint = String::from_utf8(refused.stderr).unwrap();
            assert_eq!(refused.status.code(), Some(2), "{settings}: {command:?}: {complaint}");
            let advice = "let it keep one session for each client (PgBouncer: pool_mode = session)";
            assert!(complaint.contains(advice), "{settings}: {command:?}: {complaint}");
        }
    }
    let pooler = Pooler::start(&gateway, "pool_mode = session").await;
    gateway.stop().await;
    gateway.binary.set_variable(URL, &pooler.url);
    gateway.start_again().await;
    gateway.client().invite(&invites("berlin-summit", [person(1)])).await;
    gateway.finish().await;
}
