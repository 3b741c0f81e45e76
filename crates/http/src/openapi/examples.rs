//! Examples of what calls take and answer, in `examples/`, by the call's name: `request`, and `answers` by
//! status. What they take is for `invite-gateway sandbox` as it starts; those of parameters stand with
//! them. The files are the answers of a sandbox, shortened.

use serde_json::{Map, Value};

const FILES: [&str; 5] = [
    include_str!("examples/events.json"),
    include_str!("examples/invites.json"),
    include_str!("examples/providers.json"),
    include_str!("examples/administration.json"),
    include_str!("examples/service.json"),
];

/// The examples by the names of their calls.
pub(super) fn all() -> Map<String, Value> {
    let read =
        |file| serde_json::from_str::<Map<String, Value>>(file).expect("the examples are JSON");
    FILES.into_iter().flat_map(read).collect()
}

/// Adds the examples of one call to it.
pub(super) fn write(operation: &mut Value, examples: Value) {
    if let Some(request) = examples.get("request") {
        add(&mut operation["requestBody"], request);
    }
    let answers = examples.get("answers").and_then(Value::as_object).into_iter().flatten();
    for (status, answer) in answers {
        add(&mut operation["responses"][status], answer);
    }
}

/// A body is of one media type.
fn add(body: &mut Value, example: &Value) {
    let content = body["content"].as_object_mut().into_iter().flatten();
    content.for_each(|(_, media)| media["example"] = example.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_of_a_call_and_of_what_that_takes_or_answers() {
        let document = crate::openapi();
        let items = document["paths"].as_object().unwrap().values();
        let calls: Vec<&Value> = items.filter_map(Value::as_object).flat_map(Map::values).collect();
        for (name, examples) in all() {
            let call = calls.iter().find(|call| call["operationId"] == name.as_str());
            let call = call.unwrap_or_else(|| panic!("there is no call {name}"));
            let takes = call["requestBody"]["content"].is_object();
            assert_eq!(examples.get("request").is_some(), takes, "{name}");
            for status in examples["answers"].as_object().unwrap().keys() {
                assert!(call["responses"][status]["content"].is_object(), "{name} {status}");
            }
        }
    }
}
