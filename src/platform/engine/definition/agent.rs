//! What a node of the type ai_agent asks an agent, read from its configuration.

use serde_json::{Map, Value, json};

use super::integration::{fill, texts_of};
use super::reader::Reader;
use crate::platform::engine::expressions::conditions::Facts;
use crate::platform::engine::expressions::fault::Fault;
use crate::platform::engine::expressions::template::Text;

/// Longest prompt of a node before it is filled in, in bytes.
const MAX_PROMPT: usize = 20_000;
const MAX_TOKENS: u64 = 200_000;

/// A question to an agent. Texts hold `{{variables.x}}`; those that begin with `=` are computed.
#[derive(Debug, Clone)]
pub struct AgentCall {
    prompt: String,
    context: Option<Value>,
    /// The fields that are sent as they are.
    fixed: Map<String, Value>,
}

impl AgentCall {
    /// The question with everything filled in, as the fields of `agents_invoke`.
    pub fn request(&self, facts: Facts<'_>) -> Result<Value, Fault> {
        let mut request = self.fixed.clone();
        request.insert("prompt".to_owned(), json!(Text::read(&self.prompt)?.render(facts)?));
        if let Some(context) = &self.context {
            let context = fill(context, facts)?;
            if !context.is_object() {
                return Err(Fault::new("AGENT_CONTEXT", "config.context gives something else than an object"));
            }
            request.insert("context".to_owned(), context);
        }
        Ok(Value::Object(request))
    }

    /// The texts that are filled in, each with its place in the configuration.
    #[must_use]
    pub fn texts(&self) -> Vec<(String, &str)> {
        let mut found = vec![("/prompt".to_owned(), self.prompt.as_str())];
        if let Some(context) = &self.context {
            texts_of(context, "/context".to_owned(), &mut found);
        }
        found
    }
}

impl Reader<'_> {
    /// Reads the configuration of a question.
    pub(super) fn agent(&mut self) -> AgentCall {
        let mut fixed = Map::new();
        match self.word("agentId") {
            Some(agent) => drop(fixed.insert("agentId".to_owned(), json!(agent))),
            None if !self.config.contains_key("agentId") => self.fault("agentId", "is missing: the agent to ask, such as agent-assistant"),
            None => {}
        }
        let prompt = match self.config.get("prompt") {
            Some(Value::String(text)) if !text.is_empty() && text.len() <= MAX_PROMPT => text.clone(),
            None => {
                self.fault("prompt", "is missing: the question, such as Summarise {{variables.complaint}}");
                String::new()
            }
            Some(_) => {
                self.fault("prompt", format!("must be text of 1 to {MAX_PROMPT} bytes"));
                String::new()
            }
        };
        let context = match self.config.get("context") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.starts_with('=') => Some(json!(text)),
            Some(fields @ Value::Object(_)) => Some(fields.clone()),
            Some(_) => {
                self.fault("context", "must be an object, or a text that begins with = and computes one, such as =variables");
                None
            }
        };
        if let Some(model) = self.word("model") {
            fixed.insert("model".to_owned(), json!(model));
        }
        for (name, is_good, detail) in [
            ("temperature", is_temperature as fn(&Value) -> bool, "must be a number from 0 to 2".to_owned()),
            ("maxTokens", is_limit, format!("must be a whole number from 1 to {MAX_TOKENS}")),
        ] {
            match self.config.get(name) {
                None | Some(Value::Null) => {}
                Some(value) if is_good(value) => drop(fixed.insert(name.to_owned(), value.clone())),
                Some(_) => self.fault(name, detail),
            }
        }
        let call = AgentCall { prompt, context, fixed };
        self.can_be_filled(&call.texts());
        self.output();
        call
    }
}

fn is_temperature(value: &Value) -> bool {
    value.as_f64().is_some_and(|value| (0.0..=2.0).contains(&value))
}

fn is_limit(value: &Value) -> bool {
    value.as_u64().is_some_and(|value| (1..=MAX_TOKENS).contains(&value))
}
