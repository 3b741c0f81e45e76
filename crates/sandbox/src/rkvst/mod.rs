//! The simulator of RKVST (DataTrails): routes, roles, and what each endpoint does. `tokens` knows tokens, `page`
//! paging, and `store` keeps what comes of requests.

mod page;
mod settings;
mod store;
mod tokens;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use self::page::Page;
use self::settings::{DeleteAnswer, ErrorBody, Required};
use self::store::{Fate, Invite, State};
use self::tokens::{Caller, Role};
use crate::settings::{self as all, Shared};
use crate::simulator::{
    Call, ControlError, Effect, Operation, Refusal, Reply, Simulator, grpc_code,
    json as json_reply, set_header, text,
};

const PREFIX: &str = "/archivist/iam/v1/";
const LONGEST_MESSAGE: usize = 256;
const LONGEST_EMAIL: usize = 128;

/// An RKVST with one tenancy of ours (and another one).
pub(crate) fn simulator() -> Box<dyn Simulator> {
    Box::<State>::default()
}

/// What a request line asks for.
#[derive(Debug, Clone, Copy)]
enum Route<'a> {
    Token,
    Create,
    List,
    Get(&'a str),
    Delete(&'a str),
    Members,
    OtherMethod,
    Nowhere,
}

fn route<'a>(method: &Method, path: &'a str) -> Route<'a> {
    let Some(rest) = path.strip_prefix(PREFIX) else { return Route::Nowhere };
    let segments: Vec<&str> = rest.split('/').collect();
    match (method.as_str(), segments.as_slice()) {
        ("POST", ["appidp", "token"]) => Route::Token,
        ("POST", ["invites"]) => Route::Create,
        ("GET", ["invites"]) => Route::List,
        ("GET", ["invites", id]) => Route::Get(id),
        ("DELETE", ["invites", id]) => Route::Delete(id),
        ("GET", ["members"]) => Route::Members,
        (_, ["appidp", "token"] | ["invites" | "members"] | ["invites", _]) => Route::OtherMethod,
        _ => Route::Nowhere,
    }
}

impl Simulator for State {
    fn account(&self) -> &'static crate::Account {
        &crate::accounts::RKVST
    }

    fn operation(&self, method: &Method, path: &str) -> Operation {
        match route(method, path) {
            Route::Token => Operation::Token,
            Route::Create => Operation::Create,
            Route::List => Operation::List,
            Route::Get(_) => Operation::Get,
            Route::Delete(_) => Operation::Delete,
            Route::Members => Operation::Members,
            Route::OtherMethod | Route::Nowhere => Operation::Unknown,
        }
    }

    fn answer(&mut self, call: &Call) -> Reply {
        let now = self.now();
        let route = route(&call.method, &call.path);
        if let Route::Token = route {
            return self.tokens.issue(call, now, &self.settings);
        }
        let handled = match self.tokens.caller(call, now, &self.settings) {
            None => Err(StatusCode::UNAUTHORIZED.into()),
            Some(Caller { role: Role::Other, .. }) => Err(StatusCode::FORBIDDEN.into()),
            Some(Caller { role: Role::Owner, tenant }) => handle(self, call, route, tenant),
        };
        handled.unwrap_or_else(|problem: Problem| problem.reply(self.settings.error_body))
    }

    fn refuse(&self, refusal: Refusal) -> Reply {
        let form = self.settings.error_body;
        match refusal {
            Refusal::Status(status) => Problem::from(status).reply(form),
            Refusal::RateLimited { wait } => {
                let mut reply = Problem::from(StatusCode::TOO_MANY_REQUESTS).reply(form);
                if let Some(wait) = wait {
                    set_header(reply.headers_mut(), "archivist-rate-limit-reset", &wait);
                }
                reply
            }
            Refusal::Quota => quota_reached(self.settings.quota.unwrap_or(10)),
        }
    }

    /// The tenancy. A request for a token has none yet.
    fn destination(&self, call: &Call) -> Option<String> {
        let caller = self.tokens.caller(call, self.now(), &self.settings);
        caller.map(|caller| caller.tenant.to_owned())
    }

    fn shared(&self) -> &Shared {
        &self.settings.shared
    }

    fn effects(&self) -> Vec<Effect> {
        self.invites.iter().map(|invite| invite.effect(self.now())).collect()
    }

    fn settings(&self) -> Value {
        all::shown(&self.settings)
    }

    fn change_settings(&mut self, patch: &Map<String, Value>) -> Result<(), String> {
        self.settings = all::patched(&self.settings, patch)?;
        Ok(())
    }

    fn move_invite(&mut self, id: &str, status: &str) -> Result<(), ControlError> {
        let id = id.strip_prefix("invites/").unwrap_or(id);
        let position = self.invites.iter().position(|invite| invite.id == id);
        let position = position.ok_or(ControlError::NotFound)?;
        if self.invites[position].fate != Fate::Pending {
            return Err(ControlError::Impossible("the invite is no longer there".to_owned()));
        }
        match status {
            "accepted" => self.accept(position),
            "expired" => self.expire(position),
            "deleted" => self.invites[position].fate = Fate::Deleted,
            _ => {
                let what = "an invite of RKVST can be accepted, expired or deleted";
                return Err(ControlError::Impossible(what.to_owned()));
            }
        }
        Ok(())
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

#[derive(Debug)]
enum Problem {
    Told(StatusCode, String),
    QuotaReached(usize),
}

impl From<StatusCode> for Problem {
    fn from(status: StatusCode) -> Self {
        let message = match status {
            StatusCode::UNAUTHORIZED => "request is not authenticated",
            StatusCode::PAYMENT_REQUIRED => "a quota has been reached",
            StatusCode::FORBIDDEN => "permission denied",
            StatusCode::NOT_FOUND => "not found",
            StatusCode::TOO_MANY_REQUESTS => "rate limit exceeded",
            StatusCode::INTERNAL_SERVER_ERROR => "underlying storage error",
            other => other.canonical_reason().unwrap_or("unknown"),
        };
        Self::Told(status, message.to_owned())
    }
}

impl Problem {
    fn bad(message: impl Into<String>) -> Self {
        Self::Told(StatusCode::BAD_REQUEST, message.into())
    }

    fn reply(self, form: ErrorBody) -> Reply {
        let (status, message) = match self {
            Self::Told(status, message) => (status, message),
            Self::QuotaReached(quota) => return quota_reached(quota),
        };
        match form {
            ErrorBody::Text => text(status, "text/plain; charset=utf-8", message),
            ErrorBody::Error => json_reply(status, &json!({ "error": message })),
            ErrorBody::RpcStatus => {
                let body = json!({ "code": grpc_code(status), "message": message, "details": [] });
                json_reply(status, &body)
            }
        }
    }
}

/// The only 402 of which an example is known.
fn quota_reached(quota: usize) -> Reply {
    let description = format!("Current quota is {quota}");
    let body = json!({ "error": "Entity QuotaReached", "description": description });
    json_reply(StatusCode::PAYMENT_REQUIRED, &body)
}

fn handle(
    state: &mut State,
    call: &Call,
    route: Route<'_>,
    tenant: &'static str,
) -> Result<Reply, Problem> {
    match route {
        Route::Create => create(state, call, tenant),
        Route::List => list(state, call, tenant),
        Route::Get(id) => {
            let position = find(state, id, tenant)?;
            Ok(json_reply(StatusCode::OK, &state.invites[position].json(&state.settings)))
        }
        Route::Delete(id) => {
            let position = find(state, id, tenant)?;
            state.invites[position].fate = Fate::Deleted;
            Ok(match state.settings.delete_answer {
                DeleteAnswer::Object => json_reply(StatusCode::OK, &json!({})),
                DeleteAnswer::Empty => text(StatusCode::OK, "application/json", ""),
                DeleteAnswer::NoContent => {
                    let mut reply = Reply::default();
                    *reply.status_mut() = StatusCode::NO_CONTENT;
                    reply
                }
            })
        }
        Route::Members => members(state, call, tenant),
        Route::OtherMethod => Err(StatusCode::NOT_IMPLEMENTED.into()),
        Route::Token | Route::Nowhere => Err(StatusCode::NOT_FOUND.into()),
    }
}

/// The position of an invite that is still there.
fn find(state: &State, id: &str, tenant: &str) -> Result<usize, Problem> {
    if uuid::Uuid::try_parse(id).is_err() {
        return Err(Problem::bad(format!("{id:?} is no uuid")));
    }
    let named = |own: &Invite| own.id == id && own.tenant == tenant && state.visible(own);
    state.invites.iter().position(named).ok_or_else(|| StatusCode::NOT_FOUND.into())
}

fn create(state: &mut State, call: &Call, tenant: &'static str) -> Result<Reply, Problem> {
    let body: Value = serde_json::from_slice(&call.body)
        .map_err(|error| Problem::bad(format!("proto: syntax error: {error}")))?;
    let Some(members) = body.as_object() else {
        return Err(Problem::bad("proto: syntax error: unexpected token"));
    };
    let email = text_member(members, "email", LONGEST_EMAIL)?;
    let message = text_member(members, "message", LONGEST_MESSAGE)?;
    // In proto3 an empty string and none at all are the same.
    let required = state.settings.required;
    for (name, value, unneeded) in
        [("email", &email, Required::Message), ("message", &message, Required::Email)]
    {
        if required != unneeded && value.is_empty() {
            return Err(Problem::bad(format!("{name}: is required")));
        }
    }
    if let Some(quota) = state.settings.quota.filter(|quota| state.pending(tenant) >= *quota) {
        return Err(Problem::QuotaReached(quota));
    }
    if call.taken(1) == 0 {
        return Err(StatusCode::INTERNAL_SERVER_ERROR.into());
    }
    state.add_invite(tenant, email, message, call.number);
    let shown = state.invites.last().map(|invite| invite.json(&state.settings));
    Ok(json_reply(StatusCode::OK, &shown.unwrap_or_default()))
}

fn text_member(
    members: &Map<String, Value>,
    name: &str,
    longest: usize,
) -> Result<String, Problem> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) if text.chars().count() > longest => {
            Err(Problem::bad(format!("{name}: longer than {longest} characters")))
        }
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => {
            let message = format!("proto: invalid value for string field {name}: {other}");
            Err(Problem::bad(message))
        }
    }
}

fn list(state: &State, call: &Call, tenant: &str) -> Result<Reply, Problem> {
    if let Some(order) = call.query_value("order_by")
        && !["DEFAULT", "DISPLAY_NAME"].contains(&order.as_str())
    {
        return Err(Problem::bad(format!("order_by: {order:?} is no order")));
    }
    let page = Page::asked(call, "invites", state.settings.page_size_cap).map_err(Problem::bad)?;
    let email = page.email.as_deref().filter(|email| !email.is_empty());
    let listed = |(_, invite): &(usize, &Invite)| {
        state.listed(invite)
            && invite.tenant == tenant
            && email.is_none_or(|email| state.settings.shared.finds(email, &invite.email))
    };
    let cut = page.cut("invites", state.invites.iter().enumerate().filter(listed));
    let invites: Vec<Value> = cut.items.into_iter().map(|own| own.json(&state.settings)).collect();
    let body = json!({ "invites": invites, "next_page_token": cut.next_token });
    Ok(counted(call, &body, cut.total))
}

/// In this list of the vendor's the token is called `page_token`.
fn members(state: &State, call: &Call, tenant: &str) -> Result<Reply, Problem> {
    let page = Page::asked(call, "members", state.settings.page_size_cap).map_err(Problem::bad)?;
    let listed = |(_, own): &(usize, &store::Member)| own.tenant == tenant;
    let cut = page.cut("members", state.members.iter().enumerate().filter(listed));
    let spelling = &state.settings.shared.spelling;
    let members: Vec<Value> = cut.items.into_iter().map(|own| own.json(spelling)).collect();
    let body = json!({ "members": members, "page_token": cut.next_token });
    Ok(counted(call, &body, cut.total))
}

/// A list, with its length in a header if the request asks for that.
fn counted(call: &Call, body: &Value, total: usize) -> Reply {
    let mut reply = json_reply(StatusCode::OK, body);
    if call.header("x-request-total-count").is_some_and(|value| value.eq_ignore_ascii_case("true"))
    {
        set_header(reply.headers_mut(), "x-total-count", &total.to_string());
    }
    reply
}
