//! Lists what is wrong, at most as much as somebody reads, whatever a request holds.

use invite_config::Finding;
use invite_core::{
    Fault, MAX_FAULTS,
    text::{cut, legible},
};
use schemars::JsonSchema;
use serde::Serialize;

/// The longest detail and the longest pointer, in bytes.
const MAX_DETAIL: usize = 500;
const MAX_POINTER: usize = 300;

/// How many faults are listed, and how many bytes of JSON they take.
#[derive(Clone, Copy)]
pub(super) struct Cap {
    faults: usize,
    bytes: usize,
}

/// For an answer. With it the whole problem stays below 64 kB.
pub(super) const IN_ANSWER: Cap = Cap { faults: MAX_FAULTS, bytes: 48 * 1024 };
/// For what is stored with an invite and read with every list.
pub(super) const IN_RECORD: Cap = Cap { faults: MAX_ITEM_FAULTS, bytes: 4 * 1024 };
/// How many faults are stored with one invite.
pub(crate) const MAX_ITEM_FAULTS: usize = 20;

/// The faults as an answer lists them.
pub(crate) fn list_faults(faults: Vec<Fault>) -> Vec<FaultView> {
    list(faults.into_iter().map(FaultView::from), IN_ANSWER).0
}

/// As many faults as the cap allows, and whether these are all. If not, the last one says so.
pub(super) fn list(faults: impl Iterator<Item = FaultView>, cap: Cap) -> (Vec<FaultView>, bool) {
    let (mut listed, mut bytes) = (Vec::new(), 0);
    for fault in faults {
        bytes += serde_json::to_vec(&fault).map_or(0, |json| json.len() + 1);
        if listed.len() == cap.faults || bytes > cap.bytes && !listed.is_empty() {
            listed.truncate(cap.faults - 1);
            let detail = "there are more faults than are listed here; mend these first";
            listed.push(Fault::new("#", "more-faults", detail).into());
            return (listed, false);
        }
        listed.push(fault);
    }
    (listed, true)
}

/// One thing that is wrong, at a place.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Fault")]
pub(crate) struct FaultView {
    /// A JSON pointer into the body as a URI fragment (`#/invites/3/email`), or `?` and the name of
    /// a query parameter. A missing member's pointer ends in its name. One that is very long ends in
    /// `…`; characters that are not seen, or that turn the direction of text, are written as `\u202e`.
    pub(super) pointer: String,
    /// A stable word for programs.
    pub(super) code: String,
    /// One sentence.
    pub(super) detail: String,
    /// What was probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<String>,
    /// The line of the provider document, from 1; absent where the body is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// The character within that line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
}

impl From<Fault> for FaultView {
    fn from(fault: Fault) -> Self {
        let Fault { pointer, code, detail, suggestion, .. } = fault;
        // Pointer and detail may quote names that somebody gave to members.
        let pointer = cut(legible(pointer), MAX_POINTER);
        let detail = cut(legible(detail), MAX_DETAIL);
        let suggestion = suggestion.map(legible);
        Self { pointer, code, detail, suggestion, line: None, column: None }
    }
}

impl From<FaultView> for Fault {
    fn from(fault: FaultView) -> Self {
        let FaultView { pointer, code, detail, suggestion, .. } = fault;
        Self { suggestion, ..Self::new(pointer, code, detail) }
    }
}

impl From<Finding> for FaultView {
    fn from(found: Finding) -> Self {
        let Finding { pointer, code, detail, suggestion, line, column, .. } = found;
        let fault = Fault { suggestion, ..Fault::new(format!("#{pointer}"), code, detail) };
        Self { line: Some(line), column: Some(column), ..fault.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::{Problem, codes};

    #[test]
    fn what_is_listed_has_room_and_says_when_there_is_more() {
        let many = |count: usize, name: &str| {
            let fault = |at| Fault::new(format!("#/{at}/{name}"), "invalid", name);
            (0..count).map(fault).collect::<Vec<_>>()
        };
        let last = |problem: &Problem| problem.0.errors.last().unwrap().code.clone();
        let all = Problem::invalid(many(100, "x"));
        assert_eq!((all.0.errors.len(), &*last(&all)), (100, "invalid"));
        for (count, name) in [(101, "x"), (101, "\u{1}"), (5_000, &*"\u{1}".repeat(100_000))] {
            let problem = Problem::invalid(many(count, name));
            assert!(problem.0.errors.len() <= 100);
            assert_eq!(last(&problem), "more-faults");
            assert!(problem.to_body("id").len() < 64_000);
            let stored = Problem::invalid_item(many(count, name));
            assert!(stored.0.errors.len() <= 20);
            assert_eq!(last(&stored), "more-faults");
            assert!(serde_json::to_vec(&stored.to_reason()).unwrap().len() < 10_000);
        }
        let long = Problem::new(&codes::NOT_FOUND, "\u{1}".repeat(1_000_000));
        assert!(long.to_body("id").len() < 64_000);
    }
}
