//! Registering agents, changing them and showing them. The contract lists agents alone: the rest is beyond it.

use rusqlite::Connection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::profile::Profile;
use super::store::{self, Agent, BUILT_IN};
use crate::api::agents::{self, List};
use crate::api::arguments::quote;
use crate::api::ids::AgentId;
use crate::api::prompts::Publish;
use crate::api::{Effect, Operation, Page, Permission, Spec, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::http::context::{Answer, Cx, matches, within_bytes};
use crate::platform::services::prompts;

/// Longest id of an agent, in bytes.
const MAX_ID: usize = 100;

/// Registers an agent: its instructions, its model and its tools.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Register {
    /// Its id, such as agent-gpt4; a new one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<AgentId>,
    /// What it is.
    #[serde(flatten)]
    profile: Profile,
}

/// A registered agent, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Registered {
    /// The agent.
    agent_id: AgentId,
    /// Version of its profile.
    version: String,
    /// Whether it can be asked.
    enabled: bool,
    /// What it is.
    #[serde(flatten)]
    profile: Profile,
    /// When it was registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Timestamp>,
    /// When it was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<Timestamp>,
}

impl Operation for Register {
    type Output = Registered;
    const SPEC: Spec = Spec::post("agents_register", "/agents", Effect::Write)
        .titled("Register an agent")
        .requires(Permission::AGENT_EXECUTE)
        .answers(201);
}

/// Shows an agent with its instructions and tools.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Get {
    /// The agent.
    id: AgentId,
}

impl Operation for Get {
    type Output = Registered;
    const SPEC: Spec = Spec::get("agents_get", "/agents/{id}", Effect::Read).titled("Show an agent").requires(Permission::AGENT_VIEW);
}

/// Replaces what an agent is, as its next version, or says that it cannot be asked any more.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Update {
    /// The agent.
    id: AgentId,
    /// Whether it can be asked; true if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    /// What it is from now on.
    #[serde(flatten)]
    profile: Profile,
}

impl Operation for Update {
    type Output = Registered;
    const SPEC: Spec = Spec::put("agents_update", "/agents/{id}", Effect::Write)
        .titled("Change an agent")
        .requires(Permission::AGENT_EXECUTE)
        .repeats(&[("agentId", "id")]);
}

impl Agent {
    fn registered(self) -> Answer<Registered> {
        let version = self.version();
        let registered = Registered {
            agent_id: self.id.into(),
            version: version.clone(),
            enabled: self.is_enabled,
            profile: self.profile,
            created_at: self.created_at,
            updated_at: self.updated_at,
        };
        Answer::from(registered).etag(version)
    }

    /// As lists show it, with the provider that would answer now.
    fn view(self, platform: &Platform) -> agents::Agent {
        let served = platform.agents().pool.served(self.profile.model.as_deref());
        let is_available = self.is_enabled && served.as_ref().is_ok_and(|served| served.is_healthy(platform.now()));
        let (provider, model) = match served {
            Ok(served) => (Some(served.provider()), Some(served.model)),
            Err(_) => (None, self.profile.model.clone()),
        };
        agents::Agent {
            version: Some(self.version()),
            agent_id: self.id.into(),
            name: self.profile.name,
            description: self.profile.description,
            provider,
            model,
            status: Some(if is_available { "available" } else { "unavailable" }.to_owned()),
            tools: self.profile.tools.into_iter().map(|tool| tool.name).collect(),
        }
    }
}

pub(super) async fn list(cx: Cx, request: List) -> Result<Page<agents::Agent>> {
    let after = cx.cursor(&request.page)?;
    let (tenant, page) = (cx.tenant(), request.page);
    let (found, page) = cx
        .read(move |connection| {
            let found = store::list(connection, tenant.as_str(), after.as_deref(), page.size() + 1)?;
            within_bytes(found.into_iter().map(Ok), &page, |agent| agent.profile.description.as_ref().map_or(0, String::len))
        })
        .await?;
    let found = cx.page_of(found, &page, |agent| agent.id.clone());
    let items = found.items.into_iter().map(|agent| agent.view(&cx.platform)).collect();
    Ok(Page { items, next_cursor: found.next_cursor })
}

pub(super) async fn register(cx: Cx, request: Register) -> Result<Answer<Registered>> {
    let text = request.profile.admit()?;
    if let Some(id) = &request.agent_id {
        check_id(id.as_str())?;
    }
    let agent = cx
        .write(move |tx| {
            check_prompt(tx, tx.tenant(), &request.profile)?;
            let id = request.agent_id.map_or_else(|| tx.mint("agent"), |id| id.0);
            if store::is_known(tx, tx.tenant(), &id)? {
                return Err(Error::new(Kind::Conflict, "FM-AIS-AGENT-TAKEN", format!("there is an agent {} already", quote(&id)))
                    .field("/agentId", "taken", "must be an id that no agent has")
                    .hint("Leave agentId out, or change the agent that is there."));
            }
            let now = Some(tx.now());
            let agent = Agent { id, version: 1, profile: request.profile, is_enabled: true, created_at: now, updated_at: now };
            store::insert(tx, &agent, &text)?;
            tx.emit("agent.registered", &agent.id, serde_json::json!({ "agentId": agent.id, "version": agent.version() }))?;
            tx.audit("agent.registered", "agent", &agent.id, None)?;
            Ok(agent)
        })
        .await?;
    let place = format!("/agents/{}", agent.id);
    Ok(agent.registered().location(place))
}

pub(super) async fn get(cx: Cx, request: Get) -> Result<Answer<Registered>> {
    let tenant = cx.tenant();
    Ok(cx.read(move |connection| store::get(connection, tenant.as_str(), request.id.as_str())).await?.registered())
}

pub(super) async fn update(cx: Cx, request: Update) -> Result<Answer<Registered>> {
    let text = request.profile.admit()?;
    let if_match = cx.if_match.clone();
    let agent = cx
        .write(move |tx| {
            let before = store::get(tx, tx.tenant(), request.id.as_str())?;
            if before.id == BUILT_IN {
                return Err(Error::new(Kind::Conflict, "FM-AIS-BUILT-IN", format!("{BUILT_IN} is in every tenant and never changes"))
                    .hint("Register an agent of your own."));
            }
            matches(if_match.as_deref(), &before.version())?;
            check_prompt(tx, tx.tenant(), &request.profile)?;
            let agent = Agent {
                version: before.version + 1,
                profile: request.profile,
                is_enabled: request.enabled.unwrap_or(true),
                updated_at: Some(tx.now()),
                ..before
            };
            store::update(tx, &agent, &text)?;
            tx.emit("agent.updated", &agent.id, serde_json::json!({ "agentId": agent.id, "version": agent.version() }))?;
            tx.audit("agent.updated", "agent", &agent.id, None)?;
            Ok(agent)
        })
        .await?;
    Ok(agent.registered())
}

fn check_id(id: &str) -> Result<()> {
    let name = id.strip_prefix("agent-").unwrap_or_default();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !name.is_empty() && id.len() <= MAX_ID && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, "FM-AIS-AGENT-ID", format!("{} cannot be an agent's id", quote(id))).field(
        "/agentId",
        "id",
        format!("must be `agent-` and letters, digits, `-`, `_` and `.`, at most {MAX_ID} characters"),
    ))
}

/// Rejects a prompt that there is not, or a version of it that is not published.
fn check_prompt(connection: &Connection, tenant: &str, profile: &Profile) -> Result<()> {
    let Some(prompt) = &profile.prompt_id else { return Ok(()) };
    if prompts::published_version(connection, tenant, prompt.as_str(), profile.prompt_version.as_deref())?.is_some() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Invalid,
        "FM-AIS-UNKNOWN-PROMPT",
        format!("{} is not a prompt with such a published version", quote(prompt.as_str())),
    )
    .field("/promptId", "unknown", "must be the id of a prompt that is published")
    .hint(format!("{} publishes a prompt.", Publish::SPEC.name)))
}
