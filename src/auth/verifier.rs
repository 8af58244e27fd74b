//! Verifies tokens: signed, meant for this server and not expired.
//!
//! What is cheap comes first, so that a flood of rubbish costs next to nothing: the form, the claims, the name of the
//! key, and only then one signature. A token that was verified is remembered by its digest until it ends.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jsonwebtoken::Algorithm;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use secrecy::ExposeSecret as _;

use super::jwks::KeySet;
use super::key::algorithm_of;
use super::revocation::{Confirm, Confirmation, Interval};
use super::rules::{self, Judgement, Rules};
use super::token::{Claims, Header, Parts, check_length, refusal};
use super::{Admit, Caller, Credential};
use crate::api::Timestamp;
use crate::error::{Error, Result};
use crate::io::hash::sha256;

/// How many tokens of usual size are remembered.
const REMEMBERED: usize = 16_384;
/// What a remembered token weighs at least, in bytes.
const LIGHTEST: u64 = 4096;

/// Tells the time in seconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

type Digest = [u8; 32];

/// Verifies tokens.
pub struct Verifier {
    rules: Rules,
    keys: KeySet,
    confirm: Option<Arc<dyn Confirm>>,
    interval: Interval,
    clock: Clock,
    remembered: Cache<Digest, Arc<Remembered>, Weight>,
    /// The header of the last good token: those of one key have the same, letter for letter.
    header: RwLock<Option<Arc<KnownHeader>>>,
}

/// A header that was read.
struct KnownHeader {
    text: String,
    algorithm: Algorithm,
    kid: Option<String>,
}

/// A token whose signature was checked.
struct Remembered {
    caller: Arc<Caller>,
    judgement: Judgement,
    /// The keys that were in force when it was checked.
    generation: AtomicU64,
    confirmation: Confirmation,
}

impl Verifier {
    /// Verifies by these rules and keys, and does not ask whether a token was revoked.
    #[must_use]
    pub fn new(rules: Rules, keys: KeySet) -> Self {
        Self {
            rules,
            keys,
            confirm: None,
            interval: Interval::new(Duration::ZERO),
            clock: Arc::new(|| Timestamp::now().millis().div_euclid(1000)),
            remembered: Cache::with_weighter(REMEMBERED, REMEMBERED as u64 * LIGHTEST, Weight),
            header: RwLock::default(),
        }
    }

    /// Asks the platform whether it still takes a token, at most once per token and interval; zero asks only about
    /// tokens that must be confirmed, and once.
    #[must_use]
    pub fn confirmed_by(mut self, confirm: Arc<dyn Confirm>, interval: Duration) -> Self {
        self.confirm = Some(confirm);
        self.interval = Interval::new(interval);
        self
    }

    /// Takes the time from elsewhere, for tests.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    async fn judge(&self, token: &str) -> Result<Arc<Caller>> {
        check_length(token)?;
        let now = (self.clock)();
        let generation = self.keys.generation(now);
        let digest = sha256(token.as_bytes());
        let known = match self.remembered.get(&digest) {
            Some(known) if known.generation.load(Ordering::Acquire) == generation => known,
            Some(known) => {
                // A key was withdrawn: whether it was this token's shows when it is verified again.
                if let Err(refused) = self.verify(token, now, generation).await {
                    self.remembered.remove(&digest);
                    return Err(refused);
                }
                known.generation.store(generation, Ordering::Release);
                known
            }
            None => {
                let verified = self.verify(token, now, generation).await?;
                // Of two that come at once one is kept, so that the platform is asked once.
                let Ok(known) = self.remembered.get_or_insert_with(&digest, || Ok::<_, Infallible>(Arc::new(verified)));
                known
            }
        };
        if now >= known.judgement.ends {
            self.remembered.remove(&digest);
            return Err(rules::expired());
        }
        if known.judgement.confirm || self.interval.recurs() {
            match &self.confirm {
                Some(confirm) => self.confirmed(&known, confirm, now).await?,
                None => {
                    return Err(refusal(
                        "FM-MCP-TOKEN-ISSUER",
                        "the token lacks `iss` or `aud`, and no validator can be asked whose it is",
                    ));
                }
            }
        }
        Ok(Arc::clone(&known.caller))
    }

    /// Holds a token to what the platform says of it. The validation runs in a task of its own: a caller that goes away
    /// leaves the answer to those who come.
    async fn confirmed(&self, known: &Arc<Remembered>, confirm: &Arc<dyn Confirm>, now: i64) -> Result<()> {
        if let Some(told) = known.confirmation.known(now) {
            return told;
        }
        let (known, confirm, interval) = (Arc::clone(known), Arc::clone(confirm), self.interval);
        tokio::spawn(async move { known.confirmation.hold(&*confirm, &known.caller, interval, now).await })
            .await
            .map_err(Error::internal)?
    }

    /// Judges a token that is not remembered. The generation is that of before, so that keys which change meanwhile are
    /// noticed at the next use.
    async fn verify(&self, token: &str, now: i64, generation: u64) -> Result<Remembered> {
        let parts = Parts::of(token)?;
        let known = self.header.read().unwrap_or_else(PoisonError::into_inner).clone().filter(|known| known.text == parts.header);
        let header = match &known {
            Some(known) => Arc::clone(known),
            None => Arc::new(KnownHeader::read(parts)?),
        };
        let key = self.keys.at_hand(header.kid.as_deref(), header.algorithm, now)?;
        let claims = parts.claims_bytes()?;
        let claims = Claims::read(&claims)?;
        let judgement = self.rules.judge(&claims, now)?;
        // The issuer is not asked for the key of a token that is rejected anyway.
        let key = match key {
            Some(key) => key,
            None => self.keys.find(header.kid.as_deref(), header.algorithm, now).await?,
        };
        key.check(parts)?;
        if known.is_none() {
            *self.header.write().unwrap_or_else(PoisonError::into_inner) = Some(header);
        }
        Ok(Remembered {
            caller: Arc::new(rules::caller(&claims, token)?),
            judgement,
            generation: AtomicU64::new(generation),
            confirmation: Confirmation::default(),
        })
    }
}

impl KnownHeader {
    fn read(parts: Parts<'_>) -> Result<Self> {
        let header = parts.header_bytes()?;
        let header = Header::read(&header)?;
        let Some(algorithm) = algorithm_of(&header.alg) else {
            return Err(refusal("FM-MCP-TOKEN-ALGORITHM", "tokens signed with the algorithm that the token names are not taken"));
        };
        Ok(Self { text: parts.header.to_owned(), algorithm, kid: header.kid.map(|kid| kid.to_string()) })
    }
}

/// What remembered tokens weigh: each itself, and its claims once more.
#[derive(Clone)]
struct Weight;

impl Weighter<Digest, Arc<Remembered>> for Weight {
    fn weight(&self, _: &Digest, known: &Arc<Remembered>) -> u64 {
        let token = if let Credential::Bearer(token) = &known.caller.credential { token.expose_secret().len() } else { 0 };
        (token as u64 * 2).max(LIGHTEST)
    }
}

impl Admit for Verifier {
    fn admit<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Arc<Caller>>> {
        Box::pin(self.judge(token))
    }
}
