//! CEL expressions of a process: what may be written, how it is evaluated, and templates in texts.

pub mod conditions;
pub mod reading;
pub mod template;
pub mod values;
