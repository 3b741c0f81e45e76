//! What the post office's refusals mean to the engine. No HTTP.

use invite_core::{
    Cause, Outcome, ProviderError,
    adapter::{Operation, Refusal},
    http::Response,
};

use super::wire::ErrorBody;

/// A reply that is no success.
pub fn refused(operation: &Operation, response: &Response) -> ProviderError {
    let body: ErrorBody = serde_json::from_slice(&response.body).unwrap_or_default();
    let (status, code) = (response.status.as_u16(), body.error.code.as_deref());
    let refusal = Refusal {
        hint: (status == 401).then_some("the token was refused, check token"),
        text: body.error.text,
        ..Refusal::default()
    };
    match (status, code) {
        // By its status alone nobody could tell what became of it.
        (409, Some("MAILED")) => operation
            .refused_as(response, Outcome::Rejected, Cause::Request, refusal)
            .with_code(code),
        _ => operation.refused(response, refusal).with_code(code),
    }
}
