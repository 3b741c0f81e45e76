//! What administrators and operators do, and what they do wrong.

use std::fs;

use invite_sandbox::accounts;
use invite_tests::{Answer, Database, eventually};
use serde_json::json;

use super::Round;
use crate::{
    canary::Of,
    people::{DOMAIN, EXTERNAL_ID, LABEL, LOCAL, PASTED, SPOILT, WRONG_KEY},
};

const TOML: &str = "application/toml";

impl Round {
    async fn send_document(&self, method: &str, path: &str, document: &str) -> Answer {
        let request = self.admin.request(method, path).bytes(document).header("content-type", TOML);
        request.header("if-match", "*").send().await
    }

    /// What administrators do.
    pub async fn is_administered(&self) {
        let admin = &self.admin;
        let document = admin.get("/v1/admin/config").await.expect(200).text;
        self.ear.hear("the live document", document.clone());
        let kinds = |from: &str, to: &str| document.replacen(from, to, 1);
        for candidate in [
            kinds("api_key = { file = \"given-api_key\" }", &format!("api_key = \"{PASTED}\""))
                .replace("http://127.0.0.1", "https://198.51.100.1"),
            kinds("api_key = { file = \"given-api_key\" }", &format!("api_key = {PASTED}")),
            kinds("api_key = ", &format!("api_kye = \"{PASTED}\"\napi_key = ")),
            kinds("file = \"given-api_key\"", &format!("env = \"{PASTED}")),
            kinds("event_id = \"event-456\"", &format!("event_id = [\"{PASTED}\"]")),
            format!("[providers.x]\nkind = \"turnkey\"\napi_private_key = '''{PASTED}"),
        ] {
            for path in ["/v1/admin/config/check", "/v1/admin/config/check?probe=true"] {
                let checked = self.send_document("POST", path, &candidate).await;
                // The difference is made of the lines that were sent.
                let mut told = checked.body.clone();
                if let Some(told) = told.as_object_mut() {
                    told.remove("diff");
                }
                self.ear.hear("a check", format!("{:?}\n{told}", checked.headers));
            }
            self.ear.any(
                "a document",
                &self.send_document("PUT", "/v1/admin/config", &candidate).await,
            );
        }
        let noted = format!("{document}\n# another\n");
        self.ear.any("a document", &self.send_document("PUT", "/v1/admin/config", &noted).await);
        for path in ["/v1/admin/config/revisions/1/restore", "/v1/admin/config/revisions/9/restore"]
        {
            self.ear.any("a restore", &admin.request("POST", path).send().await);
        }
        let body = json!({ "name": "ops", "scopes": ["invites:read"], "tenant": "acme" });
        let made = admin.post("/v1/admin/keys", &body).await.expect(201);
        let (id, key) = (made.body["id"].as_str().unwrap(), made.body["key"].as_str().unwrap());
        self.ear.keep(Of::Gateway, "a new API key", key);
        for wrong in [json!({ "name": [WRONG_KEY] }), json!({ "name": "x", "scopes": [WRONG_KEY] })]
        {
            self.ear.any("a wrong key's making", &admin.post("/v1/admin/keys", &wrong).await);
        }
        let change = json!({ "requests_per_second": 5 });
        self.ear.any("a key", &admin.patch(&format!("/v1/admin/keys/{id}"), &change).await);
        self.ear.any("a key", &admin.delete(&format!("/v1/admin/keys/{id}")).await);
        let ended = self.gateway.client().with_key(key).get("/v1/invites").await;
        self.ear.any("an ended key", &ended);
        let redrive = format!(
            "/v1/admin/redrive?email={LOCAL}%2B1%40{DOMAIN}&external_id={EXTERNAL_ID}&label=ward:{LABEL}"
        );
        self.ear.any("a redrive", &admin.request("POST", &redrive).send().await);
        // Who gave the label is shown it; the record, which is heard below, is not.
        let filter = json!({ "label": { "ward": LABEL }, "error_code": ["already-held"] });
        let none = json!({ "action": "retry", "filter": filter, "confirm": 0 });
        admin.post("/v1/invites/actions", &none).await.expect(202);
        self.hear_the_administrator().await;
    }

    pub async fn hear_the_administrator(&self) {
        for path in [
            "/v1/admin/audit?limit=200",
            "/v1/admin/keys",
            "/v1/admin/config",
            "/v1/admin/config/revisions",
            "/v1/admin/config/revisions/1",
            "/v1/providers",
            "/v1/provider-kinds",
            "/metrics",
        ] {
            self.ear.any(path, &self.admin.get(path).await);
        }
    }

    /// What an operator does with files, and with other commands of the program.
    pub async fn gets_wrong_files(&self, database: Database) {
        let file = self.gateway.binary.path("providers.toml");
        let document = fs::read_to_string(&file).unwrap();
        let pasted = document.replacen("{ file = \"given-api_key\" }", PASTED, 1);
        let misplaced =
            document.replacen("api_key =", &format!("api_kee = \"{PASTED}\"\napi_key ="), 1);
        for wrong in [pasted, misplaced] {
            let before = self.gateway.log().len();
            fs::write(&file, wrong).unwrap();
            self.gateway.hang_up();
            // With PostgreSQL the file is read no more.
            if database == Database::Sqlite {
                eventually("the wrong document is refused", async || {
                    let log = self.gateway.log();
                    log[before..].contains("document is refused").then_some(())
                })
                .await;
            }
            for arguments in
                [&["config", "check"][..], &["config", "check", "--json"], &["config", "show"]]
            {
                let output = self.gateway.command(arguments).await;
                self.ear.hear("a command", [output.stdout, output.stderr].concat());
            }
            self.hear_the_administrator().await;
        }
        fs::write(&file, document).unwrap();
        for spoilt in [format!("{SPOILT}\u{7}{SPOILT}"), String::new(), SPOILT.to_owned()] {
            self.gateway.binary.write_secret("given-api_key", &spoilt);
            self.hear_the_administrator().await;
            let probe = self.admin.request("POST", "/v1/admin/providers/berlin-summit/probe");
            self.ear.any("a probe", &probe.send().await);
            let output = self.gateway.command(&["probe", "berlin-summit"]).await;
            self.ear.hear("a command", [output.stdout, output.stderr].concat());
        }
        self.gateway.binary.write_secret("given-api_key", accounts::SECUREGATE_API_KEY);
        for arguments in [&["keys", "list"][..], &["keys", "revoke", WRONG_KEY], &["openapi"]] {
            let output = self.gateway.command(arguments).await;
            let told = String::from_utf8_lossy(&output.stderr).replace(WRONG_KEY, "");
            // What was typed may be repeated to who typed it.
            self.ear.hear("a command", [output.stdout, told.into_bytes()].concat());
        }
    }
}
