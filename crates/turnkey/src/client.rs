//! One method per Turnkey endpoint; nothing else does HTTP. Signs each body, tries the second secret
//! where the first is refused, and remembers what it learnt of the account: who the key's user is,
//! and whether `get_organization` is refused.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::Method;
use invite_core::{
    Cause, Clock, Outcome, ProviderError,
    http::{
        BODY_CAP, CallContext, HttpClient, LIST_BODY_CAP, Record, Request, Response, reply_cap,
    },
    secret::Credential,
};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

use crate::{
    error::Task,
    stamp::Stamper,
    wire::{
        ActivitiesQuery, ActivitiesReply, Activity, ActivityQuery, ActivityReply, Invitation,
        InvitationId, OrganizationQuery, OrganizationReply, RpcStatus, Submission, TYPE_DELETE,
        Whoami,
    },
};

/// How long a refusal of `get_organization` is remembered.
const REFUSAL_KEPT: Duration = Duration::from_secs(3600);

/// A Turnkey account.
pub struct Client {
    base_url: String,
    http: HttpClient,
    credential: Credential,
    clock: Arc<dyn Clock>,
    /// Whether `get_organization` may be tried at all.
    may_read_organization: bool,
    /// The first secret's value that was refused while the second one worked.
    refused_first: Mutex<Option<u64>>,
    sender: Mutex<Option<(KeyVersion, String)>>,
    organization_refused: Mutex<Option<Timestamp>>,
}

/// Which value of which secret.
type KeyVersion = (usize, u64);

impl Client {
    /// A client for the account at `base_url`, which has no trailing slash.
    pub fn new(
        base_url: String,
        http: HttpClient,
        credential: Credential,
        clock: Arc<dyn Clock>,
        may_read_organization: bool,
    ) -> Self {
        Self {
            base_url,
            http,
            credential,
            clock,
            may_read_organization,
            refused_first: Mutex::default(),
            sender: Mutex::default(),
            organization_refused: Mutex::default(),
        }
    }

    /// Where requests go, without a trailing slash.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The secrets in use.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// `create_invitations`, with exactly this body.
    pub async fn create_invitations(
        &self,
        context: &CallContext,
        task: &Task,
        path: &str,
        body: &str,
    ) -> Result<Activity, ProviderError> {
        let body_cap = reply_cap(task.invitations());
        let post = Post { path, body: body.to_owned(), body_cap, record: Record::Whole };
        let (_, response) = self.post(context, task, post).await?;
        activity(task, &response)
    }

    /// `delete_invitation`, as a new activity.
    pub async fn delete_invitation(
        &self,
        context: &CallContext,
        task: &Task,
        organization_id: &str,
        invitation_id: &str,
    ) -> Result<Activity, ProviderError> {
        let submission = Submission {
            r#type: TYPE_DELETE,
            timestamp_ms: self.clock.wall().as_millisecond().to_string(),
            organization_id,
            parameters: InvitationId { invitation_id: invitation_id.to_owned() },
        };
        let path = "/public/v1/submit/delete_invitation";
        let response = self.query(context, task, path, &submission).await?;
        activity(task, &response)
    }

    /// `get_activity`.
    pub async fn get_activity(
        &self,
        context: &CallContext,
        task: &Task,
        organization_id: &str,
        activity_id: &str,
    ) -> Result<Activity, ProviderError> {
        let query = ActivityQuery { organization_id, activity_id };
        let mut post = Post::new("/public/v1/query/get_activity", task, &query)?;
        // It shows all the invitations of its call.
        post.body_cap = LIST_BODY_CAP;
        let (_, response) = self.post(context, task, post).await?;
        activity(task, &response)
    }

    /// `list_activities`: one page.
    pub async fn list_activities(
        &self,
        context: &CallContext,
        task: &Task,
        query: &ActivitiesQuery<'_>,
    ) -> Result<Vec<Activity>, ProviderError> {
        let post = Post::new("/public/v1/query/list_activities", task, query)?;
        let post = Post { body_cap: LIST_BODY_CAP, record: Record::Outline, ..post };
        let (_, response) = self.post(context, task, post).await?;
        let reply: ActivitiesReply = decode(task, &response)?;
        let activities =
            reply.activities.ok_or_else(|| task.unreadable("the reply lists nothing"))?;
        Ok(activities.into_iter().map(Activity::flattened).collect())
    }

    /// `whoami`, and how far our clock is ahead of the one that the reply shows.
    pub async fn whoami(
        &self,
        context: &CallContext,
        task: &Task,
        organization_id: &str,
    ) -> Result<(Whoami, SignedDuration), ProviderError> {
        let (_, response) = self.ask_whoami(context, task, organization_id).await?;
        let ahead = response.date().map(|date| self.now().duration_since(date));
        Ok((decode(task, &response)?, ahead.unwrap_or_default()))
    }

    /// The user whom the key belongs to; asked once per key.
    pub async fn sender(
        &self,
        context: &CallContext,
        task: &Task,
        organization_id: &str,
    ) -> Result<String, ProviderError> {
        let next = self.order()[0];
        let present = (next, self.credential.secrets()[next].current().0);
        if let Some((key, user)) = lock(&self.sender).as_ref()
            && *key == present
        {
            return Ok(user.clone());
        }
        let (key, response) = self.ask_whoami(context, task, organization_id).await?;
        let whoami: Whoami = decode(task, &response)?;
        let user = whoami.user_id.ok_or_else(|| task.unreadable("whoami names no user"))?;
        *lock(&self.sender) = Some((key, user.clone()));
        Ok(user)
    }

    async fn ask_whoami(
        &self,
        context: &CallContext,
        task: &Task,
        organization_id: &str,
    ) -> Result<(KeyVersion, Response), ProviderError> {
        let query = OrganizationQuery { organization_id };
        self.post(context, task, Post::new("/public/v1/query/whoami", task, &query)?).await
    }

    /// Whether `get_organization` is worth asking.
    pub fn reads_organization(&self) -> bool {
        let refused = *lock(&self.organization_refused);
        let forgotten = |at| self.now().duration_since(at).unsigned_abs() >= REFUSAL_KEPT;
        self.may_read_organization && refused.is_none_or(forgotten)
    }

    /// The organization's invitations by `get_organization`, which Turnkey marks as internal. None
    /// where it is switched off, refused now or lately, or shows none. `recorded` puts it into the
    /// attempt's record that it was asked.
    pub async fn invitations(
        &self,
        context: &CallContext,
        task: &Task,
        organization_id: &str,
        recorded: bool,
    ) -> Result<Option<Vec<Invitation>>, ProviderError> {
        if !self.reads_organization() {
            return Ok(None);
        }
        let query = OrganizationQuery { organization_id };
        let post = Post::new("/public/v1/query/get_organization", task, &query)?;
        let record = if recorded { Record::Outline } else { Record::Nothing };
        let post = Post { record, body_cap: LIST_BODY_CAP, ..post };
        match self.post(context, task, post).await {
            Ok((_, response)) => {
                let reply: OrganizationReply = decode(task, &response)?;
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

    async fn query<Q: Serialize>(
        &self,
        context: &CallContext,
        task: &Task,
        path: &str,
        query: &Q,
    ) -> Result<Response, ProviderError> {
        Ok(self.post(context, task, Post::new(path, task, query)?).await?.1)
    }

    /// Posts with the secret that works, and once more with the other one if that is refused.
    async fn post(
        &self,
        context: &CallContext,
        task: &Task,
        post: Post<'_>,
    ) -> Result<(KeyVersion, Response), ProviderError> {
        let order = self.order();
        let first = self.attempt(context, task, &post, order[0]).await;
        let (true, Some(other)) = (first.refused, order.get(1)) else { return first.into_result() };
        let second = self.attempt(context, task, &post, *other).await;
        if second.was_taken() {
            // The first secret is tried again as soon as it has another value.
            *lock(&self.refused_first) = (*other == 1).then_some(first.key.1);
        }
        second.into_result()
    }

    /// The secrets in the order in which to try them.
    fn order(&self) -> Vec<usize> {
        match self.credential.secrets() {
            [first, _] if *lock(&self.refused_first) == Some(first.current().0) => vec![1, 0],
            secrets => (0..secrets.len()).collect(),
        }
    }

    async fn attempt(
        &self,
        context: &CallContext,
        task: &Task,
        post: &Post<'_>,
        index: usize,
    ) -> Tried {
        let secret = &self.credential.secrets()[index];
        let (version, value) = secret.current();
        let key = (index, version);
        let request = match self.stamped(task, post, value.expose_secret()) {
            Ok(request) => request,
            Err(error) => return Tried { key, refused: true, result: Err(error) },
        };
        secret.count_use();
        let response = match self.http.send(context, request).await {
            Ok(response) => response,
            Err(error) => return Tried { key, refused: false, result: Err(task.failed(error)) },
        };
        if response.status.is_success() {
            return Tried { key, refused: false, result: Ok(response) };
        }
        let status = RpcStatus::read(&response.body);
        let refused = status.refuses_key(response.status.as_u16());
        if refused {
            secret.count_refusal();
        }
        Tried { key, refused, result: Err(task.refused(&response, &status, self.now())) }
    }

    fn stamped(&self, task: &Task, post: &Post<'_>, key: &str) -> Result<Request, ProviderError> {
        let not_sent = |why: &str| task.error(Outcome::NotSent, why);
        let stamper = Stamper::parse(key).map_err(|why| {
            not_sent(&format!("api_private_key: {why}")).caused_by(Cause::Credentials)
        })?;
        let url = Url::parse(&format!("{}{}", self.base_url, post.path))
            .map_err(|_| not_sent("the base_url and the path make no URL"))?;
        let stamp = stamper.stamp(post.body.as_bytes());
        let request = Request::new(Method::POST, url).json(post.body.clone());
        let request = Request { body_cap: post.body_cap, record: post.record, ..request };
        request.credential("x-stamp", &stamp)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({}, {:?})", self.base_url, self.credential)
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
    fn new<Q: Serialize>(path: &'a str, task: &Task, query: &Q) -> Result<Self, ProviderError> {
        Ok(Self { path, body: encode(task, query)?, body_cap: BODY_CAP, record: Record::Whole })
    }
}

/// What came of posting with one secret.
struct Tried {
    key: KeyVersion,
    /// The secret is at fault.
    refused: bool,
    result: Result<Response, ProviderError>,
}

impl Tried {
    fn was_taken(&self) -> bool {
        let answered = |error: &ProviderError| error.http_status.is_some();
        !self.refused && self.result.as_ref().map_or_else(answered, |_| true)
    }

    fn into_result(self) -> Result<(KeyVersion, Response), ProviderError> {
        self.result.map(|response| (self.key, response))
    }
}

/// A body as Turnkey gets it: compact, members in the order of their declaration.
///
/// # Errors
/// Only if a value cannot be JSON, which no value of these types is.
pub fn encode<Q: Serialize>(task: &Task, body: &Q) -> Result<String, ProviderError> {
    serde_json::to_string(body)
        .map_err(|_| task.error(Outcome::NotSent, "the request cannot be written as JSON"))
}

fn decode<R: DeserializeOwned>(task: &Task, response: &Response) -> Result<R, ProviderError> {
    serde_json::from_slice(&response.body).map_err(|_| {
        let error = task.unreadable("the reply is not the JSON that was expected");
        error.with_status(response.status.as_u16())
    })
}

fn activity(task: &Task, response: &Response) -> Result<Activity, ProviderError> {
    let reply: ActivityReply = decode(task, response)?;
    let missing = || task.unreadable("the reply holds no activity");
    Ok(reply.activity.ok_or_else(missing)?.flattened())
}

/// Any refusal of an internal endpoint but that of the key, which says nothing about the endpoint.
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
