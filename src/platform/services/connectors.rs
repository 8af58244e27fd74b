//! Data Connector Service: imports of files and databases into the data hub (contract, section 11). `worker` runs them.

mod batches;
mod decoding;
mod fetch;
mod files;
mod jobs;
mod lifecycle;
mod lists;
mod logical;
mod postgres;
mod query;
mod refusal;
mod rows;
mod run;
mod runs;
mod slot;
mod source;
mod worker;

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value, json};

use self::jobs::Stored;
use self::source::{Read, Source};
use crate::api::arguments::quote;
use crate::api::connectors::{Cancel, Create, Get, Job, JobStats, JobStatus, SERVICE, SourceTest, Start, Stats, TestConnection};
use crate::api::{Permission, Timestamp};
use crate::auth::Caller;
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::{Answer, Cx};
use crate::platform::http::routes::Routes;
use crate::platform::services::entities;
use crate::platform::{Platform, queue};

/// Most imports of a tenant.
const MAX_PER_TENANT: i64 = 1_000;
/// The names of the one destination that there is.
const HUB: [&str; 4] = ["internal-data-hub", "internal_data_hub", "data-hub", "data_hub"];

/// The operations of the service.
pub(crate) fn routes() -> Routes {
    Routes::new().on(create).on(get).on(start).on(cancel).on(test).on(stats).on(lists::jobs).extend(&SERVICE, lists::dead_letters)
}

/// Starts the worker that runs imports.
pub(crate) fn spawn(platform: &Platform) {
    platform.spawn(worker::watch(platform.clone()));
    platform.spawn(queue::run(platform.clone(), worker::Runs));
}

async fn create(cx: Cx, mut request: Create) -> Result<Answer<Job>> {
    check_caller(&cx.caller, false)?;
    check_destination(&request.destination)?;
    let cdc = request.cdc_enabled.unwrap_or(false);
    let mut credentials = request.credentials.unwrap_or_default();
    source::take_sign_in(&mut request.source_config, &mut credentials)?;
    source::check_credentials(&credentials)?;
    let source_type = request.source_type.clone();
    let read = cx.compute(move || source::read(&source_type, request.source_config, cdc)).await??;
    check_caller(&cx.caller, read.source.deletes())?;
    admit(&cx.platform, &read.source).await?;
    let next_run = first_time(&cx, request.schedule.clone(), cx.now()).await?;
    let entity_type = request.entity_type.or_else(|| read.name.clone()).ok_or_else(|| {
        Error::new(Kind::Invalid, "FM-DCS-ENTITY-TYPE", "the import does not say which record type it fills")
            .field("/entityType", "required", "names the record type, which the source does not tell")
            .hint("Name a type, such as `customer`; one that does not exist is created by the first rows.")
    })?;
    let platform = cx.platform.clone();
    let job = cx
        .write(move |tx| {
            entities::schema_for_import(tx, tx.tenant(), &entity_type)?;
            if jobs::count(tx, tx.tenant())? >= MAX_PER_TENANT {
                let message = format!("there are {MAX_PER_TENANT} imports already");
                return Err(Error::new(Kind::Conflict, "FM-DCS-TOO-MANY", message).hint("Start one of them again instead."));
            }
            let id = tx.mint("ingest");
            let sealed = (!credentials.is_empty()).then(|| jobs::seal(platform.keys(), tx.tenant(), &id, &credentials)).transpose()?;
            let job = Stored {
                id,
                tenant: tx.tenant().to_owned(),
                source_type: request.source_type,
                config: read.shown,
                credential_names: credentials.keys().cloned().collect(),
                destination: request.destination,
                entity_type,
                key_field: request.key_field.unwrap_or_else(|| "id".to_owned()),
                schedule: request.schedule,
                cdc,
                status: JobStatus::Created,
                runs_as: tx.scope().actor.clone(),
                watermark: None,
                created: tx.now(),
                next_run,
                has_content: read.content.is_some(),
                runs: 0,
                slot: None,
                slot_table: None,
            };
            jobs::insert(tx, &job, read.content.as_deref(), sealed.as_deref())?;
            lifecycle::record(tx, "ingest.created", &job, fields(&job))?;
            Ok(job)
        })
        .await?;
    cx.platform.import_schedules_notify().notify_one();
    cx.platform.import_runs_notify().notify_one();
    let location = format!("/ingest/jobs/{}", job.id);
    Ok(Answer::from(job.view(None)).location(location))
}

async fn get(cx: Cx, request: Get) -> Result<Job> {
    let tenant = cx.tenant();
    cx.read(move |connection| jobs::show(connection, tenant.as_str(), request.id.as_str())).await
}

async fn start(cx: Cx, request: Start) -> Result<Job> {
    let (tenant, id, now) = (cx.tenant(), request.id.0.clone(), cx.now());
    let known = cx.read(move |connection| jobs::find(connection, tenant.as_str(), &id)).await?;
    check_caller(&cx.caller, known.source()?.deletes())?;
    // A cancelled schedule goes on with the start.
    let next = if known.next_run.is_none() { first_time(&cx, known.schedule, now).await? } else { known.next_run };
    let job = cx
        .write(move |tx| {
            let job = jobs::find(tx, tx.tenant(), request.id.as_str())?;
            if runs::is_active(tx, tx.tenant(), &job.id)? {
                return Err(Error::new(Kind::Conflict, "FM-DCS-RUNNING", "the import is running or queued already")
                    .hint("ingest_jobs_get shows how far it is; ingest_jobs_cancel breaks it off."));
            }
            let runs_as = tx.scope().actor.clone();
            lifecycle::queue(tx, &job, &runs_as)?;
            if job.next_run.is_none() {
                jobs::set_next(tx, &job.id, next)?;
            }
            jobs::show(tx, tx.tenant(), &job.id)
        })
        .await?;
    cx.platform.import_schedules_notify().notify_one();
    cx.platform.import_runs_notify().notify_one();
    Ok(job)
}

async fn cancel(cx: Cx, request: Cancel) -> Result<Job> {
    let id = request.id.clone();
    let job = cx
        .write(move |tx| {
            let job = jobs::find(tx, tx.tenant(), request.id.as_str())?;
            if !lifecycle::cancel(tx, &job)? {
                let message = format!("the import is {}: nothing of it runs or is scheduled", job.status);
                return Err(Error::new(Kind::Conflict, "FM-DCS-NOT-RUNNING", message).hint("ingest_jobs_get shows where it stands."));
            }
            Ok(job)
        })
        .await?;
    let released = release(&cx, job).await;
    let tenant = cx.tenant();
    let mut job = cx.read(move |connection| jobs::show(connection, tenant.as_str(), id.as_str())).await?;
    if let (Err(error), Some(slot)) = (released, &job.replication_slot) {
        job.error = Some(format!(
            "FM-DCS-SLOT-KEPT: the replication slot {slot} keeps the source's log, and could not be dropped: {error} \
             Cancel the import again, or run SELECT pg_drop_replication_slot('{slot}') on the database."
        ));
    }
    Ok(job)
}

/// Drops the slot that a cancelled import has at its source: it would keep the source's log for ever.
async fn release(cx: &Cx, job: Stored) -> Result<()> {
    match job.source()? {
        Source::Postgres(source) if job.slot.is_some() => {
            let credentials = credentials(cx, &job).await?;
            logical::release(&cx.platform, &job, &source, &credentials).await
        }
        _ => Ok(()),
    }
}

async fn credentials(cx: &Cx, job: &Stored) -> Result<Map<String, Value>> {
    let (platform, tenant, id) = (cx.platform.clone(), job.tenant.clone(), job.id.clone());
    cx.read(move |connection| jobs::credentials(connection, platform.keys(), &tenant, &id)).await
}

async fn stats(cx: Cx, request: Stats) -> Result<JobStats> {
    let tenant = cx.tenant();
    let (job, last) = cx
        .read(move |connection| {
            let (tenant, id) = (tenant.as_str(), request.id.as_str());
            Ok((jobs::find(connection, tenant, id)?, runs::last(connection, tenant, id)?))
        })
        .await?;
    let slot = match (job.source(), &job.slot) {
        (Ok(Source::Postgres(source)), Some(slot)) => {
            Some(logical::state(&cx.platform, slot, &source, &credentials(&cx, &job).await?).await)
        }
        _ => None,
    };
    Ok(JobStats { replication_slot: slot, ..job.stats(last) })
}

async fn test(cx: Cx, mut request: TestConnection) -> Result<SourceTest> {
    let mut credentials = request.credentials.unwrap_or_default();
    source::take_sign_in(&mut request.source_config, &mut credentials)?;
    source::check_credentials(&credentials)?;
    let has_mark = request.source_config.get("query").and_then(Value::as_str).is_some_and(|query| query.contains('?'));
    let cdc = has_mark || source::wants_log(&request.source_config);
    let reading = move || source::read(&request.source_type, request.source_config, cdc);
    let read = cx.compute(reading).await??;
    admit(&cx.platform, &read.source).await?;
    let begun = Instant::now();
    let columns = columns(&cx, read, &credentials).await;
    let duration = Some(begun.elapsed().as_secs_f64());
    Ok(match columns {
        Ok(columns) => SourceTest { connected: true, columns, duration, error: None },
        Err(error) => SourceTest { connected: false, columns: Vec::new(), duration, error: Some(error.to_string()) },
    })
}

async fn columns(cx: &Cx, read: Read, credentials: &Map<String, Value>) -> Result<Vec<String>> {
    match read.source {
        Source::Postgres(source) if source.follows_log => logical::columns(&cx.platform, &source, credentials).await,
        Source::Postgres(source) => postgres::columns(&cx.platform, &source, credentials).await,
        Source::File(file) => {
            let content = match (&file.url, read.content) {
                (Some(url), _) => fetch::fetch(&cx.platform, url, credentials).await?,
                (None, content) => content.unwrap_or_default(),
            };
            cx.compute(move || files::columns(&file, &content)).await?
        }
    }
}

/// Refuses a source at a place that imports may not connect to.
async fn admit(platform: &Platform, source: &Source) -> Result<()> {
    match source {
        Source::Postgres(source) => postgres::admit(platform, source).await,
        Source::File(file) => match &file.url {
            Some(url) => fetch::admit(platform, url).await.map(drop),
            None => Ok(()),
        },
    }
}

/// Refuses a caller that could not write the records itself: an import gives no rights.
fn check_caller(caller: &Caller, deletes: bool) -> Result<()> {
    let holds = |needed: &Permission| caller.permissions.as_ref().is_some_and(|held| held.allow(*needed));
    if needed(deletes).iter().all(holds) { Ok(()) } else { Err(forbidden(&caller.subject, deletes)) }
}

/// What whoever runs an import needs to do to records.
fn needed(deletes: bool) -> &'static [Permission] {
    const NEEDED: [Permission; 3] = [Permission::ENTITY_INSERT, Permission::ENTITY_UPDATE, Permission::ENTITY_DELETE];
    if deletes { &NEEDED } else { &NEEDED[..2] }
}

fn forbidden(subject: &str, deletes: bool) -> Error {
    let needed: Vec<&str> = std::iter::once(&Permission::INGEST_START).chain(needed(deletes)).map(|one| one.name()).collect();
    let message = format!("{subject} does not hold all that an import needs: {}", needed.join(", "));
    Error::new(Kind::Forbidden, "FM-DCS-FORBIDDEN", message)
        .hint("Ask an administrator for a role that grants them; an import runs with the rights of whoever started or created it.")
}

fn check_destination(destination: &str) -> Result<()> {
    if HUB.contains(&destination.trim()) {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, "FM-DCS-DESTINATION", format!("rows cannot go to {}", quote(destination)))
        .field("/destination", "destination", "must be internal-data-hub")
        .hint("Name the record type to fill as `entityType`."))
}

/// When a schedule is due first, in UTC; searched off the async threads.
async fn first_time(cx: &Cx, schedule: Option<String>, now: Timestamp) -> Result<Option<Timestamp>> {
    let Some(schedule) = schedule else { return Ok(None) };
    let shown = Arc::<str>::from(schedule.as_str());
    let found = cx.compute(move || worker::next_time(Some(&schedule), now)).await?;
    let detail = match found {
        Ok(Some(next)) => return Ok(Some(next)),
        Ok(None) => "names no time that is still to come".to_owned(),
        Err(error) => error.fields().first().map_or_else(|| error.message().to_owned(), |fault| fault.detail.clone()),
    };
    Err(Error::new(Kind::Invalid, "FM-DCS-SCHEDULE", format!("{} is not a time that an import can have", quote(&shown)))
        .field("/schedule", "cron", detail)
        .hint("Write cron such as `0 2 * * *`, which is two o'clock at night in UTC."))
}

/// An import as the audit trail has it: what is read is told by its kind alone.
fn fields(job: &Stored) -> Map<String, Value> {
    Map::from_iter(
        [
            ("sourceType", json!(job.source_type)),
            ("destination", json!(job.destination)),
            ("keyField", json!(job.key_field)),
            ("schedule", json!(job.schedule)),
            ("cdcEnabled", json!(job.cdc)),
            ("credentials", json!(job.credential_names)),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    )
}
