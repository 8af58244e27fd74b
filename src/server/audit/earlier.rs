//! Entries that the first release left in files of `audit/`: read into the outbox once, then removed.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;

use super::entry::AuditEntry;
use crate::error::{Error, Kind, Result};
use crate::state::{NewLetter, Room, Store};

/// The largest file that the first release wrote: a spool of 4 MiB, or 64 MiB of what was not taken, and one batch more.
const MAX_FILE_BYTES: u64 = 128 * 1024 * 1024;
/// How many entries are read in at once.
const BATCH_SIZE: usize = 256;

/// What the platform would not take, as the first release kept it.
#[derive(Deserialize)]
struct Undelivered {
    reason: String,
    row: AuditEntry,
}

/// The first line of a spool: up to which byte it was sent.
#[derive(Deserialize)]
struct Header {
    sent: String,
}

/// Reads in the entries that the first release left, if there are any.
pub(super) fn read_in(data_dir: &Path, store: &dyn Store) -> Result<()> {
    let folder = data_dir.join("audit");
    let mut paths: Vec<_> = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    // What waited apart is older than what waited in the common line.
    paths.sort();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_spool =
            ["spool-", "parked-"].iter().any(|start| name.starts_with(start)) && path.extension().is_some_and(|end| end == "jsonl");
        if !is_spool && name != "undelivered.jsonl" {
            continue;
        }
        let unreadable = |error: std::io::Error| {
            Error::new(Kind::Internal, "FM-MCP-AUDIT-SPOOL", format!("{} cannot be read in: {error}", path.display()))
                .hint("Check that the data folder belongs to you, is writable and has room.")
        };
        let mut file = File::open(&path).map_err(unreadable)?;
        // A spool whose lock is held belongs to a process of the first release that still runs.
        if file.try_lock().is_err() {
            continue;
        }
        let mut text = Vec::new();
        (&mut file).take(MAX_FILE_BYTES).read_to_end(&mut text).map_err(unreadable)?;
        if is_spool { spool(&text, store) } else { undelivered(&text, store) }?;
        fs::remove_file(&path).map_err(unreadable)?;
    }
    Ok(())
}

fn spool(text: &[u8], store: &dyn Store) -> Result<()> {
    let header = lines(text).next().and_then(|line| serde_json::from_slice::<Header>(line).ok());
    let sent = header.and_then(|header| header.sent.parse::<usize>().ok()).unwrap_or_default();
    let entries = lines(text.get(sent..).unwrap_or_default()).filter_map(|line| serde_json::from_slice::<AuditEntry>(line).ok());
    let letters: Vec<NewLetter> = entries.map(letter).collect::<Result<_>>()?;
    letters.chunks(BATCH_SIZE).try_for_each(|batch| store.append(batch, Room::UNBOUNDED))
}

fn undelivered(text: &[u8], store: &dyn Store) -> Result<()> {
    let kept = lines(text).filter_map(|line| serde_json::from_slice::<Undelivered>(line).ok());
    let letters: Vec<_> = kept.map(|Undelivered { reason, row }| Ok((letter(row)?, reason))).collect::<Result<_>>()?;
    letters.chunks(BATCH_SIZE).try_for_each(|batch| store.bury(batch))
}

/// The first release did not say what a call was; one that names no field is a read, or as good as one.
fn letter(entry: AuditEntry) -> Result<NewLetter> {
    let is_read = entry.fields.is_empty() && entry.count.is_none() && !entry.decision.is_refusal();
    entry.into_letter(is_read)
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}
