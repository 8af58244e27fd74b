//! Waiting calls of the first release, one file each in `pending/`: read into the store once, then removed.

use std::fs;
use std::path::Path;

use super::{MAX_PENDING_BYTES, PENDING, Pending, unusable};
use crate::api::Timestamp;
use crate::error::{Error, Kind, Result};
use crate::io::private_files::{self, Fault};
use crate::state::{Record, RecordKind, Store};

/// What the first release kept beside the calls: the key of sealed questions, and their used answers. A sealed question
/// cannot be answered any more; it lasted for five minutes.
const WITHOUT_USE: [&str; 3] = ["seal.key", "spent", "pending.lock"];

/// Reads in the waiting calls that the first release left, if there are any.
pub(super) fn read_in(data_dir: &Path, store: &dyn Store) -> Result<()> {
    let folder = data_dir.join("pending");
    if !folder.exists() {
        return Ok(());
    }
    let lock = data_dir.join("pending.lock");
    // Under the lock of the first release no other process reads the same calls in, or uses one up.
    let locked = private_files::open(&lock).and_then(|file| file.lock().map(|()| file));
    let _alone = locked.map_err(|error| unreadable(&lock, &error.to_string()))?;
    for caller in entries(&folder) {
        for path in entries(&caller) {
            read_file(&caller, &path, store)?;
        }
        let _empty = fs::remove_dir(&caller);
    }
    let _empty = fs::remove_dir(&folder);
    for name in WITHOUT_USE {
        let path = data_dir.join(name);
        let _gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    }
    Ok(())
}

/// Reads one call in. A file that the first release did not write is left alone.
fn read_file(folder: &Path, path: &Path, store: &dyn Store) -> Result<()> {
    let text = match private_files::read(path, MAX_PENDING_BYTES) {
        // In a folder that other users can write to, another user could have approved a call.
        Err(fault @ Fault::UnsafeParent(_)) => return Err(unreadable(path, &fault.to_string())),
        Err(_) | Ok(None) => return Ok(()),
        Ok(Some(text)) => text,
    };
    let (Ok(pending), Ok(value)) = (serde_json::from_slice::<Pending>(&text), String::from_utf8(text)) else { return Ok(()) };
    let Some(owner) = folder.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
    let record = Record {
        owner: owner.to_owned(),
        id: pending.id,
        tag: pending.call,
        value,
        created: pending.created_at,
        expires: pending.expires_at,
    };
    if path.file_stem().is_some_and(|stem| stem == record.id.as_str()) {
        let now = Timestamp::now();
        if record.expires > now {
            store.put(RecordKind::Pending, &record, PENDING, now).map_err(unusable)?;
        }
        fs::remove_file(path).map_err(|error| unreadable(path, &error.to_string()))?;
    }
    Ok(())
}

fn entries(folder: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn unreadable(path: &Path, why: &str) -> Error {
    Error::new(Kind::Internal, "FM-MCP-CONFIRM-FOLDER", format!("{} cannot be used: {why}", path.display()))
        .hint("Nothing was done. Check that the data folder belongs to the user who runs the server, and is closed to others (chmod 700).")
}
