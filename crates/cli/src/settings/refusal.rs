//! Why settings are refused: which one, where it was set, and what was probably meant.

use std::path::Path;

use config::{Config, ConfigError, Value, ValueKind};
use invite_core::schema::nearest;

use super::{PREFIX, Settings};

/// What separates the prefix, the section and the name in a variable.
const SEPARATOR: &str = "__";
/// What `config` calls the environment as the origin of a value.
const ENVIRONMENT: &str = "environment";
/// How many mistakes are listed at most.
const MAX_LISTED: usize = 20;

/// Whether a variable may be meant for a setting but has other underscores.
pub(super) fn may_be_misspelt(variable: &str) -> bool {
    let rest = variable.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('_'));
    rest.is_some_and(|rest| !rest.starts_with('_'))
}

/// Lists everything that was set and is no setting; `None` if there is nothing.
pub(super) fn unknown(given: &Value, variables: &[String]) -> Option<String> {
    let known = known();
    let mut told: Vec<String> = variables.iter().filter_map(|it| misspelt(it, &known)).collect();
    find_unknown("", given, &known, &mut told);
    told.truncate(MAX_LISTED);
    (!told.is_empty()).then(|| format!("cannot use the settings: {}", told.join("; ")))
}

/// Why a setting cannot have the value that it was set to. What an address holds may be secret and is not shown.
pub(super) fn unusable(error: &ConfigError, given: &Config) -> String {
    if let ValueKind::Table(sections) = &given.cache.kind
        && let Some((name, value)) =
            sections.iter().find(|(_, value)| !matches!(value.kind, ValueKind::Table(_)))
    {
        let place = place(origin(value), name);
        return format!("cannot use the settings: {name}{place} is a section: [{name}]");
    }
    let (key, why) = match error {
        ConfigError::Type { key, expected, unexpected, .. } => {
            let is_secret = key.as_deref().is_some_and(|key| key.starts_with("storage."));
            let found =
                if is_secret { "something else".to_owned() } else { unexpected.to_string() };
            (key, format!("expected {expected}, found {found}"))
        }
        ConfigError::At { key: Some(name), .. } if name == "storage.password" => {
            return format!(
                "cannot use the setting {name}{}: it is {{ file = \"PATH\" }} or {{ env = \"NAME\" }}",
                place_in(given, name)
            );
        }
        ConfigError::At { key, error, .. } => {
            let words = key.as_deref().and_then(words);
            (key, words.map_or_else(|| error.to_string(), |words| format!("it is {words}")))
        }
        other => return format!("cannot use the settings: {other}"),
    };
    let Some(key) = key else { return format!("cannot use the settings: {why}") };
    format!("cannot use the setting {key}{}: {why}", place_in(given, key))
}

/// Where a setting was set, in brackets; empty for a default.
pub(super) fn place_in(given: &Config, key: &str) -> String {
    let (mut value, mut key) = (Some(&given.cache), key.to_owned());
    for part in key.clone().split('.') {
        value = value.and_then(|value| match &value.kind {
            ValueKind::Table(table) => table.get(part),
            _ => None,
        });
    }
    let place_of = value.and_then(origin);
    // A variable is named as it was set, also where its name goes on behind that of the setting.
    while let Some(ValueKind::Table(table)) = value.map(|value| &value.kind) {
        let is_variable = place_of.is_some_and(|origin| origin.contains(ENVIRONMENT));
        let Some((name, inner)) = table.iter().next().filter(|_| is_variable) else { break };
        key = format!("{key}.{name}");
        value = Some(inner);
    }
    place(place_of, &key)
}

fn place(origin: Option<&str>, key: &str) -> String {
    let Some(origin) = origin else { return String::new() };
    if origin.contains(ENVIRONMENT) {
        return format!(" (in the environment variable {})", variable(key));
    }
    let text = std::fs::read_to_string(Path::new(origin)).unwrap_or_default();
    match invite_config::line_of(&text, &format!("/{}", key.replace('.', "/"))) {
        Some(line) => format!(" (in {origin}, line {line})"),
        None => format!(" (in {origin})"),
    }
}

/// The dotted names of all settings.
fn known() -> Vec<String> {
    let schema = invite_core::schema::Schema::of::<Settings>();
    let members = |value: &serde_json::Value| {
        let properties = value.get("properties").and_then(serde_json::Value::as_object);
        properties.cloned().unwrap_or_default()
    };
    let mut names = Vec::new();
    let mut sections = vec![(String::new(), schema.document().clone())];
    while let Some((prefix, section)) = sections.pop() {
        for (name, value) in members(&section) {
            let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            match members(&value).is_empty() {
                true => names.push(key),
                false => sections.push((key, value)),
            }
        }
    }
    names.sort();
    names
}

/// Adds to a message where the first setting that it names was set.
pub(super) fn placed(why: String, given: &Config) -> String {
    let named = known().into_iter().filter_map(|key| {
        let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let ends = why.match_indices(&key).map(|(at, _)| at + key.len());
        let end = ends.into_iter().find(|end| !why[*end..].starts_with(goes_on))?;
        Some((end, place_in(given, &key))).filter(|(_, place)| !place.is_empty())
    });
    named.min_by_key(|(end, _)| *end).map_or_else(
        || why.clone(),
        |(end, place)| format!("{}{place}{}", &why[..end], &why[end..]),
    )
}

/// The words that are allowed for a setting, if it takes one of some words.
fn words(key: &str) -> Option<String> {
    let schema = invite_core::schema::Schema::of::<Settings>();
    let parts = key.split('.').map(|part| format!("/properties/{part}"));
    let setting = schema.document().pointer(&parts.collect::<String>())?;
    let of_enum = setting.get("enum").and_then(serde_json::Value::as_array).cloned();
    let of_each = || {
        let each = setting.get("oneOf")?.as_array()?.iter();
        each.map(|one| one.get("const").cloned()).collect::<Option<Vec<_>>>()
    };
    let words = of_enum.or_else(of_each)?;
    let words: Vec<_> = words.iter().filter_map(|word| word.as_str()).collect();
    Some(words.join(" or "))
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{SEPARATOR}{}", key.to_uppercase().replace('.', SEPARATOR))
}

/// What is wrong with a variable that looks like a setting but for its underscores, which `config` ignores.
fn misspelt(name: &str, known: &[String]) -> Option<String> {
    let rest = may_be_misspelt(name).then(|| &name[PREFIX.len() + 1..])?;
    let (section, _) = rest.split_once('_')?;
    let is_section = |key: &String| {
        key.split_once('.').is_some_and(|(known, _)| known.eq_ignore_ascii_case(section))
    };
    if !known.iter().any(is_section) {
        return None;
    }
    let meant = suggestion(rest, known).map(|key| format!("; did you mean {}?", variable(key)));
    Some(format!(
        "the environment variable {name} is no setting: two underscores stand between the parts of a \
         name{}",
        meant.unwrap_or_default()
    ))
}

fn find_unknown(prefix: &str, value: &Value, known: &[String], told: &mut Vec<String>) {
    let ValueKind::Table(table) = &value.kind else { return };
    let mut members: Vec<_> = table.iter().collect();
    members.sort_by_key(|(name, _)| *name);
    for (name, value) in members {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let is_section = known.iter().any(|known| known.starts_with(&format!("{key}.")));
        let is_from_variables = || {
            matches!(value.kind, ValueKind::Table(_))
                && origin(value).is_some_and(|origin| origin.contains(ENVIRONMENT))
        };
        // A variable is named as it was set, also where its section is the mistake.
        if is_section || !known.contains(&key) && is_from_variables() {
            find_unknown(&key, value, known, told);
        } else if !known.contains(&key)
            && !known.iter().any(|it| key.starts_with(&format!("{it}.")))
        {
            let sections: Vec<String> =
                known.iter().filter_map(|it| Some(it.split_once('.')?.0.to_owned())).collect();
            let is_section = prefix.is_empty() && matches!(value.kind, ValueKind::Table(_));
            let meant = suggestion(&key, if is_section { &sections } else { known });
            let meant = meant.map(|key| format!("; did you mean {key}?"));
            let place = place(origin(value), &key);
            told.push(format!("{key}{place} is no setting{}", meant.unwrap_or_default()));
        }
    }
}

/// The origin of a value, or of the first one in a table that has one.
fn origin(value: &Value) -> Option<&str> {
    match &value.kind {
        ValueKind::Table(table) => value.origin().or_else(|| table.values().find_map(origin)),
        _ => value.origin(),
    }
}

fn suggestion<'a>(name: &str, known: &'a [String]) -> Option<&'a String> {
    let name = name.to_lowercase().replace('_', ".");
    let plain: Vec<String> = known.iter().map(|key| key.replace('_', ".")).collect();
    let meant = nearest(&name, plain.iter().map(String::as_str))?;
    plain.iter().position(|key| key == meant).and_then(|place| known.get(place))
}
