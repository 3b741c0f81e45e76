//! The world around an invite's state: calls, the provider, look-ups, persons and time in ticks.
//!
//! Time is relative: "now" is always [`now`], and a tick moves everything recorded into the past.

use std::time::Duration;

use invite_core::{AttemptId, Observed, Retry, Status};
use invite_delivery::transition::{self, LOOK_FOR, Lookup, Settlement, Verdict};
use invite_store::{Decision, InviteState};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

/// The unit of time: a sixth of the time that look-ups go on for.
const TICK: Duration = Duration::from_secs(LOOK_FOR.as_secs() / 6);
/// Nothing that is older than this many ticks differs from what is this old.
const OLD: i64 = 8;
/// A look-up takes at most so many ticks.
const LONGEST_LOOK: u8 = 1;
/// Of an idempotent provider: ticks since a call's claim up to which its bytes are repeated, up to
/// which a copy may take effect, and from which its absence can be told.
const REPEAT_FOR: u8 = 1;
const LIVES_FOR: u8 = 2;
const DEAD_FROM: u8 = 3;

/// How a provider takes a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Each request has its own effect, each invite of it by itself.
    Plain,
    /// Equal bytes are one activity, which may be worked on for long, and ends as a whole.
    Idempotent,
}

/// A rule of the engine that is broken on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// A first absence is believed, whenever it is seen.
    BelievesFirstAbsence,
    /// A first absence that counts is believed.
    BelievesFirstThatCounts,
    /// Look-ups wait for nothing.
    WaitsForNothing,
    /// An unknown outcome is sent again at once.
    ResendsBlindly,
    /// A reply counts for whichever attempt holds the invite.
    IgnoresHolder,
    /// Leases are recovered before they are over.
    RecoversEarly,
    /// The sender does not look at its lease before it sends.
    IgnoresLease,
    /// A look-up that shows it is not applied.
    DropsSightings,
}

/// One case to search: all durations in ticks.
#[derive(Clone)]
pub struct Case {
    pub name: &'static str,
    pub kind: Kind,
    pub invites: usize,
    /// Calls at most.
    pub calls: usize,
    /// Look-ups under way at once.
    pub looks: usize,
    /// What persons do, at most.
    pub persons: u8,
    pub settle: u8,
    pub timeout: u8,
    pub lease: u8,
    /// How much longer than `timeout` a frozen sender may take to write its request.
    pub freeze: u8,
    /// How much later than the promised `settle` a cut-off request may take effect.
    pub overdue: u8,
    pub fault: Fault,
}

#[derive(Clone)]
pub struct World {
    pub invites: Vec<Invite>,
    pub calls: Vec<Call>,
    pub looks: Vec<Look>,
    pub persons: u8,
}

#[derive(Clone)]
pub struct Invite {
    pub state: InviteState,
    /// A person accepted the risk of a second effect, or recorded what was not so.
    pub vouched: bool,
}

/// What the provider made of one invite of a call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Made {
    Nothing,
    Processing,
    Effect,
    Refused,
}

#[derive(Clone)]
pub struct Call {
    pub members: Vec<usize>,
    /// False: preparing it failed, so that there is nothing to send.
    prepared: bool,
    pub sender: Sender,
    /// Since the claim.
    age: u8,
    written: bool,
    /// Ticks that are left for an effect since the request was cut off.
    left: Option<u8>,
    pub made: Vec<Made>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Sender {
    /// Has claimed, and not looked at its lease yet.
    Claimed,
    /// Looked at its lease so many ticks ago.
    Calling(u8),
    /// Knows how the call ended, and has not recorded it.
    Holding(Vec<Ending>),
    /// Asks what became of the activity.
    Following,
    Gone,
}

/// How a call ended for one invite.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ending {
    Shown,
    Processing,
    Failed,
    Again,
    Halved,
    Unknown,
}

/// What a look-up or a repeat showed of one invite.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sight {
    /// The effect of this call.
    Effect(usize),
    Processing,
    Refused,
    Absent,
    CannotTell,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Look {
    pub call: usize,
    repeat: bool,
    age: u8,
    /// Which invites were in doubt when it began.
    in_doubt: Vec<bool>,
    seen: Option<Vec<Sight>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Person {
    Retries,
    RetriesAtRisk,
    SetsPending,
    SetsFailed,
    Withdraws,
    LooksNow,
}

/// One thing that happens.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    Tick,
    Claim { invites: Vec<usize>, prepared: bool },
    CheckLease { call: usize },
    Write { call: usize },
    Make { call: usize, place: Option<usize>, made: Made },
    End { call: usize, endings: Vec<Ending> },
    Record { call: usize },
    Crash { call: usize },
    Follow { call: usize },
    Renew { call: usize },
    Recover { invite: usize },
    Release { call: usize },
    BeginLook { call: usize, repeat: bool },
    See { look: usize, anything: bool },
    RecordLook { look: usize },
    LoseLook { look: usize },
    Survey { invite: usize },
    GiveUp { invite: usize },
    Answer { invite: usize },
    Decide { invite: usize, person: Person },
}

impl Step {
    /// Whether nobody has to do it for the engine to get on.
    pub fn is_by_itself(&self) -> bool {
        !matches!(self, Self::Decide { .. } | Self::GiveUp { .. } | Self::Answer { .. })
    }
}

/// A step's outcome: the world after it, and which effects it showed to which invites.
pub struct After {
    pub world: World,
    pub shown: Vec<(usize, String)>,
}

pub fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + 20_000.days_of_24_hours()
}

trait Days {
    fn days_of_24_hours(self) -> jiff::Span;
}

impl Days for i64 {
    fn days_of_24_hours(self) -> jiff::Span {
        (self * 24).hours()
    }
}
