//! What the words of a refusal are about, where the provider's own codes do not say: the call as such
//! (clock, organization, kind of activity, version, credential), or what is in it. The words count only
//! where the refusal names no item, and where they speak of what belongs to an item they say nothing.

use crate::Cause;

/// What belongs to an item: a refusal that speaks of one of these may be about that one alone.
const OF_AN_ITEM: &[&str] = &[
    "address",
    "email",
    "emails",
    "invitee",
    "label",
    "labels",
    "phone",
    "receiver",
    "receiverusername",
    "receiveruseremail",
    "receiverusertags",
    "recipient",
    "tag",
    "tags",
];
/// What stands between "organization" and what is said of something else there.
const INHABITANTS: &[&str] = &[
    "user",
    "users",
    "member",
    "members",
    "person",
    "invitation",
    "invitations",
    "invite",
    "invites",
    "name",
    "domain",
    "role",
    "policy",
    "wallet",
    "sender",
];
/// What a word before "organization" makes it: the place where something else is.
const PLACING: &[&str] = &[
    "at", "by", "for", "from", "in", "inside", "into", "of", "on", "to", "under", "with", "within",
];
const ARTICLES: &[&str] =
    &["a", "an", "any", "given", "our", "s", "specified", "that", "the", "this", "your"];
const ORGANIZATION: &[&str] = &[
    "organization",
    "organisation",
    "organizationid",
    "organisationid",
    "tenancy",
    "tenant",
    "tenantid",
];
/// What is wrong with a thing.
const WRONG: &[&str] = &[
    "archived",
    "deactivated",
    "deprecated",
    "differ",
    "differs",
    "disabled",
    "expected",
    "expired",
    "inactive",
    "incorrect",
    "invalid",
    "locked",
    "malformed",
    "mismatch",
    "mismatched",
    "missing",
    "obsolete",
    "outdated",
    "retired",
    "revoked",
    "suspended",
    "unknown",
    "unrecognised",
    "unrecognized",
    "unsupported",
    "wrong",
];
/// What follows a "not" that says the same.
const NOT: &[&str] = &[
    "active",
    "allowed",
    "authorised",
    "authorized",
    "enabled",
    "exist",
    "find",
    "found",
    "known",
    "match",
    "permitted",
    "recognised",
    "recognized",
    "supported",
    "valid",
    "verified",
    "verify",
];
/// What is wrong with a time.
const ILL_TIMED: &[&str] = &[
    "ahead", "behind", "drift", "early", "expired", "fresh", "future", "hour", "invalid", "late",
    "liveness", "minutes", "old", "older", "past", "recent", "seconds", "skew", "skewed", "stale",
    "window",
];

/// The cause that a refusal's text tells, if it is about the call as such:
/// [`Credentials`](Cause::Credentials) or [`Configuration`](Cause::Configuration).
pub fn of_the_call(text: &str) -> Option<Cause> {
    let lower = text.to_lowercase();
    // Addresses of pages speak of anything.
    let words: Vec<&str> = lower
        .split_whitespace()
        .filter(|word| !word.contains("://"))
        .flat_map(|word| word.split(|c: char| !c.is_alphanumeric()))
        .filter(|word| !word.is_empty())
        .collect();
    if holds(&words, OF_AN_ITEM) {
        return None;
    }
    let is_configuration = is_clock(&words)
        || is_organization(&words)
        || is_activity_type(&words)
        || is_version(&words);
    if is_configuration {
        return Some(Cause::Configuration);
    }
    is_credential(&words).then_some(Cause::Credentials)
}

fn holds(words: &[&str], any: &[&str]) -> bool {
    words.iter().any(|word| any.contains(word))
}

/// Whether these words stand there, one after the other.
fn says(words: &[&str], phrase: &str) -> bool {
    let phrase: Vec<&str> = phrase.split(' ').collect();
    words.windows(phrase.len()).any(|window| window == phrase)
}

fn say_any(words: &[&str], phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| says(words, phrase))
}

/// Whether something is said to be wrong.
fn is_wrong(words: &[&str]) -> bool {
    holds(words, WRONG)
        || words.windows(2).any(|pair| pair[0] == "not" && NOT.contains(&pair[1]))
        || say_any(words, &["no longer", "could not", "cannot", "not be"])
}

fn is_clock(words: &[&str]) -> bool {
    let stamped = ["timestamp", "timestamps", "timestampms", "clock", "clocks"];
    let timed = [
        "request time",
        "request date",
        "server time",
        "system time",
        "current time",
        "date header",
    ];
    let expired = [
        "request expired",
        "request has expired",
        "request is expired",
        "request is too old",
        "request too old",
        "request is in the future",
        "signature expired",
        "signature has expired",
        "stamp expired",
        "stamp has expired",
        "stale request",
    ];
    (holds(words, &stamped) || say_any(words, &timed)) && holds(words, ILL_TIMED)
        || say_any(words, &expired)
        || say_any(
            words,
            &["clock skew", "time skew", "out of sync", "not synchronized", "not synchronised"],
        )
        || holds(words, &["requesttimetooskewed"])
}

/// The organization itself is wrong, and not something that is, or is not, in it.
fn is_organization(words: &[&str]) -> bool {
    let is_subject = |at: usize| {
        let before = words[..at].iter().rev().find(|word| !ARTICLES.contains(word));
        before.is_none_or(|word| !PLACING.contains(word) && !INHABITANTS.contains(word))
    };
    let named = words.iter().enumerate().filter(|(_, word)| ORGANIZATION.contains(word));
    named.filter(|(at, _)| is_subject(*at)).any(|(at, _)| {
        let after = &words[at + 1..words.len().min(at + 8)];
        let said = after.iter().take_while(|word| !INHABITANTS.contains(word));
        let said: Vec<&str> = said.copied().collect();
        let before = &words[at.saturating_sub(3)..at];
        let lacks = before.last().is_some_and(|word| ["no", "find"].contains(word))
            || say_any(before, &["find the", "find an", "no such"]);
        is_wrong(&said) || holds(before, WRONG) || lacks
    })
}

fn is_activity_type(words: &[&str]) -> bool {
    let named = says(words, "activity type") || holds(words, &["activitytype"]);
    let unknown = ["unsupported activity", "unknown activity", "invalid activity"];
    named && (is_wrong(words) || says(words, "must be")) || say_any(words, &unknown)
}

fn is_version(words: &[&str]) -> bool {
    let named = [
        "api version",
        "version of the api",
        "version of this api",
        "client version",
        "version of the client",
        "version of this endpoint",
        "version of the endpoint",
        "apiversion",
    ];
    let wrong = [
        "unsupported version",
        "deprecated version",
        "version not supported",
        "version is not supported",
        "version is no longer supported",
        "version unsupported",
        "version is deprecated",
        "version has been retired",
        "version is retired",
    ];
    say_any(words, &named) && is_wrong(words)
        || say_any(words, &["upgrade required"])
        || say_any(words, &wrong) && !holds(words, INHABITANTS)
}

fn is_credential(words: &[&str]) -> bool {
    let always = [
        "not authenticated",
        "authentication failed",
        "authentication required",
        "authentication is required",
        "unauthenticated",
        "invalid client",
        "unauthorized client",
        "token expired",
        "token is expired",
        "token has expired",
        "expired token",
    ];
    let wrong = [
        "api key",
        "apikey",
        "public key",
        "signature",
        "x stamp",
        "credential",
        "credentials",
        "access token",
        "bearer token",
        "jwt",
        "authorization header",
    ];
    say_any(words, &always) || say_any(words, &wrong) && is_wrong(words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONFIGURATION: &[&str] = &[
        // The clock.
        "invalid request: timestampMs: must be less than 1 hour old",
        "invalid request: timestampMs: must be at most 5 minutes in the future",
        "timestamp is too old",
        "timestamp too far in the future",
        "request timestamp outside of the allowed window",
        "The difference between the request time and the current time is too large: clock skew",
        "RequestTimeTooSkewed",
        "request time is 7200 seconds ahead",
        "your clock is ahead of ours",
        "client clock drift exceeds limit",
        "clock out of sync",
        "Request has expired",
        "request is too old",
        "stamp has expired",
        "Invalid timestamp",
        // The organization.
        "no organization found with ID 89881fc7",
        "malformed organization ID provided in the request",
        "organization not found",
        "could not find organization 35e5c619",
        "could not find the organization",
        "unknown organization",
        "organization mismatch",
        "the request's organization does not match the voter's organization",
        "Organization is disabled",
        "your organization has been suspended",
        "this organisation is not active",
        "tenancy is suspended",
        "tenant not found",
        "invalid organizationId",
        // The kind of activity.
        "invalid request: type: must be ACTIVITY_TYPE_CREATE_INVITATIONS",
        "unsupported activity type",
        "activity type ACTIVITY_TYPE_CREATE_INVITATIONS is not supported",
        "unknown activity",
        "activityType is deprecated",
        // The version.
        "API version not supported",
        "unsupported API version 2023-01-01",
        "this version of the API has been retired",
        "this API version is no longer supported",
        "client version is outdated",
        "Upgrade Required",
    ];

    const CREDENTIALS: &[&str] = &[
        "API key expired",
        "invalid api key",
        "missing x-api-key: apiKey invalid",
        "could not find public key in organization",
        "could not verify api key signature",
        "signature is invalid",
        "Not authenticated",
        "authentication failed: rpc error: code = Unauthenticated",
        "invalid_client",
        "access token is not valid",
        "token is expired",
        "the credential was revoked",
    ];

    const NEITHER: &[&str] = &[
        "",
        "bad request",
        "email: is required",
        "invalid request: receiverUserEmail: must be an email address",
        "invalid request: receiverUserTags: must be UUIDs",
        "invalid request: accessType: must be an access type",
        "user tag \"version\" not found",
        "tag version is not supported",
        "tag \"timestamp\" is invalid",
        "tag 'organization not found' is unknown",
        "label \"API key expired\" is too long",
        "could not find user in organization",
        "user not found in your organization",
        "user is already a member of another organization",
        "user belongs to an organization that is disabled",
        "the recipient's organization is suspended",
        "the user's organization is suspended",
        "organization user not found",
        "organization policy not found",
        "this user does not exist in the organization",
        "no reachable mail server for this email domain",
        "the domain is not allowed by the organization",
        "invitation expired",
        "proto: syntax error: unexpected token",
        "message: longer than 256 characters",
        "Clock",
        "the guest's name must not hold the word clock",
        "authentication_method: Input should be 'QR Code', 'Biometric' or 'Both'",
        "Invite limit reached for this plan",
        "see https://docs.example.org/organization-not-found/api-version-not-supported",
        "sender is not allowed to invite",
        "mobile number is invalid",
        "the event start time is in the past",
    ];

    #[test]
    fn words_about_the_call_are_told_from_words_about_its_items() {
        for text in CONFIGURATION {
            assert_eq!(of_the_call(text), Some(Cause::Configuration), "{text}");
            assert_eq!(of_the_call(&text.to_uppercase()), Some(Cause::Configuration), "{text}");
        }
        for text in CREDENTIALS {
            assert_eq!(of_the_call(text), Some(Cause::Credentials), "{text}");
        }
        for text in NEITHER {
            assert_eq!(of_the_call(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn words_of_an_item_keep_any_refusal_from_being_the_calls(
            text in prop::sample::select(CONFIGURATION), member in prop::sample::select(OF_AN_ITEM),
        ) {
            prop_assert_eq!(of_the_call(&format!("{member}: {text}")), None);
        }

        #[test]
        fn any_text_can_be_asked(text in ".{0,80}") {
            let _ = of_the_call(&text);
        }
    }
}
