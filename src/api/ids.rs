//! Typed ids: `<prefix>-<uuidv7>` where the platform mints them, opaque everywhere else.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU32, Ordering};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// Mints an id with a prefix; ids sort by the time they were made, and within a millisecond as they were made.
#[must_use]
pub fn mint(prefix: &str, at: Timestamp) -> String {
    static MINTED: AtomicU32 = AtomicU32::new(0);
    let millis = u64::try_from(at.millis()).unwrap_or_default();
    let nanos = u32::try_from(millis % 1000).unwrap_or_default() * 1_000_000;
    let place = MINTED.fetch_add(1, Ordering::Relaxed);
    let time = uuid::Timestamp::from_unix_time(millis / 1000, nanos, u128::from(place), 32);
    format!("{prefix}-{}", uuid::Uuid::new_v7(time))
}

/// Returns what no id of a moment and none of a later one sorts before, and every id of an earlier one.
#[must_use]
#[cfg(feature = "platform")]
pub(crate) fn first_at(prefix: &str, millis: i64) -> String {
    // The first 48 bits of a UUID of version 7 are the milliseconds.
    let millis = u64::try_from(millis).unwrap_or_default();
    format!("{prefix}-{:08x}-{:04x}", millis >> 16, millis & 0xffff)
}

/// An id without a prefix, made now.
#[must_use]
pub(crate) fn unique() -> String {
    mint("", Timestamp::now()).split_off(1)
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// Mints a new id.
            #[must_use]
            pub fn mint(at: Timestamp) -> Self {
                Self(mint($prefix, at))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.to_owned())
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "minLength": 1, "maxLength": 256 })
            }
        }
    )*};
}

ids! {
    /// A process definition.
    ProcessId = "proc";
    /// A run of a process.
    ExecutionId = "exec";
    /// A human task.
    TaskId = "task";
    /// A record of the data hub.
    EntityId = "entity";
    /// A user.
    UserId = "user";
    /// A tenant.
    TenantId = "tenant";
    /// A role.
    RoleId = "role";
    /// A published event.
    EventId = "evt";
    /// A subscription to events.
    SubscriptionId = "sub";
    /// A row of the audit trail.
    AuditId = "audit";
    /// A report.
    ReportId = "report";
    /// A request to delete personal data.
    DeletionId = "erase";
    /// An integration with an outside system.
    IntegrationId = "int";
    /// An AI agent.
    AgentId = "agent";
    /// A prompt template.
    PromptId = "prompt";
    /// Feedback on an answer of an AI agent.
    FeedbackId = "feedback";
    /// A training dataset.
    DatasetId = "dataset";
    /// A retraining job.
    RetrainingJobId = "retrain";
    /// A discovered schema.
    SchemaId = "schema";
    /// A stored document.
    DocumentId = "doc";
    /// An ingestion job.
    IngestJobId = "ingest";
    /// A communication channel.
    ChannelId = "chan";
    /// A conversation with a person on a channel.
    ConversationId = "conv";
    /// A message of a conversation.
    MessageId = "msg";
    /// An instance of a service.
    InstanceId = "inst";
    /// A notification.
    NotificationId = "notif";
    /// A template of notifications.
    TemplateId = "tmpl";
    /// A portal.
    PortalId = "portal";
    /// A company.
    CompanyId = "company";
    /// A schedule.
    ScheduleId = "sched";
    /// A dashboard.
    DashboardId = "dash";
}
