//! What the times of the phases come to: percentiles, ratios, the table and the verdict.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::phase::Measured;

/// By so much the p99 of the others may grow.
const MOST: f64 = 1.10;

type Times = BTreeMap<&'static str, Vec<Duration>>;

/// All that was measured.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
    /// Of each two sound phases next to each other, the logarithm of the ratio of their p99.
    strays: Vec<f64>,
}

/// All that was measured of one kind of fault.
struct Row {
    kind: &'static str,
    sound: Times,
    faulty: Times,
    /// The p99 with the fault by that without, of each turn.
    ratios: Vec<f64>,
    /// Ticks of the processor.
    sound_ticks: f64,
    faulty_ticks: f64,
    met: u64,
}

impl Table {
    /// Adds what was measured of a kind in a turn, and says it in a line.
    pub fn add(&mut self, kind: &'static str, sound: [&Measured; 2], faulty: &Measured) -> String {
        let own = p99(&faulty.times);
        // Not of both in one: the more times, the rarer is what the 99th of a hundred shows.
        let [before, after] = sound.map(|measured| p99(&measured.times));
        let beside = f64::midpoint(before, after);
        self.strays.push((after / before).ln());
        let row = self.row(kind);
        row.ratios.push(own / beside);
        for measured in sound {
            merge(&mut row.sound, &measured.times);
            row.sound_ticks += measured.ticks as f64 / 2.0;
        }
        merge(&mut row.faulty, &faulty.times);
        row.faulty_ticks += faulty.ticks as f64;
        row.met += faulty.met;
        let ratio = own / beside;
        format!("{kind:17} p99 {beside:6.2} ms without, {own:6.2} ms with it, ratio {ratio:.3}")
    }

    fn row(&mut self, kind: &'static str) -> &mut Row {
        let known = self.rows.iter().position(|row| row.kind == kind);
        let place = known.unwrap_or_else(|| {
            self.rows.push(Row::new(kind));
            self.rows.len() - 1
        });
        &mut self.rows[place]
    }

    /// The kinds that slow the others too much.
    pub fn slow(&self) -> Vec<&'static str> {
        self.rows.iter().filter(|row| median(&row.ratios) > MOST).map(|row| row.kind).collect()
    }

    /// Whether a ratio is off by less than what is to be found.
    pub fn is_telling(&self) -> bool {
        self.standard_error() < MOST - 1.0
    }

    /// Says whether every kind is within the limit; true if so, and if the machine was quiet enough
    /// to tell.
    pub fn judge(&self) -> bool {
        let slow = self.slow();
        match (self.is_telling(), slow.is_empty()) {
            (false, _) => println!(
                "isolation: nothing is shown: sound phases differ too much from each other; a quieter \
                 machine, more --turns or more --seconds are needed"
            ),
            (_, true) => println!("isolation: no kind of fault adds more than a tenth to the p99"),
            _ => println!("isolation: too much is added to the p99 by {}", slow.join(", ")),
        }
        self.is_telling() && slow.is_empty()
    }

    /// By what share the median of the fewest turns is off by chance.
    fn standard_error(&self) -> f64 {
        let strays: Vec<f64> = self.strays.iter().map(|stray| stray.abs()).collect();
        // The middle one is two thirds of a standard deviation. One phase by another has twice the
        // variance of one phase, one by the mean of two has one and a half times.
        let deviation = median(&strays) / 0.6745 * (1.5f64 / 2.0).sqrt();
        let turns = self.rows.iter().map(|row| row.ratios.len()).min().unwrap_or(1);
        // A median's standard error is a quarter more than a mean's.
        1.2533 * deviation / (turns as f64).sqrt()
    }
}

impl Row {
    fn new(kind: &'static str) -> Self {
        Self {
            kind,
            sound: Times::new(),
            faulty: Times::new(),
            ratios: Vec::new(),
            sound_ticks: 0.0,
            faulty_ticks: 0.0,
            met: 0,
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = self.rows.first().into_iter().flat_map(|row| row.faulty.keys());
        let others: Vec<&str> = others.copied().collect();
        writeln!(
            f,
            "{:17} {:>5} {:>6} {:^15} {:^15} {:>6} {:^11} {:>6} {:>8} {:>8} {:>5}",
            "",
            "turns",
            "met",
            "p50, with",
            "p99, with",
            "ratio",
            "range",
            "pooled",
            others[0],
            others[1],
            "CPU"
        )?;
        for row in &self.rows {
            row.fmt(f)?;
        }
        write!(
            f,
            "p50 and p99 in ms without the fault and with it; ratio: of the p99, the median of the \
             turns; pooled:\nall turns in one, and so for each provider; CPU: the gateway's, with by \
             without\nstandard error of a ratio: {:.1} %",
            100.0 * self.standard_error()
        )
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ratio = median(&self.ratios);
        let low = self.ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.ratios.iter().copied().fold(0.0, f64::max);
        write!(f, "{:17} {:5} {:6} ", self.kind, self.ratios.len(), self.met)?;
        for percent in [50, 99] {
            let [sound, faulty] =
                [&self.sound, &self.faulty].map(|times| percentile(times, percent));
            write!(f, "{sound:7.2} {faulty:7.2} ")?;
        }
        let pooled = p99(&self.faulty) / p99(&self.sound);
        write!(f, "{ratio:6.3} {low:4.2} - {high:4.2} {pooled:6.3} ")?;
        for (name, times) in &self.faulty {
            let only = |times: &Vec<Duration>| p99(&Times::from([(*name, times.clone())]));
            write!(f, "{:8.3} ", only(times) / only(&self.sound[name]))?;
        }
        let verdict = if ratio > MOST { "  too slow" } else { "" };
        writeln!(f, "{:5.2}{verdict}", self.faulty_ticks / self.sound_ticks)
    }
}

fn merge(all: &mut Times, some: &Times) {
    for (name, times) in some {
        all.entry(name).or_default().extend(times);
    }
}

fn median(numbers: &[f64]) -> f64 {
    let mut numbers = numbers.to_vec();
    numbers.sort_unstable_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() % 2 {
        0 => f64::midpoint(numbers[middle - 1], numbers[middle]),
        _ => numbers[middle],
    }
}

fn p99(times: &Times) -> f64 {
    percentile(times, 99)
}

/// In milliseconds: the least that so many of a hundred do not exceed.
fn percentile(times: &Times, percent: usize) -> f64 {
    let mut all: Vec<Duration> = times.values().flatten().copied().collect();
    all.sort_unstable();
    all[(all.len() * percent).div_ceil(100) - 1].as_secs_f64() * 1e3
}
