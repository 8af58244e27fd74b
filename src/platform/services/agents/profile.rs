//! What an agent is: its instructions, its model and its tools, judged before it is kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::arguments::quote;
use crate::api::ids::PromptId;
use crate::api::near::nearest;
use crate::api::{Effect, Entry, FieldError, auth, catalogue};
use crate::error::{Error, Kind, Result};

/// Most that a profile may hold, in bytes of JSON.
const MAX_PROFILE: usize = 64 * 1024;
const MAX_TOOL_NAME: usize = 64;

/// What an agent is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Profile {
    /// Its name.
    #[schemars(length(min = 1, max = 200))]
    pub(super) name: String,
    /// Its purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2000))]
    pub(super) description: Option<String>,
    /// What a model is told before every question.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20_000))]
    pub(super) instructions: Option<String>,
    /// A prompt whose published version is assembled with the question's context and told as instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prompt_id: Option<PromptId>,
    /// The version of that prompt; the latest published one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prompt_version: Option<String>,
    /// Its model, such as gpt-4; the platform's default if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub(super) model: Option<String>,
    /// Randomness from 0 to 2 where a question sets none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2))]
    pub(super) temperature: Option<f64>,
    /// Maximum tokens of a response where a question sets none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 200_000))]
    pub(super) max_tokens: Option<u32>,
    /// Its tools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub(super) tools: Vec<Tool>,
}

/// A tool: an operation of the platform, some of whose arguments are fixed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tool {
    /// Its name: letters, digits, `_` and `-`.
    #[schemars(length(min = 1, max = 64))]
    pub(super) name: String,
    /// What it is for, as a model is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub(super) description: Option<String>,
    /// The operation that it runs, such as `entities_query`.
    #[schemars(length(min = 1, max = 100))]
    pub(super) operation: String,
    /// The arguments that are always the same; a call can set the others alone.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(super) arguments: Map<String, Value>,
}

impl Tool {
    /// The operation that it runs.
    pub(super) fn entry(&self) -> Option<&'static Entry> {
        catalogue().get(&self.operation).filter(|entry| is_offered(entry))
    }

    /// Whether a model may run it by itself: not what deletes or ends something for good.
    pub(super) fn is_for_models(&self) -> bool {
        self.entry().is_some_and(|entry| matches!(entry.spec.effect, Effect::Read | Effect::Write | Effect::Send))
    }

    /// Its arguments that are not fixed, as a JSON schema.
    pub(super) fn parameters(&self) -> Map<String, Value> {
        let Some(entry) = self.entry() else { return Map::new() };
        let mut schema = entry.shape.input.clone();
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            properties.retain(|name, _| !self.arguments.contains_key(name));
        }
        if let Some(Value::Array(required)) = schema.get_mut("required") {
            required.retain(|name| name.as_str().is_none_or(|name| !self.arguments.contains_key(name)));
        }
        schema
    }

    /// What a model is told about it.
    pub(super) fn about(&self) -> String {
        self.description.clone().or_else(|| Some(self.entry()?.shape.description.clone())).unwrap_or_default()
    }
}

/// Whether an operation can be a tool: what decides for a person or grants rights never is, nor are logins and agents.
fn is_offered(entry: &Entry) -> bool {
    let is_own = [auth::SERVICE.name, crate::api::agents::SERVICE.name].contains(&entry.service.name);
    entry.spec.tool && !entry.spec.public && !is_own && !matches!(entry.spec.effect, Effect::Decide | Effect::Grant)
}

impl Profile {
    /// Rejects what could not work, by field, and answers the profile as it is kept.
    pub(super) fn admit(&self) -> Result<String> {
        let mut faults = Vec::new();
        if self.prompt_version.is_some() && self.prompt_id.is_none() {
            faults.push(FieldError::new("/promptVersion", "alone", "needs a promptId"));
        }
        for (place, tool) in self.tools.iter().enumerate() {
            let at = |field: &str| format!("/tools/{place}/{field}");
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
            if tool.name.len() > MAX_TOOL_NAME || !tool.name.bytes().all(allowed) {
                faults.push(FieldError::new(at("name"), "name", "must be letters, digits, `_` and `-`"));
            }
            if self.tools.iter().take(place).any(|other| other.name == tool.name) {
                faults.push(FieldError::new(at("name"), "repeated", "is the name of another tool"));
            }
            let Some(entry) = tool.entry() else {
                faults.push(FieldError::new(at("operation"), "operation", fault_of_operation(&tool.operation)));
                continue;
            };
            let known = entry.shape.input.get("properties").and_then(Value::as_object);
            for name in tool.arguments.keys().filter(|name| known.is_none_or(|known| !known.contains_key(*name))) {
                let detail = format!("is not an argument of {}", entry.spec.name);
                faults.push(FieldError::new(at(&format!("arguments/{name}")), "unknown", detail));
            }
        }
        let text = serde_json::to_string(self).map_err(Error::internal)?;
        if text.len() > MAX_PROFILE {
            let detail = format!("holds {} bytes; at most {MAX_PROFILE} are allowed", text.len());
            faults.push(FieldError::new("", "size", detail));
        }
        if faults.is_empty() {
            return Ok(text);
        }
        Err(Error::new(Kind::Invalid, "FM-AIS-PROFILE", "this cannot be an agent")
            .with_fields(faults)
            .hint("A tool is a name, an operation such as `entities_query`, and its fixed arguments."))
    }
}

fn fault_of_operation(name: &str) -> String {
    if catalogue().get(name).is_some() {
        return format!("is {}, which no agent may run: it decides, grants rights, or is about logins or agents", quote(name));
    }
    let known: Vec<&str> = catalogue().iter().filter(|entry| is_offered(entry)).map(|entry| entry.spec.name).collect();
    let near = nearest(name, &known).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    format!("is {}, which is not an operation of the platform{near}", quote(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tool(operation: &str) -> Tool {
        Tool { name: "t".to_owned(), description: None, operation: operation.to_owned(), arguments: Map::new() }
    }

    #[test]
    fn no_tool_decides_grants_or_is_about_logins_or_agents() {
        for entry in catalogue().iter() {
            let refused = matches!(entry.spec.effect, Effect::Decide | Effect::Grant)
                || entry.spec.name.starts_with("agents_") && entry.service.code == "AIS"
                || entry.service.code == auth::SERVICE.code;
            assert_eq!(tool(entry.spec.name).entry().is_none(), refused || !entry.spec.tool, "{}", entry.spec.name);
        }
        assert!(tool("entities_query").is_for_models());
        assert!(!tool("executions_cancel").is_for_models());
    }

    #[test]
    fn a_model_sees_the_arguments_that_are_not_fixed() {
        let mut tool = tool("entities_query");
        let Value::Object(fixed) = json!({ "type": "customers" }) else { panic!("an object") };
        tool.arguments = fixed;
        let schema = tool.parameters();
        assert!(!schema["properties"].as_object().unwrap().contains_key("type"));
        assert!(schema["properties"].as_object().unwrap().contains_key("limit"));
    }
}
