//! What a look-up means for an invite in doubt.

use std::time::Duration;

use invite_core::{AttemptId, Observed, Reason, Retry, Status};
use invite_store::{Decision, InviteState, Phase, Unknown};
use jiff::Timestamp;

use super::{Settlement, apply, copy_observed, settle};

/// How long look-ups go on before a person has to find out.
pub const LOOK_UP_FOR: Duration = Duration::from_secs(24 * 3600);

/// What a look-up says of one invite.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It exists at the provider, or the provider is still working on it (`Sending`).
    Exists(Box<Observed>),
    /// The provider ended the call without effect, and says why; of several invites any may be at
    /// fault.
    Refused(Reason),
    /// The same, and it named this invite as at fault.
    AtFault(Reason),
    /// The same, and it named only others of the call.
    Faultless,
    /// It is nowhere where it could show.
    Absent,
    /// There are invites that may be it, with these provider ids, which none of ours holds.
    Similar(Vec<String>),
    /// Nothing is known, for this reason, a clause.
    CannotTell(String),
}

/// By what terms a verdict counts.
#[derive(Clone, Debug)]
pub struct LookupTerms {
    /// The attempt whose effect is not known.
    pub holder: AttemptId,
    /// When the look-up began.
    pub began: Timestamp,
    /// Another invite of the same call has appeared, so its effect was still on its way.
    pub disturbed: bool,
    /// The group that the invite's next calls are confined to, should it be absent or refused; none
    /// for an invite that was alone in its call.
    pub group: Option<String>,
    /// The provider tells calls apart by their bytes, so that what it shows of one is no other invite's.
    pub told_by_bytes: bool,
    /// The provider refused the call, so nothing of it is on its way any more, although some may have taken effect.
    pub is_refused: bool,
    /// How far two look-ups have to be apart that find it absent, and the first that counts from the call's end.
    pub settle: Duration,
    /// How long the call may have been under way at most.
    pub timeout: Duration,
    /// How often calls are made, and how look-ups back off.
    pub retry: Retry,
    /// A random number from 0 to 1 that spreads waits out.
    pub fraction: f64,
    /// The invite's reason if look-ups end without an answer.
    pub unsolved: Reason,
    /// The invite's reason if it was found absent too often.
    pub exhausted: Reason,
}

/// Applies what a look-up says. *Exists* is believed at once; *absent* only when two look-ups say so that are at least
/// `settle` apart, the first of them begun at least `settle` and the time-out after the call ended. If the provider refused
/// the call, the first may begin at once.
pub fn apply_verdict(
    state: &mut InviteState,
    lookup: &LookupTerms,
    verdict: &Verdict,
    now: Timestamp,
) -> Decision {
    let unknown = match &state.phase {
        Phase::Unknown(unknown) if unknown.holder == lookup.holder => unknown.clone(),
        _ => {
            let held_by_another = state.holder().is_some_and(|holder| holder != lookup.holder);
            return match verdict {
                // It may be the effect of that other attempt, whose reply will tell.
                Verdict::Exists(_) if held_by_another => Decision::Keep,
                // Where calls are not told apart by their bytes, it may be the effect of another invite, sent to the person
                // after this one left doubt.
                Verdict::Exists(observed) if lookup.told_by_bytes => {
                    settle(state, lookup.holder, &Settlement::Exists(observed.clone()), now)
                }
                _ => Decision::Keep,
            };
        }
    };
    state.checked_at = Some(now);
    let settlement = match verdict {
        Verdict::Exists(observed) if observed.status == Status::Sending => {
            copy_observed(state, observed, now);
            schedule_look_up(state, unknown, lookup, now);
            return Decision::Write;
        }
        Verdict::Exists(observed) => Settlement::Exists(observed.clone()),
        // One of several may be at fault for all of them.
        Verdict::Refused(reason) => match &lookup.group {
            Some(_) => Settlement::Again { at: Some(now), group: lookup.group.clone() },
            None => Settlement::Failed(reason.clone()),
        },
        Verdict::AtFault(reason) => Settlement::Failed(reason.clone()),
        Verdict::Faultless => Settlement::Again { at: Some(now), group: state.group_id.clone() },
        Verdict::Absent if is_believable(&unknown, lookup) => {
            // A call of several is halved, and does not count as an attempt of each of them.
            state.found_absent += u32::from(lookup.group.is_none());
            match lookup.group.is_none() && state.found_absent >= lookup.retry.max_attempts {
                true => Settlement::Failed(lookup.exhausted.clone()),
                false => Settlement::Again { at: Some(now), group: lookup.group.clone() },
            }
        }
        Verdict::Absent | Verdict::Similar(_) | Verdict::CannotTell(_) => {
            // What the first look-up after a refusal shows was made before the refusal.
            let is_since = !lookup.is_refused || unknown.absent_since.is_some();
            let unknown = if lookup.disturbed && is_since {
                Unknown { ended_at: now, absent_since: None, ..unknown }
            } else if matches!(verdict, Verdict::Absent)
                && lookup.began >= countable(&unknown, lookup)
            {
                let since = unknown.absent_since.or(Some(lookup.began));
                Unknown { absent_since: since, ..unknown }
            } else {
                unknown
            };
            schedule_look_up(state, unknown, lookup, now);
            return Decision::Write;
        }
    };
    apply(state, &settlement, now)
}

/// Stores that the provider was asked about a call that it still works on, and is asked again at `next`; renews the lease.
pub fn keep_following(
    state: &mut InviteState,
    holder: AttemptId,
    lease_until: Timestamp,
    next: Timestamp,
    now: Timestamp,
) -> Decision {
    if state.status() != Status::Sending || state.holder() != Some(holder) {
        return Decision::Abort;
    }
    state.phase = Phase::Sending { holder, lease_until, next_attempt_at: Some(next) };
    state.checked_at = Some(now);
    Decision::Write
}

/// Whether an absence that this look-up shows would change anything: as the first that counts, or as the one that confirms
/// it.
pub fn counts_absence(state: &InviteState, lookup: &LookupTerms) -> bool {
    match &state.phase {
        Phase::Unknown(unknown) if unknown.holder == lookup.holder => {
            lookup.began >= decisive(unknown, lookup)
        }
        _ => false,
    }
}

/// When a look-up may begin at the earliest whose absence changes anything.
fn decisive(unknown: &Unknown, lookup: &LookupTerms) -> Timestamp {
    match unknown.absent_since {
        Some(since) => confirms(since, lookup),
        None => countable(unknown, lookup),
    }
}

/// When a look-up that counts may begin at the earliest.
fn countable(unknown: &Unknown, lookup: &LookupTerms) -> Timestamp {
    let on_its_way =
        if lookup.is_refused { Duration::ZERO } else { lookup.settle + lookup.timeout };
    later(unknown.ended_at, on_its_way)
}

fn is_believable(unknown: &Unknown, lookup: &LookupTerms) -> bool {
    !lookup.disturbed
        && unknown.absent_since.is_some_and(|since| lookup.began >= confirms(since, lookup))
}

/// When a look-up that confirms an absence may begin at the earliest. After a refusal the first look-up may begin at
/// once, so the second has to begin more than `settle` after it; otherwise the first came that late already.
fn confirms(since: Timestamp, lookup: &LookupTerms) -> Timestamp {
    later(since, lookup.settle + Duration::from_millis(lookup.is_refused.into()))
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// Schedules the next look-up. They back off, but none is later than the next moment at which it may decide something.
fn schedule_look_up(
    state: &mut InviteState,
    unknown: Unknown,
    lookup: &LookupTerms,
    now: Timestamp,
) {
    let lookups = unknown.lookups + 1;
    let backoff = later(now, lookup.retry.backoff(lookups, lookup.fraction));
    let decisive = decisive(&unknown, lookup);
    let next = match decisive > now {
        true => backoff.min(decisive),
        // This one began too early to decide, and the moment came while it was under way.
        false if lookup.began < decisive => now,
        false => backoff,
    };
    let is_over = now >= later(unknown.ended_at, LOOK_UP_FOR);
    if is_over {
        state.error = Some(lookup.unsolved.clone());
    }
    let next_attempt_at = (!is_over).then_some(next);
    state.phase = Phase::Unknown(Unknown { lookups, next_attempt_at, ..unknown });
}

/// Ends the look-ups for an invite in doubt, for this reason: a person has to decide.
pub fn leave_to_person(state: &mut InviteState, reason: &Reason) -> Decision {
    let Phase::Unknown(unknown) = &mut state.phase else { return Decision::Keep };
    unknown.next_attempt_at = None;
    state.error = Some(reason.clone());
    Decision::Write
}

#[cfg(test)]
mod tests {
    use super::{super::tests::refusal, *};

    fn lookup(holder: AttemptId, now: Timestamp) -> LookupTerms {
        LookupTerms {
            holder,
            began: now,
            disturbed: false,
            group: Some("half".into()),
            told_by_bytes: false,
            is_refused: false,
            settle: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            retry: Retry::default(),
            fraction: 0.5,
            unsolved: refusal(),
            exhausted: refusal(),
        }
    }

    #[test]
    fn a_look_up_that_outlives_its_doubt_counts_only_where_calls_are_told_by_their_bytes() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let holder = AttemptId::generate();
        let seen = Observed::new(Some("i1".into()), Status::Pending);
        let seen = Verdict::Exists(Box::new(seen));
        for (told_by_bytes, decision) in [(false, Decision::Keep), (true, Decision::Write)] {
            let lookup = LookupTerms { told_by_bytes, ..lookup(holder, now) };
            for is_retried in [false, true] {
                let mut state = InviteState::queued(now);
                super::super::claim(&mut state, holder, now);
                super::super::lose_sender(&mut state, holder, &refusal(), now);
                match is_retried {
                    true => super::super::requeue(&mut state, true, now),
                    false => {
                        super::super::decide_unknown(&mut state, Status::Failed, Some(refusal()))
                    }
                };
                assert_eq!(apply_verdict(&mut state, &lookup, &seen, now), decision);
                assert_eq!(state.provider_ref.is_some(), told_by_bytes);
            }
        }
    }

    #[test]
    fn where_an_absence_does_not_count_it_is_as_if_nothing_could_be_told() {
        let ended: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let holder = AttemptId::generate();
        let after = |seconds| ended + Duration::from_secs(seconds);
        // Of the terms above it takes two seconds until the first absence counts, and one more until it is confirmed.
        for (absent_since, counts_from) in [(None, 2), (Some(2), 3), (Some(4), 5)] {
            for began in 0..8 {
                let mut state = InviteState::queued(ended);
                super::super::claim(&mut state, holder, ended);
                super::super::lose_sender(&mut state, holder, &refusal(), ended);
                let Phase::Unknown(unknown) = &mut state.phase else { unreachable!() };
                unknown.absent_since = absent_since.map(after);
                let lookup = lookup(holder, after(began));
                let counts = counts_absence(&state, &lookup);
                assert_eq!(counts, began >= counts_from, "{absent_since:?} {began}");
                let told = |verdict| {
                    let mut state = state.clone();
                    apply_verdict(&mut state, &lookup, &verdict, after(began));
                    state
                };
                let blind = told(Verdict::CannotTell(String::new()));
                assert_eq!(told(Verdict::Absent) != blind, counts, "{absent_since:?} {began}");
            }
        }
        let others = lookup(AttemptId::generate(), after(9));
        let mut state = InviteState::queued(ended);
        super::super::claim(&mut state, holder, ended);
        super::super::lose_sender(&mut state, holder, &refusal(), ended);
        assert!(!counts_absence(&state, &others), "another attempt's");
    }

    #[test]
    fn a_look_up_during_which_the_decisive_moment_came_is_made_again_at_once() {
        let ended: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let holder = AttemptId::generate();
        let after = |seconds| ended + Duration::from_secs(seconds);
        // Of the terms above absence counts two seconds after the end, and is confirmed one second after it was seen.
        for (absent_since, decisive) in [(None, 2), (Some(2), 3)] {
            for (began, ends) in [(0, 1), (0, 5), (decisive, decisive + 5)] {
                let mut state = InviteState::queued(ended);
                super::super::claim(&mut state, holder, ended);
                super::super::lose_sender(&mut state, holder, &refusal(), ended);
                let Phase::Unknown(unknown) = &mut state.phase else { unreachable!() };
                // By now its look-ups are far apart.
                (unknown.lookups, unknown.absent_since) = (30, absent_since.map(after));
                let lookup = lookup(holder, after(began));
                apply_verdict(
                    &mut state,
                    &lookup,
                    &Verdict::CannotTell(String::new()),
                    after(ends),
                );
                let next = state.next_attempt_at().unwrap();
                match (began < decisive, ends < decisive) {
                    (true, true) => assert_eq!(next, after(decisive)),
                    (true, false) => assert_eq!(next, after(ends)),
                    _ => assert!(next > after(ends + 60), "{next}"),
                }
            }
        }
    }

    #[test]
    fn of_several_only_those_that_a_refusal_names_fail_and_the_others_are_not_halved() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let holder = AttemptId::generate();
        let lookup = lookup(holder, now);
        for (verdict, status, group) in [
            (Verdict::AtFault(refusal()), Status::Failed, None),
            (Verdict::Faultless, Status::Queued, Some("own")),
            (Verdict::Refused(refusal()), Status::Queued, Some("half")),
        ] {
            let mut state = InviteState::queued(now);
            state.group_id = Some("own".into());
            super::super::claim(&mut state, holder, now);
            super::super::lose_sender(&mut state, holder, &refusal(), now);
            assert_eq!(apply_verdict(&mut state, &lookup, &verdict, now), Decision::Write);
            assert_eq!((state.status(), state.group_id.as_deref()), (status, group));
        }
    }
}
