//! Which steps a world admits.

use invite_core::Status;
use invite_store::{InviteState, Phase};

use crate::{
    clocks::{self, Asleep},
    world::{
        Call, Case, DEAD_FROM, Deed, Ending, Fault, Kind, LONGEST_LOOK, Look, Made, REPEAT_FOR,
        Request, Sender, Sight, Step, World, at, attempt, now, provider_ref,
    },
};

/// All that may happen next.
pub fn enabled(world: &World, case: &Case) -> Vec<Step> {
    let mut steps = Vec::new();
    if may_tick_but_for(world, case, None) {
        steps.push(Step::Tick);
    }
    clocks::suspensions(world, case, &mut steps);
    claims(world, case, &mut steps);
    for at in 0..world.calls.len() {
        of_call(world, case, at, &mut steps);
        of_provider(world, case, at, &mut steps);
    }
    looks(world, case, &mut steps);
    for invite in 0..world.invites.len() {
        of_invite(world, invite, &mut steps);
    }
    steps
}

/// Not before what cannot wait has happened: a call's time-out, a look-up's end. What is suspended can.
pub fn may_tick_but_for(world: &World, case: &Case, asleep: Option<Asleep>) -> bool {
    let waits = |(at, call): (usize, &Call)| match call.sender {
        // What a reply named is evidence once it is recorded.
        Sender::Holding(_) if case.respells => false,
        Sender::Calling(_) if case.respells && call.request == Request::Open => false,
        Sender::Calling(age) if asleep != Some(Asleep::Sender(at)) => {
            age < case.timeout + case.freeze
        }
        _ => true,
    };
    let lasts = |(at, look): (usize, &Look)| {
        asleep == Some(Asleep::Look(at)) || look.age - look.asleep < LONGEST_LOOK
    };
    world.calls.iter().enumerate().all(waits) && world.looks.iter().enumerate().all(lasts)
}

fn claims(world: &World, case: &Case, steps: &mut Vec<Step>) {
    if world.calls.len() == case.calls {
        return;
    }
    let queued = |invite: &usize| {
        let state = &world.invites[*invite].state;
        state.status() == Status::Queued && state.next_attempt_at().is_none_or(|at| at <= now())
    };
    let all: Vec<usize> = (0..world.invites.len()).filter(queued).collect();
    // The first call is of all there are: two calls from the start are two cases of one.
    let alone = all.chunks(1).filter(|_| !world.calls.is_empty() && all.len() > 1);
    for chosen in alone.chain((!all.is_empty()).then_some(&all[..])) {
        let group = &world.invites[chosen[0]].state.group_id;
        let fits = |invite: &usize| world.invites[*invite].state.group_id == *group;
        if chosen.iter().all(fits) {
            let invites = chosen.to_vec();
            if world.calls.iter().all(|call| call.prepared) {
                steps.push(Step::Claim { invites: invites.clone(), prepared: false });
            }
            steps.push(Step::Claim { invites, prepared: true });
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
            let endings = endings(call, case).into_iter();
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
    if call.sender != Sender::Gone && !case.respells {
        steps.push(Step::Crash { call: at });
    }
    if is_recoverable(world, case, at) {
        steps.push(Step::Recover { call: at });
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

pub fn is_doubtful(world: &World, call: usize, invite: usize) -> bool {
    let state = &world.invites[invite].state;
    state.status() == Status::Unknown && state.holder() == Some(attempt(call))
}

/// How a call may end now.
fn endings(call: &Call, case: &Case) -> Vec<Vec<Ending>> {
    let n = call.invites.len();
    if call.request == Request::Unwritten {
        return vec![vec![Ending::Again; n]];
    }
    if case.respells {
        // Without the reply nothing could ever be known of it.
        let all = call.made.iter().all(|made| *made == Made::Effect);
        return if all { vec![vec![Ending::Named; n]] } else { Vec::new() };
    }
    let mut endings = vec![vec![Ending::Unknown; n]];
    let told = |made: &Made| match made {
        Made::Nothing => Ending::Unknown,
        Made::Processing => Ending::Processing,
        Made::Effect => Ending::Exists,
        Made::Refused => Ending::Failed,
    };
    if case.refuses_in_part && n > 1 {
        endings.push(vec![Ending::RefusedInPart; n]);
    }
    if call.made.iter().any(|made| *made != Made::Nothing) {
        endings.push(call.made.iter().map(told).collect());
    }
    if call.made.iter().all(|made| *made == Made::Refused) {
        endings.push(vec![Ending::Again; n]);
        if n > 1 {
            endings.push(vec![Ending::Halved; n]);
            endings.push(
                (0..n).map(|i| if i == 0 { Ending::Failed } else { Ending::Again }).collect(),
            );
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
                if call.request == Request::Open && !case.respells {
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
            steps.push(Step::CrashLook { look: at });
        }
    }
}

fn of_invite(world: &World, invite: usize, steps: &mut Vec<Step>) {
    let state = &world.invites[invite].state;
    let may_ask = world.persons > 0;
    let mut deeds = Vec::new();
    match state.status() {
        Status::Queued => {
            steps.push(Step::GiveUp { invite });
            deeds.push(Deed::Withdraw);
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
            if second_effect(world, invite) {
                steps.push(Step::FindSecond { invite });
            }
        }
        _ => {}
    }
    if may_ask {
        steps.extend(deeds.into_iter().map(|deed| Step::Person { invite, deed }));
    }
}

/// The lease of what it holds is over; or its process is known to be gone; or the lease was over
/// when recovery read it, and was renewed since.
fn is_recoverable(world: &World, case: &Case, place: usize) -> bool {
    let call = &world.calls[place];
    let left = call.invites.iter().map(|invite| &world.invites[*invite].state);
    let gone = matches!(call.sender, Sender::Gone | Sender::Following);
    let over = |state: &InviteState| match (&state.phase, case.fault) {
        (Phase::Sending { .. }, Fault::NeverRecovers) => false,
        (Phase::Sending { .. }, Fault::RecoversEarly) => true,
        (Phase::Sending { lease_until, .. }, _) => gone || *lease_until <= at(clocks::ahead(case)),
        _ => false,
    };
    left.filter(|state| state.holder() == Some(attempt(place))).any(over)
}

/// Whether asking about a live invite finds an effect that it does not stand for.
fn second_effect(world: &World, invite: usize) -> bool {
    let state = &world.invites[invite].state;
    !state.duplicate_effect
        && state.provider_ref.is_some()
        && world.effects(invite).any(|call| state.provider_ref != Some(provider_ref(call, invite)))
}

/// What a look-up would see now.
pub fn see(world: &World, case: &Case, look: &Look) -> Vec<Sight> {
    let call = &world.calls[look.call];
    let sight = |(place, invite): (usize, &usize)| match case.kind {
        // Whoever is there is not recognized.
        Kind::Plain if case.respells => Sight::Absent,
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
