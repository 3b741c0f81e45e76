//! What a change of an invite's state means: pure functions over [`InviteState`].
//!
//! They run inside the store's transactions, on the row as it is at that moment, and are all that
//! ever changes a state. Nothing here knows of lanes, clocks or providers.

mod by_hand;
mod lookup;
mod open;

use invite_core::{
    AttemptId, Observed, Reason, Status, StatusSource,
    text::{plain, plain_json},
};
use invite_store::{Decision, InviteState, Phase, Unknown};
use jiff::Timestamp;

use crate::reason;

pub use by_hand::{decide_unknown, is_risky, override_status, requeue, withdraw};
pub use lookup::{
    LOOK_UP_FOR, LookupTerms, Verdict, apply_verdict, counts_absence, keep_following,
    leave_to_person,
};
pub use open::{ask_later, lapse, observe};

/// What an attempt came to for one invite.
#[derive(Clone, Debug)]
pub enum Settlement {
    /// It exists at the provider, or the provider is still working on it (`Sending`).
    Exists(Box<Observed>),
    /// Without effect; to be sent again, not before a time.
    Again {
        /// The earliest time, none for at once.
        at: Option<Timestamp>,
        /// The group that its next calls are confined to, if any.
        group: Option<String>,
    },
    /// Without effect, and not to be sent again.
    Failed(Reason),
    /// Whether it took effect is not known.
    Unknown(Reason),
}

/// Hands a queued invite to an attempt.
pub fn claim(state: &mut InviteState, holder: AttemptId, lease_until: Timestamp) -> Decision {
    let Phase::Queued { .. } = state.phase else { return Decision::Abort };
    state.phase = Phase::Sending { holder, lease_until, next_attempt_at: None };
    state.source = StatusSource::Gateway;
    state.attempt_count += 1;
    state.error = None;
    // What the replies to an earlier call said, such as an activity's id, does not concern this one.
    forget_replies(state);
    Decision::Write
}

/// Applies what an attempt came to. Only the attempt that holds the invite changes it, but for one that shows an effect
/// late: that settles an invite that is not under way, is kept beside a call that is, and is reported if it is the second.
pub fn settle(
    state: &mut InviteState,
    attempt: AttemptId,
    settlement: &Settlement,
    now: Timestamp,
) -> Decision {
    let holds = state.holder() == Some(attempt);
    match (state.status(), settlement) {
        (Status::Sending, _) if holds => apply(state, settlement, now),
        (Status::Unknown, Settlement::Exists(_)) if holds => apply(state, settlement, now),
        // The earlier call of an invite that is queued again has an effect, or may yet have one.
        (Status::Queued, Settlement::Exists(seen)) if seen.status == Status::Sending => {
            return_to_doubt(state, attempt, seen, now)
        }
        (Status::Queued, Settlement::Exists(_)) => apply(state, settlement, now),
        (_, Settlement::Exists(observed)) => note_effect(state, observed, now),
        _ => Decision::Keep,
    }
}

fn apply(state: &mut InviteState, settlement: &Settlement, now: Timestamp) -> Decision {
    match settlement {
        // An earlier call's effect is known and this one has none yet. Should it have one later, looking for second
        // effects finds it.
        Settlement::Exists(observed)
            if observed.status.is_settled()
                && observed.provider_ref.is_none()
                && state.provider_ref.is_some() =>
        {
            adopt_known_effect(state, now);
        }
        Settlement::Exists(observed) => {
            // In a status that is not settled the provider still works on it.
            if let Some(phase) = Phase::settled(observed.status) {
                if let Some(known) = state.provider_ref.clone()
                    && observed.provider_ref.as_ref() != Some(&known)
                {
                    note_second_effect(state, &known);
                }
                state.phase = phase;
                state.source = observed.source;
                state.sent_at = state.sent_at.or(Some(now));
                state.error = None;
                state.group_id = None;
            }
            copy_observed(state, observed, now);
        }
        // This call has no effect, but an earlier one's has come to light.
        Settlement::Again { .. } | Settlement::Failed(_) if state.provider_ref.is_some() => {
            adopt_known_effect(state, now);
        }
        Settlement::Again { at, group } => {
            state.phase = Phase::Queued { next_attempt_at: *at };
            state.source = StatusSource::Gateway;
            state.error = None;
            state.group_id.clone_from(group);
        }
        Settlement::Failed(reason) => fail(state, reason.clone()),
        Settlement::Unknown(reason) => {
            if let Some(holder) = state.holder() {
                doubt(state, holder, reason.clone(), now);
            }
        }
    }
    Decision::Write
}

fn fail(state: &mut InviteState, reason: Reason) {
    state.phase = Phase::Settled(Status::Failed);
    state.source = StatusSource::Gateway;
    state.error = Some(reason);
    state.group_id = None;
}

/// Makes an invite `unknown`, since nobody knows whether its call took effect. Its attempt goes on holding it, as a late
/// reply to that may still settle it.
fn doubt(state: &mut InviteState, holder: AttemptId, reason: Reason, now: Timestamp) {
    state.phase = Phase::Unknown(Unknown {
        holder,
        ended_at: now,
        absent_since: None,
        lookups: 0,
        next_attempt_at: Some(now),
    });
    state.source = StatusSource::Gateway;
    state.error = Some(reason);
}

/// Notes an effect that a reply shows of an invite that another attempt holds, or none. The first effect that is known is
/// the invite's; any other is a second one.
fn note_effect(state: &mut InviteState, observed: &Observed, now: Timestamp) -> Decision {
    let Some(id) = observed.provider_ref.as_ref() else { return Decision::Keep };
    match &state.provider_ref {
        Some(known) if known == id => return Decision::Keep,
        Some(_) => return note_second_effect(state, id),
        None => {}
    }
    match state.status() {
        // Whether the call under way takes effect as well is still to be found out, by what its own replies said.
        Status::Sending | Status::Unknown => {
            state.provider_ref.clone_from(&observed.provider_ref);
            state.expires_at = observed.expires_at;
        }
        Status::Failed => {
            copy_observed(state, observed, now);
            state.error = state.error.take().map(reason::took_effect);
        }
        // It was withdrawn while it was queued; or a person found it, and this is the one.
        _ => copy_observed(state, observed, now),
    }
    Decision::Write
}

/// Makes a queued invite `unknown` because the provider still works on an earlier call for it, so that there are no grounds
/// any more to send it again. That call is looked up.
fn return_to_doubt(
    state: &mut InviteState,
    attempt: AttemptId,
    observed: &Observed,
    now: Timestamp,
) -> Decision {
    doubt(state, attempt, reason::still_working(), now);
    forget_replies(state);
    copy_observed(state, observed, now);
    Decision::Write
}

/// Fails an invite that would return to doubt, having been queued `before`, while another one to the same person is in
/// doubt: only one may be, and it must not be sent again either.
pub fn keep_out_of_doubt(
    before: &InviteState,
    state: &mut InviteState,
    decision: Decision,
) -> Decision {
    if before.status() != Status::Queued || state.status() != Status::Unknown {
        return decision;
    }
    state.clone_from(before);
    give_up(state, reason::other_in_doubt())
}

/// Makes the known effect the invite's. The next refresh tells in what state that is by now.
fn adopt_known_effect(state: &mut InviteState, now: Timestamp) {
    if !state.status().is_settled() {
        // What the replies to the later call said does not concern this effect.
        forget_replies(state);
        state.provider_status = None;
    }
    state.phase = Phase::Settled(Status::Pending);
    state.source = StatusSource::Provider;
    state.sent_at = state.sent_at.or(Some(now));
    state.checked_at = None;
    state.error = None;
    state.group_id = None;
}

/// Renews the lease of an invite whose call is followed.
pub fn renew(state: &mut InviteState, holder: AttemptId, until: Timestamp) -> Decision {
    match &mut state.phase {
        Phase::Sending { holder: holds, lease_until, .. } if *holds == holder => {
            *lease_until = until;
            Decision::Write
        }
        _ => Decision::Abort,
    }
}

/// Makes an invite `unknown` whose sender is gone: nobody knows whether the call was made.
pub fn lose_sender(
    state: &mut InviteState,
    holder: AttemptId,
    reason: &Reason,
    now: Timestamp,
) -> Decision {
    match state.phase {
        Phase::Sending { holder: holds, .. } if holds == holder => {
            doubt(state, holder, reason.clone(), now);
            Decision::Write
        }
        _ => Decision::Keep,
    }
}

/// Queues an invite again whose attempt never had a call to send.
pub fn release(state: &mut InviteState, holder: AttemptId, now: Timestamp) -> Decision {
    match &state.phase {
        Phase::Unknown(unknown) if unknown.holder == holder => {
            apply(state, &Settlement::Again { at: None, group: state.group_id.clone() }, now)
        }
        _ => Decision::Keep,
    }
}

/// Settles an invite that waited for approval and whose call, the last of its `attempts` so far, the provider ended without
/// effect, as if what was `observed` had been the first reply.
pub fn refuse_approval(
    state: &mut InviteState,
    attempts: u32,
    observed: &Observed,
    settlement: &Settlement,
    now: Timestamp,
) -> Decision {
    if state.status() != Status::AwaitingApproval || state.attempt_count != attempts {
        return Decision::Keep;
    }
    copy_observed(state, observed, now);
    let decision = apply(state, settlement, now);
    if state.status() == Status::Queued {
        state.provider_status = None;
        state.sent_at = None;
        // The time until people decided does not count for `give_up_after`, which limits the wait to be sent.
        state.queued_at = now;
    }
    decision
}

/// Has the look-up of an unknown invite made now instead of when it is due.
pub fn look_up_now(state: &mut InviteState, now: Timestamp) -> Decision {
    let Phase::Unknown(unknown) = &mut state.phase else { return Decision::Keep };
    unknown.next_attempt_at = Some(now);
    Decision::Write
}

/// Notes that a call to withdraw the invite is about to be made: if it is gone later, this is why.
pub fn expect_withdrawal(state: &mut InviteState) -> Decision {
    state.revoke_sent = true;
    Decision::Write
}

/// Notes that this call was not made, or was refused: if the invite is gone later, this is not why.
pub fn forget_withdrawal(state: &mut InviteState) -> Decision {
    state.revoke_sent = false;
    Decision::Write
}

/// Reports second effects: ids at the provider that none of our invites holds. Nothing is written if none is new, or if this
/// invite has no provider id, so that what was found may be just it.
pub fn note_second_effects(state: &mut InviteState, ids: &[String]) -> Decision {
    let Some(known) = state.provider_ref.clone() else { return Decision::Abort };
    let others = ids.iter().filter(|id| **id != known);
    let noted = others.map(|id| note_second_effect(state, id)).collect::<Vec<_>>();
    if noted.contains(&Decision::Write) { Decision::Write } else { Decision::Abort }
}

/// Gives up a queued invite that could not be sent in time.
pub fn give_up(state: &mut InviteState, reason: Reason) -> Decision {
    let Phase::Queued { .. } = state.phase else { return Decision::Keep };
    fail(state, reason);
    Decision::Write
}

/// Takes over what the provider shows of the invite beside its status.
fn copy_observed(state: &mut InviteState, observed: &Observed, now: Timestamp) {
    if observed.provider_ref.is_some() {
        state.provider_ref.clone_from(&observed.provider_ref);
    }
    state.provider_status = observed.provider_status.as_deref().map(plain);
    // A reply may leave out what was known already, so this adds to it.
    let said = observed.data.iter().map(|(member, value)| (member.clone(), plain_json(value)));
    state.provider_data.extend(said);
    state.provider_data.retain(|_, value| !value.is_null());
    if observed.fingerprint.is_some() {
        state.shown_fingerprint.clone_from(&observed.fingerprint);
    }
    if observed.expires_at.is_some() {
        state.expires_at = observed.expires_at;
    }
    state.checked_at = Some(now);
}

/// Reports a second effect by its provider id.
fn note_second_effect(state: &mut InviteState, id: &str) -> Decision {
    if state.second_effects.iter().any(|known| known == id) {
        return Decision::Keep;
    }
    state.second_effects.push(id.to_owned());
    state.duplicate_effect = true;
    Decision::Write
}

/// Forgets what the replies to a call said, which does not concern another call.
fn forget_replies(state: &mut InviteState) {
    state.provider_data.clear();
    state.shown_fingerprint = None;
    state.expires_at = None;
}

#[cfg(test)]
mod tests {
    use invite_core::{Origin, Outcome, ReasonCode};
    use jiff::SignedDuration;
    use serde_json::{Value, json};

    use super::{open::ANSWERED_WITHIN, *};

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn sending() -> (InviteState, AttemptId) {
        let holder = AttemptId::generate();
        let mut state = InviteState::queued(now());
        assert_eq!(claim(&mut state, holder, now()), Decision::Write);
        (state, holder)
    }

    pub(super) fn refusal() -> Reason {
        Reason::new(ReasonCode::ProviderRejected, Origin::Provider, Outcome::Rejected, "no")
    }

    fn exists(id: &str) -> Settlement {
        Settlement::Exists(Box::new(Observed::new(Some(id.into()), Status::Pending)))
    }

    #[test]
    fn an_invite_is_claimed_once() {
        let (mut state, _) = sending();
        assert_eq!(claim(&mut state, AttemptId::generate(), now()), Decision::Abort);
        assert_eq!(state.attempt_count, 1);
    }

    #[test]
    fn only_the_attempt_that_holds_an_invite_settles_it() {
        let (mut state, holder) = sending();
        let failed = Settlement::Failed(refusal());
        assert_eq!(settle(&mut state, AttemptId::generate(), &failed, now()), Decision::Keep);
        assert_eq!(settle(&mut state, holder, &failed, now()), Decision::Write);
        assert_eq!(state.status(), Status::Failed);
        assert_eq!(state.holder(), None);
    }

    #[test]
    fn a_late_reply_settles_an_unknown_invite_only_by_showing_an_effect() {
        let (mut state, holder) = sending();
        lose_sender(&mut state, holder, &refusal(), now());
        assert_eq!(settle(&mut state, holder, &again(), now()), Decision::Keep);
        assert_eq!(settle(&mut state, holder, &exists("i1"), now()), Decision::Write);
        assert_eq!((state.status(), state.provider_ref.as_deref()), (Status::Pending, Some("i1")));
    }

    #[test]
    fn a_second_effect_is_reported_and_changes_nothing_else() {
        let (mut state, holder) = sending();
        settle(&mut state, holder, &exists("i1"), now());
        assert_eq!(settle(&mut state, holder, &exists("i1"), now()), Decision::Keep);
        assert_eq!(
            settle(&mut state, AttemptId::generate(), &exists("i2"), now()),
            Decision::Write
        );
        assert!(state.duplicate_effect);
        // The same once more is no other, and what replies to a later call say does not remove it.
        assert_eq!(note_second_effect(&mut state, "i2"), Decision::Keep);
        forget_replies(&mut state);
        assert_eq!(state.provider_ref.as_deref(), Some("i1"));
        assert_eq!(state.second_effects, ["i2"]);
    }

    fn again() -> Settlement {
        Settlement::Again { at: None, group: None }
    }

    /// Queued again at a person's risk, and the attempt whose reply is still to come.
    fn queued_at_risk() -> (InviteState, AttemptId) {
        let (mut state, holder) = sending();
        lose_sender(&mut state, holder, &refusal(), now());
        assert_eq!(requeue(&mut state, true, now()), Decision::Write);
        (state, holder)
    }

    fn working() -> Settlement {
        let mut observed = Observed::new(None, Status::Sending);
        observed.data.insert("activity_id".into(), "a".into());
        Settlement::Exists(Box::new(observed))
    }

    #[test]
    fn what_the_provider_is_still_working_on_is_not_sent_again_but_looked_up() {
        let (mut state, first) = queued_at_risk();
        assert_eq!(settle(&mut state, first, &working(), now()), Decision::Write);
        assert_eq!((state.status(), state.holder()), (Status::Unknown, Some(first)));
        let Phase::Unknown(unknown) = &state.phase else { panic!("{state:?}") };
        assert_eq!((unknown.next_attempt_at, unknown.ended_at), (Some(now()), now()));
        assert_eq!(state.provider_data["activity_id"], "a");
        assert!(state.error.is_some());
    }

    #[test]
    fn what_a_provider_says_is_none_any_more_is_shown_no_more_and_what_it_leaves_out_is() {
        let (mut state, _) = sending();
        for (name, value) in [("votes", json!(["v"])), ("votes", Value::Null), ("other", json!(1))]
        {
            let mut observed = Observed::new(None, Status::Sending);
            observed.data.insert(name.into(), value);
            copy_observed(&mut state, &observed, now());
        }
        assert_eq!(Value::Object(state.provider_data), json!({ "other": 1 }));
    }

    #[test]
    fn what_cannot_return_to_doubt_beside_another_invite_fails() {
        let (mut state, first) = queued_at_risk();
        let before = state.clone();
        let decision = settle(&mut state, first, &working(), now());
        assert_eq!(keep_out_of_doubt(&before, &mut state, decision), Decision::Write);
        assert_eq!((state.status(), state.holder()), (Status::Failed, None));
        assert!(state.error.unwrap().detail.contains("still working"));
    }

    #[test]
    fn an_effect_after_a_persons_word_is_kept_and_is_no_second_one() {
        let (mut state, holder) = sending();
        lose_sender(&mut state, holder, &refusal(), now());
        decide_unknown(&mut state, Status::Failed, Some(reason::found_absent()));
        assert_eq!(settle(&mut state, holder, &exists("i1"), now()), Decision::Write);
        assert_eq!((state.status(), state.source), (Status::Failed, StatusSource::Caller));
        assert_eq!((state.provider_ref.as_deref(), state.duplicate_effect), (Some("i1"), false));
        let detail = state.error.as_ref().unwrap().detail.clone();
        assert!(detail.contains("does not exist at the provider; but"), "{detail}");
        // Nor is it sent again: it is there.
        assert_eq!(requeue(&mut state, false, now()), Decision::Write);
        assert_eq!((state.status(), state.error.is_none()), (Status::Pending, true));
        settle(&mut state, AttemptId::generate(), &exists("i2"), now());
        assert!(state.duplicate_effect);
    }

    #[test]
    fn an_effect_that_is_heard_of_during_the_next_call_is_the_only_one_if_that_has_none() {
        for outcome in [again(), Settlement::Failed(refusal())] {
            let (mut state, first) = queued_at_risk();
            let second = AttemptId::generate();
            claim(&mut state, second, now());
            assert_eq!(settle(&mut state, first, &exists("i1"), now()), Decision::Write);
            assert_eq!((state.status(), state.duplicate_effect), (Status::Sending, false));
            assert_eq!(settle(&mut state, second, &outcome, now()), Decision::Write);
            assert_eq!((state.status(), state.duplicate_effect), (Status::Pending, false));
            assert_eq!((state.provider_ref.as_deref(), state.holder()), (Some("i1"), None));
        }
    }

    #[test]
    fn an_effect_that_is_heard_of_during_the_next_call_and_that_calls_own_are_two() {
        let (mut state, first) = queued_at_risk();
        let second = AttemptId::generate();
        claim(&mut state, second, now());
        settle(&mut state, first, &exists("i1"), now());
        settle(&mut state, second, &Settlement::Unknown(refusal()), now());
        assert_eq!((state.status(), state.duplicate_effect), (Status::Unknown, false));
        assert_eq!(settle(&mut state, second, &exists("i2"), now()), Decision::Write);
        assert_eq!((state.status(), state.duplicate_effect), (Status::Pending, true));
        assert_eq!(state.provider_ref.as_deref(), Some("i2"));
        assert_eq!(state.second_effects, ["i1"]);
    }

    #[test]
    fn a_call_that_waits_for_approval_is_no_second_effect_yet() {
        let (mut state, first) = queued_at_risk();
        let second = AttemptId::generate();
        claim(&mut state, second, now());
        settle(&mut state, first, &exists("i1"), now());
        let waiting = Observed::new(None, Status::AwaitingApproval);
        let waiting = Settlement::Exists(Box::new(waiting));
        assert_eq!(settle(&mut state, second, &waiting, now()), Decision::Write);
        assert_eq!((state.status(), state.duplicate_effect), (Status::Pending, false));
        assert_eq!((state.provider_ref.as_deref(), state.holder()), (Some("i1"), None));
    }

    #[test]
    fn what_failed_and_may_have_taken_effect_is_queued_again_only_at_a_persons_risk() {
        let (mut state, _) = queued_at_risk();
        give_up(&mut state, reason::other_in_doubt());
        assert_eq!(requeue(&mut state, false, now()), Decision::Abort);
        assert_eq!(requeue(&mut state, true, now()), Decision::Write);
        assert_eq!(state.status(), Status::Queued);
    }

    #[test]
    fn an_open_invite_lapses_only_when_its_time_is_over() {
        let (mut state, holder) = sending();
        settle(&mut state, holder, &exists("i1"), now());
        assert_eq!(lapse(&mut state, now()), Decision::Keep);
        state.expires_at = Some(now());
        let earlier = now() - SignedDuration::from_secs(1);
        assert_eq!(lapse(&mut state, earlier), Decision::Keep);
        assert_eq!(lapse(&mut state, now()), Decision::Write);
        assert_eq!((state.status(), state.source), (Status::Expired, StatusSource::Inferred));
        assert_eq!(lapse(&mut state, now()), Decision::Keep);
    }

    #[test]
    fn what_expired_by_the_clock_becomes_what_its_provider_says_within_a_while() {
        let ago = |span: SignedDuration| now() - span;
        let minute = SignedDuration::from_mins(1);
        let lapsed = |expires_at| {
            let (mut state, holder) = sending();
            settle(&mut state, holder, &exists("i1"), now());
            state.expires_at = Some(expires_at);
            lapse(&mut state, now());
            state
        };
        let seen = |status, expires_at| {
            let seen = Observed::new(Some("i1".into()), status);
            Observed { expires_at, ..seen }
        };
        // Asked before it was over, perhaps: it is asked about again.
        let (soon, later) = (ago(minute), ago(ANSWERED_WITHIN));
        for (expires_at, is_unconfirmed) in [(soon, true), (later, false)] {
            let mut state = lapsed(expires_at);
            observe(&mut state, &seen(Status::Pending, Some(expires_at)), now());
            assert_eq!(state.status(), Status::Expired);
            assert_eq!(state.is_unconfirmed, is_unconfirmed);
        }
        for status in [Status::Accepted, Status::Declined, Status::Revoked, Status::Expired] {
            let mut state = lapsed(soon);
            observe(&mut state, &seen(status, None), now());
            assert_eq!((state.status(), state.source), (status, StatusSource::Provider));
            assert!(!state.is_unconfirmed);
        }
        let mut prolonged = lapsed(soon);
        observe(&mut prolonged, &seen(Status::Pending, Some(now() + minute)), now());
        assert_eq!(prolonged.status(), Status::Pending);
        // Once it is confirmed, only an acceptance is news.
        let mut confirmed = lapsed(later);
        observe(&mut confirmed, &seen(Status::Pending, None), now());
        observe(&mut confirmed, &seen(Status::Declined, None), now());
        assert_eq!(confirmed.status(), Status::Expired);
    }

    #[test]
    fn what_expired_by_the_clock_is_not_asked_about_for_ever() {
        for (over_for, is_unconfirmed) in [(23, true), (24, false)] {
            let (mut state, holder) = sending();
            settle(&mut state, holder, &exists("i1"), now());
            state.expires_at = Some(now() - SignedDuration::from_hours(over_for));
            lapse(&mut state, now());
            ask_later(&mut state, now());
            assert_eq!(state.is_unconfirmed, is_unconfirmed);
        }
    }

    #[test]
    fn a_poll_never_moves_a_final_status() {
        let (mut state, holder) = sending();
        settle(&mut state, holder, &exists("i1"), now());
        observe(&mut state, &Observed::new(Some("i1".into()), Status::Accepted), now());
        observe(&mut state, &Observed::new(Some("i1".into()), Status::Pending), now());
        assert_eq!(state.status(), Status::Accepted);
    }

    fn awaiting_approval() -> InviteState {
        let (mut state, holder) = sending();
        let waiting = Observed::new(None, Status::AwaitingApproval);
        let waiting = Observed { provider_status: Some("NEEDED".into()), ..waiting };
        settle(&mut state, holder, &Settlement::Exists(Box::new(waiting)), now());
        state
    }

    fn ended() -> Observed {
        let provider_status = Some("ENDED".to_owned());
        Observed { provider_status, ..Observed::new(None, Status::Failed) }
    }

    #[test]
    fn what_is_refused_after_it_waited_for_approval_fails_or_goes_again() {
        let later = now() + std::time::Duration::from_secs(3600);
        let mut state = awaiting_approval();
        let failed = Settlement::Failed(refusal());
        assert_eq!(refuse_approval(&mut state, 1, &ended(), &failed, later), Decision::Write);
        assert_eq!((state.status(), state.error.is_some()), (Status::Failed, true));
        assert_eq!(state.provider_status.as_deref(), Some("ENDED"));

        let mut state = awaiting_approval();
        let group = Some("half".to_owned());
        let again = Settlement::Again { at: None, group: group.clone() };
        assert_eq!(refuse_approval(&mut state, 1, &ended(), &again, later), Decision::Write);
        assert_eq!((state.status(), &state.group_id), (Status::Queued, &group));
        assert_eq!((state.sent_at, state.queued_at), (None, later));
        assert_eq!(state.provider_status, None);
    }

    #[test]
    fn a_refusal_of_an_earlier_call_does_not_send_one_that_waits_for_approval_again() {
        let mut state = awaiting_approval();
        refuse_approval(&mut state, 1, &ended(), &again(), now());
        let second = AttemptId::generate();
        claim(&mut state, second, now());
        let before = state.clone();
        assert_eq!(refuse_approval(&mut state, 1, &ended(), &again(), now()), Decision::Keep);
        assert!(state == before);
        let waiting = Observed::new(None, Status::AwaitingApproval);
        settle(&mut state, second, &Settlement::Exists(Box::new(waiting)), now());
        assert_eq!(refuse_approval(&mut state, 1, &ended(), &again(), now()), Decision::Keep);
        assert_eq!(state.status(), Status::AwaitingApproval);
    }

    #[test]
    fn what_was_asked_before_a_retry_says_nothing_of_the_new_call() {
        let (mut state, _) = sending();
        let before = state.clone();
        let seen = Observed::new(None, Status::Failed);
        assert_eq!(observe(&mut state, &seen, now()), Decision::Keep);
        assert!(state == before);
    }

    #[test]
    fn an_unknown_invite_is_queued_again_only_at_a_persons_risk() {
        let (mut state, holder) = sending();
        lose_sender(&mut state, holder, &refusal(), now());
        assert_eq!(requeue(&mut state, false, now()), Decision::Abort);
        assert_eq!(requeue(&mut state, true, now()), Decision::Write);
        assert_eq!(state.status(), Status::Queued);
    }
}
