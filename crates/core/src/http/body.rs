//! A request's body that knows whether a byte of it can have left.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The connection has not asked for the body yet.
pub(super) const WAITING: u8 = 0;
/// A byte may have left.
pub(super) const LEFT: u8 = 1;
/// The attempt was given up before any byte left: none may leave any more.
pub(super) const ABANDONED: u8 = 2;

/// A body that notes when the connection first asks for it, and that gives nothing once the attempt
/// was given up.
pub(super) struct WatchedBody {
    pub bytes: Option<Bytes>,
    pub phase: Arc<AtomicU8>,
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let phase = &self.phase;
        match phase.compare_exchange(WAITING, LEFT, Ordering::AcqRel, Ordering::Acquire) {
            Err(ABANDONED) => {
                Poll::Ready(Some(Err(std::io::Error::other("the attempt was given up"))))
            }
            _ => Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_of_an_attempt_that_was_given_up_is_never_handed_out() {
        let phase = Arc::new(AtomicU8::new(ABANDONED));
        let mut body = WatchedBody { bytes: Some(Bytes::from_static(b"{}")), phase };
        let polled = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        assert!(polled.unwrap().is_err());
    }
}
