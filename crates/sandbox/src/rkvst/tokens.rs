//! RKVST's token endpoint, and the check of bearer tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::settings::Settings;
use crate::simulator::{Call, Reply, json as json_reply};
use crate::{accounts, ids};

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Owner,
    /// The role of an app registration by default, which is allowed nothing here.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caller {
    pub role: Role,
    /// The tenancy that the caller's registration belongs to.
    pub tenant: &'static str,
}

const OWNER: Caller = Caller { role: Role::Owner, tenant: accounts::RKVST_TENANT_ID };
const NON_OWNER: Caller = Caller { role: Role::Other, tenant: accounts::RKVST_TENANT_ID };
const ELSEWHERE: Caller = Caller { role: Role::Owner, tenant: accounts::RKVST_FOREIGN_TENANT_ID };

/// A client secret of an app registration.
struct Registered {
    client_id: &'static str,
    secret: &'static str,
    caller: Caller,
}

const REGISTERED: [Registered; 5] = [
    Registered {
        client_id: accounts::RKVST_CLIENT_ID,
        secret: accounts::RKVST_CLIENT_SECRET,
        caller: OWNER,
    },
    Registered {
        client_id: accounts::RKVST_CLIENT_ID,
        secret: accounts::RKVST_SECOND_CLIENT_SECRET,
        caller: OWNER,
    },
    Registered {
        client_id: accounts::RKVST_OTHER_CLIENT_ID,
        secret: accounts::RKVST_OTHER_CLIENT_SECRET,
        caller: OWNER,
    },
    Registered {
        client_id: accounts::RKVST_FOREIGN_CLIENT_ID,
        secret: accounts::RKVST_FOREIGN_CLIENT_SECRET,
        caller: ELSEWHERE,
    },
    Registered {
        client_id: accounts::RKVST_NON_OWNER_CLIENT_ID,
        secret: accounts::RKVST_NON_OWNER_CLIENT_SECRET,
        caller: NON_OWNER,
    },
];

/// A token that was issued.
#[derive(Debug)]
struct Issued {
    token: String,
    /// The client secret that it was issued for.
    secret: &'static str,
    caller: Caller,
    /// The host that it is bound to.
    host: String,
    expires_at: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Tokens {
    issued: Vec<Issued>,
}

impl Tokens {
    /// Whose token a call carries; none if it is not good now on this host.
    pub fn caller(&self, call: &Call, now: Timestamp, settings: &Settings) -> Option<Caller> {
        let (scheme, token) = call.header("authorization")?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        if settings.shared.is_revoked(token) {
            return None;
        }
        match token {
            accounts::RKVST_BEARER_TOKEN
            | accounts::RKVST_SECOND_BEARER_TOKEN
            | accounts::RKVST_TELLING_BEARER_TOKEN => Some(OWNER),
            accounts::RKVST_NON_OWNER_TOKEN => Some(NON_OWNER),
            _ => {
                let host = host(call);
                let ended =
                    |secret| settings.revocation_ends_tokens && settings.shared.is_revoked(secret);
                let good = |own: &&Issued| {
                    let alive = own.expires_at > now && !ended(own.secret);
                    own.token == token && own.host == host && alive
                };
                self.issued.iter().find(good).map(|own| own.caller)
            }
        }
    }

    /// `POST appidp/token`, which issues a JWT for client credentials in a form.
    pub fn issue(&mut self, call: &Call, now: Timestamp, settings: &Settings) -> Reply {
        let Registered { client_id, secret, caller } = match client(call, settings) {
            Ok(client) => client,
            Err(refused) => return refused.reply(),
        };
        let lifetime_seconds = settings.token_lifetime_seconds;
        let host = host(call);
        let expires_at = now
            .checked_add(jiff::SignedDuration::from_secs(lifetime_seconds))
            .unwrap_or(Timestamp::MAX);
        let token = jwt(client_id, caller.tenant, &host, (now, expires_at));
        let answer = json!({
            "access_token": token,
            "expires_in": lifetime_seconds,
            "token_type": "Bearer",
        });
        self.issued.push(Issued { token, secret, caller, host, expires_at });
        json_reply(StatusCode::OK, &answer)
    }
}

/// The registration whose secret the form holds.
fn client(call: &Call, settings: &Settings) -> Result<Registered, Refused> {
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
    REGISTERED
        .into_iter()
        .find(|own| credentials == (Some(own.client_id), Some(own.secret)))
        .filter(|own| !settings.shared.is_revoked(own.secret))
        .ok_or(Refused(StatusCode::UNAUTHORIZED, "invalid_client", "client authentication failed"))
}

/// An error and its description, in OAuth's form: the vendor documents none for this endpoint.
struct Refused(StatusCode, &'static str, &'static str);

impl Refused {
    fn reply(self) -> Reply {
        let Self(status, error, description) = self;
        json_reply(status, &json!({ "error": error, "error_description": description }))
    }
}

fn host(call: &Call) -> String {
    call.header("host").unwrap_or_default().to_owned()
}

/// A token that looks like the vendor's sample. Nobody else could check its signature, so random bytes stand in its
/// place.
fn jwt(
    client_id: &str,
    tenant: &str,
    host: &str,
    (now, expires_at): (Timestamp, Timestamp),
) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(&json!({ "alg": "RS256", "kid": "sandbox", "typ": "at+jwt" }));
    let claims = part(&json!({
        "jit_tenant_id": tenant,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_telling_token_shows_the_tenancy() {
        let claims = accounts::RKVST_TELLING_BEARER_TOKEN.split('.').nth(1).unwrap();
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!(claims["jit_tenant_id"], accounts::RKVST_TENANT_ID);
    }
}
