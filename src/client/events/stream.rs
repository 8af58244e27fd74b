//! One caller's stream of events: a subscription, its channel, and what follows when either breaks.
//!
//! After a cut the channel goes on by the last frame's place. Where frames have no places, or the subscription is gone, what
//! was missed is replayed from shortly before the last event, and repeats are dropped by id. A reader that does not read
//! keeps the socket from being read; the gateway closes it, and the stream goes on where the reader was.

mod live;

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::sync::CancellationToken;

use super::backoff::{self, LONGEST_WAIT};
use super::repeats::Repeats;
use super::verdict::{self, Verdict, broken};
use super::{Notice, Source};
use crate::api::events::{Delivery, Replay, Subscribe, Unsubscribe};
use crate::api::ids::{SubscriptionId, TenantId};
use crate::api::realtime::Frame;
use crate::api::{Event, PageRequest, Timestamp};
use crate::auth::{Caller, Principal};
use crate::client::Client;
use crate::client::http::websocket::Socket;
use crate::error::{Error, Kind, Result};

/// Notices that wait for their reader; beyond that the socket is not read.
const WAITING: usize = 256;
/// How often replay is asked where there is no gateway.
const POLL: Duration = Duration::from_secs(2);
/// How far a replay reaches back behind the last event, in seconds: events may become visible late.
const OVERLAP: f64 = 10.0;
/// How long a gateway may be silent before it is asked whether it is there; as long again, and the socket is broken.
const QUIET: Duration = Duration::from_secs(20);
/// How long a stream must have stood so that the next wait is short again.
const STEADY: Duration = Duration::from_secs(5);
/// How long the end of a subscription may take.
const GOODBYE: Duration = Duration::from_secs(3);
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The platform's code for a topic that has no event yet.
const TOPIC_UNKNOWN: &str = "FM-EBS-TOPIC-UNKNOWN";
/// Events in a page of replay.
const PAGE: u32 = 200;

/// See the module. Dropped, it ends and removes its subscription.
#[derive(Debug)]
pub struct EventStream {
    notices: mpsc::Receiver<Result<Notice>>,
    /// Whether the last frame had a place.
    has_places: watch::Receiver<Option<bool>>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl EventStream {
    /// Follows a topic or a pattern for a principal: from now on, or from a time.
    #[must_use]
    pub fn open(client: Client, principal: Arc<dyn Principal>, topic: &str, since: Option<Timestamp>) -> Self {
        let (sender, notices) = mpsc::channel(WAITING);
        let (shown, has_places) = watch::channel(None);
        let stop = CancellationToken::new();
        let follow = Follow {
            client,
            principal,
            topic: topic.to_owned(),
            notices: sender,
            repeats: Repeats::default(),
            subscription: None,
            tenant: None,
            last_seq: None,
            shown,
            latest: since,
            overlap: 0.0,
            is_owed_replay: since.is_some(),
        };
        let task = Some(tokio::spawn(follow.run(stop.clone())));
        Self { notices, has_places, stop, task }
    }

    /// The next notice, or why there are no more; afterwards none.
    pub async fn next(&mut self) -> Option<Result<Notice>> {
        self.notices.recv().await
    }

    /// Whether the channel's frames have places, by which a broken stream goes on; `None` before the first one.
    #[must_use]
    pub fn has_places(&self) -> Option<bool> {
        *self.has_places.borrow()
    }

    /// Ends the stream, and waits until its subscription is removed.
    pub async fn close(mut self) {
        self.stop.cancel();
        self.notices.close();
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Follow {
    client: Client,
    principal: Arc<dyn Principal>,
    topic: String,
    notices: mpsc::Sender<Result<Notice>>,
    repeats: Repeats,
    /// The subscription, with its channel.
    subscription: Option<(SubscriptionId, String)>,
    tenant: Option<TenantId>,
    /// The place of the last frame.
    last_seq: Option<u64>,
    /// Whether it had one.
    shown: watch::Sender<Option<bool>>,
    /// The time of the last event, by the platform's clock; a replay begins there.
    latest: Option<Timestamp>,
    /// How far before it, in seconds.
    overlap: f64,
    /// Whether the next connection leaves something to be replayed.
    is_owed_replay: bool,
}

impl Follow {
    async fn run(mut self, stop: CancellationToken) {
        let reader = self.notices.clone();
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            () = reader.closed() => None,
            error = self.follow() => Some(error),
        };
        self.unsubscribe().await;
        if let Some(error) = ended {
            let _ = self.notices.send(Err(error)).await;
        }
    }

    /// Follows until it cannot go on.
    async fn follow(&mut self) -> Error {
        if let Some(bus) = self.client.bus().cloned() {
            return self.follow_bus(bus).await;
        }
        let mut waits = backoff::waits(FIRST_WAIT);
        loop {
            let caller = match self.principal.caller().await {
                Ok(caller) => caller,
                Err(error) => return error,
            };
            let began = Instant::now();
            let error = match self.connect(&caller).await {
                Ok(socket) => self.listen(socket).await,
                Err(error) => error,
            };
            if began.elapsed() > STEADY {
                waits = backoff::waits(FIRST_WAIT);
            }
            tracing::debug!(code = error.code(), topic = self.topic, "an event stream broke: {}", error.message());
            match verdict::of(&error) {
                Verdict::Again => self.is_owed_replay |= self.last_seq.is_none() && self.latest.is_some(),
                Verdict::Resubscribe => {
                    self.subscription = None;
                    self.last_seq = None;
                    self.is_owed_replay = true;
                }
                Verdict::Overleap => {
                    self.last_seq = None;
                    self.is_owed_replay = true;
                }
                Verdict::Replay => return self.poll().await,
                Verdict::Renew => match self.principal.renewed(Arc::clone(&caller)).await {
                    Ok(renewed) if !Arc::ptr_eq(&renewed, &caller) => {}
                    _ => return error,
                },
            }
            sleep(waits.next().unwrap_or(LONGEST_WAIT)).await;
        }
    }

    /// Subscribes unless that was done, opens the channel, and replays what is owed.
    async fn connect(&mut self, caller: &Arc<Caller>) -> Result<Socket> {
        self.tenant = Some(caller.tenant.clone());
        let channel = if let Some((_, channel)) = &self.subscription {
            channel.clone()
        } else {
            let request = Subscribe { topic: self.topic.clone(), delivery: Delivery::Channel };
            let made = self.client.send(caller, &request).await?;
            let channel = made.channel.clone().ok_or_else(|| {
                Error::new(Kind::Unsupported, "FM-MCP-WEBSOCKET", "the platform answers a subscription without a channel")
            })?;
            self.subscription = Some((made.subscription_id, channel.clone()));
            self.latest.get_or_insert(made.created_at);
            channel
        };
        let socket = self.client.listen(caller, &channel, self.last_seq).await?;
        if self.is_owed_replay {
            self.replay(caller).await?;
            self.is_owed_replay = false;
        }
        self.tell(Notice::Started(Source::Channel)).await;
        Ok(socket)
    }

    /// Passes on what the channel shows until it breaks.
    async fn listen(&mut self, mut socket: Socket) -> Error {
        let mut is_asked = false;
        loop {
            let message = match timeout(QUIET, socket.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(error @ tungstenite::Error::Capacity(_)))) => return verdict::too_large().caused_by(error),
                Ok(Some(Err(error))) => return broken("the event stream broke").caused_by(error),
                Ok(None) => return broken("the event stream ended"),
                Err(_) if is_asked => return broken("the event stream is silent"),
                Err(_) => {
                    is_asked = true;
                    if let Err(error) = socket.send(Message::Ping(Vec::new().into())).await {
                        return broken("the event stream broke").caused_by(error);
                    }
                    continue;
                }
            };
            is_asked = false;
            match message {
                Message::Text(text) => self.take(&text).await,
                Message::Close(frame) => {
                    return frame
                        .map_or_else(|| broken("the event stream ended"), |frame| verdict::of_close(frame.code.into(), &frame.reason));
                }
                _ => {}
            }
        }
    }

    async fn take(&mut self, text: &str) {
        let Ok(frame) = serde_json::from_str::<Frame>(text) else {
            tracing::warn!(topic = self.topic, "a frame of the event stream cannot be read");
            return self.tell(Notice::Hint).await;
        };
        let ours = self.subscription.as_ref().map(|(_, channel)| channel.as_str());
        if frame.channel.as_deref().is_some_and(|channel| Some(channel) != ours) {
            return;
        }
        if frame.tenantid.as_ref().is_some_and(|tenant| Some(tenant) != self.tenant.as_ref()) {
            tracing::warn!(topic = self.topic, "dropped a frame of another tenant");
            return;
        }
        let seq = frame.seq;
        if seq.is_some() && seq <= self.last_seq {
            return;
        }
        if frame.id.is_none() && frame.kind.starts_with("presence.") {
            return;
        }
        self.shown.send_replace(Some(seq.is_some()));
        match frame.into_event() {
            Some(event) => self.pass(Event { tenantid: self.tenant.clone(), ..event }).await,
            None => self.tell(Notice::Hint).await,
        }
        self.last_seq = seq.or(self.last_seq);
    }

    /// Passes on an event that is new.
    async fn pass(&mut self, event: Event) {
        if event.tenantid.as_ref().is_some_and(|tenant| Some(tenant) != self.tenant.as_ref()) {
            tracing::warn!(topic = self.topic, "dropped an event of another tenant");
            return;
        }
        if !self.repeats.is_new(&event.id) {
            return;
        }
        self.latest = self.latest.max(event.time);
        self.overlap = OVERLAP;
        self.tell(Notice::Event(Arc::new(event))).await;
    }

    /// Tells the reader, when it has room; one that is gone ends the stream elsewhere.
    async fn tell(&self, notice: Notice) {
        let _ = self.notices.send(Ok(notice)).await;
    }

    /// Replays from shortly before the last event up to the end of the log.
    async fn replay(&mut self, caller: &Arc<Caller>) -> Result<()> {
        let from = self.latest.map(|latest| latest.plus_seconds(-self.overlap).to_string());
        let mut cursor = None;
        loop {
            let page = PageRequest { limit: Some(PAGE), cursor };
            let request = Replay { topic: self.topic.clone(), from: from.clone(), to: None, page };
            let page = match self.client.send(caller, &request).await {
                Ok(page) => page,
                // A topic exists from its first event on.
                Err(error) if error.code() == TOPIC_UNKNOWN => return Ok(()),
                Err(error) => return Err(error),
            };
            for event in page.items {
                self.pass(event).await;
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// Asks replay again and again, until it cannot go on.
    async fn poll(&mut self) -> Error {
        self.unsubscribe().await;
        self.latest.get_or_insert_with(Timestamp::now);
        self.overlap = OVERLAP;
        let mut waits = backoff::waits(FIRST_WAIT);
        let mut is_started = false;
        loop {
            let caller = match self.principal.caller().await {
                Ok(caller) => caller,
                Err(error) => return error,
            };
            let wait = match self.replay(&caller).await {
                Ok(()) => {
                    waits = backoff::waits(FIRST_WAIT);
                    if !is_started {
                        is_started = true;
                        self.tell(Notice::Started(Source::Replay)).await;
                    }
                    POLL
                }
                Err(error) if verdict::of(&error) == Verdict::Again => waits.next().unwrap_or(LONGEST_WAIT),
                Err(error) => return error,
            };
            sleep(wait).await;
        }
    }

    /// Removes the subscription. One that is left behind is removed by the platform when nobody has listened for long.
    async fn unsubscribe(&mut self) {
        let Some((id, _)) = self.subscription.take() else { return };
        let ending = async {
            let caller = self.principal.caller().await?;
            self.client.send(&caller, &Unsubscribe { id }).await
        };
        match timeout(GOODBYE, ending).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(code = error.code(), "a subscription is left to the platform"),
            Err(_) => tracing::debug!("a subscription is left to the platform, which does not answer"),
        }
    }
}
