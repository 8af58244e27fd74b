//! Rows that wait on disk for the platform's audit service: files of one process each, read in the order they were written.
//!
//! A file belongs to whoever holds its lock. When a process dies its lock falls, and the next one that keeps a record
//! takes the file over. Its first line says how far it was sent, so that little is sent twice after a crash.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::row::Row;
use crate::error::{Error, Kind, Result};
use crate::private;

/// The most that waits, in bytes; what comes then is counted as lost.
const LIMIT: u64 = 64 * 1024 * 1024;
/// When a file is followed by the next one, in bytes.
const SEGMENT: u64 = 4 * 1024 * 1024;
/// How much is read at once, in bytes; more than the longest row.
const READ: u64 = 256 * 1024;
/// How many rows are sent together.
const TOGETHER: usize = 64;
/// The length of a file's first line: `{"sent":"00000000000000000032"}`.
const HEADER: u64 = 32;

/// See the module.
pub(super) struct Spool {
    folder: PathBuf,
    segments: VecDeque<Segment>,
}

struct Segment {
    path: PathBuf,
    file: File,
    /// Up to where it was sent.
    sent: u64,
    end: u64,
    /// Whether this process writes to it; the others were taken over.
    own: bool,
}

/// Rows to send, the oldest that wait.
pub(super) struct Batch {
    pub(super) rows: Vec<Row>,
    bytes: u64,
}

/// What waits in a data folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Rows that were not sent yet.
    pub rows: u64,
    /// Rows that the platform would not take.
    pub undelivered: u64,
}

/// Counts what waits in a data folder, of all processes.
#[must_use]
pub fn waiting(data_dir: &Path) -> Waiting {
    let folder = folder_of(data_dir);
    let lines = |path: &Path, from: u64| {
        let mut file = File::open(path).ok()?;
        file.seek(SeekFrom::Start(from)).ok()?;
        let mut reader = std::io::BufReader::with_capacity(64 * 1024, file);
        let mut count = 0;
        loop {
            let buffer = std::io::BufRead::fill_buf(&mut reader).ok()?;
            if buffer.is_empty() {
                return Some(count);
            }
            count += buffer.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
            let length = buffer.len();
            std::io::BufRead::consume(&mut reader, length);
        }
    };
    let rows = spools_in(&folder)
        .into_iter()
        .filter_map(|path| {
            let sent = File::open(&path).ok().and_then(|mut file| read_header(&mut file))?;
            lines(&path, sent)
        })
        .sum();
    Waiting { rows, undelivered: lines(&undelivered_in(data_dir), 0).unwrap_or_default() }
}

/// Where rows wait.
pub(super) fn folder_of(data_dir: &Path) -> PathBuf {
    data_dir.join("audit")
}

/// Where rows are kept that the platform would not take.
pub(super) fn undelivered_in(data_dir: &Path) -> PathBuf {
    folder_of(data_dir).join("undelivered.jsonl")
}

impl Spool {
    /// Opens the folder, and takes over what dead processes left.
    pub(super) fn open(data_dir: &Path) -> Result<Self> {
        let folder = folder_of(data_dir);
        private::folder(&folder).map_err(|error| unusable(&folder, &error))?;
        let mut spool = Self { folder, segments: VecDeque::new() };
        spool.adopt();
        Ok(spool)
    }

    /// Takes over the files whose process is gone; theirs come first.
    pub(super) fn adopt(&mut self) {
        let mut found: Vec<Segment> = spools_in(&self.folder)
            .into_iter()
            .filter(|path| self.segments.iter().all(|segment| segment.path != *path))
            .filter_map(Segment::adopt)
            .collect();
        found.sort_by(|one, other| one.path.cmp(&other.path));
        for segment in found.into_iter().rev() {
            self.segments.push_front(segment);
        }
    }

    /// Whether so many bytes more may wait.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        let waiting: u64 = self.segments.iter().map(|segment| segment.end).sum();
        waiting + bytes as u64 <= LIMIT
    }

    /// Adds lines that each end in a newline.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<()> {
        if self.segments.back().is_none_or(|last| !last.own || last.end >= SEGMENT) {
            let segment = Segment::create(&self.folder).map_err(|error| unusable(&self.folder, &error))?;
            self.segments.push_back(segment);
        }
        match self.segments.back_mut() {
            Some(last) => last.append(lines).map_err(|error| unusable(&last.path, &error)),
            None => Ok(()),
        }
    }

    /// The oldest rows that wait; nothing where none does.
    pub(super) fn next(&mut self) -> Result<Option<Batch>> {
        while let Some(first) = self.segments.front_mut() {
            if first.sent < first.end {
                return first.read().map(Some).map_err(|error| unusable(&first.path, &error));
            }
            if first.own && self.segments.len() == 1 {
                return Ok(None);
            }
            if let Some(drained) = self.segments.pop_front() {
                drained.remove();
            }
        }
        Ok(None)
    }

    /// The rows of the last batch need not wait any longer.
    pub(super) fn sent(&mut self, batch: &Batch) -> Result<()> {
        match self.segments.front_mut() {
            Some(first) => first.advance(batch.bytes).map_err(|error| unusable(&first.path, &error)),
            None => Ok(()),
        }
    }

    /// Removes the files where nothing waits.
    pub(super) fn tidy(&mut self) {
        if self.segments.iter().all(|segment| segment.sent >= segment.end) {
            for segment in self.segments.drain(..) {
                segment.remove();
            }
        }
    }
}

impl Segment {
    fn create(folder: &Path) -> std::io::Result<Self> {
        loop {
            let path = folder.join(format!("spool-{}.jsonl", uuid::Uuid::now_v7()));
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

    fn adopt(path: PathBuf) -> Option<Self> {
        let mut file = fs::OpenOptions::new().read(true).write(true).open(&path).ok()?;
        file.try_lock().ok()?;
        let end = file.metadata().ok()?.len();
        // A file without its first line was never written to.
        let sent = read_header(&mut file).unwrap_or(end).clamp(HEADER.min(end), end);
        Some(Self { path, file, sent, end, own: false })
    }

    fn append(&mut self, lines: &[u8]) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end))?;
        if let Err(error) = self.file.write_all(lines) {
            // Half a row would spoil the next one.
            let _cut = self.file.set_len(self.end);
            return Err(error);
        }
        self.end += lines.len() as u64;
        Ok(())
    }

    fn read(&mut self) -> std::io::Result<Batch> {
        self.file.seek(SeekFrom::Start(self.sent))?;
        let mut text = Vec::new();
        (&self.file).take(READ.min(self.end - self.sent)).read_to_end(&mut text)?;
        let mut batch = Batch { rows: Vec::new(), bytes: 0 };
        for line in text.split_inclusive(|byte| *byte == b'\n').take(TOGETHER) {
            if line.last() != Some(&b'\n') {
                break;
            }
            batch.bytes += line.len() as u64;
            match serde_json::from_slice(line) {
                Ok(row) => batch.rows.push(row),
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

    fn advance(&mut self, bytes: u64) -> std::io::Result<()> {
        self.sent = (self.sent + bytes).min(self.end);
        if self.own && self.sent == self.end {
            self.file.set_len(HEADER)?;
            (self.sent, self.end) = (HEADER, HEADER);
        }
        write_header(&mut self.file, self.sent)
    }

    fn remove(self) {
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

fn read_header(file: &mut File) -> Option<u64> {
    let mut header = [0; 32];
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_exact(&mut header).ok()?;
    std::str::from_utf8(&header).ok()?.strip_prefix("{\"sent\":\"")?.strip_suffix("\"}\n")?.parse().ok()
}

fn spools_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("spool-") && path.extension().is_some_and(|extension| extension == "jsonl")
        })
        .collect()
}

fn unusable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Internal, "FM-MCP-AUDIT-SPOOL", format!("{} cannot be used: {error}", path.display()))
        .hint("Check that the data folder belongs to you, is writable and has room.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::audit::row::{Action, Transport};

    fn line(name: &str) -> Vec<u8> {
        let row = Row::new(Action::Called, None, Transport::Stdio, "tool", name);
        let mut line = serde_json::to_vec(&row).unwrap();
        line.push(b'\n');
        line
    }

    fn names(batch: &Batch) -> Vec<&str> {
        batch.rows.iter().map(|row| row.resource.as_str()).collect()
    }

    #[test]
    fn rows_come_out_as_they_went_in_and_leave_no_file() {
        let data = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(data.path()).unwrap();
        assert!(spool.next().unwrap().is_none());
        spool.append(&[line("a"), line("b")].concat()).unwrap();
        spool.append(&line("c")).unwrap();
        assert_eq!(waiting(data.path()).rows, 3);
        let batch = spool.next().unwrap().unwrap();
        assert_eq!(names(&batch), ["a", "b", "c"]);
        spool.tidy();
        spool.sent(&batch).unwrap();
        assert!(spool.next().unwrap().is_none());
        spool.tidy();
        assert!(spools_in(&folder_of(data.path())).is_empty());
    }

    #[test]
    fn what_a_dead_process_left_is_taken_over_once_and_first() {
        let data = tempfile::tempdir().unwrap();
        let mut dead = Spool::open(data.path()).unwrap();
        dead.append(&[line("1"), line("2")].concat()).unwrap();
        let mut living = Spool::open(data.path()).unwrap();
        assert!(living.next().unwrap().is_none(), "a locked file is somebody else's");
        living.append(&line("3")).unwrap();
        // It died while it wrote a third row.
        dead.append(b"{\"id\":\"cut").unwrap();
        drop(dead);
        living.adopt();
        let mut late = Spool::open(data.path()).unwrap();
        assert!(late.next().unwrap().is_none());
        let batch = living.next().unwrap().unwrap();
        assert_eq!(names(&batch), ["1", "2"]);
        living.sent(&batch).unwrap();
        let cut = living.next().unwrap().unwrap();
        assert!(cut.rows.is_empty());
        living.sent(&cut).unwrap();
        assert_eq!(names(&living.next().unwrap().unwrap()), ["3"]);
        assert_eq!(spools_in(&folder_of(data.path())).len(), 1);
    }

    #[test]
    fn how_far_a_file_was_sent_outlives_its_process() {
        let data = tempfile::tempdir().unwrap();
        let mut first = Spool::open(data.path()).unwrap();
        for index in 0..100 {
            first.append(&line(&index.to_string())).unwrap();
        }
        let batch = first.next().unwrap().unwrap();
        assert_eq!(batch.rows.len(), TOGETHER);
        first.sent(&batch).unwrap();
        drop(first);
        assert_eq!(waiting(data.path()).rows, 36);
        let mut second = Spool::open(data.path()).unwrap();
        assert_eq!(second.next().unwrap().unwrap().rows[0].resource, "64");
    }

    #[test]
    fn what_waits_is_bounded_and_its_owners_alone() {
        let data = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(data.path()).unwrap();
        let chunk = vec![b'\n'; 1024 * 1024];
        let mut taken = 0;
        while spool.has_room_for(chunk.len()) {
            spool.append(&chunk).unwrap();
            taken += 1;
        }
        assert_eq!(taken, 63);
        assert!(spools_in(&folder_of(data.path())).len() > 10);
        #[cfg(unix)]
        for path in spools_in(&folder_of(data.path())) {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
