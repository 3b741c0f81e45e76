//! The events and invites of Securegate, and how its API shows them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::request::{EventCreate, InviteCreate};
use crate::settings::Shared;
use crate::simulator::Effect;
use crate::{accounts, clock, ids};

/// How timestamps are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Timestamps {
    /// `2023-02-28T12:00:00Z`, as in the samples.
    Zoned,
    /// `2023-02-28T12:00:00.000000`, as FastAPI writes a date without a zone.
    Naive,
    /// `created_at` zoned, `updated_at` naive: both forms in one answer.
    Mixed,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Settings {
    #[serde(flatten)]
    pub shared: Shared,
    pub timestamps: Timestamps,
    /// The status for a wrong key: 401 or 403.
    pub unauthorized_status: u16,
    pub initial_status: String,
    /// So many invites an event may have.
    pub quota: Option<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shared: Shared::default(),
            timestamps: Timestamps::Mixed,
            unauthorized_status: 403,
            initial_status: "pending".to_owned(),
            quota: None,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Invite {
    pub id: String,
    pub event_id: String,
    pub asked: InviteCreate,
    pub status: String,
    pub created_at: Timestamp,
    updated_at: Timestamp,
    session_code: String,
    pub session_id: String,
    request: u64,
}

#[derive(Debug)]
pub(super) struct Event {
    pub id: String,
    asked: EventCreate,
    pub is_deleted: bool,
    created_at: Timestamp,
}

/// Everything that the simulator knows.
#[derive(Debug)]
pub(super) struct State {
    pub settings: Settings,
    pub events: Vec<Event>,
    pub invites: Vec<Invite>,
}

impl Default for State {
    fn default() -> Self {
        let mut state =
            Self { settings: Settings::default(), events: Vec::new(), invites: Vec::new() };
        let day = 86_400;
        let today = clock::now().as_second();
        for (id, title, start, end) in [
            (accounts::SECUREGATE_EVENT_ID, "Spring Gala", today - day, today + 365 * day),
            (accounts::SECUREGATE_UPCOMING_EVENT_ID, "Autumn Fair", today + day, today + 2 * day),
            (accounts::SECUREGATE_ENDED_EVENT_ID, "Winter Ball", today - 3 * day, today - 2 * day),
        ] {
            state.add_event(EventCreate {
                title: title.to_owned(),
                description: json!("An event of the sandbox"),
                instructions: Value::Null,
                image_url: Value::Null,
                location: json!({
                    "address": "1 Main Street", "city": "Springfield", "state": "IL",
                    "zipCode": "62701", "country": "US",
                }),
                start_timestamp: start,
                end_timestamp: end,
                kind: "dated".to_owned(),
                is_deleted: false,
            });
            if let Some(event) = state.events.last_mut() {
                event.id = id.to_owned();
            }
        }
        state
    }
}

impl State {
    pub fn now(&self) -> Timestamp {
        self.settings.shared.now()
    }

    pub fn event(&self, id: &str) -> Option<&Event> {
        self.events.iter().find(|event| event.id == id)
    }

    pub fn add_event(&mut self, asked: EventCreate) -> &Event {
        let id = format!("evt_{}", &ids::random().simple().to_string()[..12]);
        let created_at = self.now();
        let is_deleted = asked.is_deleted;
        self.events.push(Event { id, asked, is_deleted, created_at });
        &self.events[self.events.len() - 1]
    }

    pub fn add_invite(&mut self, event_id: &str, asked: InviteCreate, request: u64) -> Invite {
        let now = self.now();
        let invite = Invite {
            id: format!("invite-{}", &ids::random().simple().to_string()[..12]),
            event_id: event_id.to_owned(),
            asked,
            status: self.settings.initial_status.clone(),
            created_at: now,
            updated_at: now,
            session_code: ids::code(6),
            session_id: format!("session-{}", &ids::random().simple().to_string()[..12]),
            request,
        };
        self.invites.push(invite.clone());
        invite
    }

    /// The invites that lists and look-ups find already.
    pub fn found(&self) -> impl Iterator<Item = &Invite> {
        let newest = self.settings.shared.newest_listed();
        self.invites.iter().filter(move |invite| invite.created_at <= newest)
    }

    pub fn set_status(&mut self, id: &str, status: &str) -> Option<Invite> {
        let now = self.now();
        let invite = self.invites.iter_mut().find(|invite| invite.id == id)?;
        invite.status = status.to_owned();
        invite.updated_at = now;
        Some(invite.clone())
    }

    /// An invite as `POST` shows it, without members that are null.
    pub fn new_invite_json(&self, invite: &Invite) -> Value {
        let (form, spelling) = (self.settings.timestamps, &self.settings.shared.spelling);
        json!({
            "id": invite.id,
            "first_name": spelling.text(&invite.asked.first_name),
            "last_name": spelling.text(&invite.asked.last_name),
            "email": spelling.address(&invite.asked.email),
            "country_code": invite.asked.country_code,
            "mobile_number": invite.asked.mobile_number,
            "authentication_method": invite.asked.authentication_method,
            "event_id": invite.event_id,
            "session_code": invite.session_code,
            "session_id": invite.session_id,
            "status": invite.status,
            "created_at": written(invite.created_at, form != Timestamps::Naive),
            "updated_at": written(invite.updated_at, form == Timestamps::Zoned),
        })
    }

    /// An invite as `GET` and `PUT` show it, with members that are null. As in the sample of the update, a guest who
    /// accepted has an image, an id at Onyxplus and a ticket.
    pub fn invite_json(&self, invite: &Invite) -> Value {
        let mut shown = self.new_invite_json(invite);
        let accepted = |text: String| match invite.status == "accepted" {
            true => Value::String(text),
            false => Value::Null,
        };
        let id = &invite.id;
        shown["image"] = accepted(format!("https://example.com/profile-photos/{id}.jpg"));
        shown["last_seen"] = Value::Null;
        shown["onyxplus_id"] = accepted(format!("onyx-{id}"));
        shown["ticket_id"] = accepted(format!("ticket-{id}"));
        shown
    }

    pub fn event_json(&self, event: &Event) -> Value {
        json!({
            "id": event.id,
            "title": event.asked.title,
            "description": event.asked.description,
            "instructions": event.asked.instructions,
            "imageUrl": event.asked.image_url,
            "location": event.asked.location,
            "start_timestamp": event.asked.start_timestamp,
            "end_timestamp": event.asked.end_timestamp,
            "type": event.asked.kind,
            "is_deleted": event.is_deleted,
            "created_at": written(event.created_at, self.settings.timestamps == Timestamps::Zoned),
        })
    }

    /// An event as `GET /events/{event_id}` shows it, with its status and the counts of its invites.
    pub fn event_with_stats_json(&self, event: &Event) -> Value {
        let invites = self.invites.iter().filter(|invite| invite.event_id == event.id);
        let count = |status: &str| invites.clone().filter(|invite| invite.status == status).count();
        let mut shown = self.event_json(event);
        shown["status"] = Value::from(self.phase(event));
        shown["invite_stats"] = json!({
            "sent": count("sent"),
            "accepted": count("accepted"),
            "pending": count("pending"),
            "rejected": count("rejected"),
            "total": invites.clone().count(),
        });
        shown
    }

    /// The list of `GET /events` that an event stands in.
    pub fn phase(&self, event: &Event) -> &'static str {
        let now = self.now().as_second();
        // The samples write event times in seconds in one place and in milliseconds in another.
        let seconds = |time: i64| if time > 100_000_000_000 { time / 1_000 } else { time };
        if event.is_deleted {
            "archived"
        } else if seconds(event.asked.end_timestamp) < now {
            "ended"
        } else if seconds(event.asked.start_timestamp) > now {
            "up_coming"
        } else {
            "ongoing"
        }
    }
}

impl Invite {
    pub fn effect(&self) -> Effect {
        Effect {
            id: self.id.clone(),
            email: self.asked.email.clone(),
            name: Some(format!("{} {}", self.asked.first_name, self.asked.last_name)),
            phone: Some(format!("+{}{}", self.asked.country_code, self.asked.mobile_number)),
            event_id: Some(self.event_id.clone()),
            status: self.status.clone(),
            created_at: self.created_at.to_string(),
            request: self.request,
            ..Effect::default()
        }
    }
}

fn written(at: Timestamp, zoned: bool) -> String {
    let form = if zoned { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S.%6f" };
    at.strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_have_both_documented_forms() {
        let at = "2023-01-15T10:30:00Z".parse().unwrap();
        assert_eq!(written(at, true), "2023-01-15T10:30:00Z");
        assert_eq!(written(at, false), "2023-01-15T10:30:00.000000");
    }
}
