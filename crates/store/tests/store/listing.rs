//! Listing: filters, pages, and statuses as they read now.

use invite_core::{InviteId, ReasonCode, Status, StatusSource};
use invite_store::{InviteFilter, OnDuplicate, Placement, Quotas, Store};

use crate::fixture::{Db, accept, attempts, batch, item, on_both, queue, seconds, set, set_status};
use crate::states::{phase, reason};

on_both!(
    pages_are_newest_first_and_whole_while_invites_are_accepted,
    every_kind_of_filter_pages,
    each_filter_holds_alone_and_with_the_others,
    an_open_invite_past_its_expiry_reads_as_expired,
    a_batch_lists_its_invites_in_the_order_of_the_request,
    unknown_ids_read_as_nothing,
);

async fn list(store: &Store, filter: &InviteFilter) -> Vec<InviteId> {
    let page = store.invites(filter, None, 200).await.unwrap();
    assert_eq!(page.next, None);
    page.invites.iter().map(|invite| invite.id).collect()
}

async fn pages_are_newest_first_and_whole_while_invites_are_accepted(db: &Db) {
    let store = db.open().await;
    let items: Vec<_> = (0..25).map(|n| item(n, &format!("person-{n}@example.org"))).collect();
    let mut wanted: Vec<_> = items.iter().map(|item| item.id).collect();
    wanted.reverse();
    accept(&store, batch(items)).await;
    let (mut seen, mut before) = (Vec::new(), None);
    for page_number in 0.. {
        let page = store.invites(&InviteFilter::default(), before, 10).await.unwrap();
        seen.extend(page.invites.iter().map(|invite| invite.id));
        assert_eq!(
            page.next,
            if page_number < 2 { seen.last().map(ToString::to_string) } else { None }
        );
        queue(&store, [&format!("late-{page_number}@example.org")]).await;
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, wanted);
}

async fn every_kind_of_filter_pages(db: &Db) {
    let store = db.open().await;
    let items = (0..5).map(|n| {
        let mut item = item(n, "ada@example.org");
        item.external_id = Some("hr-1".into());
        item
    });
    let mut request = batch(items.collect());
    request.on_duplicate = OnDuplicate::Send;
    let mut wanted: Vec<_> = request.items.iter().map(|item| item.id).collect();
    wanted.reverse();
    accept(&store, request.clone()).await;
    for id in &wanted {
        set_status(&store, *id, Status::Failed).await;
    }
    queue(&store, ["bob@example.org"]).await;
    let none = InviteFilter::default;
    let filters = [
        InviteFilter { tenant: Some("default".into()), ..none() },
        InviteFilter { batch_id: Some(request.id), ..none() },
        InviteFilter { statuses: vec![Status::Failed], ..none() },
        InviteFilter { tenant: Some("default".into()), statuses: vec![Status::Failed], ..none() },
        InviteFilter { address: Some("ada@example.org".parse().unwrap()), ..none() },
        InviteFilter { external_id: Some("hr-1".into()), ..none() },
        InviteFilter { labels: vec![("team".into(), "r-and-d".into())], ..none() },
        InviteFilter {
            statuses: vec![Status::Failed],
            labels: vec![("team".into(), "r-and-d".into())],
            ..none()
        },
        InviteFilter {
            external_id: Some("hr-1".into()),
            statuses: vec![Status::Failed],
            labels: vec![("team".into(), "r-and-d".into())],
            ..none()
        },
    ];
    for filter in filters {
        let page = store.invites(&filter, Some(wanted[0].to_string()), 3).await.unwrap();
        let ids: Vec<_> = page.invites.iter().map(|invite| invite.id).collect();
        assert_eq!(
            (&ids[..], page.next.clone()),
            (&wanted[1..4], Some(wanted[3].to_string())),
            "{filter:?}"
        );
        let page = store.invites(&filter, page.next, 3).await.unwrap();
        let ids: Vec<_> = page.invites.iter().map(|invite| invite.id).collect();
        assert_eq!((&ids[..], page.next.clone()), (&wanted[4..], None), "{filter:?}");
    }
}

async fn each_filter_holds_alone_and_with_the_others(db: &Db) {
    let store = db.open().await;
    let mut first = item(0, "ada@example.org");
    first.external_id = Some("hr-1".into());
    first.labels =
        [("team".to_owned(), "a".to_owned()), ("site".to_owned(), "x".to_owned())].into();
    let mut second = item(1, "bob@example.org");
    second.labels =
        [("team".to_owned(), "a".to_owned()), ("site".to_owned(), "y".to_owned())].into();
    let Placement::Bound { provider, .. } = &mut second.placement else { unreachable!() };
    *provider = "tenancy".into();
    let request = batch(vec![first.clone(), second.clone()]);
    accept(&store, request.clone()).await;
    let mut other = batch(vec![item(0, "ada@example.org")]);
    other.tenant = "other".into();
    accept(&store, other.clone()).await;
    let third = other.items[0].id;
    set(&store, third, |state, _| {
        (state.phase, state.error) = (phase(Status::Unknown), Some(reason("no answer")));
    })
    .await;

    let (first, second) = (first.id, second.id);
    let none = InviteFilter::default;
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let cases = [
        (none(), vec![third, second, first]),
        (InviteFilter { tenant: Some("default".into()), ..none() }, vec![second, first]),
        (InviteFilter { batch_id: Some(other.id), ..none() }, vec![third]),
        (InviteFilter { providers: vec!["summit".into()], ..none() }, vec![third, first]),
        (
            InviteFilter { providers: vec!["summit".into(), "tenancy".into()], ..none() },
            vec![third, second, first],
        ),
        (InviteFilter { statuses: vec![Status::Queued], ..none() }, vec![second, first]),
        (InviteFilter { statuses: vec![Status::Unknown, Status::Failed], ..none() }, vec![third]),
        (
            InviteFilter { address: Some("ADA@example.org".parse().unwrap()), ..none() },
            vec![third, first],
        ),
        (InviteFilter { external_id: Some("hr-1".into()), ..none() }, vec![first]),
        (InviteFilter { labels: vec![label("team", "a")], ..none() }, vec![second, first]),
        (
            InviteFilter { labels: vec![label("team", "a"), label("site", "y")], ..none() },
            vec![second],
        ),
        (InviteFilter { labels: vec![label("site", "a")], ..none() }, vec![]),
        (
            InviteFilter {
                error_codes: vec![ReasonCode::GivenUp, ReasonCode::OutcomeUnknown],
                ..none()
            },
            vec![third],
        ),
        (InviteFilter { error_codes: vec![ReasonCode::GivenUp], ..none() }, vec![]),
        (InviteFilter { in_doubt_before: Some(seconds(60)), ..none() }, vec![third]),
        (InviteFilter { in_doubt_before: Some(seconds(-60)), ..none() }, vec![]),
        (InviteFilter { created_after: Some(seconds(-60)), ..none() }, vec![third, second, first]),
        (InviteFilter { created_after: Some(seconds(60)), ..none() }, vec![]),
        (InviteFilter { created_before: Some(seconds(60)), ..none() }, vec![third, second, first]),
        (InviteFilter { created_before: Some(seconds(-60)), ..none() }, vec![]),
        (InviteFilter { updated_after: Some(seconds(60)), ..none() }, vec![]),
        (InviteFilter { updated_after: Some(seconds(-60)), ..none() }, vec![third, second, first]),
        (
            InviteFilter {
                tenant: Some("default".into()),
                batch_id: Some(request.id),
                providers: vec!["summit".into()],
                statuses: vec![Status::Queued],
                address: Some("ada@example.org".parse().unwrap()),
                external_id: Some("hr-1".into()),
                error_codes: Vec::new(),
                labels: vec![label("site", "x"), label("team", "a")],
                created_after: Some(seconds(-60)),
                created_before: Some(seconds(60)),
                updated_after: Some(seconds(-60)),
                in_doubt_before: None,
                unreadable: false,
            },
            vec![first],
        ),
    ];
    for (filter, wanted) in cases {
        assert_eq!(list(&store, &filter).await, wanted, "{filter:?}");
        let count = wanted.len() as u64;
        assert_eq!(store.count_invites(&filter, 200).await.unwrap(), count, "{filter:?}");
        assert_eq!(store.count_invites(&filter, 1).await.unwrap(), count.min(1), "{filter:?}");
    }
}

async fn an_open_invite_past_its_expiry_reads_as_expired(db: &Db) {
    let store = db.open().await;
    let emails = ["a@example.org", "b@example.org", "c@example.org"];
    let [lapsed, valid, queued] = queue(&store, emails).await;
    let [lapses, stays] = [seconds(-3600), seconds(3600)];
    set(&store, lapsed, move |state, _| {
        (state.phase, state.expires_at) = (phase(Status::Sent), Some(lapses));
    })
    .await;
    set(&store, valid, move |state, _| {
        (state.phase, state.expires_at) = (phase(Status::Sent), Some(stays));
    })
    .await;
    set(&store, queued, move |state, _| state.expires_at = Some(lapses)).await;

    let now = seconds(0);
    let read = store.invites_by_id(&[lapsed, valid, queued]).await.unwrap().invites;
    let statuses: Vec<_> = read.iter().map(|invite| invite.status_at(now)).collect();
    assert_eq!(
        statuses,
        [
            (Status::Expired, StatusSource::Inferred),
            (Status::Sent, StatusSource::Gateway),
            (Status::Queued, StatusSource::Gateway)
        ]
    );
    let by = |status| InviteFilter { statuses: vec![status], ..InviteFilter::default() };
    assert_eq!(list(&store, &by(Status::Expired)).await, [lapsed]);
    assert_eq!(list(&store, &by(Status::Sent)).await, [valid]);
    assert_eq!(list(&store, &by(Status::Queued)).await, [queued]);
    assert_eq!(
        store.batch_counts(read[0].batch_id).await.unwrap().by_status,
        std::collections::BTreeMap::from([
            (Status::Expired, 1),
            (Status::Sent, 1),
            (Status::Queued, 1)
        ])
    );
    let counts = store.provider_counts().await.unwrap();
    let summit = [(Status::Sent, 1), (Status::Queued, 1)].into();
    assert_eq!(counts, [("summit".to_owned(), summit)].into());
}

async fn a_batch_lists_its_invites_in_the_order_of_the_request(db: &Db) {
    let store = db.open().await;
    // Made in another order than asked for; one item went to two providers.
    let mut both = [item(0, "ada@example.org"), item(0, "ada@example.org")];
    let Placement::Bound { destination, .. } = &mut both[1].placement else { unreachable!() };
    destination.scope = "elsewhere".into();
    let [third, second] = [item(2, "c@example.org"), item(1, "b@example.org")];
    let wanted = [both[0].id, both[1].id, second.id, third.id];
    let [first, also_first] = both;
    let request = batch(vec![third, first, also_first, second]);
    assert!(store.accept(request.clone(), 0, Quotas::new()).await.is_ok());
    let invites = store.batch_invites(request.id).await.unwrap().invites;
    assert_eq!(invites.iter().map(|invite| invite.id).collect::<Vec<_>>(), wanted);
}

async fn unknown_ids_read_as_nothing(db: &Db) {
    let store = db.open().await;
    assert!(store.invite(InviteId::generate()).await.unwrap().is_none());
    assert!(attempts(&store, InviteId::generate()).await.is_empty());
    let batch = invite_core::BatchId::generate();
    assert!(store.batch(batch).await.unwrap().is_none());
    assert!(store.batch_invites(batch).await.unwrap().invites.is_empty());
    assert!(store.batch_counts(batch).await.unwrap().by_status.is_empty());
}
