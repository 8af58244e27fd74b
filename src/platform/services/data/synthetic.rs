//! Synthetic records: values invented from types, formats and ranges, never taken from a record.

use std::collections::HashSet;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Number, Value};

use super::profile::{Field, Profile};
use super::values::{Format, ValueType, length};

/// Most values of an answer.
pub(super) const MAX_VALUES: usize = 100_000;
/// Longest text that is invented, in characters.
const MAX_TEXT: usize = 500;
/// How often a text is invented again that some record holds.
const MAX_ATTEMPTS: usize = 8;

const FIRST_NAMES: [&str; 16] =
    ["Ada", "Bruno", "Clara", "Dario", "Elin", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Kira", "Luca", "Mira", "Nils", "Olga", "Pia"];
const LAST_NAMES: [&str; 16] = [
    "Abel", "Berger", "Costa", "Dahl", "Engel", "Farkas", "Gruber", "Hansen", "Ivers", "Jansen", "Keller", "Lindt", "Moreau", "Novak",
    "Olsen", "Peters",
];
const CITIES: [&str; 10] =
    ["Ashford", "Brookfield", "Clearwater", "Dunmore", "Eastbrook", "Fairhaven", "Glenwood", "Harborview", "Lakeside", "Northgate"];
const COMPANIES: [&str; 10] = ["Alder", "Birch", "Cedar", "Delta", "Ember", "Fern", "Granite", "Harbor", "Indigo", "Juniper"];
const SYLLABLES: [&str; 20] =
    ["ba", "co", "di", "fu", "ga", "he", "ja", "ki", "lo", "ma", "ne", "pi", "qua", "ro", "sa", "ti", "ul", "ve", "wo", "zen"];

/// A generator of numbers that follow from a seed (SplitMix64); not for secrets.
pub(super) struct Random(u64);

impl Random {
    /// A generator; the same seed gives the same numbers.
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to below the bound.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap_or(1)).unwrap_or_default()
    }

    /// A fraction from 0 to below 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn pick(&mut self, of: &[&'static str]) -> &'static str {
        of.get(self.below(of.len())).copied().unwrap_or_default()
    }
}

/// Invents records that follow a profile. `taken` are the texts of the records that are imitated: no text
/// is one of them.
pub(super) fn generate(profile: &Profile, count: usize, taken: &HashSet<String>, random: &mut Random) -> Vec<Map<String, Value>> {
    (0..count)
        .map(|place| {
            let mut record = Map::new();
            for field in &profile.fields {
                put(&mut record, &field.path, value_of(field, profile.records, place, taken, random));
            }
            record
        })
        .collect()
}

/// Sets a field of a nested record. Where the source was not of one shape, the first field of a name decides.
fn put(record: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => {
            record.entry(name.clone()).or_insert(value);
        }
        [name, rest @ ..] => {
            if let Value::Object(inner) = record.entry(name.clone()).or_insert_with(|| Value::Object(Map::new())) {
                put(inner, rest, value);
            }
        }
    }
}

fn value_of(field: &Field, records: usize, place: usize, taken: &HashSet<String>, random: &mut Random) -> Value {
    let absent = records.saturating_sub(field.values);
    if random.below(records) < absent {
        return Value::Null;
    }
    let between = |random: &mut Random| field.low + (field.high - field.low) * random.fraction();
    match field.kind {
        None => Value::Null,
        Some(ValueType::Boolean) => Value::Bool(random.next() & 1 == 1),
        Some(ValueType::Integer) if is_key(field) => Value::from(place + 1),
        Some(ValueType::Integer) => whole(between(random)),
        Some(ValueType::Number) => fraction(between(random), field.decimals),
        Some(ValueType::Date | ValueType::Timestamp) => Value::String(fresh_time(field, taken, random)),
        Some(ValueType::Array) => Value::Array(Vec::new()),
        Some(ValueType::Object) => Value::Object(Map::new()),
        Some(ValueType::String) => Value::String(fresh_text(field, place, taken, random)),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a float casts saturating")]
fn whole(number: f64) -> Value {
    Value::from(number.round() as i64)
}

fn fraction(number: f64, decimals: usize) -> Value {
    let rounded = format!("{number:.decimals$}").parse().unwrap_or(number);
    Number::from_f64(rounded).map_or(Value::Null, Value::Number)
}

#[expect(clippy::cast_possible_truncation, reason = "a float casts saturating")]
fn time(millis: f64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis as i64).unwrap_or_default()
}

fn is_key(field: &Field) -> bool {
    matches!(field.path.as_slice(), [name] if name.eq_ignore_ascii_case("id") || name.eq_ignore_ascii_case("_id"))
}

/// A time within the field's range that no record holds, as far as one is found: a short range may be full.
fn fresh_time(field: &Field, taken: &HashSet<String>, random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..MAX_ATTEMPTS {
        let moment = time(field.low + (field.high - field.low) * random.fraction());
        text = match field.kind {
            Some(ValueType::Date) => moment.format("%Y-%m-%d").to_string(),
            _ => moment.to_rfc3339_opts(SecondsFormat::Millis, true),
        };
        if !taken.contains(&text) {
            break;
        }
    }
    text
}

/// A text that no record holds.
fn fresh_text(field: &Field, place: usize, taken: &HashSet<String>, random: &mut Random) -> String {
    for _ in 0..MAX_ATTEMPTS {
        let text = text(field, place, random);
        if !taken.contains(&text) {
            return text;
        }
    }
    // Sixteen hexadecimal digits of chance are in no record that was made before them.
    format!("{:016x}", random.next())
}

fn text(field: &Field, place: usize, random: &mut Random) -> String {
    match field.format {
        Some(Format::Email) => {
            format!("{}.{}{}@example.com", random.pick(&FIRST_NAMES), random.pick(&LAST_NAMES), random.below(1000)).to_lowercase()
        }
        // Documentation's own hosts, addresses (RFC 5737) and numbers: none belongs to anybody.
        Some(Format::Uri) => format!("https://example.com/{}", word(8, random)),
        Some(Format::Ipv4) => format!("192.0.2.{}", 1 + random.below(254)),
        Some(Format::Phone) => format!("+1 202 555 01{:02}", random.below(100)),
        Some(Format::Uuid) => uuid::Builder::from_random_bytes((u128::from(random.next()) << 64 | u128::from(random.next())).to_be_bytes())
            .into_uuid()
            .to_string(),
        Some(Format::Numeric) => {
            let digits = chars_of(field, random).min(18);
            let rest: String = (1..digits).map(|_| char::from(b'0' + u8::try_from(random.below(10)).unwrap_or_default())).collect();
            format!("{}{rest}", 1 + random.below(9))
        }
        None if is_key(field) => format!("{}-{}", word(3, random), place + 1),
        None => by_name(field, random).unwrap_or_else(|| prose(chars_of(field, random), random)),
    }
}

/// A length within the field's range.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "lengths are not negative, and a float casts saturating")]
fn chars_of(field: &Field, random: &mut Random) -> usize {
    let wanted = field.low + (field.high - field.low + 1.0) * random.fraction();
    (wanted.min(length(MAX_TEXT)) as usize).max(1)
}

/// Text as the name of the field promises it, where it promises something.
fn by_name(field: &Field, random: &mut Random) -> Option<String> {
    let name: String = field.path.last()?.chars().filter(|letter| letter.is_alphanumeric()).collect::<String>().to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    Some(if has(&["firstname", "givenname", "forename"]) {
        random.pick(&FIRST_NAMES).to_owned()
    } else if has(&["lastname", "surname", "familyname"]) {
        random.pick(&LAST_NAMES).to_owned()
    } else if has(&["company", "vendor", "supplier", "organi", "employer"]) {
        format!("{} {} Ltd", random.pick(&COMPANIES), random.pick(&LAST_NAMES))
    } else if has(&["city", "town"]) {
        random.pick(&CITIES).to_owned()
    } else if has(&["street", "address"]) {
        format!("{} {} Street", 1 + random.below(200), random.pick(&COMPANIES))
    } else if name == "name" || has(&["fullname", "contactname", "customername", "username"]) {
        format!("{} {}", random.pick(&FIRST_NAMES), random.pick(&LAST_NAMES))
    } else {
        return None;
    })
}

fn word(chars: usize, random: &mut Random) -> String {
    let mut word = String::new();
    while word.len() < chars {
        word.push_str(random.pick(&SYLLABLES));
    }
    word.truncate(chars);
    word
}

/// Words without a meaning, of a length in all.
fn prose(chars: usize, random: &mut Random) -> String {
    let mut text = String::new();
    while text.len() < chars {
        if !text.is_empty() {
            text.push(' ');
        }
        let longest = 3 + random.below(6);
        text.push_str(&word(longest.min(chars.saturating_sub(text.len())).max(1), random));
    }
    text.truncate(chars);
    text.trim_end().to_owned()
}

/// All texts of some records, at any depth.
pub(super) fn texts_of(records: &[Map<String, Value>]) -> HashSet<String> {
    fn collect(value: &Value, texts: &mut HashSet<String>) {
        match value {
            Value::String(text) => drop(texts.insert(text.clone())),
            Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
            Value::Object(fields) => fields.values().for_each(|field| collect(field, texts)),
            _ => {}
        }
    }
    let mut texts = HashSet::new();
    records.iter().flat_map(Map::values).for_each(|value| collect(value, &mut texts));
    texts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::profile::Columns;
    use super::super::values::observe;
    use super::*;

    fn sample() -> Vec<Map<String, Value>> {
        let rows: Vec<Value> = (0..20)
            .map(|row| {
                json!({
                    "id": row, "name": format!("Person {row}"), "email": format!("p{row}@corp.example"), "amount": 100.25 + f64::from(row),
                    "born": format!("19{}-03-04", 70 + row), "active": row % 2 == 0, "note": if row < 10 { json!(null) } else { json!("vip") },
                    "address": { "city": "Bonn", "code": "A1" },
                })
            })
            .collect();
        serde_json::from_value(json!(rows)).unwrap()
    }

    #[test]
    fn the_same_seed_gives_the_same_records() {
        let profile = Columns::read(&sample(), false).unwrap().profile();
        let made = |seed| generate(&profile, 20, &HashSet::new(), &mut Random::new(seed));
        assert_eq!(made(7), made(7));
        assert_ne!(made(7), made(8));
    }

    #[test]
    fn records_follow_the_profile_and_repeat_no_text() {
        let sample = sample();
        let profile = Columns::read(&sample, false).unwrap().profile();
        let taken = texts_of(&sample);
        for seed in 0..20 {
            let made = generate(&profile, 50, &taken, &mut Random::new(seed));
            for record in &made {
                assert!(record["address"]["city"].is_string(), "{record:?}");
                for field in &profile.fields {
                    let value = field.path.iter().skip(1).fold(&record[&field.path[0]], |value, name| &value[name]);
                    let Some(seen) = observe(value, false) else { continue };
                    assert!(field.fits(&seen), "{} {value}", field.name());
                    if matches!(field.kind, Some(ValueType::Number | ValueType::Date)) {
                        assert!((field.low..=field.high).contains(&seen.measure), "{} {value}", field.name());
                    }
                }
            }
            assert!(texts_of(&made).is_disjoint(&taken), "seed {seed}");
            let absent = made.iter().filter(|record| record["note"].is_null()).count();
            assert!((10..=40).contains(&absent), "{absent} of 50 where half have none");
        }
    }

    #[test]
    fn a_field_of_one_short_text_is_imitated_by_another() {
        let sample: Vec<Map<String, Value>> = serde_json::from_value(json!([{ "x": "a" }, { "x": "b" }])).unwrap();
        let profile = Columns::read(&sample, false).unwrap().profile();
        let all: HashSet<String> = (b'a'..=b'z').map(|letter| char::from(letter).to_string()).collect();
        let made = generate(&profile, 5, &all, &mut Random::new(1));
        assert!(texts_of(&made).is_disjoint(&all) && made.iter().all(|record| record["x"].is_string()));
    }
}
