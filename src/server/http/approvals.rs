//! Approval beside the model for callers who have no terminal on the server: each sees and approves its own calls alone.
//!
//! `GET /confirmations` lists the calls that wait, `POST /confirmations/{id}` approves one, both with the caller's own
//! bearer token, and each counted among the caller's calls. With open authentication the routes do not exist: a caller could
//! approve its own calls.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use serde::Serialize;
use serde_json::json;

use super::Authentication;
use super::admission::Admission;
use super::refusal::Refusal;
use crate::api::Timestamp;
use crate::auth::Caller;
use crate::error::Error;
use crate::server::consent::approvals::Pending;

/// Where calls that wait are listed.
pub(super) const PATH: &str = "/confirmations";

/// What the caller is told of a call that waits.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Waiting<'a> {
    id: &'a str,
    tool: &'a str,
    question: &'a str,
    created_at: Timestamp,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_at: Option<Timestamp>,
}

impl<'a> From<&'a Pending> for Waiting<'a> {
    fn from(pending: &'a Pending) -> Self {
        let Pending { id, tool, question, created_at, expires_at, approved_at, .. } = pending;
        Self { id, tool, question, created_at: *created_at, expires_at: *expires_at, approved_at: *approved_at }
    }
}

pub(super) fn routes(gate: &Admission) -> Option<Router> {
    let routes = || Router::new().route(PATH, get(list)).route(&format!("{PATH}/{{id}}"), post(approve)).with_state(gate.clone());
    (!matches!(gate.authentication(), Authentication::Open(_))).then(routes)
}

async fn list(State(gate): State<Admission>, Extension(caller): Extension<Arc<Caller>>) -> Response {
    let known = async { gate.app().pending(&caller, gate.call(&caller)?).await };
    match known.await {
        Ok(waiting) => told(&json!({ "items": waiting.iter().map(Waiting::from).collect::<Vec<_>>() })),
        Err(error) => refuse(&gate, &caller, error),
    }
}

async fn approve(State(gate): State<Admission>, Extension(caller): Extension<Arc<Caller>>, Path(id): Path<String>) -> Response {
    let approved = async { gate.app().approve(&caller, id, gate.call(&caller)?).await };
    match approved.await {
        Ok(approved) => told(&Waiting::from(&approved)),
        Err(error) => refuse(&gate, &caller, error),
    }
}

fn told(answer: &impl Serialize) -> Response {
    let mut response = Json(answer).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn refuse(gate: &Admission, caller: &Caller, error: Error) -> Response {
    gate.refuse(Some(caller), Refusal::from(error).at(PATH))
}
