//! Schedules and their record as the database keeps them.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Map, Value};

use crate::api::Timestamp;
use crate::api::arguments::quote;
use crate::api::schedules::{FailedRun, MisfirePolicy, Schedule};
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;
use crate::platform::engine::runtime::run::{document, parse};

/// Most rows of its record that a schedule keeps.
const MAX_FIRES: i64 = 1_000;

const COLUMNS: &str = "id, process_id, expression, timezone, variables, misfire_policy, anchor, version, runs_as, planned_at, \
    attempts, last_run_at, last_execution, created_at, updated_at, tenant_id";

/// A schedule as stored.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) id: String,
    pub(super) tenant: String,
    pub(super) process: String,
    pub(super) expression: String,
    pub(super) timezone: String,
    pub(super) variables: Map<String, Value>,
    pub(super) policy: MisfirePolicy,
    /// An RRULE without DTSTART counts from this moment's day.
    pub(super) anchor: Timestamp,
    pub(super) version: i64,
    /// Whose right starts the executions.
    pub(super) runs_as: String,
    /// The next time that was set.
    pub(super) planned: Option<Timestamp>,
    /// The attempts at that time which failed.
    pub(super) attempts: u32,
    pub(super) last_run: Option<Timestamp>,
    pub(super) last_execution: Option<String>,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
}

impl Stored {
    /// The schedule as callers see it.
    pub(super) fn view(self, last_failure: Option<FailedRun>) -> Schedule {
        Schedule {
            schedule_id: self.id.into(),
            process_id: Some(self.process.into()),
            cron_expression: Some(self.expression),
            timezone: Some(self.timezone),
            variables: self.variables,
            misfire_policy: Some(self.policy),
            next_run_at: self.planned,
            last_run_at: self.last_run,
            last_execution_id: self.last_execution.map(Into::into),
            last_failure,
            created_at: Some(self.created),
            updated_at: Some(self.updated),
        }
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<(Stored, String)> {
    let time = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis));
    let moment = |column| Ok::<_, rusqlite::Error>(Timestamp::from_millis(row.get(column)?));
    let stored = Stored {
        id: row.get(0)?,
        process: row.get(1)?,
        expression: row.get(2)?,
        timezone: row.get(3)?,
        variables: Map::new(),
        policy: row.get::<_, String>(5)?.as_str().into(),
        anchor: moment(6)?,
        version: row.get(7)?,
        runs_as: row.get(8)?,
        planned: time(9)?,
        attempts: row.get(10)?,
        last_run: time(11)?,
        last_execution: row.get(12)?,
        created: moment(13)?,
        updated: moment(14)?,
        tenant: row.get(15)?,
    };
    Ok((stored, row.get(4)?))
}

fn read(found: rusqlite::Result<(Stored, String)>) -> Result<Stored> {
    let (stored, variables) = found?;
    Ok(Stored { variables: parse(&variables)?, ..stored })
}

/// The schedule of an id.
pub(super) fn find(connection: &Connection, tenant: &str, id: &str) -> Result<Stored> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM schedules WHERE tenant_id = ?1 AND id = ?2"))?
        .query_row((tenant, id), from_row)
        .optional()?
        .map(|found| read(Ok(found)))
        .ok_or_else(|| {
            Error::new(Kind::NotFound, "FM-SS-NOT-FOUND", format!("there is no schedule {}", quote(id)))
                .hint("schedules_list shows the schedules and their ids.")
        })?
}

/// Schedules newest first, after a place in their list.
pub(super) fn list(connection: &Connection, tenant: &str, before: Option<&str>, most: usize) -> Result<Vec<Stored>> {
    let sql =
        format!("SELECT {COLUMNS} FROM schedules WHERE tenant_id = ?1 AND id < coalesce(?2, char(1114111)) ORDER BY id DESC LIMIT ?3");
    let mut statement = connection.prepare_cached(&sql)?;
    let most = i64::try_from(most).unwrap_or_default();
    statement.query_map(params![tenant, before, most], from_row)?.map(read).collect()
}

/// Schedules of all tenants that are due, after those that are passed over.
pub(super) fn due(connection: &Connection, now: Timestamp, most: usize, passed_over: usize) -> Result<Vec<Stored>> {
    let sql = format!("SELECT {COLUMNS} FROM schedules WHERE due_at <= ?1 ORDER BY due_at, tenant_id, id LIMIT ?2 OFFSET ?3");
    let mut statement = connection.prepare_cached(&sql)?;
    let (most, passed_over) = (i64::try_from(most).unwrap_or_default(), i64::try_from(passed_over).unwrap_or_default());
    statement.query_map(params![now.millis(), most, passed_over], from_row)?.map(read).collect()
}

/// When the next schedule is due.
pub(super) fn next(connection: &Connection) -> Result<Option<Timestamp>> {
    let next: Option<i64> = connection.query_row("SELECT min(due_at) FROM schedules WHERE due_at IS NOT NULL", [], |row| row.get(0))?;
    Ok(next.map(Timestamp::from_millis))
}

pub(super) fn count(connection: &Connection, tenant: &str) -> Result<i64> {
    Ok(connection.query_row("SELECT count(*) FROM schedules WHERE tenant_id = ?1", [tenant], |row| row.get(0))?)
}

/// Writes a schedule, new or changed; it is due at its next time.
pub(super) fn put(tx: &Tx<'_>, schedule: &Stored) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO schedules (tenant_id, id, process_id, expression, timezone, variables, misfire_policy, anchor, version, runs_as, \
         planned_at, due_at, attempts, created_at, updated_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11, ?12, ?13, ?14) \
         ON CONFLICT (tenant_id, id) DO UPDATE SET process_id = excluded.process_id, expression = excluded.expression, \
         timezone = excluded.timezone, variables = excluded.variables, misfire_policy = excluded.misfire_policy, \
         anchor = excluded.anchor, version = excluded.version, runs_as = excluded.runs_as, planned_at = excluded.planned_at, \
         due_at = excluded.due_at, attempts = excluded.attempts, updated_at = excluded.updated_at",
    )?
    .execute(params![
        tx.tenant(),
        schedule.id,
        schedule.process,
        schedule.expression,
        schedule.timezone,
        document(&schedule.variables)?,
        schedule.policy.as_str(),
        schedule.anchor.millis(),
        schedule.version,
        schedule.runs_as,
        schedule.planned.map(Timestamp::millis),
        schedule.attempts,
        schedule.created.millis(),
        schedule.updated.millis(),
    ])?;
    Ok(())
}

/// Moves a schedule on from one planned time to the next, unless it was changed or deleted meanwhile.
pub(super) fn move_on(tx: &Tx<'_>, schedule: &Stored, from: Timestamp, to: Option<Timestamp>) -> Result<bool> {
    let to = to.map(Timestamp::millis);
    let changed = tx
        .prepare_cached(
            "UPDATE schedules SET planned_at = ?5, due_at = ?5, attempts = 0 \
             WHERE tenant_id = ?1 AND id = ?2 AND version = ?3 AND planned_at = ?4",
        )?
        .execute(params![tx.tenant(), schedule.id, schedule.version, from.millis(), to])?;
    Ok(changed > 0)
}

/// Notes a failed attempt at a planned time and when the next one is due.
pub(super) fn put_off(tx: &Tx<'_>, schedule: &Stored, from: Timestamp, attempts: u32, until: Timestamp) -> Result<()> {
    tx.prepare_cached(
        "UPDATE schedules SET due_at = ?5, attempts = ?6 WHERE tenant_id = ?1 AND id = ?2 AND version = ?3 AND planned_at = ?4",
    )?
    .execute(params![tx.tenant(), schedule.id, schedule.version, from.millis(), until.millis(), attempts])?;
    Ok(())
}

/// Notes the execution that a schedule started last.
pub(super) fn ran(tx: &Tx<'_>, id: &str, execution: &str) -> Result<()> {
    tx.prepare_cached("UPDATE schedules SET last_run_at = ?3, last_execution = ?4 WHERE tenant_id = ?1 AND id = ?2")?.execute(params![
        tx.tenant(),
        id,
        tx.now().millis(),
        execution
    ])?;
    Ok(())
}

/// Whether a planned time was dealt with before, as after the system's clock was set back.
pub(super) fn is_dealt_with(tx: &Tx<'_>, id: &str, planned: Timestamp) -> Result<bool> {
    Ok(tx.prepare_cached("SELECT 1 FROM schedule_fires WHERE tenant_id = ?1 AND schedule_id = ?2 AND planned_at = ?3")?.exists(params![
        tx.tenant(),
        id,
        planned.millis()
    ])?)
}

/// One row of a schedule's record.
#[derive(Debug, Clone)]
pub(super) struct Fire {
    pub(super) id: String,
    /// Absent: out of turn.
    pub(super) planned: Option<Timestamp>,
    pub(super) fired: Timestamp,
    pub(super) status: String,
    pub(super) missed: u64,
    pub(super) execution: Option<String>,
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
}

/// Appends a row to a schedule's record, and removes the oldest beyond its bound.
pub(super) fn record(tx: &Tx<'_>, schedule: &str, fire: &Fire) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO schedule_fires (tenant_id, schedule_id, id, planned_at, fired_at, status, missed, execution_id, code, message) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        tx.tenant(),
        schedule,
        fire.id,
        fire.planned.map(Timestamp::millis),
        fire.fired.millis(),
        fire.status,
        i64::try_from(fire.missed).unwrap_or(i64::MAX),
        fire.execution,
        fire.code,
        fire.message,
    ])?;
    tx.prepare_cached(
        "DELETE FROM schedule_fires WHERE tenant_id = ?1 AND schedule_id = ?2 AND id < (SELECT id FROM schedule_fires \
         WHERE tenant_id = ?1 AND schedule_id = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)",
    )?
    .execute(params![tx.tenant(), schedule, MAX_FIRES - 1])?;
    Ok(())
}

/// A schedule's record, newest first.
pub(super) fn fires(connection: &Connection, tenant: &str, schedule: &str, before: Option<&str>, most: usize) -> Result<Vec<Fire>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, planned_at, fired_at, status, missed, execution_id, code, message FROM schedule_fires \
         WHERE tenant_id = ?1 AND schedule_id = ?2 AND (?3 IS NULL OR id < ?3) ORDER BY id DESC LIMIT ?4",
    )?;
    let rows = statement.query_map(params![tenant, schedule, before, i64::try_from(most).unwrap_or_default()], |row| {
        Ok(Fire {
            id: row.get(0)?,
            planned: row.get::<_, Option<i64>>(1)?.map(Timestamp::from_millis),
            fired: Timestamp::from_millis(row.get(2)?),
            status: row.get(3)?,
            missed: row.get::<_, i64>(4)?.unsigned_abs(),
            execution: row.get(5)?,
            code: row.get(6)?,
            message: row.get(7)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Why the last run failed, if it did.
pub(super) fn last_failure(connection: &Connection, tenant: &str, schedule: &str) -> Result<Option<FailedRun>> {
    let last = fires(connection, tenant, schedule, None, 1)?.pop().filter(|fire| fire.status == "failed");
    Ok(last.map(|fire| FailedRun {
        planned_at: fire.planned,
        code: fire.code.unwrap_or_default(),
        message: fire.message.unwrap_or_default(),
    }))
}
