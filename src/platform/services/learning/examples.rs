//! The records of a dataset: an answer, its judgement, and what was asked as far as the platform's own log tells.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::Timestamp;
use crate::api::learning::Feedback;
use crate::error::{Error, Result};
use crate::platform::services::prompts;

/// A record of a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Example {
    /// The feedback that it is made of.
    pub(super) feedback_id: String,
    /// The agent that answered.
    pub(super) agent_id: String,
    /// The prompt that it answered.
    pub(super) prompt_id: String,
    /// Version of the prompt.
    pub(super) prompt_version: String,
    /// The execution in which it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) execution_id: Option<String>,
    /// The prompt as it was put together; absent where its values are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) input: Option<String>,
    /// Text that the agent gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output: Option<String>,
    /// Text that was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expected: Option<String>,
    /// Share of the answer that is right, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) accuracy: Option<f64>,
    /// Satisfaction in stars, 0 to 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_satisfaction: Option<f64>,
    /// Remarks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) notes: Option<String>,
    /// Time of the feedback.
    pub(super) created_at: Option<Timestamp>,
}

/// Makes examples of feedback; versions of prompts are read once.
pub(super) struct Maker<'c> {
    connection: &'c Connection,
    tenant: &'c str,
    versions: HashMap<(String, String), prompts::Stored>,
}

impl<'c> Maker<'c> {
    pub(super) fn new(connection: &'c Connection, tenant: &'c str) -> Self {
        Self { connection, tenant, versions: HashMap::new() }
    }

    /// The example that feedback makes.
    pub(super) fn example(&mut self, feedback: Feedback) -> Result<Example> {
        let text = |id: Option<String>| id.unwrap_or_default();
        let (prompt, version) = (text(feedback.prompt_id.map(|id| id.0)), text(feedback.prompt_version));
        let execution = feedback.execution_id.map(|id| id.0);
        let input = self.input(&prompt, &version, execution.as_deref())?;
        Ok(Example {
            feedback_id: feedback.feedback_id.0,
            agent_id: text(feedback.agent_id.map(|id| id.0)),
            prompt_id: prompt,
            prompt_version: version,
            execution_id: execution,
            input,
            output: feedback.feedback.actual_output,
            expected: feedback.feedback.expected_output,
            accuracy: feedback.feedback.accuracy,
            user_satisfaction: feedback.feedback.user_satisfaction,
            notes: feedback.feedback.notes,
            created_at: feedback.created_at,
        })
    }

    /// The prompt's version, put together with the variables of the execution that it declares.
    fn input(&mut self, prompt: &str, version: &str, execution: Option<&str>) -> Result<Option<String>> {
        let values = execution.map(|execution| self.variables(execution)).transpose()?.flatten().unwrap_or_default();
        let key = (prompt.to_owned(), version.to_owned());
        if !self.versions.contains_key(&key) {
            let stored = prompts::find(self.connection, self.tenant, prompt, Some(version))?;
            self.versions.insert(key.clone(), stored);
        }
        Ok(self.versions.get(&key).and_then(|stored| prompts::assemble_with(stored, &values)))
    }

    fn variables(&self, execution: &str) -> Result<Option<Map<String, Value>>> {
        let text: Option<String> = self
            .connection
            .prepare_cached("SELECT json_extract(state, '$.variables') FROM executions WHERE tenant_id = ?1 AND id = ?2")?
            .query_row(params![self.tenant, execution], |row| row.get(0))
            .optional()?
            .flatten();
        text.map(|text| serde_json::from_str(&text).map_err(Error::internal)).transpose()
    }
}
