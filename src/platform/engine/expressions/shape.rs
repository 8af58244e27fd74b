//! What is known of a value before it is there: its kind, its fields, and what it may say.

use std::collections::BTreeMap;

/// The shape of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// Nothing is known.
    Any,
    /// There is no value.
    Nothing,
    Text(Option<Vec<String>>),
    Number,
    Boolean,
    List,
    Object(Fields),
}

/// The fields of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// Those that are known, and whether they are always there.
    pub known: BTreeMap<String, (Shape, bool)>,
    /// Whether there may be others.
    pub open: bool,
}

impl Shape {
    /// An object with just those fields, all of which are always there.
    pub fn closed(fields: impl Iterator<Item = (String, Self)>) -> Self {
        Self::Object(Fields { known: fields.map(|(name, shape)| (name, (shape, true))).collect(), open: false })
    }

    /// An object of which no field is known.
    pub fn object() -> Self {
        Self::Object(Fields { known: BTreeMap::new(), open: true })
    }

    /// The kind as sentences name it; none where it is not known.
    #[must_use]
    pub fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Any | Self::Nothing => None,
            Self::Text(_) => Some("text"),
            Self::Number => Some("a number"),
            Self::Boolean => Some("true or false"),
            Self::List => Some("a list"),
            Self::Object(_) => Some("an object"),
        }
    }
}
