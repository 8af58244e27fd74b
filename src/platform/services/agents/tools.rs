//! A tool at work: its operation, with its fixed arguments, as the caller and through the platform's own front door.

use axum::body::Body;
use http::{Request, header};
use serde_json::{Map, Value};
use tower::ServiceExt as _;

use super::profile::Tool;
use crate::api::{FieldError, Problem, wire};
use crate::error::{Error, Kind, Result};
use crate::io::inbound;
use crate::platform::http::context::Cx;

/// Largest answer of a tool, in bytes.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Runs a tool, and answers what its operation answers.
pub(super) async fn run(cx: &Cx, tool: &Tool, given: Map<String, Value>) -> Result<Value> {
    let entry = tool.entry().ok_or_else(|| {
        let message = format!("the tool {} runs {}, which there is not any more", tool.name, tool.operation);
        Error::new(Kind::Conflict, "FM-AIS-TOOL-GONE", message).hint("Change the agent's tools.")
    })?;
    let mut arguments = given;
    let fixed: Vec<FieldError> = arguments
        .keys()
        .filter(|name| tool.arguments.contains_key(*name))
        .map(|name| FieldError::new(format!("/arguments/{name}"), "fixed", "is fixed by the tool"))
        .collect();
    if !fixed.is_empty() {
        return Err(Error::new(Kind::Invalid, "FM-AIS-TOOL-ARGUMENTS", format!("the tool {} sets these arguments itself", tool.name))
            .with_fields(fixed)
            .hint("Leave them out."));
    }
    arguments.extend(tool.arguments.clone());
    let request = wire::encode(&entry.spec, &cx.caller.tenant, arguments).map_err(|fault| {
        let message = format!("the arguments of the tool {} are not as its operation takes them", tool.name);
        Error::new(Kind::Invalid, "FM-AIS-TOOL-ARGUMENTS", message).with_fields(vec![fault])
    })?;
    let query = reqwest::Url::parse_with_params("http://localhost/", &request.query).map_err(Error::internal)?;
    let uri =
        query.query().filter(|query| !query.is_empty()).map_or_else(|| request.path.clone(), |query| format!("{}?{query}", request.path));
    let mut called = Request::builder().method(request.method.name()).uri(uri).header("x-request-id", &cx.request_id);
    if let Some(id) = &cx.correlation_id {
        called = called.header("x-correlation-id", id);
    }
    let body = match request.body {
        Some(body) => {
            called = called.header(header::CONTENT_TYPE, "application/json");
            Body::from(body.to_string())
        }
        None => Body::empty(),
    };
    let mut called = called.body(body).map_err(Error::internal)?;
    called.headers_mut().extend(cx.headers.clone());
    let response = match cx.platform.front_door(entry.spec.name).oneshot(called).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let is_success = response.status().is_success();
    let body = inbound::read_bounded(response.into_body(), MAX_ANSWER).await.map_err(|_| {
        Error::new(Kind::TooLarge, "FM-AIS-TOOL-ANSWER", format!("the answer of the tool {} is larger than 4 MiB", tool.name))
            .hint("Set arguments that make it answer less, such as limit.")
    })?;
    if is_success {
        return if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&body).map_err(Error::internal) };
    }
    Err(Error::from_problem(serde_json::from_slice::<Problem>(&body).map_err(Error::internal)?))
}
