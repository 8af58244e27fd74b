//! The last chapter: a schedule starts a process in which an agent, a system outside, a person and a notification work together.

use serde_json::{Value, json};

use super::outside::Outside;
use super::{Tour, failed, note, short, text};
use crate::error::Result;

impl Tour {
    pub(super) async fn finale(&mut self, outside: &Outside) -> Result<()> {
        self.chapter("All together: a schedule starts what an agent, a system, a person and a notification do");
        let book = json!({ "name": "Order book", "connectorType": "rest_api", "baseUrl": outside.url });
        let integration = self.call("Connect a system on this machine", "integrations_create", book).await?;
        let integration = text(&integration, "integrationId")?;

        let design = self.call("Design a process that uses it", "processes_create", replacement(&integration)).await?;
        let process = text(&design, "id")?;
        self.call("Publish it", "processes_publish", json!({ "id": process })).await?;

        let weekly = json!({
            "processId": process, "cronExpression": "0 7 * * MON", "timezone": "Europe/London",
            "variables": { "customer": "Oakfield School", "item": "shelf" },
        });
        let schedule = self.call("Have it start every Monday at seven", "schedules_create", weekly).await?;
        note(format_args!("next at {}", short(&schedule, "nextRunAt")));
        let run = json!({ "id": text(&schedule, "scheduleId")? });
        let run = self.call("Let the schedule start it now", "schedules_execute", run).await?;
        let execution = text(&run, "executionId")?;

        let task = self.person(&execution).await?;
        let state = self.call("See what agent and system did meanwhile", "executions_get", json!({ "id": execution })).await?;
        let variables = &state["state"]["variables"];
        if outside.orders() != 1 {
            return Err(failed(format!("the system took {} orders, where one was due", outside.orders())));
        }
        note(format_args!("the agent wrote: \"{}\"", short(&variables["letter"], "response")));
        note(format_args!("the system booked {}", short(&variables["order"], "orderId")));

        let reminder = json!({
            "templateId": "task-waits", "recipient": { "email": "manager@alder.example" }, "variables": { "title": "The letter to Oakfield School" },
        });
        let reminder = self.call("Remind the person who decides", "notifications_send", reminder).await?;
        let reminder = json!({ "id": text(&reminder, "notificationId")? });

        self.answer(&task, "Friendly, and in time.").await?;
        self.completed(&execution).await?;
        let reminder = self.call("See what became of the reminder", "notifications_get", reminder).await?;
        note(format_args!("{}, in a file of this platform", short(&reminder, "status")));
        Ok(())
    }
}

/// A damaged delivery is replaced: an agent drafts the letter, the order book takes the order, a person lets the letter go.
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
            { "id": "decide", "type": "human_task", "config": {
                "assignee": "manager", "title": "Send the letter to {{variables.customer}}",
                "form": { "fields": [
                    { "name": "decision", "type": "enum", "options": ["approve", "reject"] }, { "name": "comments", "type": "text" },
                ] },
            } },
        ],
    })
}
