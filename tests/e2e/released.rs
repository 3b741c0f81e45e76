//! Whose secrets leave the gateway's machine: those that whoever runs it has released, and only to where they
//! are meant to go.

use std::fs;
use std::sync::{Arc, Mutex};

use invite_tests::{Answer, Client, Gateway, eventually};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::admin_configuration::{REVISIONS, edit, live, put};
use crate::text;

const CHECK: &str = "/v1/admin/config/check";
const AUDIT: &str = "/v1/admin/audit";
/// What nobody is to be sent.
const SECRET: &str = "0ne-s3cret-of-the-machine";

/// A server of somebody who wants to be sent secrets.
struct Stranger {
    url: String,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Stranger {
    async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
        let all = heard.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = vec![0; 4096];
                let length = stream.read(&mut bytes).await.unwrap_or(0);
                all.lock().unwrap().extend_from_slice(&bytes[..length]);
                let answer = b"HTTP/1.1 401 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                // Whoever asked may be gone.
                let _ = stream.write_all(answer).await;
            }
        });
        Self { url, heard }
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }

    /// A provider of Securegate's kind there, whose key is this.
    fn provider(&self, key: &str) -> String {
        format!(
            "\n[providers.stranger]\nkind = \"securegate\"\nbase_url = \"{}\"\napi_key = {key}\n\
             event_id = \"e\"\nauthentication_method = \"QR Code\"\n[providers.stranger.limits]\n\
             timeout = \"2s\"\n[[routes]]\nname = \"strange\"\nto = [\"stranger\"]\n",
            self.url
        )
    }
}

async fn check(admin: &Client, document: &str, query: &str) -> Value {
    let request = admin.request("POST", &format!("{CHECK}{query}")).bytes(document);
    request.header("content-type", "application/toml").send().await.expect(200).body
}

/// The detail of the only error of an answer, which is a secret that cannot be used.
fn refusal(findings: &Value) -> String {
    let errors = findings.as_array().unwrap().iter().filter(|it| it["severity"] != "warning");
    let errors: Vec<_> = errors.collect();
    assert_eq!(errors.len(), 1, "{findings}");
    assert_eq!(text(errors[0], "code"), "secret-unresolved");
    text(errors[0], "detail").to_owned()
}

async fn audit(admin: &Client) -> Vec<Value> {
    admin.get(AUDIT).await.expect(200).list("entries")
}

#[tokio::test]
async fn a_document_from_the_network_sends_no_secret_of_the_machine_to_a_stranger() {
    let builder = Gateway::builder();
    let builder = builder.replace(
        "api_private_key = \"{TURNKEY_API_PRIVATE_KEY}\"",
        "api_private_key = { env = \"SIGNING\" }",
    );
    let builder = builder.variable("SIGNING", invite_sandbox::accounts::TURNKEY_API_PRIVATE_KEY);
    let gateway = builder.variable("OTHER", SECRET).start().await;
    let admin = gateway.caller("admin", &[]).await;
    gateway.binary.write("private", SECRET);
    let stranger = Stranger::listen().await;
    let (document, tag) = live(&admin).await;
    let absolute = gateway.binary.path("private").display().to_string();
    let mut told = Vec::new();
    let references = [
        ("file", absolute.as_str()),
        ("file", "private"),
        ("file", "gateway.toml"),
        ("file", "nowhere"),
        ("file", "."),
        ("env", "SIGNING"),
        ("env", "OTHER"),
        ("env", "PATH"),
        ("env", "NOWHERE"),
    ];
    for (kind, name) in references {
        let next = format!("{document}{}", stranger.provider(&format!("{{ {kind} = {name:?} }}")));
        let review = check(&admin, &next, "?probe=true").await;
        assert_eq!(review["passes"], false, "{name}: {review}");
        let detail = refusal(&review["findings"]);
        assert_eq!(refusal(&check(&admin, &next, "").await["findings"]), detail);
        let refused = put(&admin, &next, &tag).await;
        assert_eq!(refusal(&refused.problem(422, "configuration-refused")["errors"]), detail);
        let what = if kind == "env" { "environment variable" } else { "file" };
        told.push(detail.replace(&format!("{what} {name}"), "…"));
    }
    assert!(told.iter().all(|detail| *detail == told[0]), "{told:?}");
    assert_eq!(stranger.heard(), "", "nobody asked the stranger anything");

    let entries = audit(&admin).await;
    let of = |action| entries.iter().filter(|entry| text(entry, "action") == action).count();
    assert_eq!((of("config.check"), of("config.refuse")), (18, 9));
    let error =
        json!({ "code": "secret-unresolved", "pointer": "/providers/stranger/api_key/file" });
    let refused = entries.iter().rfind(|entry| text(entry, "action") == "config.refuse").unwrap();
    assert_eq!(refused["after"]["errors"], json!([error]));
    assert_eq!((text(refused, "target"), text(refused, "source")), ("1", "api"));
    let log = gateway.log();
    assert!(log.contains("is not released to a document that comes over the network"), "{log}");
    assert!(!log.contains(SECRET));
    gateway.finish().await;
}

#[tokio::test]
async fn what_settings_release_goes_where_hosts_are_allowed_and_on_record_before() {
    let builder = Gateway::builder().setting("secrets.directories", "released");
    let builder = builder
        .setting("secrets.env_prefixes", "PROVIDER_")
        .variable("PROVIDER_KEY", "pr0vider-key");
    let gateway = builder.file("released/key", "rel3ased-key").start().await;
    let admin = gateway.caller("admin", &[]).await;
    assert!(
        gateway.log().contains("providers.allowed_hosts"),
        "that any host will do is warned of"
    );
    let stranger = Stranger::listen().await;
    let (document, _) = live(&admin).await;
    for (reference, sent) in [
        ("{ file = \"released/key\" }", "rel3ased-key"),
        ("{ env = \"PROVIDER_KEY\" }", "pr0vider-key"),
    ] {
        let next = format!("{document}{}", stranger.provider(reference));
        assert!(check(&admin, &next, "?probe=true").await["passes"].as_bool().unwrap());
        eventually("it is sent", async || stranger.heard().contains(sent).then_some(())).await;
        let entry = audit(&admin).await.remove(0);
        assert_eq!(text(&entry, "action"), "config.check");
        let probed = json!({ "stranger": stranger.url });
        assert_eq!(entry["after"], json!({ "errors": [], "probed": probed }));
    }
    let outside = gateway.binary.path("outside");
    fs::write(&outside, SECRET).unwrap();
    std::os::unix::fs::symlink(&outside, gateway.binary.path("released/link")).unwrap();
    for path in ["released/../outside", "released/link"] {
        let next = format!("{document}{}", stranger.provider(&format!("{{ file = {path:?} }}")));
        refusal(&check(&admin, &next, "?probe=true").await["findings"]);
    }
    assert!(!stranger.heard().contains(SECRET));
    gateway.finish().await;
}

#[tokio::test]
async fn no_document_from_anywhere_names_a_host_that_is_not_allowed() {
    let builder =
        Gateway::builder().setting("providers.allowed_hosts", "127.0.0.1,api.example.org");
    let builder =
        builder.setting("secrets.env_prefixes", "PROVIDER_").variable("PROVIDER_KEY", "key");
    let gateway = builder.start().await;
    let admin = gateway.caller("admin", &[]).await;
    assert!(!gateway.log().contains("can send the secrets"));
    let (document, tag) = live(&admin).await;
    let stranger = Stranger { url: "https://stranger.example".into(), heard: Arc::default() };
    let next = format!("{document}{}", stranger.provider("{ env = \"PROVIDER_KEY\" }"));
    let refused = put(&admin, &next, &tag).await.problem(422, "configuration-refused");
    let error = &refused["errors"][0];
    assert_eq!(
        (text(error, "code"), text(error, "pointer")),
        ("host-not-allowed", "#/providers/stranger/base_url")
    );
    let allowed = next.replace("stranger.example", "api.example.org");
    assert!(check(&admin, &allowed, "").await["passes"].as_bool().unwrap());
    // The file on the machine is held to it, too.
    gateway.binary.write("providers.toml", &next);
    eventually("the file is refused", async || {
        let said = admin.get("/v1/providers").await.expect(200).body;
        let refusal = &said["configuration"]["last_refusal"];
        let is_it = |it: &Value| text(it, "code") == "host-not-allowed";
        refusal["findings"].as_array()?.iter().any(is_it).then_some(())
    })
    .await;
    gateway.finish().await;
}

#[tokio::test]
async fn a_restore_releases_no_more_than_the_live_document_does() {
    let gateway = Gateway::builder().variable("OLD", "sg-0ld-key-000000").start().await;
    let admin = gateway.caller("admin", &[]).await;
    let (first, _) = live(&admin).await;
    let key = first.lines().find(|line| line.starts_with("api_key")).unwrap();
    // The operator uses it for a while, and then takes it back.
    let file = |text: &str| gateway.binary.write("providers.toml", text);
    file(&first.replace(key, "api_key = { env = \"OLD\" }"));
    eventually("it is live", async || (live(&admin).await.1 == "\"2\"").then_some(())).await;
    edit(&admin, "event-456", "event-457").await;
    file(&format!("{first}# taken back\n"));
    eventually("it is taken back", async || (live(&admin).await.1 == "\"4\"").then_some(())).await;
    for revision in [2, 3] {
        let restored: Answer =
            admin.request("POST", &format!("{REVISIONS}/{revision}/restore")).send().await;
        let detail = refusal(&restored.problem(422, "configuration-refused")["errors"]);
        assert!(detail.contains("OLD"), "{detail}");
    }
    let entry = audit(&admin).await.remove(0);
    assert_eq!((text(&entry, "action"), text(&entry, "source")), ("config.refuse", "restore"));
    assert_eq!(entry["after"]["restored"], 3);
    admin.request("POST", &format!("{REVISIONS}/1/restore")).send().await.expect(200);
    gateway.finish().await;
}

#[tokio::test]
async fn a_probe_is_on_record_with_who_asked_for_it() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("providers:act,audit:read", &[]).await;
    admin.request("POST", "/v1/admin/providers/treasury/probe").send().await.expect(200);
    let entry = audit(&admin).await.remove(0);
    assert_eq!((text(&entry, "action"), text(&entry, "target")), ("provider.probe", "treasury"));
    assert!(text(&entry, "actor").starts_with("key_"), "{entry}");
    gateway.finish().await;
}

#[tokio::test]
async fn why_a_secret_cannot_be_used_is_told_on_the_machine_alone() {
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let (document, _) = live(&admin).await;
    let key = document.lines().find(|line| line.starts_with("api_key")).unwrap();
    fs::create_dir(gateway.binary.path("folder")).unwrap();
    let next = document.replace(key, "api_key = { file = \"folder\" }");
    gateway.binary.write("next.toml", &next);
    let output = gateway.command(&["config", "check", "next.toml"]).await;
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("the secret in file folder: is not a regular file"), "{printed}");
    let output = gateway.command(&["config", "check", "next.toml", "--json"]).await;
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("is not a regular file"), "{printed}");

    gateway.binary.write("providers.toml", &next);
    let told = eventually("the file is refused", async || {
        let said = admin.get("/v1/providers").await.expect(200).body;
        let refusal = said["configuration"]["last_refusal"].clone();
        refusal.is_object().then(|| refusal.to_string())
    })
    .await;
    assert!(told.contains("secret-unresolved") && !told.contains("regular file"), "{told}");
    assert!(gateway.log().contains("the secret in file folder: is not a regular file"));
    gateway.finish().await;
}

#[tokio::test]
async fn a_document_has_no_more_connections_than_some_for_its_checks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (open, seen) = (Arc::new(Mutex::new((0, 0))), Arc::new(Mutex::new(0)));
    let (counted, all) = (open.clone(), seen.clone());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counted = counted.clone();
            *all.lock().unwrap() += 1;
            let now = {
                let mut counted = counted.lock().unwrap();
                counted.0 += 1;
                *counted
            };
            counted.lock().unwrap().1 = now.1.max(now.0);
            tokio::spawn(async move {
                // Never answers: until the other side gives up.
                while stream.read(&mut [0; 4096]).await.is_ok_and(|length| length > 0) {}
                counted.lock().unwrap().0 -= 1;
            });
        }
    });
    let gateway = Gateway::start().await;
    let admin = gateway.caller("admin", &[]).await;
    let silent = |n| {
        format!(
            "\n[providers.silent-{n}]\nkind = \"securegate\"\nbase_url = \"{url}\"\n\
             api_key = \"a-key-{n}-of-nobody\"\nevent_id = \"e{n}\"\n\
             authentication_method = \"QR Code\"\n[providers.silent-{n}.limits]\ntimeout = \"1s\"\n"
        )
    };
    let document: String = (0..40).map(silent).collect();
    let found = check(&admin, &document, "?probe=true").await;
    let codes: Vec<_> = found["findings"].as_array().unwrap().iter().collect();
    let unchecked = codes.iter().filter(|it| it["code"] == "credential-not-checked").count();
    assert_eq!((unchecked, *seen.lock().unwrap()), (40, 40), "{found}");
    let most = open.lock().unwrap().1;
    assert!((2..=16).contains(&most), "{most}");
    gateway.finish().await;
}
