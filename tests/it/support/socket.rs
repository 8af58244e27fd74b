//! A WebSocket client of the tests' own before a platform's gateway.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::Request;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::platform::TestPlatform;

/// Longest that a test waits for what must come.
const WAIT: Duration = Duration::from_secs(20);

/// An open WebSocket.
pub struct Socket(pub WebSocketStream<TcpStream>);

/// Opens a WebSocket, or answers the status and the body that the platform refuses it with.
pub async fn connect(platform: &TestPlatform, path: &str, headers: &[(&str, &str)]) -> Result<Socket, (u16, Value)> {
    connect_to(&platform.running.address().to_string(), path, headers).await
}

/// Opens a WebSocket at an address, `host:port`.
pub async fn connect_to(address: &str, path: &str, headers: &[(&str, &str)]) -> Result<Socket, (u16, Value)> {
    let mut request = Request::builder()
        .uri(format!("ws://{address}{path}"))
        .header("host", address)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", generate_key());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let stream = TcpStream::connect(address).await.unwrap();
    match client_async(request.body(()).unwrap(), stream).await {
        Ok((socket, _)) => Ok(Socket(socket)),
        Err(Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            Err((response.status().as_u16(), serde_json::from_slice(body).unwrap_or_default()))
        }
        Err(error) => panic!("{error}"),
    }
}

/// Opens a WebSocket with a token.
pub async fn open(platform: &TestPlatform, path: &str, token: &str) -> Socket {
    let bearer = format!("Bearer {token}");
    connect(platform, path, &[("authorization", &bearer)]).await.unwrap_or_else(|refused| panic!("{path}: {refused:?}"))
}

impl Socket {
    /// Sends a text.
    pub async fn say(&mut self, text: impl ToString) {
        self.0.send(Message::text(text.to_string())).await.unwrap();
    }

    /// The next frame.
    pub async fn frame(&mut self) -> Value {
        match self.next().await {
            Ok(frame) => frame,
            Err(code) => panic!("the stream ended with {code}"),
        }
    }

    /// The code that the stream is closed with; frames before it are left out.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            if let Err(code) = self.next().await {
                return code;
            }
        }
    }

    /// The next frame, or the code of the end; 0 where the connection broke.
    async fn next(&mut self) -> Result<Value, u16> {
        loop {
            match tokio::time::timeout(WAIT, self.0.next()).await.expect("nothing came in time") {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => return Err(frame.map_or(1005, |frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(0),
            }
        }
    }
}
