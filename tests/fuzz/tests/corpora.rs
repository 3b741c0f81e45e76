//! Every stored input of every target, read on the compiler at hand. What the fuzzer found once stays
//! mended.

#![expect(clippy::unwrap_used, reason = "a test ends where something is missing")]
#![expect(clippy::print_stdout, reason = "says at which input a target ended")]

use std::{collections::BTreeSet, fs, path::PathBuf};

use invite_fuzz::TARGETS;

/// Of all corpora together, in bytes: they are read with every run of the tests.
const MOST_BYTES: u64 = 200_000;

fn corpora() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn reads_its_corpus(name: &str) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).unwrap();
    let files = fs::read_dir(corpora().join(name)).unwrap();
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 5, "only {} inputs for {name}", paths.len());
    for path in paths {
        println!("{}", path.display());
        target(&fs::read(&path).unwrap());
    }
}

macro_rules! corpora {
    ($($name:ident = $target:literal,)*) => {
        const TESTED: &[&str] = &[$($target,)*];
        $(#[test]
        fn $name() {
            reads_its_corpus($target);
        })*
    };
}

corpora!(
    stored_addresses_hold_what_holds_of_addresses = "addresses",
    stored_bodies_are_answered_soundly = "bodies",
    stored_documents_pass_the_gate_or_are_refused_in_words = "document",
    stored_headers_are_answered_soundly = "headers",
    stored_paths_and_queries_are_answered_soundly = "queries",
    stored_replies_of_rkvst_are_read_for_what_they_say = "rkvst",
    stored_replies_of_securegate_are_read_for_what_they_say = "securegate",
    stored_replies_of_turnkey_are_read_for_what_they_say = "turnkey",
);

#[test]
fn every_target_has_a_corpus_a_test_and_a_binary() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let tested: BTreeSet<String> = TESTED.iter().map(|name| (*name).to_owned()).collect();
    let folders = fs::read_dir(corpora()).unwrap();
    let folders = folders.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    let binaries = fs::read_dir(corpora().join("../targets")).unwrap();
    let binaries = binaries.map(|it| it.unwrap().path().file_stem().unwrap().to_owned());
    let binaries = binaries.map(|it| it.into_string().unwrap()).collect();
    for found in [tested, folders, binaries] {
        assert_eq!(found, names);
    }
}

#[test]
fn the_replies_of_every_kind_are_a_target() {
    let names = TARGETS.map(|(name, _)| name);
    for kind in invite_kinds::all() {
        assert!(names.contains(&kind.name), "none reads the replies of {}", kind.name);
    }
}

#[test]
fn the_corpora_are_small() {
    let mut bytes = 0;
    for folder in fs::read_dir(corpora()).unwrap() {
        let files = fs::read_dir(folder.unwrap().path()).unwrap();
        bytes += files.map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>();
    }
    assert!(bytes <= MOST_BYTES, "{bytes} bytes");
}
