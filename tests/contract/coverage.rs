//! That nothing of the contract is left untested: every member of [`Capabilities`] and every method
//! of the traits, for every subject; and that each group of checks has the subjects it is for.

use std::{collections::BTreeSet, sync::Arc};

use invite_core::{Capabilities, SystemClock};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{GROUPS, Run, subject};

/// Checks and the subjects that they run on.
pub struct Group {
    pub name: &'static str,
    /// Whom the checks are for.
    pub takes: fn(&Facts) -> bool,
    pub checks: &'static [Check],
}

/// One check.
pub struct Check {
    pub name: &'static str,
    /// Methods, and members of the capabilities.
    pub covers: &'static [&'static str],
    pub run: Run,
}

/// What decides which checks a subject gets.
pub struct Facts {
    pub name: &'static str,
    pub kind: &'static str,
    pub capabilities: Capabilities,
}

/// Every subject.
pub fn subjects() -> Vec<Facts> {
    let describe = |subject: subject::Subject| {
        let part = subject.part("http://127.0.0.1:9", &[subject.good]);
        let adapter = subject.build(&part, Arc::new(SystemClock)).unwrap();
        let capabilities = adapter.capabilities().clone();
        Facts { name: subject.name, kind: subject.kind.name, capabilities }
    };
    subject::all().into_iter().map(describe).collect()
}

/// What is tested of the suite itself.
pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn()| {
        Trial::test(format!("coverage::{name}"), move || {
            test();
            Ok(())
        })
    };
    vec![
        trial(
            "every_capability_and_every_operation_is_checked_for_every_subject",
            every_capability_and_every_operation_is_checked_for_every_subject,
        ),
        trial(
            "every_group_of_checks_takes_somebody_and_every_kind_is_a_subject",
            every_group_of_checks_takes_somebody_and_every_kind_is_a_subject,
        ),
        trial("each_flag_is_seen_both_on_and_off", each_flag_is_seen_both_on_and_off),
    ]
}

/// What is between the braces of a trait or a struct, read from its source.
fn body(declared: &str) -> &'static str {
    let source = include_str!("../../crates/core/src/provider.rs");
    let (_, body) = source.split_once(&format!("pub {declared} ")).unwrap();
    body.split_once("\n}\n").unwrap().0
}

/// The fields of a struct.
fn fields(name: &str) -> Vec<String> {
    let declared = body(&format!("struct {name}"));
    let names =
        declared.lines().filter_map(|line| line.strip_prefix("    pub ")?.split(':').next());
    names.map(str::to_owned).collect()
}

/// The methods of a trait.
fn methods(name: &str) -> Vec<String> {
    let declared = body(&format!("trait {name}:"));
    let declared = declared.lines().filter_map(|line| {
        let line = line.strip_prefix("    ")?;
        line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")
    });
    declared.filter_map(|line| line.split('(').next()).map(str::to_owned).collect()
}

fn members(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            object.iter().for_each(|(name, value)| members(value, &format!("{at}.{name}"), found));
        }
        _ => found.push(at.to_owned()),
    }
}

/// What a check can cover.
fn contract(capabilities: &Capabilities) -> BTreeSet<String> {
    let mut all = Vec::new();
    members(&serde_json::to_value(capabilities).unwrap(), "capabilities", &mut all);
    all.extend(methods("InviteProvider"));
    all.extend(methods("Reconciliation"));
    all.extend(fields("ProviderKind").into_iter().map(|field| format!("kind.{field}")));
    all.into_iter().collect()
}

fn every_capability_and_every_operation_is_checked_for_every_subject() {
    for facts in subjects() {
        let Facts { name, capabilities, .. } = &facts;
        let groups = GROUPS.iter().filter(|group| (group.takes)(&facts));
        let covered: BTreeSet<&str> =
            groups.flat_map(|g| g.checks).flat_map(|check| check.covers).copied().collect();
        let contract = contract(capabilities);
        assert!(contract.contains("capabilities.create.idempotent"), "{contract:?}");
        assert!(contract.contains("update_status") && contract.contains("step"), "{contract:?}");
        let open: Vec<_> =
            contract.iter().filter(|part| !covered.contains(part.as_str())).collect();
        assert!(open.is_empty(), "no check of {name} covers {open:?}");
        let unknown: Vec<_> = covered.iter().filter(|part| !contract.contains(**part)).collect();
        assert!(unknown.is_empty(), "checks claim to cover what does not exist: {unknown:?}");
    }
}

fn every_group_of_checks_takes_somebody_and_every_kind_is_a_subject() {
    let all = subjects();
    for group in GROUPS {
        assert!(all.iter().any(group.takes), "{} is for nobody", group.name);
    }
    for kind in invite_kinds::all() {
        assert!(all.iter().any(|facts| facts.kind == kind.name), "{}", kind.name);
    }
}

fn each_flag_is_seen_both_on_and_off() {
    let all = subjects();
    let both = |flag: fn(&Capabilities) -> bool| {
        let seen: BTreeSet<bool> = all.iter().map(|facts| flag(&facts.capabilities)).collect();
        seen.len() == 2
    };
    assert!(both(|c| c.create.native_batch) && both(|c| c.create.idempotent));
    assert!(both(|c| c.revoke) && both(|c| c.approval) && both(|c| c.update_status.is_empty()));
}
