//! The JSON Schema of the whole document, put together from the kinds' own parts. It is both what is
//! published and what is enforced.

use std::sync::Arc;

use invite_core::{ProviderKind, schema::Schema};
use serde_json::{Map, Value, json};

use crate::{limits::LimitsPart, routes::RoutePart};

/// The members that a provider of any kind has; the others are those of its kind.
pub(crate) const COMMON: [&str; 3] = ["kind", "enabled", "limits"];

/// The members of a provider that are those of its kind: what the kind builds the adapter from.
pub(crate) fn settings_of(part: &Value) -> Value {
    let members = part.as_object().into_iter().flatten();
    let own = members.filter(|(name, _)| !COMMON.contains(&name.as_str()));
    own.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The schema of documents with providers of these kinds.
pub(crate) fn of(kinds: &[Arc<ProviderKind>]) -> Schema {
    let names: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
    let by_kind: Vec<_> = kinds.iter().map(|kind| provider_of(kind)).collect();
    Schema::new(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Providers and routes of an invite gateway",
        "type": "object",
        "properties": {
            "providers": {
                "description": "The providers, by name.",
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "properties": { "kind": { "type": "string", "enum": names } },
                    "required": ["kind"],
                    "allOf": by_kind,
                },
            },
            "routes": {
                "description": "Tried in order for invites that say no `to`.",
                "type": "array",
                "items": part(Schema::of::<RoutePart>().document()),
            },
        },
        "additionalProperties": false,
    }))
}

/// The schema of providers of this kind: the kind's own, with the members that every provider has.
fn provider_of(kind: &ProviderKind) -> Value {
    let mut schema = part(&kind.config_schema);
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if let Value::Object(properties) = properties {
        for (name, common) in COMMON.into_iter().zip(common_members(kind.name)) {
            properties.insert(name.to_owned(), common);
        }
    }
    json!({
        "if": {
            "type": "object",
            "properties": { "kind": { "const": kind.name } },
            "required": ["kind"],
        },
        "then": schema,
    })
}

/// The schemas of [`COMMON`].
fn common_members(kind: &str) -> [Value; 3] {
    let enabled = "false: new invites are refused; what it has is finished.";
    [
        json!({ "description": "What sort of provider it is.", "const": kind }),
        json!({ "description": enabled, "type": "boolean", "default": true }),
        Value::Object(part(Schema::of::<LimitsPart>().document())),
    ]
}

/// A schema without the members that belong only at the root of a document.
fn part(schema: &Value) -> Map<String, Value> {
    let mut part = schema.as_object().cloned().unwrap_or_default();
    part.remove("$schema");
    part.remove("title");
    part
}
