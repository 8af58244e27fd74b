//! `gateway_request`: the way to routes of the platform that no tool covers.
//!
//! What a route may not be is refused before a person is asked, and the path goes out in the form in which it was judged.

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use super::answer::{redact, truncate};
use super::{App, typed};
use crate::api::gateway::Request;
use crate::api::route::{Barred, Route};
use crate::api::secret::is_secret;
use crate::api::wire::{TENANT, WireRequest};
use crate::api::{Effect, Entry, FieldError, Method};
use crate::auth::Caller;
use crate::client::{CallOptions, Reply};
use crate::error::{Error, Kind, Result};

/// A call of a route that a caller named, after it was judged.
pub(super) struct RouteCall {
    /// The tool with the effect of the call's method.
    pub(super) entry: &'static Entry,
    request: WireRequest,
}

/// Judges a call of a tool whose calls name their route.
pub(super) fn judge(entry: &'static Entry, arguments: &Map<String, Value>) -> Result<RouteCall> {
    let Request { method, path, query, body } = typed(Value::Object(arguments.clone()))?;
    let method = Method::from(method);
    let mut faults = Vec::new();
    if method == Method::Get && body.is_some() {
        faults.push(FieldError::new("/body", "unused", "goes with POST, PUT and DELETE alone; parameters of GET go into `query`"));
    }
    for (place, name) in query.keys().map(|name| ("/query", name)).chain(body.iter().flat_map(Map::keys).map(|name| ("/body", name))) {
        // The tenant is the caller's, whatever a call says.
        if name.replace(['_', '-'], "").eq_ignore_ascii_case(TENANT) {
            faults.push(FieldError::new(format!("{place}/{name}"), "tenant", "is not taken: calls are for the caller's own tenant"));
        }
        if place == "/query" && is_secret(name) {
            faults.push(secret(place, name));
        }
    }
    if let Some(fields) = &body {
        secrets_in(fields, "/body", &mut faults);
    }
    let route = Route::read(method, &path).map_err(|fault| faults.push(fault)).ok();
    let Some(route) = route.filter(|_| faults.is_empty()) else {
        return Err(Error::new(Kind::Invalid, "FM-MCP-ROUTE", "the call is not one of a plain route")
            .with_fields(faults)
            .hint("Write the path absolute and plain, such as /warehouses/7, and leave secrets and the tenant out; then call again."));
    };
    if let Some(barred) = route.barred() {
        return Err(refusal(barred, &route));
    }
    let query = query.into_iter().collect();
    let request = WireRequest { method, path: route.path(), query, body: body.map(Value::Object) };
    Ok(RouteCall { entry: if method == Method::Get { reading(entry) } else { entry }, request })
}

/// The tool as GET goes by it: a read, which is repeated and asks nobody.
fn reading(entry: &'static Entry) -> &'static Entry {
    static READING: OnceLock<Entry> = OnceLock::new();
    READING.get_or_init(|| {
        let mut endpoint = entry.endpoint;
        endpoint.spec = endpoint.spec.reading();
        Entry::new(entry.service_index, entry.service, &endpoint)
    })
}

impl RouteCall {
    /// Calls the route, and fits its answer into the bytes that a model gets.
    pub(super) async fn send(self, app: &App, caller: &Arc<Caller>, options: CallOptions) -> Result<Reply> {
        let Self { entry, request } = self;
        let options = CallOptions { deadline: Some(app.settings.call_timeout), ..options };
        let mut reply = app.client.request(caller, entry, request, options).await?;
        let withheld = redact::redact(&mut reply.body);
        truncate::fit(&mut reply.body, &entry.shape.output, app.settings.answer_limit, withheld);
        Ok(reply)
    }
}

fn refusal(barred: Barred, route: &Route) -> Error {
    let named = format!("{} {}", route.method().name(), route.path());
    match barred {
        Barred::Logins => Error::new(Kind::Forbidden, "FM-MCP-ROUTE-BARRED", format!("{named} is about logins, which no call reaches"))
            .hint("Leave it: the person signs in with `flowmaster-mcp login`."),
        Barred::Records => Error::new(Kind::Forbidden, "FM-MCP-ROUTE-BARRED", format!("{named} deletes records, which no path reaches"))
            .hint("Delete single records with entities_delete; what goes beyond that is done in FlowMaster."),
        Barred::Covered(entry) if entry.spec.tool => {
            let effect = if entry.spec.effect == Effect::Read { "reads it" } else { "does it" };
            Error::new(Kind::Invalid, "FM-MCP-ROUTE-COVERED", format!("{named} is what the tool {} is for", entry.spec.name))
                .field("/path", "covered", format!("is the route of {}", entry.spec.name))
                .hint(format!("Call {}, which {effect}. If it is not offered, leave it: no path leads around it.", entry.spec.name))
        }
        Barred::Covered(entry) => {
            let message = format!("{named} is {}, which is not for hosts", entry.spec.name);
            Error::new(Kind::Forbidden, "FM-MCP-ROUTE-BARRED", message).hint("Leave it: the operator does that by the command line.")
        }
    }
}

fn secret(place: &str, name: &str) -> FieldError {
    FieldError::new(format!("{place}/{name}"), "secret", "looks like a secret, which does not belong into a call")
}

/// Names the fields at any depth that hold secrets.
fn secrets_in(fields: &Map<String, Value>, place: &str, faults: &mut Vec<FieldError>) {
    for (name, value) in fields {
        if is_secret(name) {
            faults.push(secret(place, name));
        } else {
            secrets_below(value, &format!("{place}/{name}"), faults);
        }
    }
}

fn secrets_below(value: &Value, place: &str, faults: &mut Vec<FieldError>) {
    match value {
        Value::Object(fields) => secrets_in(fields, place, faults),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                secrets_below(item, &format!("{place}/{index}"), faults);
            }
        }
        _ => {}
    }
}
