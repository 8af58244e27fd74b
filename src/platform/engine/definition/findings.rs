//! What a validation finds: faults that keep a process from being published, and doubts that do not.

use crate::api::FieldError;
use crate::api::processes::{Finding, Node};

/// Most findings that are reported.
const MAX_FINDINGS: usize = 100;

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
