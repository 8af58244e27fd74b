//! Three ways to begin, each a Markdown file that is filled with what the platform says now, as the caller may see it.

use rmcp::model::{GetPromptRequestParams, GetPromptResult, Prompt, PromptArgument, PromptMessage, Role};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Map, Value, json};

use super::App;
use super::answer;
use super::request::Request;
use super::toolsets::Offer;
use crate::api::catalogue;
use crate::api::tasks::OPEN;
use crate::auth::Caller;
use crate::error::{Error, Kind, Result};

/// Longest argument, in characters.
const MAX_ARGUMENT_LENGTH: usize = 2000;

struct Template {
    name: &'static str,
    title: &'static str,
    description: &'static str,
    arguments: &'static [Argument],
    /// The operation without which the prompt has nothing to show.
    needs: &'static str,
    text: &'static str,
}

struct Argument {
    name: &'static str,
    description: &'static str,
    required: bool,
}

const TEMPLATES: &[Template] = &[
    Template {
        name: "approve-inbox",
        title: "Work through open tasks",
        description: "Goes through the tasks that wait for a decision, the most urgent first.",
        arguments: &[Argument {
            name: "assignee",
            description: "A user id or a role; `me` for yourself; all open tasks if absent.",
            required: false,
        }],
        needs: "tasks_list",
        text: include_str!("prompts/approve-inbox.md"),
    },
    Template {
        name: "diagnose-execution",
        title: "Find out what is wrong with an execution",
        description: "Explains where an execution stands, why it is stuck or failed, and what can be done.",
        arguments: &[Argument { name: "executionId", description: "The execution.", required: true }],
        needs: "executions_get",
        text: include_str!("prompts/diagnose-execution.md"),
    },
    Template {
        name: "design-process",
        title: "Design a process",
        description: "Turns a description of some work into a process that is checked and ready to publish.",
        arguments: &[Argument {
            name: "goal",
            description: "What the process is for, who takes part and what they decide.",
            required: true,
        }],
        needs: "processes_create",
        text: include_str!("prompts/design-process.md"),
    },
];

fn visible<'a>(app: &'a App, caller: &'a Caller, offer: &'a Offer) -> impl Iterator<Item = &'static Template> + 'a {
    TEMPLATES.iter().filter(|template| catalogue().get(template.needs).is_some_and(|entry| app.may_freely(caller, offer, entry)))
}

pub(super) fn listed(app: &App, caller: &Caller, offer: &Offer) -> Vec<Prompt> {
    visible(app, caller, offer)
        .map(|template| {
            let arguments = template
                .arguments
                .iter()
                .map(|argument| PromptArgument::new(argument.name).with_description(argument.description).with_required(argument.required))
                .collect();
            Prompt::new(template.name, Some(template.description), Some(arguments)).with_title(template.title)
        })
        .collect()
}

/// Whether a caller has a prompt of that name with such an argument.
pub(super) fn takes(request: &Request, prompt: &str, argument: &str) -> bool {
    visible(&request.app, &request.caller, &request.offer)
        .any(|template| template.name == prompt && template.arguments.iter().any(|known| known.name == argument))
}

pub(super) async fn get(
    request: &Request,
    params: GetPromptRequestParams,
    context: &RequestContext<RoleServer>,
) -> std::result::Result<GetPromptResult, ErrorData> {
    let shown: String = params.name.chars().take(80).collect();
    let template =
        visible(&request.app, &request.caller, &request.offer).find(|template| template.name == params.name).ok_or_else(|| {
            let known: Vec<&str> = visible(&request.app, &request.caller, &request.offer).map(|template| template.name).collect();
            ErrorData::invalid_params(
                format!("there is no prompt `{shown}`; there are {}", known.join(", ")),
                Some(json!({ "prompt": shown })),
            )
        })?;
    let given = arguments(template, &params.arguments.unwrap_or_default())?;
    let _counted = request.app.calls.token();
    let data = tokio::select! {
        biased;
        () = context.ct.cancelled() => Err(Error::new(Kind::Cancelled, "FM-MCP-CANCELLED", "the call was cancelled")),
        data = data(request, template.name, &given) => data,
    };
    let data = data.map_err(|error| {
        let text = catalogue()
            .get(template.needs)
            .map_or_else(|| error.to_string(), |entry| answer::describe(entry, &error, &|other| request.has(other)));
        let about = Some(json!({ "prompt": template.name, "code": error.code() }));
        match error.kind() {
            Kind::NotFound | Kind::Invalid | Kind::Malformed => ErrorData::invalid_params(text, about),
            Kind::Forbidden | Kind::Unauthenticated => ErrorData::invalid_request(text, about),
            _ => ErrorData::internal_error(text, about),
        }
    })?;
    let values: Vec<(&str, &str)> =
        given.iter().map(|(name, value)| (*name, value.as_str())).chain(data.iter().map(|(name, value)| (*name, value.as_str()))).collect();
    let text = fill(template.text, &values);
    Ok(GetPromptResult::new(vec![PromptMessage::new_text(Role::User, text)]).with_description(template.description))
}

/// Checks what was given against what the prompt takes.
fn arguments(template: &Template, given: &Map<String, Value>) -> std::result::Result<Vec<(&'static str, String)>, ErrorData> {
    let wrong = |name: &str, what: &str| {
        let known: Vec<&str> = template.arguments.iter().map(|argument| argument.name).collect();
        let name: String = name.chars().take(80).collect();
        ErrorData::invalid_params(
            format!("the argument `{name}` {what}; {} takes {}", template.name, known.join(", ")),
            Some(json!({ "prompt": template.name, "argument": name, "code": "FM-MCP-ARGUMENTS" })),
        )
    };
    if let Some(name) = given.keys().find(|name| template.arguments.iter().all(|argument| argument.name != name.as_str())) {
        return Err(wrong(name, "is not known"));
    }
    let mut values = Vec::new();
    for argument in template.arguments {
        let value = match given.get(argument.name) {
            Some(Value::String(text)) => text.trim().to_owned(),
            None | Some(Value::Null) => String::new(),
            Some(_) => return Err(wrong(argument.name, "must be text")),
        };
        if value.is_empty() && argument.required {
            return Err(wrong(argument.name, "is missing"));
        }
        if value.chars().count() > MAX_ARGUMENT_LENGTH {
            return Err(wrong(argument.name, &format!("is longer than {MAX_ARGUMENT_LENGTH} characters")));
        }
        values.push((argument.name, value));
    }
    Ok(values)
}

/// What the platform says now, by the placeholders of the text.
async fn data(request: &Request, prompt: &str, given: &[(&str, String)]) -> Result<Vec<(&'static str, String)>> {
    let argument = |name: &str| given.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str()).unwrap_or_default();
    match prompt {
        "approve-inbox" => {
            let mut filter = json!({ "status": OPEN, "sort": "createdAt", "limit": 50 });
            let assignee = argument("assignee");
            if !assignee.is_empty() {
                filter["assignee"] = assignee.into();
            }
            Ok(vec![("tasks", fetch(request, "tasks_list", filter).await?)])
        }
        "diagnose-execution" => {
            let id = argument("executionId");
            let (execution, history, tasks) = tokio::join!(
                fetch(request, "executions_get", json!({ "id": id })),
                fetch(request, "executions_history", json!({ "id": id, "limit": 100 })),
                fetch(request, "tasks_list", json!({ "executionId": id })),
            );
            Ok(vec![("execution", execution?), ("history", or_why_not(history)), ("tasks", or_why_not(tasks))])
        }
        _ => {
            let processes = fetch(request, "events_replay", json!({ "topic": "process.created", "limit": 30 })).await;
            Ok(vec![("processes", or_why_not(processes))])
        }
    }
}

async fn fetch(request: &Request, operation: &str, arguments: Value) -> Result<String> {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    let limit = request.app.settings.answer_limit / 2;
    Ok(request.read(operation, arguments, limit).await?.body.to_string())
}

/// What else a prompt shows may be missing; the reason is as good.
fn or_why_not(text: Result<String>) -> String {
    text.unwrap_or_else(|error| json!({ "notAvailable": error.code(), "why": error.message() }).to_string())
}

/// Fills the placeholders in one pass, so that no value is searched for placeholders itself.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(before);
        let Some((name, after)) = after.split_once("}}") else {
            rest = after;
            break;
        };
        text.push_str(values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value));
        rest = after;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_not_searched_for_placeholders() {
        assert_eq!(fill("a {{x}} b {{y}} {{z}}", &[("x", "{{y}}"), ("y", "2")]), "a {{y}} b 2 ");
    }

    #[test]
    fn arguments_are_checked() {
        let template = &TEMPLATES[1];
        let of = |value: Value| arguments(template, value.as_object().unwrap());
        assert_eq!(of(json!({ "executionId": " exec-1 " })).unwrap(), [("executionId", "exec-1".to_owned())]);
        for wrong in [json!({}), json!({ "executionId": "" }), json!({ "executionId": 5 }), json!({ "executionId": "e", "other": "x" })] {
            assert!(of(wrong).is_err());
        }
        assert!(of(json!({ "executionId": "x".repeat(2001) })).is_err());
    }

    #[test]
    fn every_text_is_filled_by_what_is_fetched_or_given() {
        let fetched: &[(&str, &[&str])] = &[
            ("approve-inbox", &["tasks"]),
            ("diagnose-execution", &["execution", "history", "tasks"]),
            ("design-process", &["processes"]),
        ];
        for template in TEMPLATES {
            let (_, known) = fetched.iter().find(|(name, _)| *name == template.name).unwrap();
            for name in template.text.split("{{").skip(1).map(|part| part.split_once("}}").unwrap().0) {
                assert!(known.contains(&name) || template.arguments.iter().any(|argument| argument.name == name), "{name}");
            }
            for tool in template.text.split('`').skip(1).step_by(2).filter(|word| word.contains('_') && !word.contains(' ')) {
                assert!(super::super::tools::find(tool).is_some() || tool == "human_task", "{} names {tool}", template.name);
            }
        }
    }
}
