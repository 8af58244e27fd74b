//! Requests that this program sends: to the place that was named and no other, with answers up to a bound.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use reqwest::{Client, ClientBuilder, Response, Url};
use tokio::time::timeout;
use tower::BoxError;
use tower::util::AndThenLayer;

/// Whether a URL leads to this machine itself.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A client to finish. Between this machine and itself no proxy stands.
pub(crate) fn client(loopback: bool) -> ClientBuilder {
    let builder = Client::builder()
        .user_agent(concat!("flowmaster-mcp/", env!("CARGO_PKG_VERSION")))
        // A redirect would carry a token to an address that was not configured, or have keys come from one.
        .redirect(reqwest::redirect::Policy::none());
    if loopback { builder.no_proxy() } else { builder }
}

/// Lets a connection be used only if this holds once it stands.
pub(crate) fn only_while<F>(builder: ClientBuilder, holds: impl Fn() -> F + Clone + Send + Sync + 'static) -> ClientBuilder
where
    F: Future<Output = bool> + Send + 'static,
{
    builder.connector_layer(AndThenLayer::new(move |connection| {
        let holds = holds();
        async move { if holds.await { Ok(connection) } else { Err(BoxError::from("the place is another's by now")) } }
    }))
}

/// Why an answer was not read to its end.
pub(crate) enum Unread<E = reqwest::Error> {
    /// It is larger than it may be.
    TooLarge,
    /// The connection broke, or the time was up.
    Broken(E),
}

impl<E> Unread<E> {
    /// The same with another error.
    pub(crate) fn map<F>(self, map: impl FnOnce(E) -> F) -> Unread<F> {
        match self {
            Self::TooLarge => Unread::TooLarge,
            Self::Broken(error) => Unread::Broken(map(error)),
        }
    }
}

/// Reads an answer of so many bytes at most. What is announced as larger is not begun.
pub(crate) async fn read_bounded(response: Response, largest: usize) -> Result<Bytes, Unread> {
    let announced = response.content_length();
    collect(announced, response.bytes_stream(), largest).await
}

/// Reads an answer of so many bytes at most, whose parts follow one another within a time; without an error one was late.
pub(crate) async fn read_lively(response: Response, largest: usize, idle: Duration) -> Result<Bytes, Unread<Option<reqwest::Error>>> {
    let announced = response.content_length();
    collect(announced, lively(response, idle), largest).await
}

/// The parts of an answer, which follow one another within a time; without an error one was late.
pub(crate) fn lively(response: Response, idle: Duration) -> impl Stream<Item = Result<Bytes, Option<reqwest::Error>>> {
    stream::unfold(response.bytes_stream(), move |mut chunks| async move {
        let chunk = match timeout(idle, chunks.next()).await {
            Ok(chunk) => chunk?.map_err(Some),
            Err(_) => Err(None),
        };
        Some((chunk, chunks))
    })
}

async fn collect<E>(announced: Option<u64>, chunks: impl Stream<Item = Result<Bytes, E>>, largest: usize) -> Result<Bytes, Unread<E>> {
    // An announced length that does not fit is too large for sure.
    let announced = announced.map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX));
    if announced > largest {
        return Err(Unread::TooLarge);
    }
    let mut body = BytesMut::with_capacity(announced);
    let mut chunks = std::pin::pin!(chunks);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(Unread::Broken)?;
        if body.len() + chunk.len() > largest {
            return Err(Unread::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(text: &'static [u8]) -> Response {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 4096];
            let _length = stream.read(&mut asked).await.unwrap();
            stream.write_all(text).await.unwrap();
        });
        let response = client(true).build().unwrap().get(url).send().await.unwrap();
        serving.await.unwrap();
        response
    }

    #[tokio::test]
    async fn an_answer_is_read_up_to_its_bound_however_it_is_sent() {
        let sized = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n12345";
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n123\r\n2\r\n45\r\n0\r\n\r\n";
        let endless = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n12345";
        for text in [sized.as_slice(), chunked, endless] {
            assert_eq!(read_bounded(answer(text).await, 5).await.ok().unwrap(), "12345");
            assert!(matches!(read_bounded(answer(text).await, 4).await, Err(Unread::TooLarge)));
        }
        let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n12345";
        assert!(matches!(read_bounded(answer(cut).await, 9).await, Err(Unread::Broken(_))));
    }

    #[tokio::test]
    async fn no_redirect_is_followed() {
        let response = answer(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(response.status(), 302);
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        let is_here = |url: &str| is_loopback(&Url::parse(url).unwrap());
        for url in ["http://localhost:1/x", "http://127.9.9.9/", "https://[::1]:8321/mcp", "http://LOCALHOST/"] {
            assert!(is_here(url), "{url}");
        }
        for url in ["http://localhost.evil.example/", "http://127.0.0.1.evil.example/", "http://10.0.0.1/", "http://[fe80::1]/"] {
            assert!(!is_here(url), "{url}");
        }
    }
}
