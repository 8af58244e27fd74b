//! How agents of the embedded platform reach language models.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How agents of the embedded platform reach language models.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSettings {
    /// Calls of one language model that a tenant of the embedded platform may make in a minute; 60 if absent, 0 for any number.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls_per_minute: Option<u32>,
    /// Tokens of one language model that a tenant of the embedded platform may use in 24 hours; 2000000 if absent, 0 for any
    /// number.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u64>,
    /// Providers of language models for the embedded platform's agents; without any, fixed rules answer.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<ProviderSettings>,
}

/// A provider of language models. Its key is in a file or in a variable, never here.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderSettings {
    /// Its name in logs.
    pub name: String,
    /// The form of its API.
    pub kind: ProviderForm,
    /// Address of its API, such as `https://api.openai.com/v1`.
    pub url: String,
    /// A file that holds its API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// An environment variable that holds its API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_variable: Option<String>,
    /// Its models, such as gpt-4; the first one of the first provider is the default.
    pub models: Vec<String>,
    /// Its share of the calls among the providers of the same model; 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: Option<u32>,
}

/// The form of a provider's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProviderForm {
    /// The chat completions of OpenAI, which many servers have too.
    Openai,
    /// The messages of Anthropic.
    Anthropic,
    /// Azure's OpenAI; its address ends with `/openai/v1`.
    AzureOpenai,
    /// Cohere's own form, which is not supported: use openai with its compatible address.
    Cohere,
}
