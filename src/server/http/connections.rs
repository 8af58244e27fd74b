//! The connections that requests come by: how many there are, how long each may keep the server waiting, and their end.
//!
//! `axum::serve` bounds neither. A connection takes a permit as soon as it is accepted, so the ways
//! to keep one for nothing are bounded here: headers that do not come, silence between two requests (one clock for
//! both), and answers that are not taken away. Where no place is left, the connection that has been without a request for
//! longest gives way. Bodies and streams are bounded where their caller is known.

pub(super) mod files;
mod idle;
mod stalled;
mod unread;

use std::convert::Infallible;
use std::io::ErrorKind;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Bytes, HttpBody};
use axum::response::Response;
use futures_util::future::BoxFuture;
use http::header::EXPECT;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::limits::during;
use idle::{Connection, Idle};
use stalled::Stalled;
use unread::Shared;

/// How the connections of a server are bounded.
#[derive(Debug, Clone, Copy)]
pub(in crate::server) struct Bounds {
    /// How many may be open at once. Where all of them have a request, a new connection waits.
    pub(in crate::server) most: usize,
    /// How long the headers of a request may take, counted from the connection's beginning or the answer before.
    pub(in crate::server) headers: Duration,
    /// How long the other side may take nothing of an answer.
    pub(in crate::server) stall: Duration,
}

/// Headers of a request, the start line among them, in bytes: several times the longest token.
const LARGEST_HEAD: usize = 128 * 1024;
/// How long a connection may be open before its first byte comes.
const FIRST: Duration = Duration::from_secs(10);
/// How long nothing is taken on after the system refused, as it does when it has no more files.
const ACCEPT_BACKOFF: Duration = Duration::from_secs(1);
/// How long the end of a connection takes that was closed in favour of another.
const CLOSED: Duration = Duration::from_millis(10);

/// Serves connections until the shutdown, then until those that are open have ended, at `over` at the latest.
pub(in crate::server) async fn serve(
    listener: TcpListener,
    routes: Router,
    bounds: Bounds,
    shutdown: CancellationToken,
    over: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(bounds.most));
    let idle = Arc::<Idle>::default();
    let open = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &places, &idle) => accepted,
        };
        let Some((stream, place)) = accepted else { break };
        let connection = Connection::new(&idle);
        let answering = answer(stream, Arc::clone(&connection), routes.clone(), bounds, shutdown.clone());
        let over = over.clone();
        open.spawn(async move {
            tokio::select! {
                biased;
                () = connection.closed() => {}
                () = over.cancelled() => {}
                () = answering => {}
            }
            drop(place);
        });
    }
    drop(listener);
    open.close();
    open.wait().await;
}

/// The next connection, once there is a place for it.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>, idle: &Idle) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let stream = next(listener, idle).await;
    loop {
        let free = Arc::clone(places).acquire_owned();
        if places.available_permits() > 0 || idle.close_oldest() {
            // The semaphore is never closed.
            return Some((stream, free.await.ok()?));
        }
        tokio::select! {
            free = free => return Some((stream, free.ok()?)),
            () = idle.more() => {}
        }
    }
}

async fn next(listener: &TcpListener, idle: &Idle) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // That one went away again before it was taken.
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be taken at the moment");
                // Most likely there are no files left: one that is idle gives its back.
                let pause = if idle.close_oldest() { CLOSED } else { ACCEPT_BACKOFF };
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Answers the requests of one connection.
async fn answer(stream: TcpStream, own: Arc<Connection>, routes: Router, bounds: Bounds, shutdown: CancellationToken) {
    let first = async { tokio::time::timeout(FIRST.min(bounds.headers), stream.peek(&mut [0])).await };
    let begun = tokio::select! {
        begun = first => matches!(begun, Ok(Ok(1))),
        () = shutdown.cancelled() => false,
    };
    if !begun {
        return;
    }
    // Without it an answer in two packets waits 40 ms for the first one's acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the socket keeps its delay");
    }
    // HTTP/2 is left to a proxy: the streams of one connection would need bounds of their own.
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(bounds.headers).max_buf_size(LARGEST_HEAD);
    let io = TokioIo::new(Stalled::new(stream, bounds.stall, Arc::clone(&own)));
    let connection = builder.serve_connection(io, TowerToHyperService::new(Answers { routes, own }));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

/// Answers the requests of one connection, which has work meanwhile.
#[derive(Clone)]
struct Answers {
    routes: Router,
    own: Arc<Connection>,
}

impl<B> Service<http::Request<B>> for Answers
where
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    Router: Service<http::Request<Shared<B>>, Response = Response, Error = Infallible, Future: Send + 'static>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let busy = self.own.busy();
        // Whoever waits to be told to send has sent nothing.
        let sends = !request.headers().contains_key(EXPECT);
        let (parts, body) = request.into_parts();
        let body = Shared::new(body);
        let answered = self.routes.call(http::Request::from_parts(parts, body.reader()));
        Box::pin(async move {
            match busy {
                Some(busy) => {
                    let answer = answered.await?;
                    if sends {
                        body.discard();
                    }
                    Ok(during(answer, busy))
                }
                // The connection is being closed; a request whose answer cannot be sent is not begun.
                None => std::future::pending().await,
            }
        })
    }
}
