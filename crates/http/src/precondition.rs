//! Conditional requests about the provider document (RFC 9110, section 13). Its ETag is the number
//! of its revision, quoted.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::problem::{Problem, codes};

pub(crate) fn etag(revision: i64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// What `If-Match` says about the document that a request is based on.
#[derive(Debug, PartialEq)]
pub(crate) enum Basis {
    /// `*`: whatever is live.
    Any,
    /// One of these revisions. Tags that are none of a revision are left out.
    Revisions(Vec<i64>),
    /// Only weak tags, which `If-Match` never matches.
    Weak,
}

impl Basis {
    /// Reads `If-Match`. It fails with 400 for a header that is malformed.
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        Ok(read_tags(headers, &header::IF_MATCH)?.map(|tags| match tags {
            Tags::Any => Self::Any,
            Tags::List(tags) => {
                let strong = tags.iter().filter(|tag| !tag.is_weak);
                let revisions: Vec<i64> = strong.filter_map(Tag::revision).collect();
                let is_weak = revisions.is_empty() && tags.iter().any(|tag| tag.is_weak);
                if is_weak { Self::Weak } else { Self::Revisions(revisions) }
            }
        }))
    }

    /// The revision that has to be live for the request to be done; `None` for any. `lag` says why this replica
    /// does not serve the newest revision, if so. It fails with 412 if it is certain that another one is live.
    pub fn expected(&self, live: i64, lag: Option<String>) -> Result<Option<i64>, Problem> {
        let given = match self {
            Self::Any => return Ok(None),
            Self::Weak => {
                let detail = format!(
                    "the live document is revision {live}, and a weak tag never matches: give the \
                     ETag in If-Match as it was answered, in quotes and without W/"
                );
                return Err(Problem::new(&codes::PRECONDITION_FAILED, detail));
            }
            Self::Revisions(given) => given,
        };
        if given.contains(&live) {
            return Ok(Some(live));
        }
        // A revision that this replica has not seen yet may be live all the same; the store knows.
        given.iter().copied().max().filter(|newest| *newest > live).map(Some).ok_or_else(|| {
            let given: Vec<String> = given.iter().map(ToString::to_string).collect();
            let given = if given.is_empty() { "none".to_owned() } else { given.join(", ") };
            outdated(&format!("the request is based on {given}"), live, lag)
        })
    }
}

/// The answer if another document is live by now. It advises to read again and, where `lag` says why this
/// replica serves an older revision, that this does not help here.
pub(crate) fn outdated(basis: &str, live: i64, lag: Option<String>) -> Problem {
    let mut detail = format!(
        "the live document is revision {live}, {basis}: read it again and make the change to that"
    );
    if let Some(why) = lag {
        detail.push_str("; this replica serves an older one, because ");
        detail.push_str(&why);
    }
    Problem::new(&codes::PRECONDITION_FAILED, detail)
}

/// Whether the caller has this revision already, by its `If-None-Match`. It fails with 400 for a header
/// that is malformed.
pub(crate) fn is_not_modified(headers: &HeaderMap, revision: i64) -> Result<bool, Problem> {
    Ok(match read_tags(headers, &header::IF_NONE_MATCH)? {
        None => false,
        Some(Tags::Any) => true,
        Some(Tags::List(tags)) => tags.iter().any(|tag| tag.revision() == Some(revision)),
    })
}

enum Tags {
    Any,
    List(Vec<Tag>),
}

struct Tag {
    is_weak: bool,
    text: String,
}

impl Tag {
    /// `None` unless the number is written as [`etag`] writes it.
    fn revision(&self) -> Option<i64> {
        self.text.parse().ok().filter(|revision: &i64| revision.to_string() == self.text)
    }
}

fn read_tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    if !headers.contains_key(name) {
        return Ok(None);
    }
    let lines: Result<Vec<&str>, _> = headers.get_all(name).iter().map(|it| it.to_str()).collect();
    let tags = lines.ok().and_then(|lines| parse(&lines.join(",")));
    tags.map(Some).ok_or_else(|| {
        let detail = format!("{name} must be * or entity tags in quotes, such as \"7\"");
        Problem::new(&codes::MALFORMED_HEADER, detail)
    })
}

fn parse(text: &str) -> Option<Tags> {
    let is_space = |c: char| matches!(c, ' ' | '\t');
    if text.trim_matches(is_space) == "*" {
        return Some(Tags::Any);
    }
    let mut tags = Vec::new();
    let mut rest = text.trim_start_matches(|c| is_space(c) || c == ',');
    while !rest.is_empty() {
        let (is_weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let (tag, after) = quoted.strip_prefix('"')?.split_once('"')?;
        if !tag.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        tags.push(Tag { is_weak, text: tag.to_owned() });
        let after = after.trim_start_matches(is_space);
        if !after.is_empty() && !after.starts_with(',') {
            return None;
        }
        rest = after.trim_start_matches(|c| is_space(c) || c == ',');
    }
    (!tags.is_empty()).then_some(Tags::List(tags))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name.clone(), HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    fn basis(lines: &[&str]) -> Result<Option<Basis>, &'static str> {
        Basis::read(&headers(header::IF_MATCH, lines)).map_err(|problem| problem.code())
    }

    #[test]
    fn the_tags_of_all_lines_are_read_and_what_names_no_document_is_left_out() {
        assert_eq!(basis(&[]), Ok(None));
        assert_eq!(basis(&[" * "]), Ok(Some(Basis::Any)));
        let revisions = |numbers: &[i64]| Ok(Some(Basis::Revisions(numbers.to_vec())));
        assert_eq!(basis(&["\"7\""]), revisions(&[7]));
        assert_eq!(basis(&["W/\"7\""]), Ok(Some(Basis::Weak)));
        assert_eq!(basis(&["\"none\""]), revisions(&[]));
        assert_eq!(basis(&["\"7\", W/\"8\" ,\"a,b\"", "\"+9\",\"10\""]), revisions(&[7, 10]));
    }

    #[test]
    fn what_is_no_list_of_tags_is_malformed() {
        for line in ["", "7", "\"7", "\"7\" \"8\"", "*, \"7\"", "w/\"7\"", "\"7 8\""] {
            assert_eq!(basis(&[line]), Err("malformed-header"), "{line}");
        }
    }

    #[test]
    fn an_older_document_is_outdated_and_a_newer_one_is_for_the_store_to_tell() {
        let expected = |given: &[i64]| {
            let expected = Basis::Revisions(given.to_vec()).expected(7, None);
            expected.map_err(|problem| problem.code())
        };
        assert_eq!(expected(&[6, 7, 9]), Ok(Some(7)));
        assert_eq!(expected(&[6, 8]), Ok(Some(8)));
        assert_eq!(expected(&[6]), Err("precondition-failed"));
        assert_eq!(expected(&[]), Err("precondition-failed"));
        let weak = Basis::Weak.expected(7, None).unwrap_err();
        assert_eq!(weak.code(), "precondition-failed");
        assert!(format!("{weak:?}").contains("without W/"), "{weak:?}");
        let lag = Some("revision 8 does not pass here: no secret".to_owned());
        let said = format!("{:?}", Basis::Revisions(vec![6]).expected(7, lag).unwrap_err());
        assert!(said.contains("revision 8 does not pass here: no secret"), "{said}");
        assert_eq!(Basis::Any.expected(7, None).unwrap(), None);
    }

    #[test]
    fn a_document_that_the_caller_has_is_told_by_its_tag_weak_or_not() {
        let has = |lines: &[&str]| {
            is_not_modified(&headers(header::IF_NONE_MATCH, lines), 7).map_err(|p| p.code())
        };
        assert_eq!([has(&[]), has(&["\"6\""])], [Ok(false), Ok(false)]);
        assert_eq!([has(&["*"]), has(&["W/\"7\""]), has(&["\"6\",\"7\""])], [Ok(true); 3]);
        assert_eq!(etag(7), "\"7\"");
    }
}
