//! A login that lasts: its tokens are renewed before they end, once however many calls wait, and by one process at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret as _, SecretString};

use crate::api::auth::{Login as SignIn, Logout, Refresh};
use crate::api::{Permissions, Timestamp};
use crate::auth::{Caller, CallerKind, Credential, Principal};
use crate::client::Client;
use crate::error::{Error, Kind, Result};
use crate::io::hash::sha256;

pub use super::grant::Grant;
pub use super::store::{Locked, Store};

/// How long a renewal ahead of time rests after the platform could not be asked.
const REST: Duration = Duration::from_secs(5);
/// How long a refused password is not tried again: five failures in a row lock an account.
const REFUSED_FOR: Duration = Duration::from_mins(15);
/// How often one may sign in within [`OFTEN_WITHIN`]; a login that ends at once again and again is not repeated forever.
const OFTEN: usize = 5;
const OFTEN_WITHIN: Duration = Duration::from_mins(5);
/// How long an end waits for a renewal under way: its refresh token is spent, so the next one must be kept.
const CLOSE: Duration = Duration::from_secs(5);

/// What a login lives on.
#[derive(Debug)]
pub enum Source {
    /// The file that `flowmaster-mcp login` wrote.
    Stored(Store),
    /// A pair of the settings; the pairs that follow it are kept in a file. Without a refresh token nothing follows.
    Given(Box<Grant>, Option<Store>),
    /// A user's name and password.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: SecretString,
        /// The tenant to sign in to.
        tenant: String,
    },
}

/// A login. It is the principal of the connections that speak for it.
#[derive(Debug, Clone)]
pub struct Login(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// A client without this login, by which it signs in and renews.
    client: Client,
    source: Source,
    tenant: Option<String>,
    platform: String,
    hint: String,
    held: Mutex<Held>,
    /// Whose turn it is to renew.
    turn: tokio::sync::Mutex<()>,
}

/// What is known at the moment.
#[derive(Debug, Default)]
struct Held {
    current: Option<(Grant, Arc<Caller>)>,
    /// Callers of this login that are still in use.
    issued: Vec<Weak<Caller>>,
    /// How many renewals were tried, and how the last one failed: those who waited for it share its failure.
    tries: u64,
    failure: Option<Error>,
    /// Until when the current pair does although it is due.
    rest_until: Option<Instant>,
    /// The refresh token that the platform refused, by its digest.
    spent: Option<[u8; 32]>,
    /// A pair that could not be written to the file, and the refresh token in the file, by its digest: that one is spent.
    unkept: Option<([u8; 32], Grant)>,
    /// When it was signed in by password.
    signed_in: VecDeque<Instant>,
    /// When the password was refused, and how.
    refused: Option<(Instant, Error)>,
}

impl Login {
    /// A login at a platform. Nothing is read or asked before the first call. `hint` says what to do when it has ended.
    #[must_use]
    pub fn new(client: Client, source: Source, tenant: Option<String>, platform: String, hint: String) -> Self {
        let (held, turn) = (Mutex::default(), tokio::sync::Mutex::default());
        Self(Arc::new(Inner { client, source, tenant, platform, hint, held, turn }))
    }

    /// What it lives on.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.0.source
    }

    /// The name that is or was signed in with, where it is known.
    #[must_use]
    pub fn username(&self) -> Option<String> {
        match &self.0.source {
            Source::Password { username, .. } => Some(username.clone()),
            _ => self.0.held().current.as_ref().and_then(|(grant, _)| grant.username.clone()),
        }
    }

    /// Whether it is renewed before it ends.
    #[must_use]
    pub fn renews(&self) -> bool {
        !matches!(self.0.source, Source::Given(_, None))
    }

    /// Waits, for a moment, until a renewal under way is kept. What signed itself in signs itself out.
    pub async fn close(&self) {
        let ended = async {
            let _turn = self.0.turn.lock().await;
            let current = self.0.held().current.take();
            if let (Source::Password { .. }, Some((_, caller))) = (&self.0.source, current)
                && let Err(error) = self.0.client.send(&caller, &Logout {}).await
            {
                tracing::debug!(%error, "the login was not ended");
            }
        };
        let _in_time = tokio::time::timeout(CLOSE, ended).await;
    }

    async fn renew(&self, refused: Option<Arc<Caller>>) -> Result<Arc<Caller>> {
        let inner = Arc::clone(&self.0);
        let seen = inner.held().tries;
        // In a task of its own: who waits may be cancelled, but a refresh token that was sent is spent.
        tokio::spawn(async move { inner.renew(seen, refused).await }).await.map_err(Error::internal)?
    }
}

impl Principal for Login {
    fn renews(&self) -> bool {
        Self::renews(self)
    }

    fn caller(&self) -> BoxFuture<'_, Result<Arc<Caller>>> {
        if let Some(caller) = self.0.held().good_caller(None) {
            return Box::pin(std::future::ready(Ok(caller)));
        }
        Box::pin(self.renew(None))
    }

    fn renewed(&self, refused: Arc<Caller>) -> BoxFuture<'_, Result<Arc<Caller>>> {
        // This login does not renew another login's token.
        if !self.0.held().issued.iter().any(|issued| std::ptr::eq(issued.as_ptr(), Arc::as_ptr(&refused))) {
            return Box::pin(std::future::ready(Ok(refused)));
        }
        Box::pin(self.renew(Some(refused)))
    }
}

impl Held {
    /// The pair that followed the one in the file, where it could not be written.
    fn what_followed(&self, grant: &Grant) -> Option<Grant> {
        let (spent, next) = self.unkept.as_ref()?;
        (sha256(grant.refresh_token()?.expose_secret().as_bytes()) == *spent).then(|| next.clone())
    }

    /// The caller as of now, if no renewal is needed.
    fn good_caller(&self, refused: Option<&Arc<Caller>>) -> Option<Arc<Caller>> {
        let (grant, caller) = self.current.as_ref()?;
        let rests = refused.is_none() && self.rest_until.is_some_and(|until| Instant::now() < until);
        let usable = rests || !grant.is_due(Timestamp::now());
        (usable && refused.is_none_or(|refused| !grant.is_of(refused))).then(|| Arc::clone(caller))
    }
}

impl Inner {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn renew(&self, seen: u64, refused: Option<Arc<Caller>>) -> Result<Arc<Caller>> {
        let _turn = self.turn.lock().await;
        let old = {
            let held = self.held();
            if let Some(caller) = held.good_caller(refused.as_ref()) {
                return Ok(caller);
            }
            if let (true, Some(failure)) = (held.tries != seen, &held.failure) {
                return Err(failure.again());
            }
            held.current.as_ref().map(|(grant, _)| grant.clone())
        };
        let obtained = match &self.source {
            Source::Stored(store) => self.follow(store, None, refused.as_ref()).await,
            Source::Given(first, Some(store)) => self.follow(store, Some(first), refused.as_ref()).await,
            Source::Given(only, None) => {
                if refused.is_none() {
                    Ok(Grant::clone(only))
                } else {
                    Err(self.ended())
                }
            }
            Source::Password { .. } => self.by_password(old.as_ref(), refused.as_ref()).await,
        };
        let made = obtained.and_then(|grant| Ok((Arc::new(grant.caller(self.tenant.as_deref())?), grant)));
        let mut held = self.held();
        held.tries += 1;
        held.failure = made.as_ref().err().map(Error::again);
        let (caller, grant) = made?;
        if let Some((_, current)) = held.current.as_ref().filter(|(old, _)| old.is_of(&caller)) {
            return Ok(Arc::clone(current));
        }
        held.issued.retain(|issued| issued.strong_count() > 0);
        held.issued.push(Arc::downgrade(&caller));
        held.current = Some((grant, Arc::clone(&caller)));
        Ok(caller)
    }

    /// The pair in the file, or its successor. Another process may have renewed it already: a refresh token
    /// that is spent twice ends the whole login.
    async fn follow(&self, store: &Store, first: Option<&Grant>, refused: Option<&Arc<Caller>>) -> Result<Grant> {
        // What is kept, and the pair that counts, which is another one where the last could not be written.
        let find = || {
            let kept = store.read()?.or_else(|| first.cloned()).ok_or_else(|| self.ended())?;
            let grant = self.held().what_followed(&kept).unwrap_or_else(|| kept.clone());
            Ok::<_, Error>((kept, grant))
        };
        let is_good = |grant: &Grant| !grant.is_due(Timestamp::now()) && refused.is_none_or(|refused| !grant.is_of(refused));
        let (_, grant) = find()?;
        if is_good(&grant) {
            return Ok(grant);
        }
        let locked = store.lock().await?;
        let (kept, grant) = find()?;
        if is_good(&grant) {
            return Ok(grant);
        }
        match self.refresh(&grant).await {
            Ok(next) => {
                let unkept = match locked.write(&next) {
                    Ok(()) => None,
                    Err(error) => {
                        tracing::warn!(%error, "the renewed login could not be kept; it lasts as long as this process");
                        kept.refresh_token().map(|spent| (sha256(spent.expose_secret().as_bytes()), next.clone()))
                    }
                };
                self.held().unkept = unkept;
                Ok(next)
            }
            Err(error) => self.make_do(grant, refused, error),
        }
    }

    /// A pair by the refresh token of the last one, else by signing in.
    async fn by_password(&self, old: Option<&Grant>, refused: Option<&Arc<Caller>>) -> Result<Grant> {
        if let Some(old) = old {
            match self.refresh(old).await {
                Err(error) if error.code() == ENDED => {}
                Err(error) => return self.make_do(old.clone(), refused, error),
                next => return next,
            }
        }
        self.sign_in().await
    }

    /// Where the platform cannot be asked, the old pair does until it is refused.
    fn make_do(&self, grant: Grant, refused: Option<&Arc<Caller>>, error: Error) -> Result<Grant> {
        if refused.is_some() || error.code() == ENDED {
            return Err(error);
        }
        tracing::warn!(%error, "the login could not be renewed yet");
        self.held().rest_until = Some(Instant::now() + REST);
        Ok(grant)
    }

    async fn refresh(&self, grant: &Grant) -> Result<Grant> {
        let Some(token) = grant.refresh_token() else { return Err(self.ended()) };
        let digest = sha256(token.expose_secret().as_bytes());
        if self.held().spent == Some(digest) {
            return Err(self.ended());
        }
        let asked_at = Timestamp::now();
        let request = Refresh { refresh_token: token.expose_secret().into() };
        match self.client.send(&public_caller(), &request).await {
            Ok(tokens) => {
                tracing::debug!("the login was renewed");
                self.held().rest_until = None;
                Ok(grant.followed_by(tokens, asked_at))
            }
            Err(error) if is_refusal(&error) => {
                self.held().spent = Some(digest);
                Err(self.ended().caused_by(error))
            }
            Err(error) => Err(error),
        }
    }

    async fn sign_in(&self) -> Result<Grant> {
        let Source::Password { username, password, tenant } = &self.source else { return Err(self.ended()) };
        {
            let mut held = self.held();
            if let Some((at, failure)) = &held.refused
                && at.elapsed() < REFUSED_FOR
            {
                return Err(failure.again());
            }
            held.signed_in.retain(|at| at.elapsed() < OFTEN_WITHIN);
            if held.signed_in.len() >= OFTEN {
                return Err(self.ended());
            }
            held.signed_in.push_back(Instant::now());
        }
        let signed_in = sign_in(&self.client, &self.platform, username, password, tenant).await;
        self.held().refused = signed_in.as_ref().err().filter(|error| error.code() == REFUSED).map(|error| (Instant::now(), error.again()));
        signed_in
    }

    fn ended(&self) -> Error {
        let what = match &self.source {
            Source::Given(_, None) => format!("{} does not accept the token, or does no longer", self.platform),
            _ => format!("the login at {} has ended", self.platform),
        };
        Error::new(Kind::Unauthenticated, ENDED, what).hint(self.hint.clone())
    }
}

const ENDED: &str = "FM-MCP-LOGIN-ENDED";
const REFUSED: &str = "FM-MCP-LOGIN-REFUSED";

/// Signs a user in.
///
/// # Errors
/// `FM-MCP-LOGIN-REFUSED`, or a platform that cannot be asked.
pub async fn sign_in(client: &Client, platform: &str, username: &str, password: &SecretString, tenant: &str) -> Result<Grant> {
    let asked_at = Timestamp::now();
    let request = SignIn { username: username.to_owned(), password: password.expose_secret().into(), tenant_id: tenant.to_owned().into() };
    match client.send(&public_caller(), &request).await {
        Ok(tokens) => Ok(Grant::of_login(tokens, platform, username, tenant, asked_at)),
        Err(error) if is_refusal(&error) => Err(Error::new(
            Kind::Unauthenticated,
            REFUSED,
            format!("{platform} did not accept the user's name, the password or the tenant"),
        )
        .hint("Check all three; too many attempts lock the account for a while.")
        .caused_by(error)),
        Err(error) => Err(error),
    }
}

/// Whether the platform understood what it was asked, and said no.
fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unauthenticated | Kind::Forbidden | Kind::Malformed | Kind::Invalid)
}

/// The caller of operations that need no token.
fn public_caller() -> Arc<Caller> {
    Arc::new(Caller {
        tenant: "".into(),
        subject: "nobody".to_owned(),
        roles: Vec::new(),
        permissions: Some(Permissions::default()),
        kind: CallerKind::User,
        expires: None,
        credential: Credential::Verified,
    })
}
