//! The credentials and ids that the simulators know. All are made up, and none opens anything at a provider.

/// What a provider document says to reach a simulator, but for its URL.
#[derive(Debug)]
pub struct Account {
    /// The simulator's name, which is that of the kind.
    pub kind: &'static str,
    /// The settings, by their names, without secrets.
    pub settings: &'static [(&'static str, &'static str)],
    /// The setting that holds the secret, with a secret that is good. Each further one may be used instead of it.
    pub secrets: &'static [(&'static str, &'static str)],
    /// A secret of the right form that opens nothing.
    pub wrong: &'static str,
}

impl Account {
    /// All settings and secrets, by their names.
    pub fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        self.settings.iter().chain(self.secrets).copied()
    }
}

pub(crate) const SECUREGATE: Account = Account {
    kind: "securegate",
    settings: &[("event_id", SECUREGATE_EVENT_ID), ("authentication_method", "QR Code")],
    secrets: &[("api_key", SECUREGATE_API_KEY)],
    wrong: "sg-wrong-key-000000000000",
};
pub(crate) const RKVST: Account = Account {
    kind: "rkvst",
    settings: &[("client_id", RKVST_CLIENT_ID)],
    secrets: &[("client_secret", RKVST_CLIENT_SECRET), ("bearer_token", RKVST_BEARER_TOKEN)],
    wrong: "wrong+client/secret=00000000",
};
pub(crate) const TURNKEY: Account = Account {
    kind: "turnkey",
    settings: &[("organization_id", TURNKEY_ORGANIZATION_ID)],
    secrets: &[("api_private_key", TURNKEY_API_PRIVATE_KEY)],
    wrong: "1111111111111111111111111111111111111111111111111111111111111111",
};

pub const SECUREGATE_API_KEY: &str = "sg-sandbox-key-1f0c6d2ab7";
/// A second API key, which is as good as the first: for rotation.
pub const SECUREGATE_SECOND_API_KEY: &str = "sg-sandbox-key-9be47730c5";
/// An event that is going on.
pub const SECUREGATE_EVENT_ID: &str = "event-456";
/// An event that is still to come.
pub const SECUREGATE_UPCOMING_EVENT_ID: &str = "event-457";
/// An event that has ended.
pub const SECUREGATE_ENDED_EVENT_ID: &str = "event-458";

/// The client id of an app registration with the Owner role.
pub const RKVST_CLIENT_ID: &str = "d1fb6c87-faa9-4d56-b2fd-a5b70a9af065";
pub const RKVST_CLIENT_SECRET: &str = "sandbox+client/secret=53b8b6a1";
/// A second secret of the same registration, which is as good as the first: for rotation.
pub const RKVST_SECOND_CLIENT_SECRET: &str = "sandbox+client/secret=e07c92d4";
/// A bearer token of the same registration that never expires.
pub const RKVST_BEARER_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.sandbox-owner.c2FuZGJveA";
/// A second such token, which is as good as the first: for rotation.
pub const RKVST_SECOND_BEARER_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.sandbox-owner.c2Vjb25k";
/// The client id of another app registration with the Owner role.
pub const RKVST_OTHER_CLIENT_ID: &str = "6c1a0f5e-93b7-4f0d-8f1c-2f6f4b7d9e31";
pub const RKVST_OTHER_CLIENT_SECRET: &str = "sandbox+other/secret=4d1e88c0";
/// The client id of an app registration without the Owner role, as registrations are by default.
pub const RKVST_NON_OWNER_CLIENT_ID: &str = "0e7fa1f6-30f2-4b0c-9d21-1a5a2dd2a3ee";
pub const RKVST_NON_OWNER_CLIENT_SECRET: &str = "sandbox-non-owner-secret-07d1";
/// A bearer token of the registration without the Owner role that never expires.
pub const RKVST_NON_OWNER_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.sandbox-non-owner.c2FuZGJveA";
/// The tenancy of all registrations but the foreign one.
pub const RKVST_TENANT_ID: &str = "tenant/7dd2e36b-3a3e-4a1c-a9f4-2a6c7f0e8b11";
/// The address of the tenancy's one member at the start.
pub const RKVST_OWNER_EMAIL: &str = "owner@example.org";
/// A bearer token of the first registration that shows its tenancy, as tokens do that are issued for client
/// credentials. The other bearer tokens show nothing.
pub const RKVST_TELLING_BEARER_TOKEN: &str = "\
    eyJhbGciOiJSUzI1NiJ9.eyJqaXRfdGVuYW50X2lkIjoidGVuYW50LzdkZDJlMzZiLTNhM2UtNGExYy1hOWY0LTJ\
    hNmM3ZjBlOGIxMSIsImppdF90aWVyIjoiRlJFRSIsIm5hbWUiOiJzYW5kYm94IiwiY2xpZW50X2lkIjoiZDFmYjZ\
    jODctZmFhOS00ZDU2LWIyZmQtYTViNzBhOWFmMDY1In0.c2FuZGJveA";
/// The client id of an app registration of another tenancy, with the Owner role there.
pub const RKVST_FOREIGN_CLIENT_ID: &str = "b7c3d9e1-0a44-4a3e-9b1f-3d2e6f8a5c70";
pub const RKVST_FOREIGN_CLIENT_SECRET: &str = "sandbox-foreign-secret-9a27";
pub const RKVST_FOREIGN_TENANT_ID: &str = "tenant/f1b0c2d4-5e6a-4788-9c0d-1e2f3a4b5c6d";

pub const TURNKEY_ORGANIZATION_ID: &str = "89881fc7-6ff3-4b43-b962-916698f8ff58";
/// Another organization that exists, in which none of the keys below is registered.
pub const TURNKEY_OTHER_ORGANIZATION_ID: &str = "35e5c619-ba95-417c-bb48-b16f1543aea0";
/// The user that owns [`TURNKEY_API_PRIVATE_KEY`].
pub const TURNKEY_USER_ID: &str = "c7517305-6772-4e74-8101-108fbab0c11e";
/// The user that owns [`TURNKEY_SECOND_API_PRIVATE_KEY`].
pub const TURNKEY_SECOND_USER_ID: &str = "5f1c6f4e-0b1d-4c7a-8a56-8e5f7d3b9c02";
/// A P-256 key (hexadecimal) that may do everything.
pub const TURNKEY_API_PRIVATE_KEY: &str =
    "f0249daa9da7aad965d138773320341f465e17ff86afdbcd6f4762d375e019c2";
/// The public half of [`TURNKEY_API_PRIVATE_KEY`].
pub const TURNKEY_API_PUBLIC_KEY: &str =
    "02b8877aec786dbb182fdb6513f9a998806bf0d21c48adb35edb57edd5f2ff5725";
/// A key of a second user, who may do everything too, and can give the second vote.
pub const TURNKEY_SECOND_API_PRIVATE_KEY: &str =
    "9720de87f61537e481f95f4433bed97b9d60719457c4dd20dac4bbf377f59c69";
/// The public half of [`TURNKEY_SECOND_API_PRIVATE_KEY`].
pub const TURNKEY_SECOND_API_PUBLIC_KEY: &str =
    "02a1d9ee281053cf73c07678d6c1231216e8434f87662b75f08c66882c2f95ee45";
/// A key that expired.
pub const TURNKEY_EXPIRED_API_PRIVATE_KEY: &str =
    "487f361ddfd73440e707f4daa6775b376859e8a3c9f29b3bb694a12927c0213c";
/// A key whose user may read, but to whom the policies allow no activity.
pub const TURNKEY_READ_ONLY_API_PRIVATE_KEY: &str =
    "2555c36427b034ad2a93cb43eacfa767b28da1f7a0580d231bd7dab26c1aa2cb";
