//! How an execution ends, is held, goes on and is cancelled, and what that does to its tasks and subprocesses.

use serde_json::{Map, Value, json};

use super::run::{Run, Token, Wait};
use super::{history, tasks, work};
use crate::api::Operation as _;
use crate::api::audit::Changes;
use crate::api::executions::{ExecutionStatus, Failure, Get};
use crate::error::{Error, Kind, Result};
use crate::platform::engine::definition::exits::Exit;
use crate::platform::engine::{Engine, Stop};

/// Failures that no step's way out leads on from.
const ENDS_ALL: [&str; 3] = ["FM-EES-STEP-LIMIT", "FM-EES-ANSWER", "FM-EES-ANSWERS-SHORT"];

impl Engine<'_, '_> {
    /// Holds an execution and those below it: no token moves until it is resumed.
    pub fn pause(&mut self, id: &str, reason: Option<&str>) -> Result<Run> {
        let mut run = Run::load(self.tx, id)?;
        require(&run, "pause")?;
        self.turn(&mut run, ExecutionStatus::Paused, "execution.paused", reason)?;
        run.store(self.tx)?;
        for (_, below) in below(&run) {
            if Run::load(self.tx, &below)?.is_live() {
                self.pause(&below, reason)?;
            }
        }
        Ok(run)
    }

    /// Lets a held execution and those below it go on, with whatever happened meanwhile.
    pub(crate) fn let_go(&mut self, id: &str, reason: Option<&str>) -> Result<Run> {
        let mut run = Run::load(self.tx, id)?;
        self.turn(&mut run, ExecutionStatus::Running, "execution.resumed", reason)?;
        run.store(self.tx)?;
        for (_, below) in below(&run) {
            if Run::load(self.tx, &below)?.head.status == ExecutionStatus::Paused {
                self.let_go(&below, reason)?;
            }
        }
        // What was below may have moved this one on meanwhile.
        self.wake(id)
    }

    /// Cancels an execution for good, with its tasks and what is below it.
    pub fn cancel(&mut self, id: &str, reason: Option<&str>) -> Result<Run> {
        let mut run = Run::load(self.tx, id)?;
        require(&run, "cancel")?;
        self.close(&mut run, "the execution was cancelled")?;
        run.head.completed_at = Some(self.tx.now());
        self.turn(&mut run, ExecutionStatus::Cancelled, "execution.cancelled", reason)?;
        run.store(self.tx)?;
        self.settle(&run)?;
        Ok(run)
    }

    /// Lets an execution whose time has come go on.
    pub fn wake(&mut self, id: &str) -> Result<Run> {
        let mut run = Run::load(self.tx, id)?;
        if run.head.status == ExecutionStatus::Compensating {
            let before = run.state.tokens.len();
            run.state.tokens.retain(|token| !matches!(token.wait, Wait::Until(_)));
            if run.state.tokens.len() < before {
                self.undo(&mut run)?;
            }
        } else if run.is_live() {
            let now = self.tx.now();
            while run.is_live()
                && let Some(place) = run.state.tokens.iter().position(|token| token.due().is_some_and(|due| due <= now))
            {
                self.attempt_at(&mut run, place, |engine, run| engine.ring(run, place))?;
            }
            self.go_on(&mut run)?;
        }
        Ok(run)
    }

    /// Does something at a token; a fault of the process leads on by the node's way out, or fails the execution.
    pub(crate) fn attempt_at(
        &mut self,
        run: &mut Run,
        place: usize,
        work: impl FnOnce(&mut Self, &mut Run) -> Result<(), Stop>,
    ) -> Result<()> {
        let node = run.state.tokens[place].node.clone();
        let mut failure = match work(self, run) {
            Ok(()) => return Ok(()),
            Err(Stop::Failed(failure)) => failure,
            Err(Stop::Broken(error)) => return Err(error),
        };
        failure.node_id.get_or_insert_with(|| node.clone());
        // A step that was done did not fail, and what ends the whole execution is not the step's.
        let at_step = run.state.tokens.get(place).is_some_and(|token| token.node == node && token.wait != Wait::Leaving);
        if at_step && !ENDS_ALL.contains(&failure.code.as_str()) {
            let said = json!({ "code": failure.code, "message": failure.message });
            if self.exit(run, place, Exit::Failed, json!({ "error": said }))? {
                run.state.node_states.insert(node.clone(), json!("failed"));
                return history::append(self.tx, &run.head.id, "node.failed", Some(&node), said);
            }
        }
        self.fail(run, failure)
    }

    /// Every token reached its end.
    pub(crate) fn complete(&mut self, run: &mut Run) -> Result<()> {
        run.head.completed_at = Some(self.tx.now());
        self.turn(run, ExecutionStatus::Completed, "execution.completed", None)
    }

    /// A step failed, and with it the execution.
    pub(crate) fn fail(&mut self, run: &mut Run, failure: Failure) -> Result<()> {
        if let Some(node) = &failure.node_id {
            run.state.node_states.insert(node.clone(), json!("failed"));
            let data = json!({ "code": failure.code, "message": failure.message });
            history::append(self.tx, &run.head.id, "node.failed", Some(node), data)?;
        }
        run.state.error = Some(failure);
        self.close(run, "the execution failed")?;
        run.head.completed_at = Some(self.tx.now());
        self.turn(run, ExecutionStatus::Failed, "execution.failed", None)
    }

    /// Takes what an execution waits for away: open tasks, work of services, and executions below it.
    fn close(&mut self, run: &mut Run, reason: &str) -> Result<()> {
        let ended = below(run);
        let tokens = std::mem::take(&mut run.state.tokens);
        if run.state.undone.is_none() {
            run.state.stopped.clone_from(&tokens);
        }
        for token in tokens {
            if token.wait != Wait::Nothing {
                let state = run.state.node_states.entry(token.node).or_insert(Value::Null);
                if state == "waiting" {
                    *state = json!("cancelled");
                }
            }
        }
        // Its tokens are gone by now, so what ends below does not come back here.
        run.store(self.tx)?;
        tasks::cancel_of_execution(self.tx, &run.head.id, reason)?;
        work::drop_of_execution(self.tx, &run.head.id)?;
        for (node, below) in ended {
            if Run::load(self.tx, &below)?.head.status.allows().contains(&"cancel") {
                self.cancel(&below, Some(reason))?;
                self.keep_below(run, &node, &below)?;
            }
        }
        Ok(())
    }

    /// Changes the status, with history, event and audit row.
    pub(crate) fn turn(&mut self, run: &mut Run, status: ExecutionStatus, topic: &str, reason: Option<&str>) -> Result<()> {
        let before = std::mem::replace(&mut run.head.status, status);
        let mut data = json!({
            "executionId": run.head.id, "processId": run.head.process, "version": run.head.version, "status": run.head.status,
        });
        let mut said = json!({});
        if let Some(reason) = reason {
            said["reason"] = json!(reason);
            data["reason"] = json!(reason);
        }
        if let Some(error) = run.state.error.as_ref().filter(|_| run.head.status == ExecutionStatus::Failed) {
            said["error"] = json!(error);
            data["error"] = json!(error);
        }
        if let Some(ended) = run.head.completed_at {
            data["duration"] = json!(ended.seconds_since(run.head.started_at));
        }
        history::append(self.tx, &run.head.id, topic, None, said)?;
        self.tx.emit(topic, &run.head.id, data)?;
        self.audit_status(topic, run, Some(&before))
    }

    /// The audit row of a change of status.
    pub(crate) fn audit_status(&mut self, action: &str, run: &Run, before: Option<&ExecutionStatus>) -> Result<()> {
        let fields = |status: &ExecutionStatus| Map::from_iter([("status".to_owned(), json!(status))]);
        let changes = Changes { before: before.map(fields), after: Some(fields(&run.head.status)) };
        self.tx.audit(action, "execution", &run.head.id, Some(changes))?;
        Ok(())
    }
}

/// The executions that one waits for, each with its node.
fn below(run: &Run) -> Vec<(String, String)> {
    let below = |token: &Token| if let Wait::Execution(id) = &token.wait { Some((token.node.clone(), id.clone())) } else { None };
    run.state.tokens.iter().filter_map(below).collect()
}

/// Refuses what the state does not allow, and says what it does.
pub(crate) fn require(run: &Run, action: &str) -> Result<()> {
    let allowed = run.head.status.allows();
    if allowed.contains(&action) {
        return Ok(());
    }
    let status = &run.head.status;
    let next =
        if allowed.is_empty() { "nothing can be done to it any more".to_owned() } else { format!("allowed now: {}", allowed.join(", ")) };
    Err(Error::new(
        Kind::Conflict,
        "FM-EES-NOT-ALLOWED",
        format!("execution {} is {status}: it cannot be told to {action}; {next}", run.head.id),
    )
    .field("/status", "state", format!("is {status}; {next}"))
    .hint(format!("Read it again with {}.", Get::SPEC.name)))
}
