//! The endpoint `/mcp`: each request passes the judgements of its names, its token and its message, and is served.
//!
//! One handler calls them in turn. As layers of axum, each would copy all that is behind it for every request.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;

use super::admission::{Admission, Backend, pass};
use super::authenticate::authenticate;
use super::cors::share;

pub(super) fn routes(gate: &Admission, backend: Backend) -> Router {
    Router::new().route("/mcp", any(answer)).route("/mcp/", any(answer)).with_state((gate.clone(), Arc::new(backend)))
}

async fn answer(State((gate, backend)): State<(Admission, Arc<Backend>)>, request: Request) -> Response {
    share(&gate, request, |request| authenticate(&gate, request, |caller, request| pass(&gate, caller, request, &backend))).await
}
