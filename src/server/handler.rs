//! The handler that rmcp calls: it only hands each request to the part that knows it.

use std::sync::{Arc, OnceLock};

use http::request::Parts;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CancelTaskParams, CompleteRequestParams, CompleteResult, CustomRequest,
    CustomResult, ErrorCode, GetPromptRequestParams, GetPromptResponse, GetTaskParams, GetTaskResult, InitializeRequestParams,
    InitializeResult, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ReadResourceRequestParams, ReadResourceResponse, ServerConfig, SubscribeRequestParams, SubscriptionFilter, Tool,
    UnsubscribeRequestParams, UpdateTaskParams,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::audit::{Refusal, Transport};
use super::list_changed::ListChanged;
use super::request::{Request, is_stateless};
use super::subscriptions::{self, Host, Subscribed, Whom};
use super::tools::{self, call};
use super::toolsets::{Offer, Selection};
use super::{App, audit, completion, host_events, list_changed, message, prompts, resources};
use crate::auth::{Admit, Caller, Principal};
use crate::error::Result;
use crate::telemetry::metrics::{Ended, Measured, Method};

/// How long a host may keep a list; what it holds changes with the caller's permissions alone.
const LIST_TTL_MS: u64 = 300_000;

/// One connection's view of the server.
pub(super) struct Handler {
    app: Arc<App>,
    principal: Arc<dyn Principal>,
    /// What to tell the host of, where the principal's rights may change.
    changes: Option<Arc<ListChanged>>,
    /// Which tools the host chose when it opened a session of 2025-11-25.
    chosen: OnceLock<Arc<Selection>>,
    /// The subscriptions of a session of 2025-11-25, and for whom they are.
    subscribed: Subscribed,
    whom: OnceLock<Arc<Whom>>,
    /// Cancelled when the connection ends or the server does.
    closing: CancellationToken,
    /// Ends with the session what tells its host of other rules.
    told: OnceLock<DropGuard>,
}

impl Handler {
    pub(super) fn new(app: &Arc<App>, principal: &Arc<dyn Principal>, closing: CancellationToken) -> Self {
        Self {
            app: Arc::clone(app),
            principal: Arc::clone(principal),
            changes: principal.renews().then(Arc::default),
            chosen: OnceLock::new(),
            subscribed: Subscribed::default(),
            whom: OnceLock::new(),
            closing,
            told: OnceLock::new(),
        }
    }

    /// Returns the caller: the one that the HTTP layer authenticated, or the principal of the connection.
    async fn request(&self, context: &RequestContext<RoleServer>) -> Result<Request> {
        let app = Arc::clone(&self.app);
        let extensions = context.extensions.get::<Parts>().map(|parts| &parts.extensions);
        let offer = Offer {
            session: self.chosen.get().map(Arc::clone),
            request: extensions.and_then(|extensions| extensions.get::<Arc<Selection>>()).map(Arc::clone),
            ..app.offer()
        };
        let admit = extensions.and_then(|extensions| extensions.get::<Arc<dyn Admit>>()).map(Arc::clone);
        let (caller, principal) = match extensions.and_then(|extensions| extensions.get::<Arc<Caller>>()) {
            Some(caller) => (Arc::clone(caller), None),
            None => (self.principal.caller().await?, Some(Arc::clone(&self.principal))),
        };
        if let Some(whom) = self.whom.get() {
            whom.comes_again(&caller);
        }
        if let Some(changes) = self.changes.as_ref().filter(|_| !is_stateless(context)) {
            changes.tell(&app, &caller, &context.peer).await;
        }
        Ok(Request { app, caller, offer, principal, admit })
    }

    fn measure(&self, method: Method) -> Measured {
        self.app.client.metrics().measure(method)
    }

    /// The same for requests that have no error of their own.
    async fn request_or_refuse(&self, method: &str, context: &RequestContext<RoleServer>) -> Result<Request, ErrorData> {
        self.request(context).await.map_err(|error| {
            tracing::info!(code = error.code(), "the caller of a request is unknown");
            // Over HTTP a request without a caller does not come this far.
            self.app.audit.refused(&Refusal { caller: None, transport: Transport::Stdio, tool: None, endpoint: method, error: &error });
            ErrorData::invalid_request(error.to_string(), Some(json!({ "code": error.code() })))
        })
    }
}

/// How a tool's call ended, as it is measured.
fn ended(answered: &Result<CallToolResponse, ErrorData>) -> Ended {
    match answered {
        Ok(CallToolResponse::Complete(result)) if result.is_error == Some(true) => Ended::ToolError,
        Ok(_) => Ended::Well,
        Err(error) if error.code == ErrorCode::INVALID_PARAMS => Ended::InvalidParams,
        Err(_) => Ended::Otherwise,
    }
}

/// Every list has one page, so no cursor was ever handed out.
fn first_page(params: Option<PaginatedRequestParams>) -> Result<(), ErrorData> {
    match params.and_then(|params| params.cursor) {
        Some(_) => Err(ErrorData::invalid_params("the cursor is not known: this list has one page; ask again without it", None)),
        None => Ok(()),
    }
}

/// Adds what 2026-07-28 wants on a list: who answers, how long it is good, and for whom. The request has its answer then.
macro_rules! dated {
    ($handler:expr, $context:expr, $measured:expr, $result:expr) => {{
        let mut result = $result;
        if is_stateless(&$context) {
            result = result.with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private);
            result.meta = Some($handler.app.identity.clone());
        }
        $measured.end(Ended::Well);
        Ok(result)
    }};
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let mut info = self.app.info.clone();
        if self.changes.is_some() || self.app.settings.changes {
            ListChanged::announce(&mut info.capabilities);
        }
        info
    }

    async fn initialize(
        &self,
        params: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        let measured = self.measure(Method::Initialize);
        if let Some(chosen) = context.extensions.get::<Parts>().and_then(|parts| parts.extensions.get::<Arc<Selection>>()) {
            // A session is opened once.
            let _set = self.chosen.set(Arc::clone(chosen));
        }
        context.peer.set_peer_info(params.clone());
        let result = self.negotiate_initialize(&params)?;
        if self.app.settings.changes {
            let _set = self.told.set(list_changed::follow_rules(&self.app, context.peer));
        }
        measured.end(Ended::Well);
        Ok(result)
    }

    /// Of a tool that is called, rmcp asks for its arguments alone, so nothing else is copied.
    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::tool(name).map(|tool| Tool::new(tool.name.clone(), "", Arc::clone(&tool.input_schema)))
    }

    async fn list_tools(
        &self,
        params: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let measured = self.measure(Method::ToolsList);
        first_page(params)?;
        let request = self.request_or_refuse("tools/list", &context).await?;
        request.app.client.extensions().learn().await;
        dated!(self, context, measured, ListToolsResult::with_all_items(request.app.tools_of(&request.caller, &request.offer).to_vec()))
    }

    async fn call_tool(&self, params: CallToolRequestParams, context: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let mut measured = self.measure(Method::ToolsCall);
        if let Some(entry) = tools::find(&params.name) {
            measured.tool(entry);
        }
        let answered = match self.request(&context).await {
            // All that a call holds is large, and would be moved by each of those who pass it on.
            Ok(request) => Box::pin(request.call(params, &context)).await,
            Err(error) => call::unauthenticated(&self.app, &params.name, error),
        };
        measured.end(ended(&answered));
        let mut response = answered?;
        if let (CallToolResponse::Complete(result), true) = (&mut response, is_stateless(&context)) {
            result.meta = Some(self.app.identity.clone());
        }
        Ok(response)
    }

    async fn list_resources(
        &self,
        params: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let measured = self.measure(Method::ResourcesList);
        first_page(params)?;
        let request = self.request_or_refuse("resources/list", &context).await?;
        request.app.client.extensions().learn().await;
        dated!(
            self,
            context,
            measured,
            ListResourcesResult::with_all_items(resources::listed(&request.app, &request.caller, &request.offer))
        )
    }

    async fn list_resource_templates(
        &self,
        params: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let measured = self.measure(Method::TemplatesList);
        first_page(params)?;
        let request = self.request_or_refuse("resources/templates/list", &context).await?;
        request.app.client.extensions().learn().await;
        dated!(
            self,
            context,
            measured,
            ListResourceTemplatesResult::with_all_items(resources::templates(&request.app, &request.caller, &request.offer))
        )
    }

    async fn read_resource(
        &self,
        params: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let measured = self.measure(Method::ResourcesRead);
        let request = self.request_or_refuse("resources/read", &context).await?;
        let note = request.app.audit.begin_reading(&request.caller, request.transport(), "resource", &params.uri);
        let read = resources::read(&request, &params.uri, &context).await;
        request.app.audit.end_reading(note, audit::code_of(&read));
        let mut result = read?;
        if is_stateless(&context) {
            result.meta = Some(self.app.identity.clone());
        } else {
            (result.ttl_ms, result.cache_scope) = (None, None);
        }
        measured.end(Ended::Well);
        Ok(result.into())
    }

    /// What cannot be found or read is told in the answer: here nobody knows yet who asks.
    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        let request = self.request_or_refuse("subscriptions/listen", subscription.request_context()).await?;
        let whom = Arc::new(Whom::of(&request));
        subscriptions::listen(&request, whom, &subscription, &self.closing).await
    }

    async fn subscribe(&self, params: SubscribeRequestParams, context: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        let request = self.request_or_refuse("resources/subscribe", &context).await?;
        let whom = self.whom.get_or_init(|| Arc::new(Whom::of(&request)));
        let host = Host::Session { peer: context.peer.clone(), changes: self.changes.clone() };
        self.subscribed.subscribe(&request, Arc::clone(whom), host, params.uri, &self.closing).await
    }

    async fn unsubscribe(&self, params: UnsubscribeRequestParams, context: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.request_or_refuse("resources/unsubscribe", &context).await?;
        self.subscribed.unsubscribe(&params.uri)
    }

    async fn list_prompts(
        &self,
        params: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let measured = self.measure(Method::PromptsList);
        first_page(params)?;
        let request = self.request_or_refuse("prompts/list", &context).await?;
        dated!(self, context, measured, ListPromptsResult::with_all_items(prompts::listed(&request.app, &request.caller, &request.offer)))
    }

    async fn get_prompt(
        &self,
        params: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let measured = self.measure(Method::PromptsGet);
        let request = self.request_or_refuse("prompts/get", &context).await?;
        let note = request.app.audit.begin_reading(&request.caller, request.transport(), "prompt", &params.name);
        let read = prompts::get(&request, params, &context).await;
        request.app.audit.end_reading(note, audit::code_of(&read));
        let mut result = read?;
        if is_stateless(&context) {
            result.meta = Some(self.app.identity.clone());
        } else {
            result.result_type = None;
        }
        measured.end(Ended::Well);
        Ok(result.into())
    }

    async fn get_task(&self, params: GetTaskParams, context: RequestContext<RoleServer>) -> Result<GetTaskResult, ErrorData> {
        let request = self.request_or_refuse("tasks/get", &context).await?;
        let mut result = request.get_task(&params.task_id, &context).await?;
        result.meta = Some(self.app.identity.clone());
        Ok(result)
    }

    async fn update_task(&self, params: UpdateTaskParams, context: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.request_or_refuse("tasks/update", &context).await?.update_task(params, &context).await
    }

    async fn cancel_task(&self, params: CancelTaskParams, context: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.request_or_refuse("tasks/cancel", &context).await?.cancel_task(&params.task_id, &context).await
    }

    async fn on_custom_request(&self, request: CustomRequest, context: RequestContext<RoleServer>) -> Result<CustomResult, ErrorData> {
        if !host_events::serves(&request.method) {
            return Err(message::unserved(request, is_stateless(&context)));
        }
        let caller = self.request_or_refuse(&request.method, &context).await?;
        host_events::answer(&caller, request, &context).await
    }

    async fn complete(&self, params: CompleteRequestParams, context: RequestContext<RoleServer>) -> Result<CompleteResult, ErrorData> {
        let measured = self.measure(Method::Complete);
        let request = self.request_or_refuse("completion/complete", &context).await?;
        let completed = completion::complete(&request, params, &context).await?;
        measured.end(Ended::Well);
        Ok(completed)
    }
}
