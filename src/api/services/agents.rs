//! AI Agent Service: calls of language models through agents, their tools and their usage (contract, section 6).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::ids::AgentId;
use crate::api::open_enum::open_enum;
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::service::{Change, Id, Layer, Lister, Resource};
use crate::api::{Effect, Operation, Permission, Service, Spec};

/// AI Agent Service.
pub const SERVICE: Service =
    Service::new("ai-agent", "agents", "AIS", "AI agents: asks them, runs their tools, shows their usage of language models.")
        .layer(Layer::Intelligence)
        .operations(operations![Invoke, Stream, List, ExecuteTool, Metrics])
        .finder("`agents_list` shows the agents there are and their ids.")
        .ids(&[Id::of("agentId", "agent").listed(Lister::new("agents_list", &[], "agentId").named("name"))])
        .resources(&[
            Resource::new("agents", "agents_list", "agents", "Agents", "The AI agents that can be asked, with their models and tools.")
                .changed_by(&[Change::new("agent.registered", &[]), Change::new("agent.updated", &[])]),
            Resource::new(
                "agents/{id}/metrics",
                "agents_metrics",
                "agent-metrics",
                "Usage of an agent",
                "The usage of an AI agent: calls, tokens, latency and errors.",
            )
            .takes(&[("id", "agent")])
            .changed_by(&[Change::new("agent.*", &["agentId"])]),
        ])
        .shown(&["name", "description", "provider", "model", "status"])
        .topics(&["agent.*"]);

/// Operations whose cached answers an agent's tools can make stale.
const TOUCHED: &[&str] = &["agents_metrics", "entities", "executions", "tasks"];

open_enum! {
    /// The providers of language models.
    Provider {
        /// The API of `OpenAI`.
        OpenAi = "openai",
        /// The API of Anthropic.
        Anthropic = "anthropic",
        /// The API of Cohere.
        Cohere = "cohere",
        /// The API of Azure `OpenAI`.
        AzureOpenAi = "azure_openai",
        /// A rule-based responder without a language model.
        LocalRules = "local-rules",
    }
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// The agent.
    pub agent_id: AgentId,
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Version of its profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Provider of its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// Its model, such as gpt-4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// available or unavailable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Names of its registered tools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
}

/// An agent's answer to a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The agent that answered.
    pub agent_id: AgentId,
    /// The whole text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub response: String,
    /// Tokens of prompt and response together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_used: Option<u64>,
    /// Whether the response is an earlier one from the cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached: Option<bool>,
    /// Names of the tools that the agent executed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub executed_tools: Vec<String>,
    /// Provider of the model that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// Model that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// An agent's streamed answer, complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamedAnswer {
    /// The whole text and the agent that wrote it.
    #[serde(flatten)]
    pub answer: Answer,
    /// Tokens by direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// Tokens of one call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Tokens of the prompt.
    #[serde(default)]
    pub input_tokens: u64,
    /// Tokens of the response.
    #[serde(default)]
    pub output_tokens: u64,
}

/// A question to an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// Question or instruction to the agent.
    #[schemars(length(min = 1, max = 100_000))]
    pub prompt: String,
    /// Data that the prompt is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<Map<String, Value>>,
    /// Such as gpt-4; default: the agent's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Randomness from 0 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2))]
    pub temperature: Option<f64>,
    /// Maximum tokens of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_tokens: Option<u32>,
}

/// Asks an AI agent (assistant, bot) a question and gets its answer.
///
/// Let the AI write a polite letter, job ad or speech, translate it into Polish, summarise these notes, explain a
/// formula, draft a reply to an angry customer, suggest three ideas, or tell what Claude or the LLM would think of a
/// clause.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Invoke {
    /// The agent.
    pub id: AgentId,
    /// Prompt and parameters.
    #[serde(flatten)]
    pub question: Question,
}

impl Operation for Invoke {
    type Output = Answer;
    const SPEC: Spec = Spec::post("agents_invoke", "/agents/{id}/invoke", Effect::Send)
        .titled("Ask an AI assistant or chatbot")
        .requires(Permission::AGENT_INVOKE)
        .repeats(&[("agentId", "id")])
        .evicts(TOUCHED);
}

/// Shows the answer of an AI agent live, as the model types it (streaming), so that nobody waits for the whole text.
///
/// Let me read along while the bot generates a story or summary, see the long output of the assistant come on the
/// screen word by word or chunk by chunk, or display each bit of the LLM response as it is produced.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stream {
    /// The agent.
    pub id: AgentId,
    /// Prompt and parameters.
    #[serde(flatten)]
    pub question: Question,
}

impl Operation for Stream {
    type Output = StreamedAnswer;
    const SPEC: Spec = Spec::post("agents_stream", "/agents/{id}/stream", Effect::Send)
        .titled("Watch an AI agent while it is writing")
        .requires(Permission::AGENT_INVOKE)
        .streams()
        .repeats(&[("agentId", "id")])
        .evicts(TOUCHED);
}

/// Lists the AI agents of the company: assistants and helpers with their abilities.
///
/// Which chatbots could I talk to or ask here, is Claude or GPT available, how many are there for law, and what LLM
/// runs on Azure?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct List {
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for List {
    type Output = Page<Agent>;
    const SPEC: Spec = Spec::get("agents_list", "/agents", Effect::Read)
        .titled("AI agents, bots and models to choose from")
        .requires(Permission::AGENT_VIEW)
        .cached(30);
}

/// Has an AI agent or bot carry out just one of its tools.
///
/// Let the bot use only its calculator, search or currency converter, trigger the route planner or weather function, or
/// call one action for a ticket.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ExecuteTool {
    /// The agent.
    pub id: AgentId,
    /// Name of one of the agent's tools.
    #[schemars(length(min = 1, max = 200))]
    pub tool: String,
    /// Arguments of the tool by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Map<String, Value>>,
}

/// The outcome of a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolOutcome {
    /// The agent whose tool ran.
    pub agent_id: AgentId,
    /// Name of the tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// completed or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Answer of the tool.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub result: Map<String, Value>,
}

impl Operation for ExecuteTool {
    type Output = ToolOutcome;
    const SPEC: Spec = Spec::post("agents_execute_tool", "/agents/{id}/tools/execute", Effect::Destroy)
        .titled("Run just one skill of an AI assistant")
        .requires(Permission::AGENT_EXECUTE)
        .evicts(TOUCHED);
}

/// Tells how much an AI agent is used and what it costs (metrics): tokens, calls, response time.
///
/// How often is the support bot asked, how many tokens did the assistant burn, and how high is its consumption, rate of
/// cache hits and spending on the LLM?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Metrics {
    /// The agent.
    pub id: AgentId,
}

/// The usage of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentMetrics {
    /// The agent.
    pub agent_id: AgentId,
    /// Number of calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invocations: Option<u64>,
    /// Tokens of all prompts and responses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_used: Option<u64>,
    /// Tokens by direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Number of responses from the cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_hits: Option<u64>,
    /// Number of failed calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<u64>,
    /// Average response time in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_latency: Option<f64>,
    /// Usage by model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelMetrics>,
}

/// The usage of one model by an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelMetrics {
    /// The model, such as gpt-4.
    pub model: String,
    /// Number of calls.
    #[serde(default)]
    pub invocations: u64,
    /// Tokens of its prompts and responses.
    #[serde(default)]
    pub tokens_used: u64,
}

impl Operation for Metrics {
    type Output = AgentMetrics;
    const SPEC: Spec = Spec::get("agents_metrics", "/agents/{id}/metrics", Effect::Read)
        .titled("Average usage and cost of an AI agent")
        .requires(Permission::AGENT_VIEW)
        .cached(30);
}
