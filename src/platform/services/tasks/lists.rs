//! Tasks by assignee, state, execution and time.

use std::collections::BTreeSet;

use rusqlite::Connection;
use rusqlite::types::Value as Sql;

use crate::api::arguments::quote;
use crate::api::tasks::{List, SlaFilter, Task, TaskStatus};
use crate::api::{Page, Timestamp, ids};
use crate::error::{Error, Kind, Result};
use crate::platform::database::first_of;
use crate::platform::engine::runtime::{run, tasks};
use crate::platform::http::context::{Cx, within_bytes};

pub(super) async fn list(cx: Cx, request: List) -> Result<Page<Task>> {
    let (query, tenant, now) = (Query::of(&cx, &request)?, cx.tenant(), cx.now());
    let (found, page) = cx
        .read(move |connection| {
            let ids = query.ids(connection)?;
            let tasks = ids.iter().map(|id| Ok(tasks::load(connection, tenant.as_str(), id)?.at(now)));
            within_bytes(tasks, &request.page, |task| run::size_of(&(&task.description, &task.form, &task.response)))
        })
        .await?;
    // Ids sort by the time they were made.
    Ok(cx.page_of(found, &page, |task| task.task_id.0.clone()))
}

/// Whom tasks are for: a name, and whether it is a user or a role where that is known.
type Assignee = (String, Option<&'static str>);

/// A list of tasks: each assignee in each state is a range of an index.
struct Query {
    tenant: String,
    assignees: Option<Vec<Assignee>>,
    /// The states asked for; all where that is none.
    statuses: Option<Vec<String>>,
    is_of_execution: bool,
    /// What else is asked, with `{id}` for the column of the task's id.
    conditions: String,
    values: Vec<Sql>,
    descending: bool,
    most: usize,
}

impl Query {
    fn of(cx: &Cx, request: &List) -> Result<Self> {
        let assignees = request.assignee.as_deref().map(|assignee| match assignee {
            "me" => {
                let roles = cx.caller.roles.iter().map(|role| (role.clone(), Some("role")));
                std::iter::once((cx.caller.subject.clone(), Some("user"))).chain(roles).collect()
            }
            assignee => vec![(assignee.to_owned(), None)],
        });
        let descending = match request.sort.as_deref() {
            None | Some("-createdAt") => true,
            Some("createdAt") => false,
            Some(other) => {
                let detail = format!("is {}; allowed are createdAt, -createdAt", quote(other));
                return Err(Error::new(Kind::Invalid, "FM-HTS-INVALID", "tasks cannot be sorted like that").field("/sort", "enum", detail));
            }
        };
        let mut query = Self {
            tenant: cx.tenant().0,
            assignees,
            statuses: request.status.as_ref().map(|wanted| wanted.iter().map(|status| status.as_str().to_owned()).collect()),
            is_of_execution: request.execution_id.is_some(),
            conditions: String::new(),
            values: Vec::new(),
            descending,
            most: request.page.size() + 1,
        };
        query.add_due(request.sla, cx.now().millis());
        if let Some(execution) = &request.execution_id {
            query.and("execution_id = ?", [execution.0.clone().into()]);
        }
        // Ids sort by the time they were made, so the index leads to the time as well.
        if let Some(after) = request.created_after.map(Timestamp::millis) {
            query.and("created_at > ? AND {id} >= ?", [after.into(), ids::first_at("task", after).into()]);
        }
        if let Some(before) = request.created_before.map(Timestamp::millis) {
            query.and("created_at < ? AND {id} < ?", [before.into(), ids::first_at("task", before).into()]);
        }
        if let Some(place) = cx.cursor(&request.page)? {
            query.and(if descending { "{id} < ?" } else { "{id} > ?" }, [place.into()]);
        }
        Ok(query)
    }

    fn and<const N: usize>(&mut self, condition: &str, values: [Sql; N]) {
        self.conditions.extend([" AND ", condition]);
        self.values.extend(values);
    }

    fn add_due(&mut self, sla: Option<SlaFilter>, now: i64) {
        let now: Sql = now.into();
        match sla {
            Some(SlaFilter::Breached) => self.and("sla_deadline <= coalesce(ended_at, ?)", [now]),
            Some(SlaFilter::DueSoon) => {
                self.and(
                    "ended_at IS NULL AND sla_deadline > ? AND (sla_deadline - ?) * 4 < sla_deadline - created_at",
                    [now.clone(), now],
                );
            }
            Some(SlaFilter::Ok) => self.and(
                "sla_deadline > coalesce(ended_at, ?) AND (ended_at IS NOT NULL OR (sla_deadline - ?) * 4 >= sla_deadline - created_at)",
                [now.clone(), now],
            ),
            None => {}
        }
    }

    /// The ids of the page's tasks, in order, and of one more.
    fn ids(&self, connection: &Connection) -> Result<Vec<String>> {
        let mut found = BTreeSet::new();
        let mut read = |id: &str, from: &str, ranges: Vec<Vec<Sql>>| {
            let (conditions, order) = (self.conditions.replace("{id}", id), if self.descending { "DESC" } else { "ASC" });
            let sql = format!("SELECT {id} FROM {from}{conditions} ORDER BY {id} {order} LIMIT {}", self.most);
            first_of(connection, &sql, ranges.into_iter().map(|range| [range, self.values.clone()].concat()), &mut found)
        };
        let tenant = || Sql::Text(self.tenant.clone());
        // The planner would rather walk all tasks of the tenant, which are in order as well.
        let by = |index| if self.is_of_execution { "INDEXED BY tasks_execution" } else { index };
        match (&self.assignees, &self.statuses) {
            (None, None) => read("id", &format!("tasks {} WHERE tenant_id = ?", by("")), vec![vec![tenant()]])?,
            (None, Some(statuses)) => {
                let ranges = statuses.iter().map(|status| vec![tenant(), status.clone().into()]);
                read("id", &format!("tasks {} WHERE tenant_id = ? AND status = ?", by("INDEXED BY tasks_status")), ranges.collect())?;
            }
            (Some(assignees), statuses) => {
                let every = || TaskStatus::ALL.iter().map(|status| (*status).to_owned()).collect();
                let statuses = statuses.clone().unwrap_or_else(every);
                let whose =
                    |(name, kind): &Assignee| vec![tenant(), name.clone().into(), kind.map_or(Sql::Null, |kind| kind.to_owned().into())];
                let given = assignees.iter().flat_map(|assignee| statuses.iter().map(move |status| (assignee, status)));
                read(
                    "id",
                    &format!(
                        "tasks {} WHERE tenant_id = ? AND assignee = ? AND assignee_kind = coalesce(?, assignee_kind) AND status = ?",
                        by("INDEXED BY tasks_assignee")
                    ),
                    given.map(|(assignee, status)| [whose(assignee), vec![status.clone().into()]].concat()).collect(),
                )?;
                // A task has candidates only while it is open.
                let open: Sql = run::document(&statuses)?.into();
                read(
                    "task_id",
                    "task_candidates AS named INDEXED BY task_candidates_of CROSS JOIN tasks ON tasks.tenant_id = named.tenant_id AND id = task_id \
                     WHERE named.tenant_id = ? AND named.assignee = ? AND named.assignee_kind = coalesce(?, named.assignee_kind) \
                     AND status IN (SELECT value FROM json_each(?))",
                    assignees.iter().map(|assignee| [whose(assignee), vec![open.clone()]].concat()).collect(),
                )?;
            }
        }
        let ids = found.into_iter();
        Ok(if self.descending { ids.rev().take(self.most).collect() } else { ids.take(self.most).collect() })
    }
}
