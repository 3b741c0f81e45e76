//! For tests: a provider named `treasury`, whom it invites, and what Turnkey shows. It knows nothing of Turnkey but how
//! a stamp is verified.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use invite_core::{
    Destination, Fault, InviteId, Invitee, Recipient, Remote,
    canned::{self, Asked, Bench, Peer},
};
use jiff::Timestamp;
use p256::ecdsa::{DerSignature, VerifyingKey, signature::Verifier};
use serde_json::{Value, json};

/// The private key of vector 4, made for it.
pub const KEY: &str = "f0249daa9da7aad965d138773320341f465e17ff86afdbcd6f4762d375e019c2";
/// Another key, of the official stamper's own tests.
pub const OTHER_KEY: &str = "9720de87f61537e481f95f4433bed97b9d60719457c4dd20dac4bbf377f59c69";
pub const ORGANIZATION: &str = "89881fc7-6ff3-4b43-b962-916698f8ff58";
pub const SENDER: &str = "c7517305-6772-4e74-8101-108fbab0c11e";
/// The `timestampMs` of vector 4.
pub const AT: i64 = 1_746_736_509_954;

/// The public key whose stamp is valid for exactly the request's body.
pub fn signer(asked: &Asked) -> String {
    let stamp = asked.header("x-stamp").unwrap();
    let stamp = BASE64_URL_SAFE_NO_PAD.decode(stamp).unwrap();
    let stamp: Value = serde_json::from_slice(&stamp).unwrap();
    let part = |name: &str| stamp[name].as_str().unwrap().to_owned();
    assert!(verifies(&part("publicKey"), &part("signature"), asked.body.as_bytes()));
    part("publicKey")
}

pub fn verifies(public_key: &str, signature: &str, body: &[u8]) -> bool {
    let bytes = |hex: &str| base16ct::lower::decode_vec(hex).unwrap();
    let key = VerifyingKey::from_sec1_bytes(&bytes(public_key)).unwrap();
    key.verify(body, &DerSignature::from_bytes(&bytes(signature)).unwrap()).is_ok()
}

/// Gives the same activity to whatever is asked.
pub fn with_activity(activity: Value) -> Peer {
    Peer::start(move |_| (200, json!({ "activity": activity })))
}

/// The endpoints asked for, in order.
pub fn endpoints(peer: &Peer) -> Vec<String> {
    peer.asked().iter().map(|asked| asked.step().to_owned()).collect()
}

/// A provider at this peer.
pub fn provider(peer: &Peer) -> Bench {
    provider_with(peer, json!({}))
}

/// The same with these settings.
pub fn provider_with(peer: &Peer, settings: Value) -> Bench {
    build(&peer.url, settings, &[KEY]).unwrap()
}

/// A provider with these keys. A setting that is null is left out.
pub fn build(base_url: &str, more: Value, keys: &[&str]) -> Result<Bench, Vec<Fault>> {
    let mut settings = json!({
        "base_url": base_url, "organization_id": ORGANIZATION, "sender_user_id": SENDER,
        "api_private_key": { "env": "TURNKEY_API_PRIVATE_KEY" },
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        settings[name] = value.clone();
    }
    settings.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    Bench::build(crate::build, "treasury", &settings, keys, now())
}

pub fn now() -> Timestamp {
    Timestamp::from_millisecond(AT).unwrap()
}

/// Recipients by name and address.
pub fn recipients(provider: &Bench, people: &[(&str, &str)]) -> Vec<Recipient> {
    let invitee = |(name, email): &(&str, &str)| Invitee {
        email: (*email).to_owned(),
        first_name: Some((*name).to_owned()),
        ..Invitee::default()
    };
    people.iter().map(|person| provider.recipient(invitee(person))).collect()
}

/// An invite to Ada at `base_url`.
pub fn remote(base_url: &str, provider_ref: Option<&str>, data: Value) -> Remote {
    let (kind, scope) = ("turnkey".into(), ORGANIZATION.into());
    let ada = Recipient {
        id: InviteId::generate(),
        invitee: Invitee { email: "Ada@example.org".into(), ..Invitee::default() },
        address: "ada@example.org".parse().unwrap(),
        destination: Destination { kind, base_url: base_url.into(), scope },
        params: Value::Null,
    };
    canned::remote(ada, provider_ref, data)
}

/// A completed creation of `ids`, as recorded replies have it.
pub fn completed(ids: &[&str]) -> Value {
    json!({
        "id": "0196b0f7-801d-75d8-a40e-e4f69944b711", "organizationId": ORGANIZATION,
        "status": "ACTIVITY_STATUS_COMPLETED", "type": "ACTIVITY_TYPE_CREATE_INVITATIONS",
        "intent": {}, "result": { "createInvitationsResult": { "invitationIds": ids } },
        "votes": [], "canApprove": false, "canReject": true, "failure": null,
        "createdAt": { "seconds": "1746736510", "nanos": "0" }, "updatedAt": null,
    })
}

/// The same with another status and no result.
pub fn with_status(status: &str) -> Value {
    let mut activity = completed(&[]);
    activity["status"] = status.into();
    activity.as_object_mut().unwrap().remove("result");
    activity
}

/// Which of the two cursors leads to older activities.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Older {
    After,
    Before,
    Neither,
}

/// Answers `list_activities` from these, newest first, up to 100 at once.
pub fn page_of(activities: &[Value], asked: &Asked, older: Older) -> Value {
    let options = &asked.json()["paginationOptions"];
    assert_eq!(options["limit"], "100");
    let place = |name: &str| {
        activities.iter().position(|a| !options[name].is_null() && a["id"] == options[name])
    };
    let page = match (older, place("after"), place("before")) {
        (Older::Neither, ..) | (_, None, None) => activities,
        (Older::After, Some(at), _) | (Older::Before, None, Some(at)) => &activities[at + 1..],
        (Older::After, None, Some(at)) | (Older::Before, Some(at), _) => &activities[..at],
    };
    json!({ "activities": &page[..page.len().min(100)] })
}

/// Activities `a0`, the newest, `a1` and so on, each a minute older, from the clock's start on.
pub fn activities(count: usize) -> Vec<Value> {
    let one = |n: usize| {
        let seconds = AT / 1000 - 60 * i64::try_from(n).unwrap();
        let mut activity = completed(&["other"]);
        activity["id"] = format!("a{n}").into();
        activity["fingerprint"] = format!("sha256:{n}").into();
        activity["createdAt"]["seconds"] = seconds.to_string().into();
        activity
    };
    (0..count).map(one).collect()
}
