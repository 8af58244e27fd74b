//! stdio: one JSON message a line. Broken lines are told on stderr and passed over; the end of input ends the server.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rmcp::RoleServer;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, GetMeta, ServerJsonRpcMessage};
use rmcp::service::{ServerInitializeError, serve_server};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use serde::de::IgnoredAny;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::App;
use super::handler::Handler;
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
        inner: AsyncRwTransport::new_server(Watched::new(input), output).with_max_line_length(LONGEST_LINE),
        opened: false,
        shutdown,
    };
    let served = serve(&app, &principal, transport).await;
    app.audit.flush().await;
    served
}

async fn serve<R, W>(app: &Arc<App>, principal: &Arc<dyn Principal>, transport: Stdio<R, W>) -> Result<()>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let running = match serve_server(Handler::new(app, principal), transport).await {
        Ok(running) => running,
        // Some hosts start a server and go away before they say anything.
        Err(ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::Cancelled) => return Ok(()),
        Err(error) => {
            return Err(Error::new(Kind::Internal, "FM-MCP-STDIO", format!("the host's opening could not be answered: {error}")));
        }
    };
    running.waiting().await.map(drop).map_err(Error::internal)
}

/// rmcp's transport, less what would end it: anything but a request as the opening.
struct Stdio<R: AsyncRead + Unpin, W: AsyncWrite> {
    inner: AsyncRwTransport<RoleServer, Watched<R>, W>,
    opened: bool,
    shutdown: CancellationToken,
}

impl<R, W> Transport<RoleServer> for Stdio<R, W>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = std::io::Error;

    fn send(&mut self, item: ServerJsonRpcMessage) -> impl Future<Output = std::result::Result<(), Self::Error>> + Send + 'static {
        self.inner.send(item)
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            // A shutdown looks like the end of input: what runs is finished, nothing new is begun.
            let message = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return None,
                message = self.inner.receive() => message?,
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

    async fn close(&mut self) -> std::result::Result<(), Self::Error> {
        self.inner.close().await
    }
}

/// Looks at each line that goes by and tells of those that are not JSON; rmcp passes over them in silence.
struct Watched<R> {
    inner: R,
    /// The beginning of a line whose end is still to come.
    begun: Vec<u8>,
    /// Whether the line is longer than is looked at.
    long: bool,
}

impl<R> Watched<R> {
    const fn new(inner: R) -> Self {
        Self { inner, begun: Vec::new(), long: false }
    }

    fn look(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end);
            rest = &after[1..];
            if self.long {
                tracing::warn!(limit = LONGEST_LINE, "passed over a line that is too long");
            } else if self.begun.is_empty() {
                tell(line);
            } else {
                self.begun.extend_from_slice(line);
                tell(&self.begun);
            }
            self.begun.clear();
            self.long = false;
        }
        self.long |= self.begun.len() + rest.len() > LONGEST_LINE;
        if self.long {
            self.begun = Vec::new();
        } else {
            self.begun.extend_from_slice(rest);
        }
    }
}

fn tell(line: &[u8]) {
    let line = line.trim_ascii();
    let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
    if line.is_empty() {
        return;
    }
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(line) {
        tracing::warn!(bytes = line.len(), %error, "passed over a line that is not JSON");
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Watched<R> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = polled {
            let this = &mut *self;
            this.look(&buffer.filled()[before..]);
        }
        polled
    }
}
