//! The witness: it knows every secret and every person of a test, and searches what the gateway
//! wrote for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde_json::Value;

use crate::simulators::SECRETS;

/// Shorter ones would be found by chance.
const SHORTEST: usize = 5;
/// Tokens and stamps are base64 of JSON, which begins like this.
const TOKEN_LIKE: &str = "eyJ";

/// What must not be written, and what was written to callers.
#[derive(Default)]
pub(crate) struct Witness(Mutex<Knowledge>);

#[derive(Default)]
struct Knowledge {
    secrets: BTreeSet<String>,
    /// What is known of people, by its first word: there may be thousands of them.
    people: BTreeMap<String, BTreeSet<String>>,
    problems: Vec<String>,
}

impl Witness {
    /// A secret of the gateway itself, such as an API key.
    pub fn keep_secret(&self, secret: &str) {
        self.0.lock().unwrap().secrets.insert(secret.to_owned());
    }

    /// The personal data in a body that is posted.
    pub fn keep_people(&self, body: &Value) {
        let people = &mut self.0.lock().unwrap().people;
        for invite in body["invites"].as_array().into_iter().flatten() {
            for member in ["email", "first_name", "last_name", "phone"] {
                let text = invite[member].as_str().unwrap_or_default();
                if text.len() >= SHORTEST {
                    let text = text.trim_start_matches('+').to_lowercase();
                    let first = words(&text).next().unwrap_or_default().to_owned();
                    people.entry(first).or_default().insert(text);
                }
            }
        }
    }

    /// A problem that was answered.
    pub fn record_problem(&self, body: &str) {
        self.0.lock().unwrap().problems.push(body.to_owned());
    }

    /// Searches logs, metrics and problems, and returns the lines that say too much.
    pub fn search(&self, log: &str, metrics: &str) -> Vec<String> {
        let known = self.0.lock().unwrap();
        let lines = (log.lines().map(|line| ("log", line)))
            .chain(metrics.lines().map(|line| ("metrics", line)))
            .chain(known.problems.iter().map(|problem| ("problem", problem.as_str())));
        let mut found = Vec::new();
        for (place, line) in lines {
            found.extend(known.given_away(line).map(|what| format!("{place}: {what} in: {line}")));
        }
        found
    }
}

impl Knowledge {
    fn given_away(&self, line: &str) -> Option<&str> {
        let secret = SECRETS.into_iter().chain(self.secrets.iter().map(String::as_str));
        let lower = line.to_lowercase();
        secret
            .into_iter()
            .find(|secret| line.contains(secret))
            .or_else(|| self.person_in(&lower))
            .or_else(|| holds_token(line).then_some("what looks like a token or a stamp"))
    }
}

impl Knowledge {
    fn person_in(&self, line: &str) -> Option<&str> {
        // What is no word at all stands under the empty one.
        let firsts = words(line).chain([""]);
        let known = firsts.filter_map(|word| self.people.get(word)).flatten();
        known.map(String::as_str).find(|person| names(line, person))
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Whether a text stands in a line as a word of its own.
fn names(line: &str, text: &str) -> bool {
    let part_of_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    line.match_indices(text).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + text.len()..]);
        !part_of_word(before.chars().next_back()) && !part_of_word(after.chars().next())
    })
}

fn holds_token(line: &str) -> bool {
    line.match_indices(TOKEN_LIKE).any(|(at, _)| {
        let word = |c: &char| c.is_ascii_alphanumeric() || "-_".contains(*c);
        line[at..].chars().take_while(word).count() > 16
    })
}
