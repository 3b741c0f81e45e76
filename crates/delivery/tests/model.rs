//! Every order of crash, late reply, lease expiry, look-up, repeat and persons' decisions, for small
//! cases: a breadth-first search over the engine's real transition functions and a model of
//! everything around them (senders, requests under way, the provider, look-ups, time).
//!
//! The state itself is [`InviteState`], changed only by `invite_delivery::transition`. What is
//! modelled beside it is in `model/world.rs`, what must hold in `model/rules.rs`, the search in
//! `model/search.rs`. Here are the cases, and the mutations that have to be found.

#[path = "model/rules.rs"]
mod rules;
#[path = "model/search.rs"]
mod search;
#[path = "model/world.rs"]
mod world;

use search::{Found, explore};
use world::{Case, Fault, Kind};

fn assert_holds(case: &Case) {
    match explore(case) {
        Found::Nothing { states, steps } => {
            println!("{}: {states} states, {steps} steps", case.name);
            assert!(states > 1000, "{}: only {states} states", case.name);
        }
        Found::Counterexample { broken, trace, states } => {
            panic!("{}: {broken} (after {states} states)\n{trace}", case.name)
        }
    }
}

fn assert_broken(case: &Case, expected: &str) {
    match explore(case) {
        Found::Nothing { states, .. } => {
            panic!("{}: nothing was found in {states} states", case.name)
        }
        Found::Counterexample { broken, trace, states } => {
            println!("{}: {broken} (after {states} states)\n{trace}", case.name);
            assert_eq!(broken, expected, "{}\n{trace}", case.name);
        }
    }
}

const ONE: Case = Case {
    name: "one invite",
    kind: Kind::Plain,
    invites: 1,
    calls: 2,
    looks: 1,
    persons: 0,
    settle: 2,
    timeout: 1,
    lease: 2,
    freeze: 0,
    overdue: 0,
    fault: Fault::None,
};

#[test]
fn one_invite_is_neither_lost_nor_doubled() {
    assert_holds(&ONE);
}
