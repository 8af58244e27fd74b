//! Completion of ids: what the caller has met in answers, and what its own lists hold, a few at a time.

use std::collections::{HashMap, HashSet};

use rmcp::model::{CompleteRequestParams, CompleteResult, CompletionInfo, Reference};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Map, Value, json};

use super::known_ids::IdKind;
use super::request::Request;
use super::resources::OPEN;
use super::{prompts, resources};
use crate::error::{Error, Kind, Result};

/// How many values are proposed at most.
const MOST: usize = 50;

/// Where the values of an argument come from.
enum Source<'a> {
    /// What the caller has met, then what its own list holds.
    Ids {
        of: IdKind<'a>,
        list: Option<List>,
    },
    /// A choice that is known.
    Known(&'static [&'static str]),
    Nothing,
}

/// A field of the items that a list answers.
struct List {
    operation: &'static str,
    arguments: Value,
    field: &'static str,
}

pub(super) async fn complete(
    request: &Request,
    params: CompleteRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CompleteResult, ErrorData> {
    let before = params.context.and_then(|context| context.arguments).unwrap_or_default();
    // What is not there has nothing to propose; a host asks at every key, and an error would only flicker.
    let name = &params.argument.name;
    let source = match &params.r#ref {
        Reference::Prompt(prompt) if prompts::takes(&request.app, &request.caller, &prompt.name, name) => of_prompt(name),
        Reference::Resource(resource) => match resource.uri.strip_prefix("flowmaster://") {
            Some(path) if resources::visible(&request.app, &request.caller).any(|address| address.path == path) => {
                of_template(path, name, &before)
            }
            _ => Source::Nothing,
        },
        _ => Source::Nothing,
    };
    let values = match source {
        Source::Nothing => Vec::new(),
        Source::Known(values) => values.iter().map(|value| (*value).to_owned()).collect(),
        Source::Ids { of, list } => {
            let mut values = request.app.seen.met(&request.caller, of);
            if let Some(list) = list {
                let what = match &params.r#ref {
                    Reference::Prompt(prompt) => prompt.name.as_str(),
                    Reference::Resource(resource) => resource.uri.as_str(),
                    _ => "",
                };
                let audit = &request.app.audit;
                let note = audit.begin_reading(&request.caller, request.transport(), "completion", &format!("{what}#{name}"));
                let fetched = tokio::select! {
                    biased;
                    () = context.ct.cancelled() => Err(Error::new(Kind::Cancelled, "FM-MCP-CANCELLED", "the params was taken back")),
                    fetched = fetch(request, list, &mut values) => fetched,
                };
                // What cannot be listed adds nothing, and only the record tells why.
                audit.end_reading(note, fetched.as_ref().err().map(Error::code));
            }
            values
        }
    };
    let given = params.argument.value;
    let mut fitting: Vec<String> = values.into_iter().filter(|value| value.starts_with(&given)).collect();
    let more = fitting.len() > MOST;
    fitting.truncate(MOST);
    let completion = CompletionInfo::with_pagination(fitting, None, more).map_err(|error| ErrorData::internal_error(error, None))?;
    Ok(CompleteResult::new(completion))
}

fn of_prompt(argument: &str) -> Source<'static> {
    match argument {
        "executionId" => executions(),
        "assignee" => Source::Known(&["me"]),
        _ => Source::Nothing,
    }
}

fn of_template<'a>(path: &str, argument: &str, before: &'a HashMap<String, String>) -> Source<'a> {
    match (path.split('/').next().unwrap_or_default(), argument) {
        ("tasks", "id") => {
            let list = List { operation: "tasks_list", arguments: json!({ "limit": 200 }), field: "taskId" };
            Source::Ids { of: IdKind::Task, list: Some(list) }
        }
        ("executions", "id") => executions(),
        ("processes", "id") => {
            let arguments = json!({ "topic": "process.created", "limit": 200 });
            Source::Ids { of: IdKind::Process, list: Some(List { operation: "events_replay", arguments, field: "subject" }) }
        }
        ("entities", "type") => Source::Ids { of: IdKind::Type, list: None },
        ("entities", "id") => match before.get("type") {
            Some(kind) => {
                let list = List { operation: "entities_query", arguments: json!({ "type": kind, "limit": 200 }), field: "id" };
                Source::Ids { of: IdKind::Record(kind), list: Some(list) }
            }
            None => Source::Nothing,
        },
        _ => Source::Nothing,
    }
}

/// The executions that wait for somebody: those one asks about.
fn executions() -> Source<'static> {
    let list = List { operation: "tasks_list", arguments: json!({ "status": OPEN, "limit": 200 }), field: "executionId" };
    Source::Ids { of: IdKind::Execution, list: Some(list) }
}

/// Adds what a list made as the caller holds.
async fn fetch(request: &Request, list: List, values: &mut Vec<String>) -> Result<()> {
    let List { operation, arguments, field } = list;
    let arguments: Map<String, Value> = arguments.as_object().cloned().unwrap_or_default();
    let reply = request.app.read(&request.caller, operation, arguments).await?;
    let mut known: HashSet<String> = values.iter().cloned().collect();
    for item in reply.body.get("items").and_then(Value::as_array).into_iter().flatten() {
        if let Some(value) = item.get(field).and_then(Value::as_str)
            && known.insert(value.to_owned())
        {
            values.push(value.to_owned());
        }
    }
    Ok(())
}
