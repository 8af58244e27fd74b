//! Language models of the test's own: both forms, failures of each kind, several providers, limits and tools.

use std::time::Duration;

use flowmaster_mcp::platform::{Key, ProviderKind};
use serde_json::{Value, json};

use super::script::{KEY, Model, Said, anthropic, openai, openai_tool, platform};
use super::{asking, clerk, ended, example, items, register};
use crate::platform::executions::{publish, start};
use crate::support::platform::{Reply, TestPlatform};

async fn ask(bench: &TestPlatform, body: Value) -> Reply {
    bench.post("/agents/agent-assistant/invoke", &bench.owner(), body).await
}

#[tokio::test]
async fn the_contracts_question_goes_to_a_provider_in_openais_form() {
    let model = Model::start(ProviderKind::OpenAi, [openai("Recommend immediate outreach")]).await;
    let bench = platform(vec![model.provider(&["gpt-4"], 1)], |_| {}).await;
    register(&bench, json!({ "agentId": "agent-gpt4", "name": "Analyst", "instructions": "Be kind." })).await;
    let answer = bench.post("/agents/agent-gpt4/invoke", &bench.owner(), example()).await.ok();
    assert_eq!(
        answer,
        json!({ "agentId": "agent-gpt4", "response": "Recommend immediate outreach", "tokensUsed": 150, "cached": false,
                "provider": "openai", "model": "gpt-4" })
    );
    let asked = &model.standin.asked()[0];
    assert_eq!((asked.path.as_str(), asked.header("authorization")), ("/v1/chat/completions", "Bearer sk-very-secret"));
    let body = &model.asked()[0];
    assert_eq!((&body["model"], &body["temperature"], &body["max_tokens"]), (&json!("gpt-4"), &json!(0.7), &json!(500)));
    assert!(body["messages"][0]["content"].as_str().unwrap().ends_with("Be kind."));
    assert!(body["messages"][1]["content"].as_str().unwrap().contains("customer-123"));
    assert_eq!(bench.post("/agents/agent-gpt4/invoke", &bench.owner(), example()).await.ok()["cached"], true);
    assert_eq!(model.asked().len(), 1);
    let metrics = bench.get("/agents/agent-gpt4/metrics", &bench.owner()).await.ok();
    assert_eq!(metrics["usage"], json!({ "inputTokens": 100, "outputTokens": 50 }));
    assert!(metrics["averageLatency"].is_f64(), "{metrics:#}");
    let listed = bench.get("/agents", &bench.owner()).await.ok();
    assert_eq!((&items(&listed)[0]["provider"], &items(&listed)[0]["model"]), (&json!("openai"), &json!("gpt-4")));
    // Nothing that anybody can read holds the key.
    let file = std::fs::read(bench.folder.path().join("data/platform.db")).unwrap();
    assert!(!file.windows(KEY.len()).any(|part| part == KEY.as_bytes()));
}

#[tokio::test]
async fn a_question_goes_to_a_provider_in_anthropics_form() {
    let model = Model::start(ProviderKind::Anthropic, [anthropic(&json!([{ "type": "text", "text": "Call them" }]))]).await;
    let bench = platform(vec![model.provider(&["claude"], 1)], |_| {}).await;
    let answer = ask(&bench, json!({ "prompt": "What now?", "temperature": 1.5 })).await.ok();
    assert_eq!((&answer["response"], &answer["provider"], &answer["tokensUsed"]), (&json!("Call them"), &json!("anthropic"), &json!(150)));
    let asked = &model.standin.asked()[0];
    assert_eq!((asked.path.as_str(), asked.header("x-api-key"), asked.header("anthropic-version")), ("/v1/messages", KEY, "2023-06-01"));
    assert_eq!(asked.header("authorization"), "");
    let body = &model.asked()[0];
    assert_eq!((&body["temperature"], &body["messages"]), (&json!(1.0), &json!([{ "role": "user", "content": "What now?" }])));
    assert!(body["max_tokens"].is_u64() && body["system"].is_string());
}

#[tokio::test]
async fn azure_has_the_key_in_its_own_header() {
    let model = Model::start(ProviderKind::AzureOpenAi, [openai("Yes")]).await;
    let bench = platform(vec![model.provider(&["gpt-4"], 1)], |_| {}).await;
    assert_eq!(ask(&bench, json!({ "prompt": "x" })).await.ok()["provider"], "azure_openai");
    let asked = &model.standin.asked()[0];
    assert_eq!((asked.header("api-key"), asked.header("authorization")), (KEY, ""));
}

#[tokio::test]
async fn each_failure_of_a_provider_has_its_code_and_tells_no_secret() {
    let refusal = json!({ "error": { "message": "maximum context length is 8192 tokens" } }).to_string();
    for (said, status, code) in [
        (Said::Status(400, refusal), 422, "FM-AIS-REFUSED"),
        (Said::Status(401, format!("Incorrect API key provided: {KEY}")), 502, "FM-AIS-PROVIDER-ACCESS"),
        (Said::Status(404, "no such model".to_owned()), 502, "FM-AIS-PROVIDER-ACCESS"),
        (Said::Limited(7), 429, "FM-AIS-PROVIDER-LIMITED"),
        (Said::Status(500, String::new()), 502, "FM-AIS-PROVIDER-FAILED"),
        (Said::Status(302, String::new()), 502, "FM-AIS-PROVIDER-FAILED"),
        (Said::Status(200, "<html>garbage</html>".to_owned()), 502, "FM-AIS-PROVIDER-FAILED"),
        (Said::Status(200, json!({ "choices": [] }).to_string()), 502, "FM-AIS-PROVIDER-FAILED"),
        (Said::Status(200, "x".repeat(3 * 1024 * 1024)), 502, "FM-AIS-PROVIDER-FAILED"),
        (Said::Silence, 504, "FM-AIS-TIMEOUT"),
    ] {
        let model = Model::start(ProviderKind::OpenAi, [said]).await;
        let bench = platform(vec![model.provider(&["gpt-4"], 1)], |options| options.agents.timeout = Duration::from_secs(1)).await;
        let refused = ask(&bench, json!({ "prompt": "x" })).await;
        assert!(!refused.body.to_string().contains(KEY) && !refused.body.to_string().contains(&model.standin.url), "{:#}", refused.body);
        assert_eq!(refused.headers.get("retry-after").is_some(), status == 429);
        assert_eq!(refused.refused(status, code)["detail"].as_str().unwrap().contains("8192"), status == 422);
        let metrics = bench.get("/agents/agent-assistant/metrics", &bench.owner()).await.ok();
        assert_eq!((&metrics["invocations"], &metrics["errors"]), (&json!(1), &json!(1)), "{code}");
        let events = bench.get("/events/replay?topic=agent.invoked", &bench.owner()).await.ok();
        assert_eq!((&items(&events)[0]["data"]["status"], &items(&events)[0]["data"]["error"]), (&json!("failed"), &json!(code)));
    }
}

#[tokio::test]
async fn the_next_provider_answers_where_one_fails_and_a_failing_one_rests() {
    let failing = Model::start(
        ProviderKind::OpenAi,
        [Said::Status(503, String::new()), Said::Status(503, String::new()), Said::Status(503, String::new()), openai("first")],
    )
    .await;
    let good = Model::start(ProviderKind::Anthropic, [anthropic(&json!([{ "type": "text", "text": "second" }]))]).await;
    let bench = platform(vec![failing.provider(&["m"], 1000), good.provider(&["m"], 1)], |_| {}).await;
    for n in 0..6 {
        assert_eq!(ask(&bench, json!({ "prompt": n.to_string() })).await.ok()["response"], "second");
    }
    assert_eq!(failing.asked().len(), 3, "after three failures it rests");
    bench.clock.advance(31.0);
    assert_eq!(ask(&bench, json!({ "prompt": "again" })).await.ok()["response"], "first");
}

#[tokio::test]
async fn without_a_provider_that_works_the_agent_is_unavailable() {
    let model = Model::start(ProviderKind::OpenAi, [Said::Limited(60), openai("back")]).await;
    let bench = platform(vec![model.provider(&["m"], 1)], |_| {}).await;
    ask(&bench, json!({ "prompt": "x" })).await.refused(429, "FM-AIS-PROVIDER-LIMITED");
    let down = ask(&bench, json!({ "prompt": "x" })).await;
    assert_eq!(down.headers["retry-after"], "60");
    down.refused(503, "FM-AIS-PROVIDER-DOWN");
    assert_eq!(items(&bench.get("/agents", &bench.owner()).await.ok())[0]["status"], "unavailable");
    bench.clock.advance(60.0);
    assert_eq!(ask(&bench, json!({ "prompt": "x" })).await.ok()["response"], "back");
    assert_eq!(model.asked().len(), 2);
}

#[tokio::test]
async fn a_model_that_no_provider_has_is_named_with_those_there_are() {
    let model = Model::start(ProviderKind::OpenAi, [openai("x")]).await;
    let bench = platform(vec![model.provider(&["gpt-4", "gpt-3.5"], 1)], |_| {}).await;
    let refused = ask(&bench, json!({ "prompt": "x", "model": "gpt4" })).await.refused(422, "FM-AIS-UNKNOWN-MODEL");
    assert!(refused["errors"][0]["detail"].as_str().unwrap().contains("did you mean `gpt-4`"), "{refused:#}");
    assert_eq!(model.asked(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_key_is_read_from_its_file_at_each_call() {
    let model = Model::start(ProviderKind::OpenAi, [openai("x")]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let mut provider = model.provider(&["m"], 1);
    provider.key = Some(Key::File(path.clone()));
    let bench = platform(vec![provider], |_| {}).await;
    ask(&bench, json!({ "prompt": "x" })).await.refused(502, "FM-AIS-PROVIDER-ACCESS");
    std::fs::write(&path, "sk-new\n").unwrap();
    bench.clock.advance(61.0);
    ask(&bench, json!({ "prompt": "x" })).await.ok();
    assert_eq!(model.standin.asked()[0].header("authorization"), "Bearer sk-new");
}

#[tokio::test]
async fn calls_and_tokens_are_limited_by_tenant_and_model() {
    let model = Model::start(ProviderKind::OpenAi, [openai("x")]).await;
    let limit = |options: &mut flowmaster_mcp::platform::Options| {
        (options.agents.calls_per_minute, options.agents.tokens_per_day) = (2, 450);
    };
    let bench = platform(vec![model.provider(&["m", "n"], 1)], limit).await;
    let stranger = bench.signed_in("tenant-b", "eve", &["agent:invoke"]).await;
    for n in 0..2 {
        ask(&bench, json!({ "prompt": n.to_string() })).await.ok();
    }
    let limited = ask(&bench, json!({ "prompt": "3" })).await;
    assert!(limited.headers.contains_key("retry-after"));
    limited.refused(429, "FM-AIS-RATE-LIMITED");
    ask(&bench, json!({ "prompt": "3", "model": "n" })).await.ok();
    bench.post("/agents/agent-assistant/invoke", &stranger, json!({ "prompt": "3" })).await.ok();
    bench.clock.advance(60.0);
    ask(&bench, json!({ "prompt": "3" })).await.ok();
    ask(&bench, json!({ "prompt": "4" })).await.refused(429, "FM-AIS-TOKEN-LIMIT");
    bench.clock.advance(86_400.0);
    ask(&bench, json!({ "prompt": "4" })).await.ok();
}

#[tokio::test]
async fn a_model_runs_tools_as_the_caller_and_answers_with_what_they_gave() {
    let found = openai_tool("customer_analysis", r#"{"limit":1}"#);
    for (said, kind) in [
        (vec![found, openai("There is Acme")], ProviderKind::OpenAi),
        (
            vec![
                anthropic(&json!([{ "type": "tool_use", "id": "t1", "name": "customer_analysis", "input": { "limit": 1 } }])),
                anthropic(&json!([{ "type": "text", "text": "There is Acme" }])),
            ],
            ProviderKind::Anthropic,
        ),
    ] {
        let model = Model::start(kind, said).await;
        let bench = platform(vec![model.provider(&["m"], 1)], |_| {}).await;
        clerk(&bench).await;
        let answer = bench.post("/agents/agent-clerk/invoke", &bench.owner(), json!({ "prompt": "Who?" })).await.ok();
        assert_eq!((&answer["response"], &answer["executedTools"]), (&json!("There is Acme"), &json!(["customer_analysis"])));
        let asked = model.asked();
        let tools = asked[0]["tools"].to_string();
        assert!(tools.contains("customer_analysis") && tools.contains("new_customer"), "{tools}");
        assert!(!tools.contains("\"stop\""), "a model does not end things for good: {tools}");
        let given = asked[1]["messages"].to_string();
        assert!(given.contains("Acme") || given.contains("Globex"), "{given}");
    }
}

#[tokio::test]
async fn a_model_that_asks_for_what_it_may_not_have_is_told_so() {
    let says = [
        openai_tool("stop", r#"{"id":"exec-1"}"#),
        openai_tool("customer_analysis", r#"{"type":"salaries"}"#),
        openai_tool("customer_analysis", "not JSON"),
        openai_tool("new_customer", r#"{"data":{"name":"X"}}"#),
        openai("Sorry"),
    ];
    let model = Model::start(ProviderKind::OpenAi, says).await;
    let bench = platform(vec![model.provider(&["m"], 1)], |_| {}).await;
    clerk(&bench).await;
    let ann = bench.signed_in("tenant-local", "ann", &["agent:invoke", "entity:view"]).await;
    let answer = bench.post("/agents/agent-clerk/invoke", &ann, json!({ "prompt": "Who?" })).await.ok();
    assert_eq!(answer["response"], "Sorry");
    let asked = model.asked();
    let told: Vec<&str> =
        asked[1..].iter().map(|body| body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap()).collect();
    for (told, expected) in told.iter().zip(["no such tool", "FM-AIS-TOOL-ARGUMENTS", "not a JSON object", "FM-AAS-FORBIDDEN"]) {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    // One that never stops asking is stopped.
    let model = Model::start(ProviderKind::OpenAi, [openai_tool("customer_analysis", "{}")]).await;
    let bench = platform(vec![model.provider(&["m"], 1)], |_| {}).await;
    clerk(&bench).await;
    bench.post("/agents/agent-clerk/invoke", &bench.owner(), json!({ "prompt": "Who?" })).await.refused(422, "FM-AIS-REFUSED");
    assert_eq!(model.asked().len(), 8);
}

#[tokio::test]
async fn a_node_is_answered_later_where_the_provider_is_limited() {
    let model = Model::start(ProviderKind::OpenAi, [Said::Limited(20), openai("Calm them")]).await;
    let bench = platform(vec![model.provider(&["m"], 1)], |_| {}).await;
    clerk(&bench).await;
    let process = publish(&bench, json!([asking("agent-clerk")]), json!([])).await;
    let execution = start(&bench, &process, json!({ "customer": "Acme", "mood": "angry" })).await;
    for _ in 0..1_000 {
        if bench.get("/agents/agent-clerk/metrics", &bench.owner()).await.ok()["errors"] == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bench.clock.advance(20.0);
    let done = ended(&bench, &execution).await;
    assert_eq!(
        (&done["status"], &done["state"]["variables"]["advice"]["response"]),
        (&json!("completed"), &json!("Calm them")),
        "{done:#}"
    );
    assert_eq!(model.asked()[1].get("tools"), None, "a node has no caller whose rights a tool could have");
}
