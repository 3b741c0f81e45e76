//! RKVST's endpoints, one method each, and the only HTTP in this crate. Each method makes one
//! request, but for the repeat after a refused credential; what replies mean for an invite is not
//! decided here.

use std::sync::atomic::{AtomicBool, Ordering};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Method, StatusCode};
use invite_core::{
    PreparedCall, ProviderError,
    adapter::{BaseUrl, Operation, Service},
    http::{CallContext, Request, Response},
};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    auth::{Access, Authenticator, TokenEndpoint},
    config::Config,
    error,
    state::Only,
    wire::{Invite, InvitePage, MemberPage},
};

/// Entries to ask for on a page. The service's default and maximum are not documented.
const PAGE_SIZE: &str = "100";
/// What is wrong with a reply that should list invites.
const NO_LIST: &str = "the reply shows no list of invites";
/// More pages than any list of invites has: beyond it the service makes up page tokens.
const MAX_PAGES: u32 = 10_000;

/// One tenancy of one service.
pub struct Client {
    path: String,
    auth: Authenticator,
    /// The list of invites has answered, so its path is right.
    found: AtomicBool,
}

/// Where a listing stands: the token that asks for the next page, and enough to notice when the
/// service leads it in a circle of any length (Brent's method: the token of the last page whose
/// number was a power of two is kept, and each later one compared to it).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    token: String,
    page: u32,
    anchor: String,
}

/// A reply, and the access that got it.
struct Reply {
    response: Response,
    access: Access,
}

/// What a request showed, and the tenancy whose token it was made with, if the token shows one.
pub struct Shown<T> {
    /// What was asked for.
    pub what: T,
    /// The tenancy.
    pub account: Option<String>,
}

impl Client {
    /// A client for this service.
    pub fn new(service: Service, config: &Config) -> Self {
        let path = config.path.clone();
        let endpoint = config.client_id.clone().map(|client_id| TokenEndpoint {
            url: service.base_url.below(&format!("{path}/appidp/token")),
            client_id,
        });
        let auth = Authenticator::new(service, endpoint);
        Self { path, auth, found: AtomicBool::new(false) }
    }

    /// The service.
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

    /// Makes sure that there is a token, one of the tenancy `only` if one is given; the tenancy that it
    /// shows.
    pub async fn account(
        &self,
        context: &CallContext,
        operation: &Operation,
        only: Option<&str>,
    ) -> Result<Option<String>, ProviderError> {
        let account = self.auth.access(context, operation).await?.account();
        if let Some(only) = Only::to_create(only) {
            only.require(operation, account.as_deref())?;
        }
        Ok(account)
    }

    /// `POST …/invites`: the call as it was frozen, and only in the tenancy that it was frozen for,
    /// since that is where it will be looked for.
    pub async fn create_invite(
        &self,
        context: &CallContext,
        operation: &Operation,
        call: &PreparedCall,
    ) -> Result<Shown<Invite>, ProviderError> {
        let url = self.base_url().below(&call.path);
        let build = || Request::new(Method::POST, url.clone()).json(call.body.clone());
        let only = Only::to_create(call.account.as_deref());
        let Reply { response, access } = self.call(context, operation, only, build).await?;
        self.require_list(operation, &response)?;
        let what = Invite::read(&response.body)
            .ok_or_else(|| operation.unreadable(&response, "the reply shows no invite"))?;
        Ok(Shown { what, account: access.account() })
    }

    /// `GET …/invites/{uuid}`; none if there is no such invite any more. With `account`, it is asked
    /// in that tenancy only: in another one it is missing whatever became of it.
    pub async fn get_invite(
        &self,
        context: &CallContext,
        operation: &Operation,
        identity: &str,
        account: Option<&str>,
    ) -> Result<Shown<Option<Invite>>, ProviderError> {
        let url = self.invite_url(operation, identity)?;
        let build = || Request::new(Method::GET, url.clone());
        let reply = self.call(context, operation, Only::there(account), build).await?;
        let (response, account) = (reply.response, reply.access.account());
        if response.status == StatusCode::NOT_FOUND {
            return Ok(Shown { what: None, account });
        }
        require_success(operation, &response)?;
        let invite = Invite::read(&response.body)
            .ok_or_else(|| operation.unreadable(&response, "the reply shows no invite"))?;
        Ok(Shown { what: Some(invite), account })
    }

    /// `DELETE …/invites/{uuid}`, in the tenancy `account` only, if one is given; false if there was no
    /// such invite any more.
    pub async fn delete_invite(
        &self,
        context: &CallContext,
        operation: &Operation,
        identity: &str,
        account: Option<&str>,
    ) -> Result<bool, ProviderError> {
        let url = self.invite_url(operation, identity)?;
        let build = || Request::new(Method::DELETE, url.clone());
        let response = self.call(context, operation, Only::there(account), build).await?.response;
        if response.status == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        require_success(operation, &response)?;
        // Swagger and prose disagree on the body (`{}` or nothing), but it is nothing else.
        let body = response.body.trim_ascii();
        if !body.is_empty() && serde_json::from_slice::<serde_json::Value>(body).is_err() {
            return Err(operation.unreadable(&response, "the reply is not JSON"));
        }
        Ok(true)
    }

    /// `GET …/invites`: the first page, of those to `email` if one is given, or the one at
    /// `position`, whose token carries the filter. With `account`, those of that tenancy only.
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

    /// `GET …/members`, likewise; there is no filter by address. With `account`, the members of that
    /// tenancy only.
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

    /// `GET …/invites?page_size=1`, which changes nothing and needs the right to invite; the
    /// tenancy that the token shows.
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
        let reply = self.call(context, operation, Only::there(account), build).await?;
        require_success(operation, &reply.response)?;
        Ok(reply)
    }

    /// Makes a request with today's token, and again with another one while it is answered by 401.
    /// With `only`, tokens that do not show that tenancy are not used.
    async fn call(
        &self,
        context: &CallContext,
        operation: &Operation,
        only: Option<Only<'_>>,
        build: impl Fn() -> Request,
    ) -> Result<Reply, ProviderError> {
        let mut access = self.auth.access(context, operation).await?;
        loop {
            if let Some(only) = &only {
                only.require(operation, access.account().as_deref())?;
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

    /// The same of a request to the list of all invites, which is there for whoever knows its path.
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
        // An empty or dotted segment would name the whole list, or something outside it.
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
    /// Where `token` leads from `previous`. None: in a circle.
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

    /// As one text without meaning to callers.
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

#[cfg(test)]
pub(crate) mod peer {
    //! A loopback service with canned answers, and a provider that talks to it.

    use std::sync::{Arc, Mutex, PoisonError};

    use invite_core::{
        BuildContext, Clock, Doubt, InviteId, InviteProvider, Invitee, ManualClock, NewInvite,
        Recipient, Remote, Status,
        http::{AddressGuard, HttpClient},
        secret::{Credential, Secret, SecretRef},
    };
    use jiff::Timestamp;
    use serde_json::{Map, Value, json};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    pub const NOW: &str = "2026-11-21T10:00:00Z";
    pub const EMAIL: &str = "Ada@example.org";
    pub const INVITES: &str = "/archivist/iam/v1/invites";

    /// A request as it arrived.
    #[derive(Clone, Debug)]
    pub struct Asked {
        /// Method and path with query.
        pub line: String,
        pub head: String,
        pub body: String,
    }

    impl Asked {
        pub fn header(&self, name: &str) -> Option<&str> {
            self.head.lines().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        }

        pub fn is(&self, start: &str) -> bool {
            self.line.starts_with(start)
        }
    }

    pub struct Peer {
        pub base_url: String,
        asked: Arc<Mutex<Vec<Asked>>>,
    }

    impl Peer {
        /// Answers each request, one after the other.
        pub async fn start(
            mut answer: impl FnMut(&Asked) -> (u16, String) + Send + 'static,
        ) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let base_url = format!("http://{}", listener.local_addr().unwrap());
            let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
            let log = asked.clone();
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let Some(request) = read(&mut stream).await else { continue };
                    log.lock().unwrap().push(request.clone());
                    let (status, body) = answer(&request);
                    let reply = format!(
                        "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    let _ = stream.write_all(reply.as_bytes()).await;
                }
            });
            Self { base_url, asked }
        }

        /// Everything asked so far.
        pub fn asked(&self) -> Vec<Asked> {
            self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }

        /// How many requests of a kind were made.
        pub fn count(&self, start: &str) -> usize {
            self.asked().iter().filter(|asked| asked.is(start)).count()
        }
    }

    async fn read(stream: &mut TcpStream) -> Option<Asked> {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let (line, head) = head.split_once("\r\n")?;
                let line = line.strip_suffix(" HTTP/1.1")?.to_owned();
                let asked = Asked { line, head: head.to_owned(), body: body.to_owned() };
                let length = asked.header("content-length").map_or(0, |l| l.parse().unwrap());
                if body.len() >= length {
                    return Some(asked);
                }
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
    }

    pub struct Bench {
        pub provider: Arc<dyn InviteProvider>,
        pub clock: ManualClock,
        pub secrets: Vec<Arc<Secret>>,
    }

    /// A provider with these settings and secrets, at a fixed time.
    pub fn bench(base_url: &str, mut settings: Value, secrets: &[&str]) -> Bench {
        settings["base_url"] = json!(base_url);
        let secrets: Vec<_> = secrets
            .iter()
            .map(|text| {
                let reference = SecretRef::Literal((*text).into());
                Arc::new(Secret::new(&reference, (*text).into()))
            })
            .collect();
        let clock = ManualClock::new(NOW.parse().unwrap());
        let shared = secrets.clone();
        let provider = crate::build(&BuildContext {
            name: "acme",
            settings: &settings,
            clock: Arc::new(clock.clone()),
            http: HttpClient::new(AddressGuard::default()).unwrap(),
            resolve_secret: &move |_| Ok(Credential::new(shared.clone())),
        })
        .unwrap();
        Bench { provider, clock, secrets }
    }

    pub fn with_token(peer: &Peer) -> Bench {
        bench(&peer.base_url, json!({"bearer_token": "t"}), &["token-1"])
    }

    pub fn context() -> CallContext {
        CallContext::new(std::time::Duration::from_secs(10))
    }

    pub fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    pub fn invitee(message: Option<&str>) -> Invitee {
        let message = message.map(str::to_owned);
        Invitee { email: EMAIL.into(), message, ..Invitee::default() }
    }

    pub fn recipient(bench: &Bench, message: Option<&str>) -> Recipient {
        let invitee = invitee(message);
        let invite = NewInvite { invitee: invitee.clone(), ..NewInvite::default() };
        let resolved = bench.provider.resolve(&invite).unwrap();
        Recipient {
            id: InviteId::generate(),
            address: invitee.email.parse().unwrap(),
            invitee,
            destination: resolved.destination,
            params: resolved.params,
        }
    }

    pub fn remote(bench: &Bench) -> Remote {
        let Recipient { destination, invitee, address, .. } = recipient(bench, None);
        Remote {
            destination,
            provider_ref: Some("invites/1".into()),
            data: Map::from_iter([("identity".to_owned(), json!("invites/1"))]),
            invitee,
            address,
            index: 0,
            status: Status::Pending,
            expires_at: Some(at("2026-12-01T10:00:00Z")),
            revoke_sent: false,
        }
    }

    /// A call begun now, whose outcome is unknown.
    pub async fn doubt(bench: &Bench, recipient: &Recipient) -> Doubt {
        let recipients = vec![recipient.clone()];
        let now = bench.clock.now();
        let call = bench.provider.prepare(&context(), &recipients, now).await.unwrap();
        let data = Map::new();
        Doubt { call, recipients, first_attempts: vec![now], started_at: now, data }
    }

    pub fn invite(id: &str, email: &str, message: &str) -> Value {
        json!({
            "identity": format!("invites/{id}"), "email": email, "message": message,
            "expiry_time": "2026-12-01T10:00:00Z",
        })
    }

    /// A JWT of a tenancy, good for nothing else.
    pub fn jwt(tenancy: &str, serial: usize) -> String {
        let claims = json!({"jit_tenant_id": tenancy, "jti": serial.to_string()}).to_string();
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims))
    }
}
