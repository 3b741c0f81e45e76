//! Problem details (RFC 9457): the answer to every request that does not succeed.
//!
//! A handler returns a [`Problem`]; the outermost middleware writes its body, because only there
//! the id of the request is known. The HTTP status of each code is in [`codes`] and nowhere else.

pub(crate) mod codes;
mod faults;
mod operation;
pub(crate) mod pages;
pub(crate) mod storage;

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use invite_config::{Finding, Severity};
use invite_core::{
    Fault, InviteId, Origin, Outcome, ProviderError, Reason, ReasonCode,
    text::{cut, legible},
};
use invite_delivery::AcceptError;
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) use codes::Code;
use faults::{Cap, IN_ANSWER, IN_RECORD, list};
pub(crate) use faults::{FaultView, MAX_ITEM_FAULTS, list_faults};

pub(crate) const MEDIA_TYPE: &str = "application/problem+json";
/// The longest detail, in bytes.
const MAX_DETAIL: usize = 2_000;
/// What `Retry-After` says of a 503 if nothing better is known.
const RETRY_SOON: Duration = Duration::from_secs(5);

/// Why a request was not done as asked.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Details>);

#[derive(Clone, Debug)]
struct Details {
    code: &'static Code,
    detail: String,
    outcome: Outcome,
    errors: Vec<FaultView>,
    provider: Option<ProviderPart>,
    retry_after: Option<Duration>,
}

#[derive(Clone, Debug)]
struct ProviderPart {
    name: String,
    code: Option<String>,
    http_status: Option<u16>,
}

impl Problem {
    /// The detail is one line for the person who reads it.
    pub fn new(code: &'static Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Details {
            code,
            detail: cut(legible(detail.into()), MAX_DETAIL),
            outcome: code.outcome,
            errors: Vec::new(),
            provider: None,
            retry_after: (code.status == Some(StatusCode::SERVICE_UNAVAILABLE))
                .then_some(RETRY_SOON),
        }))
    }

    pub fn with_errors(mut self, errors: Vec<Fault>) -> Self {
        self.0.errors = list_faults(errors);
        self
    }

    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Something does not exist, or the caller may not see it.
    pub fn not_found(what: &str) -> Self {
        Self::new(&codes::NOT_FOUND, format!("there is no such {what}"))
    }

    /// The content of a request is not valid. If all faults have the same code, and it is one of `no-route`
    /// and `provider-disabled`, the problem has it too.
    pub fn invalid(errors: Vec<Fault>) -> Self {
        Self::listing(errors, IN_ANSWER)
    }

    /// One invite is not valid, which is stored with it.
    pub fn invalid_item(errors: Vec<Fault>) -> Self {
        Self::listing(errors, IN_RECORD)
    }

    fn listing(errors: Vec<Fault>, cap: Cap) -> Self {
        let own = errors.first().and_then(|first| {
            let code = [&codes::NO_ROUTE, &codes::PROVIDER_DISABLED]
                .into_iter()
                .find(|code| code.word == first.code)?;
            errors.iter().all(|fault| fault.code == code.word).then_some(code)
        });
        let found = errors.len();
        let (listed, is_all) = list(errors.into_iter().map(FaultView::from), cap);
        let detail = match listed.as_slice() {
            [only] => format!("{}: {}", only.pointer, only.detail),
            _ if is_all => format!("{found} faults; `errors` lists them"),
            several => {
                format!("more than {} faults; `errors` lists the first of them", several.len() - 1)
            }
        };
        let mut problem = Self::new(own.unwrap_or(&codes::VALIDATION_FAILED), detail);
        problem.0.errors = listed;
        problem
    }

    /// A provider document does not pass the gate. Its warnings are left out.
    pub fn refused_document(findings: Vec<Finding>) -> Self {
        let errors: Vec<Finding> =
            findings.into_iter().filter(|found| found.severity == Severity::Error).collect();
        let detail = match errors.as_slice() {
            [only] => only.to_string(),
            several => format!("{} errors; `errors` lists them", several.len()),
        };
        let mut problem = Self::new(&codes::CONFIGURATION_REFUSED, detail);
        problem.0.errors = list(errors.into_iter().map(FaultView::from), IN_ANSWER).0;
        problem
    }

    /// A provider refused, or did not answer, or its answer could not be used.
    pub fn of_provider(provider: &str, error: &ProviderError) -> Self {
        if error.is_of_own_budget() {
            return Self::new(&codes::BACKLOG_FULL, error.message.clone());
        }
        let code = match codes::find(ReasonCode::of(error).as_str()) {
            // An unknown outcome without a status means that no reply could be read.
            Some(code) if code.outcome == Outcome::Unknown && error.http_status.is_none() => {
                &codes::PROVIDER_TIMEOUT
            }
            Some(code) => code,
            None => &codes::OUTCOME_UNKNOWN,
        };
        let mut problem = Self::new(code, error.message.clone()).at_provider(provider, error);
        problem.0.outcome = error.outcome;
        problem
    }

    /// A provider did not answer a question as it should. Whatever the cause, nothing was changed.
    fn of_question(provider: &str, error: &ProviderError) -> Self {
        Self::new(&codes::PROVIDER_UNAVAILABLE, error.message.clone()).at_provider(provider, error)
    }

    fn at_provider(mut self, provider: &str, error: &ProviderError) -> Self {
        self.0.retry_after = error.retry_after;
        self.0.provider = Some(ProviderPart {
            name: provider.to_owned(),
            code: error.code.clone(),
            http_status: error.http_status,
        });
        self
    }

    pub fn code(&self) -> &'static str {
        self.0.code.word
    }

    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    pub fn status(&self) -> StatusCode {
        self.0.code.status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The problem as the reason for which an invite is stored as failed.
    pub fn to_reason(&self) -> Reason {
        let Details { code, detail, outcome, errors, .. } = &*self.0;
        // Some codes for what is wrong with one invite are reasons, too; the others are all `validation-failed`.
        let word = code.word.parse().unwrap_or(ReasonCode::ValidationFailed);
        let errors = errors.iter().cloned().map(Fault::from).collect();
        Reason { errors, ..Reason::new(word, code.origin, *outcome, detail.clone()) }
    }

    pub fn to_body(&self, request_id: &str) -> Vec<u8> {
        let mut view = self.view();
        view.status = Some(self.status().as_u16());
        view.request_id = Some(request_id.to_owned());
        serde_json::to_vec(&view).unwrap_or_default()
    }

    fn view(&self) -> ProblemView {
        let Details { code, detail, outcome, errors, provider, .. } = &*self.0;
        let provider = provider.as_ref();
        ProblemView {
            provider: provider.map(|part| part.name.clone()),
            provider_code: provider.and_then(|part| part.code.clone()),
            provider_http_status: provider.and_then(|part| part.http_status),
            errors: errors.clone(),
            ..ProblemView::new(code, detail.clone(), *outcome)
        }
    }
}

impl IntoResponse for Problem {
    /// Writes status and headers; the middleware writes the body.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        if let Some(wait) = self.0.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<invite_store::Error> for Problem {
    fn from(error: invite_store::Error) -> Self {
        match error {
            invite_store::Error::CommitUnknown => Self::new(
                &codes::ACCEPT_UNKNOWN,
                "the database did not say whether it stored the change; send the request again \
                 with the same Idempotency-Key, or look first",
            ),
            invite_store::Error::Outdated => {
                let detail = "another provider document went live in between; send the request \
                              again, or see `configuration` in GET /v1/providers for what keeps this \
                              replica from serving it";
                Self::new(&codes::NOT_READY, detail)
            }
            invite_store::Error::Corrupt { .. } => {
                tracing::error!(%error, "a row of the database cannot be read");
                Self::new(&codes::UNREADABLE, error.to_string())
            }
            error => storage::problem(&error),
        }
    }
}

impl From<AcceptError> for Problem {
    fn from(error: AcceptError) -> Self {
        let detail = error.to_string();
        match error {
            AcceptError::ShuttingDown | AcceptError::Outdated | AcceptError::Unserved { .. } => {
                Self::new(&codes::NOT_READY, detail)
            }
            AcceptError::BacklogFull { retry_after, .. }
            | AcceptError::ShareFull { retry_after, .. } => {
                Self::new(&codes::BACKLOG_FULL, detail).with_retry_after(retry_after)
            }
            AcceptError::DayExhausted { retry_after, .. } => {
                Self::new(&codes::RATE_LIMITED, detail).with_retry_after(retry_after)
            }
            AcceptError::QuotaExceeded { .. } => {
                let fault = Fault::new("#/invites", codes::QUOTA_EXCEEDED.word, detail.clone());
                Self::new(&codes::QUOTA_EXCEEDED, detail).with_errors(vec![fault])
            }
            AcceptError::Store(error) => error.into(),
        }
    }
}

/// A problem (RFC 9457).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct ProblemView {
    /// `/problems/` and the code: an address of this gateway with a page about it.
    #[serde(rename = "type")]
    #[schemars(extend("format" = "uri-reference"))]
    kind: String,
    /// What the code means in general.
    title: &'static str,
    /// The HTTP status; absent in the `error` of an Invite.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// What happened in this case, in one line.
    detail: String,
    /// A stable word for programs.
    #[schemars(with = "codes::ProblemCode")]
    code: &'static str,
    /// The request's id, as in `X-Request-Id`; absent in the `error` of an Invite.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// Whose doing it is.
    origin: Origin,
    /// What is known of the request's effect: `not_sent` is safe to send again, `rejected` would be
    /// refused again, `throttled` later, `unknown` may have taken effect.
    outcome: Outcome,
    /// The provider that it happened at.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    /// The provider's own code for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_code: Option<String>,
    /// The HTTP status that the provider answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_http_status: Option<u16>,
    /// The live invite to the same person at the same place, for the code `duplicate` in the `error` of an
    /// Invite.
    #[serde(skip_serializing_if = "Option::is_none")]
    existing: Option<InviteId>,
    /// One for each fault. Of very many the first are listed, at most 100 (20 in the `error` of an
    /// Invite); the last then has the code `more-faults`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FaultView>,
}

impl ProblemView {
    fn new(code: &Code, detail: String, outcome: Outcome) -> Self {
        Self {
            kind: format!("/problems/{}", code.word),
            title: code.title,
            status: None,
            detail,
            code: code.word,
            request_id: None,
            origin: code.origin,
            outcome,
            provider: None,
            provider_code: None,
            provider_http_status: None,
            existing: None,
            errors: Vec::new(),
        }
    }
}

impl From<Reason> for ProblemView {
    /// As the `error` of an Invite.
    fn from(reason: Reason) -> Self {
        let code = codes::find(reason.code.as_str()).unwrap_or(&codes::OUTCOME_UNKNOWN);
        Self {
            origin: reason.origin,
            provider: reason.provider,
            provider_code: reason.provider_code,
            provider_http_status: reason.provider_http_status,
            existing: reason.existing,
            errors: reason.errors.into_iter().map(FaultView::from).collect(),
            ..Self::new(code, reason.detail, reason.outcome)
        }
    }
}

#[cfg(test)]
mod tests {
    use invite_delivery::OperationError;
    use serde_json::Value;

    use super::*;

    fn fault(code: &str) -> Fault {
        Fault::new("#/invites/0/to", code, "…")
    }

    #[test]
    fn faults_of_one_kind_give_the_problem_their_code() {
        assert_eq!(Problem::invalid(vec![fault("no-route"), fault("no-route")]).code(), "no-route");
        let mixed = Problem::invalid(vec![fault("no-route"), fault("required")]);
        assert_eq!(mixed.code(), "validation-failed");
    }

    #[test]
    fn an_answer_and_an_invites_error_differ_in_status_and_request_id() {
        let problem = Problem::invalid(vec![fault("required")]);
        let body: Value = serde_json::from_slice(&problem.to_body("req")).unwrap();
        let reason = ProblemView::from(problem.to_reason());
        let mut expected = serde_json::to_value(reason).unwrap();
        expected["status"] = 422.into();
        expected["request_id"] = "req".into();
        assert_eq!(body, expected);
    }

    #[test]
    fn every_kind_of_reason_has_its_code_in_the_table() {
        for code in ReasonCode::ALL {
            assert!(codes::find(code.as_str()).is_some(), "{code}");
        }
    }

    #[test]
    fn a_provider_that_did_not_answer_is_a_timeout_and_one_that_answered_is_not() {
        let silent = ProviderError::new(Outcome::Unknown, "no answer");
        assert_eq!(Problem::of_provider("p", &silent).status(), StatusCode::GATEWAY_TIMEOUT);
        let garbled = silent.with_status(500);
        assert_eq!(Problem::of_provider("p", &garbled).status(), StatusCode::BAD_GATEWAY);
    }

    #[test]
    fn a_provider_that_other_calls_keep_busy_was_not_asked() {
        let problem = Problem::from(OperationError::Busy { provider: "p".to_owned() });
        assert_eq!((problem.code(), problem.0.outcome), ("backlog-full", Outcome::NotSent));
        assert!(problem.into_response().headers().contains_key(header::RETRY_AFTER));
    }

    #[test]
    fn a_request_that_our_own_budget_left_no_turn_is_not_blamed_on_the_provider() {
        let no_turn = ProviderError::new(Outcome::Throttled, "not sent");
        let problem = Problem::of_provider("p", &no_turn);
        assert_eq!((problem.code(), problem.0.outcome), ("backlog-full", Outcome::NotSent));
        let told = Problem::of_provider("p", &no_turn.with_status(429));
        assert_eq!(told.code(), "provider-throttled");
    }

    #[test]
    fn a_retry_is_never_asked_for_in_less_than_a_second() {
        let problem =
            Problem::new(&codes::BACKLOG_FULL, "…").with_retry_after(Duration::from_millis(10));
        assert_eq!(problem.into_response().headers()[header::RETRY_AFTER], "1");
    }
}
