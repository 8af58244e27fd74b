//! Learning Management Service (contract, section 8).

use serde_json::{Value, json};

use super::target::{Target, human, id_in, items, refused};

/// An agent, and a prompt and a process of the test's own.
struct Rated {
    agent: String,
    prompt: String,
    process: String,
}

async fn rated(target: &Target) -> Rated {
    let agent = id_in(&items(&target.get("/agents").await.ok())[0], "agentId");
    let prompt = json!({
        "name": target.named("Complaint"), "template": "Answer this complaint: {{complaint}}",
        "variables": [{ "name": "complaint", "type": "string" }],
    });
    let prompt = id_in(&target.post("/prompts", prompt).await.ok(), "promptId");
    target.post(&format!("/prompts/{prompt}/publish"), json!({})).await.ok();
    Rated { agent, prompt, process: target.publish(json!([human("wait", "manager")])).await }
}

impl Rated {
    /// Rates the answer to a complaint.
    async fn rate(&self, target: &Target, complaint: &str, feedback: Value) -> Value {
        let execution = target.start(&self.process, json!({ "complaint": complaint })).await;
        let execution = execution.trim_start_matches("/executions/");
        let rating = json!({ "executionId": execution, "agentId": self.agent, "promptId": self.prompt, "feedback": feedback });
        target.post("/feedback", rating).await.ok()
    }

    /// A dataset of two answers.
    async fn dataset(&self, target: &Target) -> Value {
        for (complaint, output) in [("late parcel", "track the parcel"), ("broken lamp", "send a new lamp")] {
            self.rate(target, complaint, json!({ "accuracy": 0.95, "actualOutput": output, "expectedOutput": output })).await;
        }
        let request = json!({ "name": target.named("Complaints"), "agentId": self.agent, "promptId": self.prompt });
        target.post("/datasets", request).await.ok()
    }
}

/// **Feedback linking**: a rating says the version of the prompt that it is about; what there is not cannot be rated.
#[tokio::test]
async fn feedback_is_linked_to_the_version_of_its_prompt() {
    let target = Target::open().await;
    let rated = rated(&target).await;
    let feedback = json!({ "accuracy": 0.92, "userSatisfaction": 4.5, "notes": "Excellent analysis" });
    let first = rated.rate(&target, "late", feedback.clone()).await;
    assert_eq!((&first["promptVersion"], &first["feedback"]), (&json!("1.0.0"), &feedback));
    target.post(&format!("/prompts/{}/publish", rated.prompt), json!({ "template": "Reply to: {{complaint}}" })).await.ok();
    assert_ne!(rated.rate(&target, "late", feedback.clone()).await["promptVersion"], "1.0.0");
    let found = target.get(&format!("/feedback?agentId={}&promptId={}", rated.agent, rated.prompt)).await.ok();
    assert_eq!(items(&found).len(), 2, "{found:#}");
    let unknown = json!({ "agentId": rated.agent, "promptId": "prompt-none", "feedback": feedback });
    refused(&target.post("/feedback", unknown).await, &[404, 422]);
}

/// **Async retraining**: a job is accepted at once and ends in its own time.
#[tokio::test]
async fn a_retraining_is_accepted_and_ends_by_itself() {
    let target = Target::open().await;
    let rated = rated(&target).await;
    let dataset = rated.dataset(&target).await;
    let request = json!({ "agentId": rated.agent, "datasetId": dataset["datasetId"] });
    let job = target.post("/retraining/jobs", request).await;
    assert_eq!(job.status, 202, "{:#}", job.body);
    let path = format!("/retraining/jobs/{}", id_in(&job.body, "jobId"));
    let done = target.until(&path, |job| job["status"] == "completed").await;
    assert!(done["completedAt"].is_string(), "{done:#}");
}

/// **Drift detection**: an agent's newest ratings are compared with those before; few ratings say nothing.
#[tokio::test]
async fn a_fall_of_the_ratings_is_drift() {
    let target = Target::open().await;
    let rated = rated(&target).await;
    let path = format!("/agents/{}/metrics/drift", rated.agent);
    for n in 0..48 {
        let accuracy = if n < 24 { 0.85 } else { 0.45 } + f64::from(n % 2) / 10.0;
        let rating = json!({ "agentId": rated.agent, "promptId": rated.prompt, "feedback": { "accuracy": accuracy } });
        target.post("/feedback", rating).await.ok();
    }
    let measured = target.get(&path).await.ok();
    assert_eq!(measured["agentId"], rated.agent);
    let accuracy = measured["metrics"].as_array().unwrap().iter().find(|metric| metric["metric"] == "accuracy").unwrap();
    assert!(accuracy["recentSamples"].as_u64() >= Some(20), "{measured:#}");
    if !target.is_real() {
        // The agent of a real platform was rated by others too.
        assert_eq!(measured["drifted"], true, "{measured:#}");
    }
}

/// **Training datasets**: a dataset holds the rated answers as they were when it was made.
#[tokio::test]
async fn a_dataset_holds_the_rated_answers() {
    let target = Target::open().await;
    let rated = rated(&target).await;
    let dataset = rated.dataset(&target).await;
    assert_eq!(dataset["records"], 2, "{dataset:#}");
    rated.rate(&target, "rude driver", json!({ "accuracy": 1, "actualOutput": "call the depot" })).await;
    let later = json!({ "name": target.named("Later"), "agentId": rated.agent, "promptId": rated.prompt });
    assert_eq!(target.post("/datasets", later).await.ok()["records"], 3);
    refused(&target.post("/datasets", json!({ "name": "None", "agentId": "agent-none" })).await, &[404, 422]);
}
