//! The search: every world that can come about, breadth first, so that a counterexample is as short
//! as can be.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Write,
    hash::{DefaultHasher, Hash, Hasher},
};

use invite_store::Phase;

use crate::{
    choices::enabled,
    rules::{REACHABLE, check_step, check_world},
    steps::take,
    world::{Case, Step, TICK, World, now},
};

/// What a search came to.
pub enum Found {
    Nothing {
        worlds: usize,
        steps: usize,
        /// Worlds in which a second effect is reported.
        reports: usize,
    },
    Counterexample {
        broken: &'static str,
        trace: String,
        worlds: usize,
    },
}

/// How a world was first come by: from which, by which of the steps that it admits.
type Origin = (u32, u16);

struct Search<'a> {
    case: &'a Case,
    /// By a hash of 64 bits: that any two of a million worlds share one has odds of 1 to 10^7.
    known: HashMap<u64, u32>,
    origins: Vec<Origin>,
    /// For each rule of [`REACHABLE`] and each invite: whether the world is where it starts from,
    /// and whether it is where it leads.
    marks: Vec<[(bool, bool); MARKS]>,
    /// Steps that happen by themselves, backwards.
    back: Vec<(u32, u32)>,
    steps: usize,
    reports: usize,
}

/// Of two rules and two invites.
const MARKS: usize = 4;

/// Searches all of a case.
pub fn explore(case: &Case) -> Found {
    let mut search = Search {
        case,
        known: HashMap::new(),
        origins: Vec::new(),
        marks: Vec::new(),
        back: Vec::new(),
        steps: 0,
        reports: 0,
    };
    let broken = search.run();
    let worlds = search.origins.len();
    match broken {
        None => Found::Nothing { worlds, steps: search.steps, reports: search.reports },
        Some((broken, at)) => Found::Counterexample { broken, trace: search.trace(at), worlds },
    }
}

impl Search<'_> {
    fn run(&mut self) -> Option<(&'static str, u32)> {
        let mut queue = VecDeque::new();
        let first = World::new(self.case);
        self.add(&first, (0, 0));
        queue.push_back((0, first));
        while let Some((from, world)) = queue.pop_front() {
            for (nth, step) in enabled(&world, self.case).into_iter().enumerate() {
                self.steps += 1;
                let after = take(&world, self.case, &step);
                let (at, is_new) = self.add(&after.world, (from, nth as u16));
                if is_by_itself(&step, &world, self.case) && at != from {
                    self.back.push((at, from));
                }
                let broken = check_step(&world, self.case, &step, &after);
                if let Some(broken) = broken {
                    // Told by the step, though its world may have been known already.
                    self.origins[at as usize] = (from, nth as u16);
                    return Some((broken, at));
                }
                if is_new {
                    if let Some(broken) = check_world(&after.world, self.case) {
                        return Some((broken, at));
                    }
                    queue.push_back((at, after.world));
                }
            }
        }
        self.find_stuck()
    }

    fn add(&mut self, world: &World, origin: Origin) -> (u32, bool) {
        let new = self.origins.len() as u32;
        let at = *self.known.entry(fingerprint(world)).or_insert(new);
        if at == new {
            self.origins.push(origin);
            self.marks.push(marks(world));
            let is_reported = world.invites.iter().any(|invite| invite.state.duplicate_effect);
            self.reports += usize::from(is_reported);
        }
        (at, at == new)
    }

    /// Walks back from where a rule leads: what it starts from and is not met has no way there.
    fn find_stuck(&mut self) -> Option<(&'static str, u32)> {
        self.back.sort_unstable();
        for mark in 0..MARKS {
            let mut met: Vec<bool> = self.marks.iter().map(|marks| marks[mark].1).collect();
            let mut queue: Vec<u32> =
                (0..).zip(&met).filter(|(_, m)| **m).map(|(i, _)| i).collect();
            while let Some(at) = queue.pop() {
                let start = self.back.partition_point(|(to, _)| *to < at);
                for (_, from) in self.back[start..].iter().take_while(|(to, _)| *to == at) {
                    if !std::mem::replace(&mut met[*from as usize], true) {
                        queue.push(*from);
                    }
                }
            }
            let stuck =
                (0..).zip(&met).find(|(at, met)| !**met && self.marks[*at as usize][mark].0);
            if let Some((at, _)) = stuck {
                return Some((REACHABLE[mark / 2].broken, at));
            }
        }
        None
    }

    fn trace(&self, to: u32) -> String {
        let mut way = Vec::new();
        let mut at = to;
        while at != 0 {
            let (from, nth) = self.origins[at as usize];
            way.push(nth);
            at = from;
        }
        let mut world = World::new(self.case);
        let mut text = String::new();
        for nth in way.into_iter().rev() {
            let step = enabled(&world, self.case).remove(usize::from(nth));
            world = take(&world, self.case, &step).world;
            let _ = writeln!(text, "  {step:?}\n      -> {}", describe(&world));
        }
        text
    }
}

/// Giving up is a way on only where the case admits no more calls.
fn is_by_itself(step: &Step, world: &World, case: &Case) -> bool {
    match step {
        Step::Person { .. } => false,
        Step::GiveUp { .. } => world.calls.len() == case.calls,
        _ => true,
    }
}

fn marks(world: &World) -> [(bool, bool); MARKS] {
    let mut marks = [(false, true); MARKS];
    for (rule, reachable) in REACHABLE.iter().enumerate() {
        for (at, invite) in world.invites.iter().enumerate() {
            let from = (reachable.from)(invite, world.effects(at).count());
            marks[rule * 2 + at] = (from, (reachable.to)(invite));
        }
    }
    marks
}

fn fingerprint(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// A world in one line.
fn describe(world: &World) -> String {
    let mut text = String::new();
    for (at, invite) in world.invites.iter().enumerate() {
        let state = &invite.state;
        let ago = |time: Option<jiff::Timestamp>| {
            time.map(|time| (time.duration_since(now()).as_secs()) / TICK.as_secs() as i64)
        };
        let unknown = match &state.phase {
            Phase::Unknown(unknown) => Some(unknown),
            _ => None,
        };
        let _ = write!(
            text,
            "[{} by {} of call {:?}, ref {:?}, due {:?}, ended {:?}, absent since {:?}, \
             found absent {}, duplicate {}; effects of calls {:?}] ",
            state.status(),
            state.source,
            world.holder(at),
            state.provider_ref,
            ago(state.next_attempt_at()),
            unknown.map(|unknown| ago(Some(unknown.ended_at))),
            unknown.and_then(|unknown| ago(unknown.absent_since)),
            state.found_absent,
            state.duplicate_effect,
            world.effects(at).collect::<Vec<_>>(),
        );
    }
    text
}
