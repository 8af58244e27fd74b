//! WebSockets to the platform, over the connections of the HTTP client: proxy, TLS and the look at the other side between
//! connecting and sending are the same for both.

use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, StatusCode};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::conceal::Secrets;
use super::connector::{CONNECT, Connector};
use super::{problem, silent, unreachable};
use crate::api::wire::WireRequest;
use crate::client::origin::Located;
use crate::error::{Error, Kind, Result};
use crate::io::outbound;

/// Largest frame that is read, in bytes; events are at most a body of 1 MiB.
const MAX_FRAME: usize = 4 * 1024 * 1024;
/// Largest refusal that is read, in bytes.
const MAX_REFUSAL: usize = 64 * 1024;

/// An open WebSocket.
pub(crate) type Socket = WebSocketStream<reqwest::Upgraded>;

/// Opens a WebSocket; a refusal is the platform's own error.
pub(crate) async fn open(reach: &Connector, located: &Located, request: &WireRequest, headers: HeaderMap) -> Result<Socket> {
    let (key, secrets) = (generate_key(), Secrets::of_headers(&headers));
    let sending = reach
        .client(located)?
        .get(format!("{}{}", located.base, request.path))
        .query(&request.query)
        .headers(headers)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, &key)
        .send();
    let answered = timeout(2 * CONNECT, sending).await.map_err(|_| silent(2 * CONNECT))?;
    let response = answered.map_err(|error| unreachable(error, &located.base))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = secrets.conceal(outbound::read_bounded(response, MAX_REFUSAL).await.unwrap_or_default());
        if (200..300).contains(&status) {
            return Err(no_websocket("answers it as an ordinary request"));
        }
        return Err(problem::decode(status, &headers, &body, |text| secrets.conceal_text(text).into_owned()));
    }
    let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT).is_some_and(|accept| *accept == derive_accept_key(key.as_bytes()));
    if !accepted {
        return Err(no_websocket("accepts it with another key"));
    }
    let upgraded = response.upgrade().await.map_err(|error| unreachable(error, &located.base))?;
    let config = WebSocketConfig::default().max_message_size(Some(MAX_FRAME)).max_frame_size(Some(MAX_FRAME));
    Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await)
}

fn no_websocket(why: &str) -> Error {
    Error::new(Kind::Unsupported, "FM-MCP-WEBSOCKET", format!("the platform does not open a WebSocket: it {why}"))
        .hint("Check that nothing between here and FlowMaster takes WebSockets apart, such as a proxy.")
}
