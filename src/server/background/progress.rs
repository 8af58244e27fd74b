//! Where the work of a task stands, in a line for its person: the state, and how much is done.

use serde_json::Value;

/// Longest reason of a failure that is told, in characters.
const MAX_REASON: usize = 200;

/// Says where an execution, a human task or a job stands, as far as it tells.
pub(super) fn of(answer: &Value) -> Option<String> {
    let thing = ["execution", "task"].iter().find_map(|name| answer.get(name)).unwrap_or(answer);
    let status = thing.get("status")?.as_str()?.to_owned();
    let percent = thing.get("progress").and_then(Value::as_f64).map(|percent| format!("{percent:.0} %"));
    let nodes = thing.pointer("/state/nodeStates").and_then(Value::as_object).filter(|nodes| !nodes.is_empty()).map(|nodes| {
        let is_done = |state: &&Value| matches!(state.as_str(), Some("completed" | "skipped" | "failed" | "compensated"));
        format!("{} of {} nodes done", nodes.values().filter(is_done).count(), nodes.len())
    });
    let line = [Some(status), percent, nodes].into_iter().flatten().collect::<Vec<_>>().join(", ");
    let error = thing.get("error").filter(|error| !error.is_null());
    let reason = error.and_then(|error| error.get("message").unwrap_or(error).as_str());
    Some(match reason {
        Some(reason) => format!("{line}: {}", reason.chars().take(MAX_REASON).collect::<String>()),
        None => line,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn state_progress_nodes_and_reason_are_one_line() {
        let nodes = json!({ "a": "completed", "b": "waiting", "c": "pending" });
        for (answer, line) in [
            (json!({ "status": "running", "progress": 40.4 }), Some("running, 40 %")),
            (json!({ "status": "failed", "error": { "code": "X", "message": "no rows" } }), Some("failed: no rows")),
            (json!({ "status": "failed", "error": "no rows" }), Some("failed: no rows")),
            (json!({ "execution": { "status": "waiting", "state": { "nodeStates": nodes } } }), Some("waiting, 1 of 3 nodes done")),
            (json!({ "task": { "status": "assigned" } }), Some("assigned")),
            (json!({ "jobId": "job-1" }), None),
        ] {
            assert_eq!(of(&answer).as_deref(), line, "{answer}");
        }
    }
}
