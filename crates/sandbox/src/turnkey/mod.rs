//! The simulator of Turnkey: routes, the order of the checks, and the queries. `stamp` verifies stamps, `keys` knows the
//! keys, `request` reads bodies, and `store` keeps what comes of them.

mod activity;
mod invitation;
mod keys;
mod request;
mod rpc;
mod settings;
mod stamp;
mod store;

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value, json};

use self::activity::Status;
use self::keys::User;
use self::request::{APPROVE_ACTIVITY, CREATE_INVITATIONS, DELETE_INVITATION, REJECT_ACTIVITY};
use self::rpc::Problem;
use self::settings::GetOrganization;
use self::store::{ORGANIZATION_NAME, State, Submitter, fingerprint};
use crate::settings::{Shared, patched, shown};
use crate::simulator::{
    Call, ControlError, Effect, Operation, Refusal, Reply, Simulator, json as json_reply,
    set_header,
};

const SUBMIT: &str = "/public/v1/submit/";
const QUERY: &str = "/public/v1/query/";

/// A Turnkey with one organization of ours (and one of somebody else's).
pub(crate) fn simulator() -> Box<dyn Simulator> {
    Box::<State>::default()
}

/// What a path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    /// A submission of this type of activity.
    Submit(&'static str),
    Whoami,
    GetActivity,
    ListActivities,
    GetOrganization,
    Nowhere,
}

fn route(path: &str) -> Route {
    let query = path.strip_prefix(QUERY);
    match (path.strip_prefix(SUBMIT), query) {
        (Some("create_invitations"), _) => Route::Submit(CREATE_INVITATIONS),
        (Some("delete_invitation"), _) => Route::Submit(DELETE_INVITATION),
        (Some("approve_activity"), _) => Route::Submit(APPROVE_ACTIVITY),
        (Some("reject_activity"), _) => Route::Submit(REJECT_ACTIVITY),
        (_, Some("whoami")) => Route::Whoami,
        (_, Some("get_activity")) => Route::GetActivity,
        (_, Some("list_activities")) => Route::ListActivities,
        (_, Some("get_organization")) => Route::GetOrganization,
        _ => Route::Nowhere,
    }
}

impl Simulator for State {
    fn account(&self) -> &'static crate::Account {
        &crate::accounts::TURNKEY
    }

    fn operation(&self, _method: &Method, path: &str) -> Operation {
        match route(path) {
            Route::Submit(CREATE_INVITATIONS) => Operation::Create,
            Route::Submit(DELETE_INVITATION) => Operation::Delete,
            Route::Submit(APPROVE_ACTIVITY) => Operation::Approve,
            Route::Submit(_) => Operation::Reject,
            Route::Whoami => Operation::Whoami,
            Route::GetActivity => Operation::GetActivity,
            Route::ListActivities => Operation::ListActivities,
            Route::GetOrganization => Operation::GetOrganization,
            Route::Nowhere => Operation::Unknown,
        }
    }

    fn answer(&mut self, call: &Call) -> Reply {
        match handle(self, call) {
            Ok(body) => json_reply(StatusCode::OK, &body),
            Err(problem) => problem.reply(),
        }
    }

    fn refuse(&self, refusal: Refusal) -> Reply {
        match refusal {
            Refusal::Status(status) => Problem::of_status(status).reply(),
            // No header shows how long to wait.
            Refusal::RateLimited { wait: _ } => {
                let rate = self.shared().rate_per_second.unwrap_or(1.0);
                let mut reply = Problem::rate_limited().reply();
                self.show_rate(reply.headers_mut(), rate, 0.0);
                reply
            }
            Refusal::Quota => Problem::quota_exceeded().reply(),
        }
    }

    fn show_rate(&self, headers: &mut HeaderMap, limit: f64, remaining: f64) {
        set_header(headers, "ratelimit-limit", &format!("{}", limit.floor().max(1.0)));
        set_header(headers, "ratelimit-remaining", &format!("{}", remaining.floor()));
    }

    fn destination(&self, call: &Call) -> Option<String> {
        let body = request::object(&call.body).ok()?;
        request::text(&body, "organizationId").ok().map(str::to_owned)
    }

    fn shared(&self) -> &Shared {
        &self.settings.shared
    }

    fn effects(&self) -> Vec<Effect> {
        self.invitations.iter().map(invitation::Invitation::effect).collect()
    }

    fn settings(&self) -> Value {
        shown(&self.settings)
    }

    fn change_settings(&mut self, patch: &Map<String, Value>) -> Result<(), String> {
        self.settings = patched(&self.settings, patch)?;
        Ok(())
    }

    fn move_invite(&mut self, id: &str, status: &str) -> Result<(), ControlError> {
        if !self.has_invitation(id) {
            return Err(ControlError::NotFound);
        }
        let moved = match status {
            "accepted" => self.accept(id),
            "deleted" => self.delete(id).ok().map(drop),
            _ => {
                let what = "an invitation of Turnkey can be accepted or deleted";
                return Err(ControlError::Impossible(what.to_owned()));
            }
        };
        moved.ok_or_else(|| ControlError::Impossible("the invitation is no longer open".to_owned()))
    }

    fn vote(&mut self, activity: &str, approve: bool) -> Result<(), ControlError> {
        let position = self.activities.iter().position(|own| own.id == activity);
        let position = position.ok_or(ControlError::NotFound)?;
        if self.activities[position].status != Status::ConsensusNeeded {
            return Err(ControlError::Impossible(
                "the activity does not need consensus".to_owned(),
            ));
        }
        let (user, stamp) = keys::second_user().ok_or(ControlError::NotFound)?;
        self.enter_vote(position, user, approve, (stamp, String::new()));
        Ok(())
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Makes the checks, from the outside in, and then the work.
fn handle(state: &mut State, call: &Call) -> Result<Value, Problem> {
    let route = route(&call.path);
    if route == Route::Nowhere {
        return Err(Problem::of_status(StatusCode::NOT_FOUND));
    }
    if call.method != Method::POST {
        return Err(Problem::of_status(StatusCode::METHOD_NOT_ALLOWED));
    }
    let stamp = stamp::verified(call.header("x-stamp"), &call.body)?;
    let body = request::object(&call.body)?;
    let organization = request::organization(&body)?;
    let user = keys::user(&stamp, organization, &state.settings.shared.revoked_credentials)?;
    match route {
        Route::Submit(activity_type) => {
            submit(state, Submitter { user, stamp, call }, &body, activity_type)
        }
        Route::Whoami => Ok(json!({
            "organizationId": organization,
            "organizationName": ORGANIZATION_NAME,
            "userId": user.id,
            "username": user.name,
        })),
        Route::GetActivity => {
            let id = request::uuid(&body, "activityId")?;
            let position = state.activities.iter().position(|own| own.id == id);
            let position = position.ok_or_else(|| Problem::absent("activity"))?;
            state.look(position);
            Ok(activity_response(state, position, user))
        }
        Route::ListActivities => {
            let activities = state.list(&request::listing(&body)?)?;
            let shown: Vec<Value> = activities.iter().map(|own| own.json(user.id)).collect();
            Ok(json!({ "activities": shown }))
        }
        Route::GetOrganization => match state.settings.get_organization {
            GetOrganization::On => Ok(json!({ "organizationData": state.organization_json() })),
            GetOrganization::NotFound => Err(Problem::of_status(StatusCode::NOT_FOUND)),
            GetOrganization::Forbidden => Err(Problem::of_status(StatusCode::FORBIDDEN)),
        },
        Route::Nowhere => Err(Problem::of_status(StatusCode::NOT_FOUND)),
    }
}

fn submit(
    state: &mut State,
    submitter: Submitter<'_>,
    body: &Map<String, Value>,
    activity_type: &str,
) -> Result<Value, Problem> {
    let user = submitter.user;
    let timestamp_ms = request::timestamp_ms(body)?;
    let seen = state.by_fingerprint(&fingerprint(&submitter.call.body));
    if seen.is_none() || state.settings.liveness_on_replay {
        request::check_liveness(timestamp_ms, state.now())?;
    }
    // The same bytes are the same activity, whoever signs them and however often.
    if let Some(position) = seen {
        state.look(position);
        return Ok(activity_response(state, position, user));
    }
    let intent = request::intent(body, activity_type)?;
    if !user.may_act {
        return Err(Problem::denied());
    }
    let position = state.submit(submitter, intent, timestamp_ms)?;
    Ok(activity_response(state, position, user))
}

fn activity_response(state: &State, position: usize, user: &User) -> Value {
    let activity = &state.activities[position];
    let shown = if state.settings.nested_result {
        activity.nested_json(user.id)
    } else {
        activity.json(user.id)
    };
    json!({ "activity": shown })
}
