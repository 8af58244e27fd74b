//! The hub: one stream of events per tenant, opened by the server's own account and shared by all who wait, each of whom hears
//! what its permissions cover. Without such an account there is one stream per caller.
//!
//! Waiting is events plus a read every few seconds: an event says when to read, and only the read, which has the waiter's own
//! rights, says what is true. So a stream that lags, breaks or cannot be had costs time alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::repeats::Repeats;
use super::{EventStream, Notice};
use crate::api::events::{Replay, Subscribe};
use crate::api::ids::{EventId, TenantId};
use crate::api::{Event, Operation as _, Timestamp};
use crate::auth::{Caller, Credential, Filter, Principal};
use crate::client::Client;
use crate::error::{Error, Kind, Result};
use crate::io::hash::sha256;

/// Notices that wait for the slowest follower; one further behind is told to read again.
const RING: usize = 1024;
/// Most streams at once. A caller beyond that waits by reading.
const MAX_STREAMS: usize = 256;
/// Most of them for one tenant.
const MAX_STREAMS_PER_TENANT: usize = 128;
/// How long a stream is kept that nobody follows.
const LINGER: Duration = Duration::from_mins(1);
/// How often a stream looks whether it is followed.
const LOOK: Duration = Duration::from_secs(5);
/// How long a waiter waits for an event before it reads again by itself.
const READ_EVERY: Duration = Duration::from_secs(5);
/// How long the streams may take to end.
const GOODBYE: Duration = Duration::from_secs(4);

/// How long the callers of a tenant have streams of their own after the account's has ended.
const WITHOUT_ACCOUNT: Duration = Duration::from_mins(5);

/// The digest of tenant, subject and credential: of a caller, or of the server's own account in a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamKey([u8; 32]);

type Streams = Arc<Mutex<HashMap<StreamKey, Shared>>>;
type Tenants = Arc<Mutex<HashMap<TenantId, Instant>>>;

/// A stream as its followers see it.
struct Shared {
    tenant: TenantId,
    notices: broadcast::Sender<Notice>,
    standing: watch::Receiver<Standing>,
}

/// What has become of a stream.
#[derive(Debug, Clone)]
enum Standing {
    /// It is being opened.
    Opening,
    /// From here on nothing is left out.
    Stands,
    /// There are no more events, and why.
    Ended(Arc<Error>),
}

/// See the module.
pub struct Hub {
    client: Client,
    streams: Streams,
    /// The events that evicted answers.
    evicted: Arc<Mutex<Repeats>>,
    /// The tenants where the account's stream has ended, and when.
    without_account: Tenants,
    /// Ends the streams that were opened so far.
    stop: Mutex<CancellationToken>,
    tasks: TaskTracker,
}

/// One who follows a caller's events.
#[derive(Debug)]
pub struct Follower {
    /// None once the stream has ended, or where there is none.
    notices: Option<broadcast::Receiver<Notice>>,
    standing: Option<watch::Receiver<Standing>>,
    /// Who is judged for each event, where the stream is not the caller's own.
    judged: Option<Judged>,
}

/// A caller who hears of events by the account's stream.
#[derive(Debug)]
struct Judged {
    client: Client,
    caller: Arc<Caller>,
}

impl Judged {
    /// Whether the caller may follow events now.
    fn may_follow(&self) -> bool {
        let access = self.client.access();
        let lives = self.caller.expires.is_none_or(|end| end > Timestamp::now());
        lives && access.allows(&self.caller, &Subscribe::SPEC) && access.allows(&self.caller, &Replay::SPEC)
    }
}

impl Hub {
    /// A hub over a client. Nothing is connected before somebody follows.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            streams: Arc::default(),
            evicted: Arc::default(),
            without_account: Arc::default(),
            stop: Mutex::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Follows what happens, as far as a caller may see it. What is read after this misses nothing that the follower is not
    /// told of, once the stream stands.
    #[must_use]
    pub fn follow(&self, caller: &Arc<Caller>) -> Follower {
        match self.account_for(caller) {
            Some(account) => {
                let judged = Some(Judged { client: self.client.clone(), caller: Arc::clone(caller) });
                Follower { judged, ..self.join(&account) }
            }
            None => self.join(caller),
        }
    }

    /// The account that follows events for a caller, whose permissions are known and judged on this side.
    fn account_for(&self, caller: &Arc<Caller>) -> Option<Arc<Caller>> {
        let is_judged = self.client.access().filter() == Filter::Strict && caller.permissions.is_some();
        if !is_judged || !matches!(caller.credential, Credential::Bearer(_)) || !self.client.upstream().follows_events(&caller.tenant) {
            return None;
        }
        let judged = Judged { client: self.client.clone(), caller: Arc::clone(caller) };
        let mut without = lock(&self.without_account);
        without.retain(|_, since| since.elapsed() < WITHOUT_ACCOUNT);
        (judged.may_follow() && !without.contains_key(&caller.tenant)).then(|| Arc::new(Caller::service(caller.tenant.clone())))
    }

    /// Joins those who follow a stream, which is opened where there is none.
    fn join(&self, caller: &Arc<Caller>) -> Follower {
        let key = StreamKey::of(caller);
        let mut streams = lock(&self.streams);
        if let Some(stream) = streams.get(&key) {
            return Follower { notices: Some(stream.notices.subscribe()), standing: Some(stream.standing.clone()), judged: None };
        }
        let of_tenant = streams.values().filter(|stream| stream.tenant == caller.tenant).count();
        if streams.len() >= MAX_STREAMS || of_tenant >= MAX_STREAMS_PER_TENANT {
            return Follower::without_events();
        }
        let (sender, notices) = broadcast::channel(RING);
        let (stands, standing) = watch::channel(Standing::Opening);
        streams.insert(key, Shared { tenant: caller.tenant.clone(), notices: sender.clone(), standing: standing.clone() });
        let principal: Arc<dyn Principal> = Arc::new(Arc::clone(caller));
        let is_accounts = matches!(caller.credential, Credential::Service);
        let sharing = Sharing {
            stream: EventStream::open(self.client.clone(), principal, "*", None),
            sender,
            stands,
            key,
            evicting: Evicting { client: self.client.clone(), tenant: caller.tenant.clone(), evicted: Arc::clone(&self.evicted) },
            streams: Arc::clone(&self.streams),
            without_account: is_accounts.then(|| Arc::clone(&self.without_account)),
        };
        let stop = lock(&self.stop).clone();
        self.tasks.spawn(sharing.run(stop));
        Follower { notices: Some(notices), standing: Some(standing), judged: None }
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
        Self { notices: None, standing: None, judged: None }
    }

    /// Waits until the stream stands: what is read after this misses nothing that the follower is not told of.
    ///
    /// # Errors
    /// The stream has ended, or there is none.
    pub async fn stands(&mut self) -> Result<()> {
        let none = || {
            Error::new(Kind::Unavailable, "FM-MCP-NO-EVENTS", "the server follows no events for this caller")
                .hint("Read again from time to time, or try again later: the server follows a bounded number of callers.")
        };
        let Some(standing) = &mut self.standing else { return Err(none()) };
        loop {
            match &*standing.borrow_and_update() {
                Standing::Opening => {}
                Standing::Stands => return Ok(()),
                Standing::Ended(error) => return Err(error.again()),
            }
            standing.changed().await.map_err(|_| none())?;
        }
    }

    /// Waits until it is worth reading again: an event of interest, a hint, a few seconds, or the deadline.
    pub async fn wait(&mut self, concerns: impl Fn(&Event) -> bool, deadline: Instant) {
        let again = deadline.min(Instant::now() + READ_EVERY);
        let noticed = async {
            loop {
                match self.next().await {
                    Some(Notice::Event(event)) if !concerns(&event) => {}
                    Some(_) => return,
                    None => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            () = noticed => {}
            () = sleep_until(again) => {}
        }
    }

    /// The next notice; `None` once the stream has ended, or where there is none.
    pub async fn next(&mut self) -> Option<Notice> {
        let notice = match self.notices.as_mut()?.recv().await {
            Ok(notice) => Some(notice),
            Err(RecvError::Lagged(_)) => Some(Notice::Hint),
            Err(RecvError::Closed) => None,
        };
        // Who may not follow any more hears of nothing from this event on.
        let heard = notice.filter(|_| self.judged.as_ref().is_none_or(Judged::may_follow));
        if heard.is_none() {
            self.notices = None;
        }
        heard
    }
}

/// A stream that is handed to its followers until it ends, or nobody has followed it for a while.
struct Sharing {
    stream: EventStream,
    sender: broadcast::Sender<Notice>,
    stands: watch::Sender<Standing>,
    key: StreamKey,
    evicting: Evicting,
    streams: Streams,
    /// Where it is noted that the account's stream has ended; none for a caller's own.
    without_account: Option<Tenants>,
}

/// Keeps the cache of a tenant's answers honest, by each event once however many streams of the tenant tell of it.
struct Evicting {
    client: Client,
    tenant: TenantId,
    evicted: Arc<Mutex<Repeats>>,
}

impl Evicting {
    fn evict(&self, notice: &Notice) {
        match notice {
            Notice::Event(event) => {
                let id = EventId(format!("{}/{}", self.tenant, event.id));
                if lock(&self.evicted).is_new(&id) {
                    self.client.evict(&self.tenant, Some(event));
                }
            }
            Notice::Hint => self.client.evict(&self.tenant, None),
            Notice::Started(_) => {}
        }
    }
}

impl Sharing {
    async fn run(mut self, stop: CancellationToken) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut followed = Instant::now();
        let ended = || Error::new(Kind::Cancelled, "FM-MCP-STREAM-ENDED", "the event stream ended");
        let (why, is_removed) = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break (ended(), false),
                notice = self.stream.next() => match notice {
                    Some(Ok(notice)) => self.tell(notice),
                    Some(Err(error)) => {
                        tracing::debug!(code = error.code(), "an event stream ended: {}", error.message());
                        if let Some(tenants) = &self.without_account {
                            tracing::warn!(code = error.code(), tenant = %self.evicting.tenant, "the server's account cannot follow events");
                            lock(tenants).insert(self.evicting.tenant.clone(), Instant::now());
                        }
                        break (error, false);
                    }
                    None => break (ended(), false),
                },
                _ = look.tick() => {
                    // Under the lock, so that nobody begins to follow what ends.
                    let mut streams = lock(&self.streams);
                    if self.sender.receiver_count() > 0 {
                        followed = Instant::now();
                    } else if followed.elapsed() > LINGER {
                        streams.remove(&self.key);
                        break (ended(), true);
                    }
                }
            }
        };
        if !is_removed {
            lock(&self.streams).remove(&self.key);
        }
        self.stands.send_replace(Standing::Ended(Arc::new(why)));
        drop(self.sender);
        self.stream.close().await;
    }

    fn tell(&self, notice: Notice) {
        // Before anybody hears of it, so that who reads then does not read what was kept.
        self.evicting.evict(&notice);
        if matches!(notice, Notice::Started(_)) {
            self.stands.send_replace(Standing::Stands);
        }
        // Without a receiver there is nobody to tell.
        let _ = self.sender.send(notice);
    }
}

impl StreamKey {
    /// The key of a caller's stream.
    #[must_use]
    pub fn of(caller: &Caller) -> Self {
        let credential = match &caller.credential {
            Credential::Bearer(token) => token.expose_secret(),
            Credential::Owner => "owner",
            Credential::Service => "service",
            Credential::Verified => "verified",
        };
        Self(sha256(format!("{}\0{}\0{:?}\0{credential}", caller.tenant, caller.subject, caller.kind).as_bytes()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
