//! The handler that rmcp calls: it only hands each request to the part that knows it.

use std::sync::Arc;

use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CompleteRequestParams, CompleteResult, GetPromptRequestParams, GetPromptResponse,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams, ProtocolVersion,
    ReadResourceRequestParams, ReadResourceResponse, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};

use super::{App, completion, prompts, resources, tools};
use crate::auth::Caller;

/// How long a host may keep a list; what it holds changes with the caller's permissions alone.
const LIST_TTL_MS: u64 = 300_000;

/// One caller's view of the server.
#[derive(Debug, Clone)]
pub(super) struct Handler {
    pub(super) app: Arc<App>,
    pub(super) caller: Arc<Caller>,
}

impl Handler {
    pub(super) fn new(app: &Arc<App>) -> Self {
        Self { app: Arc::clone(app), caller: Arc::clone(&app.caller) }
    }
}

/// Whether a request belongs to the stateless era of the protocol, which has other ways to ask and to hint.
pub(super) fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
}

/// Every list has one page, so no cursor was ever handed out.
fn first_page(request: Option<PaginatedRequestParams>) -> Result<(), ErrorData> {
    match request.and_then(|request| request.cursor) {
        Some(_) => Err(ErrorData::invalid_params("the cursor is not known: this list has one page; ask again without it", None)),
        None => Ok(()),
    }
}

/// Adds what the stateless era wants on a list: who answers, how long it is good, and for whom.
macro_rules! dated {
    ($handler:expr, $context:expr, $result:expr) => {{
        let mut result = $result;
        if is_modern(&$context) {
            result = result.with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private);
            result.meta = Some($handler.app.identity.clone());
        }
        Ok(result)
    }};
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        self.app.info.clone()
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::tool(name).cloned()
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        first_page(request)?;
        dated!(self, context, ListToolsResult::with_all_items(self.app.tools_of(&self.caller).to_vec()))
    }

    async fn call_tool(&self, request: CallToolRequestParams, context: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let mut response = self.call(request, &context).await?;
        if let (CallToolResponse::Complete(result), true) = (&mut response, is_modern(&context)) {
            result.meta = Some(self.app.identity.clone());
        }
        Ok(response)
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        first_page(request)?;
        dated!(self, context, ListResourcesResult::with_all_items(resources::listed(&self.app, &self.caller)))
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        first_page(request)?;
        dated!(self, context, ListResourceTemplatesResult::with_all_items(resources::templates(&self.app, &self.caller)))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let mut result = resources::read(self, &request.uri, &context).await?;
        if is_modern(&context) {
            result.meta = Some(self.app.identity.clone());
        } else {
            (result.ttl_ms, result.cache_scope) = (None, None);
        }
        Ok(result.into())
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        first_page(request)?;
        dated!(self, context, ListPromptsResult::with_all_items(prompts::listed(&self.app, &self.caller)))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let mut result = prompts::get(self, request, &context).await?;
        if is_modern(&context) {
            result.meta = Some(self.app.identity.clone());
        } else {
            result.result_type = None;
        }
        Ok(result.into())
    }

    async fn complete(&self, request: CompleteRequestParams, context: RequestContext<RoleServer>) -> Result<CompleteResult, ErrorData> {
        completion::complete(self, request, &context).await
    }
}
