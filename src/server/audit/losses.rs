//! Counts of lost entries beside the outbox: those that the outbox cannot take now, and those that are lost if the process
//! ends at this moment.
//!
//! A file belongs to the process that holds its lock. The next start adds the counts of files without one to the outbox.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::api::ids;
use crate::error::{Error, Kind, Result};
use crate::io::private_files;
use crate::state::Store;

/// How many entries were lost, by tenant; an empty name stands for callers who are not known.
pub(super) type Lost = BTreeMap<String, u64>;

/// The largest file that is read, in bytes; the last line counts.
const MAX_FILE_BYTES: usize = 16 * 1024 * 1024;

/// Adds counts to counts.
pub(super) fn count(lost: &mut Lost, more: impl IntoIterator<Item = (String, u64)>) {
    for (tenant, more) in more {
        let known = lost.entry(tenant).or_default();
        *known = known.saturating_add(more);
    }
}

/// A file of counts, made when there are some and removed when there are none.
#[derive(Debug, Default)]
pub(super) struct LossFile(Option<(PathBuf, File)>);

impl LossFile {
    /// Makes these the counts that the next start finds.
    pub(super) fn set(&mut self, data_dir: &Path, lost: &Lost) -> std::io::Result<()> {
        if lost.is_empty() {
            if let Some((path, _)) = self.0.take() {
                fs::remove_file(path)?;
            }
            return Ok(());
        }
        let (_, file) = match &mut self.0 {
            Some(opened) => opened,
            none => {
                let folder = data_dir.join("audit");
                private_files::folder(&folder)?;
                let path = folder.join(format!("lost-{}.jsonl", ids::unique()));
                let file = private_files::open(&path)?;
                file.try_lock()?;
                none.insert((path, file))
            }
        };
        // A line after the others, since a line that was begun must not cost those before it.
        let mut line = serde_json::to_vec(lost)?;
        line.push(b'\n');
        let end = file.metadata()?.len();
        std::io::Seek::seek(file, std::io::SeekFrom::Start(end))?;
        file.write_all(&line)?;
        file.sync_data()
    }
}

/// Adds what earlier processes left to the counts in the store.
pub(super) fn read_in(data_dir: &Path, store: &dyn Store) -> Result<()> {
    for path in left_by_others(data_dir) {
        let unreadable = |error: String| {
            Error::new(Kind::Internal, "FM-MCP-AUDIT-LOSSES", format!("{} cannot be read in: {error}", path.display()))
                .hint("Check that the data folder belongs to you, is writable and has room.")
        };
        let file = File::open(&path).map_err(|error| unreadable(error.to_string()))?;
        if file.try_lock().is_err() {
            continue;
        }
        let text = private_files::read(&path, MAX_FILE_BYTES).map_err(|error| unreadable(error.to_string()))?.unwrap_or_default();
        let last = text.split(|byte| *byte == b'\n').rev().find_map(|line| serde_json::from_slice::<Lost>(line).ok());
        store.count_lost(&last.unwrap_or_default())?;
        fs::remove_file(&path).map_err(|error| unreadable(error.to_string()))?;
    }
    Ok(())
}

/// Whether an earlier process left counts.
pub(super) fn are_left(data_dir: &Path) -> bool {
    left_by_others(data_dir).next().is_some()
}

fn left_by_others(data_dir: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(data_dir.join("audit")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("lost-") && path.extension().is_some_and(|end| end == "jsonl")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;

    #[test]
    fn counts_of_an_ended_process_are_added_once_and_those_of_a_living_one_stay() {
        let data = tempfile::tempdir().unwrap();
        let state = State::new(Some(data.path()));
        let (mut ended, mut living) = (LossFile::default(), LossFile::default());
        ended.set(data.path(), &Lost::from([("t".to_owned(), 1)])).unwrap();
        ended.set(data.path(), &Lost::from([("t".to_owned(), 41), ("u".to_owned(), 1)])).unwrap();
        living.set(data.path(), &Lost::from([("t".to_owned(), 7)])).unwrap();
        drop(ended);
        for _ in 0..2 {
            read_in(data.path(), state.store()).unwrap();
            assert_eq!(state.store().lost().unwrap(), [("t".to_owned(), 41), ("u".to_owned(), 1)]);
        }
        living.set(data.path(), &Lost::new()).unwrap();
        assert!(!are_left(data.path()));
    }
}
