//! Lists of records by the values of fields.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Row};
use serde_json::{Value, json};

use super::filter::{self, Conditions};
use super::order::Order;
use super::{keys, links, store, types};
use crate::api::entities::{Entity, Query};
use crate::api::{Page, PageRequest};
use crate::error::{Error, Result};
use crate::platform::http::context::{Cx, within_bytes};

/// A record and the keys that its list is sorted by.
pub(super) type Found = (Entity, Vec<Value>);
/// What was read for a page, and the page that it fills: fewer records, where they are large.
pub(super) type Portion = (Vec<Found>, PageRequest);

pub(super) async fn query(cx: Cx, request: Query) -> Result<Page<Entity>> {
    let (tenant, after) = (cx.tenant(), place(&cx, &request.page)?);
    let (found, page) = cx.read(move |connection| run_query(connection, tenant.as_str(), &request, after)).await?;
    Ok(page_of(&cx, found, &page))
}

fn run_query(connection: &Connection, tenant: &str, request: &Query, after: Option<Vec<Value>>) -> Result<Portion> {
    let known = types::must_exist(connection, tenant, &request.kind)?;
    let order = Order::read(request.sort.as_deref())?;
    filter::check_fields(known.schema.as_ref(), "sort", Order::fields(request.sort.as_deref()))?;
    let mut conditions = Conditions::default();
    if let Some(wanted) = &request.filter {
        filter::filter(&mut conditions, wanted)?;
        filter::check_fields(known.schema.as_ref(), "filter", wanted.keys().map(String::as_str))?;
    }
    let after: Option<Vec<Sql>> = after.map(|keys| keys.iter().map(sql_of).collect());
    let most = i64::try_from(request.page.size()).unwrap_or(i64::MAX - 1) + 1;
    let list = keys::List { tenant, kind: &request.kind, order: &order, conditions: &conditions, after: after.as_deref(), most };
    let mut values: Vec<Sql> = order.paths().cloned().map(Sql::Text).collect();
    values.extend([Sql::Text(tenant.to_owned()), Sql::Text(request.kind.clone())]);
    let whose = match list.candidates(connection)? {
        Some(numbers) => {
            values.push(Sql::Text(Value::from(numbers).to_string()));
            "+tenant_id = ? AND +type = ? AND number IN (SELECT value FROM json_each(?))"
        }
        None => "tenant_id = ? AND type = ?",
    };
    values.extend(conditions.values);
    let columns = order.columns();
    let mut beyond = String::new();
    if let Some(after) = after {
        let condition = order.beyond(&after);
        beyond = format!(" WHERE {}", condition.sql);
        values.extend(condition.values);
    }
    values.push(one_more(&request.page));
    let sql = format!(
        "SELECT {own}, {keys} FROM (
             SELECT *{comparisons} FROM (SELECT {own}{value} FROM entities WHERE {whose}{conditions})
         ){beyond} ORDER BY {sorted} LIMIT ?",
        own = store::COLUMNS,
        keys = columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "),
        comparisons = order.comparisons(),
        value = order.values(),
        conditions = conditions.sql,
        sorted = columns
            .iter()
            .map(|(name, descending)| format!("{name}{}", if *descending { " DESC" } else { "" }))
            .collect::<Vec<_>>()
            .join(", "),
    );
    rows(connection, tenant, &sql, values, columns.len(), &request.page)
}

/// Reads records, and after the columns of each the keys that it is sorted by.
pub(super) fn rows(connection: &Connection, tenant: &str, sql: &str, values: Vec<Sql>, keys: usize, page: &PageRequest) -> Result<Portion> {
    let mut statement = connection.prepare_cached(sql)?;
    let first = store::COLUMNS.split(',').count();
    let read = |row: &Row<'_>| {
        let mut entity = store::entity_of(tenant, row)?.entity;
        entity.relationships = links::of(connection, tenant, entity.id.as_str())?;
        let keys = (first..first + keys).map(|column| row.get(column).map(json_of)).collect::<rusqlite::Result<_>>()?;
        Ok(((entity, keys), row.get_ref("data")?.as_bytes().map_or(0, <[u8]>::len)))
    };
    let rows = statement.query_map(rusqlite::params_from_iter(values), |row| Ok(read(row)))?;
    let (found, page) = within_bytes(rows.map(|row| row?), page, |(_, bytes)| *bytes)?;
    Ok((found.into_iter().map(|(found, _)| found).collect(), page))
}

/// One more than fits tells whether there is a next page.
pub(super) fn one_more(page: &PageRequest) -> Sql {
    Sql::Integer(i64::try_from(page.size()).unwrap_or(i64::MAX - 1) + 1)
}

pub(super) fn page_of(cx: &Cx, found: Vec<Found>, page: &PageRequest) -> Page<Entity> {
    let page = cx.page_of(found, page, |(_, keys)| Value::from(keys.clone()).to_string());
    Page { items: page.items.into_iter().map(|(entity, _)| entity).collect(), next_cursor: page.next_cursor }
}

/// The keys of the record behind which the page begins.
pub(super) fn place(cx: &Cx, page: &PageRequest) -> Result<Option<Vec<Value>>> {
    cx.cursor(page)?.map(|text| serde_json::from_str(&text).map_err(Error::internal)).transpose()
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

pub(super) fn sql_of(value: &Value) -> Sql {
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
