//! One file of rows that wait: its first line says up to where it was sent, its lock whose it is.

use std::fs::{self, File};
use std::io::{BufRead as _, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::entry::Row;

/// How much is read at once, in bytes; more than the longest row.
const READ: u64 = 256 * 1024;
/// How many rows are sent together.
pub(super) const TOGETHER: usize = 64;
/// The length of a file's first line: `{"sent":"00000000000000000032"}`.
const HEADER: u64 = 32;

/// See the module.
pub(super) struct Segment {
    pub(super) path: PathBuf,
    file: File,
    /// Up to where it was sent.
    sent: u64,
    end: u64,
    /// Whether this process writes to it; the others were taken over.
    own: bool,
}

/// Rows to send, the oldest that wait.
#[derive(Clone)]
pub(super) struct Batch {
    pub(super) rows: Vec<Row>,
    /// Up to where each row goes, in bytes from the first.
    ends: Vec<u64>,
    bytes: u64,
}

impl Batch {
    /// How many bytes the first rows take, with what cannot be read before them and, where they are all, after them.
    pub(super) fn bytes_of(&self, rows: usize) -> u64 {
        if rows >= self.rows.len() { self.bytes } else { rows.checked_sub(1).map_or(0, |last| self.ends[last]) }
    }
}

impl Segment {
    /// A new file, whose name begins as is wanted.
    pub(super) fn create(folder: &Path, prefix: &str) -> std::io::Result<Self> {
        loop {
            let path = folder.join(format!("{prefix}{}.jsonl", uuid::Uuid::now_v7()));
            let mut options = fs::OpenOptions::new();
            options.read(true).write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(&path)?;
            match file.try_lock() {
                Ok(()) => {
                    write_header(&mut file, HEADER)?;
                    return Ok(Self { path, file, sent: HEADER, end: HEADER, own: true });
                }
                // Somebody took the new file for one that was left behind; another name is as good.
                Err(fs::TryLockError::WouldBlock) => {}
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// A file whose process is gone.
    pub(super) fn adopt(path: PathBuf) -> Option<Self> {
        let mut file = fs::OpenOptions::new().read(true).write(true).open(&path).ok()?;
        file.try_lock().ok()?;
        let end = file.metadata().ok()?.len();
        // A file without its first line was never written to.
        let sent = read_header(&mut file).unwrap_or(end).clamp(HEADER.min(end), end);
        Some(Self { path, file, sent, end, own: false })
    }

    /// How much the file takes, in bytes.
    pub(super) const fn size(&self) -> u64 {
        self.end
    }

    /// How much of it waits, in bytes.
    pub(super) const fn left(&self) -> u64 {
        self.end.saturating_sub(self.sent)
    }

    /// The first row that is wanted, of those that wait behind so many bytes.
    pub(super) fn find(&self, behind: u64, wanted: &impl Fn(&Row) -> bool) -> std::io::Result<Option<Row>> {
        let from = (self.sent + behind).min(self.end);
        let mut file = &self.file;
        file.seek(SeekFrom::Start(from))?;
        for line in std::io::BufReader::with_capacity(64 * 1024, file.take(self.end - from)).split(b'\n') {
            if let Ok(row) = serde_json::from_slice(&line?)
                && wanted(&row)
            {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Whether this process may add to it.
    pub(super) const fn is_own(&self) -> bool {
        self.own
    }

    /// Whether nothing in it waits.
    pub(super) const fn is_sent(&self) -> bool {
        self.sent >= self.end
    }

    pub(super) fn append(&mut self, lines: &[u8]) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end))?;
        if let Err(error) = self.file.write_all(lines) {
            // Half a row would spoil the next one.
            let _cut = self.file.set_len(self.end);
            return Err(error);
        }
        self.end += lines.len() as u64;
        Ok(())
    }

    /// The oldest rows that wait in it.
    pub(super) fn read(&mut self) -> std::io::Result<Batch> {
        self.file.seek(SeekFrom::Start(self.sent))?;
        let mut text = Vec::new();
        (&self.file).take(READ.min(self.end - self.sent)).read_to_end(&mut text)?;
        let mut batch = Batch { rows: Vec::new(), ends: Vec::new(), bytes: 0 };
        for line in text.split_inclusive(|byte| *byte == b'\n').take(TOGETHER) {
            if line.last() != Some(&b'\n') {
                break;
            }
            batch.bytes += line.len() as u64;
            match serde_json::from_slice(line) {
                Ok(row) => {
                    batch.rows.push(row);
                    batch.ends.push(batch.bytes);
                }
                Err(error) => tracing::warn!(%error, "a row of the record cannot be read and is passed over"),
            }
        }
        if batch.bytes == 0 {
            // The end of a row was never written: its process died on it.
            tracing::warn!("a row of the record is cut off and is passed over");
            batch.bytes = self.end - self.sent;
        }
        Ok(batch)
    }

    /// So many bytes more were sent.
    pub(super) fn advance(&mut self, bytes: u64) -> std::io::Result<()> {
        self.sent = (self.sent + bytes).min(self.end);
        if self.own && self.sent == self.end {
            self.file.set_len(HEADER)?;
            (self.sent, self.end) = (HEADER, HEADER);
        }
        write_header(&mut self.file, self.sent)
    }

    pub(super) fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::debug!(%error, "a file of sent rows stays");
        }
    }
}

fn write_header(file: &mut File, sent: u64) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.write_all(format!("{{\"sent\":\"{sent:020}\"}}\n").as_bytes())
}

/// Up to where a file was sent.
pub(super) fn read_header(file: &mut File) -> Option<u64> {
    let mut header = [0; 32];
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_exact(&mut header).ok()?;
    std::str::from_utf8(&header).ok()?.strip_prefix("{\"sent\":\"")?.strip_suffix("\"}\n")?.parse().ok()
}
