//! Looks up what became of calls of unknown outcome: by the activity's id if a reply named one, or else by the fingerprint
//! among the activities that create invitations. The engine decides which absence is believed, and when the bytes are
//! sent again instead.

use std::sync::Arc;

use async_trait::async_trait;
use invite_core::{
    Doubt, Lookup, Outcome, ProviderError, Recipient, Reconciliation, Sighting,
    adapter::{Failures, Operation, seen_or, unfinished},
    http::CallContext,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    activity::{self, End, Pages, Subject},
    client::Client,
    stamp::fingerprint,
    wire::{Activity, Invitation, STATUS_COMPLETED, STATUS_FAILED, TYPE_CREATE},
};

/// So long before and after its `timestampMs` no copy of a body can create an activity: Turnkey takes bodies that are less
/// than an hour old and at most five minutes ahead, and the rest is for clocks. No copy is under way for so long.
const DEAD: SignedDuration = SignedDuration::from_mins(70);

/// The listing goes back so far before the oldest `timestampMs`.
const MARGIN: SignedDuration = SignedDuration::from_mins(10);

const UNPAIRED: &str = "the activity took effect, but which invitation id is whose cannot be told";

/// A look-up of calls to one organization.
pub struct ByFingerprint {
    client: Arc<Client>,
    operation: Operation,
    organization_id: String,
    searches: Vec<Search>,
    pages: Pages,
    horizon: Timestamp,
    /// When the listing began, by our clock and by Turnkey's.
    listed_at: Option<(Timestamp, Option<Timestamp>)>,
    /// Whether the listing showed all that it could; none until it has ended.
    listed_all: Option<bool>,
    /// What `get_organization` showed, which is asked once an activity failed.
    invitations: Option<Option<Vec<Invitation>>>,
    /// Why the look-up ended before all was asked.
    gap: Option<String>,
    failures: Failures,
    /// The error if the calls went to another organization, which cannot be asked here.
    misplaced: Option<ProviderError>,
}

/// A call that is looked for.
struct Search {
    doubt: Doubt,
    fingerprint: String,
    submitted_at: Timestamp,
    /// The activity's id, until it was asked for.
    activity_id: Option<String>,
    found: Option<Activity>,
    /// Why the activity could not be read.
    gap: Option<String>,
}

impl ByFingerprint {
    pub fn new(
        client: Arc<Client>,
        operation: Operation,
        lookup: Lookup,
        misplaced: Option<ProviderError>,
    ) -> Self {
        let searches: Vec<Search> = lookup.doubts.into_iter().map(Search::new).collect();
        let oldest = searches.iter().map(|s| s.submitted_at).min().unwrap_or(Timestamp::MIN);
        Self {
            client,
            operation,
            pages: Pages::new(&lookup.destination.scope, &[TYPE_CREATE], &[]),
            organization_id: lookup.destination.scope,
            searches,
            horizon: oldest.saturating_sub(MARGIN).unwrap_or(Timestamp::MIN),
            listed_at: None,
            listed_all: None,
            invitations: None,
            gap: None,
            failures: Failures::default(),
            misplaced,
        }
    }

    fn is_searching(&self) -> bool {
        self.searches.iter().any(|search| search.found.is_none())
    }

    fn asks_about_failed(&self) -> bool {
        let failed = |s: &Search| s.found.as_ref().is_some_and(has_failed);
        self.may_ask_organization() && self.searches.iter().any(failed)
    }

    fn may_ask_organization(&self) -> bool {
        self.invitations.is_none() && self.client.reads_organization()
    }

    /// Ends the look-up before all was asked. What was seen still counts.
    ///
    /// # Errors
    /// The error, if no invite was seen.
    fn end_early(&mut self, error: ProviderError) -> Result<Vec<Vec<Sighting>>, ProviderError> {
        self.gap = Some(unfinished(&error));
        seen_or(self.sightings(), error)
    }

    /// Goes on without an activity that cannot be read.
    ///
    /// # Errors
    /// The error, if the look-up ends with it.
    fn skip(&mut self, place: usize, error: ProviderError) -> Result<(), ProviderError> {
        // A look-up of this call alone has nothing else to go on with.
        if self.failures.is_last(&error) || self.searches.len() == 1 {
            return Err(error);
        }
        let search = &mut self.searches[place];
        search.gap = Some(format!("its activity cannot be read: {error}"));
        search.activity_id = None;
        Ok(())
    }

    async fn ask_activity(
        &mut self,
        context: &CallContext,
        place: usize,
        id: &str,
    ) -> Result<(), ProviderError> {
        let asked =
            self.client.get_activity(context, &self.operation, &self.organization_id, id).await;
        let search = &mut self.searches[place];
        match asked {
            Ok(activity) => search.take(&activity, true),
            // Turnkey does not know that id, so the listing decides.
            Err(error) if error.http_status == Some(404) => {}
            Err(error) => return self.skip(place, error),
        }
        search.activity_id = None;
        self.failures.reset();
        Ok(())
    }

    async fn ask_page(&mut self, context: &CallContext) -> Result<(), ProviderError> {
        let now = self.client.now();
        let page = self.pages.next(&self.client, context, &self.operation).await?;
        let shown = context.exchanges().last().and_then(|exchange| exchange.date);
        self.listed_at.get_or_insert((now, shown));
        let is_far_enough = activity::reaches(&page, self.horizon);
        for activity in &page {
            for search in &mut self.searches {
                search.take(activity, false);
            }
        }
        self.listed_all = match self.pages.end() {
            _ if is_far_enough => Some(true),
            Some(end) => Some(end == End::Complete),
            None => None,
        };
        Ok(())
    }

    fn sightings(&self) -> Vec<Vec<Sighting>> {
        self.searches.iter().map(|search| self.sightings_of(search)).collect()
    }

    fn sightings_of(&self, search: &Search) -> Vec<Sighting> {
        let recipients = &search.doubt.recipients;
        let unclear = |near, gap| vec![Sighting { exact: Vec::new(), near, gap }; recipients.len()];
        let Some(activity) = &search.found else {
            return unclear(Vec::new(), self.gap(search));
        };
        let subject = Subject {
            organization_id: &self.organization_id,
            fingerprint: Some(&search.fingerprint),
            count: Some(recipients.len()),
        };
        match activity::observe(activity, &subject, &self.operation) {
            Ok(observed) => observed.into_iter().map(Sighting::exactly).collect(),
            // The organization, which knows what a failed activity left behind, was not asked yet.
            Err(_) if has_failed(activity) && self.gap.is_some() && self.may_ask_organization() => {
                unclear(Vec::new(), self.gap.clone())
            }
            Err(error) if error.outcome == Outcome::Rejected => {
                let shown = self.invitations.iter().flatten().flatten();
                let shown: Vec<Invitation> =
                    shown.filter(|_| has_failed(activity)).cloned().collect();
                let of = |r: &Recipient| match activity::effect_of_failed(
                    activity, &shown, &r.address, &subject,
                ) {
                    Ok(Some(effect)) => Sighting::exactly(effect),
                    Ok(None) => {
                        Sighting::exactly(activity::failed(error.clone(), activity, &subject))
                    }
                    Err(why) => Sighting::open(why),
                };
                recipients.iter().map(of).collect()
            }
            // The activity took effect, but which id is whose cannot be told.
            Err(_) => {
                let near = activity.invitation_ids().unwrap_or_default().to_vec();
                let gap = search.gap.clone().or_else(|| Some(UNPAIRED.to_owned()));
                unclear(near, gap)
            }
        }
    }

    /// Why absence cannot be told of a call whose activity was not found.
    fn gap(&self, search: &Search) -> Option<String> {
        if let Some(gap) = search.gap.as_ref().or(self.gap.as_ref()) {
            Some(gap.clone())
        } else if self.listed_all != Some(true) {
            Some("list_activities could not be read to its end".to_owned())
        } else if !self.is_dead(search) {
            let tells = search.doubt.started_at.saturating_add(DEAD).unwrap_or(Timestamp::MAX);
            Some(format!(
                "a copy of the call could still create its activity; list_activities tells \
                 absence from {tells:.0} on, if not before"
            ))
        } else {
            None
        }
    }

    /// Whether no copy of the call could create anything any more when the listing began: by our own clock, which does not
    /// jump, or by Turnkey's, which judges the bytes even if our clock was wrong when they were written.
    fn is_dead(&self, search: &Search) -> bool {
        let Some((now, shown)) = self.listed_at else { return false };
        let is_old = now.duration_since(search.doubt.started_at) >= DEAD;
        let is_off = |shown: Timestamp| shown.duration_since(search.submitted_at).abs() >= DEAD;
        is_old || shown.is_some_and(is_off)
    }
}

#[async_trait]
impl Reconciliation for ByFingerprint {
    async fn step(
        &mut self,
        context: &CallContext,
    ) -> Result<Option<Vec<Vec<Sighting>>>, ProviderError> {
        if let Some(error) = &self.misplaced {
            return Err(error.clone());
        }
        let named = self.searches.iter().enumerate();
        let named = named.filter_map(|(i, s)| Some((i, s.activity_id.clone()?))).next();
        let asked = if let Some((place, id)) = named {
            self.ask_activity(context, place, &id).await
        } else if self.is_searching() && self.listed_all.is_none() {
            self.ask_page(context).await
        } else if self.asks_about_failed() {
            let (client, organization_id) = (&self.client, &self.organization_id);
            let shown = client.invitations(context, &self.operation, organization_id, true).await;
            shown.map(|shown| self.invitations = Some(shown))
        } else {
            Ok(())
        };
        if let Err(error) = asked {
            return self.end_early(error).map(Some);
        }
        let has_more = self.searches.iter().any(|search| search.activity_id.is_some())
            || (self.is_searching() && self.listed_all.is_none())
            || self.asks_about_failed();
        Ok((!has_more).then(|| self.sightings()))
    }
}

impl Search {
    fn new(doubt: Doubt) -> Self {
        let body: Value = serde_json::from_str(&doubt.call.body).unwrap_or_default();
        let millis = body.get("timestampMs").and_then(|v| v.as_str()?.parse().ok());
        let submitted_at = millis.and_then(|millis| Timestamp::from_millisecond(millis).ok());
        Self {
            fingerprint: fingerprint(doubt.call.body.as_bytes()),
            submitted_at: submitted_at.unwrap_or(doubt.started_at),
            activity_id: doubt.data.get("activity_id").and_then(Value::as_str).map(str::to_owned),
            found: None,
            gap: None,
            doubt,
        }
    }

    /// Keeps an activity that is this call's by its fingerprint, which one that was `named` by its id need not show.
    fn take(&mut self, activity: &Activity, named: bool) {
        let is_ours = match &activity.fingerprint {
            Some(shown) => shown.eq_ignore_ascii_case(&self.fingerprint),
            None => named,
        };
        if is_ours {
            self.found = Some(activity.clone());
            // An entry of the list may say less than the activity itself.
            let is_short = activity.invitation_ids().is_none()
                && activity.status.as_deref() == Some(STATUS_COMPLETED);
            self.activity_id = activity.id.clone().filter(|_| is_short && !named);
        }
    }
}

fn has_failed(activity: &Activity) -> bool {
    activity.status.as_deref() == Some(STATUS_FAILED)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use invite_core::{
        Cause, PreparedCall, Status,
        canned::{Asked, Bench, Peer, context},
    };
    use serde_json::json;

    use super::*;
    use crate::canned::{
        AT, ORGANIZATION, Older, activities, completed, endpoints, page_of, provider, recipients,
        with_status,
    };

    const ADA: (&str, &str) = ("Ada", "ada@example.org");
    const GRACE: (&str, &str) = ("Grace", "grace@example.org");

    async fn doubt(provider: &Bench, at: i64, people: &[(&str, &str)], data: Value) -> Doubt {
        let recipients = recipients(provider, people);
        let at = Timestamp::from_millisecond(at).unwrap();
        let call: PreparedCall = provider.prepare(&context(), &recipients, at).await.unwrap();
        let data = data.as_object().cloned().unwrap_or_default();
        let first_attempts = vec![at; recipients.len()];
        let absence_counts = vec![true; recipients.len()];
        Doubt { call, recipients, first_attempts, absence_counts, started_at: at, data }
    }

    /// The sightings, and how many steps they took.
    async fn look(provider: &Bench, doubts: Vec<Doubt>) -> (Vec<Vec<Sighting>>, usize) {
        let destination = doubts[0].call.destination.clone();
        let mut lookup = provider.reconcile(Lookup { destination, doubts });
        for steps in 1..20 {
            if let Some(sightings) = lookup.step(&context()).await.unwrap() {
                return (sightings, steps);
            }
        }
        unreachable!("the lookup does not end");
    }

    fn of(doubt: &Doubt, mut activity: Value) -> Value {
        activity["fingerprint"] = doubt.call.fingerprint.clone().into();
        activity["id"] = format!("activity of {}", activity["fingerprint"]).into();
        activity
    }

    fn listing(activities: impl Fn() -> Vec<Value> + Send + Sync + 'static) -> Peer {
        Peer::start(move |asked: &Asked| match asked.step() {
            "list_activities" => (200, page_of(&activities(), asked, Older::After)),
            _ => (404, json!({"code": 5})),
        })
    }

    fn shared() -> (Arc<std::sync::Mutex<Vec<Value>>>, impl Fn() -> Vec<Value> + Send + Sync) {
        let kept: Arc<std::sync::Mutex<Vec<Value>>> = Arc::default();
        let shown = kept.clone();
        (kept, move || shown.lock().unwrap().clone())
    }

    const OLD: Duration = Duration::from_secs(70 * 60);

    #[tokio::test]
    async fn a_call_is_found_by_its_fingerprint_and_one_listing_serves_all_doubts() {
        let (all, shown) = shared();
        let server = listing(shown);
        let provider = provider(&server);
        let first = doubt(&provider, AT, &[ADA, GRACE], json!({})).await;
        let second = doubt(&provider, AT + 1, &[GRACE], json!({})).await;
        let third = doubt(&provider, AT + 2, &[GRACE], json!({})).await;
        *all.lock().unwrap() = vec![
            of(&second, with_status("ACTIVITY_STATUS_CONSENSUS_NEEDED")),
            of(&first, completed(&["one", "two"])),
        ];
        let (seen, steps) = look(&provider, vec![first, second, third]).await;
        assert_eq!((steps, endpoints(&server)), (1, vec!["list_activities".to_owned()]));
        let exact = |doubt: usize, place: usize| seen[doubt][place].exact[0].clone();
        assert_eq!(exact(0, 0).provider_ref.as_deref(), Some("one"));
        assert_eq!(
            (exact(0, 1).provider_ref.as_deref(), exact(0, 1).status),
            (Some("two"), Status::Pending)
        );
        assert_eq!(exact(1, 0).status, Status::AwaitingApproval);
        assert!(seen[2][0].exact.is_empty() && seen[2][0].gap.is_some());
        assert_eq!(
            server.asked()[0].json(),
            json!({
                "organizationId": ORGANIZATION, "filterByStatus": [],
                "filterByType": ["ACTIVITY_TYPE_CREATE_INVITATIONS"],
                "paginationOptions": {"limit": "100"},
            })
        );
    }

    #[tokio::test]
    async fn absence_is_told_only_once_no_copy_can_take_effect_any_more() {
        let server = listing(|| activities(3));
        for (age, shows) in [(OLD - Duration::from_millis(1), false), (OLD, true)] {
            let provider = provider(&server);
            let doubt = doubt(&provider, AT, &[ADA, GRACE], json!({})).await;
            provider.clock.advance(age);
            let (seen, _) = look(&provider, vec![doubt]).await;
            for sighting in &seen[0] {
                assert!(sighting.exact.is_empty() && sighting.near.is_empty());
                assert_eq!(sighting.gap.is_none(), shows, "{:?}", sighting.gap);
            }
        }
    }

    #[tokio::test]
    async fn bytes_that_turnkeys_clock_would_not_take_for_an_hour_are_dead_whatever_ours_says() {
        for (date, shows) in [
            ("Thu, 08 May 2025 21:45:10 GMT", true),
            ("Thu, 08 May 2025 21:45:09 GMT", false),
            ("Thu, 08 May 2025 19:25:10 GMT", false),
            ("Thu, 08 May 2025 19:25:09 GMT", true),
            ("Wed, 07 May 2025 19:35:10 GMT", true),
            ("never", false),
        ] {
            let header = format!("date: {date}\r\n");
            let server = Peer::with_header(&header, |_| (200, json!({"activities": []})));
            let provider = provider(&server);
            let doubt = doubt(&provider, AT, &[ADA], json!({})).await;
            let (seen, _) = look(&provider, vec![doubt]).await;
            assert!(seen[0][0].exact.is_empty());
            assert_eq!(seen[0][0].gap.is_none(), shows, "{date}: {:?}", seen[0][0].gap);
        }
    }

    #[tokio::test]
    async fn the_listing_stops_ten_minutes_before_the_oldest_call() {
        let server = listing(|| activities(1000));
        let provider = provider(&server);
        let ago = |minutes: i64| AT - minutes * 60_000;
        let old = doubt(&provider, ago(120), &[ADA], json!({})).await;
        let older = doubt(&provider, ago(180), &[ADA], json!({})).await;
        let (seen, steps) = look(&provider, vec![old, older]).await;
        // The second page, of one activity per minute, ends at 198 minutes.
        assert_eq!((steps, seen[0][0].gap.is_none(), seen[1][0].gap.is_none()), (2, true, true));
    }

    #[tokio::test]
    async fn a_listing_that_leads_nowhere_tells_no_absence() {
        let all = activities(150);
        let server = Peer::start(move |asked| (200, page_of(&all, asked, Older::Neither)));
        let provider = provider(&server);
        let old = doubt(&provider, AT - 180 * 60_000, &[ADA], json!({})).await;
        let (seen, _) = look(&provider, vec![old]).await;
        assert!(seen[0][0].gap.is_some());
    }

    #[tokio::test]
    async fn a_known_activity_is_asked_for_by_its_id_and_listed_only_if_that_fails() {
        let (all, shown) = shared();
        let server = Peer::start(move |asked| match asked.step() {
            "get_activity" if asked.json()["activityId"] == "known" => {
                (200, json!({"activity": shown()[0]}))
            }
            "list_activities" => (200, json!({"activities": shown()[1..]})),
            _ => (404, json!({"code": 5})),
        });
        let provider = provider(&server);
        let known = doubt(&provider, AT, &[ADA], json!({"activity_id": "known"})).await;
        let lost = doubt(&provider, AT + 1, &[ADA], json!({"activity_id": "lost"})).await;
        *all.lock().unwrap() =
            vec![of(&known, completed(&["one"])), of(&lost, completed(&["two"]))];
        let (seen, _) = look(&provider, vec![known, lost]).await;
        assert_eq!(endpoints(&server), ["get_activity", "get_activity", "list_activities"]);
        assert_eq!(seen[0][0].exact[0].provider_ref.as_deref(), Some("one"));
        assert_eq!(seen[1][0].exact[0].provider_ref.as_deref(), Some("two"));
    }

    #[tokio::test]
    async fn an_activity_that_cannot_be_read_costs_its_own_answer_only() {
        let (all, shown) = shared();
        let server = Peer::start(move |asked| match asked.step() {
            "get_activity" if asked.json()["activityId"] == "known" => {
                (200, json!({"activity": shown()[0]}))
            }
            "get_activity" => (500, json!("x")),
            _ => (200, json!({"activities": []})),
        });
        let provider = provider(&server);
        let spoilt = doubt(&provider, AT, &[ADA], json!({"activity_id": "spoilt"})).await;
        let known = doubt(&provider, AT + 1, &[ADA], json!({"activity_id": "known"})).await;
        let never = doubt(&provider, AT + 2, &[ADA], json!({})).await;
        *all.lock().unwrap() = vec![of(&known, completed(&["one"]))];
        provider.clock.advance(OLD + Duration::from_secs(1));
        let (seen, _) = look(&provider, vec![spoilt, known, never]).await;
        assert_eq!(endpoints(&server), ["get_activity", "get_activity", "list_activities"]);
        assert!(seen[0][0].exact.is_empty());
        let gap = seen[0][0].gap.as_deref().unwrap();
        assert!(gap.starts_with("its activity cannot be read: ") && gap.contains("500"), "{gap}");
        assert_eq!(seen[1][0].exact[0].provider_ref.as_deref(), Some("one"));
        assert_eq!(seen[2][0].gap, None);
    }

    #[tokio::test]
    async fn that_the_only_activity_cannot_be_read_is_told() {
        let server = Peer::start(|_| (500, json!("x")));
        let provider = provider(&server);
        let doubt = doubt(&provider, AT, &[ADA], json!({"activity_id": "a"})).await;
        let destination = doubt.call.destination.clone();
        let mut lookup = provider.reconcile(Lookup { destination, doubts: vec![doubt] });
        assert_eq!(lookup.step(&context()).await.unwrap_err().http_status, Some(500));
        assert_eq!(endpoints(&server), ["get_activity"]);
    }

    #[tokio::test]
    async fn a_lookup_that_cannot_go_on_keeps_what_it_saw() {
        let (all, shown) = shared();
        let server = Peer::start(move |asked| match asked.step() {
            "get_activity" => (200, json!({"activity": shown()[0]})),
            _ => (500, json!("x")),
        });
        let provider = provider(&server);
        let known = doubt(&provider, AT, &[ADA], json!({"activity_id": "known"})).await;
        let lost = doubt(&provider, AT + 1, &[ADA], json!({})).await;
        *all.lock().unwrap() = vec![of(&known, completed(&["one"]))];
        let (seen, steps) = look(&provider, vec![known.clone(), lost]).await;
        assert_eq!((steps, seen[0][0].exact.len()), (2, 1));
        let gap = seen[1][0].gap.as_deref().unwrap();
        assert!(gap.starts_with("the look-up did not come to its end: "), "{gap}");
        // What failed is not told before the organization was asked, which it could not be.
        let failed = doubt(&provider, AT + 2, &[GRACE], json!({"activity_id": "failed"})).await;
        *all.lock().unwrap() = vec![of(&failed, with_status(STATUS_FAILED))];
        let destination = failed.call.destination.clone();
        let mut lookup = provider.reconcile(Lookup { destination, doubts: vec![failed] });
        assert!(lookup.step(&context()).await.unwrap().is_none());
        assert_eq!(lookup.step(&context()).await.unwrap_err().http_status, Some(500));
    }

    #[tokio::test]
    async fn a_completed_activity_that_the_list_shows_without_ids_is_asked_for() {
        let (all, shown) = shared();
        let server = Peer::start(move |asked| match asked.step() {
            "get_activity" => (200, json!({"activity": shown()[0]})),
            _ => {
                let mut short = shown()[0].clone();
                short["result"] = Value::Null;
                (200, json!({"activities": [short]}))
            }
        });
        let provider = provider(&server);
        let doubt = doubt(&provider, AT, &[ADA], json!({})).await;
        *all.lock().unwrap() = vec![of(&doubt, completed(&["one"]))];
        let (seen, steps) = look(&provider, vec![doubt]).await;
        assert_eq!((steps, seen[0][0].exact[0].provider_ref.as_deref()), (2, Some("one")));
    }

    #[tokio::test]
    async fn ids_that_cannot_be_paired_are_near_and_nothing_is_absent() {
        let (all, shown) = shared();
        let server = listing(shown);
        let provider = provider(&server);
        let doubt = doubt(&provider, AT, &[ADA, GRACE], json!({})).await;
        *all.lock().unwrap() = vec![of(&doubt, completed(&["one"]))];
        provider.clock.advance(OLD);
        let (seen, _) = look(&provider, vec![doubt]).await;
        let unpaired =
            Sighting { exact: vec![], near: vec!["one".into()], gap: Some(UNPAIRED.into()) };
        assert_eq!(seen, [[unpaired.clone(), unpaired]]);
    }

    #[tokio::test]
    async fn a_failed_activity_is_failed_unless_the_organization_shows_the_invitation() {
        let (all, shown) = shared();
        let invitation = json!({
            "invitationId": "new", "receiverEmail": "ada@example.org",
            "createdAt": {"seconds": "1746736511", "nanos": "0"},
        });
        let server = Peer::start(move |asked| match asked.step() {
            "list_activities" => (200, json!({"activities": shown()})),
            _ => (200, json!({"organizationData": {"invitations": [invitation]}})),
        });
        let provider = provider(&server);
        let doubt = doubt(&provider, AT, &[ADA, GRACE], json!({})).await;
        *all.lock().unwrap() = vec![of(&doubt, with_status(STATUS_FAILED))];
        let (seen, steps) = look(&provider, vec![doubt]).await;
        assert_eq!((steps, endpoints(&server)[1].as_str()), (2, "get_organization"));
        assert_eq!(seen[0][0].exact[0].provider_ref.as_deref(), Some("new"));
        let grace = &seen[0][1].exact[0];
        assert_eq!((grace.status, grace.failure.is_some()), (Status::Failed, true));
    }

    #[tokio::test]
    async fn a_rejected_activity_names_each_invite_of_its_own_call() {
        let (all, shown) = shared();
        let server = listing(shown);
        let provider = provider(&server);
        let pair = doubt(&provider, AT, &[ADA, GRACE], json!({})).await;
        let alone = doubt(&provider, AT + 1, &[GRACE], json!({})).await;
        *all.lock().unwrap() = vec![
            of(&alone, with_status("ACTIVITY_STATUS_REJECTED")),
            of(&pair, with_status("ACTIVITY_STATUS_REJECTED")),
        ];
        let (seen, _) = look(&provider, vec![pair, alone]).await;
        let named = |sighting: &Sighting| {
            let failure = sighting.exact[0].failure.as_ref().unwrap();
            failure.items.iter().map(|item| item.index).collect::<Vec<_>>()
        };
        assert_eq!((named(&seen[0][0]), named(&seen[0][1])), (vec![0, 1], vec![0, 1]));
        assert_eq!(named(&seen[1][0]), [0]);
    }

    #[tokio::test]
    async fn a_lookup_that_is_refused_or_belongs_elsewhere_learns_nothing() {
        let server = Peer::start(|_| (403, json!({"code": 7})));
        let provider = provider(&server);
        let doubt = doubt(&provider, AT, &[ADA], json!({})).await;
        let mut destination = doubt.call.destination.clone();
        let mut lookup = provider
            .reconcile(Lookup { destination: destination.clone(), doubts: vec![doubt.clone()] });
        assert!(lookup.step(&context()).await.is_err());
        destination.base_url = "https://elsewhere.example".into();
        let mut lookup = provider.reconcile(Lookup { destination, doubts: vec![doubt] });
        assert_eq!(lookup.step(&context()).await.unwrap_err().cause, Cause::NotFound);
        assert_eq!(server.asked().len(), 1);
    }
}
