//! The least that a server with these tools can be: rmcp's own service, and one request of reqwest for each call.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult, PaginatedRequestParams, ServerCapabilities,
    ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt as _};
use serde_json::Value;

use crate::{Failure, platform};

#[derive(Clone)]
struct Bare {
    tools: Arc<Vec<Tool>>,
    by_name: Arc<HashMap<String, Tool>>,
    platform: Arc<str>,
    http: reqwest::Client,
}

impl ServerHandler for Bare {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    /// As rmcp's own router of tools has it.
    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.by_name.get(name).cloned()
    }

    async fn list_tools(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools.to_vec()))
    }

    async fn call_tool(&self, params: CallToolRequestParams, _: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let id = params.arguments.as_ref().and_then(|arguments| arguments.get("id")?.as_str()).unwrap_or_default();
        let failed = |error: reqwest::Error| ErrorData::internal_error(error.to_string(), None);
        let response = self.http.get(format!("{}/tasks/{id}", self.platform)).send().await.map_err(failed)?;
        let task: Value = response.json().await.map_err(failed)?;
        let mut result = CallToolResult::success(vec![ContentBlock::text(task.to_string())]);
        result.structured_content = Some(task);
        Ok(result.into())
    }
}

impl Bare {
    fn new(tools: Vec<Tool>, platform: String) -> Result<Self, Failure> {
        let by_name = tools.iter().map(|tool| (tool.name.to_string(), tool.clone())).collect();
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { tools: Arc::new(tools), by_name: Arc::new(by_name), platform: platform.into(), http })
    }
}

/// Serves over HTTP.
pub async fn serve(platform: String) -> Result<(), Failure> {
    let bare = Bare::new(serde_json::from_value(flowmaster_mcp::server::list_tools_json()["tools"].take())?, platform)?;
    let config = StreamableHttpServerConfig::default().with_json_response(true).with_legacy_session_mode(true);
    let service = StreamableHttpService::new(move || Ok(bare.clone()), Arc::new(LocalSessionManager::default()), config);
    platform::listen(Router::new().route_service("/mcp", service)).await
}

/// Serves on stdio, with the tools of a file.
pub async fn serve_stdio(tools: &str) -> Result<(), Failure> {
    let bare = Bare::new(serde_json::from_slice(&std::fs::read(tools)?)?, String::new())?;
    bare.serve(rmcp::transport::stdio()).await?.waiting().await?;
    Ok(())
}
