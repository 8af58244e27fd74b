//! The file of a login: for its owner alone, replaced whole, and changed by one process at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest;
use secrecy::{ExposeSecret as _, SecretString};

use super::Grant;
use crate::error::{Error, Kind, Result};

/// The folder of logins in the data folder.
const FOLDER: &str = "logins";
/// The largest file that can be a login.
const LARGEST: u64 = 256 * 1024;
/// How long another process is waited for that renews the same login.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long the pairs are kept that followed a token which somebody set and then forgot.
const FORGOTTEN: Duration = Duration::from_hours(90 * 24);
/// How often it is looked whether that process is done.
const PAUSE: Duration = Duration::from_millis(20);

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

    /// What followed a refresh token that somebody set. Every process that was given the token finds the same file.
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
    /// A file that others can read, or that is no login.
    pub fn read(&self) -> Result<Option<Grant>> {
        let path = self.file();
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(&path, "cannot be read", error)),
            Ok(found) if !found.is_file() => return Err(damaged(&path)),
            Ok(found) => check_access(&path, &found)?,
        }
        let mut text = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut text));
        match read {
            // Another process signed out at this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unusable(&path, "cannot be read", error)),
            Ok(length) if length as u64 > LARGEST => Err(damaged(&path)),
            // What serde has to say may repeat a token.
            Ok(_) => serde_json::from_slice(&text).map(Some).map_err(|_| damaged(&path)),
        }
    }

    /// Takes the right to change the login; waits for another process that has it.
    ///
    /// # Errors
    /// A folder that is not the owner's alone, or a process that does not let go.
    pub async fn lock(&self) -> Result<Locked<'_>> {
        make_folder(&self.folder)?;
        let path = self.folder.join(format!("{}.lock", self.name));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = private(&mut options).open(&path).map_err(|error| unusable(&path, "cannot be opened", error))?;
        let begun = tokio::time::Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Locked { store: self, _file: file }),
                Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => tokio::time::sleep(PAUSE).await,
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::new(Kind::Unavailable, "FM-MCP-LOGIN-BUSY", "another process holds the login and does not let go")
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
        let text = serde_json::to_string_pretty(grant).map_err(Error::internal)?;
        // One name is enough for what only the holder of the lock writes.
        let new = self.store.folder.join(format!(".{}.new", self.store.name));
        write_private(&new, &text).and_then(|()| fs::rename(&new, &path)).map_err(|error| unusable(&path, "cannot be written", error))?;
        forget_old(&self.store.folder);
        // A name is durable once its folder is; where folders cannot be synced, the system does it in time.
        if let Ok(folder) = File::open(&self.store.folder) {
            let _synced = folder.sync_all();
        }
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

/// Removes what followed tokens that nobody has used for long; a login of `flowmaster-mcp login` stays until its logout.
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
    digest::digest(&digest::SHA256, text.as_bytes()).as_ref()[..16].iter().fold(String::with_capacity(32), |mut hex, byte| {
        for half in [byte >> 4, byte & 15] {
            hex.extend(char::from_digit(u32::from(half), 16));
        }
        hex
    })
}

fn make_folder(folder: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| unusable(folder, "cannot be created", error))?;
    let found = fs::metadata(folder).map_err(|error| unusable(folder, "cannot be read", error))?;
    check_access(folder, &found)
}

#[cfg(unix)]
fn check_access(path: &Path, found: &fs::Metadata) -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;

    if found.mode() & 0o077 != 0 {
        let (mode, wanted) = (found.mode() & 0o777, if found.is_dir() { "700" } else { "600" });
        return Err(Error::new(
            Kind::Forbidden,
            "FM-MCP-LOGIN-FILE",
            format!("{} is open to other users (mode {mode:03o})", path.display()),
        )
        .hint(format!("Run: chmod {wanted} {}", path.display())));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_access(_: &Path, _: &fs::Metadata) -> Result<()> {
    // Elsewhere a folder of the user's profile is private by its inherited rights.
    Ok(())
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    // A file that a killed process left keeps the mode it had, so it is made anew.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    let mut file = private(&mut options).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn damaged(path: &Path) -> Error {
    Error::new(Kind::Conflict, "FM-MCP-LOGIN-FILE", format!("{} is no login that flowmaster-mcp wrote", path.display()))
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
            fs::remove_file(store.file()).unwrap();
            std::os::unix::fs::symlink("/dev/zero", store.file()).unwrap();
            assert!(store.read().is_err(), "a link is no login");
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
            let file = OpenOptions::new().write(true).open(store.file()).unwrap();
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
            write_private(&store.file(), text).unwrap();
            let error = store.read().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("topsecret"), "{error:?}");
        }
    }
}
