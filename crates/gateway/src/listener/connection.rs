//! One connection, from its first byte to its end.

use std::{future::poll_fn, io, net::IpAddr, sync::Arc, time::Duration};

use axum::{Router, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{
    Bounds, ClientAddress, MAX_HEAD,
    pace::{AnswerBody, Paced, timed},
    progress::{Phase, Progress},
    refusal,
    room::Place,
};

/// How long, and how many bytes, what a caller still sends after the last answer is waited for and
/// thrown away. To close at once would destroy an answer that the caller has not read yet.
const LINGER: Duration = Duration::from_millis(500);
const MAX_LINGER: u64 = 4 * 1024 * 1024;

/// Serves one connection until it ends, its time is over, or its place is needed.
pub(super) async fn serve<S>(
    stream: S,
    peer: IpAddr,
    router: Router,
    place: Place,
    bounds: Bounds,
    closing: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let progress = place.progress.clone();
    let served = tokio::select! {
        served = converse(stream, peer, router, progress.clone(), bounds, closing) => served,
        () = progress.evicted() => Err("evicted"),
    };
    if let Err(reason) = served {
        metrics::counter!("http_connections_closed_total", "reason" => reason).increment(1);
        tracing::debug!(client.address = %peer, reason, "a connection was closed");
    }
}

/// Why a connection was closed that its caller would have kept.
type Closed = Result<(), &'static str>;

async fn converse<S>(
    stream: S,
    peer: IpAddr,
    router: Router,
    progress: Arc<Progress>,
    bounds: Bounds,
    closing: CancellationToken,
) -> Closed
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let paced = TokioIo::new(Paced::new(stream, progress.clone(), bounds));
    let service = {
        let progress = progress.clone();
        service_fn(move |request| {
            let has_place = progress.begin_request();
            let (router, progress) = (router.clone(), progress.clone());
            Box::pin(async move {
                if !has_place {
                    return Err(io::Error::from(io::ErrorKind::ConnectionAborted));
                }
                Ok(answer(request, peer, router, progress, bounds.body_timeout).await)
            })
        })
    };
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD)
        .max_header_size(MAX_HEAD)
        .serve_connection(paced, service);
    let mut is_told = false;
    let ended = loop {
        tokio::select! {
            ended = poll_fn(|context| connection.poll_without_shutdown(context)) => break ended,
            () = closing.cancelled(), if !is_told => {
                is_told = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let parts = connection.into_parts();
    let Paced { mut stream, kept_back, is_late, .. } = parts.io.into_inner();
    // Hyper takes the end of an idle connection for a good one, whatever the reason.
    if is_late {
        return Err(match progress.now().0 {
            Phase::Head => "head-timeout",
            Phase::Idle => "idle-timeout",
            _ => "answer-timeout",
        });
    }
    if ended.is_err() {
        if let Some(refusal) = refusal::of_head(&kept_back, &parts.read_buf, peer) {
            let written = tokio::time::timeout(bounds.head_timeout, stream.write_all(&refusal));
            if matches!(written.await, Ok(Ok(()))) {
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

async fn answer(
    request: Request<Incoming>,
    peer: IpAddr,
    router: Router,
    progress: Arc<Progress>,
    body_timeout: Duration,
) -> axum::http::Response<AnswerBody> {
    let mut request = request.map(|body| timed(body, body_timeout));
    request.extensions_mut().insert(ClientAddress(peer));
    let Ok(response) = router.oneshot(request).await;
    progress.begin_answer();
    response.map(|body| AnswerBody { body, progress })
}

/// Ends a connection so that what was written last arrives.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let ending = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(MAX_LINGER), &mut tokio::io::sink()).await
    };
    // Whether the caller has taken it is not known either way.
    let _ = tokio::time::timeout(LINGER, ending).await;
}
