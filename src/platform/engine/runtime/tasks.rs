//! Human tasks: made, given, answered, escalated and closed. Whatever happens to one is in its history, the audit
//! trail and, where the contract has a topic for it, an event.

use rusqlite::{OptionalExtension as _, Row, params};
use serde_json::{Map, Value, json};

use super::run::{document, parse};
use crate::api::arguments::quote;
use crate::api::audit::Changes;
use crate::api::tasks::{Assign, Form, List, OPEN, Response, Task, TaskEvent, TaskStatus};
use crate::api::{Operation as _, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;
use crate::platform::identity::assignee::Assignee;

/// A task to be made.
#[derive(Debug, Default)]
pub struct NewTask {
    /// The execution that waits for it.
    pub execution: Option<String>,
    /// The node that makes it.
    pub node: Option<String>,
    /// What is to be done.
    pub title: String,
    /// What one should know.
    pub description: Option<String>,
    /// A user id or a role; of several, each may answer.
    pub assignees: Vec<String>,
    /// What is asked.
    pub form: Option<Form>,
    /// The permission required to respond.
    pub requires: Option<String>,
    /// How long it may take.
    pub seconds: Option<f64>,
    /// Who gets it when it is late.
    pub chain: Vec<String>,
}

/// A task with what the contract does not show.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The contract's view; its `sla_status` is filled in by [`Stored::at`].
    pub task: Task,
    /// The permission required to respond.
    pub requires: Option<String>,
    /// Whom it is for.
    pub assignee: Option<Assignee>,
    /// Who may answer it, until it is given to one.
    pub candidates: Vec<Assignee>,
    /// The next of the chain.
    position: usize,
    seconds: Option<f64>,
    ended_at: Option<Timestamp>,
    /// How many things have happened to it: its version.
    pub version: i64,
}

impl Stored {
    /// Whether it can still be answered.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self.task.status, TaskStatus::Completed | TaskStatus::Cancelled)
    }

    /// The contract's view of it at a moment.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Task {
        self.task.sla_status = self.task.sla_deadline.map(|deadline| {
            let left = deadline.seconds_since(self.ended_at.unwrap_or(now));
            let status = if left <= 0.0 {
                "breached"
            } else if self.ended_at.is_none() && left * 4.0 < deadline.seconds_since(self.task.created_at) {
                "due_soon"
            } else {
                "ok"
            };
            status.to_owned()
        });
        self.task
    }

    /// The next assignee in the chain, after the present one.
    fn next(&self) -> Option<(usize, &String)> {
        let held = self.task.assigned_to.as_ref();
        self.task.escalation_chain.iter().enumerate().skip(self.position).find(|(_, who)| Some(*who) != held)
    }
}

/// The columns that [`from_row`] reads.
pub const COLUMNS: &str = "id, execution_id, node_id, title, description, status, assignee, form, requires, chain, chain_position, \
     escalation_level, sla_seconds, sla_deadline, response, created_at, ended_at, \
     (SELECT coalesce(max(sequence), 0) FROM task_history AS h WHERE h.tenant_id = tasks.tenant_id AND h.task_id = tasks.id), assignee_kind, \
     (SELECT json_group_array(json_array(assignee, assignee_kind)) FROM (SELECT c.assignee, c.assignee_kind FROM task_candidates AS c \
     WHERE c.tenant_id = tasks.tenant_id AND c.task_id = tasks.id ORDER BY c.place))";

/// Reads one row.
pub fn from_row(row: &Row<'_>) -> rusqlite::Result<Result<Stored>> {
    let candidates: String = row.get(19)?;
    let (form, chain, response): (Option<String>, String, Option<String>) = (row.get(7)?, row.get(9)?, row.get(14)?);
    let time = |place: usize| row.get::<_, Option<i64>>(place).map(|millis| millis.map(Timestamp::from_millis));
    let task = Task {
        task_id: row.get::<_, String>(0)?.into(),
        execution_id: row.get::<_, Option<String>>(1)?.map(Into::into),
        node_id: row.get(2)?,
        title: row.get(3)?,
        description: row.get(4)?,
        status: TaskStatus::from(row.get_ref(5)?.as_str()?),
        assigned_to: row.get(6)?,
        candidates: Vec::new(),
        created_at: Timestamp::from_millis(row.get(15)?),
        sla_deadline: time(13)?,
        sla_status: None,
        form: None,
        escalation_chain: Vec::new(),
        escalation_level: row.get(11)?,
        response: None,
    };
    let kind: Option<String> = row.get(18)?;
    let stored = Stored {
        assignee: kind.zip(task.assigned_to.clone()).map(|(kind, text)| Assignee::stored(&kind, text)),
        task,
        candidates: Vec::new(),
        requires: row.get(8)?,
        position: row.get::<_, u32>(10)? as usize,
        seconds: row.get(12)?,
        ended_at: time(16)?,
        version: row.get(17)?,
    };
    Ok(complete(stored, form.as_deref(), &chain, response.as_deref(), &candidates))
}

fn complete(mut stored: Stored, form: Option<&str>, chain: &str, response: Option<&str>, candidates: &str) -> Result<Stored> {
    let candidates: Vec<(String, String)> = parse(candidates)?;
    stored.task.candidates = candidates.iter().map(|(who, _)| who.clone()).collect();
    stored.candidates = candidates.into_iter().map(|(who, kind)| Assignee::stored(&kind, who)).collect();
    stored.task.form = form.map(parse).transpose()?;
    stored.task.escalation_chain = parse(chain)?;
    stored.task.response = response.map(parse).transpose()?;
    Ok(stored)
}

/// A task of a tenant.
pub fn load(connection: &rusqlite::Connection, tenant: &str, id: &str) -> Result<Stored> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM tasks WHERE tenant_id = ?1 AND id = ?2"))?
        .query_row(params![tenant, id], from_row)
        .optional()?
        .ok_or_else(|| {
            Error::new(Kind::NotFound, "FM-HTS-NOT-FOUND", format!("there is no task {}", quote(id)))
                .hint(format!("{} shows the tasks there are.", List::SPEC.name))
        })?
}

/// Creates a task and publishes its event.
pub fn create(tx: &mut Tx<'_>, new: &NewTask) -> Result<Task> {
    let id = tx.mint("task");
    let deadline = new.seconds.map(|seconds| tx.now().plus_seconds(seconds));
    let named = new.assignees.iter().map(|text| Assignee::of(tx, tx.tenant(), text)).collect::<Result<Vec<_>>>()?;
    let assignee = named.first().filter(|_| named.len() == 1);
    let candidates: &[Assignee] = if assignee.is_some() { &[] } else { &named };
    let status = if assignee.is_some() { TaskStatus::Assigned } else { TaskStatus::Created };
    tx.prepare_cached(
        "INSERT INTO tasks (tenant_id, id, execution_id, node_id, title, description, status, assignee, form, requires, chain, \
         sla_seconds, sla_deadline, alarm_at, created_at, assignee_kind)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13, ?14, ?15)",
    )?
    .execute(params![
        tx.tenant(),
        id,
        new.execution,
        new.node,
        new.title,
        new.description,
        status.as_str(),
        assignee.map(Assignee::as_str),
        new.form.as_ref().map(document).transpose()?,
        new.requires,
        document(&new.chain)?,
        new.seconds,
        deadline.map(Timestamp::millis),
        tx.now().millis(),
        assignee.map(Assignee::kind),
    ])?;
    for (place, candidate) in candidates.iter().enumerate() {
        tx.prepare_cached("INSERT INTO task_candidates (tenant_id, task_id, place, assignee, assignee_kind) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![tx.tenant(), id, i64::try_from(place).unwrap_or_default(), candidate.as_str(), candidate.kind()])?;
    }
    let stored = load(tx, tx.tenant(), &id)?;
    note(
        tx,
        &id,
        "created",
        json!({ "title": new.title, "assignedTo": stored.task.assigned_to, "candidates": candidates_of(&stored.task) }),
    )?;
    publish(tx, "task.created", &stored.task, json!({ "title": new.title, "slaDeadline": deadline }))?;
    audit(tx, "task.created", &id, None, &stored.task)?;
    Ok(stored.at(tx.now()))
}

/// Gives a task to somebody.
pub fn assign(tx: &mut Tx<'_>, id: &str, assignee: &str) -> Result<Task> {
    let before = load(tx, tx.tenant(), id)?;
    require_open(&before, "assigned")?;
    if before.task.status == TaskStatus::Assigned && before.task.assigned_to.as_deref() == Some(assignee) {
        return Ok(before.at(tx.now()));
    }
    let given = Assignee::of(tx, tx.tenant(), assignee)?;
    drop_candidates(tx, id)?;
    tx.prepare_cached("UPDATE tasks SET assignee = ?3, assignee_kind = ?4, status = 'assigned' WHERE tenant_id = ?1 AND id = ?2")?
        .execute(params![tx.tenant(), id, given.as_str(), given.kind()])?;
    let after = load(tx, tx.tenant(), id)?;
    note(tx, id, "assigned", json!({ "from": before.task.assigned_to, "to": assignee }))?;
    publish(tx, "task.assigned", &after.task, json!({}))?;
    audit(tx, "task.assigned", id, Some(&before.task), &after.task)?;
    Ok(after.at(tx.now()))
}

/// The task is one's alone from now on.
fn drop_candidates(tx: &Tx<'_>, id: &str) -> Result<()> {
    tx.prepare_cached("DELETE FROM task_candidates WHERE tenant_id = ?1 AND task_id = ?2")?.execute((tx.tenant(), id))?;
    Ok(())
}

/// Stores an answer that was checked.
pub fn answer(tx: &mut Tx<'_>, before: &Stored, response: &Response) -> Result<Task> {
    let id = before.task.task_id.as_str();
    tx.prepare_cached(
        "UPDATE tasks SET status = 'completed', response = ?3, ended_at = ?4, alarm_at = NULL WHERE tenant_id = ?1 AND id = ?2",
    )?
    .execute(params![tx.tenant(), id, document(response)?, tx.now().millis()])?;
    let after = load(tx, tx.tenant(), id)?;
    note(tx, id, "completed", json!(response))?;
    publish(tx, "task.responded", &after.task, json!({ "decision": response.decision, "respondedBy": response.responded_by }))?;
    let mut now = fields_of(&after.task);
    now.insert("decision".to_owned(), json!(response.decision));
    tx.audit("task.responded", "task", id, Some(Changes { before: Some(fields_of(&before.task)), after: Some(now) }))?;
    Ok(after.at(tx.now()))
}

/// Moves a task up its chain.
pub fn escalate(tx: &mut Tx<'_>, id: &str, reason: Option<&str>) -> Result<Task> {
    let before = load(tx, tx.tenant(), id)?;
    require_open(&before, "escalated")?;
    if before.next().is_none() {
        return Err(Error::new(Kind::Conflict, "FM-HTS-CHAIN-END", format!("no person is left in the escalation chain of task {id}"))
            .hint(format!("Give it to somebody else with {}.", Assign::SPEC.name)));
    }
    raise(tx, &before, reason)
}

/// A task's deadline has passed: it goes up, or stays with a note that it is late.
pub fn late(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    let before = load(tx, tx.tenant(), id)?;
    if before.is_open() && before.next().is_some() {
        raise(tx, &before, Some("the deadline has passed"))?;
        return Ok(());
    }
    tx.prepare_cached("UPDATE tasks SET alarm_at = NULL WHERE tenant_id = ?1 AND id = ?2")?.execute(params![tx.tenant(), id])?;
    if before.is_open() {
        note(tx, id, "breached", json!({ "slaDeadline": before.task.sla_deadline }))?;
        publish(tx, "task.breached", &before.task, json!({ "slaDeadline": before.task.sla_deadline }))?;
        audit(tx, "task.breached", id, Some(&before.task), &before.task)?;
    }
    Ok(())
}

fn raise(tx: &mut Tx<'_>, before: &Stored, reason: Option<&str>) -> Result<Task> {
    let id = before.task.task_id.as_str();
    let Some((place, next)) = before.next() else { return Ok(before.clone().at(tx.now())) };
    // The next assignee has as long again before the next escalation; the task's own deadline stays.
    let given = Assignee::of(tx, tx.tenant(), next)?;
    drop_candidates(tx, id)?;
    let alarm = before.seconds.map(|seconds| tx.now().plus_seconds(seconds));
    tx.prepare_cached(
        "UPDATE tasks SET assignee = ?3, status = 'escalated', chain_position = ?4, escalation_level = escalation_level + 1, alarm_at = ?5, \
         assignee_kind = ?6 WHERE tenant_id = ?1 AND id = ?2",
    )?
    .execute(params![tx.tenant(), id, next, i64::try_from(place + 1).unwrap_or_default(), alarm.map(Timestamp::millis), given.kind()])?;
    let after = load(tx, tx.tenant(), id)?;
    note(tx, id, "escalated", json!({ "from": before.task.assigned_to, "to": next, "reason": reason }))?;
    publish(tx, "task.escalated", &after.task, json!({ "escalationLevel": after.task.escalation_level, "reason": reason }))?;
    audit(tx, "task.escalated", id, Some(&before.task), &after.task)?;
    Ok(after.at(tx.now()))
}

/// Closes the open tasks of an execution that no longer needs them.
pub fn cancel_of_execution(tx: &mut Tx<'_>, execution: &str, reason: &str) -> Result<()> {
    let open: Vec<String> = {
        let mut statement = tx.prepare_cached(
            // In the order of ids the planner would rather walk all tasks of the tenant.
            "SELECT id FROM tasks INDEXED BY tasks_execution
             WHERE tenant_id = ?1 AND execution_id = ?2 AND status NOT IN ('completed', 'cancelled') ORDER BY id",
        )?;
        let rows = statement.query_map(params![tx.tenant(), execution], |row| row.get(0))?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    for id in open {
        cancel(tx, &id, reason)?;
    }
    Ok(())
}

/// Closes a task that is no longer needed, unless it was answered.
pub fn cancel(tx: &mut Tx<'_>, id: &str, reason: &str) -> Result<()> {
    let before = load(tx, tx.tenant(), id)?;
    if !before.is_open() {
        return Ok(());
    }
    tx.prepare_cached("UPDATE tasks SET status = 'cancelled', ended_at = ?3, alarm_at = NULL WHERE tenant_id = ?1 AND id = ?2")?
        .execute(params![tx.tenant(), id, tx.now().millis()])?;
    let after = load(tx, tx.tenant(), id)?;
    note(tx, id, "cancelled", json!({ "reason": reason }))?;
    publish(tx, "task.cancelled", &after.task, json!({ "reason": reason }))?;
    audit(tx, "task.cancelled", id, Some(&before.task), &after.task)
}

/// Refuses what is only for a task that waits.
pub fn require_open(stored: &Stored, action: &str) -> Result<()> {
    if stored.is_open() {
        return Ok(());
    }
    let (id, status) = (&stored.task.task_id, &stored.task.status);
    Err(Error::new(Kind::Conflict, "FM-HTS-CLOSED", format!("task {id} is {status}: it cannot be {action} any more"))
        .field("/status", "state", format!("is {status}; nothing can be done to it any more"))
        .hint(format!("{} with status {OPEN} shows what is open.", List::SPEC.name)))
}

/// What happened to a task after a place, in order.
pub fn history(connection: &rusqlite::Connection, tenant: &str, task: &str, after: u64, most: usize) -> Result<Vec<TaskEvent>> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, action, actor, at, data FROM task_history WHERE tenant_id = ?1 AND task_id = ?2 AND sequence > ?3 ORDER BY sequence LIMIT ?4",
    )?;
    let bounds = params![tenant, task, i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(most).unwrap_or(200)];
    let rows = statement.query_map(bounds, |row| {
        let event = TaskEvent {
            sequence: row.get::<_, i64>(0)?.unsigned_abs(),
            action: row.get(1)?,
            actor: row.get(2)?,
            timestamp: Timestamp::from_millis(row.get(3)?),
            data: Map::new(),
        };
        Ok((event, row.get::<_, String>(4)?))
    })?;
    rows.map(|row| {
        let (event, data) = row?;
        Ok(TaskEvent { data: parse(&data)?, ..event })
    })
    .collect()
}

/// Those who may answer a task that nobody has, if there are any.
pub(crate) fn candidates_of(task: &Task) -> Option<&[String]> {
    Some(task.candidates.as_slice()).filter(|candidates| !candidates.is_empty())
}

fn note(tx: &Tx<'_>, task: &str, action: &str, data: Value) -> Result<()> {
    let data: Map<String, Value> = match data {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Map::new(),
    };
    tx.prepare_cached(
        "INSERT INTO task_history (tenant_id, task_id, sequence, action, actor, at, data) VALUES (?1, ?2, \
         (SELECT coalesce(max(sequence), 0) + 1 FROM task_history WHERE tenant_id = ?1 AND task_id = ?2), ?3, ?4, ?5, ?6)",
    )?
    .execute(params![tx.tenant(), task, action, tx.scope().actor, tx.now().millis(), document(&data)?])?;
    Ok(())
}

fn publish(tx: &mut Tx<'_>, topic: &str, task: &Task, more: Value) -> Result<()> {
    let mut data = Map::from_iter([("taskId".to_owned(), json!(task.task_id)), ("status".to_owned(), json!(task.status))]);
    for (name, value) in [
        ("assignedTo", json!(task.assigned_to)),
        ("candidates", json!(candidates_of(task))),
        ("executionId", json!(task.execution_id)),
        ("nodeId", json!(task.node_id)),
    ] {
        data.insert(name.to_owned(), value);
    }
    if let Value::Object(more) = more {
        data.extend(more);
    }
    data.retain(|_, value| !value.is_null());
    tx.emit(topic, task.task_id.as_str(), Value::Object(data))?;
    Ok(())
}

fn audit(tx: &mut Tx<'_>, action: &str, id: &str, before: Option<&Task>, after: &Task) -> Result<()> {
    tx.audit(action, "task", id, Some(Changes { before: before.map(fields_of), after: Some(fields_of(after)) }))?;
    Ok(())
}

fn fields_of(task: &Task) -> Map<String, Value> {
    let mut fields = Map::from_iter([("status".to_owned(), json!(task.status))]);
    if let Some(assignee) = &task.assigned_to {
        fields.insert("assignedTo".to_owned(), json!(assignee));
    }
    fields
}
