//! A host of either revision before the server, and the server before a running platform.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowmaster_mcp::auth::{Caller, Credential, KeySet, Mode, OwnerToken, Principal, Rules, Verifier};
use flowmaster_mcp::client::{Client, Fixed, Located, Origin, PlatformKeys, TokenStatus};
use flowmaster_mcp::error::Result;
use flowmaster_mcp::platform::Clock as _;
use flowmaster_mcp::server::{App, Authentication, Options, Settings, serve_stdio};
use futures_util::future::BoxFuture;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult, ElicitationAction,
    ProtocolVersion,
};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _, RequestContext, RunningService};
use rmcp::{ClientHandler, ErrorData, RoleClient};
use secrecy::SecretString;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::platform::TestPlatform;

/// Where a test's platform is.
struct Here(Located);

impl Origin for Here {
    fn locate(&self) -> BoxFuture<'_, Result<Located>> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

/// Where a running platform is.
pub fn origin(platform: &TestPlatform) -> Arc<dyn Origin> {
    let base = platform.running.url().as_str().into();
    Arc::new(Here(Located { base, owner_token: Some(SecretString::from(platform.owner())), loopback: true }))
}

/// A server before the platform at an address.
pub fn app_before(url: &str, settings: Settings) -> Arc<App> {
    let client = Client::builder(Arc::new(Fixed::new(url).unwrap())).build();
    App::new(Options { client, settings }).unwrap()
}

/// A server before a platform.
pub fn app(platform: &TestPlatform, settings: Settings) -> Arc<App> {
    let client = Client::builder(origin(platform)).build();
    App::new(Options { client, settings }).unwrap()
}

/// The platform's owner, for whom a connection speaks.
pub fn owner() -> Arc<dyn Principal> {
    Arc::new(Arc::new(Caller::owner(Credential::Owner)))
}

/// What tools/list answers to whoever may do everything, where the operator has opened nothing that is off.
pub fn all_tools() -> Value {
    let mut all = flowmaster_mcp::server::list_tools_json();
    all["tools"].as_array_mut().unwrap().retain(|tool| tool["name"] != "gateway_request");
    all
}

/// What happens while a person thinks.
pub type Meanwhile = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// A host whose person always answers the same; without an answer it cannot ask.
#[derive(Clone)]
pub struct Host {
    answer: Option<ElicitationAction>,
    asked: Arc<Mutex<Vec<String>>>,
    meanwhile: Option<Meanwhile>,
}

impl Host {
    pub fn new(answer: impl Into<Option<ElicitationAction>>) -> Self {
        Self { answer: answer.into(), asked: Arc::default(), meanwhile: None }
    }

    /// A host whose person agrees after something happened.
    pub fn after(meanwhile: Meanwhile) -> Self {
        Self { meanwhile: Some(meanwhile), ..Self::new(ElicitationAction::Accept) }
    }

    /// What the person was asked so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl ClientHandler for Host {
    fn get_info(&self) -> ClientConfig {
        let mut config = ClientConfig::default();
        if self.answer.is_some() {
            config.capabilities = ClientCapabilities::builder().enable_elicitation().build();
        }
        config
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> std::result::Result<ElicitResult, ErrorData> {
        let ElicitRequestParams::FormElicitationParams { message, .. } = request else { panic!("no form") };
        self.asked.lock().unwrap().push(message);
        if let Some(meanwhile) = &self.meanwhile {
            meanwhile().await;
        }
        Ok(ElicitResult::new(self.answer.clone().unwrap()))
    }
}

/// A connection of a host.
pub type Session = RunningService<RoleClient, Host>;

/// Connects a host over stdio, for a principal; gives the session, and the server that ends with it.
pub async fn over_stdio<H: ClientHandler>(
    app: Arc<App>,
    principal: Arc<dyn Principal>,
    revision: ClientLifecycleMode,
    host: H,
) -> (RunningService<RoleClient, H>, JoinHandle<Result<()>>) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (input, output) = tokio::io::split(theirs);
    let server = tokio::spawn(serve_stdio(app, principal, input, output, CancellationToken::new()));
    (host.serve_with_lifecycle(ours, revision).await.unwrap(), server)
}

/// The old revision and the new one.
pub fn revisions() -> [ClientLifecycleMode; 2] {
    [ClientLifecycleMode::Initialize, ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }]
}

/// Calls a tool and gives what it answered, errors included.
pub async fn call(session: &Session, tool: &str, arguments: Value) -> CallToolResult {
    let request = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments.as_object().cloned().unwrap());
    session.call_tool(request).await.unwrap()
}

/// Calls a tool that succeeds and gives its structured content.
#[track_caller]
pub fn ok(result: CallToolResult) -> Value {
    assert_eq!(result.is_error, Some(false), "{}", text(&result));
    result.structured_content.unwrap()
}

/// The first text of an answer.
pub fn text(result: &CallToolResult) -> &str {
    &result.content[0].as_text().unwrap().text
}

/// Lets in the owner, users and services of a platform by their tokens, as `serve --http` does before the embedded one;
/// the platform is asked about a token again after the interval.
pub fn admission(platform: &TestPlatform, interval: Duration) -> Authentication {
    Authentication::Bearer(Arc::new(OwnerToken::new(&platform.running.owner_token(), Some(Arc::new(verifier(platform, interval))))))
}

/// Lets callers in as [`admission`] does, by the platform's clock, which stands still until it is moved.
pub fn admission_by_its_clock(platform: &TestPlatform, interval: Duration) -> Authentication {
    let clock = Arc::clone(&platform.clock);
    let verifier = verifier(platform, interval).clock(Arc::new(move || clock.now().millis().div_euclid(1000)));
    Authentication::Bearer(Arc::new(OwnerToken::new(&platform.running.owner_token(), Some(Arc::new(verifier)))))
}

/// Verifies the tokens of a platform's users and services.
pub fn verifier(platform: &TestPlatform, interval: Duration) -> Verifier {
    let origin: Arc<dyn Origin> = Arc::new(Fixed::new(&platform.running.url()).unwrap());
    let mut rules = Rules::new(Mode::FirstParty);
    rules.audiences_any = vec!["flowmaster".to_owned()];
    let keys = KeySet::published(Arc::new(PlatformKeys::new(Arc::clone(&origin))));
    let validation = Arc::new(TokenStatus::new(Client::builder(origin).build()));
    Verifier::new(rules, keys).confirmed_by(validation, interval)
}
