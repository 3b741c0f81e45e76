//! Rules about the text of the Rust files.

use crate::assert_none;
use crate::tree::{File, rust_files};

const LONGEST_FILE: usize = 400;

/// The shipped lines of files below a folder that contain one of these texts.
fn shipped_with(below: &str, texts: &[&str], except: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let files = rust_files(below).filter(|f| !except.iter().any(|e| f.path.starts_with(e)));
    for file in files {
        for (number, line) in file.shipped() {
            for text in texts.iter().filter(|text| line.contains(**text)) {
                found.push(format!("{}:{number}: {text}", file.path));
            }
        }
    }
    found
}

/// Every line of every Rust file of ours that contains one of these texts.
fn anywhere(below: &str, texts: &[&str], except: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let files = rust_files(below).filter(|f| !except.iter().any(|e| f.path.starts_with(e)));
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            for text in texts.iter().filter(|text| line.contains(**text)) {
                found.push(format!("{}:{}: {text}", file.path, number + 1));
            }
        }
    }
    found
}

#[test]
fn every_module_says_what_lives_in_it() {
    let opens = |file: &&File| {
        !file.text.starts_with("//! ") && !file.text.starts_with("#![doc = include_str!(")
    };
    let wrong = rust_files("").filter(opens).map(|file| file.path.clone());
    assert_none("does not open with `//!`", wrong.collect());
}

#[test]
fn no_file_is_longer_than_400_lines_before_its_tests() {
    let lengths = rust_files("").map(|file| (file, file.lines_before_tests()));
    let wrong = lengths
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .map(|(file, lines)| format!("{}: {lines} lines", file.path));
    assert_none("would two rooms be clearer?", wrong.collect());
}

#[test]
fn nothing_is_named_after_having_no_place_of_its_own() {
    const NAMES: [&str; 6] = ["util", "utils", "helper", "helpers", "common", "manager"];
    let mut wrong = Vec::new();
    for file in rust_files("") {
        let named = |part: &str| NAMES.contains(&part.trim_end_matches(".rs"));
        if file.path.split('/').any(named) {
            wrong.push(file.path.clone());
        }
        for (number, line) in file.text.lines().enumerate() {
            let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            for pair in words.windows(2).filter(|pair| {
                matches!(pair[0], "mod" | "struct" | "enum" | "trait" | "type" | "union")
            }) {
                let name = pair[1].to_lowercase();
                if NAMES.iter().any(|n| name == *n || (n.len() > 4 && name.ends_with(n))) {
                    wrong.push(format!("{}:{}: {}", file.path, number + 1, pair[1]));
                }
            }
        }
    }
    assert_none("says nothing about what lives there", wrong);
}

#[test]
fn nothing_that_ships_panics_prints_or_is_left_to_do() {
    let banned =
        [".unwrap()", "panic!(", "todo!(", "unimplemented!(", "print!(", "println!(", "dbg!("];
    assert_none("outside tests", shipped_with("crates/", &banned, &[]));
}

#[test]
fn no_test_is_skipped() {
    let ignore = concat!("#[", "ignore");
    assert_none("a test that does not run proves nothing", anywhere("", &[ignore], &[]));
}

#[test]
fn no_test_of_the_whole_sleeps() {
    let sleep = [concat!("sleep", "("), concat!("sleep", "_until(")];
    // The upstream, the network and the receiver of the benchmarks are slow on purpose.
    let except = ["tests/support/", "tests/tidy/", "tests/bench/", "tests/faults/endpoints.rs"];
    assert_none("waits for nothing in particular", anywhere("tests/", &sleep, &except));
}

#[test]
fn only_the_http_api_knows_which_http_status_a_caller_gets() {
    let mut found = Vec::new();
    for below in ["crates/config/", "crates/store/", "crates/delivery/", "crates/cli/"] {
        found.extend(shipped_with(below, &["StatusCode"], &[]));
    }
    assert_none("an HTTP status outside crates/http", found);
}

#[test]
fn only_the_store_speaks_sql() {
    let words =
        ["\"SELECT ", "\"UPDATE ", "INSERT INTO ", "DELETE FROM ", "CREATE TABLE ", "sqlx::"];
    assert_none("SQL outside crates/store", anywhere("crates/", &words, &["crates/store/"]));
}
