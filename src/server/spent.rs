//! Answers that were used: each counts once, also for another process on the same data folder and after a restart.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::api::Timestamp;
use crate::error::{Error, Kind, Result};
use crate::private;

/// How many used answers are kept at most; each only until it could not be used any more.
const MOST: usize = 65_536;
/// How often what is over is thrown away, in milliseconds.
const SWEEP: i64 = 60_000;

/// What was used.
#[derive(Debug)]
pub(super) struct Spent {
    /// Without a folder what was used is known to this process alone.
    folder: Option<PathBuf>,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    used: HashMap<String, Timestamp>,
    /// When the folder was swept, in milliseconds.
    swept: i64,
    /// How many were left in it then, and came since.
    left: usize,
}

impl Spent {
    pub(super) fn new(data_dir: Option<&Path>) -> Self {
        Self { folder: data_dir.map(|data_dir| data_dir.join("spent")), memory: Arc::default() }
    }

    /// Uses an answer up; false where it was used before. `until` is when it ends by itself.
    pub(super) async fn spend(&self, nonce: uuid::Uuid, until: Timestamp) -> Result<bool> {
        let name = format!("{}-{}", until.millis(), nonce.simple());
        let memory = Arc::clone(&self.memory);
        let Some(folder) = self.folder.clone() else { return memory.lock().unwrap_or_else(PoisonError::into_inner).spend(name, until) };
        let work = move || {
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            private::folder(&folder).and_then(|()| memory.sweep(&folder)).map_err(|error| unusable(&folder, &error))?;
            if memory.left >= MOST {
                return Err(full());
            }
            memory.left += 1;
            private::claim(&folder.join(&name)).map_err(|error| unusable(&folder, &error))
        };
        tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
    }
}

impl Memory {
    fn spend(&mut self, name: String, until: Timestamp) -> Result<bool> {
        let now = Timestamp::now();
        if self.used.len() >= MOST {
            self.used.retain(|_, until| *until >= now);
        }
        if self.used.len() >= MOST {
            return Err(full());
        }
        Ok(self.used.insert(name, until).is_none())
    }

    /// Throws away what has ended and counts what is left, now and then.
    fn sweep(&mut self, folder: &Path) -> std::io::Result<()> {
        let now = Timestamp::now().millis();
        if now - self.swept < SWEEP {
            return Ok(());
        }
        (self.swept, self.left) = (now, 0);
        for entry in fs::read_dir(folder)?.flatten() {
            let name = entry.file_name();
            let until = name.to_str().and_then(|name| name.split('-').next()).and_then(|until| until.parse::<i64>().ok());
            if until.is_some_and(|until| until < now) {
                let _gone = fs::remove_file(entry.path());
            } else {
                self.left += 1;
            }
        }
        Ok(())
    }
}

fn full() -> Error {
    Error::new(Kind::RateLimited, "FM-MCP-CONFIRMATIONS", "too many confirmations were given within the last minutes")
        .retry_after(std::time::Duration::from_mins(1))
}

/// A folder that cannot be used: nothing that needs it goes through.
pub(super) fn unusable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Internal, "FM-MCP-CONFIRM-FOLDER", format!("{} cannot be used: {error}", path.display()))
        .hint("Nothing was done. Check that the data folder belongs to the user who runs the server, and to nobody else (chmod 700).")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_used_is_used_for_every_process_until_it_ends() {
        let data = tempfile::tempdir().unwrap();
        for data_dir in [Some(data.path()), None] {
            let (one, nonce, soon) = (Spent::new(data_dir), uuid::Uuid::now_v7(), Timestamp::now().plus_seconds(60.0));
            assert!(one.spend(nonce, soon).await.unwrap());
            assert!(!one.spend(nonce, soon).await.unwrap());
            let other = Spent::new(data_dir);
            assert_eq!(other.spend(nonce, soon).await.unwrap(), data_dir.is_none());
        }
        let past = data.path().join("spent").join(format!("1-{}", uuid::Uuid::now_v7().simple()));
        fs::write(&past, "").unwrap();
        assert!(Spent::new(Some(data.path())).spend(uuid::Uuid::now_v7(), Timestamp::now().plus_seconds(60.0)).await.unwrap());
        assert!(!past.exists(), "what has ended is thrown away");
    }
}
