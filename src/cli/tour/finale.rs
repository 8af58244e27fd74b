//! The last chapter: a schedule starts a process in which an agent, a system outside, a person and a notification work together.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::outside::Outside;
use super::{Tour, failed, note, short, text};
use crate::api::Timestamp;
use crate::error::Result;

/// When the schedule is due, in seconds.
const DUE_IN: f64 = 2.0;
/// How long it may take to start its process.
const PATIENCE: Duration = Duration::from_secs(20);

impl Tour {
    pub(super) async fn finale(&mut self, outside: &Outside) -> Result<()> {
        self.chapter("All together: a schedule starts what an agent, a system, a person and a notification do");
        let book = json!({ "name": "Order book", "connectorType": "rest_api", "baseUrl": outside.url });
        let integration = self.call("Connect a system on this machine", "integrations_create", book).await?;
        let integration = text(&integration, "integrationId")?;

        let design = self.call("Design a process that uses it", "processes_create", replacement(&integration)).await?;
        let process = text(&design, "id")?;
        self.call("Publish it", "processes_publish", json!({ "id": process })).await?;

        let once = json!({
            "processId": process, "cronExpression": once_in(DUE_IN), "timezone": "UTC",
            "variables": { "customer": "Oakfield School", "item": "shelf" },
        });
        let schedule = self.call("Have it start by itself, in a moment", "schedules_create", once).await?;
        note(format_args!("due at {}", short(&schedule, "nextRunAt")));
        let execution = self.started_by(&text(&schedule, "scheduleId")?).await?;

        let task = self.person(&execution).await?;
        let state = self.call("See what agent and system did meanwhile", "executions_get", json!({ "id": execution })).await?;
        let variables = &state["state"]["variables"];
        if outside.orders() != 1 {
            return Err(failed(format!("the system took {} orders, where one was due", outside.orders())));
        }
        note(format_args!("the agent wrote: \"{}\"", short(&variables["letter"], "response")));
        note(format_args!("the system booked {}", short(&variables["order"], "orderId")));

        let reminder = json!({ "id": text(&variables["reminder"], "notificationId")? });

        self.answer(&task, "Friendly, and in time.").await?;
        self.completed(&execution).await?;
        let reminder = self.call("See what became of the reminder", "notifications_get", reminder).await?;
        note(format_args!("{}, in a file of this platform", short(&reminder, "status")));
        Ok(())
    }

    /// Waits until a schedule has started its process, and answers the execution.
    async fn started_by(&mut self, schedule: &str) -> Result<String> {
        let begun = Instant::now();
        self.begin("Wait until it has", "schedules_get");
        while begun.elapsed() < PATIENCE {
            let shown = self.ask("schedules_get", json!({ "id": schedule })).await?;
            if let Some(execution) = shown.get("lastExecutionId").and_then(Value::as_str) {
                self.end(begun);
                note(format_args!("it started {execution}"));
                return Ok(execution.to_owned());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(failed("the schedule did not start its process in time"))
    }
}

/// A recurrence rule that is due once, in so many seconds.
fn once_in(seconds: f64) -> String {
    let due = Timestamp::now().plus_seconds(seconds).to_string();
    let digits: String = due.chars().take_while(|letter| *letter != '.').filter(|letter| !matches!(letter, '-' | ':')).collect();
    format!("DTSTART:{digits}\nRRULE:FREQ=DAILY;COUNT=1")
}

/// A damaged delivery is replaced: an agent drafts the letter, the order book takes the order, a person is
/// told and lets the letter go.
fn replacement(integration: &str) -> Value {
    json!({
        "name": "Replace a damaged delivery",
        "variables": [{ "name": "customer", "type": "string", "required": true }, { "name": "item", "type": "string", "required": true }],
        "nodes": [
            { "id": "draft", "type": "ai_agent", "config": {
                "agentId": "agent-assistant", "output": "letter",
                "prompt": "Write to {{variables.customer}} that a new {{variables.item}} is on its way.",
            } },
            { "id": "order", "type": "integration", "config": {
                "integrationId": integration, "method": "POST", "path": "/orders", "body": { "item": "{{variables.item}}" }, "output": "order",
            } },
            { "id": "remind", "type": "notification", "config": {
                "templateId": "task-waits", "recipient": { "email": "manager@alder.example" },
                "variables": { "title": "The letter to {{variables.customer}}" }, "output": "reminder",
            } },
            { "id": "decide", "type": "human_task", "config": {
                "assignee": "manager", "title": "Send the letter to {{variables.customer}}",
                "form": { "fields": [
                    { "name": "decision", "type": "enum", "options": ["approve", "reject"] }, { "name": "comments", "type": "text" },
                ] },
            } },
        ],
    })
}
