//! Reads the words and texts of a node's configuration, and collects what is wrong with them.

use serde_json::{Map, Value};

use crate::api::FieldError;
use crate::platform::engine::expressions::fault::Fault;
use crate::platform::engine::expressions::template::Text;

/// Reads a configuration and collects what is wrong with it.
pub(super) struct Reader<'n> {
    pub(super) config: &'n Map<String, Value>,
    pub(super) base: String,
    pub(super) faults: Vec<FieldError>,
}

impl Reader<'_> {
    pub(super) fn fault(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.push(FieldError::new(format!("{}/{name}", self.base), "CONFIG", detail));
    }

    pub(super) fn word(&mut self, name: &str) -> Option<String> {
        match self.config.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if !text.is_empty() && text.len() <= 2048 => Some(text.clone()),
            Some(_) => {
                self.fault(name, "must be text of 1 to 2048 characters");
                None
            }
        }
    }

    /// Checks texts that are filled in later, each with its place in the configuration.
    pub(super) fn can_be_filled(&mut self, texts: &[(String, &str)]) {
        for (pointer, text) in texts {
            if let Err(fault) = Text::read(text) {
                self.fault(pointer.trim_start_matches('/'), fault.message);
            }
        }
    }

    /// The name of a variable.
    pub(super) fn output(&mut self) -> Option<String> {
        let name = self.word("output")?;
        let simple =
            name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit()) && name.len() <= 100;
        if !simple {
            self.fault("output", "must be the name of a variable: letters, digits and _");
        }
        simple.then_some(name)
    }

    pub(super) fn text(&mut self, name: &str) -> Option<Text> {
        let source = self.word(name)?;
        let read = Text::read(&source);
        if let Err(Fault { message, .. }) = &read {
            self.fault(name, message);
        }
        read.ok()
    }
}
