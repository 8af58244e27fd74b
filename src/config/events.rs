//! What happens on the platform, told to hosts by MCP Events.

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kafka::KafkaSettings;

/// What happens on the platform, told to hosts by MCP Events.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct EventSettings {
    /// Which numbers the errors of MCP Events have: `draft` (-32011 to -32015, which ChatGPT reads) or `final` (-32023 to -32027, of SEP-3415); draft if absent.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_numbers: Option<ErrorNumbers>,
    /// Events by webhook.
    #[arg(skip)]
    pub webhooks: WebhookSettings,
    /// The platform's Apache Kafka.
    #[arg(skip)]
    pub kafka: KafkaSettings,
}

/// Events by webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookSettings {
    /// Hosts that events may be sent to over HTTPS, such as `hooks.example.com`, if they are on the public internet; none if absent. For trials on one machine also its address with the port, such as `127.0.0.1:9000`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_hosts: Vec<String>,
}

/// A table of error numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ErrorNumbers {
    /// Those of the draft.
    #[default]
    Draft,
    /// Those of SEP-3415.
    Final,
}
