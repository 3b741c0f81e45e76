//! The invite: who is invited, what state it is in, and which changes of state are allowed.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The person who is invited, as the caller wrote it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitee {
    /// The address as it was written; [`Address`](crate::Address) is the canonical form.
    pub email: String,
    /// The given name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    /// The family name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    /// The number in the form E.164: `+` and 8 to 15 digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// A text for the mail that the provider sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl fmt::Debug for Invitee {
    /// Shows nothing, because all of it is personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Invitee(…)")
    }
}

impl Invitee {
    /// The pieces of personal data to scrub a provider's text of: each member as it is, and then the parts of it
    /// that a text may name alone, such as one of several given names.
    pub fn personal_data(&self) -> impl Iterator<Item = &str> {
        /// Parts with fewer characters are left out, because they also stand within other words.
        const SHORTEST: usize = 4;
        let names = [&self.first_name, &self.last_name].map(|name| name.as_deref());
        let phone = self.phone.as_deref();
        let whole = std::iter::once(self.email.as_str())
            .chain(names.into_iter().chain([phone, self.message.as_deref()]).flatten());
        let local = self.email.rsplit_once('@').map(|(local, _)| local);
        let parts = local
            .into_iter()
            .chain(local.and_then(|local| local.split('+').next()))
            .chain(names.into_iter().flatten().flat_map(str::split_whitespace))
            .chain(phone.and_then(|phone| phone.strip_prefix('+')));
        whole.chain(parts.filter(|part| part.chars().count() >= SHORTEST))
    }
}

/// An invite that a caller asks for, whose form was checked and which is bound to no provider yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewInvite {
    /// The person.
    pub invitee: Invitee,
    /// The caller's own id for the invite.
    pub external_id: Option<String>,
    /// Labels, by which callers filter and routes choose. No provider gets them.
    pub labels: BTreeMap<String, String>,
    /// For each kind of provider its own options, in that provider's words.
    pub options: BTreeMap<String, Value>,
}

/// The entry of the provider document's `[[routes]]` that chose where an invite goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Route")]
pub struct RouteTaken {
    /// Its place among them; the first is 0.
    pub rule: usize,
    /// Its name; null if it has none.
    pub name: Option<String>,
}

/// Makes an enum of which each value is one word in JSON, in the store and in metrics.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// All of them, in the order of their declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The word used in JSON, in the store and in metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::invite::UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let word = Self::ALL.iter().copied().find(|v| v.as_str() == text);
                word.ok_or($crate::invite::UnknownWord)
            }
        }
    };
}
pub(crate) use words;

/// Why a text is no value of an enum of words: it is none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of the known words")]
pub struct UnknownWord;

words!(
    /// The state of an invite.
    Status {
        /// Durably accepted, not handed to the provider yet.
        Queued = "queued",
        /// A call is under way, or the provider's own processing is being followed.
        Sending = "sending",
        /// A call may or may not have taken effect.
        Unknown = "unknown",
        /// The provider wants a human approval first.
        AwaitingApproval = "awaiting_approval",
        /// Exists at the provider, no answer yet.
        Pending = "pending",
        /// The provider says that it has mailed it.
        Sent = "sent",
        /// The person accepted.
        Accepted = "accepted",
        /// The person declined.
        Declined = "declined",
        /// Lapsed unanswered.
        Expired = "expired",
        /// Withdrawn.
        Revoked = "revoked",
        /// Refused, or given up.
        Failed = "failed",
    }
);

words!(
    /// How a status is known.
    StatusSource {
        /// The gateway's own doing.
        Gateway = "gateway",
        /// The provider said so.
        Provider = "provider",
        /// Set through the API.
        Caller = "caller",
        /// By clock or by absence.
        Inferred = "inferred",
    }
);

impl Status {
    /// Whether nothing that a provider says changes it any more.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Accepted | Self::Declined | Self::Expired | Self::Revoked | Self::Failed
        )
    }

    /// Whether a waiting caller need wait no longer: the invite has left `queued`, `sending` and `unknown`.
    pub const fn is_settled(self) -> bool {
        !matches!(self, Self::Queued | Self::Sending | Self::Unknown)
    }

    /// Whether it counts as an invite of that person for the duplicate rule: it has not ended.
    pub const fn is_live(self) -> bool {
        !self.is_final()
    }

    /// Whether it exists at the provider and may still change there, so that it is asked about.
    pub const fn is_open_at_provider(self) -> bool {
        matches!(self, Self::AwaitingApproval | Self::Pending | Self::Sent)
    }

    /// Whether an invite in this status, whose source is `from`, may get the status `to` from the source `by`.
    ///
    /// - The engine (`Gateway`) moves an invite along its path. It puts back in the queue a failed one for which a
    ///   person asks, and one of several whose call waited for approval and was then refused.
    /// - A provider (`Provider`, or `Inferred` from what it shows) settles what is not final. The one final status
    ///   that it may still change is an `expired` that was inferred from the clock: it may turn out `accepted`,
    ///   however late that comes to light.
    /// - A caller may override an answer (`accepted`, `declined`) and decide an `unknown`.
    pub fn can_become(self, from: StatusSource, to: Self, by: StatusSource) -> bool {
        use Status::{
            Accepted, AwaitingApproval, Declined, Expired, Failed, Pending, Queued, Revoked,
            Sending, Sent, Unknown,
        };
        match by {
            StatusSource::Gateway => match self {
                Queued => matches!(to, Sending | Failed | Revoked),
                Sending => matches!(to, Queued | Unknown | Failed),
                Unknown => matches!(to, Queued | Sending | Failed),
                AwaitingApproval => matches!(to, Queued | Failed),
                Failed => to == Queued,
                _ => false,
            },
            StatusSource::Provider | StatusSource::Inferred => match self {
                Queued | Failed | Accepted | Declined | Revoked => false,
                Expired => from == StatusSource::Inferred && to == Accepted,
                Sending | Unknown => !matches!(to, Queued | Unknown),
                AwaitingApproval | Pending | Sent => !matches!(to, Queued | Sending | Unknown),
            },
            StatusSource::Caller => match self {
                Unknown => matches!(to, Pending | Failed | Queued),
                AwaitingApproval | Pending | Sent | Accepted | Declined => {
                    matches!(to, Pending | Sent | Accepted | Declined)
                        || (to == Revoked && self.is_open_at_provider())
                }
                _ => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_known_of_a_person_has_parts_that_a_text_may_name_alone() {
        let text = |text: &str| Some(text.to_owned());
        let invitee = Invitee {
            email: "quillfeather+1@example.org".to_owned(),
            first_name: text("Anna Jo"),
            last_name: text("Ng"),
            phone: text("+15552000001"),
            message: None,
        };
        let known: Vec<&str> = invitee.personal_data().collect();
        let whole = ["quillfeather+1@example.org", "Anna Jo", "Ng", "+15552000001"];
        let parts = ["quillfeather+1", "quillfeather", "Anna", "15552000001"];
        assert_eq!(known, [whole, parts].concat());
    }

    fn status() -> impl Strategy<Value = Status> {
        prop::sample::select(Status::ALL)
    }

    fn source() -> impl Strategy<Value = StatusSource> {
        prop::sample::select(StatusSource::ALL)
    }

    proptest! {
        #[test]
        fn a_provider_never_changes_a_final_status_but_expired_by_the_clock_to_accepted(
            from in status(), known_by in source(), to in status(),
            by in prop::sample::select(&[StatusSource::Provider, StatusSource::Inferred][..]),
        ) {
            if from.is_final() && from.can_become(known_by, to, by) {
                prop_assert_eq!((from, known_by, to), (Status::Expired, StatusSource::Inferred, Status::Accepted));
            }
        }

        #[test]
        fn only_the_engine_or_a_deciding_person_puts_an_invite_back_in_the_queue(
            from in status(), known_by in source(), by in source(),
        ) {
            if from.can_become(known_by, Status::Queued, by) {
                let engine = by == StatusSource::Gateway
                    && matches!(
                        from,
                        Status::Sending
                            | Status::Unknown
                            | Status::AwaitingApproval
                            | Status::Failed
                    );
                let person = by == StatusSource::Caller && from == Status::Unknown;
                prop_assert!(engine || person);
            }
        }

        #[test]
        fn nothing_that_exists_at_a_provider_is_ever_sent_again(
            from in status(), known_by in source(), by in source(),
        ) {
            if from.can_become(known_by, Status::Sending, by) {
                prop_assert!(!from.is_open_at_provider());
                prop_assert!(from == Status::Queued || from == Status::Unknown || from == Status::Sending);
            }
        }

        #[test]
        fn every_status_is_live_or_final_and_reads_back_from_its_word(s in status()) {
            prop_assert!(s.is_live() != s.is_final());
            prop_assert_eq!(s.as_str().parse::<Status>(), Ok(s));
        }
    }
}
