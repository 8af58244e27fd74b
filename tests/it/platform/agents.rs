//! The AI Agent Service over HTTP, where local rules answer: registration, tools, usage, and the nodes of processes.

mod models;
mod script;
mod streams;

use std::time::Duration;

use serde_json::{Value, json};

use crate::platform::executions::{publish, start};
use crate::platform::prompts::published;
use crate::support::platform::TestPlatform;

/// The contract's example.
fn example() -> Value {
    json!({
        "agentId": "agent-gpt4", "prompt": "Analyze this customer data and suggest next steps",
        "context": { "customerId": "customer-123", "data": { "sentiment": "negative", "engagement": "low" } },
        "model": "gpt-4", "temperature": 0.7, "maxTokens": 500,
    })
}

/// Registers an agent.
async fn register(bench: &TestPlatform, profile: Value) -> Value {
    bench.post("/agents", &bench.owner(), profile).await.ok()
}

/// An agent with a tool that lists customers, and customers.
async fn clerk(bench: &TestPlatform) {
    let owner = bench.owner();
    bench.post("/entities", &owner, json!({ "entityType": "customers" })).await.ok();
    bench.post("/entities", &owner, json!({ "entityType": "salaries" })).await.ok();
    for name in ["Acme", "Globex"] {
        bench.post("/entities/customers", &owner, json!({ "data": { "name": name } })).await.ok();
    }
    let tools = json!([
        { "name": "customer_analysis", "operation": "entities_query", "arguments": { "type": "customers" } },
        { "name": "new_customer", "operation": "entities_insert", "arguments": { "type": "customers" } },
        { "name": "stop", "operation": "executions_cancel" },
    ]);
    register(bench, json!({ "agentId": "agent-clerk", "name": "Clerk", "tools": tools })).await;
}

fn items(page: &Value) -> &Vec<Value> {
    page["items"].as_array().unwrap()
}

#[tokio::test]
async fn the_contracts_question_is_answered_by_rules_that_say_so() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    register(&bench, json!({ "agentId": "agent-gpt4", "name": "Analyst", "model": "gpt-4" })).await;
    let answer = bench.post("/agents/agent-gpt4/invoke", &owner, example()).await.ok();
    assert_eq!((&answer["agentId"], &answer["cached"]), (&json!("agent-gpt4"), &json!(false)));
    assert_eq!((&answer["provider"], &answer["model"]), (&json!("local-rules"), &json!("local-rules")));
    let text = answer["response"].as_str().unwrap();
    assert!(text.starts_with("No language model is configured") && text.contains("data.sentiment (negative)"), "{text}");
    let tokens = answer["tokensUsed"].as_u64().unwrap();
    assert!(tokens > 0);

    // The same question again costs nothing, whatever the order of its fields.
    let mut again = example();
    again["context"] = json!({ "data": { "engagement": "low", "sentiment": "negative" }, "customerId": "customer-123" });
    let cached = bench.post("/agents/agent-gpt4/invoke", &owner, again).await.ok();
    assert_eq!((&cached["cached"], &cached["response"]), (&json!(true), &answer["response"]));
    let mut warmer = example();
    warmer["temperature"] = json!(0.8);
    assert_eq!(bench.post("/agents/agent-gpt4/invoke", &owner, warmer).await.ok()["cached"], false);
    bench.clock.advance(3_601.0);
    assert_eq!(bench.post("/agents/agent-gpt4/invoke", &owner, example()).await.ok()["cached"], false);

    let metrics = bench.get("/agents/agent-gpt4/metrics", &owner).await.ok();
    assert_eq!((&metrics["invocations"], &metrics["cacheHits"], &metrics["errors"]), (&json!(4), &json!(1), &json!(0)));
    assert_eq!((&metrics["tokensUsed"], &metrics["models"][0]["model"]), (&json!(3 * tokens), &json!("local-rules")), "{metrics:#}");
    let events = bench.get("/events/replay?topic=agent.invoked", &owner).await.ok();
    let event = &items(&events)[0];
    assert_eq!((&event["source"], &event["data"]["agentId"]), (&json!("/services/ai-agent"), &json!("agent-gpt4")));
    assert!(event["data"]["duration"].is_f64() && !event.to_string().contains("customer-123"), "{event:#}");
    let entries = bench.get("/audit-logs?action=agent.invoked&resourceType=agent", &owner).await.ok();
    assert_eq!(items(&entries).len(), 4);
    let bench = bench.restart().await;
    assert_eq!(bench.get("/agents/agent-gpt4/metrics", &bench.owner()).await.ok(), metrics, "a restart keeps the ledger");
}

#[tokio::test]
async fn agents_are_registered_listed_and_changed_by_version() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let listed = bench.get("/agents", &owner).await.ok();
    assert_eq!((&items(&listed)[0]["agentId"], &items(&listed)[0]["status"]), (&json!("agent-assistant"), &json!("available")));
    let made = bench.post("/agents", &owner, json!({ "agentId": "agent-a", "name": "A", "instructions": "Be brief." })).await;
    assert_eq!(
        (made.status, &made.headers["location"], &made.headers["etag"]),
        (201, &"/agents/agent-a".parse().unwrap(), &"\"1\"".parse().unwrap())
    );
    let minted = register(&bench, json!({ "name": "B" })).await;
    assert!(minted["agentId"].as_str().unwrap().starts_with("agent-0"), "{minted}");
    bench.post("/agents", &owner, json!({ "agentId": "agent-a", "name": "C" })).await.refused(409, "FM-AIS-AGENT-TAKEN");
    bench.post("/agents", &owner, json!({ "agentId": "agent-assistant", "name": "C" })).await.refused(409, "FM-AIS-AGENT-TAKEN");

    let first = bench.get("/agents?limit=2", &owner).await.ok();
    let rest = bench.get(&format!("/agents?limit=2&cursor={}", first["nextCursor"].as_str().unwrap()), &owner).await.ok();
    let ids: Vec<&str> = items(&first).iter().chain(items(&rest)).map(|agent| agent["agentId"].as_str().unwrap()).collect();
    assert_eq!((ids.len(), ids.is_sorted(), &rest["nextCursor"]), (3, true, &Value::Null), "{ids:?}");

    let changed = bench.put("/agents/agent-a", &owner, json!({ "name": "A", "enabled": false })).await.ok();
    assert_eq!((&changed["version"], &changed["enabled"], changed.get("instructions")), (&json!("2"), &json!(false), None));
    bench.post("/agents/agent-a/invoke", &owner, json!({ "prompt": "x" })).await.refused(409, "FM-AIS-DISABLED");
    let stale = bench.request(reqwest::Method::PUT, "/agents/agent-a", &owner).header("if-match", "\"1\"").json(&json!({ "name": "A" }));
    bench.send(stale).await.refused(412, "FM-AGS-CHANGED");
    bench.put("/agents/agent-assistant", &owner, json!({ "name": "A" })).await.refused(409, "FM-AIS-BUILT-IN");
    let bench = bench.restart().await;
    assert_eq!(bench.get("/agents/agent-a", &bench.owner()).await.ok(), changed);
}

#[tokio::test]
async fn what_cannot_be_an_agent_is_rejected_by_field() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let with_tool = |tool: Value| json!({ "name": "A", "tools": [tool] });
    for (profile, code, pointer) in [
        (json!({ "agentId": "gpt4", "name": "A" }), "FM-AIS-AGENT-ID", "/agentId"),
        (json!({ "agentId": "agent-a b", "name": "A" }), "FM-AIS-AGENT-ID", "/agentId"),
        (json!({ "name": "" }), "FM-AIS-INVALID", "/name"),
        (json!({ "name": "A", "temperature": 2.1 }), "FM-AIS-INVALID", "/temperature"),
        (json!({ "name": "A", "instructions": "x".repeat(20_001) }), "FM-AIS-INVALID", "/instructions"),
        (json!({ "name": "A", "promptId": "prompt-none" }), "FM-AIS-UNKNOWN-PROMPT", "/promptId"),
        (json!({ "name": "A", "promptVersion": "1.0.0" }), "FM-AIS-PROFILE", "/promptVersion"),
        (with_tool(json!({ "name": "a b", "operation": "tasks_list" })), "FM-AIS-PROFILE", "/tools/0/name"),
        (with_tool(json!({ "name": "t", "operation": "tasks_lists" })), "FM-AIS-PROFILE", "/tools/0/operation"),
        (with_tool(json!({ "name": "t", "operation": "tasks_respond" })), "FM-AIS-PROFILE", "/tools/0/operation"),
        (with_tool(json!({ "name": "t", "operation": "roles_create" })), "FM-AIS-PROFILE", "/tools/0/operation"),
        (with_tool(json!({ "name": "t", "operation": "agents_invoke" })), "FM-AIS-PROFILE", "/tools/0/operation"),
        (
            with_tool(json!({ "name": "t", "operation": "tasks_list", "arguments": { "colour": "red" } })),
            "FM-AIS-PROFILE",
            "/tools/0/arguments/colour",
        ),
    ] {
        let refused = bench.post("/agents", &owner, profile).await.refused(422, code);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused:#}");
    }
    for (question, status, code) in [
        (json!({ "prompt": "" }), 422, "FM-AIS-INVALID"),
        (json!({ "prompt": "x", "temperature": 3 }), 422, "FM-AIS-INVALID"),
        (json!({ "prompt": "x", "maxTokens": 0 }), 422, "FM-AIS-INVALID"),
        (json!({ "prompt": "x", "url": "http://127.0.0.1/" }), 422, "FM-AIS-INVALID"),
        (json!({ "prompt": "x", "agentId": "agent-other" }), 422, "FM-AIS-INVALID"),
        (json!({ "prompt": "x", "context": { "a": "y".repeat(400_000) } }), 413, "FM-AIS-TOO-LONG"),
    ] {
        bench.post("/agents/agent-assistant/invoke", &owner, question).await.refused(status, code);
    }
    for verb in ["invoke", "stream"] {
        bench.post(&format!("/agents/agent-none/{verb}"), &owner, json!({ "prompt": "x" })).await.refused(404, "FM-AIS-NOT-FOUND");
    }
    bench.get("/agents/agent-none/metrics", &owner).await.refused(404, "FM-AIS-NOT-FOUND");
    let metrics = bench.get("/agents/agent-assistant/metrics", &owner).await.ok();
    assert_eq!((&metrics["invocations"], metrics.get("averageLatency")), (&json!(0), None), "what is rejected is no call");
}

#[tokio::test]
async fn a_tool_runs_as_the_caller_with_its_fixed_arguments() {
    let bench = TestPlatform::start().await;
    clerk(&bench).await;
    let rights = ["agent:*", "entity:view"];
    let ann = bench.signed_in("tenant-local", "ann", &rights).await;
    let execute = async |token: &str, body: Value| bench.post("/agents/agent-clerk/tools/execute", token, body).await;
    let ran = execute(&ann, json!({ "tool": "customer_analysis", "arguments": { "limit": 1 } })).await.ok();
    assert_eq!((&ran["status"], &ran["tool"], items(&ran["result"]).len()), (&json!("completed"), &json!("customer_analysis"), 1));
    let fixed = execute(&ann, json!({ "tool": "customer_analysis", "arguments": { "type": "salaries" } })).await;
    assert_eq!(fixed.refused(422, "FM-AIS-TOOL-ARGUMENTS")["errors"][0]["pointer"], "/arguments/type");
    // Ann may not insert records, and the tool gives no rights.
    execute(&ann, json!({ "tool": "new_customer", "arguments": { "data": { "name": "X" } } })).await.refused(403, "FM-AAS-FORBIDDEN");
    execute(&bench.owner(), json!({ "tool": "new_customer", "arguments": { "data": { "name": "X" } } })).await.ok();
    execute(&ann, json!({ "tool": "new_customer", "arguments": {} })).await.refused(403, "FM-AAS-FORBIDDEN");
    execute(&bench.owner(), json!({ "tool": "new_customer" })).await.refused(422, "FM-IDHS-INVALID");
    execute(&ann, json!({ "tool": "customer-analysis" })).await.refused(422, "FM-AIS-UNKNOWN-TOOL");
    let entries = bench.get("/audit-logs?action=entity.inserted", &bench.owner()).await.ok();
    assert_eq!(items(&entries)[0]["actor"], "user-owner");
    let entries = bench.get("/audit-logs?action=agent.tool_executed", &bench.owner()).await.ok();
    assert_eq!(items(&entries).len(), 2, "what was refused ran no tool");

    // A prompt that names a tool has the rules run it; what a tool gave is not given to anybody else.
    let asked = json!({ "prompt": "Make a customer analysis, then stop", "context": { "limit": 2 } });
    for _ in 0..2 {
        let answer = bench.post("/agents/agent-clerk/invoke", &ann, asked.clone()).await.ok();
        assert_eq!((&answer["executedTools"], &answer["cached"]), (&json!(["customer_analysis"]), &json!(false)), "{answer:#}");
        assert!(answer["response"].as_str().unwrap().contains("Globex"), "{answer:#}");
    }
    let bob = bench.signed_in("tenant-local", "bob", &["agent:invoke"]).await;
    let answer = bench.post("/agents/agent-clerk/invoke", &bob, asked).await.ok();
    assert!(!answer["response"].as_str().unwrap().contains("Globex"), "{answer:#}");
    assert!(answer["response"].as_str().unwrap().contains("FM-AAS-FORBIDDEN"), "{answer:#}");
    bench.post("/agents/agent-clerk/tools/execute", &bob, json!({ "tool": "customer_analysis" })).await.refused(403, "FM-AAS-FORBIDDEN");
}

#[tokio::test]
async fn an_agents_prompt_is_assembled_with_the_context() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let prompt = json!({
        "name": "Complaint", "template": "Answer this complaint: {{complaint}}", "variables": [{ "name": "complaint", "type": "string" }],
    });
    let prompt = published(&bench, prompt).await.trim_start_matches("/prompts/").to_owned();
    register(&bench, json!({ "agentId": "agent-a", "name": "A", "promptId": prompt })).await;
    bench.post("/agents/agent-a/invoke", &owner, json!({ "prompt": "Reply" })).await.refused(422, "FM-PES-VARIABLES");
    bench.post("/agents/agent-a/invoke", &owner, json!({ "prompt": "Reply", "context": { "complaint": "late", "other": 1 } })).await.ok();
    let events = bench.get("/events/replay?topic=agent.invoked", &owner).await.ok();
    assert_eq!((&items(&events)[0]["data"]["promptId"], &items(&events)[0]["data"]["promptVersion"]), (&json!(prompt), &json!("1.0.0")));

    let feedback = json!({ "agentId": "agent-a", "promptId": prompt, "feedback": { "accuracy": 1 } });
    assert_eq!(bench.post("/feedback", &owner, feedback.clone()).await.ok()["agentVersion"], "1");
    bench.put("/agents/agent-a", &owner, json!({ "name": "A", "promptId": prompt })).await.ok();
    assert_eq!(bench.post("/feedback", &owner, feedback).await.ok()["agentVersion"], "2");
    let unknown = json!({ "agentId": "agent-b", "promptId": prompt, "feedback": { "accuracy": 1 } });
    bench.post("/feedback", &owner, unknown).await.refused(422, "FM-LMS-UNKNOWN-AGENT");
}

#[tokio::test]
async fn a_tenants_agents_and_their_usage_are_its_own() {
    let bench = TestPlatform::start().await;
    clerk(&bench).await;
    let stranger = bench.signed_in("tenant-b", "eve", &["agent:*", "entity:*"]).await;
    assert_eq!(items(&bench.get("/agents", &stranger).await.ok()).len(), 1, "the built-in agent alone");
    for (path, body) in [
        ("/agents/agent-clerk/invoke", json!({ "prompt": "x" })),
        ("/agents/agent-clerk/tools/execute", json!({ "tool": "customer_analysis" })),
    ] {
        bench.post(path, &stranger, body).await.refused(404, "FM-AIS-NOT-FOUND");
    }
    bench.put("/agents/agent-clerk", &stranger, json!({ "name": "A" })).await.refused(404, "FM-AIS-NOT-FOUND");
    bench.get("/agents/agent-clerk/metrics", &stranger).await.refused(404, "FM-AIS-NOT-FOUND");
    // The same question to the agent that both have is not answered from the other's.
    let asked = json!({ "prompt": "x", "context": { "a": 1 } });
    for (token, cached) in [(bench.owner(), false), (bench.owner(), true), (stranger.clone(), false)] {
        assert_eq!(bench.post("/agents/agent-assistant/invoke", &token, asked.clone()).await.ok()["cached"], cached);
    }
    assert_eq!(bench.get("/agents/agent-assistant/metrics", &stranger).await.ok()["invocations"], 1);
    let reader = bench.signed_in("tenant-local", "rob", &["agent:view"]).await;
    bench.post("/agents/agent-assistant/invoke", &reader, asked).await.refused(403, "FM-AAS-FORBIDDEN");
    bench.post("/agents", &reader, json!({ "name": "A" })).await.refused(403, "FM-AAS-FORBIDDEN");
}

#[tokio::test]
async fn a_repeated_call_with_its_key_is_asked_once() {
    let bench = TestPlatform::start().await;
    for _ in 0..2 {
        let request = bench.request(reqwest::Method::POST, "/agents/agent-assistant/invoke", &bench.owner());
        bench.send(request.header("idempotency-key", "k1").json(&json!({ "prompt": "x" }))).await.ok();
    }
    assert_eq!(bench.get("/agents/agent-assistant/metrics", &bench.owner()).await.ok()["invocations"], 1);
}

/// Reads an execution until it has ended.
async fn ended(bench: &TestPlatform, execution: &Value) -> Value {
    let path = format!("/executions/{}", execution["executionId"].as_str().unwrap());
    for _ in 0..1_000 {
        let execution = bench.get(&path, &bench.owner()).await.ok();
        if !["pending", "running", "waiting"].contains(&execution["status"].as_str().unwrap()) {
            return execution;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the execution did not end in time");
}

/// A node that asks an agent.
fn asking(agent: &str) -> Value {
    json!({ "id": "think", "type": "ai_agent", "config": {
        "agentId": agent, "prompt": "Judge {{variables.customer}}", "context": "={'mood': variables.mood}", "output": "advice",
    } })
}

#[tokio::test]
async fn a_node_asks_an_agent_and_its_answer_is_the_nodes_result() {
    let bench = TestPlatform::start().await;
    let process = publish(
        &bench,
        json!([asking("agent-assistant"), { "id": "after", "type": "script", "config": {
        "expression": "nodes.think.cached ? 'old' : 'new'", "output": "age",
    } }]),
        json!([]),
    )
    .await;
    let execution = start(&bench, &process, json!({ "customer": "Acme", "mood": "angry" })).await;
    let done = ended(&bench, &execution).await;
    assert_eq!((&done["status"], &done["state"]["variables"]["age"]), (&json!("completed"), &json!("new")), "{done:#}");
    let advice = &done["state"]["variables"]["advice"];
    assert_eq!((&advice["agentId"], &advice["provider"]), (&json!("agent-assistant"), &json!("local-rules")));
    assert!(advice["response"].as_str().unwrap().contains("mood (angry)"), "{advice:#}");
    let events = bench.get("/events/replay?topic=agent.invoked", &bench.owner()).await.ok();
    let data = &items(&events)[0]["data"];
    assert_eq!((&data["executionId"], &data["nodeId"]), (&execution["executionId"], &json!("think")));
    assert_eq!(bench.get("/agents/agent-assistant/metrics", &bench.owner()).await.ok()["invocations"], 1);

    let lost = publish(&bench, json!([asking("agent-none")]), json!([])).await;
    let failed = ended(&bench, &start(&bench, &lost, json!({ "customer": "Acme", "mood": "calm" })).await).await;
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!("FM-AIS-NOT-FOUND")));
}
