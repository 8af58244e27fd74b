//! What a model gets: the platform's JSON, normalised, redacted and bounded, or an error that says what to do next.

pub(crate) mod next_step;
pub(crate) mod redact;
pub(crate) mod truncate;

use std::sync::Arc;

use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Map, Value};

use super::App;
use crate::api::{Effect, Entry};
use crate::auth::Caller;
use crate::client::{CallOptions, Reply};
use crate::error::{Error, Result};

/// Times that a page is asked for again with a smaller limit, should its items grow meanwhile.
const MAX_REFETCHES: usize = 2;

impl App {
    /// Calls the platform and fits its answer into so many bytes. A page that does not fit is asked for again with the limit
    /// that fits, so that its items and its cursor belong together.
    pub(super) async fn answer(
        &self,
        caller: &Arc<Caller>,
        entry: &'static Entry,
        arguments: Map<String, Value>,
        options: CallOptions,
        limit: usize,
    ) -> Result<Reply> {
        let pages =
            matches!(entry.spec.effect, Effect::Read) && entry.shape.input.get("properties").and_then(|all| all.get("limit")).is_some();
        let again = pages.then(|| (arguments.clone(), options.clone()));
        let mut reply = self.send(caller, entry, arguments, options).await?;
        let mut withheld = redact::redact(&mut reply.body);
        if let Some((mut arguments, options)) = again {
            for _ in 0..MAX_REFETCHES {
                let Some(count) = truncate::items_that_fit(&reply.body, limit) else { break };
                let asked = arguments.insert("limit".to_owned(), count.into());
                if asked == Some(count.into()) {
                    break;
                }
                reply = self.send(caller, entry, arguments.clone(), options.clone()).await?;
                withheld = redact::redact(&mut reply.body);
            }
        }
        truncate::fit(&mut reply.body, &entry.shape.output, limit, withheld);
        Ok(reply)
    }
}

/// The result of a call that succeeded: structured content and the same JSON, compact, as text.
pub(super) fn success(body: Value) -> CallToolResult {
    // Written at once: `to_string` of a value goes through a formatter, which looks at each piece of it again.
    let text = serde_json::to_string(&body).unwrap_or_default();
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.structured_content = Some(body);
    result
}

/// The answer of a call that failed: a tool error that a model can act on.
/// Only operations that the platform has are told as a next step.
pub(super) fn failure(entry: &Entry, error: &Error, has: impl Fn(&Entry) -> bool) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(describe(entry, error, &has))])
}

/// Code, message, fields, what to do next and whether to repeat, one a line.
pub(super) fn describe(entry: &Entry, error: &Error, has: &dyn Fn(&Entry) -> bool) -> String {
    let mut text = format!("{}: {}", error.code(), error.message());
    let mut line = |parts: [&str; 4]| {
        text.push('\n');
        text.extend(parts);
    };
    for field in error.fields() {
        let name = field.pointer.trim_start_matches('/');
        line(["- ", name, if name.is_empty() { "" } else { ": " }, &field.detail]);
    }
    line(["Next: ", &next_step::next_step(entry, error, has), "", ""]);
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
        let result = success(json!({ "taskId": "task-1", "status": "created" }));
        let text = &result.content[0].as_text().unwrap().text;
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), result.structured_content.unwrap());
        assert!(!text.contains(": "), "the text is compact");
    }

    #[test]
    fn an_error_says_field_allowed_values_and_next_step() {
        let error = Error::new(Kind::NotFound, "FM-HTS-NOT-FOUND", "there is no task task-9").field("/id", "unknown", "names no task");
        let result = failure(entry("tasks_get"), &error, |_| true);
        let text = &result.content[0].as_text().unwrap().text;
        assert_eq!(result.is_error, Some(true));
        assert!(result.structured_content.is_none());
        assert!(text.starts_with("FM-HTS-NOT-FOUND: there is no task task-9\n- id: names no task\nNext: "), "{text}");
        assert!(text.contains("tasks_list"), "{text}");
    }
}
