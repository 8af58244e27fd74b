//! The worker of retraining jobs: runs what is due, one job of a tenant at a time.
//!
//! A job's state is in the database. One that a stop or a crash interrupted is run again from its beginning, which gives
//! the same result, and is given up when it was begun too often.

use std::collections::BTreeMap;

use rusqlite::params;
use serde_json::{Map, Value, json};

use super::examples::Example;
use super::few_shot::{self, Trained, rounded};
use super::{datasets, jobs};
use crate::api::learning::{JobFailure, RetrainingJob};
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::platform::database::{Scope, Tx};
use crate::platform::keys;
use crate::platform::queue::{Job, Queue, Rows};

/// How often a job is begun.
const MAX_ATTEMPTS: i64 = 3;
/// Retraining jobs whose time has come.
#[derive(Clone)]
pub(super) struct Retraining;

impl Queue for Retraining {
    const AT_ONCE: usize = 2;
    const OF_ONE_TENANT: usize = 1;

    fn rows(&self) -> Rows {
        Rows {
            what: "retraining jobs",
            table: "retraining_jobs",
            id: "id",
            due: "scheduled_at",
            waiting: "status IN ('pending', 'running')".into(),
        }
    }

    async fn woken(&mut self, platform: &Platform) {
        platform.retraining_notify().notified().await;
    }

    async fn work(&self, platform: &Platform, job: Job) -> Result<()> {
        train(platform, job).await
    }
}

async fn train(platform: &Platform, due: Job) -> Result<()> {
    let Some(job) = write(platform, &due, begin).await? else { return Ok(()) };
    let (tenant, dataset) = (due.tenant.clone(), job.dataset_id.clone().map(|id| id.0).unwrap_or_default());
    let (agent, prompt) = (job.agent_id.clone().map(|id| id.0).unwrap_or_default(), job.prompt_id.clone().map(|id| id.0));
    let (examples, digest) = platform
        .database()
        .read(move |connection| {
            let digest = datasets::find(connection, &tenant, &dataset)?.and_then(|dataset| dataset.digest);
            Ok((datasets::examples(connection, &tenant, &dataset, &agent, prompt.as_deref())?, digest))
        })
        .await?;
    let mut by_prompt: BTreeMap<String, Vec<Example>> = BTreeMap::new();
    for example in examples.into_iter().filter(few_shot::is_usable) {
        by_prompt.entry(example.prompt_id.clone()).or_default().push(example);
    }
    let (mut outcome, all) = (Outcome::default(), by_prompt.len());
    for (done, (prompt, examples)) in by_prompt.into_iter().enumerate() {
        if platform.stopping().is_cancelled() {
            return Ok(());
        }
        let trained = platform.compute().run(&due.tenant, move || few_shot::train(&examples.iter().collect::<Vec<_>>()));
        outcome.add(&prompt, trained.await?);
        write(platform, &due, move |tx, due| progress(tx, due, done + 1, all)).await?;
    }
    write(platform, &due, move |tx, due| complete(tx, due, &job, digest.as_deref(), outcome)).await
}

async fn write<T: Send + 'static>(
    platform: &Platform,
    due: &Job,
    work: impl FnOnce(&mut Tx<'_>, &str) -> Result<T> + Send + 'static,
) -> Result<T> {
    let id = due.id.clone();
    let scope = Scope { correlation_id: Some(id.clone()), ..Scope::system(due.tenant.clone().into()) };
    platform.database().write(scope, move |tx| work(tx, &id)).await
}

/// Begins a job, or gives it up.
fn begin(tx: &mut Tx<'_>, id: &str) -> Result<Option<RetrainingJob>> {
    let attempts: i64 = tx
        .prepare_cached(
            "UPDATE retraining_jobs SET status = 'running', progress = 0, attempts = attempts + 1, started_at = coalesce(started_at, ?3) \
             WHERE tenant_id = ?1 AND id = ?2 RETURNING attempts",
        )?
        .query_row(params![tx.tenant(), id, tx.now().millis()], |row| row.get(0))?;
    let job = jobs::load(tx, tx.tenant(), id)?;
    if attempts <= MAX_ATTEMPTS {
        return Ok(Some(job));
    }
    let failure = JobFailure {
        code: "FM-LMS-INTERRUPTED".to_owned(),
        message: format!("the job was begun {MAX_ATTEMPTS} times and never came to its end"),
    };
    tx.prepare_cached("UPDATE retraining_jobs SET status = 'failed', completed_at = ?3, error = ?4 WHERE tenant_id = ?1 AND id = ?2")?
        .execute(params![tx.tenant(), id, tx.now().millis(), serde_json::to_string(&failure).map_err(Error::internal)?])?;
    tx.emit("retraining.failed", id, json!({ "jobId": id, "agentId": job.agent_id, "datasetId": job.dataset_id, "error": failure }))?;
    tx.audit("retraining.failed", "retraining_job", id, None)?;
    Ok(None)
}

#[expect(clippy::cast_precision_loss, reason = "a job has a few prompts")]
fn progress(tx: &mut Tx<'_>, id: &str, done: usize, all: usize) -> Result<()> {
    let percent = done as f64 * 100.0 / all as f64;
    tx.prepare_cached("UPDATE retraining_jobs SET progress = ?3 WHERE tenant_id = ?1 AND id = ?2")?.execute(params![
        tx.tenant(),
        id,
        rounded(percent)
    ])?;
    Ok(())
}

fn complete(tx: &mut Tx<'_>, id: &str, job: &RetrainingJob, dataset_digest: Option<&str>, outcome: Outcome) -> Result<()> {
    let metrics = Value::Object(outcome.metrics());
    let sets = Value::Array(outcome.sets);
    let artifact = json!({
        "kind": "few-shot", "datasetDigest": dataset_digest, "digest": keys::sha256(sets.to_string().as_bytes()), "sets": sets,
    });
    tx.prepare_cached(
        "UPDATE retraining_jobs SET status = 'completed', progress = 100, completed_at = ?3, metrics = ?4, artifact = ?5 \
         WHERE tenant_id = ?1 AND id = ?2",
    )?
    .execute(params![tx.tenant(), id, tx.now().millis(), metrics.to_string(), artifact.to_string()])?;
    let data =
        json!({ "jobId": id, "agentId": job.agent_id, "datasetId": job.dataset_id, "digest": artifact["digest"], "metrics": metrics });
    tx.emit("retraining.completed", id, data)?;
    tx.audit("retraining.completed", "retraining_job", id, None)?;
    Ok(())
}

/// What training gave, prompt by prompt.
#[derive(Default)]
struct Outcome {
    sets: Vec<Value>,
    usable: usize,
    before: Vec<f64>,
    after: Vec<f64>,
}

impl Outcome {
    fn add(&mut self, prompt: &str, trained: Trained) {
        self.usable += trained.usable;
        self.before.extend(trained.before);
        self.after.extend(trained.after);
        self.sets.push(json!({ "promptId": prompt, "examples": trained.chosen }));
    }

    /// How much was learned from, and how alike the answers before and after are to those wanted, by their words.
    fn metrics(&self) -> Map<String, Value> {
        let mut metrics =
            Map::from_iter([("usableExamples".to_owned(), json!(self.usable)), ("heldOutExamples".to_owned(), json!(self.after.len()))]);
        for (name, scores) in [("similarityBefore", &self.before), ("similarityAfter", &self.after)] {
            if let Some(mean) = mean(scores) {
                metrics.insert(name.to_owned(), json!(rounded(mean)));
            }
        }
        metrics
    }
}

#[expect(clippy::cast_precision_loss, reason = "a dataset has a few thousand records")]
fn mean(scores: &[f64]) -> Option<f64> {
    (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
}
