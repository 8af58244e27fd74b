//! What hosts send that is not quite as rmcp reads it, and how it is refused.

use flowmaster_mcp::server::Settings;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::mcp;
use crate::support::platform::TestPlatform;
use crate::support::raw::{Known, Served, answer, read, serve, user};

async fn served() -> (TestPlatform, Served) {
    let platform = TestPlatform::start().await;
    let app = mcp::app(&platform, Settings::default());
    let known = Known::default().with("anna", user("tenant-1", "anna", &["*"]));
    let served = serve(app, known.admission(), |_| {}).await;
    (platform, served)
}

#[tokio::test]
async fn a_host_that_accepts_the_answer_is_served() {
    let (_platform, served) = served().await;
    for (accept, status) in
        [("*/*", 200), ("application/*, text/*", 200), ("application/json", 200), ("text/html", 406), ("text/event-stream", 406)]
    {
        let mut request = served.modern("anna", "tools/list", &json!({})).build().unwrap();
        request.headers_mut().insert("accept", accept.parse().unwrap());
        let answered = read(served.http.execute(request).await.unwrap()).await;
        assert_eq!(answered.status, status, "{accept}: {answered:?}");
        if status != 200 {
            assert_eq!(answered.body["error"]["data"]["code"], "FM-MCP-ACCEPT", "{answered:?}");
        }
    }
    // A session is answered by streams, which its host must accept.
    let mut request = served.initialize("anna", &json!({})).build().unwrap();
    request.headers_mut().insert("accept", "application/json".parse().unwrap());
    assert_eq!(served.http.execute(request).await.unwrap().status(), 406);
}

#[tokio::test]
async fn every_refusal_has_a_code_in_json() {
    let (_platform, served) = served().await;
    let body = || json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
    let plain = served.request(Method::POST, "/mcp", "anna").body(body());
    let mut plain = plain.build().unwrap();
    plain.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    let plain = read(served.http.execute(plain).await.unwrap()).await;
    for (answered, status, code) in [
        (plain, 415, "FM-MCP-CONTENT-TYPE"),
        (answer(served.request(Method::PATCH, "/mcp", "anna")).await, 405, "FM-MCP-METHOD"),
        (answer(served.legacy("anna", "no-session", "tools/list", &json!({}))).await, 404, "FM-MCP-SESSION"),
        (answer(served.request(Method::POST, "/mcp", "anna").body(r#"{"jsonrpc":"2.0","id":4,"method":5}"#)).await, 400, "FM-MCP-MESSAGE"),
    ] {
        assert_eq!((answered.status, &answered.body["error"]["data"]["code"]), (status, &json!(code)), "{answered:?}");
    }
    assert!(answer(served.modern("anna", "tools/list", &json!({}))).await.result()["tools"].is_array());
    let mut slash = served.modern("anna", "tools/list", &json!({})).build().unwrap();
    slash.url_mut().set_path("/mcp/");
    assert_eq!(served.http.execute(slash).await.unwrap().status(), 200);
}

#[tokio::test]
async fn wrong_parameters_of_a_known_method_are_invalid_params() {
    let (_platform, served) = served().await;
    for (method, params) in [
        ("tools/call", json!({ "name": "auth_validate", "arguments": [] })),
        ("resources/read", json!({ "uri": 5 })),
        ("prompts/get", json!({ "name": "design-process", "arguments": [] })),
        ("completion/complete", json!({})),
    ] {
        let session = served.open("anna").await;
        let answered = answer(served.legacy("anna", &session, method, &params)).await;
        assert_eq!(answered.body["error"]["code"], -32602, "{method}: {answered:?}");
        assert_eq!(answered.body["error"]["data"]["code"], "FM-MCP-PARAMS");
    }
}

#[tokio::test]
async fn a_number_that_would_be_rounded_is_rejected_by_name() {
    let (_platform, served) = served().await;
    let session = served.open("anna").await;
    let body = json!({ "jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": { "name": "entities_insert", "arguments": { "type": "t", "data": { "n": "#" } } } });
    for number in ["12345678901234567890123", "-18446744073709551600", "0.12345678901234567890", "1e999"] {
        let request = served.legacy("anna", &session, "tools/call", &Value::Null).body(body.to_string().replace("\"#\"", number));
        let answered = answer(request).await;
        assert_eq!((&answered.body["id"], &answered.body["error"]["code"]), (&json!(9), &json!(-32602)), "{answered:?}");
        let message = answered.body["error"]["message"].as_str().unwrap();
        assert!(message.contains("/params/arguments/data/n") && message.contains(&number[..4]), "{message}");
    }
}
