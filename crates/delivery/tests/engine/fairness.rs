//! No destination and no tenant holds up the others of its provider.

use super::*;

/// The first call is company for what comes next: it is under way until `gate` opens. The others are answered by `answer`.
pub fn beside_company(gate: &Arc<Notify>, answer: impl Fn() -> Answer + Send + 'static) -> World {
    let (gate, mut calls) = (gate.clone(), 0);
    World::new(move |_| {
        calls += 1;
        match calls {
            1 => Answer::After(gate.clone(), Box::new(Answer::Takes)),
            _ => answer(),
        }
    })
}

impl Bench {
    /// A request of a tenant's for these people, at one place.
    async fn post_of(&self, tenant: &str, scope: &str, names: &[String]) -> BatchId {
        let items =
            names.iter().enumerate().map(|(index, name)| item(name, scope, index)).collect();
        let new = NewBatch { tenant: tenant.into(), ..batch(items) };
        let id = new.id;
        self.engine.accept(new).await.unwrap();
        id
    }
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

#[tokio::test]
async fn one_destination_that_refuses_or_fails_starves_no_other() {
    let refusal = refused(Cause::Credentials).with_status(403);
    let failure = error(Outcome::Unknown).with_status(500);
    for (bad, is_listed) in [(refusal, true), (failure, true)] {
        let world = World::new(move |to| match to[0].starts_with("bad") {
            true => Answer::Fails(bad.clone()),
            false => Answer::Takes,
        });
        let retry = "retry = { first = \"300ms\", max = \"10s\", give_up_after = \"3s\" }";
        let bench = start(&format!("max_batch = 1\n{retry}"), world).await;
        bench.post_of("one", "closed", &names("bad", 40)).await;
        bench.eventually("calls", async || (bench.world.calls().len() > 1).then_some(())).await;
        let other = bench.post_of("two", "open", &names("good", 5)).await;
        assert_eq!(bench.until(other, ENDS).await, [Status::Pending; 5]);
        let status = bench.status().await;
        let told: Vec<_> = status.destinations.iter().map(|it| it.scope.as_str()).collect();
        assert_eq!(told.contains(&"closed"), is_listed, "{status:?}");
        assert!(!told.contains(&"open"));
    }
}

#[tokio::test]
async fn destinations_that_fail_alike_pause_the_whole_lane() {
    let world = World::new(|_| Answer::Fails(refused(Cause::Credentials)));
    let retry = "retry = { first = \"1h\", max = \"1h\" }";
    let bench = start(&format!("max_batch = 1\n{retry}"), world).await;
    for place in ["a", "b", "c", "d"] {
        bench.post_of("one", place, &names(place, 3)).await;
    }
    bench
        .eventually("the lane to pause", async || {
            (bench.status().await.state == LaneState::Misconfigured).then_some(())
        })
        .await;
    let calls = bench.world.calls().len();
    // Those that were under way when the second of them was refused.
    assert!(calls <= 4, "{calls} calls");
}

#[tokio::test]
async fn a_tenants_single_invite_does_not_wait_behind_anothers_many() {
    for spread in [false, true] {
        let gate = Arc::new(Notify::new());
        let first = gate.clone();
        let mut calls = 0;
        let world = World::new(move |_| {
            calls += 1;
            match calls {
                1 => Answer::After(first.clone(), Box::new(Answer::Takes)),
                _ => Answer::Takes,
            }
        });
        let bench = start("max_batch = 1\nmax_in_flight = 1", world).await;
        for name in names("many", 40) {
            let place = if spread { name.clone() } else { "here".to_owned() };
            bench.post_of("many", &place, &[name]).await;
        }
        let single = bench.post_of("few", "here", &names("single", 1)).await;
        gate.notify_one();
        assert_eq!(bench.until(single, ENDS).await, [Status::Pending]);
        let place = bench.world.calls().iter().position(|call| call == "single0").unwrap();
        assert!(place <= 2, "it was call {place}: {:?}", bench.world.calls());
    }
}

#[tokio::test]
async fn a_call_carries_the_invites_of_several_tenants_one_of_each_in_turn() {
    let gate = Arc::new(Notify::new());
    let world = beside_company(&gate, || Answer::Takes);
    let bench = start("max_batch = 4\nlinger = \"1s\"", world).await;
    let company = bench.post("company").await;
    bench.until(company, &[Status::Sending]).await;
    let few = bench.post_of("few", "here", &names("few", 2)).await;
    let many = bench.post_of("many", "here", &names("many", 10)).await;
    bench.until(many, ENDS).await;
    bench.until(few, ENDS).await;
    gate.notify_one();
    let second = bench.world.calls().remove(1);
    let mut names: Vec<_> = second.split(' ').collect();
    names.sort_unstable();
    assert_eq!(names, ["few0", "few1", "many0", "many1"]);
}

#[tokio::test]
async fn what_goes_again_goes_behind_what_is_due_already() {
    let gate = Arc::new(Notify::new());
    let first = gate.clone();
    let mut calls = 0;
    let world = World::new(move |_| {
        calls += 1;
        match calls {
            1 => {
                let refusal = Answer::Fails(refused(Cause::Credentials));
                Answer::After(first.clone(), Box::new(refusal))
            }
            _ => Answer::Takes,
        }
    });
    let bench = start(&format!("max_batch = 1\nmax_in_flight = 1\n{QUICK}"), world).await;
    let again = bench.post("again").await;
    let others = bench.post("a b c").await;
    gate.notify_one();
    bench.until(again, ENDS).await;
    bench.until(others, ENDS).await;
    assert_eq!(bench.world.calls(), ["again", "a", "b", "c", "again"]);
}

#[tokio::test]
async fn look_ups_at_one_destination_that_fails_do_not_hold_up_anothers() {
    let world = World::new(|_| Answer::TakesButFails(error(Outcome::Unknown)));
    let retry = "retry = { first = \"1h\", max = \"1h\" }";
    let bench = start(&format!("max_batch = 1\n{retry}"), world).await;
    // Five of them pause their destination, and are not looked up before that is over.
    bench.world.lock().silence = Some(error(Outcome::Unknown));
    let bad = bench.post_of("one", "bad", &names("bad", 6)).await;
    bench
        .eventually("its pause", async || {
            bench.status().await.destinations.first().map(|place| place.scope.clone())
        })
        .await;
    // The look-ups that were under way when it began are over.
    let_pass(Duration::from_millis(300)).await;
    bench.world.lock().silence = None;
    let good = bench.post_of("two", "good", &names("good", 1)).await;
    assert_eq!(bench.until(good, ENDS).await, [Status::Pending]);
    let left = bench.invites(bad).await.into_iter().map(|invite| invite.state.status());
    assert!(left.into_iter().all(|status| status != Status::Pending));
}

#[tokio::test]
async fn a_tenant_fills_its_share_of_the_backlog_and_leaves_the_rest_to_others() {
    let closed = Arc::new(Notify::new());
    let gate = closed.clone();
    let world = World::new(move |_| Answer::After(gate.clone(), Box::new(Answer::Takes)));
    let limits = "max_batch = 1\nmax_in_flight = 1\nmax_backlog = 20";
    let bench = start(limits, world).await;
    let accept = async |tenant: &str, prefix: &str, count: usize| {
        let names = names(prefix, count);
        let items = names.iter().enumerate().map(|(index, name)| item(name, "here", index));
        let new = NewBatch { tenant: tenant.into(), ..batch(items.collect()) };
        bench.engine.accept(new).await.map(|_| ())
    };
    accept("one", "first", 1).await.unwrap();
    bench.eventually("a call", async || (bench.world.calls().len() == 1).then_some(())).await;
    // Nine tenths of 20.
    accept("one", "a", 17).await.unwrap();
    assert!(matches!(accept("one", "b", 2).await, Err(AcceptError::ShareFull { .. })));
    accept("one", "c", 1).await.unwrap();
    assert!(matches!(accept("one", "d", 1).await, Err(AcceptError::ShareFull { .. })));
    accept("two", "e", 1).await.unwrap();
    // What was refused has taken no room.
    assert!(matches!(accept("two", "f", 2).await, Err(AcceptError::BacklogFull { .. })));
    accept("two", "g", 1).await.unwrap();
    // Others' room is not a tenant's.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(matches!(accept("one", "h", 1).await, Err(AcceptError::BacklogFull { .. })));
}
