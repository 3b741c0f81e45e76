//! The schemas of bodies in the OpenAPI document. schemars derives them from the types that are read and
//! written, as it does for the provider document, the settings and an invite's options; utoipa, which
//! describes the calls, only names them.

use std::borrow::Cow;

use invite_core::schema::FORMS;
use invite_delivery::{LastProbe, Redriven, Revised};
use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::transform_subschemas};
use serde_json::{Map, Value};
use utoipa::openapi::RefOr;

use crate::{
    actions,
    admin::{
        audit::AuditList,
        erase::{EraseRequest, Receipt},
        keys::{KeyList, KeyView},
        people::{Person, PersonRequest},
    },
    changes, create,
    keys::{KeyChange, NewKey},
    problem, service,
    submission::NewInvites,
    views::{self, configuration, providers, shown},
    webhooks,
};

/// Lets calls name the types of their bodies, but for those of other crates, for which there is
/// [`place`](crate::openapi::place).
macro_rules! bodies {
    (
        taken: $($taken:ty),+;
        answered: $($answered:ty),+;
        answered_of_others: $($foreign:ty),+;
    ) => {
        $(name!($taken);)+
        $(name!($answered);)+

        /// The schemas of what is taken and of what is answered, by name, with those that they refer to.
        fn taken_and_answered() -> [Map<String, Value>; 2] {
            let mut taken = settings().for_deserialize().into_generator();
            $(taken.subschema_for::<$taken>();)+
            let answered = settings().for_serialize().with_transform(leave_out_null);
            let mut answered = answered.into_generator();
            $(answered.subschema_for::<$answered>();)+
            $(answered.subschema_for::<$foreign>();)+
            [taken.take_definitions(true), answered.take_definitions(true)]
        }
    };
}

/// The name of a type for utoipa. The schema that utoipa wants with it is replaced by that of [`all`].
macro_rules! name {
    ($body:ty) => {
        impl utoipa::PartialSchema for $body {
            fn schema() -> RefOr<utoipa::openapi::Schema> {
                utoipa::openapi::Schema::default().into()
            }
        }

        impl utoipa::ToSchema for $body {
            fn name() -> Cow<'static, str> {
                <$body as JsonSchema>::schema_name()
            }
        }
    };
}

bodies! {
    taken: NewInvites, actions::body::NewAction, changes::InviteChange, changes::RetryRequest, PersonRequest, EraseRequest, NewKey, KeyChange,
        webhooks::body::NewWebhook, webhooks::body::WebhookChange, webhooks::body::Rotation, webhooks::body::Resend;
    answered: views::actions::ActionView, views::actions::CountedAction, views::batches::Accepted, create::AcceptedOrPlan, views::batches::BatchView, views::batches::BatchList,
        views::batches::BatchInvites, views::batches::BatchWithdrawal, views::events::EventList, views::webhooks::WebhookView, views::webhooks::WebhookList,
        views::webhooks::WebhookAttemptView, views::webhooks::WebhookAttemptList, views::webhooks::Recovered, views::InviteList, views::InviteSort,
        views::InviteView, views::AttemptList, shown::ShownInvite, changes::Revoked, providers::ProviderList,
        providers::ProviderView, providers::KindList, providers::RemoteInviteList, AuditList, views::stats::Stats,
        configuration::ReviewView, configuration::RevisionList, configuration::RevisionView, KeyList,
        KeyView, Person, Receipt, service::Health, problem::ProblemView;
    answered_of_others: LastProbe, Redriven, Revised;
}

/// All schemas by their names.
pub(crate) fn all() -> Map<String, Value> {
    taken_and_answered().into_iter().flatten().collect()
}

fn settings() -> SchemaSettings {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .with_transform(list_words)
}

/// Makes one `enum` of alternatives of one word each, which fewer readers of OpenAPI know. What a word
/// means goes into the description.
fn list_words(schema: &mut Schema) {
    transform_subschemas(&mut list_words, schema);
    schema.remove(FORMS);
    let one_of = schema.get("oneOf").and_then(Value::as_array);
    let words: Option<Vec<_>> =
        one_of.into_iter().flatten().map(|form| Some((form.get("const")?, form))).collect();
    let Some(words) = words.filter(|words| !words.is_empty()) else { return };
    let text = |member: &Value| member.as_str().unwrap_or_default().replace('\n', " ");
    let list = words
        .iter()
        .map(|(word, form)| format!("- `{}`: {}", text(word), text(&form["description"])));
    let list = list.collect::<Vec<_>>().join("\n");
    let what = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let description = format!("{what}\n\n{list}").trim_start().to_owned();
    let words: Value = words.iter().map(|(word, _)| (*word).clone()).collect();
    schema.remove("oneOf");
    schema.insert("type".to_owned(), "string".into());
    schema.insert("enum".to_owned(), words);
    schema.insert("description".to_owned(), description.into());
}

/// A member that is left out where there is nothing to say is never null.
fn leave_out_null(schema: &mut Schema) {
    transform_subschemas(&mut leave_out_null, schema);
    let required = schema.get("required").cloned().unwrap_or_default();
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, property) in properties.into_iter().flatten() {
        let is_required =
            required.as_array().is_some_and(|names| names.iter().any(|it| it == name));
        if let Some([kind, null]) =
            property.get("type").and_then(Value::as_array).map(Vec::as_slice)
            && !is_required
            && null == "null"
        {
            property["type"] = kind.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reference in a part of the document.
    fn references(part: &Value) -> Vec<&str> {
        match part {
            Value::Object(members) => {
                let own = members.get("$ref").and_then(Value::as_str);
                own.into_iter().chain(members.values().flat_map(references)).collect()
            }
            Value::Array(items) => items.iter().flat_map(references).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn what_the_document_refers_to_is_in_it_and_no_two_types_share_a_name() {
        let document = crate::openapi();
        for reference in references(&document) {
            let schema = document.pointer(reference.trim_start_matches('#'));
            assert!(schema.is_some_and(|schema| schema.is_object()), "{reference}");
        }
        let [taken, answered] = taken_and_answered();
        for (name, schema) in taken.iter().chain(&answered) {
            // schemars adds a number to the name of a second type.
            assert!(!name.ends_with(|c: char| c.is_ascii_digit()), "{name}");
            assert!(answered.get(name).is_none_or(|answered| answered == schema), "{name}");
        }
    }
}
