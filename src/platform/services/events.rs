//! Event Bus: publishing, subscriptions, replay and dead letters (contract, section 15). `platform/events.rs` delivers.

mod dead_letters;
mod replay;
mod since;
mod subscriptions;
mod topics;

use serde_json::Value;

use crate::api::Event;
use crate::api::events::{Publish, SERVICE};
use crate::auth::CallerKind;
use crate::error::Result;
use crate::platform::http::context::Cx;
use crate::platform::http::routes::Routes;

pub(crate) use subscriptions::{exists, find_channel, listened};

/// The operations of the service.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .on(publish)
        .on(subscriptions::list)
        .on(subscriptions::subscribe)
        .on(subscriptions::rotate_signing_secret)
        .on(subscriptions::unsubscribe)
        .on(replay::replay)
        .on(since::since)
        .extend(&SERVICE, dead_letters::list)
}

async fn publish(cx: Cx, request: Publish) -> Result<Event> {
    topics::check_name(&request.topic)?;
    if topics::is_reserved(&request.topic) {
        topics::check_publisher(&cx.caller, &request.topic)?;
        topics::check_event(&request.topic, &request.event)?;
    }
    let kind = if cx.caller.kind == CallerKind::Service { "services" } else { "users" };
    let source = format!("/{kind}/{}", cx.caller.subject);
    cx.write(move |tx| {
        let time = request.timestamp.unwrap_or_else(|| tx.now());
        let event = tx.emit_as(&source, &request.topic, None, time, Value::Object(request.event))?;
        tx.audit("event.published", "event", event.id.as_str(), None)?;
        Ok(event)
    })
    .await
}
