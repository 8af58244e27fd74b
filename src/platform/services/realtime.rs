//! WebSocket Gateway: live channels over the event log (contract, section 16).
//!
//! A channel is a view of the log: a subscription's topics, what was published on a named channel, or what concerns one
//! user. So a stream goes on after any cut, also over a restart, and nothing is kept for those who are away.

mod channel;
mod connection;
mod feed;
mod handshake;
mod presence;
mod proof;
mod publishing;

use std::collections::HashSet;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;

use super::super::Platform;
use crate::api::realtime::{CONNECT, PUBLISH, Presence, Present, SUBSCRIBE};
use crate::error::Result;
use crate::platform::http::PREFIXES;
use crate::platform::http::context::Cx;
use crate::platform::http::routes::Routes;

/// What the gateway keeps in memory.
#[derive(Default)]
pub(crate) struct State {
    feed: feed::Feed,
    members: presence::Members,
}

impl State {
    /// The channels of a tenant that somebody listens to.
    pub(crate) fn listened(&self, tenant: &str) -> HashSet<String> {
        self.members.channels(tenant)
    }
}

/// Most bytes of a frame that a client sends.
const MAX_FRAME: usize = 64 * 1024;

/// The operations of the service, both beyond the contract: its own routes are WebSockets.
pub(crate) fn routes() -> Routes {
    Routes::new().on(publishing::publish).on(presence)
}

/// The WebSockets, below each prefix of the gateway.
pub(crate) fn sockets(platform: &Platform) -> Router {
    let mut router = Router::new();
    for (path, spec) in [("/connect", &CONNECT), ("/channels/{p1}/subscribe", &SUBSCRIBE), ("/channels/{p1}/publish", &PUBLISH)] {
        let platform = platform.clone();
        let open = get(move |request: Request| handshake::open(platform.clone(), spec, request));
        for prefix in PREFIXES {
            router = router.route(&format!("{prefix}{path}"), open.clone());
        }
    }
    router
}

/// Feeds the channels from the event log until the platform stops.
pub(crate) fn spawn(platform: &Platform) {
    platform.spawn(feed::run(platform.clone()));
}

async fn presence(cx: Cx, request: Presence) -> Result<Present> {
    channel::check_name(&request.channel)?;
    let members = cx.platform.realtime().members.on(cx.caller.tenant.as_str(), &request.channel);
    Ok(Present { channel: request.channel, members })
}
