//! How many callers have calls that wait, and what is taken away of those who have none any more.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{KEPT, waiting};
use crate::error::{Error, Kind, Result};

/// How many callers have calls that wait at most.
pub(crate) const CALLERS: usize = 10_000;
/// How often what callers left behind is looked for.
const SWEEP: Duration = Duration::from_mins(1);
/// How many callers' folders are taken away at once.
pub(crate) const SWEPT: usize = 256;

/// How many callers have a folder, as far as this process knows.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// When they were counted.
    pub(crate) swept: Option<Instant>,
    /// How many there were then, and came since.
    pub(crate) callers: usize,
}

impl Room {
    /// Counts one caller more, where there is room. Once a minute at most the folders are counted, and some of those are
    /// taken away in which nothing can wait any more.
    pub(crate) fn make(&mut self, all: &Path) -> Result<()> {
        if self.swept.is_none_or(|swept| swept.elapsed() >= SWEEP) {
            *self = Self { swept: Some(Instant::now()), callers: sweep(all) };
        }
        if self.callers >= CALLERS {
            let what = "the call needs a person's consent, and too many calls wait for theirs already";
            return Err(Error::new(Kind::Refused, "FM-MCP-CONFIRM", what).hint("Nothing was done. Call again in 15 minutes."));
        }
        self.callers += 1;
        Ok(())
    }
}

/// Takes away folders of callers for whom nothing waits any more; gives how many are left.
fn sweep(all: &Path) -> usize {
    let kept = Duration::from_secs_f64(KEPT);
    let (mut callers, mut swept) = (0, 0);
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        // What was put into it last has ended, unless somebody moved the clock; then it is read and stays.
        let is_over = || entry.metadata().and_then(|about| about.modified()).is_ok_and(|last| last.elapsed().is_ok_and(|age| age > kept));
        if swept < SWEPT && is_over() {
            swept += 1;
            let path = entry.path();
            // A folder in which something still waits cannot be removed.
            if waiting(&path).is_ok_and(|waiting| waiting.is_empty()) && fs::remove_dir(&path).is_ok() {
                continue;
            }
        }
        callers += 1;
    }
    callers
}
