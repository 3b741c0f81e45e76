//! A request's body that records whether a byte of it can have left, and asks a guard before one does.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, OnceLock,
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
/// The attempt was given up before any byte left, so none may leave any more.
pub(super) const ABANDONED: u8 = 2;

/// Asked when the connection takes a body; an error says why the body must not leave.
#[derive(Clone)]
pub(super) struct Guard(pub Arc<dyn Fn() -> Result<(), String> + Send + Sync>);

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

/// A body that notes when the connection first asks for it. It gives nothing once the attempt was given up, or if
/// its guard keeps it back.
pub(super) struct WatchedBody {
    pub bytes: Option<Bytes>,
    pub phase: Arc<AtomicU8>,
    pub guard: Option<Guard>,
    /// Why the guard kept the body back, if it did.
    pub kept_back: Arc<OnceLock<String>>,
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let phase = &self.phase;
        // This is the last moment to keep the body back: after it nothing of ours stands between the bytes and
        // the network.
        if phase.load(Ordering::Acquire) == WAITING
            && let Some(Err(why)) = self.guard.as_ref().map(|guard| (guard.0)())
        {
            // If the attempt was given up meanwhile, its phase says so already.
            let _ = phase.compare_exchange(WAITING, ABANDONED, Ordering::AcqRel, Ordering::Acquire);
            return Poll::Ready(Some(Err(std::io::Error::other(
                self.kept_back.get_or_init(|| why).clone(),
            ))));
        }
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
        let bytes = Some(Bytes::from_static(b"{}"));
        let mut body = WatchedBody { bytes, phase, guard: None, kept_back: Arc::default() };
        let polled = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        assert!(polled.unwrap().is_err());
    }
}
