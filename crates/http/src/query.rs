//! Reading query parameters. Unknown, repeated and malformed ones are all found at once.

use std::str::FromStr;

use axum::http::Uri;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use invite_core::{Fault, Faults, schema::nearest, text::is_control};
use jiff::Timestamp;
use serde::Serialize;

use crate::{moment, problem::Problem};

/// How many entries a page has unless the caller says otherwise.
const DEFAULT_PAGE: u32 = 50;
/// The most entries that a caller may ask for.
const MAX_PAGE: u32 = 200;

/// The most bytes that the entries of a page take, but for a first entry that is longer.
const MAX_PAGE_BYTES: usize = 1024 * 1024;

/// The most parameters of a query; no call has use for more.
const MAX_PARAMETERS: usize = 100;

/// The parameters that are not taken yet, and what is wrong with the query.
pub(crate) struct Parameters {
    pairs: Vec<(String, String)>,
    faults: Faults,
}

impl Parameters {
    /// Reads the query. A parameter that is not among the known ones is a fault.
    pub fn read(uri: &Uri, known: &[&str]) -> Self {
        let query = uri.query().unwrap_or_default();
        let mut parameters = Self { pairs: Vec::new(), faults: Faults::default() };
        let given = url::form_urlencoded::parse(query.as_bytes());
        if given.clone().nth(MAX_PARAMETERS).is_some() {
            let detail = format!("a query has at most {MAX_PARAMETERS} parameters");
            parameters.faults.push(Fault::new("?", "too-many", detail));
        }
        for (name, value) in given.take(MAX_PARAMETERS) {
            if !known.contains(&&*name) {
                let shown: String = name.chars().take(64).collect();
                let mut fault = Fault::new(
                    format!("?{shown}"),
                    "unknown-parameter",
                    "this parameter is not known here",
                );
                fault.suggestion = nearest(&shown, known.iter().copied()).map(str::to_owned);
                parameters.faults.push(fault);
            } else if value.chars().any(is_control) {
                parameters.fault(&name, "invalid", "control characters are not allowed");
            } else {
                parameters.pairs.push((name.into_owned(), value.into_owned()));
            }
        }
        parameters
    }

    pub fn fault(&mut self, name: &str, code: &str, detail: impl Into<String>) {
        self.faults.push(Fault::new(format!("?{name}"), code, detail));
    }

    /// The known parameters that are not taken yet.
    pub fn given(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn all(&mut self, name: &str) -> Vec<String> {
        self.pairs.extract_if(.., |(given, _)| given == name).map(|(_, value)| value).collect()
    }

    /// The value of a parameter that may not be repeated.
    pub fn one(&mut self, name: &str) -> Option<String> {
        let mut values = self.all(name);
        if values.len() > 1 {
            self.fault(name, "repeated", format!("`{name}` may be given once"));
        }
        (!values.is_empty()).then(|| values.swap_remove(0))
    }

    /// A value of another type; `wanted` names it.
    pub fn parsed<T: FromStr>(&mut self, name: &str, wanted: &str) -> Option<T> {
        let value = self.one(name)?;
        let parsed = value.parse().ok();
        if parsed.is_none() {
            self.fault(name, "invalid", format!("expected {wanted}"));
        }
        parsed
    }

    pub fn moment(&mut self, name: &str) -> Option<Timestamp> {
        let value = self.one(name)?;
        let at = moment::read(&value);
        if at.is_none() {
            self.fault(name, "invalid", "expected a time such as 2026-01-31T12:00:00Z");
        }
        at
    }

    /// The same where it has to be given.
    pub fn required_moment(&mut self, name: &str) -> Option<Timestamp> {
        if self.pairs.iter().all(|(given, _)| given != name) {
            self.fault(name, "missing", format!("`{name}` has to be given"));
        }
        self.moment(name)
    }

    /// Whether a parameter is `true`; it may be `false` or absent.
    pub fn flag(&mut self, name: &str) -> bool {
        self.parsed(name, "true or false").unwrap_or(false)
    }

    pub fn limit(&mut self) -> u32 {
        let limit = self.parsed("limit", "a number from 1 to 200").unwrap_or(DEFAULT_PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            self.fault("limit", "out-of-range", "expected a number from 1 to 200");
        }
        limit
    }

    /// Where the page before ended, as [`cursor`] wrote it.
    pub fn cursor<T: FromStr>(&mut self) -> Option<T> {
        let given = self.one("cursor")?;
        let decoded = BASE64_URL_SAFE_NO_PAD.decode(&given).ok();
        let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        // An empty cursor is the position of nothing.
        let text = text.filter(|text| !text.is_empty());
        let position = text.and_then(|text| text.parse().ok());
        if position.is_none() {
            self.fault("cursor", "invalid", "expected the `next_cursor` of an earlier answer");
        }
        position
    }

    pub fn into_faults(self) -> Faults {
        self.faults
    }

    pub fn finish(self) -> Result<(), Problem> {
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::invalid(self.faults.into_vec())) }
    }
}

pub(crate) fn refuse_parameters(uri: &Uri) -> Result<(), Problem> {
    Parameters::read(uri, &[]).finish()
}

/// How many of these entries one page has room for: at least one, if there are any.
pub(crate) fn fitting<T: Serialize>(entries: &[T]) -> usize {
    let lengths = entries.iter().scan(0, |bytes, entry| {
        *bytes += serde_json::to_vec(entry).map_or(0, |json| json.len() + 1);
        Some(*bytes)
    });
    let fit = lengths.take_while(|bytes| *bytes <= MAX_PAGE_BYTES).count();
    fit.max(1).min(entries.len())
}

/// Drops the entries for which a page has no room. Returns the id of the last one that stays, if any was
/// dropped; `ids` are those of the entries.
pub(crate) fn cut_to_fit<T: Serialize>(
    entries: &mut Vec<T>,
    ids: &[impl ToString],
) -> Option<String> {
    let fit = fitting(entries);
    if fit == entries.len() {
        return None;
    }
    entries.truncate(fit);
    Some(ids[fit - 1].to_string())
}

/// A position in a list, encoded so that callers do not build on its form. It is not secret.
pub(crate) fn cursor(position: impl ToString) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(position.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Parameters {
        let uri = format!("/v1/invites?{query}").parse().unwrap();
        Parameters::read(&uri, &["limit", "label", "cursor", "dry_run"])
    }

    fn faults(parameters: Parameters) -> Vec<(String, String)> {
        parameters.into_faults().into_iter().map(|f| (f.pointer, f.code)).collect()
    }

    fn fault(pointer: &str, code: &str) -> (String, String) {
        (pointer.to_owned(), code.to_owned())
    }

    #[test]
    fn no_more_parameters_are_looked_at_than_any_call_has_use_for() {
        let of = |count: usize, one: &str| read(&vec![one; count].join("&"));
        assert!(of(100, "label=a").into_faults().is_empty());
        for one in ["label=a", "nope=1", "%"] {
            let faults = of(101, one).into_faults().into_vec();
            assert_eq!((&*faults[0].pointer, &*faults[0].code), ("?", "too-many"));
            assert!(faults.len() <= 101, "{}", faults.len());
        }
    }

    #[test]
    fn every_fault_is_found_at_once() {
        let mut parameters = read("limt=1&limit=x&dry_run=yes&cursor=%00");
        assert_eq!(parameters.parsed::<u32>("limit", "a number"), None);
        assert!(!parameters.flag("dry_run"));
        let expected = [
            fault("?limt", "unknown-parameter"),
            fault("?cursor", "invalid"),
            fault("?limit", "invalid"),
            fault("?dry_run", "invalid"),
        ];
        assert_eq!(faults(parameters), expected);
    }

    #[test]
    fn a_parameter_is_repeated_only_where_it_may_be() {
        let mut parameters = read("label=a:1&label=b:2&limit=1&limit=2");
        assert_eq!(parameters.all("label"), ["a:1", "b:2"]);
        parameters.one("limit");
        assert_eq!(faults(parameters), [fault("?limit", "repeated")]);
    }

    #[test]
    fn a_page_holds_as_many_entries_as_fit_a_mebibyte_and_at_least_one() {
        let entries = |length: usize| vec!["x".repeat(length); 5];
        assert_eq!(fitting(&entries(10)), 5);
        assert_eq!(fitting(&entries(300_000)), 3);
        assert_eq!(fitting(&entries(2_000_000)), 1);
        assert_eq!(fitting::<u8>(&[]), 0);
    }

    #[test]
    fn a_cursor_reads_back_and_anything_else_is_refused() {
        let mut parameters = read(&format!("cursor={}", cursor(42)));
        assert_eq!(parameters.cursor::<u32>(), Some(42));
        for query in ["cursor=", "cursor=%FF", "cursor=eA"] {
            let mut parameters = read(query);
            assert_eq!(parameters.cursor::<u32>(), None);
            assert!(query != "cursor=" || read(query).cursor::<String>().is_none());
            assert_eq!(faults(parameters), [fault("?cursor", "invalid")], "{query}");
        }
    }
}
