//! The token of a request: a configured one, or one that is obtained with client credentials, kept and renewed; and which
//! one comes next if the service refuses it.
//!
//! Source: <https://docs.datatrails.ai/developers/developer-patterns/getting-access-tokens-using-app-registrations/>

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Method, header};
use invite_core::{
    Cause, Outcome, ProviderError,
    adapter::{Operation, Service},
    http::{CallContext, HttpClient, Record, Request, Response},
    secret::{Key, zeroizing_bytes},
    text::check_text,
};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde_json::Value;
use tokio::sync::Mutex as AsyncMutex;
use url::{Url, form_urlencoded};

use crate::{
    error,
    wire::{TENANCY, TokenReply},
};

/// A token is renewed so long before it lapses, or a tenth of its life before if that is less.
const MARGIN: Duration = Duration::from_secs(60);
/// The longest name of a tenancy, in characters. The known ones are `tenant/` and a UUID.
const LONGEST_TENANCY: usize = 255;
/// How long a token lives by the documents, for replies that do not say it.
const USUAL_LIFE: Duration = Duration::from_secs(3600);

pub struct Authenticator {
    pub service: Service,
    form: Form,
}

/// What the service's secrets are.
enum Form {
    Token,
    ClientCredentials { endpoint: TokenEndpoint, held: AsyncMutex<Option<Arc<Token>>> },
}

struct Token {
    /// The value of the `Authorization` header.
    header: SecretString,
    /// The secret that it was obtained with.
    key: Key,
    renew_at: Timestamp,
}

/// A token for one request.
pub struct Access {
    token: Arc<Token>,
    /// Whether another token was refused for this request before.
    renewed: bool,
    /// Whether another secret was.
    switched: bool,
}

impl Access {
    /// The value of the `Authorization` header.
    pub fn header(&self) -> &str {
        self.token.header.expose_secret()
    }

    /// The tenancy that the token is for, if it shows one.
    pub fn account(&self) -> Option<String> {
        tenancy_of(self.header().strip_prefix("Bearer ")?)
    }
}

/// The tenancy that a token shows: the claim [`TENANCY`] of a JWT. Its signature is for the service to verify.
fn tenancy_of(token: &str) -> Option<String> {
    let claims = token.split('.').nth(1)?.trim_end_matches('=');
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let tenancy = claims.get(TENANCY)?.as_str()?.trim();
    // It becomes the scope of a destination, and must not look like that of a provisional one.
    let is_name = !tenancy.is_empty()
        && !tenancy.starts_with('#')
        && check_text(tenancy, LONGEST_TENANCY, false).is_ok();
    is_name.then(|| tenancy.to_owned())
}

impl Authenticator {
    /// With an `endpoint` the service's secrets are client secrets, otherwise tokens.
    pub fn new(service: Service, endpoint: Option<TokenEndpoint>) -> Self {
        let form = match endpoint {
            None => Form::Token,
            Some(endpoint) => Form::ClientCredentials { endpoint, held: AsyncMutex::default() },
        };
        Self { service, form }
    }

    /// The tenancy that the configured token shows; none if tokens are obtained.
    pub fn configured_account(&self) -> Option<String> {
        let shown = |key: &Key| tenancy_of(bare_token(key.value()));
        let keys = self.service.credential.in_order();
        keys.first().filter(|_| matches!(self.form, Form::Token)).and_then(shown)
    }

    /// A token for the first try of a request.
    ///
    /// # Errors
    /// There is no token; nothing of the request was sent.
    pub async fn access(
        &self,
        context: &CallContext,
        operation: &Operation,
    ) -> Result<Access, ProviderError> {
        let token = match &self.form {
            Form::Token => configured_token(self.first(operation)?),
            Form::ClientCredentials { .. } => self.obtain(context, operation, None, None).await?,
        };
        Ok(Access { token, renewed: false, switched: false })
    }

    /// A token for the next try after a 401: a fresh one, and then one of the other secret. None if all were tried.
    ///
    /// # Errors
    /// There is no token.
    pub async fn after_refusal(
        &self,
        context: &CallContext,
        operation: &Operation,
        refused: &Access,
    ) -> Result<Option<Access>, ProviderError> {
        let used = &refused.token.key;
        let obtains = matches!(self.form, Form::ClientCredentials { .. });
        if obtains && !refused.renewed {
            let token = self.obtain(context, operation, None, Some(&refused.token)).await?;
            let switched = !token.key.is_of(used);
            return Ok(Some(Access { token, renewed: true, switched }));
        }
        // The refusal of an old token says nothing about its secret, but that of a fresh one does.
        used.secret.count_refusal();
        let Some(other) = self.other(used).filter(|_| !refused.switched) else {
            return Ok(None);
        };
        let token = if obtains {
            self.obtain(context, operation, Some(other), Some(&refused.token)).await?
        } else {
            configured_token(other)
        };
        Ok(Some(Access { token, renewed: true, switched: true }))
    }

    /// Counts the use of a token. A client secret is used by token requests only.
    pub fn count_use(&self, access: &Access) {
        if matches!(self.form, Form::Token) {
            access.token.key.secret.count_use();
        }
    }

    /// Notes that the service took the token, whatever became of the request.
    pub fn accepted(&self, access: &Access) {
        if matches!(self.form, Form::Token) {
            self.service.credential.accept(&access.token.key);
        }
    }

    /// The token that is held, or else a new one, which is held from then on. One caller at a time asks for it, and the
    /// others find what that one got. With `only`, no other secret is used; the token `refused` is not given again.
    async fn obtain(
        &self,
        context: &CallContext,
        operation: &Operation,
        only: Option<Key>,
        refused: Option<&Arc<Token>>,
    ) -> Result<Arc<Token>, ProviderError> {
        let Form::ClientCredentials { endpoint, held } = &self.form else {
            return Err(no_secret(operation));
        };
        // The lock's holder may be waiting for a token endpoint that does not answer.
        let mut held = context.within(held.lock()).await.ok_or_else(|| {
            let why = "no token was issued: the token endpoint did not answer in time";
            operation.failed(Outcome::NotSent, why).caused_by(Cause::Transport)
        })?;
        let may_switch = only.is_none();
        let first = only.map_or_else(|| self.first(operation), Ok)?;
        if let Some(token) = held.as_ref()
            && token.key.is_of(&first)
            && token.key.is_current()
            && self.service.clock.now() < token.renew_at
            && refused.is_none_or(|refused| !Arc::ptr_eq(refused, token))
        {
            return Ok(token.clone());
        }
        *held = None;
        let other = self.other(&first).filter(|_| may_switch);
        let mut result = self.request(context, operation, endpoint, first).await;
        if let (Some(other), true) = (other, result.as_ref().is_err_and(is_refused_credential)) {
            result = self.request(context, operation, endpoint, other).await;
        }
        let token = result?;
        self.service.credential.accept(&token.key);
        *held = Some(token.clone());
        Ok(token)
    }

    async fn request(
        &self,
        context: &CallContext,
        operation: &Operation,
        endpoint: &TokenEndpoint,
        key: Key,
    ) -> Result<Arc<Token>, ProviderError> {
        key.secret.count_use();
        let asked_at = self.service.clock.now();
        let (http, value) = (&self.service.http, key.value().trim());
        let response = endpoint.request_token(http, context, value).await;
        // Only the token request failed: nothing was sent of the request that needs the token.
        let response = response.map_err(|error| {
            operation.explain(ProviderError { outcome: Outcome::NotSent, ..error })
        })?;
        if !response.status.is_success() {
            let mut error = error::token_refused(operation, &response);
            // The body of the request held the secret, which the refusal may quote.
            error.message = error.message.replace(value, "…");
            if is_refused_credential(&error) {
                key.secret.count_refusal();
            }
            return Err(error);
        }
        let Some(reply) = TokenReply::read(&response.body) else {
            let error = operation.unreadable(&response, "the token endpoint sent no token");
            return Err(ProviderError { outcome: Outcome::NotSent, ..error });
        };
        let renew_at = asked_at.saturating_add(time_of_use(reply.expires_in));
        Ok(Arc::new(Token {
            header: bearer(reply.access_token.expose_secret()),
            key,
            renew_at: renew_at.unwrap_or(Timestamp::MAX),
        }))
    }

    /// The secret to try first.
    fn first(&self, operation: &Operation) -> Result<Key, ProviderError> {
        self.service.credential.in_order().into_iter().next().ok_or_else(|| no_secret(operation))
    }

    fn other(&self, than: &Key) -> Option<Key> {
        self.service.credential.in_order().into_iter().find(|key| !key.is_of(than))
    }
}

fn configured_token(key: Key) -> Arc<Token> {
    let header = bearer(bare_token(key.value()));
    Arc::new(Token { header, key, renew_at: Timestamp::MAX })
}

fn no_secret(operation: &Operation) -> ProviderError {
    operation.failed(Outcome::NotSent, "no secret is configured").caused_by(Cause::Credentials)
}

fn is_refused_credential(error: &ProviderError) -> bool {
    error.outcome == Outcome::Rejected && error.cause == Cause::Credentials
}

fn bearer(token: &str) -> SecretString {
    const SCHEME: &str = "Bearer ";
    // It has its full length from the start, because a text that grows leaves copies behind.
    let mut header = String::with_capacity(SCHEME.len() + token.len());
    header.push_str(SCHEME);
    header.push_str(token);
    header.into()
}

/// The token of a secret that is either the token alone, or a file for `curl -H @file` with a whole header line.
fn bare_token(text: &str) -> &str {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.clone().next().unwrap_or_default();
    let header = lines.find_map(|line| strip_word(line, "authorization:"));
    let value = header.unwrap_or(first).trim();
    strip_word(value, "bearer ").unwrap_or(value).trim()
}

/// Checks that a secret holds a bearer token, by the form that RFC 6750 gives tokens.
///
/// # Errors
/// It does not; the text does not show it.
pub fn check_bearer_token(text: &str) -> Result<(), String> {
    let token = bare_token(text).trim_end_matches('=');
    let may_stand = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    if !token.is_empty() && token.chars().all(may_stand) {
        return Ok(());
    }
    let why = "the secret is no bearer token: expected the token alone, or curl's header line \
               `Authorization: Bearer …`";
    Err(why.to_owned())
}

/// Checks that a secret can be a client secret, which is sent in a form.
///
/// # Errors
/// It cannot; the text does not show it.
pub fn check_client_secret(text: &str) -> Result<(), String> {
    let text = text.trim();
    if !text.is_empty() && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err("the secret is no client secret: it is blank, or holds a control character".to_owned())
}

fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(word.len())?;
    head.eq_ignore_ascii_case(word).then_some(tail)
}

/// How long a token is used that lives for `expires_in` seconds.
fn time_of_use(expires_in: Option<f64>) -> Duration {
    let life = expires_in.map_or(USUAL_LIFE, |seconds| {
        Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
    });
    life - MARGIN.min(life / 10)
}

pub struct TokenEndpoint {
    pub url: Url,
    pub client_id: String,
}

impl TokenEndpoint {
    /// `POST …/appidp/token`. The exchange is not recorded, because both bodies are secrets.
    pub async fn request_token(
        &self,
        http: &HttpClient,
        context: &CallContext,
        client_secret: &str,
    ) -> Result<Response, ProviderError> {
        // There is room for three characters for each byte, so that the text does not grow and leave copies behind.
        let room = 64 + 3 * (self.client_id.len() + client_secret.len());
        let body = form_urlencoded::Serializer::new(String::with_capacity(room))
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", &self.client_id)
            .append_pair("client_secret", client_secret)
            .finish();
        let mut request = Request::new(Method::POST, self.url.clone());
        let form = header::HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers.insert(header::CONTENT_TYPE, form);
        request.body = zeroizing_bytes(Zeroizing::new(body));
        request.record = Record::Nothing;
        let encoded: String = form_urlencoded::byte_serialize(client_secret.as_bytes()).collect();
        request.secrets = [client_secret.into(), encoded].map(|it| it.into_bytes().into()).into();
        http.send(context, request).await
    }
}

#[cfg(test)]
mod tests {
    use invite_core::{
        Clock,
        canned::{Bench, Peer, context, credential},
    };
    use serde_json::json;

    use super::*;
    use crate::canned::{bench, jwt, recipient};

    fn account(token: &str) -> Option<String> {
        let key = credential(&[token]).in_order().remove(0);
        Access { token: configured_token(key), renewed: false, switched: false }.account()
    }

    #[test]
    fn a_token_is_read_bare_and_from_curls_header_line() {
        for text in [
            "abc.def",
            "abc.def\n",
            "  abc.def\r\n\r\n",
            "Bearer abc.def",
            "Authorization: Bearer abc.def\n",
            "authorization:bearer  abc.def",
            "X-Other: 1\nAuthorization: Bearer abc.def\n",
        ] {
            assert_eq!(bare_token(text), "abc.def", "{text:?}");
        }
        assert_eq!(bare_token(""), "");
    }

    #[test]
    fn what_can_be_no_token_or_client_secret_is_told_without_showing_it() {
        for token in ["a", "eyJh.e30.s-i_g~+/==", "Authorization: Bearer abc.def\n"] {
            assert_eq!(check_bearer_token(token), Ok(()), "{token}");
        }
        let passwd = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1\n";
        for other in ["", " \n", "==", "s3cret token", "s3cret\0PATH=/bin", passwd] {
            let why = check_bearer_token(other).unwrap_err();
            assert!(!why.contains("s3cret") && !why.contains("root"), "{why}");
        }
        for secret in ["s", "a b&c=ä", " s\n"] {
            assert_eq!(check_client_secret(secret), Ok(()), "{secret}");
        }
        for other in ["", " \n", "s3cret\nline", "s3cret\0"] {
            let why = check_client_secret(other).unwrap_err();
            assert!(!why.contains("s3cret"), "{why}");
        }
    }

    #[test]
    fn a_token_is_renewed_a_minute_or_a_tenth_of_its_life_before_it_lapses() {
        let seconds = |expires_in| time_of_use(Some(expires_in)).as_secs_f64();
        assert_eq!(seconds(3600.0), 3540.0);
        assert_eq!(seconds(660.0), 600.0);
        assert_eq!(seconds(100.0), 90.0);
        assert_eq!(seconds(1.0), 0.9);
        assert_eq!(seconds(0.0), 0.0);
        assert_eq!(seconds(-5.0), 0.0);
        assert_eq!(time_of_use(None), Duration::from_secs(3540));
        assert!(time_of_use(Some(1e300)) > USUAL_LIFE);
        assert_eq!(time_of_use(Some(f64::NAN)), Duration::ZERO);
    }

    #[test]
    fn the_tenancy_is_read_from_a_jwt_and_from_nothing_else() {
        let claims = URL_SAFE_NO_PAD.encode(br#"{"jit_tenant_id":"tenant/7","exp":1}"#);
        assert_eq!(account(&format!("e30.{claims}.sig")).as_deref(), Some("tenant/7"));
        assert_eq!(account(&format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(b"{}"))), None);
        for opaque in ["", "opaque", "a.b.c", "a..c"] {
            assert_eq!(account(opaque), None, "{opaque}");
        }
    }

    const TOKEN: &str = "POST /archivist/iam/v1/appidp/token";

    /// A service that issues tokens with `secret` in them, one after the other, and takes those
    /// that `takes` does.
    fn issuer(takes: impl Fn(&str, usize) -> bool + Send + 'static) -> Peer {
        let mut issued = 0;
        Peer::start(move |asked| {
            if asked.is(TOKEN) {
                let (_, secret) = asked.body.rsplit_once('=').unwrap();
                if secret == "refused" {
                    return (400, json!({"error": "invalid_client"}));
                }
                issued += 1;
                let reply =
                    json!({"access_token": format!("{secret}-{issued}"), "expires_in": 660});
                return (200, reply);
            }
            let shown = asked.header("authorization").unwrap().strip_prefix("Bearer ").unwrap();
            let (secret, serial) = shown.rsplit_once('-').unwrap();
            if takes(secret, serial.parse().unwrap()) {
                (200, json!({"invites": []}))
            } else {
                (401, json!(""))
            }
        })
    }

    fn with_client(peer: &Peer, secrets: &[&str]) -> Bench {
        bench(&peer.url, json!({"client_id": "app 1", "client_secret": "s"}), secrets)
    }

    async fn probe(bench: &Bench) -> Result<(), ProviderError> {
        bench.probe(&context()).await.map(|_| ())
    }

    #[tokio::test]
    async fn a_token_is_asked_for_as_the_vendors_client_does_and_never_recorded() {
        let peer = issuer(|_, _| true);
        let bench = with_client(&peer, &["s+1 \n"]);
        let context = context();
        bench.probe(&context).await.unwrap();
        let asked = &peer.asked()[0];
        assert_eq!(asked.body, "grant_type=client_credentials&client_id=app+1&client_secret=s%2B1");
        let form = Some("application/x-www-form-urlencoded");
        assert_eq!((asked.header("content-type"), asked.header("authorization")), (form, None));
        let recorded: Vec<_> = context.exchanges().into_iter().map(|e| e.target).collect();
        assert_eq!(recorded, [format!("GET {}/archivist/iam/v1/invites?page_size=1", peer.url)]);
    }

    #[tokio::test]
    async fn callers_at_the_same_time_share_one_token_request() {
        let peer = issuer(|_, _| true);
        let bench = with_client(&peer, &["a"]);
        let (one, two, three) = tokio::join!(probe(&bench), probe(&bench), probe(&bench));
        assert!(one.is_ok() && two.is_ok() && three.is_ok());
        assert_eq!((peer.count(TOKEN), peer.count("GET ")), (1, 3));
    }

    #[tokio::test]
    async fn a_token_is_kept_until_shortly_before_it_lapses() {
        let peer = issuer(|_, _| true);
        let bench = with_client(&peer, &["a"]);
        for (seconds, tokens) in [(0, 1), (599, 1), (1, 2)] {
            bench.clock.advance(Duration::from_secs(seconds));
            probe(&bench).await.unwrap();
            assert_eq!(peer.count(TOKEN), tokens);
        }
    }

    #[tokio::test]
    async fn a_changed_client_secret_is_used_at_once() {
        let peer = issuer(|_, _| true);
        let bench = with_client(&peer, &["a"]);
        probe(&bench).await.unwrap();
        bench.rotate(0, "refused");
        assert_eq!(probe(&bench).await.unwrap_err().cause, Cause::Credentials);
        bench.rotate(0, "b");
        probe(&bench).await.unwrap();
        assert_eq!(peer.count(TOKEN), 3);
    }

    #[tokio::test]
    async fn a_refused_token_is_replaced_by_a_fresh_one_once() {
        let peer = issuer(|_, serial| serial > 1);
        let bench = with_client(&peer, &["a"]);
        probe(&bench).await.unwrap();
        assert_eq!((peer.count(TOKEN), peer.count("GET ")), (2, 2));
        assert_eq!(bench.usage(), [(2, 0)]);
        let peer = issuer(|_, _| false);
        let bench = with_client(&peer, &["a"]);
        let error = probe(&bench).await.unwrap_err();
        assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::Credentials));
        assert_eq!((peer.count(TOKEN), peer.count("GET ")), (2, 2));
        assert_eq!(bench.usage(), [(2, 1)]);
    }

    #[tokio::test]
    async fn a_refused_client_secret_gives_way_to_the_second_which_is_kept() {
        let peer = issuer(|_, _| true);
        let bench = with_client(&peer, &["refused", "b"]);
        probe(&bench).await.unwrap();
        probe(&bench).await.unwrap();
        assert_eq!(bench.usage(), [(1, 1), (1, 0)]);
        bench.clock.advance(Duration::from_secs(660));
        probe(&bench).await.unwrap();
        assert_eq!(bench.usage(), [(1, 1), (2, 0)]);
        bench.rotate(0, "a");
        probe(&bench).await.unwrap();
        assert_eq!(bench.usage(), [(2, 1), (2, 0)]);
    }

    #[tokio::test]
    async fn a_token_refused_even_when_fresh_gives_way_to_one_of_the_second_secret() {
        let peer = issuer(|secret, _| secret == "b");
        let bench = with_client(&peer, &["a", "b"]);
        probe(&bench).await.unwrap();
        assert_eq!((peer.count(TOKEN), peer.count("GET ")), (3, 3));
        assert_eq!(bench.usage(), [(2, 1), (1, 0)]);
        probe(&bench).await.unwrap();
        assert_eq!(peer.count(TOKEN), 3);
    }

    #[tokio::test]
    async fn a_failed_token_call_means_that_nothing_was_sent() {
        for (status, body) in [(500, ""), (503, ""), (302, ""), (200, "{}"), (200, "<html>")] {
            let peer = Peer::start(move |_| (status, json!(body)));
            let error = probe(&with_client(&peer, &["a"])).await.unwrap_err();
            assert_eq!(error.outcome, Outcome::NotSent, "{status} {body}");
            assert_eq!((peer.count(TOKEN), peer.asked().len()), (1, 1));
        }
        let unreachable =
            bench("http://127.0.0.1:9", json!({"client_id": "app", "client_secret": "s"}), &["a"]);
        assert_eq!(probe(&unreachable).await.unwrap_err().outcome, Outcome::NotSent);
    }

    #[tokio::test]
    async fn an_unanswered_token_call_means_that_nothing_was_sent_either() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", silent.local_addr().unwrap());
        let settings = json!({"client_id": "app", "client_secret": "s"});
        let bench = bench(&base_url, settings, &["a"]);
        let hurried = CallContext::new(Duration::from_millis(100));
        let error = bench.probe(&hurried).await.unwrap_err();
        assert_eq!(error.outcome, Outcome::NotSent);
    }

    #[tokio::test]
    async fn a_call_waits_for_another_ones_token_no_longer_than_its_own_time() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", silent.local_addr().unwrap());
        let bench = bench(&base_url, json!({"client_id": "app", "client_secret": "s"}), &["a"]);
        let patient = context();
        let asking = bench.probe(&patient);
        let hurried = async {
            // The other one holds the lock once its token request has arrived.
            let _connection = silent.accept().await.unwrap();
            let hurried = CallContext::new(Duration::from_millis(100));
            bench.probe(&hurried).await.unwrap_err()
        };
        tokio::select! {
            _ = asking => panic!("the token endpoint does not answer"),
            error = hurried => {
                assert_eq!((error.outcome, error.cause), (Outcome::NotSent, Cause::Transport));
                assert!(error.message.contains("token"), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn the_tenancy_of_the_token_is_frozen_with_the_call() {
        let reply = json!({"access_token": jwt("tenant/7", 1), "expires_in": "660"});
        let peer = Peer::start(move |_| (200, reply.clone()));
        let bench = with_client(&peer, &["a"]);
        let to_ada = [recipient(&bench, None)];
        let now = bench.clock.now();
        let call = bench.prepare(&context(), &to_ada, now).await.unwrap();
        assert_eq!(call.account.as_deref(), Some("tenant/7"));
        assert_eq!(bench.usage(), [(1, 0)]);
    }

    #[tokio::test]
    async fn a_bearer_token_is_used_by_requests_alone() {
        let bench = bench("http://127.0.0.1:9", json!({"bearer_token": "t"}), &["a-1"]);
        let to_ada = [recipient(&bench, None)];
        bench.prepare(&context(), &to_ada, bench.clock.now()).await.unwrap();
        assert_eq!(bench.usage(), [(0, 0)]);
    }
}
