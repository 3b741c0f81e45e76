//! Answers to requests that the router does not see. Hyper decides which heads it refuses and with
//! which status, but writes no body.

use std::net::IpAddr;

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::MAX_HEAD;
use crate::{
    observe,
    problem::{Problem, codes},
};

/// The whole answer as bytes. `head` is what hyper would have answered, `read` what it has read of the
/// request. `None` if hyper would not answer.
pub(super) fn of_head(head: &[u8], read: &[u8], client: IpAddr) -> Option<Vec<u8>> {
    let head = str::from_utf8(head).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let problem = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            if !read.iter().take(MAX_HEAD).any(|byte| *byte == b'\n') =>
        {
            Problem::new(&codes::URI_TOO_LONG, "the request's first line is longer than 64 KiB")
        }
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Problem::new(
            &codes::HEADERS_TOO_LARGE,
            "the request's headers are longer than 64 KiB, or more than 100",
        ),
        StatusCode::URI_TOO_LONG => {
            Problem::new(&codes::URI_TOO_LONG, "the request's address is too long")
        }
        _ => Problem::new(
            &codes::MALFORMED_REQUEST,
            "what was sent is not the head of an HTTP/1.1 request",
        ),
    };
    let (headers, body) = observe::refuse(&problem, "unreadable", client);
    let status = problem.status();
    let mut answer =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    // The date is taken from hyper.
    answer.extend(
        head.lines().filter(|line| line.starts_with("date:")).flat_map(|line| [line, "\r\n"]),
    );
    let mut answer = answer.into_bytes();
    for (name, value) in &headers {
        answer.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    answer.extend(b"\r\n");
    answer.extend(body);
    Some(answer)
}

/// The answer to a request that a proxy forwards for an address that has as many under way as it may have
/// connections.
pub(super) fn of_forwarded(client: IpAddr) -> Response {
    let problem = Problem::new(
        &codes::NOT_READY,
        "as many requests of your address are under way as may be at once; send it again",
    );
    let (headers, body) = observe::refuse(&problem, "refused", client);
    let mut response = problem.into_response();
    response.headers_mut().extend(headers);
    *response.body_mut() = body.into();
    response
}
