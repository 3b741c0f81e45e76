//! Which steps a world admits, and what each does to it. States are changed by the engine's own
//! transition functions alone, called as the engine calls them.

use std::time::Duration;

use invite_core::{Observed, Retry, Status};
use invite_delivery::transition::{self, Lookup, Settlement, Verdict};
use invite_store::{Decision, InviteState};
use serde_json::{Value, json};

use crate::world::{
    Call, Case, DEAD_FROM, Deed, Ending, Fault, Kind, LIVES_FOR, LONGEST_LOOK, Look, MAX_ATTEMPTS,
    Made, OLD, REPEAT_FOR, Request, Sender, Sight, Step, TICK, World, at, attempt, now,
    provider_ref,
};

/// A world after a step, and the effects that the step showed to the engine: of which invite, and
/// under which provider id.
pub struct After {
    pub world: World,
    pub shown: Vec<(usize, String)>,
}

/// All that may happen next.
pub fn enabled(world: &World, case: &Case) -> Vec<Step> {
    let mut steps = Vec::new();
    if may_tick(world, case) {
        steps.push(Step::Tick);
    }
    claims(world, case, &mut steps);
    for at in 0..world.calls.len() {
        of_call(world, case, at, &mut steps);
        of_provider(world, case, at, &mut steps);
    }
    looks(world, case, &mut steps);
    for invite in 0..world.invites.len() {
        of_invite(world, case, invite, &mut steps);
    }
    steps
}

/// Not before what cannot wait has happened: a call's time-out, a look-up's end.
fn may_tick(world: &World, case: &Case) -> bool {
    let waits = |call: &Call| match call.sender {
        Sender::Calling(age) => age < case.timeout + case.freeze,
        _ => true,
    };
    world.calls.iter().all(waits) && world.looks.iter().all(|look| look.age < LONGEST_LOOK)
}

fn claims(world: &World, case: &Case, steps: &mut Vec<Step>) {
    if world.calls.len() == case.calls {
        return;
    }
    let queued = |invite: &usize| {
        let state = &world.invites[*invite].state;
        state.status == Status::Queued && state.next_attempt_at.is_none_or(|at| at <= now())
    };
    let all: Vec<usize> = (0..world.invites.len()).collect();
    for chosen in all.chunks(1).chain((all.len() > 1).then_some(&all[..])) {
        let group = &world.invites[chosen[0]].state.group_id;
        let fits = |invite: &usize| world.invites[*invite].state.group_id == *group;
        if chosen.iter().all(queued) && chosen.iter().all(fits) {
            for prepared in [true, false] {
                steps.push(Step::Claim { invites: chosen.to_vec(), prepared });
            }
        }
    }
}

fn of_call(world: &World, case: &Case, at: usize, steps: &mut Vec<Step>) {
    let call = &world.calls[at];
    match &call.sender {
        Sender::Claimed => steps.push(Step::CheckLease { call: at }),
        Sender::Calling(_) => {
            if call.request == Request::Unwritten {
                steps.push(Step::Write { call: at });
            }
            let endings = endings(call).into_iter();
            steps.extend(endings.map(|endings| Step::End { call: at, endings }));
        }
        Sender::Holding(_) => steps.push(Step::Record { call: at }),
        Sender::Following => {
            steps.push(Step::Renew { call: at });
            if matches!(call.made[0], Made::Effect | Made::Refused) {
                steps.push(Step::Follow { call: at });
            }
        }
        Sender::Gone => {}
    }
    if call.sender != Sender::Gone {
        steps.push(Step::Crash { call: at });
    }
    let held = |invite: &usize| is_doubtful(world, at, *invite);
    if !call.prepared {
        if call.invites.iter().any(held) {
            steps.push(Step::Release { call: at });
        }
    } else if world.looks.len() < case.looks
        && call.invites.iter().any(|invite| held(invite) && world.is_due(*invite))
    {
        let known = |invite: &usize| !world.invites[*invite].state.provider_data.is_empty();
        let repeat = match case.kind {
            Kind::Plain => case.fault == Fault::RepeatsAnywhere,
            Kind::Idempotent => call.age <= REPEAT_FOR && !call.invites.iter().any(known),
        };
        steps.push(Step::BeginLook { call: at, repeat });
    }
}

fn is_doubtful(world: &World, call: usize, invite: usize) -> bool {
    let state = &world.invites[invite].state;
    state.status == Status::Unknown && state.holder == Some(attempt(call))
}

/// How a call may end now.
fn endings(call: &Call) -> Vec<Vec<Ending>> {
    let n = call.invites.len();
    if call.request == Request::Unwritten {
        return vec![vec![Ending::Again; n]];
    }
    let mut endings = vec![vec![Ending::Unknown; n]];
    let told = |made: &Made| match made {
        Made::Nothing => Ending::Unknown,
        Made::Processing => Ending::Processing,
        Made::Effect => Ending::Exists,
        Made::Refused => Ending::Failed,
    };
    if call.made.iter().any(|made| *made != Made::Nothing) {
        endings.push(call.made.iter().map(told).collect());
    }
    if call.made.iter().all(|made| *made == Made::Refused) {
        endings.push(vec![Ending::Again; n]);
        if n > 1 {
            endings.push(vec![Ending::Halved; n]);
            endings.push((0..n).map(|i| if i == 0 { Ending::Failed } else { Ending::Again }).collect());
        }
    }
    endings
}

fn of_provider(world: &World, case: &Case, at: usize, steps: &mut Vec<Step>) {
    let call = &world.calls[at];
    match case.kind {
        Kind::Plain if call.is_alive() => {
            for (place, _) in call.made.iter().enumerate().filter(|(_, m)| **m == Made::Nothing) {
                let place = Some(place);
                steps.push(Step::Make { call: at, place, made: Made::Effect });
                // Nobody hears of a later refusal.
                if call.request == Request::Open {
                    steps.push(Step::Make { call: at, place, made: Made::Refused });
                }
            }
        }
        Kind::Plain => {}
        Kind::Idempotent => {
            let next: &[Made] = match call.made[0] {
                Made::Nothing if call.is_alive() => {
                    &[Made::Processing, Made::Effect, Made::Refused]
                }
                Made::Processing => &[Made::Effect, Made::Refused],
                _ => &[],
            };
            steps.extend(next.iter().map(|made| Step::Make { call: at, place: None, made: *made }));
        }
    }
}

fn looks(world: &World, case: &Case, steps: &mut Vec<Step>) {
    for (at, look) in world.looks.iter().enumerate() {
        if look.seen.is_some() {
            steps.push(Step::RecordLook { look: at });
        } else {
            steps.push(Step::See { look: at, clearly: false });
            if see(world, case, look).iter().any(|sight| *sight != Sight::CannotTell) {
                steps.push(Step::See { look: at, clearly: true });
            }
        }
        steps.push(Step::CrashLook { look: at });
    }
}

fn of_invite(world: &World, case: &Case, invite: usize, steps: &mut Vec<Step>) {
    let state = &world.invites[invite].state;
    let may_ask = world.persons > 0;
    let mut deeds = Vec::new();
    match state.status {
        Status::Queued => {
            steps.push(Step::GiveUp { invite });
            deeds.push(Deed::Withdraw);
        }
        Status::Sending if is_recoverable(world, case, invite) => {
            steps.push(Step::Recover { invite });
        }
        Status::Unknown => {
            deeds.extend([Deed::RetryAtRisk, Deed::SetPending, Deed::SetFailed]);
            if !world.is_due(invite) {
                deeds.push(Deed::LookNow);
            }
        }
        Status::Failed => deeds.push(Deed::Retry),
        Status::Pending => {
            steps.push(Step::Accept { invite });
            if second_effect(world, case, invite) {
                steps.push(Step::FindSecond { invite });
            }
        }
        _ => {}
    }
    if may_ask {
        steps.extend(deeds.into_iter().map(|deed| Step::Person { invite, deed }));
    }
}

/// Its lease is over; or its process is known to be gone; or it was over when recovery read it, and
/// was renewed since.
fn is_recoverable(world: &World, case: &Case, invite: usize) -> bool {
    let over = world.invites[invite].state.lease_until.is_none_or(|until| until <= now());
    let sender = world.holder(invite).map(|call| &world.calls[call].sender);
    let gone = matches!(sender, None | Some(Sender::Gone | Sender::Following));
    match case.fault {
        Fault::NeverRecovers => false,
        Fault::RecoversEarly => true,
        _ => over || gone,
    }
}

/// Whether asking about a live invite finds an effect that it does not stand for.
fn second_effect(world: &World, case: &Case, invite: usize) -> bool {
    let state = &world.invites[invite].state;
    let first = world.calls.iter().position(|call| call.prepared && call.invites.contains(&invite));
    state.found_absent > 0
        && !state.duplicate_effect
        && world
            .effects(invite)
            .filter(|call| case.kind == Kind::Plain || Some(*call) == first)
            .any(|call| state.provider_ref != Some(provider_ref(call, invite)))
}

/// What a look-up would see now.
fn see(world: &World, case: &Case, look: &Look) -> Vec<Sight> {
    let call = &world.calls[look.call];
    let sight = |(place, invite): (usize, &usize)| match case.kind {
        // By its contents, whichever call made it.
        Kind::Plain => world.effects(*invite).next().map_or(Sight::Absent, Sight::Effect),
        Kind::Idempotent => match call.made[place] {
            Made::Effect => Sight::Effect(look.call),
            Made::Processing => Sight::Processing,
            Made::Refused => Sight::Refused,
            Made::Nothing if !look.repeat && call.age >= DEAD_FROM => Sight::Absent,
            Made::Nothing => Sight::CannotTell,
        },
    };
    call.invites.iter().enumerate().map(sight).collect()
}

/// What a step makes of a world.
pub fn take(world: &World, case: &Case, step: &Step) -> After {
    let mut after = After { world: world.clone(), shown: Vec::new() };
    let world = &mut after.world;
    match step {
        Step::Tick => tick(world, case),
        Step::Claim { invites, prepared } => claim(world, case, invites, *prepared),
        Step::CheckLease { call } => check_lease(&mut world.calls[*call], case),
        Step::Write { call } => write(&mut world.calls[*call], case),
        Step::Make { call, place, made } => {
            let call = &mut world.calls[*call];
            match place {
                Some(place) => call.made[*place] = *made,
                None => call.made.fill(*made),
            }
        }
        Step::End { call, endings } => {
            let call = &mut world.calls[*call];
            cut_off(call, case);
            call.sender = Sender::Holding(endings.clone());
        }
        Step::Record { call } => record(&mut after, case, *call),
        Step::Crash { call } => {
            let call = &mut world.calls[*call];
            cut_off(call, case);
            call.sender = Sender::Gone;
        }
        Step::Follow { call } => {
            let call = &mut world.calls[*call];
            let ending =
                if call.made[0] == Made::Effect { Ending::Exists } else { Ending::Failed };
            call.sender = Sender::Holding(vec![ending; call.invites.len()]);
        }
        Step::Renew { call } => renew(world, case, *call),
        Step::Recover { invite } => {
            let state = &mut world.invites[*invite].state;
            transition::lose_sender(state, state.holder, &error(), now());
        }
        Step::Release { call } => {
            for invite in world.calls[*call].invites.clone() {
                transition::release(&mut world.invites[invite].state, attempt(*call), now());
            }
        }
        Step::BeginLook { call, repeat } => begin_look(world, *call, *repeat),
        Step::See { look, clearly } => {
            let seen = match clearly {
                true => see(world, case, &world.looks[*look]),
                false => vec![Sight::CannotTell; world.looks[*look].in_doubt.len()],
            };
            world.looks[*look].seen = Some(seen);
        }
        Step::RecordLook { look } => record_look(&mut after, case, *look),
        Step::CrashLook { look } => drop(world.looks.remove(*look)),
        Step::FindSecond { invite } => {
            transition::report_duplicate(&mut world.invites[*invite].state);
        }
        Step::GiveUp { invite } => {
            transition::give_up(&mut world.invites[*invite].state, &error());
        }
        Step::Accept { invite } => {
            let state = &mut world.invites[*invite].state;
            let seen = Observed::new(state.provider_ref.clone(), Status::Accepted);
            transition::observe(state, &seen, now());
        }
        Step::Person { invite, deed } => decide(world, *invite, *deed),
    }
    normalize(&mut after.world, case);
    after
}

fn error() -> Value {
    json!({})
}

fn tick(world: &mut World, case: &Case) {
    for invite in &mut world.invites {
        let state = &mut invite.state;
        for time in [
            &mut state.next_attempt_at,
            &mut state.lease_until,
            &mut state.ended_at,
            &mut state.absent_since,
        ] {
            *time = time.map(|time| (time - TICK).max(at(-OLD)));
        }
    }
    for call in &mut world.calls {
        call.age += 1;
        if let Sender::Calling(age) = &mut call.sender {
            *age += 1;
            if *age > case.timeout {
                cut_off(call, case);
            }
        }
        call.request = match (case.kind, call.request) {
            (Kind::Idempotent, Request::Open) if call.age > LIVES_FOR => Request::Over,
            (_, Request::CutOff(0)) => Request::Over,
            (_, Request::CutOff(left)) => Request::CutOff(left - 1),
            (_, request) => request,
        };
    }
    for look in &mut world.looks {
        look.age += 1;
    }
}

/// From here on the request is on its own. (Age alone ends a copy of an activity's bytes.)
fn cut_off(call: &mut Call, case: &Case) {
    if call.request == Request::Open && case.kind == Kind::Plain {
        call.request = Request::CutOff(case.settle + case.overdue);
    }
}

fn claim(world: &mut World, case: &Case, invites: &[usize], prepared: bool) {
    let holder = attempt(world.calls.len());
    for invite in invites {
        let state = &mut world.invites[*invite].state;
        let decision = transition::claim(state, holder, at(i32::from(case.lease)));
        assert_eq!(decision, Decision::Write, "a queued invite is claimed");
    }
    world.calls.push(Call {
        invites: invites.to_vec(),
        prepared,
        sender: Sender::Claimed,
        age: 0,
        request: Request::Unwritten,
        made: vec![Made::Nothing; invites.len()],
    });
}

fn check_lease(call: &mut Call, case: &Case) {
    let in_time = call.age + case.timeout <= case.lease || case.fault == Fault::IgnoresLease;
    call.sender = if call.prepared && in_time {
        Sender::Calling(0)
    } else {
        Sender::Holding(vec![Ending::Again; call.invites.len()])
    };
}

fn write(call: &mut Call, case: &Case) {
    call.request = Request::Open;
    if matches!(call.sender, Sender::Calling(age) if age > case.timeout) {
        cut_off(call, case);
    }
}

fn observed(call: usize, invite: usize) -> Box<Observed> {
    Box::new(Observed::new(Some(provider_ref(call, invite)), Status::Pending))
}

fn processing(call: usize) -> Box<Observed> {
    let mut observed = Observed::new(None, Status::Sending);
    observed.data.insert("activity".into(), call.into());
    Box::new(observed)
}

/// The group of a half of a call, if it was of more than one invite.
fn half(call: usize, place: usize, of: usize) -> Option<String> {
    (of > 1).then(|| format!("{call}/{place}"))
}

fn record(after: &mut After, case: &Case, at: usize) {
    let call = &mut after.world.calls[at];
    let Sender::Holding(endings) = std::mem::replace(&mut call.sender, Sender::Gone) else {
        return;
    };
    if endings.contains(&Ending::Processing) {
        call.sender = Sender::Following;
    }
    let invites = call.invites.clone();
    for (place, invite) in invites.iter().enumerate() {
        let state = &mut after.world.invites[*invite].state;
        let settlement = match endings[place] {
            Ending::Exists => {
                after.shown.push((*invite, provider_ref(at, *invite)));
                Settlement::Exists(observed(at, *invite))
            }
            Ending::Processing => Settlement::Exists(processing(at)),
            Ending::Failed => Settlement::Failed(error()),
            Ending::Unknown if case.fault != Fault::ResendsBlindly => Settlement::Unknown(error()),
            Ending::Again | Ending::Unknown => {
                Settlement::Again { at: None, group: state.group_id.clone() }
            }
            Ending::Halved => {
                Settlement::Again { at: None, group: half(at, place, invites.len()) }
            }
        };
        let by = match (case.fault, state.holder) {
            (Fault::IgnoresHolder, Some(holder)) => holder,
            _ => attempt(at),
        };
        transition::settle(state, by, &settlement, now());
    }
}

fn renew(world: &mut World, case: &Case, call: usize) {
    let until = at(i32::from(case.lease));
    let members = world.calls[call].invites.clone();
    let mut states: Vec<InviteState> =
        members.iter().map(|invite| world.invites[*invite].state.clone()).collect();
    let renew = |state| transition::renew(state, attempt(call), until) == Decision::Write;
    // All of it or nothing, as in the store.
    if states.iter_mut().all(renew) {
        for (invite, state) in members.into_iter().zip(states) {
            world.invites[invite].state = state;
        }
    } else {
        world.calls[call].sender = Sender::Gone;
    }
}

fn begin_look(world: &mut World, call: usize, repeat: bool) {
    let in_doubt =
        world.calls[call].invites.iter().map(|i| is_doubtful(world, call, *i)).collect();
    world.looks.push(Look { call, repeat, age: 0, in_doubt, seen: None });
    let call = &mut world.calls[call];
    if repeat && call.age <= LIVES_FOR {
        call.request = Request::Open;
    }
}

fn record_look(after: &mut After, case: &Case, at: usize) {
    let look = after.world.looks.remove(at);
    let seen = look.seen.unwrap_or_default();
    let appeared = |sight: &Sight| matches!(sight, Sight::Effect(_) | Sight::Processing);
    let disturbed = look.in_doubt.iter().zip(&seen).any(|(doubt, s)| *doubt && appeared(s));
    let invites = after.world.calls[look.call].invites.clone();
    let began = crate::world::at(-i32::from(look.age));
    for (place, invite) in invites.iter().enumerate() {
        let state = &mut after.world.invites[*invite].state;
        let verdict = match seen[place] {
            Sight::Effect(call) => {
                after.shown.push((*invite, provider_ref(call, *invite)));
                Verdict::Exists(observed(call, *invite))
            }
            Sight::Processing => Verdict::Exists(processing(look.call)),
            Sight::Refused => Verdict::Refused(error()),
            Sight::Absent => Verdict::Absent,
            Sight::CannotTell => Verdict::CannotTell,
        };
        let waits = case.fault != Fault::WaitsForNothing;
        let lookup = Lookup {
            holder: attempt(look.call),
            began,
            disturbed: disturbed && case.fault != Fault::IgnoresCompany,
            group: half(look.call, place, invites.len()),
            settle: TICK * u32::from(case.settle) * u32::from(waits),
            timeout: TICK * u32::from(case.timeout) * u32::from(waits),
            retry: Retry {
                first: TICK,
                max: TICK,
                max_attempts: MAX_ATTEMPTS,
                give_up_after: Duration::ZERO,
            },
            fraction: 1.0,
            unsolved: error(),
            exhausted: error(),
        };
        believe_early(state, &lookup, case.fault);
        transition::look(state, &lookup, &verdict, now());
    }
}

/// Makes the first absence look like the second.
fn believe_early(state: &mut InviteState, lookup: &Lookup, fault: Fault) {
    let counts = state.ended_at.is_some_and(|at| lookup.began >= at + lookup.settle + lookup.timeout);
    let early = match fault {
        Fault::BelievesAnyAbsence => true,
        Fault::BelievesFirstAbsence => counts,
        _ => false,
    };
    if early && state.status == Status::Unknown {
        state.absent_since.get_or_insert(lookup.began - lookup.settle);
    }
}

fn decide(world: &mut World, invite: usize, deed: Deed) {
    let is_there = world.effects(invite).next().is_some();
    let may_come = world.threats(invite) > 0;
    let Some(place) = world.invites.get_mut(invite) else { return };
    let state = &mut place.state;
    let (decision, vouched) = match deed {
        Deed::Retry => (transition::requeue(state, false, now()), false),
        Deed::RetryAtRisk => (transition::requeue(state, true, now()), true),
        Deed::SetPending => {
            (transition::decide_unknown(state, Status::Pending, None), !is_there)
        }
        Deed::SetFailed => {
            let decision = transition::decide_unknown(state, Status::Failed, Some(error()));
            (decision, is_there || may_come)
        }
        Deed::Withdraw => (transition::withdraw(state), false),
        Deed::LookNow => {
            state.next_attempt_at = Some(now());
            (Decision::Write, false)
        }
    };
    assert_eq!(decision, Decision::Write, "a person may do what is offered");
    place.vouched |= vouched;
    world.persons -= 1;
}

/// Makes equal what differs in nothing that matters.
fn normalize(world: &mut World, case: &Case) {
    for invite in &mut world.invites {
        let state = &mut invite.state;
        (state.sent_at, state.checked_at) = (None, None);
        (state.attempt_count, state.lookups) = (0, 0);
        for time in [&mut state.next_attempt_at, &mut state.lease_until] {
            *time = time.map(|time| time.max(now()));
        }
    }
    for call in &mut world.calls {
        let ages = case.kind == Kind::Idempotent || call.sender == Sender::Claimed;
        call.age = if ages { call.age.min(DEAD_FROM.max(case.lease)) } else { 0 };
        let writes = matches!(call.sender, Sender::Claimed | Sender::Calling(_));
        let settled = call.made.iter().all(|made| *made != Made::Nothing);
        if (settled && call.request != Request::Unwritten)
            || (call.request == Request::Unwritten && !writes && case.kind == Kind::Plain)
        {
            call.request = Request::Over;
        }
    }
}
