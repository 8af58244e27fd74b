//! Retraining jobs: scheduled once it is sure that there is something to learn, shown, and listed.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::Map;

use super::{agents, datasets, few_shot, prompt_must_exist};
use crate::api::arguments::quote;
use crate::api::ids::PromptId;
use crate::api::learning::{CreateDataset, GetJob, JobStatus, ListJobs, RetrainingJob, Schedule, Submit};
use crate::api::{Operation as _, Page, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;
use crate::platform::http::context::{Cx, within_bytes};

/// Most prompts that one job learns for.
const MAX_PROMPTS: usize = 10;
/// Most jobs of a tenant that are not done.
const MAX_OPEN: i64 = 100;
/// How far ahead a job may be scheduled, in seconds.
const MAX_AHEAD: f64 = 366.0 * 24.0 * 3600.0;
/// How far back a start counts as at once, in seconds: clocks differ.
const MAX_BEHIND: f64 = 300.0;

pub(super) async fn schedule(cx: Cx, request: Schedule) -> Result<RetrainingJob> {
    let (tenant, now) = (cx.tenant(), cx.now());
    let starts = starts(request.scheduled_at, now)?;
    let request = cx
        .read(move |connection| {
            check(connection, tenant.as_str(), &request)?;
            Ok(request)
        })
        .await?;
    let job = cx.write(move |tx| insert(tx, &request, starts)).await?;
    cx.platform.retraining_notify().notify_one();
    Ok(job)
}

/// The start; at once if it is absent.
fn starts(wanted: Option<Timestamp>, now: Timestamp) -> Result<Timestamp> {
    let fault = |detail: &str| {
        Error::new(Kind::Invalid, "FM-LMS-SCHEDULED-AT", "the job cannot start at that time").field("/scheduledAt", "range", detail)
    };
    match wanted {
        Some(at) if at < now.plus_seconds(-MAX_BEHIND) => Err(fault("lies in the past; leave it out to start at once")),
        Some(at) if at > now.plus_seconds(MAX_AHEAD) => Err(fault("lies more than a year ahead")),
        wanted => Ok(wanted.unwrap_or(now)),
    }
}

/// Refuses a job that could not succeed.
fn check(connection: &Connection, tenant: &str, request: &Schedule) -> Result<()> {
    let dataset = request.dataset_id.as_str();
    if datasets::find(connection, tenant, dataset)?.is_none() {
        return Err(Error::new(Kind::Invalid, "FM-LMS-UNKNOWN-DATASET", format!("there is no dataset {}", quote(dataset)))
            .field("/datasetId", "unknown", "must be the id of a dataset")
            .hint(format!("{} makes one and answers with its id.", CreateDataset::SPEC.name)));
    }
    agents::must_exist(connection, tenant, request.agent_id.as_str())?;
    let prompt = request.prompt_id.as_ref().map(PromptId::as_str);
    if let Some(prompt) = prompt {
        prompt_must_exist(connection, tenant, prompt)?;
    }
    let examples = datasets::examples(connection, tenant, dataset, request.agent_id.as_str(), prompt)?;
    let prompts: HashSet<&str> =
        examples.iter().filter(|example| few_shot::is_usable(example)).map(|example| example.prompt_id.as_str()).collect();
    if prompts.is_empty() {
        let message = format!("nothing in dataset {dataset} can be learned from for this agent and prompt");
        return Err(Error::new(Kind::Invalid, "FM-LMS-NOTHING-TO-LEARN", message).hint(format!(
            "An example needs its input, and an expected or a well-rated output: give {} the executionId, whose variables fill in the prompt.",
            Submit::SPEC.name
        )));
    }
    if prompts.len() > MAX_PROMPTS {
        return Err(Error::new(Kind::Invalid, "FM-LMS-TOO-MANY-PROMPTS", format!("a job learns for at most {MAX_PROMPTS} prompts")).field(
            "/promptId",
            "required",
            format!("is needed: the dataset has examples of {} prompts", prompts.len()),
        ));
    }
    Ok(())
}

fn insert(tx: &mut Tx<'_>, request: &Schedule, starts: Timestamp) -> Result<RetrainingJob> {
    let open: i64 = tx
        .prepare_cached("SELECT count(*) FROM retraining_jobs WHERE tenant_id = ?1 AND status IN ('pending', 'running')")?
        .query_row([tx.tenant()], |row| row.get(0))?;
    if open >= MAX_OPEN {
        return Err(Error::new(Kind::Conflict, "FM-LMS-TOO-MANY-JOBS", format!("{MAX_OPEN} retraining jobs are not done yet"))
            .hint("Wait until some are done."));
    }
    let id = tx.mint("retrain");
    tx.prepare_cached(
        "INSERT INTO retraining_jobs (tenant_id, id, status, agent_id, prompt_id, dataset_id, scheduled_at, created_at, created_by) \
         VALUES (?1, ?2, 'pending', ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        tx.tenant(),
        id,
        request.agent_id.as_str(),
        request.prompt_id.as_ref().map(PromptId::as_str),
        request.dataset_id.as_str(),
        starts.millis(),
        tx.now().millis(),
        tx.scope().actor
    ])?;
    tx.audit("retraining.scheduled", "retraining_job", &id, None)?;
    load(tx, tx.tenant(), &id)
}

pub(super) async fn get(cx: Cx, request: GetJob) -> Result<RetrainingJob> {
    let tenant = cx.tenant();
    cx.read(move |connection| load(connection, tenant.as_str(), request.id.as_str())).await
}

pub(super) async fn list(cx: Cx, request: ListJobs) -> Result<Page<RetrainingJob>> {
    let before = cx.cursor(&request.page)?;
    let (tenant, page) = (cx.tenant(), request.page);
    let (found, page) = cx
        .read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM retraining_jobs WHERE tenant_id = ?1 AND id < coalesce(?2, char(1114111)) ORDER BY id DESC LIMIT ?3"
            ))?;
            let most = i64::try_from(page.size() + 1).unwrap_or_default();
            let rows = statement.query_map(params![tenant.as_str(), before, most], from_row)?;
            within_bytes(rows.map(|row| row?), &page, |(_, bytes)| *bytes)
        })
        .await?;
    let page = cx.page_of(found, &page, |(job, _)| job.job_id.0.clone());
    Ok(Page { items: page.items.into_iter().map(|(job, _)| job).collect(), next_cursor: page.next_cursor })
}

/// A job of the tenant.
pub(super) fn load(connection: &Connection, tenant: &str, id: &str) -> Result<RetrainingJob> {
    let found = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM retraining_jobs WHERE tenant_id = ?1 AND id = ?2"))?
        .query_row(params![tenant, id], from_row)
        .optional()?
        .ok_or_else(|| {
            Error::new(Kind::NotFound, "FM-LMS-NOT-FOUND", format!("there is no retraining job {}", quote(id)))
                .hint(format!("{} shows the jobs there are and their ids.", ListJobs::SPEC.name))
        })?;
    Ok(found?.0)
}

const COLUMNS: &str = "id, status, agent_id, prompt_id, dataset_id, progress, scheduled_at, started_at, completed_at, created_at, \
                       metrics, artifact, error";

/// A row as a job, with the size of its artifact.
fn from_row(row: &Row<'_>) -> rusqlite::Result<Result<(RetrainingJob, usize)>> {
    let time = |column| row.get::<_, Option<i64>>(column).map(|at| at.map(Timestamp::from_millis));
    let (metrics, artifact, error): (String, String, Option<String>) = (row.get(10)?, row.get(11)?, row.get(12)?);
    let job = RetrainingJob {
        job_id: row.get::<_, String>(0)?.into(),
        status: Some(JobStatus::from(row.get_ref(1)?.as_str()?)),
        agent_id: row.get::<_, Option<String>>(2)?.map(Into::into),
        prompt_id: row.get::<_, Option<String>>(3)?.map(Into::into),
        dataset_id: row.get::<_, Option<String>>(4)?.map(Into::into),
        progress: row.get(5)?,
        scheduled_at: time(6)?,
        started_at: time(7)?,
        completed_at: time(8)?,
        created_at: time(9)?,
        metrics: Map::new(),
        artifact: Map::new(),
        error: None,
    };
    let parsed = || -> Result<RetrainingJob, serde_json::Error> {
        let error = error.as_deref().map(serde_json::from_str).transpose()?;
        Ok(RetrainingJob { metrics: serde_json::from_str(&metrics)?, artifact: serde_json::from_str(&artifact)?, error, ..job })
    };
    Ok(parsed().map_err(Error::internal).map(|job| (job, artifact.len())))
}
