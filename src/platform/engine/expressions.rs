//! CEL expressions of a process: what may be written, how it is evaluated, and templates in texts.

pub mod budget;
pub mod conditions;
pub mod evaluate;
pub mod fault;
pub mod functions;
pub mod operate;
pub mod reading;
pub mod shape;
pub mod template;
pub mod times;
pub mod values;
