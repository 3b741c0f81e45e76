//! Whatever is asked of a provider, its reply is obeyed and told alike: the table of everybody who asks, by
//! what they are answered with.

use invite_core::ListQuery;
use invite_store::AttemptView;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::*;
use fake_peer::Reply;

/// Status and headers of a reply, how an attempt ends by it, and how the lane fares then.
const REPLIES: [(u16, &str, AttemptOutcome, LaneState); 5] = [
    (429, "retry-after: 300\r\n", AttemptOutcome::Throttled, LaneState::Paused),
    (503, "retry-after: 300\r\n", AttemptOutcome::Unknown, LaneState::Paused),
    (401, "", AttemptOutcome::Rejected, LaneState::Ready),
    (500, "", AttemptOutcome::Unknown, LaneState::Ready),
    (
        200,
        "ratelimit-remaining: 0\r\nratelimit-reset: 300\r\n",
        AttemptOutcome::Succeeded,
        LaneState::Slowed,
    ),
];

/// Everybody who asks something of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Create,
    Account,
    Get,
    UpdateStatus,
    Revoke,
    List,
    Probe,
    RefreshByList,
    LookUp,
    Repeat,
    SecondEffects,
    Following,
    Approval,
    ByWord,
}

use Asker::*;

impl Asker {
    /// What the adapter is asked for, and what that is in the record, metrics and counters.
    fn operations(self) -> (&'static str, Operation) {
        let told = match self {
            Create => Operation::Create,
            Account => Operation::Account,
            Get => Operation::Get,
            UpdateStatus => Operation::UpdateStatus,
            Revoke => Operation::Revoke,
            List | RefreshByList => Operation::List,
            Probe => Operation::Probe,
            Repeat => return ("repeat", Operation::Reconcile),
            LookUp | SecondEffects | Following | Approval | ByWord => Operation::Reconcile,
        };
        (told.as_str(), told)
    }

    /// Its question is an attempt of the invite that it is about.
    fn is_recorded(self) -> bool {
        // Of second effects only what is found is told of an invite.
        !matches!(self, Account | List | Probe | RefreshByList | SecondEffects)
    }

    /// Has it ask, with this as the next reply to that.
    async fn ask(self, reply: Reply) -> (Bench, Option<InviteId>) {
        let refresh = match self {
            RefreshByList | SecondEffects => Duration::from_millis(300),
            _ => Duration::ZERO,
        };
        let mut calls = 0;
        let world = World::new(move |_| {
            calls += 1;
            match self {
                LookUp | Repeat | SecondEffects | ByWord if calls == 1 => {
                    Answer::Fails(error(Outcome::Unknown))
                }
                Following => Answer::Works,
                Approval => Answer::AwaitsApproval,
                _ => Answer::Takes,
            }
        });
        world.lock().is_idempotent = self == Repeat;
        world.lock().is_working = self == Following;
        let is_first = matches!(self, Create | Account | LookUp | Repeat | Following);
        if is_first {
            world.lock().reply = Some(reply.clone());
        }
        let retry = match self {
            // What the lane does about a reply is seen while it lasts.
            Create | ByWord => "retry = { first = \"10s\", max = \"10s\" }",
            _ => QUICK,
        };
        let limits = format!("max_batch = 3\ntimeout = \"2s\"\n{retry}");
        let settings = Settings { refresh, ..settings() };
        let bench = start_with(settings, &limits, world).await;
        if self == Account {
            return (bench, None);
        }
        let names = if matches!(self, RefreshByList | Approval) { "ada grace joan" } else { "ada" };
        let batch = bench.post(names).await;
        let id = bench.one(batch).await.id;
        let settled = match self {
            Create | LookUp | Repeat | Following => return (bench, Some(id)),
            ByWord => {
                let seen = bench.eventually("a look", async || bench.looks(id).await.pop()).await;
                assert_eq!(seen.0, AttemptOutcome::Succeeded);
                &[Status::Unknown, Status::Queued][..]
            }
            Approval => &[Status::AwaitingApproval],
            _ => &[Status::Pending],
        };
        bench.until(batch, settled).await;
        bench.world.lock().ended = (self == Approval).then(|| error(Outcome::Rejected));
        bench.world.lock().reply = Some(reply);
        let engine = &bench.engine;
        match self {
            Get | Approval => drop(engine.refresh(id).await),
            UpdateStatus => drop(engine.set_status(id, Status::Accepted).await),
            Revoke => drop(engine.revoke(id, false).await),
            List => drop(engine.list_remote("fake", &ListQuery::default()).await),
            Probe => drop(engine.probe("fake").await),
            ByWord => drop(engine.set_status(id, Status::Pending).await),
            _ => {}
        }
        (bench, Some(id))
    }
}

fn count(metrics: &PrometheusHandle, operation: Operation, outcome: AttemptOutcome) -> u64 {
    let (operation, outcome) = (format!("\"{operation}\""), format!("\"{outcome}\""));
    let metrics = metrics.render();
    let line = metrics.lines().find(|line| {
        line.starts_with("invite_attempts_total{")
            && line.contains(&operation)
            && line.contains(&outcome)
    });
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

async fn attempt(
    bench: &Bench,
    invite: InviteId,
    wanted: (Operation, AttemptOutcome, u16),
) -> Option<AttemptView> {
    let page = bench.store.attempts(invite, None, 100, false).await.unwrap();
    page.attempts.into_iter().find(|attempt| {
        (attempt.operation, attempt.outcome, attempt.http_status)
            == (wanted.0, Some(wanted.1), Some(wanted.2))
    })
}

/// What is wrong with a row of the table.
async fn row(
    metrics: &PrometheusHandle,
    asker: Asker,
    (status, headers, outcome, state): (u16, &'static str, AttemptOutcome, LaneState),
) -> Option<String> {
    let (operation, told) = asker.operations();
    let before = count(metrics, told, outcome);
    let (bench, invite) = asker.ask(Reply { operation, status, headers }).await;
    let wrong = check(metrics, asker, (status, outcome, state), before, &bench, invite).await;
    bench.engine.shutdown().await;
    wrong
}

async fn check(
    metrics: &PrometheusHandle,
    asker: Asker,
    (status, outcome, state): (u16, AttemptOutcome, LaneState),
    before: u64,
    bench: &Bench,
    invite: Option<InviteId>,
) -> Option<String> {
    let (_, told) = asker.operations();
    // Of creates alone a refused credential says that no other can be made.
    let state = match (asker, status) {
        (Create, 401) => LaneState::Misconfigured,
        _ => state,
    };
    // A look-up may be asked again and again, so that a count tells nothing of this very reply: what the lane or its last
    // error says does, once the reply is obeyed.
    let mut seen = None;
    let is_obeyed = within(async || {
        let is_asked = bench.world.lock().reply.is_none();
        let is_counted = count(metrics, told, outcome) > before;
        let status_seen = bench.status().await;
        let error = status_seen.last_error.as_ref();
        let error = error.map(|error| (error.operation, error.http_status));
        let is_told = outcome == AttemptOutcome::Succeeded || error == Some((told, Some(status)));
        let in_lane = status_seen.counters.outcomes.get(&outcome).is_some_and(|count| *count > 0);
        let is_obeyed = is_asked && is_counted && is_told && in_lane && status_seen.state == state;
        seen = Some(status_seen);
        is_obeyed.then_some(())
    });
    if is_obeyed.await.is_none() {
        return Some(format!("{seen:?}; {:?}", bench.world.calls()));
    }
    let invite = invite.filter(|_| asker.is_recorded())?;
    let recorded = within(async || attempt(bench, invite, (told, outcome, status)).await).await;
    match recorded {
        Some(_) => None,
        None => {
            let page = bench.store.attempts(invite, None, 100, false).await.unwrap();
            Some(format!("no attempt: {:?}", page.attempts))
        }
    }
}

async fn within<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    for _ in 0..1000 {
        if let Some(answer) = ask().await {
            return Some(answer);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    None
}

/// A test for everybody who asks, in a process of its own, whose metrics nobody else's calls are in.
macro_rules! obey_and_tell_alike {
    ($($test:ident = $asker:ident,)*) => {$(
        #[tokio::test]
        async fn $test() {
            let metrics = PrometheusBuilder::new().install_recorder().unwrap();
            for reply in REPLIES {
                let wrong = row(&metrics, $asker, reply).await;
                assert_eq!(wrong, None, "answered with {}", reply.0);
            }
        }
    )*};
}

obey_and_tell_alike! {
    a_create_obeys_and_tells_its_reply = Create,
    the_question_for_the_account_does = Account,
    a_question_about_an_invite_does = Get,
    setting_a_status_does = UpdateStatus,
    withdrawing_an_invite_does = Revoke,
    a_list_that_a_person_asks_for_does = List,
    a_probe_does = Probe,
    a_list_of_live_invites_does = RefreshByList,
    a_look_up_does = LookUp,
    a_repeated_call_does = Repeat,
    looking_for_second_effects_does = SecondEffects,
    following_a_call_does = Following,
    a_look_up_of_a_call_that_was_not_approved_does = Approval,
    a_look_up_by_a_persons_word_does = ByWord,
}
