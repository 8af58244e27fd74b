//! What the embedded platform's answers cost, with little and with much in its file; over HTTP on loopback.
//!
//! `cargo bench --bench embedded` prints medians. The aims: a read by id within 1 ms beside 100,000 records and 10,000
//! executions, a search over 100,000 records within 20 ms, a page of a list that costs the same at 1,000 and at 100,000.
//! It prints how many writes and how many entries of the audit log it takes a second, too.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::path::Path;
use std::time::{Duration, Instant};

use flowmaster_mcp::platform::{Options, Platform, Running};
use futures_util::future::try_join_all;
use reqwest::{Client, Method};
use rusqlite::Connection;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const FEW: usize = 1_000;
const MANY: usize = 100_000;
const EXECUTIONS: usize = 10_000;
const ROUNDS: usize = 200;
/// How many writes are in flight at once.
const AT_ONCE: usize = 16;
const WRITES: usize = 2_000;
const ENTRIES: usize = 4_096;
const BATCH: usize = 256;

/// A platform and who asks it.
struct Bench {
    running: Running,
    http: Client,
}

impl Bench {
    async fn open(folder: &Path) -> Result<Self, Failure> {
        let running = Platform::start(Options::new(folder)).await?;
        Ok(Self { running, http: Client::builder().no_proxy().build()? })
    }

    async fn send(&self, method: Method, path: &str, key: Option<String>, body: Option<Value>) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.running.url());
        let mut request = self.http.request(method, url).bearer_auth(self.running.owner_token().expose_secret());
        if let Some(body) = body {
            request = request.json(&body);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        Ok(serde_json::from_slice(&request.send().await?.error_for_status()?.bytes().await?)?)
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value, Failure> {
        self.send(Method::POST, path, None, Some(body)).await
    }

    /// The median of a call's time.
    async fn median(&self, method: Method, path: &str, body: Option<Value>) -> Result<Duration, Failure> {
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            self.send(method.clone(), path, None, body.clone()).await?;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        Ok(times[ROUNDS / 2])
    }

    /// How many calls of so many it takes a second, some at once.
    async fn rate(&self, calls: usize, path: &str, call: impl Fn(usize) -> (Option<String>, Value)) -> Result<f64, Failure> {
        let begun = Instant::now();
        let lines = (0..AT_ONCE).map(|line| {
            let call = &call;
            async move {
                for index in (line..calls).step_by(AT_ONCE) {
                    let (key, body) = call(index);
                    self.send(Method::POST, path, key, Some(body)).await?;
                }
                Ok::<_, Failure>(())
            }
        });
        try_join_all(lines).await?;
        Ok(f64::from(u32::try_from(calls)?) / begun.elapsed().as_secs_f64())
    }
}

/// Copies the one record and the one execution that there are, up to these counts.
fn fill(folder: &Path, present: usize, records: usize, executions: usize) -> Result<(), Failure> {
    let connection = Connection::open(folder.join("platform.db"))?;
    connection.execute_batch(&format!(
        "PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF; BEGIN;
         CREATE TEMP TABLE numbers AS
         WITH RECURSIVE counter (n) AS (SELECT {present} + 1 UNION ALL SELECT n + 1 FROM counter WHERE n < {records}) SELECT n FROM counter;
         INSERT INTO entity_words (rowid, scope, words) SELECT 1000000 + n, 't' || hex(tenant_id) || ' k' || hex(type),
             'everywhere hundredth' || (n % 100) || ' number' || n
         FROM numbers CROSS JOIN (SELECT tenant_id, type FROM entities LIMIT 1);"
    ))?;
    for (table, own, most) in [
        ("entities", "number = 1000000 + n; id = 'entity-' || n; data = json_object('name', 'number' || n, 'amount', n % 1000)", records),
        ("executions", "id = id || '~' || n", executions),
    ] {
        let mut info = connection.prepare(&format!("SELECT name FROM pragma_table_info('{table}')"))?;
        let columns = info.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
        let own: Vec<(&str, &str)> = own.split("; ").filter_map(|change| change.split_once(" = ")).collect();
        let own = |column: &String| own.iter().find(|(name, _)| name == column).map_or(column.clone(), |(_, value)| (*value).to_owned());
        let values: Vec<String> = columns.iter().map(own).collect();
        connection.execute_batch(&format!(
            "INSERT INTO {table} ({}) SELECT {} FROM numbers CROSS JOIN (SELECT * FROM {table} LIMIT 1) WHERE n <= {most};",
            columns.join(", "),
            values.join(", ")
        ))?;
    }
    connection.execute_batch("COMMIT;")?;
    Ok(())
}

/// Times every kind of question.
async fn ask(bench: &Bench, execution: &str) -> Result<(), Failure> {
    for (what, path) in [
        ("a record by its id", "/entities/customer/entity-700".to_owned()),
        ("an execution by its id", format!("/executions/{execution}")),
        ("a page of records", "/entities/customer?limit=50".to_owned()),
        ("a page of executions", "/executions?limit=50".to_owned()),
        ("a page of the audit log", "/audit-logs?limit=50".to_owned()),
        ("records filtered by a field", "/entities/customer?filter.name=number700".to_owned()),
        ("records sorted by a field", "/entities/customer?sort=-amount&limit=50".to_owned()),
    ] {
        println!("  {what}: {:?}", bench.median(Method::GET, &path, None).await?);
    }
    for (what, words) in [("one record has", "number700"), ("one in a hundred has", "hundredth7"), ("all have", "everywhere")] {
        let query = json!({ "query": words });
        let found = bench.post("/entities/search", query.clone()).await?;
        if found["items"].as_array().is_none_or(Vec::is_empty) {
            return Err(format!("nothing has the word {words}").into());
        }
        let found = bench.median(Method::POST, "/entities/search", Some(query)).await?;
        println!("  a search for a word that {what}: {found:?}");
    }
    Ok(())
}

fn entry(index: usize) -> Value {
    json!({ "actor": "ada", "action": "tool.used", "resourceType": "tool", "resourceId": format!("tool-{index}"),
        "changes": { "after": { "outcome": "ok", "durationMs": 3, "arguments": "0".repeat(64), "answer": "0".repeat(64) } } })
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let home = tempfile::tempdir()?;
    let folder = home.path().join("data");
    let bench = Bench::open(&folder).await?;
    let schema = json!({ "type": "object", "properties": { "name": { "type": "string" }, "amount": { "type": "number" } } });
    bench.post("/entities", json!({ "entityType": "customer", "schema": schema })).await?;
    bench.post("/entities/customer", json!({ "data": { "name": "Ada", "amount": 5 } })).await?;
    let nodes = json!([{ "id": "ask", "type": "human_task", "config": { "title": "Ask", "assignee": "admin" } }]);
    let process = bench.post("/processes/designs", json!({ "name": "Ask", "nodes": nodes, "edges": [] })).await?;
    let process = process["id"].as_str().ok_or("a process without an id")?.to_owned();
    bench.post(&format!("/processes/{process}/publish"), json!({})).await?;
    let execution = bench.post("/executions", json!({ "processId": process })).await?;
    let execution = execution["executionId"].as_str().ok_or("an execution without an id")?.to_owned();

    let inserts = bench.rate(WRITES, "/entities/customer", |index| (None, json!({ "data": { "name": format!("Bo {index}") } }))).await?;
    println!("{inserts:.0} records inserted a second, {AT_ONCE} at once");
    let starts = bench.rate(WRITES / 4, "/executions", |_| (None, json!({ "processId": process }))).await?;
    println!("{starts:.0} executions started a second, {AT_ONCE} at once");
    let single = bench.rate(ENTRIES / 4, "/audit-logs", |index| (Some(format!("call-{index}")), entry(index))).await?;
    let batch = |index: usize| {
        let entries = (index * BATCH..(index + 1) * BATCH).map(|index| json!({ "id": format!("batch-{index}"), "entry": entry(index) }));
        (None, json!({ "entries": entries.collect::<Vec<_>>() }))
    };
    let together = bench.rate(ENTRIES / BATCH, "/audit-logs/batch", batch).await? * f64::from(u32::try_from(BATCH)?);
    println!("{single:.0} audit entries a second one by one, {together:.0} in batches of {BATCH}: {:.1} times as many", together / single);
    bench.running.shutdown().await;

    let mut present = 0;
    for (records, executions) in [(FEW, FEW), (MANY, EXECUTIONS)] {
        fill(&folder, present, records, executions)?;
        present = records;
        let bench = Bench::open(&folder).await?;
        println!("beside {records} records and {executions} executions (median of {ROUNDS}):");
        ask(&bench, &execution).await?;
        bench.running.shutdown().await;
    }
    Ok(())
}
