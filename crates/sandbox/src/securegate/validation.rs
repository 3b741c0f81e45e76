//! The validation of FastAPI 0.115 with pydantic 2, as they were seen to answer: all problems of a request are in one
//! 422, and no handler runs before. What is valid is in `request`.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::problem::Problem;
use crate::simulator::Call;

/// Where a problem is: names and indices, the outermost first.
pub(super) type Place = Vec<Value>;

/// A place from its parts.
macro_rules! place {
    ($($part:expr),+) => { vec![$(serde_json::Value::from($part)),+] };
}
pub(super) use place;

/// The problems of one request, in pydantic's order.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Value>);

impl Problems {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn found(self) -> Problem {
        Problem::Invalid(self.0)
    }

    fn add(&mut self, kind: &str, place: Place, message: &str, input: &Value) {
        self.0.push(json!({ "type": kind, "loc": place, "msg": message, "input": input }));
    }

    pub fn missing(&mut self, place: Place, input: &Value) {
        self.add("missing", place, "Field required", input);
    }

    pub fn not_an_object(&mut self, place: Place, input: &Value) {
        let message = "Input should be a valid dictionary or object to extract fields from";
        self.add("model_attributes_type", place, message, input);
    }

    pub fn not_a_list(&mut self, place: Place, input: &Value) {
        self.add("list_type", place, "Input should be a valid list", input);
    }

    /// Reads a value of an enum. The message lists the members in the order of the schema.
    pub fn choice(&mut self, value: &Value, members: &[&str], place: Place) -> Option<String> {
        if let Some(text) = value.as_str().filter(|text| members.contains(text)) {
            return Some(text.to_owned());
        }
        let expected = listed(members);
        self.0.push(json!({
            "type": "enum",
            "loc": place,
            "msg": format!("Input should be {expected}"),
            "input": value,
            "ctx": { "expected": expected },
        }));
        None
    }

    pub fn string(&mut self, value: &Value, place: Place) -> Option<String> {
        if value.as_str().is_none() {
            self.add("string_type", place, "Input should be a valid string", value);
        }
        value.as_str().map(str::to_owned)
    }

    /// Reads an integer as pydantic's lax mode does: a number without a fraction, or a text that is one.
    pub fn integer(&mut self, value: &Value, place: Place) -> Option<i64> {
        let (kind, message) = match value {
            Value::Number(number) => match number.as_f64() {
                Some(float) if float.fract() == 0.0 => {
                    return Some(number.as_i64().unwrap_or(float as i64));
                }
                _ => (
                    "int_from_float",
                    "Input should be a valid integer, got a number with a fractional part",
                ),
            },
            Value::String(text) => match whole_number(text) {
                Some(number) => return Some(number),
                None => (
                    "int_parsing",
                    "Input should be a valid integer, unable to parse string as an integer",
                ),
            },
            _ => ("int_type", "Input should be a valid integer"),
        };
        self.add(kind, place, message, value);
        None
    }

    pub fn boolean(&mut self, value: &Value, place: Place) -> Option<bool> {
        let accepted = match value {
            Value::Bool(value) => return Some(*value),
            Value::String(text) => match text.to_lowercase().as_str() {
                "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
                "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        };
        if accepted.is_none() {
            let message = "Input should be a valid boolean, unable to interpret input";
            self.add("bool_parsing", place, message, value);
        }
        accepted
    }
}

/// Reads a whole number as pydantic does: `"12"`, `"+1"`, `"1.0"` and `" 3 "` are some; `""`, `"1.5"` and `"null"` are
/// not. One that is too large for us is the largest that we have.
fn whole_number(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = digits.split_once('.').map_or(digits, |(whole, fraction)| {
        let zeros = !fraction.is_empty() && fraction.bytes().all(|byte| byte == b'0');
        if zeros { whole } else { "" }
    });
    let whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    whole.then(|| digits.parse().unwrap_or(i64::MAX))
}

/// `'a', 'b' or 'c'`
fn listed(members: &[&str]) -> String {
    let quoted: Vec<String> = members.iter().map(|member| format!("'{member}'")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// The members of an object in a request.
pub(super) struct Members<'a> {
    value: &'a Value,
    members: &'a Map<String, Value>,
    place: Place,
}

impl<'a> Members<'a> {
    pub fn of(value: &'a Value, place: Place, problems: &mut Problems) -> Option<Self> {
        match value.as_object() {
            Some(members) => Some(Self { value, members, place }),
            None => {
                problems.not_an_object(place, value);
                None
            }
        }
    }

    pub fn place(&self, name: &str) -> Place {
        let mut place = self.place.clone();
        place.push(Value::from(name));
        place
    }

    pub fn optional(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name)
    }

    pub fn required(&self, name: &str, problems: &mut Problems) -> Option<&'a Value> {
        let value = self.members.get(name);
        if value.is_none() {
            problems.missing(self.place(name), self.value);
        }
        value
    }

    pub fn string(&self, name: &str, problems: &mut Problems) -> Option<String> {
        let value = self.required(name, problems)?;
        problems.string(value, self.place(name))
    }

    pub fn choice(&self, name: &str, of: &[&str], problems: &mut Problems) -> Option<String> {
        let value = self.required(name, problems)?;
        problems.choice(value, of, self.place(name))
    }
}

/// Reads the body as FastAPI does. JSON that cannot be read is an error at once, before other parameters are looked at;
/// anything else is a value to validate.
pub(super) fn body(call: &Call) -> Result<Option<Value>, Problem> {
    if call.body.is_empty() {
        return Ok(None);
    }
    let raw = std::str::from_utf8(&call.body).map_err(|_| {
        Problem::told(StatusCode::BAD_REQUEST, "There was an error parsing the body")
    })?;
    if !call.header("content-type").is_none_or(|value| value.is_empty() || is_json(value)) {
        return Ok(Some(Value::from(raw)));
    }
    match serde_json::from_str(raw) {
        // FastAPI cannot tell `null` from no body.
        Ok(Value::Null) => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(unreadable(raw, &error)),
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_lowercase();
    let subtype = essence.strip_prefix("application/").unwrap_or_default();
    subtype == "json" || subtype.ends_with("+json")
}

fn unreadable(raw: &str, error: &serde_json::Error) -> Problem {
    let before: usize =
        raw.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let offset = if error.is_eof() { raw.len() } else { before + error.column().saturating_sub(1) };
    let reason = reason(&error.to_string(), raw.trim_end());
    let problem = json!({
        "type": "json_invalid",
        "loc": ["body", offset],
        "msg": "JSON decode error",
        "input": {},
        "ctx": { "error": reason },
    });
    Problem::Invalid(vec![problem])
}

/// The reason in the words of Python's reader, as far as ours shows which it is.
fn reason(told: &str, raw: &str) -> &'static str {
    let open = raw.ends_with(['{', '[', ':']);
    match told {
        _ if told.starts_with("key must be a string") => NAME_EXPECTED,
        _ if told.starts_with("EOF while parsing an object") && raw.ends_with('{') => NAME_EXPECTED,
        _ if told.starts_with("EOF while parsing a string") => "Unterminated string starting at",
        _ if told.starts_with("EOF while parsing a value") || open => "Expecting value",
        _ if told.starts_with("EOF while parsing") => "Expecting ',' delimiter",
        _ if told.starts_with("expected `:`") => "Expecting ':' delimiter",
        _ if told.starts_with("expected `,`") => "Expecting ',' delimiter",
        _ if told.starts_with("trailing characters") => "Extra data",
        _ => "Expecting value",
    }
}

const NAME_EXPECTED: &str = "Expecting property name enclosed in double quotes";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_pydantic_reads_them() {
        for (text, number) in
            [("2", 2), ("+1", 1), ("1.0", 1), (" 3 ", 3), ("9".repeat(30).as_str(), i64::MAX)]
        {
            assert_eq!(whole_number(text), Some(number), "{text:?}");
        }
        for text in ["", "1.5", "1.", "null", "1e3", "x", "-", "."] {
            assert_eq!(whole_number(text), None, "{text:?}");
        }
    }

    #[test]
    fn enum_members_are_listed_as_pydantic_lists_them() {
        assert_eq!(listed(&["a"]), "'a'");
        assert_eq!(listed(&["1", "44", "1"]), "'1', '44' or '1'");
    }
}
