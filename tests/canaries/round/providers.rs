//! What providers answer, and whether they do.

use invite_sandbox::accounts;
use invite_tests::{Answer, invites};
use serde_json::{Value, json};

use super::{PROVIDERS, Round};
use crate::people::{DOMAIN, EXTRA, LAST_NAME, echo, echo_of_nobody, person};

impl Round {
    /// What providers answer, and whether they do: with all of what they were sent, and more.
    pub async fn is_let_down(&mut self) {
        for (provider, simulator, member, secret) in PROVIDERS {
            // The others' keys are not in the requests for invites: one signs, one asks for tokens.
            let secret = if member == "api_key" { secret } else { "none" };
            let said = echo(secret);
            let bodies = [
                json!(said),
                json!({ "detail": said, "message": said, "error": said, "code": 3, "turnkeyErrorCode": said,
                    "error_description": said }),
                json!({ "detail": [{ "loc": ["body", "invites", 0, "email"], "msg": said }] }),
                json!({ "detail": format!("{EXTRA}: {said}"), "message": format!("{EXTRA}: {said}") }),
            ];
            let mut rules = vec![
                json!({ "kind": "cut_before" }),
                json!({ "kind": "cut_after" }),
                json!({ "kind": "cut_mid_body" }),
                json!({ "kind": "reset_before_read" }),
                json!({ "kind": "garbage_before", "body": said }),
                json!({ "kind": "garbage_after", "body": said }),
                json!({ "kind": "rate_limited", "retry_after": "100ms" }),
                json!({ "kind": "quota" }),
                json!({ "kind": "redirect", "location": format!("https://{DOMAIN}/{LAST_NAME}") }),
                json!({ "kind": "status_after", "status": 502, "body": said }),
            ];
            for status in [200, 400, 401, 403, 404, 409, 422, 429, 500, 503] {
                for body in &bodies {
                    rules.push(json!({ "kind": "status_before", "status": status, "body": body }));
                }
            }
            let at_simulator = &self.gateway.simulators;
            let mut posted = Vec::new();
            for mut rule in rules {
                (rule["times"], rule["operation"]) = (json!(1), json!("create"));
                at_simulator.break_down(simulator, rule).await;
                self.people += 1;
                let mut guest = person(self.people);
                guest["options"] = json!({ simulator: { "extra": { "nickname": EXTRA } } });
                let body = invites(provider, [guest]);
                let request = self.gateway.client().request("POST", "/v1/invites").json(&body);
                let answer = request.header("prefer", "wait=1").send().await;
                self.ear.own("a POST of invites", &answer);
                posted.extend(answer.invites());
                self.hear_of_providers().await;
                at_simulator.recover(simulator).await;
            }
            self.asks_under_faults(provider, simulator, secret, &posted[0]).await;
            let probe = format!("/v1/admin/providers/{provider}/probe");
            self.ear.any("a probe", &self.admin.request("POST", &probe).send().await);
            for invite in &posted {
                self.ear.own("an invite that failed", &self.look_at(invite).await);
            }
        }
    }

    /// A token endpoint gets the client's secret, and may tell what it got.
    pub async fn gets_no_token(&mut self) {
        let said = echo_of_nobody(accounts::RKVST_CLIENT_SECRET);
        let in_a_form = accounts::RKVST_CLIENT_SECRET.replace('+', "%2B");
        let encoded = echo_of_nobody(&in_a_form.replace('/', "%2F").replace('=', "%3D"));
        for (status, said) in
            [(400, &said), (401, &said), (500, &said), (200, &said), (401, &encoded)]
        {
            let body = json!({ "error": said, "error_description": said, "message": said });
            let expired = json!({ "kind": "status_before", "operation": "create", "status": 401 });
            let refused = json!({
                "kind": "status_before", "operation": "token", "status": status, "body": body,
            });
            self.gateway.simulators.break_down("rkvst", expired).await;
            self.gateway.simulators.break_down("rkvst", refused).await;
            self.post("acme-tenancy", "wait=1").await;
            let probe = "/v1/admin/providers/acme-tenancy/probe";
            self.ear.any("a probe", &self.admin.request("POST", probe).send().await);
            self.hear_of_providers().await;
            self.gateway.simulators.recover("rkvst").await;
        }
    }

    async fn look_at(&self, invite: &Value) -> Answer {
        let path = format!("/v1/invites/{}", invite["id"].as_str().unwrap());
        self.gateway.client().get(&path).await
    }

    /// What an invite's error says is told to its caller too, and to whoever reads about providers.
    pub async fn hear_of_providers(&self) {
        self.ear.any("GET /v1/providers", &self.admin.get("/v1/providers").await);
        self.ear.other("GET /v1/providers", &self.other.get("/v1/providers").await);
    }

    /// Every other call to a provider, while it refuses them with all that it knows.
    async fn asks_under_faults(
        &self,
        provider: &str,
        simulator: &str,
        secret: &str,
        invite: &Value,
    ) {
        let own = self.gateway.client();
        let path = format!("/v1/invites/{}", invite["id"].as_str().unwrap());
        let probe = format!("/v1/admin/providers/{provider}/probe");
        let list = format!("/v1/providers/{provider}/invites");
        for status in [200, 400, 401, 403, 404, 422, 500] {
            let rule = |said: String| {
                let body = json!({ "detail": said, "message": said, "error": said });
                json!({ "kind": "status_before", "status": status, "body": body })
            };
            let simulators = &self.gateway.simulators;
            simulators.break_down(simulator, rule(echo(secret))).await;
            for (method, path) in [
                ("POST", format!("{path}/refresh")),
                ("DELETE", path.clone()),
                ("POST", format!("{path}/retry")),
            ] {
                self.ear.own("a change", &own.request(method, &path).send().await);
            }
            simulators.recover(simulator).await;
            simulators.break_down(simulator, rule(echo_of_nobody(secret))).await;
            self.ear.any("a probe", &self.admin.request("POST", &probe).send().await);
            self.ear.any("a provider's list", &self.admin.get(&list).await);
            self.hear_of_providers().await;
            simulators.recover(simulator).await;
        }
    }
}
