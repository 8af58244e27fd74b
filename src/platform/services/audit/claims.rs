//! What a caller logs is a claim: it is marked as one, and speaks in words of its own rather than in the platform's.

use crate::api::arguments::quote;
use crate::api::audit::Log;
use crate::api::cloud_event::TOPICS;
use crate::auth::CallerKind;
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::Cx;
use crate::platform::vocabulary::ACTIONS;

/// How far ahead of the platform's clock a claimed time may be, in seconds.
const AHEAD_SECONDS: f64 = 300.0;
/// The contract's own example of an entry names it: it is accepted as a claim, like an action of the caller's own.
const EXAMPLE: &str = "task.responded";
/// What the MCP server logs of its calls; only a service can say that.
const OF_SERVERS: &str = "mcp";

/// Rejects what has not happened yet, and the platform's own words in a caller's mouth.
pub(super) fn check(cx: &Cx, claim: &Log) -> Result<()> {
    if claim.timestamp.is_some_and(|at| at > cx.now().plus_seconds(AHEAD_SECONDS)) {
        return Err(Error::new(Kind::Invalid, "FM-ACS-FUTURE", "what has not happened yet cannot be logged")
            .field("/timestamp", "range", "lies in the future")
            .hint("Leave `timestamp` out: the time of the call is taken then."));
    }
    let is_service = cx.caller.kind == CallerKind::Service && cx.caller.subject == cx.recorded_by;
    if let Some(whose) = whose(&claim.action, is_service) {
        return Err(Error::new(Kind::Invalid, "FM-ACS-ACTION-RESERVED", format!("{} is an action of {whose}", quote(&claim.action)))
            .field("/action", "reserved", format!("is written by {whose} alone; any other action is allowed"))
            .hint("Use an action of your own, such as `contract.signed`. `audit_query` shows what the platform recorded itself."));
    }
    Ok(())
}

/// Whose word an action is, if it is not the caller's. Letters of another case and spaces around make no other word.
fn whose(action: &str, is_service: bool) -> Option<&'static str> {
    let plain: String = action.chars().filter(|c| !c.is_whitespace() && !c.is_control()).flat_map(char::to_lowercase).collect();
    if plain.split('.').next() == Some(OF_SERVERS) {
        return if is_service && plain == action { None } else { Some("the MCP server, which logs with a service's token,") };
    }
    let is_own = ACTIONS.contains(&plain.as_str()) || TOPICS.contains(&plain.as_str());
    (is_own && action != EXAMPLE).then_some("the platform")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platforms_words_are_known_however_they_are_written() {
        for action in
            ["user.signed_in", "role.created", " User.Signed_In ", "user. signed_in", "Task.Responded", "mcp.called", "MCP.lost", "mcp"]
        {
            assert!(whose(action, false).is_some(), "{action}");
        }
        for action in ACTIONS.iter().filter(|action| **action != EXAMPLE) {
            assert!(whose(action, true).is_some(), "{action}: not even a service says it");
        }
        for action in ["contract.signed", "task.responded", "mcpx.called", "user.signed_in_by_card"] {
            assert!(whose(action, false).is_none(), "{action}");
        }
        assert!(whose("mcp.called", true).is_none() && whose("Mcp.called", true).is_some());
    }
}
