//! What is printed: a line for each round, a table at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use invite_core::failpoint::FAILPOINTS;

use crate::plan::{KINDS, Theme, deck};
use crate::round::Outcome;
use crate::trouble::{self, Trouble};

/// The sum of all rounds.
#[derive(Default)]
pub struct Report {
    rounds: usize,
    failed: Vec<usize>,
    invites: usize,
    effects: usize,
    lost: usize,
    doubled: usize,
    unknown: usize,
    false_states: usize,
    starved: usize,
    reported: usize,
    kills: usize,
    faults: BTreeMap<(String, String, String), u64>,
    /// In how many rounds.
    troubles: BTreeMap<Trouble, u64>,
    /// How often each point was armed, and how often reached.
    crashes: BTreeMap<&'static str, (u64, u64)>,
}

/// A round in a line, and below it everything that is wrong.
pub fn line(again: &str, outcome: &Outcome) -> String {
    let Outcome { number, audit, faults, troubles, crashes, kills, duration, folder } = outcome;
    let met: u64 = faults.values().sum();
    let crashed: Vec<String> = crashes
        .iter()
        .map(|(label, reached)| format!("{label}{}", if *reached { "" } else { " (not reached)" }))
        .collect();
    let mut line = format!(
        "round {number:>3}: {met:>3} faults, {troubles:?}, {kills} kills, crashes at {}; {} \
         invites, {} effects, lost {}, doubled {}, unknown {}, false {}, starved {}; {:.1} s",
        crashed.join(" and "),
        audit.invites,
        audit.effects,
        audit.lost,
        audit.doubled,
        audit.unknown,
        audit.false_states,
        audit.starved,
        duration.as_secs_f64(),
    );
    for finding in &audit.findings {
        write!(line, "\n  {finding}").unwrap();
    }
    if let Some(folder) = folder {
        write!(line, "\n  kept in {}; again: {again} --round {number}", folder.display()).unwrap();
    }
    line
}

impl Report {
    /// Adds a round.
    pub fn add(&mut self, outcome: Outcome) {
        let audit = &outcome.audit;
        self.rounds += 1;
        if !audit.is_clean() {
            self.failed.push(outcome.number);
        }
        self.invites += audit.invites;
        self.effects += audit.effects;
        self.lost += audit.lost;
        self.doubled += audit.doubled;
        self.unknown += audit.unknown;
        self.false_states += audit.false_states;
        self.starved += audit.starved;
        self.reported += audit.reported;
        self.kills += outcome.kills;
        for (fault, count) in outcome.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        for trouble in outcome.troubles {
            *self.troubles.entry(trouble).or_default() += 1;
        }
        for (label, is_reached) in outcome.crashes {
            let (armed, reached) = self.crashes.entry(label).or_default();
            *armed += 1;
            *reached += u64::from(is_reached);
        }
    }

    /// Whether everything was as it was promised.
    pub fn is_clean(&self) -> bool {
        self.failed.is_empty()
    }

    /// Kinds of faults, troubles and failpoints that were never met.
    pub fn never_met(&self, theme: Theme) -> Vec<String> {
        let kinds = KINDS.iter().filter(|kind| self.met(kind) == 0).map(|kind| kind.to_string());
        let troubles = trouble::deck(theme).into_iter();
        let troubles = troubles.filter(|own| !self.troubles.contains_key(own));
        let reached = |label: &&&str| self.crashes.get(**label).is_none_or(|(_, n)| *n == 0);
        // Which of several replicas comes to a failpoint is theirs to settle.
        let labels = FAILPOINTS.iter().filter(|_| theme.replicas == 1).filter(reached);
        kinds
            .chain(troubles.map(|own| format!("{own:?}")))
            .chain(labels.map(|label| label.to_string()))
            .collect()
    }

    fn met(&self, kind: &str) -> u64 {
        self.faults.iter().filter(|((_, _, own), _)| own == kind).map(|(_, n)| n).sum()
    }

    /// The table.
    pub fn table(&self, seed: u64, duration: Duration) -> String {
        let mut table = format!("\nseed {seed}\n");
        let mut row = |name: &str, value: String| writeln!(table, "{name:<28}{value:>8}").unwrap();
        row("rounds", self.rounds.to_string());
        row("invites", self.invites.to_string());
        row("effects", self.effects.to_string());
        row("lost", self.lost.to_string());
        row("doubled", self.doubled.to_string());
        row("unknown", self.unknown.to_string());
        row("false states", self.false_states.to_string());
        row("starved", self.starved.to_string());
        row("second effects reported", self.reported.to_string());
        row("killed at random", self.kills.to_string());
        row("duration", format!("{:.0} s", duration.as_secs_f64()));
        for kind in KINDS {
            row(&format!("fault {kind}"), self.met(kind).to_string());
        }
        for (trouble, rounds) in &self.troubles {
            row(&format!("trouble {trouble:?}"), rounds.to_string());
        }
        for label in FAILPOINTS {
            let (armed, reached) = self.crashes.get(label).copied().unwrap_or_default();
            row(&format!("crash {label}"), format!("{reached}/{armed}"));
        }
        let met: BTreeSet<_> =
            self.faults.iter().filter(|(_, n)| **n > 0).map(|(f, _)| f).collect();
        let deck = deck();
        let key = |(provider, step, kind): (&str, &str, &str)| {
            (provider.to_owned(), step.to_owned(), kind.to_owned())
        };
        let known = deck.iter().filter(|card| met.contains(&key(**card))).count();
        row("kinds met at their steps", format!("{known}/{}", deck.len()));
        if !self.failed.is_empty() {
            writeln!(table, "rounds that failed: {:?}", self.failed).unwrap();
        }
        table
    }
}
