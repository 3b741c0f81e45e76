//! Words of a closed set, in the OpenAPI document.

use invite_core::{Origin, Outcome};
use utoipa::openapi::{Object, ObjectBuilder, Type};

/// A schema of these words.
pub(crate) fn words(description: &str, words: impl Iterator<Item = &'static str>) -> Object {
    ObjectBuilder::new()
        .description(Some(description))
        .schema_type(Type::String)
        .enum_values(Some(words))
        .build()
}

const OUTCOME: &str = "What is known of the effect: `not_sent` is safe to send again, `rejected` \
     would be refused again, `throttled` later, `unknown` may have taken effect.";

/// Whose doing a problem is.
pub(crate) fn origin_schema() -> Object {
    words("Whose doing it is.", Origin::ALL.iter().map(|origin| origin.as_str()))
}

/// What is known of the effect of a failed call.
pub(crate) fn outcome_schema() -> Object {
    words(OUTCOME, Outcome::ALL.iter().map(|outcome| outcome.as_str()))
}
