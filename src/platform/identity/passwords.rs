//! Passwords: argon2id, off the runtime, a few at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{Semaphore, oneshot};

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

type Job = Box<dyn FnOnce() + Send>;

/// Bounds how many passwords are hashed, and keeps to two threads what that takes: an allocator keeps a hash's memory for
/// the thread that freed it, and a pool of many threads would keep it many times.
#[derive(Debug)]
pub(crate) struct Guard {
    queue: Arc<Semaphore>,
    /// The threads, begun by the first password.
    jobs: OnceLock<mpsc::Sender<Job>>,
    /// Compared against where there is no such user, so that the answer takes as long.
    dummy: OnceLock<String>,
}

impl Default for Guard {
    fn default() -> Self {
        Self { queue: Arc::new(Semaphore::new(AT_ONCE + WAITING)), jobs: OnceLock::new(), dummy: OnceLock::new() }
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
        let place = Arc::clone(&self.queue)
            .try_acquire_owned()
            .map_err(|_| Error::new(Kind::RateLimited, "FM-AAS-BUSY", "too many logins at once").retry_after(Duration::from_secs(1)))?;
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Held by the work, not by the request: a caller who hangs up makes no place for another.
            let _place = place;
            let _ = answer.send(work());
        });
        self.jobs.get_or_init(begin).send(job).map_err(|_| Error::internal("the threads that hash passwords ended"))?;
        answered.await.map_err(Error::internal)
    }
}

/// Begins the threads, which end with the guard.
fn begin() -> mpsc::Sender<Job> {
    let (jobs, queue) = mpsc::channel::<Job>();
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..AT_ONCE {
        let queue = Arc::clone(&queue);
        let next = move || queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        thread::spawn(move || {
            while let Ok(job) = next() {
                // Whoever waits for a hash that panicked is told; the thread goes on.
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
        });
    }
    jobs
}

fn hash(password: &str) -> Result<String> {
    let salt: [u8; 16] = keys::random()?;
    let hashed = ARGON2.hash_password_with_salt(password.as_bytes(), &salt).map_err(|error| Error::internal(error.to_string()))?;
    Ok(hashed.to_string())
}
