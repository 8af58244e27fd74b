//! Running an agent's tool without a model: the same tool, as the caller, and an entry that says so.

use serde_json::{Map, Value, json};

use super::{store, tools};
use crate::api::agents::{ExecuteTool, ToolOutcome};
use crate::api::arguments::quote;
use crate::api::near::nearest;
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::Cx;

pub(super) async fn execute(cx: Cx, request: ExecuteTool) -> Result<ToolOutcome> {
    let (tenant, id) = (cx.tenant(), request.id.0.clone());
    let agent = cx.read(move |connection| store::get(connection, tenant.as_str(), &id)).await?;
    if !agent.is_enabled {
        return Err(Error::new(Kind::Conflict, "FM-AIS-DISABLED", format!("the agent {} is disabled", agent.id)));
    }
    let Some(tool) = agent.profile.tools.iter().find(|tool| tool.name == request.tool) else {
        let known: Vec<&str> = agent.profile.tools.iter().map(|tool| tool.name.as_str()).collect();
        let near = nearest(&request.tool, &known).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        let listed = if known.is_empty() { "it has no tools".to_owned() } else { format!("it has {}{near}", known.join(", ")) };
        let message = format!("the agent {} has no tool {}: {listed}", agent.id, quote(&request.tool));
        return Err(Error::new(Kind::Invalid, "FM-AIS-UNKNOWN-TOOL", message).field(
            "/tool",
            "unknown",
            "must be one of the agent's tools",
        ));
    };
    let result = tools::run(&cx, tool, request.arguments.unwrap_or_default()).await?;
    let (id, name, operation) = (agent.id.clone(), tool.name.clone(), tool.operation.clone());
    cx.write(move |tx| {
        tx.emit("agent.tool_executed", &id, json!({ "agentId": id, "tool": name, "operation": operation, "status": "completed" }))?;
        tx.audit("agent.tool_executed", "agent", &id, None)?;
        Ok(())
    })
    .await?;
    Ok(ToolOutcome {
        agent_id: agent.id.into(),
        tool: Some(tool.name.clone()),
        status: Some("completed".to_owned()),
        result: match result {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            other => Map::from_iter([("value".to_owned(), other)]),
        },
    })
}
