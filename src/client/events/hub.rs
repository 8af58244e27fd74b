//! The hub: one stream of events per caller, shared by all who wait for that caller.
//!
//! Waiting is events plus a read every few seconds: an event says when to read, and only the read, which has the waiter's own
//! rights, says what is true. So a stream that lags, breaks or cannot be had costs time alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{EventStream, Notice};
use crate::api::Event;
use crate::auth::{Caller, Credential, Principal};
use crate::client::Client;
use crate::io::hash::sha256;

/// Notices that wait for the slowest follower; one further behind is told to read again.
const RING: usize = 1024;
/// Most streams at once. A caller beyond that waits by reading.
const MAX_STREAMS: usize = 256;
/// How long a stream is kept that nobody follows.
const LINGER: Duration = Duration::from_mins(1);
/// How often a stream looks whether it is followed.
const LOOK: Duration = Duration::from_secs(5);
/// How long a waiter waits for an event before it reads again by itself.
const READ_EVERY: Duration = Duration::from_secs(5);
/// How long the streams may take to end.
const GOODBYE: Duration = Duration::from_secs(4);

/// The digest of tenant, subject and credential: a stream is its caller's alone.
type Key = [u8; 32];

/// See the module.
pub struct Hub {
    client: Client,
    streams: Arc<Mutex<HashMap<Key, broadcast::Sender<Notice>>>>,
    /// Ends the streams that were opened so far.
    stop: Mutex<CancellationToken>,
    tasks: TaskTracker,
}

/// One who follows a caller's events.
#[derive(Debug)]
pub struct Follower {
    /// None once the stream has ended, or where there is none.
    notices: Option<broadcast::Receiver<Notice>>,
}

impl Hub {
    /// A hub over a client. Nothing is connected before somebody follows.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, streams: Arc::default(), stop: Mutex::default(), tasks: TaskTracker::new() }
    }

    /// Follows what happens, as far as a caller may see it. What is read after this misses nothing that the follower is not
    /// told of, once the stream stands.
    #[must_use]
    pub fn follow(&self, caller: &Arc<Caller>) -> Follower {
        let key = key_of(caller);
        let mut streams = lock(&self.streams);
        if let Some(sender) = streams.get(&key) {
            return Follower { notices: Some(sender.subscribe()) };
        }
        if streams.len() >= MAX_STREAMS {
            return Follower::without_events();
        }
        let (sender, notices) = broadcast::channel(RING);
        streams.insert(key, sender.clone());
        let principal: Arc<dyn Principal> = Arc::new(Arc::clone(caller));
        let stream = EventStream::open(self.client.clone(), principal, "*", None);
        let stop = lock(&self.stop).clone();
        self.tasks.spawn(share(stream, sender, key, Arc::clone(&self.streams), stop));
        Follower { notices: Some(notices) }
    }

    /// Ends the streams there are and removes their subscriptions.
    pub async fn close(&self) {
        std::mem::take(&mut *lock(&self.stop)).cancel();
        self.tasks.close();
        if tokio::time::timeout(GOODBYE, self.tasks.wait()).await.is_err() {
            tracing::debug!("event streams were still ending");
        }
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("streams", &lock(&self.streams).len()).finish_non_exhaustive()
    }
}

impl Follower {
    /// One who is told of nothing, and so reads every few seconds.
    #[must_use]
    pub const fn without_events() -> Self {
        Self { notices: None }
    }

    /// Waits until it is worth reading again: an event of interest, a hint, a few seconds, or the deadline.
    pub async fn wait(&mut self, concerns: impl Fn(&Event) -> bool, deadline: Instant) {
        let again = deadline.min(Instant::now() + READ_EVERY);
        let noticed = async {
            loop {
                match self.next().await {
                    Notice::Event(event) if !concerns(&event) => {}
                    _ => return,
                }
            }
        };
        tokio::select! {
            () = noticed => {}
            () = sleep_until(again) => {}
        }
    }

    /// The next notice. Without a stream there is none.
    async fn next(&mut self) -> Notice {
        if let Some(notices) = &mut self.notices {
            match notices.recv().await {
                Ok(notice) => return notice,
                Err(RecvError::Lagged(_)) => return Notice::Hint,
                Err(RecvError::Closed) => self.notices = None,
            }
        }
        std::future::pending().await
    }
}

/// Hands a stream's notices to its followers until it ends, or nobody has followed it for a while.
async fn share(
    mut stream: EventStream,
    sender: broadcast::Sender<Notice>,
    key: Key,
    streams: Arc<Mutex<HashMap<Key, broadcast::Sender<Notice>>>>,
    stop: CancellationToken,
) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut followed = Instant::now();
    let is_removed = loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break false,
            notice = stream.next() => match notice {
                Some(Ok(notice)) => drop(sender.send(notice)),
                Some(Err(error)) => {
                    tracing::debug!(code = error.code(), "an event stream ended: {}", error.message());
                    break false;
                }
                None => break false,
            },
            _ = look.tick() => {
                let mut streams = lock(&streams);
                if sender.receiver_count() > 0 {
                    followed = Instant::now();
                } else if followed.elapsed() > LINGER {
                    // Under the lock, so that nobody begins to follow what ends.
                    streams.remove(&key);
                    break true;
                }
            }
        }
    };
    if !is_removed {
        lock(&streams).remove(&key);
    }
    drop(sender);
    stream.close().await;
}

fn key_of(caller: &Caller) -> Key {
    let credential = match &caller.credential {
        Credential::Bearer(token) => token.expose_secret(),
        Credential::Owner => "owner",
        Credential::Service => "service",
        Credential::Verified => "verified",
    };
    sha256(format!("{}\0{}\0{:?}\0{credential}", caller.tenant, caller.subject, caller.kind).as_bytes())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
