//! A network that fails: a TCP proxy between a program and a server, such as the gateway and
//! PostgreSQL, that goes silent, cuts and delays.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Passes everything on until it is told otherwise; ends with every connection when dropped.
pub struct Proxy {
    address: SocketAddr,
    traffic: watch::Sender<Traffic>,
    accepting: JoinHandle<()>,
}

#[derive(Clone, Copy)]
struct Traffic {
    requests: Passage,
    answers: Passage,
    delay: Duration,
    /// How often all connections were stranded.
    stranded: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Passage {
    Open,
    Held,
    Cut,
}

impl Proxy {
    /// A proxy before the server at this address, such as `127.0.0.1:5432`.
    pub async fn before(server: &str) -> Self {
        let server = server.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = Traffic {
            requests: Passage::Open,
            answers: Passage::Open,
            delay: Duration::ZERO,
            stranded: 0,
        };
        let traffic = watch::Sender::new(open);
        let orders = traffic.subscribe();
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(connect(client, server.clone(), orders.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, traffic, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing passes either way, and nothing is closed: neither on the connections
    /// that there are nor on new ones. What was on its way arrives when it is restored, even if its
    /// sender has given up meanwhile, as on a network that carries again.
    pub fn silent(&self) {
        self.pass(Passage::Held, Passage::Held);
    }

    /// Requests still reach the server, and answers do not come back.
    pub fn silence_answers(&self) {
        self.pass(Passage::Open, Passage::Held);
    }

    /// The connections that there are stay silent for good, as where a firewall has forgotten them.
    /// New ones pass.
    pub fn strand(&self) {
        self.traffic.send_modify(|traffic| traffic.stranded += 1);
    }

    /// Closes every connection, and each new one as soon as it is made. What was on its way is lost.
    pub fn cut(&self) {
        self.pass(Passage::Cut, Passage::Cut);
    }

    /// Everything passes again.
    pub fn restore(&self) {
        self.pass(Passage::Open, Passage::Open);
    }

    /// Holds back whatever passes for this long, each way.
    pub fn delay(&self, delay: Duration) {
        self.traffic.send_modify(|traffic| traffic.delay = delay);
    }

    fn pass(&self, requests: Passage, answers: Passage) {
        self.traffic.send_modify(|traffic| {
            traffic.requests = requests;
            traffic.answers = answers;
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connect(client: TcpStream, server: String, orders: watch::Receiver<Traffic>) {
    let mut opened = orders.clone();
    let mut cut = orders.clone();
    let passing = async move {
        if opened.wait_for(|traffic| traffic.requests == Passage::Open).await.is_err() {
            return;
        }
        let stranded = orders.borrow().stranded;
        let passes = move |passage: Passage, traffic: &Traffic| {
            passage == Passage::Open && traffic.stranded == stranded
        };
        let Ok(server) = TcpStream::connect(server).await else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::join!(
            pump(from_client, to_server, orders.clone(), |own| passes(own.requests, own)),
            pump(from_server, to_client, orders, |own| passes(own.answers, own)),
        );
    };
    tokio::select! {
        () = passing => {}
        // Also when the proxy is gone.
        _ = cut.wait_for(|traffic| traffic.requests == Passage::Cut) => {}
    }
}

/// Carries one way until an end closes.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut orders: watch::Receiver<Traffic>,
    passes: impl Fn(&Traffic) -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        let delay = orders.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if orders.wait_for(&passes).await.is_err() {
            return;
        }
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            let _ = to.shutdown().await;
            return;
        }
    }
}
