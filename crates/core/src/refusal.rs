//! What a refusal's words are about, where the provider's own codes do not say: the call as such (clock,
//! organization, kind of activity, version, credential), or something in it. Words count only where the refusal
//! names no item, and they say nothing where they speak of what belongs to an item.

use crate::Cause;

/// What belongs to an item, so that a refusal which speaks of it may be about that item alone.
const OF_AN_ITEM: &str = "address email emails invitee label labels phone receiver receiverusername \
                          receiveruseremail receiverusertags recipient tag tags";
/// Where one of these follows "organization" or "version", the refusal speaks of that.
const INHABITANTS: &str = "user users member members person guest invitation invitations invite invites name \
                           domain role policy wallet sender";
/// Words before "organization" that make it the place where something else is.
const PLACING: &str = "at by for from in inside into of on to under with within";
const ARTICLES: &str = "a an any given our s specified that the this your";
const ORGANIZATION: &str = "organization organisation organizationid organisationid tenancy tenant tenantid \
                            account subscription workspace";
/// What can be wrong with a thing.
const WRONG: &str = "archived deactivated deprecated differ differs disabled expected expired inactive incorrect \
                     invalid locked malformed mismatch mismatched missing obsolete outdated removed required \
                     retired revoked suspended unknown unrecognised unrecognized unsupported wrong";
/// The words that say the same after "not".
const NOT: &str = "active allowed authorised authorized enabled exist find found known match permitted recognised \
                   recognized supported valid verified verify";
/// What can be wrong with a clock.
const OFF: &str = "ahead behind difference differs drift incorrect off skew skewed sync synchronised synchronized \
                   wrong";
const LATE: &str = "old stale expired future early ahead behind";
/// Words that speak of a clock by themselves: no item has a time of its own.
const CLOCK: &str = "timestamp timestamps timestampms requesttimetooskewed liveness";
const CLOCK_PHRASES: &str = "clock skew, clock drift, time skew, time drift, too far in the future, too far \
                             in the past, stale request";
/// What has a time, which may be wrong.
const TIMED: &str =
    "request time, request date, server time, system time, current time, date header";
/// Phrases that blame the credential by themselves.
const REFUSED_CREDENTIAL: &str = "not authenticated, authentication failed, authentication required, \
                                  authentication is required, unauthenticated, unauthorized request, \
                                  unauthorised request, invalid client, unauthorized client, token expired, \
                                  token is expired, token has expired, expired token, token revoked, token \
                                  has been revoked";
/// What a credential is called; the refusal must also say that something is wrong.
const CREDENTIAL: &str = "api key, apikey, public key, signature, x stamp, credential, credentials, access \
                          token, bearer token, jwt, authorization header";

/// The cause that a refusal's text tells, if it is about the call as such:
/// [`Credentials`](Cause::Credentials) or [`Configuration`](Cause::Configuration).
pub fn of_the_call(text: &str) -> Option<Cause> {
    let lower = text.to_lowercase();
    let words: Vec<&str> = without_links(&lower)
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

/// Whether a refusal's text says that a quota or a resource limit is used up, which waiting does not refill, and
/// not that there were too many requests.
pub fn names_quota(text: &str) -> bool {
    let lower = text.to_lowercase();
    let text = without_links(&lower).collect::<Vec<_>>().join(" ").replace('_', " ");
    let speaks_of = |words: &[&str]| words.iter().any(|word| text.contains(word));
    !speaks_of(&["too many requests", "rate limit"])
        && speaks_of(&["quota", "resource limit", "limit reached", "reached its limit"])
}

/// The words of a text but for links, which may lead to a page about anything.
fn without_links(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().filter(|word| !word.contains("://"))
}

fn is_one_of(word: &str, list: &str) -> bool {
    list.split(' ').any(|listed| listed == word)
}

fn holds(words: &[&str], list: &str) -> bool {
    words.iter().any(|word| is_one_of(word, list))
}

/// Whether one of these phrases stands there, word by word.
fn says(words: &[&str], phrases: &str) -> bool {
    phrases.split(", ").any(|phrase| {
        let phrase: Vec<&str> = phrase.split(' ').collect();
        words.windows(phrase.len()).any(|window| window == phrase)
    })
}

/// Where each of the `subjects` stands, and the few words after it, up to an inhabitant.
fn said_of<'a>(
    words: &'a [&'a str],
    subjects: &str,
) -> impl Iterator<Item = (usize, Vec<&'a str>)> {
    let places = (0..words.len()).filter(|at| is_one_of(words[*at], subjects)).collect::<Vec<_>>();
    places.into_iter().map(|at| {
        let after = &words[at + 1..words.len().min(at + 8)];
        (at, after.iter().take_while(|word| !is_one_of(word, INHABITANTS)).copied().collect())
    })
}

fn is_wrong(words: &[&str]) -> bool {
    holds(words, WRONG)
        || words.windows(2).any(|pair| pair[0] == "not" && is_one_of(pair[1], NOT))
        || says(words, "no longer, could not, cannot, not be")
}

fn is_clock(words: &[&str]) -> bool {
    holds(words, CLOCK)
        || says(words, CLOCK_PHRASES)
        || holds(words, "clock clocks") && holds(words, OFF)
        || says(words, TIMED) && (holds(words, LATE) || holds(words, OFF))
        || said_of(words, "request submission stamp signature").any(|(_, said)| holds(&said, LATE))
        // Not any late word: an activity also ends if nobody approved it in time.
        || said_of(words, "activity").any(|(_, said)| says(&said, "too old, in the future"))
}

/// Whether the organization itself is wrong, and not something that is in it, or is missing there.
fn is_organization(words: &[&str]) -> bool {
    said_of(words, ORGANIZATION).any(|(at, said)| {
        let before = &words[at.saturating_sub(3)..at];
        let next = before.iter().rev().find(|word| !is_one_of(word, ARTICLES));
        if next.is_some_and(|word| is_one_of(word, PLACING) || is_one_of(word, INHABITANTS)) {
            return false;
        }
        let is_missing = next.is_some_and(|word| is_one_of(word, "no find such"));
        is_missing || is_wrong(&said) || holds(before, WRONG)
    })
}

fn is_activity_type(words: &[&str]) -> bool {
    let named = says(words, "activity type, activitytype");
    named && (is_wrong(words) || says(words, "must be"))
        || says(words, "unsupported activity, unknown activity, invalid activity")
}

fn is_version(words: &[&str]) -> bool {
    if holds(words, INHABITANTS) {
        return false;
    }
    let is_of_a_key = |said: &[&str]| said.first().is_some_and(|word| is_one_of(word, "key token"));
    says(words, "upgrade required")
        || said_of(words, "version apiversion api endpoint")
            .any(|(_, said)| !is_of_a_key(&said) && is_wrong(&said))
        || said_of(words, "version apiversion")
            .any(|(at, _)| holds(&words[at.saturating_sub(2)..at], WRONG))
}

fn is_credential(words: &[&str]) -> bool {
    says(words, REFUSED_CREDENTIAL) || says(words, CREDENTIAL) && is_wrong(words)
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
        "timestamp is outside the acceptable range",
        "the submission is too old",
        "the activity is too old",
        "your request is in the future",
        "time drift detected",
        "date is too far in the future",
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
        "organization 89881fc7-6ff3-4b43-b962-916698f8ff58 not found",
        "sub-organization not found",
        "no such organization",
        "organization_id: field required",
        "account suspended",
        "your subscription has expired",
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
        "version 2 is deprecated",
        "this API is deprecated",
        "the endpoint has been removed",
        "API operations are disabled",
        "Unsupported version",
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
        "api key disabled",
        "this API key is no longer valid",
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
        "event not found",
        "the event start date must be in the future",
        "user account is disabled",
        "an account with this name exists already",
        "approval of the activity has expired",
        "the activity expired before it was approved",
        "version of the guest's passport is not supported",
        "user version not supported",
        "no longer accepting invites",
        "name is invalid",
        "Field required",
        "quota exceeded",
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

    #[test]
    fn a_quota_is_told_from_too_many_requests() {
        for text in [
            "Monthly quota exceeded",
            "Entity QuotaReached",
            "resource_limit",
            "Resource limit exceeded",
            "the organization has reached its limit of invitations",
            "Invite limit reached for this plan",
        ] {
            assert!(names_quota(text), "{text}");
        }
        for text in [
            "",
            "rate limit exceeded",
            "rate_limit: quota of requests per second",
            "Too Many Requests, see https://docs.example.org/resource-limits-and-quota",
        ] {
            assert!(!names_quota(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn words_of_an_item_keep_any_refusal_from_being_the_calls(
            text in prop::sample::select(CONFIGURATION), member in prop::sample::select(OF_AN_ITEM.split(' ').collect::<Vec<_>>()),
        ) {
            prop_assert_eq!(of_the_call(&format!("{member}: {text}")), None);
        }

        #[test]
        fn any_text_can_be_asked(text in ".{0,80}") {
            let _ = of_the_call(&text);
        }
    }
}
