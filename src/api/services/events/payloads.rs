//! What the events of the contract's topics hold: one type for each kind of thing, and the topics with their types.
//!
//! A platform may send less than ours, so each field but the id of the thing may be absent, and more.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::cloud_event::TOPICS;
use crate::api::{Timestamp, schema};

/// What an event of a process holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcessEvent {
    /// The process.
    pub process_id: String,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The version that was published or changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// draft, published or archived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// What an event of an execution holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionEvent {
    /// The execution.
    pub execution_id: String,
    /// Its process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_id: Option<String>,
    /// The version of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// running, completed or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Who started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiator: Option<String>,
    /// The execution whose subprocess it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_execution_id: Option<String>,
    /// How long it took, in seconds, once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<f64>,
    /// Why somebody ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it failed: code, message and node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Map<String, Value>>,
}

/// What an event of a task holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskEvent {
    /// The task.
    pub task_id: String,
    /// What is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// When it is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sla_deadline: Option<Timestamp>,
    /// pending, assigned, completed, escalated or cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Who is to answer it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assigned_to: Option<String>,
    /// Who may answer it, where nobody has it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<Vec<String>>,
    /// The execution that waits for the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    /// The node of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    /// The answer that was given, such as approve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// Who gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub responded_by: Option<String>,
}

/// What an event of an agent holds: that it was asked, and neither question nor answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentEvent {
    /// The agent.
    pub agent_id: String,
    /// The call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// The agent's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    /// Who runs the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Tokens of question and answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_used: Option<u64>,
    /// Whether the answer was kept from a question of before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached: Option<bool>,
    /// completed or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it took, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<f64>,
    /// The prompt that it was asked by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_id: Option<String>,
    /// The prompt's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_version: Option<String>,
    /// The execution that asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    /// The node of the process that asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
}

/// What an event of an integration holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IntegrationEvent {
    /// The integration.
    pub integration_id: String,
    /// completed or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// How often it was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u64>,
    /// What the other system answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u64>,
    /// The code of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// The execution that called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    /// The node of the process that called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
}

/// What an event of a document holds: which values were found, and none of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DocumentEvent {
    /// The document.
    pub document_id: String,
    /// Its type, such as invoice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_type: Option<String>,
    /// The names of the values that were found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<String>>,
    /// How sure the extraction is, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
}

/// A topic of the contract, as those who subscribe to it see it.
#[derive(Debug)]
pub struct Topic {
    /// Its name.
    pub name: &'static str,
    /// When there is an event of it.
    pub about: &'static str,
    /// The ids that a subscriber may narrow it by: fields of the payload.
    pub narrowed_by: &'static [&'static str],
    payload: fn() -> Map<String, Value>,
}

impl Topic {
    /// The schema of its payload.
    #[must_use]
    pub fn payload(&self) -> Map<String, Value> {
        let mut schema = (self.payload)();
        // The type's own description is of all its topics.
        schema.insert("description".to_owned(), self.about.into());
        schema
    }
}

const PROCESS: &[&str] = &["processId"];
const EXECUTION: &[&str] = &["executionId", "processId"];
const TASK: &[&str] = &["taskId", "executionId", "assignedTo"];

/// The topics of the contract, in its order.
pub const PAYLOADS: [Topic; TOPICS.len()] = [
    Topic {
        name: "process.created",
        about: "A process was published for the first time.",
        narrowed_by: PROCESS,
        payload: schema::of::<ProcessEvent>,
    },
    Topic {
        name: "process.updated",
        about: "A process was changed or published again.",
        narrowed_by: PROCESS,
        payload: schema::of::<ProcessEvent>,
    },
    Topic {
        name: "execution.started",
        about: "An execution of a process began.",
        narrowed_by: EXECUTION,
        payload: schema::of::<ExecutionEvent>,
    },
    Topic {
        name: "execution.completed",
        about: "An execution came to its end.",
        narrowed_by: EXECUTION,
        payload: schema::of::<ExecutionEvent>,
    },
    Topic { name: "execution.failed", about: "An execution failed.", narrowed_by: EXECUTION, payload: schema::of::<ExecutionEvent> },
    Topic { name: "task.created", about: "A task waits for a person.", narrowed_by: TASK, payload: schema::of::<TaskEvent> },
    Topic { name: "task.responded", about: "A person answered a task.", narrowed_by: TASK, payload: schema::of::<TaskEvent> },
    Topic {
        name: "agent.invoked",
        about: "An agent was asked.",
        narrowed_by: &["agentId", "executionId"],
        payload: schema::of::<AgentEvent>,
    },
    Topic {
        name: "integration.synced",
        about: "A call of another system ended.",
        narrowed_by: &["integrationId", "executionId"],
        payload: schema::of::<IntegrationEvent>,
    },
    Topic {
        name: "document.extracted",
        about: "Values were read out of a document.",
        narrowed_by: &["documentId"],
        payload: schema::of::<DocumentEvent>,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_of_the_contract_has_its_payload() {
        assert_eq!(PAYLOADS.each_ref().map(|topic| topic.name), TOPICS);
        for topic in &PAYLOADS {
            let schema = topic.payload();
            for name in topic.narrowed_by {
                assert_eq!(schema["properties"][*name]["type"], "string", "{} {name}", topic.name);
            }
            assert_eq!(schema["required"], serde_json::json!([topic.narrowed_by[0]]), "{}", topic.name);
        }
    }
}
