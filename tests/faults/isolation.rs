//! Whether a fault that stays with one provider slows the other two: for each kind of fault, the time
//! from a request to its settled answer at those two, with the fault and without it.
//!
//! Sound and faulty phases take turns, each on a gateway, a database and simulators of its own, and all
//! phases of a turn get the same requests at the same moments. A faulty phase is compared with the two
//! sound ones beside it; what sound ones differ by is noise. One phase is in `phase`, what is made of
//! their times in `table`.

mod phase;
mod table;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::gateway::Server;
use crate::plan::{KINDS, deck};
use phase::{Measured, Phase};
use table::Table;

/// Each provider's name in the document, and its kind.
const PLACES: [(&str, &str); 3] =
    [("event", "securegate"), ("tenancy", "rkvst"), ("treasury", "turnkey")];
/// What looks too slow gets so many times the turns more: of so many kinds some look so by chance.
const MORE: usize = 2;

/// What is measured.
pub struct Choice {
    kinds: Vec<&'static str>,
    /// The provider that has the fault: its name and kind.
    faulty: (&'static str, &'static str),
    /// At all its steps, not at `create` alone.
    all_steps: bool,
    seconds: u64,
    turns: usize,
    /// When requests come.
    pub seed: u64,
    postgres: Option<Server>,
}

impl Choice {
    /// Reads the arguments behind `isolation`; none if help is asked for.
    pub fn read(mut given: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut choice = Self {
            kinds: Vec::new(),
            faulty: PLACES[2],
            all_steps: false,
            seconds: 2,
            turns: 5,
            seed: crate::clock_seed(),
            postgres: None,
        };
        while let Some(name) = given.next() {
            let mut value = || given.next().ok_or_else(|| format!("{name} needs a value"));
            match name.as_str() {
                "--kind" => {
                    for wanted in value()?.split(',') {
                        let kind = KINDS.into_iter().find(|kind| *kind == wanted);
                        let none =
                            || format!("`{wanted}` is none of the faults {}", KINDS.join(", "));
                        choice.kinds.push(kind.ok_or_else(none)?);
                    }
                }
                "--provider" => {
                    let wanted = value()?;
                    let place = PLACES.into_iter().find(|(_, kind)| *kind == wanted);
                    choice.faulty = place.ok_or_else(|| format!("no provider is a `{wanted}`"))?;
                }
                "--all-steps" => choice.all_steps = true,
                "--seconds" => choice.seconds = crate::number(&name, &value()?)?.max(1),
                "--turns" => choice.turns = crate::number(&name, &value()?)?.max(1) as usize,
                "--seed" => choice.seed = crate::number(&name, &value()?)?,
                "--database" => choice.postgres = crate::database(&value()?)?,
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("unknown argument {name} of isolation")),
            }
        }
        if choice.kinds.is_empty() {
            choice.kinds = KINDS.to_vec();
        }
        Ok(Some(choice))
    }

    /// The faults of a kind, which never end.
    fn rules(&self, kind: &str) -> Vec<Value> {
        let cards = deck().into_iter().filter(|(provider, step, own)| {
            // Without a token no other step would be reached.
            let is_step = if self.all_steps { *step != "token" } else { *step == "create" };
            *provider == self.faulty.1 && *own == kind && is_step
        });
        let rule = |(_, step, kind)| {
            let mut rule = json!({ "operation": step, "kind": kind });
            match kind {
                "latency" => rule["delay"] = json!("1h"),
                // One invite of the batch comes to exist.
                "partial" => rule["items"] = json!(1),
                _ => {}
            }
            rule
        };
        cards.map(rule).collect()
    }
}

/// Measures, and says how it went; true if the others stay as fast as they have to.
pub async fn measure(choice: &Choice, kept: &Path) -> bool {
    println!(
        "isolation: {} has the fault, at {}; {} turns of {} s; seed {}",
        choice.faulty.1,
        if choice.all_steps { "all steps" } else { "create" },
        choice.turns,
        choice.seconds,
        choice.seed,
    );
    let mut table = Table::default();
    for turn in 0..choice.turns {
        take_turn(choice, kept, turn, &choice.kinds, &mut table).await;
    }
    println!("{table}");
    let slow = table.slow();
    if table.is_telling() && !slow.is_empty() {
        println!("isolation: measuring {} again", slow.join(", "));
        for turn in choice.turns..choice.turns * (1 + MORE) {
            take_turn(choice, kept, turn, &slow, &mut table).await;
        }
        println!("{table}");
    }
    table.judge()
}

/// Measures each of the kinds once.
async fn take_turn(
    choice: &Choice,
    kept: &Path,
    turn: usize,
    kinds: &[&'static str],
    table: &mut Table,
) {
    let play = async |name: String, rules: Vec<Value>| -> Measured {
        let phase = Phase {
            folder: kept.join(format!("turn-{turn}-{name}")),
            postgres: choice.postgres.as_ref(),
            faulty: choice.faulty,
            rules,
            seed: choice.seed.wrapping_add(turn as u64),
            length: Duration::from_secs(choice.seconds),
        };
        phase.play().await
    };
    let mut before = play("sound".to_owned(), Vec::new()).await;
    for kind in kinds {
        let faulty = play(kind.to_string(), choice.rules(kind)).await;
        let after = play(format!("after-{kind}"), Vec::new()).await;
        println!("turn {turn}: {}", table.add(kind, [&before, &after], &faulty));
        before = after;
    }
}
