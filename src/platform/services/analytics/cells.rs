//! A cell: many values as their number, total, bounds and distribution, which can be merged with others.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension as _, params};

use super::periods::Level;
use crate::api::analytics::Aggregation;
use crate::error::Result;
use crate::platform::database::Tx;
use crate::platform::engine::runtime::run::{document, parse};

/// The ranges of the distribution grow by this factor, so a percentile is right to one percent.
const GROWTH: f64 = 1.02;
/// Values up to a millisecond share a range.
const LEAST: f64 = 0.001;
/// Values beyond some thirty years share one too, so a cell has at most 1,396 ranges.
const MOST: f64 = 1e9;
/// Most values of a dimension that are told apart in a month; the others share a cell.
const MAX_VALUES: i64 = 1_000;
/// The value that stands for those beyond.
const OTHERS: &str = "(other)";

/// What the values of a cell have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Series<'a> {
    pub(super) tenant: &'a str,
    pub(super) metric: &'a str,
    /// The dimension; empty for all values.
    pub(super) dimension: &'a str,
    pub(super) value: &'a str,
}

/// Many values of a metric.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Cell {
    pub(super) count: u64,
    pub(super) sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) sketch: BTreeMap<i32, u64>,
}

impl Cell {
    /// A cell of one value.
    pub(super) fn of(value: f64) -> Self {
        Self { count: 1, sum: value, min: value, max: value, sketch: BTreeMap::from([(range_of(value), 1)]) }
    }

    /// Adds the values of another cell.
    pub(super) fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            self.clone_from(other);
            return;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        for (range, count) in &other.sketch {
            *self.sketch.entry(*range).or_default() += count;
        }
    }

    /// One value of all of them; none where nothing was measured, but a number or total of nothing is 0.
    #[expect(clippy::cast_precision_loss, reason = "counts of events fit a float")]
    pub(super) fn value(&self, aggregation: &Aggregation) -> Option<f64> {
        let measured = (self.count > 0).then_some(());
        match aggregation {
            Aggregation::Sum => Some(self.sum),
            Aggregation::Count => Some(self.count as f64),
            Aggregation::Average => measured.map(|()| self.sum / self.count as f64),
            Aggregation::Minimum => measured.map(|()| self.min),
            Aggregation::Maximum => measured.map(|()| self.max),
            Aggregation::P50 => self.percentile(50),
            Aggregation::P95 => self.percentile(95),
            Aggregation::P99 => self.percentile(99),
            Aggregation::Other(_) => None,
        }
    }

    /// The value that so many percent of the values do not exceed.
    fn percentile(&self, percent: u64) -> Option<f64> {
        let rank = (self.count * percent).div_ceil(100).max(1);
        let mut below = 0;
        let range = self.sketch.iter().find(|(_, count)| {
            below += **count;
            below >= rank
        });
        let middle = range.map(|(range, _)| 2.0 * GROWTH.powi(*range) / (GROWTH + 1.0));
        middle.map(|middle| middle.clamp(self.min, self.max))
    }

    /// Adds the cell to the stored ones of its hour, day and month.
    pub(super) fn store(&self, tx: &Tx<'_>, series: &Series<'_>, hour: i64) -> Result<()> {
        let told_apart = series.dimension.is_empty() || is_told_apart(tx, series, hour)?;
        let series = Series { value: if told_apart { series.value } else { OTHERS }, ..*series };
        Level::ALL.into_iter().try_for_each(|level| self.store_at(tx, &series, level, level.begin(hour)))
    }

    /// Adds the cell to the stored one of an hour, a day or a month.
    pub(super) fn store_at(&self, tx: &Tx<'_>, series: &Series<'_>, level: Level, start: i64) -> Result<()> {
        let Series { tenant, metric, dimension, value } = series;
        let stored = tx
            .prepare_cached(
                "SELECT count, sum, min, max, sketch FROM metric_cells \
                 WHERE tenant_id = ?1 AND metric = ?2 AND dimension = ?3 AND level = ?4 AND start = ?5 AND value = ?6",
            )?
            .query_row(params![tenant, metric, dimension, level.name(), start, value], |row| {
                let cell = Self { count: row.get(0)?, sum: row.get(1)?, min: row.get(2)?, max: row.get(3)?, sketch: BTreeMap::new() };
                Ok((cell, row.get::<_, String>(4)?))
            })
            .optional()?;
        let mut cell = match stored {
            Some((cell, sketch)) => Self { sketch: parse(&sketch)?, ..cell },
            None => Self::default(),
        };
        cell.merge(self);
        let sketch = document(&cell.sketch)?;
        tx.prepare_cached(
            "INSERT OR REPLACE INTO metric_cells (tenant_id, metric, dimension, level, start, value, count, sum, min, max, sketch) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            tenant,
            metric,
            dimension,
            level.name(),
            start,
            value,
            cell.count,
            cell.sum,
            cell.min,
            cell.max,
            sketch
        ])?;
        Ok(())
    }
}

/// Whether a value of a dimension has a cell of its own in a month: those that came first do.
fn is_told_apart(tx: &Tx<'_>, series: &Series<'_>, hour: i64) -> Result<bool> {
    let Series { tenant, metric, dimension, value } = series;
    let month = Level::Month.begin(hour);
    let of_month = "FROM metric_cells WHERE tenant_id = ?1 AND metric = ?2 AND dimension = ?3 AND level = 'month' AND start = ?4";
    let known = format!("SELECT 1 {of_month} AND value = ?5");
    if tx.prepare_cached(&known)?.exists(params![tenant, metric, dimension, month, value])? {
        return Ok(true);
    }
    let count = format!("SELECT count(*) {of_month}");
    let values: i64 = tx.prepare_cached(&count)?.query_row(params![tenant, metric, dimension, month], |row| row.get(0))?;
    Ok(values < MAX_VALUES)
}

/// The range of a value on the logarithmic scale.
fn range_of(value: f64) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "the bounds keep it between -349 and 1,047")]
    let range = (value.clamp(LEAST, MOST).ln() / GROWTH.ln()).ceil() as i32;
    range
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_all(values: impl IntoIterator<Item = f64>) -> Cell {
        values.into_iter().fold(Cell::default(), |mut all, value| {
            all.merge(&Cell::of(value));
            all
        })
    }

    #[test]
    fn a_percentile_is_right_to_one_percent() {
        let cell = of_all((1..=1_000).map(f64::from));
        for (aggregation, exact) in [(Aggregation::P50, 500.0), (Aggregation::P95, 950.0), (Aggregation::P99, 990.0)] {
            let found = cell.value(&aggregation).unwrap();
            assert!((found - exact).abs() <= exact * 0.01, "{aggregation}: {found}");
        }
        let exact = |aggregation| cell.value(&aggregation).unwrap().to_string();
        assert_eq!([exact(Aggregation::Average), exact(Aggregation::Minimum), exact(Aggregation::Maximum)], ["500.5", "1", "1000"]);
        assert_eq!([exact(Aggregation::Sum), exact(Aggregation::Count)], ["500500", "1000"]);
    }

    #[test]
    fn merged_cells_answer_as_one() {
        let (mut low, high) = (of_all((1..=50).map(f64::from)), of_all((51..=100).map(f64::from)));
        low.merge(&high);
        assert_eq!(low, of_all((1..=100).map(f64::from)));
        low.merge(&Cell::default());
        assert_eq!(low.count, 100);
    }

    #[test]
    fn nothing_measured_has_no_average_and_a_count_of_zero() {
        let nothing = Cell::default();
        for aggregation in [Aggregation::Average, Aggregation::Minimum, Aggregation::Maximum, Aggregation::P50, Aggregation::P99] {
            assert_eq!(nothing.value(&aggregation), None, "{aggregation}");
        }
        assert_eq!((nothing.value(&Aggregation::Sum), nothing.value(&Aggregation::Count)), (Some(0.0), Some(0.0)));
    }

    #[test]
    fn zero_and_endless_values_stay_within_their_bounds() {
        let cell = of_all([0.0, f64::from(u32::MAX), 1e300]);
        assert_eq!((cell.sketch.len(), cell.value(&Aggregation::P50).map(|value| value <= 1e300)), (2, Some(true)));
        assert_eq!(of_all([0.0]).value(&Aggregation::P95), Some(0.0));
    }
}
