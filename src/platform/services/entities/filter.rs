//! Filters of a query as SQL over the JSON of a record. What the caller wrote is bound, never spliced in.

use rusqlite::types::Value as Sql;
use serde_json::{Map, Value};

use super::ranges::{Test, number_of};
use super::schema;
use crate::api::FieldError;
use crate::api::arguments::quote;
use crate::api::near::nearest;
use crate::error::{Error, Kind, Result};
use crate::platform::declared_fields::paths_of;

const MAX_FILTERS: usize = 20;
/// Values of one list at most.
const MAX_VALUES: usize = 100;

/// Conditions and the values bound to them, in order.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    pub(super) sql: String,
    pub(super) values: Vec<Sql>,
    /// The tests of a filter whose values keys lead to.
    pub(super) tests: Vec<Test>,
    /// How many tests a filter has.
    pub(super) count: usize,
}

/// The operators of a filter.
const OPERATORS: [&str; 10] = ["eq", "ne", "gt", "gte", "lt", "lte", "in", "contains", "startsWith", "exists"];

/// Adds what a filter asks for: each named field of the record's data equals a value, is one of a list, or meets all of
/// its operators, such as `{"gt": 5, "lt": 10}`.
///
/// A query's values come as text, so `5` is the number and the text, `true` the boolean and the text, and `null` a field
/// that is null or missing. `address.city` is the field `city` of `address`, or the field of just that name.
pub(super) fn filter(conditions: &mut Conditions, filter: &Map<String, Value>) -> Result<()> {
    if filter.len() > MAX_FILTERS {
        return Err(invalid("/filter", "length", format!("names {} fields; at most {MAX_FILTERS} are allowed", filter.len())));
    }
    for (field, wanted) in filter {
        let pointer = format!("/filter/{}", short(field));
        if field.starts_with('$') {
            return Err(invalid(
                &pointer,
                "operator",
                "is not a field; fields are combined by `and` alone, and operators stand within one",
            ));
        }
        let paths = paths_of(field).map_err(|detail| invalid(&pointer, "field", detail))?;
        match tests_of(wanted) {
            Value::Object(operators) if operators.is_empty() => {
                return Err(invalid(&pointer, "operator", format!("has no operator; there are {}", OPERATORS.join(", "))));
            }
            Value::Object(operators) => {
                for (operator, value) in operators {
                    add(conditions, &paths, operator.strip_prefix('$').unwrap_or(&operator), &value)
                        .map_err(|detail| invalid(&format!("{pointer}/{}", short(&operator)), "operator", detail))?;
                }
            }
            Value::Array(values) => {
                add(conditions, &paths, "in", &Value::Array(values)).map_err(|detail| invalid(&pointer, "operator", detail))?;
            }
            _ => add(conditions, &paths, "eq", wanted).map_err(|detail| invalid(&pointer, "operator", detail))?,
        }
    }
    Ok(())
}

/// A list or operators, which come as JSON text in a query; anything else is a value.
fn tests_of(wanted: &Value) -> Value {
    let parsed = wanted.as_str().filter(|text| text.starts_with(['{', '['])).and_then(|text| serde_json::from_str(text).ok());
    parsed.unwrap_or_else(|| wanted.clone())
}

/// Adds one test of a field, which may lie at several paths.
fn add(conditions: &mut Conditions, paths: &[String], operator: &str, value: &Value) -> std::result::Result<(), String> {
    let flag = || value.as_bool().or_else(|| value.as_str()?.parse().ok()).ok_or("must be true or false");
    let wanted = match operator {
        "ne" => false,
        "exists" => flag()?,
        _ => true,
    };
    let mut either = Vec::new();
    for path in paths {
        let (sql, values) = test(path, operator, value)?;
        conditions.values.extend(values);
        either.push(sql);
    }
    // A missing field makes a comparison unknown, which is not met, so its contrary is.
    let either = either.join(") OR (");
    conditions.sql.extend([" AND ifnull((", &either, "), 0) = ", if wanted { "1" } else { "0" }]);
    conditions.count += 1;
    if let [path] = paths {
        conditions.tests.extend(Test::of(path, operator, value));
    }
    Ok(())
}

/// A test of the value at a path, as SQL and what is bound in it. `ne` and `exists` are negated by their caller.
fn test(path: &str, operator: &str, value: &Value) -> std::result::Result<(String, Vec<Sql>), String> {
    let at = || Sql::Text(path.to_owned());
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match operator {
        "eq" | "ne" => Ok(equals(path, &text)),
        "in" => {
            let values = value.as_array().filter(|values| (1..=MAX_VALUES).contains(&values.len()));
            let values = values.ok_or_else(|| format!("must be a list of 1 to {MAX_VALUES} values"))?;
            let mut bound = Vec::new();
            let mut either = Vec::new();
            for value in values {
                let (sql, values) = equals(path, &value.as_str().map_or_else(|| value.to_string(), str::to_owned));
                bound.extend(values);
                either.push(sql);
            }
            Ok((either.join(" OR "), bound))
        }
        "gt" | "gte" | "lt" | "lte" => {
            let sign = match operator {
                "gt" => ">",
                "gte" => ">=",
                "lt" => "<",
                _ => "<=",
            };
            if !value.is_number() && !value.is_string() {
                return Err("must be a number or a text".to_owned());
            }
            let mut sql = Vec::new();
            let mut bound = Vec::new();
            if let Ok(Value::Number(number)) = serde_json::from_str(&text) {
                sql.push(format!("(json_type(data, ?) IN ('integer', 'real') AND json_extract(data, ?) {sign} ?)"));
                bound.extend([at(), at(), number_of(&number)]);
            }
            if value.is_string() {
                sql.push(format!("(json_type(data, ?) = 'text' AND json_extract(data, ?) {sign} ?)"));
                bound.extend([at(), at(), Sql::Text(text)]);
            }
            Ok((sql.join(" OR "), bound))
        }
        "contains" => {
            let sql = "(json_type(data, ?) = 'text' AND instr(json_extract(data, ?), ?) > 0)
                 OR (json_type(data, ?) = 'array' AND EXISTS (SELECT 1 FROM json_each(data, ?) AS item WHERE item.value = ? OR item.value = ?))";
            let number = serde_json::from_str::<serde_json::Number>(&text).map_or(Sql::Null, |number| number_of(&number));
            Ok((sql.to_owned(), vec![at(), at(), Sql::Text(text.clone()), at(), at(), Sql::Text(text), number]))
        }
        "startsWith" => {
            let sql = "json_type(data, ?) = 'text' AND substr(json_extract(data, ?), 1, length(?)) = ?";
            Ok((sql.to_owned(), vec![at(), at(), Sql::Text(text.clone()), Sql::Text(text)]))
        }
        "exists" => Ok(("json_type(data, ?) IS NOT NULL".to_owned(), vec![at()])),
        _ => Err(format!("is not an operator; there are {}", OPERATORS.join(", "))),
    }
}

fn equals(path: &str, text: &str) -> (String, Vec<Sql>) {
    let path = || Sql::Text(path.to_owned());
    let mut sql = "(json_type(data, ?) = 'text' AND json_extract(data, ?) = ?)".to_owned();
    let mut values = vec![path(), path(), Sql::Text(text.to_owned())];
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Number(number)) => {
            sql.push_str(" OR (json_type(data, ?) IN ('integer', 'real') AND json_extract(data, ?) = ?)");
            values.extend([path(), path(), number_of(&number)]);
        }
        Ok(Value::Bool(flag)) => {
            sql.push_str(" OR json_type(data, ?) = ?");
            values.extend([path(), Sql::Text(flag.to_string())]);
        }
        Ok(Value::Null) => {
            sql.push_str(" OR ifnull(json_type(data, ?), 'null') = 'null'");
            values.push(path());
        }
        _ => {}
    }
    (sql, values)
}

/// Refuses fields that records of a type with a closed schema cannot have.
pub(super) fn check_fields<'f>(schema: Option<&Value>, argument: &str, fields: impl Iterator<Item = &'f str>) -> Result<()> {
    let Some(known) = schema.and_then(schema::closed_fields) else { return Ok(()) };
    for field in fields {
        let first = field.split('.').next().unwrap_or(field);
        if known.contains(&field) || known.contains(&first) {
            continue;
        }
        let pointer = if argument == "sort" { "/sort".to_owned() } else { format!("/{argument}/{}", short(field)) };
        let near = nearest(first, &known).map_or_else(|| ".".to_owned(), |near| format!("; did you mean `{near}`?"));
        let detail = format!("names {}, which the schema does not have{near} Its fields are {}", quote(field), known.join(", "));
        return Err(invalid(&pointer, "field", detail));
    }
    Ok(())
}

fn short(field: &str) -> String {
    field.chars().filter(|c| !c.is_control()).take(80).collect::<String>().replace('~', "~0").replace('/', "~1")
}

pub(super) fn invalid(pointer: &str, code: &str, detail: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, "FM-IDHS-QUERY", "the query cannot be answered").with_fields(vec![FieldError::new(pointer, code, detail)])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(data: &Value, name: &str, wanted: &str) -> bool {
        let mut conditions = Conditions::default();
        filter(&mut conditions, &Map::from_iter([(name.to_owned(), json!(wanted))])).unwrap();
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let sql = format!("SELECT count(*) FROM (SELECT ? AS data) WHERE 1{}", conditions.sql);
        let values = std::iter::once(Sql::Text(data.to_string())).chain(conditions.values);
        connection.query_row(&sql, rusqlite::params_from_iter(values), |row| row.get::<_, i64>(0)).unwrap() == 1
    }

    #[test]
    fn values_are_compared_by_their_own_kind() {
        let data =
            json!({ "n": 5, "r": 2.5, "t": "5", "b": true, "s": "true", "z": null, "zip": "007", "seven": 7, "o": { "a.b": 1, "c": "x" } });
        for (name, wanted) in [
            ("n", "5"),
            ("n", "5.0"),
            ("r", "2.5"),
            ("t", "5"),
            ("b", "true"),
            ("s", "true"),
            ("z", "null"),
            ("gone", "null"),
            ("zip", "007"),
            ("o.c", "x"),
        ] {
            assert!(matches(&data, name, wanted), "{name}={wanted}");
        }
        for (name, wanted) in [
            ("n", "5x"),
            ("n", "true"),
            ("b", "1"),
            ("b", "false"),
            ("seven", "007"),
            ("t", "5.0"),
            ("gone", ""),
            ("z", ""),
            ("o", "x"),
            ("n", "' OR 1=1 --"),
        ] {
            assert!(!matches(&data, name, wanted), "{name}={wanted}");
        }
    }

    #[test]
    fn an_operator_tests_a_field_of_its_kind() {
        let data = json!({ "n": 5, "t": "abc", "l": ["x", 7], "z": null, "o": { "c": "d" } });
        for (name, wanted) in [
            ("n", r#"{"gt":4,"lt":6}"#),
            ("n", r#"{"$gte":"5"}"#),
            ("n", r#"{"in":[4,5]}"#),
            ("t", r#"["abc","d"]"#),
            ("t", r#"{"contains":"b","startsWith":"ab","lt":"b"}"#),
            ("l", r#"{"contains":"x"}"#),
            ("l", r#"{"contains":7}"#),
            ("z", r#"{"exists":true}"#),
            ("gone", r#"{"exists":"false"}"#),
            ("gone", r#"{"ne":5}"#),
            ("o.c", r#"{"ne":"e","eq":"d"}"#),
        ] {
            assert!(matches(&data, name, wanted), "{name} {wanted}");
        }
        for (name, wanted) in [
            ("n", r#"{"gt":4,"lt":5}"#),
            ("n", r#"{"gt":"a"}"#),
            ("t", r#"{"gt":4}"#),
            ("t", r#"["ab"]"#),
            ("o.c", r#"{"ne":"d"}"#),
            ("gone", r#"{"exists":true}"#),
        ] {
            assert!(!matches(&data, name, wanted), "{name} {wanted}");
        }
        for (name, wanted) in
            [("$or", "[]"), ("n", "{}"), ("n", r#"{"near":4}"#), ("n", r#"{"in":4}"#), ("n", r#"{"gt":[]}"#), ("n", r#"{"exists":4}"#)]
        {
            let wanted = Map::from_iter([(name.to_owned(), json!(wanted))]);
            assert!(filter(&mut Conditions::default(), &wanted).is_err(), "{wanted:?}");
        }
    }

    #[test]
    fn a_fields_name_is_never_a_path_of_its_own_making() {
        assert!(matches(&json!({ "a.b": 1 }), "a.b", "1"));
        assert!(matches(&json!({ "a": { "b": 1 } }), "a.b", "1"));
        assert!(matches(&json!({ "x[0]": 1 }), "x[0]", "1"));
        assert!(matches(&json!({ "ключ $": 1 }), "ключ $", "1"));
        assert!(!matches(&json!({ "x": [1] }), "x[0]", "1"));
        for name in ["", "a\"b", "a\\b", "a\u{0}b"] {
            assert!(paths_of(name).is_err(), "{name:?}");
        }
    }
}
