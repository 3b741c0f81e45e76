//! The invites and members of an RKVST tenancy, the settings, and what they look like on the wire.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::tokens::Tokens;
use crate::simulator::Effect;
use crate::{accounts, clock, ids};

/// The body of the answer to a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DeleteAnswer {
    /// 200 with `{}`, as in the swagger.
    Object,
    /// 200 without a body, as in the prose.
    Empty,
    /// 204.
    NoContent,
}

/// The form of error bodies; the vendor documents none since 2023.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ErrorBody {
    /// `{"code":5,"message":"...","details":[]}`
    RpcStatus,
    /// `{"error":"..."}`
    Error,
    /// Plain text.
    Text,
}

/// Which members a create must have: the prose and the swagger contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Required {
    Both,
    Email,
    Message,
}

/// What can be changed while the simulator runs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Settings {
    pub clock_offset_ms: i64,
    pub rate_per_second: Option<f64>,
    /// The most that a page holds, and what it holds if no size is asked for.
    pub page_size_cap: usize,
    pub delete_answer: DeleteAnswer,
    pub error_body: ErrorBody,
    pub required: Required,
    /// How many invites may be pending.
    pub quota: Option<usize>,
    /// For how long a new invite is not yet found by list.
    pub list_lag_ms: i64,
    pub token_lifetime_seconds: i64,
    /// Client secrets and tokens that are good no longer.
    pub revoked_credentials: Vec<String>,
    /// Whether the tokens that were got with a client secret end when it is revoked.
    pub revocation_ends_tokens: bool,
    pub invite_lifetime_seconds: i64,
    /// Whether an expired invite is no longer found at all.
    pub purge_expired: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            clock_offset_ms: 0,
            rate_per_second: None,
            page_size_cap: 100,
            delete_answer: DeleteAnswer::Object,
            error_body: ErrorBody::RpcStatus,
            required: Required::Both,
            quota: None,
            list_lag_ms: 0,
            token_lifetime_seconds: 3_600,
            revoked_credentials: Vec::new(),
            revocation_ends_tokens: false,
            invite_lifetime_seconds: 10 * 86_400,
            purge_expired: false,
        }
    }
}

/// What became of an invite. Only a pending one is visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Pending,
    Accepted,
    Deleted,
}

#[derive(Debug)]
pub(super) struct Invite {
    pub id: String,
    pub email: String,
    message: String,
    expiry_time: Timestamp,
    created_at: Timestamp,
    pub fate: Fate,
    request: u64,
}

#[derive(Debug)]
pub(super) struct Member {
    id: String,
    display_name: String,
    email: String,
    role: &'static str,
}

/// Everything that this tenancy knows. Invites are never taken out of their list, so that a
/// position in it can serve as the place where the next page begins.
#[derive(Debug)]
pub(super) struct State {
    pub settings: Settings,
    pub tokens: Tokens,
    pub invites: Vec<Invite>,
    pub members: Vec<Member>,
}

impl Default for State {
    fn default() -> Self {
        let owner = Member {
            id: ids::random().to_string(),
            display_name: "Owner".to_owned(),
            email: accounts::RKVST_OWNER_EMAIL.to_owned(),
            role: "OWNER",
        };
        Self {
            settings: Settings::default(),
            tokens: Tokens::default(),
            invites: Vec::new(),
            members: vec![owner],
        }
    }
}

impl State {
    pub fn now(&self) -> Timestamp {
        clock::shifted(clock::now(), self.settings.clock_offset_ms)
    }

    pub fn add_invite(&mut self, email: String, message: String, request: u64) -> &Invite {
        let now = self.now();
        let lifetime = jiff::SignedDuration::from_secs(self.settings.invite_lifetime_seconds);
        self.invites.push(Invite {
            id: ids::random().to_string(),
            email,
            message,
            expiry_time: now.checked_add(lifetime).unwrap_or(Timestamp::MAX),
            created_at: now,
            fate: Fate::Pending,
            request,
        });
        &self.invites[self.invites.len() - 1]
    }

    /// Whether the API still shows an invite.
    pub fn visible(&self, invite: &Invite) -> bool {
        let purged = self.settings.purge_expired && invite.expiry_time <= self.now();
        invite.fate == Fate::Pending && !purged
    }

    /// Whether the list shows an invite already.
    pub fn listed(&self, invite: &Invite) -> bool {
        let newest = clock::shifted(self.now(), -self.settings.list_lag_ms);
        self.visible(invite) && invite.created_at <= newest
    }

    pub fn pending(&self) -> usize {
        self.invites.iter().filter(|invite| self.visible(invite)).count()
    }

    /// The invitee redeems: the invite is deleted, a member appears.
    pub fn accept(&mut self, position: usize) {
        let Some(invite) = self.invites.get_mut(position) else { return };
        invite.fate = Fate::Accepted;
        let display_name = invite.email.split('@').next().unwrap_or_default().to_owned();
        let email = invite.email.clone();
        let id = ids::random().to_string();
        self.members.push(Member { id, display_name, email, role: "USER" });
    }

    /// Time passes for one invite.
    pub fn expire(&mut self, position: usize) {
        let past = clock::shifted(self.now(), -1_000);
        if let Some(invite) = self.invites.get_mut(position) {
            invite.expiry_time = past;
        }
    }

    pub fn effects(&self) -> Vec<Effect> {
        self.invites.iter().map(|invite| invite.effect(self.now())).collect()
    }
}

impl Invite {
    pub fn json(&self) -> Value {
        json!({
            "identity": format!("invites/{}", self.id),
            "message": self.message,
            "email": self.email,
            "expiry_time": self.expiry_time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        })
    }

    fn effect(&self, now: Timestamp) -> Effect {
        let status = match self.fate {
            Fate::Accepted => "accepted",
            Fate::Deleted => "deleted",
            Fate::Pending if self.expiry_time <= now => "expired",
            Fate::Pending => "pending",
        };
        Effect {
            id: format!("invites/{}", self.id),
            email: self.email.clone(),
            name: None,
            phone: None,
            message: Some(self.message.clone()),
            event_id: None,
            tenant_id: Some(accounts::RKVST_TENANT_ID.to_owned()),
            organization_id: None,
            status: status.to_owned(),
            created_at: self.created_at.to_string(),
            request: self.request,
            activity_id: None,
            fingerprint: None,
        }
    }
}

impl Member {
    pub fn json(&self) -> Value {
        json!({
            "identity": format!("members/{}", self.id),
            "display_name": self.display_name,
            "email": self.email,
            "active": true,
            "roles": [self.role],
        })
    }
}
