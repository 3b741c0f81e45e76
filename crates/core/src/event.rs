//! Events: what the feed and webhooks tell of.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    Status,
    invite::{UnknownWord, words},
};

words!(
    /// What an event tells of.
    EventType {
        /// An invite was accepted, or is to be sent again.
        InviteQueued = "invite.queued",
        /// A call for an invite began. Such events are written only if the settings say so.
        InviteSending = "invite.sending",
        /// The provider wants a human approval first.
        InviteAwaitingApproval = "invite.awaiting_approval",
        /// An invite exists at its provider.
        InvitePending = "invite.pending",
        /// The provider says that it has mailed an invite.
        InviteSent = "invite.sent",
        /// The person accepted.
        InviteAccepted = "invite.accepted",
        /// The person declined.
        InviteDeclined = "invite.declined",
        /// An invite lapsed unanswered.
        InviteExpired = "invite.expired",
        /// An invite was withdrawn.
        InviteRevoked = "invite.revoked",
        /// An invite was refused, or given up.
        InviteFailed = "invite.failed",
        /// It is not known whether a call for an invite took effect.
        InviteUnknown = "invite.unknown",
        /// An invite reads otherwise than before, in the same status.
        InviteUpdated = "invite.updated",
        /// A second effect of one invite was found at its provider.
        InviteDuplicateEffect = "invite.duplicate_effect",
        /// No invite of a batch is `queued`, `sending` or `unknown` any more.
        BatchCompleted = "batch.completed",
        /// The state of a provider is another one. For administrators.
        ProviderStateChanged = "provider.state_changed",
        /// The provider document has a new revision. For administrators.
        ConfigRevised = "config.revised",
        /// A webhook was disabled, because only failures came of it. For administrators.
        WebhookDisabled = "webhook.disabled",
    }
);

impl EventType {
    /// That an invite came into this status.
    pub const fn of(status: Status) -> Self {
        match status {
            Status::Queued => Self::InviteQueued,
            Status::Sending => Self::InviteSending,
            Status::Unknown => Self::InviteUnknown,
            Status::AwaitingApproval => Self::InviteAwaitingApproval,
            Status::Pending => Self::InvitePending,
            Status::Sent => Self::InviteSent,
            Status::Accepted => Self::InviteAccepted,
            Status::Declined => Self::InviteDeclined,
            Status::Expired => Self::InviteExpired,
            Status::Revoked => Self::InviteRevoked,
            Status::Failed => Self::InviteFailed,
        }
    }

    /// Whether it tells of an invite; its subject is the invite's id then.
    pub const fn is_of_invite(self) -> bool {
        !matches!(
            self,
            Self::BatchCompleted
                | Self::ProviderStateChanged
                | Self::ConfigRevised
                | Self::WebhookDisabled
        )
    }
}

/// The id of an event. A later one is higher, as a number and as a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(i64);

impl EventId {
    /// Before every event.
    pub const START: Self = Self(0);
    const PREFIX: &'static str = "evt_";

    /// The id of this number, which is not negative.
    pub const fn of(number: i64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> i64 {
        self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:016x}", Self::PREFIX, self.0)
    }
}

impl FromStr for EventId {
    type Err = UnknownWord;

    /// Accepts exactly what `Display` writes.
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let hex = text.strip_prefix(Self::PREFIX).ok_or(UnknownWord)?;
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if hex.len() != 16 || !hex.bytes().all(is_hex) {
            return Err(UnknownWord);
        }
        i64::from_str_radix(hex, 16).map(Self).map_err(|_| UnknownWord)
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for EventId {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "EventId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^evt_[0-7][0-9a-f]{15}$",
            "examples": ["evt_0000000000001400"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_is_ordered_as_its_text() {
        let ids = [0, 1, 9, 10, 15, 16, 255, 1 << 40, i64::MAX].map(EventId::of);
        assert!(ids.map(|id| id.to_string()).is_sorted());
        for id in ids {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        let wrong = ["", "evt_", "evt_1", "evt_00000000000000AA", "evt_+000000000000001"];
        for text in wrong.into_iter().chain(["evt_8000000000000000", "inv_0000000000000001"]) {
            assert_eq!(text.parse::<EventId>(), Err(UnknownWord), "{text}");
        }
    }

    #[test]
    fn each_status_has_a_type_of_its_name() {
        for status in Status::ALL {
            let event_type = EventType::of(*status);
            assert_eq!(event_type.as_str(), format!("invite.{status}"));
            assert!(event_type.is_of_invite());
        }
        for event_type in EventType::ALL {
            assert_eq!(event_type.is_of_invite(), event_type.as_str().starts_with("invite."));
        }
    }
}
