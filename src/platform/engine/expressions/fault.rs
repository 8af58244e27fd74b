//! What is wrong with an expression or a template, or went wrong when it ran.

/// A fault of an expression or a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A stable code, such as `EXPRESSION_SYNTAX`.
    pub code: &'static str,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl Fault {
    /// A fault with its code.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Whether the budget is spent: the one fault that no other part of an expression makes irrelevant.
    pub fn is_cost(&self) -> bool {
        self.code == "EXPRESSION_COST"
    }
}
