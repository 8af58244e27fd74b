//! Finishes rows and puts them where they are kept: the spool for the platform, and the operator's file.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;

use super::Options;
use super::entry::{Action, Draft, Row, Transport};
use super::spool::Spool;
use crate::error::{Error, Kind, Result};
use crate::io::hex::hex;
use crate::io::private_files;

/// The spool, shared with whoever sends from it; there is none where rows do not go to the platform.
pub(super) type Shared = Arc<Mutex<Option<Spool>>>;

/// Keeps rows. All of it blocks, and none of it is in a call's way.
pub(super) struct Keeper {
    options: Options,
    spool: Shared,
    key: Option<hmac::Key>,
    file: Option<File>,
    lost: u64,
    /// Whether the log was told that something cannot be written; once is enough until it can be.
    complained: bool,
}

impl Keeper {
    pub(super) fn new(options: Options, spool: Shared) -> Self {
        Self { options, spool, key: None, file: None, lost: 0, complained: false }
    }

    /// Keeps rows, in their order; `lost` says how many more there were that nobody could take.
    pub(super) fn keep(&mut self, drafts: Vec<Draft>, lost: u64) {
        self.lost += lost;
        let count = drafts.len() as u64;
        match self.try_keep(drafts) {
            Ok(true) => self.complained = false,
            Ok(false) => {
                self.lost += count;
                self.complain("too many rows of the record wait for the platform: further ones are lost");
            }
            Err(error) => {
                self.lost += count;
                self.complain(&format!("rows of the record cannot be kept: {error}"));
            }
        }
    }

    /// Whether there was room for the rows.
    fn try_keep(&mut self, drafts: Vec<Draft>) -> Result<bool> {
        self.open_key()?;
        // One place that cannot be written does not keep rows from the other.
        let (spool_is_open, file_is_open) = (self.open_spool(), self.open_file());
        let mut lines = Vec::with_capacity((drafts.len() + 1) * 512);
        for draft in drafts {
            self.write(draft, &mut lines)?;
        }
        let mut shared = self.spool.lock().unwrap_or_else(PoisonError::into_inner);
        let room = shared.as_ref().is_none_or(|spool| spool.has_room_for(lines.len() + 1024));
        let told = std::mem::take(&mut self.lost);
        if room && told > 0 {
            self.write(Draft::from(loss(told)), &mut lines)?;
        }
        let kept = spool_is_open.and(match &mut *shared {
            Some(spool) if room => spool.append(&lines),
            _ => Ok(()),
        });
        drop(shared);
        let filed = file_is_open.and_then(|()| self.append_to_file(&lines));
        let kept = kept.and(filed);
        if kept.is_err() || !room {
            self.lost += told;
        }
        kept.map(|()| room)
    }

    /// What is kept on disk is opened at the first row.
    fn open_key(&mut self) -> Result<()> {
        if self.key.is_none() {
            // Whoever lacks the key cannot try out what arguments with a digest were.
            let path = self.options.data_dir.join("audit.key");
            let key = private_files::key(&path).map_err(|error| {
                Error::new(Kind::Internal, "FM-MCP-AUDIT-KEY", format!("{} cannot be used: {error}", path.display()))
                    .hint("Check that the data folder belongs to you and is writable.")
            })?;
            self.key = Some(hmac::Key::new(hmac::HMAC_SHA256, &key));
        }
        Ok(())
    }

    fn open_spool(&self) -> Result<()> {
        if self.options.platform {
            let mut spool = self.spool.lock().unwrap_or_else(PoisonError::into_inner);
            if spool.is_none() {
                *spool = Some(Spool::open(&self.options.data_dir)?);
            }
        }
        Ok(())
    }

    fn open_file(&mut self) -> Result<()> {
        if let (Some(path), None) = (&self.options.file, &self.file) {
            self.file = Some(append_only(path).map_err(|error| unwritable(path, &error))?);
        }
        Ok(())
    }

    fn write(&self, draft: Draft, lines: &mut Vec<u8>) -> Result<()> {
        let Draft { mut row, arguments, answer } = draft;
        let tag = |digest: [u8; 32]| self.key.as_ref().map(|key| hex(hmac::sign(key, &digest).as_ref()));
        row.arguments = arguments.and_then(tag);
        row.answer = answer.and_then(tag);
        serde_json::to_writer(&mut *lines, &row).map_err(Error::internal)?;
        lines.push(b'\n');
        Ok(())
    }

    fn append_to_file(&mut self, lines: &[u8]) -> Result<()> {
        let (Some(path), Some(file)) = (&self.options.file, &mut self.file) else { return Ok(()) };
        let written = file.write_all(lines).map_err(|error| unwritable(path, &error));
        if written.is_err() {
            self.file = None;
        }
        written
    }

    fn complain(&mut self, what: &str) {
        if !self.complained {
            tracing::warn!("{what}");
        }
        self.complained = true;
    }
}

/// A row that stands for those that are missing.
fn loss(count: u64) -> Row {
    let mut row = Row::new(Action::Lost, None, Transport::Stdio, "audit", "rows");
    "flowmaster-mcp".clone_into(&mut row.subject);
    "service".clone_into(&mut row.kind);
    "lost".clone_into(&mut row.outcome);
    (row.transport, row.count) = (None, Some(count));
    row
}

/// Opens a file to add to, made for its owner alone.
pub(super) fn append_only(path: &Path) -> std::io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Internal, "FM-MCP-AUDIT-FILE", format!("{} cannot be written: {error}", path.display()))
        .hint("Check audit.file, and that its folder is there and writable.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        Draft { row: Row::new(Action::Called, None, Transport::Stdio, "tool", "tasks_list"), arguments: Some([7; 32]), answer: None }
    }

    fn rows(path: &Path) -> Vec<Row> {
        fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn digests_are_keyed_and_what_was_lost_is_told() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("rows.jsonl");
        let options = Options { platform: false, file: Some(path.clone()), ..Options::new(data.path()) };
        let mut keeper = Keeper::new(options, Shared::default());
        keeper.keep(vec![draft()], 0);
        keeper.keep(vec![draft()], 3);
        let rows = rows(&path);
        assert_eq!(rows.len(), 3);
        let tag = rows[0].arguments.clone().unwrap();
        assert!(tag.len() == 64 && tag != hex(&[7; 32]) && rows[1].arguments.as_ref() == Some(&tag));
        assert_eq!((rows[2].action, rows[2].count), (Action::Lost, Some(3)));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn what_could_not_be_kept_is_counted_until_it_can_be() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("later");
        let path = folder.join("rows.jsonl");
        let options = Options { platform: false, file: Some(path.clone()), ..Options::new(data.path()) };
        let mut keeper = Keeper::new(options, Shared::default());
        keeper.keep(vec![draft(), draft()], 0);
        fs::create_dir(&folder).unwrap();
        keeper.keep(vec![draft()], 0);
        assert_eq!(rows(&path).iter().map(|row| row.count).collect::<Vec<_>>(), [None, Some(2)]);
    }

    #[test]
    fn one_place_that_cannot_be_written_does_not_keep_rows_from_the_other() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("rows.jsonl");
        // A file stands where the spool's folder should be.
        fs::write(data.path().join("audit"), "").unwrap();
        let spool = Shared::default();
        let mut keeper = Keeper::new(Options { file: Some(path.clone()), ..Options::new(data.path()) }, Arc::clone(&spool));
        keeper.keep(vec![draft(), draft()], 0);
        assert_eq!((rows(&path).len(), spool.lock().unwrap().is_some()), (2, false));

        let data = tempfile::tempdir().unwrap();
        let (nowhere, spool) = (data.path().join("not-there").join("rows.jsonl"), Shared::default());
        let mut keeper = Keeper::new(Options { file: Some(nowhere), ..Options::new(data.path()) }, spool);
        keeper.keep(vec![draft(), draft()], 0);
        assert_eq!(super::super::waiting(data.path()).rows, 2);
    }
}
