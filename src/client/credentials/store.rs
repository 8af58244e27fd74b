//! The file of a login: for its owner alone, replaced whole, and changed by one process at a time.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::grant::Grant;
use crate::error::{Error, Kind, Result};
use crate::io::hash::sha256;
use crate::io::hex::hex;
use crate::io::private_files::{self, Fault};

/// The folder of logins in the data folder.
const FOLDER: &str = "logins";
/// The largest file that can be a login.
const MAX_FILE_BYTES: usize = 256 * 1024;
/// How long another process is waited for that renews the same login.
const LOCK_TIMEOUT: Duration = Duration::from_secs(40);
/// How long the pairs are kept that followed a token which was set once and is not used any more.
const FORGOTTEN: Duration = Duration::from_hours(90 * 24);
/// How often it is looked whether that process is done.
const LOCK_RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Where a login is kept.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    name: String,
}

/// The right to change a login, as long as this lives.
#[derive(Debug)]
pub struct Locked<'a> {
    store: &'a Store,
    _file: File,
}

impl Store {
    /// The login at a platform, the embedded one without a URL.
    #[must_use]
    pub fn of_platform(data_dir: &Path, url: Option<&str>) -> Self {
        let name = url.map_or_else(|| "embedded".to_owned(), digest_of);
        Self { folder: data_dir.join(FOLDER), name }
    }

    /// The pairs that followed a refresh token of the settings. Every process that was given the token finds the same file.
    #[must_use]
    pub fn of_refresh_token(data_dir: &Path, token: &SecretString) -> Self {
        Self { folder: data_dir.join(FOLDER), name: format!("token-{}", digest_of(token.expose_secret())) }
    }

    /// The file itself.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.name))
    }

    /// Whether there is a login.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.file().exists()
    }

    /// The login, if there is one.
    ///
    /// # Errors
    /// A file that others can read or that is another user's, one in a folder that is another user's or in which others could
    /// put something, or one that is not a login.
    pub fn read(&self) -> Result<Option<Grant>> {
        let path = self.file();
        let Some(text) = private_files::read(&path, MAX_FILE_BYTES).map_err(|fault| refused(&path, fault))? else { return Ok(None) };
        // What serde has to say may repeat a token.
        serde_json::from_slice(&text).map(Some).map_err(|_| damaged(&path))
    }

    /// Takes the right to change the login; waits for another process that has it.
    ///
    /// # Errors
    /// A folder that is not the owner's alone, or a process that does not release it.
    pub async fn lock(&self) -> Result<Locked<'_>> {
        private_files::closed_folder(&self.folder).map_err(|fault| refused(&self.folder, fault))?;
        let path = self.folder.join(format!("{}.lock", self.name));
        let file = private_files::open(&path).map_err(|error| unusable(&path, "cannot be opened", error))?;
        let begun = tokio::time::Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Locked { store: self, _file: file }),
                Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_TIMEOUT => tokio::time::sleep(LOCK_RETRY_PAUSE).await,
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::new(
                        Kind::Unavailable,
                        "FM-MCP-LOGIN-BUSY",
                        "another process holds the login and does not release it",
                    )
                    .hint("Try again; if it stays so, look for a flowmaster-mcp that hangs."));
                }
                Err(TryLockError::Error(error)) => return Err(unusable(&path, "cannot be locked", error)),
            }
        }
    }
}

impl Locked<'_> {
    /// Replaces the login, whole or not at all.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn write(&self, grant: &Grant) -> Result<()> {
        let path = self.store.file();
        let text = serde_json::to_vec_pretty(grant).map_err(Error::internal)?;
        // One name is enough for what only the holder of the lock writes.
        let new = self.store.folder.join(format!(".{}.new", self.store.name));
        private_files::replace_by(&new, &path, &text).map_err(|error| unusable(&path, "cannot be written", error))?;
        forget_old(&self.store.folder);
        Ok(())
    }

    /// Takes the login away; whether there was one.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn remove(&self) -> Result<bool> {
        let path = self.store.file();
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(unusable(&path, "cannot be removed", error)),
        }
    }
}

/// Removes the pairs that followed tokens not used for long; a login of `flowmaster-mcp login` stays until its logout.
fn forget_old(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_followed = path.extension().is_some_and(|extension| extension == "json")
            && path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| stem.starts_with("token-"));
        let changed = entry.metadata().and_then(|found| found.modified()).ok();
        if is_followed && changed.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > FORGOTTEN) {
            let _gone = fs::remove_file(path);
        }
    }
}

fn digest_of(text: &str) -> String {
    hex(&sha256(text.as_bytes())[..16])
}

fn refused(path: &Path, fault: Fault) -> Error {
    match fault {
        Fault::Unusable(what, error) => unusable(path, what, error),
        Fault::NotOurs => damaged(path),
        Fault::UnsafeParent(why) => refused(path.parent().unwrap_or(path), *why),
        Fault::WrongOwner => Error::new(Kind::Forbidden, "FM-MCP-LOGIN-FILE", format!("{} {fault}", path.display()))
            .hint("Choose a data folder of your own with --data, and run `flowmaster-mcp login`."),
        Fault::TooPermissive { wanted, .. } => Error::new(Kind::Forbidden, "FM-MCP-LOGIN-FILE", format!("{} {fault}", path.display()))
            .hint(format!("Run: chmod {wanted} {}", path.display())),
    }
}

fn damaged(path: &Path) -> Error {
    Error::new(Kind::Conflict, "FM-MCP-LOGIN-FILE", format!("{} is not a login that flowmaster-mcp wrote", path.display()))
        .hint("Remove the file and run `flowmaster-mcp login`.")
}

fn unusable(path: &Path, what: &str, error: io::Error) -> Error {
    Error::new(Kind::Unavailable, "FM-MCP-LOGIN-FILE", format!("{} {what}: {error}", path.display()))
        .hint("Check who owns the data folder and whether there is space, or choose another with --data.")
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> Grant {
        Grant::of_settings(&"opaque".into(), Some(&"refresh".into()), Some("t")).unwrap()
    }

    #[tokio::test]
    async fn a_login_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::of_platform(folder.path(), Some("https://flowmaster.example"));
        assert!(store.read().unwrap().is_none() && !store.exists());
        let locked = store.lock().await.unwrap();
        locked.write(&grant()).unwrap();
        locked.write(&grant()).unwrap();
        assert!(store.read().unwrap().is_some() && store.exists());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&store.file()), mode(&store.folder)), (0o600, 0o700));
            fs::set_permissions(store.file(), fs::Permissions::from_mode(0o644)).unwrap();
            let error = store.read().unwrap_err();
            assert!(error.code() == "FM-MCP-LOGIN-FILE" && error.to_string().contains("chmod 600"), "{error}");
            fs::set_permissions(&store.folder, fs::Permissions::from_mode(0o777)).unwrap();
            let (error, wanted) = (store.read().unwrap_err(), format!("chmod 700 {}", store.folder.display()));
            assert!(error.code() == "FM-MCP-LOGIN-FILE" && error.to_string().contains(&wanted), "{error}");
            fs::set_permissions(&store.folder, fs::Permissions::from_mode(0o700)).unwrap();
            // Only the superuser can give a file away.
            fs::set_permissions(store.file(), fs::Permissions::from_mode(0o600)).unwrap();
            if std::os::unix::fs::chown(store.file(), Some(12_345), None).is_ok() {
                let error = store.read().unwrap_err();
                assert!(error.code() == "FM-MCP-LOGIN-FILE" && error.to_string().contains("another user"), "{error}");
            }
            fs::remove_file(store.file()).unwrap();
            std::os::unix::fs::symlink("/dev/zero", store.file()).unwrap();
            assert!(store.read().is_err(), "a link is not a login");
        }
        assert!(locked.remove().unwrap() && !locked.remove().unwrap());
    }

    #[tokio::test]
    async fn one_process_at_a_time_changes_a_login() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::of_platform(folder.path(), None);
        let held = store.lock().await.unwrap();
        let other = store.clone();
        let waiting = tokio::spawn(async move { other.lock().await.map(|locked| locked.write(&grant())) });
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert!(!waiting.is_finished() && !store.exists());
        drop(held);
        waiting.await.unwrap().unwrap().unwrap();
        assert!(store.exists());
    }

    #[tokio::test]
    async fn what_followed_a_forgotten_token_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (Store::of_refresh_token(folder.path(), &"old".into()), Store::of_refresh_token(folder.path(), &"new".into()));
        let stored = Store::of_platform(folder.path(), None);
        for store in [&old, &stored] {
            store.lock().await.unwrap().write(&grant()).unwrap();
            let file = private_files::open(&store.file()).unwrap();
            file.set_modified(std::time::SystemTime::now() - FORGOTTEN * 2).unwrap();
        }
        new.lock().await.unwrap().write(&grant()).unwrap();
        assert!(!old.exists() && new.exists() && stored.exists());
    }

    #[tokio::test]
    async fn what_is_no_login_is_refused_without_repeating_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::of_refresh_token(folder.path(), &"topsecret".into());
        assert!(!store.file().display().to_string().contains("topsecret"));
        drop(store.lock().await.unwrap());
        for text in ["", "{\"accessToken\": [\"topsecret\"]}", "topsecret"] {
            private_files::replace(&store.file(), text.as_bytes()).unwrap();
            let error = store.read().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("topsecret"), "{error:?}");
        }
    }
}
