//! The handler that rmcp calls: it only hands each request to the part that knows it.

use std::sync::Arc;

use http::request::Parts;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CompleteRequestParams, CompleteResult, GetPromptRequestParams, GetPromptResponse,
    InitializeRequestParams, InitializeResult, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::json;

use super::audit::{Refusal, Transport};
use super::list_changed::Changes;
use super::tools::{self, call};
use super::{App, audit, completion, prompts, resources};
use crate::auth::{Admit, Caller, Principal};
use crate::error::Result;

/// How long a host may keep a list; what it holds changes with the caller's permissions alone.
const LIST_TTL_MS: u64 = 300_000;

/// One connection's view of the server.
#[derive(Clone)]
pub(super) struct Handler {
    app: Arc<App>,
    principal: Arc<dyn Principal>,
    /// What to tell the host of, where the principal's rights may change.
    changes: Option<Arc<Changes>>,
}

/// One request: who asks, and what is asked of the server.
pub(super) struct Visit {
    pub(super) app: Arc<App>,
    pub(super) caller: Arc<Caller>,
    /// Whom the connection speaks for, where the caller did not come with the request.
    pub(super) principal: Option<Arc<dyn Principal>>,
    /// What judges the caller's token once more, where it came with the request.
    pub(super) admit: Option<Arc<dyn Admit>>,
}

impl Visit {
    /// Whether the caller came with the request rather than with the connection.
    pub(super) const fn over_http(&self) -> bool {
        self.principal.is_none()
    }
}

impl Handler {
    pub(super) fn new(app: &Arc<App>, principal: &Arc<dyn Principal>) -> Self {
        Self { app: Arc::clone(app), principal: Arc::clone(principal), changes: principal.renews().then(Arc::default) }
    }

    /// Finds out who asks: whoever the HTTP layer let in, or whom the connection speaks for.
    async fn visit(&self, context: &RequestContext<RoleServer>) -> Result<Visit> {
        let app = Arc::clone(&self.app);
        let extensions = context.extensions.get::<Parts>().map(|parts| &parts.extensions);
        let admit = extensions.and_then(|extensions| extensions.get::<Arc<dyn Admit>>()).map(Arc::clone);
        if let Some(caller) = extensions.and_then(|extensions| extensions.get::<Arc<Caller>>()) {
            return Ok(Visit { app, caller: Arc::clone(caller), principal: None, admit });
        }
        let caller = self.principal.caller().await?;
        if let Some(changes) = &self.changes {
            changes.tell(&app, &caller, context).await;
        }
        Ok(Visit { app, caller, principal: Some(Arc::clone(&self.principal)), admit })
    }

    /// The same for requests that have no error of their own.
    async fn visit_to(&self, method: &str, context: &RequestContext<RoleServer>) -> Result<Visit, ErrorData> {
        self.visit(context).await.map_err(|error| {
            tracing::info!(code = error.code(), "nobody is known to ask");
            // Over HTTP a request without a caller does not come this far.
            self.app.audit.refused(&Refusal { caller: None, transport: Transport::Stdio, tool: None, endpoint: method, error: &error });
            ErrorData::invalid_request(error.to_string(), Some(json!({ "code": error.code() })))
        })
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

    /// The older protocol's opening; there alone changes are told without being asked for.
    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        context.peer.set_peer_info(request.clone());
        let mut result = self.negotiate_initialize(&request)?;
        if self.changes.is_some() {
            Changes::announce(&mut result.capabilities);
        }
        Ok(result)
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
        let visit = self.visit_to("tools/list", &context).await?;
        dated!(self, context, ListToolsResult::with_all_items(visit.app.tools_of(&visit.caller).to_vec()))
    }

    async fn call_tool(&self, request: CallToolRequestParams, context: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let mut response = match self.visit(&context).await {
            Ok(visit) => visit.call(request, &context).await?,
            Err(error) => call::nobody(&self.app, &request.name, error)?,
        };
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
        let visit = self.visit_to("resources/list", &context).await?;
        dated!(self, context, ListResourcesResult::with_all_items(resources::listed(&visit.app, &visit.caller)))
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        first_page(request)?;
        let visit = self.visit_to("resources/templates/list", &context).await?;
        dated!(self, context, ListResourceTemplatesResult::with_all_items(resources::templates(&visit.app, &visit.caller)))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let visit = self.visit_to("resources/read", &context).await?;
        let note = visit.app.audit.begin_reading(&visit.caller, visit.transport(), "resource", &request.uri);
        let read = resources::read(&visit, &request.uri, &context).await;
        visit.app.audit.end_reading(note, audit::code_of(&read));
        let mut result = read?;
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
        let visit = self.visit_to("prompts/list", &context).await?;
        dated!(self, context, ListPromptsResult::with_all_items(prompts::listed(&visit.app, &visit.caller)))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let visit = self.visit_to("prompts/get", &context).await?;
        let note = visit.app.audit.begin_reading(&visit.caller, visit.transport(), "prompt", &request.name);
        let read = prompts::get(&visit, request, &context).await;
        visit.app.audit.end_reading(note, audit::code_of(&read));
        let mut result = read?;
        if is_modern(&context) {
            result.meta = Some(self.app.identity.clone());
        } else {
            result.result_type = None;
        }
        Ok(result.into())
    }

    async fn complete(&self, request: CompleteRequestParams, context: RequestContext<RoleServer>) -> Result<CompleteResult, ErrorData> {
        let visit = self.visit_to("completion/complete", &context).await?;
        completion::complete(&visit, request, &context).await
    }
}
