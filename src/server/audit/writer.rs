//! Finishes entries and writes them to where they are kept: the outbox for the platform, and the operator's file.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;

use super::Options;
use super::entry::{AuditEntry, Draft};
use super::losses::{self, LossFile, Lost, count};
use crate::error::{Error, Kind, Result};
use crate::io::hex::hex;
use crate::io::private_files;
use crate::state::{NewLetter, Room, State};

/// How much waits in the outbox. A tenant's part is a quarter, so that a tenant's flood takes none of what others need.
const OUTBOX: Room = Room { of_tenant: 64 * 1024 * 1024, of_all: 256 * 1024 * 1024 };
/// How often it is told at most how many entries were lost.
const LOSSES_TOLD: Duration = Duration::from_secs(10);

/// How many tenants a line of the log names.
const NAMED_TENANTS: usize = 10;

/// Writes entries. All of it blocks, and none of it is in a call's way.
pub(super) struct Writer {
    options: Options,
    state: State,
    key: Option<hmac::Key>,
    file: Option<File>,
    /// Lost entries that the store does not count yet, since it cannot be written.
    lost: Lost,
    /// Where they are counted meanwhile.
    beside: LossFile,
    /// Whether the store counts losses of this process that no entry tells of yet.
    is_untold: bool,
    /// Whether what earlier processes left was looked for.
    has_begun: bool,
    told: Option<Instant>,
    /// Whether the log was told that something cannot be written; once is enough until it can be.
    complained: bool,
}

impl Writer {
    pub(super) fn new(options: Options, state: State) -> Self {
        Self {
            options,
            state,
            key: None,
            file: None,
            lost: Lost::new(),
            beside: LossFile::default(),
            is_untold: false,
            has_begun: false,
            told: None,
            complained: false,
        }
    }

    /// Whether lost entries are still to be told of.
    pub(super) fn has_lost(&self) -> bool {
        self.is_untold || !self.lost.is_empty()
    }

    /// Writes entries, in their order; `lost` says how many more there were without room. Losses are counted on disk at once
    /// and told of now and then, those at the end after the next start.
    pub(super) fn write(&mut self, drafts: Vec<Draft>, lost: Lost, at_the_end: bool) {
        count(&mut self.lost, lost);
        let counted: Vec<String> = drafts.iter().map(|draft| draft.entry.tenant.clone().unwrap_or_default()).collect();
        if let Err(error) = self.try_write(drafts) {
            count(&mut self.lost, counted.into_iter().map(|tenant| (tenant, 1)));
            self.complain(&error);
        }
        let kept = self.keep_counts().and_then(|()| if at_the_end { Ok(()) } else { self.tell_losses() });
        match kept {
            Ok(()) => self.complained &= self.has_lost(),
            Err(error) => self.complain(&error),
        }
    }

    fn complain(&mut self, error: &Error) {
        if !self.complained {
            tracing::warn!(%error, "entries of the audit log cannot be kept");
        }
        self.complained = true;
    }

    /// Counts losses on disk: in the store, or beside it as long as the store cannot be written.
    fn keep_counts(&mut self) -> Result<()> {
        if self.lost.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.state.store().count_lost(&self.lost) {
            if let Err(error) = self.beside.set(&self.options.data_dir, &self.lost) {
                tracing::debug!(%error, "lost entries are counted in memory alone");
            }
            return Err(error);
        }
        self.lost.clear();
        self.is_untold = true;
        self.beside.set(&self.options.data_dir, &Lost::new()).map_err(Error::internal)
    }

    /// Tells of losses in entries and in the log, where it is time to: those of earlier processes first of all.
    fn tell_losses(&mut self) -> Result<()> {
        if self.told.is_some_and(|told| told.elapsed() < LOSSES_TOLD) {
            return Ok(());
        }
        let is_start = !std::mem::replace(&mut self.has_begun, true);
        if is_start && losses::are_left(&self.options.data_dir) {
            losses::read_in(&self.options.data_dir, self.state.store())?;
        }
        // Without the platform the store is there for losses alone.
        let may_have = self.options.platform || self.is_untold || (is_start && super::backlog(&self.options.data_dir)?.lost > 0);
        let lost = if may_have { self.state.store().lost()? } else { Vec::new() };
        self.is_untold = false;
        if lost.is_empty() {
            return Ok(());
        }
        let of = |(tenant, count): &(String, u64)| AuditEntry::lost(Some(tenant.clone()).filter(|tenant| !tenant.is_empty()), *count);
        let letters: Vec<NewLetter> = lost.iter().map(|loss| of(loss).into_letter(false)).collect::<Result<_>>()?;
        let told = self.state.store().tell_lost(&letters, self.options.platform, OUTBOX)?;
        let told: Vec<NewLetter> = told.into_iter().filter_map(|place| letters.get(place).cloned()).collect();
        if let Err(error) = self.append_to_file(&told) {
            if !self.options.platform {
                count(&mut self.lost, told.into_iter().map(|letter| (letter.tenant, letter.stands_for)));
                return Err(error);
            }
            // What the platform is told of needs no second entry.
            self.complain(&error);
        }
        let total: u64 = told.iter().map(|letter| letter.stands_for).sum();
        let tenants: Vec<String> =
            told.iter().take(NAMED_TENANTS).map(|letter| format!("{}: {}", letter.tenant.escape_default(), letter.stands_for)).collect();
        tracing::warn!(lost = total, tenants = tenants.join(", "), before = is_start, "entries of the audit log were lost");
        self.told = Some(Instant::now());
        Ok(())
    }

    fn try_write(&mut self, drafts: Vec<Draft>) -> Result<()> {
        if drafts.is_empty() {
            return Ok(());
        }
        self.open_key()?;
        let letters: Vec<NewLetter> = drafts.into_iter().map(|draft| self.finish(draft)).collect::<Result<_>>()?;
        // One place that cannot be written does not keep entries from the other.
        let kept = self.options.platform.then(|| self.state.store().append(&letters, OUTBOX));
        let filed = self.append_to_file(&letters);
        match (kept, filed) {
            // What is in the outbox is not lost.
            (Some(Ok(())), Err(error)) => {
                self.complain(&error);
                Ok(())
            }
            (Some(kept), _) => kept,
            (None, filed) => filed,
        }
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
        writer.write(vec![draft()], Lost::from([("t".to_owned(), 2)]), true);
        assert_eq!(super::super::backlog(data.path()).unwrap().lost, 7, "at the end they are counted");
        drop(writer);
        // Whoever begins next tells.
        self::writer(data.path(), false, Some(&path)).write(vec![], Lost::new(), false);
        let mut entries = entries(&path);
        assert_eq!(entries.remove(4).count, None);
        let tag = entries[0].arguments.clone().unwrap();
        assert!(tag.len() == 64 && tag != hex(&[7; 32]) && entries[1].arguments.as_ref() == Some(&tag));
        let lost: Vec<_> = entries[2..].iter().map(|entry| (entry.action, entry.tenant.as_deref(), entry.count)).collect();
        assert_eq!(lost, [(Action::Lost, None, Some(1)), (Action::Lost, Some("t"), Some(3)), (Action::Lost, Some("t"), Some(7))]);
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
