//! What a step makes of a world. States are changed by the engine's own transition functions alone,
//! called as the engine calls them.

use invite_core::{Observed, Origin, Outcome, Reason, ReasonCode, Status};
use invite_delivery::transition::{self, LookupTerms, Settlement, Verdict};
use invite_store::{Decision, InviteState, Phase};
use jiff::Timestamp;

use crate::{
    choices::{is_doubtful, see},
    clocks,
    world::{
        Call, Case, DEAD_FROM, Deed, Ending, Fault, Kind, LIVES_FOR, Look, Made, OLD, RETRY,
        Request, Sender, Sight, Step, TICK, World, at, attempt, now, provider_ref,
    },
};

/// A world after a step, and what the step showed to the engine.
pub struct After {
    pub world: World,
    /// Effects: of which invite, and under which provider id.
    pub shown: Vec<(usize, String)>,
    /// Invites that the provider is still working on.
    pub working: Vec<usize>,
}

/// What a step makes of a world.
pub fn take(world: &World, case: &Case, step: &Step) -> After {
    let mut after = After { world: world.clone(), shown: Vec::new(), working: Vec::new() };
    let world = &mut after.world;
    match step {
        Step::Tick => tick(world, case),
        Step::Suspend { asleep } => clocks::suspend(world, case, *asleep),
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
            let ending = if call.made[0] == Made::Effect { Ending::Exists } else { Ending::Failed };
            call.sender = Sender::Holding(vec![ending; call.invites.len()]);
        }
        Step::Renew { call } => renew(world, case, *call),
        Step::Recover { call } => {
            for invite in world.calls[*call].invites.clone() {
                let state = &mut world.invites[invite].state;
                transition::lose_sender(state, attempt(*call), &error(), now());
            }
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
        step => happen(world, case, step),
    }
    normalize(&mut after.world, case);
    after
}

/// The steps that concern one invite or one look-up alone.
fn happen(world: &mut World, case: &Case, step: &Step) {
    match step {
        Step::CrashLook { look } => drop(world.looks.remove(*look)),
        Step::FindSecond { invite } => {
            let ids = ["second".to_owned()];
            transition::note_second_effects(&mut world.invites[*invite].state, &ids);
        }
        Step::GiveUp { invite } => {
            transition::give_up(&mut world.invites[*invite].state, error());
        }
        Step::Accept { invite } => {
            let state = &mut world.invites[*invite].state;
            let seen = Observed::new(state.provider_ref.clone(), Status::Accepted);
            transition::observe(state, &seen, now());
        }
        Step::Person { invite, deed } => decide(world, case, *invite, *deed),
        _ => {}
    }
}

fn error() -> Reason {
    Reason::new(ReasonCode::ProviderRejected, Origin::Provider, Outcome::Rejected, "no")
}

/// Its effect is not known.
fn unknown() -> Reason {
    Reason::new(ReasonCode::OutcomeUnknown, Origin::Provider, Outcome::Unknown, "who knows")
}

pub fn tick(world: &mut World, case: &Case) {
    for invite in &mut world.invites {
        let earlier = |time: Timestamp| (time - TICK).max(at(-OLD));
        clocks::change_times(&mut invite.state.phase, earlier, earlier);
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
        asleep: 0,
        request: Request::Unwritten,
        made: vec![Made::Nothing; invites.len()],
        is_refused: false,
        is_named: false,
    });
}

fn check_lease(call: &mut Call, case: &Case) {
    let in_time =
        clocks::age(call, case) + case.timeout <= case.lease || case.fault == Fault::IgnoresLease;
    call.sender = if call.prepared && in_time {
        Sender::Calling(0)
    } else {
        Sender::Holding(vec![Ending::Again; call.invites.len()])
    };
}

fn write(call: &mut Call, case: &Case) {
    if clocks::is_kept_back(call, case) {
        call.sender = Sender::Holding(vec![Ending::Again; call.invites.len()]);
        return;
    }
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
    call.is_refused = endings.contains(&Ending::RefusedInPart);
    call.is_named = endings.contains(&Ending::Named);
    let invites = call.invites.clone();
    for (place, invite) in invites.iter().enumerate() {
        let state = &mut after.world.invites[*invite].state;
        let settlement = match endings[place] {
            Ending::Exists => {
                after.shown.push((*invite, provider_ref(at, *invite)));
                Settlement::Exists(observed(at, *invite))
            }
            Ending::Processing => {
                after.working.push(*invite);
                Settlement::Exists(processing(at))
            }
            Ending::Failed => Settlement::Failed(error()),
            Ending::RefusedInPart | Ending::Named => Settlement::Unknown(unknown()),
            Ending::Unknown if case.fault != Fault::ResendsBlindly => {
                Settlement::Unknown(unknown())
            }
            Ending::Again | Ending::Unknown => {
                Settlement::Again { at: None, group: state.group_id.clone() }
            }
            Ending::Halved => Settlement::Again { at: None, group: half(at, place, invites.len()) },
        };
        if forgets(case, state, endings[place] == Ending::Processing) {
            continue;
        }
        let by = match (case.fault, state.holder()) {
            (Fault::IgnoresHolder, Some(holder)) => holder,
            _ => attempt(at),
        };
        transition::settle(state, by, &settlement, now());
    }
}

fn forgets(case: &Case, state: &InviteState, is_working: bool) -> bool {
    case.fault == Fault::ForgetsWork && state.status() == Status::Queued && is_working
}

fn renew(world: &mut World, case: &Case, call: usize) {
    let until = at(i32::from(case.lease));
    let members = world.calls[call].invites.clone();
    let mut states: Vec<InviteState> =
        members.iter().map(|invite| world.invites[*invite].state.clone()).collect();
    let renew = |state| {
        transition::keep_following(state, attempt(call), until, now(), now()) == Decision::Write
    };
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
    let in_doubt = world.calls[call].invites.iter().map(|i| is_doubtful(world, call, *i)).collect();
    world.looks.push(Look { call, repeat, age: 0, asleep: 0, in_doubt, seen: None });
    let call = &mut world.calls[call];
    if repeat && call.age <= LIVES_FOR {
        call.request = Request::Open;
    }
}

fn record_look(after: &mut After, case: &Case, at: usize) {
    let look = after.world.looks.remove(at);
    let began = crate::world::at(-i32::from(clocks::look_age(&look, case)));
    let seen = look.seen.unwrap_or_default();
    let appeared = |sight: &Sight| matches!(sight, Sight::Effect(_) | Sight::Processing);
    let disturbed = look.in_doubt.iter().zip(&seen).any(|(doubt, s)| *doubt && appeared(s));
    let invites = after.world.calls[look.call].invites.clone();
    let Call { is_refused, is_named, .. } = after.world.calls[look.call];
    for (place, invite) in invites.iter().enumerate() {
        let state = &mut after.world.invites[*invite].state;
        let verdict = match seen[place] {
            Sight::Effect(call) => {
                after.shown.push((*invite, provider_ref(call, *invite)));
                Verdict::Exists(observed(call, *invite))
            }
            Sight::Processing => {
                after.working.push(*invite);
                Verdict::Exists(processing(look.call))
            }
            Sight::Refused => Verdict::Refused(error()),
            Sight::Absent if is_named && case.fault != Fault::IgnoresEvidence => {
                Verdict::CannotTell(String::new())
            }
            Sight::Absent => Verdict::Absent,
            Sight::CannotTell => Verdict::CannotTell(String::new()),
        };
        if forgets(case, state, seen[place] == Sight::Processing) {
            continue;
        }
        let waits = case.fault != Fault::WaitsForNothing;
        let lookup = LookupTerms {
            holder: attempt(look.call),
            began,
            disturbed,
            group: half(look.call, place, invites.len()),
            told_by_bytes: case.kind == Kind::Idempotent,
            is_refused,
            settle: TICK * u32::from(case.settle) * u32::from(waits),
            timeout: TICK * u32::from(case.timeout) * u32::from(waits),
            retry: RETRY,
            fraction: 1.0,
            unsolved: unknown(),
            exhausted: error(),
        };
        believe_early(state, &lookup, case.fault);
        transition::apply_verdict(state, &lookup, &verdict, now());
    }
}

/// Makes the first absence look like the second.
fn believe_early(state: &mut InviteState, lookup: &LookupTerms, fault: Fault) {
    let Phase::Unknown(unknown) = &mut state.phase else { return };
    let counts = lookup.began >= unknown.ended_at + lookup.settle + lookup.timeout;
    let early = match fault {
        Fault::BelievesAnyAbsence => true,
        Fault::BelievesFirstAbsence => counts,
        Fault::BelievesRefusals => lookup.is_refused,
        _ => false,
    };
    if early {
        unknown.absent_since.get_or_insert(lookup.began - lookup.settle);
    }
}

fn decide(world: &mut World, case: &Case, invite: usize, deed: Deed) {
    let is_there = world.effects(invite).next().is_some();
    let may_come = world.threats(case, invite) > 0;
    let Some(place) = world.invites.get_mut(invite) else { return };
    let state = &mut place.state;
    let (decision, vouched) = match deed {
        Deed::Retry => (transition::requeue(state, false, now()), false),
        Deed::RetryAtRisk => (transition::requeue(state, true, now()), true),
        Deed::SetPending => (transition::decide_unknown(state, Status::Pending, None), !is_there),
        Deed::SetFailed => {
            let decision = transition::decide_unknown(state, Status::Failed, Some(error()));
            (decision, is_there || may_come)
        }
        Deed::Withdraw => (transition::withdraw(state), false),
        Deed::LookNow => (transition::look_up_now(state, now()), false),
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
        state.attempt_count = 0;
        if let Phase::Unknown(unknown) = &mut state.phase {
            unknown.lookups = 0;
        }
        clocks::change_times(&mut state.phase, |time| time.max(now()), |time| time);
    }
    for call in &mut world.calls {
        let writes = matches!(call.sender, Sender::Claimed | Sender::Calling(_));
        let is_guarded = case.suspensions > 0 && writes && call.request == Request::Unwritten;
        let ages = case.kind == Kind::Idempotent || call.sender == Sender::Claimed || is_guarded;
        let oldest = match case.kind {
            _ if case.fault == Fault::CountsNoSuspension => u8::MAX,
            Kind::Plain => case.lease + 1,
            Kind::Idempotent => DEAD_FROM.max(case.lease + 1),
        };
        call.age = if ages { call.age.min(oldest) } else { 0 };
        let is_counted = is_guarded && case.fault == Fault::CountsNoSuspension;
        call.asleep = if is_counted { call.asleep } else { 0 };
        let settled = call.made.iter().all(|made| *made != Made::Nothing);
        if (settled && call.request != Request::Unwritten)
            || (call.request == Request::Unwritten && !writes && case.kind == Kind::Plain)
        {
            call.request = Request::Over;
        }
    }
}
