//! Every operation with its computed shape, found by name in one look-up.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use super::answers::Form;
use super::operation::{Endpoint, Spec};
use super::problem::FieldError;
use super::schema::Shape;
use super::service::Service;
use super::{SERVICES, arguments};

/// One operation of the catalogue.
#[derive(Debug)]
pub struct Entry {
    /// The service it belongs to.
    pub service: &'static Service,
    /// The service's place in [`SERVICES`].
    pub service_index: usize,
    /// Route, effect, permission and policy.
    pub spec: Spec,
    /// The erased operation.
    pub endpoint: Endpoint,
    /// Description and schemas.
    pub shape: Shape,
    /// What the schema of its answer asks, once there was an answer.
    form: OnceLock<Form>,
}

impl Entry {
    /// An operation of the service at a place in [`SERVICES`].
    pub(crate) fn new(service_index: usize, service: &'static Service, endpoint: &Endpoint) -> Self {
        Self { service, service_index, spec: endpoint.spec, endpoint: *endpoint, shape: endpoint.shape(), form: OnceLock::new() }
    }

    /// Checks arguments and puts them into their proper form.
    ///
    /// # Errors
    /// Every fault of every field.
    pub fn check(&self, arguments: &mut serde_json::Value, reading: arguments::Reading) -> Result<(), Vec<FieldError>> {
        self.check_form(arguments, reading)?;
        self.endpoint.decode(arguments.clone()).map_err(|error| vec![undecodable(&error)])
    }

    /// A place where an answer breaks its schema, if there is any.
    #[must_use]
    pub fn mismatch(&self, answer: &serde_json::Value) -> Option<FieldError> {
        self.form.get_or_init(|| Form::new(&self.shape.output)).mismatch(answer)
    }

    /// Replaces `me` by the caller's id, where an argument names a user.
    pub fn name_caller(&self, arguments: &mut serde_json::Value, caller: &str) {
        for name in self.spec.users {
            if let Some(user) = arguments.get_mut(*name).filter(|user| *user == "me") {
                *user = caller.into();
            }
        }
    }

    /// Checks arguments against the schema alone, for a reader who decodes them next.
    ///
    /// # Errors
    /// Every fault of every field.
    pub fn check_form(&self, arguments: &mut serde_json::Value, reading: arguments::Reading) -> Result<(), Vec<FieldError>> {
        arguments::check(&self.shape.input, arguments, reading)
    }
}

/// The fault of arguments that fit the schema and not the type.
#[must_use]
pub fn undecodable(error: &serde_json::Error) -> FieldError {
    FieldError::new("", "type", error.to_string())
}

/// All operations.
#[derive(Debug)]
pub struct Catalogue {
    entries: Vec<Entry>,
    by_name: HashMap<&'static str, usize>,
}

/// The catalogue, computed at its first use.
#[must_use]
pub fn catalogue() -> &'static Catalogue {
    static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(Catalogue::new);
    &CATALOGUE
}

impl Catalogue {
    fn new() -> Self {
        let entries: Vec<Entry> = SERVICES
            .iter()
            .enumerate()
            .flat_map(|(index, service)| {
                service.operations.iter().chain(service.composites).map(move |endpoint| Entry::new(index, service, endpoint))
            })
            .collect();
        let by_name = entries.iter().enumerate().map(|(index, entry)| (entry.spec.name, index)).collect();
        Self { entries, by_name }
    }

    /// The operation of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.by_name.get(name).map(|index| &self.entries[*index])
    }

    /// The operation's place among all operations.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// All operations in the contract's order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !entry.spec.is_composite())
    }

    /// All operations and composites, in the contract's order.
    #[must_use]
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// All operations and composites that hosts see as tools.
    pub fn tools(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.spec.tool)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn every_operation_is_complete_and_unique() {
        let mut names = HashSet::new();
        let mut routes = HashSet::new();
        for entry in catalogue().entries() {
            let spec = entry.spec;
            assert!(names.insert(spec.name), "{} is there twice", spec.name);
            assert!(spec.is_composite() || routes.insert((spec.method.name(), spec.path)), "{} has another's route", spec.name);
            assert!(spec.name.len() <= 40 && spec.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", spec.name);
            assert!(!spec.title.is_empty(), "{} has no title", spec.name);
            let first = entry.shape.description.lines().next().unwrap_or_default();
            assert!(!first.is_empty() && first.chars().count() <= 200, "{}: `{first}` is {} long", spec.name, first.chars().count());
        }
    }

    #[test]
    fn input_schemas_are_what_every_host_accepts() {
        for entry in catalogue().entries() {
            walk(entry.spec.name, &Value::Object(entry.shape.input.clone()), true);
            for name in super::super::wire::path_fields(&entry.spec) {
                assert!(entry.shape.input["properties"].get(name).is_some(), "{}: no field fills {{{name}}}", entry.spec.name);
            }
        }
    }

    fn walk(name: &str, schema: &Value, root: bool) {
        let Value::Object(schema) = schema else { panic!("{name}: a schema is not an object") };
        for key in ["$ref", "$defs", "oneOf", "anyOf", "allOf", "const", "not"] {
            assert!(!schema.contains_key(key), "{name}: {key} in {schema:?}");
        }
        assert!(schema.get("type").is_some_and(Value::is_string), "{name}: no plain type in {schema:?}");
        assert!(!schema.get("format").is_some_and(|format| format.as_str().is_some_and(|format| format.contains("int"))), "{name}");
        assert!(root || schema.contains_key("description"), "{name}: no description in {schema:?}");
        for property in schema.get("properties").and_then(Value::as_object).into_iter().flat_map(|properties| properties.values()) {
            walk(name, property, false);
        }
        if let Some(items) = schema.get("items") {
            walk(name, items, true);
        }
    }

    #[test]
    fn the_tools_are_short_enough_to_list() {
        // Waiting and live channels are no calls of the contract's routes; they come on top.
        let tools = catalogue().tools().filter(|entry| entry.service.module != "realtime" && !entry.spec.is_composite());
        let (count, bytes) = tools.fold((0, 0), |(count, bytes), entry| {
            let tool =
                serde_json::json!({ "name": entry.spec.name, "description": entry.shape.description, "inputSchema": entry.shape.listed });
            (count + 1, bytes + tool.to_string().len())
        });
        assert!(bytes / 4 <= 180 * count, "{} tokens a tool on average", bytes / 4 / count);
        assert!(bytes / 4 <= 22_000, "{} tokens in all", bytes / 4);
    }

    #[test]
    fn the_outlines_of_answers_are_short_enough_to_list() {
        let lengths: Vec<usize> = catalogue().tools().map(|entry| Value::Object(entry.shape.outline.clone()).to_string().len()).collect();
        let tokens = lengths.iter().sum::<usize>() / 4;
        assert!(tokens <= 80 * lengths.len(), "{} tokens a tool on average", tokens / lengths.len());
    }

    #[test]
    fn an_answer_that_fits_its_schema_fits_its_outline() {
        for entry in catalogue().tools() {
            assert!(entry.shape.outline["properties"].get("truncated").is_some(), "{}", entry.spec.name);
            within(entry.spec.name, &Value::Object(entry.shape.outline.clone()), &Value::Object(entry.shape.output.clone()));
        }
    }

    /// Asserts that each node of the part is a node of the whole, with the same type and the same required names.
    fn within(name: &str, part: &Value, whole: &Value) {
        assert!(part["type"].is_string() && part["type"] == whole["type"], "{name}: {part} is not of {whole}");
        assert_eq!(part.get("required"), whole.get("required"), "{name}");
        for (field, property) in part.get("properties").and_then(Value::as_object).into_iter().flatten() {
            within(name, property, &whole["properties"][field]);
        }
        if let Some(items) = part.get("items") {
            within(name, items, &whole["items"]);
        }
    }
}
