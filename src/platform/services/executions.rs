//! Execution Engine: what can be asked of executions over HTTP; the engine itself is in `platform/engine`.

use rusqlite::params;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::executions::{self, Cancel, Compensate, Execution, ExecutionStatus, Get, History, HistoryEntry, Pause, Resume, Start};
use crate::api::ids::ProcessId;
use crate::api::{Effect, Operation, Page, PageRequest, Permission, Spec};
use crate::error::Result;
use crate::platform::Platform;
use crate::platform::engine::Engine;
use crate::platform::engine::runtime::alarms::{self, Alarm};
use crate::platform::engine::runtime::history;
use crate::platform::engine::runtime::run::{self, Run};
use crate::platform::engine::runtime::start::Begin;
use crate::platform::http::context::{Answer, Cx};
use crate::platform::http::routes::Routes;

/// The routes of the service.
pub(crate) fn routes() -> Routes {
    Routes::new().on(start).on(get).on(pause).on(resume).on(cancel).on(events).on(compensate).extend(&executions::SERVICE, list)
}

/// Starts the worker that lets executions go on when their time has come.
pub(crate) fn spawn(platform: &Platform) {
    platform.spawn(Alarm::Timers.watch(platform.clone()));
}

/// Lists executions, newest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct List {
    /// In one of these states.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Vec<ExecutionStatus>>,
    /// Executions of this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    process_id: Option<ProcessId>,
    /// How much to answer.
    #[serde(flatten)]
    page: PageRequest,
}

impl Operation for List {
    type Output = Page<Execution>;
    const SPEC: Spec =
        Spec::get("executions_list", "/executions", Effect::Read).titled("List executions").requires(Permission::EXECUTION_VIEW);
}

async fn start(cx: Cx, request: Start) -> Result<Answer<Execution>> {
    let initiator = request.initiator.unwrap_or_else(|| cx.caller.subject.clone());
    let begin = Begin {
        process: request.process_id.0,
        version: request.version,
        variables: request.variables.unwrap_or_default(),
        initiator,
        parent: None,
    };
    let run = cx.write(move |tx| Ok(Engine::new(tx).start(begin)?.view())).await?;
    alarms::changed(&cx.platform);
    let place = format!("/executions/{}", run.execution_id);
    Ok(Answer::from(run).location(place))
}

async fn get(cx: Cx, request: Get) -> Result<Execution> {
    let tenant = cx.tenant();
    cx.read(move |connection| {
        let (head, state) =
            run::read(connection, tenant.as_str(), request.id.as_str())?.ok_or_else(|| run::not_found(request.id.as_str()))?;
        Ok(run::view(head, state))
    })
    .await
}

async fn pause(cx: Cx, request: Pause) -> Result<Execution> {
    steer(cx, move |engine| engine.pause(request.id.as_str(), request.reason.as_deref())).await
}

async fn resume(cx: Cx, request: Resume) -> Result<Execution> {
    steer(cx, move |engine| engine.resume(request.id.as_str(), request.reason.as_deref())).await
}

async fn cancel(cx: Cx, request: Cancel) -> Result<Execution> {
    steer(cx, move |engine| engine.cancel(request.id.as_str(), request.reason.as_deref())).await
}

async fn compensate(cx: Cx, request: Compensate) -> Result<Execution> {
    steer(cx, move |engine| engine.compensate(request.id.as_str(), request.reason.as_deref())).await
}

async fn steer(cx: Cx, work: impl FnOnce(&mut Engine<'_, '_>) -> Result<Run> + Send + 'static) -> Result<Execution> {
    let execution = cx.write(move |tx| Ok(work(&mut Engine::new(tx))?.view())).await?;
    alarms::changed(&cx.platform);
    Ok(execution)
}

async fn events(cx: Cx, request: History) -> Result<Page<HistoryEntry>> {
    let after = cx.cursor_number(&request.page)?.unwrap_or_default().unsigned_abs();
    let (tenant, most) = (cx.tenant(), request.page.size() + 1);
    let entries = cx
        .read(move |connection| {
            run::read(connection, tenant.as_str(), request.id.as_str())?.ok_or_else(|| run::not_found(request.id.as_str()))?;
            history::list(connection, tenant.as_str(), request.id.as_str(), after, most)
        })
        .await?;
    Ok(cx.page_of(entries, &request.page, |entry| entry.sequence.to_string()))
}

async fn list(cx: Cx, request: List) -> Result<Page<Execution>> {
    let before = cx.cursor(&request.page)?;
    let statuses = request.status.as_ref().map(run::document).transpose()?;
    let (tenant, most) = (cx.tenant(), i64::try_from(request.page.size() + 1).unwrap_or_default());
    let process = request.process_id.map(|id| id.0);
    let found = cx
        .read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {} FROM executions WHERE tenant_id = ?1 AND (?2 IS NULL OR id < ?2) AND (?3 IS NULL OR process_id = ?3) \
                 AND (?4 IS NULL OR status IN (SELECT value FROM json_each(?4))) ORDER BY id DESC LIMIT ?5",
                run::COLUMNS
            ))?;
            let rows = statement.query_map(params![tenant.as_str(), before, process, statuses, most], run::from_row)?;
            rows.map(|row| {
                let (head, state) = row?;
                Ok(run::view(head, run::parse(&state)?))
            })
            .collect::<Result<Vec<_>>>()
        })
        .await?;
    Ok(cx.page_of(found, &request.page, |execution| execution.execution_id.0.clone()))
}
