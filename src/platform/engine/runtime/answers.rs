//! An answer of a person comes to the execution that waits for it, in the same transaction.

use serde_json::Value;

use super::run::{Run, Wait};
use crate::api::executions::ExecutionStatus;
use crate::error::Result;
use crate::platform::engine::definition::config::{self, Step};
use crate::platform::engine::{Engine, Stop};

impl Engine<'_, '_> {
    /// Takes the answer to a task; an execution that is held takes it and goes on when it is resumed.
    pub fn answered(&mut self, execution: &str, task: &str, answer: Value) -> Result<()> {
        let mut run = Run::load(self.tx, execution)?;
        let waits = |wait: &Wait| matches!(wait, Wait::Task(id) | Wait::Undoing(id) if id == task);
        let Some(place) = run.state.tokens.iter().position(|token| waits(&token.wait)) else { return Ok(()) };
        if run.head.status == ExecutionStatus::Compensating {
            return self.undone(&mut run, place, &answer);
        }
        let node = run.node(&run.state.tokens[place].node)?;
        self.attempt_at(&mut run, place, |engine, run| match config::step_of(&node)? {
            Step::HumanTask(asked) => engine.answered_with(run, place, &node, &asked, answer),
            _ => Err(Stop::failed("FM-EES-CONFIG", format!("{} is not a human task", node.id))),
        })?;
        self.go_on(&mut run)
    }
}
