//! What an administrator writes for a Securegate provider, and what a caller writes in `options.securegate`.

use std::sync::LazyLock;

use invite_core::{
    Destination, Fault, InviteId, SentWith,
    adapter::{BaseUrl, extra},
    schema::Schema,
    secret::SecretRefs,
    text::check_id,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::form_urlencoded::Serializer;

/// What a create call says of an invite: in its item, and in its query.
pub const MEMBERS: [&str; 9] = [
    "first_name",
    "last_name",
    "email",
    "country_code",
    "mobile_number",
    "authentication_method",
    "onboarding_flow_type",
    "notify",
    "event_id",
];

pub static CONFIG: LazyLock<Schema> = LazyLock::new(Schema::of::<Config>);
pub static OPTIONS: LazyLock<Schema> = LazyLock::new(Schema::of::<Options>);

/// The part of the provider document for a Securegate provider.
///
/// `Debug` shows references to secrets, never values.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the API is, such as `https://api.securegate.ai`; a path is kept.
    pub base_url: String,
    /// The API key, or two of which the second takes over when the first is refused.
    pub api_key: SecretRefs,
    /// The event of invites that name none.
    pub event_id: Option<String>,
    /// The verification of invites that name none; left out, Securegate decides (`only_auth`).
    pub onboarding_flow_type: Option<OnboardingFlow>,
    /// How the guests of invites that say nothing else prove who they are.
    pub authentication_method: Option<AuthenticationMethod>,
    /// Passed on as it is; left out, Securegate decides (2). It documents no values.
    pub notify: Option<i64>,
    /// `rejected`: withdraw an invite by setting this status. Left out, nothing can be withdrawn.
    pub revoke_as: Option<RevokeAs>,
    /// Whether invites may have an `options.securegate.extra`.
    #[serde(default)]
    pub allow_extra: bool,
}

/// `options.securegate` of an invite; what is left out comes from the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The event to invite to.
    pub event_id: Option<String>,
    /// The verification that the guest goes through.
    pub onboarding_flow_type: Option<OnboardingFlow>,
    /// How the guest proves who they are at the entrance.
    pub authentication_method: Option<AuthenticationMethod>,
    /// Passed on as it is; Securegate documents no values.
    pub notify: Option<i64>,
    /// Members that go into the invite in the request as they are, beside the gateway's own; only where the provider's
    /// configuration says `allow_extra`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<Map<String, Value>>,
}

/// The verification that a guest goes through
/// (<https://docs.securegate.ai/api-reference/endpoint/create-invites>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnboardingFlow {
    /// Facial recognition alone.
    OnlyAuth,
    /// The full check of an identity.
    Kyc,
    /// Also the social security number.
    SsnVerification,
    /// Also lists of exposed and sanctioned persons.
    PepsSanctions,
    /// Also criminal records.
    CriminalCheck,
}

impl OnboardingFlow {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnlyAuth => "only_auth",
            Self::Kyc => "kyc",
            Self::SsnVerification => "ssn_verification",
            Self::PepsSanctions => "peps_sanctions",
            Self::CriminalCheck => "criminal_check",
        }
    }
}

/// How a guest proves who they are
/// (<https://docs.securegate.ai/api-reference/endpoint/create-invites>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthenticationMethod {
    /// By a QR code.
    #[serde(rename = "QR Code")]
    QrCode,
    /// By their face.
    Biometric,
    /// By both.
    Both,
}

/// The status that stands for a withdrawal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RevokeAs {
    /// Securegate's word for an invite that the guest declined.
    Rejected,
}

impl Config {
    /// Reads and checks a part of the provider document.
    ///
    /// # Errors
    /// All faults, with pointers relative to the part.
    pub fn read(part: &Value) -> Result<(Self, BaseUrl), Vec<Fault>> {
        let config: Self = CONFIG.read(part)?;
        let event_id = config.event_id.as_deref().and_then(check_event_id);
        match (BaseUrl::read(&config.base_url), event_id) {
            (Ok(base_url), None) => Ok((config, base_url)),
            (base_url, event_id) => Err(base_url.err().into_iter().chain(event_id).collect()),
        }
    }

    /// The options of an invite that has none.
    pub fn defaults(&self) -> Options {
        Options {
            event_id: self.event_id.clone(),
            onboarding_flow_type: self.onboarding_flow_type,
            authentication_method: self.authentication_method,
            notify: self.notify,
            extra: None,
        }
    }
}

impl Options {
    /// Reads and checks the `options.securegate` of an invite, and fills in what it leaves out.
    ///
    /// # Errors
    /// All faults, with pointers relative to the options.
    pub fn read(given: Option<&Value>, defaults: &Self) -> Result<Self, Vec<Fault>> {
        let given: Self = given.map_or_else(|| Ok(Self::default()), |v| OPTIONS.read(v))?;
        if let Some(fault) = given.event_id.as_deref().and_then(check_event_id) {
            return Err(vec![fault]);
        }
        Ok(Self {
            event_id: given.event_id.or_else(|| defaults.event_id.clone()),
            onboarding_flow_type: given.onboarding_flow_type.or(defaults.onboarding_flow_type),
            authentication_method: given.authentication_method.or(defaults.authentication_method),
            notify: given.notify.or(defaults.notify),
            extra: given.extra,
        })
    }
}

/// What is stored of an invite's options, with defaults filled in. The event is the destination's scope.
#[derive(Serialize, Deserialize)]
pub struct Params {
    pub authentication_method: AuthenticationMethod,
    onboarding_flow_type: Option<OnboardingFlow>,
    notify: Option<i64>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

impl Params {
    /// The event and the parameters of an invite.
    ///
    /// # Errors
    /// A fault for each that is required and has no default at `provider`, and those of `extra`, with pointers relative to the
    /// options.
    pub fn of(
        options: Options,
        provider: &str,
        allow_extra: bool,
    ) -> Result<(String, Self), Vec<Fault>> {
        let missing = |option: &str| {
            let detail =
                format!("`{option}` is missing, and {provider} (securegate) configures none");
            Fault::new(format!("/{option}"), "required", detail)
        };
        let Options { event_id, onboarding_flow_type, authentication_method, notify, extra } =
            options;
        let extra = extra::read(extra, allow_extra, &MEMBERS);
        match (event_id, authentication_method, extra) {
            (Some(event_id), Some(authentication_method), Ok(extra)) => {
                Ok((event_id, Self { authentication_method, onboarding_flow_type, notify, extra }))
            }
            (event_id, method, extra) => {
                let event_id = event_id.is_none().then(|| missing("event_id"));
                let method = method.is_none().then(|| missing("authentication_method"));
                let extra = extra.err().into_iter().flatten();
                Err(event_id.into_iter().chain(method).chain(extra).collect())
            }
        }
    }

    /// What invites of one call share.
    pub fn call_key(&self) -> String {
        extra::call_key(self.query(), &self.extra)
    }

    /// The query of the create call. What is not set is left out, because Securegate refuses an empty `notify`.
    pub fn query(&self) -> String {
        let mut query = Serializer::new(String::new());
        if let Some(flow) = self.onboarding_flow_type {
            query.append_pair("onboarding_flow_type", flow.as_str());
        }
        if let Some(notify) = self.notify {
            query.append_pair("notify", &notify.to_string());
        }
        query.finish()
    }
}

/// What an invite is sent with ([`ReadBack`](invite_core::ReadBack)). What neither it nor the configuration says is null:
/// Securegate decides.
pub fn read_back(_: InviteId, destination: &Destination, params: &Value) -> SentWith {
    let Ok(params) = Params::deserialize(params) else { return SentWith::default() };
    let Params { authentication_method, onboarding_flow_type, notify, extra } = params;
    let options = Options {
        event_id: Some(destination.scope.clone()),
        authentication_method: Some(authentication_method),
        onboarding_flow_type,
        notify,
        extra: Some(extra).filter(|extra| !extra.is_empty()),
    };
    SentWith::new(&options, None)
}

/// The fault of an event id that cannot be a step of a path, and so would lead elsewhere.
fn check_event_id(event_id: &str) -> Option<Fault> {
    let (code, detail) = check_id(event_id).err()?;
    Some(Fault::new("/event_id", code, detail))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(part: Value) -> Result<(Config, BaseUrl), Vec<(String, String)>> {
        Config::read(&part)
            .map_err(|faults| faults.into_iter().map(|f| (f.pointer, f.code)).collect())
    }

    fn options(given: Value) -> Result<Options, Vec<Fault>> {
        let defaults = Options {
            event_id: Some("event-456".into()),
            authentication_method: Some(AuthenticationMethod::QrCode),
            notify: Some(2),
            ..Options::default()
        };
        Options::read(Some(&given), &defaults)
    }

    #[test]
    fn the_documented_example_is_taken() {
        let (config, base_url) = config(json!({
            "base_url": "https://api.securegate.ai/",
            "api_key": {"env": "SECUREGATE_API_KEY"},
            "event_id": "event-456", "onboarding_flow_type": "kyc",
            "authentication_method": "QR Code", "notify": 2, "revoke_as": "rejected",
        }))
        .unwrap();
        assert_eq!(base_url.as_str(), "https://api.securegate.ai");
        assert_eq!(config.authentication_method, Some(AuthenticationMethod::QrCode));
        assert_eq!(config.onboarding_flow_type.map(OnboardingFlow::as_str), Some("kyc"));
    }

    #[test]
    fn every_fault_of_a_part_is_found_at_once() {
        let faults = config(json!({
            "api_key": "k", "notify": "2", "evnt_id": "e", "authentication_method": "Face",
        }))
        .unwrap_err();
        for expected in ["/base_url", "/notify", "/evnt_id", "/authentication_method"] {
            assert!(
                faults.iter().any(|(pointer, _)| pointer == expected),
                "{expected}: {faults:?}"
            );
        }
    }

    #[test]
    fn an_event_id_that_would_name_another_place_is_refused() {
        for event_id in ["", " ", ".", "..", "a\nb", "../../admin", "a/b?c#d", &"e".repeat(5000)] {
            let faults = options(json!({"event_id": event_id})).unwrap_err();
            assert_eq!(faults[0].pointer, "/event_id", "{event_id:?}");
            let part = json!({
                "base_url": "https://api.securegate.ai", "api_key": {"env": "KEY"},
                "event_id": event_id,
            });
            assert_eq!(config(part).unwrap_err()[0].0, "/event_id", "{event_id:?}");
        }
    }

    #[test]
    fn what_an_invite_leaves_out_comes_from_the_configuration() {
        let read = options(json!({"authentication_method": "Both", "notify": null})).unwrap();
        assert_eq!(read.authentication_method, Some(AuthenticationMethod::Both));
        assert_eq!(read.event_id.as_deref(), Some("event-456"));
        assert_eq!((read.notify, read.onboarding_flow_type), (Some(2), None));
    }

    #[test]
    fn a_word_that_securegate_does_not_know_is_refused_with_those_that_it_knows() {
        let faults = options(json!({"onboarding_flow_type": "full"})).unwrap_err();
        assert_eq!((faults.len(), faults[0].pointer.as_str()), (1, "/onboarding_flow_type"));
        assert!(faults[0].detail.contains("peps_sanctions"), "{}", faults[0].detail);
        assert!(!faults[0].detail.contains("full"), "{}", faults[0].detail);
    }

    #[test]
    fn a_number_that_is_not_written_as_a_whole_one_is_a_fault_at_notify() {
        for given in [json!({"notify": 2.0}), json!({"notify": u64::MAX}), json!({"notify": 2.5})] {
            assert_eq!(options(given).unwrap_err()[0].pointer, "/notify");
        }
    }
}
