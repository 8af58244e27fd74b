//! A type's schema, changed where all its records keep to the new one.
//!
//! The records are read in portions, off the writer, and then those that changed meanwhile, until they are few. Only these
//! are read in the transaction that changes the schema.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::{Map, Value, json};

use super::schema::Checker;
use super::{keys, types};
use crate::api::audit::Changes;
use crate::api::entities::{EntityType, Redefine};
use crate::api::{FieldError, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::{Answer, Cx, matches};

/// How many records are read at once.
const PORTION: usize = 500;
/// Most records that the transaction reads; checking one may be costly.
const FEW: usize = 20;
/// How many times the records that changed meanwhile are read.
const PASSES: usize = 5;
/// Most records of a type whose schema is changed.
const MAX_RECORDS: i64 = 200_000;
/// Most records that an error names.
const MAX_NAMED: usize = 20;

/// A record that does not keep to a schema.
type Misfit = FieldError;

pub(super) async fn redefine(cx: Cx, request: Redefine) -> Result<Answer<EntityType>> {
    let (request, checker) = cx
        .compute(move || {
            let checker = Checker::admit(&request.schema)?;
            Ok::<_, Error>((request, Arc::new(checker)))
        })
        .await??;
    let revision = present_revision(&cx, &request).await?;
    matches(cx.if_match.as_deref(), &revision.to_string())?;
    let mut began = Timestamp::from_millis(i64::MIN);
    for _ in 0..PASSES {
        let since = std::mem::replace(&mut began, cx.now());
        if check(&cx, &request, &checker, since).await? <= FEW {
            break;
        }
    }
    let changed = cx.write(move |tx| {
        let tenant = tx.tenant().to_owned();
        let name = request.kind.as_str();
        let (now, created_at) = head(tx, &tenant, name)?;
        if now != revision {
            return Err(changed_meanwhile());
        }
        let mut misfits = Vec::new();
        let mut statement =
            tx.prepare_cached("SELECT id, data FROM entities WHERE tenant_id = ? AND type = ? AND updated_at >= ? LIMIT ?")?;
        let rows = statement.query_map(params![tenant, name, began.millis(), FEW + 1], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let latest = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        drop(statement);
        if latest.len() > FEW {
            return Err(changed_meanwhile());
        }
        judge(&checker, latest.into_iter().map(Ok), &mut misfits)?;
        must_fit(misfits)?;
        let fields = |schema: Option<&Value>| {
            let names = schema.and_then(|schema| schema.get("properties")).and_then(Value::as_object).into_iter().flat_map(Map::keys);
            Map::from_iter([("fields".to_owned(), json!(names.collect::<Vec<_>>()))])
        };
        let after = Value::Object(request.schema.clone());
        let changes =
            Changes { before: Some(fields(types::must_exist(tx, &tenant, name)?.schema.as_ref())), after: Some(fields(Some(&after))) };
        tx.prepare_cached("UPDATE entity_types SET schema = ?3, implied = 0, revision = revision + 1 WHERE tenant_id = ?1 AND name = ?2")?
            .execute(params![tenant, name, after.to_string()])?;
        keys::declare(tx, name, Some(&request.schema))?;
        tx.emit("entity.redefined", name, json!({ "entityType": name }))?;
        tx.audit("entity.redefined", "entity_type", name, Some(changes))?;
        let kind = EntityType { entity_type: name.to_owned(), schema: Some(request.schema), created_at };
        Ok(Answer::from(kind).etag(revision + 1))
    });
    let answer = changed.await?;
    cx.platform.entity_fields_notify().notify_one();
    Ok(answer)
}

/// The revision of a type and when it was created.
fn head(connection: &Connection, tenant: &str, name: &str) -> Result<(i64, Timestamp)> {
    let found = connection
        .prepare_cached("SELECT revision, created_at FROM entity_types WHERE tenant_id = ? AND name = ?")?
        .query_row(params![tenant, name], |row| Ok((row.get(0)?, Timestamp::from_millis(row.get(1)?))))
        .optional()?;
    match found {
        Some(found) => Ok(found),
        None => types::must_exist(connection, tenant, name).and_then(|_| Err(changed_meanwhile())),
    }
}

/// The type's revision, whose records are not too many to be checked.
async fn present_revision(cx: &Cx, request: &Redefine) -> Result<i64> {
    let (tenant, name) = (cx.tenant(), request.kind.clone());
    let (revision, records) = cx
        .read(move |connection| {
            let (revision, _) = head(connection, tenant.as_str(), &name)?;
            let records: i64 = connection
                .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM entities WHERE tenant_id = ? AND type = ? LIMIT ?)")?
                .query_row(params![tenant.as_str(), name, MAX_RECORDS + 1], |row| row.get(0))?;
            Ok((revision, records))
        })
        .await?;
    if records > MAX_RECORDS {
        let message = format!("the type has more than {MAX_RECORDS} records, too many to be checked against a new schema");
        return Err(Error::new(Kind::TooLarge, "FM-IDHS-TOO-MANY-RECORDS", message)
            .hint("Define another type with entities_define for what is stored from now on."));
    }
    Ok(revision)
}

/// Checks the records that changed since a time, in portions, and answers how many they are.
async fn check(cx: &Cx, request: &Redefine, checker: &Arc<Checker>, since: Timestamp) -> Result<usize> {
    let (tenant, name) = (cx.tenant(), request.kind.clone());
    let (mut misfits, mut total) = (Vec::new(), 0);
    let mut after = (since.millis(), i64::MIN);
    loop {
        let (tenant, name, checker) = (tenant.clone(), name.clone(), Arc::clone(checker));
        let (found, read, last) = cx
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT id, data, updated_at, number FROM entities
                     WHERE tenant_id = ?1 AND type = ?2 AND (updated_at, number) > (?3, ?4) ORDER BY updated_at, number LIMIT ?5",
                )?;
                let (mut read, mut last) = (0, after);
                let rows = statement.query_map(params![tenant.as_str(), name, after.0, after.1, PORTION], |row| {
                    (read, last) = (read + 1, (row.get(2)?, row.get(3)?));
                    Ok((row.get(0)?, row.get(1)?))
                })?;
                let mut found = Vec::new();
                judge(&checker, rows, &mut found)?;
                Ok((found, read, last))
            })
            .await?;
        misfits.extend(found);
        (total, after) = (total + read, last);
        if read < PORTION || misfits.len() > MAX_NAMED {
            must_fit(misfits)?;
            return Ok(total);
        }
    }
}

/// Adds the records that do not keep to a schema, each with its first fault. One record at a time is in memory.
fn judge(checker: &Checker, records: impl Iterator<Item = rusqlite::Result<(String, String)>>, misfits: &mut Vec<Misfit>) -> Result<()> {
    for record in records {
        let (id, data) = record?;
        if misfits.len() > MAX_NAMED {
            return Ok(());
        }
        let data: Map<String, Value> = serde_json::from_str(&data).map_err(Error::internal)?;
        // What is too costly to check has a field that says so.
        let faults = checker.faults(&data).unwrap_or_else(|error| error.fields().to_vec());
        if let Some(fault) = faults.into_iter().next() {
            misfits.push(FieldError::new("/schema", fault.code, format!("record {id}: {} {}", fault.pointer, fault.detail)));
        }
    }
    Ok(())
}

fn must_fit(mut misfits: Vec<Misfit>) -> Result<()> {
    if misfits.is_empty() {
        return Ok(());
    }
    let count = if misfits.len() > MAX_NAMED { format!("more than {MAX_NAMED}") } else { misfits.len().to_string() };
    misfits.truncate(MAX_NAMED);
    Err(Error::new(Kind::Conflict, "FM-IDHS-RECORDS-DO-NOT-FIT", format!("records stand against the new schema: {count}"))
        .with_fields(misfits)
        .hint("Correct these records with entities_update, or loosen the schema."))
}

fn changed_meanwhile() -> Error {
    Error::new(Kind::Conflict, "FM-IDHS-TYPE-CHANGED", "the type or many of its records changed meanwhile")
        .hint("Look at the type with entities_types, then change it again.")
}
