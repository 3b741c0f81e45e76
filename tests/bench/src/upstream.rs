//! A Turnkey that costs next to nothing: it answers every request with what the adapter needs, counts calls and
//! invitations, and verifies the stamp of some of them.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use p256::ecdsa::{DerSignature, VerifyingKey, signature::Verifier};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio::time::sleep;

pub const ORGANIZATION: &str = "89881fc7-6ff3-4b43-b962-916698f8ff58";
pub const USER: &str = "c7517305-6772-4e74-8101-108fbab0c11e";
/// Made up.
pub const PRIVATE_KEY: &str = "2f1d1b8a5c3e4f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8";

const CREATE: &str = "/public/v1/submit/create_invitations";
/// So many stamps of a cell are verified at first, and one of so many later on: it costs more than all the rest here.
const VERIFIED_FIRST: u64 = 3;
const VERIFIED_LATER: u64 = 1024;

/// Clones share it.
#[derive(Clone)]
pub struct Upstream {
    pub address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    delay_ms: AtomicU64,
    /// Never set back, so that no id comes twice.
    ids: AtomicU64,
    calls: AtomicU64,
    invitations: AtomicU64,
    verified: AtomicU64,
    refused: AtomicU64,
}

/// What arrived since the cell began.
#[derive(Clone, Copy)]
pub struct Arrived {
    pub calls: u64,
    pub invitations: u64,
    pub verified: u64,
    pub refused: u64,
}

impl Upstream {
    /// On a thread of its own.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<State>::default());
        let served = Arc::clone(&state);
        thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, serve(listener, served));
        });
        Self { address, state }
    }

    /// From now on it answers after this long, and counts from 0.
    pub fn begin(&self, delay: Duration) {
        let State { delay_ms, calls, invitations, verified, refused, .. } = &*self.state;
        delay_ms.store(delay.as_millis() as u64, Relaxed);
        for count in [calls, invitations, verified, refused] {
            count.store(0, Relaxed);
        }
    }

    pub fn arrived(&self) -> Arrived {
        let State { calls, invitations, verified, refused, .. } = &*self.state;
        let [calls, invitations, verified, refused] =
            [calls, invitations, verified, refused].map(|count| count.load(Relaxed));
        Arrived { calls, invitations, verified, refused }
    }
}

async fn serve(listener: std::net::TcpListener, state: Arc<State>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::task::spawn_local(serve_connection(stream, Arc::clone(&state)));
    }
}

async fn serve_connection(stream: TcpStream, state: Arc<State>) {
    let _ = stream.set_nodelay(true);
    let answering = service_fn(|request: Request<Incoming>| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(state.answer(request).await) }
    });
    // A peer may end while its connections are open.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answering).await;
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else {
            return reply(StatusCode::BAD_REQUEST, "{}".into());
        };
        let body = body.to_bytes();
        let text = match head.uri.path() {
            CREATE => {
                let stamp = head.headers.get("x-stamp").and_then(|stamp| stamp.to_str().ok());
                if !self.is_good(stamp, &body) {
                    self.refused.fetch_add(1, Relaxed);
                    let why = r#"{"code":16,"message":"the stamp does not verify"}"#;
                    return reply(StatusCode::UNAUTHORIZED, why.into());
                }
                self.activity(&body, br#""receiverUserEmail""#)
            }
            // What nginx passes on as it came.
            "/v1/invites" => self.activity(&body, br#""email""#),
            "/public/v1/query/whoami" => format!(
                r#"{{"organizationId":"{ORGANIZATION}","organizationName":"Bench","userId":"{USER}","username":"bench"}}"#
            ),
            "/public/v1/query/list_activities" => r#"{"activities":[]}"#.into(),
            "/public/v1/query/get_organization" => format!(
                r#"{{"organizationData":{{"organizationId":"{ORGANIZATION}","invitations":[]}}}}"#
            ),
            _ => return reply(StatusCode::NOT_FOUND, r#"{"code":5,"message":"not found"}"#.into()),
        };
        let delay = self.delay_ms.load(Relaxed);
        if delay > 0 {
            sleep(Duration::from_millis(delay)).await;
        }
        reply(StatusCode::OK, text)
    }

    /// A completed activity with an id for each invitation, which are told by a member that each of them has.
    fn activity(&self, body: &[u8], member: &[u8]) -> String {
        let count = occurrences(body, member);
        self.calls.fetch_add(1, Relaxed);
        self.invitations.fetch_add(count, Relaxed);
        let first = self.ids.fetch_add(count + 1, Relaxed);
        let id = |number: u64| format!("0196b0f7-801d-75d8-a40e-{number:012x}");
        let ids: Vec<String> =
            (1..=count).map(|place| format!(r#""{}""#, id(first + place))).collect();
        let fingerprint = base16ct::lower::encode_string(&Sha256::digest(body));
        format!(
            r#"{{"activity":{{"id":"{}","organizationId":"{ORGANIZATION}","status":"ACTIVITY_STATUS_COMPLETED","type":"ACTIVITY_TYPE_CREATE_INVITATIONS","intent":{{}},"result":{{"createInvitationsResult":{{"invitationIds":[{}]}}}},"votes":[],"fingerprint":"sha256:{fingerprint}","canApprove":false,"canReject":true,"failure":null}}}}"#,
            id(first),
            ids.join(","),
        )
    }

    /// Whether the stamp verifies, as far as it is looked at.
    fn is_good(&self, stamp: Option<&str>, body: &[u8]) -> bool {
        let Some(stamp) = stamp else { return false };
        let number = self.calls.load(Relaxed);
        if number >= VERIFIED_FIRST && !number.is_multiple_of(VERIFIED_LATER) {
            return true;
        }
        self.verified.fetch_add(1, Relaxed);
        verifies(stamp, body).unwrap_or(false)
    }
}

fn verifies(stamp: &str, body: &[u8]) -> Option<bool> {
    let stamp: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(stamp).ok()?).ok()?;
    let bytes = |name: &str| base16ct::mixed::decode_vec(stamp[name].as_str()?).ok();
    let key = VerifyingKey::from_sec1_bytes(&bytes("publicKey")?).ok()?;
    let signature = DerSignature::try_from(bytes("signature")?.as_slice()).ok()?;
    Some(stamp["scheme"] == "SIGNATURE_SCHEME_TK_API_P256" && key.verify(body, &signature).is_ok())
}

/// How often a text stands in another.
pub fn occurrences(text: &[u8], sought: &[u8]) -> u64 {
    let starts = text.iter().enumerate().filter(|(_, byte)| **byte == sought[0]);
    starts.filter(|(at, _)| text[*at..].starts_with(sought)).count() as u64
}

fn reply(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
