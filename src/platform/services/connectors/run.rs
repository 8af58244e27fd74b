//! One run of an import: opens the source, checks its rows batch by batch off the runtime, and keeps each batch.
//!
//! A file is read again from where its position is, if it is still the same file. A database is read again from the first
//! row, unless its log is followed: its rows have no order that holds. Records are found by their keys, so what was written before is not written twice.

use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::batches::{self, Progress};
use super::jobs::{self, Stored};
use super::rows::{self, Batch, Whole};
use super::runs::{self, Run};
use super::source::Source;
use super::{fetch, files, lifecycle, logical, postgres};
use crate::api::connectors::{SourceType, Start};
use crate::api::entities as hub;
use crate::error::{Error, Kind, Result};
use crate::platform::database::{Scope, Tx};
use crate::platform::services::entities;
use crate::platform::services::schedules::rights;
use crate::platform::{Platform, keys};

/// How often a run is tried again without any progress.
const MAX_ATTEMPTS: u32 = 5;
/// Seconds until the second attempt; they double with each.
const FIRST_DELAY: f64 = 5.0;
/// Longest reason of a failure that is kept, in characters.
const MAX_REASON: usize = 1_000;

/// Works on a run until it is complete, cancelled or put off, or the platform stops.
pub(super) async fn work(platform: &Platform, run: Run) -> Result<()> {
    let due = run.clone();
    let Some((job, run)) = write(platform, &run, move |tx| lifecycle::begin(tx, &due)).await? else { return Ok(()) };
    let job = Arc::new(job);
    if run.attempts > MAX_ATTEMPTS {
        let message = format!("the run was begun {MAX_ATTEMPTS} times and interrupted before it came any further");
        let error = Error::new(Kind::Conflict, "FM-DCS-INTERRUPTED", message).hint("Divide the source into smaller parts.");
        return note_failure(platform, job, run, &error).await;
    }
    match carry_out(platform, &job, run.clone()).await {
        Ok(()) => Ok(()),
        Err(_) if platform.stopping().is_cancelled() => Ok(()),
        Err(error) => note_failure(platform, job, run, &error).await,
    }
}

async fn carry_out(platform: &Platform, job: &Arc<Stored>, run: Run) -> Result<()> {
    let Some((mut batches, mut run)) = open(platform, job, &run).await? else { return Ok(()) };
    let (tenant, kind) = (job.tenant.clone(), job.entity_type.clone());
    let mut schema = platform.database().read(move |connection| entities::schema_for_import(connection, &tenant, &kind)).await?;
    loop {
        let batch = tokio::select! {
            biased;
            () = platform.stopping().cancelled() => return Ok(()),
            batch = batches.recv() => batch,
        };
        let Some(batch) = batch else { break };
        let mut batch = batch?;
        let (kept, whole) = (batch.kept.take(), batch.whole);
        if whole == Some(Whole::Begins) {
            let begun = run.clone();
            let Some(after) = write(platform, &run, move |tx| lifecycle::begin_pass(tx, &begun)).await? else { return Ok(()) };
            run = after;
        }
        let batch = Arc::new(batch);
        // A schema that changes all the time does not hold the run for ever: each change is a call of its own.
        loop {
            match keep(platform, job, &run, &batch, schema.clone()).await? {
                Progress::Kept(after) => {
                    run = *after;
                    break;
                }
                Progress::SchemaChanged(current) => schema = current,
                Progress::Ended => return Ok(()),
            }
        }
        if whole == Some(Whole::Ends) {
            let Some(after) = sweep(platform, job, run).await? else { return Ok(()) };
            run = after;
        }
        if let Some(kept) = kept {
            let _ = kept.send(run.position);
        }
    }
    let (held, counted) = (Arc::clone(job), run.clone());
    let reconciled = platform.database().read(move |connection| batches::reconcile(connection, &held, &counted)).await?;
    let held = Arc::clone(job);
    let done = run.clone();
    write(platform, &run, move |tx| lifecycle::complete(tx, &held, &done, reconciled)).await
}

/// Opens the source, and answers its batches and the run as it goes on; nothing if the run was ended meanwhile.
async fn open(platform: &Platform, job: &Arc<Stored>, run: &Run) -> Result<Option<(mpsc::Receiver<Result<Batch>>, Run)>> {
    let source = job.source()?;
    let deletes = source.deletes();
    let (held, subject, now, clone) = (Arc::clone(job), run.runs_as.clone(), platform.now(), platform.clone());
    let credentials = platform
        .database()
        .read(move |connection| {
            let may = rights::may::<Start>(connection, &held.tenant, &subject, now)?
                && rights::may::<hub::Insert>(connection, &held.tenant, &subject, now)?
                && rights::may::<hub::Update>(connection, &held.tenant, &subject, now)?
                && (!deletes || rights::may::<hub::Delete>(connection, &held.tenant, &subject, now)?);
            if may { jobs::credentials(connection, clone.keys(), &held.tenant, &held.id) } else { Err(super::forbidden(&subject, deletes)) }
        })
        .await?;
    let (sender, batches) = mpsc::channel(1);
    match source {
        Source::File(file) => {
            let content = load(platform, job, file.url.as_deref(), &credentials).await?;
            let digest = keys::sha256(&content);
            let run = if run.digest.as_ref() == Some(&digest) { Some(run.clone()) } else { restart(platform, run, Some(digest)).await? };
            let Some(run) = run else { return Ok(None) };
            let from = files::From {
                position: run.position,
                watermark: job.watermark.clone(),
                high: run.high.clone(),
                key_field: job.key_field.clone(),
            };
            tokio::task::spawn_blocking(move || files::read(&file, &content, &from, &sender));
            Ok(Some((batches, run)))
        }
        Source::Postgres(source) if source.follows_log => {
            let Some(mut follow) = logical::prepare(platform, job, &source, &credentials).await? else { return Ok(None) };
            // Changes that were kept are not read again: their counts and dead letters stay with a run that is interrupted.
            let run = if follow.first.is_some() { restart(platform, run, None).await? } else { Some(run.clone()) };
            let Some(run) = run else { return Ok(None) };
            follow.position = run.position;
            tokio::spawn(logical::read(follow, sender));
            Ok(Some((batches, run)))
        }
        Source::Postgres(source) => {
            let Some(run) = restart(platform, run, None).await? else { return Ok(None) };
            let (platform, watermark) = (platform.clone(), job.watermark.clone());
            tokio::spawn(postgres::read(platform, source, credentials, watermark, sender));
            Ok(Some((batches, run)))
        }
    }
}

async fn load(platform: &Platform, job: &Arc<Stored>, url: Option<&str>, credentials: &Map<String, Value>) -> Result<Vec<u8>> {
    if let Some(url) = url {
        return fetch::fetch(platform, url, credentials).await;
    }
    let held = Arc::clone(job);
    platform.database().read(move |connection| jobs::content(connection, &held.tenant, &held.id)).await
}

async fn restart(platform: &Platform, run: &Run, digest: Option<String>) -> Result<Option<Run>> {
    let held = run.clone();
    write(platform, run, move |tx| lifecycle::restart(tx, &held, digest.as_deref())).await
}

/// Checks a batch off the runtime, and keeps it.
async fn keep(platform: &Platform, job: &Arc<Stored>, run: &Run, batch: &Arc<Batch>, schema: Option<Value>) -> Result<Progress> {
    let (held, rows, sum) = (Arc::clone(job), Arc::clone(batch), run.checksum.clone());
    let is_text = job.source_type == SourceType::Csv;
    let checking = move || rows::prepare(&rows, schema.as_ref(), &held.key_field, is_text, &sum).map(|ready| (ready, schema));
    let (ready, schema) = platform.compute().run(&run.tenant, checking).await??;
    let (held, before) = (Arc::clone(job), run.clone());
    write(platform, run, move |tx| batches::keep(tx, &held, &before, &ready, schema.as_ref())).await
}

/// Removes the records that a pass through all rows did not bring; nothing if the run was ended meanwhile.
async fn sweep(platform: &Platform, job: &Arc<Stored>, mut run: Run) -> Result<Option<Run>> {
    let mut after = String::new();
    loop {
        let (held, before, from) = (Arc::clone(job), run.clone(), after);
        let (progress, last) = write(platform, &run, move |tx| batches::sweep(tx, &held, &before, &from)).await?;
        let Progress::Kept(swept) = progress else { return Ok(None) };
        run = *swept;
        let Some(last) = last else { return Ok(Some(run)) };
        after = last;
    }
}

async fn note_failure(platform: &Platform, job: Arc<Stored>, run: Run, error: &Error) -> Result<()> {
    let text = error.to_string();
    let text = text.strip_prefix(&format!("{}: ", error.code())).unwrap_or(&text);
    let (code, reason) = (error.code().to_owned(), text.chars().take(MAX_REASON).collect::<String>());
    tracing::warn!(job = job.id, code, reason, "an import came to no end");
    let (tenant, id) = (run.tenant.clone(), run.job.clone());
    // Progress since the run began counts as a new first attempt.
    let attempts =
        platform.database().read(move |connection| Ok(runs::last(connection, &tenant, &id)?.map_or(0, |run| run.attempts))).await?.max(1);
    let may_pass = error.is_transient() || error.kind() == Kind::Internal;
    let held = run.clone();
    if may_pass && attempts < MAX_ATTEMPTS {
        let seconds = FIRST_DELAY * f64::from(2_u32.saturating_pow(attempts - 1));
        return write(platform, &run, move |tx| lifecycle::put_off(tx, &held, tx.now().plus_seconds(seconds), &code, &reason)).await;
    }
    write(platform, &run, move |tx| lifecycle::fail(tx, &job, &held, &code, &reason)).await
}

/// What the platform does for a run goes back to its job, and is done as whoever started it.
async fn write<T: Send + 'static>(
    platform: &Platform,
    run: &Run,
    work: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let scope = Scope { actor: run.runs_as.clone(), correlation_id: Some(run.job.clone()), ..Scope::system(run.tenant.as_str().into()) };
    platform.database().write(scope, work).await
}
