//! The W3C trace that a request belongs to (<https://www.w3.org/TR/trace-context/>).

use axum::http::HeaderMap;

/// The length of version, trace, parent and flags, which every version of `traceparent` begins with.
const LENGTH: usize = 55;

/// The request's `traceparent`, if it is valid, without what a later version may add at its end.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let (known, rest) = text.split_at_checked(LENGTH)?;
    let may_go_on = !known.starts_with("00") && rest.starts_with('-');
    ((rest.is_empty() || may_go_on) && trace_id(known).is_some()).then_some(known)
}

pub(crate) fn trace_id(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let is_hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |part: &str, length| is_hex(part, length) && part.bytes().any(|b| b != b'0');
    let (version, trace, parent) = (parts.next()?, parts.next()?, parts.next()?);
    let is_version = is_hex(version, 2) && version != "ff";
    let (flags, end) = (parts.next()?, parts.next());
    let is_whole = is_version && is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2);
    (is_whole && end.is_none()).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::tests::headers;

    #[test]
    fn a_trace_is_read_from_a_valid_traceparent_only() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let parent = |text: &str| {
            traceparent(&headers("traceparent", text)).and_then(trace_id).map(str::to_owned)
        };
        let valid = format!("00-{trace}-b7ad6b7169203331-01");
        assert_eq!(parent(&valid).as_deref(), Some(trace));
        let zero = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
        let upper = valid.to_uppercase();
        let later = valid.replacen("00", "01", 1);
        assert_eq!(parent(&later).as_deref(), Some(trace));
        let longer = format!("{later}-{}", "x".repeat(100_000));
        assert_eq!(traceparent(&headers("traceparent", &longer)), Some(&*later));
        for invalid in [
            "",
            "00",
            &valid[..52],
            &valid[..54],
            &zero,
            &upper,
            &valid.replacen("00", "ff", 1),
            &valid.replacen("00", "0x", 1),
            &format!("{}0x", &valid[..53]),
            &format!("{valid}-x"),
            &format!("{valid}{}", "0".repeat(100_000)),
            &format!("{later}0"),
        ] {
            assert_eq!(parent(invalid), None, "{invalid}");
        }
    }
}
