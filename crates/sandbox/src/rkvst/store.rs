//! The invites and members of RKVST's tenancies, and how its API shows them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::settings::{ExpiryShown, Settings};
use super::tokens::Tokens;
use crate::simulator::Effect;
use crate::spelling::Spellings;
use crate::{accounts, clock, ids};

/// What became of an invite. The API shows only a pending one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Pending,
    Accepted,
    Deleted,
}

#[derive(Debug)]
pub(super) struct Invite {
    pub id: String,
    pub tenant: &'static str,
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
    pub tenant: &'static str,
    display_name: String,
    email: String,
    role: &'static str,
}

/// Everything that the simulator knows. Invites are never removed, so that a position in their list can say where the
/// next page begins.
#[derive(Debug)]
pub(super) struct State {
    pub settings: Settings,
    pub tokens: Tokens,
    pub invites: Vec<Invite>,
    pub members: Vec<Member>,
}

impl Default for State {
    fn default() -> Self {
        let owner = |tenant| Member {
            id: ids::random().to_string(),
            tenant,
            display_name: "Owner".to_owned(),
            email: accounts::RKVST_OWNER_EMAIL.to_owned(),
            role: "OWNER",
        };
        Self {
            settings: Settings::default(),
            tokens: Tokens::default(),
            invites: Vec::new(),
            members: vec![
                owner(accounts::RKVST_TENANT_ID),
                owner(accounts::RKVST_FOREIGN_TENANT_ID),
            ],
        }
    }
}

impl State {
    pub fn now(&self) -> Timestamp {
        self.settings.shared.now()
    }

    pub fn add_invite(
        &mut self,
        tenant: &'static str,
        email: String,
        message: String,
        request: u64,
    ) {
        let now = self.now();
        let lifetime = jiff::SignedDuration::from_secs(self.settings.invite_lifetime_seconds);
        self.invites.push(Invite {
            id: ids::random().to_string(),
            tenant,
            email,
            message,
            expiry_time: now.checked_add(lifetime).unwrap_or(Timestamp::MAX),
            created_at: now,
            fate: Fate::Pending,
            request,
        });
    }

    /// Whether the API still knows an invite.
    pub fn visible(&self, invite: &Invite) -> bool {
        let purged = self.settings.purge_expired && invite.expiry_time <= self.now();
        invite.fate == Fate::Pending && !purged
    }

    /// Whether lists show an invite already.
    pub fn listed(&self, invite: &Invite) -> bool {
        self.visible(invite) && invite.created_at <= self.settings.shared.newest_listed()
    }

    pub fn pending(&self, tenant: &str) -> usize {
        let pending = |own: &&Invite| own.tenant == tenant && self.visible(own);
        self.invites.iter().filter(pending).count()
    }

    /// Lets the invitee redeem the invite, which goes away and makes a member.
    pub fn accept(&mut self, position: usize) {
        let Some(invite) = self.invites.get_mut(position) else { return };
        invite.fate = Fate::Accepted;
        let display_name = invite.email.split('@').next().unwrap_or_default().to_owned();
        let (tenant, email) = (invite.tenant, invite.email.clone());
        let id = ids::random().to_string();
        self.members.push(Member { id, tenant, display_name, email, role: "USER" });
    }

    /// Lets the time of one invite run out.
    pub fn expire(&mut self, position: usize) {
        let past = clock::shifted(self.now(), -1_000);
        if let Some(invite) = self.invites.get_mut(position) {
            invite.expiry_time = past;
        }
    }
}

impl Invite {
    pub fn json(&self, settings: &Settings) -> Value {
        let spelling = &settings.shared.spelling;
        let expiry_time = match settings.expiry_shown {
            ExpiryShown::Real => self.expiry_time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            ExpiryShown::Zero => "0001-01-01T00:00:00Z".to_owned(),
            ExpiryShown::Epoch => "1970-01-01T00:00:00Z".to_owned(),
        };
        json!({
            "identity": format!("invites/{}", self.id),
            "message": spelling.text(&self.message),
            "email": spelling.address(&self.email),
            "expiry_time": expiry_time,
        })
    }

    pub fn effect(&self, now: Timestamp) -> Effect {
        let status = match self.fate {
            Fate::Accepted => "accepted",
            Fate::Deleted => "deleted",
            Fate::Pending if self.expiry_time <= now => "expired",
            Fate::Pending => "pending",
        };
        Effect {
            id: format!("invites/{}", self.id),
            email: self.email.clone(),
            message: Some(self.message.clone()),
            tenant_id: Some(self.tenant.to_owned()),
            status: status.to_owned(),
            created_at: self.created_at.to_string(),
            request: self.request,
            ..Effect::default()
        }
    }
}

impl Member {
    pub fn json(&self, spelling: &Spellings) -> Value {
        json!({
            "identity": format!("members/{}", self.id),
            "display_name": spelling.text(&self.display_name),
            "email": spelling.address(&self.email),
            "active": true,
            "roles": [self.role],
        })
    }
}
