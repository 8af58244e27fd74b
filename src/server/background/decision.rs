//! A question inside a task of MCP: where a wait stands still because its own caller has to decide, the person is asked.
//!
//! The host shows the form of the human task, and the answer counts as `tasks_respond` with a person's consent. Who says no
//! to the question is not asked about that human task again; the wait goes on, and somebody else may decide.

use rmcp::model::{ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema, InputRequest, JsonObject};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Kept;
use crate::api::ids::TaskId;
use crate::api::tasks::{Form, FormField, List, Respond, Task, TaskStatus};
use crate::api::{self, Entry, Operation as _, PageRequest};
use crate::client::{CallOptions, Reply};
use crate::error::{Error, Kind, Result};
use crate::server::audit::Decision;
use crate::server::consent::unchanged;
use crate::server::request::Request;
use crate::server::{App, operation, typed};
use crate::telemetry::TraceContext;

/// How many open tasks of the caller's are looked through.
const LOOKED_THROUGH: u32 = 50;

/// What a task asks its person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Asked {
    /// The name of the question, which no other question of the task has.
    pub(super) key: String,
    /// The human task.
    task: TaskId,
    /// What stood for it when the question was made.
    seen: Option<String>,
    /// The version that the answer must still meet.
    if_match: Option<String>,
    /// What the host shows.
    pub(super) request: InputRequest,
}

/// Why an answer was not taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Fault {
    /// The human task that it was for.
    task: TaskId,
    why: String,
}

/// What came of an answer.
pub(super) enum Answered {
    Done,
    /// Not about this human task again.
    Declined(TaskId),
    /// The person is asked once more, and told why.
    Again(Fault),
}

impl Request {
    /// The question of a wait that its own caller can bring to an end.
    pub(super) async fn asks(&self, kept: &Kept, reply: &Reply, trace: TraceContext) -> Result<Option<Asked>> {
        let respond = operation(Respond::SPEC.name)?;
        let may = self.app.has(respond) && self.offer.check(respond).is_ok();
        if !may || self.app.authorise(&self.caller, respond).is_err() {
            return Ok(None);
        }
        let Some(task) = self.own_task(kept, &reply.body, trace).await? else { return Ok(None) };
        let arguments = Map::from_iter([("id".to_owned(), json!(task.task_id))]);
        let question = self.app.question_to_answer(&self.caller, respond, &arguments).await?;
        let message = match kept.fault.as_ref().filter(|fault| fault.task == task.task_id) {
            Some(Fault { why, .. }) => format!("The last answer was not taken: {why}\n\n{}", question.text),
            None => question.text,
        };
        let requested_schema = ElicitationSchema::from_json_schema(schema_of(task.form.as_ref())).map_err(Error::internal)?;
        let params = ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema };
        let request = InputRequest::Elicitation(ElicitRequest::new(params));
        // A host takes a question of another key for another one, and of the same for one that it has asked already.
        let same = kept.asked.as_ref().filter(|asked| asked.request == request);
        let key = same.map_or_else(|| format!("{}.{}", task.task_id.as_str(), kept.questions), |asked| asked.key.clone());
        Ok(Some(Asked { key, task: task.task_id, seen: question.seen, if_match: question.if_match, request }))
    }

    /// An open human task of the caller's that the wait stands still for.
    async fn own_task(&self, kept: &Kept, waited: &Value, trace: TraceContext) -> Result<Option<Task>> {
        let mut list = List {
            assignee: Some("me".to_owned()),
            status: Some(vec![TaskStatus::Created, TaskStatus::Assigned, TaskStatus::Escalated]),
            page: PageRequest { limit: Some(LOOKED_THROUGH), cursor: None },
            ..List::default()
        };
        let this = if kept.tool == api::tasks::Wait::SPEC.name {
            let task: Task = typed(waited["task"].clone())?;
            (list.created_after, list.created_before) = (Some(task.created_at.plus_seconds(-1.0)), Some(task.created_at.plus_seconds(1.0)));
            Some(task.task_id)
        } else {
            list.execution_id = Some(typed(waited["execution"]["executionId"].clone())?);
            None
        };
        let found = self.app.read_as(&self.caller, &list, trace).await?;
        Ok(found.items.into_iter().find(|task| {
            let is_meant = this.as_ref().map_or(task.execution_id == list.execution_id, |this| task.task_id == *this);
            is_meant && !kept.declined.contains(&task.task_id)
        }))
    }

    /// Takes a person's answer.
    pub(super) async fn take_answer(&self, asked: Asked, answer: Value, trace: TraceContext) -> Result<Answered> {
        let answer: ElicitResult = serde_json::from_value(answer)
            .map_err(|error| Error::new(Kind::Invalid, "FM-MCP-ANSWER", format!("the person's answer cannot be understood: {error}")))?;
        if answer.action != ElicitationAction::Accept {
            return Ok(Answered::Declined(asked.task));
        }
        let respond = operation(Respond::SPEC.name)?;
        let content: Map<String, Value> = answer.content.map(typed).transpose()?.unwrap_or_default();
        let arguments = arguments_of(&asked.task, content);
        let mut note = self.app.audit.begin(&self.caller, self.transport(), respond, arguments.as_object(), &trace);
        note.decided(Decision::Confirmed);
        let done = self.respond(respond, &asked, typed(arguments)?, trace).await;
        self.app.audit.end(note, done.as_ref().map_or_else(Error::code, |()| "ok"), None);
        match done {
            Ok(()) => Ok(Answered::Done),
            Err(error) if error.kind() == Kind::Invalid => Ok(Answered::Again(Fault { task: asked.task, why: told(&error) })),
            Err(error) => Err(error),
        }
    }

    /// Much may have happened since the question was made: what stood before it is checked again.
    async fn respond(&self, respond: &'static Entry, asked: &Asked, arguments: Map<String, Value>, trace: TraceContext) -> Result<()> {
        let arguments = App::checked(&self.caller, respond, arguments)?;
        self.offer.check(respond)?;
        self.app.authorise(&self.caller, respond)?;
        self.app.rules().limits.pay(&self.caller, respond, self.app.client.metrics())?;
        unchanged(asked.seen.as_deref(), &self.app.snapshot(&self.caller, respond, &arguments).await?)?;
        let options = CallOptions { if_match: asked.if_match.clone(), traceparent: Some(trace), ..CallOptions::default() };
        self.app.answer(&self.caller, respond, arguments, options, self.app.settings.answer_limit).await.map(drop)
    }
}

/// The arguments of `tasks_respond` that a filled-in form stands for.
fn arguments_of(task: &TaskId, content: Map<String, Value>) -> Value {
    let mut arguments = json!({ "id": task });
    let mut data = Map::new();
    for (name, value) in content {
        match name.as_str() {
            "decision" | "comments" => arguments[name] = value,
            _ => drop(data.insert(name, value)),
        }
    }
    if !data.is_empty() {
        arguments["data"] = data.into();
    }
    arguments
}

/// A form as hosts show it. A decision is always asked for, and a remark can always be made.
fn schema_of(form: Option<&Form>) -> JsonObject {
    let fields = form.map_or(&[][..], |form| &form.fields);
    let mut properties: Map<String, Value> = fields.iter().map(|field| (field.name.clone(), schema_of_field(field))).collect();
    properties.entry("decision").or_insert_with(|| json!({ "type": "string", "minLength": 1 }));
    properties.entry("comments").or_insert_with(|| json!({ "type": "string" }));
    let required = fields.iter().filter(|field| field.required == Some(true) && field.name != "decision").map(|field| field.name.as_str());
    let required: Vec<&str> = std::iter::once("decision").chain(required).collect();
    JsonObject::from_iter([
        ("type".to_owned(), "object".into()),
        ("properties".to_owned(), properties.into()),
        ("required".to_owned(), json!(required)),
    ])
}

fn schema_of_field(field: &FormField) -> Value {
    let (kind, least, most) = match field.kind.as_str() {
        "number" => ("number", "minimum", "maximum"),
        "integer" => ("integer", "minimum", "maximum"),
        "boolean" => ("boolean", "", ""),
        _ => ("string", "minLength", "maxLength"),
    };
    let mut schema = json!({ "type": kind });
    match field.kind.as_str() {
        "enum" => schema["enum"] = json!(field.options),
        "date" => schema["format"] = "date".into(),
        "boolean" => {}
        _ => {
            for (name, bound) in [(least, field.min), (most, field.max)] {
                if let Some(bound) = bound {
                    schema[name] = whole(bound);
                }
            }
        }
    }
    if let Some(label) = &field.label {
        schema["title"] = label.as_str().into();
    }
    schema
}

/// A number as JSON has it: lengths and whole numbers have no fraction there.
fn whole(bound: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "the range is looked at before")]
    if bound.fract() == 0.0 && bound.abs() < 9e15 { (bound as i64).into() } else { bound.into() }
}

/// An error with the fields that are wrong.
fn told(error: &Error) -> String {
    let fields: Vec<String> =
        error.fields().iter().map(|fault| format!("{} {}", fault.pointer.trim_start_matches('/'), fault.detail)).collect();
    if fields.is_empty() { error.message().to_owned() } else { fields.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_becomes_one_that_hosts_can_show() {
        let form: Form = serde_json::from_value(json!({ "fields": [
            { "name": "decision", "type": "enum", "options": ["approve", "reject"], "required": true, "label": "What now?" },
            { "name": "amount", "type": "number", "min": 0.5, "max": 100 },
            { "name": "count", "type": "integer", "min": 1, "required": true },
            { "name": "note", "type": "text", "max": 200 },
            { "name": "paid", "type": "boolean" },
            { "name": "due", "type": "date" },
        ] }))
        .unwrap();
        let schema = schema_of(Some(&form));
        ElicitationSchema::from_json_schema(schema.clone()).unwrap();
        assert_eq!(schema["properties"]["decision"], json!({ "type": "string", "enum": ["approve", "reject"], "title": "What now?" }));
        assert_eq!(schema["properties"]["amount"], json!({ "type": "number", "minimum": 0.5, "maximum": 100 }));
        assert_eq!(schema["properties"]["note"], json!({ "type": "string", "maxLength": 200 }));
        assert_eq!(schema["properties"]["due"], json!({ "type": "string", "format": "date" }));
        assert_eq!(schema["required"], json!(["decision", "count"]));
        ElicitationSchema::from_json_schema(schema_of(None)).unwrap();
    }

    #[test]
    fn a_filled_in_form_is_an_answer() {
        let content = typed(json!({ "decision": "approve", "comments": "fine", "count": 2 })).unwrap();
        let arguments = arguments_of(&TaskId("task-1".to_owned()), content);
        assert_eq!(arguments, json!({ "id": "task-1", "decision": "approve", "comments": "fine", "data": { "count": 2 } }));
    }
}
