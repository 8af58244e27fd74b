//! Why a message cannot be served: it is not JSON, not a JSON-RPC message, would be rounded, or has wrong parameters.

use rmcp::ErrorData;
use rmcp::model::{
    CallToolRequestParams, ClientJsonRpcMessage, CompleteRequestParams, CustomRequest, ErrorCode, GetPromptRequestParams,
    InitializeRequestParams, PaginatedRequestParams, ReadResourceRequestParams, RequestId,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::answers::kind_of;
use crate::error::{Error, Kind};
use crate::io::numbers::first_inexact;

/// A message that is not served, with the id that its sender waits for.
#[derive(Debug)]
pub(super) struct Rejected {
    pub(super) id: Option<RequestId>,
    pub(super) code: ErrorCode,
    pub(super) error: Error,
}

impl Rejected {
    /// The error as JSON-RPC has it.
    pub(super) fn data(&self) -> ErrorData {
        ErrorData::new(self.code, self.error.message().to_owned(), Some(json!({ "code": self.error.code() })))
    }
}

/// As much of a message as can be read of most that are none.
#[derive(Deserialize)]
struct Envelope {
    id: Option<Value>,
    method: Option<Value>,
}

/// Reads a message.
///
/// # Errors
/// What is wrong with it. A text that is not JSON has no id; neither does a broken notification.
pub(super) fn read(bytes: &[u8]) -> Result<ClientJsonRpcMessage, Rejected> {
    let message = serde_json::from_slice(bytes).map_err(|error| reject(bytes, &error))?;
    exact(bytes).map(|()| message)
}

/// Rejects a message with a number that would be rounded, whatever else is in it.
pub(super) fn exact(bytes: &[u8]) -> Result<(), Rejected> {
    let Some(inexact) = first_inexact(bytes) else { return Ok(()) };
    let error = Error::new(Kind::Invalid, "FM-MCP-NUMBER", format!("{}: {}", inexact.pointer, inexact.fault()));
    Err(Rejected { id: id_of(bytes), code: ErrorCode::INVALID_PARAMS, error })
}

/// Says why rmcp cannot read a message, with serde's reason.
fn reject(bytes: &[u8], reason: &serde_json::Error) -> Rejected {
    let id = id_of(bytes);
    let wrong = |what: String| Error::new(Kind::Malformed, "FM-MCP-MESSAGE", what);
    let message: Value = match serde_json::from_slice(bytes) {
        Ok(message) => message,
        // Syntax that is right with a number that is out of range comes here, too.
        Err(error) => {
            let error = Error::new(Kind::Malformed, "FM-MCP-BODY", format!("the message is not JSON: {error}"));
            return Rejected { id, code: ErrorCode::PARSE_ERROR, error };
        }
    };
    let what = if message.is_array() {
        "a message is an object, not an array: batches are not accepted".to_owned()
    } else if !message.is_object() {
        format!("a message is an object, not {}", kind_of(&message))
    } else if message.get("jsonrpc") != Some(&json!("2.0")) {
        "`jsonrpc` must be \"2.0\"".to_owned()
    } else if message.get("id").is_some_and(|id| RequestId::deserialize(id).is_err()) {
        "`id` must be text or a whole number".to_owned()
    } else if message.get("method").is_some_and(|method| !method.is_string()) {
        "`method` must be text".to_owned()
    } else if ["method", "result", "error"].iter().all(|name| message.get(name).is_none()) {
        "a message has a `method`, or it is a response with `result` or `error`".to_owned()
    } else {
        format!("the message is not one of JSON-RPC: {reason}")
    };
    Rejected { id, code: ErrorCode::INVALID_REQUEST, error: wrong(what) }
}

fn id_of(bytes: &[u8]) -> Option<RequestId> {
    let envelope: Envelope = serde_json::from_slice(bytes).ok()?;
    RequestId::deserialize(envelope.id?).ok().filter(|_| envelope.method.is_some())
}

/// The error of a request that rmcp does not know: wrong parameters of a known method, or an unknown method. A stateless
/// host has nothing to initialize.
pub(super) fn unserved(request: CustomRequest, is_stateless: bool) -> ErrorData {
    let params = request.params.unwrap_or_default();
    let fault = match request.method.as_str() {
        "initialize" if !is_stateless => fault_of::<InitializeRequestParams>(&params),
        "tools/call" => fault_of::<CallToolRequestParams>(&params),
        "resources/read" => fault_of::<ReadResourceRequestParams>(&params),
        "prompts/get" => fault_of::<GetPromptRequestParams>(&params),
        "completion/complete" => fault_of::<CompleteRequestParams>(&params),
        "tools/list" | "resources/list" | "resources/templates/list" | "prompts/list" => fault_of::<PaginatedRequestParams>(&params),
        _ => return ErrorData::new(ErrorCode::METHOD_NOT_FOUND, request.method, None),
    };
    wrong(&request.method, fault)
}

/// The parameters of a request that rmcp does not know.
///
/// # Errors
/// Which of them is wrong, and why.
pub(super) fn params<T: DeserializeOwned>(request: &CustomRequest) -> Result<T, ErrorData> {
    let given = request.params.clone().unwrap_or_else(|| json!({}));
    T::deserialize(&given).map_err(|_| wrong(&request.method, fault_of::<T>(&given)))
}

fn wrong(method: &str, fault: Option<String>) -> ErrorData {
    let fault = fault.unwrap_or_else(|| "they cannot be read".to_owned());
    ErrorData::invalid_params(
        format!("the parameters of {method} are wrong: {fault}"),
        Some(json!({ "code": "FM-MCP-PARAMS", "method": method })),
    )
}

fn fault_of<T: DeserializeOwned>(params: &Value) -> Option<String> {
    let error = serde_path_to_error::deserialize::<_, T>(params).err()?;
    let path = error.path().to_string();
    Some(if path == "." { error.inner().to_string() } else { format!("`{path}`: {}", error.inner()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_message_has_its_id_and_its_reason() {
        for (text, id, code, says) in [
            (r#"{"jsonrpc":"2.0","id":7,"method":"ping","params":{"n":1e999}}"#, Some(7), -32700, "number out of range"),
            (r#"{"jsonrpc":"2.0","id":7,"method":"x","params":{"n":12345678901234567890123}}"#, Some(7), -32602, "/params/n: 1234"),
            (r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#, Some(7), -32600, "`jsonrpc`"),
            (r#"{"jsonrpc":"2.0","id":7,"method":5}"#, Some(7), -32600, "`method`"),
            (r#"{"jsonrpc":"2.0","id":[],"method":"ping"}"#, None, -32600, "`id`"),
            (r#"{"jsonrpc":"2.0","id":7}"#, None, -32600, "a `method`"),
            ("[]", None, -32600, "batches"),
            ("5", None, -32600, "not a number"),
            ("{", None, -32700, "not JSON"),
        ] {
            let rejected = read(text.as_bytes()).unwrap_err();
            assert_eq!(rejected.id, id.map(RequestId::Number), "{text}");
            assert_eq!(rejected.code.0, code, "{text}: {:?}", rejected.error);
            assert!(rejected.error.message().contains(says), "{text}: {}", rejected.error.message());
        }
        read(br#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#).unwrap();
    }

    #[test]
    fn wrong_parameters_of_a_known_method_are_named() {
        let unserved = |method: &str, params: Value| unserved(CustomRequest::new(method, Some(params)), true);
        for (method, params, says) in [
            ("tools/call", json!({ "name": "tasks_get", "arguments": [] }), "`arguments`"),
            ("tools/call", json!({ "arguments": {} }), "name"),
            ("resources/read", json!({ "uri": 5 }), "`uri`"),
            ("completion/complete", json!({}), "ref"),
        ] {
            let error = unserved(method, params);
            assert!(error.code == ErrorCode::INVALID_PARAMS && error.message.contains(says), "{method}: {}", error.message);
        }
        for removed in ["nothing/here", "initialize"] {
            assert_eq!(unserved(removed, json!({})).code, ErrorCode::METHOD_NOT_FOUND, "{removed}");
        }
    }
}
