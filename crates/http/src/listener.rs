//! Connections: how many there may be, how long each may keep the gateway waiting, and HTTP/1.1 on
//! them. What a request asks for is the router's to say.

mod connection;
mod forwarded;
mod pace;
mod progress;
mod refusal;
mod room;
mod tls;

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderValue, header::STRICT_TRANSPORT_SECURITY},
    middleware::map_response,
    response::Response,
};
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use pace::BodyTimedOut;
use room::Room;
pub(crate) use room::subscriber;
pub use tls::{Tls, TlsFiles};

use crate::shares::Shares;

/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// How long to wait where no connection can be accepted, as when the machine has no descriptor left.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// How many connections there may be, and how long each may take for what.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections in all (`server.max_connections`).
    pub max_connections: usize,
    /// Connections of one address (`server.max_connections_per_address`).
    pub max_connections_per_address: usize,
    /// From a new connection, or the first byte of a further request, to the end of its head
    /// (`server.head_timeout`).
    pub head_timeout: Duration,
    /// From the end of a request's head to the end of its body (`server.body_timeout`).
    pub body_timeout: Duration,
    /// Until an answer is taken by the caller's machine, to its end (`server.answer_timeout`).
    pub answer_timeout: Duration,
    /// From an answer to the first byte of the next request (`server.idle_timeout`).
    pub idle_timeout: Duration,
}

/// What browsers are told of an address with TLS: not to use it without for two years
/// (<https://www.rfc-editor.org/rfc/rfc6797>).
const ONLY_WITH_TLS: HeaderValue = HeaderValue::from_static("max-age=63072000; includeSubDomains");

/// On an answer: how much later than at once it is to be sent. A connection whose answer is held back
/// goes where its place is needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HoldBack(pub Duration);

/// The address that a request came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientAddress(pub IpAddr);

/// Accepts connections, within bounds that all of its sockets share. Cloning shares them too.
#[derive(Clone)]
pub struct Listener {
    bounds: Bounds,
    room: Arc<Room>,
    tls: Option<Tls>,
    trusted_proxies: Arc<[IpNet]>,
    /// Requests under way that proxies forward, of one address as many as it may have connections.
    forwarded: Arc<Shares<IpAddr>>,
}

impl Listener {
    /// A listener that serves nothing yet. Proxies at these addresses are believed whom they forward
    /// for: the limit of one address holds for the requests of each of those, not for the proxy.
    pub fn new(bounds: Bounds, tls: Option<Tls>, trusted_proxies: Vec<IpNet>) -> Self {
        let room = Room::new(bounds.max_connections, bounds.max_connections_per_address);
        let forwarded = Shares::new(usize::MAX, bounds.max_connections_per_address);
        let (room, trusted_proxies) = (Arc::new(room), trusted_proxies.into());
        Self { bounds, room, tls, trusted_proxies, forwarded }
    }

    /// Serves what comes to this socket until `closing`. Then nothing more is accepted, idle
    /// connections are closed, and the others once they are answered: it returns after the last.
    pub async fn serve(self, socket: TcpListener, router: Router, closing: CancellationToken) {
        let connections = TaskTracker::new();
        let router = match self.tls {
            Some(_) => router.layer(map_response(keep_to_tls)),
            None => router,
        };
        let accepting = async {
            loop {
                let (stream, peer) = accept(&socket).await;
                // The socket of who finds no room is closed here.
                let is_proxy = forwarded::is_trusted(peer, &self.trusted_proxies);
                if let Some(place) = self.room.take(peer, is_proxy).await {
                    let context = connection::Context {
                        peer,
                        listener: self.clone(),
                        router: router.clone(),
                        progress: place.progress.clone(),
                        closing: closing.clone(),
                    };
                    connections.spawn(connection::serve(stream, place, context));
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
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => return (stream, peer.ip().to_canonical()),
            // It was gone before it was accepted.
            Err(error)
                if matches!(
                    error.kind(),
                    ConnectionAborted | ConnectionRefused | ConnectionReset
                ) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections; trying again in a second");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}
