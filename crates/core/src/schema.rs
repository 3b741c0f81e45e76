//! Checks what people write as JSON or TOML by the JSON Schema of a Rust type.
//!
//! Settings of providers, the `options` of an invite and the bodies of requests are checked by it. So all faults are
//! found at once, each with its pointer, and the published schema is the one that is enforced.

use std::collections::{HashMap, HashSet};

use jsonschema::{
    JsonType, PatternOptions, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind},
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use crate::nearest::nearest;
use crate::{Fault, MAX_FAULTS};

/// A keyword of ours beside `anyOf` or `pattern`: what the value "has to be", in words. Validators ignore it.
pub const FORMS: &str = "x-forms";

/// In a list so many entries are searched for faults, because all that are found are in memory at once.
const SEARCHED: usize = 1000;

/// The fault of a value that its schema takes and its type does not, or whose faults lie behind what is searched.
const UNREADABLE: &str = "this cannot be read: a whole number has a fraction (`5.0`), or something is \
                          wrong behind the first 1000 entries of a list";

/// The JSON Schema (2020-12) of a type, compiled.
pub struct Schema {
    document: Value,
    validator: Validator,
}

impl Schema {
    /// The schema of `T`, with all its parts inlined.
    ///
    /// # Panics
    /// If `T`'s derived schema is not a valid schema: a defect that every test of the type shows.
    pub fn of<T: JsonSchema>() -> Self {
        let mut settings = SchemaSettings::draft2020_12();
        settings.inline_subschemas = true;
        Self::new(settings.into_generator().into_root_schema_for::<T>().to_value())
    }

    /// The schema with this text.
    ///
    /// # Panics
    /// If it is not a valid schema, which is a defect of the code that made it.
    pub fn new(document: Value) -> Self {
        // This engine has no look-around, and so matches in linear time.
        let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
        let validator = options.build(&document).expect("a derived schema is valid");
        Self { document, validator }
    }

    /// The text of the schema.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// The faults of `value` in document order: at most [`MAX_FAULTS`], and one more that shows that there are others.
    pub fn check(&self, value: &Value) -> Vec<Fault> {
        self.check_up_to(value, MAX_FAULTS + 1)
    }

    /// Reads a value as the type that this is the schema of.
    ///
    /// # Errors
    /// The faults of `value`.
    pub fn read<T: DeserializeOwned>(&self, value: &Value) -> Result<T, Vec<Fault>> {
        let faults = self.check(value);
        if !faults.is_empty() {
            return Err(faults);
        }
        serde_path_to_error::deserialize(value).map_err(|error| {
            // The schema takes one thing that its type does not: `2.0` as a whole number. The error's own text
            // is not used, because it may quote the value.
            let steps = error.path().iter().map(|step| format!("/{}", escape(&step.to_string())));
            let detail = "cannot be read: a whole number has at most 64 bits and no fraction";
            vec![Fault::new(steps.collect::<String>(), "invalid", detail)]
        })
    }

    /// Reads an object as far as it is well-formed, with at most so many of its faults. Members with a fault are left
    /// out, so every member of `T` has to be optional.
    pub fn read_partly<T: DeserializeOwned + Default>(
        &self,
        mut value: Value,
        most: usize,
    ) -> (T, Vec<Fault>) {
        let mut faults = Vec::new();
        if !self.validator.is_valid(&value) {
            let mut faulty = HashSet::new();
            for error in self.validator.iter_errors(&beginning(&value)) {
                faulty.extend(members_at_fault(&error));
                let room = most.saturating_sub(faults.len());
                faults.extend(self.explain(&error, room).into_iter().take(room));
            }
            match &mut value {
                Value::Object(members) => members.retain(|name, _| !faulty.contains(name)),
                _ => return (T::default(), faults),
            }
        }
        let read = T::deserialize(value).unwrap_or_else(|_| {
            if faults.is_empty() {
                faults.push(Fault::new("", "invalid", UNREADABLE));
            }
            T::default()
        });
        (read, faults)
    }

    /// The faults of `value` in document order, at most so many.
    pub fn check_up_to(&self, value: &Value, most: usize) -> Vec<Fault> {
        if self.validator.is_valid(value) {
            return Vec::new();
        }
        let beginning = (most <= SEARCHED).then(|| beginning(value));
        let errors = self.validator.iter_errors(beginning.as_ref().unwrap_or(value));
        let faults = errors.flat_map(|error| self.explain(&error, most)).take(most);
        let faults: Vec<_> = faults.collect();
        if !faults.is_empty() {
            return faults;
        }
        vec![Fault::new("", "invalid", UNREADABLE)]
    }

    /// The faults that an error stands for, at most so many.
    fn explain(&self, error: &ValidationError<'_>, most: usize) -> Vec<Fault> {
        let at = error.instance_path().as_str();
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let known = self.known_members(error);
                unexpected.iter().take(most).map(|name| unknown(at, name, known)).collect()
            }
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let detail = format!("`{name}` is missing");
                vec![Fault::new(format!("{at}/{}", escape(name)), "required", detail)]
            }
            ValidationErrorKind::Enum { options } => {
                let words = options.as_array().into_iter().flatten().filter_map(Value::as_str);
                vec![not_one_of(at, error.instance(), &words.collect::<Vec<_>>())]
            }
            ValidationErrorKind::AnyOf { context }
            | ValidationErrorKind::OneOfNotValid { context } => {
                self.explain_forms(error, context, most)
            }
            ValidationErrorKind::Type { kind } => {
                let detail = format!("the value has to be {}", type_name(kind));
                vec![Fault::new(at, "wrong-type", detail)]
            }
            ValidationErrorKind::PropertyNames { error: of_name } => {
                let name = of_name.instance().as_str().unwrap_or_default();
                let detail = self.describe(of_name, "the name");
                vec![Fault::new(format!("{at}/{}", escape(name)), code(of_name.kind()), detail)]
            }
            kind => vec![Fault::new(at, code(kind), self.describe(error, "the value"))],
        }
    }

    /// A sentence about the error whose subject is `what`.
    fn describe(&self, error: &ValidationError<'_>, what: &str) -> String {
        let words = match error.kind() {
            ValidationErrorKind::Pattern { .. } => self.containing(error).and_then(words_for_forms),
            _ => None,
        };
        match words {
            Some(words) => format!("{what} has to be {words}"),
            None => error.masked_with(what).to_string(),
        }
    }

    /// The faults of a value that fits none of several forms, by the form that was most likely meant. A fault of the
    /// whole value names the forms instead, where the schema has words for them.
    fn explain_forms(
        &self,
        error: &ValidationError<'_>,
        forms: &[Vec<ValidationError<'_>>],
        most: usize,
    ) -> Vec<Fault> {
        let at = error.instance_path().as_str();
        let mut faults = self.explain_likely_form(error, forms, most);
        if let Some(words) = self.containing(error).and_then(words_for_forms) {
            for fault in faults.iter_mut().filter(|fault| fault.pointer == at) {
                fault.detail = format!("the value has to be {words}");
            }
        }
        faults
    }

    fn explain_likely_form(
        &self,
        error: &ValidationError<'_>,
        forms: &[Vec<ValidationError<'_>>],
        most: usize,
    ) -> Vec<Fault> {
        let at = error.instance_path().as_str();
        let of_all: Vec<_> = forms.iter().flat_map(|form| words_of(form)).collect();
        let forms: Vec<_> = forms.iter().filter(|form| !is_of_another_type(form, at)).collect();
        let words: Vec<_> = forms.iter().filter_map(|form| only_word(form)).collect();
        if !words.is_empty() && words.len() == forms.len() {
            return vec![not_one_of(at, error.instance(), &words)];
        }
        let fewest = forms.iter().map(|form| form.len()).min().unwrap_or_default();
        let mut likely = forms.iter().filter(|form| form.len() == fewest).map(|form| {
            let faults = form.iter().flat_map(|fault| self.explain(fault, most));
            faults.take(most).collect::<Vec<_>>()
        });
        let Some(mut faults) = likely.next() else {
            let detail = match of_all.as_slice() {
                [] => "the value is of a type not taken here".to_owned(),
                words => format!("the value has to be one of {}", quoted(words)),
            };
            return vec![Fault::new(at, "wrong-type", detail)];
        };
        // Of equally likely forms, only a fault that all of them find is certain.
        for others in likely {
            let place = |fault: &Fault| (fault.pointer.clone(), fault.code.clone());
            let others: HashMap<_, _> =
                others.into_iter().rev().map(|other| (place(&other), other)).collect();
            faults.retain_mut(|fault| {
                let Some(other) = others.get(&place(fault)) else {
                    return false;
                };
                fault.suggestion = fault.suggestion.take().or_else(|| other.suggestion.clone());
                true
            });
        }
        if faults.is_empty() {
            let detail = "the value fits none of the forms that are taken here";
            faults.push(Fault::new(at, "invalid", detail));
        }
        faults
    }

    /// The members that the schema names where `error` found others.
    fn known_members(&self, error: &ValidationError<'_>) -> Option<&Map<String, Value>> {
        self.containing(error)?.get("properties")?.as_object()
    }

    /// The part of the schema with the keyword that `error` is about.
    fn containing(&self, error: &ValidationError<'_>) -> Option<&Value> {
        let (schema, _) = error.schema_path().as_str().rsplit_once('/')?;
        self.document.pointer(schema)
    }
}

/// A value in which every list and every map ends after [`SEARCHED`] entries. Its own members are all kept, or a
/// member would seem to be missing.
fn beginning(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            members.iter().map(|(name, member)| (name.clone(), cut(member))).collect()
        }
        _ => cut(value),
    }
}

fn cut(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().take(SEARCHED).map(cut).collect(),
        Value::Object(members) => {
            let some = members.iter().take(SEARCHED);
            some.map(|(name, member)| (name.clone(), cut(member))).collect()
        }
        _ => value.clone(),
    }
}

/// The members of the whole in which something is wrong.
fn members_at_fault(error: &ValidationError<'_>) -> Vec<String> {
    match (error.instance_path().as_str().split('/').nth(1), error.kind()) {
        (Some(step), _) => vec![step.replace("~1", "/").replace("~0", "~")],
        (None, ValidationErrorKind::AdditionalProperties { unexpected }) => unexpected.clone(),
        (None, _) => Vec::new(),
    }
}

/// The words that a form, or a form within it, takes.
fn words_of<'a>(form: &'a [ValidationError<'_>]) -> Vec<&'a str> {
    let words = form.iter().map(|error| match error.kind() {
        ValidationErrorKind::Constant { expected_value } => {
            expected_value.as_str().into_iter().collect()
        }
        ValidationErrorKind::OneOfNotValid { context } => {
            context.iter().flat_map(|form| words_of(form)).collect()
        }
        _ => Vec::new(),
    });
    words.flatten().collect()
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

/// A schema's words for its forms. They are in one of its forms if the value may also be null.
fn words_for_forms(schema: &Value) -> Option<&str> {
    let forms = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    std::iter::once(schema).chain(forms).find_map(|schema| schema.get(FORMS)?.as_str())
}

/// Whether a form asks for a value of another type than the one at `at`.
fn is_of_another_type(form: &[ValidationError<'_>], at: &str) -> bool {
    form.iter().filter(|error| error.instance_path().as_str() == at).any(|e| match e.kind() {
        ValidationErrorKind::Type { .. } => true,
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            context.iter().all(|form| is_of_another_type(form, at))
        }
        _ => false,
    })
}

/// The word that a form takes, if it takes nothing else.
fn only_word<'a>(form: &'a [ValidationError<'_>]) -> Option<&'a str> {
    match form {
        [error] => match error.kind() {
            ValidationErrorKind::Constant { expected_value } => expected_value.as_str(),
            _ => None,
        },
        _ => None,
    }
}

fn unknown(at: &str, name: &str, known: Option<&Map<String, Value>>) -> Fault {
    let known = known.into_iter().flat_map(|members| members.keys().map(String::as_str));
    Fault {
        suggestion: nearest(name, known).map(str::to_owned),
        ..Fault::new(
            format!("{at}/{}", escape(name)),
            "unknown-member",
            format!("`{name}` is not known here"),
        )
    }
}

fn not_one_of(at: &str, value: &Value, words: &[&str]) -> Fault {
    let meant = value.as_str().and_then(|word| nearest(word, words.iter().copied()));
    Fault {
        suggestion: meant.map(str::to_owned),
        ..Fault::new(at, "not-allowed", format!("the value is not one of {}", quoted(words)))
    }
}

/// A member's name as one step of a JSON pointer (RFC 6901).
pub fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What a value has to be, in the words of whoever writes it. Nobody writes `null`, so it is not named.
fn type_name(kind: &TypeKind) -> String {
    let types: Vec<_> = match kind {
        TypeKind::Single(one) => vec![*one],
        TypeKind::Multiple(several) => several.iter().collect(),
    };
    let names = types.into_iter().filter_map(|kind| match kind {
        JsonType::Null => None,
        JsonType::Boolean => Some("true or false"),
        JsonType::Integer => Some("a whole number"),
        JsonType::Number => Some("a number"),
        JsonType::String => Some("a string"),
        JsonType::Array => Some("an array"),
        JsonType::Object => Some("a table (in JSON an object)"),
    });
    names.collect::<Vec<_>>().join(" or ")
}

fn code(kind: &ValidationErrorKind) -> &'static str {
    match kind {
        ValidationErrorKind::MaxLength { .. } => "too-long",
        ValidationErrorKind::MinLength { .. } => "too-short",
        ValidationErrorKind::MinItems { .. } => "too-few",
        ValidationErrorKind::MaxItems { .. } | ValidationErrorKind::MaxProperties { .. } => {
            "too-many"
        }
        ValidationErrorKind::Minimum { .. } | ValidationErrorKind::Maximum { .. } => "out-of-range",
        ValidationErrorKind::Enum { .. } | ValidationErrorKind::Constant { .. } => "not-allowed",
        _ => "invalid",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(JsonSchema, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Sample {
        event_id: String,
        notify: Option<i64>,
    }

    fn faults(value: Value) -> Vec<(String, String, Option<String>)> {
        let found = Schema::of::<Sample>().check(&value);
        found.into_iter().map(|f| (f.pointer, f.code, f.suggestion)).collect()
    }

    #[test]
    fn a_missing_member_is_named_by_its_pointer() {
        assert_eq!(faults(json!({})), [("/event_id".into(), "required".into(), None)]);
    }

    #[test]
    fn an_unknown_member_comes_with_the_nearest_known_one() {
        let expected = ("/event_di".into(), "unknown-member".into(), Some("event_id".into()));
        assert!(faults(json!({"event_id": "e", "event_di": 1})).contains(&expected));
    }

    #[derive(JsonSchema, serde::Deserialize)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Nested {
        inner: Option<Sample>,
        secret: Option<crate::secret::SecretRefs>,
        word: Option<crate::Outcome>,
    }

    fn nested(value: Value) -> Vec<(String, String, Option<String>)> {
        let found = Schema::of::<Nested>().check(&value);
        found.into_iter().map(|f| (f.pointer, f.code, f.suggestion)).collect()
    }

    #[test]
    fn an_unknown_member_further_in_comes_with_the_nearest_one_there() {
        let found = nested(json!({"inner": {"event_id": "e", "notfy": 1}}));
        assert_eq!(
            found,
            [("/inner/notfy".into(), "unknown-member".into(), Some("notify".into()))]
        );
    }

    #[test]
    fn of_several_forms_the_one_that_was_meant_is_explained() {
        for (value, pointer, code, suggestion) in [
            (json!({"envv": "A"}), "/secret/envv", "unknown-member", Some("env")),
            (json!({"env": 1}), "/secret/env", "wrong-type", None),
            (json!([{"env": "A"}, {"fil": "B"}]), "/secret/1/fil", "unknown-member", Some("file")),
            (json!({}), "/secret", "invalid", None),
            (json!(1), "/secret", "wrong-type", None),
        ] {
            let expected = (pointer.into(), code.into(), suggestion.map(str::to_owned));
            assert_eq!(nested(json!({"secret": value})), [expected], "{value}");
        }
    }

    #[test]
    fn what_a_value_has_to_be_is_said_in_the_words_of_who_writes_it() {
        let one = "the value has to be a reference, { env = \"NAME\" } or { file = \"PATH\" }";
        let two = "the value has to be one reference, { env = \"NAME\" } or { file = \"PATH\" }, or an array of two of them";
        for (value, detail) in [
            (json!({"inner": {"event_id": 1}}), "the value has to be a string"),
            (
                json!({"inner": {"event_id": "e", "notify": "x"}}),
                "the value has to be a whole number",
            ),
            (json!({"inner": 1}), "the value has to be a table (in JSON an object)"),
            (json!({"secret": {"env": "A", "file": "x"}}), two),
            (json!({"secret": []}), two),
            (json!({"secret": [{"env": "A"}]}), two),
            (json!({"secret": [{"env": "A"}, {"env": "A"}, {"env": "A"}]}), two),
            (json!({"secret": 1}), two),
            (json!({"secret": {}}), two),
            (json!({"secret": [{"env": "A"}, {"env": "A", "file": "x"}]}), one),
            (json!({"secret": {"env": 1}}), "the value has to be a string"),
        ] {
            let found = Schema::of::<Nested>().check(&value);
            let found: Vec<_> = found.into_iter().map(|fault| fault.detail).collect();
            assert_eq!(found, [detail], "{value}");
        }
    }

    #[test]
    fn a_word_that_is_not_taken_comes_with_the_nearest_one_that_is() {
        let found = nested(json!({"word": "throtled"}));
        assert_eq!(found, [("/word".into(), "not-allowed".into(), Some("throttled".into()))]);
    }

    #[derive(Debug, Default, PartialEq, JsonSchema, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Parts {
        #[schemars(required)]
        name: Option<String>,
        count: Option<u64>,
        list: Option<Vec<String>>,
        #[schemars(extend("propertyNames" = { "pattern": "^[a-z]+$", "x-forms": "lower case" }))]
        map: Option<HashMap<String, bool>>,
    }

    fn read(value: Value, most: usize) -> (Parts, Vec<(String, String)>) {
        let (read, faults) = Schema::of::<Parts>().read_partly(value, most);
        (read, faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect())
    }

    #[test]
    fn what_is_well_formed_is_read_also_beside_what_is_not() {
        let (whole, faults) = read(json!({"name": "n", "count": null, "map": {"a": true}}), 9);
        assert_eq!((whole.name.as_deref(), whole.count, faults), (Some("n"), None, vec![]));
        let wrong = json!({"count": 2, "list": ["a", 1], "map": {"A": true, "b/c": 1}, "x/y": 1});
        let (rest, mut faults) = read(wrong.clone(), 9);
        assert_eq!(rest, Parts { count: Some(2), ..Parts::default() });
        faults.sort();
        let found = |pointer: &str, code: &str| (pointer.to_owned(), code.to_owned());
        let expected = [
            found("/list/1", "wrong-type"),
            found("/map/A", "invalid"),
            found("/map/b~1c", "invalid"),
            found("/map/b~1c", "wrong-type"),
            found("/name", "required"),
            found("/x~1y", "unknown-member"),
        ];
        assert_eq!(faults, expected);
        let (rest, faults) = read(wrong, 1);
        assert_eq!((rest.count, faults.len()), (Some(2), 1), "the same where few are told");
        // A whole number as JSON Schema has it, and not as it is read.
        let (rest, faults) = read(json!({"name": "n", "count": 5.0}), 9);
        assert_eq!((rest, faults), (Parts::default(), vec![found("", "invalid")]));
        assert_eq!(read(json!(["n"]), 9), (Parts::default(), vec![found("", "wrong-type")]));
    }

    #[test]
    fn of_a_long_list_the_beginning_is_looked_at_and_nothing_wrong_is_taken() {
        let list = |wrong: usize| {
            let entry = |at| if at < wrong { json!("x") } else { json!(1) };
            json!({"name": "n", "list": (0..100_000).map(entry).collect::<Vec<_>>()})
        };
        for wrong in [0, 99_999] {
            let (rest, faults) = read(list(wrong), 5);
            assert_eq!((rest.list, faults.len()), (None, if wrong == 0 { 5 } else { 1 }));
            assert!(!Schema::of::<Parts>().check(&list(wrong)).is_empty());
        }
    }

    #[test]
    fn a_fault_never_quotes_the_value() {
        let found =
            Schema::of::<Sample>().check(&json!({"event_id": ["s3cret"], "notify": "s3cret"}));
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|fault| !fault.detail.contains("s3cret")), "{found:?}");
    }
}
