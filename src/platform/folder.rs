//! The data folder: one owner, one lock, one key; a second process verifies the first and attaches to it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::keys::{self, KEY_LENGTH, Keys};
use super::{Options, Platform, Running};
use crate::error::{Error, Kind, Result};
use crate::io::outbound;
use crate::io::private_files::{self, Fault};

const TOKEN_FILE: &str = "owner.token";
const KEY_FILE: &str = "key";
const LOCK_FILE: &str = "lock";
const ADDRESS_FILE: &str = "address";
const DATABASE_FILE: &str = "platform.db";
/// The largest key, token or proof, in bytes.
const MAX_FILE_BYTES: usize = 4 * 1024;

/// How long a platform is waited for that holds the lock and does not answer yet, or does no longer.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
const PROOF_TIMEOUT: Duration = Duration::from_secs(2);

/// What opening a data folder leads to.
#[derive(Debug)]
pub enum Opened {
    /// This process runs the platform.
    Leader(Running),
    /// Another process runs it, and proved so.
    Follower(Follower),
}

/// A platform that another process runs on the same data folder.
#[derive(Debug)]
pub struct Follower {
    address: Address,
    data_dir: PathBuf,
    lock: File,
}

impl Follower {
    /// Where the platform listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.address.url
    }

    /// The run of the platform that proved itself.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.address.instance
    }

    /// Whether the same run of the platform still holds the folder's lock.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        // Shared, so that two guests who look at once do not take each other for the host.
        match self.lock.try_lock_shared() {
            Ok(()) => {
                let _ = self.lock.unlock();
                false
            }
            Err(_) => read_address(&self.data_dir).is_some_and(|address| address.instance == self.address.instance),
        }
    }
}

/// Where a platform listens and which run of it that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    /// The base URL.
    pub(crate) url: String,
    /// The run.
    pub(crate) instance: String,
}

/// The owner's token of a data folder; folder and token are made if they are missing.
///
/// # Errors
/// The folder or the token belongs to somebody else, is open to others, or cannot be written.
pub fn owner_token(data_dir: &Path) -> Result<SecretString> {
    check_folder(data_dir)?;
    let made = || Ok(format!("fmo_{}", keys::random_token()?));
    let text = read_or_make(&data_dir.join(TOKEN_FILE), made)?;
    let token = text.trim();
    if token.len() < 16 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(damaged(&data_dir.join(TOKEN_FILE)));
    }
    Ok(SecretString::from(token))
}

/// Runs the platform of a data folder, or attaches to the platform that another process runs on it.
///
/// # Errors
/// The folder is refused (see [`owner_token`]), its database is of another version, or the lock's holder does
/// not prove in time to be a platform of this folder.
pub async fn open(options: Options) -> Result<Opened> {
    check_folder(&options.data_dir)?;
    let begun = tokio::time::Instant::now();
    let mut pause = Duration::from_millis(5);
    loop {
        if let Some(lock) = Lock::take(&options.data_dir)? {
            return Platform::start_locked(options, lock).await.map(Opened::Leader);
        }
        // The address is believed only when the listener there has proved that it knows the folder's key; it is
        // told no token before that. A process that just started has none yet, and a killed one left an old one.
        if let Some(address) = read_address(&options.data_dir)
            && prove(&options.data_dir, &address).await
        {
            let guest = Follower { address, lock: lock_file(&options.data_dir)?, data_dir: options.data_dir.clone() };
            if guest.is_alive() {
                return Ok(Opened::Follower(guest));
            }
        }
        if begun.elapsed() > OPEN_TIMEOUT {
            return Err(Error::new(
                Kind::Unavailable,
                "FM-PLATFORM-FOLDER-BUSY",
                format!("another process holds {} and does not prove to be its platform", options.data_dir.display()),
            )
            .hint("End that process, or choose another data folder."));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

/// The folder's lock; held as long as this lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock if it is free.
    pub(crate) fn take(data_dir: &Path) -> Result<Option<Self>> {
        let file = lock_file(data_dir)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(unusable(data_dir, "cannot be locked", error)),
        }
    }
}

/// Where the database is.
pub(crate) fn database_file(data_dir: &Path) -> PathBuf {
    data_dir.join(DATABASE_FILE)
}

/// Makes the database's file for the owner alone, before SQLite would make it readable by others.
pub(crate) fn make_database_file(data_dir: &Path) -> Result<PathBuf> {
    let path = database_file(data_dir);
    private_file(&path)?;
    Ok(path)
}

/// The keys of the folder; the first to ask makes the key.
pub(crate) fn folder_keys(data_dir: &Path) -> Result<Keys> {
    let path = data_dir.join(KEY_FILE);
    let text = read_or_make(&path, || Ok(URL_SAFE_NO_PAD.encode(keys::random::<KEY_LENGTH>()?)))?;
    let bytes = URL_SAFE_NO_PAD.decode(text.trim()).ok().and_then(|bytes| <[u8; KEY_LENGTH]>::try_from(bytes).ok());
    Keys::derive(&bytes.ok_or_else(|| damaged(&path))?)
}

/// Tells others where the platform listens.
pub(crate) fn write_address(data_dir: &Path, address: &Address) -> Result<()> {
    let text = serde_json::to_vec(address).map_err(Error::internal)?;
    let path = data_dir.join(ADDRESS_FILE);
    private_files::replace_soon(&path, &text).map_err(|error| unusable(&path, "cannot be written", error))
}

/// Takes the address back, if it is still the one of this run.
pub(crate) fn clear_address(data_dir: &Path, instance: &str) {
    if read_address(data_dir).is_some_and(|address| address.instance == instance) {
        let _ = fs::remove_file(data_dir.join(ADDRESS_FILE));
    }
}

fn read_address(data_dir: &Path) -> Option<Address> {
    serde_json::from_slice(&private_files::read(&data_dir.join(ADDRESS_FILE), MAX_FILE_BYTES).ok()??).ok()
}

/// Whether the listener at an address knows the folder's key.
async fn prove(data_dir: &Path, address: &Address) -> bool {
    let attempt = async {
        let keys = folder_keys(data_dir)?;
        let nonce = keys::random_token()?;
        let client = outbound::client(true).timeout(PROOF_TIMEOUT).build().map_err(Error::internal)?;
        let url = format!("{}/-/prove", address.url);
        let answer = client.post(url).json(&serde_json::json!({ "nonce": nonce })).send().await.map_err(Error::internal)?;
        // No process has been verified yet.
        let answer = outbound::read_bounded(answer, MAX_FILE_BYTES).await.map_err(|_| Error::internal("the proof cannot be read"))?;
        let answer: Value = serde_json::from_slice(&answer).map_err(Error::internal)?;
        let proof = answer.get("proof").and_then(Value::as_str).unwrap_or_default();
        Ok::<_, Error>(keys.proves(&nonce, &address.instance, proof))
    };
    attempt.await.unwrap_or(false)
}

fn lock_file(data_dir: &Path) -> Result<File> {
    private_file(&data_dir.join(LOCK_FILE))
}

/// Opens a file for the owner alone, and makes it empty if it is missing.
fn private_file(path: &Path) -> Result<File> {
    private_files::open(path).map_err(|error| unusable(path, "cannot be opened", error))
}

/// Makes the folder if it is missing, and refuses one that is another's or open to others.
fn check_folder(data_dir: &Path) -> Result<()> {
    private_files::closed_folder(data_dir).map_err(|fault| refused(data_dir, fault))
}

/// Reads a file of the folder, or makes it so that of two processes both read what one of them wrote.
fn read_or_make(path: &Path, make: impl FnOnce() -> Result<String>) -> Result<String> {
    let fresh = || make().map(String::into_bytes).map_err(io::Error::other);
    let bytes = private_files::read_or_make(path, MAX_FILE_BYTES, fresh).map_err(|fault| refused(path, fault))?;
    String::from_utf8(bytes).map_err(|_| damaged(path))
}

fn refused(path: &Path, fault: Fault) -> Error {
    match fault {
        Fault::Unusable(what, error) => unusable(path, what, error),
        Fault::NotOurs => damaged(path),
        Fault::UnsafeParent(why) => refused(path.parent().unwrap_or(path), *why),
        Fault::WrongOwner => Error::new(Kind::Forbidden, "FM-PLATFORM-FOLDER-OWNER", format!("{} {fault}", path.display()))
            .hint("Choose a data folder of your own."),
        Fault::TooPermissive { wanted, .. } => {
            Error::new(Kind::Forbidden, "FM-PLATFORM-FOLDER-MODE", format!("{} {fault}", path.display()))
                .hint(format!("Run: chmod {wanted} {}", path.display()))
        }
    }
}

fn damaged(path: &Path) -> Error {
    Error::new(Kind::Conflict, "FM-PLATFORM-FOLDER-DAMAGED", format!("{} is not what flowmaster-mcp writes there", path.display()))
        .hint("Restore the file from a backup, or choose another data folder.")
}

fn unusable(path: &Path, what: &str, error: io::Error) -> Error {
    Error::new(Kind::Unavailable, "FM-PLATFORM-FOLDER", format!("{} {what}: {error}", path.display()))
        .hint("Check who owns the data folder and whether there is space, or choose another.")
        .caused_by(error)
}
