//! Undoing an execution: the completed passes of the steps that say how, in reverse, each once.

use serde_json::{Value, json};

use super::lifecycle::require;
use super::passes::Pass;
use super::run::{Run, Token, Wait};
use super::steps::{assign, compute, new_task};
use super::work::WorkKind;
use super::{history, passes, tasks};
use crate::api::executions::{ExecutionStatus, Failure};
use crate::error::{Error, Kind, Result};
use crate::platform::engine::definition::config::{self, Undo};
use crate::platform::engine::{Engine, Stop};

impl Engine<'_, '_> {
    /// Undoes an execution that ended.
    pub fn compensate(&mut self, id: &str, reason: Option<&str>) -> Result<Run> {
        let mut run = Run::load(self.tx, id)?;
        require(&run, "compensate")?;
        if !passes::any(self.tx, id)? {
            return Err(Error::new(
                Kind::Conflict,
                "FM-EES-NOTHING-TO-COMPENSATE",
                format!("no completed step of execution {id} says how it is undone"),
            )
            .hint("A node says so by config.compensate: {\"type\": \"script\" or \"human_task\", …}."));
        }
        run.state.error = None;
        run.state.stopped.clear();
        run.state.undone.get_or_insert_default();
        run.head.completed_at = None;
        self.turn(&mut run, ExecutionStatus::Compensating, "execution.compensating", reason)?;
        self.undo(&mut run)?;
        Ok(run)
    }

    /// A person, a service or an execution below undid a pass.
    pub(crate) fn undone(&mut self, run: &mut Run, place: usize, answer: &Value) -> Result<()> {
        let token = run.state.tokens.remove(place);
        self.note_undone(run, &token.node, answer)?;
        self.undo(run)
    }

    /// Undoes passes until one has to be waited for, or all are undone.
    pub(crate) fn undo(&mut self, run: &mut Run) -> Result<()> {
        while let Some(pass) = passes::last(self.tx, &run.head.id)? {
            if self.budget == 0 {
                // The rest in a transaction of its own.
                let wait = Wait::Until(self.tx.now());
                run.state.tokens.push(Token::waiting(pass.node, wait));
                return run.store(self.tx);
            }
            self.budget -= 1;
            match self.undo_one(run, &pass) {
                Ok(true) => {}
                Ok(false) => return run.store(self.tx),
                Err(Stop::Failed(failure)) => return self.undo_failed(run, Failure { node_id: Some(pass.node), ..failure }),
                Err(Stop::Broken(error)) => return Err(error),
            }
        }
        run.head.completed_at = Some(self.tx.now());
        self.turn(run, ExecutionStatus::Compensated, "execution.compensated", None)?;
        run.store(self.tx)?;
        self.settle(run)
    }

    /// Undoes one pass; false when it has to be waited for.
    fn undo_one(&mut self, run: &mut Run, pass: &Pass) -> Result<bool, Stop> {
        let node = run.node(&pass.node)?;
        if let Some(below) = &pass.below {
            let below = self.undo_below(below)?;
            return match below.head.status {
                ExecutionStatus::Compensating => {
                    let wait = Wait::Undoing(below.head.id.clone());
                    run.state.tokens.push(Token::waiting(node.id.clone(), wait));
                    self.waits(run, &node, json!({ "executionId": below.head.id, "compensating": true }))?;
                    Ok(false)
                }
                ExecutionStatus::Failed if below.state.undone.is_some() => Err(Stop::Failed(not_undone(&below))),
                _ => Ok(self.note_undone(run, &node.id, &Value::Null).map(|()| true)?),
            };
        }
        let Some(undo) = config::undo_of(&node)? else {
            passes::forget_last(self.tx, &run.head.id)?;
            return Ok(true);
        };
        match &undo {
            Undo::Script(script) => {
                let result = pass.seen(run, &undo, |run| compute(run, script))?;
                let set = assign(run, script, &result)?;
                run.state.undone.get_or_insert_default().extend(set);
                self.note_undone(run, &node.id, &result)?;
                Ok(true)
            }
            Undo::HumanTask(task) => {
                let mut new = pass.seen(run, &undo, |run| new_task(run, &node, task))?;
                if task.title.is_none() {
                    new.title = format!("Undo {}", node.name.as_deref().unwrap_or(&node.id));
                }
                let made = tasks::create(self.tx, &new)?;
                run.state.tokens.push(Token::waiting(node.id.clone(), Wait::Undoing(made.task_id.0.clone())));
                self.waits(run, &node, json!({ "taskId": made.task_id, "compensating": true }))?;
                Ok(false)
            }
            Undo::Integration(call) => {
                let request = pass.seen(run, &undo, |run| Ok(call.request(run.facts())?))?;
                self.hand_undoing_over(run, &node, WorkKind::Integration, &request)?;
                Ok(false)
            }
        }
    }

    /// Undoes what an execution below did, unless that is done or under way.
    fn undo_below(&mut self, id: &str) -> Result<Run> {
        let below = Run::load(self.tx, id)?;
        let may = below.head.status.allows().contains(&"compensate") && passes::any(self.tx, id)?;
        if may { self.compensate(id, Some("what ran above is undone")) } else { Ok(below) }
    }

    /// An execution below that a pass waits for was undone, or could not be.
    pub(crate) fn below_undone(&mut self, run: &mut Run, place: usize, below: &Run) -> Result<()> {
        if below.head.status == ExecutionStatus::Compensated {
            self.undone(run, place, &Value::Null)
        } else {
            self.undoing_failed(run, place, not_undone(below))
        }
    }

    /// A pass could not be undone; it can be tried again.
    pub(crate) fn undoing_failed(&mut self, run: &mut Run, place: usize, failure: Failure) -> Result<()> {
        let token = run.state.tokens.remove(place);
        let message = format!("{}: {}", failure.code, failure.message);
        self.undo_failed(run, Failure { message, node_id: Some(token.node), ..failure })
    }

    fn note_undone(&mut self, run: &mut Run, node: &str, result: &Value) -> Result<()> {
        passes::forget_last(self.tx, &run.head.id)?;
        run.state.node_states.insert(node.to_owned(), json!("compensated"));
        history::append(self.tx, &run.head.id, "node.compensated", Some(node), json!({ "result": result }))
    }

    /// What was undone stays undone; the rest can be tried again.
    fn undo_failed(&mut self, run: &mut Run, failure: Failure) -> Result<()> {
        self.fail(run, Failure { code: "FM-EES-COMPENSATION".to_owned(), ..failure })?;
        run.store(self.tx)?;
        self.settle(run)
    }
}

fn not_undone(below: &Run) -> Failure {
    let why = below.state.error.as_ref().map_or_else(String::new, |error| format!(": {}", error.message));
    let message = format!("execution {} below could not be undone{why}", below.head.id);
    Failure { code: "FM-EES-COMPENSATION".to_owned(), message, node_id: None }
}
