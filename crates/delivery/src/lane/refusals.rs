//! Whether a refusal that names nobody is about invites or about the call as such: what is remembered
//! of such refusals at one destination until something is created there.
//!
//! A call of several that is refused is halved. Where one invite is at fault, some call without it
//! succeeds. Where calls that have no invite in common are refused in the same words down to a single
//! one, no invite is.

use std::{collections::BTreeSet, time::Duration};

use invite_core::InviteId;
use jiff::Timestamp;

use super::until;

/// How long a refusal counts that does not come again: the invites of its call may be gone.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);
/// How many calls are remembered, the newest.
const MAX_CALLS: usize = 64;

/// The calls that were refused in the same words since the last success.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    words: String,
    /// The invites of each refused call, none of them in two.
    calls: Vec<(Timestamp, BTreeSet<InviteId>)>,
    /// Invites of refused calls that were not sent again yet, alone or with fewer others.
    rest: BTreeSet<InviteId>,
}

/// What the refusal of a single invite is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    Invite,
    /// Not known before those that it shared a refused call with were tried without it.
    Undecided,
    /// The call as such: whatever it holds would be refused.
    Call,
}

impl Refusals {
    /// Notes that a call of several invites was refused.
    pub fn add(&mut self, words: &str, invites: BTreeSet<InviteId>, now: Timestamp) {
        let words = fixed_words(words);
        if self.words != words {
            *self = Self { words, ..Self::default() };
        }
        self.calls.retain(|(at, _)| until(*at, now) < REMEMBERED);
        for (_, call) in &mut self.calls {
            if !call.is_disjoint(&invites) {
                self.rest.append(call);
            }
        }
        self.calls.retain(|(_, call)| !call.is_empty());
        self.rest.retain(|invite| !invites.contains(invite));
        self.calls.push((now, invites));
        if self.calls.len() > MAX_CALLS {
            self.calls.remove(0);
        }
        if self.calls.len() == 1 && self.rest.len() > MAX_CALLS * MAX_CALLS {
            self.rest.clear();
        }
    }

    /// Notes that an invite was refused that was alone in its call, and says what that is about.
    pub fn add_single(&mut self, words: &str, invite: InviteId, now: Timestamp) -> About {
        let was_alone = self.words == fixed_words(words)
            && self.calls.iter().any(|(_, call)| is_only(call, invite));
        self.add(words, BTreeSet::from([invite]), now);
        if self.calls.len() > 1 {
            return About::Call;
        }
        if !self.rest.is_empty() && !was_alone {
            return About::Undecided;
        }
        *self = Self::default();
        About::Invite
    }

    /// Whether calls that have no invite in common were refused alike. Then a call of one invite tells what is at fault.
    pub fn are_suspicious(&self) -> bool {
        self.calls.len() > 1
    }
}

/// The words of a refusal without those that differ from call to call: times, counts and ids, which hold digits.
fn fixed_words(words: &str) -> String {
    let fixed = |word: &&str| !word.contains(|c: char| c.is_ascii_digit());
    words.split_whitespace().filter(fixed).collect::<Vec<_>>().join(" ")
}

fn is_only(call: &BTreeSet<InviteId>, invite: InviteId) -> bool {
    call.len() == 1 && call.contains(&invite)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn ids(count: usize) -> Vec<InviteId> {
        (0..count).map(|_| InviteId::generate()).collect()
    }

    fn set(invites: &[InviteId]) -> BTreeSet<InviteId> {
        invites.iter().copied().collect()
    }

    #[test]
    fn an_invite_that_is_refused_alone_is_at_fault() {
        let mut refusals = Refusals::default();
        for invite in ids(3) {
            assert_eq!(refusals.add_single("no", invite, now()), About::Invite);
        }
    }

    #[test]
    fn one_that_was_refused_with_another_waits_for_what_becomes_of_that_one() {
        let people = ids(2);
        let mut refusals = Refusals::default();
        refusals.add("no", set(&people), now());
        assert_eq!(refusals.add_single("no", people[0], now()), About::Undecided);
        let mut alike = refusals;
        assert_eq!(alike.add_single("no", people[1], now()), About::Call);
        // The other one succeeded, which forgets everything.
        let mut refusals = Refusals::default();
        assert_eq!(refusals.add_single("no", people[0], now()), About::Invite);
    }

    #[test]
    fn one_whose_company_is_never_heard_of_again_does_not_wait_for_ever() {
        let people = ids(2);
        let mut refusals = Refusals::default();
        refusals.add("no", set(&people), now());
        assert_eq!(refusals.add_single("no", people[0], now()), About::Undecided);
        assert_eq!(refusals.add_single("no", people[0], now()), About::Invite);
    }

    #[test]
    fn what_refuses_calls_without_a_common_invite_down_to_a_single_one_is_about_the_call() {
        let people = ids(8);
        let mut refusals = Refusals::default();
        refusals.add("no", set(&people), now());
        refusals.add("no", set(&people[..4]), now());
        assert!(!refusals.are_suspicious());
        refusals.add("no", set(&people[4..]), now());
        assert!(refusals.are_suspicious());
        assert_eq!(refusals.add_single("no", people[0], now()), About::Call);
        assert_eq!(refusals.add_single("no", people[0], now()), About::Call);
    }

    #[test]
    fn other_words_and_old_ones_prove_nothing() {
        let people = ids(4);
        let mut refusals = Refusals::default();
        refusals.add("no", set(&people[..2]), now());
        assert_eq!(refusals.add_single("never", people[3], now()), About::Invite);
        refusals.add("no", set(&people[..2]), now());
        assert_eq!(refusals.add_single("no", people[3], now() + REMEMBERED), About::Invite);
    }
}
