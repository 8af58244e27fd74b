//! A chapter for each of the contract's other layers: what its services do, in a few calls.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::outside::Outside;
use super::{Tour, counted, failed, items, note, short, text};
use crate::cli::host::take;
use crate::error::Result;

const LETTER: &str = "Dear Alder team,\nthe shelving in our reading room has arrived damaged. Could you send a replacement before \
                      term begins?\nOakfield School";

impl Tour {
    /// Documents, prompts and agents.
    pub(super) async fn intelligence(&mut self) -> Result<()> {
        self.chapter("Intelligence: a letter is found again, and an agent is asked about it");
        let letter = json!({ "document": STANDARD.encode(LETTER), "documentType": "letter" });
        let stored = self.call("File a letter", "documents_upload", letter).await?;
        note(format_args!("{}, a {}", short(&stored, "documentId"), short(&stored, "type")));

        let found = self.call("Find it by what it is about", "documents_search", json!({ "query": "damaged shelves" })).await?;
        let hit = items(&found).first().ok_or_else(|| failed("the letter is not found"))?;
        note(format_args!("\"{}\"", short(hit, "excerpt")));

        let template = json!({
            "name": "Answer a complaint",
            "template": "Write a friendly answer to {{customer}}, who complains about {{reason}}.",
            "variables": [{ "name": "customer", "type": "string" }, { "name": "reason", "type": "string" }],
        });
        let prompt = self.call("Keep a prompt", "prompts_create", template).await?;
        let id = text(&prompt, "promptId")?;
        self.call("Publish it", "prompts_publish", json!({ "id": id })).await?;
        let values = json!({ "customer": "Oakfield School", "reason": "damaged shelves" });
        let assembled = self.call("Fill it in", "prompts_assemble", json!({ "id": id, "variables": values })).await?;
        let question = text(&assembled, "assembled")?;
        note(format_args!("\"{}\"", short(&assembled, "assembled")));

        let asked = json!({ "id": "agent-assistant", "prompt": question });
        let answer = self.call("Have an agent answer, as it writes", "agents_stream", asked).await?;
        note(format_args!("{}: \"{}\"", short(&answer, "provider"), short(&answer, "response")));
        Ok(())
    }

    /// Channels to people outside.
    pub(super) async fn integration(&mut self, outside: &Outside) -> Result<()> {
        self.chapter("Integration: a customer is written to over a channel");
        let line = json!({ "channel": "sms", "name": "Workshop line", "account": "+441130000000", "baseUrl": outside.url });
        let channel = self.call("Connect a channel to a provider on this machine", "channels_register", line).await?;
        note(format_args!("{} is {}; its secret stays on the platform", short(&channel, "channel"), short(&channel, "status")));

        let message = json!({
            "id": text(&channel, "channelId")?, "recipientId": "+441130000001", "message": "Your shelves are on their way, {{name}}.",
            "variables": { "name": "Ms Reed" },
        });
        let sent = self.call("Send a message", "channels_send", message).await?;
        note(format_args!("{} is {}", short(&sent, "messageId"), short(&sent, "status")));
        Ok(())
    }

    /// Rights, and the services themselves.
    pub(super) async fn foundation(&mut self) -> Result<()> {
        self.chapter("Foundation: who may do what, and what there is");
        let role = json!({ "name": "approver", "permissions": ["task:view", "task:approve"] });
        let role = self.call("Create a role", "roles_create", role).await?;
        if take(&self.asked).is_empty() {
            return Err(failed("the server did not ask before it gave rights"));
        }
        note(format_args!("{}; the server asked before it gave rights", short(&role, "name")));

        let services = self.call("See the services of the platform", "services_list", json!({ "limit": 200 })).await?;
        let healthy = items(&services).iter().filter(|service| short(service, "status") == "healthy").count();
        note(format_args!("{}, {healthy} of them healthy", counted(items(&services).len(), "service")));
        Ok(())
    }

    /// Wordings, portals and figures.
    pub(super) async fn support(&mut self) -> Result<()> {
        self.chapter("Support: wordings, portals and figures");
        let template = json!({
            "templateId": "task-waits", "name": "A task waits", "subject": "Please decide: {{title}}",
            "body": "{{title}} waits for you.", "channels": ["email"],
        });
        let template = self.call("Keep a wording of reminders", "templates_create", template).await?;
        note(short(&template, "templateId"));

        let portal = self.call("Open a portal for customers", "portals_create", json!({ "name": "Alder customers" })).await?;
        note(short(&portal, "portalId"));

        let metric = json!({ "metric": "process.execution_count" });
        let counted = self.call("Count this week's executions", "metrics_query", metric).await?;
        for value in items(&counted) {
            note(format_args!("{} {}", value["value"], short(value, "unit")));
        }
        Ok(())
    }
}
