//! RKVST's token endpoint and the check of bearer tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::simulator::{Call, Reply, json as json_reply};
use crate::{accounts, ids};

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Owner,
    /// What an app registration is by default: authenticated, and allowed nothing here.
    Other,
}

/// A token given out, with the host it is bound to.
#[derive(Debug)]
struct Issued {
    token: String,
    role: Role,
    host: String,
    expires_at: Timestamp,
}

/// The tokens in circulation.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    issued: Vec<Issued>,
}

impl Tokens {
    /// Who is calling; nobody without a token that is good now, on this host.
    pub fn role(&self, call: &Call, now: Timestamp) -> Option<Role> {
        let (scheme, token) = call.header("authorization")?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        match token {
            accounts::RKVST_BEARER_TOKEN => Some(Role::Owner),
            accounts::RKVST_NON_OWNER_TOKEN => Some(Role::Other),
            _ => {
                let host = host(call);
                let good =
                    |own: &&Issued| own.token == token && own.expires_at > now && own.host == host;
                self.issued.iter().find(good).map(|own| own.role)
            }
        }
    }

    /// `POST appidp/token`: client credentials in a form, a JWT in return.
    pub fn issue(&mut self, call: &Call, now: Timestamp, lifetime_seconds: i64) -> Reply {
        let (client_id, role) = match client(call) {
            Ok(client) => client,
            Err(refused) => return refused.reply(),
        };
        let host = host(call);
        let expires_at = now
            .checked_add(jiff::SignedDuration::from_secs(lifetime_seconds))
            .unwrap_or(Timestamp::MAX);
        let token = jwt(&client_id, &host, now, expires_at);
        let answer = json!({
            "access_token": token,
            "expires_in": lifetime_seconds,
            "token_type": "Bearer",
        });
        self.issued.push(Issued { token, role, host, expires_at });
        json_reply(StatusCode::OK, &answer)
    }
}

/// The client that the form names and proves to be.
fn client(call: &Call) -> Result<(String, Role), Refused> {
    let content_type = call.header("content-type").unwrap_or_default();
    if !content_type.starts_with("application/x-www-form-urlencoded") {
        return Err(Refused(StatusCode::BAD_REQUEST, "invalid_request", "a form is expected"));
    }
    let form: Vec<(String, String)> =
        url::form_urlencoded::parse(&call.body).into_owned().collect();
    let field = |name: &str| form.iter().find(|(own, _)| own == name).map(|(_, v)| v.as_str());
    if field("grant_type") != Some("client_credentials") {
        let what = "the grant type must be client_credentials";
        return Err(Refused(StatusCode::BAD_REQUEST, "unsupported_grant_type", what));
    }
    let credentials = (field("client_id"), field("client_secret"));
    let known = [
        (accounts::RKVST_CLIENT_ID, accounts::RKVST_CLIENT_SECRET, Role::Owner),
        (accounts::RKVST_NON_OWNER_CLIENT_ID, accounts::RKVST_NON_OWNER_CLIENT_SECRET, Role::Other),
    ];
    known
        .into_iter()
        .find(|(id, secret, _)| credentials == (Some(*id), Some(*secret)))
        .map(|(id, _, role)| (id.to_owned(), role))
        .ok_or(Refused(StatusCode::UNAUTHORIZED, "invalid_client", "client authentication failed"))
}

/// OAuth's error form, with the error and its description: the vendor documents none for this
/// endpoint.
struct Refused(StatusCode, &'static str, &'static str);

impl Refused {
    fn reply(self) -> Reply {
        let Self(status, error, description) = self;
        json_reply(status, &json!({ "error": error, "error_description": description }))
    }
}

/// A token is bound to the host it was got from.
fn host(call: &Call) -> String {
    call.header("host").unwrap_or_default().to_owned()
}

/// A token that looks like the vendor's sample. Nobody but us could check its signature, so there
/// is none: only random bytes in its place.
fn jwt(client_id: &str, host: &str, now: Timestamp, expires_at: Timestamp) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(&json!({ "alg": "RS256", "kid": "sandbox", "typ": "at+jwt" }));
    let claims = part(&json!({
        "jit_tenant_id": accounts::RKVST_TENANT_ID,
        "jit_tier": "FREE",
        "name": "sandbox",
        "jti": ids::random().to_string(),
        "sub": client_id,
        "client_id": client_id,
        "iss": format!("https://{host}/appidpv1"),
        "aud": format!("https://{host}/archivist"),
        "iat": now.as_second(),
        "exp": expires_at.as_second(),
    }));
    let signature = URL_SAFE_NO_PAD.encode([*ids::random().as_bytes(); 16].concat());
    format!("{header}.{claims}.{signature}")
}
