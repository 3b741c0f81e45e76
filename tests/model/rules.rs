//! What must hold in every world that can come about, at every step, and of what may follow.

use invite_core::Status;
use invite_delivery::transition::LOOK_UP_FOR;
use invite_store::Phase;

use crate::{
    steps::After,
    world::{Case, Deed, Invite, Kind, Step, World, now, provider_ref},
};

pub const DOUBLED: &str = "an invite took effect twice";
pub const FAILED_WITH_EFFECT: &str = "an invite that was failed or withdrawn took effect";
pub const LOST: &str = "an invite counts as pending and there is none";
pub const TWO_CALLS: &str = "two calls may take effect for one invite";
pub const FALSE_ALARM: &str = "a second effect is reported and there is none";
pub const UNREPORTED: &str = "an effect was shown, and is neither the invite's nor reported";
pub const UNFINAL: &str = "a final status changed";
pub const MISSHAPEN: &str = "the parts of a state contradict each other";
pub const GIVEN_UP_EARLY: &str = "look-ups ended before their time";
pub const KNOWN_RESENT: &str = "an invite that is known to exist is queued to be sent again";
pub const FORGOTTEN: &str =
    "the provider is known to work on a call, and it is queued to be sent again";
pub const STALE: &str = "what another call's reply said is taken for this one's";
pub const STUCK: &str = "an invite that is not settled has no way on";
pub const UNFOUND: &str = "a second effect is there and can never be found";

/// What a world breaks by itself.
pub fn check_world(world: &World, case: &Case) -> Option<&'static str> {
    (0..world.invites.len()).find_map(|invite| check_invite(world, case, invite))
}

fn check_invite(world: &World, case: &Case, at: usize) -> Option<&'static str> {
    let Invite { state, vouched } = &world.invites[at];
    let effects = world.effects(at).count();
    let is_promised = case.overdue == 0 && !vouched;
    let is_there = matches!(state.status(), Status::Pending | Status::Accepted);
    let stands_for = world.effects(at).any(|c| state.provider_ref == Some(provider_ref(c, at)));
    let by_word = is_there && state.provider_ref.is_none();
    let failed = matches!(state.status(), Status::Failed | Status::Revoked);
    let doubtful = matches!(state.status(), Status::Sending | Status::Unknown);
    let given_up_early = matches!(&state.phase, Phase::Unknown(unknown)
        if unknown.next_attempt_at.is_none() && now() < unknown.ended_at + LOOK_UP_FOR);
    let named = state.provider_data.get("activity").and_then(|call| call.as_u64());
    let broken = [
        (is_promised && effects > 1, DOUBLED),
        (is_promised && failed && effects > 0, FAILED_WITH_EFFECT),
        (is_there && !(stands_for || (by_word && (effects > 0 || *vouched))), LOST),
        (is_promised && world.threats(case, at) + effects > 1, TWO_CALLS),
        (state.duplicate_effect && effects < 2, FALSE_ALARM),
        (state.status() == Status::Queued && state.provider_ref.is_some(), KNOWN_RESENT),
        (
            matches!(state.status(), Status::Failed | Status::Unknown) != state.error.is_some(),
            MISSHAPEN,
        ),
        (given_up_early, GIVEN_UP_EARLY),
        (doubtful && named.is_some_and(|call| world.holder(at) != Some(call as usize)), STALE),
    ];
    broken.into_iter().find_map(|(is_broken, what)| is_broken.then_some(what))
}

/// What a step breaks.
pub fn check_step(before: &World, case: &Case, step: &Step, after: &After) -> Option<&'static str> {
    let unreported = after.shown.iter().any(|(invite, shown)| {
        let state = &after.world.invites[*invite].state;
        // What a look-up sees may be the effect of the call that holds it now or, by its contents, of
        // another invite to the person.
        let awaited = matches!(step, Step::RecordLook { .. })
            && (state.holder().is_some() || case.kind == Kind::Plain);
        state.provider_ref.as_ref() != Some(shown) && !state.duplicate_effect && !awaited
    });
    let retried = |at| matches!(step, Step::Person { invite, deed: Deed::Retry } if *invite == at);
    let changed = |(at, invite): (usize, &Invite)| {
        let (old, new) = (&invite.state, &after.world.invites[at].state);
        old.status().is_final()
            && (old.status() != new.status()
                || (old.provider_ref.is_some() && old.provider_ref != new.provider_ref))
            && !(old.status() == Status::Failed && retried(at))
    };
    let replaced = |(at, invite): (usize, &Invite)| {
        let (old, new) = (&invite.state, &after.world.invites[at].state);
        let is_another = old.provider_ref.is_some() && old.provider_ref != new.provider_ref;
        is_another && !new.duplicate_effect
    };
    let queued = |invite: &usize| after.world.invites[*invite].state.status() == Status::Queued;
    if unreported || before.invites.iter().enumerate().any(replaced) {
        return Some(UNREPORTED);
    }
    if after.working.iter().any(queued) {
        return Some(FORGOTTEN);
    }
    before.invites.iter().enumerate().any(changed).then_some(UNFINAL)
}

/// What can be reached again and again: from wherever `from` holds, some way that the engine, the
/// provider and time go by themselves leads to where `to` holds.
pub struct Reachable {
    pub broken: &'static str,
    pub from: fn(&Invite, usize) -> bool,
    pub to: fn(&Invite) -> bool,
}

/// For each invite, with the number of its effects.
pub const REACHABLE: [Reachable; 2] = [
    Reachable {
        broken: STUCK,
        from: |invite, _| !is_settled(invite),
        // Or a person has to look: nothing is due any more.
        to: is_settled,
    },
    Reachable {
        broken: UNFOUND,
        from: |invite, effects| {
            let state = &invite.state;
            effects > 1 && state.status() == Status::Pending && state.provider_ref.is_some()
        },
        to: |invite| invite.state.duplicate_effect,
    },
];

fn is_settled(invite: &Invite) -> bool {
    let for_a_person =
        invite.state.status() == Status::Unknown && invite.state.next_attempt_at().is_none();
    invite.state.status().is_settled() || for_a_person
}
