//! Errors of a configuration, by its field.

use crate::api::FieldError;
use crate::error::{Error, Kind};

/// The error of a field of the configuration; without a name, of the whole.
pub(super) fn fault(name: &str, code: &str, detail: &str) -> Error {
    let name: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
    let pointer = if name.is_empty() { "/sourceConfig".to_owned() } else { format!("/sourceConfig/{name}") };
    refused(FieldError::new(pointer, code, detail))
}

/// The error of a field.
pub(super) fn refused(fault: FieldError) -> Error {
    Error::new(Kind::Invalid, "FM-DCS-CONFIG", "the source cannot be read as it is configured")
        .with_fields(vec![fault])
        .hint("Correct the field named; ingest_sources_test tries a configuration without keeping it.")
}
