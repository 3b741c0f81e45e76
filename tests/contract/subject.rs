//! What is tested: each adapter in each form that its configuration gives it, and what of its
//! provider a check has to know. Nothing here is about one check.

use std::sync::{Arc, LazyLock};

use invite_core::{
    BuildContext, Clock, Fault, InviteProvider, ProviderKind, Recipient,
    http::{AddressGuard, HttpClient},
    secret::{Credential, Secret, SecretRef, SecretRefs},
};
use invite_sandbox::accounts;
use secrecy::SecretString;
use serde_json::{Map, Value, json};

/// An adapter as configured, and its simulator.
pub struct Subject {
    /// The provider's configured name.
    pub name: &'static str,
    pub kind: Arc<ProviderKind>,
    /// The part of the provider document, without `base_url` and the secret.
    pub settings: Value,
    /// The member of the part that holds the secret.
    pub secret: &'static str,
    /// A secret that the simulator takes.
    pub good: &'static str,
    /// One of the right form that it refuses.
    pub wrong: &'static str,
    /// The members of `provider_data` once an invite was created.
    pub data: &'static [&'static str],
    /// What the simulator must show of a recipient's invite.
    pub arrived: fn(&Recipient) -> Value,
    /// The simulator's own refusal of too many requests says how long to wait.
    pub says_wait: bool,
}

/// Every subject: each kind as its simulator says, and as else it can be configured.
pub fn all() -> Vec<Subject> {
    let accounts = accounts();
    let of_kind = |kind: Arc<ProviderKind>| {
        let account = accounts.iter().find(|account| account.kind == kind.name).unwrap();
        let (secret, good) = account.secrets[0];
        let settings = account.settings.iter().map(|(name, value)| ((*name).into(), json!(value)));
        let plain = || Subject {
            name: account.kind,
            kind: kind.clone(),
            settings: Value::Object(Map::from_iter(settings.clone())),
            secret,
            good,
            wrong: account.wrong,
            data: &[],
            arrived: |recipient| json!({ "email": recipient.invitee.email }),
            says_wait: true,
        };
        match account.kind {
            "securegate" => vec![securegate(plain()), securegate_revoking(plain())],
            "rkvst" => vec![rkvst(plain()), rkvst_token(plain()), rkvst_reference(plain())],
            "turnkey" => vec![turnkey(plain()), turnkey_closed(plain())],
            _ => vec![plain()],
        }
    };
    invite_kinds::all().into_iter().flat_map(of_kind).collect()
}

fn securegate(plain: Subject) -> Subject {
    Subject {
        data: &["created_at", "event_id", "session_code", "session_id", "updated_at"],
        arrived: |recipient| {
            json!({
                "email": recipient.invitee.email, "name": full_name(recipient),
                "phone": recipient.invitee.phone, "event_id": accounts::SECUREGATE_EVENT_ID,
                "status": "pending",
            })
        },
        ..plain
    }
}

/// With the one way to withdraw that there is, and every default configured.
fn securegate_revoking(plain: Subject) -> Subject {
    Subject {
        name: "securegate_revoking",
        settings: json!({
            "event_id": accounts::SECUREGATE_EVENT_ID, "authentication_method": "Both",
            "onboarding_flow_type": "kyc", "notify": 2, "revoke_as": "rejected",
        }),
        ..securegate(plain)
    }
}

/// With client credentials.
fn rkvst(plain: Subject) -> Subject {
    Subject {
        data: &["identity", "jit_tenant_id"],
        arrived: |recipient| {
            json!({
                "email": recipient.invitee.email, "message": recipient.invitee.message,
                "tenant_id": accounts::RKVST_TENANT_ID, "status": "pending",
            })
        },
        ..plain
    }
}

/// With a token that somebody else renews.
fn rkvst_token(plain: Subject) -> Subject {
    Subject {
        name: "rkvst_token",
        settings: json!({}),
        secret: "bearer_token",
        good: accounts::RKVST_BEARER_TOKEN,
        wrong: "eyJhbGciOiJSUzI1NiJ9.wrong-token.c2FuZGJveA",
        // The token does not show its tenancy.
        data: &["identity"],
        ..rkvst(plain)
    }
}

/// With messages that are each invite's own.
fn rkvst_reference(plain: Subject) -> Subject {
    Subject {
        name: "rkvst_reference",
        settings: json!({ "client_id": accounts::RKVST_CLIENT_ID, "message_reference": true }),
        arrived: |recipient| {
            let id = recipient.id.to_string();
            let message = recipient.invitee.message.clone().unwrap_or_default();
            json!({
                "email": recipient.invitee.email, "tenant_id": accounts::RKVST_TENANT_ID,
                "message": format!("{message} [ref {}]", &id[id.len() - 12..]),
            })
        },
        ..rkvst(plain)
    }
}

/// With `get_organization`, and the sender that whoami names.
fn turnkey(plain: Subject) -> Subject {
    Subject {
        data: &["activity_id", "fingerprint", "organization_id", "pairing"],
        arrived: |recipient| {
            json!({
                "email": recipient.invitee.email, "name": full_name(recipient),
                "organization_id": accounts::TURNKEY_ORGANIZATION_ID, "status": "created",
            })
        },
        says_wait: false,
        ..plain
    }
}

/// With nothing but what Turnkey documents as public.
fn turnkey_closed(plain: Subject) -> Subject {
    Subject {
        name: "turnkey_closed",
        settings: json!({
            "organization_id": accounts::TURNKEY_ORGANIZATION_ID, "get_organization": false,
            "sender_user_id": accounts::TURNKEY_USER_ID, "access_type": "ACCESS_TYPE_ALL",
        }),
        ..turnkey(plain)
    }
}

fn full_name(recipient: &Recipient) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{} {}", part(&recipient.invitee.first_name), part(&recipient.invitee.last_name))
}

impl Subject {
    /// The part of the provider document, with these secrets.
    pub fn part(&self, base_url: &str, secrets: &[&str]) -> Value {
        let mut part = self.settings.clone();
        part["base_url"] = base_url.into();
        part[self.secret] = match secrets {
            [one] => (*one).into(),
            several => json!(several),
        };
        part
    }

    /// The adapter that a part of the provider document describes.
    pub fn build(
        &self,
        part: &Value,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn InviteProvider>, Vec<Fault>> {
        (self.kind.build)(&BuildContext {
            name: self.name,
            settings: part,
            clock,
            http: HTTP.clone(),
            resolve_secret: &literal_secrets,
        })
    }

    pub fn is(&self, kind: &str) -> bool {
        self.kind.name == kind
    }
}

/// Reading the system's roots once is enough.
static HTTP: LazyLock<HttpClient> =
    LazyLock::new(|| HttpClient::new(AddressGuard::default()).unwrap());

/// The secrets that stand in a document themselves, as for any provider on loopback.
fn literal_secrets(references: &SecretRefs) -> Result<Credential, Fault> {
    let literal = |reference: &SecretRef| match reference {
        SecretRef::Literal(value) => {
            Ok(Arc::new(Secret::new(reference, SecretString::from(value.as_str()))))
        }
        _ => Err(Fault::new("", "secret-unresolved", "only literal secrets stand here")),
    };
    references.iter().map(literal).collect::<Result<_, _>>().map(Credential::new)
}
