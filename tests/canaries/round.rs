//! A gateway's life in a few minutes: what callers and administrators do, what providers answer, what is
//! sent by people who mean harm, and how it ends.

mod misuse;
mod operators;
mod providers;

use std::fs;

use invite_sandbox::accounts;
use invite_tests::{Answer, Client, Database, Gateway, eventually, invites};
use serde_json::{Value, json};

use crate::{
    canary::Of,
    ear::Ear,
    people::{self, DOMAIN, EXTERNAL_ID, LAST_NAME, LOCAL, person},
};

/// Each provider with its simulator, the member that holds its secret, and the secret.
const PROVIDERS: [(&str, &str, &str, &str); 3] = [
    ("berlin-summit", "securegate", "api_key", accounts::SECUREGATE_API_KEY),
    ("acme-tenancy", "rkvst", "client_secret", accounts::RKVST_CLIENT_SECRET),
    ("treasury", "turnkey", "api_private_key", accounts::TURNKEY_API_PRIVATE_KEY),
];
/// The gateway, who calls it, and who listens.
struct Round {
    gateway: Gateway,
    ear: Ear,
    admin: Client,
    /// Of another tenant.
    other: Client,
    /// How many people there have been.
    people: usize,
}

/// Takes a gateway through everything, and fails if anything was found where it does not belong.
pub async fn go_round(database: Database, log_format: &str) {
    let mut round = Round::start(database, log_format).await;
    round.accepts().await;
    round.refuses().await;
    round.is_misused().await;
    round.is_let_down().await;
    round.gets_no_token().await;
    round.changes().await;
    round.is_administered().await;
    round.gets_wrong_files(database).await;
    round.shows_others().await;
    round.dies().await;
    if database == Database::Sqlite {
        round.runs_out_of_disk().await;
    }
    round.ends().await;
}

impl Round {
    async fn start(database: Database, log_format: &str) -> Self {
        let ear = Ear::default();
        people::keep(&ear);
        let builder = Gateway::builder().database(database).setting("log.filter", "trace");
        let mut builder = builder.setting("log.format", log_format);
        // Never in the document itself, as it should be.
        for (provider, _, member, secret) in PROVIDERS {
            let written = format!("\"{{{}}}\"", word(member));
            let file = format!("given-{member}");
            let limits = format!("[providers.{provider}.limits]");
            builder = builder
                .replace(&limits, &format!("allow_extra = true\n{limits}"))
                .replace(&written, &format!("{{ file = \"{file}\" }}"))
                .secret(&file, secret);
            ear.keep(Of::Gateway, &format!("the provider secret {member}"), secret);
        }
        let gateway = builder.start().await;
        let admin = gateway.caller("admin", &[]).await;
        let scopes = "invites:write,invites:read,invites:raw,invites:codes,providers:read";
        let other = gateway.caller(scopes, &["--tenant", "other"]).await;
        for (name, key) in [
            ("an API key", gateway.client().key()),
            ("an administrator's", admin.key()),
            ("another tenant's", other.key()),
        ] {
            ear.keep(Of::Gateway, name, &key);
        }
        Self { gateway, ear, admin, other, people: 0 }
    }

    /// Somebody who was never invited.
    fn somebody(&mut self) -> Value {
        self.people += 1;
        person(self.people)
    }

    async fn post(&mut self, to: &str, prefer: &str) -> Answer {
        let body = invites(to, [self.somebody()]);
        let request = self.gateway.client().request("POST", "/v1/invites").json(&body);
        let answer = request.header("prefer", prefer).send().await;
        self.ear.own("a POST of invites", &answer);
        answer
    }

    /// What callers do every day.
    async fn accepts(&mut self) {
        let own = self.gateway.client().clone();
        for (provider, ..) in PROVIDERS {
            let invite = self.post(provider, "wait=20").await.expect(201).invites().remove(0);
            let path = format!("/v1/invites/{}", invite["id"].as_str().unwrap());
            for path in [path.clone(), format!("{path}/attempts")] {
                self.ear.own(&path, &own.get(&path).await.expect(200));
            }
            for code in ["session_code", "session_id"] {
                if let Some(code) = invite["provider_data"][code].as_str() {
                    self.ear.keep(Of::Person, "a code that lets in", code);
                }
            }
        }
        let batch = json!({ "to": "berlin-summit", "on_duplicate": "reuse", "invites": [
            self.somebody(), { "email": format!("{LOCAL} {DOMAIN}") }, person(1),
        ] });
        for headers in
            [vec![("prefer", "handling=lenient")], vec![("idempotency-key", EXTERNAL_ID)]]
        {
            for body in [&batch, &batch, &invites("treasury", [person(1)])] {
                let mut request = own.request("POST", "/v1/invites").json(body);
                for (name, value) in &headers {
                    request = request.header(name, value);
                }
                self.ear.own("a POST of a batch", &request.send().await);
            }
        }
        let planned = own.post("/v1/invites?dry_run=true", &invites("treasury", [person(0)])).await;
        self.ear.own("a dry run", &planned);
    }

    /// What becomes of invites.
    async fn changes(&mut self) {
        let own = self.gateway.client().clone();
        for (provider, ..) in PROVIDERS {
            let invite = self.post(provider, "wait=20").await.invites().remove(0);
            let path = format!("/v1/invites/{}", invite["id"].as_str().unwrap());
            for status in ["accepted", LAST_NAME] {
                self.ear.own("a PATCH", &own.patch(&path, &json!({ "status": status })).await);
            }
            self.ear.own("a PATCH", &own.patch(&path, &json!({ "sttus": LAST_NAME })).await);
            let body = own.request("DELETE", &path).json(&json!(LAST_NAME));
            self.ear.own("a DELETE with a body", &body.send().await);
            for (method, path) in [
                ("POST", format!("{path}/refresh")),
                ("DELETE", format!("{path}?force={LAST_NAME}")),
                ("DELETE", format!("{path}?force=true")),
                ("POST", format!("{path}/retry")),
            ] {
                self.ear.own("a change", &own.request(method, &path).send().await);
            }
        }
        // An approval, which a person gives at Turnkey.
        self.gateway.simulators.set("turnkey", json!({ "votes_needed": 2 })).await;
        self.post("treasury", "wait=1").await;
        self.gateway.simulators.set("turnkey", json!({ "votes_needed": 1 })).await;
    }

    /// What another tenant's key reads, and what it is told when it invites the same people.
    async fn shows_others(&mut self) {
        let invite = self.post("treasury", "wait=20").await;
        let (invite, batch) = (invite.invites().remove(0), invite.body["batch"]["id"].clone());
        let path = format!("/v1/invites/{}", invite["id"].as_str().unwrap());
        let other = &self.other;
        for path in [
            "/v1/invites?limit=200".to_owned(),
            path.clone(),
            format!("{path}/attempts"),
            format!("/v1/batches/{}", batch.as_str().unwrap_or_default()),
            "/v1/providers/treasury".to_owned(),
            "/v1/providers/treasury/invites".to_owned(),
            "/v1/admin/audit".to_owned(),
            "/metrics".to_owned(),
        ] {
            self.ear.other("GET", &other.get(&path).await);
        }
        for (method, path) in [
            ("DELETE", path.clone()),
            ("POST", format!("{path}/refresh")),
            ("POST", format!("{path}/retry")),
        ] {
            self.ear.other("change", &other.request(method, &path).send().await);
        }
        let email = person(self.people)["email"].clone();
        for on_duplicate in ["reject", "reuse", "allow"] {
            let body = json!({ "to": "treasury", "on_duplicate": on_duplicate, "invites": [
                { "email": email, "first_name": "Somebody", "last_name": "Else" },
            ] });
            let answer = other.post("/v1/invites", &body).await;
            // The address is its own.
            self.ear.other_but("duplicate", &answer, email.as_str().unwrap());
        }
    }

    /// It is killed while calls are under way, and told to stop.
    async fn dies(&mut self) {
        for kind in ["silent_before", "silent_after", "silent_mid_body", "cut_after"] {
            for (provider, simulator, ..) in PROVIDERS {
                let rule = json!({ "kind": kind, "operation": "create", "times": 1 });
                self.gateway.simulators.break_down(simulator, rule).await;
                self.post(provider, "respond-async").await;
            }
            self.gateway.kill().await;
            self.gateway.start_again().await;
            for (_, simulator, ..) in PROVIDERS {
                self.gateway.simulators.recover(simulator).await;
            }
            let arguments = self.gateway.process_file("cmdline");
            self.ear.hear("the arguments", arguments);
            self.hear_the_administrator().await;
        }
        assert!(self.gateway.stop().await.success());
        self.gateway.start_again().await;
    }

    async fn runs_out_of_disk(&mut self) {
        assert!(self.gateway.stop().await.success());
        let length = fs::metadata(self.gateway.binary.path("invites.db")).unwrap().len() / 1024;
        // The log's file has no room any more, and what is told is told in answers.
        self.gateway.binary.set_variable("INVITE_GATEWAY__LOG__FILTER", "off");
        self.gateway.binary.limit_files(Some(u32::try_from(length).unwrap() + 200));
        self.gateway.start_again().await;
        let full = eventually("the disk is full", async || {
            let answer = self.post("treasury", "respond-async").await;
            (answer.status == 503).then_some(answer)
        })
        .await;
        self.ear.any("a POST to a full disk", &full);
        self.gateway.kill().await;
        self.gateway.binary.limit_files(None);
        self.gateway.binary.set_variable("INVITE_GATEWAY__LOG__FILTER", "trace");
        self.gateway.start_again().await;
    }

    async fn ends(mut self) {
        self.hear_the_administrator().await;
        assert!(self.gateway.stop().await.success());
        self.ear.finds_nothing(&self.gateway);
        self.gateway.finish().await;
    }
}

/// The word in braces for a provider's secret in the document of the tests.
fn word(member: &str) -> &'static str {
    match member {
        "api_key" => "SECUREGATE_API_KEY",
        "client_secret" => "RKVST_CLIENT_SECRET",
        _ => "TURNKEY_API_PRIVATE_KEY",
    }
}
