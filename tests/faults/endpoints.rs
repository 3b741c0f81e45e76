//! How far behind webhooks are: ten get everything that is written, of which one is dead and one slow. The others must hardly
//! notice.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path as Place, State};
use axum::http::StatusCode;
use invite_tests::{invites, person};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::gateway::{Caller, Gateway, Server, Setting, kill, plain_client};
use crate::plan::Ending;
use crate::providers::Providers;

/// The endpoints: nothing listens at the first, and the second answers late.
const ENDPOINTS: usize = 10;
const DEAD: usize = 0;
const SLOW: usize = 1;
const LATE: Duration = Duration::from_secs(5);
/// How far behind any of the others may be.
const BEHIND: Duration = Duration::from_secs(2);
/// How long is waited for the last of them.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often invites are asked for.
const EVERY: Duration = Duration::from_millis(100);
/// How many events an invite is told by: that it is queued, and that it is at its provider.
const EVENTS_EACH: u64 = 2;

/// What is measured.
pub struct Choice {
    events: u64,
    seconds: u64,
    postgres: Option<Server>,
}

impl Choice {
    /// Reads the arguments behind `endpoints`; none if help is asked for.
    pub fn read(mut given: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut choice = Self { events: 1000, seconds: 20, postgres: None };
        while let Some(name) = given.next() {
            let mut value = || given.next().ok_or_else(|| format!("{name} needs a value"));
            match name.as_str() {
                "--events" => choice.events = crate::number(&name, &value()?)?.max(20),
                "--seconds" => choice.seconds = crate::number(&name, &value()?)?.max(1),
                "--database" => choice.postgres = crate::database(&value()?)?,
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("unknown argument {name} of endpoints")),
            }
        }
        Ok(Some(choice))
    }
}

/// How far behind each event was that came to an endpoint.
type Behind = [Mutex<Vec<Duration>>; ENDPOINTS];

/// Measures, and says how it went; true if no healthy endpoint is too far behind.
pub async fn measure(choice: &Choice, kept: &Path) -> bool {
    println!(
        "endpoints: {} events a second for {} s, each to {ENDPOINTS} endpoints, of which one is dead and one answers \
         after {LATE:?}",
        choice.events, choice.seconds
    );
    let http = plain_client();
    let providers = Providers::start(http.clone()).await;
    let setting = Setting {
        folder: kept.join("endpoints"),
        postgres: choice.postgres.clone(),
        replicas: 1,
        blind_resend: false,
    };
    let gateway = Gateway::prepare(setting, &providers.document(), http).await;
    let (child, is_up) = gateway.start(0, Ending::Stays).await;
    assert!(is_up, "the gateway does not start: {}", gateway.log());
    let behind = Arc::new(Behind::default());
    let url = listen(Arc::clone(&behind)).await;
    for place in 0..ENDPOINTS {
        // Nothing listens on the port of the service that discards.
        let url =
            if place == DEAD { "http://127.0.0.1:9".to_owned() } else { format!("{url}/{place}") };
        let types = json!(["invite.queued", "invite.pending"]);
        let body = json!({ "url": url, "types": types });
        let made = gateway.ask(Caller::First, Method::POST, "/v1/webhooks", &[], Some(&body)).await;
        assert!(matches!(made, Ok((201, _))), "{made:?}");
    }
    // The sender looks for new webhooks each second.
    sleep(Duration::from_secs(2)).await;
    let began = Instant::now();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let each = choice.events / EVENTS_EACH * u64::try_from(EVERY.as_millis()).unwrap() / 1000;
    let mut asked: u64 = 0;
    while began.elapsed() < Duration::from_secs(choice.seconds) {
        ticks.tick().await;
        let people = (asked..asked + each).map(|number| person(usize::try_from(number).unwrap()));
        let headers = [("prefer", "respond-async".to_owned())];
        let body = invites("tenancy", people);
        let answer = gateway.ask(Caller::First, Method::POST, "/v1/invites", &headers, Some(&body));
        let (status, answer) = answer.await.unwrap();
        assert!(matches!(status, 200..=202), "{status} {answer}");
        asked += each;
    }
    let took = began.elapsed();
    let is_told = |place: usize| {
        let count = behind[place].lock().unwrap().len();
        [DEAD, SLOW].contains(&place) || u64::try_from(count).unwrap() >= asked * EVENTS_EACH
    };
    let waits = Instant::now();
    while waits.elapsed() < PATIENCE && !(0..ENDPOINTS).all(is_told) {
        sleep(EVERY).await;
    }
    let mut is_good = true;
    for (place, behind) in behind.iter().enumerate() {
        let mut behind = std::mem::take(&mut *behind.lock().unwrap());
        behind.sort();
        let at = |share: usize| {
            behind.get((behind.len().max(1) - 1) * share / 100).copied().unwrap_or_default()
        };
        let (median, most) = (at(50), at(100));
        let count = u64::try_from(behind.len()).unwrap();
        let name = match place {
            DEAD => "dead",
            SLOW => "slow",
            _ => "healthy",
        };
        println!(
            "endpoint {place} ({name:>7}): {count:>6} of {} events, {:>6.3} s behind in the median, {:>6.3} s at most",
            asked * EVENTS_EACH,
            median.as_secs_f64(),
            most.as_secs_f64()
        );
        is_good &=
            place == DEAD || place == SLOW || (most <= BEHIND && count >= asked * EVENTS_EACH);
    }
    println!(
        "{:.0} events a second were written",
        (asked * EVENTS_EACH) as f64 / took.as_secs_f64()
    );
    kill(child).await;
    gateway.remove().await;
    providers.stop().await;
    is_good
}

async fn listen(behind: Arc<Behind>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().route("/{place}", axum::routing::post(take)).with_state(behind);
    // It serves until the process ends.
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

async fn take(
    State(behind): State<Arc<Behind>>,
    Place(place): Place<usize>,
    body: String,
) -> StatusCode {
    let event: Value = serde_json::from_str(&body).unwrap();
    let at: Timestamp = event["timestamp"].as_str().unwrap().parse().unwrap();
    behind[place].lock().unwrap().push(now().duration_since(at).unsigned_abs());
    if place == SLOW {
        sleep(LATE).await;
    }
    StatusCode::NO_CONTENT
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is compared with the clock of a gateway on the same machine"
)]
fn now() -> Timestamp {
    Timestamp::now()
}
