//! How many steps SQLite took, as the platform's log tells of each statement.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use serde_json::Value;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The steps of one database.
#[derive(Clone)]
pub struct Steps {
    database: String,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Default)]
struct Counts {
    /// Runs and steps of a prepared statement of a thread.
    statements: HashMap<(String, String), (i64, i64)>,
    total: i64,
    /// The most that one run of a statement took.
    dearest: HashMap<String, i64>,
}

impl Steps {
    /// Counts from now on. A process logs to one listener alone.
    pub fn listen(folder: &Path) -> Self {
        let database = folder.join("data/platform.db").display().to_string();
        let steps = Self { database, counts: Arc::default() };
        let writer = steps.clone();
        let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_thread_ids(true).with_writer(move || writer.clone());
        let statements = Targets::new().with_target("flowmaster_mcp::sql", tracing::Level::TRACE);
        tracing_subscriber::registry().with(lines.with_filter(statements)).init();
        steps
    }

    /// The steps of all statements so far.
    pub fn so_far(&self) -> i64 {
        self.counts.lock().unwrap().total
    }

    /// The statements that took most, with their plans.
    pub fn dearest(&self, connection: &Connection) -> String {
        let mut dearest: Vec<_> = self.counts.lock().unwrap().dearest.clone().into_iter().collect();
        dearest.sort_by_key(|(_, steps)| -steps);
        let shown = dearest.into_iter().take(12).map(|(sql, steps)| {
            let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).ok();
            let lines = plan.iter_mut().flat_map(|plan| {
                let parameters = rusqlite::params_from_iter(std::iter::repeat_n(1, plan.parameter_count()));
                plan.query_map(parameters, |row| row.get::<_, String>(3)).unwrap().collect::<Result<Vec<_>, _>>().unwrap()
            });
            format!("{steps} steps: {sql}\n    {}\n", lines.collect::<Vec<_>>().join("\n    "))
        });
        shown.collect()
    }
}

impl io::Write for Steps {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let told: Value = serde_json::from_slice(line)?;
        if told["database"] == self.database.as_str() {
            let (sql, thread) = (told["sql"].to_string(), told["threadId"].to_string());
            let (runs, steps) = (told["runs"].as_i64().unwrap(), told["steps"].as_i64().unwrap());
            let sql: String = serde_json::from_str(&sql)?;
            let mut counts = self.counts.lock().unwrap();
            let (ran, before) = counts.statements.insert((thread, sql.clone()), (runs, steps)).unwrap_or_default();
            // The counts begin anew where the statement was prepared anew.
            let taken = if runs == ran + 1 { steps - before } else { steps };
            counts.total += taken;
            let most = counts.dearest.entry(sql).or_default();
            *most = taken.max(*most);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
