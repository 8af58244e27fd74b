//! Prompt Engineering Service (contract, section 7).

use serde_json::{Value, json};

use super::target::{Target, column, id_in, refused};

/// Creates and publishes a prompt, and answers its path.
async fn published(target: &Target, mut prompt: Value) -> String {
    prompt["name"] = json!(target.named("Customer Analysis"));
    let path = format!("/prompts/{}", id_in(&target.post("/prompts", prompt).await.ok(), "promptId"));
    target.post(&format!("{path}/publish"), json!({})).await.ok();
    path
}

fn greeting() -> Value {
    json!({ "template": "Hello {{who}}", "variables": [{ "name": "who", "type": "string", "required": true }] })
}

async fn assembled(target: &Target, path: &str, body: Value) -> Value {
    target.post(&format!("{path}/assemble"), body).await.ok()["assembled"].clone()
}

/// **Versioning**: a published version stays as it is, and is assembled again by its number.
#[tokio::test]
async fn a_published_version_stays_beside_the_next() {
    let target = Target::open().await;
    let path = published(&target, greeting()).await;
    let second = target.post(&format!("{path}/publish"), json!({ "template": "Good morning {{who}}" })).await.ok();
    let versions = target.get(&format!("{path}/versions")).await.ok();
    assert_eq!(column(&versions, "version"), [second["version"].as_str().unwrap(), "1.0.0"]);
    let values = json!({ "who": "Ada" });
    assert_eq!(assembled(&target, &path, json!({ "variables": values })).await, "Good morning Ada");
    assert_eq!(assembled(&target, &path, json!({ "variables": values, "version": "1.0.0" })).await, "Hello Ada");
}

/// **Dynamic assembly**: values take their places when the prompt is assembled; what is missing or unknown is refused.
#[tokio::test]
async fn values_take_their_places_when_a_prompt_is_assembled() {
    let target = Target::open().await;
    let path = published(
        &target,
        json!({
            "template": "Analyze the following customer data: {{customer_data}}. Provide recommendations for {{interaction_type}}.",
            "variables": [
                { "name": "customer_data", "type": "object", "required": true },
                { "name": "interaction_type", "type": "string", "required": true },
            ],
        }),
    )
    .await;
    let values = json!({ "customer_data": { "tier": 1 }, "interaction_type": "upsell" });
    let expected = "Analyze the following customer data: {\"tier\":1}. Provide recommendations for upsell.";
    assert_eq!(assembled(&target, &path, json!({ "variables": values })).await, expected);
    for values in [json!({ "interaction_type": "upsell" }), json!({ "customer_data": {}, "interaction_type": "x", "colour": 1 })] {
        refused(&target.post(&format!("{path}/assemble"), json!({ "variables": values })).await, &[400, 422]);
    }
}

/// **Contract tests**: validation finds what a version could not be assembled with, and such a version is not published.
#[tokio::test]
async fn a_version_that_cannot_be_assembled_is_not_published() {
    let target = Target::open().await;
    let broken = json!({ "name": target.named("Broken"), "template": "Hello {{nmae}}", "variables": [{ "name": "name" }] });
    let path = format!("/prompts/{}", id_in(&target.post("/prompts", broken).await.ok(), "promptId"));
    let checked = target.post(&format!("{path}/validate"), json!({})).await.ok();
    assert!(checked["valid"] == false && checked["errors"].to_string().contains("nmae"), "{checked:#}");
    refused(&target.post(&format!("{path}/publish"), json!({})).await, &[400, 409, 422]);
    let path = published(&target, greeting()).await;
    let samples = json!({ "template": "Dear {{who}}", "samples": [{ "who": "Ada" }] });
    let next = target.post(&format!("{path}/publish"), samples).await.ok();
    assert_eq!(next["changes"][0]["after"], "Dear Ada", "a version says what came out differently: {next:#}");
}

/// **Blocks**: a prompt is composed of parts with names.
#[tokio::test]
async fn a_prompt_is_composed_of_blocks() {
    let target = Target::open().await;
    let mut prompt = greeting();
    prompt["template"] = json!("{{opening}} Thank you.");
    prompt["blocks"] = json!({ "opening": "Dear {{who}}," });
    let path = published(&target, prompt).await;
    assert_eq!(assembled(&target, &path, json!({ "variables": { "who": "Ada" } })).await, "Dear Ada, Thank you.");
}
