//! Callers who go on posting single invites while a test changes something under them, and what has
//! to become of those invites whatever the test did.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use invite_tests::{Answer, Client, Gateway, eventually, invites, person};
use serde_json::Value;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::interval;

use crate::text;

/// A load that goes on until it is ended, or until an answer is not as it should be.
pub struct Load {
    progress: Arc<Progress>,
    callers: JoinHandle<Vec<Answer>>,
}

#[derive(Default)]
struct Progress {
    is_ending: AtomicBool,
    answered: AtomicUsize,
}

impl Load {
    /// Posts an invite every `period`, to one of these places after the other, whether or not those
    /// before were answered.
    pub fn open(client: &Client, places: &[&str], period: Duration) -> Self {
        let client = client.clone();
        let places: Vec<String> = places.iter().map(|&place| place.to_owned()).collect();
        Self::of(async move |progress: Arc<Progress>| {
            let (mut callers, mut answers) = (JoinSet::new(), Vec::new());
            let mut pace = interval(period);
            for (number, place) in places.iter().cycle().enumerate() {
                pace.tick().await;
                if progress.is_ending.load(Ordering::Relaxed) {
                    break;
                }
                callers.spawn(post(client.clone(), place.clone(), number, progress.clone()));
                while let Some(answer) = callers.try_join_next() {
                    answers.push(answer.unwrap());
                }
            }
            answers.extend(callers.join_all().await);
            answers
        })
    }

    /// So many callers, each of whom posts one invite after the other to this place, `pause` apart,
    /// over one connection that has to last.
    pub fn kept_alive(
        client: &Client,
        callers: usize,
        place: &'static str,
        pause: Duration,
    ) -> Self {
        let client = client.clone();
        Self::of(async move |progress: Arc<Progress>| {
            let mut all = JoinSet::new();
            for caller in 0..callers {
                let (client, progress) = (client.apart(), progress.clone());
                all.spawn(async move {
                    let mut answers: Vec<Answer> = Vec::new();
                    let mut pace = interval(pause);
                    while !progress.is_ending.load(Ordering::Relaxed) {
                        pace.tick().await;
                        let number = caller + callers * answers.len();
                        let place = place.to_owned();
                        let answer = post(client.clone(), place, number, progress.clone()).await;
                        answers.push(answer);
                        assert_eq!(answers[0].connection, answers[answers.len() - 1].connection);
                        pace.reset();
                    }
                    answers
                });
            }
            let mut answers = Vec::new();
            while let Some(own) = all.join_next().await {
                answers.extend(own.unwrap());
            }
            answers
        })
    }

    fn of<F>(callers: impl FnOnce(Arc<Progress>) -> F) -> Self
    where
        F: Future<Output = Vec<Answer>> + Send + 'static,
    {
        let progress = Arc::<Progress>::default();
        Self { callers: tokio::spawn(callers(progress.clone())), progress }
    }

    /// Returns when so many more were answered.
    pub async fn goes_on(&self, more: usize) {
        let goal = self.progress.answered.load(Ordering::Relaxed) + more;
        eventually(&format!("{more} more invites are answered"), async || {
            assert!(!self.callers.is_finished(), "a caller was not answered as it should be");
            (self.progress.answered.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    /// Ends it, and returns every answer once all are there.
    pub async fn end(self) -> Vec<Answer> {
        self.progress.is_ending.store(true, Ordering::Relaxed);
        self.callers.await.unwrap()
    }
}

async fn post(client: Client, place: String, number: usize, progress: Arc<Progress>) -> Answer {
    let request = client.request("POST", "/v1/invites").json(&invites(&place, [person(number)]));
    let answer = request.header("prefer", "wait=15").send().await.expect(201);
    progress.answered.fetch_add(1, Ordering::Relaxed);
    answer
}

/// Fails unless each of these invites is pending and exists at its provider, once, and nothing else
/// does.
pub async fn assert_each_exists_once(gateway: &Gateway, invites: &[Value]) {
    for invite in invites {
        assert_eq!(text(invite, "status"), "pending", "{invite}");
        assert_eq!(invite["duplicate_effect"], false, "{invite}");
    }
    for kind in ["securegate", "rkvst", "turnkey"] {
        let effects = gateway.simulators.effects(kind).await;
        let mut existing: Vec<_> =
            effects.iter().map(|own| (text(own, "id"), text(own, "email"))).collect();
        let own = invites.iter().filter(|invite| text(invite, "provider_kind") == kind);
        let mut known: Vec<_> =
            own.map(|own| (text(own, "provider_ref"), text(own, "email"))).collect();
        existing.sort_unstable();
        known.sort_unstable();
        assert!(!known.is_empty(), "{kind} got no invite");
        assert_eq!(existing, known, "{kind}");
    }
}

/// The calls that were made for an invite.
pub async fn attempts(gateway: &Gateway, invite: &Value) -> Answer {
    let path = format!("/v1/invites/{}/attempts", text(invite, "id"));
    gateway.client().get(&path).await.expect(200)
}
