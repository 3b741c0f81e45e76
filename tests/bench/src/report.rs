//! What a run found, as tables for terminal and document, and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::cell::{CELLS, Cell, Measured, ROWS, with_past};
use crate::goals::{Bound, GOALS, PAST_GOALS, Repetition, Spread};

/// One run.
pub struct Run {
    /// Date, machine, versions: what is needed to judge the figures.
    pub about: Vec<(String, String)>,
    pub repetitions: Vec<Repetition>,
    /// Settled invites in the cells that have a past; 0 if those are not measured.
    pub rows: u64,
    /// Cells that could not be measured, and why.
    pub failures: Vec<String>,
    /// Whether the tables show what was not measured, too.
    pub shows_all: bool,
}

type Column = (&'static str, fn(&Measured) -> Option<f64>);

const COLUMNS: [Column; 10] = [
    ("CPU µs", |cell| cell.cpu_us),
    ("server CPU µs", |cell| cell.server_cpu_us),
    ("invites/s", |cell| Some(cell.per_second)),
    ("p50 ms", |cell| cell.p50_ms),
    ("p99 ms", |cell| cell.p99_ms),
    ("switches", Measured::switches),
    ("kB written", |cell| {
        Some((cell.written_bytes? + cell.server_written_bytes.unwrap_or_default()) / 1000.0)
    }),
    ("peak MB", |cell| cell.peak_mb),
    ("invites/call", |cell| cell.invites_per_call),
    ("start ms", |cell| cell.start_ms),
];

const PAST_COLUMNS: [Column; 10] = [
    ("CPU µs", |cell| cell.cpu_us),
    ("server CPU µs", |cell| cell.server_cpu_us),
    ("÷ none", |cell| cell.cpu_to_none),
    ("invites/s", |cell| Some(cell.per_second)),
    ("start ms", |cell| cell.start_ms),
    ("list ms", |cell| cell.list_ms),
    ("search ms", |cell| cell.search_ms),
    ("providers ms", |cell| cell.providers_ms),
    ("bytes/row", |cell| cell.bytes_per_row),
    ("resident MB", |cell| cell.resident_mb),
];
const NOT_MEASURED: &str = "not measured";

impl Run {
    /// Of one figure of a cell over all repetitions.
    pub fn spread(&self, cell: &str, figure: fn(&Measured) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.repetitions.iter().filter_map(|all| figure(all.get(cell)?)))
    }

    /// Everything, in Markdown that is legible as it is.
    pub fn tables(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.about {
            let _ = writeln!(text, "- {name}: {value}");
        }
        let _ = writeln!(text, "- repetitions: {}", self.repetitions.len());
        text.push_str("\nThe goals; the ratios are medians of those within a repetition, with their range:\n\n");
        text.push_str(&table(&self.goals()));
        let cells = self.cells(&CELLS, &COLUMNS);
        if cells.len() > 1 {
            text.push_str("\nThe cells; medians, for one invite where that makes sense:\n\n");
            text.push_str(&table(&cells));
        }
        let cells = self.cells(&with_past(self.rows), &PAST_COLUMNS);
        if self.rows > 0 && cells.len() > 1 {
            let rows = figure(self.rows as f64);
            let _ = writeln!(
                text,
                "\nWith a past, once: {rows} settled, a thousandth of that (few), a tenth live or queued (backlog), \
                 a hundredth queued:\n"
            );
            text.push_str(&table(&cells));
        }
        for failure in &self.failures {
            let _ = writeln!(text, "\nNot measured: {failure}");
        }
        text
    }

    fn goals(&self) -> Vec<Vec<String>> {
        let heads = ["what", "goal", "measured", "range", "verdict"];
        let mut rows = vec![heads.map(str::to_owned).to_vec()];
        let goals = GOALS.iter().map(|goal| (goal, false));
        for (goal, has_past) in goals.chain(PAST_GOALS.iter().map(|goal| (goal, true))) {
            let bound = match goal.bound {
                Bound::AtMost(most) => format!("≤ {most}"),
                Bound::AtLeast(least) => format!("≥ {least}"),
            };
            let ratios = self.repetitions.iter().filter_map(goal.ratio);
            let mut row = match Spread::of(ratios) {
                None if !self.shows_all => continue,
                None => ["–".to_owned(), "–".to_owned(), NOT_MEASURED.to_owned()],
                Some(Spread { median, least, greatest }) => [
                    figure(median),
                    format!("{} to {}", figure(least), figure(greatest)),
                    if goal.bound.holds(median) { "reached" } else { "not reached" }.to_owned(),
                ],
            };
            if has_past && self.rows < ROWS && row[2] != NOT_MEASURED {
                row[2] += &format!(", with {} rows", figure(self.rows as f64));
            }
            rows.push([goal.what.to_owned(), bound].into_iter().chain(row).collect());
        }
        rows
    }

    fn cells(&self, cells: &[Cell], columns: &[Column]) -> Vec<Vec<String>> {
        let heads = ["cell"].into_iter().chain(columns.iter().map(|(head, _)| *head));
        let mut rows = vec![heads.map(str::to_owned).collect::<Vec<_>>()];
        let is_measured =
            |cell: &&Cell| self.repetitions.iter().any(|all| all.contains_key(cell.name));
        for cell in cells.iter().filter(|cell| self.shows_all || is_measured(cell)) {
            let shown = columns.iter().map(|(_, of)| match self.spread(cell.name, *of) {
                Some(spread) => figure(spread.median),
                None => "–".to_owned(),
            });
            rows.push([cell.name.to_owned()].into_iter().chain(shown).collect());
        }
        rows
    }

    pub fn json(&self) -> Value {
        let about: serde_json::Map<_, _> =
            self.about.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({ "about": about, "repetitions": self.repetitions, "failures": self.failures })
    }
}

/// With three figures that count, and never fewer before the point.
pub fn figure(value: f64) -> String {
    let size = value.abs().max(0.001).log10().floor() as i32;
    let places = (2 - size).clamp(0, 4) as usize;
    let text = format!("{value:.places$}");
    let (whole, rest) = text.split_once('.').map_or((&*text, None), |(a, b)| (a, Some(b)));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && digit.is_ascii_digit() {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped.extend(rest.map(|rest| format!(".{rest}")));
    grouped
}

fn table(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..rows[0].len()).map(|column| width(column).unwrap()).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - cell.chars().count());
            // Words to the left, figures to the right.
            text.push_str(&match column {
                0 => format!("| {cell}{padding} "),
                _ => format!("| {padding}{cell} "),
            });
        }
        text.push_str("|\n");
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                text.push_str(&match column {
                    0 => format!("| {} ", "-".repeat(*width)),
                    _ => format!("| {}: ", "-".repeat(width - 1)),
                });
            }
            text.push_str("|\n");
        }
    }
    text
}
