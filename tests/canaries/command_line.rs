//! What the program says of wrong settings, of what it cannot open, and of its own defects.

use invite_tests::{Binary, Client, eventually};
use rcgen::KeyPair;
use serde_json::json;

use crate::{
    canary::{Canary, Of, Search, Written},
    people::{LAST_NAME, person},
};

const PASSWORD: &str = "db-Pa55-winterslow-6604";
const ENVIRONMENT_SECRET: &str = "sg-environment-2f9b60c4e1";
const SETTINGS: &str = "[server]\nlisten = \"127.0.0.1:0\"\nallow_private_hosts = [\"127.0.0.1\"]\n[storage]\nurl = \"sqlite://invites.db\"\n\
    [providers]\nfile = \"providers.toml\"\n[log]\nfilter = \"trace\"\n";
const DOCUMENT: &str = "[providers.guests]\nkind = \"securegate\"\nbase_url = \"http://127.0.0.1:9\"\n\
    api_key = { env = \"GUESTS_KEY\" }\nevent_id = \"e\"\nauthentication_method = \"Both\"\n\
    [[routes]]\nto = [\"guests\"]\n";
const SERVE: [&str; 3] = ["--config", "gateway.toml", "serve"];

fn folder() -> Binary {
    let mut binary = Binary::in_empty_folder();
    binary.write("gateway.toml", SETTINGS);
    binary.write("providers.toml", DOCUMENT);
    binary.set_variable("GUESTS_KEY", ENVIRONMENT_SECRET);
    binary
}

#[track_caller]
fn finds_nothing(canaries: &[Canary], what: &str, bytes: Vec<u8>) {
    let written = Written { place: what.to_owned(), bytes };
    let found = Search::new(canaries.iter()).run(&written);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[tokio::test]
async fn no_command_tells_a_password_of_the_database_or_a_secret_of_the_environment() {
    let canaries = [
        Canary::new(Of::Gateway, "the password", PASSWORD),
        Canary::new(Of::Gateway, "a secret in the environment", ENVIRONMENT_SECRET),
    ];
    for url in [
        format!("postgres://gateway:{PASSWORD}@127.0.0.1:9/invites"),
        format!("postgres://gateway:{PASSWORD}@127.0.0.1:9/invites?sslmode={PASSWORD}"),
        format!("postgres://127.0.0.1:9/invites?user=gateway&password={PASSWORD}"),
        format!("postgres://gateway:{PASSWORD}@[::1/invites"),
        format!("postgres:/gateway:{PASSWORD}@127.0.0.1:9/invites"),
        format!("mysql://gateway:{PASSWORD}@127.0.0.1/invites"),
        format!("gateway:{PASSWORD}@127.0.0.1/invites"),
    ] {
        let mut binary = folder();
        binary.set_variable("INVITE_GATEWAY__STORAGE__URL", &url);
        for command in
            [&["serve"][..], &["config", "show"], &["config", "check"], &["keys", "list"]]
        {
            let output = binary.run(&[&["--config", "gateway.toml"], command].concat()).await;
            let what = format!("{} with {}", command.join(" "), url.replace(PASSWORD, "…"));
            finds_nothing(&canaries, &what, [output.stdout, output.stderr].concat());
        }
    }
}

#[tokio::test]
async fn no_key_of_a_certificate_is_told_whatever_is_wrong_with_it() {
    let key = KeyPair::generate().unwrap().serialize_pem();
    let lines: Vec<&str> = key.lines().filter(|line| !line.starts_with("--")).collect();
    let canaries: Vec<Canary> = lines
        .iter()
        .map(|line| Canary::new(Of::Gateway, "the key of a certificate", line))
        .collect();
    assert!(canaries.len() >= 2);
    let broken = key.replacen(lines[0], &format!("{}!", lines[0]), 1);
    for (certificate, key) in [
        (key.as_str(), key.as_str()),
        ("no certificate", &key),
        (&key, "no key"),
        (&broken, &broken),
        (&key, &lines.join("\n")),
    ] {
        let mut binary = folder();
        binary.write("tls.pem", certificate);
        binary.write_secret("tls.key", key);
        binary.set_variable("INVITE_GATEWAY__SERVER__TLS_CERTIFICATE", "tls.pem");
        binary.set_variable("INVITE_GATEWAY__SERVER__TLS_KEY", "tls.key");
        let output = binary.run(&SERVE).await;
        assert!(!output.status.success());
        finds_nothing(&canaries, "serve", [output.stdout, output.stderr].concat());
    }
}

#[tokio::test]
async fn a_panic_is_told_with_its_place_and_without_what_was_being_worked_on() {
    let mut binary = folder();
    let words = format!("byte index 3 is not a char boundary; it is inside 'é' of `{LAST_NAME}`");
    let crash = format!("accept-before-commit:1:panic={words}");
    binary.set_variable("INVITE_GATEWAY_CRASH_AT", &crash);
    let arguments =
        ["--config", "gateway.toml", "keys", "create", "--name", "x", "--scopes", "admin"];
    let key = binary.print(&arguments).await;
    let mut child = binary.spawn(&[&SERVE[..], &["--ready-file", "ready"]].concat(), "gateway");
    let url = eventually("the gateway starts", async || {
        std::fs::read_to_string(binary.path("ready")).ok().filter(|url| url.ends_with('\n'))
    })
    .await;
    let client = Client::connect(url.trim(), key.trim()).await;
    let body = json!({ "to": "guests", "invites": [person(1)] });
    let failed = client.post("/v1/invites", &body).await.problem(500, "internal");
    assert!(invite_tests::terminate(&mut child).await.success());
    let log = std::fs::read_to_string(binary.path("gateway.log")).unwrap();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("panicked at")).collect();
    let [told] = told[..] else { unreachable!("{told:?}") };
    assert!(told.contains("failpoint.rs") && told.contains("ERROR"), "{told}");
    let canaries = [Canary::new(Of::Person, "a name", LAST_NAME)];
    finds_nothing(&canaries, "the log", log.into_bytes());
    finds_nothing(&canaries, "the answer", failed.to_string().into_bytes());
}
