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

/// Arranges a transfer into our system: import, copy and fetch each day or night only new or all customers, staff or
/// the master list from an old Postgres or MySQL database, ERP, FTP or SFTP folder.
///
/// Also: bucket, CSV file or spreadsheet; migrate the base, load it every hour, Sunday or once. Synchronise on a
/// regular basis.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Create {
    /// Kind of source.
    pub source_type: SourceType,
    /// Databases: host, port, database, query. Files: content, url or path. Storage: bucket, key.
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
    /// Cron expression, such as `0 0 * * *`; absent: started by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub schedule: Option<String>,
    /// Whether to read changed rows only (change data capture).
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

/// Lists imports (ingestion jobs): which nightly loads, syncs and transfers from the ERP or other databases exist, what
/// data comes in automatically every night, any that failed or run.
///
/// Find the import of a price list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct List {
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for List {
    type Output = Page<Job>;
    const SPEC: Spec = Spec::get("ingest_jobs_list", "/ingest/jobs", Effect::Read)
        .titled("Which imports, nightly loads, feeds and database syncs do we already have")
        .requires(Permission::INGEST_VIEW)
        .extension()
        .cached(10);
}

/// Gives the state of one import: did last night's load, sync or migration go well, is the CSV transfer done, still
/// running or broken, how is it doing, when does the next nightly sync take place.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// The job.
    pub id: IngestJobId,
}

impl Operation for Get {
    type Output = Job;
    const SPEC: Spec = Spec::get("ingest_jobs_get", "/ingest/jobs/{id}", Effect::Read)
        .titled("Is an import, load or sync finished yet or did it fail, and why: its status")
        .requires(Permission::INGEST_VIEW)
        .id_alias("id")
        .cached(2);
}

/// Kicks off one load: pull, refresh or sync the latest stock data immediately, just once more or again, not tonight;
/// begin, launch, repeat or rerun the ingestion or transfer, a fresh CSV is up.
///
/// Also: get it right away.
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

/// Aborts a load: stop, halt, interrupt or break off the import, sync, ingestion or transfer at once, since it takes
/// too long, hangs, reads the wrong database or slows us down.
///
/// Also: the source is maintained; kill, end or shut it down. Rows already written stay.
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

/// Tries the source before a load: can we reach the host, database server, MySQL, FTP, SFTP or bucket, is it readable,
/// do these credentials and the password work, see if we are able to connect.
///
/// Also: login and read, would it succeed.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestConnection {
    /// Kind of source.
    pub source_type: SourceType,
    /// Databases: host, port, database, query. Files: content, url or path. Storage: bucket, key.
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
        .titled("See whether a data source can be reached with a login")
        .requires(Permission::INGEST_TEST)
        .repeatable();
}

/// Counts a load: how many records, lines of the CSV or customers came across in the transfer or sync, were taken over,
/// skipped, rejected, duplicates or errors, did we lose any rows.
///
/// Also: is the number equal to the source, how much, how big, total and duration for the protocol.
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
        .titled("How many rows an import or transfer loaded, rejected, skipped or lost: the count")
        .requires(Permission::INGEST_VIEW)
        .id_alias("id")
        .cached(2);
}
