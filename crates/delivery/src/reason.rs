//! The reasons that the engine gives for what it does, in its own words.

use invite_core::{Cause, Fault, InviteId, Origin, Outcome, ProviderError, Reason, ReasonCode};
use jiff::SignedDuration;

/// A refusal or failure of a call in the gateway's own words, for invites that shared the call with other tenants': the
/// provider's words may tell of those.
pub(crate) fn in_own_words(reason: Reason) -> Reason {
    if reason.origin != Origin::Provider {
        return reason;
    }
    let what = match reason.code {
        ReasonCode::ProviderQuota => "a quota of the provider's account is used up",
        ReasonCode::ProviderCredentials => {
            "the provider refused the credential, or how it is configured here"
        }
        ReasonCode::ProviderRejected => "the provider refused it",
        ReasonCode::ProviderThrottled => "the provider told us to wait",
        ReasonCode::ProviderUnreachable => "the provider could not be reached",
        _ => "the provider did not answer as it should, and whether it took effect is not known",
    };
    let status = reason.provider_http_status.map(|status| format!(" (HTTP {status})"));
    let told = |fault: Fault| Fault { detail: "the provider refuses this".to_owned(), ..fault };
    Reason {
        detail: format!("{what}{}", status.unwrap_or_default()),
        provider_code: None,
        errors: reason.errors.into_iter().map(told).collect(),
        ..reason
    }
}

/// The same for an error of a call that was about several tenants' invites.
pub(crate) fn error_in_own_words(error: &ProviderError) -> ProviderError {
    let message = in_own_words(Reason::of(None, error)).detail;
    ProviderError { message, code: None, ..error.clone() }
}

/// A reason of the gateway's own.
pub(crate) fn own(code: ReasonCode, outcome: Outcome, detail: impl Into<String>) -> Reason {
    Reason::new(code, Origin::Gateway, outcome, detail)
}

/// Why it is not known whether an invite's call took effect.
fn unknown(detail: impl Into<String>) -> Reason {
    own(ReasonCode::OutcomeUnknown, Outcome::Unknown, detail)
}

/// Why nothing is sent while the newest document cannot be served here.
pub(crate) fn revision_unserved(newest: i64) -> String {
    format!(
        "revision {newest} of the provider document cannot be served here, and nothing is sent by an \
         older one; `configuration` in GET /v1/providers says why"
    )
}

/// Why a lane makes no calls while its steps fail.
pub(crate) fn stuck() -> String {
    "this gateway fails to work on the queue, mostly for want of its database, and tries again; its log says why"
        .to_owned()
}

/// Why nothing is sent while this machine's clock is so far ahead of the database's.
pub(crate) fn clock_off(ahead: SignedDuration) -> String {
    let way = if ahead.is_negative() { "behind" } else { "ahead of" };
    let by = SignedDuration::from_secs(ahead.as_secs_f64().abs().round() as i64);
    format!(
        "the clock of this gateway's machine is {by:#} {way} the database's, and nothing is sent from a \
         machine whose clock is wrong: set it, or the database server's; sending goes on by itself"
    )
}

/// The invite was in the queue of this provider for longer than `retry.give_up_after`; `pause_reason` says why, if its lane
/// knows.
pub(crate) fn given_up(provider: &str, pause_reason: Option<&str>) -> Reason {
    let why =
        pause_reason.map(|why| format!("; of provider `{provider}`: {why}")).unwrap_or_default();
    let detail = format!("could not be sent in time (limits.retry.give_up_after){why}");
    own(ReasonCode::GivenUp, Outcome::NotSent, detail).at(provider)
}

/// The same while it waited for another invite, which is named if this one's tenant may see it.
pub(crate) fn given_up_waiting(other: Option<InviteId>) -> Reason {
    let detail = format!("could not be sent in time: {} is not settled", another(other));
    own(ReasonCode::GivenUp, Outcome::NotSent, detail)
}

/// The invite waits in the queue for another one, which is named if whoever asks may see it.
pub(crate) fn waiting(other: Option<InviteId>) -> Reason {
    own(ReasonCode::Waiting, Outcome::NotSent, format!("waits for {} to settle", another(other)))
}

fn another(invite: Option<InviteId>) -> String {
    let invite = invite.map_or("another invite".to_owned(), |id| format!("{id},"));
    format!("{invite} to the same person at the same place")
}

/// What kind of failure a call's error is, in words that hold for any call and quote nothing of this one.
pub(crate) fn failure_kind(error: &ProviderError) -> String {
    let what = match (error.outcome, error.cause) {
        (_, Cause::Credentials | Cause::NotAuthorized) => "it refused the credential",
        (_, Cause::Configuration) => "it refused how it is configured here",
        (Outcome::NotSent, Cause::Transport) => "it could not be reached",
        (Outcome::NotSent, _) => "it could not be asked",
        (Outcome::Throttled, _) => "it told us to wait",
        (Outcome::Rejected | Outcome::Unknown, _) => "it did not answer as it should",
    };
    let status = error.http_status.map(|status| format!("HTTP {status}"));
    let details: Vec<_> = status.into_iter().chain(error.code.clone()).collect();
    match details.is_empty() {
        true => what.to_owned(),
        false => format!("{what} ({})", details.join(", ")),
    }
}

/// The sender of an invite went away during the call.
pub fn sender_lost() -> Reason {
    let detail = "the gateway stopped or lost its lease during the call; whether it took effect is \
                  not known";
    unknown(detail)
}

/// The provider took a call to work on it, and does not say what became of that.
pub fn not_heard_of() -> Reason {
    let detail = "the provider took the call to work on it and does not say what came of that; \
                  whether it took effect is not known";
    unknown(detail)
}

/// The provider still works on a call that seemed to have had no effect.
pub fn still_working() -> Reason {
    let detail = "the provider is still working on an earlier call for it; whether that takes effect \
                  is not known";
    unknown(detail)
}

/// The same, while another invite to the person is in doubt.
pub fn other_in_doubt() -> Reason {
    let detail = "the provider is still working on an earlier call for it, and the outcome of another \
                  invite to the same person at the same place is not known either; look there before \
                  you send it again";
    unknown(detail)
}

/// The reason that an invite failed for, once it is known that it exists all the same.
pub fn took_effect(reason: Reason) -> Reason {
    let detail = format!(
        "{}; but the provider told of its effect (provider_ref), so it exists there",
        reason.detail
    );
    Reason { detail, ..reason }
}

/// The provider answered with an invite that belongs to another of ours.
pub fn already_held() -> Reason {
    let detail = "the provider answered with an invite that another Invite here already stands for; \
                  nothing new is known to exist";
    own(ReasonCode::AlreadyHeld, Outcome::Rejected, detail)
}

pub fn found_absent() -> Reason {
    let detail = "a person recorded that it does not exist at the provider";
    own(ReasonCode::FoundAbsent, Outcome::Rejected, detail)
}

/// Look-ups went on for a day and came to nothing, the last of them for this reason.
pub fn unsolved(provider: &str, why: Option<String>) -> Reason {
    let why = why.map(|why| format!(" (the last look-up: {why})")).unwrap_or_default();
    let detail = format!(
        "whether the call to {provider} took effect could not be found out in 24 hours{why}; look there \
         for an invite to this person made at the time that the attempts show, then set the status \
         to `pending` (it is there) or `failed` (it is not)"
    );
    unknown(detail)
}

/// The record of an invite's call cannot be read, so nothing shows what was sent for it.
pub fn unrecorded(provider: &str) -> Reason {
    let detail = format!(
        "whether the call to {provider} took effect cannot be found out: its record in the database cannot \
         be read; look there for an invite to this person, then set the status to `pending` (it is \
         there) or `failed` (it is not)"
    );
    unknown(detail)
}

/// An invite's calls were unknown and then found absent, again and again. One that `was_answered` with success may have
/// had an effect that the provider does not show.
pub fn exhausted(was_answered: bool) -> Reason {
    let (outcome, detail) = match was_answered {
        true => (
            Outcome::Unknown,
            "a call was answered with success, but no look-up ever showed an effect \
             (limits.retry.max_attempts); look there before you send it again",
        ),
        false => (
            Outcome::NotSent,
            "every call ended without an answer and was then found to have had no effect \
             (limits.retry.max_attempts)",
        ),
    };
    own(ReasonCode::GivenUp, outcome, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_says_is_told_without_any_of_its_words_where_tenants_shared_the_call() {
        let said = "5559998888 is blocked";
        for outcome in Outcome::ALL.iter().copied() {
            for cause in [Cause::Request, Cause::Quota, Cause::Credentials, Cause::Transport] {
                let error = ProviderError::new(outcome, said).caused_by(cause).with_status(400);
                let error = error.with_code(Some("5559998888"));
                let reason = Reason::of(Some("acme"), &error);
                let reason =
                    Reason { errors: vec![Fault::new("/phone", "invalid", said)], ..reason };
                let told = in_own_words(reason.clone());
                assert!(!serde_json::to_string(&told).unwrap().contains("555"), "{told:?}");
                assert_eq!(told.errors[0].pointer, "/phone");
                let kept = |it: Reason| {
                    (it.code, it.origin, it.outcome, it.provider, it.provider_http_status)
                };
                assert_eq!(kept(told), kept(reason));
                let error = error_in_own_words(&error);
                assert!(error.code.is_none() && !error.message.contains("555"), "{error}");
            }
        }
        let own = own(ReasonCode::Waiting, Outcome::NotSent, "waits");
        assert_eq!(in_own_words(own.clone()), own);
    }
}
