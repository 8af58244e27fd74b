//! `events/subscribe` and `events/unsubscribe`: events by webhook, where the operator allows receivers.

use std::sync::Arc;
use std::time::Duration;

use rmcp::ErrorData;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::kinds::Chosen;
use super::position::Position;
use super::reading;
use super::refusals::{ErrorNumbers, Reason};
use super::sender::{Failure, Receiver};
use super::subscription::Subscription;
use crate::api::Timestamp;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::io::standard_webhooks::bytes_of;
use crate::server::digest;
use crate::server::http::expiry;
use crate::server::request::Request;
use crate::state::{Delivery, Kept, Webhook, WebhookBounds};

/// How many subscriptions there may be; events are read for each.
const BOUNDS: WebhookBounds = WebhookBounds { per_owner: 64, per_tenant: 256, all: 4096 };
/// The lifetime of a subscription that asks for none, and the least and the longest that one gets.
const DEFAULT_TTL: Duration = Duration::from_hours(1);
const MIN_TTL: Duration = Duration::from_mins(1);
const MAX_TTL: Duration = Duration::from_hours(7 * 24);
/// Bytes of a key.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Parameters of `events/subscribe`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Subscribe {
    pub(super) name: String,
    #[serde(default)]
    arguments: Option<Map<String, Value>>,
    delivery: To,
    #[serde(default)]
    cursor: Option<String>,
    #[serde(default)]
    max_age_ms: Option<u64>,
    #[serde(default, deserialize_with = "lifetime")]
    ttl_ms: Lifetime,
}

#[derive(Debug, Deserialize)]
struct To {
    #[serde(default = "webhook")]
    mode: String,
    url: String,
    #[serde(default)]
    secret: String,
}

/// Parameters of `events/unsubscribe`.
#[derive(Debug, Deserialize)]
pub(super) struct Unsubscribe {
    pub(super) name: String,
    #[serde(default)]
    arguments: Option<Map<String, Value>>,
    delivery: To,
}

fn webhook() -> String {
    "webhook".to_owned()
}

/// How long a subscription is to last.
#[derive(Debug, Clone, Copy, Default)]
enum Lifetime {
    /// Nothing is said.
    #[default]
    Usual,
    /// It has no end: null.
    Endless,
    Millis(u64),
}

fn lifetime<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Lifetime, D::Error> {
    Ok(Option::deserialize(deserializer)?.map_or(Lifetime::Endless, Lifetime::Millis))
}

/// Whether a caller may be delivered to: over HTTP, where the operator allows receivers.
pub(super) fn are_offered(request: &Request) -> bool {
    request.over_http() && request.app.events.sender.is_on()
}

/// Subscribes, or goes on with what is subscribed to already.
pub(super) async fn subscribe(request: &Request, params: Subscribe) -> std::result::Result<Map<String, Value>, ErrorData> {
    let app = &request.app;
    let numbers = app.settings.events.numbers;
    if params.delivery.mode != "webhook" || !are_offered(request) {
        return Err(numbers.refuse(
            Reason::Unsupported,
            "FM-MCP-EVENT-DELIVERY",
            "events are not delivered so here; events/list says how they are, and events/poll is always there",
            json!({ "feature": "deliveryMode", "value": params.delivery.mode }),
        ));
    }
    let arguments = params.arguments.unwrap_or_default();
    let chosen = Chosen::find(&params.name, &arguments, numbers)?;
    let of_error = |error: &Error| numbers.of_error(error);
    let entry = reading::allowed(app, &request.caller, &request.offer).await.map_err(|error| of_error(&error))?;
    if !bytes_of(&params.delivery.secret).is_ok_and(|key| KEY_BYTES.contains(&key.len())) {
        return Err(invalid("/delivery/secret", "must be whsec_ and the base64 of 24 to 64 random bytes"));
    }
    let url = app.events.sender.admit(&params.delivery.url).map_err(|refusal| invalid("/delivery/url", &refusal))?;
    app.rules().limits.pay(&request.caller, entry, app.client.metrics()).map_err(|error| of_error(&error))?;
    let now = Timestamp::now();
    let expires = granted(&request.caller, params.ttl_ms, now);
    let subscription = Subscription::new(chosen.name, arguments.clone(), &params.delivery.secret, &request.caller);
    let mut subscription = subscription.filter(|_| !expiry::has_ended(&request.caller)).ok_or_else(|| {
        let message = "this caller has no token by which events could be read later";
        numbers.refuse(Reason::Forbidden, "FM-MCP-NO-CREDENTIAL", message, json!({}))
    })?;
    let (owner, id) = key_of(&request.caller, &chosen, arguments, url.as_str());
    let known = find(request, &owner, &id, now).await.map_err(|error| of_error(&error))?;
    if known.is_none() {
        let secrets = subscription.secrets(now);
        let receiver = Receiver { subscription: &id, url: url.as_str(), secrets };
        verify(request, &owner, &receiver, &url, numbers).await?;
    }
    let begins = begin(request, &chosen, params.cursor.as_deref(), params.max_age_ms, known.as_ref()).await;
    let Beginning { cursor, not_before, truncated } = begins.map_err(|error| of_error(&super::of_cursor(error)))?;
    subscription.not_before = not_before;
    if let Some((webhook, _)) = &known {
        subscription = subscription.after(&webhook.value);
    }
    let webhook = Webhook {
        id: id.clone(),
        tenant: request.caller.tenant.to_string(),
        owner,
        url: url.to_string(),
        value: subscription.text(),
        cursor: cursor.clone(),
        expires,
    };
    match app.state.with_webhooks(move |store| store.keep(&webhook, BOUNDS, now)).await.map_err(|error| of_error(&error))? {
        Kept::New | Kept::Updated => {}
        Kept::Full => {
            return Err(numbers.refuse(
                Reason::ResourceExhausted,
                "FM-MCP-EVENT-SUBSCRIPTIONS",
                format!(
                    "there are as many subscriptions as there may be: {} of a caller, {} of a tenant, {} in all",
                    BOUNDS.per_owner, BOUNDS.per_tenant, BOUNDS.all
                ),
                json!({ "limit": "subscriptions", "max": BOUNDS.per_owner }),
            ));
        }
    }
    app.events.changed.notify_one();
    let mut result = super::fields(json!({ "id": id, "refreshBefore": expires, "cursor": cursor, "truncated": truncated }));
    if let Some((_, delivery)) = known {
        result.insert("deliveryStatus".to_owned(), status(&delivery));
    }
    Ok(result)
}

/// Ends a subscription.
pub(super) async fn unsubscribe(request: &Request, params: Unsubscribe) -> std::result::Result<Map<String, Value>, ErrorData> {
    let numbers = request.app.settings.events.numbers;
    let arguments = params.arguments.unwrap_or_default();
    let chosen = Chosen::find(&params.name, &arguments, numbers)?;
    // As it was kept: whether it may still be called does not matter any more.
    let url = crate::io::destinations::parse(&params.delivery.url).map_err(|refusal| invalid("/delivery/url", &refusal))?;
    let (owner, id) = key_of(&request.caller, &chosen, arguments, url.as_str());
    let ended = request.app.state.with_webhooks(move |store| store.end(&owner, &id)).await;
    if ended.map_err(|error| numbers.of_error(&error))? {
        return Ok(Map::new());
    }
    Err(numbers.refuse(
        Reason::NotFound,
        "FM-MCP-NOT-SUBSCRIBED",
        "there is no such subscription: name, arguments and address are those of the subscription",
        json!({ "kind": "subscription" }),
    ))
}

/// Whose a subscription is, and its id: of the caller, the event type, the arguments and the address.
fn key_of(caller: &Caller, chosen: &Chosen, arguments: Map<String, Value>, url: &str) -> (String, String) {
    let what = Map::from_iter([("url".to_owned(), json!(url)), ("arguments".to_owned(), Value::Object(arguments))]);
    let whole = digest::of_call(caller, chosen.name, &what);
    (digest::of_caller(caller), format!("sub_{}", &whole[..32]))
}

async fn find(request: &Request, owner: &str, id: &str, now: Timestamp) -> Result<Option<(Webhook, Delivery)>> {
    let (owner, id) = (owner.to_owned(), id.to_owned());
    request.app.state.with_webhooks(move |store| store.find(&owner, &id, now)).await
}

/// Has a receiver confirm that it wants the events, unless it did so for another subscription of the caller.
async fn verify(
    request: &Request,
    owner: &str,
    receiver: &Receiver<'_>,
    url: &reqwest::Url,
    numbers: ErrorNumbers,
) -> std::result::Result<(), ErrorData> {
    let (owner, to, now) = (owner.to_owned(), url.to_string(), Timestamp::now());
    let is_verified = request.app.state.with_webhooks(move |store| store.delivers_to(&owner, &to, now)).await;
    if is_verified.map_err(|error| numbers.of_error(&error))? {
        return Ok(());
    }
    let sender = &request.app.events.sender;
    sender.examine(url).await.map_err(|refusal| invalid("/delivery/url", &refusal))?;
    sender.verify(receiver).await.map_err(|failure| {
        let message = match failure {
            Failure::Challenge => "the receiver did not send the challenge back: answer {\"challenge\": …} to a verification",
            _ => "the receiver cannot be reached",
        };
        numbers.refuse(Reason::CallbackEndpoint, "FM-MCP-EVENT-RECEIVER", message, json!({ "reason": failure.name() }))
    })
}

/// Where the deliveries of a subscription begin.
struct Beginning {
    cursor: String,
    not_before: Option<Timestamp>,
    truncated: bool,
}

async fn begin(
    request: &Request,
    chosen: &Chosen,
    cursor: Option<&str>,
    max_age_ms: Option<u64>,
    known: Option<&(Webhook, Delivery)>,
) -> Result<Beginning> {
    let (app, caller) = (&request.app, &request.caller);
    // What is live goes on where it is.
    if let Some((_, delivery)) = known {
        return Ok(Beginning { cursor: delivery.acknowledged.clone(), not_before: None, truncated: false });
    }
    let Some(cursor) = cursor else {
        let chunk = reading::read(app, caller, chosen, None, 1).await?;
        return Ok(Beginning { cursor: chunk.position.cursor(), not_before: None, truncated: false });
    };
    let position = Position::read(cursor, &caller.tenant, &chosen.topic)?;
    let mut chunk = reading::read(app, caller, chosen, Some(position), 50).await?;
    let not_before = max_age_ms.map(|age| Timestamp::now().plus_seconds(-Duration::from_millis(age).as_secs_f64()));
    Ok(Beginning { cursor: cursor.to_owned(), not_before, truncated: super::drop_old(&mut chunk.events, not_before) })
}

/// When a subscription ends: never later than the token by which its events are read.
fn granted(caller: &Caller, lifetime: Lifetime, now: Timestamp) -> Option<Timestamp> {
    let after = |ttl: Duration| now.plus_seconds(ttl.clamp(MIN_TTL, MAX_TTL).as_secs_f64());
    let wanted = match lifetime {
        Lifetime::Usual => Some(after(DEFAULT_TTL)),
        Lifetime::Endless => None,
        Lifetime::Millis(millis) => Some(after(Duration::from_millis(millis))),
    };
    match (wanted, caller.expires) {
        (Some(wanted), Some(end)) => Some(wanted.min(end)),
        (wanted, end) => wanted.or(end),
    }
}

/// How the deliveries stand, in categories alone: a receiver's words are not passed on.
fn status(delivery: &Delivery) -> Value {
    let mut status = json!({
        "active": true,
        "lastDeliveryAt": delivery.delivered,
        "lastError": delivery.last_error,
    });
    if let Some(since) = delivery.failing_since {
        status["failedSince"] = json!(since);
    }
    status
}

fn invalid(pointer: &str, detail: &str) -> ErrorData {
    ErrorData::invalid_params(format!("{pointer} {detail}"), Some(json!({ "code": "FM-MCP-EVENT-RECEIVER", "pointer": pointer })))
}

/// For whom a subscription is, as far as it can be told without the platform.
pub(super) fn caller_of(webhook: &Webhook) -> Option<(Subscription, Arc<Caller>)> {
    let subscription: Subscription = serde_json::from_str(&webhook.value).ok()?;
    let caller = subscription.caller();
    Some((subscription, caller))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Credential;

    #[test]
    fn a_subscription_lasts_no_longer_than_its_token_and_within_bounds() {
        let at = Timestamp::from_millis;
        let now = at(0);
        let eternal = Caller::owner(Credential::Owner);
        let brief = Caller { expires: Some(at(600_000)), ..eternal.clone() };
        for (caller, lifetime, expected) in [
            (&eternal, Lifetime::Usual, Some(at(3_600_000))),
            (&eternal, Lifetime::Endless, None),
            (&eternal, Lifetime::Millis(1), Some(at(60_000))),
            (&eternal, Lifetime::Millis(u64::MAX), Some(at(604_800_000))),
            (&brief, Lifetime::Usual, Some(at(600_000))),
            (&brief, Lifetime::Endless, Some(at(600_000))),
            (&brief, Lifetime::Millis(120_000), Some(at(120_000))),
        ] {
            assert_eq!(granted(caller, lifetime, now), expected, "{lifetime:?}");
        }
    }
}
