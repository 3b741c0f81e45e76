//! The listeners: they accept connections, speak HTTP/1.1 on them, and really cut them.
//!
//! Each answer is made in a task of its own, so that, as at a real provider, a caller who gives up waiting does not
//! undo what was asked for.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Sleep;

use crate::exchange::{Cut, Exchange, Outcome, slow_pieces};
use crate::simulator::Reply;
use crate::{Error, control};

/// How long a piece of a body gets to leave before the connection is cut.
const SHORT: Duration = Duration::from_millis(20);
/// How long requests that are being answered may take after the stop.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Listener {
    pub address: SocketAddr,
    pub task: JoinHandle<()>,
}

/// Serves a simulator until `stop` is true or its sender is gone.
pub(crate) async fn listen(
    address: SocketAddr,
    exchange: Arc<Exchange>,
    stop: watch::Receiver<bool>,
) -> Result<Listener, Error> {
    let refused = |source| Error::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let task = tokio::spawn(accept(listener, exchange, stop));
    Ok(Listener { address, task })
}

async fn accept(listener: TcpListener, exchange: Arc<Exchange>, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let exchange = Arc::clone(&exchange);
                    connections.spawn(serve(stream, peer, exchange, stop.clone()));
                }
                Err(error) => {
                    // Most likely there are no file descriptors left, until connections end.
                    tracing::warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(LAST_ANSWERS, ended).await;
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    exchange: Arc<Exchange>,
    mut stop: watch::Receiver<bool>,
) {
    // Small pieces have to leave at once, or a cut would lose them.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(Arc::clone(&exchange), peer, request));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stopped(&mut stop) => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    let Err(error) = ended else { return };
    let cut = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Cut>());
    let stream = connection.into_parts().io.into_inner();
    if let Some(Cut::Reset) = cut {
        // A socket that does not linger sends RST instead of FIN when it is closed.
        let _ = stream.set_zero_linger();
    }
}

/// An error ends the connection without a byte of an answer.
async fn answer(
    exchange: Arc<Exchange>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Cut>>, Cut> {
    let (parts, body) = request.into_parts();
    if control::concerns(parts.uri.path()) {
        return Ok(whole(control::answer(&exchange, peer, parts, body).await));
    }
    let outcome = tokio::spawn(exchange.answer(parts, body)).await.map_err(|_| Cut::Closed)?;
    match outcome {
        Outcome::Whole(reply) => Ok(whole(reply)),
        Outcome::Half(reply) if reply.body().is_empty() => Err(Cut::Closed),
        Outcome::Half(reply) => Ok(reply.map(|body| half(&body, SHORT))),
        Outcome::Stalled(reply, silence) if !reply.body().is_empty() => {
            Ok(reply.map(|body| half(&body, silence)))
        }
        Outcome::Stalled(_, silence) | Outcome::Silent(silence) => {
            tokio::time::sleep(silence).await;
            Err(Cut::Closed)
        }
        Outcome::Slow(reply, pause) => {
            Ok(reply
                .map(|body| SlowBody::new(slow_pieces(&body), body.len(), pause, pause).boxed()))
        }
        Outcome::Huge(reply, size) => Ok(huge(reply, size)),
        Outcome::Cut(cut) => Err(cut),
    }
}

fn whole(reply: Reply) -> Response<BoxBody<Bytes, Cut>> {
    reply.map(|body| Full::new(body).map_err(|never: Infallible| match never {}).boxed())
}

/// The first half of a body, and then silence for so long.
fn half(body: &Bytes, silence: Duration) -> BoxBody<Bytes, Cut> {
    SlowBody::new(vec![body.slice(..body.len() / 2)], body.len(), SHORT, silence).boxed()
}

/// White space, which a reader of JSON has to read to its end before it finds nothing.
fn huge(mut reply: Reply, size: usize) -> Response<BoxBody<Bytes, Cut>> {
    let piece = Bytes::from(vec![b' '; 64 << 10]);
    let mut pieces = vec![piece.clone(); size / piece.len()];
    pieces.push(piece.slice(..size % piece.len()));
    reply.headers_mut().remove(header::CONTENT_LENGTH);
    reply.map(|_| SlowBody::new(pieces, size, Duration::ZERO, Duration::ZERO).boxed())
}

/// A body that arrives in pieces, with a pause before each. If these are fewer bytes than announced, silence follows the
/// last one, and then the connection is cut.
#[derive(Debug)]
struct SlowBody {
    pieces: VecDeque<Bytes>,
    missing: u64,
    pause: Duration,
    silence: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl SlowBody {
    fn new(pieces: Vec<Bytes>, announced: usize, pause: Duration, silence: Duration) -> Self {
        let sleep = Box::pin(tokio::time::sleep(pause));
        Self { pieces: pieces.into(), missing: announced as u64, pause, silence, sleep }
    }
}

impl Body for SlowBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.missing == 0 {
            return Poll::Ready(None);
        }
        ready!(self.sleep.as_mut().poll(context));
        match self.pieces.pop_front() {
            Some(piece) => {
                let wait = if self.pieces.is_empty() { self.silence } else { self.pause };
                self.sleep.as_mut().reset(tokio::time::Instant::now() + wait);
                self.missing = self.missing.saturating_sub(piece.len() as u64);
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            None => Poll::Ready(Some(Err(Cut::Closed))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.missing == 0
    }

    /// By this hyper sets `Content-Length`.
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.missing)
    }
}
