//! The fault campaign in its short forms, a test of that test, and what lies outside the promise:
//! effects later than `settle`, and a sender that is frozen before its write.

#![expect(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod frozen;
mod late;

use std::process::{Command, Output};

/// Every kind of fault and every failpoint is met within so many rounds.
const ROUNDS: &str = "20";
const SEED: &str = "1";

/// Runs the campaign, and returns how it ended and what it printed.
fn campaign(arguments: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_campaign")).args(arguments).output().unwrap();
    let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
    printed.push_str(&String::from_utf8_lossy(&output.stderr));
    (output, printed)
}

/// A number of the table.
fn total(printed: &str, name: &str) -> u64 {
    let row = printed.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    row.trim().parse().unwrap()
}

#[test]
fn nothing_is_lost_or_doubled_and_every_state_is_true_whatever_fails_wherever_it_dies() {
    let (output, printed) = campaign(&["--rounds", ROUNDS, "--seed", SEED]);
    assert!(output.status.success(), "{printed}");
    assert!(total(&printed, "invites") > 500, "{printed}");
}

#[test]
fn the_same_holds_on_postgresql() {
    let (output, printed) = campaign(&["--rounds", "4", "--seed", SEED, "--database", "postgres"]);
    assert!(output.status.success(), "{printed}");
    assert!(total(&printed, "invites") > 50, "{printed}");
}

#[test]
fn an_engine_that_resends_blindly_is_found_out() {
    let (output, printed) = campaign(&["--rounds", "3", "--seed", SEED, "--blind-resend"]);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(total(&printed, "doubled") > 0, "{printed}");
}
