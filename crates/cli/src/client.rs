//! A client of a running gateway, for the commands that call one.

use std::time::Duration;

use http::{HeaderMap, Method, header};
use invite_core::http::{AddressGuard, CallContext, HttpClient, Request, Response};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::{Host, Url};

use crate::{failure::Failure, settings::Settings};

/// The environment variable that holds the API key, unless a command names another one.
pub const KEY_VARIABLE: &str = "INVITE_GATEWAY_KEY";
/// How long one call may take. A check with probes waits for every provider.
const TIMEOUT: Duration = Duration::from_secs(120);

pub struct Client {
    http: HttpClient,
    url: Url,
    key: SecretString,
}

impl Client {
    pub fn new(url: &str, key: &str) -> Result<Self, Failure> {
        let url = Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| Failure::wrong(format!("{url} is no address such as https://host")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Failure::wrong(
                "the address of the gateway holds a name or a password: the API key is all that it takes",
            ));
        }
        if url.scheme() == "http" && !is_this_machine(&url) {
            return Err(Failure::wrong(format!(
                "{url} would get the API key unencrypted over the network: use https"
            )));
        }
        // The guard against private addresses does not hold for a gateway: whoever names one means it.
        let host = url.host_str().unwrap_or_default().to_owned();
        let http = HttpClient::new(AddressGuard::new(&[host])).map_err(Failure::failed)?;
        Ok(Self { http, url, key: key.into() })
    }

    /// The gateway at `url`, or else the one that these settings are for. The key is in the environment.
    pub fn of(settings: &Settings, url: Option<&str>, key_variable: &str) -> Result<Self, Failure> {
        let scheme = if settings.server.tls().is_some() { "https" } else { "http" };
        let own = format!("{scheme}://{}", settings.server.listen);
        let key = invite_config::process_environment()(key_variable).map(Zeroizing::new);
        let key = key.map_err(|_| {
            Failure::wrong(format!(
                "the environment variable {key_variable} holds no API key; --key-env names another"
            ))
        })?;
        Self::new(url.unwrap_or(&own), key.trim())
    }

    /// Makes a call. The answer may be a refusal.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: impl Into<bytes::Bytes>,
    ) -> Result<Response, Failure> {
        let url = self.url.join(path).map_err(|error| self.failed(path, &error.to_string()))?;
        let mut request = Request::new(method, url);
        request.headers = headers;
        request.body = body.into();
        let authorization = Zeroizing::new(format!("Bearer {}", self.key.expose_secret()));
        let request = request
            .credential(header::AUTHORIZATION.as_str(), &authorization)
            .map_err(|_| Failure::wrong("the API key holds characters that no key has"))?;
        let context = CallContext::new(TIMEOUT);
        let answer = self.http.send(&context, request).await;
        answer.map_err(|error| self.failed(path, &error.to_string()))
    }

    /// The body of an answer that is no refusal.
    pub fn read<T: DeserializeOwned>(&self, path: &str, answer: &Response) -> Result<T, Failure> {
        self.accepted(path, answer)?;
        serde_json::from_slice(&answer.body)
            .map_err(|error| self.failed(path, &format!("answered something unreadable: {error}")))
    }

    /// Makes a failure of a refusal, with what the gateway says.
    pub fn accepted(&self, path: &str, answer: &Response) -> Result<(), Failure> {
        if answer.status.is_success() {
            return Ok(());
        }
        let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let detail = problem["detail"].as_str().unwrap_or("without saying why");
        Err(self.failed(path, &format!("answered {}: {detail}", answer.status)))
    }

    pub fn failed(&self, path: &str, why: &str) -> Failure {
        let path = path.split('?').next().unwrap_or_default();
        Failure::failed(format!("the gateway at {} ({path}): {why}", self.url))
    }
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
