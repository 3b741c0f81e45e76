//! Looks up what became of create calls of unknown outcome: in the event's list, which is one question for all of them.
//! Only where absence would count now, each address that the list does not settle is asked for, too, and at last the event
//! itself, because absence means nothing in one that does not exist.
//!
//! The engine decides which of the invites seen are another Invite's, and how often nothing must be seen
//! (docs/delivery.md, *Finding out what became of an unknown call*).

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use async_trait::async_trait;
use invite_core::{
    Address, Cause, Invitee, Lookup, Observed, Place, ProviderError, Reconciliation, Sighting,
    adapter::{Failures, Operation, TOO_EARLY, extra, seen_or, unfinished},
    http::{CallContext, TOO_LONG},
};
use jiff::{SignedDuration, Timestamp};

use crate::client::{Client, Reply};

/// An effect may be dated so much earlier than the Invite's first attempt.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

const OTHERWISE_SPELT: &str =
    "an invite in the event's list shows an address that may be this one, spelt otherwise";

/// A look-up in one event.
pub struct EventLookup {
    client: Arc<Client>,
    operation: Operation,
    lookup: Arc<Lookup>,
    seen: Vec<Vec<Sighting>>,
    stage: Stage,
    failures: Failures,
    /// Why the event's list was not read. Without the list nothing is absent.
    unread_list: Option<ProviderError>,
}

enum Stage {
    List,
    Addresses(VecDeque<Place>),
    Event,
}

impl EventLookup {
    pub fn new(client: Arc<Client>, lookup: Lookup) -> Self {
        let doing = format!("looking for invites in event {}", lookup.destination.scope);
        let people = lookup.recipients().flat_map(|(_, r)| r.invitee.personal_data());
        let added = lookup.recipients().filter_map(|(_, r)| r.params.get("extra"));
        let operation = client.service.operation(doing).about(people);
        Self {
            operation: operation.about(added.flat_map(extra::texts)),
            client,
            seen: lookup.sightings(Sighting::default),
            lookup: Arc::new(lookup),
            stage: Stage::List,
            failures: Failures::default(),
            unread_list: None,
        }
    }

    async fn read_list(&mut self, context: &CallContext) -> Result<(), ProviderError> {
        let lookup = self.lookup.clone();
        let event_id = &lookup.destination.scope;
        let Reply { body: invites, date } =
            self.client.list_invites(context, &self.operation, event_id).await?;
        let clock_difference = self.clock_difference(date);
        let mut places: HashMap<&Address, Vec<Place>> = HashMap::new();
        for (place, recipient) in lookup.recipients() {
            places.entry(&recipient.address).or_default().push(place);
        }
        // An entry that shows no address may be to anybody.
        if invites.iter().any(|invite| invite.email.is_none()) {
            let gap = "the event's list has an invite that shows no address";
            self.seen = lookup.sightings(|| Sighting::open(gap));
        }
        for invite in invites {
            let Some(found) = invite.address().and_then(|address| places.get(&address)) else {
                let shown = invite.email.as_deref().unwrap_or_default();
                for (place, recipient) in lookup.recipients() {
                    if recipient.address.may_be_shown_as(shown) {
                        self.seen[place.0][place.1].leave_open(OTHERWISE_SPELT);
                    }
                }
                continue;
            };
            let observed = invite.observed();
            for &place in found {
                let search = Search::new(&lookup, place, clock_difference);
                search.note(&observed, &mut self.seen[place.0][place.1]);
            }
        }
        let mut unsettled = VecDeque::new();
        for (place, _) in lookup.recipients() {
            let sighting = &mut self.seen[place.0][place.1];
            if !lookup.doubts[place.0].counts_absence(place.1) {
                sighting.leave_open(TOO_EARLY);
            } else if !Search::new(&lookup, place, clock_difference).is_settled(sighting) {
                unsettled.push_back(place);
            }
        }
        self.stage = Stage::Addresses(unsettled);
        Ok(())
    }

    /// Whether absence would count of none of those that are looked for, so that the list said all that is wanted.
    fn is_too_early(&self) -> bool {
        let doubts = &self.lookup.doubts;
        !self.lookup.recipients().any(|((doubt, index), _)| doubts[doubt].counts_absence(index))
    }

    /// Goes on without a list that is too long to be read: asking for each address may show an invite, but not that
    /// there is none.
    fn do_without_list(&mut self, error: ProviderError) {
        let why =
            "the event's list is too long to be read, so that no absence can be told in this event";
        let error = ProviderError { message: format!("{why}: {}", error.message), ..error };
        self.seen = self.lookup.sightings(|| Sighting::open(error.message.as_str()));
        self.stage = Stage::Addresses(self.lookup.recipients().map(|(place, _)| place).collect());
        self.unread_list = Some(error);
    }

    async fn ask_for(&mut self, context: &CallContext, place: Place) -> Result<(), ProviderError> {
        let lookup = self.lookup.clone();
        let recipient = &lookup.doubts[place.0].recipients[place.1];
        let (email, event_id) = (&recipient.invitee.email, &lookup.destination.scope);
        let found = self.client.find_invite(context, &self.operation, email, event_id).await;
        let sighting = &mut self.seen[place.0][place.1];
        let found = found.inspect_err(|error| {
            let why = format!("the invite to the address cannot be asked for: {error}");
            sighting.leave_open(&why);
        });
        let Some(Reply { body: invite, date }) = found? else { return Ok(()) };
        let is_asked_for = invite.address().as_ref() == Some(&recipient.address)
            && invite.event_id.as_ref().is_none_or(|id| id == event_id);
        if is_asked_for {
            let search = Search::new(&lookup, place, self.clock_difference(date));
            search.note(&invite.observed(), &mut self.seen[place.0][place.1]);
        } else {
            // An answer about something else does not say that there is nothing.
            sighting.leave_open("GET /invites answered with another invite than was asked for");
        }
        Ok(())
    }

    /// Ends the look-up. Absence counts only in an event that exists.
    async fn prove_event(
        &mut self,
        context: &CallContext,
    ) -> Result<Vec<Vec<Sighting>>, ProviderError> {
        let event_id = &self.lookup.destination.scope;
        let event = self.client.get_event(context, &self.operation, event_id).await;
        let doubt = match event {
            Ok(event) if event.is_live(event_id) => self.unread_list.take(),
            Ok(_) => {
                let why = "the event does not show itself as existing, so absence means nothing";
                Some(self.operation.not_found(why))
            }
            // There is neither list nor event, so no invite is there.
            Err(error) if error.cause == Cause::NotFound && self.is_without_list() => None,
            Err(error) => Some(error),
        };
        match doubt {
            None => Ok(std::mem::take(&mut self.seen)),
            Some(error) => self.end_early(error),
        }
    }

    /// Ends the look-up before all was asked. What was seen counts; the error does only if nothing was.
    fn end_early(&mut self, error: ProviderError) -> Result<Vec<Vec<Sighting>>, ProviderError> {
        let (gap, mut seen) = (unfinished(&error), std::mem::take(&mut self.seen));
        seen.iter_mut().flatten().for_each(|sighting| sighting.leave_open(&gap));
        seen_or(seen, error)
    }

    /// Whether Securegate said that the event's list is not there.
    fn is_without_list(&self) -> bool {
        self.unread_list.as_ref().is_some_and(|error| error.cause == Cause::NotFound)
    }

    /// How far Securegate's clock is ahead of ours; zero if it does not show its time.
    fn clock_difference(&self, date: Option<Timestamp>) -> SignedDuration {
        date.map_or(SignedDuration::ZERO, |date| {
            date.duration_since(self.client.service.clock.now())
        })
    }
}

#[async_trait]
impl Reconciliation for EventLookup {
    async fn step(
        &mut self,
        context: &CallContext,
    ) -> Result<Option<Vec<Vec<Sighting>>>, ProviderError> {
        self.client.check_destination(&self.operation, &self.lookup.destination)?;
        let next = match &mut self.stage {
            Stage::List => {
                match self.read_list(context).await {
                    Err(error) if error.code.as_deref() == Some(TOO_LONG) => {
                        self.do_without_list(error);
                    }
                    // There is no list. If there is no event either, no invite is there.
                    Err(error) if error.cause == Cause::NotFound => {
                        self.stage = Stage::Event;
                        self.unread_list = Some(error);
                    }
                    read => {
                        read?;
                        if self.is_too_early() {
                            return Ok(Some(std::mem::take(&mut self.seen)));
                        }
                    }
                }
                None
            }
            Stage::Addresses(unsettled) => unsettled.pop_front(),
            Stage::Event => return self.prove_event(context).await.map(Some),
        };
        if let Some(place) = next {
            match self.ask_for(context, place).await {
                Ok(()) => self.failures.reset(),
                Err(error) if self.failures.is_last(&error) => {
                    return self.end_early(error).map(Some);
                }
                Err(_) => {}
            }
        }
        if matches!(&self.stage, Stage::Addresses(unsettled) if unsettled.is_empty()) {
            self.stage = Stage::Event;
        }
        Ok(None)
    }
}

/// The invite that is looked for: one to this person that a call may have made.
struct Search<'a> {
    invitee: &'a Invitee,
    event_id: &'a str,
    /// When the first attempt began, by Securegate's clock.
    began: Timestamp,
    /// When this call began, by Securegate's clock.
    call_began: Timestamp,
}

impl<'a> Search<'a> {
    fn new(lookup: &'a Lookup, (doubt, index): Place, clock_difference: SignedDuration) -> Self {
        let doubt = &lookup.doubts[doubt];
        // Without a first attempt the call is taken for it: what is older is near at most.
        let began = doubt.first_attempts.get(index).copied().unwrap_or(doubt.started_at);
        let by_its_clock = |at: Timestamp| at.checked_add(clock_difference).unwrap_or(at);
        Self {
            invitee: &doubt.recipients[index].invitee,
            event_id: &lookup.destination.scope,
            began: by_its_clock(began),
            call_began: by_its_clock(doubt.started_at),
        }
    }

    /// Notes an invite to the right address.
    fn note(&self, observed: &Observed, sighting: &mut Sighting) {
        let Some(id) = &observed.provider_ref else {
            // It exists, but cannot be told from others.
            sighting.leave_open("an invite to the same address shows no id");
            return;
        };
        let is_known = sighting.exact.iter().any(|known| known.provider_ref.as_ref() == Some(id))
            || sighting.near.contains(id);
        if is_known {
            return;
        }
        if self.is_exact(observed) {
            sighting.exact.push(observed.clone());
        } else {
            sighting.near.push(id.clone());
        }
    }

    fn is_exact(&self, observed: &Observed) -> bool {
        let Some(shown) = &observed.invitee else { return false };
        let same = |a: &Option<String>, b: &Option<String>| {
            a.as_deref().map(str::trim) == b.as_deref().map(str::trim)
        };
        let earliest = self.began.checked_sub(TOLERANCE).unwrap_or(Timestamp::MIN);
        same(&shown.first_name, &self.invitee.first_name)
            && same(&shown.last_name, &self.invitee.last_name)
            && shown.phone == self.invitee.phone
            && observed.data.get("event_id").is_none_or(|id| id == self.event_id)
            && observed.created_at.is_some_and(|at| at >= earliest)
    }

    /// Whether the address need not be asked for: an exact match from after this call began belongs to no earlier
    /// Invite. One from between the first attempt and this call may belong to another Invite to the same person.
    fn is_settled(&self, sighting: &Sighting) -> bool {
        sighting.exact.iter().any(|exact| exact.created_at >= Some(self.call_began))
    }
}

#[cfg(test)]
mod tests {
    use invite_core::{
        Doubt, Outcome, PreparedCall,
        canned::{Peer, context, service},
        http::LIST_BODY_CAP,
    };
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::canned::{destination, recipient, replying, requests, shown};

    /// When the first attempt began by our clock, which is an hour behind the peer's.
    const BEGAN: &str = "2026-11-21T08:58:00Z";
    const NOW: &str = "2026-11-21T09:00:00Z";
    /// A minute after the first attempt by the peer's clock.
    const EFFECT: &str = "2026-11-21T09:59:00Z";

    fn lookup(peer: &Peer, calls: &[&[&str]]) -> EventLookup {
        let service = service("berlin-summit", peer, "k", NOW.parse().unwrap());
        let client = Client { service };
        let destination = destination(&peer.url);
        let doubts = calls
            .iter()
            .map(|names| Doubt {
                call: PreparedCall {
                    destination: destination.clone(),
                    path: "/events/event-456/invites".into(),
                    body: String::new(),
                    fingerprint: None,
                    account: None,
                },
                recipients: names
                    .iter()
                    .map(|name| recipient(&peer.url, &format!("{name}@example.org"), name))
                    .collect(),
                first_attempts: vec![BEGAN.parse().unwrap(); names.len()],
                absence_counts: vec![true; names.len()],
                started_at: BEGAN.parse().unwrap(),
                data: Map::new(),
            })
            .collect();
        EventLookup::new(Arc::new(client), Lookup { destination, doubts })
    }

    async fn run(peer: &Peer, calls: &[&[&str]]) -> Result<Vec<Vec<Sighting>>, ProviderError> {
        finish(peer, lookup(peer, calls)).await
    }

    /// Runs a lookup to its end; checks that each step makes one request.
    async fn finish(
        peer: &Peer,
        mut lookup: EventLookup,
    ) -> Result<Vec<Vec<Sighting>>, ProviderError> {
        for steps in 1.. {
            let result = lookup.step(&context()).await;
            assert_eq!(peer.asked().len(), steps);
            if let Some(result) = result.transpose() {
                return result;
            }
        }
        unreachable!("a lookup ends")
    }

    fn event() -> (u16, Value) {
        (200, json!({"id": "event-456", "is_deleted": false}))
    }

    fn nothing() -> (u16, Value) {
        (404, json!({"detail": "Invite not found"}))
    }

    fn ids(sighting: &Sighting) -> Vec<&str> {
        sighting.exact.iter().filter_map(|o| o.provider_ref.as_deref()).collect()
    }

    #[tokio::test]
    async fn one_listing_settles_what_it_shows_for_all_calls() {
        let list = json!([
            shown("invite-2", "grace@example.org", "grace", EFFECT),
            shown("invite-8", "other@example.org", "other", EFFECT),
            shown("invite-1", "Ada@Example.org", "ada", EFFECT),
        ]);
        let peer = replying(vec![(200, list), event()]);
        let seen = run(&peer, &[&["ada"], &["grace"]]).await.unwrap();
        assert_eq!(ids(&seen[0][0]), ["invite-1"]);
        assert_eq!(ids(&seen[1][0]), ["invite-2"]);
        assert!(seen.iter().flatten().all(|s| s.gap.is_none() && s.near.is_empty()));
        assert!(requests(&peer)[1].starts_with("GET /events/event-456 "));
    }

    #[tokio::test]
    async fn absence_takes_the_list_the_address_and_the_event() {
        let peer = replying(vec![(200, json!([])), nothing(), nothing(), event()]);
        let seen = run(&peer, &[&["ada", "grace"]]).await.unwrap();
        let absent = Sighting { exact: vec![], near: vec![], gap: None };
        assert_eq!(seen, [[absent.clone(), absent]]);
        let asked = "GET /invites?email=grace%40example.org&event_id=event-456 [k]";
        assert_eq!(requests(&peer)[2], asked);
    }

    #[tokio::test]
    async fn only_those_whose_absence_counts_are_asked_for_by_address() {
        let list = || (200, json!([shown("invite-1", "ada@example.org", "ada", EFFECT)]));
        let count = |lookup: &mut EventLookup, counts: [bool; 3]| {
            let doubts = &mut Arc::get_mut(&mut lookup.lookup).unwrap().doubts;
            doubts[0].absence_counts = counts.into();
        };
        let names: &[&[&str]] = &[&["ada", "grace", "joan"]];
        let peer = replying(vec![list()]);
        let mut early = lookup(&peer, names);
        count(&mut early, [false; 3]);
        let seen = finish(&peer, early).await.unwrap();
        assert_eq!(requests(&peer), ["GET /events/event-456/invites [k]"]);
        assert_eq!(ids(&seen[0][0]), ["invite-1"]);
        assert!(seen[0].iter().all(|sighting| sighting.gap.as_deref() == Some(TOO_EARLY)));

        let peer = replying(vec![list(), nothing(), event()]);
        let mut late = lookup(&peer, names);
        count(&mut late, [true, false, true]);
        let seen = finish(&peer, late).await.unwrap();
        assert!(requests(&peer)[1].contains("email=joan%40example.org"), "{:?}", requests(&peer));
        let is_told: Vec<_> = seen[0].iter().map(|sighting| sighting.gap.is_none()).collect();
        assert_eq!(is_told, [true, false, true]);
    }

    #[tokio::test]
    async fn a_match_from_between_the_first_attempt_and_this_call_may_be_another_invites() {
        let between = shown("invite-1", "ada@example.org", "ada", EFFECT);
        let own = (200, shown("invite-2", "ada@example.org", "ada", "2026-11-21T09:59:40Z"));
        let peer = replying(vec![(200, json!([between])), own, event()]);
        let mut lookup = lookup(&peer, &[&["ada"]]);
        let doubts = &mut Arc::get_mut(&mut lookup.lookup).unwrap().doubts;
        // 09:59:30 by the peer's clock; the first attempt, at 09:58, was told to wait.
        doubts[0].started_at = "2026-11-21T08:59:30Z".parse().unwrap();
        let seen = finish(&peer, lookup).await.unwrap();
        assert_eq!(ids(&seen[0][0]), ["invite-1", "invite-2"]);
    }

    #[tokio::test]
    async fn in_an_event_whose_list_is_too_long_an_invite_is_found_but_none_is_absent() {
        let list = (200, json!(LIST_BODY_CAP + 1));
        let found = (200, shown("invite-1", "ada@example.org", "ada", EFFECT));
        let peer = replying(vec![list.clone(), found, nothing(), event()]);
        let seen = run(&peer, &[&["ada", "grace"]]).await.unwrap();
        assert_eq!(ids(&seen[0][0]), ["invite-1"]);
        let gap = seen[0][1].gap.as_deref().unwrap();
        assert!(gap.contains("list is too long to be read"), "{gap}");
        let peer = replying(vec![list, nothing(), event()]);
        let error = run(&peer, &[&["ada"]]).await.unwrap_err();
        assert!(error.message.contains("list is too long to be read"), "{error}");
    }

    #[tokio::test]
    async fn an_invite_that_only_its_address_shows_is_found() {
        let found = (200, shown("invite-1", "ada@example.org", "ada", EFFECT));
        let peer = replying(vec![(200, json!([])), found, event()]);
        assert_eq!(ids(&run(&peer, &[&["ada"]]).await.unwrap()[0][0]), ["invite-1"]);
    }

    #[tokio::test]
    async fn absence_is_not_told_in_an_event_that_is_gone_or_cannot_be_read() {
        for last in [
            (200, json!({"id": "event-456", "is_deleted": true})),
            (200, json!({"id": "event-7"})),
            (404, json!({"detail": "Not Found"})),
            (500, json!(null)),
            (0, json!(null)),
        ] {
            let peer = replying(vec![(200, json!([])), nothing(), last.clone()]);
            let error = run(&peer, &[&["ada"]]).await.unwrap_err();
            assert!(
                error.message.contains("event event-456 at berlin-summit"),
                "{last:?}: {error}"
            );
        }
    }

    #[tokio::test]
    async fn in_an_event_that_is_not_there_and_has_no_list_nothing_is() {
        let gone = || (404, json!({"detail": "Event not found"}));
        let peer = replying(vec![gone(), gone()]);
        let seen = run(&peer, &[&["ada", "grace"]]).await.unwrap();
        assert!(seen[0].iter().all(|it| it.exact.is_empty() && it.near.is_empty()));
        assert!(seen[0].iter().all(|sighting| sighting.gap.is_none()));
        // A list alone that is not there says nothing.
        for last in [event(), (500, json!(null)), (200, json!({"id": "event-7"}))] {
            let peer = replying(vec![gone(), last.clone()]);
            assert!(run(&peer, &[&["ada"]]).await.is_err(), "{last:?}");
        }
    }

    #[tokio::test]
    async fn a_different_person_time_or_event_under_the_address_is_near() {
        let change = |id: &str, member: &str, value: &str| {
            let mut invite = shown(id, "ada@example.org", "ada", EFFECT);
            invite[member] = value.into();
            invite
        };
        let list = json!([
            change("name", "last_name", "Byron"),
            change("phone", "mobile_number", "5550000000"),
            change("event", "event_id", "event-7"),
            // The attempt began at 09:58 by the peer's clock.
            change("early", "created_at", "2026-11-21T09:52:59Z"),
            change("undated", "created_at", ""),
        ]);
        let again = (200, change("phone", "mobile_number", "5550000000"));
        let peer = replying(vec![(200, list), again, event()]);
        let seen = run(&peer, &[&["ada"]]).await.unwrap();
        assert_eq!(seen[0][0].near, ["name", "phone", "event", "early", "undated"]);
        assert!(seen[0][0].exact.is_empty() && seen[0][0].gap.is_none());
    }

    #[tokio::test]
    async fn what_was_made_before_an_invites_own_first_attempt_is_near() {
        let of = |name: &str| shown(name, &format!("{name}@example.org"), name, EFFECT);
        let list = json!([of("ada"), of("grace")]);
        let again = (200, of("grace"));
        let peer = replying(vec![(200, list), again, event()]);
        let mut lookup = lookup(&peer, &[&["ada", "grace"]]);
        let doubts = &mut Arc::get_mut(&mut lookup.lookup).unwrap().doubts;
        // Ada had been tried before; for Grace, seven minutes later, this call is the first.
        doubts[0].first_attempts[1] = "2026-11-21T09:05:00Z".parse().unwrap();
        let seen = finish(&peer, lookup).await.unwrap();
        assert_eq!((ids(&seen[0][0]), &seen[0][0].near[..]), (vec!["ada"], &[][..]));
        assert_eq!((ids(&seen[0][1]), &seen[0][1].near[..]), (vec![], &["grace".to_owned()][..]));
    }

    #[tokio::test]
    async fn a_match_from_just_before_the_attempt_is_exact_but_the_address_is_still_asked_for() {
        let early = shown("invite-1", "ada@example.org", "ada", "2026-11-21T09:53:00Z");
        let late = (200, shown("invite-2", "ada@example.org", "ada", EFFECT));
        let peer = replying(vec![(200, json!([early])), late, event()]);
        assert_eq!(ids(&run(&peer, &[&["ada"]]).await.unwrap()[0][0]), ["invite-1", "invite-2"]);
    }

    #[tokio::test]
    async fn what_cannot_be_read_leaves_absence_untold() {
        let mut nobody = shown("invite-1", "x@example.org", "x", EFFECT);
        nobody["email"] = json!(null);
        let mut nameless = shown("invite-1", "ada@example.org", "ada", EFFECT);
        nameless["id"] = json!(null);
        let mut elsewhere = shown("invite-1", "ada@example.org", "ada", EFFECT);
        elsewhere["event_id"] = "event-7".into();
        let someone = shown("invite-1", "other@example.org", "other", EFFECT);
        for (list, found) in [
            (json!([nobody]), nothing()),
            (json!([nameless]), nothing()),
            (json!([]), (200, elsewhere)),
            (json!([]), (200, someone)),
            (json!([]), (200, json!({}))),
            (json!([]), (200, json!(null))),
            (json!([]), (500, json!(null))),
        ] {
            let peer = replying(vec![(200, list), found.clone(), event()]);
            let seen = run(&peer, &[&["ada"]]).await.unwrap();
            assert_eq!((ids(&seen[0][0]).len(), seen[0][0].gap.is_none()), (0, false), "{found:?}");
        }
    }

    #[tokio::test]
    async fn a_list_that_cannot_be_read_ends_the_lookup() {
        for reply in [(400, json!({"detail": "no"})), (200, json!({})), (403, json!({}))] {
            let peer = replying(vec![reply]);
            assert!(run(&peer, &[&["ada"]]).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_failed_request_costs_one_answer_only() {
        let down = (500, json!(null));
        let pattern = [down.clone(), down.clone(), nothing(), down.clone(), down, nothing()];
        let replies = [vec![(200, json!([]))], pattern.to_vec(), vec![event()]].concat();
        let peer = replying(replies);
        let seen = run(&peer, &[&["a", "b", "c", "d", "e", "f"]]).await.unwrap();
        let complete: Vec<_> = seen[0].iter().map(|sighting| sighting.gap.is_none()).collect();
        assert_eq!(complete, [false, false, true, false, false, true]);
    }

    #[tokio::test]
    async fn a_lookup_that_is_told_to_stop_keeps_what_it_saw() {
        let ada = json!([shown("invite-1", "ada@example.org", "ada", EFFECT)]);
        let cut = (0, json!(null));
        for (list, ends, exact) in [
            (ada.clone(), vec![(429, json!({"detail": "slow down"}))], true),
            (ada.clone(), vec![(401, json!({"detail": "no"}))], true),
            (ada, vec![cut.clone(), cut.clone(), cut], true),
            (json!([]), vec![(429, json!({"detail": "slow down"}))], false),
        ] {
            let peer = replying([vec![(200, list)], ends].concat());
            let result = run(&peer, &[&["ada", "b", "c", "d", "e"]]).await;
            match result {
                Ok(seen) => {
                    assert!(exact);
                    assert_eq!(ids(&seen[0][0]), ["invite-1"]);
                    assert!(seen[0].iter().all(|sighting| sighting.gap.is_some()));
                }
                Err(error) => assert!(!exact && error.outcome == Outcome::Throttled),
            }
        }
    }
}
