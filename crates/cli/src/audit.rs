//! `audit verify`: whether the record of changes is whole.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    args::AuditCommand, compose, failure::Failure, print, print_json, settings::Settings, tell,
};

/// What a line of the log in the text format has between its time and the place and hash of an entry.
const RECORDED: &str = "INFO a change or a read was recorded audit.sequence=";

/// Checks the record, beside a running gateway or without one.
pub async fn run(settings: &Settings, command: AuditCommand) -> Result<(), Failure> {
    let AuditCommand::Verify { log, json } = command;
    let logged = log.as_deref().map(read_log).transpose()?.unwrap_or_default();
    let store = compose::store(settings, false).await?;
    let checked = store.verify_audit(&logged).await;
    store.close().await;
    let check = checked.map_err(Failure::store)?;
    let head = check.head.as_ref();
    if json {
        let faults: Vec<String> = check.faults.iter().map(ToString::to_string).collect();
        let newest = head.map(|head| json!({ "sequence": head.sequence, "hash": head.hash }));
        print_json(&json!({
            "entries": check.entries, "first": check.first, "newest": newest, "faults": faults,
        }))?;
    } else if let Some(head) = head {
        let first = check.first.unwrap_or_default();
        print(&format!(
            "{} entries, from {first} to {}; the newest has the hash {}\n",
            check.entries, head.sequence, head.hash
        ))?;
    } else {
        print("there is no entry\n")?;
    }
    if check.faults.is_empty() {
        return Ok(());
    }
    for fault in &check.faults {
        tell(&fault.to_string());
    }
    Err(Failure::failed("the record of changes is not as it was written"))
}

/// The hashes of entries in a log, by their places in the record.
fn read_log(path: &Path) -> Result<BTreeMap<i64, Vec<String>>, Failure> {
    let shown = path.display();
    let cannot = |error| Failure::wrong(format!("cannot read the log {shown}: {error}"));
    let reader: Box<dyn BufRead> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin().lock()),
        false => Box::new(BufReader::new(File::open(path).map_err(cannot)?)),
    };
    let mut logged: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for line in reader.split(b'\n') {
        let line = line.map_err(cannot)?;
        if let Some((sequence, hash)) = read_line(&String::from_utf8_lossy(&line)) {
            logged.entry(sequence).or_default().push(hash);
        }
    }
    if logged.is_empty() {
        let hint =
            "no entry of the record is in it; entries are logged at INFO with the target audit";
        return Err(Failure::wrong(format!("the log {shown} cannot be compared: {hint}")));
    }
    Ok(logged)
}

fn read_line(line: &str) -> Option<(i64, String)> {
    if let Ok(event) = serde_json::from_str::<Value>(line) {
        let hash = event["audit.hash"].as_str().filter(|_| event["target"] == "audit")?;
        return Some((event["audit.sequence"].as_i64()?, hash.to_owned()));
    }
    // Only the start of a line is read, as what follows may quote somebody.
    let (time, entry) = line.split_once(' ')?;
    time.parse::<Timestamp>().ok()?;
    let entry = entry.trim_start().strip_prefix(RECORDED)?;
    let (sequence, entry) = entry.split_once(" audit.hash=\"")?;
    Some((sequence.parse().ok()?, entry.split_once('"')?.0.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_from_a_line_of_either_format_and_from_no_other() {
        let text = "2026-01-31T12:00:00.000000Z  INFO a change or a read was recorded audit.sequence=7 \
                    audit.hash=\"ab\" audit.previous=\"cd\"";
        assert_eq!(read_line(text), Some((7, "ab".to_owned())));
        let json = r#"{"level":"INFO","message":"a","audit.sequence":7,"audit.hash":"ab","target":"audit"}"#;
        assert_eq!(read_line(json), Some((7, "ab".to_owned())));
        for other in [
            "2026-01-31T12:00:00.000000Z  INFO request audit.sequence=7 audit.hash=\"ab\"",
            "2026-01-31T12:00:00.000000Z  WARN a call did not succeed error=HTTP 400: \
             2026-01-31T12:00:00.000000Z  INFO a change or a read was recorded audit.sequence=7 \
             audit.hash=\"ab\"",
            "x  INFO a change or a read was recorded audit.sequence=7 audit.hash=\"ab\"",
            r#"{"message":"a","audit.sequence":7,"audit.hash":"ab","target":"other"}"#,
            "",
            "7",
        ] {
            assert_eq!(read_line(other), None, "{other}");
        }
    }
}
