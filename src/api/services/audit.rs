//! Audit & Compliance Service: who did what, reports, deletion requests (contract, section 20).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::ids::{AuditId, DeletionId, ReportId, TenantId};
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::service::{Layer, Resource};
use crate::api::{Effect, Operation, Permission, Service, Spec, Timestamp};

/// Audit & Compliance Service.
pub const SERVICE: Service =
    Service::new("audit-compliance", "audit", "ACS", "The trail of who did what, compliance reports and requests to delete personal data.")
        .layer(Layer::Support)
        .operations(operations![Log, LogBatch, Query, ComplianceReport, DeleteRecords, PreviewDeletion, GetDeletion])
        .finder("`audit_query` shows the entries there are.")
        .resources(&[Resource::new(
            "records/{id}",
            "records_get",
            "deletion-request",
            "Deletion request",
            "A request to delete personal data: its status, its reach and what was done.",
        )])
        .shown(&["status", "account", "entries", "records", "texts", "counts", "held", "partial", "covers"])
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
    /// Whether a caller logged it, and the platform only keeps what it says; absent where that is not known. It is evidence
    /// only if this is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<bool>,
}

/// Enters in the audit log what was done by hand or on paper; kept as a claim, not as evidence.
///
/// Add an entry that the safe was opened at night; make a note for compliance that a limit must be passed; write down
/// officially as proof what a user did with a backup; document it in the register or protocol.
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
        .titled("Record something for the auditors")
        .requires(Permission::AUDIT_LOG)
        .answers(201)
        .names_tenant()
        .id_alias("auditId")
        .evicts(&["audit"]);
}

/// Most entries of a batch.
pub const MAX_BATCH: usize = 256;

/// Records entries of the audit log together, for servers that log what they do; it is not a tool.
///
/// Beyond the contract. All of them are recorded or none. An entry that was recorded before under its id is not recorded
/// again.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LogBatch {
    /// The entries, in their order.
    #[schemars(length(min = 1, max = 256))]
    pub entries: Vec<BatchEntry>,
}

/// An entry of a batch.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchEntry {
    /// The entry, by an id of the caller's.
    #[schemars(length(min = 1, max = 200))]
    pub id: String,
    /// What it says.
    pub entry: Log,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recorded {
    /// How many of its entries were new.
    pub recorded: u32,
}

impl Operation for LogBatch {
    type Output = Recorded;
    const SPEC: Spec = Spec::post("audit_log_batch", "/audit-logs/batch", Effect::Write)
        .titled("Record entries of the audit log")
        .requires(Permission::AUDIT_LOG)
        .answers(201)
        .repeatable()
        .internal()
        .extension()
        .evicts(&["audit"]);
}

/// Finds in the audit trail who did what and when.
///
/// Who changed the bank account or price, by whom was a contract or data opened, who gave the admin access to the
/// system on Sunday or Tuesday, look which entries there are of last week, and who did that deletion in the log?
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
        .titled("Who did it, and when, by day or night, who changed it")
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

/// Produces a compliance report as proof that we keep the rules of GDPR, SOC2 or HIPAA.
///
/// Auditors or an inspector come, so create evidence for the data protection officer, a statement for the authority
/// about last quarter, or prove to the board that patient privacy is kept.
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
    /// How many rows speak to it, of those that the platform itself wrote.
    pub count: u64,
    /// How many rows say that they speak to it, and were claimed by callers or are of before this was told apart: no evidence.
    #[serde(default)]
    pub claimed: u64,
    /// Some of them, by id.
    #[serde(default)]
    pub evidence: Vec<AuditId>,
}

impl Operation for ComplianceReport {
    type Output = Report;
    const SPEC: Spec = Spec::post("audit_report", "/reports/compliance", Effect::Read)
        .titled("Compliance report for regulators")
        .requires(Permission::AUDIT_VIEW)
        .answers(201)
        .repeatable()
        .id_alias("id");
}

/// What a deletion request reaches, for people who ask or decide.
pub const DELETION_COVERS: &str = "audit entries, the account, records, variables and results of executions, tasks and answers, \
events, documents, feedback, datasets, notifications, approvals, definitions: by id or address, not by names in free text";

/// Requests that all personal data of a person is erased (GDPR): unreadable after 30 days. Decisions stay under a
/// pseudonym; names in free text are not found.
///
/// A former or ex employee wants to be forgotten, so remove everything about him; a patient or child demands deletion
/// for privacy (article 17), so file the erasure and purge every trace of a user.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeleteRecords {
    /// The person: id, account name or e-mail address.
    #[schemars(length(min = 1, max = 256))]
    pub subject: String,
    /// Why, for the trail.
    #[schemars(length(min = 1, max = 1000))]
    pub reason: String,
}

/// A request that personal data be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletionRequest {
    /// The request.
    pub request_id: DeletionId,
    /// pending, held, erasing or done.
    pub status: String,
    /// The person; once it is done, the pseudonym that stands in their place.
    pub subject: String,
    /// When it was filed.
    pub requested_at: Timestamp,
    /// When the data will be made unreadable.
    pub due_at: Timestamp,
    /// When that was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// How many things were erased so far, by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub erased: BTreeMap<String, u64>,
    /// What it reaches, and what not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub covers: String,
}

impl Operation for DeleteRecords {
    type Output = DeletionRequest;
    const SPEC: Spec = Spec::delete("records_delete", "/records", Effect::Destroy)
        .titled("Wipe the data of a person")
        .requires(Permission::RECORD_DELETE)
        .with_body()
        .not_idempotent()
        .previewed_by("records_preview")
        .answers(202);
}

/// Shows what an erasure would remove (GDPR), as a dry run before the deletion.
///
/// How much would be erased or disappear if we forget this person, what goes and would be wiped or deleted if somebody
/// is forgotten, and what would we lose in a purge?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PreviewDeletion {
    /// The person: id, account name or e-mail address.
    #[schemars(length(min = 1, max = 256))]
    pub subject: String,
}

/// What a deletion request would reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletionPreview {
    /// The person as asked for.
    pub subject: String,
    /// The ids and addresses that are looked for.
    #[serde(default)]
    pub names: Vec<String>,
    /// What will stand in their place.
    #[serde(default)]
    pub pseudonym: String,
    /// Whether an account goes.
    #[serde(default)]
    pub account: bool,
    /// How many audit entries name the person.
    pub entries: u64,
    /// How many records do.
    pub records: u64,
    /// How many other things do, such as tasks, executions, events and documents.
    pub texts: u64,
    /// All of them by kind.
    #[serde(default)]
    pub counts: BTreeMap<String, u64>,
    /// What a request reaches, and what not.
    #[serde(default)]
    pub covers: String,
    /// When it would be done if it were filed now.
    pub due_at: Timestamp,
    /// Whether a legal hold is against it.
    #[serde(default)]
    pub held: bool,
    /// Whether there is more than was counted.
    #[serde(default)]
    pub partial: bool,
}

impl Operation for PreviewDeletion {
    type Output = DeletionPreview;
    const SPEC: Spec = Spec::get("records_preview", "/records", Effect::Read)
        .titled("Personal information that an erasure affects")
        .requires(Permission::AUDIT_VIEW)
        .extension();
}

/// Tells how far the erasure of a person is (GDPR deletion request, erase-…).
///
/// Has the data of the former employee been erased yet, on which day will it be gone, was the privacy request carried
/// out, is he forgotten, did the wipe or purge go through, and what is the state of the case?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetDeletion {
    /// The request.
    pub id: DeletionId,
}

impl Operation for GetDeletion {
    type Output = DeletionRequest;
    const SPEC: Spec = Spec::get("records_get", "/records/{id}", Effect::Read)
        .titled("Check how far an erasure is, if complete")
        .requires(Permission::AUDIT_VIEW)
        .extension();
}
