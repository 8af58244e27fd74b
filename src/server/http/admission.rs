//! What a message to `/mcp` passes once its caller is known: size and form, scopes, and the bounds of sessions and calls.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::ALLOW;
use http::{HeaderMap, Method, StatusCode, Uri};
use rmcp::model::RequestId;
use rmcp::transport::StreamableHttpService;
use serde::Deserialize;
use serde_json::Value;

use super::expiry::Revocable;
use super::limits::{LARGEST_BODY, Limits, MOST_VALUES, VALUE_BYTES, during};
use super::metadata::{Metadata, read_url, scopes_of};
use super::narrowing::narrowing;
use super::negotiation::{self, is_json};
use super::origins::Origins;
use super::owner::Owner;
use super::quota::Permit;
use super::refusal::Refusal;
use super::request_scope::{RequestPermit, RequestScope};
use super::session_limits::{SESSIONS_RATE, SessionLimits, SessionPermit};
use super::sessions::Sessions;
use super::stateless::{self, Stateless};
use super::{Authentication, HttpOptions};
use crate::auth::Caller;
use crate::config::PolicyDecision;
use crate::error::{Error, Kind, Result};
use crate::io::extent::extent;
use crate::io::inbound::{self, Unread};
use crate::server::handler::Handler;
use crate::server::message::{self, Rejected};
use crate::server::toolsets::Selection;
use crate::server::{App, tools};

/// The header that names a session of 2025-11-25.
const SESSION: &str = "mcp-session-id";
/// Methods whose requests last as long as their hosts listen: each is a stream, not a call.
const LISTENING: [&str; 2] = ["subscriptions/listen", "events/poll"];

/// rmcp's service of both revisions.
pub(super) type Rmcp = StreamableHttpService<Handler, Sessions>;

/// What serves messages that were let through: rmcp, and the calls that can do without it.
pub(super) struct Backend {
    pub(super) rmcp: Rmcp,
    pub(super) stateless: Stateless,
}

/// What every request passes. A clone is the same gate.
#[derive(Clone)]
pub(super) struct Admission(Arc<Parts>);

struct Parts {
    app: Arc<App>,
    authentication: Authentication,
    /// How often it is asked about the token of an open stream.
    interval: Duration,
    origins: Origins,
    metadata: Option<Metadata>,
    sessions: Arc<Sessions>,
    session_limits: SessionLimits,
    limits: Limits,
    /// How long a body may take to come.
    slowest: Duration,
}

impl Admission {
    pub(super) fn new(app: &Arc<App>, options: &HttpOptions, address: SocketAddr) -> Result<Self> {
        let public = options.public_url.as_deref().map(|url| read_url(url, "http.public_url")).transpose()?;
        Ok(Self(Arc::new(Parts {
            app: Arc::clone(app),
            authentication: options.authentication.clone(),
            interval: options.validate_interval,
            origins: Origins::new(address.ip(), &options.allowed_hosts, public.as_ref(), &options.allowed_origins)?,
            metadata: Metadata::new(options, public.as_ref(), &app.client.access())?,
            sessions: Arc::new(Sessions::new()),
            session_limits: SessionLimits::new(options.sessions, options.sessions_per_tenant, options.initializations_per_minute),
            limits: Limits::new(options.connections, options.sessions_per_tenant),
            slowest: options.body_timeout,
        })))
    }

    pub(super) fn app(&self) -> &App {
        &self.0.app
    }

    pub(super) fn authentication(&self) -> &Authentication {
        &self.0.authentication
    }

    /// Refuses a request; `caller` is who sent it, as far as that is known.
    pub(super) fn refuse(&self, caller: Option<&Caller>, refusal: impl Into<Refusal>) -> Response {
        refusal.into().respond(&self.0.app, self.metadata(), caller)
    }

    /// The token of an open stream, where a validator knows whether it is revoked.
    pub(super) fn revocable(&self, token: &str) -> Option<Revocable> {
        match &self.0.authentication {
            Authentication::Bearer(admit) if !self.0.interval.is_zero() => {
                Some(Revocable { admit: Arc::clone(admit), token: token.into(), interval: self.0.interval })
            }
            _ => None,
        }
    }

    /// Refuses a request that was made to another name than the server's, or by a foreign page.
    pub(super) fn check_names(&self, uri: &Uri, headers: &HeaderMap) -> Result<()> {
        self.0.origins.check(&self.0.app.rules().names, uri, headers)
    }

    pub(super) fn metadata(&self) -> Option<&Metadata> {
        self.0.metadata.as_ref()
    }

    pub(super) fn sessions(&self) -> Arc<Sessions> {
        Arc::clone(&self.0.sessions)
    }

    /// A place among a caller's calls for what is none of a tool.
    pub(super) fn call(&self, caller: &Caller) -> Result<Permit> {
        self.0.limits.call(&Owner::from(caller))
    }

    /// Refuses a tool that the caller's token does not cover, with all that it needs, so that a host can ask for a wider
    /// one. Without metadata a host could not, and the tool's own error tells the model.
    fn lacking(&self, caller: &Caller, chosen: Option<&Selection>, message: &Message<'_>, body: &[u8]) -> Option<Refusal> {
        self.metadata()?;
        if message.method.as_deref() != Some("tools/call") {
            return None;
        }
        let entry = match &message.call {
            Some(call) => tools::find(call.tool()),
            None => tools::find(&serde_json::from_slice::<Call<'_>>(body).ok()?.params.name),
        }?;
        let (app, rules) = (&self.0.app, self.0.app.rules());
        // No scope opens what is not offered, which the tool's own answer tells.
        if [Some(&*rules.tools), chosen].into_iter().flatten().any(|selection| !selection.holds(entry)) {
            return None;
        }
        let decision = rules.policy.decide(caller, &entry.spec);
        let error = rules.access.check(caller, &entry.spec).err()?;
        // What the policy or the way upstream rules out, no token opens.
        let can_be_opened = decision != PolicyDecision::Deny && app.client.upstream().check(caller, &entry.spec).is_ok();
        can_be_opened.then(|| {
            let scopes = scopes_of(&rules.access, entry, decision == PolicyDecision::Confirm);
            Refusal::from(error).needs(entry.spec.name, scopes).of(message.id())
        })
    }

    /// What a message needs to go on: a place among its caller's and room for its body, an id that no other request of its
    /// session has, and a session's place where it begins one.
    async fn admit(
        &self,
        owner: &Owner,
        session: Option<&str>,
        message: Option<&Message<'_>>,
        weight: usize,
    ) -> Result<(Option<Arc<RequestPermit>>, Option<SessionPermit>)> {
        // What cannot be read is counted: what it is, rmcp finds out.
        if message.is_some_and(|message| message.method.is_none() || message.id.is_none()) {
            return Ok((None, None));
        }
        let bytes = self.0.limits.bytes(owner, weight)?;
        let method = message.and_then(|message| message.method.as_deref());
        let call = if method.is_some_and(|method| LISTENING.contains(&method)) {
            self.0.limits.stream(owner)?
        } else {
            self.0.limits.call(owner)?
        };
        let running = match (session, message.and_then(|message| message.id.as_ref())) {
            (Some(session), Some(id)) => self.0.sessions.begin(session, owner, read_id(id)?)?,
            _ => None,
        };
        let begins = session.is_none() && method == Some("initialize");
        let place = if begins { Some(self.session_permit(owner).await?) } else { None };
        Ok((Some(RequestPermit::new(bytes, call, running)), place))
    }

    /// A permit for one more session. At its bound, a caller's new session evicts its longest-idle one: many hosts never
    /// end theirs.
    async fn session_permit(&self, owner: &Owner) -> Result<SessionPermit> {
        match self.0.session_limits.take(owner) {
            Err(full) if full.code() != SESSIONS_RATE && self.0.sessions.evict_idle(owner).await => self.0.session_limits.again(owner),
            taken => taken,
        }
    }
}

/// As much of a message as the gate looks at.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    id: Option<Value>,
    /// The whole of it, where rmcp is not needed.
    #[serde(skip)]
    call: Option<stateless::Call>,
}

/// As much of a tool's call.
#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    params: Tool<'a>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

impl<'a> Message<'a> {
    fn read(headers: &HeaderMap, body: &'a [u8]) -> Option<Self> {
        match stateless::read(headers, body) {
            Some(call) => Some(Self {
                jsonrpc: Some("2.0".into()),
                method: Some("tools/call".into()),
                id: Some(call.id.clone().into_json_value()),
                call: Some(call),
            }),
            None => serde_json::from_slice(body).ok(),
        }
    }

    fn id(&self) -> Value {
        self.id.clone().filter(|id| id.is_string() || id.is_number()).unwrap_or_default()
    }
}

/// Has a request served, or refuses it; what rmcp refuses is refused as everything else is.
pub(super) async fn pass(gate: &Admission, caller: Arc<Caller>, mut request: Request, backend: &Backend) -> Response {
    let owner = Owner::from(&*caller);
    let method = request.method().clone();
    negotiation::widen_accept(&method, request.headers_mut());
    let answered = if method == Method::POST {
        forward(gate, &caller, owner, request, backend).await
    } else {
        not_a_message(gate, &caller, owner, request, &backend.rmcp).await
    };
    match negotiation::refusal_of(answered).await {
        // The session is gone by now, which 202 leaves open.
        Ok(response) if method == Method::DELETE && response.status() == StatusCode::ACCEPTED => StatusCode::NO_CONTENT.into_response(),
        Ok(response) => response,
        Err(refused) => {
            let (refusal, allow) = *refused;
            let mut response = gate.refuse(Some(&caller), refusal);
            response.headers_mut().extend(allow.map(|allow| (ALLOW, allow)));
            response
        }
    }
}

/// Has a message served, or refuses it.
async fn forward(gate: &Admission, caller: &Caller, owner: Owner, request: Request, backend: &Backend) -> Response {
    let (mut parts, body) = request.into_parts();
    let (body, weight) = match whole(gate, &owner, body).await {
        Ok(whole) => whole,
        Err(refusal) => return gate.refuse(Some(caller), refusal),
    };
    let mut message = Message::read(&parts.headers, &body);
    let id = message.as_ref().map_or(Value::Null, Message::id);
    let chosen = match narrowing(&parts.uri, &parts.headers) {
        Ok(chosen) => chosen,
        Err(error) => return gate.refuse(Some(caller), Refusal::from(error).of(id)),
    };
    if let Some(refusal) = message.as_ref().and_then(|message| gate.lacking(caller, chosen.as_deref(), message, &body)) {
        return gate.refuse(Some(caller), refusal);
    }
    let (work, place) = match gate.admit(&owner, session(&parts.headers), message.as_ref(), weight).await {
        Ok(room) => room,
        Err(error) => return gate.refuse(Some(caller), Refusal::from(error).of(id)),
    };
    let is_json = is_json(&parts.headers);
    let known = message.as_ref().is_some_and(|message| message.jsonrpc.as_deref() == Some("2.0") && message.method.is_some());
    // rmcp reads the whole of a request; what is none is read here for its reason.
    let judged = if known { message::exact(&body) } else { message::read(&body).map(drop) };
    if is_json && let Err(rejected) = judged {
        return gate.refuse(Some(caller), unserved(rejected));
    }
    let is_discovery = message.as_ref().is_some_and(|message| message.method.as_deref() == Some("server/discover"));
    // rmcp hands these on to the handler, so the place lasts as long as the call does.
    parts.extensions.insert(work.clone());
    if let Some(chosen) = chosen {
        parts.extensions.insert(chosen);
    }
    if let Some(call) = message.as_mut().and_then(|message| message.call.take()) {
        return match backend.stateless.answer(call, parts).await {
            Ok(response) => response,
            Err(error) => gate.refuse(Some(caller), error),
        };
    }
    let scope = RequestScope::new(owner, place, work);
    let response = scope.during(serve(&backend.rmcp, Request::from_parts(parts, Body::from(body)))).await;
    if response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE && is_json {
        let error = Error::new(Kind::Malformed, "FM-MCP-MESSAGE", "the body is not a JSON-RPC message");
        return gate.refuse(Some(caller), Refusal::from(error).of(id));
    }
    if is_discovery { negotiation::complete_discovery(response).await } else { response }
}

/// A session's stream, or its end.
async fn not_a_message(gate: &Admission, caller: &Caller, owner: Owner, request: Request, rmcp: &Rmcp) -> Response {
    let stream = match (request.method(), session(request.headers())) {
        // rmcp ends a session by its id alone, and calls an unknown one ended.
        (&Method::DELETE, Some(id)) if !gate.0.sessions.belongs(id, &owner) => {
            return gate.refuse(Some(caller), Error::new(Kind::NotFound, "FM-MCP-SESSION", "there is no such session"));
        }
        // One of a session that is not there gets no further.
        (&Method::GET, Some(id)) if gate.0.sessions.belongs(id, &owner) => match gate.0.limits.stream(&owner) {
            Ok(stream) => Some(stream),
            Err(error) => return gate.refuse(Some(caller), error),
        },
        _ => None,
    };
    during(RequestScope::new(owner, None, None).during(serve(rmcp, request)).await, stream)
}

/// What rmcp answers. Boxed, since it is large and moved by each of those who pass it on.
async fn serve(rmcp: &Rmcp, request: Request) -> Response {
    Box::pin(rmcp.handle(request)).await.map(Body::new)
}

/// The session that a request names, as rmcp reads it.
fn session(headers: &HeaderMap) -> Option<&str> {
    headers.get(SESSION).and_then(|id| id.to_str().ok())
}

/// The whole body, if it comes in time and is not too large, and what it weighs when it is parsed.
async fn whole(gate: &Admission, owner: &Owner, body: Body) -> std::result::Result<(Bytes, usize), Refusal> {
    let _coming = gate.0.limits.body(owner, body.size_hint().upper())?;
    match tokio::time::timeout(gate.0.slowest, inbound::read_bounded(body, LARGEST_BODY)).await {
        Ok(Ok(body)) => match extent(&body).values {
            values if values > MOST_VALUES => {
                Err(Error::new(Kind::TooLarge, "FM-MCP-BODY-TOO-LARGE", format!("the body holds more than {MOST_VALUES} JSON values"))
                    .into())
            }
            values => {
                let weight = body.len() + values * VALUE_BYTES;
                Ok((body, weight))
            }
        },
        Ok(Err(Unread::TooLarge)) => {
            Err(Error::new(Kind::TooLarge, "FM-MCP-BODY-TOO-LARGE", format!("the body is larger than {LARGEST_BODY} bytes")).into())
        }
        Ok(Err(Unread::Broken(error))) => Err(Error::new(Kind::Malformed, "FM-MCP-BODY", "the body ended early").caused_by(error).into()),
        Err(_) => Err(Refusal::from(Error::new(Kind::Malformed, "FM-MCP-BODY-SLOW", "the body did not come in time"))
            .status(StatusCode::REQUEST_TIMEOUT)),
    }
}

/// Why a body is not served, as JSON-RPC says it.
fn unserved(rejected: Rejected) -> Refusal {
    let id = rejected.id.and_then(|id| serde_json::to_value(id).ok()).unwrap_or_default();
    Refusal::from(rejected.error).rpc(rejected.code.0).of(id)
}

/// An id as rmcp reads it: `1`, `1.0` and `1e0` are one.
fn read_id(id: &Value) -> Result<RequestId> {
    RequestId::deserialize(id).map_err(|_| Error::new(Kind::Malformed, "FM-MCP-MESSAGE", "the id of a message is a text or a whole number"))
}
