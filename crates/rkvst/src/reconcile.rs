//! Looks up what became of calls of unknown outcome, page by page: few of them in the invites to their addresses, many in all
//! invites, which is one question for them together. Only where absence would count now, the other of the two is asked as
//! well, and then the members, because an accepted invite is deleted.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    sync::Arc,
};

use async_trait::async_trait;
use invite_core::{
    Address, Doubt, Lookup, Observed, Outcome, ProviderError, Recipient, Reconciliation, Sighting,
    StatusSource,
    adapter::{Failures, Operation, TOO_EARLY, seen_or},
    http::CallContext,
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    client::{Client, Position},
    config::Params,
    state::{carries, observe, sent_message, tenancy_at},
    wire::Invite,
};

/// After so long an invite may have been accepted, and the membership have ended, unseen.
const ABSENCE_SHOWS_FOR: SignedDuration = SignedDuration::from_hours(24);

/// Up to so many addresses are asked for first: each is one request, and the list of all invites may be long.
const FEW: usize = 3;

const OTHER_TENANCY: &str =
    "today's credential belongs to another tenancy than the one that the call was made in";

/// A look-up in one tenancy.
pub struct InviteLookup {
    client: Arc<Client>,
    operation: Operation,
    /// The error if the calls went to another provider, which cannot be asked here.
    misplaced: Option<ProviderError>,
    /// The tenancy that tokens have to be of, if it is known.
    tenancy: Option<String>,
    doubts: Vec<Doubt>,
    /// For each doubt, whether something was read in another tenancy than its call was made in.
    excluded: Vec<bool>,
    stage: Stage,
    position: Option<Position>,
    /// The addresses to look for, with the spelling that was sent.
    addresses: BTreeMap<Address, String>,
    /// Those of the addresses that are still to be asked for in this stage.
    to_ask: VecDeque<Address>,
    /// All invites were read.
    is_listed: bool,
    /// Invites to one of the addresses, by identity.
    found: BTreeMap<String, Found>,
    /// Those of the addresses that are members'.
    members: HashSet<Address>,
    /// Why not all invites, not all to one of the addresses, or not all members were seen.
    invites_gap: Option<String>,
    address_gaps: BTreeMap<Address, String>,
    members_gap: Option<String>,
    failures: Failures,
}

/// An invite to one of the addresses.
struct Found {
    address: Address,
    invite: Invite,
    /// The tenancy that it was found in, if the token shows it.
    account: Option<String>,
}

/// The list that is read next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The invites to the first address of those to ask for.
    InvitesTo,
    AllInvites,
    Members,
    Done,
}

impl InviteLookup {
    pub fn new(
        client: Arc<Client>,
        operation: Operation,
        lookup: Lookup,
        misplaced: Option<ProviderError>,
    ) -> Self {
        let tenancy = tenancy_at(&lookup.destination).map(str::to_owned);
        let doubts = lookup.doubts;
        let recipients = doubts.iter().flat_map(|doubt| &doubt.recipients);
        let addresses: BTreeMap<_, _> =
            recipients.map(|r| (r.address.clone(), r.invitee.email.clone())).collect();
        Self {
            client,
            operation,
            misplaced,
            tenancy,
            excluded: vec![false; doubts.len()],
            stage: match addresses.len() {
                0 => Stage::Done,
                1..=FEW => Stage::InvitesTo,
                _ => Stage::AllInvites,
            },
            doubts,
            position: None,
            // Of many only those are asked for that are chosen once all invites were read.
            to_ask: addresses.keys().filter(|_| addresses.len() <= FEW).cloned().collect(),
            is_listed: false,
            addresses,
            found: BTreeMap::new(),
            members: HashSet::new(),
            invites_gap: None,
            address_gaps: BTreeMap::new(),
            members_gap: None,
            failures: Failures::default(),
        }
    }

    async fn read_invites(
        &mut self,
        context: &CallContext,
        email: Option<&str>,
    ) -> Result<(), ProviderError> {
        let (position, only) = (self.position.as_ref(), self.tenancy.as_deref());
        let listed = self.client.list_invites(context, &self.operation, email, position, only);
        let listed = listed.await?;
        self.exclude_others(listed.account.as_deref());
        if listed.what.unreadable {
            note(&mut self.invites_gap, "an entry of the invite list cannot be read");
        }
        for invite in listed.what.invites {
            let address = invite.email.as_deref().map(Address::shown);
            if let Some(address) = address.filter(|address| self.addresses.contains_key(address)) {
                let account = listed.account.clone();
                self.found.insert(invite.identity.clone(), Found { address, invite, account });
            } else {
                self.leave_open(invite.email.as_deref().unwrap_or_default(), "an invite");
            }
        }
        if !self.go_on(listed.what.next) {
            note(&mut self.invites_gap, "the pages of the invite list run in a circle");
        }
        Ok(())
    }

    async fn read_members(&mut self, context: &CallContext) -> Result<(), ProviderError> {
        let (position, only) = (self.position.as_ref(), self.tenancy.as_deref());
        let listed = self.client.list_members(context, &self.operation, position, only).await?;
        self.exclude_others(listed.account.as_deref());
        if listed.what.unreadable {
            note(&mut self.members_gap, "an entry of the members list cannot be read");
        }
        for email in &listed.what.emails {
            let address = Address::shown(email);
            if self.addresses.contains_key(&address) {
                self.members.insert(address);
            } else {
                self.leave_open(email, "a member");
            }
        }
        if !self.go_on(listed.what.next) {
            note(&mut self.members_gap, "the pages of the members list run in a circle");
        }
        Ok(())
    }

    /// Notes that absence cannot be told of the addresses that an entry may show in another spelling.
    fn leave_open(&mut self, shown: &str, what: &str) {
        let may_be = self.addresses.keys().filter(|address| address.may_be_shown_as(shown));
        for address in may_be.cloned().collect::<Vec<_>>() {
            let why =
                format!("{what} there shows an address that may be this one, spelt otherwise");
            self.address_gaps.entry(address).or_insert(why);
        }
    }

    /// Excludes the doubts whose calls were made in another tenancy than `account`.
    fn exclude_others(&mut self, account: Option<&str>) {
        for (doubt, excluded) in self.doubts.iter().zip(&mut self.excluded) {
            let made_in = doubt.call.account.as_deref();
            *excluded |= made_in.is_some() && made_in != account;
        }
    }

    /// Goes on to the next page or the next list; false if the pages of this one run in a circle.
    fn go_on(&mut self, next: Option<String>) -> bool {
        let ends = next.is_none();
        self.position = next.and_then(|token| Position::after(self.position.as_ref(), token));
        if self.position.is_some() {
            return true;
        }
        self.begin_next();
        ends
    }

    fn begin_next(&mut self) {
        self.position = None;
        let is_few = self.addresses.len() <= FEW;
        let absence_counts = self.recipients().any(|(_, counts)| counts);
        self.stage = match self.stage {
            Stage::InvitesTo => {
                self.to_ask.pop_front();
                match self.to_ask.is_empty() {
                    false => Stage::InvitesTo,
                    true if !absence_counts => Stage::Done,
                    true if is_few => Stage::AllInvites,
                    true => Stage::Members,
                }
            }
            Stage::AllInvites => {
                self.is_listed = true;
                if !is_few {
                    self.choose_addresses();
                }
                match self.to_ask.is_empty() {
                    false => Stage::InvitesTo,
                    true if absence_counts => Stage::Members,
                    true => Stage::Done,
                }
            }
            Stage::Members | Stage::Done => Stage::Done,
        };
    }

    /// Chooses the addresses to ask for once all invites were read: those whose absence counts.
    fn choose_addresses(&mut self) {
        let is_open =
            |(recipient, counts): &(&Recipient, bool)| *counts && !self.is_certain(recipient);
        let open: BTreeSet<Address> = self
            .recipients()
            .filter(is_open)
            .map(|(recipient, _)| recipient.address.clone())
            .collect();
        let others = self.addresses.keys().filter(|address| !open.contains(*address)).cloned();
        for address in others.collect::<Vec<_>>() {
            self.address_gaps.entry(address).or_insert_with(|| TOO_EARLY.to_owned());
        }
        self.to_ask = open.into_iter().collect();
    }

    /// All recipients, with whether absence would count of each.
    fn recipients(&self) -> impl Iterator<Item = (&Recipient, bool)> {
        self.doubts.iter().flat_map(|doubt| {
            let places = doubt.recipients.iter().enumerate();
            places.map(|(index, recipient)| (recipient, doubt.counts_absence(index)))
        })
    }

    /// Goes on without a list that cannot be read, or ends the look-up. What was seen still counts.
    ///
    /// # Errors
    /// The error, if the look-up ends with it and saw no invite.
    fn skip(&mut self, error: ProviderError) -> Result<(), ProviderError> {
        let is_told_to_stop = self.failures.is_last(&error);
        match self.stage {
            Stage::InvitesTo if !is_told_to_stop => {
                let gap = format!("the invites to the address cannot be listed: {error}");
                if let Some(address) = self.to_ask.front() {
                    self.address_gaps.insert(address.clone(), gap);
                }
                self.begin_next();
                return Ok(());
            }
            Stage::Members => {
                let why = format!(
                    "the members list, where an accepted invite shows, cannot be read: {error}"
                );
                note(&mut self.members_gap, &why);
                self.stage = Stage::Done;
                // Many app registrations may not read members, and everything else was read.
                if error.outcome == Outcome::Rejected {
                    return Ok(());
                }
            }
            _ => {
                note(&mut self.invites_gap, &format!("the invites cannot be listed: {error}"));
                self.stage = Stage::Done;
            }
        }
        seen_or(self.sightings(), error).map(drop)
    }

    /// Whether nothing that is still to be read can change what is known.
    fn is_settled(&self) -> bool {
        if self.excluded.iter().all(|excluded| *excluded) {
            return true;
        }
        self.stage != Stage::Done
            && self.recipients().all(|(recipient, _)| self.is_certain(recipient))
    }

    /// Whether the recipient's invite was found by its reference. It belongs to nobody else, so it need not be compared
    /// with others.
    fn is_certain(&self, recipient: &Recipient) -> bool {
        let reference = Params::of(recipient).and_then(|p| p.reference(recipient.id));
        let mut found = self.found.values();
        reference.is_some_and(|r| found.any(|found| carries(&found.invite, &r)))
    }

    fn sightings(&self) -> Vec<Vec<Sighting>> {
        let now = self.client.service().clock.now();
        let of_doubt = |(doubt, excluded): (&Doubt, &bool)| {
            let sight = |index| match excluded {
                true => Sighting::open(OTHER_TENANCY),
                false => self.sighting(doubt, index, now),
            };
            (0..doubt.recipients.len()).map(sight).collect()
        };
        self.doubts.iter().zip(&self.excluded).map(of_doubt).collect()
    }

    fn sighting(&self, doubt: &Doubt, index: usize, now: Timestamp) -> Sighting {
        let recipient = &doubt.recipients[index];
        let reference = Params::of(recipient).and_then(|p| p.reference(recipient.id));
        let sent = sent_message(doubt);
        let is_exact = |invite: &Invite| match &reference {
            Some(reference) => carries(invite, reference),
            None => sent.is_some() && invite.message.as_deref().map(str::trim) == sent.as_deref(),
        };
        let found = self.found.values().filter(|found| found.address == recipient.address);
        let (exact, mut near): (Vec<_>, Vec<_>) = found.partition(|found| is_exact(&found.invite));
        let observe = |found: &Found| observe(&found.invite, found.account.as_deref(), now);
        let mut exact: Vec<_> = exact.into_iter().map(observe).collect();
        let invites_gap = self.invites_gap.as_ref();
        let invites_gap = invites_gap.or_else(|| self.address_gaps.get(&recipient.address));
        // Without a reference, the only invite to the address is taken for this one.
        if let ([], [lone], None, None) = (&exact[..], &near[..], &reference, invites_gap)
            && self.is_listed
        {
            exact.push(Observed { source: StatusSource::Inferred, ..observe(lone) });
            near.clear();
        }
        let unread = invites_gap.or(self.members_gap.as_ref()).cloned();
        let gap = unread.or_else(|| self.gap(doubt, index, now).map(str::to_owned));
        let near = near.into_iter().map(|found| found.invite.identity.clone()).collect();
        Sighting { exact, near, gap }
    }

    /// Why absence cannot be told of a recipient, although everything could be read.
    fn gap(&self, doubt: &Doubt, index: usize, now: Timestamp) -> Option<&'static str> {
        if self.members.contains(&doubt.recipients[index].address) {
            Some("the address is a member's, so the invite may have been accepted")
        } else if now.duration_since(doubt.started_at) >= ABSENCE_SHOWS_FOR {
            Some(
                "the call is over 24 hours old, so the invite may have been accepted and the \
                 membership ended since",
            )
        } else if self.stage != Stage::Done {
            Some("what was looked for was found before everything was read")
        } else if !doubt.counts_absence(index) {
            Some(TOO_EARLY)
        } else {
            None
        }
    }
}

#[async_trait]
impl Reconciliation for InviteLookup {
    async fn step(
        &mut self,
        context: &CallContext,
    ) -> Result<Option<Vec<Vec<Sighting>>>, ProviderError> {
        if let Some(error) = &self.misplaced {
            return Err(error.clone());
        }
        let read = match self.stage {
            Stage::InvitesTo => {
                let next = self.to_ask.front().and_then(|address| self.addresses.get(address));
                let email = next.cloned();
                self.read_invites(context, email.as_deref()).await
            }
            Stage::AllInvites => self.read_invites(context, None).await,
            Stage::Members => self.read_members(context).await,
            Stage::Done => Ok(()),
        };
        match read {
            Ok(()) => self.failures.reset(),
            Err(error) => self.skip(error)?,
        }
        let ends = self.stage == Stage::Done || self.is_settled();
        Ok(ends.then(|| self.sightings()))
    }
}

/// Notes why something was not seen. The first reason stays.
fn note(gap: &mut Option<String>, why: &str) {
    gap.get_or_insert_with(|| why.to_owned());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use invite_core::{
        Cause,
        canned::{Asked, Bench, Peer, context},
    };
    use serde_json::{Value, json};

    use super::*;
    use crate::canned::{EMAIL, INVITES, bench, doubt, invite, jwt, recipient, with_token};

    const MEMBERS: &str = "/archivist/iam/v1/members";

    /// A service that lists these invites, filtered by address where asked, and these members.
    fn service(invites: Vec<Value>, members: &'static [&'static str]) -> Peer {
        Peer::start(move |asked| answer(asked, &invites, members))
    }

    fn answer(asked: &Asked, invites: &[Value], members: &[&str]) -> (u16, Value) {
        if asked.is(&format!("GET {MEMBERS}")) {
            let members: Vec<_> = members.iter().map(|email| json!({"email": email})).collect();
            return (200, json!({"members": members}));
        }
        let filter = asked.line.contains("email=Ada%40example.org");
        let is_shown = |invite: &&Value| {
            !filter || invite["email"].as_str().is_some_and(|e| e.eq_ignore_ascii_case(EMAIL))
        };
        let shown: Vec<_> = invites.iter().filter(is_shown).collect();
        (200, json!({"invites": shown, "next_page_token": ""}))
    }

    /// Runs a lookup to its end; also how many steps it took.
    async fn look_up(
        bench: &Bench,
        doubts: Vec<Doubt>,
    ) -> Result<(Vec<Vec<Sighting>>, usize), ProviderError> {
        let destination = doubts[0].call.destination.clone();
        let mut lookup = bench.reconcile(Lookup { destination, doubts });
        let mut steps = 0;
        loop {
            steps += 1;
            if let Some(sightings) = lookup.step(&context()).await? {
                return Ok((sightings, steps));
            }
        }
    }

    /// What is seen of one call to Ada that says "Hi".
    async fn sight(bench: &Bench) -> Sighting {
        let doubt = doubt(bench, &recipient(bench, Some("Hi"))).await;
        look_up(bench, vec![doubt]).await.unwrap().0.remove(0).remove(0)
    }

    fn refs(exact: &[Observed]) -> Vec<&str> {
        exact.iter().map(|seen| seen.provider_ref.as_deref().unwrap()).collect()
    }

    #[tokio::test]
    async fn an_invite_with_the_same_address_and_message_is_this_one() {
        let invites = vec![
            invite("1", "ada@EXAMPLE.org", "Hi"),
            invite("2", EMAIL, "Other"),
            invite("3", "grace@example.org", "Hi"),
        ];
        let peer = service(invites, &[]);
        let seen = sight(&with_token(&peer)).await;
        assert_eq!(
            (refs(&seen.exact), &seen.near[..]),
            (vec!["invites/1"], &["invites/2".into()][..])
        );
        assert_eq!(seen.exact[0].source, StatusSource::Provider);
        assert!(seen.gap.is_none());
    }

    #[tokio::test]
    async fn every_step_is_one_request_and_all_calls_share_the_listing() {
        let peer = service(Vec::new(), &[]);
        let bench = with_token(&peer);
        let to_ada = recipient(&bench, Some("Hi"));
        let doubts = vec![doubt(&bench, &to_ada).await, doubt(&bench, &to_ada).await];
        let (seen, steps) = look_up(&bench, doubts).await.unwrap();
        assert_eq!((seen.len(), steps), (2, 3));
        let lines = peer.lines();
        assert_eq!(
            lines,
            [
                format!("GET {INVITES}?page_size=100&email=Ada%40example.org"),
                format!("GET {INVITES}?page_size=100"),
                format!("GET {MEMBERS}?page_size=100"),
            ]
        );
    }

    #[tokio::test]
    async fn nobody_anywhere_is_absence() {
        let peer = service(vec![invite("3", "grace@example.org", "Hi")], &["eve@example.org"]);
        let expected = Sighting { exact: Vec::new(), near: Vec::new(), gap: None };
        assert_eq!(sight(&with_token(&peer)).await, expected);
    }

    #[tokio::test]
    async fn a_lone_invite_to_the_address_is_inferred_to_be_this_one() {
        let peer = service(vec![invite("1", EMAIL, "Rewritten")], &[]);
        let seen = sight(&with_token(&peer)).await;
        assert_eq!(refs(&seen.exact), ["invites/1"]);
        assert_eq!(seen.exact[0].source, StatusSource::Inferred);
        assert!(seen.near.is_empty());
        let two = vec![invite("1", EMAIL, "Rewritten"), invite("2", EMAIL, "Other")];
        let seen = sight(&with_token(&service(two, &[]))).await;
        assert_eq!((seen.exact.len(), seen.near.len()), (0, 2));
    }

    #[tokio::test]
    async fn a_member_or_a_refusal_to_show_members_leaves_absence_open() {
        let peer = service(Vec::new(), &["ADA@example.org"]);
        let gap = sight(&with_token(&peer)).await.gap.unwrap();
        assert!(gap.contains("a member's"), "{gap}");
        for status in [403, 500] {
            let peer = Peer::start(move |asked| match asked.is(&format!("GET {MEMBERS}")) {
                true => (status, json!("")),
                false => answer(asked, &[invite("1", EMAIL, "Hi")], &[]),
            });
            let seen = sight(&with_token(&peer)).await;
            assert_eq!(refs(&seen.exact), ["invites/1"]);
            let gap = seen.gap.unwrap();
            assert!(gap.starts_with("the members list, "), "{gap}");
            assert!(gap.contains(&status.to_string()), "{gap}");
        }
    }

    /// Two calls, to Ada, whose invite is listed, and to Grace; `fails` says which requests do.
    async fn look_for_two(
        fails: fn(&Asked) -> Option<u16>,
    ) -> (Result<Vec<Vec<Sighting>>, ProviderError>, Vec<String>) {
        let peer = Peer::start(move |asked| match fails(asked) {
            Some(status) => (status, json!("")),
            None => answer(asked, &[invite("1", EMAIL, "Hi")], &[]),
        });
        let bench = with_token(&peer);
        let to_ada = recipient(&bench, Some("Hi"));
        let mut to_grace = to_ada.clone();
        to_grace.invitee.email = "grace@example.org".into();
        to_grace.address = to_grace.invitee.email.parse().unwrap();
        let doubts = vec![doubt(&bench, &to_ada).await, doubt(&bench, &to_grace).await];
        let seen = look_up(&bench, doubts).await.map(|(seen, _)| seen);
        (seen, peer.lines())
    }

    /// What is seen of calls to these people, who are not invited but for Ada, and what was asked; `counts` says of whom
    /// absence counts.
    async fn look_for(counts: &[(&str, bool)]) -> (Vec<Vec<Sighting>>, Vec<String>) {
        let peer = service(vec![invite("1", EMAIL, "Rewritten")], &[]);
        let bench = with_token(&peer);
        let mut doubts = Vec::new();
        for (name, counts) in counts {
            let mut to = recipient(&bench, Some("Hi"));
            to.invitee.email = format!("{name}@example.org");
            to.address = to.invitee.email.parse().unwrap();
            let doubt = doubt(&bench, &to).await;
            doubts.push(Doubt { absence_counts: vec![*counts], ..doubt });
        }
        let (seen, _) = look_up(&bench, doubts).await.unwrap();
        (seen, peer.lines())
    }

    #[tokio::test]
    async fn few_are_asked_for_by_address_and_nothing_else_before_absence_counts() {
        let to = |name: &str| format!("GET {INVITES}?page_size=100&email={name}%40example.org");
        let (seen, asked) = look_for(&[("Ada", false), ("Grace", false)]).await;
        assert_eq!(asked, [to("Ada"), to("Grace")]);
        // With the list unread, a lone invite to the address may not be the only one.
        assert_eq!((seen[0][0].exact.len(), seen[0][0].near.len()), (0, 1));
        assert!(seen.iter().all(|seen| seen[0].gap.as_deref() == Some(TOO_EARLY)), "{seen:?}");
        let (seen, asked) = look_for(&[("Ada", true), ("Grace", false)]).await;
        assert_eq!(asked.len(), 4, "{asked:?}");
        assert_eq!((refs(&seen[0][0].exact), seen[0][0].gap.is_none()), (vec!["invites/1"], true));
        assert_eq!(seen[1][0].gap.as_deref(), Some(TOO_EARLY));
    }

    #[tokio::test]
    async fn of_many_only_those_whose_absence_counts_are_asked_for_by_address() {
        let list = format!("GET {INVITES}?page_size=100");
        let many = |counts: bool| {
            ["Ada", "Grace", "Joan", "Mary", "Rosa"].map(|name| (name, counts && name != "Mary"))
        };
        let (seen, asked) = look_for(&many(false)).await;
        assert_eq!(asked, std::slice::from_ref(&list));
        assert_eq!((seen[0][0].exact.len(), seen[0][0].near.len()), (0, 1));
        assert!(seen.iter().all(|seen| seen[0].gap.as_deref() == Some(TOO_EARLY)), "{seen:?}");
        let (seen, asked) = look_for(&many(true)).await;
        assert_eq!((&asked[0], asked.len()), (&list, 1 + 4 + 1), "{asked:?}");
        assert!(asked.iter().all(|line| !line.contains("Mary")), "{asked:?}");
        let is_told: Vec<_> = seen.iter().map(|seen| seen[0].gap.is_none()).collect();
        assert_eq!(is_told, [true, true, true, false, true]);
        assert_eq!(refs(&seen[0][0].exact), ["invites/1"]);
    }

    #[tokio::test]
    async fn one_address_that_cannot_be_listed_costs_its_own_answer_only() {
        let (seen, asked) =
            look_for_two(|asked| asked.line.contains("email=Ada").then_some(400)).await;
        let seen = seen.unwrap();
        assert_eq!((refs(&seen[0][0].exact), asked.len()), (vec!["invites/1"], 4));
        assert!(seen[0][0].gap.as_deref().unwrap().contains("HTTP 400"), "{:?}", seen[0][0].gap);
        assert_eq!(seen[1][0], Sighting { exact: Vec::new(), near: Vec::new(), gap: None });
    }

    #[tokio::test]
    async fn a_lookup_that_cannot_go_on_keeps_what_it_saw() {
        let stops: [fn(&Asked) -> Option<u16>; 3] = [
            |asked| asked.line.contains("email=grace").then_some(429),
            |asked| asked.line.contains("email=grace").then_some(403),
            |asked| asked.line.ends_with("/invites?page_size=100").then_some(500),
        ];
        for fails in stops {
            let (seen, asked) = look_for_two(fails).await;
            let seen = seen.unwrap();
            assert_eq!(refs(&seen[0][0].exact), ["invites/1"], "{asked:?}");
            let gap = seen[1][0].gap.as_deref().unwrap();
            assert!(gap.starts_with("the invites cannot be listed: "), "{gap}");
            assert!(asked.len() <= 3, "it asked on: {asked:?}");
        }
        let (nothing, _) =
            look_for_two(|asked| asked.line.contains("email=Ada").then_some(429)).await;
        assert_eq!(nothing.unwrap_err().outcome, Outcome::Throttled);
    }

    #[tokio::test]
    async fn a_call_older_than_a_day_cannot_be_told_absent() {
        let peer = service(Vec::new(), &[]);
        let bench = with_token(&peer);
        for (age, complete) in [(24 * 3600 - 1, true), (24 * 3600, false)] {
            let mut doubt = doubt(&bench, &recipient(&bench, None)).await;
            doubt.started_at -= Duration::from_secs(age);
            let (seen, _) = look_up(&bench, vec![doubt]).await.unwrap();
            assert_eq!(seen[0][0].gap.is_none(), complete, "{age}");
        }
    }

    #[tokio::test]
    async fn a_list_that_cannot_be_read_to_its_end_shows_no_absence() {
        let circle = |asked: &Asked| {
            let (_, mut page) = answer(asked, &[invite("1", EMAIL, "Other")], &[]);
            page["next_page_token"] = json!("again");
            (200, page)
        };
        let seen = sight(&with_token(&Peer::start(circle))).await;
        // With a part of the list unseen, a lone invite to the address may not be the only one.
        assert_eq!((seen.exact.len(), seen.near.len(), seen.gap.is_none()), (0, 1, false));
        let odd = vec![json!({"identity": "invites/9"})];
        assert!(sight(&with_token(&service(odd, &[]))).await.gap.is_some());
        let no_list = Peer::start(|_| (200, json!({})));
        let bench = with_token(&no_list);
        let doubt = doubt(&bench, &recipient(&bench, None)).await;
        let error = look_up(&bench, vec![doubt]).await.unwrap_err();
        assert_eq!(error.outcome, Outcome::Unknown);
    }

    #[tokio::test]
    async fn every_page_of_the_list_is_read_without_repeating_the_filter() {
        let peer = Peer::start(|asked| {
            if asked.is(&format!("GET {MEMBERS}")) {
                return answer(asked, &[], &[]);
            }
            let last = asked.line.contains("page_token=2");
            let invites = if last { vec![invite("1", EMAIL, "Hi")] } else { Vec::new() };
            let next = if last { "" } else { "2" };
            (200, json!({"invites": invites, "next_page_token": next}))
        });
        let seen = sight(&with_token(&peer)).await;
        assert_eq!((refs(&seen.exact), seen.gap.is_none()), (vec!["invites/1"], true));
        assert_eq!(peer.count(&format!("GET {INVITES}?page_size=100&page_token=2")), 2);
    }

    #[tokio::test]
    async fn a_reference_tells_an_invite_from_all_others_at_once() {
        let settings = json!({"bearer_token": "t", "message_reference": true});
        let nowhere = bench("http://127.0.0.1:9", settings.clone(), &["token-1"]);
        let mut to_ada = recipient(&nowhere, Some("Hi"));
        let sent = Params::of(&to_ada).unwrap().message_for(to_ada.id);
        let peer = service(vec![invite("1", EMAIL, &sent), invite("2", EMAIL, "Hi")], &[]);
        let bench = bench(&peer.url, settings, &["token-1"]);
        to_ada.destination = recipient(&bench, None).destination;
        let (seen, steps) = look_up(&bench, vec![doubt(&bench, &to_ada).await]).await.unwrap();
        assert_eq!((refs(&seen[0][0].exact), steps), (vec!["invites/1"], 1));
        // Another call to the same person, with a reference of its own.
        let seen = sight(&bench).await;
        assert_eq!((seen.exact.len(), seen.near.len(), seen.gap.is_none()), (0, 2, true));
        // A lone invite without the reference is somebody else's.
        let lone = service(vec![invite("2", EMAIL, "Hi")], &[]);
        let settings = json!({"bearer_token": "t", "message_reference": true});
        let seen = sight(&crate::canned::bench(&lone.url, settings, &["t"])).await;
        assert_eq!((seen.exact.len(), seen.near.len()), (0, 1));
    }

    #[tokio::test]
    async fn a_token_of_another_tenancy_sees_nothing() {
        let peer = service(vec![invite("1", EMAIL, "Hi")], &[]);
        let settings = json!({"bearer_token": "t"});
        let bench = bench(&peer.url, settings, &[&jwt("tenant/1", 1)]);
        let ours = doubt(&bench, &recipient(&bench, Some("Hi"))).await;
        assert_eq!(ours.call.account.as_deref(), Some("tenant/1"));
        let mut theirs = ours.clone();
        theirs.call.account = Some("tenant/2".into());
        let mut opaque = ours.clone();
        opaque.call.account = None;
        let (seen, _) = look_up(&bench, vec![ours.clone(), theirs, opaque]).await.unwrap();
        let gap = Some(OTHER_TENANCY.to_owned());
        let nothing = Sighting { exact: Vec::new(), near: Vec::new(), gap };
        assert_eq!((refs(&seen[0][0].exact), seen[0][0].gap.is_none()), (vec!["invites/1"], true));
        assert_eq!(seen[0][0].exact[0].data["jit_tenant_id"], "tenant/1");
        assert_eq!(seen[1][0], nothing);
        assert_eq!(refs(&seen[2][0].exact), ["invites/1"]);
        let asked = peer.asked().len();
        for token in [jwt("tenant/3", 1), "shows-none".to_owned()] {
            bench.rotate(0, &token);
            let error = look_up(&bench, vec![ours.clone()]).await.unwrap_err();
            assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::NotFound));
        }
        assert_eq!(peer.asked().len(), asked, "nor is it asked with");
    }

    #[tokio::test]
    async fn a_lookup_at_another_place_sends_nothing() {
        let peer = service(Vec::new(), &[]);
        let bench = with_token(&peer);
        let mut doubt = doubt(&bench, &recipient(&bench, None)).await;
        doubt.call.destination.scope = "other".into();
        let error = look_up(&bench, vec![doubt]).await.unwrap_err();
        assert_eq!((error.outcome, error.cause), (Outcome::Rejected, Cause::NotFound));
        assert!(peer.asked().is_empty());
    }
}
