//! A platform on which answers of agents are rated.

use std::time::Duration;

use flowmaster_mcp::platform::{Clock as _, Options};
use serde_json::{Value, json};

use crate::platform::executions::{human, publish, start};
use crate::platform::prompts::published;
use crate::support::platform::{Reply, TestPlatform};

/// A platform with a published prompt and a process whose executions have its variable.
pub struct School {
    pub bench: TestPlatform,
    pub prompt: String,
    pub process: String,
}

impl School {
    /// Starts it.
    pub async fn open() -> Self {
        let bench = TestPlatform::start().await;
        let prompt = school_prompt(&bench).await;
        for agent in ["agent-gpt4", "agent-a", "agent-b"] {
            bench.post("/agents", &bench.owner(), json!({ "agentId": agent, "name": agent })).await.ok();
        }
        let process = publish(&bench, json!([human("wait")]), json!([])).await;
        Self { bench, prompt, process }
    }

    /// Ends it and starts it again.
    pub async fn restart_with(self, change: impl FnOnce(&mut Options)) -> Self {
        Self { bench: self.bench.restart_with(change).await, ..self }
    }

    /// POST as the owner.
    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.bench.post(path, &self.bench.owner(), body).await
    }

    /// GET as the owner.
    pub async fn get(&self, path: &str) -> Reply {
        self.bench.get(path, &self.bench.owner()).await
    }

    /// Rates an answer of an agent, without an execution.
    pub async fn rate(&self, agent: &str, feedback: Value) -> Value {
        self.post("/feedback", json!({ "agentId": agent, "promptId": self.prompt, "feedback": feedback })).await.ok()
    }

    /// Rates an answer to a complaint, in an execution that has the complaint.
    pub async fn rate_answer(&self, complaint: &str, feedback: Value) -> Value {
        let execution = start(&self.bench, &self.process, json!({ "complaint": complaint, "other": 1 })).await;
        let body = json!({
            "agentId": "agent-gpt4", "promptId": self.prompt, "executionId": execution["executionId"], "feedback": feedback,
        });
        self.post("/feedback", body).await.ok()
    }

    /// A dataset of six answers, of which one is held out, one is a poor one that nobody corrected, and one a repeat.
    pub async fn dataset(&self) -> String {
        for (complaint, feedback) in [
            ("late parcel", json!({ "accuracy": 0.95, "actualOutput": "apologise and track the parcel" })),
            ("broken lamp", json!({ "accuracy": 0.1, "actualOutput": "no idea", "expectedOutput": "send a new lamp" })),
            ("wrong shirt", json!({ "accuracy": 0.2, "actualOutput": "bad luck" })),
            ("broken lamp", json!({ "userSatisfaction": 4.5, "actualOutput": "send a new lamp" })),
            ("rude driver", json!({ "userSatisfaction": 5, "actualOutput": "call the depot" })),
            ("late parcel again", json!({ "actualOutput": "wait", "expectedOutput": "apologise and track the parcel" })),
        ] {
            self.rate_answer(complaint, feedback).await;
        }
        let dataset = self.post("/datasets", json!({ "name": "Complaints", "agentId": "agent-gpt4" })).await.ok();
        dataset["datasetId"].as_str().unwrap().to_owned()
    }

    /// Schedules a retraining of agent-gpt4.
    pub async fn schedule(&self, dataset: &str, more: Value) -> Reply {
        let mut body = json!({ "agentId": "agent-gpt4", "datasetId": dataset });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post("/retraining/jobs", body).await
    }

    /// A moment so many seconds from now, by the platform's clock.
    pub fn at(&self, seconds: f64) -> String {
        self.bench.clock.now().plus_seconds(seconds).to_string()
    }

    /// Reads a job until it has ended; it does so in its own time.
    pub async fn ended(&self, job: &Value) -> Value {
        let path = format!("/retraining/jobs/{}", job["jobId"].as_str().unwrap());
        for _ in 0..1_000 {
            let job = self.get(&path).await.ok();
            if !["pending", "running"].contains(&job["status"].as_str().unwrap()) {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the job did not end in time");
    }
}

/// Publishes a prompt with a variable, and answers its id.
pub async fn school_prompt(bench: &TestPlatform) -> String {
    let prompt = json!({
        "name": "Complaint", "template": "Answer this complaint: {{complaint}}",
        "variables": [{ "name": "complaint", "type": "string" }],
    });
    published(bench, prompt).await.trim_start_matches("/prompts/").to_owned()
}
