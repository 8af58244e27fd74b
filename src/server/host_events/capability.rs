//! How hosts learn of MCP Events: by the extension, and by the key `events`, for which rmcp's capabilities have no field.

use rmcp::model::{CustomResult, ExtensionCapabilities, JsonObject, JsonRpcMessage, ServerJsonRpcMessage, ServerResult};
use serde_json::{Map, Value, json};

/// The extension's name.
const EXTENSION: &str = "io.modelcontextprotocol/events";

/// Adds the extension to those that the server has.
pub(in crate::server) fn extend(extensions: &mut Option<ExtensionCapabilities>) {
    extensions.get_or_insert_default().insert(EXTENSION.to_owned(), JsonObject::new());
}

/// Adds the key to an answer to `initialize` or `server/discover`; other messages stay as they are.
pub(in crate::server) fn announce(message: &mut ServerJsonRpcMessage) {
    let JsonRpcMessage::Response(response) = message else { return };
    if !matches!(response.result, ServerResult::InitializeResult(_) | ServerResult::DiscoverResult(_)) {
        return;
    }
    // Both are JSON objects with capabilities.
    let Ok(mut result) = serde_json::to_value(&response.result) else { return };
    announce_in(&mut result);
    response.result = ServerResult::CustomResult(CustomResult(result));
}

/// The same for a result that is JSON already.
pub(in crate::server) fn announce_in(result: &mut Value) {
    if let Some(capabilities) = result.get_mut("capabilities").and_then(Value::as_object_mut) {
        capabilities.insert("events".to_owned(), json!(Map::new()));
    }
}
