//! A body that nobody reads, since its request is refused: what its sender still sends is taken and thrown away for a while.
//! Who is cut off while sending finds a broken connection, and never reads why.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use futures_util::future::poll_fn;
use http_body::{Frame, SizeHint};

/// How much is thrown away, in bytes, and for how long.
const MAX_DISCARDED: usize = 8 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// A body that the one who answers may read, and of which the connection keeps a handle.
pub(super) struct Shared<B>(Arc<Mutex<B>>);

impl<B: HttpBody<Data = Bytes> + Unpin + Send + 'static> Shared<B> {
    pub(super) fn new(body: B) -> Self {
        Self(Arc::new(Mutex::new(body)))
    }

    /// The handle that reads.
    pub(super) fn reader(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// Throws away what is left, if nobody reads it any more.
    pub(super) fn discard(self) {
        // Who still reads, reads on.
        let Some(body) = Arc::into_inner(self.0) else { return };
        let mut body = body.into_inner().unwrap_or_else(PoisonError::into_inner);
        if body.is_end_stream() {
            return;
        }
        tokio::spawn(tokio::time::timeout(DISCARD_TIMEOUT, async move {
            let mut left = MAX_DISCARDED;
            while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                let Some(less) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { break };
                left = less;
            }
        }));
    }

    fn body(&self) -> MutexGuard<'_, B> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin + Send + 'static> HttpBody for Shared<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut *self.body()).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body().size_hint()
    }
}
