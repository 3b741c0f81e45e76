//! Turnkey's activities (<https://docs.turnkey.com/api-reference/activities/overview>): how they are read page by page,
//! and what they say of invites.

use std::collections::{BTreeMap, HashSet};

use invite_core::{
    Address, Invitee, Observed, ProviderError, Status, StatusSource, adapter::Operation,
    http::CallContext,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::{
    client::Client,
    error,
    wire::{
        ActivitiesQuery, Activity, Invitation, Pagination, STATUS_COMPLETED, STATUS_FAILED,
        STATUS_REJECTED, TYPE_ACCEPT, TYPE_ACCEPT_V2, TYPE_CREATE, TYPE_DELETE,
    },
};

/// The size of a page, which is the largest that Turnkey gives.
const PAGE: usize = 100;

/// Clocks may differ so far when an invitation is told from an older one.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// The types of activities that say what became of an invitation.
pub const ANSWERS: &[&str] = &[TYPE_ACCEPT, TYPE_ACCEPT_V2, TYPE_DELETE];
/// These types, and the one that creates an invitation.
const ALL: &[&str] = &[TYPE_CREATE, TYPE_ACCEPT, TYPE_ACCEPT_V2, TYPE_DELETE];

/// The activities of some types, newest first, one page at a time.
///
/// Turnkey does not say whether `after` or `before` leads to older ones. Its own command-line client passes the last id of
/// a page as `after`, so that is tried first. The cursor is the last id but one, so that the next page has to show the
/// last activity again. A page without it went in the other direction, and `before` is used from then on; if that does
/// not show it either, the listing ends as incomplete.
pub struct Pages {
    organization_id: String,
    types: &'static [&'static str],
    statuses: &'static [&'static str],
    position: Option<Position>,
    seen: HashSet<String>,
    end: Option<End>,
}

/// Where the last page ended.
struct Position {
    cursor: String,
    last: String,
    backwards: bool,
}

/// How a listing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Complete,
    /// There may be more activities.
    Incomplete,
}

impl Pages {
    /// The listing, from the newest activity on.
    pub fn new(
        organization_id: &str,
        types: &'static [&'static str],
        statuses: &'static [&'static str],
    ) -> Self {
        Self {
            organization_id: organization_id.to_owned(),
            types,
            statuses,
            position: None,
            seen: HashSet::new(),
            end: None,
        }
    }

    /// How the listing ended; none while there is more to ask for.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Asks for the next page, and returns its activities that were not shown before.
    ///
    /// # Errors
    /// As any request. The next try asks for the same page.
    pub async fn next(
        &mut self,
        client: &Client,
        context: &CallContext,
        operation: &Operation,
    ) -> Result<Vec<Activity>, ProviderError> {
        let cursor = self.position.as_ref().map(|at| (at.cursor.as_str(), at.backwards));
        let query = ActivitiesQuery {
            organization_id: &self.organization_id,
            filter_by_status: self.statuses,
            filter_by_type: self.types,
            pagination_options: Pagination {
                limit: "100",
                before: cursor.and_then(|(id, backwards)| backwards.then_some(id)),
                after: cursor.and_then(|(id, backwards)| (!backwards).then_some(id)),
            },
        };
        let page = client.list_activities(context, operation, &query).await?;
        Ok(self.take(page))
    }

    fn take(&mut self, page: Vec<Activity>) -> Vec<Activity> {
        if let Some(at) = &mut self.position
            && !page.iter().any(|activity| activity.id.as_ref() == Some(&at.last))
        {
            if at.backwards {
                self.end = Some(End::Incomplete);
            }
            at.backwards = true;
            return Vec::new();
        }
        let is_full = page.len() >= PAGE;
        let ids: Vec<String> = page.iter().rev().take(2).filter_map(|a| a.id.clone()).collect();
        let is_new = |a: &Activity| a.id.as_ref().is_none_or(|id| self.seen.insert(id.clone()));
        let new: Vec<Activity> = page.into_iter().filter(is_new).collect();
        match ids.as_slice() {
            _ if !is_full => self.end = Some(End::Complete),
            [last, cursor] if !new.is_empty() => {
                let backwards = self.position.as_ref().is_some_and(|at| at.backwards);
                let (cursor, last) = (cursor.clone(), last.clone());
                self.position = Some(Position { cursor, last, backwards });
            }
            // A full page with nothing new, or without ids, leads in a circle.
            _ => self.end = Some(End::Incomplete),
        }
        new
    }
}

/// What is known of an activity before it is read.
pub struct Subject<'a> {
    pub organization_id: &'a str,
    pub fingerprint: Option<&'a str>,
    /// How many invitations it was to create.
    pub count: Option<usize>,
}

/// What an activity says of the invites that it was to create, in their order.
///
/// # Errors
/// `Rejected` for all of them if it failed or people rejected it, who reject each of them; `Unknown` if it completed
/// with other ids than one for each, or is under way and cannot be followed.
pub fn observe(
    activity: &Activity,
    subject: &Subject<'_>,
    operation: &Operation,
) -> Result<Vec<Observed>, ProviderError> {
    let word = activity.status.as_deref().unwrap_or_default();
    let intended = activity.intended().map(<[_]>::len);
    let count = subject.count.or(intended);
    let status = match word {
        STATUS_COMPLETED => {
            let ids = distinct(activity.invitation_ids().unwrap_or_default());
            if ids.is_empty() || count.is_some_and(|count| count != ids.len()) {
                let error =
                    operation.outcome_unknown("it completed, but not with one id per invitation");
                let named = activity.invitation_ids().unwrap_or_default().iter();
                let unpaired = named.filter(|id| !id.is_empty()).cloned().collect();
                return Err(ProviderError { unpaired, ..error });
            }
            let pairing = if ids.len() == 1 { "proven" } else { "unproven" };
            let one = |id: &String| {
                let mut observed = observed(activity, subject, Some(id.clone()), Status::Pending);
                observed.data.insert("pairing".into(), pairing.into());
                observed
            };
            return Ok(ids.into_iter().map(one).collect());
        }
        STATUS_FAILED => return Err(error::ended(operation, word, activity.failure.as_ref())),
        STATUS_REJECTED => {
            let error = error::ended(operation, word, activity.failure.as_ref());
            return Err(error::rejected_by_people(error, count.unwrap_or(operation.items())));
        }
        "ACTIVITY_STATUS_CONSENSUS_NEEDED" | "ACTIVITY_STATUS_AUTHENTICATORS_NEEDED" => {
            Status::AwaitingApproval
        }
        // CREATED, PENDING, and words that are not known: Turnkey still works on it.
        _ => Status::Sending,
    };
    if activity.id.is_none() {
        return Err(operation.outcome_unknown("it is under way, but has no id to be followed by"));
    }
    Ok(vec![observed(activity, subject, None, status); count.unwrap_or(1)])
}

fn observed(
    activity: &Activity,
    subject: &Subject<'_>,
    id: Option<String>,
    status: Status,
) -> Observed {
    let organization_id = activity.organization_id.as_deref().unwrap_or(subject.organization_id);
    let fingerprint = activity.fingerprint.as_deref().or(subject.fingerprint);
    let members = [
        ("activity_id", activity.id.as_deref()),
        ("fingerprint", fingerprint),
        ("organization_id", Some(organization_id)),
    ];
    let member = |(name, value): (&str, Option<&str>)| Some((name.to_owned(), value?.into()));
    let mut data: Map<_, _> = members.into_iter().filter_map(member).collect();
    data.extend(approval(activity, status));
    Observed {
        provider_status: activity.status.clone(),
        created_at: activity.created_at.0,
        data,
        fingerprint: fingerprint.map(str::to_owned),
        ..Observed::new(id, status)
    }
}

/// Callers are shown the first votes up to so many.
const MOST_VOTES: usize = 50;

/// How an activity's approval stands: none any more, unless it is awaited.
fn approval(activity: &Activity, status: Status) -> Map<String, Value> {
    let Activity { votes, can_approve, can_reject, .. } = activity;
    let awaited = status == Status::AwaitingApproval;
    let votes = votes.as_ref().map(|votes| {
        let shown = votes.iter().take(MOST_VOTES).map(|vote| {
            json!({
                "userId": vote.user_id, "selection": vote.selection,
                "createdAt": vote.created_at.0.map(|at| at.to_string()),
            })
        });
        shown.collect::<Value>()
    });
    let members = [
        ("votes", votes),
        ("canApprove", can_approve.map(Value::Bool)),
        ("canReject", can_reject.map(Value::Bool)),
    ];
    let shown = |value: Option<Value>| value.filter(|_| awaited).unwrap_or_default();
    members.into_iter().map(|(name, value)| (name.to_owned(), shown(value))).collect()
}

/// The ids, or none if one is empty or there twice: then nobody can say which is whose.
fn distinct(ids: &[String]) -> Vec<&String> {
    let different: HashSet<&String> = ids.iter().filter(|id| !id.is_empty()).collect();
    if different.len() == ids.len() { ids.iter().collect() } else { Vec::new() }
}

/// The state `Failed` of an invite whose activity ended without effect.
pub fn failed(error: ProviderError, activity: &Activity, subject: &Subject<'_>) -> Observed {
    Observed { failure: Some(error), ..observed(activity, subject, None, Status::Failed) }
}

/// The invitation to `address` that exists although its activity failed. It is no older than the activity.
///
/// # Errors
/// Why it cannot be told: an invitation that is no older may be to `address` in another spelling.
pub fn effect_of_failed(
    activity: &Activity,
    invitations: &[Invitation],
    address: &Address,
    subject: &Subject<'_>,
) -> Result<Option<Observed>, &'static str> {
    let since = activity.created_at.0.and_then(|at| at.saturating_sub(SKEW).ok());
    let is_since = |i: &Invitation| Some(i.created_at.0? >= since?);
    let own = |i: &&Invitation| is_since(i) == Some(true) && i.is_to(address);
    if let Some(found) = invitations.iter().find(own) {
        let data = observed(activity, subject, None, Status::Pending).data;
        return Ok(Some(found.observe(subject.organization_id, data)));
    }
    let may_be = |i: &Invitation| {
        let shown = i.receiver_email.as_deref().unwrap_or_default();
        is_since(i) != Some(false) && !i.is_to(address) && address.may_be_shown_as(shown)
    };
    if invitations.iter().any(may_be) {
        return Err("the activity failed, and may have left an invitation whose address is spelt \
                    otherwise");
    }
    Ok(None)
}

/// All invitations by the completed activities of an organization, newest first: who was invited, and whether an
/// activity accepted or deleted the invitation.
///
/// # Errors
/// As any request, or the pages do not lead to the oldest activity.
pub async fn list_invitations(
    client: &Client,
    context: &CallContext,
    operation: &Operation,
    organization_id: &str,
) -> Result<Vec<Observed>, ProviderError> {
    let mut pages = Pages::new(organization_id, ALL, &[STATUS_COMPLETED]);
    let mut answers = BTreeMap::new();
    let mut created = Vec::new();
    while pages.end().is_none() {
        for activity in pages.next(client, context, operation).await? {
            if let Some((id, status)) = answer(&activity) {
                answers.entry(id.to_owned()).or_insert(status);
            } else {
                created.push(activity);
            }
        }
    }
    if pages.end() == Some(End::Incomplete) {
        return Err(operation.outcome_unknown("the pages of list_activities do not lead on"));
    }
    let subject = Subject { organization_id, fingerprint: None, count: None };
    let mut invites = Vec::new();
    for activity in &created {
        let addresses = activity.intended().unwrap_or_default();
        for (i, mut invite) in
            observe(activity, &subject, operation).unwrap_or_default().into_iter().enumerate()
        {
            invite.invitee = addresses.get(i).and_then(|a| invitee(a.receiver_user_email.as_ref()));
            if let Some(status) = invite.provider_ref.as_ref().and_then(|id| answers.get(id)) {
                (invite.status, invite.source) = (*status, StatusSource::Inferred);
            }
            invites.push(invite);
        }
    }
    Ok(invites)
}

/// The invitation that an activity accepted or deleted, and its status by that.
pub fn answer(activity: &Activity) -> Option<(&str, Status)> {
    let accepted = activity.accepted().map(|id| (id, Status::Accepted));
    accepted.or_else(|| activity.deleted().map(|id| (id, Status::Revoked)))
}

impl Invitation {
    /// Whether it is to this address.
    pub fn is_to(&self, address: &Address) -> bool {
        self.receiver_email.as_deref().map(Address::shown).as_ref() == Some(address)
    }

    /// The invite that it shows. Its address proves that the id is the invite's; `data` is what is known already.
    pub fn observe(&self, organization_id: &str, mut data: Map<String, Value>) -> Observed {
        let status = match self.status.as_deref() {
            Some("INVITATION_STATUS_ACCEPTED") => Status::Accepted,
            Some("INVITATION_STATUS_REVOKED") => Status::Revoked,
            // CREATED, and words that are not known: it exists.
            _ => Status::Pending,
        };
        data.insert("organization_id".into(), organization_id.into());
        if self.receiver_email.is_some() {
            data.insert("pairing".into(), "proven".into());
        }
        Observed {
            provider_status: self.status.clone(),
            created_at: self.created_at.0,
            data,
            invitee: invitee(self.receiver_email.as_ref()),
            ..Observed::new(Some(self.invitation_id.clone()), status)
        }
    }
}

fn invitee(email: Option<&String>) -> Option<Invitee> {
    Some(Invitee { email: email?.clone(), ..Invitee::default() })
}

/// Whether a page reaches back beyond `horizon`. Only one that is newest first does.
pub fn reaches(page: &[Activity], horizon: Timestamp) -> bool {
    let (Some(first), Some(last)) = (page.first(), page.last()) else { return false };
    match (first.created_at.0, last.created_at.0) {
        (Some(first), Some(last)) => last < horizon && first >= last,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use invite_core::canned::{Peer, context, service};
    use serde_json::json;

    use super::*;
    use crate::canned::{KEY, ORGANIZATION, Older, activities, page_of};

    /// All activities that are shown, how often it was asked, and how it ended.
    async fn walk(count: usize, older: Older) -> (Vec<String>, usize, End) {
        let all = activities(count);
        let server = Peer::start(move |asked| (200, page_of(&all, asked, older)));
        let client = Client::new(service("treasury", &server, KEY, Timestamp::UNIX_EPOCH), false);
        let mut pages = Pages::new(ORGANIZATION, ALL, &[]);
        let mut shown = Vec::new();
        while pages.end().is_none() {
            let listing = client.service.operation("listing");
            let page = pages.next(&client, &context(), &listing).await.unwrap();
            shown.extend(page.into_iter().filter_map(|activity| activity.id));
        }
        (shown, server.asked().len(), pages.end().unwrap())
    }

    fn ids(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("a{n}")).collect()
    }

    #[test]
    fn what_a_failed_activity_left_is_told_only_if_no_other_spelling_may_be_it() {
        let at = |second: u32| json!({ "seconds": second.to_string(), "nanos": "0" });
        let activity: Activity =
            serde_json::from_value(json!({ "id": "a", "createdAt": at(1_700_000_000) })).unwrap();
        let subject = Subject { organization_id: ORGANIZATION, fingerprint: None, count: None };
        let address: Address = "ada@example.org".parse().unwrap();
        let left = |shown: &str, second: u32| {
            let one =
                json!({ "invitationId": "i", "receiverEmail": shown, "createdAt": at(second) });
            let all: Vec<Invitation> = vec![serde_json::from_value(one).unwrap()];
            let left = effect_of_failed(&activity, &all, &address, &subject);
            left.map(|effect| effect.is_some()).map_err(|_| ())
        };
        assert_eq!(left("Ada@Example.org", 1_700_000_001), Ok(true));
        assert_eq!(left("a**@example.org", 1_700_000_001), Err(()));
        assert_eq!(left("\u{ff41}da@example.org", 1_700_000_001), Err(()));
        for before_or_of_another in
            [left("a**@example.org", 1_600_000_000), left("g**@example.org", 1_700_000_001)]
        {
            assert_eq!(before_or_of_another, Ok(false));
        }
    }

    #[test]
    fn while_approval_is_awaited_the_votes_are_shown_without_the_voters_names() {
        let operation = Operation::new("reading", "treasury");
        let data = |status: &str, more: Value| {
            let mut activity = json!({
                "id": "a", "status": status, "canApprove": false, "canReject": true,
                "votes": [{
                    "id": "v", "userId": "u", "user": { "userName": "Grace" }, "message": "{}",
                    "selection": "VOTE_SELECTION_APPROVED", "signature": "3045",
                    "createdAt": { "seconds": "1754952030", "nanos": "0" },
                }],
            });
            activity.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let activity: Activity = serde_json::from_value(activity).unwrap();
            let subject =
                Subject { organization_id: ORGANIZATION, fingerprint: None, count: Some(1) };
            let seen = observe(&activity, &subject, &operation).unwrap().remove(0);
            ["votes", "canApprove", "canReject"].map(|name| seen.data[name].clone())
        };
        let vote = json!({
            "userId": "u", "selection": "VOTE_SELECTION_APPROVED",
            "createdAt": "2025-08-11T22:40:30Z",
        });
        let needed = "ACTIVITY_STATUS_CONSENSUS_NEEDED";
        assert_eq!(data(needed, json!({})), [json!([vote]), json!(false), json!(true)]);
        let strange = json!({ "votes": "<array>", "canApprove": "<boolean>" });
        assert_eq!(data(needed, strange), [Value::Null, Value::Null, json!(true)]);
        let result = json!({ "result": { "createInvitationsResult": { "invitationIds": ["i"] } } });
        assert_eq!(data(STATUS_COMPLETED, result), [Value::Null, Value::Null, Value::Null]);
    }

    #[tokio::test]
    async fn every_activity_is_shown_once_whichever_cursor_leads_to_older_ones() {
        for (count, requests) in [(0, 1), (99, 1), (100, 2), (101, 2), (198, 2), (199, 3), (350, 4)]
        {
            assert_eq!(walk(count, Older::After).await, (ids(count), requests, End::Complete));
            let (shown, asked, end) = walk(count, Older::Before).await;
            assert_eq!((shown, end), (ids(count), End::Complete));
            // One request finds out that `after` is the wrong direction.
            assert_eq!(asked, if count < 100 { requests } else { requests + 1 });
        }
    }

    #[tokio::test]
    async fn a_listing_whose_cursors_lead_nowhere_ends_as_incomplete() {
        let (shown, asked, end) = walk(150, Older::Neither).await;
        assert_eq!((shown, asked, end), (ids(100), 2, End::Incomplete));
    }

    #[test]
    fn a_page_that_shows_neither_direction_ends_as_incomplete() {
        let page = |ids: std::ops::Range<usize>| {
            let activity = |n| Activity { id: Some(format!("a{n}")), ..Activity::default() };
            ids.map(activity).collect::<Vec<_>>()
        };
        let mut pages = Pages::new(ORGANIZATION, ALL, &[]);
        assert_eq!(pages.take(page(0..100)).len(), 100);
        assert_eq!(pages.take(page(0..98)).len(), 0);
        assert_eq!(pages.end(), None);
        assert_eq!(pages.take(Vec::new()).len(), 0);
        assert_eq!(pages.end(), Some(End::Incomplete));
    }

    #[test]
    fn only_a_page_that_is_newest_first_reaches_back() {
        let at = |seconds| Activity {
            created_at: crate::wire::Time(Timestamp::from_second(seconds).ok()),
            ..Activity::default()
        };
        let horizon = Timestamp::from_second(50).unwrap();
        assert!(reaches(&[at(90), at(40)], horizon));
        assert!(!reaches(&[at(90), at(50)], horizon));
        assert!(!reaches(&[at(10), at(40)], horizon));
        assert!(!reaches(&[at(90), Activity::default()], horizon));
        assert!(!reaches(&[], horizon));
    }
}
