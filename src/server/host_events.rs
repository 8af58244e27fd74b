//! MCP Events (`io.modelcontextprotocol/events`): what happens on the platform, for hosts that act on it by themselves.
//!
//! A host lists the event types, and asks for what is new by `events/poll` or has it sent to an address. Events are read with
//! the caller's own rights, as by the tools for events, so nobody hears of what it may not read.

mod capability;
mod dead_letters;
mod deliverer;
mod kinds;
mod position;
mod reading;
mod refusals;
mod sender;
mod subscription;
mod webhooks;

use std::time::Duration;

use rmcp::model::{CustomRequest, CustomResult};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

pub(super) use capability::{announce, announce_in, extend};
pub use dead_letters::{DeadDeliveries, dead_deliveries, drop_deliveries, resend_deliveries};
pub(super) use deliverer::{HostEvents, deliver};
use kinds::Chosen;
use position::Position;
use reading::Chunk;
pub use refusals::ErrorNumbers;

use super::request::{Request, is_stateless};
use super::{audit, message};
use crate::api::events::Subscribe;
use crate::api::{Event, Operation as _, Timestamp, catalogue};
use crate::client::events::Follower;
use crate::error::{Error, Result};

/// The methods, all of which begin so.
const PREFIX: &str = "events/";
/// Events in an answer that names no number, and the most that one may name.
const PAGE: u32 = 50;
const MAX_PAGE: u32 = 200;
/// The longest that `events/poll` is held open.
const MAX_WAIT: Duration = Duration::from_secs(50);
/// How soon a host may ask again, in milliseconds.
const NEXT_POLL_MS: u64 = 2_000;
/// How long a host may keep the list of event types, which does not change while the server runs.
const LIST_TTL_MS: u64 = 300_000;

/// How the server serves MCP Events.
#[derive(Debug, Clone)]
pub struct EventOptions {
    /// Which numbers its errors have.
    pub numbers: ErrorNumbers,
    /// The hosts that events may be sent to; none unless it is said.
    pub allowed_hosts: Vec<String>,
    /// How long after its first failure a message is sent again; it doubles with each.
    pub first_retry: Duration,
}

impl Default for EventOptions {
    fn default() -> Self {
        Self { numbers: ErrorNumbers::default(), allowed_hosts: Vec::new(), first_retry: Duration::from_secs(2) }
    }
}

/// Whether a method is one of MCP Events.
pub(super) fn serves(method: &str) -> bool {
    method.starts_with(PREFIX)
}

/// Answers a request of MCP Events.
pub(super) async fn answer(
    request: &Request,
    asked: CustomRequest,
    context: &RequestContext<RoleServer>,
) -> std::result::Result<CustomResult, ErrorData> {
    let mut result = match asked.method.as_str() {
        "events/list" => list(request, &message::params(&asked)?)?,
        "events/poll" => {
            let params: Poll = message::params(&asked)?;
            let note = request.app.audit.begin_reading(&request.caller, request.transport(), "event", &params.name);
            let polled = poll(request, params, context).await;
            request.app.audit.end_reading(note, audit::code_of(&polled));
            polled?
        }
        "events/subscribe" => {
            let params: webhooks::Subscribe = message::params(&asked)?;
            let note = request.app.audit.begin_reading(&request.caller, request.transport(), "webhook", &params.name);
            let subscribed = webhooks::subscribe(request, params).await;
            request.app.audit.end_reading(note, audit::code_of(&subscribed));
            subscribed?
        }
        "events/unsubscribe" => webhooks::unsubscribe(request, message::params(&asked)?).await?,
        _ => return Err(message::unserved(asked, is_stateless(context))),
    };
    if is_stateless(context) {
        result.insert("resultType".to_owned(), json!("complete"));
        result.insert("_meta".to_owned(), Value::Object(request.app.identity.0.clone()));
    } else {
        result.retain(|name, _| !matches!(name.as_str(), "ttlMs" | "cacheScope"));
    }
    Ok(CustomResult(Value::Object(result)))
}

/// Parameters of `events/list`.
#[derive(Debug, Deserialize)]
struct List {
    #[serde(default)]
    cursor: Option<String>,
}

/// The event types: none for a caller who may not read events.
fn list(request: &Request, params: &List) -> std::result::Result<Map<String, Value>, ErrorData> {
    if params.cursor.is_some() {
        return Err(ErrorData::invalid_params("the cursor is not known: this list has one page; ask again without it", None));
    }
    let replay =
        super::operation(crate::api::events::Replay::SPEC.name).map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
    let may = request.app.may(&request.caller, &request.offer, replay);
    let delivery: &[&str] = if webhooks::are_offered(request) { &["webhook", "poll"] } else { &["poll"] };
    let events = if may { kinds::listed(delivery) } else { Vec::new() };
    Ok(fields(json!({ "events": events, "ttlMs": LIST_TTL_MS, "cacheScope": "private" })))
}

/// Parameters of `events/poll`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Poll {
    name: String,
    #[serde(default)]
    arguments: Option<Map<String, Value>>,
    #[serde(default)]
    cursor: Option<String>,
    #[serde(default)]
    max_age_ms: Option<u64>,
    #[serde(default)]
    max_events: Option<u32>,
    #[serde(default)]
    timeout_ms: Option<u64>,
}

/// What is new since a cursor, at once or waited for.
async fn poll(request: &Request, params: Poll, context: &RequestContext<RoleServer>) -> std::result::Result<Map<String, Value>, ErrorData> {
    let numbers = request.app.settings.events.numbers;
    let chosen = Chosen::find(&params.name, &params.arguments.unwrap_or_default(), numbers)?;
    let most = params.max_events.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let wait = params.timeout_ms.map_or(Duration::ZERO, Duration::from_millis).min(MAX_WAIT);
    let news = read_new(request, &chosen, params.cursor.as_deref(), params.max_age_ms, most, wait, context).await;
    let (Chunk { events, position, more }, truncated) = news.map_err(|error| numbers.of_error(&error))?;
    Ok(fields(json!({
        "events": events.iter().map(|event| chosen.occurrence(event, None)).collect::<Vec<_>>(),
        "cursor": position.cursor(),
        "truncated": truncated,
        "hasMore": more,
        "nextPollMs": NEXT_POLL_MS,
    })))
}

/// Reads until something is new or the time is up; tells as well whether events were left out for their age.
async fn read_new(
    request: &Request,
    chosen: &Chosen,
    cursor: Option<&str>,
    max_age_ms: Option<u64>,
    most: u32,
    wait: Duration,
    context: &RequestContext<RoleServer>,
) -> Result<(Chunk, bool)> {
    let (app, caller) = (&request.app, &request.caller);
    let entry = reading::allowed(app, caller, &request.offer).await?;
    let mut position = cursor.map(|cursor| Position::read(cursor, &caller.tenant, &chosen.topic)).transpose()?;
    app.rules().limits.pay(caller, entry, app.client.metrics())?;
    let deadline = Instant::now() + wait;
    let mut follower = if wait.is_zero() || position.is_none() { Follower::without_events() } else { follow(request) };
    let not_before = max_age_ms.map(|age| Timestamp::now().plus_seconds(-Duration::from_millis(age).as_secs_f64()));
    let mut truncated = false;
    loop {
        let begins = position.is_none();
        let mut chunk = reading::read(app, caller, chosen, position, most).await.map_err(of_cursor)?;
        truncated |= drop_old(&mut chunk.events, not_before);
        if begins || !chunk.events.is_empty() || chunk.more || Instant::now() >= deadline || context.ct.is_cancelled() {
            return Ok((chunk, truncated));
        }
        tokio::select! {
            () = follower.wait(|event| chosen.concerns(event), deadline) => {}
            () = context.ct.cancelled() => return Ok((chunk, truncated)),
        }
        position = Some(chunk.position);
    }
}

/// Drops events that are older than their subscriber wants them; tells whether there were any.
fn drop_old(events: &mut Vec<Event>, not_before: Option<Timestamp>) -> bool {
    let Some(oldest) = not_before else { return false };
    let before = events.len();
    events.retain(|event| event.time.is_none_or(|time| time >= oldest));
    events.len() < before
}

/// The platform's refusal of a cursor says that it is one of another tenant or topic.
fn of_cursor(error: Error) -> Error {
    if error.fields().iter().any(|field| field.pointer == "/cursor") { position::foreign().caused_by(error) } else { error }
}

/// Follows the caller's events, where the operator allows subscriptions; otherwise nothing is told, and it is read again.
fn follow(request: &Request) -> Follower {
    let subscribe = catalogue().get(Subscribe::SPEC.name);
    let may_follow = subscribe.is_some_and(|subscribe| request.app.asks_nobody(&request.caller, subscribe));
    if may_follow { request.app.hub.follow(&request.caller) } else { Follower::without_events() }
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
