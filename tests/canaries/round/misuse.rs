//! What is wrong with what callers send, and what is sent by who is none.

use invite_tests::invites;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::Round;
use crate::people::{
    self, DOMAIN, EXTERNAL_ID, FIRST_NAME, LABEL, LAST_NAME, LOCAL, PHONE, WRONG_KEY, person,
};

impl Round {
    /// What is wrong with what callers send.
    pub async fn refuses(&self) {
        let own = self.gateway.client();
        let wrong = |member: &str, value: Value| {
            let mut person = person(0);
            person[member] = value;
            invites("berlin-summit", [person])
        };
        let phone: u64 = PHONE[1..].parse().unwrap();
        for body in [
            wrong("email", json!(format!("{LOCAL}@{DOMAIN}@{DOMAIN}"))),
            wrong("email", json!([LOCAL, DOMAIN])),
            wrong("first_name", json!({ FIRST_NAME.to_lowercase(): 1 })),
            wrong("last_name", json!(LAST_NAME.repeat(100))),
            wrong("phone", json!(phone)),
            wrong("phone", json!(format!("{PHONE}x"))),
            wrong("message", json!([people::MESSAGE])),
            wrong("external_id", json!(EXTERNAL_ID.repeat(100))),
            wrong("labels", json!({ "ward": [LABEL] })),
            wrong("labels", json!(LABEL)),
            wrong("frist_name", json!(FIRST_NAME)),
            wrong(
                "options",
                json!({ "securegate": { "event_id": format!("{LOCAL}/x"), "notify": PHONE } }),
            ),
            wrong("options", json!({ "turnkey": { "receiver_user_name": [LAST_NAME] } })),
            wrong("to", json!([LAST_NAME, 1])),
            json!({ "on_duplicate": LAST_NAME, "invites": PHONE }),
        ] {
            // A member may be called anything, and is told by its name.
            if !body.to_string().contains(&FIRST_NAME.to_lowercase()) {
                self.ear.own("a POST of what is wrong", &own.post("/v1/invites", &body).await);
            }
        }
        for text in [
            format!("{{\"email\": {LOCAL}@{DOMAIN}}}"),
            format!("{{\"email\": \"{LOCAL}@{DOMAIN}"),
            format!("{LAST_NAME},{PHONE}"),
        ] {
            let request = own.request("POST", "/v1/invites").bytes(text);
            let answer = request.header("content-type", "application/json").send().await;
            self.ear.own("a POST of no JSON", &answer);
        }
        let request = own.request("POST", "/v1/invites").bytes(format!("email={LOCAL}@{DOMAIN}"));
        self.ear.own("a POST of a form", &request.send().await);
        for path in [
            format!("/v1/invites?email={LOCAL}%40{DOMAIN}&external_id={EXTERNAL_ID}"),
            format!(
                "/v1/invites?email={LOCAL}&label={LABEL}&status={LAST_NAME}&cursor={FIRST_NAME}"
            ),
            format!("/v1/invites?limit={LAST_NAME}&created_after={FIRST_NAME}&batch_id={LOCAL}"),
            format!("/v1/invites/{LOCAL}%40{DOMAIN}"),
            format!("/v1/invites/{LAST_NAME}/attempts?limit={FIRST_NAME}"),
            format!("/v1/batches/{LAST_NAME}"),
            format!("/{LAST_NAME}/{FIRST_NAME}"),
            format!("/v1/providers/{LAST_NAME}"),
        ] {
            self.ear.own("a GET of what is nothing", &own.get(&path).await);
        }
    }

    /// What is sent by who has no key, or does not speak HTTP.
    pub async fn is_misused(&self) {
        let own = self.gateway.client();
        self.ear.any("a wrong key", &own.with_key(WRONG_KEY).get("/v1/invites").await);
        for (name, value) in [
            ("authorization", format!("Basic {WRONG_KEY}")),
            ("x-request-id", WRONG_KEY.to_owned()),
            ("x-api-key", WRONG_KEY.to_owned()),
            ("cookie", format!("key={WRONG_KEY}")),
            ("traceparent", format!("00-{WRONG_KEY}-{LAST_NAME}-01")),
            ("prefer", format!("wait={WRONG_KEY}, handling={LAST_NAME}")),
            ("if-none-match", format!("\"{WRONG_KEY}")),
            ("user-agent", LAST_NAME.to_owned()),
            ("referer", format!("https://{DOMAIN}/{LOCAL}")),
        ] {
            let own = if name == "authorization" { own.without_key() } else { own.clone() };
            let answer = own.request("GET", "/v1/invites?limit=1").header(name, &value);
            self.ear.own("a GET with an odd header", &answer.send().await);
        }
        let path = format!("/v1/invites?api_key={WRONG_KEY}");
        self.ear.any("a key in the address", &own.without_key().get(&path).await);
        let long = format!("{LAST_NAME}{WRONG_KEY}").repeat(2000);
        for sent in [
            format!("GET /{LAST_NAME} HTTP/7.3\r\nhost: {DOMAIN}\r\n\r\n"),
            format!("{LAST_NAME} {FIRST_NAME}\r\n\r\n"),
            format!("GET /{long} HTTP/1.1\r\nhost: g\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {long}\r\n\r\n"),
            format!(
                "GET / HTTP/1.1\r\nho st: {LAST_NAME}\r\nauthorization: Bearer {WRONG_KEY}\r\n\r\n"
            ),
            format!(
                "POST /v1/invites HTTP/1.1\r\nhost: {LAST_NAME} x\r\ncontent-length: x\r\n\r\n{LOCAL}@{DOMAIN}"
            ),
            format!(
                "POST / HTTP/1.1\r\nhost: g\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{LAST_NAME}\r\n"
            ),
        ] {
            let address = self.gateway.url().replace("http://", "");
            let mut stream = TcpStream::connect(address).await.unwrap();
            // It may have hung up before all of it was sent.
            let _ = stream.write_all(sent.as_bytes()).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            self.ear.hear("the answer to what is no request", answer);
        }
    }
}
