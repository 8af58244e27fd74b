//! A stream that breaks off when the other side takes nothing of what is written for too long.
//!
//! A client that sends requests and does not read would otherwise hold a connection and its buffers for ever.
//!
//! A client that closes its sending side may have gone, or may wait for its answer: the end of what it sends is held back
//! for a while as long as a request is under way, so that it gets the answer if that comes soon, and a request of
//! one who has gone is taken back a little later.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::idle::Connection;

/// How long a request goes on whose sender has closed its side.
const HALF_CLOSED: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Stalled<S> {
    inner: S,
    patience: Duration,
    /// Runs while a write waits.
    waits: Option<Pin<Box<Sleep>>>,
    /// Runs since the other side sends no more.
    ended: Option<Pin<Box<Sleep>>>,
    connection: Arc<Connection>,
}

impl<S> Stalled<S> {
    pub(super) const fn new(inner: S, patience: Duration, connection: Arc<Connection>) -> Self {
        Self { inner, patience, waits: None, ended: None, connection }
    }

    /// What became of a write, unless it waited too long.
    fn judge<T>(&mut self, cx: &mut Context<'_>, written: Poll<Result<T>>) -> Poll<Result<T>> {
        if written.is_ready() {
            if self.waits.take().is_some() {
                self.connection.stirred();
            }
            return written;
        }
        let patience = self.patience;
        let waits = self.waits.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
        waits.as_mut().poll(cx).map(|()| Err(Error::new(ErrorKind::TimedOut, "nothing was taken of the answer")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalled<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        if self.ended.is_none() {
            ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
            if buffer.filled().len() > before || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        let ended = self.ended.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + HALF_CLOSED)));
        if ended.as_mut().poll(cx).is_pending() && self.connection.is_busy() {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalled<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn it_breaks_off_when_nothing_is_taken_and_lasts_while_something_is() {
        let (near, mut far) = duplex(16);
        let mut near = Stalled::new(near, Duration::from_secs(1), Connection::new(&Arc::default()));
        let reader = tokio::spawn(async move {
            for _ in 0..8 {
                tokio::time::sleep(Duration::from_millis(200)).await;
                far.read_exact(&mut [0; 16]).await.unwrap();
            }
            far
        });
        near.write_all(&[0; 16 * 8]).await.unwrap();
        let _far = reader.await.unwrap();
        let refused = near.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::TimedOut);
    }
}
