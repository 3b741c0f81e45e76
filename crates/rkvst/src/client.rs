//! RKVST's endpoints, one method each. Each makes one request, and repeats it only after a refused credential; what
//! replies mean for an invite is not decided here.

use std::sync::atomic::{AtomicBool, Ordering};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Method, StatusCode};
use invite_core::{
    Address, Outcome, PreparedCall, ProviderError,
    adapter::{BaseUrl, Operation, Service},
    http::{CallContext, Request, Response},
};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    auth::{Access, Authenticator, TokenEndpoint},
    config::Config,
    error,
    state::Required,
    wire::{Invite, InvitePage, MemberPage},
};

/// So many entries are asked for on a page. The service's default and maximum are not documented.
const PAGE_SIZE: &str = "100";
const NO_LIST: &str = "the reply shows no list of invites";
/// No list of invites has so many pages. A service that gives more page tokens makes them up.
const MAX_PAGES: u32 = 10_000;

pub struct Client {
    path: String,
    auth: Authenticator,
    /// Whether the list of invites has answered, so that its path is right.
    found: AtomicBool,
}

/// The position in a listing: the token for the next page, and what it takes to notice a circle of pages of any length.
/// This is Brent's method: the token of the last page whose number is a power of two is kept as `anchor`, and each
/// later one compared with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    token: String,
    page: u32,
    anchor: String,
}

/// A reply, and the access that the request was made with.
struct Reply {
    response: Response,
    access: Access,
}

/// What a reply shows, and the tenancy that the token shows with which it was asked for.
pub struct Shown<T> {
    pub what: T,
    pub account: Option<String>,
}

impl Client {
    pub fn new(service: Service, config: &Config) -> Self {
        let path = config.path.clone();
        let endpoint = config.client_id.clone().map(|client_id| TokenEndpoint {
            url: service.base_url.below(&format!("{path}/appidp/token")),
            client_id,
        });
        let auth = Authenticator::new(service, endpoint);
        Self { path, auth, found: AtomicBool::new(false) }
    }

    pub fn service(&self) -> &Service {
        &self.auth.service
    }

    /// The path that invites are posted to, below the base URL.
    pub fn invites_path(&self) -> String {
        format!("{}/invites", self.path)
    }

    /// The tenancy that the configured token shows, without a request.
    pub fn configured_account(&self) -> Option<String> {
        self.auth.configured_account()
    }

    /// Obtains a token, and returns the tenancy that it shows.
    ///
    /// # Errors
    /// There is no token, or it is of another tenancy than `required`.
    pub async fn account(
        &self,
        context: &CallContext,
        operation: &Operation,
        required: Option<&str>,
    ) -> Result<Option<String>, ProviderError> {
        let account = self.auth.access(context, operation).await?.account();
        if let Some(required) = Required::to_create(required) {
            required.check(operation, account.as_deref())?;
        }
        Ok(account)
    }

    /// `POST …/invites`, the call as it was frozen. It is made only in the tenancy that it was frozen for, because that
    /// is where it will be looked for.
    pub async fn create_invite(
        &self,
        context: &CallContext,
        operation: &Operation,
        call: &PreparedCall,
    ) -> Result<Shown<Invite>, ProviderError> {
        let url = self.base_url().below(&call.path);
        let build = || Request::new(Method::POST, url.clone()).json(call.body.clone());
        let required = Required::to_create(call.account.as_deref());
        let Reply { response, access } = self.call(context, operation, required, build).await?;
        self.require_list(operation, &response)?;
        let what = Invite::read(&response.body)
            .ok_or_else(|| operation.unreadable(&response, "the reply shows no invite"))?;
        Ok(Shown { what, account: access.account() })
    }

    /// `GET …/invites/{uuid}`; none if there is no such invite any more. With `account`, only that tenancy is asked,
    /// because the invite is missing in any other one.
    pub async fn get_invite(
        &self,
        context: &CallContext,
        operation: &Operation,
        identity: &str,
        account: Option<&str>,
    ) -> Result<Shown<Option<Invite>>, ProviderError> {
        let url = self.invite_url(operation, identity)?;
        let build = || Request::new(Method::GET, url.clone());
        let reply = self.call(context, operation, Required::to_ask(account), build).await?;
        let (response, account) = (reply.response, reply.access.account());
        if response.status == StatusCode::NOT_FOUND {
            return Ok(Shown { what: None, account });
        }
        require_success(operation, &response)?;
        let invite = Invite::read(&response.body)
            .ok_or_else(|| operation.unreadable(&response, "the reply shows no invite"))?;
        Ok(Shown { what: Some(invite), account })
    }

    /// `DELETE …/invites/{uuid}`, with `account` in that tenancy only; false if there is no such invite any more.
    pub async fn delete_invite(
        &self,
        context: &CallContext,
        operation: &Operation,
        identity: &str,
        account: Option<&str>,
    ) -> Result<bool, ProviderError> {
        let url = self.invite_url(operation, identity)?;
        let build = || Request::new(Method::DELETE, url.clone());
        let required = Required::to_ask(account);
        let response = self.call(context, operation, required, build).await?.response;
        if response.status == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        require_success(operation, &response)?;
        // The body is `{}` by the swagger and nothing by the prose.
        let body = response.body.trim_ascii();
        if !body.is_empty() && serde_json::from_slice::<serde_json::Value>(body).is_err() {
            return Err(operation.unreadable(&response, "the reply is not JSON"));
        }
        Ok(true)
    }

    /// `GET …/invites`, one page: the first, with invites to `email` only if that is given, or the one at `position`,
    /// whose token carries the filter. With `account`, only that tenancy is asked.
    pub async fn list_invites(
        &self,
        context: &CallContext,
        operation: &Operation,
        email: Option<&str>,
        position: Option<&Position>,
        account: Option<&str>,
    ) -> Result<Shown<InvitePage>, ProviderError> {
        let url = self.list_url(&self.invites_path(), PAGE_SIZE, email, position);
        let Reply { response, access } = self.list(context, operation, account, url).await?;
        let what = InvitePage::read(&response.body)
            .ok_or_else(|| operation.unreadable(&response, NO_LIST))?;
        Ok(Shown { what, account: access.account() })
    }

    /// `GET …/members`, one page: the first, or the one at `position`. With `account`, only that tenancy is asked.
    pub async fn list_members(
        &self,
        context: &CallContext,
        operation: &Operation,
        position: Option<&Position>,
        account: Option<&str>,
    ) -> Result<Shown<MemberPage>, ProviderError> {
        let url = self.list_url(&format!("{}/members", self.path), PAGE_SIZE, None, position);
        let Reply { response, access } = self.list(context, operation, account, url).await?;
        let what = MemberPage::read(&response.body)
            .ok_or_else(|| operation.unreadable(&response, "the reply shows no list of members"))?;
        Ok(Shown { what, account: access.account() })
    }

    /// Whether a person is seen among the members. If the service refuses to show them, they are not; any other failure is
    /// an error, because asking again may help. With `account`, only that tenancy is asked.
    pub async fn is_member(
        &self,
        context: &CallContext,
        operation: &Operation,
        person: &Address,
        account: Option<&str>,
    ) -> Result<bool, ProviderError> {
        let mut position: Option<Position> = None;
        loop {
            let listed = self.list_members(context, operation, position.as_ref(), account).await;
            let page = match listed {
                Ok(listed) => listed.what,
                Err(ProviderError { outcome: Outcome::Rejected, http_status: Some(_), .. }) => {
                    return Ok(false);
                }
                Err(error) => return Err(error),
            };
            if page.emails.iter().any(|email| Address::shown(email) == *person) {
                return Ok(true);
            }
            let Some(token) = page.next else { return Ok(false) };
            position = Position::after(position.as_ref(), token);
            if position.is_none() {
                return Err(error::endless(operation));
            }
        }
    }

    /// `GET …/invites?page_size=1`, which changes nothing and needs the right to invite. Returns the tenancy that the
    /// token shows.
    pub async fn probe(
        &self,
        context: &CallContext,
        operation: &Operation,
    ) -> Result<Option<String>, ProviderError> {
        let url = self.list_url(&self.invites_path(), "1", None, None);
        let build = || Request::new(Method::GET, url.clone());
        let Reply { response, access } = self.call(context, operation, None, build).await?;
        self.require_list(operation, &response)?;
        InvitePage::read(&response.body).ok_or_else(|| operation.unreadable(&response, NO_LIST))?;
        Ok(access.account())
    }

    async fn list(
        &self,
        context: &CallContext,
        operation: &Operation,
        account: Option<&str>,
        url: Url,
    ) -> Result<Reply, ProviderError> {
        let build = || Request::new(Method::GET, url.clone()).listing();
        let reply = self.call(context, operation, Required::to_ask(account), build).await?;
        require_success(operation, &reply.response)?;
        Ok(reply)
    }

    /// Makes a request, and repeats it with other tokens while it is answered with 401. Only tokens of the `required`
    /// tenancy are used.
    async fn call(
        &self,
        context: &CallContext,
        operation: &Operation,
        required: Option<Required<'_>>,
        build: impl Fn() -> Request,
    ) -> Result<Reply, ProviderError> {
        let mut access = self.auth.access(context, operation).await?;
        loop {
            if let Some(required) = &required {
                required.check(operation, access.account().as_deref())?;
            }
            let request = build().credential("authorization", access.header());
            let request = request.map_err(|error| operation.explain(error))?;
            self.auth.count_use(&access);
            let response = self.service().http.send(context, request).await;
            let response = response.map_err(|error| operation.explain(error))?;
            if response.status != StatusCode::UNAUTHORIZED {
                self.auth.accepted(&access);
                return Ok(Reply { response, access });
            }
            match self.auth.after_refusal(context, operation, &access).await? {
                Some(next) => access = next,
                None => return Ok(Reply { response, access }),
            }
        }
    }

    /// Checks that a request to the list of all invites succeeded. Until it has, a 404 may mean that its path is wrong.
    fn require_list(
        &self,
        operation: &Operation,
        response: &Response,
    ) -> Result<(), ProviderError> {
        if !response.status.is_success() && !self.found.load(Ordering::Relaxed) {
            return Err(error::list_refused(operation, response));
        }
        require_success(operation, response)?;
        self.found.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn base_url(&self) -> &BaseUrl {
        &self.service().base_url
    }

    fn invite_url(&self, operation: &Operation, identity: &str) -> Result<Url, ProviderError> {
        let id = identity.strip_prefix("invites/").unwrap_or(identity);
        // An empty or dotted segment would lead to the whole list, or out of it.
        let is_one_segment = id.chars().any(|c| c != '.')
            && id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !is_one_segment {
            let why = "its provider id is not an identity such as invites/{uuid}";
            return Err(operation.not_found(why));
        }
        Ok(self.base_url().below(&format!("{}/{id}", self.invites_path())))
    }

    fn list_url(
        &self,
        path: &str,
        page_size: &str,
        email: Option<&str>,
        position: Option<&Position>,
    ) -> Url {
        let mut url = self.base_url().below(path);
        let mut query = url.query_pairs_mut();
        query.append_pair("page_size", page_size);
        match (position, email) {
            (Some(position), _) => query.append_pair("page_token", &position.token),
            (None, Some(email)) => query.append_pair("email", email),
            (None, None) => &mut query,
        };
        drop(query);
        url
    }
}

impl Position {
    /// The position that `token` leads to from `previous`; none if that is in a circle.
    pub fn after(previous: Option<&Self>, token: String) -> Option<Self> {
        let Some(previous) = previous else {
            return Some(Self { anchor: token.clone(), token, page: 1 });
        };
        if token == previous.token || token == previous.anchor || previous.page >= MAX_PAGES {
            return None;
        }
        let page = previous.page + 1;
        let anchor = if page.is_power_of_two() { &token } else { &previous.anchor };
        Some(Self { anchor: anchor.clone(), token, page })
    }

    /// The position as a text that means nothing to callers.
    pub fn to_cursor(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads back what [`to_cursor`](Self::to_cursor) wrote.
    pub fn from_cursor(cursor: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
    }
}

fn require_success(operation: &Operation, response: &Response) -> Result<(), ProviderError> {
    if response.status.is_success() { Ok(()) } else { Err(error::refused(operation, response)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pages are read before a listing is found to run in a circle.
    fn pages_until_noticed(token_of: impl Fn(u32) -> u32) -> Option<u32> {
        let mut position: Option<Position> = None;
        for page in 1..200 {
            match Position::after(position.as_ref(), token_of(page).to_string()) {
                Some(next) => position = Some(next),
                None => return Some(page),
            }
        }
        None
    }

    #[test]
    fn a_repeated_page_token_is_noticed_at_once_and_any_circle_soon() {
        assert_eq!(pages_until_noticed(|page| page), None);
        assert_eq!(pages_until_noticed(|_| 1), Some(2));
        assert_eq!(pages_until_noticed(|page| page.min(5)), Some(6));
        for (start, length) in [(1, 2), (1, 7), (10, 2), (3, 30)] {
            let circle = |page| if page < start { page } else { start + (page - start) % length };
            let noticed = pages_until_noticed(circle).unwrap();
            assert!(noticed <= 3 * (start + length), "{start}, {length}: {noticed}");
        }
    }

    #[test]
    fn a_listing_that_never_ends_is_given_up() {
        let mut position = Position::after(None, "t".into());
        for page in 0..MAX_PAGES {
            position = Position::after(position.as_ref(), page.to_string());
        }
        assert_eq!(position, None);
    }

    #[test]
    fn a_cursor_reads_back_and_nothing_else_is_one() {
        let first = Position::after(None, "a+b/c=".into()).unwrap();
        let second = Position::after(Some(&first), "zwei".into()).unwrap();
        assert_eq!(Position::from_cursor(&second.to_cursor()), Some(second));
        for text in ["", "2", "a+b/c=", "e30"] {
            assert_eq!(Position::from_cursor(text), None, "{text}");
        }
    }
}
