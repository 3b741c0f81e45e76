//! Receives the gateway's webhooks: verifies each, stores what it tells, and only then answers.
//!
//! `webhook-receiver invites.db 9000 FILE-WITH-SECRET`

use std::{
    env,
    error::Error,
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use rusqlite::{Connection, params};
use serde::Deserialize;
use standardwebhooks::Webhook;
use tokio::{net::TcpListener, task::spawn_blocking};

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS received (event TEXT PRIMARY KEY, type TEXT, subject TEXT);
    CREATE TABLE IF NOT EXISTS invites (id TEXT PRIMARY KEY, status TEXT, event TEXT);";

/// What takes long is done afterwards, from this table.
const RECEIVE: &str = "INSERT OR IGNORE INTO received VALUES (?, ?, ?)";

/// Events come in no certain order, so that an older one may be the last to come.
const KEEP: &str = "
    INSERT INTO invites VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE
    SET status = excluded.status, event = excluded.event WHERE excluded.event > invites.event";

#[derive(Deserialize)]
struct Event {
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    subject: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    /// Absent where the event is not about an invite.
    invite: Option<Invite>,
}

#[derive(Deserialize)]
struct Invite {
    id: String,
    status: String,
}

struct Receiver {
    verifier: Webhook,
    database: Mutex<Connection>,
}

impl Receiver {
    /// Stores an event, once however often it comes.
    fn store(&self, event: &Event) -> rusqlite::Result<()> {
        let mut database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let change = database.transaction()?;
        change.execute(RECEIVE, [&event.id, &event.event_type, &event.subject])?;
        if let Some(invite) = &event.data.invite {
            change.execute(KEEP, params![invite.id, invite.status, event.id])?;
        }
        change.commit()
    }
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    if receiver.verifier.verify(&body, &headers).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(event) = serde_json::from_slice::<Event>(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    match spawn_blocking(move || receiver.store(&event)).await {
        Ok(Ok(())) => StatusCode::NO_CONTENT,
        // The event is sent again.
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [file, port, secret] = &arguments[..] else {
        return Err("usage: webhook-receiver DATABASE PORT FILE-WITH-SECRET".into());
    };
    let database = Connection::open(file)?;
    database.execute_batch(TABLES)?;
    let verifier = Webhook::new(std::fs::read_to_string(secret)?.trim())?;
    let receiver = Arc::new(Receiver { verifier, database: Mutex::new(database) });
    let listener = TcpListener::bind(("127.0.0.1", port.parse()?)).await?;
    writeln!(std::io::stdout(), "http://{}/", listener.local_addr()?)?;
    // What is longer than 2 MB axum refuses.
    let app = Router::new().route("/", post(receive)).with_state(receiver);
    axum::serve(listener, app).await?;
    Ok(())
}
