//! The log of calls, which is the queue as well: a call is a row before it is sent, and its end is kept with what it means
//! for the integration, an event and an audit row.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Map, Value, json};

use super::credentials::{self, Secrets};
use super::failure::Failure;
use super::mapping::Mapping;
use super::request::{Asked, Prepared};
use super::send;
use super::sign_in;
use super::store::{self, Ended, Record};
use crate::api::Timestamp;
use crate::api::audit::Changes;
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::database::{Scope, Tx};

/// Most calls of a tenant that wait in the queue.
const MAX_QUEUED: i64 = 10_000;
/// How many calls that ended are kept of an integration.
const KEPT: i64 = 1_000;

/// A call as it is logged.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) integration: String,
    /// What it is made for, where that is a node of a process.
    pub(super) node: Option<OfNode>,
    pub(super) asked: Asked,
    /// The same at every attempt, so that the system can drop repeats.
    pub(super) key: String,
    /// How many attempts ended.
    pub(super) attempts: u32,
}

/// The node that a call is made for.
#[derive(Debug, Clone)]
pub(super) struct OfNode {
    pub(super) execution: String,
    pub(super) id: String,
    /// Whose action led to it.
    pub(super) actor: String,
}

/// A queued call that is due, and in whose name it is made.
#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) call: Call,
    pub(super) scope: Scope,
}

/// A call that can be sent.
pub(super) struct Ready {
    pub(super) record: Record,
    secrets: Secrets,
    call: Prepared,
}

/// What a system answered, in our own field names.
#[derive(Debug)]
pub(super) struct Completed {
    pub(super) status_code: u16,
    pub(super) data: Map<String, Value>,
}

impl Ready {
    /// Finds the integration and puts the call together.
    pub(super) fn of(connection: &Connection, platform: &Platform, tenant: &str, integration: &str, asked: &Asked) -> Result<Self> {
        let record = store::find(connection, tenant, integration)?;
        sign_in::require(&record, &credentials::set_names(connection, tenant, integration)?)?;
        let call = asked.prepare(&record.settings)?;
        Ok(Self { secrets: credentials::open(connection, platform, tenant, integration)?, call, record })
    }

    /// Whether the call may be repeated without a key that its target understands.
    pub(super) fn is_idempotent(&self) -> bool {
        self.call.is_idempotent()
    }

    /// Sends the call once and maps the answer.
    pub(super) async fn send(&self, platform: &Platform, tenant: &str, key: &str) -> Result<Completed, Failure> {
        let answered = send::once(platform, tenant, &self.record, &self.secrets, &self.call, key).await?;
        let status_code = answered.status_code;
        let mapping = Mapping::read(&self.record.settings.mapping).unwrap_or_default();
        match mapping.apply_to_answer(answered.data) {
            Ok(data) => Ok(Completed { status_code, data }),
            Err(faults) => {
                let shown: Vec<&str> = faults.iter().take(5).map(String::as_str).collect();
                let message =
                    format!("the system did what it was asked for, and its answer does not fit the mapping: {}", shown.join("; "));
                let failure = Failure::refused("FM-IHS-MAPPING", message);
                Err(Failure { kind: Kind::BadAnswer, status_code: Some(status_code), sent: true, ended: Ended::Well, ..failure })
            }
        }
    }
}

/// Logs a call that is about to be sent.
pub(super) fn open(tx: &Tx<'_>, platform: &Platform, call: &Call, record: &Record) -> Result<()> {
    insert(tx, platform, call, record, "sending", None)
}

/// Queues a call.
pub(super) fn enqueue(tx: &mut Tx<'_>, platform: &Platform, call: &Call, record: &Record) -> Result<()> {
    let queued: i64 = tx
        .prepare_cached("SELECT count(*) FROM integration_calls WHERE tenant_id = ? AND next_attempt_at IS NOT NULL")?
        .query_row([tx.tenant()], |row| row.get(0))?;
    if queued >= MAX_QUEUED {
        return Err(Error::new(Kind::RateLimited, "FM-IHS-QUEUE-FULL", format!("{MAX_QUEUED} calls wait already"))
            .hint("Wait until some were made; the topic integration.synced tells of each."));
    }
    insert(tx, platform, call, record, "queued", Some(tx.now()))?;
    let after = json!({ "callId": call.id, "method": call.asked.method(&record.settings), "path": call.asked.path(), "status": "queued" });
    tx.audit("integration.queued", "integration", &call.integration, Some(Changes { before: None, after: after.as_object().cloned() }))?;
    Ok(())
}

fn insert(tx: &Tx<'_>, platform: &Platform, call: &Call, record: &Record, status: &str, next: Option<Timestamp>) -> Result<()> {
    let request = next.is_some().then(|| serde_json::to_string(&call.asked)).transpose().map_err(Error::internal)?;
    let (execution, node) = call.node.as_ref().map(|node| (&node.execution, &node.id)).unzip();
    tx.prepare_cached(
        "INSERT OR REPLACE INTO integration_calls (tenant_id, id, integration_id, execution_id, node_id, method, path, request,
             idempotency_key, actor, recorded_by, correlation_id, instance, status, attempts, next_attempt_at, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
    )?
    .execute(params![
        tx.tenant(),
        call.id,
        call.integration,
        execution,
        node,
        call.asked.method(&record.settings).as_str(),
        call.asked.path(),
        request,
        call.key,
        tx.scope().actor,
        tx.scope().recorded_by,
        tx.scope().correlation_id,
        platform.instance(),
        status,
        call.attempts,
        next.map(Timestamp::millis),
        tx.now().millis(),
    ])?;
    Ok(())
}

/// Keeps the end of a call that is logged.
pub(super) fn end(tx: &mut Tx<'_>, platform: &Platform, call: &Call, end: &Result<u16, Failure>) -> Result<()> {
    let (status, status_code) = match end {
        Ok(code) => ("completed", Some(*code)),
        Err(failure) => ("failed", failure.status_code),
    };
    let error = end.as_ref().err().map(|failure| format!("{}: {}", failure.code, failure.message));
    let logged: Option<(String, String)> = tx
        .prepare_cached(
            "UPDATE integration_calls SET status = ?3, attempts = ?4, status_code = ?5, error = ?6, ended_at = ?7, request = NULL,
                 next_attempt_at = NULL WHERE tenant_id = ?1 AND id = ?2 RETURNING method, path",
        )?
        .query_row(params![tx.tenant(), call.id, status, call.attempts, status_code, error, tx.now().millis()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((method, path)) = logged else { return Ok(()) };
    store::note(tx, platform, &call.integration, end.as_ref().map_or_else(|failure| failure.ended, |_| Ended::Well), true)?;
    prune(tx, &call.integration)?;
    let mut said = json!({ "integrationId": call.integration, "status": status, "callId": call.id, "attempts": call.attempts });
    if let Some(code) = status_code {
        said["statusCode"] = json!(code);
    }
    if let Some(node) = &call.node {
        said["executionId"] = json!(node.execution);
        said["nodeId"] = json!(node.id);
    }
    // Neither path nor reason: both may hold what names a person.
    if let Err(failure) = end {
        said["errorCode"] = json!(failure.code);
    }
    tx.emit("integration.synced", &call.integration, said.clone())?;
    if let Some(node) = &call.node {
        said["causedBy"] = json!(node.actor);
    }
    said["method"] = json!(method);
    said["path"] = json!(path);
    tx.audit("integration.called", "integration", &call.integration, Some(Changes { before: None, after: said.as_object().cloned() }))?;
    Ok(())
}

/// Keeps a failed attempt of a queued call, which is tried again at a time.
pub(super) fn retry(tx: &Tx<'_>, platform: &Platform, call: &Call, failure: &Failure, at: Timestamp) -> Result<()> {
    tx.prepare_cached(
        "UPDATE integration_calls SET attempts = ?3, status_code = ?4, error = ?5, next_attempt_at = ?6
         WHERE tenant_id = ?1 AND id = ?2 AND status = 'queued'",
    )?
    .execute(params![
        tx.tenant(),
        call.id,
        call.attempts,
        failure.status_code,
        format!("{}: {}", failure.code, failure.message),
        at.millis()
    ])?;
    store::note(tx, platform, &call.integration, failure.ended, false)
}

/// Puts a queued call off, without an attempt.
pub(super) fn postpone(tx: &Tx<'_>, id: &str, at: Timestamp) -> Result<()> {
    tx.prepare_cached("UPDATE integration_calls SET next_attempt_at = ?3 WHERE tenant_id = ?1 AND id = ?2 AND status = 'queued'")?
        .execute((tx.tenant(), id, at.millis()))?;
    Ok(())
}

/// Forgets the oldest calls that ended, where there are many.
fn prune(tx: &Tx<'_>, integration: &str) -> Result<()> {
    tx.prepare_cached(
        "DELETE FROM integration_calls WHERE tenant_id = ?1 AND integration_id = ?2 AND ended_at IS NOT NULL AND id < (
             SELECT id FROM integration_calls WHERE tenant_id = ?1 AND integration_id = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)",
    )?
    .execute((tx.tenant(), integration, KEPT))?;
    Ok(())
}

const COLUMNS: &str = "tenant_id, id, integration_id, request, idempotency_key, attempts, actor, recorded_by, correlation_id";

fn due_of(row: &Row<'_>) -> rusqlite::Result<(Due, Option<String>)> {
    let call =
        Call { id: row.get(1)?, integration: row.get(2)?, node: None, asked: Asked::default(), key: row.get(4)?, attempts: row.get(5)? };
    let tenant: String = row.get(0)?;
    let system = Scope::system(tenant.into());
    let scope = Scope { actor: row.get(6)?, recorded_by: row.get(7)?, correlation_id: row.get(8)?, ..system };
    Ok((Due { call, scope }, row.get(3)?))
}

/// A call that waits in the queue.
pub(super) fn queued(connection: &Connection, tenant: &str, id: &str) -> Result<Option<Due>> {
    let sql = format!("SELECT {COLUMNS} FROM integration_calls WHERE tenant_id = ?1 AND id = ?2 AND next_attempt_at IS NOT NULL");
    Ok(read(connection, &sql, (tenant, id))?.pop())
}

/// Calls that another run of the platform was sending when it ended.
pub(super) fn interrupted(connection: &Connection, instance: &str) -> Result<Vec<Due>> {
    let sql = format!("SELECT {COLUMNS} FROM integration_calls WHERE status = 'sending' AND instance <> ?1 LIMIT 1000");
    read(connection, &sql, [instance])
}

fn read(connection: &Connection, sql: &str, parameters: impl rusqlite::Params) -> Result<Vec<Due>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(parameters, due_of)?;
    rows.map(|row| {
        let (mut due, request) = row?;
        if let Some(request) = request {
            due.call.asked = serde_json::from_str(&request).map_err(Error::internal)?;
        }
        Ok(due)
    })
    .collect()
}
