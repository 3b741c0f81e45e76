//! The API keys that the organization knows, and what their users may do.

use std::sync::LazyLock;

use http::StatusCode;
use p256::ecdsa::SigningKey;

use super::rpc::Problem;
use super::stamp::Stamp;
use crate::accounts;

/// A user of the organization.
#[derive(Debug)]
pub(super) struct User {
    pub id: &'static str,
    pub name: &'static str,
    pub email: &'static str,
    public_key: String,
    key_expired: bool,
    /// Whether a policy allows activities. Queries need no policy.
    pub may_act: bool,
}

static USERS: LazyLock<Vec<User>> = LazyLock::new(|| {
    let user = |id, name, email, private_key, key_expired, may_act| {
        let public_key = public_key(private_key).unwrap_or_default();
        User { id, name, email, public_key, key_expired, may_act }
    };
    vec![
        user(
            accounts::TURNKEY_USER_ID,
            "Gateway",
            "gateway@example.org",
            accounts::TURNKEY_API_PRIVATE_KEY,
            false,
            true,
        ),
        user(
            accounts::TURNKEY_SECOND_USER_ID,
            "Second Approver",
            "approver@example.org",
            accounts::TURNKEY_SECOND_API_PRIVATE_KEY,
            false,
            true,
        ),
        user(
            "0b7d8a5e-8f57-4d0e-9d0c-2f4b8d1e6a03",
            "Leaver",
            "leaver@example.org",
            accounts::TURNKEY_EXPIRED_API_PRIVATE_KEY,
            true,
            true,
        ),
        user(
            "7c2e9b14-3d6a-4f80-b1c5-6a9e0d4f2b04",
            "Reader",
            "reader@example.org",
            accounts::TURNKEY_READ_ONLY_API_PRIVATE_KEY,
            false,
            false,
        ),
    ]
});

/// The compressed public key of a private one, both in hexadecimal.
fn public_key(private_key: &str) -> Option<String> {
    let key = SigningKey::from_slice(&base16ct::lower::decode_vec(private_key).ok()?).ok()?;
    Some(base16ct::lower::encode_string(key.verifying_key().to_sec1_point(true).as_bytes()))
}

/// The user whose key made a stamp.
///
/// # Errors
/// The key is not known, is among those `revoked`, has expired, or is not of this organization.
pub(super) fn user(
    stamp: &Stamp,
    organization: &str,
    revoked: &[String],
) -> Result<&'static User, Problem> {
    let public_key = stamp.public_key.to_lowercase();
    let registered = |user: &&User| user.public_key == public_key && !revoked.contains(&public_key);
    let user = USERS.iter().find(registered).ok_or_else(|| {
        let message = format!("could not find public key in organization {organization}");
        Problem::new(StatusCode::UNAUTHORIZED, "PUBLIC_KEY_NOT_FOUND", message)
    })?;
    if organization != accounts::TURNKEY_ORGANIZATION_ID {
        let message = "the organization of the request is not the organization of the voter";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "ORGANIZATION_MISMATCH", message));
    }
    if user.key_expired {
        let message = "the api key has expired";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "API_KEY_EXPIRED", message));
    }
    Ok(user)
}

/// The user who votes through the control endpoint.
pub(super) fn second_user() -> Option<(&'static User, Stamp)> {
    let user = USERS.iter().find(|user| user.id == accounts::TURNKEY_SECOND_USER_ID)?;
    let stamp = Stamp {
        public_key: user.public_key.clone(),
        signature: String::new(),
        scheme: "SIGNATURE_SCHEME_TK_API_P256".to_owned(),
    };
    Some((user, stamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_keys_follow_from_the_private_ones() {
        let own = public_key(accounts::TURNKEY_API_PRIVATE_KEY).unwrap();
        assert_eq!(own, accounts::TURNKEY_API_PUBLIC_KEY);
        let second = public_key(accounts::TURNKEY_SECOND_API_PRIVATE_KEY).unwrap();
        assert_eq!(second, accounts::TURNKEY_SECOND_API_PUBLIC_KEY);
        let expired = public_key(accounts::TURNKEY_EXPIRED_API_PRIVATE_KEY).unwrap();
        assert_eq!(expired, "02f739f8c77b32f4d5f13265861febd76e7a9c61a1140d296b8c16302508870316");
        assert!(USERS.iter().all(|user| user.public_key.len() == 66));
    }
}
