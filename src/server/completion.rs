//! Completion of ids: what the caller has met in answers, and what its own lists hold, a few at a time.

use std::collections::{HashMap, HashSet};

use rmcp::model::{CompleteRequestParams, CompleteResult, CompletionInfo, Reference};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Map, Value};

use super::known_ids::IdKind;
use super::request::Request;
use super::{prompts, resources};
use crate::api::service::{Id, Lister, Resource};
use crate::api::{SERVICES, catalogue};
use crate::error::{Error, Kind, Result};

/// How many values are proposed at most.
const MAX_VALUES: usize = 50;
/// How many items of a list are looked at.
const LIST_LIMIT: u32 = 200;

/// Where the values of an argument come from.
enum Source<'a> {
    /// What the caller has met, then what its own list holds.
    Ids {
        of: IdKind<'a>,
        listers: [Option<&'static Lister>; 2],
    },
    /// A choice that is known.
    Known(&'static [&'static str]),
    Nothing,
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
        Reference::Prompt(prompt) if prompts::takes(request, &prompt.name, name) => of_prompt(name),
        Reference::Resource(resource) => match resource.uri.strip_prefix("flowmaster://") {
            Some(path) => match resources::find(request, |resource| (resource.path == path).then_some(())).await {
                Some((template, ())) => of_template(template, name, &before),
                None => Source::Nothing,
            },
            None => Source::Nothing,
        },
        _ => Source::Nothing,
    };
    let values = match source {
        Source::Nothing => Vec::new(),
        Source::Known(values) => values.iter().map(|value| (*value).to_owned()).collect(),
        Source::Ids { of, listers } => {
            let mut values = request.app.seen.met(&request.caller, of);
            if let Some(lister) = there(request, listers).await {
                let what = match &params.r#ref {
                    Reference::Prompt(prompt) => prompt.name.as_str(),
                    Reference::Resource(resource) => resource.uri.as_str(),
                    _ => "",
                };
                let audit = &request.app.audit;
                let note = audit.begin_reading(&request.caller, request.transport(), "completion", &format!("{what}#{name}"));
                let fetched = tokio::select! {
                    biased;
                    () = context.ct.cancelled() => Err(Error::new(Kind::Cancelled, "FM-MCP-CANCELLED", "the call was cancelled")),
                    fetched = fetch(request, lister, of.of, &mut values) => fetched,
                };
                // What cannot be listed adds nothing, and only the audit log tells why.
                audit.end_reading(note, fetched.as_ref().err().map(Error::code));
            }
            values
        }
    };
    let given = params.argument.value;
    let mut fitting: Vec<String> = values.into_iter().filter(|value| value.starts_with(&given)).collect();
    let more = fitting.len() > MAX_VALUES;
    fitting.truncate(MAX_VALUES);
    let completion = CompletionInfo::with_pagination(fitting, None, more).map_err(|error| ErrorData::internal_error(error, None))?;
    Ok(CompleteResult::new(completion))
}

fn of_prompt(argument: &str) -> Source<'static> {
    match argument {
        "assignee" => Source::Known(&["me"]),
        field => ids().find(|id| id.field == field).map_or(Source::Nothing, |id| of_id(id, "")),
    }
}

/// The ids that a placeholder of a template takes. Which of them may depend on a placeholder before it.
fn of_template<'a>(template: &Resource, argument: &str, before: &'a HashMap<String, String>) -> Source<'a> {
    let kind = template.ids.iter().find(|(placeholder, _)| *placeholder == argument).map(|(_, kind)| *kind);
    let Some(id) = ids().find(|id| Some(id.kind) == kind) else { return Source::Nothing };
    match id.lister.and_then(|lister| lister.within) {
        Some(within) => before.get(within).map_or(Source::Nothing, |of| of_id(id, of)),
        None => of_id(id, ""),
    }
}

fn of_id<'a>(id: &'static Id, of: &'a str) -> Source<'a> {
    Source::Ids { of: IdKind { kind: id.kind, of }, listers: [id.lister.as_ref(), id.fallback.as_ref()] }
}

/// The first of the listers that the platform has and the request is offered.
async fn there(request: &Request, listers: [Option<&'static Lister>; 2]) -> Option<&'static Lister> {
    for lister in listers.into_iter().flatten() {
        let entry = catalogue().get(lister.operation)?;
        request.app.learn(entry).await;
        // What would be made here of many reads is not worth a key that is pressed.
        if request.app.has(entry) && request.offer.holds(entry) {
            return Some(lister);
        }
    }
    None
}

fn ids() -> impl Iterator<Item = &'static Id> {
    SERVICES.iter().flat_map(|service| service.ids)
}

/// Adds the ids in a list made as the caller.
async fn fetch(request: &Request, lister: &Lister, of: &str, values: &mut Vec<String>) -> Result<()> {
    let Lister { operation, arguments, field, within, .. } = lister;
    let fixed = arguments.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
    let within = within.map(|name| (name.to_owned(), Value::from(of)));
    let arguments: Map<String, Value> = fixed.chain(within).chain([("limit".to_owned(), LIST_LIMIT.into())]).collect();
    let reply = request.read(operation, arguments, usize::MAX).await?;
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
