//! An activity, its votes and its end. What completing it does to the organization is in `store`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::keys::User;
use super::request::{
    APPROVE_ACTIVITY, CREATE_INVITATIONS, DELETE_INVITATION, Intent, InvitationParams,
    REJECT_ACTIVITY,
};
use super::rpc::Problem;
use super::stamp::Stamp;
use crate::ids;
use crate::spelling::Spellings;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Created,
    Pending,
    Completed,
    Failed,
    ConsensusNeeded,
    Rejected,
    AuthenticatorsNeeded,
    /// A status that no client knows.
    Novel,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "ACTIVITY_STATUS_CREATED",
            Self::Pending => "ACTIVITY_STATUS_PENDING",
            Self::Completed => "ACTIVITY_STATUS_COMPLETED",
            Self::Failed => "ACTIVITY_STATUS_FAILED",
            Self::ConsensusNeeded => "ACTIVITY_STATUS_CONSENSUS_NEEDED",
            Self::Rejected => "ACTIVITY_STATUS_REJECTED",
            Self::AuthenticatorsNeeded => "ACTIVITY_STATUS_AUTHENTICATORS_NEEDED",
            Self::Novel => "ACTIVITY_STATUS_AWAITING_REVIEW",
        }
    }
}

/// A user's vote, with the stamp that proves it.
#[derive(Debug)]
struct Vote {
    id: String,
    user: &'static User,
    approved: bool,
    message: String,
    stamp: Stamp,
    at: Timestamp,
}

/// An activity.
#[derive(Debug)]
pub(super) struct Activity {
    pub id: String,
    pub organization: String,
    pub type_name: &'static str,
    pub status: Status,
    /// What it does when it completes. Those that the control endpoints make do nothing.
    pub intent: Option<Intent>,
    pub intent_json: Value,
    pub result: Value,
    pub failure: Option<Problem>,
    pub fingerprint: String,
    pub timestamp_ms: i64,
    pub request: u64,
    pub only_first: Option<usize>,
    /// How often it is looked at until it completes.
    pub looks_left: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    votes: Vec<Vote>,
}

impl Activity {
    pub fn new(type_name: &'static str, intent_json: Value, now: Timestamp) -> Self {
        Self {
            id: ids::ordered(now).to_string(),
            organization: crate::accounts::TURNKEY_ORGANIZATION_ID.to_owned(),
            type_name,
            status: Status::Created,
            intent: None,
            intent_json,
            result: json!({}),
            failure: None,
            fingerprint: String::new(),
            timestamp_ms: now.as_millisecond(),
            request: 0,
            only_first: None,
            looks_left: 0,
            created_at: now,
            updated_at: now,
            votes: Vec::new(),
        }
    }

    /// Enters a vote, of which a user has one. Submitting an activity approves it.
    pub fn vote(
        &mut self,
        user: &'static User,
        approved: bool,
        (stamp, message): (Stamp, String),
        now: Timestamp,
    ) {
        if self.votes.iter().all(|vote| vote.user.id != user.id || vote.approved != approved) {
            let id = ids::random().to_string();
            self.votes.push(Vote { id, user, approved, message, stamp, at: now });
            self.updated_at = now;
        }
    }

    pub fn approvals(&self) -> usize {
        self.votes.iter().filter(|vote| vote.approved).count()
    }

    pub fn end(&mut self, outcome: Result<Value, Problem>, now: Timestamp) {
        self.updated_at = now;
        match outcome {
            Ok(result) => {
                self.status = Status::Completed;
                self.result = result;
            }
            Err(problem) => {
                self.status = Status::Failed;
                self.failure = Some(problem);
            }
        }
    }

    /// The activity as a user sees it. As in recorded answers there is no `appProofs`, and `failure` may be null.
    pub fn json(&self, viewer: &str) -> Value {
        let voted = self.votes.iter().any(|vote| vote.user.id == viewer);
        json!({
            "id": self.id,
            "organizationId": self.organization,
            "status": self.status.name(),
            "type": self.type_name,
            "intent": self.intent_json,
            "result": self.result,
            "votes": self.votes.iter().map(|vote| vote.json(&self.id)).collect::<Vec<_>>(),
            "fingerprint": self.fingerprint,
            "canApprove": self.status == Status::ConsensusNeeded && !voted,
            // True for completed activities, too, as in recorded answers.
            "canReject": true,
            "createdAt": moment(self.created_at),
            "updatedAt": moment(self.updated_at),
            "failure": self.failure.as_ref().map(Problem::rpc_status),
        })
    }

    /// The activity in the shape of the vendor's page, which nests it in itself.
    pub fn nested_json(&self, viewer: &str) -> Value {
        let mut inner = self.json(viewer);
        inner["createdAt"] = Value::from(self.created_at.to_string());
        inner["updatedAt"] = Value::from(self.updated_at.to_string());
        json!({
            "id": self.id,
            "status": self.status.name(),
            "type": self.type_name,
            "organizationId": self.organization,
            "timestampMs": self.timestamp_ms.to_string(),
            "result": { "activity": inner },
        })
    }
}

impl Vote {
    fn json(&self, activity: &str) -> Value {
        json!({
            "id": self.id,
            "userId": self.user.id,
            "user": {
                "userId": self.user.id,
                "userName": self.user.name,
                "userEmail": self.user.email,
                "userTags": [],
                "createdAt": moment(self.at),
                "updatedAt": moment(self.at),
            },
            "activityId": activity,
            "selection":
                if self.approved { "VOTE_SELECTION_APPROVED" } else { "VOTE_SELECTION_REJECTED" },
            "message": self.message,
            "publicKey": self.stamp.public_key,
            "signature": self.stamp.signature,
            "scheme": self.stamp.scheme,
            "createdAt": moment(self.at),
        })
    }
}

impl Intent {
    /// The activity's type, and the intent as it shows it.
    pub fn shown(&self, spelling: &Spellings) -> (&'static str, Value) {
        match self {
            Self::CreateInvitations(invitations) => {
                let invitations: Vec<Value> =
                    invitations.iter().map(|own| own.json(spelling)).collect();
                let intent = json!({ "createInvitationsIntent": { "invitations": invitations } });
                (CREATE_INVITATIONS, intent)
            }
            Self::DeleteInvitation(id) => {
                (DELETE_INVITATION, json!({ "deleteInvitationIntent": { "invitationId": id } }))
            }
            Self::Approve(fingerprint) => {
                let intent = json!({ "approveActivityIntent": { "fingerprint": fingerprint } });
                (APPROVE_ACTIVITY, intent)
            }
            Self::Reject(fingerprint) => {
                let intent = json!({ "rejectActivityIntent": { "fingerprint": fingerprint } });
                (REJECT_ACTIVITY, intent)
            }
        }
    }
}

impl InvitationParams {
    fn json(&self, spelling: &Spellings) -> Value {
        json!({
            "receiverUserName": spelling.text(&self.user_name),
            "receiverUserEmail": spelling.address(&self.user_email),
            "receiverUserTags": self.user_tags,
            "accessType": self.access_type,
            "senderUserId": self.sender_user_id,
        })
    }
}

/// A time as Turnkey writes it, with strings for both members.
pub(super) fn moment(at: Timestamp) -> Value {
    json!({ "seconds": at.as_second().to_string(), "nanos": at.subsec_nanosecond().to_string() })
}
