//! Every order of crash, late reply, lease expiry, look-up, repeat and persons' decisions, for small
//! cases.
//!
//! The engine's real transition functions are searched exhaustively together with a model of what
//! surrounds them. Here are the cases, and the broken rules that the search has to find. The model is
//! in [`world`] and [`steps`], what must hold in [`rules`], the search in [`search`].

mod rules;
mod search;
mod steps;
mod world;

use search::{Found, explore};
use world::{Case, Fault, Kind};

fn assert_holds(case: &Case) {
    match explore(case) {
        Found::Nothing { worlds, steps } => {
            println!("{}: {worlds} worlds, {steps} steps", case.name);
            assert!(worlds > 1000, "{}: only {worlds} worlds", case.name);
        }
        Found::Counterexample { broken, trace, worlds } => {
            panic!("{}: {broken} (after {worlds} worlds)\n{trace}", case.name)
        }
    }
}

fn assert_broken(case: &Case, expected: &str) {
    match explore(case) {
        Found::Nothing { worlds, .. } => {
            panic!("{}: nothing was found in {worlds} worlds", case.name)
        }
        Found::Counterexample { broken, trace, worlds } => {
            println!("{}: {broken} (after {worlds} worlds)\n{trace}", case.name);
            assert_eq!(broken, expected, "{}\n{trace}", case.name);
        }
    }
}

const ONE: Case = Case {
    name: "one invite",
    kind: Kind::Plain,
    invites: 1,
    calls: 3,
    looks: 1,
    persons: 0,
    settle: 1,
    timeout: 1,
    lease: 2,
    freeze: 0,
    overdue: 0,
    fault: Fault::None,
};

const PERSONS: Case = Case { name: "one invite and persons", persons: 2, calls: 2, ..ONE };
const HANDOVER: Case = Case { name: "a lane that changes hands", looks: 2, calls: 2, ..ONE };
const TWO: Case = Case { name: "two invites", invites: 2, calls: 2, ..ONE };
const SAME_BYTES: Case = Case { name: "equal bytes are one activity", kind: Kind::Idempotent, ..ONE };

#[test]
fn one_invite_is_neither_lost_nor_doubled() {
    assert_holds(&ONE);
}

#[test]
fn persons() {
    assert_holds(&PERSONS);
}
#[test]
fn handover() {
    assert_holds(&HANDOVER);
}
#[test]
fn two() {
    assert_holds(&TWO);
}
#[test]
fn same_bytes() {
    assert_holds(&SAME_BYTES);
}
#[test]
fn same_bytes_persons() {
    assert_holds(&Case { name: "same bytes, persons", persons: 2, calls: 2, ..SAME_BYTES});
}
#[test]
fn late() {
    assert_holds(&Case { name: "late", overdue: 4, calls: 2, ..ONE});
}
#[test]
fn m1() {
    assert_broken(&Case { fault: Fault::BelievesAnyAbsence, ..ONE}, rules::TWO_CALLS);
}
#[test]
fn m2() {
    assert_broken(&Case { fault: Fault::WaitsForNothing, ..ONE}, rules::TWO_CALLS);
}
#[test]
fn m3() {
    assert_broken(&Case { fault: Fault::ResendsBlindly, ..ONE}, rules::TWO_CALLS);
}
#[test]
fn m4() {
    assert_broken(&Case { fault: Fault::IgnoresHolder, ..ONE}, rules::TWO_CALLS);
}
#[test]
fn m5() {
    assert_broken(&Case { fault: Fault::RecoversEarly, ..ONE}, rules::TWO_CALLS);
}
#[test]
fn m6() {
    assert_broken(&Case { fault: Fault::NeverRecovers, ..ONE}, rules::STUCK);
}
#[test]
fn m7() {
    assert_broken(&Case { fault: Fault::IgnoresLease, ..ONE}, rules::TWO_CALLS);
}
#[test]
fn m8() {
    assert_broken(&Case { fault: Fault::RepeatsAnywhere, ..ONE}, rules::TWO_CALLS);
}
#[test]
fn m9() {
    assert_broken(&Case { fault: Fault::BelievesFirstAbsence, ..ONE}, rules::TWO_CALLS);
}
