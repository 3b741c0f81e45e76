//! What removing old invites costs those who invite: how many invites a second are accepted beside it,
//! as a share of how many are without it. Phases with and without take turns, each on a gateway, a
//! database and simulators of its own.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use invite_tests::{invites, person};
use reqwest::Method;
use tokio::time::Instant;

use crate::gateway::{Caller, Gateway, Server, Setting, kill, plain_client};
use crate::plan::Ending;
use crate::providers::Providers;

/// Callers who post one invite after the other.
const CALLERS: usize = 32;
/// Everything is over at once; keys are remembered for less than a row stays.
const REMOVING: &str = "
[idempotency]
retention = \"1s\"

[privacy.retention]
bodies = \"0s\"
person = \"0s\"
row = \"1s\"
";
const KEEPING: &str = "
[privacy.retention]
bodies = \"never\"
person = \"never\"
row = \"never\"
";

/// What is measured.
pub struct Choice {
    rows: u64,
    seconds: u64,
    turns: usize,
    postgres: Option<Server>,
}

impl Choice {
    /// Reads the arguments behind `retention`; none if help is asked for.
    pub fn read(mut given: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut choice = Self { rows: 100_000, seconds: 10, turns: 3, postgres: None };
        while let Some(name) = given.next() {
            let mut value = || given.next().ok_or_else(|| format!("{name} needs a value"));
            match name.as_str() {
                "--rows" => choice.rows = crate::number(&name, &value()?)?.max(1),
                "--seconds" => choice.seconds = crate::number(&name, &value()?)?.max(1),
                "--turns" => choice.turns = crate::number(&name, &value()?)?.max(1) as usize,
                "--database" => choice.postgres = crate::database(&value()?)?,
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("unknown argument {name} of retention")),
            }
        }
        Ok(Some(choice))
    }
}

/// Measures, and says what came of it.
pub async fn measure(choice: &Choice, kept: &Path) {
    println!(
        "retention: {} old invites, {CALLERS} callers, {} turns of {} s",
        choice.rows, choice.turns, choice.seconds
    );
    let mut ratios = Vec::new();
    for turn in 0..choice.turns {
        let without = play(choice, &kept.join(format!("turn-{turn}-without")), KEEPING).await;
        let with = play(choice, &kept.join(format!("turn-{turn}-with")), REMOVING).await;
        let ratio = with / without;
        println!("turn {turn}: {without:.0} accepted a second without, {with:.0} with: {ratio:.2}");
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median: {:.2}", ratios[ratios.len() / 2]);
}

/// How many invites a second were accepted.
async fn play(choice: &Choice, folder: &Path, settings: &str) -> f64 {
    let http = plain_client();
    let providers = Providers::start(http.clone()).await;
    let setting = Setting {
        folder: folder.to_owned(),
        postgres: choice.postgres.clone(),
        replicas: 1,
        blind_resend: false,
    };
    let gateway = Gateway::prepare(setting, &providers.document(), http).await;
    let mut file =
        OpenOptions::new().append(true).open(gateway.folder().join("gateway.toml")).unwrap();
    file.write_all(settings.as_bytes()).unwrap();
    fill(&gateway, choice.rows).await;
    let (child, is_up) = gateway.start(0, Ending::Stays).await;
    assert!(is_up, "the gateway does not start: {}", gateway.log());
    let (accepted, length) = (AtomicUsize::new(0), Duration::from_secs(choice.seconds));
    let began = Instant::now();
    join_all((0..CALLERS).map(|caller| call(&gateway, caller, began, length, &accepted))).await;
    let rate = accepted.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    let is_removing = settings == REMOVING;
    assert_eq!(is_held(&gateway, 1).await, !is_removing, "the first is removed if any is");
    assert!(is_held(&gateway, choice.rows).await, "all were removed too soon: give more --rows");
    kill(child).await;
    gateway.remove().await;
    providers.stop().await;
    rate
}

async fn call(
    gateway: &Gateway,
    caller: usize,
    began: Instant,
    length: Duration,
    accepted: &AtomicUsize,
) {
    let headers = [("prefer", "respond-async".to_owned())];
    let mut number = caller;
    while began.elapsed() < length {
        let body = invites("tenancy", [person(number)]);
        let asked = gateway.ask(Caller::First, Method::POST, "/v1/invites", &headers, Some(&body));
        let (status, answer) = asked.await.unwrap();
        // The queue may be full, which is no invite.
        assert!(matches!(status, 200..=202 | 503), "{status} {answer}");
        accepted.fetch_add(usize::from(status != 503), Ordering::Relaxed);
        number += CALLERS;
    }
}

/// Whether what was exchanged about an old invite is still there.
async fn is_held(gateway: &Gateway, number: u64) -> bool {
    let path = format!("/v1/invites/inv_{number:032x}/attempts");
    let (_, page) = gateway.ask(Caller::Admin, Method::GET, &path, &[], None).await.unwrap();
    page["attempts"][0]["request"]["email"].is_string()
}

/// Puts so many old invites to one person into the database, each of a batch and with a call of its own.
async fn fill(gateway: &Gateway, rows: u64) {
    let statements = |id: &str| {
        let numbers = format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) "
        );
        let message = "x".repeat(350);
        let body = format!("{{\"email\":\"old@example.org\",\"message\":\"{message}\"}}");
        [
            format!(
                "INSERT INTO batches (id, tenant, config_revision, duplicates, created_at) {numbers} \
                 SELECT 'bat_' || {id}, 'default', 1, '[]', 1700000000000 FROM n"
            ),
            format!(
                "INSERT INTO invites (id, batch_id, item_index, tenant, provider, kind, destination, \
                 service, config_revision, address, invitee, labels, created_at, status, status_source, provider_ref, \
                 provider_data, attempt_count, duplicate_effect, revoke_sent, queued_at, lookups, \
                 found_absent, updated_at, final_since) {numbers} SELECT 'inv_' || {id}, \
                 'bat_' || {id}, 0, 'default', 'tenancy', 'rkvst', 'rkvst http://localhost old', \
                 'rkvst http://localhost', 1, 'old@example.org', '{{\"email\":\"old@example.org\"}}', \
                 '{{\"team\":\"old\"}}', 1700000000000, 'accepted', 'provider', 'old-' || i, '{{}}', 1, \
                 0, 0, 1700000000000, 0, 0, 1700000000000, 1700000000000 + i FROM n"
            ),
            format!(
                "INSERT INTO invite_labels (invite_id, name, value) {numbers} \
                 SELECT 'inv_' || {id}, 'team', 'old' FROM n"
            ),
            format!(
                "INSERT INTO attempts (id, provider, operation, config_revision, started_at, \
                 finished_at, outcome, http_status, request, reply) {numbers} SELECT 'att_' || {id}, \
                 'tenancy', 'create', 1, 1700000000000, 1700000000000, 'succeeded', 200, '{body}', \
                 '{body}' FROM n"
            ),
            format!(
                "INSERT INTO attempt_invites (invite_id, attempt_id, position) {numbers} \
                 SELECT 'inv_' || {id}, 'att_' || {id}, 0 FROM n"
            ),
        ]
        .join("; ")
    };
    let sqlite = statements("printf('%032x', i)");
    gateway.execute(&sqlite, &statements("lpad(to_hex(i), 32, '0')")).await;
}
