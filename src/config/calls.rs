//! One call: its bounds, and what happens before one that deletes, decides or grants.

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The bounds of one call.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct CallSettings {
    /// Seconds that a tool may take, its repeated attempts included; 60 if absent.
    #[arg(skip)]
    #[schemars(range(min = 1, max = 3600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// How often a call is sent at most, where it may be repeated: reads, what does the same a second time, and what
    /// never left; 4 if absent.
    #[arg(skip)]
    #[schemars(range(min = 1, max = 10))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<usize>,
    /// Seconds until a connection to the platform has come about; 5 if absent.
    #[arg(skip)]
    #[schemars(range(min = 1, max = 3600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<u64>,
    /// Seconds until an attempt that may be repeated is answered; 30 if absent.
    #[arg(skip)]
    #[schemars(range(min = 1, max = 3600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_timeout: Option<u64>,
    /// Seconds from one part of an answer to the next; 30 if absent.
    #[arg(skip)]
    #[schemars(range(min = 1, max = 3600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<u64>,
    /// MiB of answers to reads that are kept for a moment, for the same caller; 0, which keeps none, if absent.
    #[arg(skip)]
    #[schemars(range(min = 0, max = 65536))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_size: Option<u64>,
    /// Seconds that a kept answer may be served beyond its time while its service is away, which it then says; 60 if
    /// absent.
    #[arg(skip)]
    #[schemars(range(min = 0, max = 3600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_stale: Option<u64>,
    /// Bytes that an answer may have: a longer page is fetched smaller, anything else is cut and says so; 32768 if absent.
    #[arg(skip)]
    #[schemars(range(min = 1024, max = 1_048_576))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_limit: Option<usize>,
}

/// What happens before a call that deletes, decides or grants.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct ConfirmSettings {
    /// How a person consents where the host cannot ask, or always (terminal); refuse on a real platform, host on the
    /// embedded one if absent.
    #[arg(long = "confirm", id = "confirm.fallback", global = true, value_name = "RULE", help_heading = "Settings")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// Seconds that a question waits for its answer; 300 if absent.
    #[arg(skip)]
    #[schemars(range(min = 1, max = 300))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

/// The rule for consent beside the host's questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// The call is refused and can be approved with `flowmaster-mcp confirm`.
    Refuse,
    /// The host's own approval dialog counts.
    Host,
    /// No host is asked: every call that needs consent waits for `flowmaster-mcp confirm`.
    Terminal,
}
