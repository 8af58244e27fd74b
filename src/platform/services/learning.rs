//! Learning Management: feedback bound to agents and prompt versions, datasets, retraining, and drift.

mod agents;
mod datasets;
mod drift;
mod examples;
mod feedback;
mod few_shot;
mod jobs;
mod lexical;
mod worker;

pub(crate) use datasets::digest_again;

use rusqlite::Connection;

use crate::api::arguments::quote;
use crate::api::learning::SERVICE;
use crate::error::{Error, Kind, Result};
use crate::platform::http::routes::Routes;
use crate::platform::{Platform, queue};

use super::prompts;

/// The routes of the service.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .on(feedback::submit)
        .on(feedback::query)
        .on(datasets::create)
        .on(jobs::schedule)
        .on(jobs::get)
        .on(drift::report)
        .on(datasets::list)
        .extend(&SERVICE, datasets::get)
        .extend(&SERVICE, datasets::records)
        .on(jobs::list)
}

/// Starts the worker that runs retraining jobs.
pub(crate) fn spawn(platform: &Platform) {
    platform.spawn(queue::run(platform.clone(), worker::Retraining));
}

/// Refuses a prompt that the tenant does not have.
fn prompt_must_exist(connection: &Connection, tenant: &str, id: &str) -> Result<()> {
    if prompts::exists(connection, tenant, id)? {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, "FM-LMS-UNKNOWN-PROMPT", format!("there is no prompt {}", quote(id))).field(
        "/promptId",
        "unknown",
        "must be the id of a prompt",
    ))
}
