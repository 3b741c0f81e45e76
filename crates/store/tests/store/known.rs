//! Changing invites that the caller has read before.

use std::sync::{Arc, Mutex};

use invite_core::{Account, Destination, Status};
use invite_store::{Change, Decision, InviteState, Quotas};

use crate::fixture::{Db, on_both, queue, set_status};

on_both!(what_a_caller_knows_of_an_invite_is_read_again_only_if_it_was_written_since,);

async fn what_a_caller_knows_of_an_invite_is_read_again_only_if_it_was_written_since(db: &Db) {
    let store = db.open().await;
    let [id] = queue(&store, ["ada@example.org"]).await;
    for way in
        ["nothing", "a change", "requeueing", "an account", "a mark", "another change", "erasure"]
    {
        let known = store.invite(id).await.unwrap().unwrap();
        match way {
            "a change" => set_status(&store, id, Status::Failed).await,
            "requeueing" => {
                let decide = |_: usize, _: &_, state: &mut InviteState, now| {
                    *state = InviteState::queued(now);
                    Decision::Write
                };
                store.requeue(vec![known.clone()], 0, Quotas::new(), vec![], decide).await.unwrap();
            }
            "an account" => {
                let provisional = known.destination.clone().unwrap();
                let destination = Destination { scope: "turned out".into(), ..provisional.clone() };
                store.remember_account(Account { provisional, destination }).await.unwrap();
            }
            // Whoever reads a row whose mark is wrong corrects it.
            "a mark" => {
                db.execute("UPDATE invites SET unreadable = 'labels'").await;
                store.invite(id).await.unwrap();
            }
            "another change" => set_status(&store, id, Status::Accepted).await,
            "erasure" => {
                store.erase_person(known.address.as_ref().unwrap()).await.unwrap();
            }
            _ => {}
        }
        let stored = store.invite(id).await.unwrap().unwrap();
        assert_eq!(stored == known, way == "nothing", "{way} is no write");
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let mut change = Change::of(vec![id], move |_, invite, _, _| {
            tell.lock().unwrap().push(invite.clone());
            Decision::Write
        });
        // By this it shows whether what is known was taken.
        let mut other = known;
        Arc::make_mut(&mut other.facts).index = 77;
        change.known = vec![other];
        store.change(change).await.unwrap();
        let mut expected = stored;
        if way == "nothing" {
            Arc::make_mut(&mut expected.facts).index = 77;
        }
        let told = told.lock().unwrap();
        assert_eq!(told.last(), Some(&expected), "{way}");
        assert_eq!(told.len(), if way == "nothing" { 1 } else { 2 }, "{way}: told anew");
    }
}
