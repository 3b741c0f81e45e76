//! Postcard's part of the provider document and the `options.postcard` of an invite: form, defaults
//! and checks. Whether `base_url` may be reached at all is the configuration crate's to judge.

use std::sync::LazyLock;

use invite_core::{
    Destination, Fault, InviteId, NewInvite, SentWith, adapter::BaseUrl, schema::Schema,
    secret::SecretRefs,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The schema of its part of the document.
pub static CONFIG: LazyLock<Schema> = LazyLock::new(Schema::of::<Config>);
/// The schema of an invite's options.
pub static OPTIONS: LazyLock<Schema> = LazyLock::new(Schema::of::<Options>);

/// `[providers.<name>]` with `kind = "postcard"`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the post office is.
    pub base_url: String,
    /// The account's token, or two of which the second takes over when the first is refused.
    pub token: SecretRefs,
    /// The motif of invites that name none.
    #[serde(default)]
    pub motif: Motif,
    /// The text of invites without a message.
    #[serde(default = "default_text")]
    #[schemars(length(min = 1))]
    pub text: String,
}

/// `options.postcard` of an invite; what is left out comes from the configuration.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// What the front of the card shows.
    pub motif: Option<Motif>,
}

/// What the front of a card shows.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Motif {
    /// A lighthouse at night.
    #[default]
    Lighthouse,
    /// Boats in a harbour.
    Harbour,
}

/// What is recorded of an invite when it is bound to a provider.
#[derive(Serialize, Deserialize)]
pub struct Params {
    /// The motif of the card.
    pub motif: Motif,
    /// The text of the card.
    pub text: String,
}

/// What an invite is sent with.
pub fn read_back(_: InviteId, _: &Destination, params: &Value) -> SentWith {
    let Ok(params) = Params::deserialize(params) else { return SentWith::default() };
    SentWith::new(&Options { motif: Some(params.motif) }, Some(params.text))
}

fn default_text() -> String {
    "You are invited.".into()
}

impl Config {
    /// Reads and checks a part of the provider document.
    ///
    /// # Errors
    /// Every fault, with pointers relative to the part.
    pub fn read(part: &Value) -> Result<(Self, BaseUrl), Vec<Fault>> {
        let config: Self = CONFIG.read(part)?;
        let base_url = BaseUrl::read(&config.base_url).map_err(|fault| vec![fault])?;
        Ok((config, base_url))
    }

    /// What an invite says, with what it leaves out filled in.
    ///
    /// # Errors
    /// Every fault, with pointers relative to the options.
    pub fn bind(&self, invite: &NewInvite) -> Result<Params, Vec<Fault>> {
        let given = invite.options.get("postcard");
        let given: Options = given.map_or_else(|| Ok(Options::default()), |v| OPTIONS.read(v))?;
        let text = invite.invitee.message.as_ref().unwrap_or(&self.text).clone();
        Ok(Params { motif: given.motif.unwrap_or(self.motif), text })
    }
}
