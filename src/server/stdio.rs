//! stdio: one JSON message a line. A line that is not a message is told on stderr and answered where its id can be read;
//! the end of input ends the server.

use std::sync::Arc;

use bytes::BytesMut;
use futures_util::StreamExt as _;
use rmcp::RoleServer;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorCode, GetMeta, ServerJsonRpcMessage};
use rmcp::service::{ServerInitializeError, serve_server};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use tokio::io::{AsyncRead, AsyncWrite, Empty};
use tokio_util::codec::{Decoder, FramedRead};
use tokio_util::sync::CancellationToken;

use super::App;
use super::handler::Handler;
use super::{host_events, message};
use crate::auth::Principal;
use crate::error::{Error, Kind, Result};

/// Longest line, in bytes; no tool takes documents yet.
const LONGEST_LINE: usize = 4 * 1024 * 1024;

/// Serves one host, who speaks for a principal, over a reader and a writer until the input ends or the token is cancelled.
///
/// Calls that run then are given five seconds to finish.
///
/// # Errors
/// The output cannot be written.
pub async fn serve_stdio<R, W>(app: Arc<App>, principal: Arc<dyn Principal>, input: R, output: W, shutdown: CancellationToken) -> Result<()>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let transport = Stdio {
        lines: FramedRead::new(input, Lines::default()),
        output: AsyncRwTransport::new_server(tokio::io::empty(), output),
        opened: false,
        shutdown,
        ended: CancellationToken::new(),
    };
    // What a connection holds is large, and callers keep this future in theirs.
    let served = Box::pin(serve(&app, &principal, transport)).await;
    app.hub.close().await;
    app.audit.flush().await;
    served
}

async fn serve<R, W>(app: &Arc<App>, principal: &Arc<dyn Principal>, transport: Stdio<R, W>) -> Result<()>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let handler = Handler::new(app, principal, transport.ended.clone());
    // rmcp moves handler and transport from one future into the next.
    let running = match Box::pin(serve_server(handler, transport)).await {
        Ok(running) => running,
        // Some hosts start a server and go away before they say anything.
        Err(ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::Cancelled) => return Ok(()),
        Err(error) => {
            return Err(Error::new(Kind::Internal, "FM-MCP-STDIO", format!("the host's opening could not be answered: {error}")));
        }
    };
    running.waiting().await.map(drop).map_err(Error::internal)
}

/// Messages by line. rmcp's own transport writes; it would drop lines that are not messages without an answer.
struct Stdio<R: AsyncRead, W: AsyncWrite> {
    lines: FramedRead<R, Lines>,
    output: AsyncRwTransport<RoleServer, Empty, W>,
    opened: bool,
    shutdown: CancellationToken,
    /// Cancelled at the end of the input, which ends what would go on for ever.
    ended: CancellationToken,
}

impl<R, W> Transport<RoleServer> for Stdio<R, W>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = std::io::Error;

    fn send(&mut self, mut item: ServerJsonRpcMessage) -> impl Future<Output = std::result::Result<(), Self::Error>> + Send + 'static {
        host_events::announce(&mut item);
        self.output.send(item)
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        let message = self.next().await;
        if message.is_none() {
            self.ended.cancel();
        }
        message
    }

    async fn close(&mut self) -> std::result::Result<(), Self::Error> {
        self.output.close().await
    }
}

impl<R: AsyncRead + Send + Unpin, W: AsyncWrite + Send + Unpin + 'static> Stdio<R, W> {
    /// The next message that is one.
    async fn next(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            // A shutdown looks like the end of input: what runs is finished, nothing new is begun.
            let line = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return None,
                line = self.lines.next() => line?,
            };
            let line = match line {
                Ok(Line::Whole(line)) => line,
                Ok(Line::TooLong) => {
                    tracing::warn!(limit = LONGEST_LINE, "dropped a line that is too long");
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "the input cannot be read");
                    return None;
                }
            };
            let text = line.trim_ascii();
            let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
            if text.is_empty() {
                continue;
            }
            let message = match message::read(text) {
                Ok(message) => message,
                Err(rejected) => {
                    tracing::warn!(bytes = text.len(), code = rejected.error.code(), "dropped a line: {}", rejected.error.message());
                    // A text that is not JSON is not answered: a peer that sent it back would begin a storm of errors.
                    if rejected.id.is_some() || rejected.code != ErrorCode::PARSE_ERROR {
                        let data = rejected.data();
                        // A host that is gone reads no answer; the next line says so.
                        drop(tokio::spawn(self.output.send(ServerJsonRpcMessage::error(data, rejected.id))));
                    }
                    continue;
                }
            };
            if self.opened {
                return Some(message);
            }
            let ClientJsonRpcMessage::Request(request) = &message else {
                tracing::warn!("passed over a message that came before the connection was opened");
                continue;
            };
            self.opened = match &request.request {
                ClientRequest::InitializeRequest(_) => true,
                ClientRequest::DiscoverRequest(_) | ClientRequest::PingRequest(_) => false,
                other => other.get_meta().protocol_version().is_some(),
            };
            return Some(message);
        }
    }
}

/// Splits the input into lines; a line beyond the limit is dropped up to its end.
#[derive(Default)]
struct Lines {
    /// Bytes that were looked at already.
    seen: usize,
    dropping: bool,
}

enum Line {
    Whole(BytesMut),
    TooLong,
}

impl Decoder for Lines {
    type Item = Line;
    type Error = std::io::Error;

    fn decode(&mut self, input: &mut BytesMut) -> std::io::Result<Option<Line>> {
        let end = input[self.seen..].iter().position(|byte| *byte == b'\n').map(|end| self.seen + end);
        self.seen = input.len();
        if end.unwrap_or(input.len()) > LONGEST_LINE {
            self.dropping = true;
        }
        let Some(end) = end else {
            if self.dropping {
                input.clear();
                self.seen = 0;
            }
            return Ok(None);
        };
        self.seen = 0;
        let mut line = input.split_to(end + 1);
        if std::mem::take(&mut self.dropping) {
            return Ok(Some(Line::TooLong));
        }
        line.truncate(end);
        Ok(Some(Line::Whole(line)))
    }

    /// A last line without its end is not a message.
    fn decode_eof(&mut self, input: &mut BytesMut) -> std::io::Result<Option<Line>> {
        let line = self.decode(input)?;
        if line.is_none() {
            input.clear();
        }
        Ok(line)
    }
}
