//! What a validation finds: faults that keep a process from being published, and doubts that do not.

use crate::api::FieldError;
use crate::api::arguments::quote;
use crate::api::near::near;
use crate::api::processes::{Finding, Node};

/// Most findings that are reported.
const MAX_FINDINGS: usize = 100;
/// Most findings that say what was meant: a name is compared with all others for that.
const MAX_EXPLAINED: usize = 10;

/// The findings so far.
#[derive(Debug, Default)]
pub struct Findings {
    /// What keeps the process from being published.
    pub errors: Vec<Finding>,
    /// What works, but hardly as meant.
    pub warnings: Vec<Finding>,
}

impl Findings {
    /// A fault, at a node if there is one.
    pub fn error(&mut self, code: &str, node: Option<&Node>, pointer: impl Into<String>, message: impl Into<String>) {
        push(&mut self.errors, code, node, pointer.into(), message.into());
    }

    /// A doubt, at a node if there is one.
    pub fn warning(&mut self, code: &str, node: Option<&Node>, pointer: impl Into<String>, message: impl Into<String>) {
        push(&mut self.warnings, code, node, pointer.into(), message.into());
    }

    /// Whether there are so many that no more are looked for.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.errors.len() >= MAX_FINDINGS
    }

    /// What a wrong name was meant to be, as the rest of a sentence; empty where many are wrong.
    pub fn meant<'k>(&self, wrong: &str, known: impl Iterator<Item = &'k str>) -> String {
        if self.errors.len() + self.warnings.len() >= MAX_EXPLAINED {
            return String::new();
        }
        near(wrong, known).first().map(|near| format!("; did you mean {}?", quote(near))).unwrap_or_default()
    }

    /// The faults as a problem lists them.
    #[must_use]
    pub fn as_fields(&self) -> Vec<FieldError> {
        self.errors.iter().map(|finding| FieldError::new(finding.pointer.clone(), finding.code.clone(), finding.message.clone())).collect()
    }
}

fn push(list: &mut Vec<Finding>, code: &str, node: Option<&Node>, pointer: String, message: String) {
    if list.len() < MAX_FINDINGS {
        list.push(Finding { code: code.to_owned(), node_id: node.map(|node| node.id.clone()), pointer, message });
    }
}
