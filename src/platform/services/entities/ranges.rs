//! Tests of a filter as ranges of keys.

use rusqlite::types::Value as Sql;
use serde_json::Value;

/// The longest text that is a key, in bytes, as the triggers of the database have it.
const MAX_TEXT: usize = 200;

/// What the values of a class are compared with: a value, or bounds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Within {
    Is(Sql),
    Between(Option<(&'static str, Sql)>, Option<(&'static str, Sql)>),
}

/// A part of a field's keys: those of a class within bounds.
pub(super) type Range = (i64, Within);

/// A test of a filter that only records can meet whose keys lie in some ranges.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Test {
    pub(super) path: String,
    pub(super) ranges: Vec<Range>,
}

impl Test {
    /// The test of the value at a path, if keys lead to what meets it.
    pub(super) fn of(path: &str, operator: &str, value: &Value) -> Option<Self> {
        let text = text_of(value);
        let ranges = match operator {
            "eq" => equal(text)?,
            "in" => value.as_array()?.iter().map(|value| equal(text_of(value))).collect::<Option<Vec<_>>>()?.concat(),
            "gt" => beyond(value, |bound| Within::Between(Some((">", bound)), None)),
            "gte" => beyond(value, |bound| Within::Between(Some((">=", bound)), None)),
            "lt" => beyond(value, |bound| Within::Between(None, Some(("<", bound)))),
            "lte" => beyond(value, |bound| Within::Between(None, Some(("<=", bound)))),
            "startsWith" => {
                let end = behind_all_with(&text).map(|end| ("<", Sql::Text(end)));
                vec![(2, Within::Between(Some((">=", Sql::Text(text))), end))]
            }
            _ => return None,
        };
        Some(Self { path: path.to_owned(), ranges })
    }

    /// Whether what meets it is one of some values.
    pub(super) fn is_for_single_values(&self) -> bool {
        self.ranges.iter().all(|(_, within)| matches!(within, Within::Is(_)))
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The keys of what equals a query's value, which may be a text and more.
fn equal(text: String) -> Option<Vec<Range>> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let other = match serde_json::from_str(&text) {
        Ok(Value::Number(number)) => Some((1, Within::Is(number_of(&number)))),
        Ok(Value::Bool(flag)) => Some((1, Within::Is(flag.into()))),
        Ok(Value::Null) => Some((0, Within::Is(0.into()))),
        _ => None,
    };
    Some(other.into_iter().chain([(2, Within::Is(Sql::Text(text)))]).collect())
}

/// The keys beyond a bound: numbers beyond a number, texts beyond a text.
fn beyond(value: &Value, within: impl Fn(Sql) -> Within) -> Vec<Range> {
    let number = serde_json::from_str(&text_of(value)).ok().map(|number| (1, within(number_of(&number))));
    let text = value.as_str().map(|text| (2, within(Sql::Text(text.to_owned()))));
    number.into_iter().chain(text).collect()
}

/// The first text behind all that begin with one; none if that is the last of all.
fn behind_all_with(beginning: &str) -> Option<String> {
    let mut letters: Vec<char> = beginning.chars().collect();
    while let Some(last) = letters.pop() {
        if let Some(next) = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32) {
            letters.push(next);
            return Some(letters.into_iter().collect());
        }
    }
    None
}

/// A number as SQLite compares it.
pub(super) fn number_of(number: &serde_json::Number) -> Sql {
    number.as_i64().map_or_else(|| Sql::Real(number.as_f64().unwrap_or(f64::NAN)), Sql::Integer)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tests_ranges_are_of_the_kinds_that_its_value_may_be() {
        let classes = |operator: &str, value: Value| {
            Test::of("$.a", operator, &value).map(|test| test.ranges.iter().map(|(class, _)| *class).collect::<Vec<_>>())
        };
        assert_eq!(classes("eq", json!("5")), Some(vec![1, 2]));
        assert_eq!(classes("eq", json!("null")), Some(vec![0, 2]));
        assert_eq!(classes("in", json!([true, "x"])), Some(vec![1, 2, 2]));
        assert_eq!(classes("gt", json!(5)), Some(vec![1]));
        assert_eq!(classes("lte", json!("5")), Some(vec![1, 2]));
        assert_eq!(classes("eq", json!("x".repeat(201))), None);
        assert_eq!(classes("ne", json!("x")), None);
        assert_eq!(classes("contains", json!("x")), None);
    }

    #[test]
    fn what_begins_with_a_text_lies_before_the_next_one() {
        for (beginning, end) in
            [("ab", Some("ac")), ("a\u{10ffff}", Some("b")), ("\u{d7ff}", Some("\u{e000}")), ("\u{10ffff}", None), ("", None)]
        {
            assert_eq!(behind_all_with(beginning).as_deref(), end, "{beginning:?}");
        }
    }
}
