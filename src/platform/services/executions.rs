//! Execution Engine: what can be asked of executions over HTTP; the engine itself is in `platform/engine`.

mod lists;

use crate::api::Page;
use crate::api::executions::{Cancel, Compensate, Execution, Get, History, HistoryEntry, Pause, Resume, Start};
use crate::error::Result;
use crate::platform::Platform;
use crate::platform::engine::Engine;
use crate::platform::engine::runtime::alarms::{self, Alarm};
use crate::platform::engine::runtime::history;
use crate::platform::engine::runtime::retry::Resuming;
use crate::platform::engine::runtime::run::{self, Run};
use crate::platform::engine::runtime::start::Begin;
use crate::platform::http::context::{Answer, Cx};
use crate::platform::http::routes::Routes;

/// The routes of the service.
pub(crate) fn routes() -> Routes {
    Routes::new().on(start).on(get).on(pause).on(resume).on(cancel).on(events).on(compensate).on(lists::list)
}

/// Starts the worker that lets executions go on when their time has come.
pub(crate) fn spawn(platform: &Platform) {
    platform.spawn(Alarm::Timers.watch(platform.clone()));
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
    let how =
        Resuming { reason: request.reason, variables: request.variables.unwrap_or_default(), repeat: request.repeat.unwrap_or_default() };
    steer(cx, move |engine| engine.resume(request.id.as_str(), &how)).await
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
