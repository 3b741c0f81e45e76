//! Where an invite stands, with what is known only there.

use invite_core::{AttemptId, Status};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Error, statement::Fields, values::Value};

/// Where an invite stands, with what is known only there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It waits to be sent.
    Queued {
        /// When it may be sent at the earliest; `None`: at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_attempt_at: Option<Timestamp>,
    },
    /// A call is under way, or the provider has taken it and still works on it.
    Sending {
        /// The attempt that alone may change it.
        holder: AttemptId,
        /// Until when that attempt holds it.
        lease_until: Timestamp,
        /// When the provider is asked next whether it still works on it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_attempt_at: Option<Timestamp>,
    },
    /// A call may or may not have taken effect.
    Unknown(Unknown),
    /// It is in a status that is settled ([`Status::is_settled`]).
    Settled(Status),
}

/// What is known of an invite whose call may or may not have taken effect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Unknown {
    /// The attempt whose effect is not known.
    pub holder: AttemptId,
    /// When its call ended; or later, when the wait for its effect began anew.
    pub ended_at: Timestamp,
    /// When the first look-up began that counts and showed no effect.
    pub absent_since: Option<Timestamp>,
    /// How many look-ups there were.
    pub lookups: u32,
    /// When the next look-up is due; `None`: a person has to decide.
    pub next_attempt_at: Option<Timestamp>,
}

impl Phase {
    /// The phase of a settled status.
    pub fn settled(status: Status) -> Option<Self> {
        status.is_settled().then_some(Self::Settled(status))
    }

    /// The status that it is shown as.
    pub fn status(&self) -> Status {
        match self {
            Self::Queued { .. } => Status::Queued,
            Self::Sending { .. } => Status::Sending,
            Self::Unknown(_) => Status::Unknown,
            Self::Settled(status) => *status,
        }
    }

    /// The attempt that alone may change the invite.
    pub fn holder(&self) -> Option<AttemptId> {
        match self {
            Self::Sending { holder, .. } | Self::Unknown(Unknown { holder, .. }) => Some(*holder),
            Self::Queued { .. } | Self::Settled(_) => None,
        }
    }

    /// When the next call or look-up is due; `None`: at once, or never.
    pub fn next_attempt_at(&self) -> Option<Timestamp> {
        match self {
            Self::Queued { next_attempt_at }
            | Self::Sending { next_attempt_at, .. }
            | Self::Unknown(Unknown { next_attempt_at, .. }) => *next_attempt_at,
            Self::Settled(_) => None,
        }
    }
}

/// Reads the columns of a phase, which stand side by side in the order of [`phase_values`].
pub(crate) fn read_phase(fields: &mut Fields<'_>) -> Result<Phase, Error> {
    let missing = |column: &str| Error::Corrupt { what: column.to_owned() };
    let status: Status = fields.parsed()?;
    let next_attempt_at = fields.optional_time()?;
    let lease_until = fields.optional_time()?;
    let holder = fields.optional_parsed()?;
    let ended_at = fields.optional_time()?;
    let absent_since = fields.optional_time()?;
    let lookups = fields.count()?;
    Ok(match status {
        Status::Queued => Phase::Queued { next_attempt_at },
        Status::Sending => Phase::Sending {
            holder: holder.ok_or_else(|| missing("holder"))?,
            lease_until: lease_until.ok_or_else(|| missing("lease_until"))?,
            next_attempt_at,
        },
        Status::Unknown => Phase::Unknown(Unknown {
            holder: holder.ok_or_else(|| missing("holder"))?,
            ended_at: ended_at.ok_or_else(|| missing("ended_at"))?,
            absent_since,
            lookups,
            next_attempt_at,
        }),
        settled => Phase::Settled(settled),
    })
}

/// The phase's values, in the order that [`read_phase`] reads them.
pub(crate) fn phase_values(phase: &Phase) -> [Value<'static>; 7] {
    let (lease_until, ended_at, absent_since, lookups) = match phase {
        Phase::Queued { .. } | Phase::Settled(_) => (None, None, None, 0),
        Phase::Sending { lease_until, .. } => (Some(*lease_until), None, None, 0),
        Phase::Unknown(Unknown { ended_at, absent_since, lookups, .. }) => {
            (None, Some(*ended_at), *absent_since, *lookups)
        }
    };
    [
        phase.status().as_str().into(),
        phase.next_attempt_at().into(),
        lease_until.into(),
        phase.holder().map(|id| id.to_string()).into(),
        ended_at.into(),
        absent_since.into(),
        i64::from(lookups).into(),
    ]
}
