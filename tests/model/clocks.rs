//! Clocks in the model: machines that are suspended, and a replica whose own clock is wrong.
//!
//! The world's time is the database's, which all that is stored is written with. While a machine is
//! suspended the time goes on and its monotonic clock does not.

use invite_store::{Phase, Unknown};
use jiff::Timestamp;

use crate::{
    choices::may_tick_but_for,
    steps::tick,
    world::{Call, Case, Fault, Look, Request, Sender, Step, World},
};

/// What stands still while its machine is suspended.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Asleep {
    /// The sender of a call, which has not been handed to its connection.
    Sender(usize),
    /// A look-up under way.
    Look(usize),
}

/// Whose machine may be suspended for a tick.
pub fn suspensions(world: &World, case: &Case, steps: &mut Vec<Step>) {
    if world.suspensions == 0 {
        return;
    }
    let sends = |call: &Call| {
        matches!(call.sender, Sender::Claimed | Sender::Calling(_))
            && call.request == Request::Unwritten
    };
    let senders = world.calls.iter().enumerate().filter(|(_, call)| sends(call));
    let senders = senders.map(|(at, _)| Asleep::Sender(at));
    let looks = (0..world.looks.len()).map(Asleep::Look);
    let may_sleep =
        senders.chain(looks).filter(|asleep| may_tick_but_for(world, case, Some(*asleep)));
    steps.extend(may_sleep.map(|asleep| Step::Suspend { asleep }));
}

/// A tick passes, of which one machine's monotonic clock counts nothing.
pub fn suspend(world: &mut World, case: &Case, asleep: Asleep) {
    world.suspensions -= 1;
    let sender = match asleep {
        Asleep::Sender(at) => Some((at, world.calls[at].sender.clone())),
        Asleep::Look(_) => None,
    };
    tick(world, case);
    if let Some((at, sender)) = sender {
        world.calls[at].sender = sender;
        world.calls[at].asleep += 1;
    }
    if let Asleep::Look(at) = asleep {
        world.looks[at].asleep += 1;
    }
}

/// How long ago its sender claimed, as that knows.
pub fn age(call: &Call, case: &Case) -> u8 {
    match case.fault {
        Fault::CountsNoSuspension => call.age - call.asleep,
        _ => call.age,
    }
}

/// The connection takes the bytes: they are kept back once the lease is over. (One that is frozen is
/// frozen after that.)
pub fn is_kept_back(call: &Call, case: &Case) -> bool {
    case.freeze == 0 && case.fault != Fault::IgnoresLease && age(call, case) > case.lease
}

/// How long ago a look-up began, as it knows.
pub fn look_age(look: &Look, case: &Case) -> u8 {
    match case.fault {
        Fault::CountsNoSuspension => look.age - look.asleep,
        _ => look.age,
    }
}

/// How far ahead is the clock that leases are judged by: a replica's own may be, the database's is not.
pub fn ahead(case: &Case) -> i32 {
    match case.fault {
        Fault::GoesByItsOwnClock => i32::from(case.skew),
        _ => 0,
    }
}

/// Changes every time that a phase goes by: when it is due, and until or since when something holds.
pub fn change_times(
    phase: &mut Phase,
    due: impl Fn(Timestamp) -> Timestamp,
    other: impl Fn(Timestamp) -> Timestamp,
) {
    match phase {
        Phase::Queued { next_attempt_at } => *next_attempt_at = next_attempt_at.map(due),
        Phase::Sending { lease_until, next_attempt_at, .. } => {
            *next_attempt_at = next_attempt_at.map(&due);
            *lease_until = due(*lease_until);
        }
        Phase::Unknown(Unknown { ended_at, absent_since, next_attempt_at, .. }) => {
            *next_attempt_at = next_attempt_at.map(due);
            *ended_at = other(*ended_at);
            *absent_since = absent_since.map(other);
        }
        Phase::Settled(_) => {}
    }
}
