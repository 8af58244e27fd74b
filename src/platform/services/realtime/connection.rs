//! One connection: sends what its channel shows until the client, the token, the subscription or the platform ends.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use serde_json::{Map, json};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::channel::Channel;
use super::feed::Item;
use super::presence::Place;
use super::proof::Proof;
use super::publishing;
use crate::api::Event;
use crate::api::realtime::{Frame, close};
use crate::auth::Caller;
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::database::Scope;
use crate::platform::http::problem;
use crate::platform::identity::Identity;
use crate::platform::services::events::{exists, listened};

/// How often the token is judged again, and the client asked whether it is there.
const BEAT: Duration = Duration::from_secs(5);
/// How long a judgement of the token counts while frames are sent.
const JUDGED_FOR: Duration = Duration::from_secs(1);
/// How long nothing may be heard of a client, which answers each ping.
const IDLE: Duration = Duration::from_mins(1);
/// How long a client may leave a frame unread.
const SLOW: Duration = Duration::from_secs(10);

/// Why a connection ends, as its client is told.
struct Ended(u16, &'static str);

const STOPPED: Ended = Ended(1001, "the platform stops");
const FAILED: Ended = Ended(1011, "something went wrong inside");
const HUNG_UP: Ended = Ended(1000, "");

/// One connection.
pub(super) struct Connection {
    platform: Platform,
    proof: Proof,
    caller: Arc<Caller>,
    recorded_by: String,
    channel: Channel,
    /// Up to where the log was shown.
    position: i64,
    judged: Instant,
    heard: Instant,
    request_id: String,
    _place: Place,
}

impl Connection {
    pub(super) fn new(
        platform: Platform,
        proof: Proof,
        identity: Identity,
        channel: Channel,
        place: Place,
        begins: i64,
        request_id: String,
    ) -> Self {
        let now = Instant::now();
        let Identity { caller, recorded_by, .. } = identity;
        let caller = Arc::new(caller);
        Self { platform, proof, caller, recorded_by, channel, position: begins, judged: now, heard: now, request_id, _place: place }
    }

    /// Sends what the channel shows.
    pub(super) async fn stream(mut self, mut socket: WebSocket, mut feed: Receiver<Item>) {
        self.note_listener().await;
        let ended = match self.send_all(&mut socket, &mut feed).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        };
        self.end(socket, ended).await;
    }

    /// Publishes what the client sends.
    pub(super) async fn publish(mut self, mut socket: WebSocket) {
        let ended = match self.receive_all(&mut socket).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        };
        self.end(socket, ended).await;
    }

    async fn end(&self, mut socket: WebSocket, Ended(code, reason): Ended) {
        let last = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        // Who does not read is not waited for.
        let _ = timeout(Duration::from_secs(1), socket.send(last)).await;
        if !self.platform.stopping().is_cancelled() {
            self.note_listener().await;
        }
    }

    /// Notes that the subscription is listened to: those that nobody listens to for long are removed.
    async fn note_listener(&self) {
        if self.channel.is_subscription() {
            let (scope, id) = (Scope::system(self.caller.tenant.clone()), self.channel.name.clone());
            if let Err(error) = self.platform.database().write(scope, move |tx| listened(tx, &id)).await {
                tracing::warn!(%error, channel = self.channel.name, "it cannot be noted that a channel is listened to");
            }
        }
    }

    async fn send_all(
        &mut self,
        socket: &mut WebSocket,
        feed: &mut Receiver<Item>,
    ) -> std::result::Result<std::convert::Infallible, Ended> {
        let (mut beat, platform) = (beat(), self.platform.clone());
        let expiry = expiry(&platform, self.caller.expires);
        tokio::pin!(expiry);
        // The feed was joined before the log is read, so nothing is left out between the two.
        let mut is_behind = true;
        loop {
            if is_behind {
                let (events, read) =
                    self.channel.read(&platform, self.caller.tenant.as_str(), self.position).await.map_err(|error| failed(&error))?;
                is_behind = events.len() == super::channel::PAGE;
                for (position, event) in &events {
                    self.show(socket, *position, event).await?;
                }
                self.position = self.position.max(read);
            }
            tokio::select! {
                biased;
                () = platform.stopping().cancelled() => return Err(STOPPED),
                () = &mut expiry => return Err(Ended(close::UNAUTHENTICATED, "the token has ended")),
                message = socket.recv() => self.hear(message.as_ref())?,
                _ = beat.tick() => self.beat(socket).await?,
                item = feed.recv(), if !is_behind => match item {
                    Ok(Item::Event(position, event)) => {
                        self.show(socket, position, &event).await?;
                        self.position = self.position.max(position);
                    }
                    Ok(Item::Large(position)) => is_behind = position > self.position,
                    Ok(Item::Presence { channel, user, joined }) => self.show_presence(socket, &channel, &user, joined).await?,
                    Err(RecvError::Lagged(_)) => is_behind = true,
                    Err(RecvError::Closed) => return Err(STOPPED),
                },
                () = std::future::ready(()), if is_behind => {}
            }
        }
    }

    async fn show(&mut self, socket: &mut WebSocket, position: i64, event: &Event) -> std::result::Result<(), Ended> {
        if position <= self.position || !self.channel.shows(event) {
            return Ok(());
        }
        self.judge(JUDGED_FOR).await?;
        if self.channel.shows(event) {
            send(socket, &self.channel.frame(position, event)).await?;
        }
        self.position = position;
        Ok(())
    }

    async fn show_presence(&mut self, socket: &mut WebSocket, channel: &str, user: &str, joined: bool) -> std::result::Result<(), Ended> {
        if channel != self.channel.name {
            return Ok(());
        }
        self.judge(JUDGED_FOR).await?;
        let kind = if joined { "presence.joined" } else { "presence.left" };
        send(socket, &Frame::hint(kind, channel, Map::from_iter([("userId".to_owned(), user.into())]))).await
    }

    async fn receive_all(&mut self, socket: &mut WebSocket) -> std::result::Result<std::convert::Infallible, Ended> {
        let (mut beat, platform) = (beat(), self.platform.clone());
        let expiry = expiry(&platform, self.caller.expires);
        tokio::pin!(expiry);
        loop {
            let message = tokio::select! {
                biased;
                () = platform.stopping().cancelled() => return Err(STOPPED),
                () = &mut expiry => return Err(Ended(close::UNAUTHENTICATED, "the token has ended")),
                _ = beat.tick() => { self.beat(socket).await?; continue }
                message = socket.recv() => message,
            };
            let Some(Ok(Message::Text(text))) = message else {
                self.hear(message.as_ref())?;
                continue;
            };
            self.heard = Instant::now();
            self.judge(JUDGED_FOR).await?;
            let answer = match self.take(&text).await {
                Ok(frame) => Frame { kind: "published".to_owned(), payload: Map::new(), ..frame },
                Err(error) => {
                    let problem = json!(problem::problem(&error, &self.channel.name, &self.request_id));
                    Frame::hint("error", &self.channel.name, problem.as_object().cloned().unwrap_or_default())
                }
            };
            send(socket, &answer).await?;
        }
    }

    async fn take(&self, text: &str) -> Result<Frame> {
        let message = publishing::read(text)?;
        let scope = Scope {
            tenant: self.caller.tenant.clone(),
            actor: self.caller.subject.clone(),
            recorded_by: self.recorded_by.clone(),
            request_id: Some(self.request_id.clone()),
            correlation_id: Some(self.request_id.clone()),
            mark: None,
        };
        publishing::write(&self.platform, scope, self.caller.kind, self.channel.name.clone(), message).await
    }

    /// Takes note of a sign of life, and of the end.
    fn hear(&mut self, message: Option<&std::result::Result<Message, axum::Error>>) -> std::result::Result<(), Ended> {
        self.heard = Instant::now();
        match message {
            Some(Ok(Message::Close(_))) | None => Err(HUNG_UP),
            Some(Err(_)) => Err(Ended(1009, "a frame was too large or is none")),
            Some(Ok(_)) => Ok(()),
        }
    }

    async fn beat(&mut self, socket: &mut WebSocket) -> std::result::Result<(), Ended> {
        self.judge(Duration::ZERO).await?;
        if self.channel.is_subscription() {
            let (tenant, id) = (self.caller.tenant.clone(), self.channel.name.clone());
            let still = self.platform.database().read_for(self.caller.tenant.as_str(), move |found| exists(found, tenant.as_str(), &id));
            if !still.await.map_err(|error| failed(&error))? {
                return Err(Ended(close::GONE, "the subscription was ended"));
            }
        }
        if self.heard.elapsed() > IDLE {
            return Err(Ended(close::IDLE, "nothing was heard of the client"));
        }
        within_time(socket, Message::Ping(Vec::new().into())).await
    }

    /// Judges the token again, unless it was judged within a time.
    async fn judge(&mut self, judged_for: Duration) -> std::result::Result<(), Ended> {
        if self.judged.elapsed() <= judged_for {
            return Ok(());
        }
        match self.proof.identity(&self.platform).await {
            Ok(identity) => {
                self.channel.judge(&identity.caller);
                self.caller = Arc::new(identity.caller);
                self.judged = Instant::now();
                Ok(())
            }
            Err(error) => Err(match error.kind() {
                Kind::Unauthenticated => Ended(close::UNAUTHENTICATED, "the token has ended or was revoked"),
                Kind::Forbidden => Ended(close::FORBIDDEN, "the permission was taken away"),
                _ => failed(&error),
            }),
        }
    }
}

fn beat() -> tokio::time::Interval {
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

/// Ends when the token does, by the platform's clock.
async fn expiry(platform: &Platform, expires: Option<crate::api::Timestamp>) {
    match expires {
        Some(moment) => platform.clock().sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn send(socket: &mut WebSocket, frame: &Frame) -> std::result::Result<(), Ended> {
    let text = serde_json::to_string(frame).map_err(|error| failed(&Error::internal(error)))?;
    within_time(socket, Message::Text(text.into())).await
}

async fn within_time(socket: &mut WebSocket, message: Message) -> std::result::Result<(), Ended> {
    match timeout(SLOW, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(HUNG_UP),
        Err(_) => Err(Ended(close::TOO_SLOW, "the client reads too slowly")),
    }
}

fn failed(error: &Error) -> Ended {
    tracing::error!(%error, "a WebSocket ends");
    FAILED
}
