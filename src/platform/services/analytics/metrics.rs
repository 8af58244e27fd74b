//! The metrics: what each measures, in which unit, by which dimensions, and how its values may be put together.

use crate::api::analytics::{Aggregation, Metric};
use crate::api::arguments::quote;
use crate::api::near::near;
use crate::error::{Error, Kind, Result};

/// What is known of a metric.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Definition {
    /// Its name.
    pub(super) name: &'static str,
    /// count, seconds or percent.
    pub(super) unit: &'static str,
    /// What its values can be grouped by besides time.
    pub(super) dimensions: &'static [&'static str],
    /// How values are put together; the first is the default.
    pub(super) aggregations: &'static [Aggregation],
    /// Whether people are counted, each once, rather than values.
    pub(super) distinct: bool,
}

/// The metric that counts people.
pub(super) const ACTIVE_USERS: &str = "tenant.active_users";

/// For a number of things, an average says nothing: each counts one.
const COUNTED: &[Aggregation] = &[Aggregation::Sum, Aggregation::Count];
/// For durations.
const MEASURED: &[Aggregation] = &[
    Aggregation::Average,
    Aggregation::Sum,
    Aggregation::Minimum,
    Aggregation::Maximum,
    Aggregation::Count,
    Aggregation::P50,
    Aggregation::P95,
    Aggregation::P99,
];
/// For shares: each value is 0 or 100.
const SHARED: &[Aggregation] = &[Aggregation::Average, Aggregation::Count];

/// Every metric of the contract.
pub(super) const DEFINITIONS: &[Definition] = &[
    Definition { name: "process.execution_count", unit: "count", dimensions: &["process_id"], aggregations: COUNTED, distinct: false },
    Definition {
        name: "process.avg_duration",
        unit: "seconds",
        dimensions: &["process_id", "status"],
        aggregations: MEASURED,
        distinct: false,
    },
    Definition {
        name: "task.avg_completion_time",
        unit: "seconds",
        dimensions: &["process_id", "node_id", "decision"],
        aggregations: MEASURED,
        distinct: false,
    },
    Definition { name: "agent.response_latency", unit: "seconds", dimensions: &["agent_id"], aggregations: MEASURED, distinct: false },
    Definition {
        name: "integration.sync_success_rate",
        unit: "percent",
        dimensions: &["integration_id"],
        aggregations: SHARED,
        distinct: false,
    },
    Definition { name: ACTIVE_USERS, unit: "count", dimensions: &[], aggregations: &[Aggregation::Count], distinct: true },
];

/// The times that values can be grouped by.
pub(super) const TIMES: [&str; 3] = ["hour", "day", "month"];

impl Definition {
    /// The metric of a name.
    pub(super) fn of(metric: &Metric) -> Result<&'static Self> {
        let name = metric.as_str();
        DEFINITIONS.iter().find(|known| known.name == name).ok_or_else(|| {
            let detail = told(name, DEFINITIONS.iter().map(|known| known.name));
            Error::new(Kind::Invalid, "FM-AS-METRIC", format!("there is no metric {}", quote(name))).field("/metric", "enum", detail)
        })
    }

    /// The dimension of a name.
    pub(super) fn dimension(&self, name: &str) -> Result<&'static str> {
        self.dimensions.iter().copied().find(|known| *known == name).ok_or_else(|| {
            let detail = told(name, TIMES.into_iter().chain(self.dimensions.iter().copied()));
            Error::new(Kind::Invalid, "FM-AS-DIMENSION", format!("{} cannot be grouped by {}", self.name, quote(name)))
                .field("/groupBy", "enum", detail)
        })
    }

    /// The aggregation that is asked for, or the default.
    pub(super) fn aggregation(&self, wanted: Option<&Aggregation>) -> Result<Aggregation> {
        match wanted {
            None => Ok(self.aggregations.first().cloned().unwrap_or(Aggregation::Count)),
            Some(wanted) if self.aggregations.contains(wanted) => Ok(wanted.clone()),
            Some(other) => {
                let detail = told(other.as_str(), self.aggregations.iter().map(Aggregation::as_str));
                let message = format!("{} says nothing of {}", other.as_str(), self.name);
                Err(Error::new(Kind::Invalid, "FM-AS-AGGREGATION", message).field("/aggregation", "enum", detail))
            }
        }
    }
}

/// What a wrong name may have meant, and what there is.
fn told<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let meant = near(name, known.clone());
    let meant = if meant.is_empty() { String::new() } else { format!("; did you mean {}?", meant.join(" or ")) };
    format!("is {}{meant}; allowed are {}", quote(name), known.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_of_the_contract_is_defined() {
        let defined: Vec<&str> = DEFINITIONS.iter().map(|metric| metric.name).collect();
        assert_eq!(defined, Metric::ALL);
    }

    #[test]
    fn a_wrong_name_is_told_what_it_may_have_meant() {
        let wrong = Definition::of(&"process.executioncounts".into()).unwrap_err();
        assert!(wrong.fields()[0].detail.contains("did you mean process.execution_count?"), "{wrong}");
        let wrong = DEFINITIONS[0].dimension("processId_").unwrap_err();
        assert!(wrong.fields()[0].detail.ends_with("allowed are hour, day, month, process_id"), "{wrong}");
        assert_eq!(DEFINITIONS[0].aggregation(Some(&Aggregation::P95)).unwrap_err().code(), "FM-AS-AGGREGATION");
    }
}
