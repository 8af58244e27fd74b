//! Retrying a failed execution: it goes on where it stopped, with corrected variables where they are given.

use serde_json::{Map, Value, json};

use super::history;
use super::lifecycle::require;
use super::rounds::take_item;
use super::run::{Item, Run, Wait};
use super::start::check_variables;
use super::variables::set_variable;
use super::work::WorkKind;
use crate::api::executions::{ExecutionStatus, Start};
use crate::api::{FieldError, Operation as _};
use crate::error::{Error, Kind, Result};
use crate::platform::engine::definition::config::{self, Step};
use crate::platform::engine::{Engine, Stop};

/// How an execution is resumed.
#[derive(Debug, Default)]
pub struct Resuming {
    /// Why.
    pub reason: Option<String>,
    /// Variables that are set first.
    pub variables: Map<String, Value>,
    /// Whether a step that was done, but led nowhere, is done again.
    pub repeat: bool,
}

impl Engine<'_, '_> {
    /// Lets a held execution go on, or retries a failed one.
    pub fn resume(&mut self, id: &str, how: &Resuming) -> Result<Run> {
        let mut run = Run::load(self.tx, id)?;
        match run.head.status {
            ExecutionStatus::Failed if run.state.undone.is_none() => self.retry(run, how),
            ExecutionStatus::Failed | ExecutionStatus::Compensating | ExecutionStatus::Compensated => Err(Error::new(
                Kind::Conflict,
                "FM-EES-COMPENSATED",
                format!("steps of execution {id} were undone; it cannot go on from there"),
            )
            .field("/status", "state", format!("is {}, and steps were undone", run.head.status))
            .hint(format!("Start a new one with {}.", Start::SPEC.name))),
            _ => {
                require(&run, "resume")?;
                self.correct(&mut run, how, None)?;
                run.store(self.tx)?;
                self.let_go(id, how.reason.as_deref())
            }
        }
    }

    /// Goes on with a failed execution, with those below that failed, and with those above that failed by it.
    fn retry(&mut self, mut run: Run, how: &Resuming) -> Result<Run> {
        let id = run.head.id.clone();
        let failed = run.state.error.as_ref().and_then(|error| error.node_id.clone());
        self.correct(&mut run, how, failed.as_deref())?;
        let mut revived = Vec::new();
        let mut above = run.head.parent.clone();
        let mut waited_for = id.clone();
        self.revive(run, None, how, &mut revived)?;
        while let Some(parent) = above.take() {
            let run = Run::load(self.tx, &parent)?;
            let waits = run.state.stopped.iter().any(|token| token.wait == Wait::Execution(waited_for.clone()));
            if run.head.status != ExecutionStatus::Failed || run.state.undone.is_some() || !waits {
                return Err(Error::new(
                    Kind::Conflict,
                    "FM-EES-RETRY-ALONE",
                    format!("execution {parent} above is {} and does not wait for {waited_for} any more", run.head.status),
                )
                .hint(format!("Start it by itself with {}.", Start::SPEC.name)));
            }
            above.clone_from(&run.head.parent);
            self.revive(run, Some(&waited_for), how, &mut revived)?;
            waited_for = parent;
        }
        // Each as it is by then: one that ended has moved on the one above.
        for id in revived {
            let mut run = Run::load(self.tx, &id)?;
            if run.is_live() {
                self.go_on(&mut run)?;
            }
        }
        Run::load(self.tx, &id)
    }

    /// Puts an execution back to where it stopped, and those below it. Each that has to go on is added, lowest first.
    fn revive(&mut self, mut run: Run, except: Option<&str>, how: &Resuming, revived: &mut Vec<String>) -> Result<()> {
        let id = run.head.id.clone();
        if run.state.stopped.is_empty() {
            return Err(Error::new(
                Kind::Conflict,
                "FM-EES-NOT-RETRYABLE",
                format!("execution {id} failed under an earlier release, which did not keep where it stopped"),
            )
            .hint(format!("Start a new one with {}.", Start::SPEC.name)));
        }
        run.state.tokens = std::mem::take(&mut run.state.stopped);
        let failed = run.state.error.take().and_then(|error| error.node_id);
        run.head.completed_at = None;
        self.turn(&mut run, ExecutionStatus::Running, "execution.resumed", how.reason.as_deref())?;
        run.store(self.tx)?;
        for place in 0..run.state.tokens.len() {
            let token = run.state.tokens[place].clone();
            let is_failed = failed.as_ref() == Some(&token.node);
            let wait = match token.wait {
                Wait::Task(_) => Wait::Nothing,
                Wait::Leaving if how.repeat && is_failed => Wait::Nothing,
                Wait::Execution(below) if except != Some(&below) => {
                    let below = Run::load(self.tx, &below)?;
                    let goes_on = match below.head.status {
                        ExecutionStatus::Failed => below.state.undone.is_none() && !below.state.stopped.is_empty(),
                        // By the failure, not by a person.
                        ExecutionStatus::Cancelled => !is_failed && !below.state.stopped.is_empty(),
                        _ => false,
                    };
                    let wait = if goes_on { Wait::Execution(below.head.id.clone()) } else { Wait::Nothing };
                    if goes_on {
                        self.revive(below, None, how, revived)?;
                    }
                    wait
                }
                Wait::Work(work) => self.hand_over_again(&mut run, &token.node, token.item.as_ref(), work)?,
                wait => wait,
            };
            if !matches!(wait, Wait::Nothing | Wait::Leaving) {
                run.state.node_states.insert(token.node, json!("waiting"));
            }
            if wait == Wait::Nothing {
                run.state.tokens[place].until = None;
            }
            run.state.tokens[place].wait = wait;
        }
        run.store(self.tx)?;
        revived.push(id);
        Ok(())
    }

    /// Hands work over again that was taken away under way, under its id: the service knows what was done under it.
    fn hand_over_again(&mut self, run: &mut Run, node: &str, item: Option<&Item>, work: String) -> Result<Wait> {
        let node = run.node(node)?;
        run.each = Map::new();
        if let Some(item) = item {
            match take_item(run, &node, item) {
                Ok(()) => {}
                Err(Stop::Failed(_)) => return Ok(Wait::Nothing),
                Err(Stop::Broken(error)) => return Err(error),
            }
        }
        let request = match config::step_of(&node) {
            Ok(Step::Integration(call)) => call.request(run.facts()).map(|request| (WorkKind::Integration, request)),
            Ok(Step::Agent(call)) => call.request(run.facts()).map(|request| (WorkKind::Agent, request)),
            Ok(Step::Notification(call)) => call.request(run.facts()).map(|request| (WorkKind::Notification, request)),
            _ => return Ok(Wait::Nothing),
        };
        // What cannot be asked for fails the step when it is begun again.
        let Ok((kind, request)) = request else { return Ok(Wait::Nothing) };
        match self.add_work(run, &node, kind, &request, work) {
            Ok(work) => Ok(Wait::Work(work)),
            Err(Stop::Failed(_)) => Ok(Wait::Nothing),
            Err(Stop::Broken(error)) => Err(error),
        }
    }

    /// Sets the variables that are given, and says so in the history.
    fn correct(&mut self, run: &mut Run, how: &Resuming, node: Option<&str>) -> Result<()> {
        let given: Vec<_> = run.plan.variables().iter().filter(|variable| how.variables.contains_key(&variable.name)).cloned().collect();
        let faults = check_variables(&given, &how.variables);
        if !faults.is_empty() {
            return Err(
                Error::new(Kind::Invalid, "FM-EES-VARIABLES", "the variables are not those that the process declares").with_fields(faults)
            );
        }
        for (name, value) in &how.variables {
            set_variable(run, name, value.clone()).map_err(|fault| {
                let fields = vec![FieldError::new(format!("/variables/{name}"), "size", fault.message)];
                Error::new(Kind::TooLarge, "FM-EES-VARIABLES-TOO-LARGE", "the variables would hold too much").with_fields(fields)
            })?;
        }
        if node.is_some() || !how.variables.is_empty() {
            let mut said = json!({ "variables": history::noted(&json!(how.variables)) });
            if how.repeat {
                said["repeat"] = json!(true);
            }
            let kind = if node.is_some() { "node.retried" } else { "execution.corrected" };
            history::append(self.tx, &run.head.id, kind, node, said)?;
        }
        Ok(())
    }
}
