//! One round: a gateway with callers, providers that go wrong, deaths and restarts; then calm, and
//! the audit.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream;
use reqwest::Method;
use serde_json::Value;
use tokio::process::Child;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::audit::Audit;
use crate::followers::Followers;
use crate::gateway::{Caller, Gateway, Setting, kill, plain_client};
use crate::load::{Load, come_at};
use crate::machine::{Mishap, pass};
use crate::plan::{ARMED_FOR, Ending, Phase, Plan};
use crate::providers::{KINDS, Providers};
use crate::seed::Seed;
use crate::siege;
use crate::trouble::{self, Trouble};

/// By then an engine that does not know an invite in the provider's spelling holds that it is absent,
/// and has sent it again: after a time-out and twice `settle`.
const BELIEVED_AFTER: Duration = Duration::from_millis(2_500);
/// How long everything may take to settle once nothing goes wrong any more.
const CALM: Duration = Duration::from_secs(60);
/// The same in looks at the gateway's list, which take longer on a machine that is busy with something
/// else.
const CALM_LOOKS: usize = 240;
const UNSETTLED: [&str; 4] = ["queued", "sending", "unknown", "awaiting_approval"];
/// Statuses that the provider knows of.
const ASKED: [&str; 5] = ["pending", "sent", "accepted", "declined", "expired"];

/// What became of a round.
pub struct Outcome {
    pub number: usize,
    pub audit: Audit,
    /// By provider, operation and kind.
    pub faults: BTreeMap<(String, String, String), u64>,
    pub troubles: Vec<Trouble>,
    /// Failpoints, and whether they were reached.
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
    has_server: bool,
    /// By replica.
    children: Vec<Option<Child>>,
    crashes: Vec<(&'static str, bool)>,
    kills: usize,
    findings: Vec<String>,
}

/// Plays a round from beginning to end.
pub async fn play(plan: Plan, setting: Setting) -> Outcome {
    let began = Instant::now();
    let http = plain_client();
    let providers = Providers::start(http.clone()).await;
    let document = providers.document();
    let has_server = setting.postgres.is_some();
    let gateway = Gateway::prepare(setting, &document, http).await;
    providers.follow(&plan).await;
    let mut round = Round {
        gateway: &gateway,
        providers: &providers,
        load: Load::new(&plan.troubles),
        has_server,
        children: gateway.machines().iter().map(|_| None).collect(),
        crashes: Vec::new(),
        kills: 0,
        findings: Vec::new(),
    };
    let mut seed = plan.seed.clone();
    let mut followers = Followers::start(Seed::new(plan.seed.clone().next(), 1)).await;
    let storm = async {
        for phase in &plan.phases {
            let own = Seed::new(seed.next(), 0);
            round.live(phase, own).await;
        }
    };
    // The reader of the feed dies at the end of the storm, wherever it is.
    tokio::select! {
        () = storm => {}
        () = followers.follow(&gateway) => {}
    }
    for machine in gateway.machines() {
        machine.recover();
    }
    let faults = providers.met().await;
    let Round { mut findings, load, children, crashes, kills, .. } = round;
    providers.relieve(&trouble::relief(&plan.settings), &plan.lasting).await;
    let had = providers.all_effects().await;
    if plan.troubles.contains(&Trouble::Respelled) {
        pass(BELIEVED_AFTER).await;
    }
    providers.relieve(&trouble::plain(), &plan.lasting).await;
    let starved = siege::endure(&gateway, &providers, &load, &plan.troubles).await;
    providers.relieve(&[], &[]).await;
    load.repeat_unanswered(&gateway).await;
    settle(&gateway, &providers, &mut seed).await;
    findings.extend(refresh(&gateway).await);
    let (promised, answers) = load.close();
    findings.extend(answers);
    findings.extend(panics(&gateway));
    let effects = providers.all_effects().await;
    let invites = gateway.invites(&[]).await;
    let mut audit = Audit::new(invites.as_deref().unwrap_or_default(), &effects, &promised);
    audit.examine_failures(&plan, invites.as_deref().unwrap_or_default(), &had);
    findings.extend(followers.examine(&gateway, invites.as_deref().unwrap_or_default()).await);
    findings.extend(invites.err());
    findings.into_iter().for_each(|finding| audit.accuse(finding));
    starved.into_iter().for_each(|finding| audit.starve(finding));
    for child in children.into_iter().flatten() {
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
    let Plan { number, troubles, .. } = plan;
    Outcome { number, audit, faults, troubles, crashes, kills, duration, folder }
}

fn panics(gateway: &Gateway) -> Option<String> {
    let panicked = gateway.log().lines().filter(|line| line.contains("panicked at")).count();
    (panicked > 0).then(|| format!("the gateway panicked {panicked} times"))
}

/// How a process came to its end in a phase.
enum End {
    /// It did not.
    Lives(Child),
    /// It was killed, or died where it was to die.
    Dead(Ending, ExitStatus),
    /// It was to be killed, and ended before.
    ByItself(ExitStatus),
}

impl Round<'_> {
    /// One life of every process of the gateway, with its callers and mishaps.
    async fn live(&mut self, phase: &Phase, seed: Seed) {
        let mut ends = Vec::new();
        for (replica, ending) in phase.endings.iter().enumerate() {
            match self.begin(replica, *ending).await {
                Some(child) => ends.push((replica, child, *ending)),
                None => continue,
            }
        }
        let gateway = self.gateway;
        let ends = ends.into_iter().map(async |(replica, child, ending)| {
            let end = end(child, ending).await;
            if !matches!(end, End::Lives(_)) {
                gateway.machines()[replica].runs(None);
            }
            (replica, end)
        });
        let mishaps = phase.events.iter().map(async |event| {
            come_at(event.at).await;
            match event.mishap {
                Mishap::DatabaseRestart => gateway.restart_database().await,
                mishap => gateway.machines()[event.machine].suffer(mishap).await,
            }
        });
        let load = self.load.run(gateway, self.providers, seed);
        let (ends, _, ()) = tokio::join!(join_all(ends), join_all(mishaps), load);
        for (replica, end) in ends {
            match end {
                End::Lives(mut child) => match child.try_wait().unwrap() {
                    None => self.children[replica] = Some(child),
                    Some(status) => self.note_end(Ending::Stays, status),
                },
                End::Dead(ending, status) => self.note_end(ending, status),
                End::ByItself(status) => {
                    self.kills += 1;
                    self.findings.push(format!("the gateway ended by itself: {status}"));
                }
            }
        }
    }

    /// The process of a replica for the next phase, the one that runs if it will do; none if it was
    /// over before it began.
    async fn begin(&mut self, replica: usize, ending: Ending) -> Option<Child> {
        if let Some(child) = self.children[replica].take() {
            if !matches!(ending, Ending::CrashAt(..)) {
                return Some(child);
            }
            self.gateway.machines()[replica].runs(None);
            self.kills += 1;
            kill(child).await;
        }
        if !self.has_server {
            // A step forward while no process runs cannot be told from time that has passed.
            self.gateway.machines()[replica].recover();
        }
        let began = Instant::now();
        let mut tries = interval(Duration::from_millis(200));
        loop {
            tries.tick().await;
            let (child, is_up) = self.gateway.start(replica, ending).await;
            if is_up {
                return Some(child);
            }
            self.gateway.machines()[replica].runs(None);
            let status = kill(child).await;
            // It may refuse to start while there is no database.
            if !self.has_server || status.signal().is_some() || began.elapsed() > CALM {
                self.note_end(ending, status);
                return None;
            }
        }
    }

    fn note_end(&mut self, ending: Ending, status: ExitStatus) {
        const ABORTED: i32 = 6;
        const KILLED: i32 = 9;
        match (ending, status.signal()) {
            (Ending::CrashAt(label, _), Some(ABORTED)) => self.crashes.push((label, true)),
            (Ending::CrashAt(label, _), Some(KILLED)) => {
                self.crashes.push((label, false));
                self.kills += 1;
            }
            (Ending::KillAfter(_), Some(KILLED)) => self.kills += 1,
            _ => self.findings.push(format!("the gateway ended by itself: {status}")),
        }
    }
}

/// Lets a process come to the end that it is to have.
async fn end(mut child: Child, ending: Ending) -> End {
    let longest = match ending {
        Ending::Stays => return End::Lives(child),
        Ending::KillAfter(after) => after,
        Ending::CrashAt(..) => ARMED_FOR,
    };
    let ended = timeout(longest, child.wait()).await;
    match (ending, ended) {
        (Ending::KillAfter(_), Ok(status)) => End::ByItself(status.unwrap()),
        // The callers' connections break here.
        _ => End::Dead(ending, kill(child).await),
    }
}

/// Waits until every invite is settled, or for as long as it may take. A second user of the
/// organization says yes or no to what waits for an approval.
async fn settle(gateway: &Gateway, providers: &Providers, seed: &mut Seed) {
    let mut ticks = interval(Duration::from_millis(250));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..CALM_LOOKS {
        ticks.tick().await;
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
            let _ = gateway.ask(Caller::Admin, Method::POST, &path, &[], None).await;
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
        match gateway.insist(Caller::Admin, Method::POST, &path, &[], None).await {
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
