//! Goes on with actions: what is done to all invites that a filter matches, each as it is done to one alone. One replica at a
//! time does so. Step by step: `docs/loops/actions.md`.

mod step;

use std::{collections::HashMap, time::Duration};

use invite_core::ActionId;
use invite_store::{Action, ApiKey};
use tokio::time::Instant;

use crate::{
    error::OperationError,
    obstacle::obstacle,
    shared::{Engine, catch_panic},
    tasks::sole::{SHORTEST_REST, Sole},
};

use step::{Stepped, step};

/// How often it is looked for actions that were asked for, and for those that are held up.
const EVERY: Duration = Duration::from_secs(1);
const LANE: &str = "#actions";
/// Longer than most steps. If one takes longer, another replica may make it, too: that is done twice which changes nothing
/// the second time, and counted once.
const LEASE: Duration = Duration::from_secs(10);
/// For how long an action that gets no further is left alone, at most.
const LONGEST_REST: Duration = Duration::from_secs(15);

/// What the loop does not know of itself: how callers are told of an error, and what a key may ask for.
#[derive(Clone, Copy)]
pub struct ActionRules {
    /// Names the problem of an error, as it is counted.
    pub name_problem: fn(OperationError) -> &'static str,
    /// Why a key may not ask for this action, unless it may.
    pub why_not: fn(&ApiKey, &Action) -> Option<&'static str>,
}

impl Engine {
    /// Starts to go on with actions, until shutdown.
    pub fn start_actions(&self, rules: ActionRules) {
        // They belong to no request's trace.
        let engine = Self { shared: self.shared.clone(), trace: None };
        self.shared.tasks.spawn(run(engine, rules));
    }
}

/// Whose turn it is.
#[derive(Default)]
struct Turns {
    /// The last action that was looked at; none: the oldest is next.
    after: Option<ActionId>,
    /// Those that got no further: until when they are left alone, and for how long they were.
    resting: HashMap<ActionId, (Instant, Duration)>,
}

impl Turns {
    fn rests(&self, id: ActionId) -> bool {
        self.resting.get(&id).is_some_and(|(until, _)| Instant::now() < *until)
    }

    /// Leaves an action alone for twice as long as the last time, unless it had got further since.
    fn rest(&mut self, id: ActionId, got_further: bool) {
        let last = self.resting.get(&id).filter(|_| !got_further);
        let rest = last.map_or(EVERY, |(_, last)| (*last * 2).min(LONGEST_REST));
        self.resting.insert(id, (Instant::now() + rest, rest));
    }

    /// Forgets those that rested so long ago that they have ended, or another replica has them.
    fn forget_old(&mut self) {
        let now = Instant::now();
        self.resting.retain(|_, (until, _)| now < *until + 4 * LONGEST_REST);
    }
}

async fn run(engine: Engine, rules: ActionRules) {
    let shared = &engine.shared;
    let (mut sole, mut turns) = (Sole::new(LANE, LEASE), Turns::default());
    while !shared.stopping.is_cancelled() {
        match catch_panic(round(&engine, &mut sole, &mut turns, rules)).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "cannot go on with actions; trying again"),
        }
        shared.pause(EVERY).await;
    }
    sole.give_back(shared).await;
}

/// Makes a step of each action that runs and does not rest, up to a hundred of them; the next round goes on behind those.
/// Returns whether one of them can go on at once.
async fn round(
    engine: &Engine,
    sole: &mut Sole,
    turns: &mut Turns,
    rules: ActionRules,
) -> Result<bool, invite_store::Error> {
    let shared = &engine.shared;
    if obstacle(shared).is_some() {
        // A replica without one may do it.
        sole.give_back(shared).await;
        return Ok(false);
    }
    turns.forget_old();
    let (ids, may_be_more) = shared.store.running_actions(turns.after).await?;
    turns.after = ids.last().copied().filter(|_| may_be_more);
    let mut goes_on = false;
    for id in ids {
        if turns.rests(id) {
            continue;
        }
        if shared.stopping.is_cancelled() || !sole.has_lease(shared).await? {
            return Ok(false);
        }
        match catch_panic(step(engine, id, rules)).await {
            Ok(Stepped::GoesOn) => goes_on = true,
            Ok(Stepped::Ended) => {
                turns.resting.remove(&id);
            }
            Ok(Stepped::HeldUp { got_further }) => turns.rest(id, got_further),
            // The others go on.
            Err(error) => {
                tracing::error!(action.id = %id, %error, "a step of an action failed; trying again");
                turns.rest(id, false);
            }
        }
        // Most of a step is waiting for providers, and creates went first: writers have their turn.
        shared.pause(SHORTEST_REST).await;
    }
    Ok(goes_on)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_action_that_gets_no_further_is_left_alone_for_longer_each_time() {
        let (mut turns, id) = (Turns::default(), ActionId::generate());
        let rested = |turns: &Turns| turns.resting.get(&id).map(|(_, rest)| rest.as_secs());
        let mut rests = Vec::new();
        for _ in 0..6 {
            turns.rest(id, false);
            rests.extend(rested(&turns));
        }
        assert_eq!(rests, [1, 2, 4, 8, 15, 15]);
        assert!(turns.rests(id) && !turns.rests(ActionId::generate()));
        turns.rest(id, true);
        assert_eq!(rested(&turns), Some(1), "it had got further");
        tokio::time::advance(EVERY).await;
        assert!(!turns.rests(id));
        tokio::time::advance(5 * LONGEST_REST).await;
        turns.forget_old();
        assert_eq!(rested(&turns), None);
    }
}
