//! What changes about an invite.

use std::borrow::Cow;

use invite_core::{AttemptId, Reason, Status, StatusSource};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::{debug::debug_only, phase::Phase, values::storable};

/// What changes about an invite. As JSON, which events keep of it, what is unset and what callers do not see
/// is left out; `updated_at` is the event's time.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, PartialEq, Hash, Serialize, Deserialize)]
pub struct InviteState {
    /// As it was last stored; to be shown is [`InviteRecord::status_at`](crate::InviteRecord::status_at).
    pub phase: Phase,
    /// How the status is known.
    pub source: StatusSource,
    /// The provider's own id for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_ref: Option<String>,
    /// The provider's own word for the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_status: Option<String>,
    /// What callers need of the provider's replies.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub provider_data: Map<String, Json>,
    /// The provider ids of second effects that were found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub second_effects: Vec<String>,
    /// The fingerprint of the call that the provider showed as what created it.
    #[serde(skip)]
    pub shown_fingerprint: Option<String>,
    /// When the provider says it lapses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When the provider was last asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempt_count: u32,
    /// The group that its next calls are confined to: a half of a refused call, or this invite alone.
    #[serde(skip)]
    pub group_id: Option<String>,
    /// Why it failed, or is in doubt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Reason>,
    /// A second effect at the provider was found. It stays true once the ids of those are erased.
    #[serde(default, skip_serializing_if = "is_false")]
    pub duplicate_effect: bool,
    /// A call to withdraw it was sent.
    #[serde(skip)]
    pub revoke_sent: bool,
    /// From when its age in the queue counts: when it was accepted, retried, or queued again because an approval was refused.
    #[serde(skip)]
    pub queued_at: Timestamp,
    /// How many calls for this invite alone were unknown and then found without effect.
    #[serde(skip)]
    pub found_absent: u32,
    /// It expired by the clock, and its provider has not said since what became of it: it may have been accepted in time.
    #[serde(skip)]
    pub is_unconfirmed: bool,
    /// When callers last began to see another invite; the store sets it.
    #[serde(skip)]
    pub updated_at: Timestamp,
}

impl InviteState {
    /// The state of an invite that is accepted and not sent yet.
    pub fn queued(now: Timestamp) -> Self {
        Self {
            phase: Phase::Queued { next_attempt_at: None },
            source: StatusSource::Gateway,
            provider_ref: None,
            provider_status: None,
            provider_data: Map::new(),
            second_effects: Vec::new(),
            shown_fingerprint: None,
            expires_at: None,
            checked_at: None,
            sent_at: None,
            attempt_count: 0,
            group_id: None,
            error: None,
            duplicate_effect: false,
            revoke_sent: false,
            queued_at: now,
            found_absent: 0,
            is_unconfirmed: false,
            updated_at: now,
        }
    }

    /// As it was last stored; to be shown is [`InviteRecord::status_at`](crate::InviteRecord::status_at).
    pub fn status(&self) -> Status {
        self.phase.status()
    }

    /// The attempt that alone may change it.
    pub fn holder(&self) -> Option<AttemptId> {
        self.phase.holder()
    }

    /// When the next call or look-up is due; `None`: at once, or never.
    pub fn next_attempt_at(&self) -> Option<Timestamp> {
        self.phase.next_attempt_at()
    }

    /// Whether callers see the same, but for when its provider was last asked.
    pub(crate) fn looks_like(&self, other: &Self) -> bool {
        let Self {
            phase,
            source,
            provider_ref,
            provider_status,
            provider_data,
            second_effects,
            expires_at,
            sent_at,
            attempt_count,
            error,
            duplicate_effect,
            // What callers do not see.
            shown_fingerprint: _,
            checked_at: _,
            group_id: _,
            revoke_sent: _,
            queued_at: _,
            found_absent: _,
            is_unconfirmed: _,
            updated_at: _,
        } = self;
        (phase.status(), *source) == (other.status(), other.source)
            // When it is asked again moves with each question; that nobody asks any more is news.
            && phase.next_attempt_at().is_some() == other.next_attempt_at().is_some()
            && (provider_ref, provider_status) == (&other.provider_ref, &other.provider_status)
            && *provider_data == other.provider_data
            && *second_effects == other.second_effects
            && (*expires_at, *sent_at) == (other.expires_at, other.sent_at)
            && (*attempt_count, *duplicate_effect) == (other.attempt_count, other.duplicate_effect)
            && *error == other.error
    }

    /// Makes it what is written over `before` at a time: what a provider said is in the form in which it is read again.
    pub(crate) fn follow(&mut self, before: &Self, now: Timestamp) {
        for at in [&mut self.expires_at, &mut self.checked_at, &mut self.sent_at] {
            *at = at.and_then(|at| Timestamp::from_millisecond(at.as_millisecond()).ok());
        }
        for text in [&mut self.provider_ref, &mut self.provider_status].into_iter().flatten() {
            if let Cow::Owned(stored) = storable(text) {
                *text = stored;
            }
        }
        self.updated_at = if self.looks_like(before) { before.updated_at } else { now };
    }

    /// The same without anything that may tell of a person.
    pub(crate) fn bare(self) -> Self {
        Self {
            provider_ref: None,
            provider_status: None,
            provider_data: Map::new(),
            second_effects: Vec::new(),
            shown_fingerprint: None,
            error: self.error.map(|error| error.bare()),
            ..self
        }
    }

    /// Whether it is in the unique index `invites_in_doubt`.
    pub(crate) fn has_holder(&self) -> bool {
        matches!(self.phase, Phase::Sending { .. } | Phase::Unknown(_))
    }
}

debug_only!(InviteState: phase, source, attempt_count, updated_at);

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_false(flag: &bool) -> bool {
    !flag
}
