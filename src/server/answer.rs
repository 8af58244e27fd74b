//! What a model gets: the platform's JSON, normalised, redacted and bounded, or an error that says what to do next.

pub(crate) mod next_step;
pub(crate) mod redact;
pub(crate) mod truncate;

use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Map, Value};

use crate::api::Entry;
use crate::error::Error;

/// The answer of a call that succeeded: structured content and the same JSON, compact, as text.
pub(super) fn success(entry: &Entry, body: Value, limit: usize) -> CallToolResult {
    let mut body = match body {
        Value::Object(_) => body,
        Value::Null => Value::Object(Map::new()),
        other => Value::Object(Map::from_iter([("result".to_owned(), other)])),
    };
    let withheld = redact::redact(&mut body);
    let fitted = truncate::fit(body, limit);
    let mut content = vec![ContentBlock::text(fitted.text)];
    let mut notes: Vec<String> = fitted.note.into_iter().collect();
    if !withheld.is_empty() {
        notes.push(format!("Withheld from this answer: {}.", withheld.join(", ")));
    }
    if entry.spec.success == 204 {
        notes.push(format!("Done: {}.", entry.spec.title));
    }
    if !notes.is_empty() {
        content.push(ContentBlock::text(notes.join(" ")));
    }
    let mut result = CallToolResult::success(content);
    result.structured_content = Some(fitted.value);
    result
}

/// The answer of a call that failed: a tool error that a model can act on.
pub(super) fn failure(entry: &Entry, error: &Error) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(describe(entry, error))])
}

/// Code, message, fields, what to do next and whether to repeat, one a line.
pub(super) fn describe(entry: &Entry, error: &Error) -> String {
    let mut text = format!("{}: {}", error.code(), error.message());
    let mut line = |parts: [&str; 4]| {
        text.push('\n');
        text.extend(parts);
    };
    for field in error.fields() {
        let name = field.pointer.trim_start_matches('/');
        line(["- ", name, if name.is_empty() { "" } else { ": " }, &field.detail]);
    }
    line(["Next: ", &next_step::next_step(entry, error), "", ""]);
    if let Some(request) = error.request() {
        line(["Request: ", request, "", ""]);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::catalogue;
    use crate::error::Kind;

    fn entry(name: &str) -> &'static Entry {
        catalogue().get(name).unwrap()
    }

    #[test]
    fn text_and_structured_content_are_the_same() {
        let result = success(entry("tasks_get"), json!({ "taskId": "task-1", "status": "created" }), 32 * 1024);
        let text = &result.content[0].as_text().unwrap().text;
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), result.structured_content.unwrap());
        assert!(!text.contains(": "), "the text is compact");
    }

    #[test]
    fn nothing_is_an_empty_object_and_a_word() {
        let result = success(entry("entities_delete"), Value::Null, 32 * 1024);
        assert_eq!(result.structured_content, Some(json!({})));
        assert!(result.content[1].as_text().unwrap().text.contains("Delete a record"));
    }

    #[test]
    fn an_error_says_field_allowed_values_and_next_step() {
        let error = Error::new(Kind::NotFound, "FM-HTS-NOT-FOUND", "there is no task task-9").field("/id", "unknown", "names no task");
        let result = failure(entry("tasks_get"), &error);
        let text = &result.content[0].as_text().unwrap().text;
        assert_eq!(result.is_error, Some(true));
        assert!(result.structured_content.is_none());
        assert!(text.starts_with("FM-HTS-NOT-FOUND: there is no task task-9\n- id: names no task\nNext: "), "{text}");
        assert!(text.contains("tasks_list"), "{text}");
    }
}
