//! A login that comes back from its renewal with other rights: a host of 2025-11-25 is told that its lists are
//! others now, and nobody is promised what is not told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowmaster_mcp::client::credentials::login::{Grant, Login, Source, Store};
use flowmaster_mcp::client::{Client, Fixed};
use flowmaster_mcp::server::{App, Options, Settings};
use rmcp::model::{CallToolRequestParams, ServerCapabilities, SubscriptionFilter};
use rmcp::service::{ClientLifecycleMode, NotificationContext, RunningService};
use rmcp::{ClientHandler, RoleClient};
use serde_json::json;

use crate::support::mcp::{over_stdio, revisions};
use crate::support::platform::{PASSWORD, TestPlatform};
use crate::support::standin::becomes;

/// A host that notes what it is told to have changed.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Vec<&'static str>>>);

impl Listener {
    fn told(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }

    fn note(&self, what: &'static str) {
        self.0.lock().unwrap().push(what);
    }
}

impl ClientHandler for Listener {
    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.note("tools");
    }

    async fn on_resource_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.note("resources");
    }

    async fn on_prompt_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.note("prompts");
    }
}

type Session = RunningService<RoleClient, Listener>;

/// A clerk whose rights are its role's, and the boss who sets them.
struct Office {
    platform: TestPlatform,
    folder: tempfile::TempDir,
    role: String,
}

impl Office {
    async fn new() -> Self {
        let platform = TestPlatform::start().await;
        let boss = platform.signed_in("acme", "boss", &["*"]).await;
        let role = json!({ "name": "clerk", "permissions": ["task:view"] });
        let role = platform.post("/roles", &boss, role).await.ok()["roleId"].as_str().unwrap().to_owned();
        platform.user("acme", "clerk", &["clerk"], &[]).await;
        Self { platform, folder: tempfile::tempdir().unwrap(), role }
    }

    async fn permit(&self, permissions: &[&str]) {
        let boss = self.platform.login("acme", "boss").await;
        self.platform.put(&format!("/roles/{}/permissions", self.role), &boss, json!({ "permissions": permissions })).await.ok();
    }

    /// The clerk's login, which renews itself or does not.
    async fn login(&self, renews: bool) -> Login {
        let login = json!({ "username": "clerk", "password": PASSWORD, "tenantId": "acme" });
        let given = self.platform.post("/auth/login", "", login).await.ok();
        let token = |name: &str| given[name].as_str().unwrap().to_owned().into();
        let refresh = token("refreshToken");
        let grant = Grant::of_settings(&token("accessToken"), Some(&refresh), None).unwrap();
        let store = renews.then(|| Store::of_refresh_token(self.folder.path(), &refresh));
        Login::new(self.client(None), Source::Given(Box::new(grant), store), None, "the platform".to_owned(), String::new())
    }

    fn client(&self, login: Option<&Login>) -> Client {
        let client = Client::builder(Arc::new(Fixed::new(&self.platform.running.url()).unwrap()));
        match login {
            Some(login) => client.renewing(Arc::new(login.clone())).build(),
            None => client.build(),
        }
    }

    /// A host of a revision, whose connection speaks for a login.
    async fn connect(&self, login: &Login, revision: ClientLifecycleMode) -> (Session, Listener) {
        let app = App::new(Options { client: self.client(Some(login)), settings: Settings::default() }).unwrap();
        let host = Listener::default();
        (over_stdio(app, Arc::new(login.clone()), revision, host.clone()).await.0, host)
    }

    /// Lets the access token end, and the clerk do something, which renews it.
    async fn renew(&self, session: &Session) {
        self.platform.clock.advance(7200.0);
        let done = session.call_tool(CallToolRequestParams::new("tasks_list")).await.unwrap();
        assert_eq!(done.is_error, Some(false), "{done:?}");
    }
}

async fn tools(session: &Session) -> Vec<String> {
    session.list_all_tools().await.unwrap().into_iter().map(|tool| tool.name.into_owned()).collect()
}

/// Whether changes are announced of tools, resources and prompts.
fn announced(session: &Session) -> [Option<bool>; 3] {
    let info = session.peer_info().unwrap();
    let ServerCapabilities { tools, resources, prompts, .. } = info.capabilities.clone();
    [tools.unwrap().list_changed, resources.unwrap().list_changed, prompts.unwrap().list_changed]
}

#[tokio::test]
async fn a_host_of_the_older_protocol_hears_that_its_lists_are_others() {
    let office = Office::new().await;
    let login = office.login(true).await;
    let [old, _] = revisions();
    let (session, host) = office.connect(&login, old).await;
    assert_eq!(announced(&session), [Some(true); 3]);
    let before = tools(&session).await;
    assert!(before.contains(&"tasks_list".to_owned()) && !before.contains(&"processes_create".to_owned()), "{before:?}");

    // A renewal that changes nothing is nothing to tell.
    for _ in 0..2 {
        office.renew(&session).await;
    }
    assert_eq!((tools(&session).await, host.told()), (before.clone(), vec![]));

    office.permit(&["task:view", "process:view", "process:create"]).await;
    office.renew(&session).await;
    let after = tools(&session).await;
    assert!(after.contains(&"processes_create".to_owned()) && after.len() > before.len(), "{after:?}");
    let heard = host.clone();
    assert!(becomes(move || heard.told() == ["tools", "resources", "prompts"]).await.is_ok(), "{:?}", host.told());
    // Once is enough.
    assert_eq!((tools(&session).await, host.told().len()), (after, 3));

    // Only what changed: this right has tools and nothing else.
    office.permit(&["task:view", "process:view", "process:create", "entity:insert"]).await;
    office.renew(&session).await;
    tools(&session).await;
    let heard = host.clone();
    assert!(becomes(move || heard.told()[3..] == ["tools"]).await.is_ok(), "{:?}", host.told());
}

#[tokio::test]
async fn nobody_is_promised_what_is_not_told() {
    let office = Office::new().await;
    let [old, _] = revisions();
    // A token that is not renewed has the same rights until it ends.
    let (session, _) = office.connect(&office.login(false).await, old).await;
    assert_eq!(announced(&session), [None; 3]);
}

#[tokio::test]
async fn a_host_of_the_newer_protocol_hears_of_what_it_listens_to() {
    let office = Office::new().await;
    let login = office.login(true).await;
    let [_, new] = revisions();
    let (session, host) = office.connect(&login, new).await;
    assert_eq!(announced(&session), [Some(true); 3]);
    let filter = SubscriptionFilter::builder().tools_list_changed().prompts_list_changed().build();
    let mut listening = session.listen(filter).await.unwrap();
    office.permit(&["task:view", "process:view", "process:create"]).await;
    office.renew(&session).await;
    for method in ["notifications/tools/list_changed", "notifications/prompts/list_changed"] {
        let told = tokio::time::timeout(Duration::from_secs(20), listening.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(serde_json::to_value(&told).unwrap()["method"], method);
    }
    // What is asked for now is asked with the new rights, and nothing is told beside the stream.
    assert!(tools(&session).await.contains(&"processes_create".to_owned()));
    assert_eq!(host.told(), Vec::<&str>::new());
}
