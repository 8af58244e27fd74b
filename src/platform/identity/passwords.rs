//! Passwords: argon2id, off the runtime, a few at a time.

use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::error::{Error, Kind, Result};
use crate::platform::keys;

/// Hashes at once: each takes 19 MiB and a core.
const AT_ONCE: usize = 2;
/// Hashes that may wait for one of those.
const WAITING: usize = 32;

/// The recommendation of OWASP for argon2id: 19 MiB, two passes, one lane.
static ARGON2: LazyLock<Argon2<'static>> = LazyLock::new(|| {
    let params = Params::new(19 * 1024, 2, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
});

/// Bounds how many passwords are hashed.
#[derive(Debug)]
pub(crate) struct Guard {
    hashing: Arc<Semaphore>,
    queue: Semaphore,
    /// Compared against where there is no such user, so that the answer takes as long.
    dummy: OnceLock<String>,
}

impl Default for Guard {
    fn default() -> Self {
        Self { hashing: Arc::new(Semaphore::new(AT_ONCE)), queue: Semaphore::new(AT_ONCE + WAITING), dummy: OnceLock::new() }
    }
}

impl Guard {
    /// Hashes a new password.
    pub(crate) async fn hash(&self, password: String) -> Result<String> {
        self.run(move || hash(&password)).await?
    }

    /// Whether a password is the one of a hash; where there is no hash it is not, after the same time.
    pub(crate) async fn verify(&self, password: String, hashed: Option<String>) -> Result<bool> {
        let known = hashed.is_some();
        let hashed = match (hashed, self.dummy.get()) {
            (Some(hashed), _) => hashed,
            (None, Some(dummy)) => dummy.clone(),
            (None, None) => {
                let made = self.run(|| hash("dummy")).await??;
                self.dummy.get_or_init(|| made).clone()
            }
        };
        let good = self
            .run(move || {
                let parsed = PasswordHash::new(&hashed).map_err(|error| Error::internal(error.to_string()))?;
                Ok::<_, Error>(ARGON2.verify_password(password.as_bytes(), &parsed).is_ok())
            })
            .await??;
        Ok(known && good)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let _place = self
            .queue
            .try_acquire()
            .map_err(|_| Error::new(Kind::RateLimited, "FM-AAS-BUSY", "too many logins at once").retry_after(Duration::from_secs(1)))?;
        let turn = Arc::clone(&self.hashing).acquire_owned().await.map_err(Error::internal)?;
        tokio::task::spawn_blocking(move || {
            // Held by the work, not by the request: a caller who hangs up frees no core.
            let _turn = turn;
            work()
        })
        .await
        .map_err(Error::internal)
    }
}

fn hash(password: &str) -> Result<String> {
    let salt: [u8; 16] = keys::random()?;
    let hashed = ARGON2.hash_password_with_salt(password.as_bytes(), &salt).map_err(|error| Error::internal(error.to_string()))?;
    Ok(hashed.to_string())
}
