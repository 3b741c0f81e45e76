//! The document in the file: when it takes the place of the live one, and when it does not.

use std::path::Path;

use invite_delivery::Taken;

use super::{
    revising::{codes, refusal, start_stored},
    *,
};

/// What its outcome is called in these tests.
pub trait Outcomes {
    /// The revision that a file became.
    fn revision(&self) -> Option<i64>;
    /// The newest revision when it was refused, and the one that stays.
    fn overtaken(&self) -> Option<(i64, i64)>;
}

impl Outcomes for Taken {
    fn revision(&self) -> Option<i64> {
        match self {
            Taken::Revised(revised) => Some(revised.revision),
            _ => None,
        }
    }

    fn overtaken(&self) -> Option<(i64, i64)> {
        match self {
            Taken::Overtaken { refused, newest } => Some((*refused, *newest)),
            _ => None,
        }
    }
}

#[tokio::test]
async fn the_file_wins_when_it_changes_and_a_change_elsewhere_stays_while_it_does_not() {
    let bench = start_stored(World::new(|_| Answer::Takes)).await;
    let path = Path::new("providers.toml");
    let (file, engine) = (bench.text(), &bench.engine);
    let take = async |text: &str| {
        let taken = engine.take_file(path, text, false).await;
        taken.map(|taken| taken.revision())
    };
    let differs = || engine.document().status().file.unwrap().differs;
    assert_eq!(take(&file).await.unwrap(), None);
    assert!(!differs());
    let console = file.clone() + "# console\n";
    assert_eq!(bench.revise(&console).await.unwrap(), 2);
    assert!(differs());
    assert_eq!(take(&file).await.unwrap(), None, "it is what it was");
    assert_eq!(bench.text(), console);
    // Once the file says the same it is known to: else the next start would take it for news.
    assert_eq!(take(&console).await.unwrap(), Some(3));
    assert!(!differs());
    assert_eq!(take(&console).await.unwrap(), None);
    assert_eq!(bench.revise(&file).await.unwrap(), 4);
    assert_eq!(take(&console).await.unwrap(), None);
    assert_eq!(take(&file).await.unwrap(), Some(5));
}

#[tokio::test]
async fn an_empty_file_is_refused_while_there_are_providers() {
    let bench = start_stored(World::new(|_| Answer::Takes)).await;
    let path = Path::new("providers.toml");
    // With a comment alone it may be one that somebody is writing.
    for text in ["\n", "# none\n"] {
        let refused = bench.engine.take_file(path, text, true).await.err().unwrap();
        let findings = refusal(refused);
        assert_eq!(codes(&findings), ["empty-document"]);
        assert!(findings[0].detail.contains("enabled = false"), "{}", findings[0]);
    }
    bench.engine.document().miss_file(path, "no such file");
    let status = bench.engine.document().status();
    let known = status.last_refusal.unwrap();
    assert_eq!((known.source, codes(&known.findings)), ("file", vec!["unreadable"]));
    let text = bench.text();
    let take = async |text| bench.engine.take_file(path, text, false).await.unwrap().revision();
    assert_eq!(take(&text).await, None);
    assert!(bench.engine.document().status().last_refusal.is_none(), "it is good again");
    assert_eq!(bench.revise("# none\n").await.unwrap(), 2);
    assert_eq!((take("# none yet\n").await, take("").await), (Some(3), Some(4)));
}

#[tokio::test]
async fn a_file_that_was_refused_does_not_replace_a_revision_that_was_made_since() {
    let go = Arc::new(Notify::new());
    let gate = go.clone();
    let bench = start_stored(World::new(move |_| {
        Answer::After(gate.clone(), Box::new(Answer::Fails(error(Outcome::NotSent))))
    }))
    .await;
    let path = Path::new("providers.toml");
    let batch = bench.post("ada").await;
    let (file, moved) = (bench.text(), bench.text().replace("127.0.0.1:9", "127.0.0.1:10"));
    let refused = bench.engine.take_file(path, &moved, false).await.err().unwrap();
    assert_eq!(codes(&refusal(refused)), ["has-work"]);
    assert!(!bench.engine.document().is_file_due(), "not so soon");
    let console = format!("{file}# console\n");
    assert_eq!(bench.revise(&console).await.unwrap(), 2);
    bench.world.lock().rule_is(|_| Answer::Takes);
    go.notify_one();
    bench.until(batch, &[Status::Pending]).await;

    let taken = bench.engine.take_file(path, &moved, false).await.unwrap();
    assert_eq!(taken.overtaken(), Some((1, 2)));
    let (restarted, _) = bench.resumed().await;
    let taken = restarted.take_file(path, &moved, false).await.unwrap();
    assert_eq!(taken.overtaken(), Some((1, 2)), "nor at the next start");
    assert!(restarted.status().file.unwrap().differs);
    assert_eq!(bench.text(), console);
    let taken = bench.engine.take_file(path, &moved, true).await.unwrap();
    assert_eq!(taken.revision(), Some(3), "somebody wants it");
}

#[tokio::test]
async fn a_refused_file_that_is_put_in_force_elsewhere_is_taken_and_its_next_edit_is_one() {
    let bench = start_stored(World::new(|_| Answer::Takes)).await;
    let path = Path::new("providers.toml");
    let (file, moved) = (bench.text(), bench.text().replace("127.0.0.1:9", "127.0.0.1:10"));
    let take = async |text: &str| bench.engine.take_file(path, text, false).await;
    let go = Arc::new(Notify::new());
    let gate = go.clone();
    bench.world.lock().rule_is(move |_| Answer::After(gate.clone(), Box::new(Answer::Takes)));
    let batch = bench.post("ada").await;
    assert_eq!(codes(&refusal(take(&moved).await.err().unwrap())), ["has-work"]);
    bench.until(batch, &[Status::Sending]).await;
    go.notify_one();
    bench.until(batch, &[Status::Pending]).await;
    assert_eq!(bench.revise(&moved).await.unwrap(), 2);
    assert_eq!(take(&moved).await.unwrap().revision(), Some(3), "what the file holds");
    assert!(bench.engine.document().status().last_refusal.is_none());
    assert_eq!(take(&file).await.unwrap().revision(), Some(4));
    assert_eq!(bench.text(), file);
}

#[tokio::test]
async fn a_refusal_is_told_once_while_its_provider_has_less_and_less_work() {
    let bench = start_stored(World::new(|_| Answer::Takes)).await;
    let path = Path::new("providers.toml");
    let never = Arc::new(Notify::new());
    bench.world.lock().rule_is(move |_| Answer::After(never.clone(), Box::new(Answer::Takes)));
    let batches = [bench.post_at("here", "ada").await, bench.post_at("there", "grace").await];
    let moved = bench.text().replace("127.0.0.1:9", "127.0.0.1:10");
    let refused = async || {
        assert!(bench.engine.take_file(path, &moved, false).await.is_err());
        let refusal = bench.engine.document().status().last_refusal.unwrap();
        (refusal.at, refusal.findings[0].detail.clone())
    };
    let (first, detail) = refused().await;
    assert!(detail.contains(" 2 of its invites"), "{detail}");
    let ada = bench.one(batches[0]).await.id;
    let end = Change::of(vec![ada], |_, _, state, _| {
        state.phase = Phase::Settled(Status::Pending);
        Decision::Write
    });
    bench.store.change(end).await.unwrap();
    let (at, detail) = refused().await;
    assert!(detail.contains(" 1 of its invites"), "{detail}");
    assert_eq!(at, first, "nothing else is wrong");
    let broken = moved.replace("kind =", "kin =");
    assert!(bench.engine.take_file(path, &broken, false).await.is_err());
    assert_ne!(bench.engine.document().status().last_refusal.unwrap().at, first);
}

#[tokio::test]
async fn a_refused_file_is_tried_again_while_nothing_is_newer_and_whenever_it_was_edited() {
    let bench = start_stored(World::new(|_| Answer::Takes)).await;
    let path = Path::new("providers.toml");
    let (file, engine) = (bench.text(), &bench.engine);
    let broken = file.replace("50ms", "never");
    let take = async |text: &str| engine.take_file(path, text, false).await;
    let refused_at = || engine.document().status().last_refusal.unwrap().at;
    assert!(take(&broken).await.is_err());
    let first = refused_at();
    assert!(take(&broken).await.is_err());
    assert_eq!(refused_at(), first, "the same is not told twice");
    assert!(engine.take_file(path, &broken, true).await.is_err());
    assert_ne!(refused_at(), first, "unless somebody asks");

    assert_eq!(bench.revise(&format!("{file}# console\n")).await.unwrap(), 2);
    assert!(take(&broken).await.unwrap().overtaken().is_some());
    assert!(take(&file).await.unwrap().revision().is_none(), "what was last taken");
    assert!(take(&broken).await.is_err(), "edited twice");
    let other = format!("{file}# other\n");
    assert_eq!(take(&other).await.unwrap().revision(), Some(3));
    assert!(take(&broken).await.is_err(), "edited once more");
}
