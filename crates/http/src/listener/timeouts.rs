//! The timeouts of a connection: of its bytes, of the body of a request, and of the body of an answer.

use std::{
    error::Error,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use super::{
    Bounds,
    progress::{Phase, Progress},
};

/// A connection as a stream that fails once the time is over that the connection may take in its present
/// phase.
///
/// It does not send what hyper writes before there is a request, which is hyper's refusal of a head.
pub(super) struct TimedStream<S> {
    pub stream: S,
    /// What hyper wrote to refuse a head.
    pub kept_back: Vec<u8>,
    pub is_late: bool,
    progress: Arc<Progress>,
    bounds: Bounds,
    timer: Pin<Box<Sleep>>,
}

impl<S> TimedStream<S> {
    pub fn new(stream: S, progress: Arc<Progress>, bounds: Bounds) -> Self {
        let timer = Box::pin(tokio::time::sleep_until(Instant::now()));
        Self { stream, kept_back: Vec::new(), is_late: false, progress, bounds, timer }
    }

    /// Ready with an error once the time of the present phase is over.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let Some(deadline) = self.progress.deadline(&self.bounds) else { return Poll::Pending };
        if self.timer.deadline() != deadline {
            self.timer.as_mut().reset(deadline);
        }
        ready!(self.timer.as_mut().poll(context));
        self.is_late = true;
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    fn is_before_request(&self) -> bool {
        matches!(self.progress.now().0, Phase::Head | Phase::Idle)
    }

    fn or_timeout<T>(
        &mut self,
        done: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        match done {
            Poll::Pending => self.poll_timer(context).map(Err),
            done => done,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.progress.bytes_received();
        }
        self.or_timeout(read, context)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_before_request() {
            self.kept_back.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.or_timeout(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_before_request() {
            let before = self.kept_back.len();
            slices.iter().for_each(|bytes| self.kept_back.extend_from_slice(bytes));
            return Poll::Ready(Ok(self.kept_back.len() - before));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.or_timeout(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if let Poll::Ready(Ok(())) = flushed {
            self.progress.answer_written();
            // The timer has to be polled here: the phase has just changed, and hyper polls again
            // only when it is woken.
            return match self.poll_timer(context) {
                Poll::Ready(error) => Poll::Ready(Err(error)),
                Poll::Pending => flushed,
            };
        }
        self.or_timeout(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.or_timeout(shut, context)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the body did not come in time")]
pub(crate) struct BodyTimedOut;

/// A request's body that fails once its time is over.
struct TimedBody {
    body: Incoming,
    progress: Arc<Progress>,
    timer: Pin<Box<Sleep>>,
}

/// The body for a handler to read. It fails with [`BodyTimedOut`] after `most`.
pub(super) fn timed(body: Incoming, progress: Arc<Progress>, most: Duration) -> Body {
    if body.is_end_stream() {
        return Body::empty();
    }
    Body::new(TimedBody { body, progress, timer: Box::pin(tokio::time::sleep(most)) })
}

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        // The timer is polled first: of a body that trickles in there is always something to read.
        if self.timer.as_mut().poll(context).is_ready() {
            self.progress.wait_for_body(false);
            return Poll::Ready(Some(Err(BodyTimedOut.into())));
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.progress.wait_for_body(polled.is_pending());
        let frame = ready!(polled);
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for TimedBody {
    fn drop(&mut self) {
        self.progress.wait_for_body(false);
    }
}

/// An answer's body. Its drop tells the connection that all of it was produced.
pub(super) struct AnswerBody {
    pub body: Body,
    pub progress: Arc<Progress>,
    /// The time of an answer counts for each of its pieces, once there is one.
    pub is_endless: bool,
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        // Hyper asks for the next piece only while it has little that is not written.
        if self.is_endless {
            self.progress.continue_answer(polled.is_ready());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.progress.end_answer();
    }
}
