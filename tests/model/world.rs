//! The world around an invite's state: calls, the provider, look-ups, persons, and time in ticks.
//! Everything that an engine process, a provider, a network or a person may do next is a [`Step`].
//!
//! Time is relative: it is always [`now`], and a tick moves all that is recorded into the past. So
//! the worlds that can come about are finitely many.

use std::{sync::LazyLock, time::Duration};

use invite_core::{AttemptId, Retry};
use invite_delivery::transition::LOOK_UP_FOR;
use invite_store::InviteState;
use jiff::Timestamp;

use crate::clocks::{Asleep, is_kept_back};

/// The unit of time: a quarter of what look-ups go on for.
pub const TICK: Duration = Duration::from_secs(LOOK_UP_FOR.as_secs() / 4);
/// What is older than this many ticks differs in nothing from what is just this old.
pub const OLD: i32 = 4 + LONGEST_LOOK as i32;
/// Ticks that a look-up takes at most.
pub const LONGEST_LOOK: u8 = 1;
/// Of an idempotent provider, in ticks since a call's claim: up to when its bytes are repeated, up to
/// when a copy may take effect, and from when its absence can be told.
pub const REPEAT_FOR: u8 = 1;
pub const LIVES_FOR: u8 = 2;
pub const DEAD_FROM: u8 = 3;
/// Calls that were unknown and then absent, beyond which an invite fails.
pub const MAX_ATTEMPTS: u32 = 2;

/// When calls and look-ups are made again.
pub const RETRY: Retry = Retry {
    first: TICK,
    max: TICK,
    max_retry_after: TICK,
    max_attempts: MAX_ATTEMPTS,
    give_up_after: Duration::ZERO,
};

/// How a provider takes a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Each request has its own effect, on each of its invites at another moment.
    Plain,
    /// Equal bytes are one activity, which may be worked on for long and ends as a whole.
    Idempotent,
}

/// A rule that the engine is made to break.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// An absence is believed when first seen, whenever that is.
    BelievesAnyAbsence,
    /// The first absence that counts is believed.
    BelievesFirstAbsence,
    /// Look-ups go by a `settle` and a time-out of zero.
    WaitsForNothing,
    /// What is unknown is sent again.
    ResendsBlindly,
    /// A reply counts for whichever attempt holds the invite.
    IgnoresHolder,
    /// What is `sending` is recovered before its lease is over.
    RecoversEarly,
    /// What is `sending` is never recovered.
    NeverRecovers,
    /// What the provider is working on stays queued.
    ForgetsWork,
    /// The sender does not look at its lease before it sends.
    IgnoresLease,
    /// A call that was refused in part is looked up as if nothing of it were still to come.
    BelievesRefusals,
    /// An absence is believed although the call's own reply named an id that nobody holds.
    IgnoresEvidence,
    /// Bytes are repeated whatever the provider does with equal bytes.
    RepeatsAnywhere,
    /// Senders and look-ups go by the monotonic clock alone.
    CountsNoSuspension,
    /// Whether a lease is over is judged by the clock of the replica that looks.
    GoesByItsOwnClock,
}

/// One case to search. Durations are in ticks.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub kind: Kind,
    /// In one call at first.
    pub invites: usize,
    /// Calls at most.
    pub calls: usize,
    /// Look-ups under way at once: two while a lane changes hands.
    pub looks: usize,
    /// What persons do at most.
    pub persons: u8,
    pub settle: u8,
    pub timeout: u8,
    pub lease: u8,
    /// For how long beyond `timeout` a sender may be frozen before it writes its request.
    pub freeze: u8,
    /// The provider refuses calls of which it made some invites.
    pub refuses_in_part: bool,
    /// The provider shows addresses in its own spelling: a success names ids and not whose they are, and
    /// look-ups recognize nobody.
    pub respells: bool,
    /// For how many ticks in all machines may be suspended.
    pub suspensions: u8,
    /// How far ahead of the database's the clock of a replica is.
    pub skew: u8,
    /// How much later than within the promised `settle` a cut-off request may take effect.
    pub overdue: u8,
    pub fault: Fault,
}

#[derive(Clone, Hash)]
pub struct World {
    pub invites: Vec<Invite>,
    pub calls: Vec<Call>,
    pub looks: Vec<Look>,
    /// What persons may still do.
    pub persons: u8,
    /// For how many ticks machines may still be suspended.
    pub suspensions: u8,
}

#[derive(Clone, Hash)]
pub struct Invite {
    pub state: InviteState,
    /// A person accepted the risk of a second effect, or recorded what was not so.
    pub vouched: bool,
}

#[derive(Clone, Hash)]
pub struct Call {
    pub invites: Vec<usize>,
    /// False: preparing it failed, so there is nothing to send.
    pub prepared: bool,
    pub sender: Sender,
    /// Since the claim.
    pub age: u8,
    /// For how much of it the sender's machine was suspended.
    pub asleep: u8,
    pub request: Request,
    /// In the order of `invites`.
    pub made: Vec<Made>,
    /// How it ended is recorded: it was refused, or named ids of which nobody knows whose they are.
    pub is_refused: bool,
    pub is_named: bool,
}

/// The process that makes a call.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Sender {
    /// Has claimed, and not looked at its lease yet.
    Claimed,
    /// Looked at its lease so many ticks ago, and goes on.
    Calling(u8),
    /// Knows how the call ended, and has not recorded it.
    Holding(Vec<Ending>),
    /// Asks what becomes of the activity.
    Following,
    Gone,
}

/// What was sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Request {
    Unwritten,
    /// The provider, or the network, has it.
    Open,
    /// So many ticks are left for it to take effect.
    CutOff(u8),
    /// It takes effect no more.
    Over,
}

/// What the provider made of one invite of a call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Made {
    Nothing,
    Processing,
    Effect,
    Refused,
}

/// How a call ended for one invite, as far as its sender knows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ending {
    Exists,
    Processing,
    Failed,
    Again,
    Halved,
    Unknown,
    /// Refused, although others of the call may exist.
    RefusedInPart,
    /// It succeeded, and the reply shows ids, but not whose they are.
    Named,
}

/// A look-up, or a repeat of the bytes, under way.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Look {
    pub call: usize,
    pub repeat: bool,
    pub age: u8,
    /// For how much of it its machine was suspended.
    pub asleep: u8,
    /// Which invites of the call were in doubt when it began.
    pub in_doubt: Vec<bool>,
    /// What it saw, once it has.
    pub seen: Option<Vec<Sight>>,
}

/// What a look-up saw of one invite.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sight {
    /// The effect of this call.
    Effect(usize),
    Processing,
    Refused,
    Absent,
    CannotTell,
}

/// What a person does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed {
    Retry,
    RetryAtRisk,
    SetPending,
    SetFailed,
    Withdraw,
    LookNow,
}

/// One thing that happens.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    Tick,
    Suspend {
        asleep: Asleep,
    },
    Claim {
        invites: Vec<usize>,
        prepared: bool,
    },
    CheckLease {
        call: usize,
    },
    Write {
        call: usize,
    },
    /// The provider works on a request: on one invite, or on all at once.
    Make {
        call: usize,
        place: Option<usize>,
        made: Made,
    },
    /// A reply arrives, or nothing does.
    End {
        call: usize,
        endings: Vec<Ending>,
    },
    Record {
        call: usize,
    },
    /// The sender's process dies.
    Crash {
        call: usize,
    },
    Follow {
        call: usize,
    },
    Renew {
        call: usize,
    },
    Recover {
        call: usize,
    },
    Release {
        call: usize,
    },
    BeginLook {
        call: usize,
        repeat: bool,
    },
    See {
        look: usize,
        clearly: bool,
    },
    RecordLook {
        look: usize,
    },
    CrashLook {
        look: usize,
    },
    /// A live invite is asked about, and what else is there is found.
    FindSecond {
        invite: usize,
    },
    GiveUp {
        invite: usize,
    },
    /// The invited person accepts, and the provider says so.
    Accept {
        invite: usize,
    },
    Person {
        invite: usize,
        deed: Deed,
    },
}

impl World {
    pub fn new(case: &Case) -> Self {
        let invite = Invite { state: InviteState::queued(now()), vouched: false };
        Self {
            invites: vec![invite; case.invites],
            calls: Vec::new(),
            looks: Vec::new(),
            persons: case.persons,
            suspensions: case.suspensions,
        }
    }

    /// The calls that took effect for an invite, oldest first.
    pub fn effects(&self, invite: usize) -> impl Iterator<Item = usize> {
        self.made(invite).filter(|(_, made)| *made == Made::Effect).map(|(call, _)| call)
    }

    fn made(&self, invite: usize) -> impl Iterator<Item = (usize, Made)> {
        self.calls.iter().enumerate().filter_map(move |(at, call)| {
            Some((at, call.made[call.invites.iter().position(|member| *member == invite)?]))
        })
    }

    /// Calls that may take effect for an invite from now on.
    pub fn threats(&self, case: &Case, invite: usize) -> usize {
        let may_come = |(at, made): &(usize, Made)| {
            let call = &self.calls[*at];
            match made {
                Made::Nothing => {
                    matches!(call.request, Request::Open | Request::CutOff(_))
                        || (call.request == Request::Unwritten
                            && matches!(call.sender, Sender::Calling(_))
                            && !is_kept_back(call, case))
                }
                Made::Processing => true,
                Made::Effect | Made::Refused => false,
            }
        };
        self.made(invite).filter(may_come).count()
    }

    /// The call whose attempt holds an invite.
    pub fn holder(&self, invite: usize) -> Option<usize> {
        let holder = self.invites[invite].state.holder()?;
        ATTEMPTS.iter().position(|attempt| *attempt == holder)
    }

    pub fn is_due(&self, invite: usize) -> bool {
        self.invites[invite].state.next_attempt_at().is_some_and(|at| at <= now())
    }
}

impl Call {
    /// Whether the provider may still begin with it. What was refused is over.
    pub fn is_alive(&self) -> bool {
        matches!(self.request, Request::Open | Request::CutOff(_))
    }
}

static ATTEMPTS: LazyLock<Vec<AttemptId>> =
    LazyLock::new(|| (1..9).map(|n| format!("att_{n:032x}").parse().unwrap()).collect());

/// The attempt of a call.
pub fn attempt(call: usize) -> AttemptId {
    ATTEMPTS[call]
}

/// The provider's id for the effect of a call on an invite.
pub fn provider_ref(call: usize, invite: usize) -> String {
    format!("{call}/{invite}")
}

pub fn now() -> Timestamp {
    Timestamp::from_second(2_000_000_000).unwrap()
}

/// So many ticks from now.
pub fn at(ticks: i32) -> Timestamp {
    let by = TICK * ticks.unsigned_abs();
    if ticks < 0 { now() - by } else { now() + by }
}
