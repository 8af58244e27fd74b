//! The handshake of a WebSocket: who asks, for which channel and from where on. Whatever is wrong is told in HTTP.

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts as _, RawPathParams, Request};
use axum::response::Response;
use http::request::Parts;

use super::MAX_FRAME;
use super::channel::Channel;
use super::connection::Connection;
use super::presence::Place;
use super::proof::Proof;
use crate::api::Spec;
use crate::api::arguments::quote;
use crate::api::realtime::{LAST_SEQ, PUBLISH, SUBPROTOCOL};
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::http::problem;
use crate::platform::http::routes::{query_pairs, request_id};

/// Opens a WebSocket, or tells why not.
pub(super) async fn open(platform: Platform, spec: &'static Spec, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let (path, id) = (parts.uri.path().to_owned(), request_id(&parts.headers));
    accept(platform, spec, &mut parts, &id).await.unwrap_or_else(|error| problem::response(&error, &path, &id))
}

async fn accept(platform: Platform, spec: &'static Spec, parts: &mut Parts, request_id: &str) -> Result<Response> {
    let last_seq = last_seq(spec, parts.uri.query().unwrap_or_default())?;
    let name = channel_name(parts).await?;
    let proof = Proof::of(spec, &parts.headers, &name)?;
    let identity = proof.identity(&platform).await?;
    let channel = Channel::find(&platform, spec, &name, &identity.caller).await?;
    // Where the stream begins is settled before the client hears that it has begun, and after the feed was joined.
    let feed = platform.realtime().feed.join(identity.caller.tenant.as_str());
    let head = platform
        .database()
        .read(|connection| Ok(connection.query_row("SELECT coalesce(max(position), 0) FROM events", [], |row| row.get::<_, i64>(0))?))
        .await?;
    let begins = match last_seq {
        Some(seq) if seq > head => {
            return Err(Error::new(Kind::Invalid, "FM-WGS-SEQ", format!("the channel has not come to {seq} yet"))
                .field(format!("/{LAST_SEQ}"), "range", format!("must be 0 to {head}"))
                .hint("Take the seq of a frame of this channel, or leave it out."));
        }
        Some(seq) => seq,
        None => channel.begins.unwrap_or(head),
    };
    let upgrade = WebSocketUpgrade::from_request_parts(parts, &()).await.map_err(|rejection| {
        Error::new(Kind::Malformed, "FM-WGS-UPGRADE", "this route is a WebSocket")
            .hint("Connect with a WebSocket client: GET with Upgrade: websocket, version 13.")
            .caused_by(rejection.to_string())
    })?;
    let place = Place::take(&platform, identity.caller.tenant.as_str(), &identity.caller.subject, &channel.name)?;
    let publishes = spec.name == PUBLISH.name;
    let connection = Connection::new(platform.clone(), proof, identity, channel, place, begins, request_id.to_owned());
    let tracked = platform.tracked();
    Ok(upgrade.protocols([SUBPROTOCOL]).max_message_size(MAX_FRAME).max_frame_size(MAX_FRAME).on_upgrade(async move |socket| {
        if publishes {
            connection.publish(socket).await;
        } else {
            connection.stream(socket, feed).await;
        }
        drop(tracked);
    }))
}

async fn channel_name(parts: &mut Parts) -> Result<String> {
    let named = RawPathParams::from_request_parts(parts, &()).await;
    let named = named.map_err(|_| Error::new(Kind::Malformed, "FM-WGS-MALFORMED", "the path is not UTF-8 once decoded"))?;
    Ok(named.iter().next().map(|(_, name)| name.to_owned()).unwrap_or_default())
}

/// The frame after which the stream goes on. Nothing else is a parameter; a token in a URL ends in logs.
fn last_seq(spec: &Spec, query: &str) -> Result<Option<i64>> {
    let mut last = None;
    for (name, value) in query_pairs(query) {
        if name != LAST_SEQ || spec.name == PUBLISH.name {
            return Err(Error::new(Kind::Malformed, "FM-WGS-QUERY", format!("{} is not a parameter of this WebSocket", quote(&name)))
                .hint("Send the token in the Authorization header, or as the subprotocol bearer.TOKEN beside flowmaster.v1."));
        }
        let seq = value.parse::<i64>().ok().filter(|seq| *seq >= 0).ok_or_else(|| {
            Error::new(Kind::Invalid, "FM-WGS-SEQ", format!("{} is not the seq of a frame", quote(&value))).field(
                format!("/{LAST_SEQ}"),
                "type",
                "must be a whole number from 0",
            )
        })?;
        last = Some(seq);
    }
    Ok(last)
}
