//! One request to a webhook, signed as Standard Webhooks says (<https://www.standardwebhooks.com>).

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderName, HeaderValue, Method};
use invite_core::{
    EventId,
    http::{CallContext, HttpClient, Request},
    text::{cut, legible},
};
use invite_store::{Webhook, WebhookAttempt};
use jiff::Timestamp;
use sha2::Sha256;
use tokio::time::Instant;
use url::Url;

use crate::shared::Shared;

/// How long an endpoint has to answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How much is read of a reply, in bytes.
const READ: usize = 64 * 1024;
/// How much is kept of it.
const KEPT: usize = 1024;
/// The longest wait that an endpoint may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// What is sent.
pub(super) struct Payload {
    pub event: EventId,
    /// Which attempt it is for this event, from 1 on.
    pub number: u32,
    pub body: Vec<u8>,
}

/// Sends a request, and tells what came of it and for how long the endpoint asks to be left alone.
pub(super) async fn send(
    shared: &Shared,
    client: &HttpClient,
    webhook: &Webhook,
    payload: Payload,
) -> (WebhookAttempt, Option<Duration>) {
    let Payload { event, number, body } = payload;
    let now = shared.clock.now();
    // The receiver compares it with its own clock. The store's makes up for a step of the machine's only slowly, and for as long
    // as it is off everything would be refused.
    let signed_at = shared.clock.wall();
    let mut attempt = WebhookAttempt {
        event,
        number,
        at: now,
        took: Duration::ZERO,
        http_status: None,
        failure: None,
        reply: None,
    };
    // The settings may allow less than when it was made.
    let checked = shared.document.gate().check_webhook_url(&webhook.url).map_err(|it| it.detail);
    let url = checked.and_then(|()| Url::parse(&webhook.url).map_err(|error| error.to_string()));
    let url = match url {
        Ok(url) => url,
        Err(why) => {
            attempt.failure = Some(why);
            return (attempt, None);
        }
    };
    let signature = sign(webhook, event, now, signed_at, &body);
    let mut request = Request { body_cap: READ, ..Request::new(Method::POST, url).json(body) };
    let headers = [
        ("webhook-id", event.to_string()),
        ("webhook-timestamp", signed_at.as_second().to_string()),
        ("webhook-signature", signature),
    ];
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            request.headers.insert(HeaderName::from_static(name), value);
        }
    }
    let began = Instant::now();
    let context = CallContext::new(TIMEOUT);
    let sent = client.send(&context, request).await;
    attempt.took = began.elapsed();
    match sent {
        Ok(reply) => {
            attempt.http_status = Some(reply.status.as_u16());
            let text = String::from_utf8_lossy(&reply.body);
            attempt.reply =
                Some(cut(legible(text.into_owned()), KEPT)).filter(|text| !text.is_empty());
        }
        Err(error) => {
            attempt.http_status = error.http_status;
            attempt.failure = Some(error.message);
        }
    }
    // An answer counts by its status, also if not all of it could be read.
    if let Some(status) = attempt.http_status {
        let is_taken = (200..300).contains(&status);
        attempt.failure = (!is_taken).then(|| match status {
            300..400 => format!("it answered {status}; redirects are not followed"),
            _ => format!("it answered {status}"),
        });
    }
    let asks_to_wait = matches!(attempt.http_status, Some(429 | 502..=504));
    let wait = context.retry_after().filter(|_| asks_to_wait);
    (attempt, wait.map(|wait| wait.min(LONGEST_WAIT)))
}

/// A signature by each secret that is good now, by the store's clock, of a request that is `signed_at` a time of the wall clock.
fn sign(
    webhook: &Webhook,
    event: EventId,
    now: Timestamp,
    signed_at: Timestamp,
    body: &[u8],
) -> String {
    let good = webhook.secrets.iter().filter(|secret| secret.until.is_none_or(|until| until > now));
    let signatures = good.filter_map(|secret| {
        let key = BASE64_STANDARD.decode(&secret.key).ok()?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
        mac.update(format!("{event}.{}.", signed_at.as_second()).as_bytes());
        mac.update(body);
        Some(format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes())))
    });
    signatures.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use invite_core::WebhookId;
    use invite_store::SigningSecret;

    use super::*;

    #[test]
    fn what_is_signed_is_signed_by_each_good_secret() {
        let secret = |key: &str, until: Option<&str>| SigningSecret {
            key: key.to_owned(),
            until: until.map(|until| until.parse().unwrap()),
        };
        let now: Timestamp = "2021-02-25T14:57:31Z".parse().unwrap();
        let off: Timestamp = "2021-02-26T14:57:31Z".parse().unwrap();
        let webhook = Webhook {
            id: WebhookId::generate(),
            tenant: String::new(),
            url: String::new(),
            description: None,
            types: Vec::new(),
            providers: Vec::new(),
            labels: Vec::new(),
            is_thin: false,
            secrets: vec![
                secret("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", None),
                secret("plJ3nmyCDGBKInavdOK15jsl", Some("2021-02-25T14:57:32Z")),
                secret("aaaa", Some("2021-02-25T14:57:31Z")),
            ],
            disabled_because: None,
            failing_since: None,
            read_up_to: EventId::START,
            created_at: now,
        };
        let body = b"{\"test\": 2432232314}";
        let signature = sign(&webhook, EventId::of(1024), now, now, body);
        // By `openssl dgst -sha256 -hmac` over `evt_0000000000000400.1614265051.{"test": 2432232314}`.
        assert_eq!(
            signature,
            "v1,0CexZTSMkUcViPaPYo3YVcvIlR7boQ0PCE7H5lQ6Oow= v1,uagqjeBmdKqKlZaPa7K3vz+jGqLqV6i/vr3/XxvmBtY="
        );
        // Whatever the wall clock shows, the secrets end by the store's.
        let a_day_on = sign(&webhook, EventId::of(1024), now, off, body);
        assert_ne!(a_day_on, signature);
        assert_eq!(a_day_on.matches("v1,").count(), 2);
    }
}
