//! What a host can read by address: each kind of thing by its id, a few lists, and the state of the services.

use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use rmcp::model::{self, CacheScope, ReadResourceResult, ResourceContents, ResourceTemplate};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Map, Value, json};

use super::answer;
use super::request::Request;
use super::toolsets::Offer;
use super::{App, services};
use crate::api::service::Resource;
use crate::api::{SERVICES, catalogue};
use crate::auth::Caller;
use crate::error::{Error, Kind};

const SCHEME: &str = "flowmaster://";
/// Longest address that is looked at, in bytes.
const MAX_ADDRESS_LENGTH: usize = 2048;

/// Every resource of every service.
fn all() -> impl Iterator<Item = &'static Resource> {
    SERVICES.iter().flat_map(|service| service.resources)
}

/// The arguments in an address that is one of this resource's.
fn arguments_of(resource: &Resource, path: &str) -> Option<Map<String, Value>> {
    let mut given = path.split('/');
    let mut arguments: Map<String, Value> = resource.fixed.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    for segment in resource.path.split('/') {
        let text = given.next()?;
        match segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}')) {
            Some(name) => {
                let text = percent_decode_str(text).decode_utf8().ok().filter(|text| !text.is_empty())?;
                arguments.insert(name.to_owned(), text.into_owned().into());
            }
            None if segment == text => {}
            None => return None,
        }
    }
    given.next().is_none().then_some(arguments)
}

/// The resources that a caller may read.
pub(super) fn visible<'a>(app: &'a App, caller: &'a Caller, offer: &'a Offer) -> impl Iterator<Item = &'static Resource> + 'a {
    all().filter(|resource| catalogue().get(resource.operation).is_some_and(|entry| app.may_freely(caller, offer, entry)))
}

/// Finds a resource of the caller's, once it is known whether the platform has its operation.
pub(super) async fn find<T>(request: &Request, fits: impl Fn(&'static Resource) -> Option<T>) -> Option<(&'static Resource, T)> {
    let (resource, found) = all().find_map(|resource| Some((resource, fits(resource)?)))?;
    let entry = catalogue().get(resource.operation)?;
    request.app.learn(entry).await;
    request.app.may_freely(&request.caller, &request.offer, entry).then_some((resource, found))
}

pub(super) fn listed(app: &App, caller: &Caller, offer: &Offer) -> Vec<model::Resource> {
    visible(app, caller, offer)
        .filter(|address| !address.is_template())
        .map(|address| {
            model::Resource::new(format!("{SCHEME}{}", address.path), address.name)
                .with_title(address.title)
                .with_description(address.description)
                .with_mime_type("application/json")
        })
        .chain([model::Resource::new(format!("{SCHEME}{}", services::PATH), "services")
            .with_title("Services")
            .with_description("The services of the platform, and whether this server's calls reach them now.")
            .with_mime_type("application/json")])
        .collect()
}

pub(super) fn templates(app: &App, caller: &Caller, offer: &Offer) -> Vec<ResourceTemplate> {
    visible(app, caller, offer)
        .filter(|address| address.is_template())
        .map(|address| {
            ResourceTemplate::new(format!("{SCHEME}{}", address.path), address.name)
                .with_title(address.title)
                .with_description(address.description)
                .with_mime_type("application/json")
        })
        .collect()
}

/// A resource of the caller's, with the arguments of the operation that reads it.
pub(super) struct Located {
    pub(super) resource: &'static Resource,
    pub(super) arguments: Map<String, Value>,
}

/// Finds the resource at an address.
pub(super) async fn locate(request: &Request, uri: &str) -> Result<Located, ErrorData> {
    let path = uri.strip_prefix(SCHEME).filter(|_| uri.len() <= MAX_ADDRESS_LENGTH);
    let found = match path {
        Some(path) => find(request, |resource| arguments_of(resource, path)).await,
        None => None,
    };
    found.map(|(resource, arguments)| Located { resource, arguments }).ok_or_else(|| missing(uri, None))
}

/// Whether an address is that of the services' states, which are this server's own.
pub(super) fn is_services(uri: &str) -> bool {
    uri.strip_prefix(SCHEME) == Some(services::PATH)
}

pub(super) async fn read(request: &Request, uri: &str, context: &RequestContext<RoleServer>) -> Result<ReadResourceResult, ErrorData> {
    if is_services(uri) {
        return Ok(contents(uri, &services::all(&request.app), Duration::ZERO));
    }
    let Located { resource: address, arguments } = locate(request, uri).await?;
    let app = Arc::clone(&request.app);
    let _counted = app.calls.token();
    let reply = tokio::select! {
        biased;
        () = context.ct.cancelled() => Err(Error::new(Kind::Cancelled, "FM-MCP-CANCELLED", "the call was cancelled")),
        reply = request.read(address.operation, arguments, app.settings.answer_limit) => reply,
    };
    let body = reply.map_err(|error| refusal(request, uri, address, &error))?.body;
    let entry = catalogue().get(address.operation);
    if let Some(entry) = entry {
        app.seen.keep(&request.caller, entry, &body);
    }
    let ttl = entry.and_then(|entry| entry.spec.cache).unwrap_or_default();
    Ok(contents(uri, &body, ttl))
}

fn contents(uri: &str, body: &Value, ttl: Duration) -> ReadResourceResult {
    ReadResourceResult::new(vec![ResourceContents::text(body.to_string(), uri).with_mime_type("application/json")])
        .with_ttl_ms(u64::try_from(ttl.as_millis()).unwrap_or_default())
        .with_cache_scope(CacheScope::Private)
}

/// -32602 under 2026-07-28, -32002 in the old; rmcp knows which.
///
/// The code is the platform's, where it was asked.
fn missing(uri: &str, code: Option<&str>) -> ErrorData {
    let shown: String = uri.chars().take(200).collect();
    let mut data = json!({ "uri": shown });
    if let Some(code) = code {
        data["code"] = code.into();
    }
    ErrorData::resource_not_found(format!("there is no resource {shown}"), Some(data))
}

pub(super) fn refusal(request: &Request, uri: &str, address: &Resource, error: &Error) -> ErrorData {
    // What cannot be an id names nothing. A list is always there: a platform without it is another fault.
    if address.is_template() && matches!(error.kind(), Kind::NotFound | Kind::Invalid | Kind::Malformed) {
        return missing(uri, Some(error.code()));
    }
    let text = catalogue()
        .get(address.operation)
        .map_or_else(|| error.to_string(), |entry| answer::describe(entry, error, &|other| request.has(other)));
    let data = Some(json!({ "uri": uri, "code": error.code() }));
    match error.kind() {
        Kind::Forbidden | Kind::Unauthenticated => ErrorData::invalid_request(text, data),
        _ => ErrorData::internal_error(text, data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(path: &str) -> Option<(&'static str, Map<String, Value>)> {
        all().find_map(|address| Some((address.operation, arguments_of(address, path)?)))
    }

    #[test]
    fn an_address_names_an_operation_and_its_arguments() {
        let (operation, arguments) = find("entities/customer/entity%2F1%20a").unwrap();
        assert_eq!((operation, Value::Object(arguments)), ("entities_get", json!({ "type": "customer", "id": "entity/1 a" })));
        assert_eq!(find("tasks").unwrap().0, "tasks_list");
        assert_eq!(find("tasks/task-1/history").unwrap().0, "tasks_history");
        for path in ["", "tasks/", "tasks/a/b", "executions", "processes/p/x", "tasks/a/history/x", "tasks/%ff"] {
            assert!(find(path).is_none(), "{path}");
        }
    }
}
