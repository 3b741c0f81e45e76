//! Which other invites at the provider a second effect is: kept in `provider_data`, beside what the
//! provider's replies said, for whoever has to withdraw one of them there.

use invite_core::text::plain_json;
use invite_store::{Decision, InviteState};
use serde_json::{Map, Value};

/// The member of `provider_data` that lists the provider ids of second effects.
pub const SECOND_EFFECTS: &str = "second_effects";

/// Reports a second effect by its provider id.
pub(super) fn note_second(state: &mut InviteState, id: &str) -> Decision {
    let known = state.provider_data.entry(SECOND_EFFECTS).or_insert_with(|| Value::Array(vec![]));
    let Value::Array(known) = known else { return Decision::Keep };
    if known.iter().any(|known| known == id) {
        return Decision::Keep;
    }
    known.push(id.into());
    state.duplicate_effect = true;
    Decision::Write
}

/// The provider ids of the second effects that are known.
pub fn second_effects(state: &InviteState) -> impl Iterator<Item = &str> {
    let known = state.provider_data.get(SECOND_EFFECTS).and_then(Value::as_array);
    known.into_iter().flatten().filter_map(Value::as_str)
}

/// What the provider's replies said.
pub fn replies(state: &InviteState) -> Map<String, Value> {
    let mut replies = state.provider_data.clone();
    replies.remove(SECOND_EFFECTS);
    replies
}

/// What the replies to one call said is not of another.
pub(super) fn forget_replies(state: &mut InviteState) {
    state.provider_data.retain(|member, _| member == SECOND_EFFECTS);
}

/// Adds what a reply said. A reply may repeat what was known when it was asked for.
pub(super) fn take_reply(state: &mut InviteState, said: &Map<String, Value>) {
    let said = said.iter().filter(|(member, _)| *member != SECOND_EFFECTS);
    state.provider_data.extend(said.map(|(member, value)| (member.clone(), plain_json(value))));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn second_effects_are_kept_once_and_outlive_what_replies_said() {
        let mut state = InviteState::queued(jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(note_second(&mut state, "i2"), Decision::Write);
        let known_then = state.provider_data.clone();
        assert_eq!(note_second(&mut state, "i2"), Decision::Keep);
        assert_eq!(note_second(&mut state, "i3"), Decision::Write);
        // A reply that repeats what was known when it was asked for.
        take_reply(&mut state, &known_then);
        take_reply(&mut state, json!({ "activity_id": "a" }).as_object().unwrap());
        assert_eq!(replies(&state), *json!({ "activity_id": "a" }).as_object().unwrap());
        forget_replies(&mut state);
        assert!(state.duplicate_effect && replies(&state).is_empty());
        assert_eq!(second_effects(&state).collect::<Vec<_>>(), ["i2", "i3"]);
    }
}
