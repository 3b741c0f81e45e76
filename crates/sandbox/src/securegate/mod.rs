//! The simulator of Securegate: routes, the check of the key, and what each endpoint does. `request` and `validation`
//! validate requests, `store` keeps what comes of them.

mod problem;
mod request;
mod store;
mod validation;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use self::problem::Problem;
use self::store::State;
use crate::accounts;
use crate::settings::{self, Shared};
use crate::simulator::{
    Call, ControlError, Effect, Operation, Refusal, Reply, Simulator, json as json_reply,
    set_header,
};

/// A Securegate with three events and no invites.
pub(crate) fn simulator() -> Box<dyn Simulator> {
    Box::<State>::default()
}

/// What a request line asks for.
#[derive(Debug, Clone, Copy)]
enum Route<'a> {
    CreateInvites(&'a str),
    ListInvites(&'a str),
    UpdateStatus(&'a str, &'a str),
    GetInvite(&'a str),
    Lookup,
    GetInviteWithEvent,
    CreateEvent,
    ListEvents,
    GetEvent(&'a str),
    DeleteEvent(&'a str),
    /// The path exists, but only with this method.
    OtherMethod(&'static str),
    Nowhere,
}

fn route<'a>(method: &Method, path: &'a str) -> Route<'a> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match (method.as_str(), segments.as_slice()) {
        (_, segments) if segments.contains(&"") => Route::Nowhere,
        ("POST", ["events", event, "invites"]) => Route::CreateInvites(event),
        ("GET", ["events", event, "invites"]) => Route::ListInvites(event),
        (_, ["events", _, "invites"]) => Route::OtherMethod("POST"),
        ("PUT", ["events", event, "invites", invite]) => Route::UpdateStatus(event, invite),
        (_, ["events", _, "invites", _]) => Route::OtherMethod("PUT"),
        ("GET", ["invites", invite]) => Route::GetInvite(invite),
        ("GET", ["invites"]) => Route::Lookup,
        ("GET", ["invites-with-event"]) => Route::GetInviteWithEvent,
        (_, ["invites", _] | ["invites"] | ["invites-with-event"]) => Route::OtherMethod("GET"),
        ("POST", ["events"]) => Route::CreateEvent,
        ("GET", ["events"]) => Route::ListEvents,
        (_, ["events"]) => Route::OtherMethod("POST"),
        ("GET", ["events", event]) => Route::GetEvent(event),
        ("DELETE", ["events", event]) => Route::DeleteEvent(event),
        (_, ["events", _]) => Route::OtherMethod("GET"),
        _ => Route::Nowhere,
    }
}

impl Simulator for State {
    fn account(&self) -> &'static crate::Account {
        &accounts::SECUREGATE
    }

    fn operation(&self, method: &Method, path: &str) -> Operation {
        match route(method, path) {
            Route::CreateInvites(_) => Operation::Create,
            Route::ListInvites(_) => Operation::List,
            Route::UpdateStatus(..) => Operation::UpdateStatus,
            Route::GetInvite(_) | Route::GetInviteWithEvent => Operation::Get,
            Route::Lookup => Operation::Lookup,
            Route::CreateEvent | Route::ListEvents => Operation::Event,
            Route::GetEvent(_) | Route::DeleteEvent(_) => Operation::Event,
            Route::OtherMethod(_) | Route::Nowhere => Operation::Unknown,
        }
    }

    fn answer(&mut self, call: &Call) -> Reply {
        let known = [accounts::SECUREGATE_API_KEY, accounts::SECUREGATE_SECOND_API_KEY];
        let good = |key: &str| known.contains(&key) && !self.settings.shared.is_revoked(key);
        if !call.header("x-api-key").is_some_and(good) {
            let status = StatusCode::from_u16(self.settings.unauthorized_status);
            let status = status.unwrap_or(StatusCode::FORBIDDEN);
            return Problem::told(status, "Not authenticated").reply();
        }
        handle(self, call).unwrap_or_else(Problem::reply)
    }

    fn refuse(&self, refusal: Refusal) -> Reply {
        match refusal {
            Refusal::Status(status) => Problem::of_status(status).reply(),
            Refusal::RateLimited { wait } => {
                let mut reply = Problem::of_status(StatusCode::TOO_MANY_REQUESTS).reply();
                if let Some(wait) = wait {
                    set_header(reply.headers_mut(), "retry-after", &wait);
                }
                reply
            }
            Refusal::Quota => Problem::quota_exceeded().reply(),
        }
    }

    fn destination(&self, call: &Call) -> Option<String> {
        match route(&call.method, &call.path) {
            Route::CreateInvites(event)
            | Route::ListInvites(event)
            | Route::UpdateStatus(event, _)
            | Route::GetEvent(event)
            | Route::DeleteEvent(event) => Some(event.to_owned()),
            Route::GetInvite(id) => {
                let invite = self.invites.iter().find(|invite| invite.id == id);
                invite.map(|invite| invite.event_id.clone())
            }
            Route::Lookup => call.query_value("event_id"),
            _ => None,
        }
    }

    fn shared(&self) -> &Shared {
        &self.settings.shared
    }

    fn effects(&self) -> Vec<Effect> {
        self.invites.iter().map(store::Invite::effect).collect()
    }

    fn settings(&self) -> Value {
        settings::shown(&self.settings)
    }

    fn change_settings(&mut self, patch: &Map<String, Value>) -> Result<(), String> {
        self.settings = settings::patched(&self.settings, patch)?;
        Ok(())
    }

    fn move_invite(&mut self, id: &str, status: &str) -> Result<(), ControlError> {
        if !request::STATUSES.contains(&status) {
            let known = request::STATUSES.join(", ");
            return Err(ControlError::Impossible(format!("Securegate's statuses are {known}")));
        }
        self.set_status(id, status).map(drop).ok_or(ControlError::NotFound)
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

fn handle(state: &mut State, call: &Call) -> Result<Reply, Problem> {
    match route(&call.method, &call.path) {
        Route::CreateInvites(event) => create_invites(state, call, event),
        Route::ListInvites(event) => list_invites(state, call, event),
        Route::UpdateStatus(event, invite) => update_status(state, call, event, invite),
        Route::GetInvite(id) => {
            let invite = state.invites.iter().find(|invite| invite.id == id);
            invite
                .map(|invite| shown(state.invite_json(invite)))
                .ok_or_else(|| Problem::absent("Invite"))
        }
        Route::Lookup => look_up(state, call),
        Route::GetInviteWithEvent => invite_with_event(state, call),
        Route::CreateEvent => {
            let asked = request::create_event(call)?;
            let id = state.add_event(asked).id.clone();
            event_reply(state, &id)
        }
        Route::ListEvents => Ok(shown(events(state))),
        Route::GetEvent(id) => {
            let event = state.event(id).ok_or_else(|| Problem::absent("Event"))?;
            Ok(shown(state.event_with_stats_json(event)))
        }
        Route::DeleteEvent(id) => {
            let event = state.events.iter_mut().find(|event| event.id == id);
            event.ok_or_else(|| Problem::absent("Event"))?.is_deleted = true;
            event_reply(state, id)
        }
        Route::OtherMethod(allow) => Err(Problem::OtherMethod(allow)),
        Route::Nowhere => Err(nowhere(call)),
    }
}

fn shown(value: Value) -> Reply {
    json_reply(StatusCode::OK, &value)
}

/// The answer to a path that is not known. FastAPI redirects one with a slash at its end to the one without.
fn nowhere(call: &Call) -> Problem {
    let trimmed = call.path.trim_end_matches('/');
    let one_slash = trimmed.len() + 1 == call.path.len();
    if !one_slash || matches!(route(&call.method, trimmed), Route::Nowhere) {
        return Problem::of_status(StatusCode::NOT_FOUND);
    }
    let host = call.header("host").unwrap_or_default();
    let query = call.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    Problem::Elsewhere(format!("http://{host}{trimmed}{query}"))
}

fn create_invites(state: &mut State, call: &Call, event: &str) -> Result<Reply, Problem> {
    let asked = request::create_invites(call)?;
    if state.event(event).is_none_or(|event| event.is_deleted) {
        return Err(Problem::absent("Event"));
    }
    let existing = state.invites.iter().filter(|invite| invite.event_id == event).count();
    if state.settings.quota.is_some_and(|quota| existing + asked.len() > quota) {
        return Err(Problem::quota_exceeded());
    }
    let taken = call.taken(asked.len());
    let mut answer = Vec::new();
    for asked in asked.into_iter().take(taken) {
        let invite = state.add_invite(event, asked, call.number);
        answer.push(state.new_invite_json(&invite));
    }
    Ok(shown(Value::Array(answer)))
}

fn list_invites(state: &State, call: &Call, event: &str) -> Result<Reply, Problem> {
    let status = request::status_filter(call)?;
    if state.event(event).is_none() {
        return Err(Problem::absent("Event"));
    }
    let invites = state
        .found()
        .filter(|invite| invite.event_id == event)
        .filter(|invite| status.as_ref().is_none_or(|status| invite.status == *status))
        .map(|invite| state.invite_json(invite));
    Ok(shown(invites.collect()))
}

fn update_status(
    state: &mut State,
    call: &Call,
    event: &str,
    invite: &str,
) -> Result<Reply, Problem> {
    let status = request::new_status(call)?;
    if !state.invites.iter().any(|own| own.id == invite && own.event_id == event) {
        return Err(Problem::absent("Invite"));
    }
    let changed = state.set_status(invite, &status).ok_or_else(|| Problem::absent("Invite"))?;
    Ok(shown(state.invite_json(&changed)))
}

/// Finds the oldest of several invites to one address; the documents do not say which one it is.
fn look_up(state: &State, call: &Call) -> Result<Reply, Problem> {
    let email = request::required_parameter(call, "email")?;
    let event = call.query_value("event_id");
    let shared = &state.settings.shared;
    let mut found = state.found().filter(|invite| shared.finds(&email, &invite.asked.email));
    found
        .find(|invite| event.as_ref().is_none_or(|event| invite.event_id == *event))
        .map(|invite| shown(state.invite_json(invite)))
        .ok_or_else(|| Problem::absent("Invite"))
}

fn invite_with_event(state: &State, call: &Call) -> Result<Reply, Problem> {
    let (session, id) = (call.query_value("session_id"), call.query_value("invite_id"));
    if session.is_none() && id.is_none() {
        let what = "Either session_id or invite_id must be provided";
        return Err(Problem::told(StatusCode::BAD_REQUEST, what));
    }
    let named = |invite: &&store::Invite| {
        session.as_ref().is_none_or(|session| invite.session_id == *session)
            && id.as_ref().is_none_or(|id| invite.id == *id)
    };
    let invite = state.invites.iter().find(named).ok_or_else(|| Problem::absent("Invite"))?;
    let event = state.event(&invite.event_id).ok_or_else(|| Problem::absent("Event"))?;
    let (invite, event) = (state.invite_json(invite), state.event_json(event));
    Ok(shown(json!({ "invite": invite, "event": event })))
}

fn event_reply(state: &State, id: &str) -> Result<Reply, Problem> {
    state
        .event(id)
        .map(|event| shown(state.event_json(event)))
        .ok_or_else(|| Problem::absent("Event"))
}

fn events(state: &State) -> Value {
    let listed = |phase: &str| -> Value {
        let events = state.events.iter().filter(|event| state.phase(event) == phase);
        events.map(|event| state.event_json(event)).collect()
    };
    json!({
        "ongoing": listed("ongoing"),
        "ended": listed("ended"),
        "up_coming": listed("up_coming"),
        "archived": listed("archived"),
    })
}
