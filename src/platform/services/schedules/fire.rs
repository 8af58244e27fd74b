//! Starting the execution of a schedule, on time or out of turn, together with the row that tells of it.

use serde_json::{Map, Value, json};

use super::misfire::Step;
use super::store::{self, Fire, Stored};
use crate::api::Timestamp;
use crate::api::audit::Changes;
use crate::api::executions::Execution;
use crate::error::{Error, Result};
use crate::platform::database::Tx;
use crate::platform::engine::Engine;
use crate::platform::engine::runtime::start::Begin;

/// Longest reason of a failure that is kept, in characters.
const MAX_REASON: usize = 1_000;

/// Deals with a time that was set: starts the execution or notes the time as skipped, and moves the schedule on.
pub(super) fn on_time(tx: &mut Tx<'_>, schedule: &Stored, planned: Timestamp, step: Step, next: Option<Timestamp>) -> Result<()> {
    if !store::move_on(tx, schedule, planned, next)? || store::is_dealt_with(tx, &schedule.id, step.planned)? {
        return Ok(());
    }
    if !step.runs {
        let fire = fire(tx, "skipped", step);
        return note(tx, schedule, &fire);
    }
    let execution = start(tx, schedule, schedule.runs_as.clone())?;
    let fire = Fire { execution: Some(execution.execution_id.0), ..fire(tx, "started", step) };
    note(tx, schedule, &fire)
}

/// Notes that a time that was set has not started an execution, and moves the schedule on.
pub(super) fn failed(
    tx: &mut Tx<'_>,
    schedule: &Stored,
    planned: Timestamp,
    step: Step,
    next: Option<Timestamp>,
    code: String,
    message: String,
) -> Result<()> {
    if !store::move_on(tx, schedule, planned, next)? || store::is_dealt_with(tx, &schedule.id, step.planned)? {
        return Ok(());
    }
    let fire = Fire { code: Some(code), message: Some(message), ..fire(tx, "failed", step) };
    note(tx, schedule, &fire)
}

/// Starts an execution out of turn, for the caller; the times that were set stay.
pub(super) fn by_hand(tx: &mut Tx<'_>, schedule: &Stored) -> Result<Execution> {
    let initiator = tx.scope().actor.clone();
    let execution = start(tx, schedule, initiator)?;
    let step = Step { planned: tx.now(), missed: 0, runs: true };
    let fire = Fire { planned: None, execution: Some(execution.execution_id.0.clone()), ..fire(tx, "started", step) };
    note(tx, schedule, &fire)?;
    Ok(execution)
}

/// An error as one text: what was wrong, with the fields, and what to do.
pub(super) fn reason(error: &Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix(&format!("{}: ", error.code())).unwrap_or(&text);
    text.chars().take(MAX_REASON).collect()
}

fn start(tx: &mut Tx<'_>, schedule: &Stored, initiator: String) -> Result<Execution> {
    let begin = Begin { process: schedule.process.clone(), version: None, variables: schedule.variables.clone(), initiator, parent: None };
    let execution = Engine::new(tx).start(begin)?.view();
    store::ran(tx, &schedule.id, execution.execution_id.as_str())?;
    Ok(execution)
}

fn fire(tx: &Tx<'_>, status: &str, step: Step) -> Fire {
    Fire {
        id: tx.mint("fire"),
        planned: Some(step.planned),
        fired: tx.now(),
        status: status.to_owned(),
        missed: u64::try_from(step.missed).unwrap_or(u64::MAX),
        execution: None,
        code: None,
        message: None,
    }
}

/// The row, the event and the audit row of a time that was dealt with.
fn note(tx: &mut Tx<'_>, schedule: &Stored, fire: &Fire) -> Result<()> {
    store::record(tx, &schedule.id, fire)?;
    let mut said: Map<String, Value> = Map::new();
    for (name, value) in [
        ("plannedAt", json!(fire.planned)),
        ("executionId", json!(fire.execution)),
        ("code", json!(fire.code)),
        ("reason", json!(fire.message)),
        ("missed", json!((fire.missed > 0).then_some(fire.missed))),
    ] {
        if !value.is_null() {
            said.insert(name.to_owned(), value);
        }
    }
    let topic = format!("schedule.{}", fire.status);
    let mut data = json!({ "scheduleId": schedule.id, "processId": schedule.process, "status": fire.status });
    if let Some(data) = data.as_object_mut() {
        data.extend(said.clone());
    }
    tx.emit(&topic, &schedule.id, data)?;
    tx.audit(&topic, "schedule", &schedule.id, Some(Changes { before: None, after: Some(said) }))?;
    Ok(())
}
