//! Completion of ids: what the caller's own lists hold, a few at a time.

use std::collections::HashMap;

use rmcp::model::{CompleteRequestParams, CompleteResult, CompletionInfo, Reference};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Map, Value, json};

use super::handler::Visit;
use super::prompts;
use super::resources::{ADDRESSES, OPEN};

/// How many values are proposed at most.
const MOST: usize = 50;

/// Where the values of an argument come from.
enum Source {
    /// A field of the items that a list answers.
    List {
        operation: &'static str,
        arguments: Value,
        field: &'static str,
    },
    /// A choice that is known.
    Known(&'static [&'static str]),
    Nothing,
}

pub(super) async fn complete(
    visit: &Visit,
    request: CompleteRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CompleteResult, ErrorData> {
    let before = request.context.and_then(|context| context.arguments).unwrap_or_default();
    // What is not there has nothing to propose; a host asks at every key, and an error would only flicker.
    let name = &request.argument.name;
    let source = match &request.r#ref {
        Reference::Prompt(prompt) if prompts::takes(&prompt.name, name) => of_prompt(name),
        Reference::Resource(resource) => match resource.uri.strip_prefix("flowmaster://") {
            Some(path) if ADDRESSES.iter().any(|address| address.path == path) => of_template(path, name, &before),
            _ => Source::Nothing,
        },
        _ => Source::Nothing,
    };
    let values = match source {
        Source::Nothing => Vec::new(),
        Source::Known(values) => values.iter().map(|value| (*value).to_owned()).collect(),
        Source::List { operation, arguments, field } => tokio::select! {
            biased;
            () = context.ct.cancelled() => Vec::new(),
            values = fetch(visit, operation, arguments, field) => values,
        },
    };
    let given = request.argument.value;
    let mut fitting: Vec<String> = values.into_iter().filter(|value| value.starts_with(&given)).collect();
    let more = fitting.len() > MOST;
    fitting.truncate(MOST);
    let completion = CompletionInfo::with_pagination(fitting, None, more).map_err(|error| ErrorData::internal_error(error, None))?;
    Ok(CompleteResult::new(completion))
}

fn of_prompt(argument: &str) -> Source {
    match argument {
        "executionId" => executions(),
        "assignee" => Source::Known(&["me"]),
        _ => Source::Nothing,
    }
}

fn of_template(path: &str, argument: &str, before: &HashMap<String, String>) -> Source {
    match (path.split('/').next().unwrap_or_default(), argument) {
        ("tasks", "id") => Source::List { operation: "tasks_list", arguments: json!({ "limit": 200 }), field: "taskId" },
        ("executions", "id") => executions(),
        ("processes", "id") => {
            Source::List { operation: "events_replay", arguments: json!({ "topic": "process.created", "limit": 200 }), field: "subject" }
        }
        ("entities", "id") => match before.get("type") {
            Some(kind) => Source::List { operation: "entities_query", arguments: json!({ "type": kind, "limit": 200 }), field: "id" },
            None => Source::Nothing,
        },
        _ => Source::Nothing,
    }
}

/// The executions that wait for somebody: those one asks about.
fn executions() -> Source {
    Source::List { operation: "tasks_list", arguments: json!({ "status": OPEN, "limit": 200 }), field: "executionId" }
}

/// What cannot be listed completes to nothing.
async fn fetch(visit: &Visit, operation: &str, arguments: Value, field: &str) -> Vec<String> {
    let arguments: Map<String, Value> = arguments.as_object().cloned().unwrap_or_default();
    let reply = match visit.app.read(&visit.caller, operation, arguments).await {
        Ok(reply) => reply,
        Err(error) => {
            tracing::debug!(operation, code = error.code(), "nothing to complete with");
            return Vec::new();
        }
    };
    let mut values: Vec<String> = Vec::new();
    for item in reply.body.get("items").and_then(Value::as_array).into_iter().flatten() {
        if let Some(value) = item.get(field).and_then(Value::as_str)
            && !values.iter().any(|known| known == value)
        {
            values.push(value.to_owned());
        }
    }
    values
}
