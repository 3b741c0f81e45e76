//! Turnkey's endpoints, one method each. The client signs each body, and remembers what it learnt of the account: the
//! user of the key, and that `get_organization` was refused.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::Method;
use invite_core::{
    Cause, Outcome, ProviderError,
    adapter::{Operation, Reply, Service},
    http::{BODY_CAP, CallContext, LIST_BODY_CAP, Record, Request, Response, reply_cap},
    secret::Key,
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{
    error,
    stamp::Stamper,
    wire::{
        ActivitiesQuery, ActivitiesReply, Activity, ActivityQuery, ActivityReply, Invitation,
        InvitationId, OrganizationQuery, OrganizationReply, RpcStatus, Submission, TYPE_DELETE,
        Whoami,
    },
};

/// A refusal of `get_organization` is remembered for so long.
const REFUSAL_KEPT: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub struct Client {
    pub service: Service,
    /// Whether `get_organization` may be tried at all.
    may_read_organization: bool,
    /// The key that was used last, and its user.
    sender: Mutex<Option<(Key, String)>>,
    /// When `get_organization` was refused last.
    organization_refused: Mutex<Option<Timestamp>>,
}

impl Client {
    pub fn new(service: Service, may_read_organization: bool) -> Self {
        let (sender, organization_refused) = (Mutex::default(), Mutex::default());
        Self { service, may_read_organization, sender, organization_refused }
    }

    pub fn now(&self) -> Timestamp {
        self.service.clock.now()
    }

    /// `create_invitations` with exactly this body.
    pub async fn create_invitations(
        &self,
        context: &CallContext,
        operation: &Operation,
        path: &str,
        body: &str,
    ) -> Result<Activity, ProviderError> {
        // An activity repeats the call, with what callers added to it, and so does each vote, as a text.
        let body_cap = reply_cap(operation.items()).saturating_add(body.len().saturating_mul(4));
        let post = Post { path, body: body.to_owned(), body_cap, record: Record::Whole };
        let response = self.post(context, operation, post).await?;
        activity(operation, &response)
    }

    /// `delete_invitation`, as a new activity.
    pub async fn delete_invitation(
        &self,
        context: &CallContext,
        operation: &Operation,
        organization_id: &str,
        invitation_id: &str,
    ) -> Result<Activity, ProviderError> {
        let submission = Submission {
            r#type: TYPE_DELETE,
            timestamp_ms: self.service.clock.wall().as_millisecond().to_string(),
            organization_id,
            parameters: InvitationId { invitation_id: invitation_id.to_owned() },
        };
        let path = "/public/v1/submit/delete_invitation";
        let post = Post::new(path, operation, &submission)?;
        let response = self.post(context, operation, post).await?;
        activity(operation, &response)
    }

    /// `get_activity`.
    pub async fn get_activity(
        &self,
        context: &CallContext,
        operation: &Operation,
        organization_id: &str,
        activity_id: &str,
    ) -> Result<Activity, ProviderError> {
        let query = ActivityQuery { organization_id, activity_id };
        let mut post = Post::new("/public/v1/query/get_activity", operation, &query)?;
        // The reply shows all invitations of the call.
        post.body_cap = LIST_BODY_CAP;
        let response = self.post(context, operation, post).await?;
        activity(operation, &response)
    }

    /// `list_activities`, one page.
    pub async fn list_activities(
        &self,
        context: &CallContext,
        operation: &Operation,
        query: &ActivitiesQuery<'_>,
    ) -> Result<Vec<Activity>, ProviderError> {
        let post = Post::new("/public/v1/query/list_activities", operation, query)?;
        let post = Post { body_cap: LIST_BODY_CAP, record: Record::Outline, ..post };
        let response = self.post(context, operation, post).await?;
        let reply: ActivitiesReply = operation.read(&response)?;
        let activities = reply
            .activities
            .ok_or_else(|| operation.unreadable(&response, "the reply lists nothing"))?;
        Ok(activities.into_iter().map(Activity::flattened).collect())
    }

    /// `whoami`, and how far our clock is ahead of the one that the reply shows.
    pub async fn whoami(
        &self,
        context: &CallContext,
        operation: &Operation,
        organization_id: &str,
    ) -> Result<(Whoami, SignedDuration), ProviderError> {
        let Reply { response, .. } = self.ask_whoami(context, operation, organization_id).await?;
        let ahead = response.date().map(|date| self.now().duration_since(date));
        Ok((operation.read(&response)?, ahead.unwrap_or_default()))
    }

    /// The user of the key, which is asked for once per key.
    pub async fn sender(
        &self,
        context: &CallContext,
        operation: &Operation,
        organization_id: &str,
    ) -> Result<String, ProviderError> {
        let present = self.service.credential.in_order().into_iter().next();
        if let Some((key, user)) = lock(&self.sender).as_ref()
            && present.as_ref() == Some(key)
        {
            return Ok(user.clone());
        }
        let Reply { response, key } = self.ask_whoami(context, operation, organization_id).await?;
        let whoami: Whoami = operation.read(&response)?;
        let user = whoami
            .user_id
            .ok_or_else(|| operation.unreadable(&response, "whoami names no user"))?;
        *lock(&self.sender) = Some((key, user.clone()));
        Ok(user)
    }

    async fn ask_whoami(
        &self,
        context: &CallContext,
        operation: &Operation,
        organization_id: &str,
    ) -> Result<Reply, ProviderError> {
        let query = OrganizationQuery { organization_id };
        let post = Post::new("/public/v1/query/whoami", operation, &query)?;
        self.reply(context, operation, post).await
    }

    /// Whether `get_organization` may be asked, and was not refused lately.
    pub fn reads_organization(&self) -> bool {
        let refused = *lock(&self.organization_refused);
        let forgotten = |at| self.now().duration_since(at).unsigned_abs() >= REFUSAL_KEPT;
        self.may_read_organization && refused.is_none_or(forgotten)
    }

    /// The organization's invitations by `get_organization`, which Turnkey marks as internal. None if it is switched off,
    /// was refused now or lately, or shows none. The attempt's record notes the request if it is to be `recorded`.
    pub async fn invitations(
        &self,
        context: &CallContext,
        operation: &Operation,
        organization_id: &str,
        recorded: bool,
    ) -> Result<Option<Vec<Invitation>>, ProviderError> {
        if !self.reads_organization() {
            return Ok(None);
        }
        let query = OrganizationQuery { organization_id };
        let post = Post::new("/public/v1/query/get_organization", operation, &query)?;
        let record = if recorded { Record::Outline } else { Record::Nothing };
        let post = Post { record, body_cap: LIST_BODY_CAP, ..post };
        match self.post(context, operation, post).await {
            Ok(response) => {
                let reply: OrganizationReply = operation.read(&response)?;
                Ok(reply.organization_data.and_then(|data| data.invitations))
            }
            Err(error) if is_refused_capability(&error) => {
                tracing::info!(provider.error = %error, "get_organization is refused; doing without");
                *lock(&self.organization_refused) = Some(self.now());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn post(
        &self,
        context: &CallContext,
        operation: &Operation,
        post: Post<'_>,
    ) -> Result<Response, ProviderError> {
        Ok(self.reply(context, operation, post).await?.response)
    }

    async fn reply(
        &self,
        context: &CallContext,
        operation: &Operation,
        post: Post<'_>,
    ) -> Result<Reply, ProviderError> {
        let refuses = |response: &Response| {
            let status = response.status;
            !status.is_success() && RpcStatus::read(&response.body).refuses_key(status.as_u16())
        };
        let stamped = |key: &str| self.stamped(&post, key);
        let reply = self.service.send(context, operation, stamped, refuses).await?;
        if reply.response.status.is_success() {
            Ok(reply)
        } else {
            Err(error::refused(operation, &reply.response))
        }
    }

    fn stamped(&self, post: &Post<'_>, key: &str) -> Result<Request, ProviderError> {
        let stamper = Stamper::parse(key).map_err(|why| {
            let error = ProviderError::new(Outcome::NotSent, format!("api_private_key: {why}"));
            error.caused_by(Cause::Credentials)
        })?;
        let url = self.service.base_url.below(post.path);
        let stamp = stamper.stamp(post.body.as_bytes());
        let request = Request::new(Method::POST, url).json(post.body.clone());
        let request = Request { body_cap: post.body_cap, record: post.record, ..request };
        request.credential("x-stamp", &stamp)
    }
}

/// A query or submission on its way.
struct Post<'a> {
    path: &'a str,
    body: String,
    body_cap: usize,
    record: Record,
}

impl<'a> Post<'a> {
    fn new<Q: Serialize>(
        path: &'a str,
        operation: &Operation,
        query: &Q,
    ) -> Result<Self, ProviderError> {
        Ok(Self {
            path,
            body: encode(operation, query)?,
            body_cap: BODY_CAP,
            record: Record::Whole,
        })
    }
}

/// A body as Turnkey gets it: compact, with members in the order of their declaration.
///
/// # Errors
/// A value cannot be JSON, which is true of none of these types.
pub fn encode<Q: Serialize>(operation: &Operation, body: &Q) -> Result<String, ProviderError> {
    serde_json::to_string(body)
        .map_err(|_| operation.failed(Outcome::NotSent, "the request cannot be written as JSON"))
}

fn activity(operation: &Operation, response: &Response) -> Result<Activity, ProviderError> {
    let reply: ActivityReply = operation.read(response)?;
    let missing = || operation.unreadable(response, "the reply holds no activity");
    Ok(reply.activity.ok_or_else(missing)?.flattened())
}

/// Whether an internal endpoint is refused. The refusal of the key, and a throttle, say nothing about the endpoint.
fn is_refused_capability(error: &ProviderError) -> bool {
    match error.http_status {
        Some(401 | 429) => false,
        Some(501) => true,
        Some(_) => error.outcome == Outcome::Rejected,
        None => false,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
