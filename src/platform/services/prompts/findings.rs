//! What a validation finds: faults that keep a version from being published, and doubts that do not.

use super::{template, values};
use crate::api::FieldError;
use crate::api::arguments::quote;
use crate::api::prompts::Finding;

/// Most findings of a kind that are reported.
const MAX_FINDINGS: usize = 100;

/// The findings so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) errors: Vec<Found>,
    pub(super) warnings: Vec<Finding>,
}

/// A fault and the part of the prompt that has it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) pointer: String,
    pub(super) finding: Finding,
}

impl Findings {
    /// Adds a fault.
    pub(super) fn error(&mut self, code: &str, pointer: &str, variable: Option<&str>, line: Option<u32>, message: String) {
        if self.errors.len() < MAX_FINDINGS {
            let finding = Finding { code: code.to_owned(), variable: variable.map(template::short), line, message };
            self.errors.push(Found { pointer: pointer.to_owned(), finding });
        }
    }

    /// Adds the faults of a set of values.
    pub(super) fn values(&mut self, pointer: &str, whose: &str, faults: &[values::Fault]) {
        for fault in faults {
            let code = match fault.code {
                "required" => "MISSING_VALUE",
                "type" => "WRONG_TYPE",
                _ => "UNKNOWN_VALUE",
            };
            let message = format!("{whose}{} {}", quote(&fault.name), fault.detail);
            self.error(code, &fault.below(pointer).pointer, Some(&fault.name), None, message);
        }
    }

    /// The faults as a problem lists them.
    pub(super) fn as_fields(&self) -> Vec<FieldError> {
        let field = |found: &Found| FieldError::new(found.pointer.clone(), found.finding.code.clone(), found.finding.message.clone());
        self.errors.iter().map(field).collect()
    }

    /// Adds a doubt.
    pub(super) fn warning(&mut self, code: &str, variable: &str, message: &str) {
        if self.warnings.len() < MAX_FINDINGS {
            let finding =
                Finding { code: code.to_owned(), variable: Some(template::short(variable)), line: None, message: message.to_owned() };
            self.warnings.push(finding);
        }
    }
}
