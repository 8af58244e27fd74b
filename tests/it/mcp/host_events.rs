//! MCP Events: announced in both revisions, typed, read with the caller's own rights, at once or waited for.

use std::time::Duration;

use flowmaster_mcp::client::{Client, Extensions};
use flowmaster_mcp::server::{App, ErrorNumbers, EventOptions, Options, Settings, serve_stdio};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio_util::sync::CancellationToken;

use crate::support::mcp::{admission, app, origin, owner};
use crate::support::platform::TestPlatform;
use crate::support::raw::{Answer, Served, answer, serve};

async fn server(platform: &TestPlatform, settings: Settings) -> Served {
    serve(app(platform, settings), admission(platform, Duration::from_mins(1)), |_| {}).await
}

async fn ask(served: &Served, token: &str, method: &str, params: &Value) -> Answer {
    answer(served.modern(token, method, params)).await
}

/// What is new, as `events/poll` answers it.
async fn poll(served: &Served, token: &str, params: &Value) -> Value {
    ask(served, token, "events/poll", params).await.result().clone()
}

/// A process with one task for the owner; starting it makes events of three topics.
async fn process(platform: &TestPlatform) -> Value {
    let owner = platform.owner();
    let nodes = json!([{ "id": "ask", "type": "human_task", "config": { "assignee": "user-owner", "title": "Approve" } }]);
    let id = platform.post("/processes/designs", &owner, json!({ "name": "Approval", "nodes": nodes })).await.ok()["id"].clone();
    platform.post(&format!("/processes/{}/publish", id.as_str().unwrap()), &owner, json!({})).await.ok();
    id
}

/// An execution that waits for the owner, and its task.
async fn start(platform: &TestPlatform, process: &Value) -> (String, String) {
    let owner = platform.owner();
    let started = platform.post("/executions", &owner, json!({ "processId": process })).await.ok();
    let execution = started["executionId"].as_str().unwrap().to_owned();
    let tasks = platform.get(&format!("/tasks?executionId={execution}"), &owner).await.ok();
    (execution, tasks["items"][0]["taskId"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn both_revisions_announce_events_by_both_keys() {
    let platform = TestPlatform::start().await;
    let served = server(&platform, Settings::default()).await;
    let token = platform.owner();
    let discovered = ask(&served, &token, "server/discover", &json!({})).await.result().clone();
    let initialized = answer(served.initialize(&token, &json!({}))).await.result().clone();
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (input, output) = tokio::io::split(theirs);
    tokio::spawn(serve_stdio(app(&platform, Settings::default()), owner(), input, output, CancellationToken::new()));
    let (reader, mut writer) = tokio::io::split(ours);
    let opening = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
    } });
    writer.write_all(format!("{opening}\n").as_bytes()).await.unwrap();
    let line = BufReader::new(reader).lines().next_line().await.unwrap().unwrap();
    let over_stdio: Value = serde_json::from_str(&line).unwrap();
    for result in [&discovered, &initialized, &over_stdio["result"]] {
        let capabilities = &result["capabilities"];
        assert_eq!(capabilities["events"], json!({}), "{result}");
        assert_eq!(capabilities["extensions"]["io.modelcontextprotocol/events"], json!({}), "{result}");
        assert!(capabilities["tools"].is_object() && result["serverInfo"]["name"].is_string() || result["_meta"].is_object(), "{result}");
    }
}

#[tokio::test]
async fn events_of_the_platform_have_the_payload_that_is_listed() {
    let platform = TestPlatform::start().await;
    let token = platform.owner();
    let served = server(&platform, Settings::default()).await;
    let listed = ask(&served, &token, "events/list", &json!({})).await.result().clone();
    assert_eq!((&listed["resultType"], &listed["cacheScope"]), (&json!("complete"), &json!("private")), "{listed}");
    let types = listed["events"].as_array().unwrap();
    assert_eq!(types.len(), 11);
    let mut cursors = Vec::new();
    for one in types.iter().take(10) {
        let begun = poll(&served, &token, &json!({ "name": one["name"] })).await;
        assert_eq!((&begun["events"], &begun["hasMore"]), (&json!([]), &json!(false)), "{begun}");
        cursors.push(begun["cursor"].clone());
    }
    let process = process(&platform).await;
    let (execution, task) = start(&platform, &process).await;
    platform.put(&format!("/tasks/{task}/respond"), &token, json!({ "decision": "approve" })).await.ok();
    platform.post(&format!("/processes/{}/publish", process.as_str().unwrap()), &token, json!({ "version": "2.0.0" })).await;
    platform.post("/agents/agent-assistant/invoke", &token, json!({ "prompt": "Hello" })).await;
    let mut came = Vec::new();
    for (one, cursor) in types.iter().zip(cursors) {
        let name = one["name"].as_str().unwrap();
        let news = poll(&served, &token, &json!({ "name": name, "cursor": cursor })).await;
        let validator = jsonschema::validator_for(&one["payloadSchema"]).unwrap();
        for event in news["events"].as_array().unwrap() {
            assert!(event["eventId"].is_string() && event["timestamp"].is_string() && event["name"] == name, "{event}");
            let faults: Vec<String> = validator.iter_errors(&event["data"]).map(|fault| fault.to_string()).collect();
            assert!(faults.is_empty(), "{name}: {faults:?} in {event}");
            let properties = one["payloadSchema"]["properties"].as_object().unwrap();
            for field in event["data"].as_object().unwrap().keys() {
                assert!(properties.contains_key(field), "{name} does not list {field}");
            }
            came.push(name.to_owned());
        }
        let again = poll(&served, &token, &json!({ "name": name, "cursor": news["cursor"] })).await;
        assert_eq!(again["events"], json!([]), "{name}");
    }
    for expected in ["process.created", "execution.started", "execution.completed", "task.created", "task.responded"] {
        assert_eq!(came.iter().filter(|name| *name == expected).count(), 1, "{expected}: {came:?}");
    }
    // Narrowed to another execution nothing came, and to this one what came.
    let begun = poll(&served, &token, &json!({ "name": "task.created", "arguments": { "executionId": execution } })).await;
    let (other, _) = start(&platform, &process).await;
    for (narrow, expected) in [(&execution, 0), (&other, 1)] {
        let arguments = json!({ "executionId": narrow });
        let news = poll(&served, &token, &json!({ "name": "task.created", "arguments": arguments, "cursor": begun["cursor"] })).await;
        assert_eq!(news["events"].as_array().unwrap().len(), expected, "{news}");
    }
}

#[tokio::test]
async fn a_poll_waits_for_an_event_of_ones_own_topic() {
    let platform = TestPlatform::start().await;
    let token = platform.owner();
    let served = server(&platform, Settings::default()).await;
    let arguments = json!({ "topic": "invoice.*" });
    let begun = poll(&served, &token, &json!({ "name": "event.published", "arguments": arguments })).await;
    let params = json!({ "name": "event.published", "arguments": arguments, "cursor": begun["cursor"], "timeoutMs": 30_000 });
    let waiting = served.modern(&token, "events/poll", &params);
    let waiting = tokio::spawn(answer(waiting));
    tokio::time::sleep(Duration::from_millis(300)).await;
    for number in 1..=3 {
        let event = json!({ "topic": "invoice.received", "event": { "number": number, "apiKey": "geheim" } });
        platform.post("/events", &token, event).await.ok();
    }
    let news = waiting.await.unwrap().result().clone();
    let first = &news["events"][0];
    assert_eq!((&first["name"], &first["data"]["type"]), (&json!("event.published"), &json!("invoice.received")), "{news}");
    assert_eq!(first["data"]["data"]["number"], 1);
    assert!(!news.to_string().contains("geheim"), "{news}");
    // From the same cursor all three, in pages; what is too old is left out, and that is told.
    let page = json!({ "name": "event.published", "arguments": arguments, "cursor": begun["cursor"], "maxEvents": 2 });
    let page = poll(&served, &token, &page).await;
    assert_eq!((page["events"].as_array().unwrap().len(), &page["hasMore"]), (2, &json!(true)), "{page}");
    let rest = json!({ "name": "event.published", "arguments": arguments, "cursor": page["cursor"] });
    assert_eq!(poll(&served, &token, &rest).await["events"][0]["data"]["data"]["number"], 3);
    let old = json!({ "name": "event.published", "arguments": arguments, "cursor": begun["cursor"], "maxAgeMs": 0 });
    let old = poll(&served, &token, &old).await;
    assert_eq!((&old["events"], &old["truncated"]), (&json!([]), &json!(true)), "{old}");
}

#[tokio::test]
async fn a_platform_without_places_in_its_log_is_read_by_time() {
    let platform = TestPlatform::start().await;
    let token = platform.owner();
    let client = Client::builder(origin(&platform)).extensions(Extensions::named(&[]).unwrap()).build();
    let app = App::new(Options { client, settings: Settings::default() }).unwrap();
    let served = serve(app, admission(&platform, Duration::from_mins(1)), |_| {}).await;
    let arguments = json!({ "topic": "order.*" });
    let publish = async |number: u32| {
        let event = json!({ "topic": "order.received", "event": { "number": number } });
        platform.post("/events", &token, event).await.ok();
    };
    publish(1).await;
    let mut cursor = poll(&served, &token, &json!({ "name": "event.published", "arguments": arguments })).await["cursor"].clone();
    let mut numbers = Vec::new();
    for round in 0..6 {
        if round % 2 == 0 {
            publish(10 + round).await;
            publish(20 + round).await;
        }
        let news =
            poll(&served, &token, &json!({ "name": "event.published", "arguments": arguments, "cursor": cursor, "maxEvents": 1 })).await;
        numbers.extend(news["events"].as_array().unwrap().iter().map(|event| event["data"]["data"]["number"].clone()));
        cursor = news["cursor"].clone();
    }
    assert_eq!(numbers, [10, 20, 12, 22, 14, 24].map(Value::from));
}

#[tokio::test]
async fn who_may_not_read_events_hears_of_none() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let deaf = platform.signed_in("tenant-local", "carl@acme.example", &["execution:view"]).await;
    let stranger = platform.signed_in("globex", "eve@globex.example", &["event:view"]).await;
    for numbers in [ErrorNumbers::Draft, ErrorNumbers::Final] {
        let settings = Settings { events: EventOptions { numbers, ..EventOptions::default() }, ..Settings::default() };
        let served = server(&platform, settings).await;
        let shift = if numbers == ErrorNumbers::Draft { 0 } else { -12 };
        let refused = async |token: &str, method: &str, params: Value| {
            let answer = ask(&served, token, method, &params).await;
            (answer.body["error"]["code"].as_i64().unwrap_or_default(), answer.code().to_owned())
        };
        assert_eq!(ask(&served, &deaf, "events/list", &json!({})).await.result()["events"], json!([]));
        let started = json!({ "name": "execution.started" });
        assert_eq!(refused(&deaf, "events/poll", started.clone()).await, (-32012 + shift, "FM-MCP-FORBIDDEN".to_owned()));
        let mine = poll(&served, &owner, &started).await["cursor"].clone();
        let foreign = json!({ "name": "execution.started", "cursor": mine });
        assert_eq!(refused(&stranger, "events/poll", foreign).await, (-32602, "FM-MCP-CURSOR".to_owned()));
        let others = json!({ "name": "execution.failed", "cursor": mine });
        let (code, _) = refused(&owner, "events/poll", others).await;
        assert!(code == 0 || code == -32602, "{code}");
        for (params, code, name) in [
            (json!({ "name": "no.such" }), -32011 + shift, "FM-MCP-EVENT-UNKNOWN"),
            (json!({ "name": "task.created", "arguments": { "nothing": "x" } }), -32602, "FM-MCP-EVENT-ARGUMENTS"),
            (json!({ "name": "event.published" }), -32602, "FM-MCP-EVENT-ARGUMENTS"),
            (json!({ "name": "task.created", "cursor": "made up" }), -32602, "FM-MCP-CURSOR"),
            (json!({ "name": "task.created", "cursor": "l.made-up" }), -32602, "FM-MCP-CURSOR"),
            (json!({ "name": "task.created", "maxEvents": "many" }), -32602, "FM-MCP-PARAMS"),
        ] {
            assert_eq!(refused(&owner, "events/poll", params.clone()).await, (code, name.to_owned()), "{params}");
        }
        let (pattern, _) = refused(&owner, "events/poll", json!({ "name": "event.published", "arguments": { "topic": "A b" } })).await;
        assert_eq!(pattern, -32602);
        assert_eq!(refused(&owner, "events/nothing", json!({})).await.0, -32601);
        let unknown =
            served.request(Method::POST, "/mcp", "").body(json!({ "jsonrpc": "2.0", "id": 1, "method": "events/list" }).to_string());
        assert_eq!(answer(unknown).await.status, 401);
    }
}
