//! Drift: the newest ratings of an agent against those before them, as a difference in standard errors (Welch).

use rusqlite::params;

use super::agents;
use super::few_shot::rounded;
use crate::api::Operation as _;
use crate::api::agents::List;
use crate::api::arguments::quote;
use crate::api::learning::{Drift, DriftReport, MetricDrift};
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::Cx;

/// How many ratings are looked at.
const MAX_RATINGS: usize = 1_000;
/// How many of them are recent at most; never more than half.
const MAX_RECENT: usize = 30;
/// How many ratings each side needs before anything can be said.
const MIN_RATINGS: usize = 10;
/// The difference, in standard errors, from which it is not chance: about one in 300 by chance, where there are few ratings.
const SIGNIFICANT: f64 = 3.0;
/// The least standard deviation of a rating, as a part of its scale: people rate no finer than that.
const RESOLUTION: f64 = 0.05;

pub(super) async fn report(cx: Cx, request: Drift) -> Result<DriftReport> {
    let (tenant, now) = (cx.tenant(), cx.now());
    cx.read(move |connection| {
        let id = request.id.as_str();
        if !agents::is_known(connection, tenant.as_str(), id)? {
            return Err(Error::new(Kind::NotFound, "FM-LMS-NOT-FOUND", format!("there is no agent {}", quote(id)))
                .hint(format!("{} shows the agents there are.", List::SPEC.name)));
        }
        let mut statement = connection.prepare_cached(
            "SELECT accuracy, user_satisfaction FROM feedback WHERE tenant_id = ?1 AND agent_id = ?2 ORDER BY id DESC LIMIT ?3",
        )?;
        let most = i64::try_from(MAX_RATINGS).unwrap_or_default();
        let rows = statement.query_map(params![tenant.as_str(), id, most], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let ratings: Vec<(Option<f64>, Option<f64>)> = rows.collect::<rusqlite::Result<_>>()?;
        let metrics = vec![
            compare("accuracy", 1.0, &ratings.iter().filter_map(|(accuracy, _)| *accuracy).collect::<Vec<_>>()),
            compare("userSatisfaction", 5.0, &ratings.iter().filter_map(|(_, satisfaction)| *satisfaction).collect::<Vec<_>>()),
        ];
        Ok(DriftReport { agent_id: request.id, drifted: drifted(&metrics), metrics, measured_at: Some(now) })
    })
    .await
}

/// Whether a score is significantly worse; unknown while no score has enough ratings.
fn drifted(metrics: &[MetricDrift]) -> Option<bool> {
    metrics.iter().filter_map(|metric| metric.drift).map(|drift| drift <= -SIGNIFICANT).reduce(|one, other| one || other)
}

/// Compares the newest ratings with those before them; the newest come first.
fn compare(metric: &str, scale: f64, newest_first: &[f64]) -> MetricDrift {
    let (recent, baseline) = newest_first.split_at((newest_first.len() / 2).min(MAX_RECENT));
    let (recent, baseline) = (Sample::of(recent, scale), Sample::of(baseline, scale));
    let enough = recent.count.min(baseline.count) >= MIN_RATINGS;
    let drift = enough.then(|| (recent.mean - baseline.mean) / (recent.error + baseline.error).sqrt());
    MetricDrift {
        metric: metric.to_owned(),
        baseline: (baseline.count > 0).then(|| rounded(baseline.mean)),
        recent: (recent.count > 0).then(|| rounded(recent.mean)),
        drift: drift.map(rounded),
        baseline_samples: baseline.count as u64,
        recent_samples: recent.count as u64,
    }
}

/// Some ratings.
struct Sample {
    count: usize,
    mean: f64,
    /// The square of the mean's standard error.
    error: f64,
}

impl Sample {
    #[expect(clippy::cast_precision_loss, reason = "there are at most a thousand ratings")]
    fn of(ratings: &[f64], scale: f64) -> Self {
        let count = ratings.len() as f64;
        let mean = ratings.iter().sum::<f64>() / count.max(1.0);
        let variance = ratings.iter().map(|rating| (rating - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        Self { count: ratings.len(), mean, error: variance.max((RESOLUTION * scale).powi(2)) / count.max(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alternating(low: f64, high: f64, count: usize) -> Vec<f64> {
        (0..count).map(|n| if n % 2 == 0 { low } else { high }).collect()
    }

    #[test]
    fn a_fall_is_measured_in_standard_errors() {
        let metric = compare("accuracy", 1.0, &[alternating(0.6, 0.8, 30), alternating(0.8, 1.0, 40)].concat());
        assert_eq!((metric.recent, metric.baseline, metric.recent_samples, metric.baseline_samples), (Some(0.7), Some(0.9), 30, 40));
        // Both sides have a variance of about 0.01: -0.2 / sqrt(0.01034 / 30 + 0.01026 / 40).
        assert!((metric.drift.unwrap() + 8.152).abs() < 0.01, "{metric:?}");
        assert_eq!(drifted(&[metric]), Some(true));
    }

    #[test]
    fn a_rise_and_noise_are_no_drift() {
        for ratings in [
            [alternating(0.9, 1.0, 30), alternating(0.4, 0.5, 30)].concat(),
            alternating(0.5, 1.0, 100),
            vec![1.0; 60],
            [vec![0.98; 20], vec![1.0; 20]].concat(),
        ] {
            assert_eq!(drifted(&[compare("accuracy", 1.0, &ratings)]), Some(false));
        }
    }

    #[test]
    fn too_few_ratings_say_nothing() {
        for count in [0, 1, 19] {
            let metric = compare("accuracy", 1.0, &vec![0.5; count]);
            assert_eq!((metric.drift, drifted(&[metric])), (None, None), "{count}");
        }
        assert_eq!(drifted(&[compare("accuracy", 1.0, &[0.5; 20])]), Some(false));
    }
}
