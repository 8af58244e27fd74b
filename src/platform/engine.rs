//! The execution engine: runs processes, step by step, each piece of work within one transaction.
//!
//! An execution is loaded whole ([`runtime::run::Run`]), driven until every token waits ([`Engine::drive`]), and stored whole.
//! Whatever wakes it (a start, an answer, a time, a subprocess that ended, a resume) comes in through a function of
//! [`Engine`] and ends in [`Engine::settle`], which tells the execution above.

pub mod definition;
pub mod expressions;
pub mod runtime;

use serde_json::{Map, Value};

use self::definition::flow;
use self::expressions::fault::Fault;
use self::runtime::rehearsal::Answers;
use self::runtime::run::{Run, Token, Wait, size_of};
use crate::api::FieldError;
use crate::api::executions::{ExecutionStatus, Failure};
use crate::error::{Error, Result};
use crate::platform::database::Tx;

/// Most steps that executions may take within one transaction, between two waits.
const MAX_STEPS_AT_ONCE: usize = 1_000;
/// So many bytes of variables make a step count twice, thrice and so on: each step reads them all.
const WEIGHT: usize = 100 * 1024;
/// Most steps that one execution may take.
const MAX_STEPS: u64 = 20_000;

/// How an execution is run.
#[derive(Debug, Clone, Default)]
pub enum Mode {
    /// For real.
    #[default]
    Live,
    /// Without waiting and without consequences; with what people and services would answer.
    Rehearsal(Answers),
}

/// The engine at work within one transaction.
pub struct Engine<'e, 'c> {
    tx: &'e mut Tx<'c>,
    mode: Mode,
    budget: usize,
}

/// Why a step did not complete.
#[derive(Debug)]
pub enum Stop {
    /// The execution fails: it is the process's fault.
    Failed(Failure),
    /// The transaction fails: it is ours.
    Broken(Error),
}

impl Stop {
    /// The execution fails with that code.
    pub fn failed(code: &str, message: impl Into<String>) -> Self {
        Self::Failed(Failure { code: code.to_owned(), message: message.into(), node_id: None })
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::failed(&format!("FM-EES-{}", fault.code.replace('_', "-")), fault.message)
    }
}

impl From<Vec<FieldError>> for Stop {
    fn from(faults: Vec<FieldError>) -> Self {
        let said: Vec<String> = faults.into_iter().map(|fault| format!("{} {}", fault.pointer, fault.detail)).collect();
        Self::failed("FM-EES-CONFIG", said.join("; "))
    }
}

impl<'e, 'c> Engine<'e, 'c> {
    /// The engine for a transaction.
    pub fn new(tx: &'e mut Tx<'c>) -> Self {
        Self { tx, mode: Mode::Live, budget: MAX_STEPS_AT_ONCE }
    }

    /// The engine for a rehearsal.
    pub fn rehearsing(tx: &'e mut Tx<'c>, answers: Map<String, Value>) -> Self {
        Self { tx, mode: Mode::Rehearsal(Answers::new(answers)), budget: MAX_STEPS_AT_ONCE }
    }

    /// Runs every token until it waits, and stores the execution.
    fn drive(&mut self, run: &mut Run) -> Result<()> {
        while run.is_live() {
            let goes_on = |token: &Token| matches!(token.wait, Wait::Nothing | Wait::Leaving);
            let Some(place) = run.state.tokens.iter().position(goes_on) else {
                if self.join_present(run)? {
                    continue;
                }
                break;
            };
            let token = run.state.tokens[place].clone();
            let half_spent = self.budget <= MAX_STEPS_AT_ONCE / 2 || self.tx.expressions().is_half_spent();
            if token.item.is_some() && half_spent {
                // The rest of the list in a transaction of its own.
                if matches!(self.mode, Mode::Live) {
                    run.state.tokens[place].wait = Wait::Until(self.tx.now());
                    continue;
                }
                run.items.clear();
                self.goes_on_later();
            }
            self.attempt_at(run, place, |engine, run| {
                engine.spend(run)?;
                if token.wait == Wait::Leaving { flow::go(run, place) } else { engine.step(run, place, &token) }
            })?;
        }
        if run.is_live() {
            self.rest(run)?;
        }
        run.store(self.tx)
    }

    /// A rehearsal comes to where an execution waits: what one transaction may cost is there again.
    fn goes_on_later(&mut self) {
        self.tx.expressions().refill();
        self.budget = MAX_STEPS_AT_ONCE;
    }

    /// One step, out of those that are allowed.
    fn spend(&mut self, run: &mut Run) -> Result<(), Stop> {
        run.state.steps += 1;
        let weight = 1 + size_of(&run.state.variables) / WEIGHT;
        if self.budget < weight || run.state.steps > MAX_STEPS {
            return Err(Stop::failed(
                "FM-EES-STEP-LIMIT",
                format!(
                    "the execution went through {} steps without an end; a loop needs a condition that lets it out, or a step that \
                     waits, and variables should be small",
                    run.state.steps - 1
                ),
            ));
        }
        self.budget -= weight;
        Ok(())
    }

    /// No token can go on: it has ended, it waits, or it can never go on.
    fn rest(&mut self, run: &mut Run) -> Result<()> {
        if run.state.tokens.is_empty() {
            return self.complete(run);
        }
        if run.state.tokens.iter().all(|token| token.wait == Wait::Branches) {
            let node = run.state.tokens[0].node.clone();
            let message = format!("gateway {node} waits for a branch that ended or went another way; join only branches that all arrive");
            return self.fail(run, Failure { code: "FM-EES-JOIN-STUCK".to_owned(), message, node_id: Some(node) });
        }
        if run.head.status != ExecutionStatus::Waiting {
            run.head.status = ExecutionStatus::Waiting;
            let nodes: Vec<&str> = run.state.tokens.iter().map(|token| token.node.as_str()).collect();
            let data =
                serde_json::json!({ "executionId": run.head.id, "processId": run.head.process, "status": "waiting", "nodes": nodes });
            self.tx.emit("execution.waiting", &run.head.id, data)?;
        }
        Ok(())
    }

    /// Tells the execution above, and those above it, what became of one that ended.
    fn settle(&mut self, run: &Run) -> Result<()> {
        let Some(parent) = run.head.parent.clone() else { return Ok(()) };
        if run.is_live() || matches!(run.head.status, ExecutionStatus::Paused | ExecutionStatus::Compensating) {
            return Ok(());
        }
        let mut above = Run::load(self.tx, &parent)?;
        let undoes = |token: &Token| matches!(&token.wait, Wait::Undoing(id) if *id == run.head.id);
        if let Some(place) = above.state.tokens.iter().position(undoes) {
            return self.below_undone(&mut above, place, run);
        }
        let waits = |token: &Token| matches!(&token.wait, Wait::Execution(id) if *id == run.head.id);
        let Some(place) = above.state.tokens.iter().position(waits) else { return Ok(()) };
        self.attempt_at(&mut above, place, |engine, above| engine.subprocess_ended(above, place, run))?;
        self.go_on(&mut above)
    }

    /// Drives an execution that something happened to, unless it is held, and tells those above it.
    fn go_on(&mut self, run: &mut Run) -> Result<()> {
        if run.head.status == ExecutionStatus::Waiting {
            run.head.status = ExecutionStatus::Running;
        }
        self.drive(run)?;
        self.settle(run)
    }
}
