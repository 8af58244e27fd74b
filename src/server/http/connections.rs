//! The connections that requests come by: how many there are, how long each may keep the server waiting, and their end.
//!
//! `axum::serve` bounds neither. A connection costs a place from the moment it is taken, whoever opened it, so the ways
//! to keep one for nothing are bounded here: headers that do not come, silence between two requests (one clock for
//! both), and answers that are not taken away. Bodies and streams are bounded where their caller is known.

mod stalled;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use stalled::Stalled;

/// How the connections of a server are bounded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// How many may be open at once. Whoever comes then waits in the system's queue.
    pub(super) most: usize,
    /// How long the headers of a request may take, counted from the connection's beginning or the answer before.
    pub(super) headers: Duration,
    /// How long the other side may take nothing of an answer.
    pub(super) stall: Duration,
}

/// Headers of a request, the start line among them, in bytes: several times the longest token.
const LARGEST_HEAD: usize = 128 * 1024;
/// How long nothing is taken on after the system refused, as it does when it has no more files.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves connections until the shutdown, then until those that are open have ended, at `over` at the latest.
pub(super) async fn serve(listener: TcpListener, routes: Router, bounds: Bounds, shutdown: CancellationToken, over: CancellationToken) {
    let places = Arc::new(Semaphore::new(bounds.most));
    let open = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, place)) = accepted else { break };
        let answering = answer(stream, routes.clone(), bounds, shutdown.clone());
        let over = over.clone();
        open.spawn(async move {
            tokio::select! {
                () = answering => {}
                () = over.cancelled() => {}
            }
            drop(place);
        });
    }
    drop(listener);
    open.close();
    open.wait().await;
}

/// The next connection, once there is a place for it.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    // Nobody closes the semaphore.
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Some((stream, place)),
            // That one went away again before it was taken.
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be taken at the moment");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Answers the requests of one connection.
async fn answer(stream: TcpStream, routes: Router, bounds: Bounds, shutdown: CancellationToken) {
    // Without it an answer in two packets waits 40 ms for the first one's acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the socket keeps its delay");
    }
    // HTTP/2 is left to a proxy: the streams of one connection would need bounds of their own.
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(bounds.headers).max_buf_size(LARGEST_HEAD);
    let io = TokioIo::new(Stalled::new(stream, bounds.stall));
    let connection = builder.serve_connection(io, TowerToHyperService::new(routes));
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
