//! That a fourth kind of provider takes what docs/adding-a-provider.md says and nothing else: a
//! gateway in this process that knows the real kinds and the made-up `postcard`, whose
//! adapter and simulator are in the folder of that name.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use invite_config::{Gate, Live, Rules};
use invite_core::{Clock, KeyId, ProviderKind, SystemClock};
use invite_delivery::{Engine, LiveDocument, Settings};
use invite_http::{Gateway, Limits, generate_key, hash_key};
use invite_store::{Actor, ApiKey, KeyLimits, Store};
use invite_tests::{Answer, Client, eventually, invites, person};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    postcard::{
        self,
        simulator::{Cut, PostOffice},
    },
    text, texts,
};

const TOKEN: &str = "penny-black-1840";
const LEASE: Duration = Duration::from_secs(6);
const DOCUMENT: &str = r#"
[providers.alpine-post]
kind = "postcard"
base_url = "{URL}"
token = "penny-black-1840"
motif = "harbour"

[providers.alpine-post.limits]
timeout = "2s"
requests_per_second = 1000
retry = { first = "50ms", max = "300ms" }

[[routes]]
to = ["alpine-post"]
"#;

/// What the registry would have after its one more line.
fn kinds() -> Vec<Arc<ProviderKind>> {
    let mut kinds = invite_kinds::all();
    kinds.push(Arc::new(postcard::kind()));
    kinds
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn gate() -> Gate {
    Gate::new(kinds(), Rules::new(LEASE, vec!["127.0.0.1".to_owned()]), clock())
}

/// A gateway before a post office.
struct House {
    office: PostOffice,
    client: Client,
    engine: Engine,
    store: Store,
    server: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl House {
    async fn start() -> Self {
        let office = PostOffice::open(TOKEN).await;
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("invites.db").display());
        let store = Store::open(&url, clock()).await.unwrap();
        let gate = gate();
        let checked = gate.check(&DOCUMENT.replace("{URL}", office.url()));
        assert!(checked.findings.is_empty(), "{:?}", checked.findings);
        let live = Live::new(checked.configuration.unwrap().with_revision(1));
        let settings = Settings {
            lease: LEASE,
            settle: Duration::from_millis(200),
            refresh: Duration::ZERO,
            shutdown_grace: Duration::from_secs(5),
            idempotency_retention: Duration::from_secs(3600),
            retention: invite_delivery::Retention::default(),
            webhook_give_up: Duration::from_secs(3600),
        };
        let gate = Arc::new(gate);
        let document = LiveDocument::new(store.clone(), gate.clone(), live, clock());
        let engine = Engine::start(document, clock(), settings).await.unwrap();
        let limits = Limits {
            max_invites_per_request: 100,
            max_body_bytes: 100_000,
            idempotency_retention: settings.idempotency_retention,
            max_waiting: 100,
        };
        let gateway = Gateway::new(engine.clone(), gate.kinds().to_vec(), clock(), limits).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = gateway.router();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let client = Client::connect(&url, &make_key(&store).await).await;
        Self { office, client, engine, store, server, _folder: folder }
    }

    /// Posts one invite and waits this many seconds at most for it to settle.
    async fn invite(&self, person: Value, seconds: u32) -> Answer {
        let request = self.client.request("POST", "/v1/invites");
        let request = request.json(&invites("alpine-post", [person]));
        request.header("prefer", &format!("wait={seconds}")).send().await
    }

    async fn provider(&self) -> Value {
        self.client.get("/v1/providers/alpine-post").await.expect(200).body
    }

    async fn outcomes(&self, invite: &Value) -> Vec<String> {
        let path = format!("/v1/invites/{}/attempts", text(invite, "id"));
        let attempts = self.client.get(&path).await.expect(200).list("attempts");
        let line = |it: &Value| format!("{} {}", text(it, "operation"), text(it, "outcome"));
        attempts.iter().map(line).collect()
    }

    async fn stop(self) {
        self.engine.shutdown().await;
        self.server.abort();
        self.store.close().await;
    }
}

async fn make_key(store: &Store) -> String {
    let secret = generate_key();
    let key = ApiKey {
        id: KeyId::generate(),
        hash: hash_key(&secret),
        name: "e2e".into(),
        tenant: "default".into(),
        scopes: vec!["admin".into()],
        providers: None,
        limits: KeyLimits::default(),
        created_at: SystemClock.now(),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
        parent: None,
    };
    let actor = Actor { name: "test".into(), source: "cli".into() };
    store.insert_key(&key, &actor).await.unwrap();
    secret
}

#[test]
fn the_adapter_has_the_files_that_the_page_names_and_no_others() {
    let page = include_str!("../../docs/adding-a-provider.md");
    let rows = page.lines().filter_map(|line| line.trim().strip_prefix("| `")?.split_once(" |"));
    let (mut always, mut known) = (BTreeSet::new(), BTreeSet::new());
    for (files, purpose) in rows {
        let files = files.split('`').filter(|name| name.contains('.'));
        known.extend(files.clone());
        if !purpose.contains("where there is something to do") {
            always.extend(files);
        }
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/postcard");
    let found = std::fs::read_dir(folder).unwrap();
    let found: BTreeSet<String> = found
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().replace("mod.rs", "lib.rs"))
        .filter(|name| name != "simulator.rs")
        .collect();
    let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(always.len(), 6, "{always:?}");
    assert!(always.is_subset(&found) && found.is_subset(&known), "{found:?}");
}

#[test]
fn a_document_with_the_fourth_kind_passes_the_gate_and_a_misspelt_key_does_not() {
    let document = DOCUMENT.replace("{URL}", "http://127.0.0.1:9");
    let checked = gate().check(&document);
    assert_eq!((checked.findings.len(), checked.configuration.is_some()), (0, true));

    let checked = gate().check(&document.replace("motif = ", "motive = "));
    assert!(checked.configuration.is_none());
    let [finding] = &checked.findings[..] else { unreachable!("{:?}", checked.findings) };
    assert_eq!(finding.pointer, "/providers/alpine-post/motive");
    assert_eq!((finding.line, finding.code.as_str()), (6, "unknown-member"));
    assert_eq!(finding.suggestion.as_deref(), Some("motif"));
}

#[tokio::test]
async fn an_invite_becomes_a_card_and_can_be_read_listed_and_withdrawn() {
    let house = House::start().await;
    let mut guest = person(1);
    guest["options"] = json!({ "postcard": { "motif": "lighthouse" } });
    let invite = house.invite(guest, 30).await.expect(201).invites().remove(0);
    assert_eq!((text(&invite, "status"), text(&invite, "provider_ref")), ("pending", "card-1"));
    let (kind, word) = (text(&invite, "provider_kind"), text(&invite, "provider_status"));
    assert_eq!((kind, word), ("postcard", "written"));
    let card = json!({
        "id": "card-1", "state": "written", "to": "guest1@example.org",
        "name": "Tamsin1 Quillfeather1", "text": "You are invited.", "motif": "lighthouse",
        "reference": text(&invite, "id"),
    });
    assert_eq!(house.office.cards(), [card]);

    let listed = house.client.get("/v1/providers/alpine-post/invites").await.expect(200).invites();
    assert_eq!(texts(&listed, "email"), ["guest1@example.org"]);
    let path = format!("/v1/invites/{}", text(&invite, "id"));
    let refreshed = house.client.request("POST", &format!("{path}/refresh")).send().await;
    assert_eq!(refreshed.expect(200).body["status"], "pending");
    assert_eq!(house.client.delete(&path).await.expect(200).body["status"], "revoked");
    assert_eq!(house.office.cards()[0]["state"], "cancelled");
    house.stop().await;
}

#[tokio::test]
async fn the_kinds_are_listed_with_the_fourth_and_its_schemas() {
    let house = House::start().await;
    let kinds = house.client.get("/v1/provider-kinds").await.expect(200).list("kinds");
    let known = self::kinds();
    assert_eq!(texts(&kinds, "kind"), known.iter().map(|kind| kind.name).collect::<Vec<_>>());
    let postcard = kinds.last().unwrap();
    let member = |schema: &str, member: &str| {
        postcard[schema]["properties"][member]["description"].as_str().map(str::to_owned)
    };
    assert_eq!(member("config_schema", "base_url").unwrap(), "Where the post office is.");
    assert_eq!(member("options_schema", "motif").unwrap(), "What the front of the card shows.");
    assert_eq!(postcard["capabilities"]["create"]["required_fields"], json!(["first_name"]));
    assert_eq!(text(&house.provider().await, "state"), "ready");
    house.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_an_invite_is_told_at_its_place() {
    let house = House::start().await;
    let mut guest = person(1);
    guest.as_object_mut().unwrap().remove("first_name");
    guest["options"] = json!({ "postcard": { "motif": "lighthose", "stamps": 2 } });
    let refused = house.invite(guest, 30).await.expect(422);
    let options = "#/invites/0/options/postcard";
    let expected = [
        "#/invites/0/first_name".to_owned(),
        format!("{options}/motif"),
        format!("{options}/stamps"),
    ];
    assert_eq!(refused.pointers(), expected);
    let errors = refused.list("errors");
    let motif = errors.iter().find(|error| text(error, "pointer").ends_with("/motif")).unwrap();
    assert_eq!(text(motif, "suggestion"), "lighthouse");
    assert_eq!(house.office.count("POST"), 0);
    house.stop().await;
}

#[tokio::test]
async fn what_the_fourth_kind_does_not_offer_is_told_without_asking_it() {
    let house = House::start().await;
    let invite = house.invite(person(1), 30).await.expect(201).invites().remove(0);
    let path = format!("/v1/invites/{}", text(&invite, "id"));
    let answer = house.client.patch(&path, &json!({ "status": "accepted" })).await;
    answer.problem(422, "unsupported-operation");
    assert_eq!((house.office.count("POST"), house.office.count("GET")), (1, 0));
    house.stop().await;
}

#[tokio::test]
async fn while_the_token_is_refused_the_provider_is_misconfigured_and_invites_wait() {
    let house = House::start().await;
    house.office.take_token("another");
    let invite = house.invite(person(1), 1).await.expect(202).invites().remove(0);
    // Now and then one create is tried; meanwhile the invite is not queued.
    let provider = eventually("the provider is misconfigured and the invite waits", async || {
        let provider = house.provider().await;
        (text(&provider, "state") == "misconfigured" && provider["queued"] == 1).then_some(provider)
    })
    .await;
    assert!(!provider.to_string().contains(TOKEN), "{provider}");
    assert!(house.office.cards().is_empty());

    house.office.take_token(TOKEN);
    house.client.read_once(&invite, &["pending"]).await;
    assert_eq!(house.office.cards().len(), 1);
    house.stop().await;
}

#[tokio::test]
async fn a_card_whose_reply_was_cut_off_is_found_and_not_written_again() {
    let house = House::start().await;
    house.office.cut(Cut::AfterTheEffect);
    let invite = house.invite(person(1), 30).await.expect(201).invites().remove(0);
    assert_eq!((text(&invite, "status"), text(&invite, "provider_ref")), ("pending", "card-1"));
    assert_eq!(house.outcomes(&invite).await, ["create unknown", "reconcile succeeded"]);
    assert_eq!((house.office.cards().len(), house.office.count("POST /cards")), (1, 1));
    house.stop().await;
}

#[tokio::test]
async fn a_card_that_was_never_written_is_written_once_it_is_surely_absent() {
    let house = House::start().await;
    house.office.cut(Cut::BeforeTheEffect);
    let invite = house.invite(person(1), 30).await.expect(201).invites().remove(0);
    assert_eq!((text(&invite, "status"), text(&invite, "provider_ref")), ("pending", "card-1"));
    let outcomes = house.outcomes(&invite).await;
    let looks = outcomes.iter().filter(|it| *it == "reconcile succeeded").count();
    assert!(looks >= 2, "{outcomes:?}");
    assert_eq!((house.office.cards().len(), house.office.count("POST /cards")), (1, 2));
    house.stop().await;
}
