//! Operations as HTTP routes: everything that is the same for each of them, in its order, in one place.

use std::collections::HashSet;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, FromRequestParts as _, RawPathParams, Request};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::body;
use super::context::{Answer, Cx};
use super::idempotency::{self, Begun, Stored};
use super::{PREFIXES, limits, problem};
use crate::api::arguments::Reading;
use crate::api::{Endpoint, Entry, FieldError, Method, Operation, SERVICES, Service, Spec, Timestamp, catalogue, ids, undecodable, wire};
use crate::error::{Error, Kind, Result};
use crate::io::hex::hex;
use crate::platform::faults::{self, FaultKind};
use crate::platform::identity::{self, Identity, authenticate::authenticate};
use crate::platform::{Platform, keys};

/// Decodes arguments, once, and gives the work on them.
type Handler = Arc<dyn Fn(Value) -> Result<Work, serde_json::Error> + Send + Sync>;
/// The work on a request that was decoded.
type Work = Box<dyn FnOnce(Cx) -> BoxFuture<'static, Result<Stored>> + Send>;

/// Finds out who sent a request that is signed and has no token: takes the headers, the first id of the path, the body and
/// its largest size, and answers the body that was signed.
type Signed = fn(Platform, HeaderMap, String, Body, usize) -> BoxFuture<'static, Result<(Identity, Bytes)>>;

/// The header that names a signed delivery.
const WEBHOOK_ID: &str = "webhook-id";

/// The operations of a service with their handlers.
#[derive(Default)]
pub(crate) struct Routes {
    routes: Vec<Route>,
}

/// Decodes arguments, and gives the work on them whose answer is sent while it is made.
type Streaming = Arc<dyn Fn(Value) -> Result<Streamed, serde_json::Error> + Send + Sync>;
/// The work on a request whose answer is a stream.
type Streamed = Box<dyn FnOnce(Cx) -> BoxFuture<'static, Result<Response>> + Send>;

struct Route {
    endpoint: Endpoint,
    /// The service of an operation beyond the contract; the others are found in the catalogue.
    extends: Option<&'static Service>,
    /// The place of its service in [`SERVICES`].
    service_index: usize,
    /// For operations that others than holders of tokens may call.
    signed: Option<Signed>,
    handler: Handler,
    /// Serves callers that accept server-sent events.
    streaming: Option<Streaming>,
}

/// What a request is answered with.
enum Answered {
    /// A whole answer.
    Whole(Stored),
    /// A stream of events.
    Events(Response),
}

impl Routes {
    /// No routes yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Serves an operation of the contract.
    pub(crate) fn on<O, H, F, A>(self, handler: H) -> Self
    where
        O: Operation,
        H: Fn(Cx, O) -> F + Send + Sync + 'static,
        F: Future<Output = Result<A>> + Send + 'static,
        A: Into<Answer<O::Output>>,
    {
        self.with(None, None, handler)
    }

    /// Serves an operation of the contract, also to those who sign their request.
    pub(crate) fn on_signed<O, H, F, A>(self, handler: H, signed: Signed) -> Self
    where
        O: Operation,
        H: Fn(Cx, O) -> F + Send + Sync + 'static,
        F: Future<Output = Result<A>> + Send + 'static,
        A: Into<Answer<O::Output>>,
    {
        self.with(None, Some(signed), handler)
    }

    /// Serves an operation that the contract lacks; `/openapi.json` marks it as an extension.
    pub(crate) fn extend<O, H, F, A>(self, service: &'static Service, handler: H) -> Self
    where
        O: Operation,
        H: Fn(Cx, O) -> F + Send + Sync + 'static,
        F: Future<Output = Result<A>> + Send + 'static,
        A: Into<Answer<O::Output>>,
    {
        self.with(Some(service), None, handler)
    }

    /// Serves an operation of the contract, and as server-sent events to callers that accept them.
    pub(crate) fn on_streamed<O, H, F, A, S, G>(mut self, handler: H, events: S) -> Self
    where
        O: Operation,
        H: Fn(Cx, O) -> F + Send + Sync + 'static,
        F: Future<Output = Result<A>> + Send + 'static,
        A: Into<Answer<O::Output>>,
        S: Fn(Cx, O) -> G + Send + Sync + 'static,
        G: Future<Output = Result<Response>> + Send + 'static,
    {
        self = self.with(None, None, handler);
        let events = Arc::new(events);
        let streaming: Streaming = Arc::new(move |arguments| {
            let request = serde_json::from_value::<O>(arguments)?;
            let events = Arc::clone(&events);
            Ok(Box::new(move |cx| events(cx, request).boxed()))
        });
        if let Some(route) = self.routes.last_mut() {
            route.streaming = Some(streaming);
        }
        self
    }

    /// The one route of an operation.
    pub(crate) fn only(mut self, operation: &str) -> Self {
        self.routes.retain(|route| route.endpoint.spec.name == operation);
        self
    }

    fn with<O, H, F, A>(mut self, extends: Option<&'static Service>, signed: Option<Signed>, handler: H) -> Self
    where
        O: Operation,
        H: Fn(Cx, O) -> F + Send + Sync + 'static,
        F: Future<Output = Result<A>> + Send + 'static,
        A: Into<Answer<O::Output>>,
    {
        let handler = Arc::new(handler);
        let handler: Handler = Arc::new(move |arguments| {
            let request = serde_json::from_value::<O>(arguments)?;
            let handler = Arc::clone(&handler);
            Ok(Box::new(move |cx| {
                let answered = handler(cx, request);
                async move {
                    let Answer { body, etag, location } = answered.await?.into();
                    let body = if O::SPEC.success == 204 { None } else { Some(serde_json::to_value(body).map_err(Error::internal)?) };
                    Ok(Stored { status: O::SPEC.success, etag, location, body })
                }
                .boxed()
            }))
        });
        let endpoint = Endpoint::of::<O>();
        let is_its = |service: &Service| match extends {
            Some(extended) => service.name == extended.name,
            None => service.operations.iter().any(|known| known.spec.name == endpoint.spec.name),
        };
        let service_index = SERVICES.iter().position(is_its).unwrap_or_default();
        self.routes.push(Route { endpoint, extends, service_index, signed, handler, streaming: None });
        self
    }

    /// These routes and another service's.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.routes.extend(other.routes);
        self
    }

    /// The names of the services that have an operation here.
    pub(crate) fn services(&self) -> HashSet<&'static str> {
        let served: HashSet<&'static str> = self.routes.iter().map(|route| route.endpoint.spec.name).collect();
        let has_one = |service: &&Service| service.operations.iter().any(|endpoint| served.contains(endpoint.spec.name));
        SERVICES.iter().filter(has_one).map(|service| service.name).collect()
    }

    /// The operations beyond the contract.
    pub(crate) fn extensions(&self) -> Vec<&'static Entry> {
        self.routes.iter().filter_map(|route| Some(extension(route.extends?, &route.endpoint))).collect()
    }

    /// All routes as axum serves them, below each prefix.
    pub(crate) fn router(self, platform: &Platform) -> Router {
        let gets: Arc<HashSet<&'static str>> = Arc::new(
            self.routes.iter().filter(|route| route.endpoint.spec.method == Method::Get).map(|route| route.endpoint.spec.path).collect(),
        );
        let mut router = Router::new();
        for route in self.routes {
            let (spec, path) = (route.endpoint.spec, router_path(route.endpoint.spec.path));
            let route = Arc::new(route);
            let (platform, gets) = (platform.clone(), Arc::clone(&gets));
            let serve = move |request: Request| serve(platform.clone(), Arc::clone(&route), Arc::clone(&gets), request);
            let filter = match spec.method {
                Method::Get => MethodFilter::GET,
                Method::Post => MethodFilter::POST,
                Method::Put => MethodFilter::PUT,
                Method::Delete => MethodFilter::DELETE,
            };
            for prefix in PREFIXES {
                router = router.route(&format!("{prefix}{path}"), on(filter, serve.clone()));
            }
        }
        router
    }
}

/// The path as the router reads it: its placeholders have the same names in every route, since two routes may name one
/// place differently.
fn router_path(path: &str) -> String {
    let mut place = 0;
    let segment = |segment: &str| {
        if !segment.starts_with('{') {
            return segment.to_owned();
        }
        place += 1;
        format!("{{p{place}}}")
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

impl Route {
    fn entry(&self) -> Result<&'static Entry> {
        match self.extends {
            Some(service) => Ok(extension(service, &self.endpoint)),
            None => catalogue()
                .get(self.endpoint.spec.name)
                .ok_or_else(|| Error::internal(format!("{} is in no service", self.endpoint.spec.name))),
        }
    }
}

/// The entry of an operation beyond the contract, made once in the program's life.
fn extension(service: &'static Service, endpoint: &Endpoint) -> &'static Entry {
    static ENTRIES: Mutex<Vec<&'static Entry>> = Mutex::new(Vec::new());
    let mut entries = ENTRIES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(entry) = entries.iter().find(|entry| entry.spec.name == endpoint.spec.name) {
        return entry;
    }
    let index = SERVICES.iter().position(|known| known.name == service.name).unwrap_or_default();
    let entry: &'static Entry = Box::leak(Box::new(Entry::new(index, service, endpoint)));
    entries.push(entry);
    entry
}

async fn serve(platform: Platform, route: Arc<Route>, gets: Arc<HashSet<&'static str>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let request_id = request_id(&parts.headers);
    let path = parts.uri.path().to_owned();
    let fault = platform.faults().draw(route.service_index);
    if !fault.latency.is_zero() {
        tokio::time::sleep(fault.latency).await;
    }
    match fault.instead {
        Some(FaultKind::Status(status)) => return faults::bare(status),
        Some(FaultKind::Cut) => return faults::cut(),
        Some(FaultKind::Garbage) => return faults::garbage(),
        Some(FaultKind::CutAfter | FaultKind::Latency(_)) | None => {}
    }
    let mut said = HeaderMap::new();
    let answered = answer(&platform, &route, &mut parts, body, &request_id, &mut said).await;
    if fault.instead == Some(FaultKind::CutAfter) {
        return faults::cut();
    }
    let answered = answered.and_then(|answered| match answered {
        Answered::Whole(stored) => respond(&route, &gets, stored, &path),
        Answered::Events(response) => Ok(response),
    });
    let mut response = answered.unwrap_or_else(|error| problem::response(&error, &path, &request_id));
    response.headers_mut().extend(said);
    response
}

/// Answers a request; `said` takes the headers that go with the answer, whatever it is.
async fn answer(
    platform: &Platform,
    route: &Route,
    parts: &mut Parts,
    body: Body,
    request_id: &str,
    said: &mut HeaderMap,
) -> Result<Answered> {
    let entry = route.entry()?;
    let spec = &entry.spec;
    let code = entry.service.code;
    let path: Vec<(String, String)> = RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|_| body::malformed(code, "the path is not UTF-8 once decoded"))?
        .iter()
        .zip(wire::path_fields(spec))
        .map(|((_, value), name)| (name.to_owned(), value.to_owned()))
        .collect();

    // Who asks, for which tenant, and whether they may: before anything of the body is read.
    let delivery = text(&parts.headers, WEBHOOK_ID).filter(|_| route.signed.is_some()).map(str::to_owned);
    let (identity, body) = match route.signed.filter(|_| delivery.is_some()) {
        // What is signed is the body as it came: it must be read, up to its bound, before it is known who sent it.
        Some(signed) => {
            let named = path.first().map(|(_, id)| id.clone()).unwrap_or_default();
            let (identity, body) = signed(platform.clone(), parts.headers.clone(), named, body, spec.max_body).await?;
            (identity, Body::from(body))
        }
        None if spec.public => (identity::public(), body),
        None => (authenticate(platform, &parts.headers, spec, &path).await?, body),
    };
    if !spec.public {
        limits::count(platform, spec, &identity.caller.tenant, said)?;
        authorise(&parts.headers, spec, &identity)?;
    }

    let query = query_pairs(parts.uri.query().unwrap_or_default());
    let body = if spec.body {
        body::object(code, platform, identity.caller.tenant.as_str(), &parts.headers, body, spec.max_body).await?
    } else {
        Map::new()
    };
    let arguments = arguments(entry, &identity, path, query, body)?;

    let mut cx = Cx {
        caller: Arc::new(identity.caller),
        platform: platform.clone(),
        request_id: request_id.to_owned(),
        correlation_id: text(&parts.headers, "x-correlation-id").filter(|id| is_plain(id)).map(str::to_owned),
        if_match: text(&parts.headers, header::IF_MATCH.as_str()).map(str::to_owned),
        recorded_by: identity.recorded_by,
        session: identity.session,
        list: list_of(entry, &arguments),
        headers: proof_of(&parts.headers),
        peer: parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip()),
        webhook_id: delivery.clone(),
        mark: None,
    };
    if let Some(streaming) = route.streaming.as_ref().filter(|_| accepts_events(&parts.headers)) {
        if parts.headers.contains_key("idempotency-key") {
            return Err(body::malformed(code, "an answer that is streamed is not kept for an Idempotency-Key")
                .hint("Leave the header out, or accept application/json."));
        }
        let work = streaming(arguments).map_err(|error| invalid(code, vec![undecodable(&error)]))?;
        return Ok(Answered::Events(work(cx).await?));
    }
    let key = parts.headers.get("idempotency-key").filter(|_| spec.body && !spec.public && delivery.is_none());
    let key = key.map(|key| {
        // The same arguments are the same request, whatever the order of their fields.
        let mut sorted = arguments.clone();
        sorted.sort_all_objects();
        // A keyed digest tells nothing of a password among them.
        (key.to_str().unwrap_or_default(), hex(&platform.keys().tag(format!("idempotency\0{sorted}").as_bytes())))
    });
    let work = (route.handler)(arguments).map_err(|error| invalid(code, vec![undecodable(&error)]))?;
    let Some((key, digest)) = key else { return Ok(Answered::Whole(work(cx).await?)) };
    match idempotency::begin(platform, &cx.caller, spec, key, digest).await? {
        Begun::Before(stored) => Ok(Answered::Whole(stored)),
        Begun::Now(ticket) => {
            cx.mark = Some(Arc::clone(&ticket.mark));
            let answered = work(cx).await;
            match &answered {
                Ok(stored) => idempotency::keep(platform, ticket, stored).await?,
                Err(_) => idempotency::forget(platform, ticket).await?,
            }
            Ok(Answered::Whole(answered?))
        }
    }
}

/// The headers that show who calls.
fn proof_of(headers: &HeaderMap) -> HeaderMap {
    let names = ["authorization", "x-on-behalf-of", "x-service-name"].map(HeaderName::from_static);
    names.into_iter().filter_map(|name| headers.get(&name).cloned().map(|value| (name, value))).collect()
}

/// Whether the caller accepts server-sent events, by their name.
fn accepts_events(headers: &HeaderMap) -> bool {
    let names = |value: &HeaderValue| {
        let accepted = value.to_str().unwrap_or_default().to_ascii_lowercase();
        accepted.split(',').any(|kind| kind.split(';').next().unwrap_or_default().trim() == "text/event-stream")
    };
    headers.get_all(header::ACCEPT).iter().any(names)
}

/// The digest that a list's cursors are bound to; empty for what is not a list.
fn list_of(entry: &Entry, arguments: &Value) -> String {
    if entry.shape.input.get("properties").is_none_or(|properties| properties.get("cursor").is_none()) {
        return String::new();
    }
    let mut asked = arguments.clone();
    if let Value::Object(fields) = &mut asked {
        fields.retain(|name, _| !matches!(name.as_str(), "cursor" | "limit"));
    }
    asked.sort_all_objects();
    keys::sha256(format!("{}\0{asked}", entry.spec.name).as_bytes())
}

/// Puts path, query and body together and checks them against the operation's schema.
fn arguments(
    entry: &Entry,
    identity: &Identity,
    path: Vec<(String, String)>,
    query: Vec<(String, String)>,
    mut body: Map<String, Value>,
) -> Result<Value> {
    let code = entry.service.code;
    if entry.spec.body && !query.is_empty() {
        let fault = |(name, _): &(String, String)| {
            FieldError::new(
                format!("/{name}"),
                "unknown",
                "is given in the query, which this operation does not take; it takes a JSON body",
            )
        };
        return Err(invalid(code, query.iter().map(fault).collect()));
    }
    let takes_tenant = entry.shape.input.get("properties").is_some_and(|properties| properties.get("tenantId").is_some());
    if !takes_tenant && let Some(tenant) = body.shift_remove("tenantId") {
        // The contract's examples repeat the tenant; the claim alone is trusted.
        if tenant != identity.caller.tenant.as_str() {
            return Err(tenant_mismatch("the body's tenantId").field("/tenantId", "mismatch", "must equal the token's tenantId"));
        }
    }
    let reading = if entry.spec.body { Reading::Strict } else { Reading::Lenient };
    let mut arguments = wire::decode(&entry.spec, path, query, body).map_err(|fault| invalid(code, vec![fault]))?;
    entry.check_form(&mut arguments, reading).map_err(|faults| invalid(code, faults))?;
    entry.name_caller(&mut arguments, &identity.caller.subject);
    Ok(arguments)
}

fn invalid(code: &str, faults: Vec<FieldError>) -> Error {
    Error::new(Kind::Invalid, format!("FM-{code}-INVALID"), "the arguments are not as the operation takes them").with_fields(faults)
}

fn respond(route: &Route, gets: &HashSet<&'static str>, stored: Stored, path: &str) -> Result<Response> {
    let location = stored.location.or_else(|| location(route, gets, stored.body.as_ref(), path)).filter(|_| stored.status == 201);
    let mut response = match &stored.body {
        None => Response::new(Body::empty()),
        Some(body) => {
            let mut response = Response::new(Body::from(serde_json::to_vec(body).map_err(Error::internal)?));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
    };
    *response.status_mut() = StatusCode::from_u16(stored.status).map_err(Error::internal)?;
    for (name, value) in [(header::ETAG, stored.etag), (header::LOCATION, location)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    if route.endpoint.spec.public || route.endpoint.spec.method == Method::Get {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(response)
}

/// Where a thing that was just created can be read, if the contract has a route for it.
fn location(route: &Route, gets: &HashSet<&'static str>, body: Option<&Value>, path: &str) -> Option<String> {
    let below = format!("{}/{{id}}", route.endpoint.spec.path);
    if !gets.contains(below.as_str()) {
        return None;
    }
    let body = body?.as_object()?;
    let id = body.get("id").or_else(|| body.iter().find(|(name, _)| name.ends_with("Id")).map(|(_, id)| id))?;
    Some(format!("{path}/{}", id.as_str()?))
}

/// Refuses a caller who names another tenant, or who lacks the operation's permission.
pub(crate) fn authorise(headers: &HeaderMap, spec: &Spec, identity: &Identity) -> Result<()> {
    check_tenant(headers, identity)?;
    match spec.permission {
        Some(needed) if !identity.caller.permissions.as_ref().is_some_and(|held| held.allow(needed)) => {
            Err(Error::new(Kind::Forbidden, "FM-AAS-FORBIDDEN", format!("this takes the permission {needed}"))
                .hint("Ask an administrator for a role that grants it."))
        }
        _ => Ok(()),
    }
}

fn check_tenant(headers: &HeaderMap, identity: &Identity) -> Result<()> {
    match text(headers, "x-tenant-id") {
        Some(tenant) if tenant != identity.caller.tenant.as_str() => Err(tenant_mismatch("the header X-Tenant-Id")),
        _ => Ok(()),
    }
}

fn tenant_mismatch(what: &str) -> Error {
    Error::new(Kind::Forbidden, "FM-AAS-TENANT-MISMATCH", format!("{what} names another tenant than the token's"))
        .hint("Leave it out, or use a token of that tenant.")
}

/// The id that the caller gave the request, or a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> String {
    text(headers, "x-request-id").filter(|id| is_plain(id)).map_or_else(|| ids::mint("req", Timestamp::now()), str::to_owned)
}

/// The name of the header that carries a request's id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

fn is_plain(id: &str) -> bool {
    !id.is_empty() && id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_graphic())
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Returns the parameters of a query.
pub(crate) fn query_pairs(query: &str) -> Vec<(String, String)> {
    let plain = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').map_or_else(|| (plain(pair), String::new()), |(name, value)| (plain(name), plain(value))))
        .collect()
}
