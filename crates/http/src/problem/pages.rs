//! The page behind a problem's `type`.

use axum::{
    http::{HeaderName, header},
    response::{Html, IntoResponse, Response},
};

use super::{Problem, codes};
use crate::segment::Segment;

/// What a problem code means
///
/// The page that the `type` of a problem names.
#[utoipa::path(
    get, path = "/problems/{code}", tag = "service", security(()),
    params(("code" = String, Path, description = "The problem's `code`",
        example = "not-settled")),
    responses(
        (status = 200, description = "A short page", body = String, content_type = "text/html"),
        crate::openapi::NotFound,
    )
)]
pub(crate) async fn get_problem(Segment(word): Segment) -> Result<Response, Problem> {
    let Some(code) = codes::find(&word) else {
        return Err(Problem::new(&codes::NOT_FOUND, "there is no such problem code"));
    };
    let status = code.status.map_or_else(
        || "Stands in the `error` of an Invite.".to_owned(),
        |status| format!("Answered with HTTP status {}.", status.as_u16()),
    );
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{word}</title>\
         <h1>{title}</h1><p><code>{word}</code></p><p>{meaning}</p><p>{status}</p></html>\n",
        word = code.word,
        title = escape(code.title),
        meaning = escape(code.meaning),
        status = escape(&status),
    );
    let headers: [(HeaderName, &str); 1] =
        [(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'")];
    Ok((headers, Html(page)).into_response())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
