//! What a whole round suffers from, besides single faults: providers with a spelling, clock or quota of
//! their own, one destination that is bad, people with odd addresses, machines that mishaps befall. They
//! are dealt like cards too, some to each round.

use std::time::Duration;

use serde_json::{Value, json};

use crate::machine::{Event, Mishap};
use crate::plan::Theme;
use crate::seed::Seed;

/// A trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Providers show all text in a spelling of their own.
    Respelled,
    /// One event of Securegate fails whatever is asked about it.
    BadDestination,
    /// Calls with a certain person are refused, and nobody is named.
    BadItem,
    /// One tenant's invites form a queue before another's single one.
    Crowd,
    /// Providers have room for some invites only.
    Quota,
    /// A provider's clock is hours off.
    ProviderClock,
    /// RKVST shows an expiry that is none.
    SentinelTimes,
    /// Providers tell of waits and limits in every form that there is.
    ToldWaits,
    /// Addresses with quotes, capitals, and letters of many alphabets.
    OddAddresses,
    /// Somebody sets the machine's clock.
    Clock,
    /// The machine is suspended.
    Suspended,
    /// The process does not run for a while.
    Frozen,
    /// A machine's connections to the database go silent, for a while or for good, or are cut.
    DatabaseSilent,
    /// The database's server is killed, and starts again.
    DatabaseRestart,
}

use Trouble as T;

const EVERYWHERE: [T; 12] = [
    T::Respelled,
    T::BadDestination,
    T::BadItem,
    T::Crowd,
    T::Quota,
    T::ProviderClock,
    T::SentinelTimes,
    T::ToldWaits,
    T::OddAddresses,
    T::Clock,
    T::Suspended,
    T::Frozen,
];

/// The event that is bad in rounds with a bad destination.
pub const BAD_EVENT: &str = "event-457";
/// What the addresses of people begin with whom nobody takes.
pub const SPOILT: &str = "spoilt";
/// Frozen for longer, at just the wrong point, a sender may outlive what docs/delivery.md promises: the
/// provider's `timeout` plus `settle`.
const LONGEST_FREEZE_MS: usize = 1_400;
/// More invitations than a round has people.
const ENDLESS: usize = 10_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// All the troubles of a campaign: on SQLite, or on a server, which can be restarted or not.
pub fn deck(theme: Theme) -> Vec<Trouble> {
    let mut deck = EVERYWHERE.to_vec();
    deck.extend(theme.has_server.then_some(T::DatabaseSilent));
    deck.extend(theme.has_restarts.then_some(T::DatabaseRestart));
    deck
}

/// What goes wrong at the simulators as long as the trouble lasts, tried before all other faults.
pub fn rules(troubles: &[Trouble], seed: &mut Seed) -> Vec<Value> {
    let mut rules = Vec::new();
    if troubles.contains(&T::BadDestination) {
        let mut rule = match seed.below(6) {
            0 => json!({ "kind": "status_before", "status": 403 }),
            1 => json!({ "kind": "status_before", "status": 500 }),
            2 => json!({ "kind": "status_before", "status": 404 }),
            3 => json!({ "kind": "silent_before" }),
            4 => json!({ "kind": "cut_before" }),
            _ => json!({
                "kind": "status_before", "status": 503,
                "retry_after": 1, "retry_after_form": seed.pick(&["seconds", "date"]),
            }),
        };
        rule["provider"] = json!("securegate");
        rule["destination"] = json!(BAD_EVENT);
        rules.push(rule);
    }
    if troubles.contains(&T::BadItem) {
        for provider in ["securegate", "turnkey"] {
            rules.push(json!({
                "provider": provider, "operation": "create", "match_email": SPOILT,
                "kind": "status_before", "status": 400,
            }));
        }
    }
    rules
}

/// How the trouble changes the providers; what it leaves out stays as the round has it.
pub fn settings(troubles: &[Trouble], seed: &mut Seed) -> Vec<(&'static str, Value)> {
    let mut all = Vec::new();
    for provider in ["securegate", "rkvst", "turnkey"] {
        if troubles.contains(&T::Respelled) {
            all.push((provider, spelling(seed)));
        }
        if troubles.contains(&T::ToldWaits) {
            let form = seed.pick(&["seconds", "fraction", "date", "epoch", "epoch_ms"]);
            all.push((
                provider,
                json!({ "rate_told": {
                    "remaining": seed.pick(&[0, 3, 50]), "form": form,
                    "reset_in_ms": seed.pick(&[-60_000, 300, 600]),
                } }),
            ));
        }
        if troubles.contains(&T::Quota) {
            all.push((provider, json!({ "quota": 9 + seed.below(9) })));
        }
        if troubles.contains(&T::ProviderClock) {
            let off_by = seed.pick(&[-2 * HOUR, -10 * MINUTE, 2 * HOUR]);
            all.push((provider, json!({ "clock_offset_ms": off_by })));
        }
    }
    if troubles.contains(&T::SentinelTimes) {
        all.push(("rkvst", json!({ "expiry_shown": seed.pick(&["zero", "epoch"]) })));
    }
    all
}

fn spelling(seed: &mut Seed) -> Value {
    let mut all = ["unquoted", "lower_case", "nfkc", "trimmed", "title_case", "masked"];
    seed.shuffle(&mut all);
    json!({ "spelling": &all[..1 + seed.below(3)], "literal_queries": seed.chance(40) })
}

/// What ends with the storm, because a provider takes little or nothing under it. Only Turnkey judges
/// by its clock; another provider's clock that is set while invites are in doubt would be a new trouble.
/// Where every activity fails, in the same words, that is nothing of the invites', which wait.
pub fn relief(settings: &[(&'static str, Value)]) -> [(&'static str, Value); 3] {
    let patient = json!({ "rate_told": null, "quota": null });
    let mut timely = json!({ "rate_told": null, "quota": ENDLESS, "clock_offset_ms": 0 });
    if settings.iter().any(|(_, own)| own["activity_mode"] == "failed") {
        timely["activity_mode"] = json!("completed");
    }
    [("securegate", patient.clone()), ("rkvst", patient), ("turnkey", timely)]
}

/// What ends before anything has to be settled: invites may be shown such that they cannot be told
/// apart, and then stay unknown.
pub fn plain() -> [(&'static str, Value); 3] {
    let plain = json!({ "spelling": [], "literal_queries": false });
    [("securegate", plain.clone()), ("rkvst", plain.clone()), ("turnkey", plain)]
}

/// The mishaps of one life of the gateway.
pub fn events(troubles: &[Trouble], seed: &mut Seed, machines: usize) -> Vec<Event> {
    let mut events = Vec::new();
    for trouble in troubles {
        let mishap = match trouble {
            // A Turnkey call whose bytes are a few minutes ahead stays in doubt until they are over, for which no
            // round waits.
            T::Clock => Mishap::Clock(*seed.pick(&[
                -25 * HOUR,
                -10 * MINUTE,
                -7_000,
                0,
                7_000,
                2 * HOUR,
                25 * HOUR,
            ])),
            T::Suspended => {
                // Longer than a lease, and not so long that the others' clocks would refuse it.
                Mishap::Suspended(Duration::from_secs(*seed.pick(&[3, 8, 20])))
            }
            T::Frozen => {
                let rest = 300 + seed.below(LONGEST_FREEZE_MS - 300);
                Mishap::Frozen(Duration::from_millis(rest as u64))
            }
            T::DatabaseSilent => {
                let rest = Duration::from_millis(300 + seed.below(3_700) as u64);
                *seed.pick(&[
                    Mishap::DatabaseSilent(rest),
                    Mishap::DatabaseStranded,
                    Mishap::DatabaseStranded,
                    Mishap::DatabaseCut(rest / 2),
                ])
            }
            T::DatabaseRestart if seed.chance(60) => Mishap::DatabaseRestart,
            _ => continue,
        };
        let at = Duration::from_millis(seed.below(1_200) as u64);
        events.push(Event { at, machine: seed.below(machines), mishap });
    }
    events
}
