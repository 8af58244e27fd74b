//! `platform --demo`: a small company with a fortnight behind it, made by the calls that people and programs would have made.
//!
//! The platform is run by a clock of its own that begins two weeks ago, so that what it counts over time has a past.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::api::{Timestamp, catalogue};
use crate::auth::{Caller, Credential};
use crate::client::{CallOptions, Client, Fixed};
use crate::error::{Error, Result};
use crate::platform::{ManualClock, Options, Platform};

/// How many days lie behind the company.
const DAYS: u32 = 14;
const DAY: f64 = 24.0 * 3600.0;
/// How long a day's tasks wait before somebody looks at them, in seconds.
const MORNING: f64 = 3.0 * 3600.0;
/// The process by whose name a company is known again.
const KNOWN_BY: &str = "Invoice approval";

/// What was made, for the person to read.
pub(super) enum Demo {
    /// A company, with its counts.
    Made { executions: usize, records: usize },
    /// Nothing: the folder holds one already.
    There,
}

/// The platform's owner at work in the company.
struct Company {
    client: Client,
    owner: Arc<Caller>,
    clock: Arc<ManualClock>,
    executions: usize,
    records: usize,
}

/// Fills the folder of these options, unless it was filled before.
pub(super) async fn fill(options: Options) -> Result<Demo> {
    let now = Timestamp::now();
    let clock = Arc::new(ManualClock::new(now.plus_seconds(-f64::from(DAYS) * DAY)));
    let listen = ([127, 0, 0, 1], 0).into();
    let running = Platform::start(Options { listen, clock: Arc::clone(&clock) as _, ..options }).await?;
    let client = Client::builder(Arc::new(Fixed::new(&running.url())?)).build();
    let owner = Arc::new(Caller::owner(Credential::Bearer(running.owner_token())));
    let mut company = Company { client, owner, clock, executions: 0, records: 0 };
    let made = company.tell().await;
    running.shutdown().await;
    made
}

impl Company {
    async fn tell(&mut self) -> Result<Demo> {
        let known = self.call("processes_list", json!({ "name": KNOWN_BY })).await?;
        if known["items"].as_array().is_some_and(|items| !items.is_empty()) {
            return Ok(Demo::There);
        }
        self.people().await?;
        self.records().await?;
        let [invoice, leave, totals] = self.processes().await?;
        self.texts().await?;
        self.surroundings(&invoice).await?;
        for day in 0..DAYS {
            self.day(day, &invoice, &leave, &totals).await?;
            self.clock.advance(DAY - MORNING);
        }
        self.lessons().await?;
        Ok(Demo::Made { executions: self.executions, records: self.records })
    }

    /// Those who work there. Nobody can sign in before the owner gives a password.
    async fn people(&self) -> Result<()> {
        for (role, description, permissions) in [
            ("clerk", "Enters invoices and keeps the records", json!(["process:view", "execution:*", "entity:*", "document:*", "task:*"])),
            ("manager", "Approves what clerks enter", json!(["process:view", "execution:view", "task:*"])),
            ("accountant", "Pays and reports", json!(["entity:view", "metric:view", "report:view", "dashboard:view", "kpi:view"])),
        ] {
            self.call("roles_create", json!({ "name": role, "description": description, "permissions": permissions })).await?;
        }
        for (name, role) in [("anna.keller", "clerk"), ("ben.ortiz", "manager"), ("chloe.dubois", "accountant")] {
            let user = json!({ "username": format!("{name}@alder.example"), "password": crate::api::ids::mint("pw", Timestamp::now()), "roles": [role] });
            self.call("users_create", user).await?;
        }
        Ok(())
    }

    /// Customers and orders, and suppliers from a file.
    async fn records(&mut self) -> Result<()> {
        let text = json!({ "type": "string" });
        let customer =
            json!({ "type": "object", "required": ["name"], "properties": { "name": text, "city": text, "segment": text, "since": text } });
        self.call("entities_define", json!({ "entityType": "customer", "schema": customer })).await?;
        self.call("entities_define", json!({ "entityType": "order", "schema": { "type": "object", "properties": { "item": text, "amount": { "type": "number" } } } })).await?;
        for (number, (name, city, segment)) in [
            ("Birch & Sons", "Leeds", "retail"),
            ("Harbour Hotel", "Bristol", "hospitality"),
            ("Nadia Petrova Interiors", "London", "design"),
            ("Oakfield School", "York", "public"),
            ("Meyer Bürobedarf", "Köln", "retail"),
            ("Café Lumière", "Lyon", "hospitality"),
        ]
        .into_iter()
        .enumerate()
        {
            let data = json!({ "name": name, "city": city, "segment": segment, "since": format!("20{:02}", 12 + number * 2) });
            let made = self.call("entities_insert", json!({ "type": "customer", "data": data })).await?;
            let relationships = json!({ "customer": made["id"] });
            let item = ["Oak table", "Chairs", "Shelving"][number % 3];
            let order = json!({ "item": item, "amount": 480 + 310 * number });
            self.call("entities_insert", json!({ "type": "order", "data": order, "relationships": relationships })).await?;
            self.records += 2;
        }
        let file = "id,name,country\nS-1,Nordic Timber,Sweden\nS-2,Brass Fittings Ltd,United Kingdom\nS-3,Lacke & Farben,Germany\n";
        let import = json!({
            "sourceType": "csv", "sourceConfig": { "content": file }, "destination": "internal-data-hub", "entityType": "supplier",
        });
        let import = self.call("ingest_jobs_create", import).await?;
        self.call("ingest_jobs_start", json!({ "id": import["jobId"] })).await?;
        self.records += 3;
        Ok(())
    }

    /// Three processes that are in use, and one that is still a draft.
    async fn processes(&self) -> Result<[Value; 3]> {
        let variables =
            json!([{ "name": "supplier", "type": "string", "required": true }, { "name": "amount", "type": "number", "required": true }]);
        let form = json!({ "fields": [
            { "name": "decision", "type": "enum", "options": ["approve", "reject"] }, { "name": "comments", "type": "text" },
        ] });
        let invoice = json!({
            "name": KNOWN_BY,
            "variables": variables,
            "nodes": [
                { "id": "received", "type": "start" },
                { "id": "size", "type": "gateway", "config": { "mode": "xor" } },
                { "id": "approve", "type": "human_task", "config": {
                    "assignee": "manager", "title": "Approve the invoice of {{variables.supplier}}", "form": form,
                    "sla": { "hoursToComplete": 48 }, "escalationChain": ["accountant"],
                } },
                { "id": "book", "type": "script", "config": { "expression": "variables.amount * 1.2", "output": "gross" } },
                { "id": "done", "type": "end" },
            ],
            "edges": [
                { "from": "received", "to": "size" },
                { "from": "size", "to": "approve", "condition": "variables.amount > 1000.0" },
                { "from": "size", "to": "book" },
                { "from": "approve", "to": "book" },
                { "from": "book", "to": "done" },
            ],
        });
        let leave = json!({
            "name": "Holiday request",
            "variables": [{ "name": "employee", "type": "string", "required": true }, { "name": "days", "type": "number", "required": true }],
            "nodes": [{ "id": "decide", "type": "human_task", "config": {
                "assignee": "manager", "title": "Leave for {{variables.employee}}", "form": form,
            } }],
        });
        let totals = json!({
            "name": "Nightly totals",
            "nodes": [{ "id": "average", "type": "script", "config": { "expression": "variables.total / variables.count", "output": "average" } }],
            "variables": [{ "name": "total", "type": "number", "required": true }, { "name": "count", "type": "number", "required": true }],
        });
        self.call("processes_create", json!({ "name": "Supplier onboarding", "nodes": [{ "id": "start", "type": "start" }] })).await?;
        let mut published = [Value::Null, Value::Null, Value::Null];
        for (place, design) in published.iter_mut().zip([invoice, leave, totals]) {
            *place = self.call("processes_create", design).await?["id"].take();
            self.call("processes_publish", json!({ "id": place })).await?;
        }
        Ok(published)
    }

    /// Documents, prompts and the wordings of messages.
    async fn texts(&self) -> Result<()> {
        for (kind, text) in [
            ("invoice", "Invoice INV-2041\nNordic Timber\nOak planks, 40 pieces\nTotal: 2,340.00 EUR\nDue within 30 days."),
            (
                "contract",
                "Framework contract between Alder and Brass Fittings Ltd.\nHandles and hinges, delivered monthly, cancelled with 90 days' notice.",
            ),
            (
                "letter",
                "Dear Alder team,\nthe shelving in our reading room has arrived damaged. Could you send a replacement before term begins?\nOakfield School",
            ),
        ] {
            let upload = json!({ "document": STANDARD.encode(text), "documentType": kind, "metadata": { "source": "mail room" } });
            self.call("documents_upload", upload).await?;
        }
        let prompt = json!({
            "name": "Answer a complaint",
            "template": "Write a friendly answer to {{customer}}, who complains about {{reason}}. Offer a replacement.",
            "variables": [{ "name": "customer", "type": "string" }, { "name": "reason", "type": "string" }],
            "tags": ["service"],
        });
        let prompt = self.call("prompts_create", prompt).await?;
        self.call("prompts_publish", json!({ "id": prompt["promptId"] })).await?;
        let template = json!({
            "templateId": "invoice-paid", "name": "Invoice paid", "subject": "We have paid {{number}}", "body": "Dear {{supplier}}, {{number}} was paid today.",
            "channels": ["email"],
        });
        self.call("templates_create", template).await?;
        Ok(())
    }

    /// What stands around the processes: a timetable, a portal, outside systems.
    async fn surroundings(&self, invoice: &Value) -> Result<()> {
        let weekly = json!({ "processId": invoice, "cronExpression": "0 7 * * 1", "timezone": "Europe/London", "variables": { "supplier": "Office rent", "amount": 900 } });
        self.call("schedules_create", weekly).await?;
        let group = self.call("companies_create", json!({ "name": "Alder Group" })).await?;
        self.call("companies_create", json!({ "name": "Alder Workshop", "parentCompanyId": group["companyId"] })).await?;
        self.call("portals_create", json!({ "name": "Alder customers" })).await?;
        let nowhere = "http://127.0.0.1:9/";
        self.call(
            "integrations_create",
            json!({ "name": "Bookkeeping", "connectorType": "rest_api", "baseUrl": nowhere, "authType": "none" }),
        )
        .await?;
        self.call(
            "channels_register",
            json!({ "channel": "sms", "name": "Workshop line", "account": "+441130000000", "baseUrl": nowhere }),
        )
        .await?;
        self.call("subscriptions_create", json!({ "topic": "process.published", "delivery": { "type": "webhook", "url": nowhere } }))
            .await?;
        let columns = json!({ "sourceType": "csv", "sampleData": [{ "id": "S-1", "name": "Nordic Timber" }, { "id": "S-2", "name": "Brass Fittings Ltd" }] });
        self.call("schemas_discover", columns).await?;
        Ok(())
    }

    /// A day's work: invoices come in, most are decided, some wait; a total fails now and then.
    async fn day(&mut self, day: u32, invoice: &Value, leave: &Value, totals: &Value) -> Result<()> {
        for number in 0..=day % 3 {
            let supplier = ["Nordic Timber", "Brass Fittings Ltd", "Lacke & Farben"][(day + number) as usize % 3];
            let variables = json!({ "supplier": supplier, "amount": 240 + 410 * ((day + 2 * number) % 6) });
            self.start(invoice, variables).await?;
        }
        if day % 4 == 1 {
            let employee = if day < DAYS / 2 { "Anna Keller" } else { "Ben Ortiz" };
            self.start(leave, json!({ "employee": employee, "days": 3 + day % 5 })).await?;
        }
        if day % 5 == 2 {
            self.start(totals, json!({ "total": 1200 + day, "count": i32::from(day % 2 == 1) })).await?;
        }
        self.clock.advance(MORNING);
        let open = self.call("tasks_list", json!({ "status": ["assigned", "escalated", "created"], "limit": 2 })).await?;
        for (place, task) in open["items"].as_array().into_iter().flatten().enumerate().filter(|_| day + 2 < DAYS) {
            let decision = if (day as usize + place) % 5 == 4 { "reject" } else { "approve" };
            self.call("tasks_respond", json!({ "id": task["taskId"], "decision": decision, "comments": "Checked against the order." }))
                .await?;
        }
        if day.is_multiple_of(3) {
            let recipient = json!({ "email": format!("accounts{day}@supplier.example") });
            let variables = json!({ "supplier": "Nordic Timber", "number": format!("INV-{}", 2041 + day) });
            self.call("notifications_send", json!({ "templateId": "invoice-paid", "recipient": recipient, "variables": variables }))
                .await?;
            self.call(
                "agents_invoke",
                json!({ "id": "agent-assistant", "prompt": "Summarise what a clerk has to do with an invoice above 1000." }),
            )
            .await?;
        }
        Ok(())
    }

    /// What was said of the assistant, and what can be learned from it.
    async fn lessons(&self) -> Result<()> {
        let prompts = self.call("prompts_list", json!({})).await?;
        let prompt = &prompts["items"][0]["promptId"];
        for (stars, notes) in [(5, "Clear and friendly"), (4, "Good, a little long"), (2, "Missed the replacement")] {
            let feedback = json!({ "userSatisfaction": stars, "notes": notes });
            self.call("feedback_submit", json!({ "agentId": "agent-assistant", "promptId": prompt, "feedback": feedback })).await?;
        }
        self.call("datasets_create", json!({ "name": "Complaints in autumn", "agentId": "agent-assistant" })).await?;
        Ok(())
    }

    async fn start(&mut self, process: &Value, variables: Value) -> Result<()> {
        self.call("executions_start", json!({ "processId": process, "variables": variables })).await?;
        self.executions += 1;
        Ok(())
    }

    /// Calls an operation as the owner, and answers what the platform said.
    async fn call(&self, operation: &str, arguments: Value) -> Result<Value> {
        let entry = catalogue().get(operation).ok_or_else(|| Error::internal(format!("there is no operation {operation}")))?;
        let Value::Object(arguments) = arguments else { return Err(Error::internal("arguments are an object")) };
        let arguments: Map<String, Value> = arguments;
        Ok(self.client.call(&self.owner, entry, arguments, CallOptions::default()).await?.body)
    }
}
