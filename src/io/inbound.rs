//! Bodies that come over HTTP, read up to a bound.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody as _};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

/// How much of what is sent beyond the bound is thrown away, in bytes, and for how long.
const MAX_DISCARDED: usize = 8 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a body was not read to its end.
pub(crate) enum Unread {
    /// It is larger than it may be.
    TooLarge,
    /// The connection broke.
    Broken(axum::Error),
}

/// Reads a body of so many bytes at most. What is sent beyond is thrown away for a while: whoever is cut off while sending
/// hears that the connection broke, and not why.
pub(crate) async fn read_bounded(body: Body, largest: usize) -> Result<Bytes, Unread> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut chunks = body.into_data_stream();
    if announced > largest {
        throw_away(chunks, announced).await;
        return Err(Unread::TooLarge);
    }
    let mut read = BytesMut::with_capacity(announced);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(Unread::Broken)?;
        if read.len() + chunk.len() > largest {
            drop(read);
            throw_away(chunks, 0).await;
            return Err(Unread::TooLarge);
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read.freeze())
}

/// Throws away what still comes, as far as that may bring it to its end.
async fn throw_away(mut chunks: BodyDataStream, announced: usize) {
    let to_the_end = async {
        let mut left = MAX_DISCARDED;
        while let Some(Ok(chunk)) = chunks.next().await {
            let Some(less) = left.checked_sub(chunk.len()) else { break };
            left = less;
        }
    };
    if announced <= MAX_DISCARDED {
        let _in_time = tokio::time::timeout(DISCARD_TIMEOUT, to_the_end).await;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const CHUNK: usize = 1024 * 1024;

    /// A body of so many chunks, without its length announced, and how many of them were taken.
    fn body(chunks: usize) -> (Body, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&taken);
        let next = move |_| {
            counts.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Infallible>(Bytes::from(vec![7; CHUNK]))
        };
        (Body::from_stream(futures_util::stream::iter(0..chunks).map(next)), taken)
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_bound_and_taken_a_while_longer() {
        for (chunks, largest, read, taken) in [(2, 2, true, 2), (2, 1, false, 2), (5, 1, false, 5), (100, 1, false, 11)] {
            let (body, counted) = body(chunks);
            assert_eq!(read_bounded(body, largest * CHUNK).await.is_ok_and(|bytes| bytes.len() == chunks * CHUNK), read, "{chunks}");
            assert_eq!(counted.load(Ordering::SeqCst), taken, "{chunks}");
        }
        assert_eq!(read_bounded(Body::empty(), 0).await.ok().unwrap(), "");
        assert!(matches!(read_bounded(Body::from("12"), 1).await, Err(Unread::TooLarge)));
    }
}
