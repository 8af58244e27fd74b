//! Waiting for a person's answer to a task.

use super::{Waiting, is_about};
use crate::api::tasks::{Get, TaskStatus, Wait, Waited};
use crate::error::{Kind, Result};

pub(super) async fn wait(mut waiting: Waiting<'_>, wait: Wait) -> Result<Waited> {
    let get = Get { id: wait.id.clone() };
    let mut task = waiting.read(&get).await?;
    loop {
        if matches!(task.status, TaskStatus::Completed | TaskStatus::Cancelled) {
            return Ok(Waited { reached: true, reason: task.status.to_string(), task });
        }
        if !waiting.goes_on(|event| is_about(event, "taskId", wait.id.as_str())).await {
            return Ok(Waited { reached: false, reason: "timeout".to_owned(), task });
        }
        match waiting.read(&get).await {
            Ok(now) => task = now,
            // A platform that is away for a moment does not end a wait.
            Err(error) if error.is_transient() || error.kind() == Kind::Unavailable => {}
            Err(error) => return Err(error),
        }
    }
}
