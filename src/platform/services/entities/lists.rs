//! Lists of records: by the values of fields, and by words.

use rusqlite::Connection;
use rusqlite::types::Value as Sql;
use serde::Deserialize;
use serde_json::{Value, json};

use super::filter::{self, Conditions, Order};
use super::{links, store, types};
use crate::api::entities::{Entity, Query, Search};
use crate::api::{Page, PageRequest};
use crate::error::{Error, Kind, Result};
use crate::platform::full_text::{self, Reading};
use crate::platform::http::context::Cx;
use crate::platform::keys;

/// A record and the keys that its list is sorted by.
type Found = (Entity, Vec<Value>);

/// Where the next page of a query begins: after this record.
#[derive(Deserialize)]
struct After {
    /// Tells this query from others.
    of: String,
    keys: Vec<Value>,
}

pub(super) async fn query(cx: Cx, request: Query) -> Result<Page<Entity>> {
    let tenant = cx.tenant();
    let of = fingerprint(&json!([request.kind, request.filter, request.sort]));
    let after = place(&cx, &request.page, &of)?;
    let page = request.page.clone();
    let found = cx.read(move |connection| run_query(connection, tenant.as_str(), &request, after)).await?;
    Ok(page_of(&cx, found, &page, &of))
}

fn run_query(connection: &Connection, tenant: &str, request: &Query, after: Option<After>) -> Result<Vec<Found>> {
    types::must_exist(connection, tenant, &request.kind)?;
    let order = Order::read(request.sort.as_deref())?;
    let mut conditions = Conditions::default();
    conditions.values.extend(order.paths.iter().cloned().map(Sql::Text));
    conditions.values.extend([Sql::Text(tenant.to_owned()), Sql::Text(request.kind.clone())]);
    if let Some(wanted) = &request.filter {
        filter::filter(&mut conditions, wanted)?;
    }
    // A time is never absent and of one kind, so the index on age serves; a field's values are put apart by kind first.
    let keys: &[&str] = if order.paths.is_empty() { &["key", "number"] } else { &["class", "place", "number"] };
    let direction = order.direction();
    let mut beyond = String::new();
    let mut values = conditions.values;
    if let Some(after) = after {
        let marks = vec!["?"; keys.len()].join(", ");
        beyond = format!(" WHERE ({}) {} ({marks})", keys.join(", "), order.beyond());
        values.extend(after.keys.iter().map(sql_of));
    }
    values.push(one_more(&request.page));
    let sql = format!(
        "SELECT {columns}, {keys} FROM (
             SELECT *, CASE typeof(key) WHEN 'null' THEN 0 WHEN 'text' THEN 2 ELSE 1 END AS class, ifnull(key, 0) AS place FROM (
                 SELECT {columns}, {value} AS key FROM entities WHERE tenant_id = ? AND type = ?{conditions}
             )
         ){beyond} ORDER BY {sorted} LIMIT ?",
        columns = store::COLUMNS,
        keys = keys.join(", "),
        value = order.value,
        conditions = conditions.sql,
        sorted = keys.iter().map(|key| format!("{key} {direction}")).collect::<Vec<_>>().join(", "),
    );
    rows(connection, tenant, &sql, values, keys.len())
}

pub(super) async fn search(cx: Cx, request: Search) -> Result<Page<Entity>> {
    let tenant = cx.tenant();
    let of = fingerprint(&json!([request.query, request.entity_types]));
    let after = place(&cx, &request.page, &of)?;
    let page = request.page.clone();
    let found = cx.read(move |connection| run_search(connection, tenant.as_str(), &request, after)).await?;
    Ok(page_of(&cx, found, &page, &of))
}

fn run_search(connection: &Connection, tenant: &str, request: &Search, after: Option<After>) -> Result<Vec<Found>> {
    for kind in request.entity_types.iter().flatten() {
        types::must_exist(connection, tenant, kind)?;
    }
    let after = after.map(|after| after.keys);
    let readings: &[Reading] = match after.as_ref().and_then(|keys| keys.first()?.as_str()) {
        Some("whole") => &[Reading::Whole],
        Some(_) => &[Reading::Beginnings],
        None => &[Reading::Whole, Reading::Beginnings],
    };
    for reading in readings {
        let Some(words) = full_text::query_of(&request.query, *reading) else {
            return Err(Error::new(Kind::Invalid, "FM-IDHS-QUERY", "the query has no word to search for")
                .hint("Search for words, names, numbers or e-mail addresses.")
                .field("/query", "words", "holds neither a letter nor a digit"));
        };
        let mut sql = format!(
            "SELECT {}, rank, number FROM entity_words JOIN entities ON entities.number = entity_words.rowid
             WHERE entity_words MATCH ? AND tenant_id = ?",
            store::COLUMNS
        );
        let mut values = vec![Sql::Text(words), Sql::Text(tenant.to_owned())];
        if let Some(kinds) = &request.entity_types {
            sql.extend([" AND type IN (", &vec!["?"; kinds.len()].join(", "), ")"]);
            values.extend(kinds.iter().cloned().map(Sql::Text));
        }
        if let Some([_, rank, number]) = after.as_deref() {
            sql.push_str(" AND (rank, number) > (?, ?)");
            values.extend([sql_of(rank), sql_of(number)]);
        }
        sql.push_str(" ORDER BY rank, number LIMIT ?");
        values.push(one_more(&request.page));
        let mut found = rows(connection, tenant, &sql, values, 2)?;
        if !found.is_empty() {
            let name = if *reading == Reading::Whole { "whole" } else { "beginnings" };
            for (_, keys) in &mut found {
                keys.insert(0, Value::from(name));
            }
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// Reads records, and after the columns of each the keys that it is sorted by.
fn rows(connection: &Connection, tenant: &str, sql: &str, values: Vec<Sql>, keys: usize) -> Result<Vec<Found>> {
    let mut statement = connection.prepare_cached(sql)?;
    let first = store::COLUMNS.split(',').count();
    let mut rows = statement.query(rusqlite::params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let mut entity = store::entity_of(tenant, row)?.entity;
        entity.relationships = links::of(connection, tenant, entity.id.as_str())?;
        let keys = (first..first + keys).map(|column| row.get(column).map(json_of)).collect::<rusqlite::Result<_>>()?;
        found.push((entity, keys));
    }
    Ok(found)
}

/// One more than fits tells whether there is a next page.
fn one_more(page: &PageRequest) -> Sql {
    Sql::Integer(i64::try_from(page.size()).unwrap_or(i64::MAX - 1) + 1)
}

fn page_of(cx: &Cx, found: Vec<Found>, page: &PageRequest, of: &str) -> Page<Entity> {
    let page = cx.page_of(found, page, |(_, keys)| json!({ "of": of, "keys": keys }).to_string());
    Page { items: page.items.into_iter().map(|(entity, _)| entity).collect(), next_cursor: page.next_cursor }
}

/// Where the page begins. A cursor is good for the query that it came from alone.
fn place(cx: &Cx, page: &PageRequest, of: &str) -> Result<Option<After>> {
    let Some(text) = cx.cursor(page)? else { return Ok(None) };
    match serde_json::from_str::<After>(&text) {
        Ok(after) if after.of == of => Ok(Some(after)),
        _ => Err(Error::new(Kind::Invalid, "FM-IDHS-CURSOR", "the cursor belongs to another query")
            .hint("Repeat the query that it came from, or leave the cursor out.")
            .field("/cursor", "cursor", "is `nextCursor` of a query with other arguments")),
    }
}

fn fingerprint(query: &Value) -> String {
    let mut digest = keys::sha256(query.to_string().as_bytes());
    digest.truncate(16);
    digest
}

/// A key as a cursor holds it. A fraction goes by its bits: JSON text may come back as its neighbour.
fn json_of(value: Sql) -> Value {
    match value {
        Sql::Integer(number) => Value::from(number),
        Sql::Real(number) => json!({ "bits": number.to_bits() }),
        Sql::Text(text) => Value::from(text),
        Sql::Null | Sql::Blob(_) => Value::Null,
    }
}

fn sql_of(value: &Value) -> Sql {
    match value {
        Value::Number(number) => Sql::Integer(number.as_i64().unwrap_or_default()),
        Value::String(text) => Sql::Text(text.clone()),
        Value::Object(fields) => Sql::Real(f64::from_bits(fields.get("bits").and_then(Value::as_u64).unwrap_or_default())),
        _ => Sql::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_a_cursor_as_it_was() {
        for key in
            [Sql::Integer(i64::MIN), Sql::Real(0.1 + 0.2), Sql::Real(-1.192_092_895_507_812_5e-7), Sql::Text("x".to_owned()), Sql::Null]
        {
            let text = json_of(key.clone()).to_string();
            assert_eq!(sql_of(&serde_json::from_str(&text).unwrap()), key);
        }
    }
}
