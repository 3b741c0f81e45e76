//! The reason kept on an invite: the members of a problem that concern the invite itself. The
//! gateway adds `type` and `title` by the code.

use invite_core::{Cause, InviteId, Outcome, ProviderError};
use jiff::SignedDuration;
use serde_json::{Value, json};

/// The provider refused it, or what came back says nothing of its effect.
pub fn refused(provider: Option<&str>, error: &ProviderError) -> Value {
    let code = match (error.outcome, error.cause) {
        (Outcome::Unknown, _) => "outcome-unknown",
        (_, Cause::Quota) => "provider-quota",
        (_, Cause::Credentials | Cause::Configuration | Cause::NotAuthorized) => {
            "provider-credentials"
        }
        (Outcome::Rejected, _) => "provider-rejected",
        (Outcome::Throttled, _) => "provider-throttled",
        (Outcome::NotSent, _) => "provider-unreachable",
    };
    let mut fault = json!({
        "code": code,
        "detail": error.message,
        "origin": "provider",
        "outcome": error.outcome.as_str(),
        "provider": provider,
        "provider_code": error.code,
        "provider_http_status": error.http_status,
    });
    if let Some(members) = fault.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    fault
}

/// What a refusal or a failure of a call comes to in the gateway's own words, for invites that shared the
/// call with other tenants': the provider's may tell of those.
pub(crate) fn in_own_words(mut fault: Value) -> Value {
    if fault["origin"] != "provider" {
        return fault;
    }
    let what = match fault["code"].as_str().unwrap_or_default() {
        "provider-quota" => "a quota of the provider's account is used up",
        "provider-credentials" => {
            "the provider refused the credential, or how it is configured here"
        }
        "provider-rejected" => "the provider refused it",
        "provider-throttled" => "the provider told us to wait",
        "provider-unreachable" => "the provider could not be reached",
        _ => "the provider did not answer as it should, and whether it took effect is not known",
    };
    let status = fault["provider_http_status"].as_u64();
    let status = status.map(|status| format!(" (HTTP {status})")).unwrap_or_default();
    fault["detail"] = format!("{what}{status}").into();
    if let Some(members) = fault.as_object_mut() {
        members.remove("provider_code");
    }
    for error in fault.get_mut("errors").and_then(Value::as_array_mut).into_iter().flatten() {
        error["detail"] = "the provider refuses this".into();
    }
    fault
}

/// An error of a call, or of a question, that was about several tenants' invites.
pub(crate) fn error_in_own_words(error: &ProviderError) -> ProviderError {
    let fault = in_own_words(refused(None, error));
    let message = fault["detail"].as_str().unwrap_or_default().to_owned();
    ProviderError { message, code: None, ..error.clone() }
}

/// A reason of the gateway's own.
pub(crate) fn own(code: &str, outcome: Outcome, detail: String) -> Value {
    json!({ "code": code, "detail": detail, "origin": "gateway", "outcome": outcome.as_str() })
}

/// Why nothing is sent while the newest document cannot be served here.
pub(crate) fn behind(newest: i64) -> String {
    format!(
        "revision {newest} of the provider document cannot be served here, and nothing is sent by an \
         older one; `configuration` in GET /v1/providers says why"
    )
}

/// Why a lane makes no call while its statements fail.
pub(crate) fn stuck() -> String {
    "this gateway cannot read or write its database, and tries again; its log says why".to_owned()
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

/// It was in the queue of this provider for longer than `retry.give_up_after`; `hindrance` is why, if
/// its lane knows.
pub(crate) fn given_up(provider: &str, hindrance: Option<&str>) -> Value {
    let why = hindrance.map(|why| format!("; of provider `{provider}`: {why}")).unwrap_or_default();
    let detail = format!("could not be sent in time (limits.retry.give_up_after){why}");
    let mut fault = own("given-up", Outcome::NotSent, detail);
    fault["provider"] = provider.into();
    fault
}

/// The same, waiting for another invite, which is named if whose this one is may see it.
pub(crate) fn given_up_behind(other: Option<InviteId>) -> Value {
    let detail = format!("could not be sent in time: {} is not settled", another(other));
    own("given-up", Outcome::NotSent, detail)
}

/// It waits in the queue for another invite, which is named if whoever asks may see it.
pub(crate) fn waiting(other: Option<InviteId>) -> Value {
    own("waiting", Outcome::NotSent, format!("waits for {} to settle", another(other)))
}

fn another(invite: Option<InviteId>) -> String {
    let invite = invite.map_or("another invite".to_owned(), |id| format!("{id},"));
    format!("{invite} to the same person at the same place")
}

/// What ails a provider, as the kind of what its last call came to: in words that hold for any call.
pub(crate) fn ailment(error: &ProviderError) -> String {
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

/// Its sender went away during the call.
pub fn sender_lost() -> Value {
    let detail = "the gateway stopped or lost its lease during the call; whether it took effect is \
                  not known";
    own("outcome-unknown", Outcome::Unknown, detail.to_owned())
}

/// The provider took a call to work on it, and what became of that is not heard of.
pub fn not_heard_of() -> Value {
    let detail = "the provider took the call to work on it and does not say what came of that; \
                  whether it took effect is not known";
    own("outcome-unknown", Outcome::Unknown, detail.to_owned())
}

/// The provider works on a call that seemed to have had no effect.
pub fn still_working() -> Value {
    let detail = "the provider is still working on an earlier call for it; whether that takes effect \
                  is not known";
    own("outcome-unknown", Outcome::Unknown, detail.to_owned())
}

/// The same, while another invite to the person is in doubt.
pub fn crowded_out() -> Value {
    let detail = "the provider is still working on an earlier call for it, and the outcome of another \
                  invite to the same person at the same place is not known either; look there before \
                  you send it again";
    own("outcome-unknown", Outcome::Unknown, detail.to_owned())
}

/// What it failed with, once it is known that it exists all the same.
pub fn took_effect(mut error: Value) -> Value {
    let detail = error["detail"].as_str().unwrap_or_default();
    let detail =
        format!("{detail}; but the provider told of its effect (provider_ref), so it exists there");
    if let Some(members) = error.as_object_mut() {
        members.insert("detail".to_owned(), detail.into());
    }
    error
}

/// The provider answered with an invite that belongs to another of ours.
pub fn already_held() -> Value {
    let detail = "the provider answered with an invite that another Invite here already stands for; \
                  nothing new is known to exist";
    own("already-held", Outcome::Rejected, detail.to_owned())
}

/// A person already has a live invite at that place.
pub fn duplicate(existing: &InviteId) -> Value {
    let detail = format!("{existing} is a live invite to the same person at the same place");
    json!({ "code": "duplicate", "detail": detail, "origin": "caller", "outcome": "rejected",
            "existing": existing })
}

/// A person found that it does not exist.
pub fn found_absent() -> Value {
    let detail = "a person recorded that it does not exist at the provider".to_owned();
    own("found-absent", Outcome::Rejected, detail)
}

/// Look-ups went on for a day and came to nothing, the last of them for this reason.
pub fn unsolved(provider: &str, why: Option<String>) -> Value {
    let why = why.map(|why| format!(" (the last look-up: {why})")).unwrap_or_default();
    let detail = format!(
        "whether the call to {provider} took effect could not be found out in 24 hours{why}; look there \
         for an invite to this person made at the time that the attempts show, then set the status \
         to `pending` (it is there) or `failed` (it is not)"
    );
    own("outcome-unknown", Outcome::Unknown, detail)
}

/// What was sent for it is recorded nowhere that can be read.
pub fn unrecorded(provider: &str) -> Value {
    let detail = format!(
        "whether the call to {provider} took effect cannot be found out: its record in the database cannot \
         be read; look there for an invite to this person, then set the status to `pending` (it is \
         there) or `failed` (it is not)"
    );
    own("outcome-unknown", Outcome::Unknown, detail)
}

/// Its calls were unknown and then found absent, again and again. One that `was_answered` with success
/// may have had an effect that the provider does not show.
pub fn exhausted(was_answered: bool) -> Value {
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
    own("given-up", outcome, detail.to_owned())
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
                let mut fault = refused(Some("acme"), &error);
                fault["errors"] =
                    json!([{ "pointer": "/phone", "code": "invalid", "detail": said }]);
                let told = in_own_words(fault.clone());
                assert!(!told.to_string().contains("555"), "{told}");
                assert_eq!(told["errors"][0]["pointer"], "/phone");
                for member in ["code", "outcome", "provider", "provider_http_status"] {
                    assert_eq!(told[member], fault[member]);
                }
                let error = error_in_own_words(&error);
                assert!(error.code.is_none() && !error.message.contains("555"), "{error}");
            }
        }
        let own = own("waiting", Outcome::NotSent, "waits".to_owned());
        assert_eq!(in_own_words(own.clone()), own);
    }
}
