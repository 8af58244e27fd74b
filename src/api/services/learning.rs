//! Learning Management Service: feedback on agents, training datasets, retraining and drift (contract, section 8).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::ids::{AgentId, DatasetId, ExecutionId, FeedbackId, PromptId, RetrainingJobId};
use crate::api::open_enum::open_enum;
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::service::{Change, Id, Layer, Lister, Resource};
use crate::api::{Effect, Operation, Permission, Service, Spec, Timestamp, long_work};

/// Learning Management Service.
pub const SERVICE: Service = Service::new(
    "learning-management",
    "learning",
    "LMS",
    "Feedback on the answers of AI agents, training datasets, retraining and drift.",
)
.layer(Layer::Intelligence)
.operations(operations![Submit, Query, CreateDataset, Schedule, GetJob, Drift, ListDatasets, ListJobs])
.finder("`feedback_query` shows the feedback there is; `datasets_list` the datasets; `retraining_jobs_list` the retraining jobs.")
.ids(&[
    Id::of("feedbackId", "feedback").listed(Lister::new("feedback_query", &[], "feedbackId")),
    Id::of("datasetId", "dataset").listed(Lister::new("datasets_list", &[], "datasetId")),
    Id::own("jobId", "retraining-job").listed(Lister::new("retraining_jobs_list", &[], "jobId")),
])
.resources(&[
    Resource::new(
        "retraining/jobs/{id}",
        "retraining_jobs_get",
        "retraining-job",
        "Retraining job",
        "A retraining of an AI agent: its status, progress and outcome.",
    )
    .takes(&[("id", "retraining-job")])
    .changed_by(&[Change::new("retraining.*", &["jobId"])]),
    Resource::new(
        "agents/{id}/metrics/drift",
        "agents_drift",
        "agent-drift",
        "Drift of an agent",
        "The recent feedback on an AI agent against its baseline.",
    )
    .takes(&[("id", "agent")])
    .changed_by(&[Change::new("feedback.*", &["agentId"])]),
])
.shown(&["agentId", "promptId", "feedback", "name", "records", "datasetId", "status", "scheduledAt", "createdAt"])
.topics(&["feedback.*", "dataset.*", "retraining.*"]);

/// A judgement of one answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Assessment {
    /// Share of the answer that is right, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub accuracy: Option<f64>,
    /// Satisfaction in stars, 0 to 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 5))]
    pub user_satisfaction: Option<f64>,
    /// Text that was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_output: Option<String>,
    /// Text that the agent gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual_output: Option<String>,
    /// Remarks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
}

/// Feedback on an answer of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Feedback {
    /// The feedback.
    pub feedback_id: FeedbackId,
    /// The execution in which the agent answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
    /// The agent that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// Version of the agent at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    /// The prompt that it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_id: Option<PromptId>,
    /// Version of the prompt at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_version: Option<String>,
    /// The judgement.
    #[serde(default)]
    pub feedback: Assessment,
    /// User who gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submitted_by: Option<String>,
    /// Time at which it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
}

/// Takes feedback on an answer of an AI agent: a rating, comment or correction.
///
/// The bot was wrong, invented something or was too strict, so leave two out of 5 stars or a thumbs down; the summary
/// was excellent or helpful; the reply was rubbish, mark the output or translation as bad or not correct, or tell the
/// assistant which answer would be expected.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Submit {
    /// The execution in which the agent answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
    /// The agent that answered.
    pub agent_id: AgentId,
    /// The prompt that it answered.
    pub prompt_id: PromptId,
    /// Version of the prompt; the published one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_version: Option<String>,
    /// Judgement of the answer.
    pub feedback: Assessment,
}

impl Operation for Submit {
    type Output = Feedback;
    const SPEC: Spec = Spec::post("feedback_submit", "/feedback", Effect::Write)
        .titled("Give an AI answer a rating or correction")
        .requires(Permission::FEEDBACK_SUBMIT)
        .answers(201)
        .evicts(&["feedback", "agents_drift"]);
}

/// Shows the feedback that users gave on an AI agent or prompt.
///
/// How satisfied are teachers or nurses with the bot, did anyone find its translations wrong, how did people rate its
/// answers or accuracy, can I read what comments, evaluations and opinions it got, and are there thumbs down about
/// support?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Query {
    /// Feedback on this agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// Feedback on this prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_id: Option<PromptId>,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for Query {
    type Output = Page<Feedback>;
    const SPEC: Spec = Spec::get("feedback_query", "/feedback", Effect::Read)
        .titled("What people think of an AI assistant")
        .requires(Permission::FEEDBACK_VIEW);
}

/// Gathers examples into a training set (dataset) from which an AI agent can learn.
///
/// Collect good and bad replies of the bot, bundle the best rated answers of a quarter, make labelled material out of
/// corrections and feedback, assemble a collection, or prepare what shall teach the model.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateDataset {
    /// Name of the dataset.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// Answers of this agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// Answers to this prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_id: Option<PromptId>,
    /// Answers after this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_after: Option<Timestamp>,
    /// Answers before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_before: Option<Timestamp>,
}

/// A training dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dataset {
    /// The dataset.
    pub dataset_id: DatasetId,
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The agent whose answers it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// The prompt whose answers it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_id: Option<PromptId>,
    /// Number of its examples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// Format of its content, such as jsonl.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Digest of its content: SHA-256, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Creation time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
}

impl Operation for CreateDataset {
    type Output = Dataset;
    const SPEC: Spec = Spec::post("datasets_create", "/datasets", Effect::Write)
        .titled("Gather training examples for the AI")
        .requires(Permission::DATASET_CREATE)
        .answers(201);
}

open_enum! {
    /// The states of a retraining job.
    JobStatus {
        /// Accepted, not begun.
        Pending = "pending",
        /// At work.
        Running = "running",
        /// Done.
        Completed = "completed",
        /// Stopped at an error.
        Failed = "failed",
        /// Ended by a person.
        Cancelled = "cancelled",
    }
}

/// A retraining of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetrainingJob {
    /// The job.
    pub job_id: RetrainingJobId,
    /// State of the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<JobStatus>,
    /// The agent that learns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// The prompt that it learns to answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_id: Option<PromptId>,
    /// The dataset that it learns from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset_id: Option<DatasetId>,
    /// Progress in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// Planned start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<Timestamp>,
    /// Actual start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// End.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// Creation time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// Scores before and after, by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metrics: Map<String, Value>,
    /// Product of the training, such as a scored few-shot set.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub artifact: Map<String, Value>,
    /// Cause of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<JobFailure>,
}

/// The cause of a job's failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobFailure {
    /// A stable code.
    #[serde(default)]
    pub code: String,
    /// The cause in words.
    #[serde(default)]
    pub message: String,
}

/// Has an AI agent trained again (retraining) on a dataset, at once or at a set time.
///
/// Plan to teach the bot at 2 am, let the model learn from new examples at the weekend or on Sunday, fine-tune the
/// assistant anew with corrections, or queue it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// The agent to retrain.
    pub agent_id: AgentId,
    /// The dataset to learn from.
    pub dataset_id: DatasetId,
    /// The prompt to learn for; all of them if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_id: Option<PromptId>,
    /// Start time; at once if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<Timestamp>,
}

impl Operation for Schedule {
    type Output = RetrainingJob;
    const SPEC: Spec = Spec::post("retraining_jobs_schedule", "/retraining/jobs", Effect::Write)
        .titled("Have an AI assistant trained")
        .requires(Permission::RETRAINING_SCHEDULE)
        .answers(202)
        .begins(long_work::Job { read: GetJob::SPEC.name, id: "jobId", cancel: None, postponed_by: Some("scheduledAt") })
        .evicts(&["retraining_jobs"]);
}

/// Tells how one training of an AI agent is coming along (retraining job, retrain-…).
///
/// Did the bot learn, when will it be done or has it not begun yet, why did the model fail, how far is the fine-tuning,
/// and is the run still in the queue?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetJob {
    /// The retraining job.
    pub id: RetrainingJobId,
}

impl Operation for GetJob {
    type Output = RetrainingJob;
    const SPEC: Spec = Spec::get("retraining_jobs_get", "/retraining/jobs/{id}", Effect::Read)
        .titled("Progress and result of one AI training")
        .requires(Permission::RETRAINING_VIEW)
        .cached(2);
}

/// Compares how accurate an AI agent is now with what it was, its baseline (drift).
///
/// Did the quality or correctness of the answers slip or sink over the months, is the bot still as good or much worse
/// and less reliable than in spring, and is the accuracy or precision of the assistant or model down from what it used
/// to hit?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Drift {
    /// The agent.
    pub id: AgentId,
}

/// The drift of an agent's performance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftReport {
    /// The agent.
    pub agent_id: AgentId,
    /// Whether a score is significantly worse than its baseline; absent while there are too few ratings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drifted: Option<bool>,
    /// Each score against its baseline.
    #[serde(default)]
    pub metrics: Vec<MetricDrift>,
    /// Time of the comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured_at: Option<Timestamp>,
}

/// One score against its baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricDrift {
    /// Name of the score: accuracy or userSatisfaction.
    pub metric: String,
    /// Its average in the baseline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// Its average in recent feedback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recent: Option<f64>,
    /// Difference of the two in standard errors; negative if worse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<f64>,
    /// Number of ratings in the baseline.
    #[serde(default)]
    pub baseline_samples: u64,
    /// Number of recent ratings.
    #[serde(default)]
    pub recent_samples: u64,
}

impl Operation for Drift {
    type Output = DriftReport;
    const SPEC: Spec = Spec::get("agents_drift", "/agents/{id}/metrics/drift", Effect::Read)
        .titled("Check whether an AI agent has become worse")
        .requires(Permission::AGENT_VIEW);
}

/// Lists the training sets (datasets) that we have for the AI.
///
/// Which collections of examples are there to teach the bot, what learning material was gathered, and do I find any
/// labelled data for an agent or model?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListDatasets {
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for ListDatasets {
    type Output = Page<Dataset>;
    const SPEC: Spec = Spec::get("datasets_list", "/datasets", Effect::Read)
        .titled("Training sets collected for the AI")
        .requires(Permission::FEEDBACK_VIEW)
        .extension();
}

/// Lists the trainings of AI agents (retraining jobs), past, running and planned.
///
/// Which bot is being trained at the moment, is any fine-tuning next in the queue, and what learning failed this month?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListJobs {
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for ListJobs {
    type Output = Page<RetrainingJob>;
    const SPEC: Spec = Spec::get("retraining_jobs_list", "/retraining/jobs", Effect::Read)
        .titled("All trainings of our AI models, how often")
        .requires(Permission::RETRAINING_VIEW)
        .extension();
}
