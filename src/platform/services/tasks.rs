//! Human Task: tasks that wait for a person, over HTTP. Answering one moves its execution on in the same transaction.

mod lists;

use serde_json::Map;

use crate::api::arguments::quote;
use crate::api::tasks::forms;
use crate::api::tasks::{Assign, Create, Escalate, Get, History, Respond, Response, Task, TaskEvent, TaskStatus};
use crate::api::{FieldError, Page};
use crate::auth::Caller;
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::database::Tx;
use crate::platform::engine::Engine;
use crate::platform::engine::expressions::values;
use crate::platform::engine::runtime::alarms::{self, Alarm};
use crate::platform::engine::runtime::tasks::{self, NewTask, Stored};
use crate::platform::engine::runtime::{rehearsal, run};
use crate::platform::http::context::{Answer, Cx, matches};
use crate::platform::http::routes::Routes;
use crate::platform::identity::directory;

/// Longest deadline, in hours: ten years.
const MAX_HOURS: f64 = 10.0 * 366.0 * 24.0;

/// The routes of the service.
pub(crate) fn routes() -> Routes {
    Routes::new().on(create).on(get).on(assign).on(respond).on(lists::list).on(escalate).on(events)
}

/// Starts the worker that escalates tasks whose deadline has passed.
pub(crate) fn spawn(platform: &Platform) {
    platform.spawn(Alarm::Deadlines.watch(platform.clone()));
}

async fn create(cx: Cx, request: Create) -> Result<Answer<Task>> {
    let mut faults: Vec<FieldError> = request.form.as_ref().map(forms::faults_of).unwrap_or_default();
    for fault in &mut faults {
        fault.pointer = format!("/form{}", fault.pointer);
    }
    let hours = request.sla.as_ref().map(|sla| sla.hours_to_complete);
    if hours.is_some_and(|hours| !(hours > 0.0 && hours <= MAX_HOURS)) {
        faults.push(FieldError::new("/sla/hoursToComplete", "range", "must be more than 0 and at most ten years"));
    }
    let chain = request.escalation_chain.unwrap_or_default();
    if chain.len() > 20 || chain.iter().any(String::is_empty) {
        faults.push(FieldError::new("/escalationChain", "length", "has at most 20 user ids or roles, none of them empty"));
    }
    if !faults.is_empty() {
        return Err(Error::new(Kind::Invalid, "FM-HTS-INVALID", "the task cannot be made like that").with_fields(faults));
    }
    let new = NewTask {
        execution: request.execution_id.map(|id| id.0),
        node: None,
        title: request.title,
        description: request.description,
        assignees: request.assignee.filter(|assignee| !assignee.is_empty()).into_iter().collect(),
        form: request.form,
        requires: None,
        seconds: hours.map(|hours| hours * 3600.0),
        chain,
    };
    let task = cx
        .write(move |tx| {
            if let Some(execution) = &new.execution {
                run::read(tx, tx.tenant(), execution)?.ok_or_else(|| {
                    Error::new(Kind::Invalid, "FM-HTS-EXECUTION-UNKNOWN", "the task belongs to an execution that there is not")
                        .field("/executionId", "unknown", format!("there is no execution {}", quote(execution)))
                        .hint("executions_list shows the executions and their ids; or leave it out.")
                })?;
            }
            let chain = new.chain.iter().enumerate().map(|(place, who)| (who, format!("/escalationChain/{place}")));
            let named = new.assignees.iter().map(|who| (who, "/assignee".to_owned())).chain(chain);
            must_be_known(tx, named)?;
            tasks::create(tx, &new)
        })
        .await?;
    alarms::changed(&cx.platform);
    let place = format!("/tasks/{}", task.task_id);
    Ok(Answer::from(task).location(place))
}

async fn get(cx: Cx, request: Get) -> Result<Answer<Task>> {
    let (tenant, now) = (cx.tenant(), cx.now());
    let stored = cx.read(move |connection| tasks::load(connection, tenant.as_str(), request.id.as_str())).await?;
    let version = stored.version;
    Ok(Answer::from(stored.at(now)).etag(version))
}

async fn assign(cx: Cx, request: Assign) -> Result<Answer<Task>> {
    change(&cx, request.id.0, move |tx, before| {
        must_be_known(tx, [(&request.assignee, "/assignee".to_owned())])?;
        tasks::assign(tx, before.task.task_id.as_str(), &request.assignee)
    })
    .await
}

/// Rejects assignees that are neither users nor roles: their tasks would wait in nobody's inbox.
fn must_be_known<'a>(tx: &Tx<'_>, assignees: impl IntoIterator<Item = (&'a String, String)>) -> Result<()> {
    let mut faults = Vec::new();
    for (assignee, pointer) in assignees {
        faults.extend(directory::fault_of(tx, tx.tenant(), assignee, &pointer)?);
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, "FM-HTS-ASSIGNEE-UNKNOWN", "the task is for somebody whom this tenant does not have")
        .with_fields(faults)
        .hint("Give a user's id, a role, or admin."))
}

async fn escalate(cx: Cx, request: Escalate) -> Result<Answer<Task>> {
    change(&cx, request.id.0, move |tx, before| tasks::escalate(tx, before.task.task_id.as_str(), request.reason.as_deref())).await
}

/// Changes a task that is still as the caller believes.
async fn change(cx: &Cx, id: String, work: impl FnOnce(&mut Tx<'_>, &Stored) -> Result<Task> + Send + 'static) -> Result<Answer<Task>> {
    let if_match = cx.if_match.clone();
    let changed = cx
        .write(move |tx| {
            let before = tasks::load(tx, tx.tenant(), &id)?;
            matches(if_match.as_deref(), &before.version.to_string())?;
            let task = work(tx, &before)?;
            Ok(Answer::from(task).etag(tasks::load(tx, tx.tenant(), &id)?.version))
        })
        .await?;
    alarms::changed(&cx.platform);
    Ok(changed)
}

async fn respond(cx: Cx, request: Respond) -> Result<Answer<Task>> {
    let caller = cx.caller.clone();
    change(&cx, request.id.0, move |tx, before| {
        check_responder(&caller, before)?;
        if before.task.status == TaskStatus::Completed {
            return Err(already_responded(before));
        }
        tasks::require_open(before, "answered")?;
        let data = request.data.unwrap_or_default();
        check_answer(before, &request.decision, request.comments.as_deref(), &data)?;
        let data = match &before.task.form {
            Some(form) => values::settled(form, data),
            None => data,
        };
        let result = rehearsal::result_of(&request.decision, request.comments.as_deref(), &data);
        let response = Response {
            decision: request.decision,
            comments: request.comments,
            data,
            responded_by: Some(tx.scope().actor.clone()),
            responded_at: Some(tx.now()),
        };
        let task = tasks::answer(tx, before, &response)?;
        if let Some(execution) = &before.task.execution_id {
            Engine::new(tx).answered(execution.as_str(), task.task_id.as_str(), result)?;
        }
        Ok(task)
    })
    .await
}

/// Only the assignee or an administrator may respond, with the permission that the task's node requires.
fn check_responder(caller: &Caller, stored: &Stored) -> Result<()> {
    let assignee = stored.assignee.as_ref();
    if !caller.is_admin() && !assignee.into_iter().chain(&stored.candidates).any(|assignee| assignee.is(caller)) {
        let whose = match (assignee, stored.task.candidates.as_slice()) {
            (Some(assignee), _) => format!("it is {}'s", assignee.as_str()),
            (None, []) => "it is not assigned yet".to_owned(),
            (None, candidates) => format!("its candidates are {}", candidates.join(", ")),
        };
        return Err(Error::new(
            Kind::Forbidden,
            "FM-HTS-NOT-ASSIGNEE",
            format!("task {} is not yours to answer: {whose}", stored.task.task_id),
        )
        .hint("tasks_list with assignee me shows yours; tasks_assign hands one over."));
    }
    match &stored.requires {
        Some(needed) if !caller.permissions.as_ref().is_some_and(|held| held.covers(needed)) => Err(Error::new(
            Kind::Forbidden,
            "FM-HTS-PERMISSION",
            format!("answering task {} takes the permission {needed}", stored.task.task_id),
        )
        .hint("Ask an administrator for a role that grants it, or let somebody who holds it answer.")),
        _ => Ok(()),
    }
}

fn already_responded(stored: &Stored) -> Error {
    let by = stored.task.response.as_ref().map_or_else(String::new, |response| {
        let who = response.responded_by.as_deref().unwrap_or("somebody");
        format!(": {who} decided {}", quote(&response.decision))
    });
    Error::new(Kind::Conflict, "FM-HTS-ALREADY-RESPONDED", format!("task {} was answered already{by}", stored.task.task_id))
        .hint("A task is answered once. tasks_get shows the answer.")
}

fn check_answer(stored: &Stored, decision: &str, comments: Option<&str>, data: &Map<String, serde_json::Value>) -> Result<()> {
    let Some(form) = &stored.task.form else { return Ok(()) };
    let faults = forms::check_answer(form, decision, comments, data);
    if faults.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, "FM-HTS-FORM", format!("the answer does not fit the form of task {}", stored.task.task_id))
        .with_fields(faults)
        .hint("tasks_get shows the form with its fields and options."))
}

async fn events(cx: Cx, request: History) -> Result<Page<TaskEvent>> {
    let after = cx.cursor_number(&request.page)?.unwrap_or_default().unsigned_abs();
    let (tenant, most) = (cx.tenant(), request.page.size() + 1);
    let entries = cx
        .read(move |connection| {
            tasks::load(connection, tenant.as_str(), request.id.as_str())?;
            tasks::history(connection, tenant.as_str(), request.id.as_str(), after, most)
        })
        .await?;
    Ok(cx.page_of(entries, &request.page, |entry| entry.sequence.to_string()))
}
