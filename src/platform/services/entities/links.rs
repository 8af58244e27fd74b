//! Relationships: which records a record names, under which relation. What is named must exist, and then stays.

use rusqlite::{Connection, params};
use serde_json::{Map, Value};

use crate::api::FieldError;
use crate::api::arguments::quote;
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;

/// Most relations of a record.
const MAX_RELATIONS: usize = 50;
/// Most records under one relation.
const MAX_TARGETS: usize = 500;
/// How many of those that refer to a record an error names.
const NAMED: usize = 5;

/// Relations by name, each with its records in order.
type Links = Vec<(String, Vec<String>)>;

/// Reads what a request says: an id or a list of ids by relation, null for none.
pub(super) fn read(relationships: &Map<String, Value>) -> Result<Links> {
    let mut faults = Vec::new();
    if relationships.len() > MAX_RELATIONS {
        faults.push(FieldError::new("/relationships", "length", format!("names more than {MAX_RELATIONS} relations")));
    }
    let mut links = Links::new();
    for (relation, targets) in relationships.iter().take(MAX_RELATIONS) {
        let pointer = pointer_of(relation);
        if relation.is_empty() || relation.chars().count() > 64 || relation.chars().any(char::is_control) {
            faults.push(FieldError::new(pointer.as_str(), "name", "must be called by 1 to 64 characters"));
        }
        let items = match targets {
            Value::Null => &[][..],
            Value::Array(items) => items,
            single => std::slice::from_ref(single),
        };
        if items.len() > MAX_TARGETS {
            faults.push(FieldError::new(pointer.as_str(), "length", format!("names more than {MAX_TARGETS} records")));
        }
        let mut ids: Vec<String> = Vec::new();
        for (index, item) in items.iter().take(MAX_TARGETS).enumerate() {
            match item.as_str() {
                Some(id) if ids.iter().any(|known| known == id) => {}
                Some(id) => ids.push(id.to_owned()),
                None => faults.push(FieldError::new(format!("{pointer}/{index}"), "type", "must be the id of a record, as text")),
            }
        }
        links.push((relation.clone(), ids));
    }
    if faults.is_empty() { Ok(links) } else { Err(invalid(faults)) }
}

/// Replaces the relations named; the others stay as they are.
pub(super) fn replace(tx: &Tx<'_>, source: &str, links: &Links) -> Result<()> {
    let tenant = tx.tenant();
    let mut faults = Vec::new();
    for (relation, targets) in links {
        tx.prepare_cached("DELETE FROM entity_links WHERE tenant_id = ? AND source = ? AND relation = ?")?
            .execute(params![tenant, source, relation])?;
        for (place, target) in (0_i64..).zip(targets) {
            let exists = tx.prepare_cached("SELECT 1 FROM entities WHERE tenant_id = ? AND id = ?")?.exists(params![tenant, target])?;
            if !exists {
                let detail = format!("names {}, which is not a record here", quote(target));
                faults.push(FieldError::new(format!("{}/{place}", pointer_of(relation)), "unknown-record", detail));
                continue;
            }
            tx.prepare_cached("INSERT INTO entity_links (tenant_id, source, relation, place, target) VALUES (?, ?, ?, ?, ?)")?
                .execute(params![tenant, source, relation, place, target])?;
        }
    }
    let relations: i64 = tx
        .prepare_cached("SELECT count(DISTINCT relation) FROM entity_links WHERE tenant_id = ? AND source = ?")?
        .query_row(params![tenant, source], |row| row.get(0))?;
    if relations.unsigned_abs() > MAX_RELATIONS as u64 {
        faults.push(FieldError::new("/relationships", "length", format!("would make more than {MAX_RELATIONS} relations")));
    }
    if faults.is_empty() { Ok(()) } else { Err(invalid(faults)) }
}

/// The relations of a record as answers show them.
pub(super) fn of(connection: &Connection, tenant: &str, source: &str) -> Result<Map<String, Value>> {
    let mut links = connection
        .prepare_cached("SELECT relation, target FROM entity_links WHERE tenant_id = ? AND source = ? ORDER BY relation, place")?;
    let mut rows = links.query(params![tenant, source])?;
    let mut relationships = Map::new();
    while let Some(row) = rows.next()? {
        let (relation, target): (String, String) = (row.get(0)?, row.get(1)?);
        if let Value::Array(targets) = relationships.entry(relation).or_insert_with(|| Value::Array(Vec::new())) {
            targets.push(Value::String(target));
        }
    }
    Ok(relationships)
}

/// Refuses to go on while other records refer to this one, and names them.
pub(super) fn must_be_free(connection: &Connection, tenant: &str, target: &str) -> Result<()> {
    let mut referring = connection.prepare_cached(
        "SELECT entities.type, entities.id, entity_links.relation
         FROM entity_links JOIN entities ON entities.tenant_id = entity_links.tenant_id AND entities.id = entity_links.source
         WHERE entity_links.tenant_id = ?1 AND entity_links.target = ?2 AND entity_links.source <> ?2
         ORDER BY entities.number LIMIT 6",
    )?;
    let referring: Vec<String> = referring
        .query_map(params![tenant, target], |row| {
            let (kind, id, relation): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(format!("{kind} {id} ({relation})"))
        })?
        .collect::<rusqlite::Result<_>>()?;
    if referring.is_empty() {
        return Ok(());
    }
    let more = if referring.len() > NAMED { " and others" } else { "" };
    let named = referring[..referring.len().min(NAMED)].join(", ");
    Err(Error::new(Kind::Conflict, "FM-IDHS-REFERENCED", format!("other records refer to {target}: {named}{more}"))
        .hint("Take it out of their relationships first, or delete them first."))
}

fn pointer_of(relation: &str) -> String {
    let name: String = relation.chars().filter(|c| !c.is_control()).take(80).collect();
    format!("/relationships/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn invalid(mut faults: Vec<FieldError>) -> Error {
    faults.truncate(20);
    Error::new(Kind::Invalid, "FM-IDHS-RELATIONSHIP", "the relationships cannot be kept")
        .hint("Give ids of records that exist, by the relation's name; entities_query and entities_search find them.")
        .with_fields(faults)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_id_or_many_are_read_and_repeats_dropped() {
        let links = read(json!({ "owner": "entity-1", "contacts": ["a", "b", "a"], "gone": null }).as_object().unwrap()).unwrap();
        let expected = [("owner", vec!["entity-1"]), ("contacts", vec!["a", "b"]), ("gone", vec![])];
        assert_eq!(links.len(), expected.len());
        for ((relation, ids), (name, wanted)) in links.iter().zip(expected) {
            assert_eq!((relation.as_str(), ids.iter().map(String::as_str).collect::<Vec<_>>()), (name, wanted));
        }
        let error = read(json!({ "owner": [5], "": "x" }).as_object().unwrap()).unwrap_err();
        assert_eq!(
            error.fields().iter().map(|fault| fault.pointer.as_str()).collect::<Vec<_>>(),
            ["/relationships/owner/0", "/relationships/"]
        );
    }
}
