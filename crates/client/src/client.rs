//! Making calls, and making them again.

use std::{fmt, time::Duration};

use http::{HeaderName, HeaderValue, StatusCode, header};
use invite_core::{
    InviteId, Outcome,
    http::{AddressGuard, CallContext, HttpClient, LIST_BODY_CAP, Request, Response},
};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep};
use url::{Host, Url};

use crate::{Answer, Call, Created, Error, Invite, Problem};

/// How long one call may take. A check with probes waits for every provider.
const TIMEOUT: Duration = Duration::from_secs(120);
/// For how long a call is made again unless it is said otherwise.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long is waited before a call is made again, where the gateway does not say: at first, and at most.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A client of one gateway, with one key. Clones share its connections.
#[derive(Clone)]
pub struct Client {
    http: HttpClient,
    url: Url,
    key: SecretString,
    patience: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the client of {}", self.url)
    }
}

impl Client {
    /// A client of the gateway at `url`. The key goes over the network only encrypted.
    ///
    /// # Errors
    /// [`Error::Unusable`].
    pub fn new(url: &str, key: impl Into<SecretString>) -> Result<Self, Error> {
        let unusable = |why: String| Err(Error::Unusable(why));
        let is_web = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        let Some(url) = Url::parse(url).ok().filter(is_web) else {
            return unusable(format!("{url} is no address such as https://host"));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return unusable(
                "the address of the gateway holds a name or a password: the API key is all that it takes".to_owned(),
            );
        }
        if url.path() != "/" || url.query().is_some() {
            return unusable(format!("{url} has more than a host: the API is at its root"));
        }
        if url.scheme() == "http" && !is_this_machine(&url) {
            return unusable(format!(
                "{url} would get the API key unencrypted over the network: use https"
            ));
        }
        // The guard against private addresses does not hold for a gateway: whoever names one means it.
        let host = url.host_str().unwrap_or_default().to_owned();
        let http = HttpClient::new(AddressGuard::new(&[host])).map_err(Error::Unusable)?;
        Ok(Self { http, url, key: key.into(), patience: PATIENCE })
    }

    /// For how long a call is made again while the gateway cannot be reached, or asks for it; a minute unless said otherwise.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Makes a call. It is made again if it was not sent, if the gateway answers 429 or 503 with `Retry-After`, and if there
    /// was no answer: in each case only where it had no effect, or may be repeated.
    ///
    /// # Errors
    /// All of [`Error`] but [`Error::Unreadable`].
    pub async fn call(&self, call: Call) -> Result<Answer, Error> {
        let path = call.path.split('?').next().unwrap_or_default().to_owned();
        let began = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            let failed = match self.send(&call).await {
                Ok(response) if response.status.is_success() => {
                    let Response { status, headers, body, .. } = response;
                    return Ok(Answer { status, headers, body });
                }
                Ok(response) => {
                    let problem = Box::new(Problem::read(response.status, &response.body));
                    let is_safe = call.may_repeat || problem.had_no_effect();
                    let asked = response.retry_after().filter(|_| is_safe);
                    let again = asked.filter(|_| asks_for_another(response.status));
                    let (url, path) = (self.url.to_string(), path.clone());
                    (Error::Refused { url, path, problem }, again)
                }
                Err(Failed { why, may_have_arrived }) => {
                    let (url, path) = (self.url.to_string(), path.clone());
                    let again = (!may_have_arrived || call.may_repeat).then_some(wait);
                    (Error::NoAnswer { url, path, why }, again)
                }
            };
            let (error, Some(again)) = failed else { return Err(failed.0) };
            if began.elapsed() + again > self.patience {
                return Err(error);
            }
            sleep(again).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Makes a call and reads the JSON that is answered.
    ///
    /// # Errors
    /// As [`Client::call`], and [`Error::Unreadable`].
    pub async fn read<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        let path = call.path.split('?').next().unwrap_or_default().to_owned();
        let answer = self.call(call).await?;
        serde_json::from_slice(&answer.body).map_err(|error| self.unreadable(&path, &error))
    }

    pub(crate) fn unreadable(&self, path: &str, error: &serde_json::Error) -> Error {
        let (url, path, why) = (self.url.to_string(), path.to_owned(), error.to_string());
        Error::Unreadable { url, path, why }
    }

    /// Posts invites (the body of `POST /v1/invites`), and answers at once with what was accepted. The idempotency key is this
    /// request's own: the same request with the same key is accepted once, however often it is made within 24 hours.
    ///
    /// # Errors
    /// As [`Client::read`]; [`Error::Unusable`] if the idempotency key cannot be one.
    pub async fn create(
        &self,
        invites: &impl Serialize,
        idempotency_key: &str,
    ) -> Result<Created, Error> {
        let key = HeaderValue::from_str(idempotency_key).map_err(|_| {
            Error::Unusable("the idempotency key holds characters that no header has".to_owned())
        })?;
        let prefer = HeaderValue::from_static("respond-async");
        let call = Call::post("/v1/invites")
            .json(invites)
            .header(HeaderName::from_static("idempotency-key"), key)
            .header(HeaderName::from_static("prefer"), prefer);
        self.read(call.may_repeat()).await
    }

    /// One invite.
    ///
    /// # Errors
    /// As [`Client::read`].
    pub async fn invite(&self, id: InviteId) -> Result<Invite, Error> {
        self.read(Call::get(format!("/v1/invites/{id}"))).await
    }

    async fn send(&self, call: &Call) -> Result<Response, Failed> {
        let not_sent = |why: String| Failed { why, may_have_arrived: false };
        // Two of them at the beginning would name another host, to which the key must not go.
        if !call.path.starts_with('/') || call.path.starts_with("//") {
            return Err(not_sent("a path begins with one `/`".to_owned()));
        }
        let url = self.url.join(&call.path).map_err(|error| not_sent(error.to_string()))?;
        let mut request = Request::new(call.method.clone(), url);
        request.headers = call.headers.clone();
        request.body = call.body.clone();
        // Whatever is asked of a gateway may be answered with a thousand invites.
        request.body_cap = LIST_BODY_CAP;
        let authorization = Zeroizing::new(format!("Bearer {}", self.key.expose_secret()));
        let request = request
            .credential(header::AUTHORIZATION.as_str(), &authorization)
            .map_err(|_| not_sent("the API key holds characters that no key has".to_owned()))?;
        let answer = self.http.send(&CallContext::new(TIMEOUT), request).await;
        answer.map_err(|error| Failed {
            may_have_arrived: error.outcome == Outcome::Unknown,
            why: error.to_string(),
        })
    }
}

struct Failed {
    why: String,
    may_have_arrived: bool,
}

fn asks_for_another(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE
}

/// Whether an address is on this machine: a loopback address, or that of a listener on all addresses.
fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
        Some(Host::Ipv6(address)) => address.is_loopback() || address.is_unspecified(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_goes_over_the_network_only_encrypted() {
        for url in
            ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1", "http://0.0.0.0:8080"]
        {
            assert!(Client::new(url, "key").is_ok(), "{url}");
        }
        assert!(Client::new("https://invites.example.org", "key").is_ok());
        for url in ["https://invites.example.org/gateway", "https://invites.example.org/?a=b"] {
            assert!(Client::new(url, "key").is_err(), "{url}");
        }
        for url in ["https://user:pa55@invites.example.org", "https://:pa55@invites.example.org"] {
            let refused = Client::new(url, "key").err().unwrap().to_string();
            assert!(!refused.contains("pa55"), "{refused}");
        }
        for url in ["http://10.0.0.1", "http://invites.example.org", "http://localhost.example.org"]
        {
            let refused = Client::new(url, "key").err().unwrap().to_string();
            assert!(refused.contains("use https"), "{refused}");
        }
    }
}
