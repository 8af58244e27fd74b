//! Executions by process, state and start, newest first.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension as _, params, params_from_iter};

use crate::api::executions::{ExecutionStatus, ExecutionSummary, List};
use crate::api::{Page, Timestamp};
use crate::error::{Error, Result};
use crate::platform::engine::runtime::run;
use crate::platform::http::context::{Cx, within_bytes};

pub(super) async fn list(cx: Cx, request: List) -> Result<Page<ExecutionSummary>> {
    let (sql, values) = query_of(&cx, &request)?;
    let (tenant, page) = (cx.tenant(), request.page);
    let (found, page) = cx
        .read(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params_from_iter(values), run::from_row)?;
            let rows = rows.map(|row| {
                let (head, state) = row?;
                let execution = run::view(head, run::parse(&state)?);
                let name = name_of(connection, tenant.as_str(), execution.process_id.as_str())?;
                Ok((execution.summary(name), state.len()))
            });
            within_bytes(rows, &page, |(_, bytes)| *bytes)
        })
        .await?;
    let page = cx.page_of(found, &page, |(execution, _)| place_of(execution));
    Ok(Page { items: page.items.into_iter().map(|(execution, _)| execution).collect(), next_cursor: page.next_cursor })
}

/// Where a list goes on after an execution.
fn place_of(execution: &ExecutionSummary) -> String {
    format!("{} {}", execution.started_at.millis(), execution.execution_id)
}

/// The SQL of a list with its values. States are asked for one by one, each in the order of an index, and then joined.
fn query_of(cx: &Cx, request: &List) -> Result<(String, Vec<Sql>)> {
    let tenant = cx.tenant();
    let place = match cx.cursor(&request.page)? {
        None => None,
        Some(text) => {
            let (at, id) = text.split_once(' ').ok_or_else(|| Error::internal("a cursor without an id"))?;
            Some((at.parse::<i64>().map_err(Error::internal)?, id.to_owned()))
        }
    };
    let most = request.page.size() + 1;
    let mut values: Vec<Sql> = Vec::new();
    let mut part = |status: Option<&ExecutionStatus>| {
        let mut sql = "SELECT id, started_at FROM executions WHERE tenant_id = ?".to_owned();
        values.push(tenant.0.clone().into());
        let mut and = |condition: &str, given: Vec<Sql>| {
            sql.extend([" AND ", condition]);
            values.extend(given);
        };
        if let Some(process) = &request.process_id {
            and("process_id = ?", vec![process.0.clone().into()]);
        }
        if let Some(status) = status {
            and("status = ?", vec![status.as_str().to_owned().into()]);
        }
        if let Some(after) = request.created_after.map(Timestamp::millis) {
            and("started_at > ?", vec![after.into()]);
        }
        if let Some(before) = request.created_before.map(Timestamp::millis) {
            and("started_at < ?", vec![before.into()]);
        }
        if let Some((at, id)) = &place {
            and("(started_at, id) < (?, ?)", vec![(*at).into(), id.clone().into()]);
        }
        format!("SELECT * FROM ({sql} ORDER BY started_at DESC, id DESC LIMIT {most})")
    };
    let parts: Vec<String> = match request.status.as_deref() {
        None | Some([]) => vec![part(None)],
        Some(statuses) => {
            let mut asked: Vec<&ExecutionStatus> = Vec::new();
            for status in statuses {
                if !asked.contains(&status) {
                    asked.push(status);
                }
            }
            asked.into_iter().map(|status| part(Some(status))).collect()
        }
    };
    let ids = parts.join(" UNION ALL ");
    values.push(tenant.0.into());
    let columns = run::COLUMNS;
    let sql = format!(
        "WITH found (found) AS (SELECT id FROM ({ids}) ORDER BY started_at DESC, id DESC LIMIT {most}) \
         SELECT {columns} FROM found CROSS JOIN executions ON id = found WHERE tenant_id = ? ORDER BY started_at DESC, id DESC"
    );
    Ok((sql, values))
}

/// The name of a process as of its latest version.
fn name_of(connection: &Connection, tenant: &str, process: &str) -> Result<Option<String>> {
    Ok(connection
        .prepare_cached("SELECT name FROM process_list WHERE tenant_id = ?1 AND process_id = ?2")?
        .query_row(params![tenant, process], |row| row.get(0))
        .optional()?)
}
