//! Process Design Service: process definitions and their versions (contract, section 1).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::ids::ProcessId;
use crate::api::open_enum::open_enum;
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::service::{Change, Id, Layer, Lister, Resource};
use crate::api::{Effect, Operation, Permission, Service, Spec, Timestamp};

/// Process Design Service.
pub const SERVICE: Service =
    Service::new("process-design", "processes", "PDS", "Designs, validates, tests, versions and publishes process definitions.")
        .layer(Layer::Core)
        .operations(operations![Create, Versions, Update, Publish, Validate, Sandbox, List, Get])
        .finder(
            "`processes_list` finds processes by name and shows their ids; `audit_query` with resourceType process, or `events_replay` \
             with topic process.created, names the processes there are.",
        )
        .ids(&[
            Id::of("processId", "process").listed(Lister::new("processes_list", &[], "id").named_by("name", "name", "")),
            Id::own("id", "process"),
        ])
        .resources(&[
            Resource::new(
                "processes/{id}",
                "processes_get",
                "process",
                "Process",
                "A process: its steps, who does them, and the inputs of a start.",
            )
            .takes(&[("id", "process")])
            .changed_by(&[Change::new("process.*", &["processId"])]),
            Resource::new(
                "processes/{id}/versions",
                "processes_versions",
                "process-versions",
                "Versions of a process",
                "The versions of a process with their steps, newest first.",
            )
            .takes(&[("id", "process")])
            .changed_by(&[Change::new("process.*", &["processId"])]),
        ])
        .shown(&["name", "status", "currentNode", "error", "version", "createdAt"])
        .topics(&["process.*"]);

/// One step of a process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Unique in the process.
    pub id: String,
    /// What the step does.
    #[serde(rename = "type")]
    pub kind: NodeKind,
    /// The step's name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// By type. human_task: assignee, title, form, sla, escalationChain, timeout, output. script: expression (CEL), output.
    /// gateway: mode (xor, or, and). timer: seconds or until. subprocess: processId, variables. Any: forEach, compensate, onError.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub config: Map<String, Value>,
}

open_enum! {
    /// The types of nodes.
    NodeKind {
        /// Where an execution begins.
        Start = "start",
        /// Where it completes.
        End = "end",
        /// Waits for a person.
        HumanTask = "human_task",
        /// Asks an AI agent.
        AiAgent = "ai_agent",
        /// Calls an external system.
        Integration = "integration",
        /// Computes variables by CEL.
        Script = "script",
        /// Waits for a time.
        Timer = "timer",
        /// Chooses or forks (xor, or, and).
        Gateway = "gateway",
        /// Runs another process.
        Subprocess = "subprocess",
        /// Sends a notification.
        Notification = "notification",
        /// Waits for a message from outside.
        Message = "message",
    }
}

/// A connection from one node to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Edge {
    /// The node it leaves.
    pub from: String,
    /// The node it leads to.
    pub to: String,
    /// CEL: `nodes.review.decision == 'approve'`; absent: else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

/// A variable that a process declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// string, number, boolean, object or array.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Whether a start must give it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
}

open_enum! {
    /// The states of a version.
    ProcessStatus {
        /// Can be changed; cannot be started.
        Draft = "draft",
        /// Can be started; cannot be changed.
        Published = "published",
    }
}

/// A process definition, as of its latest version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// The process.
    pub id: ProcessId,
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The version, semantic.
    pub version: String,
    /// Whether this version is a draft or published.
    pub status: ProcessStatus,
    /// When this version was created.
    pub created_at: Timestamp,
    /// When this version was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published_at: Option<Timestamp>,
    /// Counts of nodes and variables, and what the designer stored.
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

/// One version of a process with its definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcessVersion {
    /// The version and its state.
    #[serde(flatten)]
    pub process: Process,
    /// Its steps.
    #[serde(default)]
    pub nodes: Vec<Node>,
    /// The connections between them; without any, the nodes run in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<Edge>,
    /// The variables it declares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<Variable>,
}

/// Designs a new workflow (process) from scratch, as a draft: which step of a request comes first and which then, with
/// checks and approvals in sequence.
///
/// We need a flow for lost keys; HR has no definition for holidays yet, so draw one up; make a brand new claim
/// procedure where three nurses decide before finance pays; or sketch an application that starts without paper.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Create {
    /// What the process is called.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// The steps, in order unless edges say otherwise.
    pub nodes: Vec<Node>,
    /// Connections; needed for branches and loops only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edges: Option<Vec<Edge>>,
    /// The variables that a start gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variables: Option<Vec<Variable>>,
    /// Semantic version; 1.0.0 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Anything to keep with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

impl Operation for Create {
    type Output = Process;
    const SPEC: Spec = Spec::post("processes_create", "/processes/designs", Effect::Write)
        .titled("Define or build a new workflow")
        .requires(Permission::PROCESS_CREATE)
        .answers(201)
        .id_alias("processId")
        .evicts(&["processes"]);
}

/// Lists the versions of a workflow (process, proc-…): its history of revisions, editions and releases, and when each
/// came.
///
/// How did the procedure or flow for leave look before the change last year, and which past designs are there?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    /// The process.
    pub id: ProcessId,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for Versions {
    type Output = Page<ProcessVersion>;
    const SPEC: Spec = Spec::get("processes_versions", "/processes/{id}/versions", Effect::Read)
        .titled("Earlier and older versions of a workflow, what changed")
        .requires(Permission::PROCESS_VIEW)
        .id_alias("processId")
        .cached(60)
        .shared_in_tenant();
}

/// Changes the design of an existing workflow (process, proc-…), as a new draft; cases under way keep the old flow.
///
/// The procedure should ask for a second check before the purchase, so insert, add, swap or rename a step, remove the
/// fax, or modify a limit and edit an extra day, too.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Update {
    /// The process.
    pub id: ProcessId,
    /// The new name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub name: Option<String>,
    /// All steps, old ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<Node>>,
    /// All connections, old ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edges: Option<Vec<Edge>>,
    /// All variables, old ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variables: Option<Vec<Variable>>,
    /// The draft's version; the next minor one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Replaces what was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

impl Operation for Update {
    type Output = Process;
    const SPEC: Spec = Spec::put("processes_update", "/processes/{id}", Effect::Write)
        .titled("Change the steps of a workflow")
        .requires(Permission::PROCESS_UPDATE)
        .not_idempotent()
        .id_alias("processId")
        .evicts(&["processes"]);
}

/// Makes the draft of a workflow (process, proc-…) the valid version, which is then final.
///
/// Release the procedure for use, it is ready now, so activate the flow or put it into production, let the new purchase
/// or leave process take force, make the official design live so that everyone can start it, or roll it out.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Publish {
    /// The process.
    pub id: ProcessId,
    /// The version to publish; the latest draft if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl Operation for Publish {
    type Output = Process;
    const SPEC: Spec = Spec::post("processes_publish", "/processes/{id}/publish", Effect::Write)
        .titled("Release or activate a workflow")
        .requires(Permission::PROCESS_PUBLISH)
        .id_alias("processId")
        .evicts(&["processes"]);
}

/// Checks whether the design of a workflow (process, proc-…) is correct and complete enough for its release.
///
/// Proofread the draft, look if the definition has errors, red marks or invalid variables, a node without a mapping or
/// assignee, or dead ends, and verify that no form is wrong or broken and each step of the flow leads somewhere.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Validate {
    /// The process.
    pub id: ProcessId,
    /// The version; the latest if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What a validation found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Validation {
    /// Whether the process can be published.
    pub valid: bool,
    /// The version that was checked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// What keeps it from being published.
    #[serde(default)]
    pub errors: Vec<Finding>,
    /// What works, but hardly as meant.
    #[serde(default)]
    pub warnings: Vec<Finding>,
    /// Which variable likely fills which field.
    #[serde(default)]
    pub suggested_mappings: Vec<SuggestedMapping>,
}

/// One fault of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// A stable code, such as `UNREACHABLE`.
    pub code: String,
    /// The node it is at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    /// Where in the definition, as a JSON pointer.
    #[serde(default)]
    pub pointer: String,
    /// What is wrong and how to mend it.
    pub message: String,
}

/// A proposal of the Data Intelligence Service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SuggestedMapping {
    /// Where the value comes from.
    pub source: String,
    /// Where it goes.
    pub target: String,
    /// 0 to 1.
    pub confidence: f64,
}

impl Operation for Validate {
    type Output = Validation;
    const SPEC: Spec = Spec::post("processes_validate", "/processes/{id}/validate", Effect::Read)
        .titled("Check a workflow draft for syntax mistakes")
        .requires(Permission::PROCESS_VIEW)
        .repeatable();
}

/// Plays a workflow (process, proc-…) through as a dry run, without real consequences.
///
/// Try the draft in a test mode, rehearse the procedure so that nothing is booked, simulate the flow with a fake order
/// or dummy applicant and made-up euros, and see how it behaves, what would happen and which path it takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sandbox {
    /// The process.
    pub id: ProcessId,
    /// The version; the latest if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What the start gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variables: Option<Map<String, Value>>,
    /// What people answer, by node id: `{"node-1": {"decision": "approve"}}`. A list: one pass after another;
    /// `{"timesOut": true}` and `{"fails": "why"}` take the other ways.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<Map<String, Value>>,
}

/// How a trial run went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// The version that was tried.
    pub version: String,
    /// How it ended, as an execution's status.
    pub status: String,
    /// The node where it waits, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_node: Option<String>,
    /// What happened, in order.
    #[serde(default)]
    pub trace: Vec<super::executions::HistoryEntry>,
    /// Variables and node states at the end.
    #[serde(default)]
    pub state: super::executions::State,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<super::executions::Failure>,
}

impl Operation for Sandbox {
    type Output = Trial;
    const SPEC: Spec = Spec::post("processes_sandbox", "/processes/{id}/sandbox", Effect::Read)
        .titled("Practice run of a workflow, a simulation")
        .requires(Permission::PROCESS_VIEW)
        .repeatable();
}

/// Lists the workflows (processes) of the company, published or still in draft.
///
/// Which procedures and definitions do we have in all, is there a flow for finance or for a lost key, is something in
/// the catalogue already, and which designs are unfinished, in an overview?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct List {
    /// Words of the name, or their beginnings.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub name: Option<String>,
    /// State of the latest version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ProcessStatus>,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for List {
    type Output = Page<Process>;
    const SPEC: Spec = Spec::get("processes_list", "/processes", Effect::Read)
        .titled("Find a workflow or procedure, such as for HR")
        .requires(Permission::PROCESS_VIEW)
        .id_alias("processId")
        .derivable_extension()
        .always_loaded();
}

/// Opens the definition of a workflow (process, proc-…): its design with nodes, conditions and variables.
///
/// What does the procedure consist of, who signs first, what comes after, can somebody explain a purchase, and can I
/// see how the current flow looks?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// The process.
    pub id: ProcessId,
    /// A version; the latest if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl Operation for Get {
    type Output = ProcessVersion;
    const SPEC: Spec = Spec::get("processes_get", "/processes/{id}", Effect::Read)
        .titled("How a workflow goes, explained step by step")
        .requires(Permission::PROCESS_VIEW)
        .id_alias("processId")
        .extension()
        .essential();
}
