//! What is shown without being done, and what is shown of a call to one of several callers.

use invite_core::{Cause, ListQuery, Outcome};
use serde_json::json;

use crate::{
    bench::Bench,
    people::{person, shows},
};

pub async fn a_dry_run_renders_the_call_and_sends_nothing(bench: &Bench) {
    let recipients = [bench.recipient(1)];
    let dry = bench.with_secrets(&[bench.subject.good]).offline();
    let call = dry.prepare(&recipients, bench.now()).await.unwrap();
    assert!(call.body.contains(&recipients[0].invitee.email));
    assert_eq!(call.account, None, "only the provider can tell");
    assert_eq!(call.destination, recipients[0].destination);
    let error = dry.create(&call, &recipients).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::NotSent);
    for error in [dry.probe().await.err(), dry.list(&ListQuery::default()).await.err()] {
        assert_ne!(error.expect("nothing can be asked").cause, Cause::Credentials);
    }
    assert_eq!(bench.simulator.count("*").await, 0);
    assert_eq!(bench.wire.requests().len(), 0);
}

pub async fn a_dry_run_leaves_no_trace_in_the_real_one(bench: &Bench) {
    let recipients = [bench.recipient(1)];
    bench.provider.offline().prepare(&recipients, bench.now()).await.unwrap();
    let call = bench.call(&recipients).await;
    assert!(!call.body.contains("(whoami)"), "{}", call.body);
    assert!(bench.provider.create(&call, &recipients).await.unwrap()[0].is_ok());
}

pub async fn an_excerpt_shows_a_caller_its_own_part_and_nobody_elses(bench: &Bench) {
    let count = if bench.provider.capabilities().create.native_batch { 3 } else { 1 };
    let recipients = bench.recipients(0..count);
    let call = bench.call(&recipients).await;
    bench.provider.create(&call, &recipients).await.unwrap();
    let exchange = bench.audit.last_exchanges().remove(0);
    // Services quote what they were sent, in and out of the form of their errors.
    let asked = exchange.request.as_deref().unwrap();
    let quoted = json!({"detail": asked, "message": asked, "error": asked, "code": 3}).to_string();
    let listed = json!({"detail": [{"loc": ["body"], "msg": asked, "type": "t", "input": asked}]});
    let listed = listed.to_string();
    let replies =
        [exchange.reply.as_deref(), None, Some(asked), Some(&quoted), Some(&listed), Some("")];
    for (index, recipient) in recipients.iter().enumerate() {
        for reply in replies {
            let request = exchange.request.as_deref();
            let (asked, answered) =
                (bench.subject.kind.excerpt)(request, reply, index, &recipient.invitee);
            let shown = format!("{asked} {answered}");
            assert!(asked.to_string().contains(&recipient.invitee.email), "{asked}");
            for other in (0..count).filter(|other| *other != index) {
                assert!(!shows(&shown, &person(other)), "{shown}");
            }
        }
        let request = exchange.request.as_deref();
        let reply = exchange.reply.as_deref();
        let (_, own) = (bench.subject.kind.excerpt)(request, reply, index, &recipient.invitee);
        let id = &bench.simulator.effects_for(&recipient.invitee.email).await[0]["id"];
        assert!(own.to_string().contains(id.as_str().unwrap()), "{own}");
        for others in bench.simulator.effects().await.iter().filter(|effect| effect["id"] != *id) {
            assert!(!own.to_string().contains(others["id"].as_str().unwrap()), "{own}");
        }
        assert!(!own.to_string().contains("signature"), "a stamp: {own}");
    }
    let (asked, answered) = (bench.subject.kind.excerpt)(None, None, 0, &person(0));
    assert!(asked.is_null() && answered.is_null());
}

pub async fn what_is_kept_of_a_question_shows_nobody_else(bench: &Bench) {
    let (recipient, remote) = bench.invited(1).await;
    bench.invited(2).await;
    // Each look that there is for it, also those that are only for one that is gone.
    let gone = remote.provider_ref.as_deref().unwrap();
    for is_there in [true, false] {
        if !is_there {
            bench.simulator.move_invite(gone, "accepted").await;
        }
        let _ = bench.provider.get(&remote).await;
        let kept = bench.audit.last_exchanges();
        assert!(!kept.is_empty());
        for exchange in kept {
            let (request, reply) = (exchange.request.as_deref(), exchange.reply.as_deref());
            let parts = (bench.subject.kind.excerpt)(request, reply, 0, &recipient.invitee);
            let shown = format!("{} {}", parts.0, parts.1);
            assert!(!shows(&shown, &person(2)), "{shown}");
        }
    }
    let _ = bench.provider.list(&ListQuery::default()).await;
    for exchange in bench.audit.last_exchanges() {
        assert_eq!(exchange.reply, None, "{}", exchange.target);
    }
}

pub async fn what_lets_its_holder_in_is_named_as_a_code(bench: &Bench) {
    let (_, remote) = bench.invited(1).await;
    let codes = bench.subject.kind.codes;
    for name in remote.data.keys().filter(|name| name.ends_with("code")) {
        assert!(codes.contains(&name.as_str()), "{name}");
    }
    for code in codes {
        assert!(remote.data[*code].is_string(), "{code} is no member of the data");
    }
}
