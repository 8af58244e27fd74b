//! An operation's arguments as an HTTP request, a request's parts as arguments, and an answer as the contract names it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::ids::TenantId;
use super::operation::{Method, Spec};
use super::problem::FieldError;

/// What a path segment keeps as it is: RFC 3986's unreserved characters.
pub(super) const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~').remove(b'.');

/// The body field that names the caller's tenant.
pub const TENANT: &str = "tenantId";

/// A request as it goes over the wire, less the host and the headers.
#[derive(Debug, Clone, PartialEq)]
pub struct WireRequest {
    /// The HTTP method.
    pub method: Method,
    /// The path, each argument percent-encoded within its segment.
    pub path: String,
    /// The query, in the order of the arguments.
    pub query: Vec<(String, String)>,
    /// The JSON body, where the operation has one.
    pub body: Option<Value>,
}

/// Maps a caller's arguments to a request. A body that names the tenant names the caller's own.
///
/// # Errors
/// A field that fills a path segment and is missing, empty, `.` or `..`: no encoding keeps those within a segment.
pub fn encode(spec: &Spec, tenant: &TenantId, mut arguments: Map<String, Value>) -> Result<WireRequest, FieldError> {
    let mut path = String::with_capacity(spec.path.len() + 48);
    let mut taken: Vec<(&str, Value)> = Vec::new();
    for segment in spec.path.split('/').skip(1) {
        path.push('/');
        let Some(name) = placeholder(segment) else {
            path.push_str(segment);
            continue;
        };
        let value = arguments.shift_remove(name).unwrap_or_default();
        let text = value.as_str().unwrap_or_default();
        if matches!(text, "" | "." | "..") {
            return Err(FieldError::new(format!("/{name}"), "segment", "names nothing: it is empty or made of dots alone"));
        }
        path.extend(utf8_percent_encode(text, SEGMENT));
        taken.push((name, value));
    }
    for (body_field, path_field) in spec.repeats {
        if let Some((_, value)) = taken.iter().find(|(name, _)| name == path_field) {
            arguments.insert((*body_field).to_owned(), value.clone());
        }
    }
    if spec.names_tenant {
        arguments.insert(TENANT.to_owned(), tenant.as_str().into());
    }
    let (query, body) = if spec.body { (Vec::new(), Some(Value::Object(arguments))) } else { (query_of(arguments), None) };
    Ok(WireRequest { method: spec.method, path, query, body })
}

/// Objects become `name.key=value`, arrays a list with commas, the rest its own text.
fn query_of(arguments: Map<String, Value>) -> Vec<(String, String)> {
    let mut query = Vec::new();
    for (name, value) in arguments {
        match value {
            Value::Object(fields) => query.extend(fields.iter().map(|(key, value)| (format!("{name}.{key}"), free_text_of(value)))),
            value => query.push((name, text_of(&value))),
        }
    }
    query
}

/// The text of a value without a schema: a list is JSON, since commas could be its items' own.
fn free_text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text_of).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// The names of the fields that fill the path.
pub fn path_fields(spec: &Spec) -> impl Iterator<Item = &'static str> {
    spec.path.split('/').filter_map(placeholder)
}

fn placeholder(segment: &'static str) -> Option<&'static str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// Puts a received request together as arguments: the platform's side of [`encode`].
///
/// # Errors
/// A body field that contradicts the path field which it repeats, or a name given twice.
pub fn decode(
    spec: &Spec,
    path: Vec<(String, String)>,
    query: Vec<(String, String)>,
    body: Map<String, Value>,
) -> Result<Value, FieldError> {
    let mut arguments = body;
    for (name, value) in query {
        let (name, key) = match name.split_once('.') {
            Some((name, key)) => (name.to_owned(), Some(key.to_owned())),
            None => (name, None),
        };
        let slot = match key {
            None => {
                if arguments.contains_key(&name) {
                    return Err(FieldError::new(format!("/{name}"), "repeated", "is given twice"));
                }
                arguments.entry(name).or_insert(Value::Null)
            }
            Some(key) => match arguments.entry(name).or_insert_with(|| Value::Object(Map::new())) {
                Value::Object(fields) => fields.entry(key).or_insert(Value::Null),
                _ => return Err(FieldError::new("", "query", "a name is given both alone and with a dot")),
            },
        };
        *slot = Value::String(value);
    }
    for (body_field, path_field) in spec.repeats {
        if let Some(given) = arguments.shift_remove(*body_field) {
            let meant = path.iter().find(|(name, _)| name == path_field).map(|(_, value)| value.as_str());
            if given.as_str() != meant {
                return Err(FieldError::new(
                    format!("/{body_field}"),
                    "mismatch",
                    format!("must equal the path's `{}`", meant.unwrap_or_default()),
                ));
            }
        }
    }
    for (name, value) in path {
        match arguments.get(&name) {
            Some(given) if *given != value.as_str() => {
                return Err(FieldError::new(format!("/{name}"), "mismatch", format!("must equal the path's `{value}`")));
            }
            _ => arguments.insert(name, Value::String(value)),
        };
    }
    Ok(Value::Object(arguments))
}

/// Puts an answer into the contract's names: snake_case becomes camelCase, `id` and its other name are one, and a
/// bare array, `data` or `results` is a page. What the schema calls free-form is left as it is.
pub fn normalise(spec: &Spec, schema: &Map<String, Value>, answer: &mut Value) {
    let page = property(schema, "items").is_some();
    if page {
        match answer {
            Value::Array(_) => {
                let items = std::mem::take(answer);
                *answer = Value::Object(Map::from_iter([("items".to_owned(), items)]));
            }
            Value::Object(fields) if !fields.contains_key("items") => {
                for other in ["data", "results"] {
                    if fields.get(other).is_some_and(Value::is_array)
                        && let Some(items) = fields.shift_remove(other)
                    {
                        fields.insert("items".to_owned(), items);
                        break;
                    }
                }
            }
            _ => {}
        }
    }
    rename(schema, answer);
    let item_schema = property(schema, "items").and_then(|items| items.get("items")).and_then(Value::as_object);
    match (item_schema, answer) {
        (Some(item_schema), Value::Object(fields)) => {
            for item in fields.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
                unify_id(spec, item_schema, item);
            }
        }
        (None, answer) => unify_id(spec, schema, answer),
        _ => {}
    }
}

fn rename(schema: &Map<String, Value>, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
            if fields.keys().any(|name| name.contains('_')) {
                *fields = std::mem::take(fields)
                    .into_iter()
                    .map(|(name, value)| {
                        let camel = camel_case(&name);
                        (if properties.contains_key(&camel) { camel } else { name }, value)
                    })
                    .collect();
            }
            // Hosts validate answers against the schema, which has no null: a field without a value is absent.
            fields.retain(|name, value| !value.is_null() || !properties.contains_key(name));
            for (name, value) in fields.iter_mut().filter(|(_, value)| value.is_object() || value.is_array()) {
                if let Some(property) = properties.get(name).and_then(Value::as_object) {
                    rename(property, value);
                }
            }
        }
        Value::Array(items) => {
            if let Some(item) = schema.get("items").and_then(Value::as_object) {
                for value in items {
                    rename(item, value);
                }
            }
        }
        _ => {}
    }
}

/// `id` answers for `taskId`, and the other way round.
fn unify_id(spec: &Spec, schema: &Map<String, Value>, value: &mut Value) {
    let Value::Object(fields) = value else { return };
    let own = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .find(|name| *name == "id" || name.ends_with("Id"));
    let Some(own) = own else { return };
    if fields.contains_key(own) {
        return;
    }
    let other = spec.id_alias.unwrap_or("id");
    if let Some(id) = fields.shift_remove(other).or_else(|| fields.shift_remove("id")) {
        fields.insert(own.to_owned(), id);
    }
}

fn property<'a>(schema: &'a Map<String, Value>, name: &str) -> Option<&'a Map<String, Value>> {
    schema.get("properties")?.get(name)?.as_object()
}

fn camel_case(name: &str) -> String {
    let mut upper = false;
    name.chars()
        .filter_map(|c| {
            if c == '_' {
                upper = true;
                return None;
            }
            Some(if std::mem::take(&mut upper) { c.to_ascii_uppercase() } else { c })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::services::{audit, entities, tasks};
    use crate::api::{Operation, catalogue};

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }

    fn sent(spec: &Spec, arguments: Value) -> Result<WireRequest, FieldError> {
        encode(spec, &"tenant-1".into(), map(arguments))
    }

    #[test]
    fn an_id_never_leaves_its_segment() {
        for (id, path) in [("a/b", "/tasks/a%2Fb"), ("..%2f", "/tasks/..%252f"), ("a b?x=1#y", "/tasks/a%20b%3Fx%3D1%23y")] {
            assert_eq!(sent(&tasks::Get::SPEC, json!({ "id": id })).unwrap().path, path);
        }
        for id in ["", ".", ".."] {
            assert!(sent(&tasks::Get::SPEC, json!({ "id": id })).is_err());
        }
    }

    #[test]
    fn a_repeated_field_is_filled_and_checked() {
        let request = sent(&entities::Insert::SPEC, json!({ "type": "customer", "data": {} })).unwrap();
        assert_eq!(request.body, Some(json!({ "data": {}, "entityType": "customer" })));
        let path = vec![("type".to_owned(), "customer".to_owned())];
        let back = decode(&entities::Insert::SPEC, path.clone(), vec![], map(json!({ "entityType": "customer", "data": {} }))).unwrap();
        assert_eq!(back, json!({ "data": {}, "type": "customer" }));
        assert!(decode(&entities::Insert::SPEC, path, vec![], map(json!({ "entityType": "order", "data": {} }))).is_err());
    }

    #[test]
    fn a_body_names_the_callers_tenant_whatever_the_arguments_say() {
        let arguments = json!({ "actor": "a", "action": "b", "resourceType": "c", "resourceId": "d", "tenantId": "tenant-2" });
        assert_eq!(sent(&audit::Log::SPEC, arguments).unwrap().body.unwrap()[TENANT], "tenant-1");
        assert_eq!(sent(&tasks::Create::SPEC, json!({ "title": "t" })).unwrap().body, Some(json!({ "title": "t" })));
    }

    #[test]
    fn an_object_in_a_query_goes_by_dots() {
        let request = sent(&entities::Query::SPEC, json!({ "type": "c", "filter": { "region": "US" }, "limit": 5 })).unwrap();
        assert_eq!(request.query, [("filter.region".to_owned(), "US".to_owned()), ("limit".to_owned(), "5".to_owned())]);
        let path = vec![("type".to_owned(), "c".to_owned())];
        assert_eq!(
            decode(&entities::Query::SPEC, path, request.query, Map::new()).unwrap(),
            json!({ "filter": { "region": "US" }, "limit": "5", "type": "c" })
        );
    }

    #[test]
    fn answers_are_read_tolerantly() {
        let list = catalogue().get("tasks_list").unwrap();
        let mut answer = json!([{ "id": "task-1", "assigned_to": "x", "description": null, "response": { "data": { "snake_case": 1 } } }]);
        normalise(&list.spec, &list.shape.answer, &mut answer);
        assert_eq!(answer, json!({ "items": [{ "assignedTo": "x", "response": { "data": { "snake_case": 1 } }, "taskId": "task-1" }] }));
        let create = catalogue().get("processes_create").unwrap();
        let mut answer = json!({ "processId": "proc-1" });
        normalise(&create.spec, &create.shape.answer, &mut answer);
        assert_eq!(answer, json!({ "id": "proc-1" }));
    }
}
