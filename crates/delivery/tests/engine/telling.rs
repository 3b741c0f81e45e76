//! What is told of look-ups that cannot say what became of an invite.

use super::*;
use crate::fairness::beside_company;

/// Look-ups that have to be asked for, of calls that wait for company.
const RARE: &str = "max_batch = 2\nlinger = \"1s\"\nretry = { first = \"1h\", max = \"1h\" }";

fn unheard() -> World {
    World::new(|_| Answer::Fails(error(Outcome::Unknown)))
}

fn unheard_beside(gate: &Arc<Notify>) -> World {
    beside_company(gate, || Answer::Fails(error(Outcome::Unknown)))
}

impl Bench {
    /// What the first look-up told of this invite.
    async fn first_look(&self, invite: InviteId) -> String {
        let looks = async || Some(self.looks(invite).await).filter(|looks| !looks.is_empty());
        self.eventually("a look-up", looks).await.remove(0).1
    }

    /// Invites ada for one tenant and grace for another, in one call: they gather while one is under way.
    async fn post_for(&self, tenants: [&str; 2], gate: &Notify) -> [InviteId; 2] {
        let calls = async |most: usize| {
            let are_made = async || (self.world.calls().len() == most).then_some(());
            self.eventually("a call", are_made).await;
        };
        self.post("company").await;
        calls(1).await;
        let [ada, grace] = ["ada", "grace"].map(|name| batch(vec![item(name, "here", 0)]));
        let ids = [ada.items[0].id, grace.items[0].id];
        for (tenant, new) in tenants.into_iter().zip([ada, grace]) {
            self.engine.accept(NewBatch { tenant: tenant.into(), ..new }).await.unwrap();
        }
        calls(2).await;
        gate.notify_one();
        ids
    }

    /// What a person is told of this invite when its look-ups, of which there was one, are over.
    async fn left_to_a_person(&self, invite: InviteId) -> String {
        let age = Change::of(vec![invite], |_, _, state, now| {
            in_doubt(state).ended_at = now - transition::LOOK_UP_FOR;
            Decision::Write
        });
        self.store.change(age).await.unwrap();
        self.engine.refresh(invite).await.unwrap();
        let left = async || {
            let state = self.store.invite(invite).await.unwrap().unwrap().state;
            let is_left = state.next_attempt_at().is_none();
            state.error.filter(|_| is_left)
        };
        self.eventually("the last look-up", left).await.detail
    }
}

#[tokio::test]
async fn a_look_up_that_cannot_tell_says_whether_a_similar_one_is_there_or_what_it_could_not_see() {
    for (similar, told) in [
        (&["id-7", "id-8"][..], "cannot tell: a similar one is there: id-7, id-8"),
        (&[], "cannot tell: the fake shows nothing"),
    ] {
        let world = unheard();
        world.lock().is_blind = true;
        world.lock().similar = similar.iter().map(|id| (*id).to_owned()).collect();
        let bench = start(RARE, world).await;
        let batch = bench.post("ada").await;
        let invite = bench.one(batch).await;
        assert_eq!(bench.first_look(invite.id).await, told);
        assert!(bench.one(batch).await.state.checked_at.is_some());
    }
}

#[tokio::test]
async fn a_similar_one_that_another_invite_holds_is_not_told_of() {
    let mut answers = vec![Answer::Fails(error(Outcome::Unknown)), Answer::Takes];
    let world = World::new(move |_| answers.pop().unwrap_or(Answer::Takes));
    world.lock().similar = vec!["id-0".to_owned()];
    let bench = start(RARE, world).await;
    let held = bench.post("grace").await;
    bench.until(held, &[Status::Pending]).await;
    let batch = bench.post("ada").await;
    let invite = bench.one(batch).await;
    assert_eq!(bench.first_look(invite.id).await, "absent");
}

#[tokio::test]
async fn a_look_up_for_several_tenants_tells_none_of_them_how_many_or_the_ids_of_what_is_similar() {
    for (tenants, told) in [
        (["default", "other"], "cannot tell: a similar one is there"),
        (["default", "default"], "2 of 2 cannot tell: a similar one is there: id-7"),
    ] {
        let gate = Arc::new(Notify::new());
        let world = unheard_beside(&gate);
        world.lock().similar = vec!["id-7".to_owned()];
        let bench = start(RARE, world).await;
        let [ada, _] = bench.post_for(tenants, &gate).await;
        assert_eq!(bench.first_look(ada).await, told);
        let calls = bench.world.calls();
        assert!(calls.len() == 2 && calls[1].contains("ada"), "{calls:?}");
    }
}

#[tokio::test]
async fn what_is_left_to_a_person_says_why_the_last_look_up_could_not_tell() {
    for (similar, silence, told) in [
        (7..8, None, "(the last look-up: a similar one is there: id-7)"),
        (1..9, None, "is there: id-1, id-2, id-3, id-4, id-5 and 3 more)"),
        (7..8, Some(error(Outcome::Unknown)), "(the last look-up: made up: unknown)"),
    ] {
        let world = unheard();
        world.lock().similar = similar.map(|n| format!("id-{n}")).collect();
        let bench = start(RARE, world).await;
        let batch = bench.post("ada").await;
        let invite = bench.one(batch).await;
        bench.first_look(invite.id).await;
        bench.world.lock().silence = silence;
        let detail = bench.left_to_a_person(invite.id).await;
        assert!(detail.contains(told), "{detail}");
    }
}

#[tokio::test]
async fn what_is_left_to_a_person_names_no_ids_that_may_be_another_tenants() {
    let gate = Arc::new(Notify::new());
    let world = unheard_beside(&gate);
    world.lock().similar = vec!["id-7".to_owned(), "id-8".to_owned()];
    let bench = start(RARE, world).await;
    let [ada, grace] = bench.post_for(["default", "other"], &gate).await;
    bench.first_look(ada).await;
    let detail = bench.left_to_a_person(ada).await;
    assert!(detail.contains("(the last look-up: a similar one is there)"), "{detail}");
    bench.engine.set_status(grace, Status::Pending).await.unwrap();
    let looks = bench.looks(grace).await;
    let is_what_a_person_found =
        |(_, told): &(_, String)| told == "cannot tell which of several a person found";
    assert!(looks.iter().any(is_what_a_person_found), "{looks:?}");
    assert!(!looks.iter().any(|(_, told)| told.contains("id-")), "{looks:?}");
}

#[tokio::test]
async fn what_a_provider_says_of_a_call_of_several_tenants_is_told_to_none_of_them() {
    for (tenants, is_told) in [(["default", "other"], false), (["default", "default"], true)] {
        let gate = Arc::new(Notify::new());
        let bench = start(RARE, unheard_beside(&gate)).await;
        let [ada, _] = bench.post_for(tenants, &gate).await;
        let unknown = async || {
            let state = bench.store.invite(ada).await.unwrap().unwrap().state;
            let is_unknown = state.status() == Status::Unknown;
            state.error.filter(|_| is_unknown)
        };
        let error = bench.eventually("an outcome that is not known", unknown).await;
        let detail = error.detail;
        assert_eq!(detail.contains("made up"), is_told, "{detail}");
        let attempts = bench.store.attempts(ada, None, 1, false).await.unwrap().attempts;
        assert_eq!(attempts[0].is_shared, !is_told);
        assert!(attempts[0].detail.as_deref().unwrap().contains("made up"));
    }
}
