//! Records that an import brings: checked against their type's schema off the writer, then added or changed.

use rusqlite::{Connection, OptionalExtension as _};
use serde_json::{Map, Value};

use super::{difference, links, names, record, schema, store, types};
use crate::api::FieldError;
use crate::api::audit::Changes;
use crate::error::Result;
use crate::platform::database::Tx;

/// The schema of a type, compiled.
pub(crate) struct Checker(Option<schema::Checker>);

impl Checker {
    /// Compiles a type's schema; without one every record is right.
    pub(crate) fn of(schema: Option<&Value>) -> Result<Self> {
        Ok(Self(schema.map(schema::Checker::of).transpose()?))
    }

    /// What a record has against the schema.
    pub(crate) fn faults(&self, data: &Map<String, Value>) -> Vec<FieldError> {
        let Some(checker) = &self.0 else { return Vec::new() };
        // What is too costly to check has a field that says so.
        checker.faults(data).unwrap_or_else(|error| error.fields().to_vec())
    }
}

/// The schema of a type that an import fills. A type that does not exist yet has none; a name that no type can have, or that
/// is almost one of the tenant's, is refused.
pub(crate) fn schema_for_import(connection: &Connection, tenant: &str, name: &str) -> Result<Option<Value>> {
    match types::find(connection, tenant, name)? {
        Some(known) => Ok(known.schema),
        None => types::check_new(connection, tenant, name).map(|()| None),
    }
}

/// Creates the type that an import fills if it does not exist, and answers its schema.
pub(crate) fn type_for_import(tx: &mut Tx<'_>, name: &str) -> Result<Option<Value>> {
    Ok(types::for_insert(tx, name)?.schema)
}

/// Keeps a checked record: the fields change that it has, those that only the platform has stay. `known` is the record's id
/// from an earlier import; a record that was deleted since is added again. Answers the id.
pub(crate) fn put(tx: &mut Tx<'_>, kind: &str, known: Option<&str>, data: &Map<String, Value>) -> Result<String> {
    let tenant = tx.tenant().to_owned();
    if let Some(id) = known
        && exists(tx, kind, id)?
    {
        let before = store::find(tx, &tenant, kind, id)?;
        let mut after = before.entity.data.clone();
        after.extend(data.clone());
        if after != before.entity.data {
            store::update(tx, before.number, &after)?;
            let after = store::find(tx, &tenant, kind, id)?.entity;
            record(tx, "entity.updated", &after, difference(&before.entity, &after))?;
        }
        return Ok(id.to_owned());
    }
    let id = tx.mint("entity");
    store::insert(tx, &id, kind, data)?;
    let entity = store::find(tx, &tenant, kind, &id)?.entity;
    record(tx, "entity.inserted", &entity, Changes { before: None, after: Some(names(1, entity.data.keys())) })?;
    Ok(id)
}

/// Removes a record whose row is gone from its source, and answers whether there was one. One that others refer to stays,
/// which is a conflict.
pub(crate) fn remove(tx: &mut Tx<'_>, kind: &str, id: &str) -> Result<bool> {
    let tenant = tx.tenant().to_owned();
    if !exists(tx, kind, id)? {
        return Ok(false);
    }
    links::must_be_free(tx, &tenant, id)?;
    let stored = store::find(tx, &tenant, kind, id)?;
    store::delete(tx, id, stored.number)?;
    let before = names(stored.entity.version, stored.entity.data.keys());
    record(tx, "entity.deleted", &stored.entity, Changes { before: Some(before), after: None })?;
    Ok(true)
}

fn exists(tx: &Tx<'_>, kind: &str, id: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM entities WHERE tenant_id = ? AND id = ? AND type = ?";
    Ok(tx.prepare_cached(sql)?.query_row((tx.tenant(), id, kind), |_| Ok(())).optional()?.is_some())
}
