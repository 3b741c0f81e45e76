//! The values that pass between the engine and the adapters: what goes into a call to a provider, and what comes
//! back.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Address, InviteId, Invitee, ProviderError, Status, StatusSource, moment, text::plain};

/// Where an invite goes: one account and container at one provider.
///
/// Equal destinations are the same place for the duplicate rule, whatever the providers are called in the document.
/// While nothing shows which account a credential belongs to, the destination is provisional: it has a name of
/// ours, and may be the same place as any other destination at that service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Destination {
    /// The kind of provider.
    pub kind: String,
    /// The provider's base URL without a trailing slash.
    pub base_url: String,
    /// The container in it: an event, a tenancy or an organization.
    pub scope: String,
}

/// The first character of a provisional destination's scope. No id begins with it
/// ([`check_id`](crate::text::check_id)).
const PROVISIONAL: char = '#';

impl Destination {
    /// A destination whose account is not known, under a name of ours.
    pub fn provisional(kind: &str, base_url: &str, known_by: &str) -> Self {
        let (kind, base_url) = (kind.to_owned(), base_url.to_owned());
        Self { kind, base_url, scope: format!("{PROVISIONAL}{known_by}") }
    }

    /// Whether its account is not known.
    pub fn is_provisional(&self) -> bool {
        self.scope.starts_with(PROVISIONAL)
    }

    /// The service that it is at: kind and base URL, with which its text begins.
    pub fn service(&self) -> String {
        format!("{} {}", self.kind, self.base_url)
    }

    /// Whether both may be the same place, as far as is known.
    pub fn may_be(&self, other: &Self) -> bool {
        self == other
            || (self.kind == other.kind
                && self.base_url == other.base_url
                && (self.is_provisional() || other.is_provisional()))
    }
}

impl fmt::Display for Destination {
    /// One text, for the store's indexes. It reads back because the first two parts, a word and a URL, hold no
    /// space.
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

/// The account that a provisional destination turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The destination that invites were bound to before.
    pub provisional: Destination,
    /// The same place under its account.
    pub destination: Destination,
}

/// What an invite became when it was bound to a provider.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Where it goes.
    pub destination: Destination,
    /// Invites with equal destinations and call keys may share a create call.
    pub call_key: String,
    /// The adapter's own record of what the invite said and the configuration filled in.
    pub params: Value,
}

/// An invite that goes into a create call, or is looked for after one.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipient {
    /// The invite's own id.
    pub id: InviteId,
    /// The person.
    pub invitee: Invitee,
    /// The person's canonical address.
    pub address: Address,
    /// Where it goes.
    pub destination: Destination,
    /// What [`InviteProvider::resolve`](crate::InviteProvider::resolve) recorded.
    pub params: Value,
}

/// A frozen create call: everything that decides what arrives, but no credential.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedCall {
    /// Where it goes.
    pub destination: Destination,
    /// The path and query to post to, below the base URL, starting with `/`.
    pub path: String,
    /// The body, sent byte for byte.
    pub body: String,
    /// The name that the provider itself gives to these bytes, which is unique in the store.
    pub fingerprint: Option<String>,
    /// The account that the credential showed when the call was prepared, for providers where one configuration may
    /// come to belong to another account (RKVST's `jit_tenant_id`).
    pub account: Option<String>,
}

impl fmt::Debug for PreparedCall {
    /// Leaves the body out, because it is personal data.
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
    /// The provider's id, once there is one.
    pub provider_ref: Option<String>,
    /// What earlier replies said ([`Observed::data`]).
    pub data: Map<String, Value>,
    /// The person.
    pub invitee: Invitee,
    /// The person's canonical address.
    pub address: Address,
    /// Its place in the call that created it; the first is 0.
    pub index: usize,
    /// Its status by our record.
    pub status: Status,
    /// When it lapses, if the provider said so.
    pub expires_at: Option<Timestamp>,
    /// Whether a call to withdraw it was sent, before this one.
    pub revoke_sent: bool,
}

impl fmt::Debug for Remote {
    /// Leaves out what earlier replies said, which may be a credential.
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
    /// `Provider` if the provider said so, `Inferred` if it was concluded.
    pub source: StatusSource,
    /// The provider's own word for the status.
    pub provider_status: Option<String>,
    /// Why it failed, if the status is `Failed`.
    pub failure: Option<ProviderError>,
    /// When it lapses, if the reply says so.
    pub expires_at: Option<Timestamp>,
    /// When it was made, by the provider's clock.
    pub created_at: Option<Timestamp>,
    /// What callers need of the reply, under the provider's own names. The public API shows it as `provider_data`. What is
    /// null is none any more; what is left out stays as an earlier reply said.
    pub data: Map<String, Value>,
    /// The [`fingerprint`](PreparedCall::fingerprint) of the call that made it, if the reply shows it.
    pub fingerprint: Option<String>,
    /// The person, if the reply shows who it is.
    pub invitee: Option<Invitee>,
}

impl Observed {
    /// An invite of which the provider showed id and status only. Invisible characters of the id are dropped; one
    /// that is then empty, or longer than a thousand bytes, counts as none.
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

    /// Corrects what was shown of an invite that was made at `made` or later, by our clock: an expiry that is not
    /// after its making does not count, nor does a status that was inferred from such an expiry.
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
    /// Leaves out the reply's data, which may be a credential (Securegate's `session_code`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observed({:?}, {}, {})", self.provider_ref, self.status, self.source)
    }
}

/// Which invites to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Only those to this address.
    pub email: Option<String>,
    /// The cursor of the page, from the one before it; none for the first.
    pub cursor: Option<String>,
    /// Another event or organization than the configured one.
    pub scope: Option<String>,
}

impl ListQuery {
    /// Whether an invite is to be listed. The provider's own filter is not relied upon, because it may match
    /// addresses in another way.
    pub fn wants(&self, invite: &Observed) -> bool {
        let Some(wanted) = self.email.as_deref().map(Address::shown) else { return true };
        invite.invitee.as_ref().is_some_and(|it| Address::shown(&it.email) == wanted)
    }
}

/// One page of what a provider lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The invites on it.
    pub invites: Vec<Observed>,
    /// The cursor of the next page; none on the last.
    pub next_cursor: Option<String>,
}

/// The result of checking a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProbeReport {
    /// What was asked and whom the credential belongs to, in a sentence; no secret.
    pub detail: String,
}

/// Calls to one destination whose outcomes are unknown, to be looked up together.
#[derive(Clone, Debug, PartialEq)]
pub struct Lookup {
    /// Where they went.
    pub destination: Destination,
    /// The calls that are in doubt.
    pub doubts: Vec<Doubt>,
}

/// Where a recipient stands in a look-up: the place of its doubt, and its place among the doubt's recipients.
pub type Place = (usize, usize);

impl Lookup {
    /// All recipients, with their places.
    pub fn recipients(&self) -> impl Iterator<Item = (Place, &Recipient)> {
        self.doubts.iter().enumerate().flat_map(|(doubt, it)| {
            it.recipients.iter().enumerate().map(move |(index, r)| ((doubt, index), r))
        })
    }

    /// The same sighting for each recipient, as a look-up begins with.
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
    /// When the first attempt for each of them began, by our clock, in the order of `recipients`.
    pub first_attempts: Vec<Timestamp>,
    /// For each of them whether it would count now that it is absent, in the order of `recipients`; what is missing here
    /// does not. What only proves absence need not be asked for the others, which are left open then
    /// ([`TOO_EARLY`](crate::adapter::TOO_EARLY)).
    pub absence_counts: Vec<bool>,
    /// When this call began, by our clock.
    pub started_at: Timestamp,
    /// What earlier replies to this call said ([`Observed::data`]), such as an activity's id.
    pub data: Map<String, Value>,
}

impl Doubt {
    /// Whether it would count now that the recipient at this place is absent.
    pub fn counts_absence(&self, index: usize) -> bool {
        self.absence_counts.get(index).copied().unwrap_or(false)
    }
}

/// What a look-up saw of one invite. The engine knows which of the invites seen belong to other Invites of ours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sighting {
    /// Invites at the provider that are this one, as far as their contents show.
    pub exact: Vec<Observed>,
    /// Ids of invites at the provider that are to the same person and differ from this one.
    pub near: Vec<String>,
    /// Why absence cannot be told, as a clause such as "the members list cannot be read: …", without secrets and
    /// personal data. None means that everything was seen that could show the invite, so that it is absent unless
    /// something in `exact` or `near` belongs to no other Invite.
    pub gap: Option<String>,
}

impl Sighting {
    /// A sighting of exactly this invite.
    pub fn exactly(observed: Observed) -> Self {
        Self { exact: vec![observed], ..Self::default() }
    }

    /// A sighting of nothing, and why that is not absence.
    pub fn open(gap: impl Into<String>) -> Self {
        Self { gap: Some(gap.into()), ..Self::default() }
    }

    /// Notes why absence cannot be told. The first reason stays.
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
