//! The examples of the OpenAPI document, and the first calls that people read, sent as they are to `invite-gateway sandbox`.

use std::fs::read_to_string;
use std::path::Path;

use invite_tests::{Binary, Client, eventually, terminate};
use serde_json::Value;

use crate::text;

#[tokio::test]
async fn every_example_works_as_it_is_in_the_sandbox() {
    let binary = Binary::in_empty_folder();
    let mut sandbox = binary.spawn(&["sandbox", "--json", "--listen", "127.0.0.1:0"], "sandbox");
    let started: Value = eventually("the sandbox starts", async || {
        serde_json::from_str(&read_to_string(binary.path("sandbox.out")).ok()?).ok()
    })
    .await;
    let client = Client::connect(text(&started, "url"), text(&started, "key")).await;
    for document in ["README.md", "docs/http-api.md"] {
        let answer = client.post("/v1/invites", &first_body(document)).await.expect(201);
        assert_eq!(answer.invites()[0]["duplicate"], false, "{document}: {}", answer.text);
    }
    let document = client.get("/openapi.json").await.expect(200).body;
    let mut calls = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            calls.push((method.to_uppercase(), path, operation));
        }
    }
    // What erases and what replaces the providers comes last.
    let ends = |name: &str| ["erase_person", "replace_configuration"].contains(&name);
    calls.sort_by_key(|(_, _, operation)| ends(text(operation, "operationId")));
    for (method, path, operation) in calls {
        let name = text(operation, "operationId");
        let request = request(&client, &method, path, operation);
        if operation["responses"]["200"]["content"]["text/event-stream"].is_object() {
            // It has no end.
            assert_eq!(request.open().await.unwrap().status(), 200, "{name}");
            continue;
        }
        let answer = request.send().await;
        // Which ids there are nobody knows beforehand: those are only well-formed.
        let is_unknown = path.contains("{id}");
        let expected = if is_unknown { answer.status == 404 } else { answer.status < 300 };
        assert!(expected, "{name}: {} {}", answer.status, answer.text);
    }
    assert!(terminate(&mut sandbox).await.success());
}

/// What the first `curl` with a body sends that is printed in this file.
fn first_body(document: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(document);
    let text = read_to_string(path).unwrap();
    let body = text.split("-d '").nth(1).unwrap().split('\'').next().unwrap();
    serde_json::from_str(body).unwrap()
}

fn request(client: &Client, method: &str, path: &str, operation: &Value) -> invite_tests::Request {
    let (mut path, mut query, mut headers) = (path.to_owned(), Vec::new(), Vec::new());
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let example = match &parameter["example"] {
            Value::Null => continue,
            Value::String(example) => example.clone(),
            example => example.to_string(),
        };
        let name = text(parameter, "name");
        match text(parameter, "in") {
            "path" => path = path.replace(&format!("{{{name}}}"), &example),
            "query" => query.push(format!("{name}={example}")),
            _ => headers.push((name.to_owned(), example)),
        }
    }
    assert!(!path.contains('{'), "{path}");
    let mut request = client.request(method, &format!("{path}?{}", query.join("&")));
    for (name, value) in headers {
        request = request.header(name.leak(), &value);
    }
    for (kind, media) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
        request = match &media["example"] {
            Value::String(document) => {
                request.header("content-type", kind.clone().leak()).bytes(document.clone())
            }
            example => request.json(example),
        };
    }
    request
}
