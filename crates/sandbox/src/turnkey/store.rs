//! The activities and invitations of a Turnkey organization, and what completing an activity does.

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::activity::{Activity, Status};
use super::invitation::{Fate, Invitation};
use super::keys::User;
use super::request::{ACCEPT_INVITATION, Intent, InvitationParams, Listing};
use super::rpc::Problem;
use super::settings::{CursorOrder, DeletedInvitations, Mode, Settings};
use super::stamp::Stamp;
use crate::simulator::Call;
use crate::{accounts, ids};

pub(super) const ORGANIZATION_NAME: &str = "Sandbox Organization";

/// Everything that the simulator knows.
#[derive(Debug, Default)]
pub(super) struct State {
    pub settings: Settings,
    pub activities: Vec<Activity>,
    pub invitations: Vec<Invitation>,
}

/// Who submits an activity, with the proof of it.
pub(super) struct Submitter<'a> {
    pub user: &'static User,
    pub stamp: Stamp,
    pub call: &'a Call,
}

/// The fingerprint of a body. Bodies with equal fingerprints are the same activity.
pub(super) fn fingerprint(body: &[u8]) -> String {
    format!("sha256:{}", base16ct::lower::encode_string(&Sha256::digest(body)))
}

impl State {
    pub fn now(&self) -> Timestamp {
        self.settings.shared.now()
    }

    /// Enters a new activity, and lets it run as far as the mode allows; returns its position.
    pub fn submit(
        &mut self,
        submitter: Submitter<'_>,
        intent: Intent,
        timestamp_ms: i64,
    ) -> Result<usize, Problem> {
        self.check(&intent, submitter.call)?;
        let now = self.now();
        let Submitter { user, stamp, call } = submitter;
        let message = String::from_utf8_lossy(&call.body).into_owned();
        let (type_name, intent_json) = intent.shown(&self.settings.shared.spelling);
        let mut activity = Activity::new(type_name, intent_json, now);
        activity.fingerprint = fingerprint(&call.body);
        activity.timestamp_ms = timestamp_ms;
        activity.request = call.number;
        activity.only_first = call.only_first;
        activity.looks_left = self.settings.pending_looks;
        activity.vote(user, true, (stamp.clone(), message.clone()), now);
        let mode = match &intent {
            Intent::Approve(target) => self.ballot(target, user, true, (stamp, message))?,
            Intent::Reject(target) => self.ballot(target, user, false, (stamp, message))?,
            _ => self.settings.activity_mode,
        };
        activity.intent = Some(intent);
        self.activities.push(activity);
        let position = self.activities.len() - 1;
        self.begin(position, mode);
        Ok(position)
    }

    fn begin(&mut self, position: usize, mode: Mode) {
        let now = self.now();
        let activity = &mut self.activities[position];
        match mode {
            Mode::Completed => self.complete(position),
            Mode::Pending => activity.status = Status::Pending,
            Mode::Created => activity.status = Status::Created,
            Mode::Consensus => activity.status = Status::ConsensusNeeded,
            Mode::AuthenticatorsNeeded => activity.status = Status::AuthenticatorsNeeded,
            Mode::UnknownStatus => activity.status = Status::Novel,
            Mode::Failed => activity.end(Err(Problem::invalid("the activity failed")), now),
        }
    }

    /// Refuses what Turnkey refuses at once, instead of making an activity that fails.
    fn check(&self, intent: &Intent, call: &Call) -> Result<(), Problem> {
        match intent {
            Intent::CreateInvitations(invitations) => {
                let new = call.taken(invitations.len());
                self.check_quota(new)
            }
            Intent::DeleteInvitation(id) => {
                self.open_invitation(id).map(|_| ()).ok_or_else(|| Problem::absent("invitation"))
            }
            Intent::Approve(_) | Intent::Reject(_) => Ok(()),
        }
    }

    fn check_quota(&self, new: usize) -> Result<(), Problem> {
        let open = self.invitations.iter().filter(|own| own.fate == Fate::Created).count();
        let limit = self.settings.quota;
        if open + new > limit { Err(Problem::too_many_invitations(limit)) } else { Ok(()) }
    }

    fn open_invitation(&self, id: &str) -> Option<usize> {
        self.invitations.iter().position(|own| own.id == id && own.fate == Fate::Created)
    }

    /// Votes on the activity with the fingerprint `target`.
    fn ballot(
        &mut self,
        target: &str,
        user: &'static User,
        approve: bool,
        proof: (Stamp, String),
    ) -> Result<Mode, Problem> {
        let position = self.by_fingerprint(target).ok_or_else(|| Problem::absent("activity"))?;
        if self.activities[position].status != Status::ConsensusNeeded {
            return Err(Problem::invalid("the activity does not need consensus"));
        }
        self.enter_vote(position, user, approve, proof);
        Ok(Mode::Completed)
    }

    /// Enters a vote. Enough approvals complete the activity, and one rejection ends it.
    pub fn enter_vote(
        &mut self,
        position: usize,
        user: &'static User,
        approve: bool,
        proof: (Stamp, String),
    ) {
        let now = self.now();
        let needed = self.settings.votes_needed;
        let activity = &mut self.activities[position];
        activity.vote(user, approve, proof, now);
        if !approve {
            activity.status = Status::Rejected;
        } else if activity.approvals() >= needed {
            self.complete(position);
        }
    }

    pub fn by_fingerprint(&self, fingerprint: &str) -> Option<usize> {
        self.activities.iter().position(|activity| activity.fingerprint == fingerprint)
    }

    /// Counts a look at an activity, which completes after enough of them.
    pub fn look(&mut self, position: usize) {
        let activity = &mut self.activities[position];
        if matches!(activity.status, Status::Created | Status::Pending) {
            match activity.looks_left.checked_sub(1) {
                Some(left) => activity.looks_left = left,
                None => self.complete(position),
            }
        }
    }

    fn complete(&mut self, position: usize) {
        let now = self.now();
        let outcome = match self.activities[position].intent.clone() {
            Some(Intent::CreateInvitations(invitations)) => self.invite(position, invitations),
            Some(Intent::DeleteInvitation(id)) => self.delete(&id),
            Some(Intent::Approve(_) | Intent::Reject(_)) | None => Ok(json!({})),
        };
        self.activities[position].end(outcome, now);
    }

    fn invite(&mut self, position: usize, asked: Vec<InvitationParams>) -> Result<Value, Problem> {
        let now = self.now();
        let activity = &self.activities[position];
        let (activity_id, fingerprint) = (activity.id.clone(), activity.fingerprint.clone());
        let request = activity.request;
        let (count, first) = (asked.len(), activity.only_first.unwrap_or(usize::MAX));
        self.check_quota(count.min(first))?;
        let mut ids = Vec::new();
        for params in asked.into_iter().take(first) {
            let id = ids::random().to_string();
            ids.push(id.clone());
            self.invitations.push(Invitation {
                id,
                params,
                fate: Fate::Created,
                created_at: now,
                updated_at: now,
                request,
                activity: activity_id.clone(),
                fingerprint: fingerprint.clone(),
            });
        }
        if ids.len() < count {
            // A fault has cut the batch short.
            return Err(Problem::of_status(http::StatusCode::INTERNAL_SERVER_ERROR));
        }
        Ok(json!({ "createInvitationsResult": { "invitationIds": ids } }))
    }

    pub fn delete(&mut self, id: &str) -> Result<Value, Problem> {
        let now = self.now();
        let position = self.open_invitation(id).ok_or_else(|| Problem::absent("invitation"))?;
        self.invitations[position].fate = Fate::Deleted;
        self.invitations[position].updated_at = now;
        Ok(json!({ "deleteInvitationResult": { "invitationId": id } }))
    }

    /// Lets the invitee accept, for which the dashboard submits an activity of its own.
    pub fn accept(&mut self, id: &str) -> Option<()> {
        let now = self.now();
        let position = self.open_invitation(id)?;
        self.invitations[position].fate = Fate::Accepted;
        self.invitations[position].updated_at = now;
        let accepted = json!({ "invitationId": id, "userId": ids::random().to_string() });
        let intent = json!({ "acceptInvitationIntentV2": &accepted });
        let mut activity = Activity::new(ACCEPT_INVITATION, intent, now);
        activity.fingerprint = fingerprint(activity.id.as_bytes());
        activity.end(Ok(json!({ "acceptInvitationResult": accepted })), now);
        self.activities.push(activity);
        Some(())
    }

    pub fn has_invitation(&self, id: &str) -> bool {
        self.invitations.iter().any(|own| own.id == id)
    }

    /// The page of activities that is asked for, newest first.
    pub fn list(&self, listing: &Listing) -> Result<Vec<&Activity>, Problem> {
        let newest = self.settings.shared.newest_listed();
        let wanted = |activity: &&Activity| {
            let name = activity.status.name();
            activity.created_at <= newest
                && (listing.statuses.is_empty() || listing.statuses.iter().any(|s| s == name))
                && (listing.types.is_empty()
                    || listing.types.iter().any(|t| t == activity.type_name))
        };
        let place = |id: &String| {
            let found = self.activities.iter().rev().position(|activity| activity.id == *id);
            found.ok_or_else(|| Problem::invalid(format!("no activity for the cursor {id:?}")))
        };
        let (mut after, mut before) = (
            listing.after.as_ref().map(place).transpose()?,
            listing.before.as_ref().map(place).transpose()?,
        );
        if self.settings.cursor_order == CursorOrder::Time {
            std::mem::swap(&mut after, &mut before);
        }
        let first = after.map_or(0, |place| place + 1);
        let end = before.unwrap_or(self.activities.len());
        let span = self.activities.iter().rev().take(end).skip(first).filter(wanted);
        if after.is_none() && before.is_some() {
            // The page ends at the cursor, and is still newest first.
            let span: Vec<&Activity> = span.collect();
            return Ok(span[span.len().saturating_sub(listing.limit)..].to_vec());
        }
        Ok(span.take(listing.limit).collect())
    }

    /// `organizationData` of `get_organization`.
    pub fn organization_json(&self) -> Value {
        let vanish = self.settings.deleted_invitations == DeletedInvitations::Vanish;
        let shown = |own: &&Invitation| !(vanish && own.fate == Fate::Deleted);
        let spelling = &self.settings.shared.spelling;
        let invitations = self.invitations.iter().filter(shown).map(|own| own.json(spelling));
        json!({
            "organizationId": accounts::TURNKEY_ORGANIZATION_ID,
            "name": ORGANIZATION_NAME,
            "invitations": invitations.collect::<Vec<_>>(),
            "tags": [],
        })
    }
}
