//! Executions at work: loading, steps, tasks, alarms, undoing and rehearsal.

pub mod alarms;
pub mod answers;
pub mod compensation;
pub mod history;
pub mod lifecycle;
pub mod rehearsal;
pub mod run;
pub mod start;
pub mod steps;
pub mod tasks;
