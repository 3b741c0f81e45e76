//! The text of a document: parsed into JSON, with the place of each part. What the parts mean is not known here.

use std::collections::HashMap;

use invite_core::{Fault, schema::escape};
use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use crate::{Finding, Severity};

/// A document that is well-formed TOML.
pub(crate) struct Document<'a> {
    text: &'a str,
    value: Value,
    /// By JSON pointer.
    places: HashMap<String, Place>,
}

/// The place of a part, in bytes from the start of the text.
#[derive(Clone, Copy, Default)]
struct Place {
    key: usize,
    value: usize,
}

/// The line, from 1, of the part at a JSON pointer in a TOML text, or of the nearest part around it; `None` if the text is no
/// TOML.
pub fn line_of(text: &str, pointer: &str) -> Option<usize> {
    let fault = Fault::new(pointer, "unknown-member", "");
    Some(Document::parse(text).ok()?.finding(Severity::Error, fault).line)
}

impl<'a> Document<'a> {
    /// Parses a text.
    ///
    /// # Errors
    /// Everything in it that is no TOML or cannot be a setting: dates, and numbers that are not finite or too big.
    pub fn parse(text: &'a str) -> Result<Self, Vec<Finding>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // The parser's own `Display` would quote the line, and with it perhaps a secret.
            let found = errors.iter().map(|error| {
                let offset = error.span().map_or(text.len(), |span| span.start);
                let fault = Fault::new("", "syntax", error.message());
                Located { severity: Severity::Error, offset, fault }
            });
            return Err(findings(text, found.collect()));
        }
        let mut reading = Reading { places: HashMap::new(), found: Vec::new() };
        let value = reading.table(root.get_ref(), "");
        if !reading.found.is_empty() {
            return Err(findings(text, reading.found));
        }
        Ok(Self { text, value, places: reading.places })
    }

    /// The document as JSON.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The members of the table at `pointer`, in the order of the text.
    pub fn members(&self, pointer: &str) -> Vec<(&str, &Value)> {
        let table = self.value.pointer(pointer).and_then(Value::as_object);
        let mut members: Vec<_> = table.into_iter().flatten().map(|(k, v)| (&**k, v)).collect();
        members.sort_by_key(|(name, _)| {
            self.places.get(&format!("{pointer}/{}", escape(name))).map(|place| place.key)
        });
        members
    }

    /// A fault with its place: that of the part, or of the nearest one around it.
    pub fn locate(&self, severity: Severity, fault: Fault) -> Located {
        let offset = match self.places.get(&fault.pointer) {
            Some(place) if fault.code == "unknown-member" => place.key,
            Some(place) => place.value,
            None => self.enclosing(&fault.pointer).value,
        };
        Located { severity, offset, fault }
    }

    /// A fault as a finding.
    pub fn finding(&self, severity: Severity, fault: Fault) -> Finding {
        finding(self.text, self.locate(severity, fault))
    }

    /// Faults as findings, see [`findings`].
    pub fn findings(&self, found: Vec<Located>) -> Vec<Finding> {
        findings(self.text, found)
    }

    fn enclosing(&self, pointer: &str) -> Place {
        let mut rest = pointer;
        while let Some((outer, _)) = rest.rsplit_once('/') {
            if let Some(place) = self.places.get(outer) {
                return *place;
            }
            rest = outer;
        }
        Place::default()
    }
}

/// A fault with its place, in bytes from the start of the text.
pub(crate) struct Located {
    pub severity: Severity,
    offset: usize,
    pub fault: Fault,
}

/// How many findings a document gets: nobody corrects more at once, and finding the line of each takes a read of all text
/// before it.
const MAX_FINDINGS: usize = 100;

/// Faults as findings in the order of the text. If there are too many, errors come before warnings, and the last finding says
/// how many are left out; it is an error if one of those is.
fn findings(text: &str, mut found: Vec<Located>) -> Vec<Finding> {
    found.sort_by_key(|found| (found.severity == Severity::Warning, found.offset));
    let left = found.split_off(found.len().min(MAX_FINDINGS));
    found.sort_by_key(|found| found.offset);
    if let (Some(first), Some(last)) = (left.first(), found.last()) {
        let offset = first.offset.max(last.offset);
        let detail = format!("{} more findings are not listed; mend these to see them", left.len());
        let fault = Fault::new("", "more-findings", detail);
        found.push(Located { severity: first.severity, offset, fault });
    }
    found.into_iter().map(|found| finding(text, found)).collect()
}

fn finding(text: &str, Located { severity, offset, fault }: Located) -> Finding {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let in_line = before[line_start..].trim_start_matches('\u{feff}');
    Finding {
        line: before.matches('\n').count() + 1,
        column: in_line.chars().count() + 1,
        ..Finding::unplaced(severity, fault)
    }
}

struct Reading {
    places: HashMap<String, Place>,
    found: Vec<Located>,
}

impl Reading {
    fn table(&mut self, table: &DeTable<'_>, at: &str) -> Value {
        let mut members = Map::new();
        for (key, value) in table.iter() {
            let pointer = format!("{at}/{}", escape(key.get_ref()));
            let place = Place { key: key.span().start, value: value.span().start };
            self.places.insert(pointer.clone(), place);
            let read = self.value(value.get_ref(), pointer, place.value);
            members.insert(key.get_ref().to_string(), read);
        }
        Value::Object(members)
    }

    fn value(&mut self, value: &DeValue<'_>, at: String, offset: usize) -> Value {
        let read = match value {
            DeValue::String(text) => Some(Value::from(text.as_ref())),
            DeValue::Boolean(flag) => Some(Value::from(*flag)),
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::from)
            }
            DeValue::Float(number) => number.as_str().parse().ok().and_then(read_float),
            DeValue::Datetime(_) => None,
            DeValue::Table(table) => Some(self.table(table, &at)),
            DeValue::Array(items) => {
                let items = items.iter().enumerate().map(|(index, item)| {
                    let pointer = format!("{at}/{index}");
                    let start = item.span().start;
                    self.places.insert(pointer.clone(), Place { key: start, value: start });
                    self.value(item.get_ref(), pointer, start)
                });
                Some(Value::Array(items.collect()))
            }
        };
        read.unwrap_or_else(|| {
            let detail = match value {
                DeValue::Datetime(_) => "no setting is a date; a text stands in quotes",
                _ => "no setting is a number like this; it must be finite and below 2^63",
            };
            let fault = Fault::new(at, "wrong-type", detail);
            self.found.push(Located { severity: Severity::Error, offset, fault });
            Value::Null
        })
    }
}

/// A number as JSON Schema sees it: 8.0 is the integer 8.
fn read_float(number: f64) -> Option<Value> {
    /// From here on a float may not be the integer that was written.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        return Some(Value::from(number as i64));
    }
    serde_json::Number::from_f64(number).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<(usize, usize, String, String)> {
        let findings = Document::parse(text).err().unwrap_or_default();
        findings.into_iter().map(|f| (f.line, f.column, f.pointer, f.code)).collect()
    }

    fn at(document: &Document<'_>, pointer: &str, code: &str) -> (usize, usize) {
        let found = document.finding(Severity::Error, Fault::new(pointer, code, ""));
        (found.line, found.column)
    }

    const TEXT: &str = "\u{feff}# Beispiel\r\n[providers.a]\r\nx = 'ä' # y\r\n\
        l = { n = 1 , m = [ 1, 2] }\r\n[[routes]]\r\n[[routes]]\r\nto=['ü', 'b']\r\n";

    #[test]
    fn every_part_is_found_at_its_line_and_character() {
        let document = Document::parse(TEXT).unwrap();
        for (pointer, code, place) in [
            ("/providers/a", "x", (2, 1)),
            ("/providers/a/x", "x", (3, 5)),
            ("/providers/a/x", "unknown-member", (3, 1)),
            ("/providers/a/l/m", "unknown-member", (4, 15)),
            ("/providers/a/l/m/1", "x", (4, 24)),
            ("/routes/1/to/1", "x", (7, 10)),
        ] {
            assert_eq!(at(&document, pointer, code), place, "{pointer}");
        }
    }

    #[test]
    fn what_is_missing_is_found_where_it_belongs() {
        let document = Document::parse(TEXT).unwrap();
        assert_eq!(at(&document, "/providers/a/l/none", "required"), (4, 5));
        assert_eq!(at(&document, "/routes/0/to", "required"), (5, 1));
        assert_eq!(at(&document, "/nothing/of/this", "required"), (1, 1));
        assert_eq!(at(&document, "", "x"), (1, 1));
    }

    #[test]
    fn all_that_is_not_toml_is_found_without_quoting_it() {
        let text = "a = 1\na = 2\n[b]\nkey = s3cret\n";
        let findings = Document::parse(text).err().unwrap();
        let found: Vec<_> = findings.iter().map(|f| (f.line, f.column, &*f.code)).collect();
        assert_eq!(found, [(2, 1, "syntax"), (4, 7, "syntax")]);
        assert!(findings.iter().all(|f| !f.to_string().contains("s3cret")), "{findings:?}");
    }

    #[test]
    fn what_no_setting_can_be_is_refused_at_its_place() {
        assert_eq!(
            places("a = nan\nb.c = [99999999999999999999]\nd = 2026-11-21\ne = -inf"),
            [
                (1, 5, "/a".into(), "wrong-type".into()),
                (2, 8, "/b/c/0".into(), "wrong-type".into()),
                (3, 5, "/d".into(), "wrong-type".into()),
                (4, 5, "/e".into(), "wrong-type".into()),
            ]
        );
    }

    #[test]
    fn of_too_many_findings_the_first_errors_are_told_and_how_many_are_left() {
        let text = "x = 1\n".repeat(3 * MAX_FINDINGS);
        let located = |severity, line: usize| Located {
            severity,
            offset: 6 * line,
            fault: Fault::new(format!("/{line}"), "x", ""),
        };
        let told = |warnings: usize, errors: usize| {
            let warnings = (0..warnings).map(|line| located(Severity::Warning, line));
            let errors = (0..errors).map(|line| located(Severity::Error, MAX_FINDINGS + line));
            findings(&text, warnings.chain(errors).collect())
        };
        let count = |told: &[Finding], severity| {
            told[..MAX_FINDINGS].iter().filter(|found| found.severity == severity).count()
        };
        assert_eq!(told(50, 50).len(), MAX_FINDINGS);
        assert!(told(50, 50).iter().all(|found| found.code == "x"));
        for (warnings, errors, severity) in
            [(50, 60, Severity::Warning), (50, 150, Severity::Error), (110, 0, Severity::Warning)]
        {
            let told = told(warnings, errors);
            assert_eq!(told.len(), MAX_FINDINGS + 1);
            assert!(told.is_sorted_by_key(|found| (found.line, found.column)));
            assert_eq!(count(&told, Severity::Error), errors.min(MAX_FINDINGS));
            let last = &told[MAX_FINDINGS];
            assert_eq!((&*last.code, last.severity), ("more-findings", severity));
            let left = format!("{} more findings", warnings + errors - MAX_FINDINGS);
            assert!(last.detail.starts_with(&left), "{last}");
        }
    }

    #[test]
    fn numbers_are_read_as_json_schema_sees_them() {
        let document = Document::parse("a = 8.0\nb = 0x1F\nc = 1_000\nd = 0.5\ne = -7").unwrap();
        let expected = serde_json::json!({"a": 8, "b": 31, "c": 1000, "d": 0.5, "e": -7});
        assert_eq!(document.value(), &expected);
    }

    #[test]
    fn members_come_in_the_order_of_the_text() {
        let document = Document::parse("[t.b]\n[t.'c/d']\n[t.a]\n").unwrap();
        let names: Vec<_> = document.members("/t").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["b", "c/d", "a"]);
    }
}
