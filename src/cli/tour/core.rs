//! The first chapter: the contract's examples, told by doing them: a process is designed, run and approved.

use serde_json::{Value, json};

use super::{Tour, counted, failed, items, note, short, text};
use crate::cli::host::take;
use crate::cli::terminal::plain;
use crate::error::Result;

/// How long the execution may take to complete after its task was answered, in seconds.
const PATIENCE: u32 = 10;

impl Tour {
    pub(super) async fn tell(&mut self, approver: &str) -> Result<()> {
        let design = self.call("Design the contract's \"Approval Workflow\"", "processes_create", approval_workflow(approver)).await?;
        let process = text(&design, "id")?;
        note(format_args!("{process}, version {}, {}", short(&design, "version"), short(&design, "status")));

        let validation = self.call("Check it for dead ends and missing fields", "processes_validate", json!({ "id": process })).await?;
        if validation.get("valid") != Some(&Value::Bool(true)) {
            return Err(failed(format!("the design is not valid: {}", validation["errors"])));
        }
        let warnings = validation.get("warnings").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        note(format_args!("valid, {}", counted(warnings.len(), "warning")));
        for warning in warnings {
            note(short(warning, "message"));
        }

        let published = self.call("Publish it", "processes_publish", json!({ "id": process })).await?;
        note(format_args!("version {} is {}", short(&published, "version"), short(&published, "status")));

        let variables = json!({ "userId": "user-456", "amount": 5000 });
        let started = self
            .call("Start it with an amount of 5000", "executions_start", json!({ "processId": process, "variables": variables }))
            .await?;
        let execution = text(&started, "executionId")?;
        note(format_args!("{execution} is {} at {}", short(&started, "status"), short(&started, "currentNode")));

        let task_id = self.person(&execution).await?;
        let tasks = self.call("Find the task that waits", "tasks_list", json!({ "executionId": execution })).await?;
        let task = items(&tasks).first().ok_or_else(|| failed("no task waits"))?;
        note(format_args!("\"{}\" for {}, due {}", short(task, "title"), short(task, "assignedTo"), short(task, "slaDeadline")));

        self.answer(&task_id, "Within the budget of project X.").await?;
        let answered = self.call("Wait for its answer", "tasks_wait", json!({ "id": task_id, "timeoutSeconds": PATIENCE })).await?;
        note(format_args!("answered: {}", answered["reached"]));
        self.completed(&execution).await?;

        let history = self.call("Read what happened, step by step", "executions_history", json!({ "id": execution })).await?;
        for entry in items(&history) {
            note(format_args!("{:>2}. {} {}", entry["sequence"], short(entry, "type"), short(entry, "nodeId")));
        }

        let events = self.call("Replay its events", "events_replay", json!({ "topic": "*" })).await?;
        for event in items(&events).iter().filter(|event| mentions(event, &[&process, &execution, &task_id])) {
            note(format_args!("{} {}", short(event, "type"), short(event, "subject")));
        }

        let trail = self.call("Read the audit trail", "audit_query", json!({})).await?;
        for row in items(&trail).iter().filter(|row| mentions(row, &[&process, &execution, &task_id])) {
            note(format_args!("{} by {}", short(row, "action"), short(row, "actor")));
        }
        Ok(())
    }

    /// Answers the task. The server asks for consent first; the tour gives it, and says so.
    pub(super) async fn answer(&mut self, task: &str, comments: &str) -> Result<()> {
        let arguments = json!({ "id": task, "decision": "approve", "comments": comments });
        let answered = self.call("Approve it", "tasks_respond", arguments).await?;
        let asked = take(&self.asked);
        let question = asked.first().ok_or_else(|| failed("the server did not ask before it decided"))?;
        note(format_args!("the server asked: {}", question.lines().next().map(plain).unwrap_or_default()));
        note("the tour said yes on your behalf; a host shows the question to you");
        note(format_args!("task {}", short(&answered, "status")));
        Ok(())
    }

    /// Waits until an execution has ended, which must be well.
    pub(super) async fn completed(&mut self, execution: &str) -> Result<()> {
        let asked = json!({ "id": execution, "until": "end", "timeoutSeconds": PATIENCE });
        let waited = self.call("Wait until it has ended", "executions_wait", asked).await?;
        let state = &waited["execution"];
        if short(state, "status") != "completed" {
            return Err(failed(format!("the execution is {}: {}", short(state, "status"), state["error"])));
        }
        note(format_args!("completed at {}", short(state, "completedAt")));
        Ok(())
    }

    /// Waits until an execution needs a person, and returns the task.
    pub(super) async fn person(&mut self, execution: &str) -> Result<String> {
        let asked = json!({ "id": execution, "until": "person", "timeoutSeconds": PATIENCE });
        let waited = self.call("Wait until it needs a person", "executions_wait", asked).await?;
        text(&waited, "taskId")
    }
}

/// The contract's example of a process, with the contract's example of a task as its form.
fn approval_workflow(approver: &str) -> Value {
    json!({
        "name": "Approval Workflow",
        "version": "1.0.0",
        "variables": [{ "name": "userId", "type": "string" }, { "name": "amount", "type": "number" }],
        "nodes": [{
            "id": "node-1",
            "type": "human_task",
            "config": {
                "assignee": approver,
                "title": "Approve Budget Request",
                "description": "Review $5000 request for project X",
                "form": { "fields": [
                    { "name": "decision", "type": "enum", "options": ["approve", "reject", "revise"] },
                    { "name": "comments", "type": "text" },
                ] },
                "sla": { "hoursToComplete": 24 },
                "escalationChain": ["manager", "director"],
            },
        }],
    })
}

/// Whether an event or a row is about one of these.
fn mentions(value: &Value, ids: &[&str]) -> bool {
    ["subject", "resourceId"].iter().filter_map(|name| value.get(name)?.as_str()).any(|id| ids.contains(&id))
}
