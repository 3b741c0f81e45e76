//! What a lane remembers of one destination.

use std::time::Duration;

use jiff::Timestamp;

use super::{health::Health, refusals::Refusals};

/// How long a refusal for want of room counts: meanwhile invites may be withdrawn, and quotas raised.
pub(super) const ROOM_COUNTS_FOR: Duration = Duration::from_secs(10 * 60);

/// How calls to one destination fare.
#[derive(Debug, Default)]
pub(crate) struct DestinationState {
    pub health: Health,
    pub refusals: Refusals,
    pub(super) under_way: u32,
    /// The number of the last call to it, of all calls of the lane.
    pub(super) last_call: u64,
    /// The `adapter_since` of the adapter whose credential last created something here.
    pub created_under: Option<i64>,
    /// How many more invites it takes at most, as a refusal for want of room showed, and when that was.
    room: Option<(u32, Timestamp)>,
}

impl DestinationState {
    /// Notes that a call of `count` invites was refused for want of room.
    pub fn lacks_room_for(&mut self, count: usize, now: Timestamp) {
        let most = u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX);
        self.room = Some((self.room(now).map_or(most, |room| room.min(most)), now));
    }

    /// Notes that `count` invites were created, by the adapter that is the same since this revision.
    pub fn succeed(&mut self, adapter_since: i64, count: usize, now: Timestamp) {
        self.created_under = Some(adapter_since);
        self.refusals = Refusals::default();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        // What was created takes from the room; if that is more than it held, the refusal is out of date and forgotten.
        self.room = self.room(now).and_then(|room| Some((room.checked_sub(count)?, now)));
    }

    pub(super) fn room(&self, now: Timestamp) -> Option<u32> {
        let (room, at) = self.room?;
        (now.duration_since(at).unsigned_abs() < ROOM_COUNTS_FOR).then_some(room)
    }
}
