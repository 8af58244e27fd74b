//! The ledger: what each call of an agent cost, its sums, the event and the audit row, in one transaction.

use rusqlite::{Connection, params};
use serde_json::json;

use crate::api::Timestamp;
use crate::api::agents::{Provider, Usage};
use crate::error::Result;
use crate::platform::database::Tx;

/// Seconds over which tokens are limited.
const DAY: f64 = 86_400.0;

/// The node of a process that asked.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) execution: String,
    pub(super) id: String,
    /// Whose action led to it.
    pub(super) actor: String,
}

/// One call.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) agent: String,
    pub(super) agent_version: i64,
    /// The prompt that its instructions are from, with the version.
    pub(super) prompt: Option<(String, String)>,
    /// The node that asked.
    pub(super) node: Option<Node>,
    pub(super) provider: Provider,
    pub(super) model: String,
    /// What it cost; nothing where the answer is an earlier one.
    pub(super) usage: Usage,
    pub(super) is_cached: bool,
    /// The code of what failed.
    pub(super) error: Option<String>,
    pub(super) seconds: f64,
}

/// Keeps a call.
pub(super) fn record(tx: &mut Tx<'_>, call: &Call) -> Result<()> {
    let id = tx.mint("call");
    let number = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
    let (input, output) = (number(call.usage.input_tokens), number(call.usage.output_tokens));
    #[expect(clippy::cast_possible_truncation, reason = "a float casts saturating, and milliseconds are precise enough")]
    let millis = (call.seconds * 1000.0) as i64;
    let (prompt, node) = (call.prompt.as_ref(), call.node.as_ref());
    tx.prepare_cached(
        "INSERT INTO agent_calls (tenant_id, id, agent_id, agent_version, prompt_id, prompt_version, execution_id, subject, provider, model, \
         input_tokens, output_tokens, is_cached, error, millis, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )?
    .execute(params![
        tx.tenant(),
        id,
        call.agent,
        call.agent_version,
        prompt.map(|(id, _)| id),
        prompt.map(|(_, version)| version),
        node.map(|node| &node.execution),
        node.map_or(&tx.scope().actor, |node| &node.actor),
        call.provider.as_str(),
        call.model,
        input,
        output,
        call.is_cached,
        call.error,
        millis,
        tx.now().millis()
    ])?;
    let is_timed = !call.is_cached && call.error.is_none();
    tx.prepare_cached(
        "INSERT INTO agent_totals (tenant_id, agent_id, model, calls, cached, errors, input_tokens, output_tokens, timed, millis) \
         VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8, ?9) \
         ON CONFLICT DO UPDATE SET calls = calls + 1, cached = cached + ?4, errors = errors + ?5, \
         input_tokens = input_tokens + ?6, output_tokens = output_tokens + ?7, timed = timed + ?8, millis = millis + ?9",
    )?
    .execute(params![
        tx.tenant(),
        call.agent,
        call.model,
        call.is_cached,
        call.error.is_some(),
        input,
        output,
        is_timed,
        if is_timed { millis } else { 0 }
    ])?;
    let mut event = json!({
        "callId": id, "agentId": call.agent, "agentVersion": call.agent_version.to_string(), "provider": call.provider, "model": call.model,
        "tokensUsed": call.usage.input_tokens.saturating_add(call.usage.output_tokens), "cached": call.is_cached,
        "status": if call.error.is_none() { "completed" } else { "failed" }, "duration": call.seconds,
    });
    for (name, value) in [
        ("error", call.error.as_deref()),
        ("executionId", node.map(|node| node.execution.as_str())),
        ("nodeId", node.map(|node| node.id.as_str())),
        ("promptId", prompt.map(|(id, _)| id.as_str())),
        ("promptVersion", prompt.map(|(_, version)| version.as_str())),
    ] {
        if let Some(value) = value {
            event[name] = json!(value);
        }
    }
    tx.emit("agent.invoked", &call.agent, event)?;
    tx.audit("agent.invoked", "agent", &call.agent, None)?;
    Ok(())
}

/// The tokens of a model that a tenant used in the last 24 hours.
pub(super) fn tokens_of_day(connection: &Connection, tenant: &str, model: &str, now: Timestamp) -> Result<u64> {
    let used: i64 = connection
        .prepare_cached(
            "SELECT coalesce(sum(input_tokens + output_tokens), 0) FROM agent_calls WHERE tenant_id = ?1 AND model = ?2 AND created_at > ?3",
        )?
        .query_row(params![tenant, model, now.plus_seconds(-DAY).millis()], |row| row.get(0))?;
    Ok(used.unsigned_abs())
}
