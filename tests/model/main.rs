//! Every order of crash, late reply, lease expiry, look-up, repeat and persons' decisions, for small
//! cases.
//!
//! The engine's real transition functions are searched exhaustively together with a model of what
//! surrounds them. Here are the cases, and the broken rules that the search has to find. The model is
//! in [`world`], [`choices`], [`steps`] and [`clocks`], what must hold in [`rules`], the search in [`search`].

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a check fails by panicking, and tells how much it searched"
)]

mod choices;
mod clocks;
mod rules;
mod search;
mod steps;
mod world;

use search::{Found, explore};
use world::{Case, Fault, Kind};

/// Searches all of a case, and returns in how many worlds a second effect was reported.
fn assert_holds(case: &Case) -> usize {
    match explore(case) {
        Found::Nothing { worlds, steps, reports } => {
            println!("{}: {worlds} worlds, {steps} steps, {reports} with a report", case.name);
            reports
        }
        Found::Counterexample { broken, trace, worlds } => {
            panic!("{}: {broken} (after {worlds} worlds)\n{trace}", case.name)
        }
    }
}

/// Searches until something is broken, which has to be `expected`.
fn assert_finds(case: Case, fault: Fault, expected: &str) {
    match explore(&Case { fault, ..case }) {
        Found::Nothing { worlds, .. } => panic!("{fault:?} is not noticed in {worlds} worlds"),
        Found::Counterexample { broken, trace, worlds } => {
            println!("{fault:?}: {broken} (after {worlds} worlds)\n{trace}");
            assert_eq!(broken, expected, "{fault:?}\n{trace}");
        }
    }
}

const ONE: Case = Case {
    name: "one invite, three calls",
    kind: Kind::Plain,
    invites: 1,
    calls: 3,
    looks: 1,
    persons: 0,
    settle: 1,
    timeout: 1,
    lease: 2,
    freeze: 0,
    refuses_in_part: false,
    respells: false,
    suspensions: 0,
    skew: 0,
    overdue: 0,
    fault: Fault::None,
};
const SHORT: Case = Case { name: "one invite, two calls", calls: 2, ..ONE };

#[test]
fn one_invite_is_neither_lost_nor_doubled() {
    assert_eq!(assert_holds(&ONE), 0);
}

#[test]
fn two_invites_of_one_call_are_neither_lost_nor_doubled() {
    assert_eq!(assert_holds(&Case { name: "two invites of one call", invites: 2, ..SHORT }), 0);
}

/// What was made of a refused call was made before its answer, or within `settle` after it.
#[test]
fn what_a_refused_call_made_of_some_is_neither_lost_nor_doubled() {
    let case = Case { name: "refused in part", invites: 2, refuses_in_part: true, ..SHORT };
    assert_eq!(assert_holds(&case), 0);
    assert_finds(case, Fault::BelievesRefusals, rules::FAILED_WITH_EFFECT);
}

/// A call whose reply named ids that nobody holds is not taken for one without effect, although no
/// look-up shows any.
#[test]
fn an_absence_does_not_overrule_what_the_call_itself_was_answered() {
    let case = Case { name: "another spelling", invites: 2, respells: true, ..SHORT };
    assert_eq!(assert_holds(&case), 0);
    assert_finds(case, Fault::IgnoresEvidence, rules::FAILED_WITH_EFFECT);
}

#[test]
fn persons_may_decide_retry_and_withdraw_at_any_moment() {
    assert_holds(&Case { name: "with persons", persons: 2, ..SHORT });
}

#[test]
fn a_lane_may_change_hands_during_a_look_up() {
    assert_eq!(assert_holds(&Case { name: "two look-ups at once", looks: 2, ..SHORT }), 0);
}

#[test]
fn where_equal_bytes_are_one_call_they_may_be_repeated() {
    let case = Case { name: "equal bytes, with a person", kind: Kind::Idempotent, ..SHORT };
    assert_holds(&Case { persons: 1, ..case });
}

#[test]
fn an_effect_beyond_what_is_promised_may_double_an_invite_and_can_always_be_found() {
    let case = Case { name: "effects long after `settle`", overdue: 4, ..SHORT };
    assert!(assert_holds(&case) > 0, "no second effect came about");
}

/// Its lease is checked once more when the connection takes its bytes, however long it slept by then.
/// Only what then begins is beyond its power, as for one that is frozen.
#[test]
fn machines_may_be_suspended_at_any_moment_before_a_request_is_written() {
    for (kind, suspensions) in [(Kind::Plain, 3), (Kind::Idempotent, 1)] {
        let case = Case { name: "suspended machines", kind, suspensions, ..SHORT };
        assert_eq!(assert_holds(&case), 0);
    }
    let case = Case { suspensions: 3, ..SHORT };
    assert_finds(case, Fault::CountsNoSuspension, rules::TWO_CALLS);
}

/// Whoever judges leases by a clock of his own takes a sender for lost that is at work.
#[test]
fn a_replica_whose_clock_is_wrong_does_no_harm_unless_it_goes_by_it() {
    let case = Case { name: "a replica ahead", skew: 2, ..SHORT };
    assert_eq!(assert_holds(&case), 0);
    assert_finds(case, Fault::GoesByItsOwnClock, rules::FAILED_WITH_EFFECT);
}

/// A sender checks its lease up to `lease` - `timeout` after its claim. What it writes less than
/// 2 * `timeout` + `settle` after that, the second look-up sees.
#[test]
fn a_sender_frozen_for_less_than_two_time_outs_and_settle_does_no_harm() {
    for lease in [2, 3] {
        let case = Case { name: "a frozen sender", lease, freeze: 1, ..SHORT };
        assert_eq!(assert_holds(&case), 0);
        assert_finds(Case { freeze: 2, ..case }, Fault::None, rules::FAILED_WITH_EFFECT);
    }
}

#[test]
fn believing_an_absence_too_early_is_noticed() {
    assert_finds(SHORT, Fault::BelievesAnyAbsence, rules::TWO_CALLS);
    assert_finds(SHORT, Fault::WaitsForNothing, rules::FAILED_WITH_EFFECT);
    // The second look-up is there for senders that were frozen.
    assert_finds(
        Case { freeze: 1, ..SHORT },
        Fault::BelievesFirstAbsence,
        rules::FAILED_WITH_EFFECT,
    );
}

#[test]
fn sending_again_without_grounds_is_noticed() {
    assert_finds(SHORT, Fault::ResendsBlindly, rules::TWO_CALLS);
    assert_finds(SHORT, Fault::RepeatsAnywhere, rules::FAILED_WITH_EFFECT);
}

#[test]
fn sending_what_the_provider_is_working_on_is_noticed() {
    let case = Case { kind: Kind::Idempotent, persons: 1, ..SHORT };
    assert_finds(case, Fault::ForgetsWork, rules::FORGOTTEN);
}

#[test]
fn ignoring_who_holds_an_invite_or_for_how_long_is_noticed() {
    assert_finds(ONE, Fault::IgnoresHolder, rules::TWO_CALLS);
    assert_finds(SHORT, Fault::IgnoresLease, rules::TWO_CALLS);
    assert_finds(SHORT, Fault::RecoversEarly, rules::FAILED_WITH_EFFECT);
}

#[test]
fn forgetting_an_invite_whose_sender_is_gone_is_noticed() {
    assert_finds(SHORT, Fault::NeverRecovers, rules::STUCK);
}
