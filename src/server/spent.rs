//! Answers that were used: each counts once, also for another process on the same data folder and after a restart.
//!
//! Nobody can use up the room of others: what a caller used is bounded, and so is what all have used.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::api::Timestamp;
use crate::error::{Error, Kind, Result};
use crate::io::private_files;

/// How many used answers are kept at most; each only until it could not be used any more.
const MOST: usize = 65_536;
/// How many of them are one caller's: more than people answer in five minutes.
const OF_ONE: usize = 1024;
/// How often what is over is thrown away.
const SWEEP: Duration = Duration::from_mins(1);

/// What was used.
#[derive(Debug)]
pub(super) struct Spent {
    /// Without a folder what was used is known to this process alone.
    folder: Option<PathBuf>,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    /// What was used, and until when it counts, where there is no folder.
    used: HashMap<String, i64>,
    /// When it was last looked through.
    swept: Option<Instant>,
    /// How much each caller had used then, and has since.
    of_callers: HashMap<String, usize>,
    of_all: usize,
}

impl Spent {
    pub(super) fn new(data_dir: Option<&Path>) -> Self {
        Self { folder: data_dir.map(|data_dir| data_dir.join("spent")), memory: Arc::default() }
    }

    /// Uses an answer of a caller up, who is known by a digest; false where it was used before. `until` is when it ends
    /// by itself.
    pub(super) async fn spend(&self, caller: &str, nonce: uuid::Uuid, until: Timestamp) -> Result<bool> {
        let name = format!("{}-{caller}-{}", until.millis(), nonce.simple());
        let memory = Arc::clone(&self.memory);
        let caller = caller.to_owned();
        let Some(folder) = self.folder.clone() else {
            let mut memory = locked(&memory);
            memory.sweep();
            if memory.used.contains_key(&name) {
                return Ok(false);
            }
            memory.room(&caller)?;
            memory.count(caller);
            memory.used.insert(name, until.millis());
            return Ok(true);
        };
        let work = move || {
            {
                let mut memory = locked(&memory);
                private_files::folder(&folder).and_then(|()| memory.sweep_folder(&folder)).map_err(|error| unusable(&folder, &error))?;
                memory.room(&caller)?;
            }
            // The disk takes its time, in which others use theirs: at most as many too many as there are at once.
            let new = private_files::claim(&folder.join(&name)).map_err(|error| unusable(&folder, &error))?;
            if new {
                locked(&memory).count(caller);
            }
            Ok(new)
        };
        tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
    }
}

fn locked(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// Whether there is room for one more of a caller's.
    fn room(&self, caller: &str) -> Result<()> {
        if self.of_all >= MOST {
            return Err(full("too many confirmations were given within the last minutes"));
        }
        if self.of_callers.get(caller).is_some_and(|used| *used >= OF_ONE) {
            return Err(full("you gave too many confirmations within the last minutes"));
        }
        Ok(())
    }

    /// Counts one more of a caller's. What was used before is no more.
    fn count(&mut self, caller: String) {
        *self.of_callers.entry(caller).or_default() += 1;
        self.of_all += 1;
    }

    /// Whether it is time to throw away what has ended, and count what is left, which begins at nothing.
    fn is_due(&mut self) -> bool {
        if self.swept.is_some_and(|swept| swept.elapsed() < SWEEP) {
            return false;
        }
        self.swept = Some(Instant::now());
        self.of_callers.clear();
        self.of_all = 0;
        true
    }

    fn keep(&mut self, name: &str) {
        let caller = name.split('-').nth(1).unwrap_or_default();
        self.count(caller.to_owned());
    }

    fn sweep(&mut self) {
        if self.is_due() {
            let now = Timestamp::now().millis();
            let mut used = std::mem::take(&mut self.used);
            used.retain(|_, until| *until >= now);
            for name in used.keys() {
                self.keep(name);
            }
            self.used = used;
        }
    }

    fn sweep_folder(&mut self, folder: &Path) -> std::io::Result<()> {
        if !self.is_due() {
            return Ok(());
        }
        let now = Timestamp::now().millis();
        for entry in fs::read_dir(folder)?.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let until = name.split('-').next().and_then(|until| until.parse::<i64>().ok());
            if until.is_some_and(|until| until < now) {
                let _gone = fs::remove_file(entry.path());
            } else {
                self.keep(name);
            }
        }
        Ok(())
    }
}

fn full(what: &str) -> Error {
    Error::new(Kind::RateLimited, "FM-MCP-CONFIRMATIONS", what).retry_after(SWEEP)
}

/// A folder that cannot be used: nothing that needs it goes through.
pub(super) fn unusable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Internal, "FM-MCP-CONFIRM-FOLDER", format!("{} cannot be used: {error}", path.display()))
        .hint("Nothing was done. Check that the data folder belongs to the user who runs the server, and to nobody else (chmod 700).")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Timestamp {
        Timestamp::now().plus_seconds(60.0)
    }

    #[tokio::test]
    async fn what_was_used_is_used_for_every_process_until_it_ends() {
        let data = tempfile::tempdir().unwrap();
        for data_dir in [Some(data.path()), None] {
            let (one, nonce, soon) = (Spent::new(data_dir), uuid::Uuid::now_v7(), soon());
            assert!(one.spend("anna", nonce, soon).await.unwrap());
            assert!(!one.spend("anna", nonce, soon).await.unwrap());
            let other = Spent::new(data_dir);
            assert_eq!(other.spend("anna", nonce, soon).await.unwrap(), data_dir.is_none());
        }
        let past = data.path().join("spent").join(format!("1-anna-{}", uuid::Uuid::now_v7().simple()));
        fs::write(&past, "").unwrap();
        assert!(Spent::new(Some(data.path())).spend("anna", uuid::Uuid::now_v7(), soon()).await.unwrap());
        assert!(!past.exists(), "what has ended is thrown away");
    }

    #[tokio::test]
    async fn nobody_uses_up_the_room_of_others_and_all_have_a_bound() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("spent");
        private_files::folder(&folder).unwrap();
        for _ in 0..OF_ONE - 1 {
            fs::write(folder.join(format!("{}-anna-{}", soon().millis(), uuid::Uuid::now_v7().simple())), "").unwrap();
        }
        for spent in [Spent::new(Some(data.path())), Spent::new(None)] {
            if spent.folder.is_none() {
                for _ in 0..OF_ONE - 1 {
                    assert!(spent.spend("anna", uuid::Uuid::now_v7(), soon()).await.unwrap());
                }
            }
            assert!(spent.spend("anna", uuid::Uuid::now_v7(), soon()).await.unwrap(), "there is room for one more");
            let full = spent.spend("anna", uuid::Uuid::now_v7(), soon()).await.unwrap_err();
            assert_eq!((full.code(), full.kind(), full.is_transient()), ("FM-MCP-CONFIRMATIONS", Kind::RateLimited, true));
            assert!(spent.spend("bert", uuid::Uuid::now_v7(), soon()).await.unwrap());
            spent.memory.lock().unwrap().of_all = MOST;
            assert_eq!(spent.spend("bert", uuid::Uuid::now_v7(), soon()).await.unwrap_err().code(), "FM-MCP-CONFIRMATIONS");
        }
    }

    #[tokio::test]
    async fn what_was_used_before_takes_no_room() {
        let data = tempfile::tempdir().unwrap();
        for spent in [Spent::new(Some(data.path())), Spent::new(None)] {
            let (nonce, until) = (uuid::Uuid::now_v7(), soon());
            assert!(spent.spend("anna", nonce, until).await.unwrap());
            for _ in 0..OF_ONE {
                assert!(!spent.spend("anna", nonce, until).await.unwrap());
            }
            assert!(spent.spend("anna", uuid::Uuid::now_v7(), until).await.unwrap(), "there is as much room as before");
            assert_eq!(spent.memory.lock().unwrap().of_all, 2);
        }
    }

    #[tokio::test]
    async fn what_a_caller_used_counts_until_it_ends() {
        let spent = Spent::new(None);
        let past = Timestamp::now().plus_seconds(-1.0);
        for _ in 0..OF_ONE {
            spent.spend("anna", uuid::Uuid::now_v7(), past).await.unwrap();
        }
        spent.spend("anna", uuid::Uuid::now_v7(), soon()).await.unwrap_err();
        spent.memory.lock().unwrap().swept = None;
        assert!(spent.spend("anna", uuid::Uuid::now_v7(), soon()).await.unwrap());
        assert_eq!(spent.memory.lock().unwrap().used.len(), 1);
    }
}
