//! The quality of data: completeness, validity and uniqueness, with the faults that lower them.

use std::collections::HashSet;

use super::profile::{Column, Columns, Field, Profile, share};
use crate::api::data::{Quality, QualityFault};

/// Most faults of an answer.
const MAX_FAULTS: usize = 50;
/// Most records that a fault names.
const NAMED: usize = 5;

/// The quality of a set of records.
pub(super) struct Score {
    /// Mean of the parts, 0 to 1.
    pub(super) total: f64,
    /// The parts and the faults.
    pub(super) parts: Quality,
}

/// Scores records against the profile that is expected of them: their own, or the one that their source had before.
pub(super) fn score(columns: &Columns, expected: &Profile) -> Score {
    let mut faults = Vec::new();
    let (mut present, mut cells, mut valid) = (0, 0, 0);
    for field in &expected.fields {
        let column = columns.columns.iter().find(|column| column.path == field.path);
        cells += columns.records;
        match column {
            Some(column) => {
                present += column.cells.len();
                valid += judge(column, field, columns.records, &mut faults);
            }
            None => faults.push(fault(field.name(), "missing-field", columns.records, "was there before, and no record has it")),
        }
    }
    for column in columns.columns.iter().filter(|column| !expected.fields.iter().any(|field| field.path == column.path)) {
        faults.push(fault(column.name(), "new-field", column.cells.len(), "was not there before"));
    }
    let completeness = share(present, cells);
    // Data without any value has nothing that could be wrong.
    let validity = if present == 0 { 1.0 } else { share(valid, present) };
    let uniqueness = uniqueness(columns, &mut faults);
    faults.truncate(MAX_FAULTS);
    let total = ((completeness + validity + uniqueness) / 3.0 * 1e4).round() / 1e4;
    let parts = Quality { completeness: Some(completeness), validity: Some(validity), uniqueness: Some(uniqueness), faults };
    Score { total, parts }
}

/// Notes the faults of a field and returns how many values are valid.
fn judge(column: &Column, field: &Field, records: usize, faults: &mut Vec<QualityFault>) -> usize {
    let missing = records.saturating_sub(column.cells.len());
    if missing > 0 {
        let with: HashSet<usize> = column.cells.iter().map(|cell| cell.record).collect();
        let without = (0..records).filter(|record| !with.contains(record));
        faults.push(fault(field.name(), "missing", missing, &format!("has no value in {}", named(without))));
    }
    let wrong: Vec<usize> = column.cells.iter().filter(|cell| !field.fits(&cell.seen)).map(|cell| cell.record).collect();
    if !wrong.is_empty() {
        let kind = field.kind.map_or("value", super::values::ValueType::name);
        let (code, wanted) = match field.format {
            Some(format) => ("format", format!("{kind} of the format {}", format.name())),
            None => ("type", kind.to_owned()),
        };
        let detail = format!("is not a {wanted} in {}", named(wrong.iter().copied()));
        faults.push(fault(field.name(), code, wrong.len(), &detail));
    }
    column.cells.len() - wrong.len()
}

/// The share of records that repeat neither an earlier record nor an earlier record's id.
fn uniqueness(columns: &Columns, faults: &mut Vec<QualityFault>) -> f64 {
    let mut unique = share(columns.distinct, columns.records);
    if !columns.repeated.is_empty() {
        let detail = format!("repeats an earlier record: {}", named(columns.repeated.iter().copied()));
        faults.push(QualityFault { field: None, ..fault(String::new(), "duplicate-record", columns.repeated.len(), &detail) });
    }
    for column in columns.columns.iter().filter(|column| is_key(column)) {
        let mut known = HashSet::new();
        let repeated: Vec<usize> = column.cells.iter().filter(|cell| !known.insert(cell.hash)).map(|cell| cell.record).collect();
        if !repeated.is_empty() {
            unique = unique.min(share(column.cells.len() - repeated.len(), column.cells.len()));
            let detail = format!("repeats an id in {}", named(repeated.iter().copied()));
            faults.push(fault(column.name(), "duplicate-id", repeated.len(), &detail));
        }
    }
    unique
}

/// Whether a field is the id of its records, by its name.
fn is_key(column: &Column) -> bool {
    matches!(column.path.as_slice(), [name] if ["id", "_id", "uuid", "guid", "key"].iter().any(|key| name.eq_ignore_ascii_case(key)))
}

fn fault(field: String, code: &str, count: usize, detail: &str) -> QualityFault {
    QualityFault { field: Some(field), code: code.to_owned(), count: u32::try_from(count).unwrap_or(u32::MAX), detail: detail.to_owned() }
}

/// Records by their places, counted from 1. Faults name places and never values, which may be personal.
fn named(records: impl Iterator<Item = usize>) -> String {
    let mut places: Vec<String> = records.take(NAMED + 1).map(|place| (place + 1).to_string()).collect();
    let more = places.len() > NAMED;
    places.truncate(NAMED);
    let word = if places.len() == 1 { "record" } else { "records" };
    format!("{word} {}{}", places.join(", "), if more { " and others" } else { "" })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn columns(values: Value) -> Columns {
        Columns::read(&serde_json::from_value::<Vec<_>>(values).unwrap(), false).unwrap()
    }

    fn codes(score: &Score) -> Vec<(Option<&str>, &str, u32)> {
        score.parts.faults.iter().map(|fault| (fault.field.as_deref(), fault.code.as_str(), fault.count)).collect()
    }

    #[test]
    fn faultless_data_scores_one() {
        let columns = columns(json!([{ "id": 1, "mail": "a@b.example" }, { "id": 2, "mail": "c@b.example" }]));
        let score = score(&columns, &columns.profile());
        assert_eq!((score.total, codes(&score)), (1.0, vec![]));
    }

    #[test]
    fn each_part_falls_by_its_own_faults() {
        let rows: Vec<Value> = (0..8)
            .map(|id| json!({ "id": id, "n": id * 2 }))
            .chain([json!({ "id": 0, "n": "two" }), json!({ "id": 9, "n": null })])
            .chain([json!({ "n": 2, "id": 1 })])
            .collect();
        let columns = columns(json!(rows));
        let score = score(&columns, &columns.profile());
        assert_eq!(
            codes(&score),
            [(Some("n"), "missing", 1), (Some("n"), "type", 1), (None, "duplicate-record", 1), (Some("id"), "duplicate-id", 2)]
        );
        let parts = score.parts;
        assert_eq!((parts.completeness, parts.validity, parts.uniqueness), (Some(0.9545), Some(0.9524), Some(0.8182)));
        assert!(parts.faults[1].detail.contains("record 9"), "{:?}", parts.faults[1]);
        assert!(!parts.faults.iter().any(|fault| fault.detail.contains("two")), "no value is told");
    }

    #[test]
    fn data_is_judged_by_what_its_source_was_before() {
        let before = columns(json!([{ "a": 1, "b": "x" }, { "a": 2, "b": "y" }])).profile();
        let score = score(&columns(json!([{ "a": "one", "c": 1 }, { "a": "two", "c": 2 }])), &before);
        assert_eq!(codes(&score), [(Some("a"), "type", 2), (Some("b"), "missing-field", 2), (Some("c"), "new-field", 2)]);
        assert_eq!(score.parts.validity, Some(0.0));
    }
}
