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
    /// What the list is joined from.
    parts: Vec<Part>,
    is_of_execution: bool,
    /// What else is asked, with `{id}` for the column of the task's id.
    conditions: String,
    values: Vec<Sql>,
    descending: bool,
    most: usize,
}

/// Tasks in some states, by one condition on their deadline.
struct Part {
    /// The states; all where that is none.
    statuses: Option<Vec<String>>,
    condition: &'static str,
    values: Vec<Sql>,
    /// The indexes that lead to a tenant's tasks in a state, and to those of an assignee among them.
    by_status: &'static str,
    by_assignee: &'static str,
}

/// The states of tasks whose deadline may still pass.
const OPEN: [TaskStatus; 3] = [TaskStatus::Created, TaskStatus::Assigned, TaskStatus::Escalated];

impl Part {
    /// All tasks in the states that are asked for.
    fn any(asked: Option<&[TaskStatus]>) -> Self {
        let statuses = asked.map(|asked| asked.iter().map(|status| status.as_str().to_owned()).collect());
        Self { statuses, condition: "", values: Vec::new(), by_status: "tasks_status", by_assignee: "tasks_assignee" }
    }

    /// Those that are open, which change by time alone: a tenant has as many as its people have yet to do.
    fn open(asked: Option<&[TaskStatus]>, sla: SlaFilter, now: i64) -> Self {
        let now: Sql = now.into();
        let (condition, values) = match sla {
            SlaFilter::Breached => (" AND ended_at IS NULL AND sla_deadline IS NOT NULL AND sla_deadline <= ?", vec![now]),
            SlaFilter::DueSoon => (
                " AND ended_at IS NULL AND sla_deadline IS NOT NULL AND sla_deadline > ? \
                 AND (sla_deadline - ?) * 4 < sla_deadline - created_at",
                vec![now.clone(), now],
            ),
            SlaFilter::Ok => (
                " AND ended_at IS NULL AND sla_deadline IS NOT NULL AND sla_deadline > ? \
                 AND (sla_deadline - ?) * 4 >= sla_deadline - created_at",
                vec![now.clone(), now],
            ),
        };
        let statuses = Some(among(asked, |status| OPEN.contains(status)));
        Self { statuses, condition, values, by_status: "tasks_open_deadline", by_assignee: "tasks_assignee" }
    }

    /// Those that ended, after their deadline or before it: that is said for good, and an index has it.
    fn ended(asked: Option<&[TaskStatus]>, is_late: bool) -> Self {
        Self {
            statuses: Some(among(asked, |status| !OPEN.contains(status))),
            condition: " AND ended_at IS NOT NULL AND sla_deadline IS NOT NULL AND (sla_deadline <= ended_at) = ?",
            values: vec![i64::from(is_late).into()],
            by_status: "tasks_past_deadline",
            by_assignee: "tasks_past_deadline_of",
        }
    }
}

/// The states that are asked for, or all there are, among some.
fn among(asked: Option<&[TaskStatus]>, is_meant: impl Fn(&TaskStatus) -> bool) -> Vec<String> {
    let every = || TaskStatus::ALL.iter().map(|status| TaskStatus::from(*status)).collect();
    let asked = asked.map_or_else(every, <[TaskStatus]>::to_vec);
    asked.iter().filter(|status| is_meant(status)).map(|status| status.as_str().to_owned()).collect()
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
        let (asked, now) = (request.status.as_deref(), cx.now().millis());
        let parts = match request.sla {
            None => vec![Part::any(asked)],
            Some(SlaFilter::DueSoon) => vec![Part::open(asked, SlaFilter::DueSoon, now)],
            Some(sla) => vec![Part::open(asked, sla, now), Part::ended(asked, sla == SlaFilter::Breached)],
        };
        let mut query = Self {
            tenant: cx.tenant().0,
            assignees,
            parts,
            is_of_execution: request.execution_id.is_some(),
            conditions: String::new(),
            values: Vec::new(),
            descending,
            most: request.page.size() + 1,
        };
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

    /// The ids of the page's tasks, in order, and of one more.
    fn ids(&self, connection: &Connection) -> Result<Vec<String>> {
        let mut found = BTreeSet::new();
        for part in &self.parts {
            self.read(connection, part, &mut found)?;
        }
        let ids = found.into_iter();
        Ok(if self.descending { ids.rev().take(self.most).collect() } else { ids.take(self.most).collect() })
    }

    /// Reads the first ids of a part.
    fn read(&self, connection: &Connection, part: &Part, found: &mut BTreeSet<String>) -> Result<()> {
        let mut read = |id: &str, from: &str, ranges: Vec<Vec<Sql>>| {
            let (conditions, order) = (self.conditions.replace("{id}", id), if self.descending { "DESC" } else { "ASC" });
            let sql = format!("SELECT {id} FROM {from}{}{conditions} ORDER BY {id} {order} LIMIT {}", part.condition, self.most);
            first_of(connection, &sql, ranges.into_iter().map(|range| [range, part.values.clone(), self.values.clone()].concat()), found)
        };
        let tenant = || Sql::Text(self.tenant.clone());
        // The planner would rather walk all tasks of the tenant, which are in order as well.
        let by = |index| {
            let index = if self.is_of_execution { Some("tasks_execution") } else { index };
            index.map(|index| format!("INDEXED BY {index}")).unwrap_or_default()
        };
        match (&self.assignees, &part.statuses) {
            (None, None) => read("id", &format!("tasks {} WHERE tenant_id = ?", by(None)), vec![vec![tenant()]]),
            (None, Some(statuses)) => {
                let ranges = statuses.iter().map(|status| vec![tenant(), status.clone().into()]);
                read("id", &format!("tasks {} WHERE tenant_id = ? AND status = ?", by(Some(part.by_status))), ranges.collect())
            }
            (Some(assignees), statuses) => {
                let statuses = statuses.clone().unwrap_or_else(|| among(None, |_| true));
                let whose =
                    |(name, kind): &Assignee| vec![tenant(), name.clone().into(), kind.map_or(Sql::Null, |kind| kind.to_owned().into())];
                let given = assignees.iter().flat_map(|assignee| statuses.iter().map(move |status| (assignee, status)));
                read(
                    "id",
                    &format!(
                        "tasks {} WHERE tenant_id = ? AND assignee = ? AND assignee_kind = coalesce(?, assignee_kind) AND status = ?",
                        by(Some(part.by_assignee))
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
                )
            }
        }
    }
}
