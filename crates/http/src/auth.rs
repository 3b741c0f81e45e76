//! Who calls: API keys, their scopes, and what a caller may see and use.
//!
//! Which scope a call needs is the first thing that its handler says.

mod failures;
mod uses;

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use invite_core::{KeyId, random};
use invite_store::{Actor, ApiKey, DayLimit, KeyLimits, Row};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::{
    Gateway,
    listener::{ClientAddress, DelayAnswer},
    problem::{Problem, codes},
    trace,
};

pub(crate) use failures::Failures;
pub(crate) use uses::KeyUses;

/// What every secret starts with, so that scanners for leaked secrets recognize one.
pub(crate) const PREFIX: &str = "igk_";
const NO_KEY: &str = "no API key was given: send it as `Authorization: Bearer <api key>`";

pub(crate) const MAX_KEY_NAME: usize = 100;

/// The secret of a new key. It is shown once and stored only as its hash.
pub fn generate_key() -> String {
    format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random::bytes::<32>()))
}

/// The hash under which a key is stored: SHA-256 in hexadecimal. A slow hash would protect nothing, as
/// nobody can try out the 256 random bits of a secret.
pub fn hash_key(secret: &str) -> String {
    base16ct::lower::encode_string(&Sha256::digest(secret.as_bytes()))
}

macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        pub(crate) const SCOPES: &[&str] = &[$($word,)*];

        /// What a key may do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
        pub(crate) enum Scope { $($(#[$doc])* #[serde(rename = $word)] $name,)* }

        impl Scope {
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

scopes!(
    /// Creating and changing invites.
    InvitesWrite = "invites:write",
    /// Reading invites and batches.
    InvitesRead = "invites:read",
    /// Reading what was exchanged with a provider about an invite.
    InvitesRaw = "invites:raw",
    /// Reading the codes of an invite that let in whoever holds them.
    InvitesCodes = "invites:codes",
    /// Seeing and changing the invites of every tenant.
    InvitesAllTenants = "invites:all-tenants",
    /// Reading providers, kinds and metrics.
    ProvidersRead = "providers:read",
    /// Making, changing and removing webhooks, and reading what was sent to them.
    WebhooksWrite = "webhooks:write",
    /// Having a provider asked whether its credential is good.
    ProvidersAct = "providers:act",
    /// Reading, trying and replacing the provider document.
    ConfigWrite = "config:write",
    /// Making, changing and revoking keys that do not exceed the key itself.
    KeysWrite = "keys:write",
    /// Erasing a person over all tenants and providers.
    PeopleErase = "people:erase",
    /// Reading who changed what.
    AuditRead = "audit:read",
    /// All of them.
    Admin = "admin",
);

/// Whether a key has the scope of this word: `admin` stands for all of them.
pub(crate) fn has_scope(key: &ApiKey, scope: &str) -> bool {
    key.scopes.iter().any(|had| had == scope || had == Scope::Admin.as_str())
}

/// The key that a request was made with, without its hash, and the trace that the request belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    key: Arc<ApiKey>,
    ancestors: Arc<[ApiKey]>,
    traceparent: Option<Arc<str>>,
}

impl Caller {
    /// `ancestors` are the keys that the key descends from.
    pub fn new(key: ApiKey, ancestors: Vec<ApiKey>, traceparent: Option<&str>) -> Self {
        let without_hash = |key| ApiKey { hash: String::new(), ..key };
        Self {
            key: Arc::new(without_hash(key)),
            ancestors: ancestors.into_iter().map(without_hash).collect(),
            traceparent: traceparent.map(Arc::from),
        }
    }

    /// One of a tenant that may read its invites, and nothing else.
    pub fn reader(tenant: &str) -> Self {
        let key = ApiKey {
            id: KeyId::generate(),
            hash: String::new(),
            name: String::new(),
            scopes: vec![Scope::InvitesRead.as_str().to_owned()],
            tenant: tenant.to_owned(),
            providers: None,
            limits: KeyLimits::default(),
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
            parent: None,
        };
        Self::new(key, Vec::new(), None)
    }

    pub fn key(&self) -> &ApiKey {
        &self.key
    }

    pub fn ancestors(&self) -> &[ApiKey] {
        &self.ancestors
    }

    /// The key and its ancestors. What is asked for with the key counts against the limits of each, so that
    /// keys together can do no more than the one that they were made with.
    pub fn lineage(&self) -> impl Iterator<Item = &ApiKey> {
        std::iter::once(self.key()).chain(self.ancestors())
    }

    pub fn day_limits(&self) -> Vec<DayLimit> {
        DayLimit::of(self.lineage())
    }

    pub fn id(&self) -> KeyId {
        self.key.id
    }

    /// The key's id, and what people call it: who made a change, in the record of changes.
    pub fn name(&self) -> String {
        format!("{} ({})", self.key.id, self.key.name)
    }

    pub fn actor(&self) -> Actor {
        Actor { name: self.name(), source: "api".to_owned() }
    }

    pub fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_deref()
    }

    pub fn tenant(&self) -> &str {
        &self.key.tenant
    }

    pub fn sees_all_tenants(&self) -> bool {
        self.has(Scope::InvitesAllTenants)
    }

    pub fn has(&self, scope: Scope) -> bool {
        has_scope(&self.key, scope.as_str())
    }

    pub fn require(&self, scope: Scope) -> Result<(), Problem> {
        if self.has(scope) {
            return Ok(());
        }
        let detail = format!("this call needs a key with the scope {}", scope.as_str());
        Err(Problem::new(&codes::INSUFFICIENT_SCOPE, detail))
    }

    /// `None` for a key that may use every provider.
    pub fn providers(&self) -> Option<&[String]> {
        self.key.providers.as_deref()
    }

    pub fn may_use(&self, provider: &str) -> bool {
        self.providers().is_none_or(|names| names.iter().any(|name| name == provider))
    }

    /// The same of what may be at no provider, or whose provider cannot be read: that any key may.
    pub fn may_use_any(&self, provider: Option<&String>) -> bool {
        provider.is_none_or(|provider| self.may_use(provider))
    }

    pub fn require_provider(&self, provider: &str) -> Result<(), Problem> {
        if self.may_use(provider) {
            return Ok(());
        }
        let detail = format!("this key may not use the provider `{provider}`");
        Err(Problem::new(&codes::PROVIDER_NOT_ALLOWED, detail))
    }

    /// Whether the caller may know that something of this tenant exists.
    pub fn sees(&self, tenant: &str) -> bool {
        self.sees_all_tenants() || self.key.tenant == tenant
    }

    /// Refuses a key without the scope, and one that is limited to some providers. Such a key could lift
    /// its own limit by making another key or by changing the provider document.
    pub fn require_for_all(&self, scope: Scope) -> Result<(), Problem> {
        self.require(scope)?;
        self.require_every_provider()
    }

    pub fn require_every_provider(&self) -> Result<(), Problem> {
        if self.providers().is_none() {
            return Ok(());
        }
        let detail = "this key is limited to some providers, and this call concerns all of them";
        Err(Problem::new(&codes::PROVIDER_NOT_ALLOWED, detail))
    }

    /// Refuses an invite of another tenant as one that does not exist, and one of a provider that the key
    /// may not use. A row whose tenant cannot be read is there only for a key that sees all tenants.
    pub fn require_invite(&self, row: Option<Row>) -> Result<Row, Problem> {
        let row = row.ok_or_else(|| Problem::not_found("invite"))?;
        let (tenant, provider) = match &row {
            Ok(invite) => (Some(&invite.tenant), &invite.provider),
            Err(unreadable) => (unreadable.tenant.as_ref(), &unreadable.provider),
        };
        if !tenant.map_or(self.sees_all_tenants(), |tenant| self.sees(tenant)) {
            return Err(Problem::not_found("invite"));
        }
        if let Some(provider) = provider {
            self.require_provider(provider)?;
        }
        Ok(row)
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    /// [`authenticate`] puts the caller in.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::new(&codes::UNAUTHORIZED, "no API key was given"))
    }
}

/// Passes on the requests that have a valid key and are within its limit of requests.
pub(crate) async fn authenticate(
    State(gateway): State<Gateway>,
    mut request: Request,
    next: Next,
) -> Response {
    let (key, ancestors) = match find_key(&gateway, request.headers()).await {
        Ok(found) => found,
        Err(Refused::Key { reason, detail }) => {
            return refuse(&gateway, request.extensions().get(), reason, detail);
        }
        Err(Refused::Other(problem)) => return problem.into_response(),
    };
    let now = gateway.clock.now();
    gateway.key_uses.record(gateway.store(), key.id, now);
    let caller = Caller::new(key, ancestors, trace::traceparent(request.headers()));
    let allowance = gateway.budgets.take(caller.lineage(), now);
    let mut response = match &allowance {
        Some(allowance) if !allowance.is_granted() => {
            allowance.refusal("make", "requests").into_response()
        }
        _ => {
            request.extensions_mut().insert(caller.clone());
            next.run(request).await
        }
    };
    if let Some(allowance) = allowance {
        allowance.write_headers(response.headers_mut());
    }
    response.extensions_mut().insert(caller);
    response
}

/// Whether the key in these headers lets the caller see as much as before.
///
/// # Errors
/// It is no longer valid: what a request that came now is answered.
pub(crate) async fn is_unchanged(
    gateway: &Gateway,
    headers: &HeaderMap,
    caller: &Caller,
) -> Result<bool, Problem> {
    let (now, _) = find_key(gateway, headers).await.map_err(|refused| match refused {
        Refused::Key { detail, .. } => Problem::new(&codes::UNAUTHORIZED, detail),
        Refused::Other(problem) => problem,
    })?;
    let before = &*caller.key;
    Ok((&now.tenant, &now.scopes, &now.providers)
        == (&before.tenant, &before.scopes, &before.providers))
}

/// Why a request is not passed on.
enum Refused {
    /// It has no valid key. The reason is a label of the metrics.
    Key { reason: &'static str, detail: &'static str },
    /// Whether its key is valid cannot be found out.
    Other(Problem),
}

fn refused(reason: &'static str, detail: &'static str) -> Refused {
    Refused::Key { reason, detail }
}

/// The answer to a request without a valid key. It is delayed for an address that failed often lately.
fn refuse(
    gateway: &Gateway,
    client: Option<&ClientAddress>,
    reason: &'static str,
    detail: &'static str,
) -> Response {
    metrics::counter!("http_authentication_failures_total", "reason" => reason).increment(1);
    let address = client.map(|client| client.0);
    tracing::warn!(
        reason,
        client.address = address.map(|address| address.to_string()),
        "an authentication failed"
    );
    let mut response = Problem::new(&codes::UNAUTHORIZED, detail).into_response();
    if let Some(address) = address {
        let delay = gateway.failures.record(address, Instant::now());
        response.extensions_mut().insert(DelayAnswer(delay));
    }
    response
}

async fn find_key(
    gateway: &Gateway,
    headers: &HeaderMap,
) -> Result<(ApiKey, Vec<ApiKey>), Refused> {
    let secret = bearer(headers)?;
    let hash = hash_key(secret);
    let key = readable(gateway.store().key_by_hash(&hash).await)?
        .ok_or_else(|| refused("unknown", "the API key is not known here"))?;
    if key.revoked_at.is_some() {
        return Err(refused("revoked", "the API key was revoked"));
    }
    if key.expires_at.is_some_and(|at| at <= gateway.clock.now()) {
        return Err(refused("expired", "the API key has expired"));
    }
    let ancestors = readable(gateway.store().key_ancestors(&key).await)?;
    Ok((key, ancestors))
}

/// A key whose record cannot be read is refused, as nobody knows what it allows.
fn readable<T>(read: Result<T, invite_store::Error>) -> Result<T, Refused> {
    read.map_err(|error| match error {
        error @ invite_store::Error::Corrupt { .. } => {
            tracing::error!(%error, "an API key cannot be read and is refused");
            refused("unreadable", "the API key's record cannot be read; ask for a new key")
        }
        error => Refused::Other(error.into()),
    })
}

fn bearer(headers: &HeaderMap) -> Result<&str, Refused> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next();
    if values.next().is_some() {
        let detail = "several `Authorization` headers were given: send one, with the API key";
        return Err(refused("several", detail));
    }
    value.and_then(token).ok_or_else(|| refused("missing", NO_KEY))
}

fn token(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(scopes: &[&str], providers: Option<&[&str]>) -> Caller {
        Caller::new(crate::keys::tests::key(scopes, providers), Vec::new(), None)
    }

    #[test]
    fn a_key_carries_256_random_bits_and_is_stored_as_its_hash() {
        let secret = generate_key();
        assert_eq!((secret.len(), hash_key(&secret).len()), (PREFIX.len() + 43, 64));
        assert_ne!(secret, generate_key());
    }

    #[test]
    fn the_hash_is_the_published_one() {
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash_key("abc"), hash);
    }

    #[test]
    fn an_administrator_has_every_scope_and_sees_every_tenant() {
        let admin = key(&["admin"], None);
        assert!(SCOPES.iter().all(|scope| has_scope(admin.key(), scope)));
        assert!(admin.sees("other"));
    }

    #[test]
    fn other_keys_have_their_scopes_and_see_their_tenant() {
        let reader = key(&["invites:read", "nonsense"], None);
        assert!(reader.require(Scope::InvitesRead).is_ok());
        let refused = reader.require(Scope::InvitesWrite).unwrap_err();
        assert_eq!(refused.code(), "insufficient-scope");
        assert!(reader.sees("acme") && !reader.sees("other"));
    }

    #[test]
    fn a_key_limited_to_providers_may_use_only_those() {
        let limited = key(&["admin"], Some(&["a"]));
        assert!(limited.may_use("a") && !limited.may_use("b"));
        assert!(key(&[], None).may_use("b"));
    }

    #[test]
    fn an_administrator_of_some_providers_does_not_decide_about_all() {
        assert!(key(&["admin"], None).require_for_all(Scope::KeysWrite).is_ok());
        let refusal = |key: Caller| key.require_for_all(Scope::KeysWrite).unwrap_err().code();
        assert_eq!(refusal(key(&["admin"], Some(&["a"]))), "provider-not-allowed");
        assert_eq!(refusal(key(&["invites:read"], None)), "insufficient-scope");
    }

    #[test]
    fn the_authorization_header_is_read_in_any_case_and_only_once() {
        let bearer = |headers: &HeaderMap| match bearer(headers) {
            Ok(key) => key.to_owned(),
            Err(Refused::Key { reason, .. }) => reason.to_owned(),
            Err(Refused::Other(problem)) => problem.code().to_owned(),
        };
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers), "missing");
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("bEARER  igk_x"));
        assert_eq!(bearer(&headers), "igk_x");
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer igk_y"));
        assert_eq!(bearer(&headers), "several");
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Basic igk_x"));
        assert_eq!(bearer(&headers), "missing");
    }
}
