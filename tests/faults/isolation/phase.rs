//! One phase: a fresh gateway, fresh simulators, and requests that come when they come, whether or
//! not earlier ones were answered. What its times mean is in `table`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use futures::future::{join, join_all};
use invite_tests::{invites, person};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::PLACES;
use crate::gateway::{Caller, Gateway, Server, Setting, kill, plain_client};
use crate::load::come_at;
use crate::plan::Ending;
use crate::providers::Providers;
use crate::seed::Seed;

/// Requests each second to each of the two providers without a fault.
const RATE: f64 = 60.0;
/// To the third.
const RATE_OF_THIRD: f64 = RATE / 2.0;
/// In rounds the waits are short, so that all is over soon; here they are those of real use, which
/// decide how much is asked of a provider that fails. Time-outs and `settle` stay short: what follows
/// them has to happen within a phase.
const HASTE: &str = "retry = { first = \"50ms\", max = \"300ms\" }";
const REFRESH: &str = "refresh = \"1s\"";
/// What comes so early is not measured: connections are made and tokens fetched.
const WARM_UP: Duration = Duration::from_millis(400);

/// What a phase runs on.
pub struct Phase<'a> {
    /// Of this phase alone.
    pub folder: PathBuf,
    /// A server, or SQLite.
    pub postgres: Option<&'a Server>,
    /// The provider that may have a fault: its name and kind.
    pub faulty: (&'static str, &'static str),
    /// Its faults.
    pub rules: Vec<Value>,
    /// The same requests come at the same moments for the same seed.
    pub seed: u64,
    /// Without the warm-up.
    pub length: Duration,
}

/// What was measured.
pub struct Measured {
    /// How long each request took, by the provider that it went to.
    pub times: BTreeMap<&'static str, Vec<Duration>>,
    /// Processor time of the gateway, in ticks of the system.
    pub ticks: u64,
    /// Requests that met the fault.
    pub met: u64,
}

impl Phase<'_> {
    /// Runs it from beginning to end.
    pub async fn play(self) -> Measured {
        let http = plain_client();
        let providers = Providers::start(http.clone()).await;
        for rule in &self.rules {
            providers.break_down(self.faulty.1, rule).await;
        }
        providers.set("turnkey", &json!({ "quota": 1_000_000 })).await;
        let document = without(&providers.document(), HASTE);
        let setting = Setting {
            folder: self.folder.clone(),
            postgres: self.postgres.cloned(),
            replicas: 1,
            blind_resend: false,
        };
        let gateway = Gateway::prepare(setting, &document, http).await;
        let settings = gateway.folder().join("gateway.toml");
        fs::write(&settings, without(&fs::read_to_string(&settings).unwrap(), REFRESH)).unwrap();
        let (child, is_up) = gateway.start(0, Ending::Stays).await;
        assert!(is_up, "the gateway does not start: {}", gateway.log());
        let id = child.id().unwrap();
        let began = ticks(id);
        let times = self.call(&gateway).await;
        let ticks = ticks(id) - began;
        let met = providers.met().await.values().sum();
        assert!(self.rules.is_empty() || met > 0, "no request met the fault: {:?}", self.rules);
        kill(child).await;
        gateway.remove().await;
        providers.stop().await;
        Measured { times, ticks, met }
    }

    /// All requests of the phase.
    async fn call(&self, gateway: &Gateway) -> BTreeMap<&'static str, Vec<Duration>> {
        let (third, _) = self.faulty;
        let others = PLACES.into_iter().map(|(name, _)| name).filter(|name| *name != third);
        let invite = others.map(async |name| {
            let requests = self.arrivals(name, RATE).into_iter().enumerate();
            let times = join_all(requests.map(|(number, at)| invite(gateway, name, number, at)));
            (name, times.await.into_iter().flatten().collect())
        });
        let requests = self.arrivals(third, RATE_OF_THIRD).into_iter().enumerate();
        let leave = requests.map(|(number, at)| leave(gateway, third, number, at));
        let (times, _) = join(join_all(invite), join_all(leave)).await;
        times.into_iter().collect()
    }

    /// When requests come to a provider: independently of each other, so many a second on average.
    fn arrivals(&self, name: &str, rate: f64) -> Vec<Duration> {
        let place = PLACES.iter().position(|(own, _)| *own == name).unwrap();
        let mut seed = Seed::new(self.seed, place as u64 + 1);
        let mut at = Duration::ZERO;
        let next = || {
            let share = 1.0 - seed.below(1 << 32) as f64 / (1u64 << 32) as f64;
            at += Duration::from_secs_f64(-share.ln() / rate);
            Some(at)
        };
        std::iter::from_fn(next).take_while(|at| *at < WARM_UP + self.length).collect()
    }
}

/// Leaves a setting to its default.
fn without(text: &str, setting: &str) -> String {
    let rest = text.replace(setting, "");
    assert_ne!(rest, text, "there is no {setting}");
    rest
}

/// How long it takes from the request until an invite exists; none while all warms up.
async fn invite(gateway: &Gateway, to: &str, number: usize, at: Duration) -> Option<Duration> {
    let body = invites(to, [person(number)]);
    let headers = [("prefer", "wait=15".to_owned())];
    come_at(at).await;
    let began = Instant::now();
    let answer =
        gateway.ask(Caller::First, Method::POST, "/v1/invites", &headers, Some(&body)).await;
    let took = began.elapsed();
    let (status, answer) = answer.unwrap();
    assert_eq!(status, 201, "{to} has no fault: {answer}");
    (at >= WARM_UP).then_some(took)
}

/// A request for the provider with the fault, whatever becomes of it.
async fn leave(gateway: &Gateway, to: &str, number: usize, at: Duration) {
    let body = invites(to, [person(number)]);
    let headers = [("prefer", "respond-async".to_owned())];
    come_at(at).await;
    let answer =
        gateway.ask(Caller::First, Method::POST, "/v1/invites", &headers, Some(&body)).await;
    let (status, answer) = answer.unwrap();
    assert!(matches!(status, 200..=202), "{to}: {status} {answer}");
}

/// The processor time that a process has used, as Linux counts it; nothing elsewhere.
fn ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind the name: user time is the 12th field, system time the 13th.
    let rest = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
    rest.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}
