//! Rules about what is written for people: paths, settings, and what stands at the top level.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use toml::Table;

use crate::assert_none;
use crate::tree::{documents, files, root};

const TOP_LEVEL: [&str; 9] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "Containerfile",
    "LICENSE",
    "README.md",
    "config",
    "crates",
    "docs",
];

#[test]
fn the_top_level_holds_only_what_belongs_there() {
    let names = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name());
    let wrong = names.map(|name| name.into_string().unwrap()).filter(|name| {
        let ignored = ["tests", "target", "data"].contains(&name.as_str());
        !name.starts_with('.') && !ignored && !TOP_LEVEL.contains(&name.as_str())
    });
    assert_none("at the top level", wrong.collect());
}

#[test]
fn every_path_in_the_documents_exists() {
    let mut wrong = Vec::new();
    for document in documents() {
        for (number, line) in document.text.lines().enumerate() {
            for path in mentioned_paths(line) {
                if !root().join(path).exists() {
                    wrong.push(format!("{}:{}: {path}", document.path, number + 1));
                }
            }
            let folder = Path::new(&document.path).parent().unwrap();
            for link in links(line) {
                if !root().join(folder).join(link).exists() {
                    wrong.push(format!("{}:{}: {link}", document.path, number + 1));
                }
            }
        }
    }
    assert_none("does not exist", wrong);
}

#[test]
fn the_examples_that_are_tested_are_the_ones_that_are_shown() {
    let examples = files().iter().filter(|file| file.path.starts_with("docs/examples/"));
    let is_shown = |text: &str| documents().any(|document| document.text.contains(text));
    let wrong = examples.filter(|file| {
        let language = if file.path.ends_with(".rs") { "rust" } else { "python" };
        !is_shown(&format!("```{language}\n{}```\n", file.text))
    });
    assert_none("no document shows it as it is", wrong.map(|file| file.path.clone()).collect());
}

/// The words of a line that look like paths from the top of the repository.
fn mentioned_paths(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split(|c: char| c.is_whitespace() || "()[]`'\",;|=!".contains(c));
    words
        .map(|word| word.split(['#', ':']).next().unwrap_or_default().trim_end_matches(['.', '/']))
        .filter(|word| {
            let below = ["crates/", "config/", "tests/", "docs/", ".ci/", ".config/"];
            let plain = !word.contains(['<', '>', '*', '{', '}', '…', '$']);
            plain && below.iter().any(|folder| word.starts_with(folder))
        })
}

/// The targets of a line's Markdown links that are files.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.contains("://") && !target.starts_with(['#', '/', '<']))
        .filter_map(|target| target.split('#').next())
        .filter(|target| !target.is_empty())
}

/// The keys of config/gateway.toml by section.
fn settings() -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(root().join("config/gateway.toml")).unwrap();
    let sections: Table = text.parse().unwrap();
    let keys = |section: &toml::Value| section.as_table().unwrap().keys().cloned().collect();
    sections.iter().map(|(name, section)| (name.clone(), keys(section))).collect()
}

#[test]
fn every_setting_that_is_written_about_exists() {
    let settings = settings();
    let known = |section: &str, key: &str| {
        settings.get(section).is_some_and(|keys| keys.iter().any(|known| known == key))
    };
    let mut wrong = Vec::new();
    let written = files().iter().filter(|file| {
        file.path.ends_with(".md") || file.path.ends_with(".toml") || file.path.ends_with("file")
    });
    for file in written {
        for (number, line) in file.text.lines().enumerate() {
            let place = format!("{}:{}", file.path, number + 1);
            for variable in line.split("INVITE_GATEWAY__").skip(1) {
                let end = variable.find(|c: char| !c.is_ascii_uppercase() && c != '_');
                let name = variable[..end.unwrap_or(variable.len())].to_lowercase();
                match name.split_once("__") {
                    Some((section, key)) if known(section, key) => {}
                    _ => wrong.push(format!("{place}: INVITE_GATEWAY__{}", name.to_uppercase())),
                }
            }
            for quoted in line.split('`').skip(1).step_by(2) {
                let Some((section, key)) = quoted.split_once('.') else { continue };
                let is_key = key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
                let is_file = ["rs", "md", "toml"].contains(&key);
                let is_setting = settings.contains_key(section) && section != "providers";
                if is_setting && is_key && !is_file && !known(section, key) {
                    wrong.push(format!("{place}: {quoted}"));
                }
            }
        }
    }
    assert_none("no such setting in config/gateway.toml", wrong);
}

#[test]
fn every_readme_says_more_than_a_title() {
    let short = documents().filter(|document| {
        document.path.ends_with("README.md")
            && document.text.lines().filter(|line| !line.trim().is_empty()).count() < 3
    });
    assert_none("is only a title", short.map(|document| document.path.clone()).collect());
}

#[test]
fn nothing_names_a_path_of_one_machine() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| file.path != "Cargo.lock") {
        for (number, line) in file.text.lines().enumerate() {
            for folder in ["work", "root", "home", "farm", "Users"] {
                let needle = format!("/{folder}/");
                let found = line.match_indices(&needle).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    let after = line[at + needle.len()..].chars().next();
                    !before.is_some_and(|c| c.is_alphanumeric() || "._-}>*".contains(c))
                        && after.is_some_and(char::is_alphanumeric)
                });
                if found {
                    wrong.push(format!("{}:{}: {needle}…", file.path, number + 1));
                }
            }
        }
    }
    assert_none("looks like a path of one machine", wrong);
}
