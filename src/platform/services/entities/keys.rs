//! The values of declared fields in order, and which records a page is made of by them.
//!
//! Keys tell where to look: whoever reads the records tests and sorts them again. What they cannot tell is found among all.

use std::collections::BTreeSet;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension as _, params, params_from_iter};
use serde_json::{Map, Value};

use super::filter::Conditions;
use super::order::{Order, Sorted};
use super::ranges::{Range, Test, Within};
use crate::error::Result;
use crate::platform::database::{Tx, first_of};
use crate::platform::declared_fields;

/// How many records are sorted for a page rather than read in order.
const FEW: usize = 500;

/// A page of a list.
pub(super) struct List<'a> {
    pub(super) tenant: &'a str,
    pub(super) kind: &'a str,
    pub(super) order: &'a Order,
    pub(super) conditions: &'a Conditions,
    /// What the record before the page is sorted by.
    pub(super) after: Option<&'a [Sql]>,
    /// How many records are read.
    pub(super) most: i64,
}

/// A field whose keys are complete.
struct Field {
    id: i64,
    /// Whether there are values that are too long to be keys.
    has_long: bool,
}

impl List<'_> {
    /// The numbers of records among which all of the page are, where keys tell them.
    pub(super) fn candidates(&self, connection: &Connection) -> Result<Option<Vec<i64>>> {
        let mut tests = Vec::new();
        for test in &self.conditions.tests {
            if let Some(field) = self.field(connection, &test.path)?
                && (test.is_for_single_values() || !field.has_long)
            {
                tests.push((test, field));
            }
        }
        // Several tests together may be met by few, which would be far apart in any order.
        let is_alone = self.conditions.count <= 1;
        if is_alone && let Some(found) = self.in_order(connection, &tests)? {
            return Ok(Some(found));
        }
        match few(connection, &tests)? {
            None if !is_alone => self.in_order(connection, &tests),
            few => Ok(few),
        }
    }

    fn field(&self, connection: &Connection, path: &str) -> Result<Option<Field>> {
        let sql = "SELECT id, EXISTS (SELECT 1 FROM entity_keys WHERE field = id AND class = 3) FROM entity_fields
                   WHERE tenant_id = ? AND type = ? AND path = ? AND state = 'ready'";
        let read = |row: &rusqlite::Row<'_>| Ok(Field { id: row.get(0)?, has_long: row.get(1)? });
        Ok(connection.prepare_cached(sql)?.query_row(params![self.tenant, self.kind, path], read).optional()?)
    }

    /// The page as keys have it in its order: by age among those of single values, or by the values themselves.
    fn in_order(&self, connection: &Connection, tests: &[(&Test, Field)]) -> Result<Option<Vec<i64>>> {
        match self.order.single() {
            Some((Sorted::ByAge, descending)) => match tests.iter().find(|(test, _)| test.is_for_single_values()) {
                Some((test, field)) if self.is_ordered(connection)? => self.by_age(connection, test, field, descending).map(Some),
                _ => Ok(None),
            },
            Some((Sorted::By(path), descending)) => {
                let Some(field) = self.field(connection, path)?.filter(|field| !field.has_long) else { return Ok(None) };
                let range = tests.iter().find_map(|(test, _)| match test.ranges.as_slice() {
                    [range] if test.path == path => Some(range),
                    _ => None,
                });
                self.by_value(connection, &field, range, descending).map(Some)
            }
            None => Ok(None),
        }
    }

    /// Whether the records of the type are as old as their numbers say.
    fn is_ordered(&self, connection: &Connection) -> Result<bool> {
        let sql = "SELECT is_ordered FROM entity_types WHERE tenant_id = ? AND name = ?";
        Ok(connection.prepare_cached(sql)?.query_row([self.tenant, self.kind], |row| row.get(0))?)
    }

    fn by_age(&self, connection: &Connection, test: &Test, field: &Field, descending: bool) -> Result<Vec<i64>> {
        let (sign, direction) = if descending { ("<", "DESC") } else { (">", "ASC") };
        let behind = self.after.and_then(|keys| keys.get(1));
        let sql = format!(
            "SELECT number FROM {} WHERE field = ? AND class = ? AND value = ?{}{} ORDER BY number {direction} LIMIT ?",
            self.source(),
            behind.map_or_else(String::new, |_| format!(" AND number {sign} ?")),
            self.conditions.sql,
        );
        let ranges = test.ranges.iter().filter_map(|(class, within)| match within {
            Within::Is(value) => {
                let range = [field.id.into(), (*class).into(), value.clone()].into_iter().chain(behind.cloned());
                Some(range.chain(self.conditions.values.iter().cloned()).chain([self.most.into()]).collect())
            }
            Within::Between(..) => None,
        });
        let mut found = BTreeSet::new();
        first_of(connection, &sql, ranges, &mut found)?;
        let most = usize::try_from(self.most).unwrap_or(usize::MAX);
        Ok(if descending { found.into_iter().rev().take(most).collect() } else { found.into_iter().take(most).collect() })
    }

    fn by_value(&self, connection: &Connection, field: &Field, range: Option<&Range>, descending: bool) -> Result<Vec<i64>> {
        let (sign, direction) = if descending { ("<", "DESC") } else { (">", "ASC") };
        let (mut sql, mut values) = (format!("SELECT number FROM {} WHERE field = ?", self.source()), vec![Sql::Integer(field.id)]);
        match (range, self.after) {
            (Some(range), after) => {
                add_range(range, after.is_some().then_some(descending), &mut sql, &mut values);
                if let Some([_, behind @ ..]) = after {
                    sql.extend([" AND (value, number) ", sign, " (?, ?)"]);
                    values.extend(behind.iter().cloned());
                }
            }
            (None, Some(behind)) => {
                sql.extend([" AND (class, value, number) ", sign, " (?, ?, ?)"]);
                values.extend(behind.iter().cloned());
            }
            (None, None) => {}
        }
        values.extend(self.conditions.values.iter().cloned().chain([self.most.into()]));
        let sql = format!("{sql}{} ORDER BY class {direction}, value {direction}, number {direction} LIMIT ?", self.conditions.sql);
        numbers(connection, &sql, values)
    }

    /// The keys, with their records if these are tested.
    fn source(&self) -> &'static str {
        if self.conditions.count == 0 { "entity_keys" } else { "entity_keys CROSS JOIN entities USING (number)" }
    }
}

/// The condition of a range. Behind a record of it, the bound that this takes the place of is left out, since SQLite uses one
/// alone: the lower one, or in descending order the upper one.
fn add_range((class, within): &Range, behind: Option<bool>, sql: &mut String, values: &mut Vec<Sql>) {
    sql.push_str(" AND class = ?");
    values.push((*class).into());
    let bounds = match within {
        Within::Is(value) => [Some(("=", value.clone())), None],
        Within::Between(from, to) => [from.clone().filter(|_| behind != Some(false)), to.clone().filter(|_| behind != Some(true))],
    };
    for (sign, bound) in bounds.into_iter().flatten() {
        sql.extend([" AND value ", sign, " ?"]);
        values.push(bound);
    }
}

/// What meets the test that fewest meet, if these are few.
fn few(connection: &Connection, tests: &[(&Test, Field)]) -> Result<Option<Vec<i64>>> {
    let mut fewest: Option<Vec<i64>> = None;
    for (test, field) in tests {
        let mut found = Vec::new();
        for range in &test.ranges {
            let (mut sql, mut values) = ("SELECT number FROM entity_keys WHERE field = ?".to_owned(), vec![Sql::Integer(field.id)]);
            add_range(range, None, &mut sql, &mut values);
            values.push(i64::try_from(FEW + 1).unwrap_or(i64::MAX).into());
            found.extend(numbers(connection, &format!("{sql} LIMIT ?"), values)?);
            if found.len() > FEW {
                break;
            }
        }
        if found.len() <= FEW && fewest.as_ref().is_none_or(|fewest| found.len() < fewest.len()) {
            fewest = Some(found);
        }
    }
    Ok(fewest)
}

fn numbers(connection: &Connection, sql: &str, values: Vec<Sql>) -> Result<Vec<i64>> {
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_map(params_from_iter(values), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// Keeps the fields that a type's schema declares now, and no others. What that takes of the records that there are is done
/// afterwards, some at a time.
pub(super) fn declare(tx: &Tx<'_>, kind: &str, schema: Option<&Map<String, Value>>) -> Result<()> {
    let paths = Value::from(schema.map(declared_fields::kept).unwrap_or_default()).to_string();
    tx.execute(
        "UPDATE entity_fields SET state = 'going'
         WHERE tenant_id = ?1 AND type = ?2 AND state <> 'going' AND path NOT IN (SELECT value FROM json_each(?3))",
        params![tx.tenant(), kind, paths],
    )?;
    tx.execute(
        "INSERT INTO entity_fields (tenant_id, type, path, state)
         SELECT ?1, ?2, field.value, iif(EXISTS (SELECT 1 FROM entities WHERE tenant_id = ?1 AND type = ?2), 'filling', 'ready')
         FROM json_each(?3) AS field
         WHERE NOT EXISTS (SELECT 1 FROM entity_fields AS known WHERE known.tenant_id = ?1 AND known.type = ?2
             AND known.path = field.value AND known.state <> 'going')",
        params![tx.tenant(), kind, paths],
    )?;
    Ok(())
}
