//! Which file of a crate stands on which: no two on each other (but for a module and the files in its own folder, which
//! it names without `self::`), and inside delivery none on one above it.

use std::collections::{BTreeMap, BTreeSet};

use crate::assert_none;
use crate::tree::{File, files, rust_files};

/// The layers of delivery from the top; each stands on those below it, and on others of its own.
const DELIVERY: [&[&str]; 10] = [
    &["engine"],
    &["actions"],
    &["operations", "webhooks"],
    &["tasks"],
    &["ask", "lookups", "attempt", "accounts"],
    &["report", "lease", "waiting", "commit", "door"],
    &["obstacle"],
    &["shared"],
    &["revise"],
    &["call", "error", "judge", "lane", "measured", "reason", "transition", "waiters"],
];

/// The folders of our crates.
fn crates() -> impl Iterator<Item = &'static str> {
    let paths = files().iter().map(|file| file.path.as_str());
    paths.filter_map(|path| path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml"))
}

/// The files of a crate by their module, and for each which others it names.
struct Crate {
    uses: BTreeMap<String, BTreeSet<String>>,
}

impl Crate {
    fn read(name: &str) -> Self {
        let top = format!("crates/{name}/src/");
        let module = |file: &File| {
            let path = file.path.strip_prefix(&top)?.strip_suffix(".rs")?;
            let path = path.strip_suffix("/mod").unwrap_or(path);
            Some(path.replace('/', "::")).filter(|module| !matches!(&**module, "lib" | "main"))
        };
        let texts: BTreeMap<String, String> = rust_files(&top)
            .filter_map(|file| {
                let lines = file.shipped();
                let text = lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>().join("\n");
                Some((module(file)?, text))
            })
            .collect();
        let lib = rust_files(&top).find(|file| file.path == format!("{top}lib.rs"));
        let mut known = texts.clone();
        known.extend(lib.map(|file| (String::new(), file.text.clone())));
        let given_on = given_on(&known);
        let uses = texts.iter().map(|(module, text)| {
            let named = paths(text).into_iter();
            let targets = named.filter_map(|path| target(module, &path, &texts, &given_on));
            (module.clone(), targets.filter(|target| target != module).collect())
        });
        Self { uses: uses.collect() }
    }

    /// A way from a module back to itself.
    fn circle_through(&self, start: &str) -> Option<String> {
        let mut ways = vec![vec![start]];
        let mut seen = BTreeSet::new();
        while let Some(way) = ways.pop() {
            for next in self.uses.get(*way.last()?).into_iter().flatten() {
                if next == start {
                    return Some([&way[..], &[start]].concat().join(" -> "));
                }
                if seen.insert(next) {
                    ways.push([&way[..], &[next]].concat());
                }
            }
        }
        None
    }
}

/// The paths from the crate's top, or from above a module, that a text names.
fn paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(start) {
            let is_path =
                !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            if is_path {
                expand("", &text[at..], &mut found);
            }
        }
    }
    found
}

/// Takes `a::{b, c::{d}}` apart; returns how much of the text that was.
fn expand(prefix: &str, text: &str, found: &mut Vec<String>) -> usize {
    let is_of_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let end = text.find(|c| !is_of_path(c)).unwrap_or(text.len());
    let path = format!("{prefix}{}", &text[..end]);
    if !text[end..].starts_with('{') {
        found.push(path);
        return end;
    }
    let mut at = end + 1;
    while at < text.len() {
        match text[at..].chars().next() {
            Some('}') => return at + 1,
            Some(c) if is_of_path(c) => at += expand(&path, &text[at..], found),
            Some(c) => at += c.len_utf8(),
            None => break,
        }
    }
    at
}

/// What each module gives on to others under its own name: by module and name, from which module.
fn given_on(texts: &BTreeMap<String, String>) -> BTreeMap<(String, String), String> {
    let mut given = BTreeMap::new();
    for (module, text) in texts {
        for (at, _) in text.match_indices("use ") {
            let line = text[..at].rsplit('\n').next().unwrap_or_default().trim();
            if !line.starts_with("pub") {
                continue;
            }
            let mut names = Vec::new();
            expand("", &text[at + 4..], &mut names);
            for name in names {
                let Some((from, name)) = name.rsplit_once("::") else { continue };
                let from = match from.strip_prefix("crate::") {
                    Some(from) => from.to_owned(),
                    None if module.is_empty() => from.to_owned(),
                    None => format!("{module}::{from}"),
                };
                given.insert((module.clone(), name.to_owned()), from);
            }
        }
    }
    given
}

/// The file that a path leads to.
fn target(
    module: &str,
    path: &str,
    texts: &BTreeMap<String, String>,
    given_on: &BTreeMap<(String, String), String>,
) -> Option<String> {
    let mut parts = path.split("::").peekable();
    let mut place: Vec<&str> = match parts.next()? {
        "crate" => Vec::new(),
        "self" => module.split("::").collect(),
        _ => module.split("::").collect::<Vec<_>>().split_last()?.1.to_vec(),
    };
    while parts.next_if_eq(&"super").is_some() {
        place.pop();
    }
    while let Some(part) =
        parts.next_if(|part| texts.contains_key([&place[..], &[part]].concat().join("::").as_str()))
    {
        place.push(part);
    }
    let mut found = place.join("::");
    let name = parts.next().unwrap_or_default().to_owned();
    while let Some(from) = given_on.get(&(found.clone(), name.clone())) {
        if !texts.contains_key(from) {
            break;
        }
        found = from.clone();
    }
    (!found.is_empty()).then_some(found)
}

#[test]
fn no_two_files_of_a_crate_stand_on_each_other() {
    let circles = crates().flat_map(|name| {
        let found = Crate::read(name);
        let is_read = found.uses.values().any(|used| !used.is_empty());
        assert!(is_read || found.uses.is_empty(), "{name}: nothing is read");
        let circles = found.uses.keys().filter_map(|module| found.circle_through(module));
        circles.map(|circle| format!("{name}: {circle}")).collect::<Vec<_>>()
    });
    assert_none("these files of a crate stand on each other", circles.collect());
}

#[test]
fn in_delivery_no_file_stands_on_one_above_it() {
    let layer = |module: &str| {
        let room = module.split("::").next().unwrap_or_default();
        DELIVERY.iter().position(|rooms| rooms.contains(&room))
    };
    let found = Crate::read("delivery");
    let mut wrong = Vec::new();
    for (module, used) in &found.uses {
        let Some(own) = layer(module) else {
            wrong.push(format!("{module} stands in no layer"));
            continue;
        };
        let above = used.iter().filter(|it| layer(it).is_some_and(|theirs| theirs < own));
        wrong.extend(above.map(|above| format!("{module} -> {above}")));
    }
    assert_none("an arrow upwards, or a file without a layer", wrong);
}
