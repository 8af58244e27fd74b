//! What a node of the type integration asks the Integration Hub for, read from its configuration.

use serde_json::{Map, Value, json};

use super::reader::Reader;
use crate::api::arguments::quote;
use crate::api::integrations::HttpMethod;
use crate::platform::engine::expressions::conditions::{Expression, Facts};
use crate::platform::engine::expressions::fault::Fault;
use crate::platform::engine::expressions::template::Text;

/// A call of an outside system. Texts hold `{{variables.x}}`; those that begin with `=` are computed.
#[derive(Debug, Clone)]
pub struct IntegrationCall {
    integration: String,
    method: HttpMethod,
    path: Option<Value>,
    query: Option<Value>,
    body: Option<Value>,
}

impl IntegrationCall {
    /// The call with everything filled in, as the fields of `integrations_execute`.
    pub fn request(&self, facts: Facts<'_>) -> Result<Value, Fault> {
        let mut request = Map::from_iter([("id".to_owned(), json!(self.integration)), ("method".to_owned(), json!(self.method))]);
        for (name, given) in self.filled() {
            let value = fill(given, facts)?;
            let fits = if name == "path" { value.is_string() } else { value.is_object() };
            if !fits {
                let kind = if name == "path" { "text" } else { "an object" };
                return Err(Fault::new("INTEGRATION_REQUEST", format!("config.{name} gives {}, not {kind}", quote(&value.to_string()))));
            }
            request.insert(name.to_owned(), value);
        }
        Ok(Value::Object(request))
    }

    /// The texts that are filled in, each with its place in the configuration.
    #[must_use]
    pub fn texts(&self) -> Vec<(String, &str)> {
        let mut found = Vec::new();
        for (name, given) in self.filled() {
            texts_of(given, format!("/{name}"), &mut found);
        }
        found
    }

    fn filled(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        [("path", &self.path), ("query", &self.query), ("body", &self.body)]
            .into_iter()
            .filter_map(|(name, given)| given.as_ref().map(|given| (name, given)))
    }
}

impl Reader<'_> {
    /// Reads the configuration of a call.
    pub(super) fn integration(&mut self) -> IntegrationCall {
        let integration = self.word("integrationId").unwrap_or_else(|| {
            if !self.config.contains_key("integrationId") {
                self.fault("integrationId", "is missing: the integration to call");
            }
            String::new()
        });
        let method = self.word("method").map_or(HttpMethod::Get, |method| method.as_str().into());
        if let HttpMethod::Other(other) = &method {
            self.fault("method", format!("is {}; allowed are {}", quote(other), HttpMethod::ALL.join(", ")));
        }
        let path = self.word("path").map(Value::from);
        let [query, body] = ["query", "body"].map(|name| match self.config.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.starts_with('=') => Some(json!(text)),
            Some(fields @ Value::Object(_)) => Some(fields.clone()),
            Some(_) => {
                self.fault(name, "must be an object, or a text that begins with = and computes one");
                None
            }
        });
        if body.is_some() && method == HttpMethod::Get {
            self.fault("method", "is GET, which has no body; set method to POST, PUT or PATCH");
        }
        let call = IntegrationCall { integration, method, path, query, body };
        self.can_be_filled(&call.texts());
        self.output();
        call
    }
}

/// The texts in a value, each with its place.
pub(super) fn texts_of<'v>(value: &'v Value, pointer: String, found: &mut Vec<(String, &'v str)>) {
    match value {
        Value::String(text) => found.push((pointer, text)),
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                texts_of(item, format!("{pointer}/{place}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                texts_of(value, format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        _ => {}
    }
}

/// A value whose texts are filled in.
pub(super) fn fill(value: &Value, facts: Facts<'_>) -> Result<Value, Fault> {
    Ok(match value {
        Value::String(source) if source.starts_with('=') => Expression::compile(source)?.evaluate(facts)?,
        Value::String(text) if text.contains("{{") => Text::read(text)?.render(facts)?.into(),
        Value::Array(items) => items.iter().map(|item| fill(item, facts)).collect::<Result<_, _>>()?,
        Value::Object(fields) => {
            let filled = fields.iter().map(|(name, value)| Ok((name.clone(), fill(value, facts)?)));
            Value::Object(filled.collect::<Result<_, Fault>>()?)
        }
        other => other.clone(),
    })
}
