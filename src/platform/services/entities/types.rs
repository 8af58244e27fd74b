//! The types of records that a tenant has: defined with a schema, or made by their first record.

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value};

use super::keys;
use super::schema::Checker;
use crate::api::arguments::quote;
use crate::api::entities::{Define, EntityType, Types};
use crate::api::near::nearest;
use crate::api::{FieldError, Page, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;
use crate::platform::http::context::{Cx, within_bytes};

/// The name that the route of the search takes.
const RESERVED: &str = "search";
/// Most types that a tenant has.
const MAX_TYPES: i64 = 1_000;
/// How many types a wrong name is compared with.
const MAX_COMPARED: u32 = 1_000;
/// Records that are held to a new schema in one turn.
const CHECKED_AT_ONCE: u32 = 200;
/// How many types an error names.
const NAMED: usize = 20;

/// What is known of a type.
pub(super) struct Known {
    /// The schema that its records keep to.
    pub(super) schema: Option<Value>,
    /// Whether the type is undefined.
    implied: bool,
}

/// Finds a type of the tenant.
pub(super) fn find(connection: &Connection, tenant: &str, name: &str) -> Result<Option<Known>> {
    let row = connection
        .prepare_cached("SELECT schema, implied FROM entity_types WHERE tenant_id = ? AND name = ?")?
        .query_row(params![tenant, name], |row| Ok((row.get::<_, Option<String>>(0)?, row.get(1)?)))
        .optional()?;
    let Some((schema, implied)) = row else { return Ok(None) };
    let schema = schema.map(|text| serde_json::from_str(&text)).transpose().map_err(Error::internal)?;
    Ok(Some(Known { schema, implied }))
}

/// Refuses a type that the tenant does not have, naming those that it has.
pub(super) fn must_exist(connection: &Connection, tenant: &str, name: &str) -> Result<Known> {
    if let Some(known) = find(connection, tenant, name)? {
        return Ok(known);
    }
    let names = names(connection, tenant, MAX_COMPARED)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let hint = match nearest(name, &names) {
        _ if names.is_empty() => "There are no records yet; the first one that is inserted makes its type.".to_owned(),
        Some(near) => format!("Did you mean `{near}`?"),
        None => format!("Known types: {}.", names[..names.len().min(NAMED)].join(", ")),
    };
    Err(Error::new(Kind::NotFound, "FM-IDHS-TYPE-NOT-FOUND", format!("there is no record type {}", quote(name))).hint(hint))
}

/// The names of the tenant's types, in their order.
pub(crate) fn names(connection: &Connection, tenant: &str, most: u32) -> Result<Vec<String>> {
    let mut names = connection.prepare_cached("SELECT name FROM entity_types WHERE tenant_id = ? ORDER BY name LIMIT ?")?;
    Ok(names.query_map(params![tenant, most], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// The schema of a type that must exist, if it has one.
pub(crate) fn schema_of(connection: &Connection, tenant: &str, name: &str) -> Result<Option<Value>> {
    Ok(must_exist(connection, tenant, name)?.schema)
}

/// Lists the tenant's types by their names, each with its schema.
pub(super) async fn list(cx: Cx, request: Types) -> Result<Page<EntityType>> {
    let (tenant, after) = (cx.tenant(), cx.cursor(&request.page)?.unwrap_or_default());
    let (wanted, page) = (request.entity_type, request.page);
    let (found, page) = cx
        .read(move |connection| {
            if let Some(wanted) = &wanted {
                must_exist(connection, tenant.as_str(), wanted)?;
            }
            let named = if wanted.is_some() { "name = ?3" } else { "?3 IS NULL" };
            let mut statement = connection.prepare_cached(&format!(
                "SELECT name, schema, created_at FROM entity_types WHERE tenant_id = ?1 AND name > ?2 AND {named} ORDER BY name LIMIT ?4"
            ))?;
            let most = i64::try_from(page.size() + 1).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![tenant.as_str(), after, wanted, most], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, i64>(2)?))
            })?;
            let rows = rows.map(|row| {
                let (entity_type, schema, created_at) = row?;
                let bytes = schema.as_ref().map_or(0, String::len);
                let schema = schema.map(|text| serde_json::from_str(&text)).transpose().map_err(Error::internal)?;
                Ok((EntityType { entity_type, schema, created_at: Timestamp::from_millis(created_at) }, bytes))
            });
            within_bytes(rows, &page, |(_, bytes)| *bytes)
        })
        .await?;
    let page = cx.page_of(found, &page, |(kind, _)| kind.entity_type.clone());
    Ok(Page { items: page.items.into_iter().map(|(kind, _)| kind).collect(), next_cursor: page.next_cursor })
}

/// Defines a type. A type that only its first record made may be given its schema later, if all its records keep to it;
/// those that did not change since a moment are known to.
pub(super) fn define(tx: &mut Tx<'_>, request: &Define, checker: Option<&Checker>, since: Timestamp) -> Result<EntityType> {
    let tenant = tx.tenant().to_owned();
    let name = request.entity_type.as_str();
    let text = request.schema.as_ref().map(serde_json::to_string).transpose().map_err(Error::internal)?;
    match find(tx, &tenant, name)? {
        Some(known) if !known.implied => {
            return Err(Error::new(Kind::Conflict, "FM-IDHS-TYPE-EXISTS", format!("the record type `{name}` is defined already"))
                .hint("Insert records of it, change it by entities_redefine, or take another name."));
        }
        Some(_) => {
            if let Some(checker) = checker {
                check_changed(tx, &tenant, name, checker, since)?;
            }
            tx.execute(
                "UPDATE entity_types SET schema = ?, implied = 0, revision = revision + 1 WHERE tenant_id = ? AND name = ?",
                params![text, tenant, name],
            )?;
        }
        None => create(tx, &tenant, name, text.as_deref(), false)?,
    }
    keys::declare(tx, name, request.schema.as_ref())?;
    let created_at =
        tx.query_row("SELECT created_at FROM entity_types WHERE tenant_id = ? AND name = ?", params![tenant, name], |row| row.get(0))?;
    Ok(EntityType { entity_type: name.to_owned(), schema: request.schema.clone(), created_at: Timestamp::from_millis(created_at) })
}

/// The type that a new record is of. An undefined type is created, without a schema: the contract's types are
/// dynamic, and its own example inserts a `customer` without having defined one. A schema can be added by `define`. A name
/// that is almost one of the tenant's types is rejected: `customer` beside `customers` would divide the records.
pub(super) fn for_insert(tx: &mut Tx<'_>, name: &str) -> Result<Known> {
    let tenant = tx.tenant().to_owned();
    if let Some(known) = find(tx, &tenant, name)? {
        return Ok(known);
    }
    check_new(tx, &tenant, name)?;
    create(tx, &tenant, name, None, true)?;
    Ok(Known { schema: None, implied: true })
}

/// Refuses a name that a new type cannot have, or that is almost one of the tenant's types.
pub(super) fn check_new(connection: &Connection, tenant: &str, name: &str) -> Result<()> {
    check_name(name)?;
    if let Some(near) = nearest(name, &names(connection, tenant, MAX_COMPARED)?.iter().map(String::as_str).collect::<Vec<_>>()) {
        return Err(Error::new(Kind::NotFound, "FM-IDHS-TYPE-NOT-FOUND", format!("there is no record type {}", quote(name)))
            .hint(format!("Did you mean `{near}`? If a new type is meant, define it first with entities_define.")));
    }
    Ok(())
}

fn create(tx: &mut Tx<'_>, tenant: &str, name: &str, schema: Option<&str>, implied: bool) -> Result<()> {
    let count: i64 = tx.query_row("SELECT count(*) FROM entity_types WHERE tenant_id = ?", [tenant], |row| row.get(0))?;
    if count >= MAX_TYPES {
        return Err(Error::new(Kind::Conflict, "FM-IDHS-TOO-MANY-TYPES", format!("there are {MAX_TYPES} record types already"))
            .hint("Use one of them, and tell records apart by a field."));
    }
    let now = tx.now().millis();
    tx.execute(
        "INSERT INTO entity_types (tenant_id, name, schema, implied, created_at) VALUES (?, ?, ?, ?, ?)",
        params![tenant, name, schema, implied, now],
    )?;
    Ok(())
}

/// Holds some of the records of a type to its new schema: those after a number, which is the last one's answer.
pub(super) fn check_some(connection: &Connection, tenant: &str, name: &str, checker: &Checker, after: i64) -> Result<Option<i64>> {
    let sql = "SELECT number, id, data FROM entities WHERE tenant_id = ? AND type = ? AND number > ? ORDER BY number LIMIT ?";
    let mut records = connection.prepare_cached(sql)?;
    check_rows(records.query(params![tenant, name, after, CHECKED_AT_ONCE])?, checker)
}

/// Holds those records to it that changed meanwhile.
fn check_changed(tx: &Tx<'_>, tenant: &str, name: &str, checker: &Checker, since: Timestamp) -> Result<()> {
    let sql = "SELECT number, id, data FROM entities WHERE tenant_id = ? AND type = ? AND updated_at >= ? ORDER BY number";
    let mut records = tx.prepare_cached(sql)?;
    check_rows(records.query(params![tenant, name, since.millis()])?, checker).map(drop)
}

fn check_rows(mut rows: rusqlite::Rows<'_>, checker: &Checker) -> Result<Option<i64>> {
    let mut last = None;
    while let Some(row) = rows.next()? {
        let (id, data): (String, String) = (row.get(1)?, row.get(2)?);
        last = Some(row.get(0)?);
        let data: Map<String, Value> = serde_json::from_str(&data).map_err(Error::internal)?;
        let faults = checker.faults(&data)?;
        if !faults.is_empty() {
            return Err(Error::new(
                Kind::Conflict,
                "FM-IDHS-RECORDS-DO-NOT-FIT",
                format!("the record {id} does not keep to the new schema"),
            )
            .hint("Correct that record first, or loosen the schema.")
            .with_fields(faults));
        }
    }
    Ok(last)
}

pub(super) fn check_name(name: &str) -> Result<()> {
    let fault = |detail: &str| {
        Err(Error::new(Kind::Invalid, "FM-IDHS-TYPE-NAME", format!("{} cannot name a record type", quote(name)))
            .hint("Use lower-case letters, digits, `_` and `-`, beginning with a letter, such as `purchase_order`.")
            .with_fields(vec![FieldError::new("/entityType", "name", detail)]))
    };
    if name == RESERVED {
        return fault("is the name of the search");
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if name.len() > 64 || !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(allowed) {
        return fault("must be 1 to 64 lower-case letters, digits, `_` or `-`, beginning with a letter");
    }
    Ok(())
}
