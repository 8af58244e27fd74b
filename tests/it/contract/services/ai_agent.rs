//! AI Agent Service (contract, section 6).

use reqwest::Method;
use serde_json::{Value, json};

use super::target::{Target, id_in, items};
use crate::support::platform::Reply;

/// The first agent that there is.
async fn agent(target: &Target) -> String {
    id_in(&items(&target.get("/agents").await.ok())[0], "agentId")
}

fn question(target: &Target) -> Value {
    json!({
        "prompt": target.named("Analyze this customer data and suggest next steps"),
        "context": { "customerId": "customer-123", "data": { "sentiment": "negative", "engagement": "low" } },
        "temperature": 0.7, "maxTokens": 500,
    })
}

/// **Traffic management**: the answer and the metrics say which model answered, and what it cost. Which models share the traffic is
/// the operator's setting.
#[tokio::test]
async fn what_an_agent_answered_and_cost_is_counted() {
    let target = Target::open().await;
    let agent = agent(&target).await;
    let before = target.get(&format!("/agents/{agent}/metrics")).await.ok();
    let answer = target.post(&format!("/agents/{agent}/invoke"), question(&target)).await.ok();
    assert_eq!(answer["agentId"], agent);
    assert!(!answer["response"].as_str().unwrap().is_empty() && answer["tokensUsed"].as_u64().unwrap() > 0, "{answer:#}");
    let after = target.get(&format!("/agents/{agent}/metrics")).await.ok();
    assert!(
        after["tokensUsed"].as_u64().unwrap() >= before["tokensUsed"].as_u64().unwrap_or_default() + answer["tokensUsed"].as_u64().unwrap()
    );
    target.events("agent.invoked", "agentId", &agent, 1).await;
}

/// **Response caching**: the same question again is answered from memory, another is not.
#[tokio::test]
async fn the_same_question_is_answered_from_memory() {
    let target = Target::open().await;
    let path = format!("/agents/{}/invoke", agent(&target).await);
    let first = target.post(&path, question(&target)).await.ok();
    let again = target.post(&path, question(&target)).await.ok();
    assert_eq!((&first["cached"], &again["cached"], &again["response"]), (&json!(false), &json!(true), &first["response"]));
    let mut other = question(&target);
    other["context"]["customerId"] = json!("customer-124");
    assert_eq!(target.post(&path, other).await.ok()["cached"], false);
}

/// **Rate limiting**: a tenant's questions beyond its limit are refused with the time to come again.
#[tokio::test]
async fn questions_beyond_a_tenants_limit_wait() {
    let target = Target::open_with(|options| options.agents.calls_per_minute = 2).await;
    if target.embedded("how much a tenant may ask is the operator's setting").is_none() {
        return;
    }
    let path = format!("/agents/{}/invoke", agent(&target).await);
    let ask = async |n: u32| target.post(&path, json!({ "prompt": format!("Question {n}") })).await;
    for n in 0..2 {
        ask(n).await.ok();
    }
    let refused = ask(3).await;
    assert_eq!(refused.status, 429, "{:#}", refused.body);
    assert!(refused.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() <= 60);
}

/// **Feedback loop**: an answer is rated, and the rating is found by the agent.
#[tokio::test]
async fn an_answer_is_rated_for_learning_management() {
    let target = Target::open().await;
    let agent = agent(&target).await;
    let prompt = json!({ "name": target.named("Advice"), "template": "Advise." });
    let prompt = id_in(&target.post("/prompts", prompt).await.ok(), "promptId");
    target.post(&format!("/prompts/{prompt}/publish"), json!({})).await.ok();
    let rating = json!({ "agentId": agent, "promptId": prompt, "feedback": { "accuracy": 0.92, "userSatisfaction": 4.5 } });
    target.post("/feedback", rating).await.ok();
    let found = target.get(&format!("/feedback?agentId={agent}&promptId={prompt}")).await.ok();
    assert_eq!(items(&found)[0]["feedback"]["accuracy"], 0.92);
}

/// **Streaming**: an answer comes as server-sent events, piece by piece, and whole at its end.
#[tokio::test]
async fn an_answer_is_streamed_and_ends_whole() {
    let target = Target::open().await;
    let path = format!("/agents/{}/stream", agent(&target).await);
    let request = target.request(Method::POST, &path).header("accept", "text/event-stream").json(&question(&target));
    let streamed = Reply::to(request).await;
    assert!(streamed.headers["content-type"].to_str().unwrap().starts_with("text/event-stream"), "{:?}", streamed.headers);
    let text = streamed.body.as_str().unwrap();
    let data = |name: &str| -> Vec<Value> {
        let parts = text.split("\n\n").filter_map(|part| part.strip_prefix(&format!("event: {name}\ndata: ")));
        parts.map(|data| serde_json::from_str(data).unwrap()).collect()
    };
    let told: String = data("token").iter().map(|token| token["text"].as_str().unwrap()).collect();
    assert_eq!(data("done")[0]["response"], told, "{text}");
}
