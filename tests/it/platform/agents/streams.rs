//! Answers as server-sent events: in both forms, cut off, failing, and to a caller that hangs up.

use std::time::Duration;

use flowmaster_mcp::platform::ProviderKind;
use reqwest::Method;
use serde_json::{Value, json};

use super::clerk;
use super::script::{KEY, Model, Said, events, openai_tool, platform};
use crate::support::platform::TestPlatform;

/// Asks an agent and reads the events: names and data.
async fn stream(bench: &TestPlatform, agent: &str, body: Value) -> Vec<(String, Value)> {
    let request = bench.request(Method::POST, &format!("/agents/{agent}/stream"), &bench.owner());
    let response = request.header("accept", "text/event-stream").json(&body).send().await.unwrap();
    assert_eq!((response.status(), &response.headers()["content-type"]), (reqwest::StatusCode::OK, &"text/event-stream".parse().unwrap()));
    let text = response.text().await.unwrap();
    let event = |part: &str| {
        let (name, data) = part.split_once('\n').unwrap();
        (name.strip_prefix("event: ").unwrap().to_owned(), serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap())
    };
    text.split("\n\n").filter(|part| !part.is_empty() && !part.starts_with(':')).map(event).collect()
}

fn names(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

fn pieces(texts: &[&str], last: &str) -> Said {
    let mut data: Vec<Value> = texts.iter().map(|text| json!({ "choices": [{ "delta": { "content": text } }] })).collect();
    data.push(json!({ "choices": [], "usage": { "prompt_tokens": 7, "completion_tokens": 3 } }));
    events(&data, last)
}

const DONE: &str = "data: [DONE]\n\n";

#[tokio::test]
async fn an_answer_is_told_token_by_token_and_whole_at_its_end() {
    let model = Model::start(ProviderKind::OpenAi, [pieces(&["Call ", "them"], DONE)]).await;
    let bench = platform(vec![model.provider(&["m"], 1)], |_| {}).await;
    let told = stream(&bench, "agent-assistant", json!({ "prompt": "x" })).await;
    assert_eq!(names(&told), ["token", "token", "usage", "done"]);
    assert_eq!(told[0].1, json!({ "text": "Call " }));
    assert_eq!(told[2].1, json!({ "inputTokens": 7, "outputTokens": 3 }));
    assert_eq!((&told[3].1["response"], &told[3].1["tokensUsed"]), (&json!("Call them"), &json!(10)));
    assert_eq!(model.asked()[0]["stream"], true);
    // A repetition is told at once, and the whole answer is there without events too.
    assert_eq!(names(&stream(&bench, "agent-assistant", json!({ "prompt": "x" })).await), ["token", "usage", "done"]);
    let whole = bench.post("/agents/agent-assistant/stream", &bench.owner(), json!({ "prompt": "x" })).await.ok();
    assert_eq!((&whole["response"], &whole["cached"], &whole["usage"]["inputTokens"]), (&json!("Call them"), &json!(true), &json!(7)));
    let metrics = bench.get("/agents/agent-assistant/metrics", &bench.owner()).await.ok();
    assert_eq!((&metrics["invocations"], &metrics["tokensUsed"]), (&json!(3), &json!(10)));
}

#[tokio::test]
async fn an_answer_of_anthropics_form_is_told_token_by_token() {
    let data = [
        json!({ "type": "message_start", "message": { "usage": { "input_tokens": 7, "output_tokens": 1 } } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "Yes" } }),
        json!({ "type": "message_delta", "delta": {}, "usage": { "output_tokens": 3 } }),
        json!({ "type": "message_stop" }),
    ];
    let model = Model::start(ProviderKind::Anthropic, [events(&data, "")]).await;
    let bench = platform(vec![model.provider(&["m"], 1)], |_| {}).await;
    let told = stream(&bench, "agent-assistant", json!({ "prompt": "x" })).await;
    assert_eq!((names(&told), &told[1].1), (vec!["token", "usage", "done"], &json!({ "inputTokens": 7, "outputTokens": 3 })));
}

#[tokio::test]
async fn a_tool_is_told_while_an_answer_is_made() {
    let bench = TestPlatform::start().await;
    clerk(&bench).await;
    let told = stream(&bench, "agent-clerk", json!({ "prompt": "customer analysis" })).await;
    assert_eq!(told[0], ("tool".to_owned(), json!({ "tool": "customer_analysis", "status": "completed" })));
    let text: String = told.iter().filter(|(name, _)| name == "token").map(|(_, data)| data["text"].as_str().unwrap()).collect();
    assert_eq!((text.as_str(), told.last().unwrap().0.as_str()), (told.last().unwrap().1["response"].as_str().unwrap(), "done"));

    let call = json!({ "index": 0, "id": "c1", "function": { "name": "customer_analysis", "arguments": "{}" } });
    let first = events(&[json!({ "choices": [{ "delta": { "tool_calls": [call] } }] })], DONE);
    let model = Model::start(ProviderKind::OpenAi, [first, pieces(&["Acme"], DONE)]).await;
    let bench = platform(vec![model.provider(&["m"], 1)], |_| {}).await;
    clerk(&bench).await;
    assert_eq!(names(&stream(&bench, "agent-clerk", json!({ "prompt": "x" })).await), ["tool", "token", "usage", "done"]);
}

#[tokio::test]
async fn a_stream_that_fails_ends_with_an_error_and_is_kept_with_its_cost() {
    let broken = json!({ "error": { "message": KEY } });
    for (said, tokens) in [
        (pieces(&["Half an"], ""), 1),
        (events(&[json!({ "choices": [{ "delta": { "content": "Half" } }] }), broken], ""), 1),
        (Said::Events("data: {\n\n".to_owned()), 0),
        (Said::Events("x".repeat(3 * 1024 * 1024)), 0),
        (openai_tool("x", "{}"), 0),
        (Said::Status(500, String::new()), 0),
    ] {
        let model = Model::start(ProviderKind::OpenAi, [said]).await;
        let bench = platform(vec![model.provider(&["m"], 1)], |_| {}).await;
        let told = stream(&bench, "agent-assistant", json!({ "prompt": "x" })).await;
        let (name, problem) = told.last().unwrap();
        assert_eq!((name.as_str(), &problem["code"], told.len() - 1), ("error", &json!("FM-AIS-PROVIDER-FAILED"), tokens), "{problem:#}");
        assert!(!problem.to_string().contains(KEY));
        let metrics = bench.get("/agents/agent-assistant/metrics", &bench.owner()).await.ok();
        assert_eq!((&metrics["errors"], metrics["tokensUsed"] != 0), (&json!(1), tokens > 0), "{metrics:#}");
    }
}

#[tokio::test]
async fn a_question_that_is_wrong_is_refused_before_the_stream() {
    let bench = TestPlatform::start().await;
    let request = |path: &str| bench.request(Method::POST, path, &bench.owner()).header("accept", "text/event-stream");
    bench.send(request("/agents/agent-none/stream").json(&json!({ "prompt": "x" }))).await.refused(404, "FM-AIS-NOT-FOUND");
    bench.send(request("/agents/agent-assistant/stream").json(&json!({}))).await.refused(422, "FM-AIS-INVALID");
    let keyed = request("/agents/agent-assistant/stream").header("idempotency-key", "k").json(&json!({ "prompt": "x" }));
    bench.send(keyed).await.refused(400, "FM-AIS-MALFORMED");
}

#[tokio::test]
async fn a_caller_that_hangs_up_leaves_the_call_in_the_ledger() {
    let model = Model::start(ProviderKind::OpenAi, [Said::Silence]).await;
    let bench = platform(vec![model.provider(&["m"], 1)], |options| options.agents.timeout = Duration::from_secs(1)).await;
    for path in ["/agents/agent-assistant/invoke", "/agents/agent-assistant/stream"] {
        let request = bench.request(Method::POST, path, &bench.owner()).header("accept", "text/event-stream, application/json");
        let sent = request.json(&json!({ "prompt": path })).timeout(Duration::from_millis(300)).send().await;
        drop(sent);
    }
    for _ in 0..1_000 {
        if bench.get("/agents/agent-assistant/metrics", &bench.owner()).await.ok()["errors"] == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the calls are not in the ledger");
}
