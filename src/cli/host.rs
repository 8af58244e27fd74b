//! An MCP host of our own: what `call` and `tour` speak to the server through, and what answers its questions.

use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult, ElicitationAction,
    ErrorData, Implementation, ProtocolVersion,
};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _, RequestContext, RunningService, ServiceError};
use rmcp::transport::IntoTransport;
use rmcp::{ClientHandler, RoleClient};
use serde_json::{Map, Value, json};

use crate::cli::terminal;
use crate::error::{Error, Kind, Result};

/// What the server asked.
pub(crate) type Asked = Arc<Mutex<Vec<String>>>;

/// Who answers when the server asks for consent.
#[derive(Debug, Clone)]
pub(crate) enum Answers {
    /// The person at the terminal.
    Person,
    /// Always yes; what was asked is kept for the telling.
    Yes(Asked),
    /// No person: the server is told that this host cannot ask.
    Nobody,
}

/// The host's side of a connection.
pub(crate) struct Host {
    answers: Answers,
}

/// A connection to a server.
pub(crate) struct Session {
    running: RunningService<RoleClient, Host>,
}

impl ClientHandler for Host {
    fn get_info(&self) -> ClientConfig {
        let capabilities = match self.answers {
            Answers::Nobody => ClientCapabilities::default(),
            Answers::Person | Answers::Yes(_) => ClientCapabilities::builder().enable_elicitation().build(),
        };
        ClientConfig::new(capabilities, Implementation::new("flowmaster-mcp-cli", env!("CARGO_PKG_VERSION")))
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> std::result::Result<ElicitResult, ErrorData> {
        let ElicitRequestParams::FormElicitationParams { message, .. } = request else {
            return Ok(ElicitResult::new(ElicitationAction::Decline));
        };
        let yes = match &self.answers {
            Answers::Yes(asked) => {
                asked.lock().unwrap_or_else(PoisonError::into_inner).push(message);
                true
            }
            Answers::Nobody => false,
            Answers::Person => tokio::task::spawn_blocking(move || terminal::ask(&message)).await.unwrap_or(false),
        };
        Ok(if yes {
            ElicitResult::new(ElicitationAction::Accept).with_content(json!({}))
        } else {
            ElicitResult::new(ElicitationAction::Decline)
        })
    }
}

impl Session {
    /// Opens a connection in the protocol's newest revision.
    pub(crate) async fn open<T, E, A>(transport: T, answers: Answers) -> Result<Self>
    where
        T: IntoTransport<RoleClient, E, A>,
        E: std::error::Error + Send + Sync + 'static,
    {
        let host = Host { answers };
        let lifecycle = ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
        let running = host
            .serve_with_lifecycle(transport, lifecycle)
            .await
            .map_err(|error| Error::new(Kind::Unavailable, "FM-MCP-CONNECT", "the server did not open the connection").caused_by(error))?;
        Ok(Self { running })
    }

    /// The names of the tools.
    #[cfg(feature = "platform")]
    pub(crate) async fn tools(&self) -> Result<Vec<String>> {
        let tools = self.running.list_all_tools().await.map_err(refused)?;
        Ok(tools.into_iter().map(|tool| tool.name.into_owned()).collect())
    }

    /// Calls a tool.
    pub(crate) async fn call(&self, name: &str, arguments: Map<String, Value>) -> Result<CallToolResult> {
        self.running.call_tool(CallToolRequestParams::new(name.to_owned()).with_arguments(arguments)).await.map_err(refused)
    }

    /// Closes the connection and waits for it.
    pub(crate) async fn close(self) {
        if let Err(error) = self.running.cancel().await {
            tracing::debug!(%error, "the connection did not close well");
        }
    }
}

/// What was asked since the last look.
pub(crate) fn take(asked: &Asked) -> Vec<String> {
    std::mem::take(&mut *asked.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The text of a tool's answer.
pub(crate) fn text_of(result: &CallToolResult) -> String {
    result.content.iter().filter_map(|block| block.as_text()).map(|block| block.text.as_str()).collect::<Vec<_>>().join("\n")
}

fn refused(error: ServiceError) -> Error {
    match error {
        ServiceError::McpError(error) => Error::new(Kind::Invalid, "FM-MCP-REFUSED", error.message.into_owned()),
        other => Error::new(Kind::Unavailable, "FM-MCP-CONNECTION", format!("the connection to the server failed: {other}")),
    }
}
