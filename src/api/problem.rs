//! What the platform answers when it refuses: RFC 9457 with the contract's stable codes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A refusal, `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// A URI that names the kind of problem.
    #[serde(rename = "type", default = "blank")]
    pub kind: String,
    /// The kind of problem in a few words.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong this time, and what to do next.
    #[serde(default)]
    pub detail: String,
    /// The path that was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The stable code, `FM-<SERVICE>-<REASON>`.
    pub code: String,
    /// The id of the request in the platform's logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Whether the same call may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// What was wrong with which field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// What was wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldError {
    /// The field as a JSON pointer; empty for the whole.
    pub pointer: String,
    /// A stable code: `required`, `unknown`, `type`, `enum`, `range`, `length`, or one of the service's.
    pub code: String,
    /// What was wrong and what is allowed.
    pub detail: String,
}

impl FieldError {
    /// An error of one field.
    #[must_use]
    pub fn new(pointer: impl Into<String>, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code: code.into(), detail: detail.into() }
    }
}

fn blank() -> String {
    "about:blank".to_owned()
}
