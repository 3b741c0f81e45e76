//! What a round does, from the seed alone: what goes wrong at the providers, how they behave, when
//! the gateway dies. Every kind of fault at every step, and every failpoint, is dealt in turn
//! like cards, so that no run of luck leaves one out.

use std::time::Duration;

use invite_core::failpoint::FAILPOINTS;
use serde_json::{Value, json};

use crate::machine::Event;
use crate::seed::Seed;
use crate::trouble::{self, Trouble};

/// Rounds in which every card is dealt at least once.
pub const WHOLE_DECK: usize = 20;
/// Faults dealt to a round, over its three providers.
const FAULTS: usize = 19;
/// Troubles dealt to a round.
const TROUBLES: usize = 3;
/// Failpoints dealt to a round.
const CRASHES: usize = 2;
/// The longest an armed process is left alive.
pub const ARMED_FOR: Duration = Duration::from_secs(5);

/// Each kind, and where it makes no sense it is left out below.
pub const KINDS: [&str; 21] = [
    "latency",
    "latency_after",
    "status_before",
    "status_after",
    "cut_before",
    "cut_after",
    "cut_mid_body",
    "reset_before_read",
    "late_effect",
    "garbage_before",
    "garbage_after",
    "slow_body",
    "huge_body",
    "partial",
    "rate_limited",
    "quota",
    "redirect",
    "silent_unread",
    "silent_before",
    "silent_after",
    "silent_mid_body",
];

/// What the gateway asks of each provider.
const STEPS: [(&str, &[&str]); 3] = [
    ("securegate", &["create", "get", "list", "lookup", "update_status", "event"]),
    ("rkvst", &["create", "get", "list", "delete", "token", "members"]),
    (
        "turnkey",
        &["create", "get_activity", "list_activities", "get_organization", "delete", "whoami"],
    ),
];

/// One kind of fault at one step.
pub type Card = (&'static str, &'static str, &'static str);

/// Refusals of the lane, or none at all.
const UNCERTAIN: [u64; 7] = [401, 403, 408, 409, 425, 429, 499];
const FOLLOWING: &str = "follow-after-renewal";
const PARTIAL_ACTIVITY: Card = ("turnkey", "create", "partial");

/// How a life of a process of the gateway ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ending {
    /// It dies where the label is, the nth time.
    CrashAt(&'static str, u32),
    /// It is killed after a while.
    KillAfter(Duration),
    /// It lives on.
    Stays,
}

/// What a campaign is about.
#[derive(Clone, Copy)]
pub struct Theme {
    pub seed: u64,
    pub replicas: usize,
    /// Whether the database is on a server.
    pub has_server: bool,
    /// Whether that may be restarted.
    pub has_restarts: bool,
}

/// A round.
pub struct Plan {
    pub number: usize,
    pub seed: Seed,
    /// Rules for the simulators, in the order in which they are tried.
    pub faults: Vec<Value>,
    /// Settings of the simulators.
    pub settings: Vec<(&'static str, Value)>,
    pub troubles: Vec<Trouble>,
    /// Rules that last to the end of the storm, and are in force while nothing else goes wrong, too.
    pub lasting: Vec<Value>,
    pub phases: Vec<Phase>,
}

/// A part of a round: how each process ends in it, and what happens to their machines.
pub struct Phase {
    pub endings: Vec<Ending>,
    pub events: Vec<Event>,
}

impl Plan {
    /// The plan of a round of a campaign.
    pub fn new(theme: Theme, number: usize) -> Self {
        let campaign = theme.seed;
        let mut seed = Seed::new(campaign, number as u64 + 1);
        let mut cards = deal(campaign, &deck(), number, FAULTS);
        let crashes = deal(campaign, FAILPOINTS, number, CRASHES);
        let mut troubles = deal(campaign, &trouble::deck(theme), number, TROUBLES);
        // Nothing is followed where nothing is taken.
        if crashes.contains(&FOLLOWING) {
            troubles.retain(|own| !matches!(own, Trouble::ProviderClock | Trouble::Clock));
        }
        if troubles.contains(&Trouble::Quota) {
            // So that what is refused for a quota is refused for that one.
            cards.retain(|(_, step, kind)| (*step, *kind) != ("create", "quota"));
        }
        let lasting = trouble::rules(&troubles, &mut seed);
        let mut faults: Vec<Value> = lasting.clone();
        faults.extend(cards.iter().map(|card| rule(&mut seed, *card)));
        // Something to look up, whatever was dealt.
        let lost = ["cut_after", "cut_before", "cut_mid_body", "latency_after", "garbage_after"];
        for (provider, _) in STEPS {
            let kind = *seed.pick(&lost);
            faults.push(rule(&mut seed, (provider, "create", kind)));
        }
        let mut settings = settings(&mut seed, &cards, &crashes);
        settings.extend(trouble::settings(&troubles, &mut seed));
        let phases = phases(&mut seed, theme.replicas, &crashes, number);
        let with_events = |endings: Vec<Ending>| {
            let events = trouble::events(&troubles, &mut seed, theme.replicas);
            Phase { endings, events }
        };
        let phases = phases.into_iter().map(with_events).collect();
        Self { number, seed, faults, settings, troubles, lasting, phases }
    }
}

impl Plan {
    /// Whether an invite that failed did so for something that this round does to it.
    pub fn explains(&self, failed: &Value) -> bool {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = word(&failed["provider_kind"]);
        let (code, detail) = (word(&failed["error"]["code"]), word(&failed["error"]["detail"]));
        // Nobody's clock is an invite's fault, and no round lasts until anything is given up.
        if detail.contains("timestampMs") || code == "given-up" {
            return false;
        }
        let refuses = |rule: &Value| {
            let status = rule["status"].as_u64().unwrap_or(500);
            let is_refusal = (400..500).contains(&status) && !UNCERTAIN.contains(&status);
            let concerns = |member: &str, own: &str| rule[member].is_null() || rule[member] == own;
            let of_call = rule["kind"] == "status_before" && is_refusal;
            rule["provider"] == kind
                && concerns("operation", "create")
                && concerns("destination", &word(&failed["labels"]["event"]))
                && rule["match_email"]
                    .as_str()
                    .is_none_or(|own| word(&failed["email"]).contains(own))
                && (of_call || rule["kind"] == "quota" || rule["kind"] == "partial")
        };
        let disposed = |(own, settings): &(&str, Value)| {
            let mode = word(&settings["activity_mode"]);
            let has_quota = settings["quota"].is_u64() && code == "provider-quota";
            *own == kind && (has_quota || ["failed", "consensus"].contains(&mode.as_str()))
        };
        let is_refused = ["provider-rejected", "provider-quota"].contains(&code.as_str());
        !is_refused || self.faults.iter().any(refuses) || self.settings.iter().any(disposed)
    }

    /// How many invites each kind of provider has room for at a destination.
    pub fn quotas(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let quota = |settings: &Value| settings["quota"].as_u64().map(|quota| quota as usize);
        self.settings.iter().filter_map(move |(kind, settings)| Some((*kind, quota(settings)?)))
    }
}

/// Every kind at every step.
pub fn deck() -> Vec<Card> {
    let mut deck = Vec::new();
    for (provider, steps) in STEPS {
        for step in steps {
            let fits = |kind: &&&str| match **kind {
                "partial" => *step == "create",
                _ => true,
            };
            deck.extend(KINDS.iter().filter(fits).map(|kind| (provider, *step, *kind)));
        }
    }
    deck
}

/// The round's share: the deck is shuffled, dealt to its end, and shuffled again.
fn deal<T: Copy>(campaign: u64, deck: &[T], round: usize, share: usize) -> Vec<T> {
    let nth = |place: usize| {
        let mut shuffled = deck.to_vec();
        let turn = place / deck.len();
        Seed::new(campaign, u64::MAX - turn as u64).shuffle(&mut shuffled);
        shuffled[place % deck.len()]
    };
    (round * share..(round + 1) * share).map(nth).collect()
}

/// A rule for the simulators. What is delayed takes effect within `settle` after the time-out, and
/// what is answered with a refusal has no effect: that is what the gateway's promise rests on.
fn rule(seed: &mut Seed, (provider, operation, kind): Card) -> Value {
    let before: &[u16] = match operation {
        "create" => {
            &[400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 425, 429, 499, 500, 502, 503, 504]
        }
        // A 404 would be a lie about what exists.
        _ => &[401, 403, 408, 429, 500, 502, 503, 504],
    };
    let mut rule = match kind {
        "latency" => json!({ "delay": seed.pick(&["300ms", "850ms"]) }),
        "latency_after" => json!({ "delay": "900ms" }),
        "status_before" if seed.chance(20) => json!({
            "status": 503, "retry_after": 1,
            "retry_after_form": seed.pick(&["seconds", "fraction", "date", "epoch", "epoch_ms"]),
        }),
        "status_before" => json!({ "status": seed.pick(before) }),
        "status_after" => json!({ "status": seed.pick(&[408, 409, 425, 499, 500, 502, 503, 504]) }),
        "late_effect" => json!({ "delay": seed.pick(&["50ms", "150ms", "250ms"]) }),
        "slow_body" => json!({ "delay": seed.pick(&["20ms", "150ms"]) }),
        "huge_body" => json!({ "size": 3 << 20 }),
        kind if kind.starts_with("silent") && seed.chance(50) => json!({ "delay": "2s" }),
        "partial" => json!({ "items": seed.below(4), "status": seed.pick(&[200, 500, 503]) }),
        "rate_limited" if seed.chance(50) => json!({ "retry_after": 1 }),
        "redirect" => json!({ "status": seed.pick(&[301, 302, 307, 308]) }),
        _ => json!({}),
    };
    let skip = if operation == "create" { seed.below(4) } else { 0 };
    for (member, value) in [
        ("provider", json!(provider)),
        ("operation", json!(operation)),
        ("kind", json!(kind)),
        ("skip", json!(skip)),
        ("times", json!(1 + seed.below(2))),
    ] {
        rule[member] = value;
    }
    rule
}

/// How the providers behave in this round. What shows itself late does so within `settle`.
fn settings(seed: &mut Seed, cards: &[Card], crashes: &[&str]) -> Vec<(&'static str, Value)> {
    let lag = |seed: &mut Seed| if seed.chance(25) { 200 } else { 0 };
    let clock = |seed: &mut Seed| *seed.pick(&[0, 0, -3000, 3000]);
    let asked_about = |step: &str| cards.iter().any(|(_, own, _)| *own == step);
    let follows = crashes.contains(&FOLLOWING) || asked_about("get_activity");
    let mode = match follows {
        true => *seed.pick(&["pending", "created"]),
        false => {
            *seed.pick(&["completed", "completed", "completed", "pending", "consensus", "failed"])
        }
    };
    // Where invitations cannot be read, a part of a failed activity cannot be seen.
    let partial = cards.contains(&PARTIAL_ACTIVITY);
    let hidden = asked_about("list_activities") || seed.chance(20);
    let organization = if hidden && !partial { "forbidden" } else { "on" };
    vec![
        (
            "securegate",
            json!({
                "timestamps": seed.pick(&["mixed", "zoned", "naive"]),
                "unauthorized_status": seed.pick(&[401, 403]),
                "initial_status": seed.pick(&["pending", "sent"]),
                "list_lag_ms": lag(seed),
                "clock_offset_ms": clock(seed),
            }),
        ),
        (
            "rkvst",
            json!({
                "page_size_cap": seed.pick(&[3, 10, 100]),
                "delete_answer": seed.pick(&["object", "empty", "no_content"]),
                "error_body": seed.pick(&["rpc_status", "error", "text"]),
                "token_lifetime_seconds": seed.pick(&[3, 3600]),
                "list_lag_ms": lag(seed),
                "clock_offset_ms": clock(seed),
            }),
        ),
        (
            "turnkey",
            json!({
                "activity_mode": mode,
                "pending_looks": 2 + seed.below(3),
                "get_organization": organization,
                "nested_result": seed.chance(20),
                "cursor_order": seed.pick(&["list", "time"]),
                "deleted_invitations": seed.pick(&["vanish", "revoked"]),
                "list_lag_ms": lag(seed),
                "clock_offset_ms": clock(seed),
            }),
        ),
    ]
}

/// How processes end. The first time that a failpoint is dealt it is the first passage that
/// kills; later on it may be a later one. Of several replicas one dies in each phase, sometimes two.
fn phases(
    seed: &mut Seed,
    replicas: usize,
    crashes: &[&'static str],
    number: usize,
) -> Vec<Vec<Ending>> {
    let first_turn = number * CRASHES < FAILPOINTS.len();
    let nth = |seed: &mut Seed, label: &str| {
        let is_rare = label == FOLLOWING;
        if first_turn || is_rare { 1 } else { 1 + seed.below(3) as u32 }
    };
    let mut lives: Vec<Ending> =
        crashes.iter().map(|label| Ending::CrashAt(label, nth(seed, label))).collect();
    let killed =
        |seed: &mut Seed| Ending::KillAfter(Duration::from_millis(50 + seed.below(1500) as u64));
    lives.push(killed(seed));
    seed.shuffle(&mut lives);
    lives.push(Ending::Stays);
    let phase = |own: Ending| {
        let is_last = own == Ending::Stays;
        let mut endings = vec![own];
        for _ in 1..replicas {
            endings.push(if !is_last && seed.chance(30) { killed(seed) } else { Ending::Stays });
        }
        seed.shuffle(&mut endings);
        endings
    };
    lives.into_iter().map(phase).collect()
}
