//! The error's HTTP face: RFC 9457 with the stable code and what to do next. Causes are logged, never sent.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use crate::api::{FieldError, Problem};
use crate::error::{Error, Kind};

/// The media type of a problem.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// The answer that tells of an error.
pub(crate) fn response(error: &Error, instance: &str, request_id: &str) -> Response {
    if error.kind() == Kind::Internal {
        let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        tracing::error!(code = error.code(), request_id, instance, cause = source, "{}", error.message());
    }
    let problem = problem(error, instance, request_id);
    let body = serde_json::to_vec(&problem).unwrap_or_else(|_| b"{}".to_vec());
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    if let Some(after) = error.when_to_retry() {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if error.kind() == Kind::Unauthenticated {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// The problem that an error is told as.
pub(crate) fn problem(error: &Error, instance: &str, request_id: &str) -> Problem {
    let detail = match error.next_step() {
        Some(hint) => format!("{}. {hint}", error.message().trim_end_matches('.')),
        None => error.message().to_owned(),
    };
    Problem {
        kind: format!("urn:flowmaster:problem:{}", error.code()),
        title: error.kind().title().to_owned(),
        status: error.kind().status(),
        detail,
        instance: Some(instance.chars().take(512).collect()),
        code: error.code().to_owned(),
        request_id: Some(request_id.to_owned()),
        retryable: error.is_transient(),
        errors: error.fields().iter().map(|field| FieldError { ..field.clone() }).collect(),
    }
}
