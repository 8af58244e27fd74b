//! Reads what happened since a position, with the caller's own rights: by the platform's places, else by time.

use std::sync::Arc;

use super::kinds::Chosen;
use super::position::{Position, Reading, Window};
use crate::api::events::{News, Replay, Since};
use crate::api::{Entry, Event, Operation as _, PageRequest, Timestamp};
use crate::auth::Caller;
use crate::config::PolicyDecision;
use crate::error::{Error, Kind, Result};
use crate::server::App;
use crate::server::toolsets::Offer;
use crate::telemetry::TraceContext;

/// Most pages that one read looks through for events that concern a subscription.
const MAX_PAGES: usize = 5;
/// Events in a page of replay.
const PAGE: u32 = 200;
/// The platform's code for a topic that has no event yet.
const TOPIC_UNKNOWN: &str = "FM-EBS-TOPIC-UNKNOWN";

/// Events since a position.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) events: Vec<Event>,
    /// Where the next read goes on.
    pub(super) position: Position,
    /// Whether there is more already.
    pub(super) more: bool,
}

/// By which operation a caller reads events; refuses callers who may not.
pub(super) async fn allowed(app: &App, caller: &Caller, offer: &Offer) -> Result<&'static Entry> {
    let entry = operation(app).await?;
    offer.check(entry)?;
    match app.authorise(caller, entry)? {
        PolicyDecision::Allow => Ok(entry),
        _ => Err(Error::new(Kind::Forbidden, "FM-MCP-POLICY", "the operator has a person asked before events are read")
            .hint(format!("Call the tool {} instead.", entry.spec.name))),
    }
}

/// The operation by which events are read: with places, where the platform has it.
async fn operation(app: &App) -> Result<&'static Entry> {
    let since = crate::server::operation(Since::SPEC.name)?;
    app.learn(since).await;
    if app.has(since) { Ok(since) } else { crate::server::operation(Replay::SPEC.name) }
}

/// Reads the next events that concern a subscription; without a position nothing but where it begins.
pub(super) async fn read(app: &App, caller: &Arc<Caller>, chosen: &Chosen, position: Option<Position>, most: u32) -> Result<Chunk> {
    match position {
        Some(Position::Time(window)) => by_time(app, caller, chosen, window, most).await,
        Some(Position::Log(place)) => by_place(app, caller, chosen, Some(place), most).await,
        None if operation(app).await?.spec.name == Since::SPEC.name => by_place(app, caller, chosen, None, most).await,
        None => begin_by_time(app, caller, chosen).await,
    }
}

async fn by_place(app: &App, caller: &Arc<Caller>, chosen: &Chosen, mut place: Option<String>, most: u32) -> Result<Chunk> {
    let mut pages = 0;
    loop {
        let request = Since { topic: chosen.topic.clone(), page: PageRequest { limit: Some(most), cursor: place } };
        let News { items, cursor, more } = app.read_as(caller, &request, TraceContext::within(None)).await?;
        let events: Vec<Event> = items.into_iter().filter(|event| chosen.concerns(event)).collect();
        pages += 1;
        if !events.is_empty() || !more || pages == MAX_PAGES {
            return Ok(Chunk { events, position: Position::Log(cursor), more });
        }
        place = Some(cursor);
    }
}

async fn by_time(app: &App, caller: &Arc<Caller>, chosen: &Chosen, window: Window, most: u32) -> Result<Chunk> {
    let (start, mut here) = (window.start(), window.next.clone());
    let mut reading = Reading::of(window);
    let mut events = Vec::new();
    for _ in 0..MAX_PAGES {
        let (items, next) = page(app, caller, &chosen.topic, start, here.clone()).await?;
        for event in items {
            if events.len() >= most as usize {
                // What is left of the page is read again; what was told of it is remembered.
                return Ok(Chunk { events, position: Position::Time(reading.pause(here)), more: true });
            }
            if reading.is_new(&event) && chosen.concerns(&event) {
                events.push(event);
            }
        }
        let Some(next) = next else { return Ok(Chunk { events, position: Position::Time(reading.end()), more: false }) };
        here = Some(next);
        if !events.is_empty() {
            break;
        }
    }
    Ok(Chunk { events, position: Position::Time(reading.pause(here)), more: true })
}

/// The first window: what is there already is not told.
async fn begin_by_time(app: &App, caller: &Arc<Caller>, chosen: &Chosen) -> Result<Chunk> {
    let window = Window::until(Timestamp::now(), &caller.tenant, &chosen.topic);
    let start = window.start();
    let mut reading = Reading::of(window);
    let mut here = None;
    for _ in 0..MAX_PAGES {
        let (items, next) = page(app, caller, &chosen.topic, start, here).await?;
        for event in &items {
            let _known_now = reading.is_new(event);
        }
        here = next;
        if here.is_none() {
            break;
        }
    }
    let window = if here.is_some() { reading.pause(here) } else { reading.end() };
    Ok(Chunk { events: Vec::new(), position: Position::Time(window), more: false })
}

/// A page of what was published since a time, and where the next one begins.
async fn page(
    app: &App,
    caller: &Arc<Caller>,
    topic: &str,
    from: Timestamp,
    cursor: Option<String>,
) -> Result<(Vec<Event>, Option<String>)> {
    let page = PageRequest { limit: Some(PAGE), cursor };
    let request = Replay { topic: topic.to_owned(), from: Some(from.to_string()), to: None, page };
    match app.read_as(caller, &request, TraceContext::within(None)).await {
        Ok(page) => Ok((page.items, page.next_cursor)),
        // A topic exists from its first event on.
        Err(error) if error.code() == TOPIC_UNKNOWN => Ok((Vec::new(), None)),
        Err(error) => Err(error),
    }
}
