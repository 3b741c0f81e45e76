//! One connection, from its first byte to its end.

use std::{future::poll_fn, io, net::IpAddr, sync::Arc, time::Duration};

use axum::{Router, extract::Request, http::Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{
    ClientAddress, DelayAnswer, EndlessAnswer, Listener, MAX_HEAD, forwarded,
    progress::{Phase, Progress},
    refusal,
    slots::{Slot, client_network},
    timeouts::{AnswerBody, TimedStream, timed},
};

/// For how long, and for how many bytes, what a caller sends after the last answer is read and thrown away.
/// Closing at once could destroy an answer that the caller has not read yet.
const LINGER: Duration = Duration::from_millis(500);
const MAX_LINGER_BYTES: u64 = 4 * 1024 * 1024;

#[derive(Clone)]
pub(super) struct Context {
    pub peer: IpAddr,
    pub listener: Listener,
    pub router: Router,
    pub progress: Arc<Progress>,
    pub closing: CancellationToken,
}

/// An error is why a connection was closed that its caller would have kept, as a label of the metrics.
type Closed = Result<(), &'static str>;

/// Serves one connection until it ends, its time is over, or it is evicted.
pub(super) async fn serve(stream: TcpStream, slot: Slot, context: Context) {
    let (peer, progress) = (context.peer, context.progress.clone());
    let served = tokio::select! {
        served = begin(stream, context) => served,
        () = progress.evicted() => Err("evicted"),
    };
    if let Err(reason) = served {
        metrics::counter!("http_connections_closed_total", "reason" => reason).increment(1);
        tracing::debug!(client.address = %peer, reason, "a connection was closed by the gateway");
    }
    // From here on the slot may be taken by the next connection.
    drop(slot);
}

async fn begin(stream: TcpStream, context: Context) -> Closed {
    match &context.listener.tls {
        // On the heap, so that connections without TLS have no room for what this keeps.
        Some(tls) => Box::pin(begin_tls(stream, tls.acceptor(), context)).await,
        None => converse(stream, context).await,
    }
}

async fn begin_tls(stream: TcpStream, acceptor: TlsAcceptor, context: Context) -> Closed {
    let shaken = timeout(context.listener.bounds.head_timeout, acceptor.accept(stream)).await;
    match shaken {
        Ok(Ok(stream)) => converse(stream, context).await,
        Ok(Err(error)) => {
            tracing::info!(client.address = %context.peer, %error, "a TLS handshake failed");
            Err("tls-handshake")
        }
        Err(_) => Err("head-timeout"),
    }
}

async fn converse<S>(stream: S, context: Context) -> Closed
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Context { peer, listener, progress, closing, .. } = context.clone();
    let bounds = listener.bounds;
    let paced = TokioIo::new(TimedStream::new(stream, progress.clone(), bounds));
    let service = service_fn(move |request| {
        let has_slot = context.progress.begin_request();
        let context = context.clone();
        Box::pin(async move {
            if !has_slot {
                return Err(io::Error::from(io::ErrorKind::ConnectionAborted));
            }
            Ok(answer(request, context).await)
        })
    });
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD)
        .max_header_size(MAX_HEAD)
        .serve_connection(paced, service);
    let mut is_told = false;
    let ended = loop {
        tokio::select! {
            ended = poll_fn(|task| connection.poll_without_shutdown(task)) => break ended,
            () = closing.cancelled(), if !is_told => {
                is_told = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let parts = connection.into_parts();
    let TimedStream { mut stream, kept_back, is_late, .. } = parts.io.into_inner();
    // Hyper reports no error when an idle connection ends, whatever ended it.
    if is_late {
        return Err(match progress.now().0 {
            Phase::Head => "head-timeout",
            Phase::Idle => "idle-timeout",
            _ => "answer-timeout",
        });
    }
    if ended.is_err() {
        if let Some(refusal) = refusal::of_head(&kept_back, &parts.read_buf, peer) {
            let written = timeout(bounds.head_timeout, stream.write_all(&refusal)).await;
            if matches!(written, Ok(Ok(()))) {
                linger(stream).await;
            }
            return Err("malformed");
        }
        // The caller is gone.
        return Ok(());
    }
    linger(stream).await;
    Ok(())
}

async fn answer(request: Request<Incoming>, context: Context) -> Response<AnswerBody> {
    let Context { peer, listener, router, progress, .. } = context;
    let mut request =
        request.map(|body| timed(body, progress.clone(), listener.bounds.body_timeout));
    let client = forwarded::client(peer, request.headers(), &listener.trusted_proxies);
    request.extensions_mut().insert(ClientAddress(client));
    // A request that a proxy forwards counts like a connection of its own.
    let permit = match client != peer {
        true => listener.forwarded.acquire(client_network(client), 1).map(Some),
        false => Ok(None),
    };
    let mut response = match &permit {
        Ok(_) => {
            let Ok(response) = router.oneshot(request).await;
            response
        }
        Err(_) => refusal::of_forwarded(client),
    };
    drop(permit);
    progress.begin_answer();
    if let Some(DelayAnswer(delay)) = response.extensions_mut().remove() {
        sleep(delay).await;
    }
    let is_endless = response.extensions_mut().remove::<EndlessAnswer>().is_some();
    response.map(|body| AnswerBody { body, progress, is_endless })
}

/// Closes a connection in a way that lets what was written last arrive.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let ending = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(MAX_LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // Whether the caller has read all of it cannot be known.
    let _ = timeout(LINGER, ending).await;
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;
    use crate::listener::{Bounds, Slots};

    #[tokio::test]
    async fn a_connection_without_tls_keeps_little_memory() {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let stream = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let (peer, second) = (IpAddr::from(Ipv4Addr::LOCALHOST), Duration::from_secs(1));
        let bounds = Bounds {
            max_connections: 1,
            max_connections_per_address: 1,
            head_timeout: second,
            body_timeout: second,
            answer_timeout: second,
            idle_timeout: second,
        };
        let slots = Arc::new(Slots::new(1, 1));
        let slot = slots.acquire(peer, false).await.unwrap();
        let context = Context {
            peer,
            listener: Listener::new(bounds, None, Vec::new()),
            router: Router::new(),
            progress: slot.progress.clone(),
            closing: CancellationToken::new(),
        };
        let size = size_of_val(&serve(stream, slot, context));
        // Beside it Hyper has two buffers of 8 KiB.
        assert!(size <= 4096, "{size} bytes");
    }
}
