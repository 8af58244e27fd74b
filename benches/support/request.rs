//! Requests of a host of 2026-07-28.

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

const REVISION: &str = "2026-07-28";

/// A request to a server, not sent yet.
pub fn request(http: &Client, server: &str, token: &str, id: usize, method: &str, mut params: Value) -> RequestBuilder {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": REVISION,
        "io.modelcontextprotocol/clientInfo": { "name": "bench", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let request = http.post(format!("{server}/mcp")).bearer_auth(token).header("mcp-protocol-version", REVISION);
    let request = match params.get("name").and_then(Value::as_str) {
        Some(name) => request.header("mcp-name", name),
        None => request,
    };
    request
        .header("mcp-method", method)
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .body(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string())
}
