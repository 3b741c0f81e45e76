//! What goes into a call to a provider, and what comes back: the values that pass between the engine
//! and the adapters.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Address, InviteId, Invitee, ProviderError, Status, StatusSource, moment, text::plain};

/// Where an invite goes: one account and container at one provider.
///
/// Equal destinations are the same place for the duplicate rule, over all configured names. A
/// destination may be provisional, where nothing shows (yet) which account the credential belongs to:
/// it is then known by a name of ours, and may be the same place as any other at the same service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Destination {
    /// The provider kind.
    pub kind: String,
    /// The provider's base URL without a trailing slash.
    pub base_url: String,
    /// Event, tenancy or organization.
    pub scope: String,
}

/// What the scope of a provisional destination begins with: no id does (see
/// [`check_id`](crate::text::check_id)).
const PROVISIONAL: char = '#';

impl Destination {
    /// A place whose account is not known, named after what it is known by here.
    pub fn provisional(kind: &str, base_url: &str, known_by: &str) -> Self {
        let (kind, base_url) = (kind.to_owned(), base_url.to_owned());
        Self { kind, base_url, scope: format!("{PROVISIONAL}{known_by}") }
    }

    /// Its account is not known.
    pub fn is_provisional(&self) -> bool {
        self.scope.starts_with(PROVISIONAL)
    }

    /// The service that it is at: kind and base URL, as its text begins.
    pub fn service(&self) -> String {
        format!("{} {}", self.kind, self.base_url)
    }

    /// Both may be one place, as far as is known.
    pub fn may_be(&self, other: &Self) -> bool {
        self == other
            || (self.kind == other.kind
                && self.base_url == other.base_url
                && (self.is_provisional() || other.is_provisional()))
    }
}

impl fmt::Display for Destination {
    /// One text, for the store's indexes. The parts cannot hold a space unescaped: the first is a
    /// word and the second a URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.kind, self.base_url, self.scope)
    }
}

impl std::str::FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, ' ').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(kind), Some(base_url), Some(scope)) => Ok(Self { kind, base_url, scope }),
            _ => Err("not a destination: expected kind, base URL and scope".into()),
        }
    }
}

/// Which account a provider's provisional destination turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// What invites were bound to before.
    pub provisional: Destination,
    /// The same place by its account.
    pub destination: Destination,
}

/// What an invite became when it was bound to a provider.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Where it goes.
    pub destination: Destination,
    /// Invites of equal destination and call key may share a create call.
    pub call_key: String,
    /// The adapter's own record of what the invite said and the configuration filled in.
    pub params: Value,
}

/// An invite on its way into a create call, or looked for after one.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipient {
    /// Which invite.
    pub id: InviteId,
    /// The person.
    pub invitee: Invitee,
    /// The canonical address.
    pub address: Address,
    /// Where it goes.
    pub destination: Destination,
    /// What [`InviteProvider::resolve`](crate::InviteProvider::resolve) recorded.
    pub params: Value,
}

/// A create call, frozen: everything that decides what arrives, but no credential.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedCall {
    /// Where it goes.
    pub destination: Destination,
    /// The path and query to post to, below the base URL, starting with `/`.
    pub path: String,
    /// The exact body.
    pub body: String,
    /// A name that the provider itself gives to these bytes, unique in the store.
    pub fingerprint: Option<String>,
    /// The account that the credential showed when the call was prepared, where a provider has
    /// several behind one configuration (RKVST's `jit_tenant_id`).
    pub account: Option<String>,
}

impl fmt::Debug for PreparedCall {
    /// Without the body, which is personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.body.len();
        write!(f, "PreparedCall({} {}, {bytes} bytes)", self.destination, self.path)
    }
}

/// An invite as the provider knows it.
#[derive(Clone, PartialEq)]
pub struct Remote {
    /// Where it is.
    pub destination: Destination,
    /// The provider's id for it, once there is one.
    pub provider_ref: Option<String>,
    /// What earlier replies said ([`Observed::data`]).
    pub data: Map<String, Value>,
    /// The person.
    pub invitee: Invitee,
    /// The canonical address.
    pub address: Address,
    /// Its place in the call that created it.
    pub index: usize,
    /// Its present status.
    pub status: Status,
    /// When it lapses, where the provider said so.
    pub expires_at: Option<Timestamp>,
    /// A call to withdraw it was sent; to a withdrawal: an earlier one was.
    pub revoke_sent: bool,
}

impl fmt::Debug for Remote {
    /// Without what earlier replies said, which may be a credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({:?}, {}, {})", self.provider_ref, self.status, self.destination)
    }
}

/// The longest id of an invite at a provider, in bytes.
const MAX_REF: usize = 1000;

/// What a provider showed of one invite.
#[derive(Clone, PartialEq)]
pub struct Observed {
    /// The provider's id; none while it is still working on it.
    pub provider_ref: Option<String>,
    /// The normalized status.
    pub status: Status,
    /// `Provider` if it said so, `Inferred` if concluded.
    pub source: StatusSource,
    /// Its own word for the status.
    pub provider_status: Option<String>,
    /// Why, for a status that is `Failed`.
    pub failure: Option<ProviderError>,
    /// When it lapses.
    pub expires_at: Option<Timestamp>,
    /// When it was made, by the provider's clock.
    pub created_at: Option<Timestamp>,
    /// What callers need of the reply, by the provider's own names; part of the public API as
    /// `provider_data`.
    pub data: Map<String, Value>,
    /// The fingerprint of the call that made it, where the reply shows it
    /// ([`PreparedCall::fingerprint`]).
    pub fingerprint: Option<String>,
    /// The person, where the reply shows it.
    pub invitee: Option<Invitee>,
}

impl Observed {
    /// An invite of which only id and status are known, by the provider's word. An empty id is none, nor is one
    /// of more than a thousand bytes, and one is without characters that would not be seen where it is shown.
    pub fn new(provider_ref: Option<String>, status: Status) -> Self {
        Self {
            provider_ref: provider_ref.map(plain).filter(|id| (1..=MAX_REF).contains(&id.len())),
            status,
            source: StatusSource::Provider,
            provider_status: None,
            failure: None,
            expires_at: None,
            created_at: None,
            data: Map::new(),
            fingerprint: None,
            invitee: None,
        }
    }

    /// The same of an invite that was made at `made` or later, by our clock: an expiry that is not
    /// after its making is none, and neither is a status that was read off such an expiry.
    pub fn since(mut self, made: Timestamp) -> Self {
        let expires_at = moment::expiry(self.expires_at, self.created_at.unwrap_or(made));
        let is_by_clock = self.status == Status::Expired && self.source == StatusSource::Inferred;
        if is_by_clock && self.expires_at.is_some() && expires_at.is_none() {
            (self.status, self.source) = (Status::Pending, StatusSource::Provider);
        }
        self.expires_at = expires_at;
        self
    }
}

impl fmt::Debug for Observed {
    /// Without the reply's data, which may be a credential (Securegate's `session_code`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observed({:?}, {}, {})", self.provider_ref, self.status, self.source)
    }
}

/// Which invites to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Only those to this address.
    pub email: Option<String>,
    /// Where the last page ended.
    pub cursor: Option<String>,
    /// Another event or organization than the configured one.
    pub scope: Option<String>,
}

impl ListQuery {
    /// Whether an invite is to be listed. How a provider matches an address is its own, so that its
    /// filter is not relied upon.
    pub fn wants(&self, invite: &Observed) -> bool {
        let Some(wanted) = self.email.as_deref().map(Address::shown) else { return true };
        invite.invitee.as_ref().is_some_and(|it| Address::shown(&it.email) == wanted)
    }
}

/// One page of what a provider lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The invites.
    pub invites: Vec<Observed>,
    /// Where the next page starts; none on the last.
    pub next_cursor: Option<String>,
}

/// What came of a credential check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProbeReport {
    /// What was asked and whom the credential belongs to, in a sentence; no secret.
    pub detail: String,
}

/// Calls to one destination whose outcomes are unknown.
#[derive(Clone, Debug, PartialEq)]
pub struct Lookup {
    /// Where they went.
    pub destination: Destination,
    /// The calls.
    pub doubts: Vec<Doubt>,
}

/// A recipient of a look-up: which doubt, and which of its recipients.
pub type Place = (usize, usize);

impl Lookup {
    /// All recipients with their places.
    pub fn recipients(&self) -> impl Iterator<Item = (Place, &Recipient)> {
        self.doubts.iter().enumerate().flat_map(|(doubt, it)| {
            it.recipients.iter().enumerate().map(move |(index, r)| ((doubt, index), r))
        })
    }

    /// What is seen of every recipient before anything else is known.
    pub fn sightings(&self, of_each: impl Fn() -> Sighting) -> Vec<Vec<Sighting>> {
        self.doubts.iter().map(|it| it.recipients.iter().map(|_| of_each()).collect()).collect()
    }
}

/// One call whose outcome is unknown.
#[derive(Clone, Debug, PartialEq)]
pub struct Doubt {
    /// The call as it was frozen.
    pub call: PreparedCall,
    /// Its invites, in the order of the call.
    pub recipients: Vec<Recipient>,
    /// When the first attempt for each of them began, by our clock; in the order of `recipients`.
    pub first_attempts: Vec<Timestamp>,
    /// When this call began, by our clock.
    pub started_at: Timestamp,
    /// What earlier replies to this call said ([`Observed::data`]), such as an activity's id.
    pub data: Map<String, Value>,
}

/// What a lookup saw for one invite. Which of these invites other Invites of ours hold is the
/// engine's to know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sighting {
    /// Invites at the provider that are this one as far as their contents tell.
    pub exact: Vec<Observed>,
    /// Provider ids of invites to the same person that differ from it.
    pub near: Vec<String>,
    /// Why absence cannot be told, as a clause such as "the members list cannot be read: …"; no
    /// secret, no personal data. None: everything that could show it was seen, so that it is absent
    /// if nothing unheld is in `exact` and `near`.
    pub gap: Option<String>,
}

impl Sighting {
    /// One invite, which is this one.
    pub fn exactly(observed: Observed) -> Self {
        Self { exact: vec![observed], ..Self::default() }
    }

    /// Nothing, and why that is not absence.
    pub fn open(gap: impl Into<String>) -> Self {
        Self { gap: Some(gap.into()), ..Self::default() }
    }

    /// Absence cannot be told any more; what kept it from being told first stays the reason.
    pub fn leave_open(&mut self, gap: &str) {
        self.gap.get_or_insert_with(|| gap.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provisional_destination_may_be_any_other_of_its_service() {
        let known = |base_url: &str, scope: &str| Destination {
            kind: "rkvst".into(),
            base_url: base_url.into(),
            scope: scope.into(),
        };
        let provisional = |by| Destination::provisional("rkvst", "https://a.example", by);
        let (one, two) = (known("https://a.example", "t1"), known("https://a.example", "t2"));
        assert!(provisional("acme").is_provisional() && !one.is_provisional());
        assert!(one.may_be(&one) && !one.may_be(&two));
        for other in [one, two, provisional("beta")] {
            assert!(provisional("acme").may_be(&other) && other.may_be(&provisional("acme")));
            assert!(other.to_string().starts_with(&format!("{} ", other.service())));
            assert_eq!(other.to_string().parse(), Ok(other));
        }
        assert!(!provisional("acme").may_be(&known("https://b.example", "t1")));
        let elsewhere = Destination { kind: "turnkey".into(), ..provisional("acme") };
        assert!(!provisional("acme").may_be(&elsewhere));
    }

    #[test]
    fn an_invite_has_not_expired_before_it_was_made() {
        let made: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let by_clock = |expires_at: &str, created_at: Option<Timestamp>| {
            let seen = Observed {
                source: StatusSource::Inferred,
                expires_at: expires_at.parse().ok(),
                created_at,
                ..Observed::new(None, Status::Expired)
            };
            let seen = seen.since(made);
            (seen.status, seen.source, seen.expires_at.map(|at| at.to_string()))
        };
        let open = (Status::Pending, StatusSource::Provider, None);
        for sentinel in [
            "0001-01-01T00:00:00Z",
            "1970-01-01T00:00:00Z",
            "2026-11-21T09:59:59Z",
            "2026-11-21T10:00:00Z",
        ] {
            assert_eq!(by_clock(sentinel, None), open, "{sentinel}");
        }
        let later = "2026-11-21T10:00:01Z";
        let lapsed = (Status::Expired, StatusSource::Inferred, Some(later.to_owned()));
        assert_eq!(by_clock(later, None), lapsed);
        assert_eq!(by_clock(later, later.parse().ok()), open);
        // By the provider's own word it has expired, whatever its clock said.
        let told = Observed {
            expires_at: Some(Timestamp::UNIX_EPOCH),
            ..Observed::new(None, Status::Expired)
        };
        assert_eq!(told.since(made).status, Status::Expired);
    }
}
