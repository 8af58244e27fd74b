//! The keys that sign tokens: published and fetched as seldom as can be, or configured.
//!
//! A key that is not known causes a fetch, at most one in half a minute for all callers; known keys are fetched again in the
//! background of a use. While the publication is away, what was fetched serves on for a day.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jsonwebtoken::Algorithm;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

use super::key::{Jwk, Key};
use super::token::refusal;
use crate::api::arguments::quote;
use crate::error::{Error, Kind, Result};

/// Largest publication that is read, in bytes.
pub const LARGEST_KEY_SET: usize = 256 * 1024;
/// Most keys of a publication.
const MOST_KEYS: usize = 64;
/// Longest that a fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Seconds between two fetches for keys that are not known.
const MIN_FETCH_INTERVAL: i64 = 30;
/// Seconds between two fetches while there is no key at all.
const SHORT_PAUSE: i64 = 5;
/// Seconds after which keys are fetched again in the background.
const FRESH: i64 = 600;
/// Seconds after which keys that could not be fetched again are taken no longer.
const STALE: i64 = 24 * 3600;
/// The generation of keys that are too old.
const TOO_OLD: u64 = u64::MAX;

/// Where keys are published.
pub trait KeySource: Send + Sync {
    /// The JWK set as it is published now, of at most [`LARGEST_KEY_SET`] bytes.
    fn fetch(&self) -> BoxFuture<'_, Result<Bytes>>;
}

/// The keys that sign tokens.
pub struct KeySet(Origin);

enum Origin {
    /// One key for every token, whatever it calls its key.
    Configured(Arc<Key>),
    Published(Arc<Published>),
}

struct Published {
    source: Arc<dyn KeySource>,
    held: RwLock<Arc<Held>>,
    /// Rises when a key is no longer published, so that what it signed is looked at again.
    generation: AtomicU64,
    attempt: Mutex<Attempt>,
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Held {
    keys: Vec<(Option<String>, Arc<Key>)>,
    /// The other keys of the publication, and why each is of no use.
    skipped: Vec<String>,
    /// When they were fetched, in seconds since 1970.
    since: Option<i64>,
}

#[derive(Clone, Copy, Default)]
struct Attempt {
    at: Option<i64>,
    failed: bool,
}

impl KeySet {
    /// Keys as the issuer publishes them. Nothing is fetched yet.
    #[must_use]
    pub fn published(source: Arc<dyn KeySource>) -> Self {
        Self(Origin::Published(Arc::new(Published {
            source,
            held: RwLock::default(),
            generation: AtomicU64::new(0),
            attempt: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        })))
    }

    /// One public key in PEM.
    ///
    /// # Errors
    /// `FM-CONFIG-AUTH-KEY` for what is not a public key, too short, or of a kind that is not taken.
    pub fn of_pem(pem: &[u8]) -> Result<Self> {
        Key::of_pem(pem).map(|key| Self(Origin::Configured(Arc::new(key))))
    }

    /// A secret that tokens are signed with by HS256.
    ///
    /// # Errors
    /// `FM-CONFIG-AUTH-SECRET` for one that is too short.
    pub fn of_secret(secret: &SecretString) -> Result<Self> {
        Key::of_secret(secret).map(|key| Self(Origin::Configured(Arc::new(key))))
    }

    /// Fetches published keys and says of each that is of no use here why: for the operator.
    ///
    /// # Errors
    /// The publication cannot be had or holds no key that serves.
    pub async fn inspect(&self) -> Result<Vec<String>> {
        match &self.0 {
            Origin::Configured(_) => Ok(Vec::new()),
            Origin::Published(published) => Ok(read(&published.fetched().await?)?.1),
        }
    }

    /// The generation of the keys now in force; a token that was verified under another one is verified again. Keys that
    /// are too old are of none.
    pub(super) fn generation(&self, now: i64) -> u64 {
        match &self.0 {
            Origin::Configured(_) => 0,
            Origin::Published(published) => {
                published.renew_behind(now);
                if published.held().serves(now) { published.generation.load(Ordering::Acquire) } else { TOO_OLD }
            }
        }
    }

    /// The key that a token names, if it is at hand; nothing where it may have to be fetched.
    ///
    /// # Errors
    /// As [`find`](Self::find), where the issuer would not be asked for the key now.
    pub(super) fn at_hand(&self, kid: Option<&str>, algorithm: Algorithm, now: i64) -> Result<Option<Arc<Key>>> {
        let published = match &self.0 {
            Origin::Configured(key) if key.algorithm() == algorithm => return Ok(Some(Arc::clone(key))),
            Origin::Configured(_) => return Err(confused()),
            Origin::Published(published) => published,
        };
        match published.known(kid, algorithm, now)? {
            Some(key) => Ok(Some(key)),
            None if published.may_fetch(now) || published.fetching.try_lock().is_err() => Ok(None),
            // A fetch may just have ended.
            None => published.known(kid, algorithm, now)?.map(Some).ok_or_else(|| published.unknown(now)),
        }
    }

    /// The key that a token names.
    ///
    /// # Errors
    /// No such key, a key that is for another algorithm, or a publication that cannot be had.
    pub(super) async fn find(&self, kid: Option<&str>, algorithm: Algorithm, now: i64) -> Result<Arc<Key>> {
        if let Some(key) = self.at_hand(kid, algorithm, now)? {
            return Ok(key);
        }
        let Origin::Published(published) = &self.0 else { return Err(confused()) };
        published.renew(now).await;
        published.known(kid, algorithm, now)?.ok_or_else(|| published.unknown(now))
    }
}

impl Published {
    fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn attempt(&self) -> Attempt {
        *self.attempt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, kid: Option<&str>, algorithm: Algorithm, now: i64) -> Result<Option<Arc<Key>>> {
        let held = self.held();
        if held.serves(now) { held.find(kid, algorithm) } else { Ok(None) }
    }

    /// Why a token is refused whose key is not known.
    fn unknown(&self, now: i64) -> Error {
        if self.is_away(now) { away() } else { refusal("FM-MCP-TOKEN-KEY", "the token does not name a key that signs tokens") }
    }

    /// Whether what is missing may be missing because the publication could not be had.
    fn is_away(&self, now: i64) -> bool {
        self.attempt().failed || !self.held().serves(now)
    }

    /// Whether a fetch may begin, for a key that is not known.
    fn may_fetch(&self, now: i64) -> bool {
        let pause = if self.held().serves(now) { MIN_FETCH_INTERVAL } else { SHORT_PAUSE };
        self.attempt().at.is_none_or(|at| passed(at, now, pause))
    }

    /// Fetches the keys unless that was just done; others wait for the same fetch.
    async fn renew(self: &Arc<Self>, now: i64) {
        if self.may_fetch(now) {
            let this = Arc::clone(self);
            // On its own, so that the first to ask may go away without taking the fetch from the others.
            let fetch = tokio::spawn(async move {
                let _alone = this.fetching.lock().await;
                if this.may_fetch(now) {
                    this.fetch(now).await;
                }
            });
            if let Err(error) = fetch.await {
                tracing::error!(%error, "the fetch of keys broke off");
            }
        } else {
            // A fetch that runs may bring what is asked for.
            drop(self.fetching.lock().await);
        }
    }

    /// Fetches keys that are no longer fresh, while they serve.
    fn renew_behind(self: &Arc<Self>, now: i64) {
        let old = self.held().since.is_some_and(|since| passed(since, now, FRESH));
        if old && self.may_fetch(now) && self.fetching.try_lock().is_ok() {
            let this = Arc::clone(self);
            tokio::spawn(async move { this.renew(now).await });
        }
    }

    async fn fetched(&self) -> Result<Bytes> {
        tokio::time::timeout(FETCH_TIMEOUT, self.source.fetch()).await.unwrap_or_else(|_| {
            Err(Error::new(Kind::Timeout, "FM-MCP-KEYS-SLOW", format!("no answer within {} s", FETCH_TIMEOUT.as_secs())))
        })
    }

    async fn fetch(&self, now: i64) {
        *self.attempt.lock().unwrap_or_else(PoisonError::into_inner) = Attempt { at: Some(now), failed: true };
        let (keys, skipped) = match self.fetched().await.and_then(|body| read(&body)) {
            Ok(keys) => keys,
            Err(error) => {
                tracing::warn!(code = error.code(), error = error.message(), "the keys that sign tokens cannot be fetched");
                return;
            }
        };
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.keys.iter().any(|key| !keys.contains(key)) {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        if held.skipped != skipped {
            for reason in &skipped {
                tracing::warn!(%reason, "a published key signs no tokens here");
            }
        }
        *held = Arc::new(Held { keys, skipped, since: Some(now) });
        drop(held);
        self.attempt.lock().unwrap_or_else(PoisonError::into_inner).failed = false;
    }
}

impl Held {
    fn serves(&self, now: i64) -> bool {
        self.since.is_some_and(|since| !passed(since, now, STALE))
    }

    fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Option<Arc<Key>>> {
        let mut fitting = self.keys.iter().filter(|(name, _)| kid.is_none() || name.as_deref() == kid).map(|(_, key)| key).peekable();
        let any = fitting.peek().is_some();
        let mut fitting = fitting.filter(|key| key.algorithm() == algorithm);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(Some(Arc::clone(key))),
            (None, _) if any && kid.is_some() => Err(confused()),
            // Without a name it is unknown which of several keys is meant.
            (Some(_), Some(_)) | (None, _) => Ok(None),
        }
    }
}

/// Whether a time has passed. A clock that was set back does not stop it from passing; that a caller who waited still
/// has a time of a moment ago does not make it pass.
pub(super) fn passed(since: i64, now: i64, seconds: i64) -> bool {
    !(-60..seconds).contains(&now.saturating_sub(since))
}

/// The keys of a publication by their names, and why its other keys are of no use.
type Publication = (Vec<(Option<String>, Arc<Key>)>, Vec<String>);

/// Reads a JWK set. Keys that are of no use here are left out; one without any use is not a set.
fn read(body: &[u8]) -> Result<Publication> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let wrong = |why: &str| Error::new(Kind::BadAnswer, "FM-MCP-KEYS-WRONG", format!("the published keys {why}"));
    if body.len() > LARGEST_KEY_SET {
        return Err(wrong("are larger than 256 KiB"));
    }
    let set: Set = serde_json::from_slice(body).map_err(|_| wrong("are not a JWK set"))?;
    if set.keys.len() > MOST_KEYS {
        return Err(wrong("are more than 64"));
    }
    let mut keys: Vec<(Option<String>, Arc<Key>)> = Vec::new();
    let mut skipped = Vec::new();
    for (place, key) in set.keys.into_iter().enumerate() {
        let name = match key.get("kid").and_then(Value::as_str) {
            Some(kid) => quote(kid),
            None => format!("number {}", place + 1),
        };
        let read = serde_json::from_value::<Jwk>(key).map_err(|_| "it is not a JWK").and_then(|jwk| Ok((Key::of_jwk(&jwk)?, jwk.kid)));
        match read {
            Ok((key, kid)) if keys.iter().any(|(name, known)| *name == kid && known.algorithm() == key.algorithm()) => {
                skipped.push(format!("key {name}: another key has its name and algorithm"));
            }
            Ok((key, kid)) => keys.push((kid, Arc::new(key))),
            Err(why) => skipped.push(format!("key {name}: {why}")),
        }
    }
    if keys.is_empty() {
        let why = if skipped.is_empty() { String::new() } else { format!(" ({})", skipped.join("; ")) };
        return Err(wrong(&format!("hold none that signs with EdDSA, ES256 or RS256{why}")));
    }
    Ok((keys, skipped))
}

fn confused() -> Error {
    refusal("FM-MCP-TOKEN-ALGORITHM", "the token names another algorithm than its key is for")
}

fn away() -> Error {
    Error::new(Kind::Unavailable, "FM-MCP-KEYS-AWAY", "the keys that sign tokens cannot be had now, so the token cannot be judged")
        .hint("Try again in a moment.")
        .retry_after(Duration::from_secs(SHORT_PAUSE.unsigned_abs()))
}
