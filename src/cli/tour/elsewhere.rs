//! The tour before a platform at a URL: what this caller sees there, and that the rest is refused by the permission's name.

use std::time::Instant;

use serde_json::{Value, json};

use super::{Tour, counted, items, note, short};
use crate::api::{Permission, Permissions, Timestamp};
use crate::auth::{Access, Filter};
use crate::cli::host::text_of;
use crate::cli::terminal::{plain, say};
use crate::error::Result;

/// The permissions of the whole story.
const STORY: [Permission; 7] = [
    Permission::PROCESS_CREATE,
    Permission::PROCESS_PUBLISH,
    Permission::EXECUTION_START,
    Permission::EXECUTION_VIEW,
    Permission::TASK_VIEW,
    Permission::TASK_APPROVE,
    Permission::EVENT_VIEW,
];

/// A name that no platform has given to anything: a call that should be refused must not do anything if it is not.
const NOTHING: &str = "nothing-of-the-tour";

/// One look: what it is, the tool, its permission, and whether it only reads.
struct Look {
    title: &'static str,
    tool: &'static str,
    needs: Permission,
    reads: bool,
}

const LOOKS: [Look; 6] = [
    Look { title: "Find the tasks that wait", tool: "tasks_list", needs: Permission::TASK_VIEW, reads: true },
    Look { title: "Answer a task", tool: "tasks_respond", needs: Permission::TASK_APPROVE, reads: false },
    Look { title: "Publish a process", tool: "processes_publish", needs: Permission::PROCESS_PUBLISH, reads: false },
    Look { title: "Start an execution", tool: "executions_start", needs: Permission::EXECUTION_START, reads: false },
    Look { title: "Read the events", tool: "events_replay", needs: Permission::EVENT_VIEW, reads: true },
    Look { title: "Read the audit trail", tool: "audit_query", needs: Permission::AUDIT_VIEW, reads: true },
];

/// Who the platform says is calling.
pub(super) struct Caller {
    pub(super) subject: String,
    /// What it holds, where the platform says so.
    held: Option<Permissions>,
}

impl Caller {
    /// Whether a permission is held, as far as is known.
    fn may(&self, needed: Permission, access: &Access) -> Option<bool> {
        self.held.as_ref().map(|held| held.covers(access.name_of(needed)))
    }

    /// Whether the whole story can be told as this caller.
    pub(super) fn may_tell_all(&self, access: &Access) -> bool {
        STORY.iter().chain([&Permission::AUDIT_VIEW]).all(|needed| self.may(*needed, access) == Some(true))
    }
}

impl Tour {
    /// Says who is signed in.
    pub(super) async fn who(&mut self) -> Result<Caller> {
        let told = self.call("See who is signed in", "auth_validate", json!({})).await?;
        let claims = &told["claims"];
        let names = |name: &str| -> Option<Vec<String>> {
            Some(claims.get(name)?.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        };
        let roles = names("roles").unwrap_or_default();
        let roles = if roles.is_empty() { "no roles".to_owned() } else { roles.join(", ") };
        note(plain(&format!("{} of {} ({roles})", short(claims, "sub"), short(claims, "tenantId"))));
        if let Some(end) = claims.get("exp").and_then(Value::as_i64) {
            note(format_args!("until {}", Timestamp::from_millis(end.saturating_mul(1000))));
        }
        let held = names("permissions").map(Permissions::from);
        note(match &held {
            None => "the platform does not name the permissions".to_owned(),
            Some(held) => plain(&format!("may: {}", held.iter().collect::<Vec<_>>().join(", "))),
        });
        Ok(Caller { subject: short(claims, "sub"), held })
    }

    /// Looks around without changing anything.
    pub(super) async fn look_around(&mut self, caller: &Caller, access: &Access) -> Result<()> {
        for look in &LOOKS {
            self.look(look, caller, access).await?;
        }
        if access.filter() == Filter::Off {
            say_filter();
        }
        Ok(())
    }

    async fn look(&mut self, look: &Look, caller: &Caller, access: &Access) -> Result<()> {
        let permitted = caller.may(look.needs, access);
        self.begin(look.title, look.tool);
        if permitted == Some(true) && !look.reads {
            self.skip("not done");
            note("permitted, and left alone: it would change something");
            return Ok(());
        }
        let arguments = match look.tool {
            "tasks_respond" => json!({ "id": NOTHING, "decision": "approve" }),
            "processes_publish" => json!({ "id": NOTHING }),
            "executions_start" => json!({ "processId": NOTHING }),
            "events_replay" => json!({ "topic": "*", "limit": 5 }),
            _ => json!({ "limit": 5 }),
        };
        let begun = Instant::now();
        let result = self.send(look.tool, arguments).await?;
        if result.is_error != Some(true) {
            self.end(begun);
            let found = result.structured_content.unwrap_or_default();
            note(counted(items(&found).len(), "item"));
            for item in items(&found) {
                let name = ["title", "type", "action"].iter().map(|name| short(item, name)).find(|text| !text.is_empty());
                note(format_args!("  {}", name.unwrap_or_default()));
            }
            return Ok(());
        }
        let told = text_of(&result);
        let permission = access.name_of(look.needs);
        match (told.contains(permission), permitted) {
            (true, _) => {
                self.skip("refused");
                note(plain(told.lines().next().unwrap_or_default()));
            }
            // The object of a question is read before the platform looks at the permission to change it.
            (false, Some(false)) => {
                self.skip("not permitted");
                note(format_args!("it needs the permission {permission}, which {} does not hold", plain(&caller.subject)));
            }
            (false, _) => {
                self.skip("not done");
                note(plain(told.lines().next().unwrap_or_default()));
            }
        }
        Ok(())
    }
}

fn say_filter() {
    say("");
    say("Every tool is listed here and the platform judges; FLOWMASTER_PERMISSIONS_FILTER=strict lists what is permitted.");
}
