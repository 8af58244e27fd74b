//! What the platform's events are good for: how soon they come, and what a stream that breaks misses.

use std::time::Duration;

use super::Finding;
use crate::api::Operation as _;
use crate::api::catalogue;
use crate::api::events::Since;
use crate::auth::Caller;
use crate::cli::setup::connection::Connection;
use crate::cli::setup::kafka;
use crate::client::events::{EventStream, Notice, Source};
use crate::config::Config;

/// How long a stream may take to stand.
const OPENING: Duration = Duration::from_secs(5);
/// How long an event is waited for, which shows whether frames have places.
const LISTENING: Duration = Duration::from_secs(1);

/// Opens a stream for a moment, and says which guarantees it has.
pub(super) async fn of_platform(connection: &Connection, config: &Config, caller: &Caller) -> Finding {
    let principal = match connection.principal() {
        Ok(principal) => principal,
        Err(error) => return Finding::bad("events", &error),
    };
    let mut stream = EventStream::open(connection.client.clone(), principal, "*", None);
    let started = tokio::time::timeout(OPENING, started(&mut stream)).await;
    let has_places = match started {
        Ok(Some(Ok(Source::Channel))) if config.url.is_none() => Some(true),
        Ok(Some(Ok(Source::Channel))) => {
            let _heard = tokio::time::timeout(LISTENING, stream.next()).await;
            stream.has_places()
        }
        _ => None,
    };
    stream.close().await;
    let finding = match started {
        Ok(Some(Ok(Source::Channel))) => channel(has_places),
        Ok(Some(Ok(Source::Replay))) => Finding::care(
            "events",
            "event replay alone, asked every 2 s: there is no WebSocket for this login; windows overlap by 10 s, and what becomes visible later is missed",
            "Waits read every 5 s all the same. Grant subscription:create, or have the WebSocket gateway set up.",
        ),
        Ok(Some(Ok(Source::Kafka))) => of_kafka(config),
        Ok(Some(Err(error))) => Finding::bad("events", &error),
        Ok(None) | Err(_) => {
            let trouble = connection.client.bus().and_then(|bus| bus.trouble());
            let text = trouble.map_or_else(|| "cannot be followed now".to_owned(), |why| format!("cannot be followed now: {why}"));
            Finding::care("events", text, "Waits read every 5 s; look after the platform's event bus.")
        }
    };
    let text = format!("{}; {}; {}", finding.text, log(connection), streams(connection, caller));
    Finding { text, ..finding }
}

/// Waits for the stream to stand.
async fn started(stream: &mut EventStream) -> Option<crate::error::Result<Source>> {
    loop {
        match stream.next().await? {
            Ok(Notice::Started(source)) => return Some(Ok(source)),
            Ok(_) => {}
            Err(error) => return Some(Err(error)),
        }
    }
}

fn channel(has_places: Option<bool>) -> Finding {
    match has_places {
        Some(true) => Finding::good("events", "WebSocket whose frames have places: a stream that breaks goes on where it was"),
        Some(false) => Finding::care(
            "events",
            "WebSocket whose frames have no places: after a break what was missed is replayed by time",
            "Events that become visible more than 10 s late may be missed then; waits read every 5 s all the same.",
        ),
        None => Finding::good("events", "WebSocket; no event came meanwhile, so it is not known whether its frames have places"),
    }
}

/// What Apache Kafka as the source promises.
fn of_kafka(config: &Config) -> Finding {
    let kafka = &config.events.kafka;
    let text = format!(
        "Apache Kafka at {}: each event once, in the order of its partition; a cut goes on by offsets, and what Kafka has dropped \
         unread is replayed",
        kafka.brokers.join(", ")
    );
    let is_plain = kafka.tls != Some(true);
    if is_plain && !kafka::is_local(kafka) {
        return Finding::care("events", text, "Events travel unencrypted; set events.kafka.tls where the network is not yours alone.");
    }
    Finding::good("events", text)
}

/// Whether the log can be read by places.
fn log(connection: &Connection) -> &'static str {
    let since = catalogue().get(Since::SPEC.name);
    if since.is_some_and(|since| connection.client.extensions().have(&since.spec)) {
        "the log is read by places"
    } else {
        "the log is read by time, since the platform does not list what is new by a cursor"
    }
}

/// Who opens the streams of a server.
fn streams(connection: &Connection, caller: &Caller) -> &'static str {
    if connection.client.upstream().follows_events(&caller.tenant) {
        "one stream for the tenant, by the server's account"
    } else {
        "one stream for each caller"
    }
}
