//! Processes found by name and status, and one of them with its steps.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params, params_from_iter};

use super::store::{self, Stored};
use crate::api::Page;
use crate::api::processes::{Get, List, Process, ProcessStatus, ProcessVersion};
use crate::error::{Error, Kind, Result};
use crate::io::hex::hex;
use crate::platform::full_text::{self, Reading};
use crate::platform::http::context::{Answer, Cx};

pub(super) async fn list(cx: Cx, request: List) -> Result<Page<Process>> {
    let (sql, values) = query_of(&cx, &request)?;
    let tenant = cx.tenant();
    let found = cx
        .read(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params_from_iter(values), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            let places: Vec<(i64, String, i64)> = rows.collect::<rusqlite::Result<_>>()?;
            places.iter().map(|(number, process, ordinal)| Ok((*number, of(connection, tenant.as_str(), process, *ordinal)?))).collect()
        })
        .await
        .map(|found: Vec<(i64, Stored)>| cx.page_of(found, &request.page, |(number, _)| number.to_string()))?;
    Ok(Page { items: found.items.iter().map(|(_, stored)| stored.view()).collect(), next_cursor: found.next_cursor })
}

/// The SQL of a list with its values, newest first.
fn query_of(cx: &Cx, request: &List) -> Result<(String, Vec<Sql>)> {
    let tenant = cx.tenant();
    let status = request.status.as_ref().map(ProcessStatus::as_str);
    let before = cx.cursor_number(&request.page)?.unwrap_or(i64::MAX);
    let most = request.page.size() + 1;
    let (from, values): (String, Vec<Sql>) = if let Some(name) = &request.name {
        let words = full_text::query_of(name, Reading::Beginnings).ok_or_else(no_word)?;
        let scope = hex(tenant.as_str().as_bytes());
        let status = status.map(|status| format!(" AND scope : \"{status}\"")).unwrap_or_default();
        let wanted = format!("scope : \"{scope}\"{status} AND words : ({words})");
        let from = "process_words CROSS JOIN process_list ON number = process_words.rowid \
                    WHERE process_words MATCH ? AND tenant_id = ? AND process_words.rowid < ? ORDER BY process_words.rowid";
        (from.to_owned(), vec![wanted.into(), tenant.0.into(), before.into()])
    } else {
        let and = if status.is_some() { " AND status = ?" } else { "" };
        let status = status.map(|status| status.to_owned().into());
        let values = [Sql::Text(tenant.0)].into_iter().chain(status).chain([before.into()]).collect();
        (format!("process_list WHERE tenant_id = ?{and} AND number < ? ORDER BY number"), values)
    };
    Ok((format!("SELECT number, process_id, ordinal FROM {from} DESC LIMIT {most}"), values))
}

fn no_word() -> Error {
    Error::new(Kind::Invalid, "FM-PDS-INVALID", "the name has no word to look for")
        .field("/name", "words", "holds neither a letter nor a digit")
        .hint("Give words of the name, or leave `name` out.")
}

/// A version that a list named.
fn of(connection: &Connection, tenant: &str, process: &str, ordinal: i64) -> Result<Stored> {
    connection
        .prepare_cached(&format!(
            "SELECT {} FROM process_versions WHERE tenant_id = ?1 AND process_id = ?2 AND ordinal = ?3",
            store::COLUMNS
        ))?
        .query_row(params![tenant, process, ordinal], store::from_row)?
}

pub(super) async fn get(cx: Cx, request: Get) -> Result<Answer<ProcessVersion>> {
    let tenant = cx.tenant();
    let stored =
        cx.read(move |connection| store::find(connection, tenant.as_str(), request.id.as_str(), request.version.as_deref())).await?;
    let etag = stored.etag();
    Ok(Answer::from(whole(stored)).etag(etag))
}

/// A version with its steps.
pub(super) fn whole(stored: Stored) -> ProcessVersion {
    ProcessVersion {
        process: stored.view(),
        nodes: stored.definition.nodes,
        edges: stored.definition.edges,
        variables: stored.definition.variables,
    }
}
