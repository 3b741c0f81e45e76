//! The one table of problem codes: what each is called, which HTTP status answers with it, and
//! what the person who meets it can do.

use std::borrow::Cow;

use axum::http::StatusCode;
use invite_core::{Origin, Outcome};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

#[derive(Debug)]
pub struct Code {
    /// It never changes, and is the last part of the problem's `type`.
    pub word: &'static str,
    /// `None` for a code that only the `error` of an Invite has.
    pub status: Option<StatusCode>,
    /// Who caused it.
    pub origin: Origin,
    /// Whether the request had an effect, as far as that is known.
    pub outcome: Outcome,
    /// One line that is the same in every case.
    pub title: &'static str,
    /// What it means and what to do, for the page about it.
    pub meaning: &'static str,
}

macro_rules! status {
    () => {
        None
    };
    ($status:ident) => {
        Some(StatusCode::$status)
    };
}

macro_rules! codes {
    ($($name:ident = $word:literal ($($status:ident)?), $origin:ident, $outcome:ident,
       $title:literal, $meaning:literal;)*) => {
        $(
            pub static $name: Code = Code {
                word: $word,
                status: status!($($status)?),
                origin: Origin::$origin,
                outcome: Outcome::$outcome,
                title: $title,
                meaning: $meaning,
            };
        )*

        pub static ALL: &[&Code] = &[$(&$name,)*];
    };
}

/// The schema of the words in the table.
pub struct ProblemCode;

impl JsonSchema for ProblemCode {
    fn schema_name() -> Cow<'static, str> {
        "ProblemCode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<_> = ALL.iter().map(|code| code.word).collect();
        let meanings: Vec<_> =
            ALL.iter().map(|code| format!("- `{}`: {}", code.word, code.title)).collect();
        let description = format!("What kind of problem it is.\n\n{}", meanings.join("\n"));
        json_schema!({ "type": "string", "enum": words, "description": description })
    }
}

pub fn find(word: &str) -> Option<&'static Code> {
    ALL.iter().copied().find(|code| code.word == word)
}

/// The code for a status that the router answers with by itself.
pub fn of_status(status: StatusCode) -> &'static Code {
    match status {
        StatusCode::NOT_FOUND => &NOT_FOUND,
        StatusCode::METHOD_NOT_ALLOWED => &METHOD_NOT_ALLOWED,
        StatusCode::REQUEST_TIMEOUT => &BODY_TIMEOUT,
        StatusCode::PAYLOAD_TOO_LARGE => &TOO_LARGE,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => &UNSUPPORTED_MEDIA_TYPE,
        status if status.is_client_error() => &MALFORMED_REQUEST,
        _ => &INTERNAL,
    }
}

codes! {
    UNAUTHORIZED = "unauthorized" (UNAUTHORIZED), Caller, Rejected,
        "A valid API key is needed",
        "Send the header `Authorization: Bearer` with an API key of this gateway. The key may be \
         missing, misspelt, expired or revoked.";
    INSUFFICIENT_SCOPE = "insufficient-scope" (FORBIDDEN), Caller, Rejected,
        "The API key lacks the scope for this",
        "The detail names the scope. An administrator can make a key that has it.";
    PROVIDER_NOT_ALLOWED = "provider-not-allowed" (FORBIDDEN), Caller, Rejected,
        "The API key may not use this provider",
        "The key is limited to some providers, and the request concerns another one. Nothing of \
         the request was done. Name another provider in `to`, or use another key.";
    KEY_EXCEEDED = "key-exceeded" (FORBIDDEN), Caller, Rejected,
        "A key cannot give what it does not have",
        "A key can do no more than the one that it is made or changed with, and ends no later; nor can \
         one that was made with it. The detail says where it would. Ask for less, or use another key; on \
         the gateway's machine `invite-gateway keys` makes and changes any.";
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type" (UNSUPPORTED_MEDIA_TYPE), Caller, Rejected,
        "The body is not of the media type that this call takes",
        "Send JSON in UTF-8 without a content coding, with the header `Content-Type: \
         application/json`; the provider document is TOML (`application/toml`).";
    TOO_LARGE = "too-large" (PAYLOAD_TOO_LARGE), Caller, Rejected,
        "The body is too large",
        "Send fewer invites in one request, or a shorter document. The limit is the setting \
         `server.max_body_bytes`.";
    BODY_TIMEOUT = "body-timeout" (REQUEST_TIMEOUT), Caller, NotSent,
        "The body did not come in time",
        "The whole body has to come within the setting `server.body_timeout` after the request's \
         head. Nothing of the request was done: send it again.";
    URI_TOO_LONG = "uri-too-long" (URI_TOO_LONG), Caller, Rejected,
        "The request's address is too long",
        "Method, path and query have to fit in 64 KiB. Use fewer or shorter parameters.";
    HEADERS_TOO_LARGE = "headers-too-large" (REQUEST_HEADER_FIELDS_TOO_LARGE), Caller, Rejected,
        "The request's headers are too large",
        "First line and headers have to fit in 64 KiB, and there may be 100 headers. Send fewer or \
         shorter ones.";
    MALFORMED_JSON = "malformed-json" (BAD_REQUEST), Caller, Rejected,
        "The body is not well-formed JSON",
        "The detail says at which line and column reading stopped.";
    NOT_UTF_8 = "not-utf-8" (BAD_REQUEST), Caller, Rejected,
        "The body is not UTF-8",
        "A provider document is TOML, which is always UTF-8. The detail says where reading stopped.";
    MALFORMED_HEADER = "malformed-header" (BAD_REQUEST), Caller, Rejected,
        "A header of the request is malformed",
        "The detail names the header and its form.";
    MALFORMED_REQUEST = "malformed-request" (BAD_REQUEST), Caller, Rejected,
        "The request could not be read",
        "It does not follow HTTP, or it broke off.";
    VALIDATION_FAILED = "validation-failed" (UNPROCESSABLE_ENTITY), Caller, Rejected,
        "The request's content is not valid",
        "The member `errors` lists every fault with a pointer to its place. Nothing was accepted.";
    CONFIGURATION_REFUSED = "configuration-refused" (UNPROCESSABLE_ENTITY), Caller, Rejected,
        "The provider document does not pass the gate",
        "The member `errors` lists what is wrong, each with its line and column. Nothing changed: \
         the live document stays in force. `POST /v1/admin/config/check` tries a document without \
         applying it.";
    NO_ROUTE = "no-route" (UNPROCESSABLE_ENTITY), Caller, Rejected,
        "No route is for this invite",
        "The invite does not say where to, and no routing rule matches it. Name a provider or a \
         route in `to`.";
    PROVIDER_DISABLED = "provider-disabled" (UNPROCESSABLE_ENTITY), Caller, Rejected,
        "The provider takes no new invites",
        "An administrator switched the provider off for new invites. Those it has are finished.";
    QUOTA_EXCEEDED = "quota-exceeded" (UNPROCESSABLE_ENTITY), Caller, Rejected,
        "The provider's quota of live invites is used up",
        "An administrator limited the live invites at this provider (`limits.quota`). Wait until \
         some are answered or expire, or withdraw some.";
    IDEMPOTENCY_KEY_REUSED = "idempotency-key-reused" (UNPROCESSABLE_ENTITY), Caller, Rejected,
        "The Idempotency-Key was used for another request",
        "A key stands for one request body. Use a new key for a new request.";
    UNSUPPORTED_OPERATION = "unsupported-operation" (UNPROCESSABLE_ENTITY), Caller, Rejected,
        "The provider does not offer this operation",
        "What a provider can do is in its `capabilities` in `GET /v1/providers`.";
    NOT_FOUND = "not-found" (NOT_FOUND), Caller, Rejected,
        "There is no such thing here",
        "Nothing is at this address, or nothing that this key may see.";
    EVENTS_REMOVED = "events-removed" (GONE), Caller, Rejected,
        "Events behind this place were removed",
        "Events are kept for as long as the setting `events.retention` says, and some that come after the given id are gone. \
         Read the invites that you follow once (`GET /v1/invites`), and go on from the first event that is kept, or from the \
         last (`after=latest`).";
    METHOD_NOT_ALLOWED = "method-not-allowed" (METHOD_NOT_ALLOWED), Caller, Rejected,
        "The method is not offered at this address",
        "The header `Allow` lists the methods that are.";
    ALREADY_FINAL = "already-final" (CONFLICT), Caller, Rejected,
        "The invite has ended",
        "Its status is final and does not change any more.";
    NOT_SETTLED = "not-settled" (CONFLICT), Caller, Rejected,
        "The invite is not settled yet",
        "It is queued, a call is under way, its outcome is being found out, or an approval is \
         awaited. The detail says what to do about it.";
    COUNT_DIFFERS = "count-differs" (CONFLICT), Caller, Rejected,
        "The filter matches another number of invites",
        "`confirm` has to be the number of invites that the filter matches, so that an action is done to no more than was \
         meant. Nothing was done. `\"dry_run\": true` counts them.";
    PAIRING_UNPROVEN = "pairing-unproven" (CONFLICT), Caller, Rejected,
        "Which invite carries the provider's id is not proven",
        "Withdrawing could hit another person's invite. Look it up at the provider; `?force=true` \
         withdraws without the proof.";
    DUPLICATE = "duplicate" (CONFLICT), Caller, Rejected,
        "The person already has a live invite there",
        "A live invite to the same address at the same destination exists; the detail names it.";
    NOT_RETRYABLE = "not-retryable" (CONFLICT), Caller, Rejected,
        "The invite cannot be retried",
        "Only a failed invite is retried, or at your own risk (`accept_duplicate_risk`) an unknown one \
         or one that failed while nobody knew whether it took effect. One that was refused as invalid has nothing to send: post a \
         corrected one.";
    UNREADABLE = "unreadable" (CONFLICT), Gateway, Rejected,
        "A record cannot be read from the database",
        "It is damaged, or was written by another version of the gateway; the detail names the column. \
         It costs nothing but itself: other invites go on. An administrator may repair it in the \
         database, or end an invite with `DELETE`.";
    PROVIDER_GONE = "provider-gone" (CONFLICT), Gateway, NotSent,
        "The invite's provider is no longer configured",
        "An administrator removed the provider. It can be asked again once it is configured \
         again.";
    PRECONDITION_FAILED = "precondition-failed" (PRECONDITION_FAILED), Caller, Rejected,
        "Somebody else changed the provider document first",
        "The document that the request is based on (`If-Match`) is no longer the live one. Read it \
         again with `GET /v1/admin/config`, make the change to that, and send it with the new ETag.";
    PRECONDITION_REQUIRED = "precondition-required" (PRECONDITION_REQUIRED), Caller, Rejected,
        "The request does not say which document it is based on",
        "Send the ETag of `GET /v1/admin/config` as `If-Match`, so that nobody's change is \
         overwritten unseen; `If-Match: *` overwrites whatever is live.";
    RATE_LIMITED = "rate-limited" (TOO_MANY_REQUESTS), Caller, NotSent,
        "The API key's own limit of requests or invites is reached",
        "Wait as long as the header `Retry-After` says. Nothing of the request was done.";
    PROVIDER_REJECTED = "provider-rejected" (BAD_GATEWAY), Provider, Rejected,
        "The provider refused",
        "The provider's own code and status stand beside it. The same request would be refused \
         again.";
    PROVIDER_CREDENTIALS = "provider-credentials" (BAD_GATEWAY), Provider, Rejected,
        "The provider refused the gateway's credential",
        "An administrator has to look at the provider's configuration; nothing is wrong with the \
         request.";
    PROVIDER_QUOTA = "provider-quota" (BAD_GATEWAY), Provider, Rejected,
        "A quota at the provider is used up",
        "The account at the provider has reached one of its limits.";
    PROVIDER_THROTTLED = "provider-throttled" (BAD_GATEWAY), Provider, Throttled,
        "The provider asks to wait",
        "It takes no more requests for now. Ask again later.";
    PROVIDER_UNREACHABLE = "provider-unreachable" (BAD_GATEWAY), Provider, NotSent,
        "The provider cannot be reached",
        "No byte of the request was sent to it; asking again is safe.";
    PROVIDER_UNAVAILABLE = "provider-unavailable" (BAD_GATEWAY), Provider, NotSent,
        "The provider did not answer, or not as it should",
        "It was only asked something, so nothing was changed, and asking again is safe. The \
         provider may be down or overloaded; its own status stands beside it if it sent one. It \
         says nothing of the gateway's credential.";
    OUTCOME_UNKNOWN = "outcome-unknown" (BAD_GATEWAY), Provider, Unknown,
        "What the call did is not known; an `unknown` invite is looked up at the provider for a day",
        "No answer came, or one that could not be read, so the call may have taken effect. The gateway \
         is finding out what became of an invite that is `unknown`: it looks there for 24 hours \
         (`next_attempt_at` says when next) and sends nothing again before it knows; after that its `detail` says what a person \
         should look at. After another change `POST /v1/invites/{id}/refresh` tells.";
    PROVIDER_TIMEOUT = "provider-timeout" (GATEWAY_TIMEOUT), Provider, Unknown,
        "The provider did not answer in time",
        "The change may have happened. `POST /v1/invites/{id}/refresh` tells.";
    NOT_READY = "not-ready" (SERVICE_UNAVAILABLE), Gateway, NotSent,
        "The gateway is not ready",
        "It is starting, stopping, or its database does not answer, or other requests take all the \
         time or memory there is for such, or as many of yours are under way as may be at once. Nothing \
         was done. Ask again after the time in `Retry-After`.";
    BACKLOG_FULL = "backlog-full" (SERVICE_UNAVAILABLE), Gateway, NotSent,
        "Too much waits for this provider",
        "Its queue is full (`limits.max_backlog`), or as full as one tenant may make it \
         (`limits.max_backlog_per_tenant`), or other calls take its rate budget \
         (`limits.requests_per_second`) for longer than a caller is kept waiting. Nothing was accepted \
         or sent. Ask again after the time in `Retry-After`.";
    LANE_PAUSED = "lane-paused" (SERVICE_UNAVAILABLE), Gateway, NotSent,
        "The provider is not asked at present",
        "Calls to it, or to the invite's destination, are paused after failures or because it \
         asked for it; the detail says for what and until when. Nothing was asked. Ask again \
         after the time in `Retry-After`; the invite is looked up then by itself, too.";
    STORAGE_FULL = "storage-full" (SERVICE_UNAVAILABLE), Gateway, NotSent,
        "The database has no room",
        "Its disk is full, its quota is used up, or a disk cannot be written. Nothing of the request was \
         stored or sent. An administrator has to make room; then ask again.";
    ACCEPT_UNKNOWN = "accept-unknown" (SERVICE_UNAVAILABLE), Gateway, Unknown,
        "Whether the request was accepted is not known",
        "The database did not say whether it stored the request. Send it again with the same \
         Idempotency-Key; without one, look for the invites first.";
    INTERNAL = "internal" (INTERNAL_SERVER_ERROR), Gateway, Unknown,
        "The gateway failed",
        "This is a defect. The gateway's log says more under the same request id.";
    GIVEN_UP = "given-up" (), Gateway, NotSent,
        "It could not be sent in time",
        "The provider could not be reached or took no requests for as long as \
         `limits.retry.give_up_after` says. `POST /v1/invites/{id}/retry` queues it again.";
    ALREADY_HELD = "already-held" (), Gateway, Rejected,
        "Another invite here already stands for it",
        "The provider answered with an invite that another Invite of this gateway already stands \
         for. Nothing new is known to exist.";
    FOUND_ABSENT = "found-absent" (), Caller, Rejected,
        "A person found that it does not exist",
        "Its outcome was unknown, and a person recorded that it does not exist at the provider.";
    WAITING = "waiting" (), Gateway, NotSent,
        "It waits in the queue",
        "The detail says for what. It is sent as soon as that is over, or given up after \
         `limits.retry.give_up_after`.";
    NOT_SENT = "not-sent" (), Gateway, NotSent,
        "It was not sent",
        "The detail says why. No call was made for it.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_has_a_word_of_its_own() {
        let words: BTreeSet<_> = ALL.iter().map(|code| code.word).collect();
        assert_eq!(words.len(), ALL.len());
    }

    #[test]
    fn a_status_and_the_code_for_it_agree() {
        for code in [404, 405, 408, 413, 415, 400, 500] {
            let status = StatusCode::from_u16(code).unwrap();
            assert_eq!(of_status(status).status, Some(status));
        }
    }
}
