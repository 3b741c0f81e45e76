//! Whether one dead provider slows the others: the time from a request to its settled answer at two
//! providers, while the third is sound and while it never answers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{StreamExt, stream};
use invite_tests::{invites, person};
use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

use crate::gateway::{Gateway, kill, plain_client};
use crate::plan::Ending;
use crate::providers::Providers;

/// Each way is measured so often, in turn, so that both see the same machine.
const TURNS: usize = 3;
/// Requests in each turn to the two sound providers.
const REQUESTS: usize = 400;
/// Of which so many are under way at once.
const AT_ONCE: usize = 4;
/// Beside them the third provider gets one request for each so many.
const EVERY: usize = 4;

/// Measures, and says how it went.
pub async fn measure(folder: &Path) -> String {
    let (mut sound, mut faulty) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        sound.extend(times(folder.join(format!("sound-{turn}")), false).await);
        faulty.extend(times(folder.join(format!("faulty-{turn}")), true).await);
    }
    let (sound, faulty) = (percentiles(sound), percentiles(faulty));
    format!(
        "two providers while the third is sound:         p50 {:?}, p99 {:?}\n\
         two providers while the third never answers:    p50 {:?}, p99 {:?}\n\
         p99 ratio {:.3}",
        sound.0,
        sound.1,
        faulty.0,
        faulty.1,
        faulty.1.as_secs_f64() / sound.1.as_secs_f64(),
    )
}

async fn times(folder: PathBuf, is_faulty: bool) -> Vec<Duration> {
    let http = plain_client();
    let providers = Providers::start(http.clone()).await;
    if is_faulty {
        providers.break_down("turnkey", &json!({ "kind": "latency", "delay": "1h" })).await;
    }
    let gateway = Gateway::prepare(folder, &providers.document(), None, false, http).await;
    let (child, is_up) = gateway.start(Ending::Stays).await;
    assert!(is_up, "the gateway does not start: {}", gateway.log());
    let requests = stream::iter(0..REQUESTS).map(|number| time(&gateway, number));
    let times = requests.buffer_unordered(AT_ONCE).collect().await;
    kill(child).await;
    gateway.remove().await;
    providers.stop().await;
    times
}

/// How long one invite takes to exist, with a request for the third provider before some.
async fn time(gateway: &Gateway, number: usize) -> Duration {
    if number.is_multiple_of(EVERY) {
        let body = invites("treasury", [person(number)]);
        let headers = [("prefer", "respond-async".to_owned())];
        let answer = gateway.ask(Method::POST, "/v1/invites", &headers, Some(&body)).await;
        assert_eq!(answer.unwrap().0, 202, "it is accepted, whatever becomes of it");
    }
    let to = if number.is_multiple_of(2) { "event" } else { "tenancy" };
    let body = invites(to, [person(REQUESTS + number)]);
    let headers = [("prefer", "wait=15".to_owned())];
    let began = Instant::now();
    let (status, answer) =
        gateway.ask(Method::POST, "/v1/invites", &headers, Some(&body)).await.unwrap();
    assert_eq!(status, 201, "{answer}");
    began.elapsed()
}

/// The middle, and what one of a hundred exceeds.
fn percentiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}
