//! Rules about the manifests: who may depend on whom, and where versions stand.

use std::collections::{BTreeMap, BTreeSet};

use toml::Table;

use crate::assert_none;
use crate::tree::{files, root};

/// For each crate of ours but the adapters the crates of ours that it depends on.
const EDGES: [(&str, &[&str]); 8] = [
    ("core", &[]),
    ("sandbox", &[]),
    ("config", &["core"]),
    ("store", &["core"]),
    ("delivery", &["config", "store", "core"]),
    ("http", &["delivery", "config", "store", "core"]),
    ("client", &["core"]),
    ("cli", &["client", "core", "kinds", "config", "store", "delivery", "http", "sandbox"]),
];

/// The folders of the adapters: all that the registry of kinds depends on, but for the core.
pub fn adapters() -> BTreeSet<String> {
    let mut adapters = ours(&manifest("crates/kinds/Cargo.toml"), "dependencies");
    assert!(adapters.remove("core") && adapters.len() > 2, "{adapters:?}");
    adapters
}

/// The edges of all crates. An adapter knows the core alone.
fn edges() -> BTreeMap<String, BTreeSet<String>> {
    let set = |names: &[&str]| -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    };
    let mut edges: BTreeMap<_, _> =
        EDGES.iter().map(|(name, edges)| ((*name).to_owned(), set(edges))).collect();
    let mut known = set(&["core"]);
    for adapter in adapters() {
        edges.insert(adapter.clone(), set(&["core"]));
        known.insert(adapter);
    }
    edges.insert("kinds".to_owned(), known);
    edges
}

const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

fn manifest(path: &str) -> Table {
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    text.parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The manifests of the members, by path.
fn members() -> BTreeMap<&'static str, Table> {
    let paths = files().iter().map(|file| file.path.as_str());
    paths.filter(|path| path.ends_with("/Cargo.toml")).map(|path| (path, manifest(path))).collect()
}

fn workspace_dependencies() -> Table {
    let root = manifest("Cargo.toml");
    root["workspace"]["dependencies"].as_table().unwrap().clone()
}

/// The folders of our crates by package name.
fn folders() -> BTreeMap<String, String> {
    let ours = workspace_dependencies().into_iter().filter_map(|(package, dependency)| {
        let path = dependency.get("path")?.as_str()?.to_owned();
        Some((package, path.strip_prefix("crates/")?.to_owned()))
    });
    ours.collect()
}

/// The folders of our crates that a section of a manifest names.
fn ours(manifest: &Table, section: &str) -> BTreeSet<String> {
    let folders = folders();
    let named = manifest.get(section).and_then(|section| section.as_table());
    named.into_iter().flat_map(Table::keys).filter_map(|name| folders.get(name).cloned()).collect()
}

#[test]
fn crates_depend_on_each_other_exactly_as_the_architecture_says() {
    let mut wrong = Vec::new();
    let edges = edges();
    let there: BTreeSet<String> = folders().into_values().collect();
    wrong.extend(
        there.iter().filter(|name| !edges.contains_key(*name)).map(|name| {
            format!("crates/{name} is not among the crates that the architecture names")
        }),
    );
    for (name, allowed) in &edges {
        let path = format!("crates/{name}/Cargo.toml");
        let manifest = manifest(&path);
        let found = ours(&manifest, "dependencies");
        if found != *allowed {
            wrong.push(format!("{path}: depends on {found:?}, should depend on {allowed:?}"));
        }
        for section in ["dev-dependencies", "build-dependencies"] {
            let found = ours(&manifest, section);
            if !found.is_subset(allowed) {
                wrong.push(format!("{path}: {section} has {found:?}, allowed are {allowed:?}"));
            }
        }
    }
    assert_none("crate edges", wrong);
}

#[test]
fn a_package_is_named_after_its_folder() {
    let other =
        folders().into_iter().filter(|(package, folder)| *package != format!("invite-{folder}"));
    assert_none("named after something else", other.map(|(package, _)| package).collect());
}

#[test]
fn versions_of_dependencies_stand_in_the_root_manifest_only() {
    let mut wrong = Vec::new();
    for (path, manifest) in members() {
        for section in SECTIONS {
            let named = manifest.get(section).and_then(|section| section.as_table());
            for (name, dependency) in named.into_iter().flatten() {
                let inherits = dependency.get("workspace").and_then(|it| it.as_bool());
                if inherits != Some(true) {
                    wrong.push(format!("{path}: {name} does not say `workspace = true`"));
                }
            }
        }
    }
    assert_none("versions outside the root manifest", wrong);
}

#[test]
fn every_workspace_dependency_is_used_by_a_crate() {
    let mut unused: BTreeSet<String> = workspace_dependencies().keys().cloned().collect();
    for manifest in members().into_values() {
        for section in SECTIONS {
            let named = manifest.get(section).and_then(|section| section.as_table());
            for name in named.into_iter().flat_map(Table::keys) {
                unused.remove(name);
            }
        }
    }
    // The binary: nothing depends on it.
    unused.remove("invite-cli");
    assert_none("in [workspace.dependencies] but in no crate", unused.into_iter().collect());
}

#[test]
fn every_member_inherits_the_lints_of_the_workspace() {
    let wrong = members()
        .into_iter()
        .filter(|(_, manifest)| {
            let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
            lints.and_then(|inherits| inherits.as_bool()) != Some(true)
        })
        .map(|(path, _)| path.to_owned());
    assert_none("without `[lints] workspace = true`", wrong.collect());
}
