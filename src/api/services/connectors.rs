//! Data Connector Service: ingestion jobs from databases, files and cloud storage (contract, section 11).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::ids::IngestJobId;
use crate::api::open_enum::open_enum;
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::service::{Change, Id, Layer, Lister, Resource};
use crate::api::{Effect, Operation, Permission, Service, Spec, Timestamp, long_work};

/// Data Connector Service.
pub const SERVICE: Service =
    Service::new("data-connector", "connectors", "DCS", "Imports of databases and files into the data hub, once or by schedule.")
        .layer(Layer::Integration)
        .operations(operations![Create, List, Get, Start, Cancel, TestConnection, Stats])
        .finder("`ingest_jobs_list` shows the imports and their ids; `audit_query` with resourceType ingest_job names those there are.")
        .ids(&[Id::own("jobId", "ingest-job").listed(Lister::new("ingest_jobs_list", &[], "jobId"))])
        .resources(&[
            Resource::new(
                "ingest/jobs/{id}",
                "ingest_jobs_get",
                "ingest-job",
                "Ingestion job",
                "An import: its source, destination, schedule and status.",
            )
            .takes(&[("id", "ingest-job")])
            .changed_by(&[Change::new("ingest.*", &["jobId"])]),
            Resource::new(
                "ingest/jobs/{id}/stats",
                "ingest_jobs_stats",
                "ingest-job-stats",
                "Statistics of an ingestion job",
                "What an import read, wrote and rejected.",
            )
            .takes(&[("id", "ingest-job")])
            .changed_by(&[Change::new("ingest.*", &["jobId"])]),
        ])
        .shown(&["sourceType", "destination", "schedule", "status", "startedAt", "createdAt"])
        .judged_by("status")
        .topics(&["ingest.*"]);

open_enum! {
    /// The kinds of sources.
    SourceType {
        /// A PostgreSQL database.
        Postgresql = "postgresql",
        /// A MySQL database.
        Mysql = "mysql",
        /// A SQL Server database.
        Sqlserver = "sqlserver",
        /// A MongoDB database.
        Mongodb = "mongodb",
        /// A DynamoDB table.
        Dynamodb = "dynamodb",
        /// Text with separated columns.
        Csv = "csv",
        /// One JSON object a line.
        Jsonl = "jsonl",
        /// Parquet files.
        Parquet = "parquet",
        /// Avro files.
        Avro = "avro",
        /// A file server by FTP.
        Ftp = "ftp",
        /// A file server by SFTP.
        Sftp = "sftp",
        /// Amazon S3.
        S3 = "s3",
        /// Google Cloud Storage.
        Gcs = "gcs",
        /// Azure Blob Storage.
        AzureBlob = "azure_blob",
    }
}

open_enum! {
    /// The states of a job.
    JobStatus {
        /// Waits for its start or its schedule.
        Created = "created",
        /// Queued to run.
        Pending = "pending",
        /// Reads and writes rows.
        Running = "running",
        /// The last run reached its end.
        Completed = "completed",
        /// The last run stopped at an error.
        Failed = "failed",
        /// Ended by a person.
        Cancelled = "cancelled",
    }
}

/// An ingestion job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// The job.
    pub job_id: IngestJobId,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<JobStatus>,
    /// The kind of source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_type: Option<SourceType>,
    /// Where the source is, and what is read of it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub source_config: Map<String, Value>,
    /// The names of the credentials that are set; values are never shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials_set: Vec<String>,
    /// Where the rows go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// The record type that is filled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_type: Option<String>,
    /// The source column that identifies a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_field: Option<String>,
    /// When it runs, as a cron expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Whether only changed rows are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cdc_enabled: Option<bool>,
    /// When it was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When the last run began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the last run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// When the next run is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_run_at: Option<Timestamp>,
    /// Why the last run failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The replication slot at the source, which keeps the source's log until the job is cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication_slot: Option<String>,
}

/// Sets up a new import of data into our hub (ingestion job), once or on a schedule.
///
/// Load the CSV files from an FTP server each night, copy the old SQL or Mongo database, pull a bucket or Azure storage
/// every hour, arrange a daily sync of the ERP table, prepare a feed, or bring over changed customers each morning as
/// we need.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Create {
    /// Kind of source.
    pub source_type: SourceType,
    /// Database: host, port, database, query. File: content, url or path. Storage: bucket, key.
    pub source_config: Map<String, Value>,
    /// Sign-in of the source by name, such as username.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Map<String, Value>>,
    /// Where the rows go, such as internal-data-hub.
    #[schemars(length(min = 1, max = 200))]
    pub destination: String,
    /// Record type of the data hub to fill.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub entity_type: Option<String>,
    /// Source column that identifies a row; id if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub key_field: Option<String>,
    /// Cron such as `0 0 * * *`; absent: started by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub schedule: Option<String>,
    /// Changed rows only (change data capture).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cdc_enabled: Option<bool>,
}

impl std::fmt::Debug for Create {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Create").field("source_type", &self.source_type).field("destination", &self.destination).finish_non_exhaustive()
    }
}

impl Operation for Create {
    type Output = Job;
    const SPEC: Spec = Spec::post("ingest_jobs_create", "/ingest/jobs", Effect::Write)
        .titled("Set up a regular data import")
        .requires(Permission::INGEST_CREATE)
        .answers(201)
        .id_alias("id")
        .evicts(&["ingest"]);
}

/// Lists the data imports that we have (ingestion jobs).
///
/// Which loads run each night, what source is being copied already from the ERP or other databases, how many feeds and
/// transfers are there in all, and does any fail?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct List {
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for List {
    type Output = Page<Job>;
    const SPEC: Spec = Spec::get("ingest_jobs_list", "/ingest/jobs", Effect::Read)
        .titled("Every data import or sync that is set up")
        .requires(Permission::INGEST_VIEW)
        .extension()
        .cached(10);
}

/// Tells the state of one data import (ingestion job, ingest-…).
///
/// Did the sync go well last night, why did the load fail or stop, look at its progress, is the source file still being
/// read or pulled, and when is the next CSV transfer scheduled?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// The job.
    pub id: IngestJobId,
}

impl Operation for Get {
    type Output = Job;
    const SPEC: Spec = Spec::get("ingest_jobs_get", "/ingest/jobs/{id}", Effect::Read)
        .titled("How one data import does, its status")
        .requires(Permission::INGEST_VIEW)
        .id_alias("id")
        .cached(2);
}

/// Runs a data import now (ingestion job), not at its time.
///
/// Load the fresh file right away without a wait, kick off or launch the sync by hand, begin the transfer again, get
/// the latest stock CSV going, or let the SQL or Mongo one go.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Start {
    /// The job.
    pub id: IngestJobId,
}

impl Operation for Start {
    type Output = Job;
    const SPEC: Spec = Spec::put("ingest_jobs_start", "/ingest/jobs/{id}/start", Effect::Send)
        .titled("Run a data import immediately")
        .requires(Permission::INGEST_START)
        .not_idempotent()
        .answers(202)
        .id_alias("id")
        .begins(long_work::Job { read: Get::SPEC.name, id: "jobId", cancel: Some(Cancel::SPEC.name), postponed_by: None })
        .evicts(&["ingest", "entities"]);
}

/// Stops a data import in progress (ingestion job). Rows already written stay.
///
/// Break off the load of the stock, kill or halt the sync of the wrong file, terminate or abort what is too slow, or
/// end the transfer from the Mongo server that hangs.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Cancel {
    /// The job.
    pub id: IngestJobId,
}

impl Operation for Cancel {
    type Output = Job;
    const SPEC: Spec = Spec::put("ingest_jobs_cancel", "/ingest/jobs/{id}/cancel", Effect::Destroy)
        .titled("Interrupt a data import")
        .requires(Permission::INGEST_CANCEL)
        .not_idempotent()
        .id_alias("id")
        .evicts(&["ingest"]);
}

/// Tests whether a data source can be reached and read, before an import.
///
/// Try to log in to the SQL or Mongo db, does the host of the database accept our password and key, is the bucket
/// readable, can we connect to the old FTP server here, is the port able to work, and will the SFTP file load?
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestConnection {
    /// Kind of source.
    pub source_type: SourceType,
    /// Database: host, port, database, query. File: content, url or path. Storage: bucket, key.
    pub source_config: Map<String, Value>,
    /// Sign-in of the source by name, such as username.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Map<String, Value>>,
}

impl std::fmt::Debug for TestConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestConnection").field("source_type", &self.source_type).finish_non_exhaustive()
    }
}

/// Whether a source can be read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceTest {
    /// Whether the source answers and accepts the sign-in.
    #[serde(default)]
    pub connected: bool,
    /// The columns that the source has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Seconds until the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<f64>,
    /// Why the source cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Operation for TestConnection {
    type Output = SourceTest;
    const SPEC: Spec = Spec::post("ingest_sources_test", "/ingest/test-connection", Effect::Send)
        .titled("See if a data source can be reached")
        .requires(Permission::INGEST_TEST)
        .repeatable();
}

/// Counts what a data import brought (ingestion job): rows loaded, rejected or skipped.
///
/// How much did the sync move or insert, how many lines of the file were duplicates or errors, and what are the
/// statistics, throughput and total number per run?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// The job.
    pub id: IngestJobId,
}

/// What the runs of a job did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobStats {
    /// The job.
    pub job_id: IngestJobId,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<JobStatus>,
    /// How many runs there were.
    #[serde(default)]
    pub runs: u64,
    /// Rows read in the last run.
    #[serde(default)]
    pub records_read: u64,
    /// Rows written in the last run.
    #[serde(default)]
    pub records_written: u64,
    /// Records deleted in the last run, since their rows are gone from the source.
    #[serde(default)]
    pub records_deleted: u64,
    /// Rows rejected in the last run and kept as dead letters.
    #[serde(default)]
    pub dead_letters: u64,
    /// Bytes read in the last run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_read: Option<u64>,
    /// Seconds that the last run took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<f64>,
    /// The point in the source up to which rows were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<String>,
    /// The checksum of the rows of the last run: SHA-256, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// Whether the counts of source and destination agree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconciled: Option<bool>,
    /// When the last run began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run_at: Option<Timestamp>,
    /// The replication slot at the source, as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication_slot: Option<ReplicationSlot>,
}

/// A place in a database's log that an import follows. The database removes no log behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationSlot {
    /// Its name at the source.
    pub name: String,
    /// Bytes of log that the database keeps for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_bytes: Option<u64>,
    /// What the database says of that log: reserved, extended, unreserved or lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_status: Option<String>,
    /// Why the source does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Operation for Stats {
    type Output = JobStats;
    const SPEC: Spec = Spec::get("ingest_jobs_stats", "/ingest/jobs/{id}/stats", Effect::Read)
        .titled("How many rows an import brought, how long")
        .requires(Permission::INGEST_VIEW)
        .id_alias("id")
        .cached(2);
}
