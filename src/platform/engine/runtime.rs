//! Executions at work: loading, steps, tasks, alarms, work of services, undoing and rehearsal.

pub mod alarms;
pub mod answers;
pub mod compensation;
pub mod history;
pub mod lifecycle;
mod messages;
mod passes;
pub mod rehearsal;
pub mod retry;
mod rounds;
pub mod run;
pub mod start;
pub mod steps;
pub mod tasks;
mod variables;
pub mod work;
pub mod workers;
