//! Audit & Compliance Service: who did what, reports, deletion requests (contract, section 20).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::ids::{AuditId, DeletionId, ReportId, TenantId};
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::{Effect, Operation, Permission, Service, Spec, Timestamp};

/// Audit & Compliance Service.
pub const SERVICE: Service =
    Service::new("audit-compliance", "audit", "ACS", "The trail of who did what, compliance reports and requests to delete personal data.")
        .operations(operations![Log, Query, ComplianceReport, DeleteRecords])
        .finder("`audit_query` shows the entries there are.")
        .shown(&["status"])
        .topics(&["audit.*", "records.*", "report.*"]);

/// What a change was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Changes {
    /// The fields before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Map<String, Value>>,
    /// The fields after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Map<String, Value>>,
}

/// A row of the audit trail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// The row.
    pub id: AuditId,
    /// Its place in the tenant's chain, from 1.
    #[serde(default)]
    pub sequence: u64,
    /// When it happened.
    pub timestamp: Timestamp,
    /// Who did it, as claimed.
    pub actor: String,
    /// Whose token recorded it.
    #[serde(default)]
    pub recorded_by: String,
    /// What was done, such as `task.responded`.
    pub action: String,
    /// The kind of thing it was done to.
    pub resource_type: String,
    /// The thing.
    pub resource_id: String,
    /// Before and after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
    /// The tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
    /// The request that did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Links the row to the one before it: SHA-256, hex.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
}

/// Adds a row to the audit trail: record, log or document something that was done.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    /// Who did it.
    #[schemars(length(min = 1, max = 200))]
    pub actor: String,
    /// What was done, such as `contract.signed`.
    #[schemars(length(min = 1, max = 200))]
    pub action: String,
    /// The kind of thing it was done to.
    #[schemars(length(min = 1, max = 100))]
    pub resource_type: String,
    /// The thing.
    #[schemars(length(min = 1, max = 256))]
    pub resource_id: String,
    /// Before and after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
    /// When; now if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
}

impl Operation for Log {
    type Output = AuditEntry;
    const SPEC: Spec = Spec::post("audit_log", "/audit-logs", Effect::Write)
        .names_users(&["actor"])
        .titled("Add an audit row")
        .requires(Permission::AUDIT_LOG)
        .answers(201)
        .names_tenant()
        .id_alias("auditId")
        .evicts(&["audit"]);
}

/// Searches the audit trail: who did, changed, approved or saw what, and when.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Query {
    /// Who did it, a user id; `me` for the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// What was done, such as `task.responded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The kind of thing, such as task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<String>,
    /// The thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// After this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_after: Option<Timestamp>,
    /// Before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_before: Option<Timestamp>,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for Query {
    type Output = Page<AuditEntry>;
    const SPEC: Spec = Spec::get("audit_query", "/audit-logs", Effect::Read)
        .names_users(&["actor"])
        .titled("Search the audit trail")
        .requires(Permission::AUDIT_VIEW)
        .id_alias("auditId");
}

/// The standards a report can follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Standard {
    /// Personal data.
    Gdpr,
    /// Security controls.
    Soc2,
    /// Health data.
    Hipaa,
}

/// Makes a compliance report with evidence from the audit trail: GDPR, SOC2 or HIPAA.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ComplianceReport {
    /// The standard.
    pub standard: Standard,
    /// From this time; 90 days ago if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// To this time; now if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

/// A compliance report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The report.
    pub report_id: ReportId,
    /// The standard it follows.
    pub standard: Standard,
    /// The period's begin.
    pub from: Timestamp,
    /// The period's end.
    pub to: Timestamp,
    /// When it was made.
    pub generated_at: Timestamp,
    /// Whether the trail is whole: `verified`, `rows`, `head`.
    #[serde(default)]
    pub chain: Map<String, Value>,
    /// Each control with its evidence.
    #[serde(default)]
    pub controls: Vec<Control>,
}

/// One control of a standard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Control {
    /// The control, such as `CC6.1`.
    pub control: String,
    /// What it asks for.
    pub title: String,
    /// `evidence` or `no_evidence`: whether the trail holds any; an auditor judges it.
    pub status: String,
    /// How many rows speak to it.
    pub count: u64,
    /// Some of them, by id.
    #[serde(default)]
    pub evidence: Vec<AuditId>,
}

impl Operation for ComplianceReport {
    type Output = Report;
    const SPEC: Spec = Spec::post("audit_report", "/reports/compliance", Effect::Read)
        .titled("Make a compliance report")
        .requires(Permission::AUDIT_VIEW)
        .answers(201)
        .repeatable()
        .id_alias("id");
}

/// Requests that personal data be deleted (GDPR): a data subject's right to be forgotten, in 30 days.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeleteRecords {
    /// The person, a user id or another name of theirs in the trail.
    #[schemars(length(min = 1, max = 256))]
    pub subject: String,
    /// Why, for the trail.
    #[schemars(length(min = 1, max = 1000))]
    pub reason: String,
}

/// A request to delete personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletionRequest {
    /// The request.
    pub request_id: DeletionId,
    /// pending, held or done.
    pub status: String,
    /// The person.
    pub subject: String,
    /// When it was filed.
    pub requested_at: Timestamp,
    /// When the data will be made unreadable.
    pub due_at: Timestamp,
}

impl Operation for DeleteRecords {
    type Output = DeletionRequest;
    const SPEC: Spec = Spec::delete("records_delete", "/records", Effect::Destroy)
        .titled("Request deletion of personal data")
        .requires(Permission::RECORD_DELETE)
        .with_body()
        .not_idempotent()
        .answers(202);
}
