//! Internal Data Hub: the tenant's own types of records, the records, their relationships, and search (contract, section 5).

mod filling;
mod filter;
mod imported;
mod keys;
mod links;
mod lists;
mod order;
mod ranges;
mod redefine;
mod schema;
mod search;
mod store;
mod types;

pub(crate) use imported::{Checker, put as put_imported, remove as remove_imported, schema_for_import, type_for_import};
pub(crate) use store::{newest, reindex};
pub(crate) use types::{names as type_names, schema_of};

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::api::Done;
use crate::api::audit::Changes;
use crate::api::entities::{Define, Delete, Entity, EntityType, Get, Insert, Update};
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::database::Tx;
use crate::platform::http::context::{Answer, Cx, matches};
use crate::platform::http::routes::Routes;

/// How often a write is checked again because what it was checked against changed meanwhile.
const MAX_TRIES: usize = 10;
/// The code of a write that met something else than what it was checked against.
const CHANGING: &str = "FM-IDHS-CHANGING";

/// The operations of the service.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .on(define)
        .on(insert)
        .on(get)
        .on(update)
        .on(delete)
        .on(lists::query)
        .on(search::search)
        .on(types::list)
        .on(redefine::redefine)
}

/// Starts what reads the records of before for the fields that were declared since.
pub(crate) fn spawn(platform: &Platform) {
    platform.spawn(filling::run(platform.clone()));
}

async fn define(cx: Cx, request: Define) -> Result<Answer<EntityType>> {
    types::check_name(&request.entity_type)?;
    let begun = cx.now();
    let (request, checker) = cx
        .compute(move || {
            let checker = request.schema.as_ref().map(schema::Checker::admit).transpose()?;
            Ok::<_, Error>((request, checker.map(Arc::new)))
        })
        .await??;
    // A type that has records already: they are held to its schema some at a time, while others write.
    let mut last = checker.is_some().then_some(0);
    while let (Some(after), Some(checker)) = (last, &checker) {
        let (tenant, name, checker) = (cx.tenant(), request.entity_type.clone(), Arc::clone(checker));
        last = cx.read(move |connection| types::check_some(connection, tenant.as_str(), &name, &checker, after)).await?;
    }
    let kind = cx
        .write(move |tx| {
            let kind = types::define(tx, &request, checker.as_deref(), begun)?;
            tx.emit("entity.defined", &kind.entity_type, json!({ "entityType": kind.entity_type, "schema": kind.schema.is_some() }))?;
            tx.audit("entity.defined", "entity_type", &kind.entity_type, None)?;
            Ok(kind)
        })
        .await?;
    cx.platform.entity_fields_notify().notify_one();
    let location = format!("/entities/{}", kind.entity_type);
    Ok(Answer::from(kind).location(location))
}

async fn insert(cx: Cx, request: Insert) -> Result<Answer<Entity>> {
    let request = Arc::new(request);
    for _ in 0..MAX_TRIES {
        let (tenant, checking) = (cx.tenant(), Arc::clone(&request));
        let schema = cx
            .read(move |connection| {
                let schema = types::find(connection, tenant.as_str(), &checking.kind)?.and_then(|known| known.schema);
                if let Some(schema) = &schema {
                    schema::check(&checking.kind, schema, &checking.data)?;
                }
                Ok(schema)
            })
            .await?;
        let request = Arc::clone(&request);
        let inserted = cx.write(move |tx| {
            let known = types::for_insert(tx, &request.kind)?;
            if known.schema == schema { insert_as(tx, &request) } else { Err(changing()) }
        });
        match inserted.await {
            Err(error) if error.code() == CHANGING => {}
            inserted => {
                let entity = inserted?;
                let location = format!("/entities/{}/{}", entity.entity_type, entity.id);
                return Ok(answer(entity).location(location));
            }
        }
    }
    Err(changing())
}

fn insert_as(tx: &mut Tx<'_>, request: &Insert) -> Result<Entity> {
    let id = tx.mint("entity");
    store::insert(tx, &id, &request.kind, &request.data)?;
    if let Some(relationships) = &request.relationships {
        links::replace(tx, &id, &links::read(relationships)?)?;
    }
    let entity = store::find(tx, tx.tenant(), &request.kind, &id)?.entity;
    record(tx, "entity.inserted", &entity, Changes { before: None, after: Some(names(1, entity.data.keys())) })?;
    Ok(entity)
}

async fn get(cx: Cx, request: Get) -> Result<Answer<Entity>> {
    let tenant = cx.tenant();
    let stored = cx.read(move |connection| store::find(connection, tenant.as_str(), &request.kind, request.id.as_str())).await?;
    Ok(answer(stored.entity))
}

async fn update(cx: Cx, request: Update) -> Result<Answer<Entity>> {
    if request.data.is_none() && request.relationships.is_none() {
        return Err(Error::new(Kind::Invalid, "FM-IDHS-NOTHING-TO-CHANGE", "neither data nor relationships are given")
            .hint("Send the fields to change as `data`; null removes one."));
    }
    let request = Arc::new(request);
    for _ in 0..MAX_TRIES {
        let (tenant, checking, if_match) = (cx.tenant(), Arc::clone(&request), cx.if_match.clone());
        let checked = cx
            .read(move |connection| {
                let before = store::find(connection, tenant.as_str(), &checking.kind, checking.id.as_str())?.entity;
                matches(if_match.as_deref(), &before.version.to_string())?;
                let data = merge(&before.data, checking.data.as_ref());
                let schema = types::must_exist(connection, tenant.as_str(), &checking.kind)?.schema;
                if let Some(schema) = &schema {
                    schema::check(&checking.kind, schema, &data)?;
                }
                Ok(Checked { version: before.version, schema, data })
            })
            .await?;
        let request = Arc::clone(&request);
        match cx.write(move |tx| update_as(tx, &request, &checked)).await {
            Err(error) if error.code() == CHANGING => {}
            updated => return Ok(answer(updated?)),
        }
    }
    Err(changing())
}

/// What a change was checked for: a version of the record, the schema of its type, and the fields after it.
struct Checked {
    version: u64,
    schema: Option<Value>,
    data: Map<String, Value>,
}

/// Changes a record as it was checked.
fn update_as(tx: &mut Tx<'_>, request: &Update, checked: &Checked) -> Result<Entity> {
    let tenant = tx.scope().tenant.clone();
    let stored = store::find(tx, tenant.as_str(), &request.kind, request.id.as_str())?;
    let before = stored.entity;
    if before.version != checked.version || types::must_exist(tx, tenant.as_str(), &request.kind)?.schema != checked.schema {
        return Err(changing());
    }
    if let Some(relationships) = &request.relationships {
        links::replace(tx, before.id.as_str(), &links::read(relationships)?)?;
    }
    if checked.data == before.data && links::of(tx, tenant.as_str(), before.id.as_str())? == before.relationships {
        return Ok(before);
    }
    store::update(tx, stored.number, &checked.data)?;
    let after = store::find(tx, tenant.as_str(), &request.kind, request.id.as_str())?.entity;
    record(tx, "entity.updated", &after, difference(&before, &after))?;
    Ok(after)
}

fn changing() -> Error {
    Error::new(Kind::Conflict, CHANGING, "others change the record or the schema of its type all the time; nothing was done")
        .hint("Try again in a moment.")
}

async fn delete(cx: Cx, request: Delete) -> Result<Done> {
    let if_match = cx.if_match.clone();
    cx.write(move |tx| {
        let tenant = tx.scope().tenant.clone();
        let stored = store::find(tx, tenant.as_str(), &request.kind, request.id.as_str())?;
        matches(if_match.as_deref(), &stored.entity.version.to_string())?;
        links::must_be_free(tx, tenant.as_str(), request.id.as_str())?;
        store::delete(tx, request.id.as_str(), stored.number)?;
        let before = names(stored.entity.version, stored.entity.data.keys());
        record(tx, "entity.deleted", &stored.entity, Changes { before: Some(before), after: None })?;
        Ok(Done::default())
    })
    .await
}

fn answer(entity: Entity) -> Answer<Entity> {
    let version = entity.version;
    Answer::from(entity).etag(version)
}

/// The fields after a change: those given replace or are added, null removes.
fn merge(before: &Map<String, Value>, change: Option<&Map<String, Value>>) -> Map<String, Value> {
    let mut after = before.clone();
    for (name, value) in change.into_iter().flatten() {
        if value.is_null() {
            after.shift_remove(name);
        } else {
            after.insert(name.clone(), value.clone());
        }
    }
    after
}

/// Event and audit row of a change. They name fields and never hold values: those may be personal, and a trail is forever.
fn record(tx: &mut Tx<'_>, what: &str, entity: &Entity, changes: Changes) -> Result<()> {
    let id = entity.id.as_str();
    tx.emit(what, id, json!({ "entityId": id, "entityType": entity.entity_type, "version": entity.version }))?;
    tx.audit(what, "entity", id, Some(changes))?;
    Ok(())
}

fn difference(before: &Entity, after: &Entity) -> Changes {
    let changed = |one: &Entity, other: &Entity| {
        let fields = one.data.iter().filter(|(name, value)| other.data.get(*name) != Some(*value)).map(|(name, _)| name.clone());
        let relations = one.relationships.iter().filter(|(name, ids)| other.relationships.get(*name) != Some(*ids));
        let all: Vec<String> = fields.chain(relations.map(|(name, _)| format!("relationships.{name}"))).collect();
        names(one.version, all.iter())
    };
    Changes { before: Some(changed(before, after)), after: Some(changed(after, before)) }
}

fn names<'a>(version: u64, fields: impl Iterator<Item = &'a String>) -> Map<String, Value> {
    Map::from_iter([("version".to_owned(), json!(version)), ("fields".to_owned(), fields.cloned().collect())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_merges_and_null_removes() {
        let before = json!({ "a": 1, "b": 2, "c": { "x": 1 } });
        let change = json!({ "b": null, "c": { "y": 2 }, "d": 4, "gone": null });
        assert_eq!(Value::Object(merge(before.as_object().unwrap(), change.as_object())), json!({ "a": 1, "c": { "y": 2 }, "d": 4 }));
    }
}
