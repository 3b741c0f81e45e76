//! One round: a gateway with callers, providers that go wrong, deaths and restarts; then calm, and
//! the audit.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use reqwest::Method;
use serde_json::Value;
use tokio::process::Child;
use tokio::time::{Instant, interval, timeout};

use crate::audit::Audit;
use crate::gateway::{Gateway, kill, plain_client};
use crate::load::Load;
use crate::plan::{ARMED_FOR, Ending, Plan};
use crate::providers::{KINDS, Providers};
use crate::seed::Seed;

/// How long everything may take to settle once nothing goes wrong any more.
const CALM: Duration = Duration::from_secs(60);
const UNSETTLED: [&str; 4] = ["queued", "sending", "unknown", "awaiting_approval"];
/// Statuses that the provider knows of.
const ASKED: [&str; 5] = ["pending", "sent", "accepted", "declined", "expired"];

/// What a round runs on.
pub struct Setting<'a> {
    /// Of this round alone.
    pub folder: PathBuf,
    /// A server, or SQLite.
    pub postgres: Option<&'a str>,
    /// The deliberately broken engine.
    pub blind_resend: bool,
}

/// What became of a round.
pub struct Outcome {
    pub number: usize,
    pub audit: Audit,
    /// By provider, operation and kind.
    pub faults: BTreeMap<(String, String, String), u64>,
    /// Crash points, and whether they were reached.
    pub crashes: Vec<(&'static str, bool)>,
    pub kills: usize,
    pub duration: Duration,
    /// What is kept of it.
    pub folder: Option<PathBuf>,
}

struct Round<'a> {
    gateway: &'a Gateway,
    providers: &'a Providers,
    load: Load,
    crashes: Vec<(&'static str, bool)>,
    kills: usize,
    findings: Vec<String>,
}

/// Plays a round from beginning to end.
pub async fn play(plan: Plan, setting: Setting<'_>) -> Outcome {
    let began = Instant::now();
    let http = plain_client();
    let providers = Providers::start(http.clone()).await;
    let document = providers.document();
    let gateway =
        Gateway::prepare(setting.folder, &document, setting.postgres, setting.blind_resend, http);
    let gateway = gateway.await;
    providers.follow(&plan).await;
    let mut round = Round {
        gateway: &gateway,
        providers: &providers,
        load: Load::default(),
        crashes: Vec::new(),
        kills: 0,
        findings: Vec::new(),
    };
    let mut seed = plan.seed.clone();
    let mut last = None;
    for ending in &plan.lives {
        let own = Seed::new(seed.next(), 0);
        last = round.live(*ending, own).await;
    }
    let faults = providers.recover().await;
    let Round { mut findings, load, crashes, kills, .. } = round;
    load.repeat_unanswered(&gateway).await;
    settle(&gateway, &providers, &mut seed).await;
    findings.extend(refresh(&gateway).await);
    let (promised, answers) = load.close();
    findings.extend(answers);
    let panicked = gateway.log().lines().filter(|line| line.contains("panicked at")).count();
    if panicked > 0 {
        findings.push(format!("the gateway panicked {panicked} times"));
    }
    let mut effects = BTreeMap::new();
    for kind in KINDS {
        effects.insert(kind, providers.effects(kind).await);
    }
    let invites = gateway.invites(&[]).await;
    let mut audit = Audit::new(invites.as_deref().unwrap_or_default(), &effects, &promised);
    findings.extend(invites.err());
    findings.into_iter().for_each(|finding| audit.accuse(finding));
    if let Some(child) = last {
        kill(child).await;
    }
    let folder = if audit.is_clean() {
        gateway.remove().await;
        None
    } else {
        Some(keep(&gateway, &providers, &audit, &effects).await)
    };
    providers.stop().await;
    let duration = began.elapsed();
    Outcome { number: plan.number, audit, faults, crashes, kills, duration, folder }
}

impl Round<'_> {
    /// One life of the gateway; returns the process of the one that stays.
    async fn live(&mut self, ending: Ending, seed: Seed) -> Option<Child> {
        let (mut child, is_up) = self.gateway.start(ending).await;
        if is_up {
            let load = self.load.run(self.gateway, self.providers, seed);
            match ending {
                Ending::Stays => {
                    load.await;
                    if child.try_wait().unwrap().is_none() {
                        return Some(child);
                    }
                }
                Ending::KillAfter(after) => {
                    let end = async {
                        // It does not end by itself; what follows says so if it does.
                        let _ = timeout(after, child.wait()).await;
                        let ended = child.try_wait().unwrap();
                        // The callers' connections break here.
                        let _ = child.start_kill();
                        ended
                    };
                    let (ended, ()) = tokio::join!(end, load);
                    self.kills += 1;
                    if let Some(status) = ended {
                        self.findings.push(format!("the gateway ended by itself: {status}"));
                    }
                    kill(child).await;
                    return None;
                }
                Ending::CrashAt(..) => {
                    let end = async {
                        let _ = timeout(ARMED_FOR, child.wait()).await;
                        let ended = child.try_wait().unwrap();
                        let _ = child.start_kill();
                        ended
                    };
                    tokio::join!(end, load);
                }
            }
        }
        self.note_end(ending, kill(child).await);
        None
    }

    fn note_end(&mut self, ending: Ending, status: std::process::ExitStatus) {
        use std::os::unix::process::ExitStatusExt;
        const ABORTED: i32 = 6;
        const KILLED: i32 = 9;
        match (ending, status.signal()) {
            (Ending::CrashAt(label, _), Some(ABORTED)) => self.crashes.push((label, true)),
            (Ending::CrashAt(label, _), Some(KILLED)) => {
                self.crashes.push((label, false));
                self.kills += 1;
            }
            _ => self.findings.push(format!("the gateway ended by itself: {status}")),
        }
    }
}

/// Waits until every invite is settled, or for as long as it may take. A second user of the
/// organization says yes or no to what waits for an approval.
async fn settle(gateway: &Gateway, providers: &Providers, seed: &mut Seed) {
    let began = Instant::now();
    let mut looks = interval(Duration::from_millis(100));
    while began.elapsed() < CALM {
        looks.tick().await;
        let open = gateway.invites(&UNSETTLED).await;
        if open.as_ref().is_ok_and(Vec::is_empty) {
            return;
        }
        for invite in open.iter().flatten().filter(|i| i["status"] == "awaiting_approval") {
            if let Some(activity) = invite["provider_data"]["activity_id"].as_str() {
                providers.vote(activity, seed.chance(80)).await;
            }
            let path = format!("/v1/invites/{}/refresh", invite["id"].as_str().unwrap());
            // Asked again in the next turn if it was in vain.
            let _ = gateway.ask(Method::POST, &path, &[], None).await;
        }
    }
}

/// Has the gateway ask about every invite that a provider knows of; returns what went wrong.
async fn refresh(gateway: &Gateway) -> Vec<String> {
    let invites = match gateway.invites(&ASKED).await {
        Ok(invites) => invites,
        Err(why) => return vec![why],
    };
    let asking = invites.into_iter().map(|invite| async move {
        let path = format!("/v1/invites/{}/refresh", invite["id"].as_str().unwrap());
        match gateway.ask(Method::POST, &path, &[], None).await {
            Ok((200, _)) => None,
            Ok((status, body)) => Some(format!("POST {path}: {status} {body}")),
            Err(error) => Some(format!("POST {path}: {error}")),
        }
    });
    stream::iter(asking).buffer_unordered(4).filter_map(async |found| found).collect().await
}

/// Leaves everything that explains a round that failed.
async fn keep(
    gateway: &Gateway,
    providers: &Providers,
    audit: &Audit,
    effects: &BTreeMap<&'static str, Vec<Value>>,
) -> PathBuf {
    let folder = gateway.folder().to_owned();
    fs::write(folder.join("findings.txt"), audit.findings.join("\n\n")).unwrap();
    fs::write(folder.join("effects.json"), serde_json::json!(effects).to_string()).unwrap();
    for kind in KINDS {
        let journal = providers.journal(kind).await;
        fs::write(folder.join(format!("{kind}.json")), journal.to_string()).unwrap();
    }
    folder
}
