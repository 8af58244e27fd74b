//! What a node of the type notification sends, read from its configuration.

use serde_json::{Map, Value, json};

use super::integration::{fill, texts_of};
use super::reader::Reader;
use crate::platform::engine::expressions::conditions::Facts;
use crate::platform::engine::expressions::fault::Fault;

/// A notification. Texts hold `{{variables.x}}`; those that begin with `=` are computed.
#[derive(Debug, Clone)]
pub struct NotificationCall {
    template: String,
    /// Recipient, variables and channels, as far as they are given.
    given: Map<String, Value>,
}

impl NotificationCall {
    /// The notification with everything filled in, as the fields of `notifications_send`.
    pub fn request(&self, facts: Facts<'_>) -> Result<Value, Fault> {
        let mut request = Map::from_iter([("templateId".to_owned(), json!(self.template))]);
        for (name, given) in &self.given {
            let value = fill(given, facts)?;
            let fits = if name == "channels" { value.is_array() } else { value.is_object() };
            if !fits {
                let kind = if name == "channels" { "a list" } else { "an object" };
                return Err(Fault::new("NOTIFICATION", format!("config.{name} gives something else than {kind}")));
            }
            request.insert(name.clone(), value);
        }
        Ok(Value::Object(request))
    }

    /// The texts that are filled in, each with its place in the configuration.
    #[must_use]
    pub fn texts(&self) -> Vec<(String, &str)> {
        let mut found = Vec::new();
        for (name, given) in &self.given {
            texts_of(given, format!("/{name}"), &mut found);
        }
        found
    }
}

impl Reader<'_> {
    /// Reads the configuration of a notification.
    pub(super) fn notification(&mut self) -> NotificationCall {
        let template = self.word("templateId").unwrap_or_else(|| {
            if !self.config.contains_key("templateId") {
                self.fault("templateId", "is missing: the template to send");
            }
            String::new()
        });
        let mut given = Map::new();
        for name in ["recipient", "variables", "channels"] {
            match self.config.get(name) {
                None | Some(Value::Null) if name == "recipient" => {
                    self.fault(name, r#"is missing: who gets it, such as {"userId": "{{variables.userId}}"}"#);
                }
                None | Some(Value::Null) => {}
                Some(Value::String(text)) if text.starts_with('=') => drop(given.insert(name.to_owned(), json!(text))),
                Some(channels @ Value::Array(_)) if name == "channels" => drop(given.insert(name.to_owned(), channels.clone())),
                Some(fields @ Value::Object(_)) if name != "channels" => drop(given.insert(name.to_owned(), fields.clone())),
                Some(_) => {
                    let kind = if name == "channels" { "a list" } else { "an object" };
                    self.fault(name, format!("must be {kind}, or a text that begins with = and computes one"));
                }
            }
        }
        let call = NotificationCall { template, given };
        self.can_be_filled(&call.texts());
        self.output();
        call
    }
}
