//! Another provider document: what may take the place of the live one, and what becomes of those who
//! are at work meanwhile.

use std::path::Path;

use invite_config::{Finding, Severity};
use invite_delivery::{Origin, ReviseError};
use invite_store::{Actor, Added, NewRevision, Quotas};

use super::{filed::Outcomes as _, *};

/// A bench whose document is stored as revision 1.
pub async fn start_stored(world: World) -> Bench {
    let bench = start(QUICK, world).await;
    let added = bench.store.add_revision(draft(&bench.text(), "file"), None, &[]).await.unwrap();
    assert!(matches!(added, Added::Revision(_)), "{added:?}");
    bench
}

fn draft(text: &str, source: &str) -> NewRevision {
    let actor = Actor { name: source.into(), source: source.into() };
    NewRevision { document: text.into(), actor, note: None, restored: None }
}

fn api() -> Origin {
    Origin { source: "api", actor: "key_1".into(), note: Some("why".into()), restored: None }
}

fn actor() -> Actor {
    Actor { name: "key_1".into(), source: "api".into() }
}

pub fn codes(findings: &[Finding]) -> Vec<&str> {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(|finding| &*finding.code).collect()
}

pub fn refusal(error: ReviseError) -> Vec<Finding> {
    match error {
        ReviseError::Refused(review) => review.findings,
        other => panic!("{other:?}"),
    }
}

impl Bench {
    pub fn text(&self) -> String {
        self.live.current().text().to_owned()
    }

    pub async fn revise(&self, text: &str) -> Result<i64, ReviseError> {
        self.engine.revise(text, api(), None).await.map(|revised| revised.revision)
    }
}

#[tokio::test]
async fn a_document_that_passes_is_live_stored_and_recorded() {
    let bench = start_stored(World::new(|_| Answer::Takes)).await;
    let text = format!("{}# more\n", bench.text());
    let revised = bench.engine.revise(&text, api(), Some(1)).await.unwrap();
    assert_eq!(revised.revision, 2);
    assert!(revised.diff.starts_with("--- revision 1\n+++ candidate\n"), "{}", revised.diff);
    assert!(revised.diff.ends_with("+# more\n"), "{}", revised.diff);
    assert!(revised.changed.is_empty());
    assert_eq!((bench.text(), bench.live.current().revision()), (text.clone(), 2));
    let stored = bench.store.latest_revision().await.unwrap().unwrap();
    assert_eq!((stored.revision, stored.document, &*stored.source), (2, text.clone(), "api"));
    let entry = bench.store.audit(None, 1).await.unwrap().entries.remove(0);
    assert_eq!((&*entry.change.actor.name, &*entry.change.target), ("key_1", "2"));
    let batch = bench.post("ada").await;
    bench.until(batch, &[Status::Pending]).await;
    let attempts = bench.store.creates(bench.one(batch).await.id).await.unwrap();
    assert_eq!(attempts[0].config_revision, 2);
    assert_eq!(bench.revise(&text).await.unwrap(), 2, "the same again is no other revision");
}

#[tokio::test]
async fn a_broken_document_changes_nothing_and_is_remembered_until_a_good_one_comes() {
    let bench = start_stored(World::new(|_| Answer::Takes)).await;
    let before = bench.text();
    let broken = before.replace("kind = \"fake\"", "kind = \"fike\"");
    let findings = refusal(bench.revise(&broken).await.unwrap_err());
    assert_eq!(codes(&findings), ["not-allowed"]);
    assert_eq!(bench.text(), before);
    assert_eq!(bench.store.latest_revision_number().await.unwrap(), 1);
    let known = bench.engine.document().status().last_refusal.unwrap();
    assert_eq!((known.source, known.findings), ("api", findings));
    bench.revise("# none yet\n").await.unwrap();
    assert!(bench.engine.document().status().last_refusal.is_none());
}

#[tokio::test]
async fn a_document_for_another_revision_than_the_newest_is_a_conflict() {
    let bench = start_stored(World::new(|_| Answer::Takes)).await;
    let refused = bench.engine.revise("# a\n", api(), Some(7)).await;
    assert!(matches!(refused, Err(ReviseError::Conflict { live: 1 })), "{:?}", refused.err());
    let (a, b) = (bench.text() + "# a\n", bench.text() + "# b\n");
    let racing = join_all([&a, &b].map(|text| bench.engine.revise(text, api(), Some(1)))).await;
    assert_eq!(racing.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(matches!(
        racing.into_iter().find_map(Result::err),
        Some(ReviseError::Conflict { live: 2 })
    ));
}

#[tokio::test]
async fn a_provider_is_neither_removed_nor_another_account_while_it_has_work() {
    let go = Arc::new(Notify::new());
    let gate = go.clone();
    let bench = start_stored(World::new(move |_| {
        Answer::After(gate.clone(), Box::new(Answer::Fails(error(Outcome::NotSent))))
    }))
    .await;
    let batch = bench.post("ada grace").await;
    let moved = bench.text().replace("127.0.0.1:9", "127.0.0.1:10");
    for (text, line) in [("# nothing\n".to_owned(), 1), (moved.clone(), 1)] {
        let review = bench.engine.document().review(&text, false, actor()).await.unwrap();
        assert!(!review.passes());
        let findings = refusal(bench.revise(&text).await.unwrap_err());
        assert_eq!(codes(&findings), ["has-work"]);
        let finding = findings.iter().find(|f| f.code == "has-work").unwrap();
        assert!(finding.detail.contains(" 2 of its invites"), "{finding}");
        assert!(finding.detail.contains("enabled = false"), "{finding}");
        assert_eq!((&*finding.pointer, finding.line), ("/providers/fake", line));
    }
    let disabled = bench.text().replace("kind =", "enabled = false\nkind =");
    assert_eq!(bench.revise(&disabled).await.unwrap(), 2);
    bench.world.lock().rule_is(|_| Answer::Takes);
    go.notify_one();
    bench.until(batch, &[Status::Pending]).await;
    assert_eq!(bench.revise(&moved).await.unwrap(), 3, "drained");
    assert_eq!(bench.revise("# nothing\n").await.unwrap(), 4);
    assert!(bench.find_status().await.is_none());
}

#[tokio::test]
async fn a_batch_bound_to_an_account_that_is_gone_is_not_accepted() {
    let bench = start_stored(World::new(|_| Answer::Takes)).await;
    let limited = bench.text().replace("50ms", "60ms");
    assert_eq!(bench.revise(&limited).await.unwrap(), 2);
    bench.engine.accept(batch(vec![item("ada", "here", 0)])).await.unwrap();
    let drained = async || {
        let unfinished = bench.store.unfinished(&["fake".to_owned()]).await.unwrap();
        unfinished.is_empty().then_some(())
    };
    bench.eventually("nothing to be left", drained).await;
    for (text, revision) in
        [(limited.replace("127.0.0.1:9", "127.0.0.1:10"), 3), ("# none\n".to_owned(), 4)]
    {
        assert_eq!(bench.revise(&text).await.unwrap(), revision);
        let refused = bench.engine.accept(batch(vec![item("grace", "here", 0)])).await;
        assert!(matches!(refused, Err(AcceptError::Outdated)), "{refused:?}");
    }
}

#[tokio::test]
async fn a_probe_that_fails_is_a_warning_of_the_review_that_asked_for_it() {
    let bench = start_stored(World::new(|_| Answer::Takes)).await;
    let moved = bench.text().replace("127.0.0.1:9", "127.0.0.1:10");
    for (error, code) in [
        (refused(Cause::Credentials), "credential-refused"),
        (refused(Cause::NotFound), "probe-refused"),
        (error(Outcome::Unknown), "credential-not-checked"),
        (error(Outcome::NotSent), "credential-not-checked"),
        (error(Outcome::Throttled), "credential-not-checked"),
    ] {
        bench.world.lock().silence = Some(error);
        assert!(
            bench
                .engine
                .document()
                .review(&moved, false, actor())
                .await
                .unwrap()
                .findings
                .is_empty()
        );
        let review = bench.engine.document().review(&moved, true, actor()).await.unwrap();
        assert_eq!(
            (review.findings.iter().map(|it| it.code.as_str()).collect(), &*review.changed),
            (vec![code], &["fake".to_owned()][..])
        );
        assert!(review.passes());
    }
    let limited = bench.text().replace("50ms", "60ms");
    let review = bench.engine.document().review(&limited, true, actor()).await.unwrap();
    assert!(review.findings.is_empty(), "its adapter is the same");
}

#[tokio::test]
async fn nobody_waits_while_two_long_documents_are_compared() {
    let bench = start_stored(World::new(|_| Answer::Takes)).await;
    let long = |seed: u64| -> String {
        let lines = (0..150_000).map(|n: u64| format!("# {}\n", (n * seed) % 997));
        bench.text().lines().take(8).map(|line| format!("{line}\n")).chain(lines).collect()
    };
    let (first, second) = (long(7_919), long(104_729));
    assert_eq!(bench.revise(&first).await.unwrap(), 2);
    let compared = async {
        assert!(bench.engine.document().review(&second, false, actor()).await.unwrap().passes());
        bench.revise(&second).await.unwrap()
    };
    let mut longest = Duration::ZERO;
    let mut number = 0;
    let accepting = async {
        loop {
            let began = Instant::now();
            number += 1;
            bench.post(&format!("ada{number}")).await;
            longest = longest.max(began.elapsed());
        }
    };
    tokio::select! {
        revision = compared => assert_eq!(revision, 3),
        () = accepting => {}
    }
    assert!(number > 1 && longest < Duration::from_secs(5), "{number} invites, {longest:?}");
}

#[tokio::test]
async fn replicas_follow_the_newest_revision_unless_it_does_not_pass_there() {
    let bench = start_stored(World::new(|_| Answer::Takes)).await;
    let live = Live::new(configuration(&bench.world, QUICK, 1));
    let other = serve(&bench.store, &live, &bench.world, settings()).await;
    assert_eq!(bench.revise(&(bench.text() + "# more\n")).await.unwrap(), 2);
    bench
        .eventually("the other to follow", async || (live.current().revision() == 2).then_some(()))
        .await;
    other.shutdown().await;

    // One for whose lease the calls may take too long.
    let kinds: Vec<Arc<ProviderKind>> = vec![Arc::new(fake::kind(bench.world.clone()))];
    let rules = Rules::new(Duration::from_millis(2), vec!["127.0.0.1".to_owned()]);
    let lame = Gate::new(kinds, rules, Arc::new(SystemClock));
    let live = Live::new(lame.check("").configuration.unwrap().with_revision(1));
    let document =
        LiveDocument::new(bench.store.clone(), Arc::new(lame), live, Arc::new(SystemClock));
    assert!(!document.catch_up().await.unwrap());
    let status = document.status();
    let refusal = status.last_refusal.unwrap();
    assert_eq!((status.revision, refusal.source, refusal.revision), (1, "store", Some(2)));
    let conflict = document.revise("# mine\n", api(), Some(1)).await;
    assert!(matches!(conflict, Err(ReviseError::Conflict { live: 2 })));
    let revised = document.revise("# mine\n", api(), None).await.unwrap();
    assert_eq!(revised.revision, 3, "it can still be mended from there");
}

impl Bench {
    /// The document that a process would start with.
    pub async fn resumed(&self) -> (LiveDocument, bool) {
        let gate = gate(&self.world);
        let nothing = Live::new(gate.check("").configuration.unwrap());
        let clock = Arc::new(SystemClock);
        let document = LiveDocument::new(self.store.clone(), Arc::new(gate), nothing, clock);
        let is_served = document.resume().await.unwrap();
        (document, is_served)
    }

    async fn store_revision(&self, text: &str) {
        self.store.add_revision(draft(text, "api"), None, &[]).await.unwrap();
    }
}

#[tokio::test]
async fn a_start_serves_the_newest_revision_that_passes_and_guards_the_work_of_the_newest() {
    let never = Arc::new(Notify::new());
    let world = World::new(move |_| Answer::After(never.clone(), Box::new(Answer::Takes)));
    let bench = start_stored(world).await;
    bench.post("ada grace").await;
    let broken = bench.text().replace("50ms", "never");
    bench.store_revision("[[[").await;
    bench.store_revision(&broken).await;
    let (document, is_served) = bench.resumed().await;
    assert!(is_served);
    let status = document.status();
    assert_eq!((status.revision, status.last_refusal.unwrap().revision), (1, Some(3)));
    assert!(document.unserved_reason().unwrap().starts_with("revision 3 does not pass here"));
    let path = Path::new("providers.toml");
    let moved = bench.text().replace("127.0.0.1:9", "127.0.0.1:10");
    for (text, code) in [("", "empty-document"), (&*moved, "has-work")] {
        let refused = document.take_file(path, text, false).await.err().unwrap();
        assert_eq!(codes(&refusal(refused)), [code]);
    }
    let good = bench.text() + "# good\n";
    assert_eq!(document.take_file(path, &good, false).await.unwrap().revision(), Some(4));
    assert!(document.unserved_reason().is_none() && document.status().last_refusal.is_none());
}

#[tokio::test]
async fn a_start_serves_no_revision_by_which_unfinished_invites_would_go_to_another_account() {
    let bench = start_stored(World::new(|_| Answer::Takes)).await;
    // Once it noticed the next revision, which it cannot serve, it would take no invite.
    bench.engine.shutdown().await;
    let moved = bench.text().replace("127.0.0.1:9", "127.0.0.1:10");
    bench.store_revision(&moved.replace("50ms", "never")).await;
    let (_, is_served) = bench.resumed().await;
    assert!(is_served, "there is no work");
    let new = NewBatch { config_revision: 2, ..batch(vec![item("ada", "here", 0)]) };
    let accepted = bench.store.accept(new, 2, Quotas::new()).await.unwrap();
    assert!(matches!(accepted, Ok(Acceptance::Accepted(_))), "{accepted:?}");
    let (document, is_served) = bench.resumed().await;
    assert!(!is_served);
    let path = Path::new("providers.toml");
    let edited = format!("{}# edited\n", bench.text());
    for (text, code) in [("\n", "empty-document"), (&*edited, "has-work")] {
        let refused = document.take_file(path, text, true).await.err().unwrap();
        assert_eq!(codes(&refusal(refused)), [code], "nothing is live, and there is work");
    }
    let refused = document.revise("# nothing\n", api(), None).await.err().unwrap();
    assert_eq!(codes(&refusal(refused)), ["has-work"]);
}
