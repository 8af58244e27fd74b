//! Questions of processes: the nodes of the type ai_agent. They have no caller, so the agent's tools do not run for them.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::asking::{self, Asked};
use super::ledger::Node;
use crate::error::Error;
use crate::platform::Platform;
use crate::platform::engine::runtime::work::{End, Work};
use crate::platform::engine::runtime::workers::Done;

/// How often a question is repeated that could not be answered at the time.
const MAX_REPEATS: u32 = 5;
/// How long to wait before the first repetition; the time doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// What a node asks for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    agent_id: String,
    prompt: String,
    #[serde(default)]
    context: Map<String, Value>,
    model: Option<String>,
    temperature: Option<f64>,
    max_tokens: Option<u32>,
}

/// Asks what a node asks. The row of the ledger becomes true with the end of the node.
pub(super) async fn perform(platform: Platform, work: Work) -> Done {
    let attempts = work.attempts;
    let end = |platform: &Platform, error: &Error| {
        if error.is_transient() && attempts < MAX_REPEATS {
            let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(attempts));
            let pause = error.when_to_retry().map_or(pause, |after| after.max(pause));
            return End::Later(platform.now().plus_seconds(pause.as_secs_f64()));
        }
        End::Failed { code: error.code().to_owned(), message: error.to_string() }
    };
    let request: Request = match serde_json::from_value(work.request) {
        Ok(request) => request,
        Err(error) => return Done::new(End::Failed { code: "FM-AIS-INVALID".to_owned(), message: error.to_string() }),
    };
    let asked = Asked {
        agent: request.agent_id,
        prompt: request.prompt,
        context: request.context,
        model: request.model,
        temperature: request.temperature,
        max_tokens: request.max_tokens,
        node: Some(Node { execution: work.execution, id: work.node, actor: work.actor }),
    };
    let prepared = match asking::prepare(&platform, &work.name.tenant, asked).await {
        Ok(prepared) => prepared,
        Err(error) => return Done::new(end(&platform, &error)),
    };
    let ended = asking::carry_out(&platform, prepared, None, None).await;
    let (answer, note) = ended.parts();
    let end = match answer {
        Ok(answer) => End::Answered(json!(answer)),
        Err(error) => end(&platform, &error),
    };
    Done::new(end).noting(note)
}
