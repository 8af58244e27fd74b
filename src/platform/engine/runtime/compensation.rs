//! Undoing an execution: the completed steps that say how, in reverse, each once.

use serde_json::{Value, json};

use super::lifecycle::require;
use super::run::{Run, Token, Wait};
use super::steps::{compute, new_task};
use super::work::WorkKind;
use super::{history, tasks};
use crate::api::executions::{ExecutionStatus, Failure};
use crate::error::{Error, Kind, Result};
use crate::platform::engine::definition::config::{self, Undo};
use crate::platform::engine::{Engine, Stop};

impl Engine<'_, '_> {
    /// Undoes an execution that ended.
    pub fn compensate(&mut self, id: &str, reason: Option<&str>) -> Result<Run> {
        let mut run = Run::load(self.tx, id)?;
        require(&run, "compensate")?;
        if run.state.undo.is_empty() {
            return Err(Error::new(
                Kind::Conflict,
                "FM-EES-NOTHING-TO-COMPENSATE",
                format!("no completed step of execution {id} says how it is undone"),
            )
            .hint("A node says so by config.compensate: {\"type\": \"script\" or \"human_task\", …}."));
        }
        run.state.error = None;
        run.head.completed_at = None;
        self.turn(&mut run, ExecutionStatus::Compensating, "execution.compensating", reason)?;
        self.undo(&mut run)?;
        Ok(run)
    }

    /// A person or a service undid a step.
    pub(crate) fn undone(&mut self, run: &mut Run, place: usize, answer: &Value) -> Result<()> {
        let token = run.state.tokens.remove(place);
        self.note_undone(run, &token.node, answer)?;
        self.undo(run)
    }

    /// Undoes steps until one waits for a person or a service, or all are undone.
    fn undo(&mut self, run: &mut Run) -> Result<()> {
        while let Some(id) = run.state.undo.last().cloned() {
            match self.undo_one(run, &id) {
                Ok(true) => {}
                Ok(false) => return run.store(self.tx),
                Err(Stop::Failed(mut failure)) => {
                    failure.node_id = Some(id);
                    "FM-EES-COMPENSATION".clone_into(&mut failure.code);
                    return self.undo_failed(run, failure);
                }
                Err(Stop::Broken(error)) => return Err(error),
            }
        }
        run.head.completed_at = Some(self.tx.now());
        self.turn(run, ExecutionStatus::Compensated, "execution.compensated", None)?;
        run.store(self.tx)
    }

    /// Undoes one step; false when a person or a service is asked.
    fn undo_one(&mut self, run: &mut Run, id: &str) -> Result<bool, Stop> {
        let node = run.node(id)?;
        match config::undo_of(&node)? {
            Some(Undo::Script(script)) => {
                let result = compute(run, &script)?;
                run.state.undo.pop();
                self.note_undone(run, id, &result)?;
                Ok(true)
            }
            Some(Undo::HumanTask(task)) => {
                let mut new = new_task(run, &node, &task)?;
                if task.title.is_none() {
                    new.title = format!("Undo {}", node.name.as_deref().unwrap_or(id));
                }
                let made = tasks::create(self.tx, &new)?;
                run.state.undo.pop();
                run.state.tokens.push(Token { node: id.to_owned(), via: None, wait: Wait::Undoing(made.task_id.0.clone()) });
                self.waits(run, &node, json!({ "taskId": made.task_id, "compensating": true }))?;
                Ok(false)
            }
            Some(Undo::Integration(call)) => {
                let request = call.request(run.facts())?;
                self.hand_undoing_over(run, &node, WorkKind::Integration, &request)?;
                run.state.undo.pop();
                Ok(false)
            }
            None => {
                run.state.undo.pop();
                Ok(true)
            }
        }
    }

    /// A service could not undo a step; it can be tried again.
    pub(crate) fn undoing_failed(&mut self, run: &mut Run, place: usize, failure: Failure) -> Result<()> {
        let token = run.state.tokens.remove(place);
        run.state.undo.push(token.node);
        let message = format!("{}: {}", failure.code, failure.message);
        self.undo_failed(run, Failure { code: "FM-EES-COMPENSATION".to_owned(), message, ..failure })
    }

    fn note_undone(&mut self, run: &mut Run, node: &str, result: &Value) -> Result<()> {
        run.state.node_states.insert(node.to_owned(), json!("compensated"));
        history::append(self.tx, &run.head.id, "node.compensated", Some(node), json!({ "result": result }))
    }

    /// What was undone stays undone; the rest can be tried again.
    fn undo_failed(&mut self, run: &mut Run, failure: Failure) -> Result<()> {
        self.fail(run, failure)?;
        run.store(self.tx)
    }
}
