//! What stands between an adapter and its simulator: it passes every byte on, and keeps a copy of
//! what the adapter sent. And a stranger's address, at which nothing must ever arrive.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::{JoinHandle, JoinSet},
};

type Bytes = Arc<Mutex<Vec<u8>>>;

/// A listener in front of a simulator.
pub struct Wire {
    /// Its base URL, without a trailing slash.
    pub url: String,
    connections: Arc<Mutex<Vec<Bytes>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// Such as `POST /events/event-456/invites?notify=2`.
    pub target: String,
    /// The headers, with lower-case names.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Wire {
    /// Passes on to the simulator at `url`.
    pub async fn to(url: &str) -> Self {
        let behind = url.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections: Arc<Mutex<Vec<Bytes>>> = Arc::default();
        let task = tokio::spawn(accept(listener, behind, connections.clone()));
        Self { url, connections, task: Mutex::new(Some(task)) }
    }

    /// Closes the port and every connection: from now on connecting is refused.
    pub async fn refuse(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
            let _ = task.await;
        }
    }

    /// Every whole request so far.
    pub fn requests(&self) -> Vec<Arrived> {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = |kept: &Bytes| kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        connections.iter().flat_map(|kept| whole_requests(&bytes(kept))).collect()
    }

    /// The same, without those for tokens.
    pub fn calls(&self) -> Vec<Arrived> {
        let mut requests = self.requests();
        requests.retain(|request| !request.target.contains("/appidp/token"));
        requests
    }
}

impl Arrived {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn body(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

async fn accept(listener: TcpListener, behind: String, kept: Arc<Mutex<Vec<Bytes>>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let copy = Bytes::default();
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(copy.clone());
        connections.spawn(pass_on(stream, behind.clone(), copy));
    }
}

async fn pass_on(stream: TcpStream, behind: String, copy: Bytes) {
    let Ok(simulator) = TcpStream::connect(behind).await else { return };
    let _ = (stream.set_nodelay(true), simulator.set_nodelay(true));
    let ((from, to), (answers, asks)) = (stream.into_split(), simulator.into_split());
    tokio::join!(pump(from, asks, Some(copy)), pump(answers, to, None));
}

/// Copies until either side ends, and hands the end on.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, copy: Option<Bytes>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if let Some(copy) = &copy {
            let mut kept = copy.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend_from_slice(&buffer[..read]);
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

fn whole_requests(mut bytes: &[u8]) -> Vec<Arrived> {
    let mut requests = Vec::new();
    while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.lines();
        let target = lines.next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.map_or(0, |(_, value)| value.parse().unwrap());
        let Some(body) = bytes.get(end + 4..end + 4 + length) else { break };
        requests.push(Arrived { target, headers, body: body.to_vec() });
        bytes = &bytes[end + 4 + length..];
    }
    requests
}

/// Somebody else's host.
pub struct Stranger {
    pub url: String,
    visitors: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Stranger {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let visitors: Arc<Mutex<Vec<SocketAddr>>> = Arc::default();
        let noted = visitors.clone();
        tokio::spawn(async move {
            while let Ok((_, visitor)) = listener.accept().await {
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(visitor);
            }
        });
        Self { url, visitors }
    }

    /// How many connections came in.
    pub async fn visits(&self) -> usize {
        // A connection of our own stands behind every other in the listener's queue.
        let address = self.url.strip_prefix("http://").unwrap();
        let own = TcpStream::connect(address).await.unwrap().local_addr().unwrap();
        loop {
            let seen = self.visitors.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if seen.contains(&own) {
                return seen.len() - 1;
            }
            tokio::task::yield_now().await;
        }
    }
}
