//! Reading a metric: a selection that was checked, and the values of its groups within bounded work.

use std::collections::{BTreeMap, HashSet};

use rusqlite::{Connection, params};

use super::cells::Cell;
use super::metrics::Definition;
use super::periods::{Level, Segment, segments};
use crate::api::Timestamp;
use crate::api::analytics::{Aggregation, Metric, MetricValue, Selection};
use crate::error::{Error, Kind, Result};
use crate::platform::engine::runtime::run::parse;

/// The period where none is given, in seconds.
const DEFAULT_SECONDS: f64 = 7.0 * 24.0 * 3600.0;
/// The longest period, in seconds: ten years.
const MAX_SECONDS: f64 = 3_660.0 * 24.0 * 3600.0;
/// Most rows that one answer is made of.
const MAX_ROWS: usize = 250_000;

/// By what the values are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// One value for the whole.
    Whole,
    /// One for each hour, day or month.
    Time(Level),
    /// One for each value of a dimension.
    Dimension(&'static str),
}

/// A selection that was checked. Its period is whole hours: those that the period asked for touches.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) definition: &'static Definition,
    pub(super) aggregation: Aggregation,
    pub(super) group: Group,
    from: i64,
    to: i64,
}

impl Chosen {
    /// Checks a selection; without a period it is the last seven days.
    pub(super) fn read(selection: &Selection, now: Timestamp) -> Result<Self> {
        let definition = Definition::of(&selection.metric)?;
        let aggregation = definition.aggregation(selection.aggregation.as_ref())?;
        let group = match selection.group_by.as_deref() {
            None => Group::Whole,
            Some(name) => match Level::of(name) {
                Some(level) => Group::Time(level),
                None => Group::Dimension(definition.dimension(name)?),
            },
        };
        let end = selection.end_time.unwrap_or(now);
        let start = selection.start_time.unwrap_or_else(|| end.plus_seconds(-DEFAULT_SECONDS));
        if start >= end {
            return Err(period("/endTime", "range", "must be later than startTime"));
        }
        if end.seconds_since(start) > MAX_SECONDS {
            return Err(period("/startTime", "range", "lies more than ten years before endTime"));
        }
        let (from, to) = (Level::Hour.begin(start.millis()), Level::Hour.ceiling(end.millis()));
        Ok(Self { definition, aggregation, group, from, to })
    }

    /// The same of the period before, of the same length.
    pub(super) fn before(&self) -> Self {
        Self { from: self.from - (self.to - self.from), to: self.from, ..self.clone() }
    }

    /// The begin of the first hour.
    pub(super) fn start(&self) -> Timestamp {
        Timestamp::from_millis(self.from)
    }

    /// The end of the last hour.
    pub(super) fn end(&self) -> Timestamp {
        Timestamp::from_millis(self.to)
    }

    /// The value of the whole period.
    pub(super) fn total(&self, connection: &Connection, tenant: &str) -> Result<Option<f64>> {
        Ok(self.cell(connection, tenant, self.from, self.to)?.value(&self.aggregation))
    }

    /// The groups after one, in order, with the key of each.
    pub(super) fn groups(
        &self,
        connection: &Connection,
        tenant: &str,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<(String, MetricValue)>> {
        match self.group {
            Group::Whole => Ok(vec![(String::new(), self.shown(None, self.total(connection, tenant)?))]),
            Group::Time(level) => self.by_time(connection, tenant, level, after, most),
            Group::Dimension(dimension) => {
                let cells = self.by_value(connection, tenant, dimension, &segments(self.from, self.to))?;
                let later = cells.into_iter().filter(|(value, _)| after.is_none_or(|after| value.as_str() > after));
                let shown = |(value, cell): (String, Cell)| (value.clone(), self.shown(Some(value), cell.value(&self.aggregation)));
                Ok(later.take(most).map(shown).collect())
            }
        }
    }

    /// Hours, days or months in which something was measured. The first and the last may lie in the period by a part.
    fn by_time(
        &self,
        connection: &Connection,
        tenant: &str,
        level: Level,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<(String, MetricValue)>> {
        let after = after.and_then(|after| after.parse().ok()).unwrap_or(level.begin(self.from) - 1);
        let sql = "SELECT start FROM metric_cells WHERE tenant_id = ?1 AND metric = ?5 AND dimension = '' AND level = ?2 AND start > ?3 \
                   AND start < ?4 ORDER BY start LIMIT ?6";
        let most = i64::try_from(most).unwrap_or_default();
        let mut statement = connection.prepare_cached(sql)?;
        let starts = statement.query_map(params![tenant, level.name(), after, self.to, self.definition.name, most], |row| row.get(0))?;
        let mut groups = Vec::new();
        for start in starts {
            let start: i64 = start?;
            let cell = self.cell(connection, tenant, start.max(self.from), level.next(start).min(self.to))?;
            let value = self.shown(Some(Timestamp::from_millis(start).to_string()), cell.value(&self.aggregation));
            groups.push((start.to_string(), value));
        }
        Ok(groups)
    }

    /// Everything from one hour to another in one cell.
    fn cell(&self, connection: &Connection, tenant: &str, from: i64, to: i64) -> Result<Cell> {
        let segments = segments(from, to);
        // The people of one hour, day or month are counted already; those of several may be the same.
        let counted = matches!(segments.as_slice(), [one] if one.level.next(one.from) == one.to);
        if !self.definition.distinct || counted {
            return Ok(self.by_value(connection, tenant, "", &segments)?.into_values().next().unwrap_or_default());
        }
        let people = people(connection, tenant, &segments)?;
        Ok(Cell { count: u64::try_from(people).unwrap_or(u64::MAX), ..Cell::default() })
    }

    /// The cells of a dimension's values over some segments.
    fn by_value(&self, connection: &Connection, tenant: &str, dimension: &str, segments: &[Segment]) -> Result<BTreeMap<String, Cell>> {
        let mut statement = connection.prepare_cached(
            "SELECT value, count, sum, min, max, sketch FROM metric_cells \
             WHERE tenant_id = ?1 AND metric = ?2 AND dimension = ?3 AND level = ?4 AND start >= ?5 AND start < ?6 LIMIT ?7",
        )?;
        let distributed = matches!(self.aggregation, Aggregation::P50 | Aggregation::P95 | Aggregation::P99);
        let mut cells: BTreeMap<String, Cell> = BTreeMap::new();
        let mut left = MAX_ROWS;
        for Segment { level, from, to } in segments {
            let most = i64::try_from(left).unwrap_or_default() + 1;
            let mut rows = statement.query(params![tenant, self.definition.name, dimension, level.name(), from, to, most])?;
            while let Some(row) = rows.next()? {
                left = left.checked_sub(1).ok_or_else(too_much)?;
                let sketch = if distributed { parse(row.get_ref(5)?.as_str().map_err(Error::internal)?)? } else { BTreeMap::new() };
                let cell = Cell { count: row.get(1)?, sum: row.get(2)?, min: row.get(3)?, max: row.get(4)?, sketch };
                cells.entry(row.get(0)?).or_default().merge(&cell);
            }
        }
        Ok(cells)
    }

    fn shown(&self, group: Option<String>, value: Option<f64>) -> MetricValue {
        let unit = if self.aggregation == Aggregation::Count { "count" } else { self.definition.unit };
        MetricValue { metric: Some(Metric::from(self.definition.name)), group, value, unit: Some(unit.to_owned()) }
    }

    /// The unit of the values.
    pub(super) fn unit(&self) -> String {
        self.shown(None, None).unit.unwrap_or_default()
    }
}

/// How many people were active, each counted once.
fn people(connection: &Connection, tenant: &str, segments: &[Segment]) -> Result<usize> {
    let sql = "SELECT user_tag FROM metric_users WHERE tenant_id = ?1 AND level = ?2 AND start >= ?3 AND start < ?4 LIMIT ?5";
    let mut statement = connection.prepare_cached(sql)?;
    let mut people: HashSet<Vec<u8>> = HashSet::new();
    let mut left = MAX_ROWS;
    for Segment { level, from, to } in segments {
        let most = i64::try_from(left).unwrap_or_default() + 1;
        let mut rows = statement.query(params![tenant, level.name(), from, to, most])?;
        while let Some(row) = rows.next()? {
            left = left.checked_sub(1).ok_or_else(too_much)?;
            people.insert(row.get(0)?);
        }
    }
    Ok(people.len())
}

fn period(pointer: &str, code: &'static str, detail: &str) -> Error {
    Error::new(Kind::Invalid, "FM-AS-PERIOD", "the period cannot be measured").field(pointer, code, detail)
}

fn too_much() -> Error {
    Error::new(Kind::Invalid, "FM-AS-TOO-MUCH", format!("the answer would be made of more than {MAX_ROWS} rows"))
        .field("/startTime", "range", "begins too long before endTime for this group")
        .hint("Ask for a shorter period, or one that begins and ends with a month.")
}
