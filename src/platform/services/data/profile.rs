//! The profile of a set of records: its fields with types, formats, rates and ranges. It holds no value of the records.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::values::{Format, Observed, ValueType, length, observe};
use crate::api::data::{Fields, SchemaField};
use crate::error::{Error, Kind, Result};

/// Most fields of a source.
pub(super) const MAX_FIELDS: usize = 500;
/// Most levels of objects whose fields count by themselves.
const MAX_DEPTH: usize = 5;
/// Share of the values that must be of a type or format for the field to have it.
const PREVAILS: f64 = 0.8;

/// A field of the source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Field {
    /// The names from the record to the field.
    pub(super) path: Vec<String>,
    /// Type; absent where no record has a value.
    pub(super) kind: Option<ValueType>,
    /// Format of its text.
    pub(super) format: Option<Format>,
    /// Number of records with a value.
    pub(super) values: usize,
    /// Number of values that are of the type and format.
    pub(super) fits: usize,
    /// Range of number, time or length, widened so that it tells no value.
    pub(super) low: f64,
    pub(super) high: f64,
    /// Most digits after the decimal point.
    pub(super) decimals: usize,
}

/// The fields of a set of records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Profile {
    /// Number of records.
    pub(super) records: usize,
    /// Fields in the order of the source.
    pub(super) fields: Vec<Field>,
}

/// One value of a field.
pub(super) struct Cell {
    /// Place of its record.
    pub(super) record: usize,
    /// What it is.
    pub(super) seen: Observed,
    /// Hash of the value.
    pub(super) hash: u64,
}

/// The values of a field.
pub(super) struct Column {
    /// The names from the record to the field.
    pub(super) path: Vec<String>,
    /// Its values in the order of the records.
    pub(super) cells: Vec<Cell>,
}

/// Records, field by field.
#[expect(clippy::struct_field_names, reason = "the contract's words")]
pub(super) struct Columns {
    /// Number of records.
    pub(super) records: usize,
    /// Number of records that are not a repetition of an earlier one.
    pub(super) distinct: usize,
    /// Places of records that repeat an earlier one.
    pub(super) repeated: Vec<usize>,
    /// Fields in the order of the source.
    pub(super) columns: Vec<Column>,
}

impl Columns {
    /// Reads records. `text_alone` says that the source knows only text.
    pub(super) fn read(records: &[Map<String, Value>], text_alone: bool) -> Result<Self> {
        let mut reader = Reader { text_alone, columns: Vec::new(), places: HashMap::new() };
        let (mut known, mut repeated) = (HashSet::new(), Vec::new());
        for (place, record) in records.iter().enumerate() {
            reader.object(place, record, &mut Vec::new())?;
            let mut sorted = Value::Object(record.clone());
            sorted.sort_all_objects();
            if !known.insert(hash_of(&sorted)) {
                repeated.push(place);
            }
        }
        if reader.columns.is_empty() {
            return Err(Error::new(Kind::Invalid, "FM-DIS-NO-FIELDS", "the records have no fields")
                .hint("Send records with the names and values of their fields.")
                .field("/sampleData", "empty", "holds objects without fields"));
        }
        Ok(Self { records: records.len(), distinct: known.len(), repeated, columns: reader.columns })
    }

    /// Infers the profile.
    pub(super) fn profile(&self) -> Profile {
        Profile { records: self.records, fields: self.columns.iter().map(Column::infer).collect() }
    }
}

struct Reader {
    text_alone: bool,
    columns: Vec<Column>,
    places: HashMap<Vec<String>, usize>,
}

impl Reader {
    fn object(&mut self, record: usize, fields: &Map<String, Value>, path: &mut Vec<String>) -> Result<()> {
        for (name, value) in fields {
            path.push(name.clone());
            match value {
                Value::Object(inner) if !inner.is_empty() && path.len() < MAX_DEPTH => self.object(record, inner, path)?,
                value => self.value(record, value, path)?,
            }
            path.pop();
        }
        Ok(())
    }

    fn value(&mut self, record: usize, value: &Value, path: &[String]) -> Result<()> {
        let place = match self.places.get(path) {
            Some(place) => *place,
            None if self.columns.len() >= MAX_FIELDS => {
                return Err(Error::new(Kind::Invalid, "FM-DIS-TOO-MANY-FIELDS", format!("the records have more than {MAX_FIELDS} fields"))
                    .hint("Send fewer columns at once.")
                    .field("/sampleData", "size", format!("has more than {MAX_FIELDS} different fields")));
            }
            None => {
                self.columns.push(Column { path: path.to_vec(), cells: Vec::new() });
                self.places.insert(path.to_vec(), self.columns.len() - 1);
                self.columns.len() - 1
            }
        };
        if let (Some(column), Some(seen)) = (self.columns.get_mut(place), observe(value, self.text_alone)) {
            column.cells.push(Cell { record, seen, hash: hash_of(value) });
        }
        Ok(())
    }
}

fn hash_of(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}

impl Column {
    /// The name of the field: its path with dots.
    pub(super) fn name(&self) -> String {
        self.path.join(".")
    }

    fn infer(&self) -> Field {
        let values = self.cells.len();
        let kind = self.prevailing_type();
        let count = |format| self.cells.iter().filter(|cell| cell.seen.format == Some(format)).count();
        let format = (kind == Some(ValueType::String)).then(|| Format::ALL.into_iter().find(|format| prevails(count(*format), values)));
        let mut field = Field {
            path: self.path.clone(),
            kind,
            format: format.flatten(),
            values,
            fits: 0,
            low: 0.0,
            high: 0.0,
            decimals: self.cells.iter().map(|cell| cell.seen.decimals).max().unwrap_or_default(),
        };
        let fitting: Vec<f64> = self.cells.iter().filter(|cell| field.fits(&cell.seen)).map(|cell| cell.seen.measure).collect();
        field.fits = fitting.len();
        if !fitting.is_empty() {
            let low = fitting.iter().copied().fold(f64::INFINITY, f64::min);
            let high = fitting.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            (field.low, field.high) = widen(kind, low, high);
        }
        field
    }

    fn prevailing_type(&self) -> Option<ValueType> {
        let any = |kind| self.cells.iter().any(|cell| cell.seen.kind == kind);
        let count = |kind| match kind {
            // One fraction makes numbers of them all, and one time of day points in time.
            ValueType::Integer if any(ValueType::Number) => 0,
            ValueType::Date if any(ValueType::Timestamp) => 0,
            kind => self.cells.iter().filter(|cell| accepts(kind, &cell.seen)).count(),
        };
        let counted: Vec<(ValueType, usize)> = ValueType::ALL.into_iter().map(|kind| (kind, count(kind))).collect();
        let most = counted.iter().map(|(_, count)| *count).max().filter(|most| *most > 0)?;
        counted
            .iter()
            .find(|(_, count)| prevails(*count, self.cells.len()))
            .or_else(|| counted.iter().find(|(_, count)| *count == most))
            .map(|(kind, _)| *kind)
    }
}

impl Field {
    /// The name of the field: its path with dots.
    pub(super) fn name(&self) -> String {
        self.path.join(".")
    }

    /// Whether a value is of the field's type and format.
    pub(super) fn fits(&self, seen: &Observed) -> bool {
        self.kind.is_none_or(|kind| accepts(kind, seen)) && self.format.is_none_or(|format| seen.format == Some(format))
    }

    /// The field as answers show it. The confidence follows the rule of succession: few values prove little.
    fn view(&self, records: usize) -> SchemaField {
        SchemaField {
            name: self.name(),
            kind: self.kind.map(|kind| kind.name().to_owned()),
            confidence: (self.values > 0).then(|| share(self.fits + 1, self.values + 2)),
            format: self.format.map(|format| format.name().to_owned()),
            null_rate: Some(share(records.saturating_sub(self.values), records)),
        }
    }
}

impl Profile {
    /// The schema as answers show it.
    pub(super) fn view(&self) -> Fields {
        Fields { fields: self.fields.iter().map(|field| field.view(self.records)).collect() }
    }
}

/// Whether a value is of a type: a whole number is a number, a date is a point in time, and every text is a string.
fn accepts(kind: ValueType, seen: &Observed) -> bool {
    match kind {
        ValueType::Number => matches!(seen.kind, ValueType::Number | ValueType::Integer),
        ValueType::Timestamp => matches!(seen.kind, ValueType::Timestamp | ValueType::Date),
        ValueType::String => seen.text,
        kind => seen.kind == kind,
    }
}

fn prevails(count: usize, values: usize) -> bool {
    count > 0 && length(count) >= PREVAILS * length(values)
}

/// A part of a whole, 0 to 1, with four decimals.
pub(super) fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { (length(part) / length(whole) * 1e4).round() / 1e4 }
}

/// Widens a range to round numbers or whole years: its ends would be values of the data.
fn widen(kind: Option<ValueType>, low: f64, high: f64) -> (f64, f64) {
    match kind {
        Some(ValueType::Integer | ValueType::Number) => {
            let step = 10_f64.powf(low.abs().max(high.abs()).max(1.0).log10().floor() - 1.0);
            let step = if kind == Some(ValueType::Integer) { step.max(1.0) } else { step };
            ((low / step).floor() * step, (high / step).ceil() * step)
        }
        Some(ValueType::Date | ValueType::Timestamp) => (year_start(low, 0), year_start(high, 1)),
        _ => (low, high),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "milliseconds of a date are whole and below 2^53")]
fn year_start(millis: f64, later: i32) -> f64 {
    let year = DateTime::<Utc>::from_timestamp_millis(millis as i64).unwrap_or_default().year();
    let start = NaiveDate::from_ymd_opt(year + later, 1, 1).unwrap_or_default();
    start.and_time(NaiveTime::MIN).and_utc().timestamp_millis() as f64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn records(values: Value) -> Vec<Map<String, Value>> {
        serde_json::from_value(values).unwrap()
    }

    fn profile(values: Value, text_alone: bool) -> Profile {
        Columns::read(&records(values), text_alone).unwrap().profile()
    }

    #[test]
    fn a_profile_tells_types_rates_and_ranges() {
        let profile = profile(
            json!([
                { "id": "a", "amount": 12.5, "when": "2025-02-07", "address": { "city": "Bonn" } },
                { "id": "b", "amount": 7, "when": null, "address": { "city": "Rome" } },
                { "id": "c", "amount": 981, "when": "2023-01-05" },
            ]),
            false,
        );
        let seen: Vec<_> = profile.fields.iter().map(|field| (field.name(), field.kind.unwrap(), field.values)).collect();
        assert_eq!(
            seen,
            [
                ("id".to_owned(), ValueType::String, 3),
                ("amount".to_owned(), ValueType::Number, 3),
                ("when".to_owned(), ValueType::Date, 2),
                ("address.city".to_owned(), ValueType::String, 2),
            ]
        );
        let amount = &profile.fields[1];
        assert_eq!((amount.low, amount.high, amount.decimals), (0.0, 990.0, 1), "the range is wider than the values");
        let view = profile.view().fields;
        assert_eq!((view[2].null_rate, view[0].confidence), (Some(0.3333), Some(0.8)));
    }

    #[test]
    fn what_most_values_are_is_the_type_and_the_rest_does_not_fit() {
        let mails: Vec<Value> =
            (0..9).map(|number| json!({ "m": format!("a{number}@b.example") })).chain([json!({ "m": "none" })]).collect();
        let field = &profile(json!(mails), false).fields[0];
        assert_eq!((field.format, field.fits, field.values), (Some(Format::Email), 9, 10));
        let field = &profile(json!([{ "n": "1" }, { "n": "2.5" }, { "n": "x" }]), true).fields[0];
        assert_eq!((field.kind, field.fits), (Some(ValueType::String), 3), "two of three are too few");
        let field = &profile(json!([{ "n": null }, { "n": "" }]), false).fields[0];
        assert_eq!((field.kind, field.values), (None, 0));
    }

    #[test]
    fn fields_are_bounded_and_must_exist() {
        let wide: Map<String, Value> = (0..=MAX_FIELDS).map(|number| (format!("f{number}"), json!(1))).collect();
        assert_eq!(Columns::read(&[wide], false).err().unwrap().code(), "FM-DIS-TOO-MANY-FIELDS");
        assert_eq!(Columns::read(&records(json!([{}, {}])), false).err().unwrap().code(), "FM-DIS-NO-FIELDS");
    }
}
