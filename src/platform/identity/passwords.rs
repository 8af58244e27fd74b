//! Passwords: argon2id, off the runtime, a few at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use tokio::sync::{Semaphore, oneshot};

use crate::error::{Error, Kind, Result};
use crate::platform::keys;

/// Hashes at once: each takes 19 MiB and a core.
const AT_ONCE: usize = 2;
/// Hashes that may wait for one of those.
const WAITING: usize = 32;

/// The recommendation of OWASP for argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// The length of a hash, in bytes.
const LENGTH: usize = 32;

/// The memory of a thread that hashes, which it keeps.
type Memory = Vec<Block>;
type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// Bounds how many passwords are hashed. Each of two threads keeps the memory that a hash takes: an allocator that gets it
/// back again and again is left with pieces, and grows to many times of it.
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
        self.run(move |memory| hash(&password, memory)).await?
    }

    /// Whether a password is the one of a hash; where there is no hash it is not, after the same time.
    pub(crate) async fn verify(&self, password: String, hashed: Option<String>) -> Result<bool> {
        let known = hashed.is_some();
        let hashed = match (hashed, self.dummy.get()) {
            (Some(hashed), _) => hashed,
            (None, Some(dummy)) => dummy.clone(),
            (None, None) => {
                let made = self.run(|memory| hash("dummy", memory)).await??;
                self.dummy.get_or_init(|| made).clone()
            }
        };
        let good = self.run(move |memory| is_of(&password, &hashed, memory)).await??;
        Ok(known && good)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&mut Memory) -> T + Send + 'static) -> Result<T> {
        let place = Arc::clone(&self.queue)
            .try_acquire_owned()
            .map_err(|_| Error::new(Kind::RateLimited, "FM-AAS-BUSY", "too many logins at once").retry_after(Duration::from_secs(1)))?;
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |memory| {
            // Held by the work, not by the request: a caller who hangs up makes no place for another.
            let _place = place;
            let _ = answer.send(work(memory));
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
            let mut memory = Memory::new();
            while let Ok(job) = next() {
                // Whoever waits for a hash that panicked is told; the thread goes on.
                let _ = catch_unwind(AssertUnwindSafe(|| job(&mut memory)));
            }
        });
    }
    jobs
}

/// A new password's hash as a PHC string.
fn hash(password: &str, memory: &mut Memory) -> Result<String> {
    let salt: [u8; 16] = keys::random()?;
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(LENGTH)).map_err(broken)?;
    let hashed = derive(password, &salt, params, LENGTH, memory)?;
    let text = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
    Ok(format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${}${}", text(&salt), text(&hashed)))
}

/// Whether a password is the one of a PHC string.
fn is_of(password: &str, hashed: &str, memory: &mut Memory) -> Result<bool> {
    let parsed = PasswordHash::new(hashed).map_err(broken)?;
    let (Some(salt), Some(known)) = (&parsed.salt, &parsed.hash) else { return Err(Error::internal("a stored hash has no salt")) };
    let params = Params::try_from(&parsed).map_err(broken)?;
    let found = derive(password, salt.as_ref(), params, known.as_bytes().len(), memory)?;
    Ok(keys::same(&found, known.as_bytes()))
}

fn derive(password: &str, salt: &[u8], params: Params, length: usize, memory: &mut Memory) -> Result<Vec<u8>> {
    memory.resize(params.block_count().max(memory.len()), Block::default());
    let mut out = vec![0; length];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into_with_memory(password.as_bytes(), salt, &mut out, memory.as_mut_slice()).map_err(broken)?;
    Ok(out)
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::internal(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_of_its_password_alone_and_read_by_the_crate() {
        use argon2::password_hash::PasswordVerifier as _;
        let mut memory = Memory::new();
        let hashed = hash("a long password", &mut memory).unwrap();
        assert!(is_of("a long password", &hashed, &mut memory).unwrap());
        assert!(!is_of("another password", &hashed, &mut memory).unwrap());
        let parsed = PasswordHash::new(&hashed).unwrap();
        assert!(Argon2::default().verify_password(b"a long password", &parsed).is_ok());
        assert_eq!(memory.len(), 19 * 1024);
    }
}
