//! Names that filters know: what the platform itself writes, and what a tenant's rows hold. Any other name is refused,
//! since a filter by it could only answer that nothing matched.

use rusqlite::{Connection, OptionalExtension as _};

use crate::api::arguments::quote;
use crate::api::near::nearest;
use crate::error::Result;

/// How many names an error lists.
const MAX_LISTED: usize = 30;
/// How many names of a tenant are looked at.
const MAX_KNOWN: usize = 200;

/// What happens on the platform: the actions of its own audit entries, and the topics of its events.
pub(crate) const ACTIONS: &[&str] = &[
    "agent.invoked",
    "agent.registered",
    "agent.tool_executed",
    "agent.updated",
    "approval_chain.configured",
    "audit.segment_closed",
    "channel.registered",
    "company.created",
    "company.moved",
    "conversation.linked",
    "dashboard.created",
    "dashboard.deleted",
    "dataset.created",
    "document.extracted",
    "document.uploaded",
    "entity.defined",
    "entity.deleted",
    "entity.inserted",
    "entity.redefined",
    "entity.updated",
    "event.published",
    "execution.cancelled",
    "execution.compensated",
    "execution.compensating",
    "execution.completed",
    "execution.failed",
    "execution.paused",
    "execution.resumed",
    "execution.started",
    "execution.waiting",
    "feedback.submitted",
    "ingest.cancelled",
    "ingest.completed",
    "ingest.created",
    "ingest.failed",
    "ingest.started",
    "integration.called",
    "integration.created",
    "integration.queued",
    "integration.synced",
    "integration.tested",
    "integration.updated",
    "kpi.defined",
    "legal_hold.placed",
    "legal_hold.released",
    "message.failed",
    "message.queued",
    "message.received",
    "message.sent",
    "notification.failed",
    "notification.queued",
    "notification.sent",
    "portal.branding_changed",
    "portal.created",
    "portal.features_changed",
    "process.created",
    "process.published",
    "process.updated",
    "prompt.created",
    "prompt.published",
    "records.deletion_requested",
    "records.erased",
    "report.generated",
    "retraining.completed",
    "retraining.failed",
    "retraining.scheduled",
    "role.created",
    "role.permissions_assigned",
    "schedule.created",
    "schedule.deleted",
    "schedule.failed",
    "schedule.fired",
    "schedule.skipped",
    "schedule.started",
    "schedule.updated",
    "schema.discovered",
    "schema.profiled",
    "schema.scored",
    "service.deregistered",
    "service.expired",
    "service.health_changed",
    "service.registered",
    "service_token.created",
    "subscription.created",
    "subscription.dead_letter",
    "subscription.deleted",
    "subscription.secret_replaced",
    "task.assigned",
    "task.breached",
    "task.cancelled",
    "task.created",
    "task.escalated",
    "task.responded",
    "template.created",
    "user.attempts_exhausted",
    "user.created",
    "user.password_set",
    "user.refresh_reused",
    "user.roles_assigned",
    "user.signed_in",
    "user.signed_out",
];

/// What the platform's own audit entries are about.
pub(crate) const RESOURCE_TYPES: &[&str] = &[
    "agent",
    "audit_segment",
    "channel",
    "company",
    "conversation",
    "dashboard",
    "dataset",
    "deletion_request",
    "discovered_schema",
    "document",
    "entity",
    "entity_type",
    "event",
    "execution",
    "feedback",
    "ingest_job",
    "integration",
    "kpi",
    "legal_hold",
    "notification",
    "portal",
    "process",
    "prompt",
    "report",
    "retraining_job",
    "role",
    "schedule",
    "service",
    "service_token",
    "subscription",
    "task",
    "template",
    "user",
];

/// A column whose values are names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    /// The table; it has an index on the tenant and the column.
    pub(crate) table: &'static str,
    /// The column.
    pub(crate) column: &'static str,
    /// What the platform itself writes there; it need not have been written yet.
    pub(crate) own: &'static [&'static str],
}

impl Names {
    /// Says why a name is unknown; nothing if it is known.
    pub(crate) fn unknown(self, connection: &Connection, tenant: &str, name: &str) -> Result<Option<String>> {
        let Self { table, column, own } = self;
        let exists = format!("SELECT 1 FROM {table} WHERE tenant_id = ? AND {column} = ? LIMIT 1");
        if own.contains(&name) || connection.prepare_cached(&exists)?.query_row((tenant, name), |_| Ok(())).optional()?.is_some() {
            return Ok(None);
        }
        let present = self.of(connection, tenant)?;
        let known: Vec<&str> =
            present.iter().map(String::as_str).chain(own.iter().copied().filter(|own| !present.iter().any(|name| name == own))).collect();
        let near = nearest(name, &known).map_or_else(|| ".".to_owned(), |near| format!("; did you mean `{near}`?"));
        let more = if known.len() > MAX_LISTED { ", and others" } else { "" };
        let listed = known[..known.len().min(MAX_LISTED)].join(", ");
        Ok(Some(format!("is {}, which is not known here{near} Known are {listed}{more}", quote(name))))
    }

    /// The names that a tenant's rows hold, each found by one step in the index; the first of them, where there are many.
    pub(crate) fn of(self, connection: &Connection, tenant: &str) -> Result<Vec<String>> {
        self.walk(connection, tenant, "", MAX_KNOWN)
    }

    /// The first names with a beginning that a tenant's rows hold.
    pub(crate) fn beginning(self, connection: &Connection, tenant: &str, prefix: &str, most: usize) -> Result<Vec<String>> {
        self.walk(connection, tenant, prefix, most)
    }

    fn walk(self, connection: &Connection, tenant: &str, prefix: &str, most: usize) -> Result<Vec<String>> {
        let Self { table, column, .. } = self;
        let within = format!("FROM {table} WHERE tenant_id = ?1 AND {column} < ?2 || char(1114111)");
        let sql = format!(
            "WITH RECURSIVE names (name) AS (
                 SELECT min({column}) {within} AND {column} >= ?2
                 UNION ALL
                 SELECT (SELECT min({column}) {within} AND {column} > name) FROM names WHERE name IS NOT NULL
             )
             SELECT name FROM names WHERE name IS NOT NULL LIMIT ?3"
        );
        let mut names = connection.prepare_cached(&sql)?;
        Ok(names.query_map((tenant, prefix, most), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
    }
}
