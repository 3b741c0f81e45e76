//! Who calls: API keys, their scopes, and what a caller may see and use.
//!
//! Keys are made with [`generate_key`] and kept only as hashes. Which call needs which scope is
//! said by each handler, first thing.

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
use invite_store::{Actor, ApiKey, DayLimit, Row};
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::{
    Gateway,
    listener::{ClientAddress, HoldBack},
    problem::{Problem, codes},
    trace,
};

pub(crate) use failures::Failures;
pub(crate) use uses::KeyUses;

/// What every key starts with, so that scanners for leaked secrets can tell one.
pub(crate) const PREFIX: &str = "igk_";
const NO_KEY: &str = "no API key was given: send it as `Authorization: Bearer <api key>`";

/// The longest name of a key, in characters.
pub(crate) const MAX_KEY_NAME: usize = 100;

/// The secret of a new key: shown once, and stored only as its hash.
pub fn generate_key() -> String {
    format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random::bytes::<32>()))
}

/// A key as it is stored: SHA-256 in hexadecimal. A slow hash would protect nothing: the secret is
/// 256 random bits, which nobody can search through.
pub fn hash_key(secret: &str) -> String {
    base16ct::lower::encode_string(&Sha256::digest(secret.as_bytes()))
}

macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// The scopes that a key can have.
        pub(crate) const SCOPES: &[&str] = &[$($word,)*];

        /// What a key may do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
        pub(crate) enum Scope { $($(#[$doc])* #[serde(rename = $word)] $name,)* }

        impl Scope {
            /// The word that stands in keys.
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

/// Whether a key has the scope of this word, which who has all of them does.
pub(crate) fn has_scope(key: &ApiKey, scope: &str) -> bool {
    key.scopes.iter().any(|had| had == scope || had == Scope::Admin.as_str())
}

/// The key that a request was made with, and the trace that the request belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    key: Arc<ApiKey>,
    above: Arc<[ApiKey]>,
    traceparent: Option<Arc<str>>,
}

impl Caller {
    /// Whoever has the key, which descends from those `above`. Their hashes are not kept.
    pub fn new(key: ApiKey, above: Vec<ApiKey>, traceparent: Option<&str>) -> Self {
        let without_hash = |key| ApiKey { hash: String::new(), ..key };
        Self {
            key: Arc::new(without_hash(key)),
            above: above.into_iter().map(without_hash).collect(),
            traceparent: traceparent.map(Arc::from),
        }
    }

    /// The key, without its hash.
    pub fn key(&self) -> &ApiKey {
        &self.key
    }

    /// The keys that the key descends from.
    pub fn above(&self) -> &[ApiKey] {
        &self.above
    }

    /// The key and those that it descends from: what is asked for with it counts against the limits of
    /// each, so that keys together can do no more than the one that they were made with.
    pub fn line(&self) -> impl Iterator<Item = &ApiKey> {
        std::iter::once(self.key()).chain(self.above())
    }

    /// The limits of invites in a day that hold for the key.
    pub fn day_limits(&self) -> Vec<DayLimit> {
        let limit =
            |key: &ApiKey| Some(DayLimit { key: key.id, invites: key.limits.invites_per_day? });
        self.line().filter_map(limit).collect()
    }

    /// The key's id, for logs.
    pub fn id(&self) -> KeyId {
        self.key.id
    }

    /// Who makes a change, for its record: the key's id and what people call it.
    pub fn name(&self) -> String {
        format!("{} ({})", self.key.id, self.key.name)
    }

    /// Who makes a change through the API, for the store.
    pub fn actor(&self) -> Actor {
        Actor { name: self.name(), source: "api".to_owned() }
    }

    /// The request's `traceparent`, if it has a valid one.
    pub fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_deref()
    }

    /// The tenant that the key belongs to.
    pub fn tenant(&self) -> &str {
        &self.key.tenant
    }

    /// Whether the key is for the invites of all tenants.
    pub fn sees_all_tenants(&self) -> bool {
        self.has(Scope::InvitesAllTenants)
    }

    /// Whether the key has a scope.
    pub fn has(&self, scope: Scope) -> bool {
        has_scope(&self.key, scope.as_str())
    }

    /// Refuses a key without the scope.
    pub fn require(&self, scope: Scope) -> Result<(), Problem> {
        if self.has(scope) {
            return Ok(());
        }
        let detail = format!("this call needs a key with the scope {}", scope.as_str());
        Err(Problem::new(&codes::INSUFFICIENT_SCOPE, detail))
    }

    /// The providers that the key is limited to, if it is.
    pub fn providers(&self) -> Option<&[String]> {
        self.key.providers.as_deref()
    }

    /// Whether the key may use the provider.
    pub fn may_use(&self, provider: &str) -> bool {
        self.providers().is_none_or(|names| names.iter().any(|name| name == provider))
    }

    /// Refuses a provider that the key is not limited to.
    pub fn require_provider(&self, provider: &str) -> Result<(), Problem> {
        if self.may_use(provider) {
            return Ok(());
        }
        let detail = format!("this key may not use the provider `{provider}`");
        Err(Problem::new(&codes::PROVIDER_NOT_ALLOWED, detail))
    }

    /// Whether what belongs to this tenant exists for the caller.
    pub fn sees(&self, tenant: &str) -> bool {
        self.sees_all_tenants() || self.key.tenant == tenant
    }

    /// Refuses a key without the scope, and one that is limited to some providers: it could lift its
    /// own limit with a new key or another document.
    pub fn require_for_all(&self, scope: Scope) -> Result<(), Problem> {
        self.require(scope)?;
        self.require_every_provider()
    }

    /// Refuses a key that is limited to some providers.
    pub fn require_every_provider(&self) -> Result<(), Problem> {
        if self.providers().is_none() {
            return Ok(());
        }
        let detail = "this key is limited to some providers, and this call concerns all of them";
        Err(Problem::new(&codes::PROVIDER_NOT_ALLOWED, detail))
    }

    /// Hides another tenant's invite, and refuses one of a provider that the key may not use. A
    /// key for all tenants sees also what cannot be told whose it is.
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

    /// Only behind [`authenticate`] is there a caller.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::new(&codes::UNAUTHORIZED, "no API key was given"))
    }
}

/// Lets through who has a valid key and is within its limit of requests.
pub(crate) async fn authenticate(
    State(gateway): State<Gateway>,
    mut request: Request,
    next: Next,
) -> Response {
    let (key, above) = match find_key(&gateway, request.headers()).await {
        Ok(found) => found,
        Err(Refused::Key { reason, detail }) => {
            return refuse(&gateway, request.extensions().get(), reason, detail);
        }
        Err(Refused::Other(problem)) => return problem.into_response(),
    };
    let now = gateway.clock().now();
    gateway.key_uses().record(gateway.store(), key.id, now);
    let caller = Caller::new(key, above, trace::traceparent(request.headers()));
    let allowance = gateway.budgets().take(caller.line(), now);
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

/// Why a request has no caller.
enum Refused {
    /// It shows no key that is good; the reason is a word for the metrics.
    Key { reason: &'static str, detail: &'static str },
    /// It cannot be told.
    Other(Problem),
}

fn refused(reason: &'static str, detail: &'static str) -> Refused {
    Refused::Key { reason, detail }
}

/// The answer to who shows no good key: later and later, if that happens often at an address.
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
        let delay = gateway.failures().record(address, Instant::now());
        response.extensions_mut().insert(HoldBack(delay));
    }
    response
}

/// The key of a request, and those that it descends from.
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
    if key.expires_at.is_some_and(|at| at <= gateway.clock().now()) {
        return Err(refused("expired", "the API key has expired"));
    }
    let above = readable(gateway.store().keys_above(&key).await)?;
    Ok((key, above))
}

/// What was read of keys. Where it cannot be read, nobody knows what its holder may do.
fn readable<T>(read: Result<T, invite_store::Error>) -> Result<T, Refused> {
    read.map_err(|error| match error {
        error @ invite_store::Error::Corrupt { .. } => {
            tracing::error!(%error, "an API key cannot be read and is refused");
            refused("unreadable", "the API key's record cannot be read; ask for a new key")
        }
        error => Refused::Other(error.into()),
    })
}

/// The key of a request, or why it has none.
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
