//! What an administrator and a caller may write: schemas, defaults, and faults with their places.

use invite_core::{Fault, Recipient, SystemClock};
use serde_json::{Map, Value, json};

use crate::{
    bench::{Bench, each},
    people::{invite, person},
};
use std::sync::Arc;

fn pointers(faults: &[Fault]) -> Vec<&str> {
    faults.iter().map(|fault| fault.pointer.as_str()).collect()
}

fn faults_of(bench: &Bench, options: Value) -> Vec<Fault> {
    let mut invite = invite(&person(1));
    invite.options.insert(bench.subject.kind.name.into(), options);
    bench.provider.resolve(&invite).unwrap_err()
}

pub async fn options_that_are_unknown_or_wrong_are_faults_at_their_place(bench: &Bench) {
    let kind = bench.subject.kind.name;
    let faults = faults_of(bench, json!({"quill_member": 1, "other_member": "s3cret-value"}));
    for name in ["quill_member", "other_member"] {
        let pointer = format!("/options/{kind}/{name}");
        let fault = faults.iter().find(|fault| fault.pointer == pointer);
        assert_eq!(fault.expect(name).code, "unknown-member");
    }
    assert!(!format!("{faults:?}").contains("s3cret-value"), "a fault quotes no value");
    for wrong in [json!([]), json!("text"), json!(7)] {
        let faults = faults_of(bench, wrong);
        assert_eq!(pointers(&faults), [format!("/options/{kind}")]);
    }
    let schema = &bench.subject.kind.options_schema;
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let types = &member["type"];
        let takes = |word: &str| {
            *types == word || types.as_array().is_some_and(|t| t.iter().any(|t| t == word))
        };
        let wrong = if takes("object") { json!(7) } else { json!({"an": "object"}) };
        let faults = faults_of(bench, json!({ name: wrong }));
        let pointer = format!("/options/{kind}/{name}");
        assert!(
            faults.iter().any(|fault| fault.pointer.starts_with(&pointer)),
            "{name}: {faults:?}"
        );
    }
}

pub async fn options_of_other_kinds_change_nothing(bench: &Bench) {
    let plain = invite(&person(1));
    let mut foreign = plain.clone();
    for kind in ["securegate", "rkvst", "turnkey", "pigeon"] {
        if !bench.subject.is(kind) {
            foreign.options.insert(kind.into(), json!({"event_id": "other", "nonsense": 1}));
        }
    }
    assert_eq!(bench.provider.resolve(&foreign), bench.provider.resolve(&plain));
}

pub async fn faults_of_the_person_and_of_the_options_come_together(bench: &Bench) {
    let mut wrong = invite(&person(1));
    wrong.invitee.email = format!("{}@mail.example.org", "x".repeat(200));
    wrong.invitee.message = Some("m".repeat(500));
    wrong.invitee.phone = None;
    wrong.invitee.first_name = None;
    wrong.invitee.last_name = None;
    wrong.options.insert(bench.subject.kind.name.into(), json!({"quill_member": 1}));
    let faults = bench.provider.resolve(&wrong).unwrap_err();
    let at = pointers(&faults);
    assert!(at.iter().any(|pointer| pointer.ends_with("/quill_member")), "{at:?}");
    assert!(at.iter().any(|pointer| !pointer.starts_with("/options")), "{at:?}");
    for fault in &faults {
        assert!(!fault.detail.is_empty() && !fault.detail.contains('\n'), "{fault:?}");
    }
}

pub async fn what_a_caller_adds_goes_out_beside_the_adapters_own_members_and_only_where_it_may(
    bench: &Bench,
) {
    let kind = bench.subject.kind.name;
    let allowing = bench.with(json!({ "allow_extra": true }), &[bench.subject.good]);
    let adding = |extra: &Value| {
        let mut invite = invite(&person(1));
        invite.options.insert(kind.into(), json!({ "extra": extra }));
        invite
    };
    let added = json!({ "quill_badge": { "colour": ["blue", 7, null] } });
    let refused = bench.provider.resolve(&adding(&added)).unwrap_err();
    assert_eq!(pointers(&refused), [format!("/options/{kind}/extra")]);
    assert_eq!(refused[0].code, "not-allowed");

    let plain = bench.bound(&allowing, &person(1));
    let resolved = allowing.resolve(&adding(&added)).unwrap();
    let recipient = Recipient { params: resolved.params, ..plain.clone() };
    let sent_with = bench.subject.kind.read_back;
    let shown = sent_with(recipient.id, &recipient.destination, &recipient.params);
    assert_eq!(shown.options["extra"], added);
    let call = allowing.prepare(std::slice::from_ref(&recipient), bench.now()).await.unwrap();
    let mut body: Value = serde_json::from_str(&call.body).unwrap();
    let item = holder_of("quill_badge", &mut body).expect("it is in the request");
    assert_eq!(item.remove("quill_badge"), added.get("quill_badge").cloned());
    let ours: Vec<String> = item.keys().cloned().collect();
    assert!(ours.len() >= 2, "{ours:?}");
    let without = allowing.prepare(&[plain], bench.now()).await.unwrap();
    assert_eq!(body, serde_json::from_str::<Value>(&without.body).unwrap(), "all else is the same");
    for name in ours.iter().flat_map(|name| [name.clone(), name.to_uppercase()]) {
        let refused = allowing.resolve(&adding(&json!({ &name: "x" }))).unwrap_err();
        assert_eq!(pointers(&refused), [format!("/options/{kind}/extra/{name}")]);
    }

    let created = allowing.create(&call, &[recipient]).await;
    each(created, 1).remove(0).unwrap();
    assert_eq!(bench.wire.requests().pop().unwrap().body(), call.body);
}

/// The object in a value that has this member.
fn holder_of<'a>(name: &str, value: &'a mut Value) -> Option<&'a mut Map<String, Value>> {
    match value {
        Value::Object(members) => match members.contains_key(name) {
            true => Some(members),
            false => members.values_mut().find_map(|it| holder_of(name, it)),
        },
        Value::Array(items) => items.iter_mut().find_map(|it| holder_of(name, it)),
        _ => None,
    }
}

pub async fn resolving_is_pure(bench: &Bench) {
    let invite = invite(&person(1));
    let first = bench.provider.resolve(&invite).unwrap();
    assert_eq!(bench.provider.resolve(&invite).unwrap(), first);
    assert_eq!(bench.simulator.count("*").await, 0);
    assert_eq!(first.destination.kind, bench.subject.kind.name);
    assert_eq!(first.destination.base_url, bench.wire.url);
    let text = first.destination.to_string();
    assert_eq!(text.parse(), Ok(first.destination));
}

pub async fn a_configuration_is_checked_as_a_whole_and_shows_no_secret(bench: &Bench) {
    let subject = &bench.subject;
    let good = subject.part(&bench.wire.url, &[subject.good]);
    let schema = invite_core::schema::Schema::new(subject.kind.config_schema.clone());
    assert_eq!(schema.check(&good), []);
    let build = |part: &Value| subject.build(part, Arc::new(SystemClock));
    let shown = format!("{:?}", build(&good).unwrap());
    assert!(!shown.contains(subject.good), "{shown}");
    let mut unknown = good.clone();
    unknown["quill_setting"] = json!(1);
    let faults = build(&unknown).unwrap_err();
    assert!(pointers(&faults).contains(&"/quill_setting"), "{faults:?}");
    let required: Vec<String> =
        serde_json::from_value(subject.kind.config_schema["required"].clone()).unwrap();
    assert!(required.contains(&"base_url".to_owned()));
    for name in required {
        let mut lacking = good.clone();
        lacking.as_object_mut().unwrap().remove(&name);
        let faults = build(&lacking).unwrap_err();
        assert!(pointers(&faults).contains(&format!("/{name}").as_str()), "{faults:?}");
    }
    for wrong in ["not a url", "ftp://example.org", "https://u:p@example.org", "https://e.org/?a=b"]
    {
        let mut part = good.clone();
        part["base_url"] = wrong.into();
        let faults = build(&part).unwrap_err();
        assert_eq!(pointers(&faults), ["/base_url"], "{wrong}");
        assert!(!format!("{faults:?}").contains(subject.good));
    }
    let mut unresolved = good.clone();
    unresolved[subject.secret] = json!({"env": "NOWHERE"});
    let faults = build(&unresolved).unwrap_err();
    assert_eq!(pointers(&faults), [format!("/{}", subject.secret)]);
}

pub async fn a_kind_says_of_itself_what_its_providers_do(bench: &Bench) {
    let kind = &bench.subject.kind;
    let configured = bench.provider.capabilities();
    let general = kind.capabilities.clone();
    assert_eq!(configured.create, general.create);
    assert_eq!((configured.get, configured.list), (general.get, general.list));
    assert_eq!(configured.update_status, general.update_status);
    let limits = kind.default_limits.clone();
    assert!(limits.max_batch >= 1 && limits.max_batch <= configured.create.max_batch);
    assert!(limits.requests_per_second > 0.0 && limits.max_in_flight > 0);
    assert_eq!(kind.options_schema["additionalProperties"], false);
    assert_eq!(kind.config_schema["additionalProperties"], false);
    assert!(configured.reconcile.len() > 20 && !configured.reconcile.contains('\n'));
}

/// What the gate compares to tell another account from the same one.
pub async fn the_settings_that_name_an_account_are_settings_of_the_kind(bench: &Bench) {
    let kind = &bench.subject.kind;
    let names = kind.account_settings;
    assert!(names.contains(&"base_url"), "{names:?}");
    let known = &kind.config_schema["properties"];
    for name in names {
        assert!(known[*name].is_object(), "{name} is no setting: {known}");
    }
}
