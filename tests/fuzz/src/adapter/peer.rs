//! A peer on loopback that answers with what it was given. It and whoever asks share one thread, so
//! that a run takes the same course each time.

use std::{
    cell::RefCell,
    sync::{Arc, Mutex},
};

use http::{HeaderName, HeaderValue};
use invite_core::{
    http::{AddressGuard, HttpClient},
    text::plain,
};
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};

use crate::{choose, texts};

const STATUSES: [u16; 16] =
    [200, 201, 202, 204, 400, 401, 403, 404, 409, 408, 412, 422, 429, 500, 503, 301];

/// What a provider answers once.
#[derive(Clone)]
pub struct Reply {
    status: u16,
    header: Option<String>,
    body: Vec<u8>,
    is_json: bool,
    /// Every text and number in the body.
    texts: Vec<String>,
}

impl Reply {
    /// A status, perhaps a header line, and the body.
    pub fn read(bytes: &[u8]) -> Self {
        let (status, rest) = bytes.split_first().unwrap_or((&b'@', &[]));
        let status = choose(*status, &STATUSES);
        let line = rest.iter().position(|byte| *byte == b'\n').map(|end| rest.split_at(end));
        let header = line.and_then(|(line, _)| header(line));
        let body = line.filter(|_| header.is_some()).map_or(rest, |(_, rest)| rest).to_vec();
        // What nobody reads may hold what cannot be read.
        let is_json = serde_json::from_slice::<IgnoredAny>(&body).is_ok();
        let value = serde_json::from_slice::<Value>(&body);
        let value = value.unwrap_or_else(|_| String::from_utf8_lossy(&body).into());
        let (mut found, numbers) = (Vec::new(), numbers(&value).into_iter());
        texts(&value, &mut found);
        let texts = found.into_iter().map(str::to_owned).chain(numbers).collect();
        Self { status, header, body, is_json, texts }
    }

    pub fn is_success(&self) -> bool {
        self.status < 300
    }

    pub fn is_json(&self) -> bool {
        self.is_json
    }

    /// It holds this text, perhaps within another, and as it is or without what is not seen.
    pub fn holds(&self, id: &str) -> bool {
        self.texts.iter().any(|text| text.contains(id) || plain(text.as_str()).contains(id))
    }

    fn to_bytes(&self) -> Vec<u8> {
        // None of these has a body, whatever it says.
        let body: &[u8] = if self.status == 204 { b"" } else { &self.body };
        let header = self.header.as_deref().unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {} X\r\n{header}content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.status,
            body.len()
        );
        [head.as_bytes(), body].concat()
    }
}

/// Every number in a value, as text.
fn numbers(value: &Value) -> Vec<String> {
    match value {
        Value::Number(number) => vec![number.to_string()],
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        Value::Object(members) => members.values().flat_map(numbers).collect(),
        Value::Null | Value::Bool(_) | Value::String(_) => Vec::new(),
    }
}

/// A header that leaves the message's frame alone.
fn header(line: &[u8]) -> Option<String> {
    let (name, value) = str::from_utf8(line).ok()?.split_once(": ")?;
    let name: HeaderName = name.parse().ok()?;
    let is_frame = ["content-length", "transfer-encoding", "connection", "content-type"];
    let value: HeaderValue = value.parse().ok()?;
    (!is_frame.contains(&name.as_str()))
        .then(|| format!("{name}: {}\r\n", value.to_str().unwrap_or_default()))
}

/// The peer, and the client that asks it.
pub struct Peer {
    runtime: Runtime,
    url: String,
    client: HttpClient,
    replies: Arc<Mutex<Replies>>,
}

#[derive(Default)]
struct Replies {
    given: Vec<Reply>,
    next: usize,
}

impl Replies {
    fn take(&mut self) -> Vec<u8> {
        let at = self.next.min(self.given.len() - 1);
        self.next += 1;
        self.given[at].to_bytes()
    }
}

thread_local! {
    static PEER: RefCell<Peer> = RefCell::new(Peer::start());
}

impl Peer {
    /// With this thread's peer.
    pub fn with(ask: impl FnOnce(&Self)) {
        PEER.with_borrow(ask);
    }

    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let replies: Arc<Mutex<Replies>> = Arc::default();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let kept = replies.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, kept.clone()));
            }
        });
        let client = HttpClient::new(AddressGuard::default()).unwrap();
        Self { runtime, url, client, replies }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn client(&self) -> HttpClient {
        self.client.clone()
    }

    pub fn set_replies(&self, replies: &[Reply]) {
        *self.replies.lock().unwrap() = Replies { given: replies.to_vec(), next: 0 };
    }

    pub fn block_on(&self, work: impl Future<Output = ()>) {
        self.runtime.block_on(work);
    }
}

async fn serve(mut stream: TcpStream, replies: Arc<Mutex<Replies>>) {
    let _ = stream.set_nodelay(true);
    let (mut read, mut chunk) = (Vec::new(), [0; 16 * 1024]);
    loop {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(count) => read.extend_from_slice(&chunk[..count]),
        }
        while let Some(length) = whole_request(&read) {
            read.drain(..length);
            let reply = replies.lock().unwrap().take();
            if stream.write_all(&reply).await.is_err() {
                return;
            }
        }
    }
}

/// The length of the request at the start, once all of it is there.
fn whole_request(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|part| part == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let body: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    (bytes.len() >= head + body).then_some(head + body)
}
