//! The values of an expression: those of JSON, read in place, and times. JSON has one kind of number, so whole numbers
//! and fractions mix.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Number, Value as Json};

use super::budget::Meter;
use super::fault::Fault;
use crate::api::Timestamp;
use crate::api::tasks::Form;

/// The least and the greatest whole number: what JSON numbers of 64 bits hold.
pub const WHOLE: std::ops::RangeInclusive<i128> = i64::MIN as i128..=u64::MAX as i128;
/// How deep a result may be nested: far below what a reader of JSON refuses, as it becomes a part of the state.
const MAX_NESTING: usize = 64;
/// Up to here every whole number is a double.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// What an element of a list or a map costs, in bytes.
pub const ELEMENT: usize = 48;

/// A value while it is computed with. Copies are cheap: what is long is shared.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Whole(i128),
    Fraction(f64),
    Text(Text<'a>),
    Bytes(Rc<[u8]>),
    List(List<'a>),
    Map(Fields<'a>),
    Time(DateTime<Utc>),
    Duration(TimeDelta),
    Type(&'static str),
}

/// The result of a part of an expression.
pub type Evaluated<'a> = Result<Value<'a>, Fault>;

/// A text of the facts, or one that was made.
#[derive(Debug, Clone)]
pub enum Text<'a> {
    Given(&'a str),
    Made(Rc<str>),
}

/// A list of the facts, or one that was made.
#[derive(Debug, Clone)]
pub enum List<'a> {
    Given(&'a [Json]),
    Made(Rc<Vec<Value<'a>>>),
}

/// An object of the facts, one that was made, or the names that an expression begins with.
#[derive(Debug, Clone)]
pub enum Fields<'a> {
    Given(&'a Map<String, Json>),
    Made(Rc<BTreeMap<Key<'a>, Value<'a>>>),
}

/// A key of a map. A text of the facts is read in place here, too: a key may be as long as all variables together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key<'a> {
    Bool(bool),
    Whole(i128),
    Text(Text<'a>),
}

impl<'a> Value<'a> {
    /// A value of the facts.
    pub fn of(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(flag) => Self::Bool(*flag),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(whole), _) => Self::Whole(whole.into()),
                (None, Some(whole)) => Self::Whole(whole.into()),
                _ => Self::Fraction(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::Text(Text::Given(text)),
            Json::Array(items) => Self::List(List::Given(items)),
            Json::Object(fields) => Self::Map(Fields::Given(fields)),
        }
    }

    /// A text that was made.
    pub fn text(text: impl Into<Rc<str>>) -> Self {
        Self::Text(Text::Made(text.into()))
    }

    /// The name of its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Whole(_) => "int",
            Self::Fraction(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Time(_) => "timestamp",
            Self::Duration(_) => "duration",
            Self::Type(_) => "type",
        }
    }

    /// As JSON. What it takes is spent, since a value that is shared is copied here.
    pub fn to_json(&self, meter: &mut Meter<'_>) -> Result<Json, Fault> {
        self.nested_json(MAX_NESTING, meter)
    }

    fn nested_json(&self, levels: usize, meter: &mut Meter<'_>) -> Result<Json, Fault> {
        let none = |what: &str| Fault::new("EXPRESSION_RESULT", format!("it gives {what}, which JSON cannot hold"));
        let below = || {
            levels.checked_sub(1).ok_or_else(|| {
                Fault::new("EXPRESSION_RESULT", format!("it gives lists or objects that are nested deeper than {MAX_NESTING} levels"))
            })
        };
        meter.steps(1)?;
        Ok(match self {
            Self::Null => Json::Null,
            Self::Bool(flag) => Json::Bool(*flag),
            Self::Whole(whole) => match (i64::try_from(*whole), u64::try_from(*whole)) {
                (Ok(whole), _) => Json::from(whole),
                (_, Ok(whole)) => Json::from(whole),
                _ => return Err(none("a number beyond 64 bits")),
            },
            Self::Fraction(number) => Json::Number(Number::from_f64(*number).ok_or_else(|| none("no finite number"))?),
            Self::Text(text) => {
                meter.bytes(text.len())?;
                Json::String(text.to_string())
            }
            Self::List(list) => {
                meter.bytes(list.len().saturating_mul(ELEMENT))?;
                let levels = below()?;
                Json::Array(list.iter().map(|item| item.nested_json(levels, meter)).collect::<Result<_, _>>()?)
            }
            Self::Map(fields) => {
                let (levels, mut object) = (below()?, Map::new());
                for (key, value) in fields.iter() {
                    let key = key.to_string();
                    meter.bytes(key.len() + ELEMENT)?;
                    object.insert(key, value.nested_json(levels, meter)?);
                }
                // Names are sorted, so that the same expression gives the same text each time.
                object.sort_keys();
                Json::Object(object)
            }
            Self::Time(time) => Json::String(said_time(time)),
            Self::Duration(duration) => Json::String(said_duration(*duration)),
            Self::Bytes(_) | Self::Type(_) => return Err(none(self.type_name())),
        })
    }

    /// Whether it equals another value, which takes as many steps as are compared.
    pub fn equals(&self, other: &Self, meter: &mut Meter<'_>) -> Result<bool, Fault> {
        meter.steps(1)?;
        Ok(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => {
                meter.text(a.len().min(b.len()))?;
                a.as_str() == b.as_str()
            }
            (Self::Bytes(a), Self::Bytes(b)) => {
                meter.text(a.len().min(b.len()))?;
                a == b
            }
            (Self::List(a), Self::List(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (a, b) in a.iter().zip(b.iter()) {
                    if !a.equals(&b, meter)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Self::Map(a), Self::Map(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (key, value) in a.iter() {
                    match b.get(&key, meter)? {
                        Some(other) if value.equals(&other, meter)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (Self::Time(a), Self::Time(b)) => a == b,
            (Self::Duration(a), Self::Duration(b)) => a == b,
            (Self::Type(a), Self::Type(b)) => a == b,
            _ => number_order(self, other) == Some(Ordering::Equal),
        })
    }

    /// How it stands to another value of the same type; none where there is no order.
    pub fn order(&self, other: &Self, meter: &mut Meter<'_>) -> Result<Option<Ordering>, Fault> {
        meter.steps(1)?;
        Ok(match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => {
                meter.text(a.len().min(b.len()))?;
                Some(a.as_str().cmp(b.as_str()))
            }
            (Self::Bytes(a), Self::Bytes(b)) => {
                meter.text(a.len().min(b.len()))?;
                Some(a.cmp(b))
            }
            (Self::Time(a), Self::Time(b)) => Some(a.cmp(b)),
            (Self::Duration(a), Self::Duration(b)) => Some(a.cmp(b)),
            _ => number_order(self, other),
        })
    }
}

/// The order of two numbers, exact also between whole ones and fractions.
fn number_order(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    match (a, b) {
        (Value::Whole(a), Value::Whole(b)) => Some(a.cmp(b)),
        (Value::Fraction(a), Value::Fraction(b)) => a.partial_cmp(b),
        (Value::Whole(whole), Value::Fraction(fraction)) => whole_order(*whole, *fraction),
        (Value::Fraction(fraction), Value::Whole(whole)) => whole_order(*whole, *fraction).map(Ordering::reverse),
        _ => None,
    }
}

fn whole_order(whole: i128, fraction: f64) -> Option<Ordering> {
    if fraction.is_nan() {
        return None;
    }
    let floor = fraction.floor();
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and whole numbers are far smaller than that")]
    let below = floor as i128;
    Some(whole.cmp(&below).then(if fraction > floor { Ordering::Less } else { Ordering::Equal }))
}

impl Text<'_> {
    /// The text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Given(text) => text,
            Self::Made(text) => text,
        }
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.as_str().len()
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text<'_> {}

impl PartialOrd for Text<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl std::fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'a> List<'a> {
    /// How many elements it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Given(items) => items.len(),
            Self::Made(items) => items.len(),
        }
    }

    /// The element at a place.
    pub fn get(&self, place: usize) -> Option<Value<'a>> {
        match self {
            Self::Given(items) => items.get(place).map(Value::of),
            Self::Made(items) => items.get(place).cloned(),
        }
    }

    /// Its elements.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> {
        (0..self.len()).filter_map(|place| self.get(place))
    }
}

impl<'a> Fields<'a> {
    /// How many fields it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Given(fields) => fields.len(),
            Self::Made(fields) => fields.len(),
        }
    }

    /// The value of a key, which is read to find it.
    pub fn get(&self, key: &Key<'a>, meter: &mut Meter<'_>) -> Result<Option<Value<'a>>, Fault> {
        meter.text(key.len())?;
        Ok(match (self, key) {
            (Self::Given(fields), Key::Text(name)) => fields.get(name.as_str()).map(Value::of),
            (Self::Given(_), _) => None,
            (Self::Made(fields), key) => fields.get(key).cloned(),
        })
    }

    /// Its keys with their values.
    pub fn iter(&self) -> Box<dyn Iterator<Item = (Key<'a>, Value<'a>)> + '_> {
        match self {
            Self::Given(fields) => {
                let fields: &'a Map<String, Json> = fields;
                Box::new(fields.iter().map(|(name, value)| (Key::Text(Text::Given(name)), Value::of(value))))
            }
            Self::Made(fields) => Box::new(fields.iter().map(|(key, value)| (key.clone(), value.clone()))),
        }
    }
}

impl<'a> Key<'a> {
    /// The value as a key. A fraction that is a whole number is that number.
    pub fn of(value: &Value<'a>) -> Option<Self> {
        match value {
            Value::Bool(flag) => Some(Self::Bool(*flag)),
            Value::Whole(whole) => Some(Self::Whole(*whole)),
            Value::Fraction(number) => whole_of(*number).map(Self::Whole),
            Value::Text(text) => Some(Self::Text(text.clone())),
            _ => None,
        }
    }

    /// The key as a value.
    pub fn value(&self) -> Value<'a> {
        match self {
            Self::Bool(flag) => Value::Bool(*flag),
            Self::Whole(whole) => Value::Whole(*whole),
            Self::Text(text) => Value::Text(text.clone()),
        }
    }

    /// How many bytes of text it has.
    pub fn len(&self) -> usize {
        if let Self::Text(text) = self { text.len() } else { 0 }
    }
}

impl std::fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(flag) => flag.fmt(f),
            Self::Whole(whole) => whole.fmt(f),
            Self::Text(text) => f.write_str(text.as_str()),
        }
    }
}

/// The whole number that a fraction is, where it is one that doubles hold exactly.
pub fn whole_of(number: f64) -> Option<i128> {
    #[expect(clippy::cast_possible_truncation, reason = "a whole number of at most 53 bits")]
    let whole = (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i128);
    whole
}

/// A JSON number as it is kept where `integer` or `number` is declared: 5.0 becomes 5, and 20 becomes 20.0, so that
/// divisions have fractions. What a double does not hold exactly stays as it is.
pub fn settle(kind: &str, value: Json) -> Json {
    let Json::Number(number) = &value else { return value };
    match kind {
        "integer" if number.is_f64() => match number.as_f64().and_then(whole_of).and_then(|whole| i64::try_from(whole).ok()) {
            Some(whole) => Json::from(whole),
            None => value,
        },
        "number" => match number.as_i64() {
            #[expect(clippy::cast_precision_loss, reason = "only where a double holds it")]
            Some(whole) if whole.unsigned_abs() <= 1 << 53 => Json::from(whole as f64),
            _ => value,
        },
        _ => value,
    }
}

/// The fields of an answer with numbers of the kinds that its form declares.
pub fn settled(form: &Form, mut data: Map<String, Json>) -> Map<String, Json> {
    for field in &form.fields {
        if let Some(value) = data.get_mut(&field.name) {
            *value = settle(&field.kind, value.take());
        }
    }
    data
}

/// A number as text: a whole one without a fraction.
pub fn said_number(number: f64) -> String {
    whole_of(number).map_or_else(|| number.to_string(), |whole| whole.to_string())
}

/// A time as RFC 3339.
pub fn said_time(time: &DateTime<Utc>) -> String {
    Timestamp::from_millis(time.timestamp_millis()).to_string()
}

/// A duration in seconds, such as `1.5s`.
pub fn said_duration(duration: TimeDelta) -> String {
    let millis = duration.num_milliseconds();
    if millis % 1000 == 0 { format!("{}s", millis / 1000) } else { format!("{}s", duration.as_seconds_f64()) }
}
