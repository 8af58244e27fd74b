//! Waiting for an execution: its end, a person's turn or a node, with the nodes as progress.

use std::collections::HashMap;

use super::{Waiting, is_about};
use crate::api::executions::{Execution, ExecutionStatus, Get, History, HistoryEntry, Wait, WaitUntil, Waited};
use crate::api::ids::TaskId;
use crate::api::{Page, PageRequest};
use crate::error::{Error, Kind, Result};

/// Entries of the history in a page.
const PAGE: u32 = 200;

/// What was read of an execution's history so far.
#[derive(Default)]
struct Steps {
    /// The page that is not full yet.
    cursor: Option<String>,
    /// The last entry that was read.
    sequence: u64,
    /// The tasks that nodes wait for, by node; none where the platform does not say what a node waits for.
    waiting: HashMap<String, Option<TaskId>>,
}

pub(super) async fn wait(mut waiting: Waiting<'_>, wait: Wait) -> Result<Waited> {
    let get = Get { id: wait.id.clone() };
    let mut steps = Steps::default();
    let mut execution = waiting.read(&get).await?;
    loop {
        if let Err(error) = steps.follow(&mut waiting, &wait).await {
            not_for_now(error)?;
        }
        if let Some((reason, task_id)) = reached(&execution, &steps, &wait) {
            return Ok(Waited { reached: true, reason: reason.to_owned(), task_id, execution });
        }
        if !waiting.goes_on(|event| is_about(event, "executionId", wait.id.as_str())).await {
            return Ok(Waited { reached: false, reason: "timeout".to_owned(), task_id: None, execution });
        }
        match waiting.read(&get).await {
            Ok(now) => execution = now,
            Err(error) => not_for_now(error)?,
        }
    }
}

/// A platform that is away for a moment does not end a wait.
fn not_for_now(error: Error) -> Result<()> {
    if error.is_transient() || error.kind() == Kind::Unavailable { Ok(()) } else { Err(error) }
}

/// Why the wait is over.
fn reached(execution: &Execution, steps: &Steps, wait: &Wait) -> Option<(&'static str, Option<TaskId>)> {
    use ExecutionStatus::{Cancelled, Compensated, Completed, Failed, Waiting};
    if matches!(execution.status, Completed | Failed | Cancelled | Compensated) {
        return Some(("ended", None));
    }
    let state = |node: &str| execution.state.node_states.get(node).and_then(serde_json::Value::as_str);
    let done = ["completed", "failed", "skipped", "compensated"];
    if wait.node_id.as_deref().and_then(state).is_some_and(|state| done.contains(&state)) {
        return Some(("node", None));
    }
    if wait.until == Some(WaitUntil::End) || execution.status != Waiting {
        return None;
    }
    let mut waited = steps.waiting.iter().filter(|(node, _)| state(node) == Some("waiting"));
    match waited.find_map(|(_, task)| task.clone()) {
        Some(task) => Some(("person", Some(task))),
        // A platform that tells nothing of its nodes leaves only the status to go by.
        None if steps.waiting.is_empty() => Some(("person", None)),
        None => None,
    }
}

impl Steps {
    /// Reads what happened since, and tells of the nodes that are done.
    async fn follow(&mut self, waiting: &mut Waiting<'_>, wait: &Wait) -> Result<()> {
        loop {
            let page = PageRequest { limit: Some(PAGE), cursor: self.cursor.clone() };
            let Page { items, next_cursor } = waiting.read(&History { id: wait.id.clone(), page }).await?;
            for entry in items {
                if entry.sequence > self.sequence {
                    self.sequence = entry.sequence;
                    self.take(waiting, entry).await;
                }
            }
            match next_cursor {
                Some(cursor) => self.cursor = Some(cursor),
                None => return Ok(()),
            }
        }
    }

    async fn take(&mut self, waiting: &mut Waiting<'_>, entry: HistoryEntry) {
        let Some(node) = entry.node_id else { return };
        match entry.kind.as_str() {
            "node.waiting" => {
                let task = entry.data.get("taskId").and_then(serde_json::Value::as_str).map(|id| TaskId(id.to_owned()));
                self.waiting.insert(node, task);
            }
            "node.completed" | "node.failed" | "node.compensated" => {
                waiting.tell(format!("{node}: {}", entry.kind.trim_start_matches("node."))).await;
            }
            _ => {}
        }
    }
}
