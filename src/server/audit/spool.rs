//! Rows that wait on disk for the platform's audit service: files of one process each, read in the order they were written.
//!
//! A file belongs to whoever holds its lock. When a process dies its lock falls, and the next one that keeps a record
//! takes the file over. Its first line says how far it was sent, so that little is sent twice after a crash. Rows that
//! were moved out of the others' way are in files of the same kind, one line of them for each tenant; taken over they
//! come first, since whatever waits in the common line of the same process is younger.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::entry::Row;
use super::segment::{Batch, Segment, read_header};
use crate::error::{Error, Kind, Result};
use crate::io::private_files;

/// The most that waits, in bytes; what comes then is counted as lost.
const LIMIT: u64 = 64 * 1024 * 1024;
/// When a file is followed by the next one, in bytes.
const SEGMENT: u64 = 4 * 1024 * 1024;
/// How the names of files begin: of the common line, and of rows that were moved out of its way.
const COMMON: &str = "spool-";
const PARKED: &str = "parked-";

/// See the module.
pub(super) struct Spool {
    folder: PathBuf,
    prefix: &'static str,
    segments: VecDeque<Segment>,
}

/// What waits in a data folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Rows that were not sent yet.
    pub rows: u64,
    /// Those of them that were moved out of the way of other tenants' rows.
    pub parked: u64,
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
    let mut waiting = Waiting { undelivered: lines(&undelivered_in(data_dir), 0).unwrap_or_default(), ..Waiting::default() };
    for path in spools_in(&folder) {
        let sent = File::open(&path).ok().and_then(|mut file| read_header(&mut file));
        let rows = sent.and_then(|sent| lines(&path, sent)).unwrap_or_default();
        waiting.rows += rows;
        waiting.parked += if is_parked(&path) { rows } else { 0 };
    }
    waiting
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
        private_files::folder(&folder).map_err(|error| unusable(&folder, &error))?;
        let mut spool = Self { folder, prefix: COMMON, segments: VecDeque::new() };
        spool.adopt();
        Ok(spool)
    }

    /// A line of its own beside the common one, empty at first; its folder is there.
    pub(super) fn apart(data_dir: &Path) -> Self {
        Self { folder: folder_of(data_dir), prefix: PARKED, segments: VecDeque::new() }
    }

    /// Takes over the files whose process is gone; theirs come first, and what was moved out of the way before all.
    pub(super) fn adopt(&mut self) {
        let mut found: Vec<Segment> = spools_in(&self.folder)
            .into_iter()
            .filter(|path| self.segments.iter().all(|segment| segment.path != *path))
            .filter_map(Segment::adopt)
            .collect();
        found.sort_by_cached_key(|segment| (!is_parked(&segment.path), segment.path.clone()));
        for segment in found.into_iter().rev() {
            self.segments.push_front(segment);
        }
    }

    /// Whether so many bytes more may wait.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.size() + bytes as u64 <= LIMIT
    }

    /// How much its files take, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.segments.iter().map(Segment::size).sum()
    }

    /// How much waits in it, in bytes.
    pub(super) fn left(&self) -> u64 {
        self.segments.iter().map(Segment::left).sum()
    }

    /// The oldest row that is wanted, of those behind the last batch.
    pub(super) fn find(&self, behind: &Batch, wanted: impl Fn(&Row) -> bool) -> Result<Option<Row>> {
        let mut passed = behind.bytes_of(behind.rows.len());
        for segment in &self.segments {
            let found = segment.find(std::mem::take(&mut passed), &wanted).map_err(|error| unusable(&segment.path, &error))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Adds lines that each end in a newline.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<()> {
        if self.segments.back().is_none_or(|last| !last.is_own() || last.size() >= SEGMENT) {
            let segment = Segment::create(&self.folder, self.prefix).map_err(|error| unusable(&self.folder, &error))?;
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
            if !first.is_sent() {
                return first.read().map(Some).map_err(|error| unusable(&first.path, &error));
            }
            if first.is_own() && self.segments.len() == 1 {
                return Ok(None);
            }
            if let Some(drained) = self.segments.pop_front() {
                drained.remove();
            }
        }
        Ok(None)
    }

    /// The first rows of the last batch need not wait any longer.
    pub(super) fn sent(&mut self, batch: &Batch, rows: usize) -> Result<()> {
        match self.segments.front_mut() {
            Some(first) => first.advance(batch.bytes_of(rows)).map_err(|error| unusable(&first.path, &error)),
            None => Ok(()),
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.segments.iter().all(Segment::is_sent)
    }

    /// Removes the files where nothing waits.
    pub(super) fn tidy(&mut self) {
        if self.is_empty() {
            for segment in self.segments.drain(..) {
                segment.remove();
            }
        }
    }
}

fn spools_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            (name.starts_with(COMMON) || name.starts_with(PARKED)) && path.extension().is_some_and(|extension| extension == "jsonl")
        })
        .collect()
}

fn is_parked(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PARKED))
}

fn unusable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Internal, "FM-MCP-AUDIT-SPOOL", format!("{} cannot be used: {error}", path.display()))
        .hint("Check that the data folder belongs to you, is writable and has room.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::audit::entry::{Action, Transport};
    use crate::server::audit::segment::TOGETHER;

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
        spool.sent(&batch, batch.rows.len()).unwrap();
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
        living.sent(&batch, batch.rows.len()).unwrap();
        let cut = living.next().unwrap().unwrap();
        assert!(cut.rows.is_empty());
        living.sent(&cut, cut.rows.len()).unwrap();
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
        first.sent(&batch, batch.rows.len()).unwrap();
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

    #[test]
    fn a_part_of_what_was_read_may_be_sent_and_what_was_apart_comes_first() {
        let data = tempfile::tempdir().unwrap();
        let mut common = Spool::open(data.path()).unwrap();
        common.append(&line("common")).unwrap();
        let mut apart = Spool::apart(data.path());
        assert!(apart.next().unwrap().is_none());
        apart.append(&[line("1"), b"no row\n".to_vec(), line("2"), line("3")].concat()).unwrap();
        let batch = apart.next().unwrap().unwrap();
        apart.sent(&batch, 0).unwrap();
        assert_eq!(names(&apart.next().unwrap().unwrap()), ["1", "2", "3"]);
        apart.sent(&batch, 2).unwrap();
        assert_eq!(names(&apart.next().unwrap().unwrap()), ["3"]);
        assert_eq!(waiting(data.path()), Waiting { rows: 2, parked: 1, undelivered: 0 });
        drop((common, apart));
        let mut next = Spool::open(data.path()).unwrap();
        for name in ["3", "common"] {
            let batch = next.next().unwrap().unwrap();
            assert_eq!(names(&batch), [name]);
            next.sent(&batch, 1).unwrap();
        }
        assert!(next.next().unwrap().is_none());
    }
}
