//! Finishes entries and writes them to where they are kept: the outbox for the platform, and the operator's file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;

use super::Options;
use super::entry::{AuditEntry, Draft};
use crate::error::{Error, Kind, Result};
use crate::io::hex::hex;
use crate::io::private_files;
use crate::state::{NewLetter, State};

/// The most that waits in the outbox, in bytes.
const OUTBOX_BYTES: u64 = 64 * 1024 * 1024;
/// How often it is told at most how many entries were lost.
const LOSSES_TOLD: Duration = Duration::from_secs(10);

/// How many entries were lost, by tenant; an empty name stands for callers who are not known.
pub(super) type Lost = BTreeMap<String, u64>;

/// Writes entries. All of it blocks, and none of it is in a call's way.
pub(super) struct Writer {
    options: Options,
    state: State,
    key: Option<hmac::Key>,
    file: Option<File>,
    lost: Lost,
    told: Option<Instant>,
    /// Whether the log was told that something cannot be written; once is enough until it can be.
    complained: bool,
}

impl Writer {
    pub(super) fn new(options: Options, state: State) -> Self {
        Self { options, state, key: None, file: None, lost: Lost::new(), told: None, complained: false }
    }

    /// Whether lost entries are still to be told of.
    pub(super) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Writes entries, in their order; `lost` says how many more there were without room. At the end all losses are told.
    pub(super) fn write(&mut self, drafts: Vec<Draft>, lost: Lost, at_the_end: bool) {
        count(&mut self.lost, lost);
        let told = self.losses(at_the_end);
        let counted: Vec<String> = drafts.iter().map(|draft| draft.entry.tenant.clone().unwrap_or_default()).collect();
        match self.try_write(drafts, &told) {
            Ok(()) => self.complained = false,
            Err(error) => {
                count(&mut self.lost, told);
                count(&mut self.lost, counted.into_iter().map(|tenant| (tenant, 1)));
                if !self.complained {
                    tracing::warn!(%error, "entries of the audit log cannot be kept");
                }
                self.complained = true;
            }
        }
    }

    /// Takes the counts of lost entries, where it is time to tell of them.
    fn losses(&mut self, at_the_end: bool) -> Lost {
        if !at_the_end && self.told.is_some_and(|told| told.elapsed() < LOSSES_TOLD) {
            return Lost::new();
        }
        let mut lost = std::mem::take(&mut self.lost);
        if self.options.platform
            && let Ok(evicted) = self.state.store().take_lost()
        {
            count(&mut lost, evicted);
        }
        if !lost.is_empty() {
            self.told = Some(Instant::now());
        }
        lost
    }

    fn try_write(&mut self, drafts: Vec<Draft>, lost: &Lost) -> Result<()> {
        if drafts.is_empty() && lost.is_empty() {
            return Ok(());
        }
        self.open_key()?;
        let losses = lost
            .iter()
            .map(|(tenant, count)| Draft::from(AuditEntry::lost(Some(tenant.clone()).filter(|tenant| !tenant.is_empty()), *count)));
        let letters: Vec<NewLetter> = drafts.into_iter().chain(losses).map(|draft| self.finish(draft)).collect::<Result<_>>()?;
        // One place that cannot be written does not keep entries from the other.
        let kept = if self.options.platform { self.state.store().append(&letters, OUTBOX_BYTES) } else { Ok(()) };
        let filed = self.append_to_file(&letters);
        kept.and(filed)
    }

    fn open_key(&mut self) -> Result<()> {
        if self.key.is_none() {
            // Without the key, arguments cannot be guessed from their digest.
            let path = self.options.data_dir.join("audit.key");
            let key = private_files::key(&path).map_err(|error| {
                Error::new(Kind::Internal, "FM-MCP-AUDIT-KEY", format!("{} cannot be used: {error}", path.display()))
                    .hint("Check that the data folder belongs to you and is writable.")
            })?;
            self.key = Some(hmac::Key::new(hmac::HMAC_SHA256, &key));
        }
        Ok(())
    }

    fn finish(&self, draft: Draft) -> Result<NewLetter> {
        let Draft { mut entry, is_read, arguments, answer } = draft;
        let tag = |digest: [u8; 32]| self.key.as_ref().map(|key| hex(hmac::sign(key, &digest).as_ref()));
        entry.arguments = arguments.and_then(tag);
        entry.answer = answer.and_then(tag);
        entry.into_letter(is_read)
    }

    fn append_to_file(&mut self, letters: &[NewLetter]) -> Result<()> {
        let Some(path) = self.options.file.clone() else { return Ok(()) };
        let lines: String = letters.iter().flat_map(|letter| [letter.body.as_str(), "\n"]).collect();
        let file = match self.file.take() {
            Some(file) => Ok(file),
            None => append_only(&path),
        };
        let written = file.and_then(|mut file| file.write_all(lines.as_bytes()).map(|()| file));
        self.file = Some(written.map_err(|error| unwritable(&path, &error))?);
        Ok(())
    }
}

fn count(lost: &mut Lost, more: impl IntoIterator<Item = (String, u64)>) {
    for (tenant, more) in more {
        *lost.entry(tenant).or_default() += more;
    }
}

/// Opens a file to add to, created for its owner alone.
fn append_only(path: &Path) -> std::io::Result<File> {
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
    use crate::server::audit::entry::{Action, Transport};

    fn draft() -> Draft {
        let entry = AuditEntry::new(Action::Called, None, Transport::Stdio, "tool", "tasks_list");
        Draft { arguments: Some([7; 32]), ..Draft::from(entry) }
    }

    fn entries(path: &Path) -> Vec<AuditEntry> {
        fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn writer(data: &Path, platform: bool, file: Option<&Path>) -> Writer {
        let options = Options { platform, file: file.map(Path::to_owned), ..Options::new(data) };
        Writer::new(options, State::new(Some(data)))
    }

    #[test]
    fn digests_are_keyed_and_losses_are_told_by_tenant() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("entries.jsonl");
        let mut writer = writer(data.path(), false, Some(&path));
        writer.write(vec![draft()], Lost::new(), false);
        writer.write(vec![draft()], Lost::from([("t".to_owned(), 3), (String::new(), 1)]), false);
        writer.write(vec![], Lost::from([("t".to_owned(), 5)]), false);
        assert!(writer.has_lost(), "not told again so soon");
        writer.write(vec![], Lost::new(), true);
        let entries = entries(&path);
        let tag = entries[0].arguments.clone().unwrap();
        assert!(tag.len() == 64 && tag != hex(&[7; 32]) && entries[1].arguments.as_ref() == Some(&tag));
        let lost: Vec<_> = entries[2..].iter().map(|entry| (entry.action, entry.tenant.as_deref(), entry.count)).collect();
        assert_eq!(lost, [(Action::Lost, None, Some(1)), (Action::Lost, Some("t"), Some(3)), (Action::Lost, Some("t"), Some(5))]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn entries_that_cannot_be_kept_are_counted_until_they_can() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("later");
        let path = folder.join("entries.jsonl");
        let mut writer = writer(data.path(), false, Some(&path));
        writer.write(vec![draft(), draft()], Lost::new(), false);
        fs::create_dir(&folder).unwrap();
        writer.write(vec![draft()], Lost::new(), false);
        assert_eq!(entries(&path).iter().map(|entry| entry.count).collect::<Vec<_>>(), [None, Some(2)]);
    }

    #[test]
    fn one_place_that_cannot_be_written_does_not_keep_entries_from_the_other() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("entries.jsonl");
        fs::create_dir(data.path().join("state.db")).unwrap();
        writer(data.path(), true, Some(&path)).write(vec![draft(), draft()], Lost::new(), false);
        assert_eq!(entries(&path).len(), 2);

        let data = tempfile::tempdir().unwrap();
        let nowhere = data.path().join("not-there").join("entries.jsonl");
        writer(data.path(), true, Some(&nowhere)).write(vec![draft(), draft()], Lost::new(), false);
        assert_eq!(super::super::backlog(data.path()).unwrap().waiting, 2);
    }
}
