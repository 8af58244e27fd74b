//! What a message to `/mcp` passes once its caller is known: size and form, scopes, and the bounds of sessions.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::ending::Revocable;
use super::metadata::{Metadata, read_url, scopes_of};
use super::origins::Origins;
use super::places::Places;
use super::refusal::Refusal;
use super::sessions::{Sessions, Visitor};
use super::{Admission, HttpOptions};
use crate::auth::Caller;
use crate::config::PolicyDecision;
use crate::error::{Error, Kind, Result};
use crate::server::{App, tools};

/// Largest body, in bytes; no tool takes documents yet.
pub(super) const LARGEST_BODY: usize = 4 * 1024 * 1024;
/// How long a body may take to come.
const SLOWEST_BODY: Duration = Duration::from_secs(30);
/// The header that names a session of the old era.
pub(super) const SESSION: &str = "mcp-session-id";

/// What every request passes. A clone is the same gate.
#[derive(Clone)]
pub(super) struct Gate(Arc<Parts>);

struct Parts {
    app: Arc<App>,
    admission: Admission,
    /// How often it is asked about the token of an open stream.
    interval: Duration,
    origins: Origins,
    metadata: Option<Metadata>,
    sessions: Arc<Sessions>,
    places: Arc<Places>,
}

impl Gate {
    pub(super) fn new(app: &Arc<App>, options: &HttpOptions, address: SocketAddr) -> Result<Self> {
        let public = options.public_url.as_deref().map(|url| read_url(url, "http.public_url")).transpose()?;
        Ok(Self(Arc::new(Parts {
            app: Arc::clone(app),
            admission: options.admission.clone(),
            interval: options.validate_interval,
            origins: Origins::new(address.ip(), &options.allowed_hosts, public.as_ref(), &options.allowed_origins)?,
            metadata: Metadata::new(options, public.as_ref(), app.client.access())?,
            sessions: Arc::new(Sessions::new()),
            places: Arc::new(Places::new(options.sessions, options.sessions_per_tenant, options.initializations_per_minute)),
        })))
    }

    pub(super) fn app(&self) -> &App {
        &self.0.app
    }

    pub(super) fn admission(&self) -> &Admission {
        &self.0.admission
    }

    /// A token of whom an open stream is asked about, where anybody would know.
    pub(super) fn revocable(&self, token: Option<SecretString>) -> Option<Revocable> {
        match (&self.0.admission, token) {
            (Admission::Bearer(admit), Some(token)) if !self.0.interval.is_zero() => {
                Some(Revocable { admit: Arc::clone(admit), token, interval: self.0.interval })
            }
            _ => None,
        }
    }

    pub(super) fn origins(&self) -> &Origins {
        &self.0.origins
    }

    pub(super) fn metadata(&self) -> Option<&Metadata> {
        self.0.metadata.as_ref()
    }

    pub(super) fn sessions(&self) -> Arc<Sessions> {
        Arc::clone(&self.0.sessions)
    }

    /// Refuses a tool that the caller's token does not cover, with all that it needs, so that a host can ask for a wider
    /// one. Without metadata a host could not, and the tool's own error tells the model.
    fn lacking(&self, caller: &Caller, message: &Message<'_>) -> Option<Refusal> {
        self.metadata()?;
        let tool = message.method.as_deref().filter(|method| *method == "tools/call").and(message.params.as_ref())?;
        let entry = tools::find(tool.name.as_ref()?.as_str()?)?;
        let app = &self.0.app;
        let decision = app.settings.policy.decide(caller, &entry.spec);
        let error = app.client.access().check(caller, &entry.spec).err()?;
        // What the policy or the way upstream rules out, no token opens.
        let can_be_opened = decision != PolicyDecision::Deny && app.client.upstream().check(caller, &entry.spec).is_ok();
        can_be_opened.then(|| {
            let scopes = scopes_of(app.client.access(), entry, decision == PolicyDecision::Confirm);
            Refusal::from(error).needs(entry.spec.name, scopes).of(message.id())
        })
    }
}

/// As much of a message as the gate looks at.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    id: Option<Value>,
    params: Option<Tool>,
}

#[derive(Deserialize)]
struct Tool {
    /// Of other methods' parameters it may be anything.
    name: Option<Value>,
}

impl Message<'_> {
    fn id(&self) -> Value {
        self.id.clone().filter(|id| id.is_string() || id.is_number()).unwrap_or_default()
    }
}

/// Hands a message on to rmcp, or refuses it.
pub(super) async fn pass(State(gate): State<Gate>, Extension(caller): Extension<Arc<Caller>>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        let visitor = Visitor::new(&caller, None);
        // rmcp ends a session by its id alone, and calls an unknown one ended.
        if request.method() == Method::DELETE && session(request.headers()).is_some_and(|id| !gate.0.sessions.belongs(id, &visitor)) {
            return gate.refuse(Some(&caller), Error::new(Kind::NotFound, "FM-MCP-SESSION", "there is no such session"));
        }
        return visitor.during(next.run(request)).await;
    }
    let is_json = is_json(request.headers());
    let new_session = session(request.headers()).is_none();
    let (parts, body) = request.into_parts();
    let body = match whole(body).await {
        Ok(body) => body,
        Err(refusal) => return gate.refuse(Some(&caller), refusal),
    };
    let mut place = None;
    if (new_session || gate.metadata().is_some())
        && let Ok(message) = serde_json::from_slice::<Message<'_>>(&body)
    {
        if let Some(refusal) = gate.lacking(&caller, &message) {
            return gate.refuse(Some(&caller), refusal);
        }
        if new_session && message.method.as_deref() == Some("initialize") {
            match gate.0.places.take(&caller.tenant) {
                Ok(taken) => place = Some(taken),
                Err(error) => return gate.refuse(Some(&caller), Refusal::from(error).of(message.id())),
            }
        }
    }
    let visitor = Visitor::new(&caller, place);
    let response = visitor.during(next.run(Request::from_parts(parts, Body::from(body.clone())))).await;
    if response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE && is_json {
        return gate.refuse(Some(&caller), unreadable(&body));
    }
    response
}

/// The session that a request names, as rmcp reads it.
fn session(headers: &HeaderMap) -> Option<&str> {
    headers.get(SESSION).and_then(|id| id.to_str().ok())
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json"))
}

/// The whole body, if it comes in time and is not too large.
async fn whole(body: Body) -> std::result::Result<Bytes, Refusal> {
    match tokio::time::timeout(SLOWEST_BODY, to_bytes(body, LARGEST_BODY)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => {
            Err(Error::new(Kind::TooLarge, "FM-MCP-BODY-TOO-LARGE", format!("the body is larger than {LARGEST_BODY} bytes")).into())
        }
        Err(_) => Err(Refusal::from(Error::new(Kind::Malformed, "FM-MCP-BODY-SLOW", "the body did not come in time"))
            .status(StatusCode::REQUEST_TIMEOUT)),
    }
}

/// rmcp answers 415 in plain text for what it cannot read; JSON-RPC has two codes for it.
fn unreadable(body: &Bytes) -> Refusal {
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(body) {
        return Refusal::from(Error::new(Kind::Malformed, "FM-MCP-BODY", format!("the body is not JSON: {error}"))).rpc(-32700);
    }
    let id = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|message| message.get("id").cloned())
        .filter(|id| id.is_string() || id.is_number())
        .unwrap_or_default();
    Refusal::from(Error::new(Kind::Malformed, "FM-MCP-MESSAGE", "the body is no JSON-RPC message; batches are not taken")).of(id)
}
