//! Connections: how many there may be, how long each may keep the gateway waiting, and HTTP/1.1 on
//! them. What a request asks for is the router's to say.

mod connection;
mod forwarded;
mod progress;
mod refusal;
mod slots;
mod timeouts;
mod tls;

use std::{io::ErrorKind, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderValue, header::STRICT_TRANSPORT_SECURITY},
    middleware::map_response,
    response::Response,
};
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use slots::Slots;
pub(crate) use slots::client_network;
pub(crate) use timeouts::BodyTimedOut;
pub use tls::{Tls, TlsFiles};

use crate::pool::Pool;

/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// How long to wait after no connection could be accepted, as when the machine has no file descriptor left.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// How many connections there may be, and how long each may take for what: the settings of these names.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub max_connections: usize,
    pub max_connections_per_address: usize,
    /// From a new connection, or the first byte of a further request, to the end of its head.
    pub head_timeout: Duration,
    /// From the end of a request's head to the end of its body.
    pub body_timeout: Duration,
    /// From an answer to the moment when the caller's machine has taken all of it.
    pub answer_timeout: Duration,
    /// From an answer to the first byte of the next request.
    pub idle_timeout: Duration,
}

/// Tells browsers to use this host only with TLS for two years (<https://www.rfc-editor.org/rfc/rfc6797>).
const ONLY_WITH_TLS: HeaderValue = HeaderValue::from_static("max-age=63072000; includeSubDomains");

/// An extension of an answer: by how much it is delayed. While it is, its connection is closed if its slot is needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DelayAnswer(pub Duration);

/// An extension of an answer that goes on until its caller has enough of it: its time counts anew with each piece, and not while it has none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndlessAnswer;

#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientAddress(pub IpAddr);

/// Accepts connections, within bounds that all sockets served by it share. Cloning shares them too.
#[derive(Clone)]
pub struct Listener {
    bounds: Bounds,
    slots: Arc<Slots>,
    tls: Option<Tls>,
    trusted_proxies: Arc<[IpNet]>,
    /// The requests under way that proxies forward. Of one address there may be as many as it may have connections.
    forwarded: Arc<Pool<IpAddr>>,
}

impl Listener {
    /// Proxies at `trusted_proxies` are believed whom they forward for: the limit for one address then
    /// holds for the requests of each of those, not for the proxy.
    pub fn new(bounds: Bounds, tls: Option<Tls>, trusted_proxies: Vec<IpNet>) -> Self {
        let slots = Slots::new(bounds.max_connections, bounds.max_connections_per_address);
        let forwarded = Pool::new(usize::MAX, bounds.max_connections_per_address);
        let (slots, trusted_proxies) = (Arc::new(slots), trusted_proxies.into());
        Self { bounds, slots, tls, trusted_proxies, forwarded }
    }

    /// Serves what comes to this socket until `closing`. Then it accepts nothing more, closes idle
    /// connections at once and the others after their answer, and returns after the last.
    pub async fn serve(self, socket: TcpListener, router: Router, closing: CancellationToken) {
        let connections = TaskTracker::new();
        let router = match self.tls {
            Some(_) => router.layer(map_response(keep_to_tls)),
            None => router,
        };
        let accepting = async {
            loop {
                let (stream, peer) = accept(&socket).await;
                // Without a slot the connection is closed here, by dropping it.
                let is_proxy = forwarded::is_trusted(peer, &self.trusted_proxies);
                if let Some(slot) = self.slots.acquire(peer, is_proxy).await {
                    let context = connection::Context {
                        peer,
                        listener: self.clone(),
                        router: router.clone(),
                        progress: slot.progress.clone(),
                        closing: closing.clone(),
                    };
                    connections.spawn(connection::serve(stream, slot, context));
                }
            }
        };
        tokio::select! {
            () = accepting => {}
            () = closing.cancelled() => {}
        }
        drop(socket);
        connections.close();
        connections.wait().await;
    }
}

async fn keep_to_tls(mut response: Response) -> Response {
    response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, ONLY_WITH_TLS);
    response
}

async fn accept(socket: &TcpListener) -> (TcpStream, IpAddr) {
    const GONE: [ErrorKind; 3] =
        [ErrorKind::ConnectionAborted, ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset];
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => return (stream, peer.ip().to_canonical()),
            // The connection was gone before it was accepted.
            Err(error) if GONE.contains(&error.kind()) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections; trying again in a second");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}
