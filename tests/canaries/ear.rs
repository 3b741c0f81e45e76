//! Who hears what the gateway says, and may not hear everything.

use std::{collections::BTreeMap, fs, sync::Mutex};

use invite_tests::{Answer, Gateway};

use crate::canary::{Canary, Of, Search, Written};

/// Everything that was said so far, but for what the caller of an answer may read there.
#[derive(Default)]
pub struct Ear(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    canaries: Vec<Canary>,
    written: Vec<Written>,
    /// What others were told than those whom it is about.
    to_others: Vec<Written>,
}

impl Ear {
    /// From now on this is looked for.
    pub fn keep(&self, of: Of, name: &str, text: &str) {
        self.0.lock().unwrap().canaries.push(Canary::new(of, name, text));
    }

    /// What was written at a place where nothing of anybody may stand.
    pub fn hear(&self, place: &str, bytes: impl Into<Vec<u8>>) {
        let written = Written { place: place.to_owned(), bytes: bytes.into() };
        self.0.lock().unwrap().written.push(written);
    }

    /// An answer to whoever's canaries these are: of a success only the headers count.
    pub fn own(&self, asked: &str, answer: &Answer) {
        let body = if answer.status >= 400 { answer.text.as_str() } else { "" };
        self.hear(&format!("the answer to {asked}"), format!("{:?}\n{body}", answer.headers));
    }

    /// An answer in which nothing of anybody may stand.
    pub fn any(&self, asked: &str, answer: &Answer) {
        let said = format!("{:?}\n{}", answer.headers, answer.text);
        self.hear(&format!("the answer to {asked}"), said);
    }

    /// What another tenant was told.
    pub fn other(&self, asked: &str, answer: &Answer) {
        self.other_but(asked, answer, "");
    }

    /// The same of an answer to somebody who knows this text.
    pub fn other_but(&self, asked: &str, answer: &Answer, known: &str) {
        let told =
            if known.is_empty() { answer.text.clone() } else { answer.text.replace(known, "") };
        let place = format!("the answer to another tenant's {asked}");
        let bytes = format!("{:?}\n{told}", answer.headers).into_bytes();
        self.0.lock().unwrap().to_others.push(Written { place, bytes });
    }

    /// Where which canary was found, in all that was said and in the files of the gateway's folder.
    pub fn found(&self, gateway: &Gateway) -> Vec<String> {
        let heard = self.0.lock().unwrap();
        let search =
            |of: &[Of]| Search::new(heard.canaries.iter().filter(|it| of.contains(&it.of)));
        let others = search(&[Of::Gateway, Of::Person, Of::Provider]);
        let (everything, secrets) = (search(&[Of::Gateway, Of::Person]), search(&[Of::Gateway]));
        let mut found: Vec<String> =
            heard.written.iter().flat_map(|written| everything.run(written)).collect();
        found.extend(heard.to_others.iter().flat_map(|written| others.run(written)));
        for entry in fs::read_dir(gateway.binary.path("")).unwrap() {
            let path = entry.unwrap().path();
            let place = path.file_name().unwrap().to_string_lossy().into_owned();
            // These are not the gateway's but the operator's.
            if ["providers.toml", "gateway.toml"].contains(&&*place) || place.starts_with("given-")
            {
                continue;
            }
            // Whose invites they are has them stored.
            let search = if place.starts_with("invites.db") { &secrets } else { &everything };
            found.extend(search.run(&Written { place, bytes: fs::read(&path).unwrap() }));
        }
        found
    }

    /// Fails if anything was found.
    #[track_caller]
    pub fn finds_nothing(&self, gateway: &Gateway) {
        let found = self.found(gateway);
        // One of each sort: what leaks once leaks wherever it is told.
        let sort = |line: &str| line.split(" in: ").next().unwrap_or_default().to_owned();
        let sorts: BTreeMap<String, &String> =
            found.iter().rev().map(|it| (sort(it), it)).collect();
        let shown: Vec<&str> = sorts.values().map(|line| line.as_str()).collect();
        assert!(found.is_empty(), "{} leaks:\n  {}", found.len(), shown.join("\n  "));
    }
}
