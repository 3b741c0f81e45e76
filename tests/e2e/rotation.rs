//! Credentials that are exchanged while invites flow: the mounted file that gets another secret, and
//! the second reference that takes over. No caller notices.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use futures::future::join_all;
use invite_sandbox::accounts;
use invite_tests::{Answer, Builder, Gateway, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::load::{Load, assert_each_exists_once, attempts};
use crate::{text, texts};

/// Between two invites.
const PERIOD: Duration = Duration::from_millis(25);
/// So many invites are a good while: ten at each place.
const WHILE: usize = 40;

/// A credential of a configured provider, and the one that comes after it.
struct Rotation {
    provider: &'static str,
    kind: &'static str,
    /// The line of the provider document that it takes the place of.
    literal: &'static str,
    member: &'static str,
    old: &'static str,
    new: &'static str,
    /// How the provider names the old one.
    withdrawn: &'static str,
}

/// RKVST twice, because it has two forms of credentials.
const ROTATIONS: [Rotation; 4] = [
    Rotation {
        provider: "berlin-summit",
        kind: "securegate",
        literal: "\"{SECUREGATE_API_KEY}\"",
        member: "api_key",
        old: accounts::SECUREGATE_API_KEY,
        new: accounts::SECUREGATE_SECOND_API_KEY,
        withdrawn: accounts::SECUREGATE_API_KEY,
    },
    Rotation {
        provider: "acme-tenancy",
        kind: "rkvst",
        literal: "\"{RKVST_CLIENT_SECRET}\"",
        member: "client_secret",
        old: accounts::RKVST_CLIENT_SECRET,
        new: accounts::RKVST_SECOND_CLIENT_SECRET,
        withdrawn: accounts::RKVST_CLIENT_SECRET,
    },
    Rotation {
        provider: "acme-token",
        kind: "rkvst",
        literal: "\"{RKVST_BEARER_TOKEN}\"",
        member: "bearer_token",
        old: accounts::RKVST_BEARER_TOKEN,
        new: accounts::RKVST_SECOND_BEARER_TOKEN,
        withdrawn: accounts::RKVST_BEARER_TOKEN,
    },
    Rotation {
        provider: "treasury",
        kind: "turnkey",
        literal: "\"{TURNKEY_API_PRIVATE_KEY}\"",
        member: "api_private_key",
        old: accounts::TURNKEY_API_PRIVATE_KEY,
        new: accounts::TURNKEY_SECOND_API_PRIVATE_KEY,
        withdrawn: accounts::TURNKEY_API_PUBLIC_KEY,
    },
];

const KINDS: [&str; 3] = ["securegate", "rkvst", "turnkey"];
const TOKEN_PROVIDER: &str = r#"
[providers.acme-token]
kind = "rkvst"
base_url = "{RKVST_URL}"
bearer_token = "{RKVST_BEARER_TOKEN}"

[providers.acme-token.limits]
timeout = "2s"
requests_per_second = 1000
retry = { first = "50ms", max = "300ms" }
"#;

/// What is done first: withdrawing the old credential at the provider, or mounting the new one.
#[derive(Clone, Copy)]
enum Order {
    /// The gateway has to notice a refusal before it gets the new one.
    Withdrawn,
    /// Neither waits for the other.
    Together,
    /// The gateway has taken up the new one before the old one ends.
    Mounted,
}

#[tokio::test]
async fn a_secret_file_replaced_after_the_old_secret_ended_loses_no_invite() {
    rotate_files(Order::Withdrawn).await;
}

#[tokio::test]
async fn a_secret_file_replaced_as_the_old_secret_ends_loses_no_invite() {
    rotate_files(Order::Together).await;
}

#[tokio::test]
async fn a_secret_file_replaced_before_the_old_secret_ends_loses_no_invite() {
    rotate_files(Order::Mounted).await;
}

async fn rotate_files(order: Order) {
    let folder = tempfile::tempdir().unwrap();
    for rotation in &ROTATIONS {
        mount(&folder, rotation.provider, rotation.old);
    }
    let reference = |rotation: &Rotation| reference(&folder, rotation.provider);
    // As documented: a client secret that ends leaves its tokens good until they lapse.
    let gateway = start(reference, json!({ "token_lifetime_seconds": 2 })).await;
    let load = Load::open(gateway.client(), &ROTATIONS.map(|own| own.provider), PERIOD);
    load.goes_on(WHILE).await;
    join_all(KINDS.map(|kind| rotate_files_of(kind, order, &gateway, &folder))).await;
    for rotation in &ROTATIONS {
        is_read_again(&gateway, rotation.provider).await;
    }
    load.goes_on(WHILE).await;
    let answers = load.end().await;
    check_invites(&gateway, &answers).await;
    for rotation in &ROTATIONS {
        let uses = credentials(&gateway, rotation.provider).await;
        assert_eq!(uses.len(), 1);
        if let Order::Mounted = order {
            assert_eq!(uses[0].refused, 0, "{}: {uses:?}", rotation.provider);
        }
    }
    gateway.finish().await;
}

async fn rotate_files_of(kind: &str, order: Order, gateway: &Gateway, folder: &TempDir) {
    let own = || ROTATIONS.iter().filter(|rotation| rotation.kind == kind);
    let mount_new = || own().for_each(|rotation| mount(folder, rotation.provider, rotation.new));
    match order {
        Order::Withdrawn => {
            withdraw(gateway, kind).await;
            for rotation in own() {
                becomes_misconfigured(gateway, rotation.provider).await;
            }
            mount_new();
        }
        Order::Together => {
            mount_new();
            withdraw(gateway, kind).await;
        }
        Order::Mounted => {
            mount_new();
            for rotation in own() {
                is_read_again(gateway, rotation.provider).await;
                // What was signed with the old one just before may be on its way.
                let used = async || credentials(gateway, rotation.provider).await[0].used;
                let before = used().await;
                let two_more = async || (used().await > before + 1).then_some(());
                eventually("two more calls", two_more).await;
            }
            withdraw(gateway, kind).await;
        }
    }
}

#[tokio::test]
async fn the_second_of_two_credentials_takes_over_when_the_first_ends() {
    let folder = tempfile::tempdir().unwrap();
    let file = |rotation: &Rotation, ending| format!("{}.{ending}", rotation.provider);
    for rotation in &ROTATIONS {
        mount(&folder, &file(rotation, "old"), rotation.old);
        mount(&folder, &file(rotation, "new"), rotation.new);
    }
    let both = |rotation: &Rotation| {
        let [old, new] = ["old", "new"].map(|ending| reference(&folder, &file(rotation, ending)));
        format!("[{old}, {new}]")
    };
    let gateway = start(both, json!({})).await;
    gateway.simulators.set("rkvst", json!({ "revocation_ends_tokens": true })).await;
    let load = Load::open(gateway.client(), &ROTATIONS.map(|own| own.provider), PERIOD);
    load.goes_on(WHILE).await;
    for rotation in &ROTATIONS {
        let [old, new] = two_credentials(&gateway, rotation).await;
        assert!(old.used > 0 && old.refused == 0, "{}: {old:?}", rotation.provider);
        assert_eq!((new.used, new.refused), (0, 0), "{}", rotation.provider);
    }
    join_all(KINDS.map(|kind| withdraw(&gateway, kind))).await;
    // What was under way as the old one ended is over then, on a busy machine, too.
    load.goes_on(2 * WHILE).await;
    let moved = join_all(ROTATIONS.iter().map(|own| two_credentials(&gateway, own))).await;
    load.goes_on(WHILE).await;
    for (rotation, [old, new]) in ROTATIONS.iter().zip(&moved) {
        let [old_now, new_now] = two_credentials(&gateway, rotation).await;
        let said = format!("{}: {old:?} {new:?}, then {new_now:?}", rotation.provider);
        assert!(old.refused > 0, "{said}");
        assert_eq!(old_now, *old, "the old one can go: {said}");
        assert_eq!(new_now.refused, 0, "{said}");
        // A client secret is used once for all the requests of its token.
        assert!(new.used > 0, "{said}");
        assert!(rotation.member == "client_secret" || new_now.used > new.used, "{said}");
    }
    let answers = load.end().await;
    check_invites(&gateway, &answers).await;
    gateway.finish().await;
}

/// A gateway whose credentials are what `reference` says, instead of literal ones.
async fn start(reference: impl Fn(&Rotation) -> String, rkvst: Value) -> Gateway {
    let builder = Gateway::builder().append(TOKEN_PROVIDER).behaving("rkvst", rkvst);
    let referring = |builder: Builder, rotation: &Rotation| {
        let literal = format!("{} = {}", rotation.member, rotation.literal);
        builder.replace(&literal, &format!("{} = {}", rotation.member, reference(rotation)))
    };
    let gateway = ROTATIONS.iter().fold(builder, referring).start().await;
    gateway.simulators.set("turnkey", json!({ "quota": 100_000 })).await;
    gateway
}

fn reference(folder: &TempDir, name: &str) -> String {
    format!("{{ file = \"{}\" }}", folder.path().join(name).display())
}

/// Puts a secret where the gateway reads it, as a mount or an editor does: another file takes the
/// name.
fn mount(folder: &TempDir, name: &str, secret: &str) {
    let path = folder.path().join(name);
    let next = path.with_extension("next");
    std::fs::write(&next, format!("{secret}\n")).unwrap();
    std::fs::set_permissions(&next, Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(&next, &path).unwrap();
}

/// Ends all old credentials of this kind at the provider.
async fn withdraw(gateway: &Gateway, kind: &str) {
    let own = ROTATIONS.iter().filter(|rotation| rotation.kind == kind);
    let ended: Vec<&str> = own.map(|rotation| rotation.withdrawn).collect();
    gateway.simulators.set(kind, json!({ "revoked_credentials": ended })).await;
}

async fn becomes_misconfigured(gateway: &Gateway, provider: &str) {
    eventually(&format!("{provider} is misconfigured"), async || {
        (text(&read(gateway, provider).await, "state") == "misconfigured").then_some(())
    })
    .await;
}

async fn is_read_again(gateway: &Gateway, provider: &str) {
    eventually(&format!("the secret of {provider} is read again"), async || {
        let named = |line: &str| line.contains("was read again") && line.contains(provider);
        gateway.log().lines().any(named).then_some(())
    })
    .await;
}

/// How a credential fared.
#[derive(Debug, PartialEq, Eq)]
struct Use {
    used: u64,
    refused: u64,
}

/// How the credentials of a provider fared, by its counters.
async fn credentials(gateway: &Gateway, provider: &str) -> Vec<Use> {
    let provider = read(gateway, provider).await;
    let counted = provider["counters"]["credentials"].as_array().unwrap().iter();
    let count = |value: &Value| value.as_u64().unwrap();
    counted.map(|own| Use { used: count(&own["used"]), refused: count(&own["refused"]) }).collect()
}

async fn two_credentials(gateway: &Gateway, rotation: &Rotation) -> [Use; 2] {
    credentials(gateway, rotation.provider).await.try_into().unwrap()
}

async fn read(gateway: &Gateway, provider: &str) -> Value {
    let path = format!("/v1/providers/{provider}");
    let answer = gateway.client().get(&path).await.expect(200);
    shows_no_secret(&answer);
    answer.body
}

fn shows_no_secret(answer: &Answer) {
    for Rotation { provider, old, new, .. } in &ROTATIONS {
        assert!(!answer.text.contains(old) && !answer.text.contains(new), "{provider}'s is shown");
    }
}

/// Every invite exists once, and every call for it but one was refused or never made.
async fn check_invites(gateway: &Gateway, answers: &[Answer]) {
    let accepted: Vec<Value> = answers.iter().flat_map(Answer::invites).collect();
    assert_each_exists_once(gateway, &accepted).await;
    for invite in &accepted {
        let answer = attempts(gateway, invite).await;
        shows_no_secret(&answer);
        let attempts = answer.list("attempts");
        let mut outcomes = texts(&attempts, "outcome");
        outcomes.retain(|outcome| !matches!(*outcome, "rejected" | "not_sent"));
        assert_eq!(outcomes, ["succeeded"], "{invite}");
    }
}
