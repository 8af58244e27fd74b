//! An answer of a person comes to the execution that waits for it, in the same transaction.

use serde_json::Value;

use super::run::{Run, Wait};
use crate::api::executions::ExecutionStatus;
use crate::error::Result;
use crate::platform::engine::Engine;

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
        self.attempt_at(&mut run, place, |engine, run| engine.done(run, place, &node, answer))?;
        self.go_on(&mut run)
    }
}
