//! An invitation of Turnkey, as the organization shows it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::activity::moment;
use super::request::InvitationParams;
use crate::accounts;
use crate::simulator::Effect;
use crate::spelling::Spellings;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Created,
    Accepted,
    Deleted,
}

#[derive(Debug)]
pub(super) struct Invitation {
    pub id: String,
    pub params: InvitationParams,
    pub fate: Fate,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub request: u64,
    pub activity: String,
    pub fingerprint: String,
}

impl Invitation {
    /// The address has another name here than in requests: `receiverEmail`.
    pub fn json(&self, spelling: &Spellings) -> Value {
        let status = match self.fate {
            Fate::Created => "INVITATION_STATUS_CREATED",
            Fate::Accepted => "INVITATION_STATUS_ACCEPTED",
            Fate::Deleted => "INVITATION_STATUS_REVOKED",
        };
        json!({
            "invitationId": self.id,
            "receiverUserName": spelling.text(&self.params.user_name),
            "receiverEmail": spelling.address(&self.params.user_email),
            "receiverUserTags": self.params.user_tags,
            "accessType": self.params.access_type,
            "status": status,
            "createdAt": moment(self.created_at),
            "updatedAt": moment(self.updated_at),
            "senderUserId": self.params.sender_user_id,
        })
    }

    pub fn effect(&self) -> Effect {
        let status = match self.fate {
            Fate::Created => "created",
            Fate::Accepted => "accepted",
            Fate::Deleted => "deleted",
        };
        Effect {
            id: self.id.clone(),
            email: self.params.user_email.clone(),
            name: Some(self.params.user_name.clone()),
            organization_id: Some(accounts::TURNKEY_ORGANIZATION_ID.to_owned()),
            status: status.to_owned(),
            created_at: self.created_at.to_string(),
            request: self.request,
            activity_id: Some(self.activity.clone()),
            fingerprint: Some(self.fingerprint.clone()),
            ..Effect::default()
        }
    }
}
