//! Subscriptions of hosts in both revisions, over stdio and HTTP: who is told what, and who never is.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowmaster_mcp::auth::{Caller, Principal};
use flowmaster_mcp::server::Settings;
use rmcp::model::{
    ResourceUpdatedNotificationParam, ServerNotification, SubscribeRequestParams, SubscriptionFilter, UnsubscribeRequestParams,
};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _, NotificationContext, RunningService, ServiceError, Subscription};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, RoleClient};
use serde_json::{Value, json};

use crate::support::mcp::{admission, app, over_stdio, owner, revisions};
use crate::support::platform::{TestPlatform, http};
use crate::support::program::{Host, REVISIONS, Revision};
use crate::support::raw::{Served, serve};

/// What a host was told, whichever way it listens.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl ClientHandler for Told {
    async fn on_resource_updated(&self, updated: ResourceUpdatedNotificationParam, _: NotificationContext<RoleClient>) {
        self.0.lock().unwrap().push(updated.uri);
    }
}

impl Told {
    fn all(&self) -> Vec<String> {
        let mut told = self.0.lock().unwrap().clone();
        told.sort();
        told.dedup();
        told
    }

    async fn becomes(&self, uris: &[&String]) {
        let mut expected: Vec<String> = uris.iter().map(|uri| (*uri).clone()).collect();
        expected.sort();
        for _ in 0..500 {
            if self.all() == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it was told {:?} and not {expected:?}", self.all());
    }
}

/// A host of either revision that listens.
struct Listener {
    session: RunningService<RoleClient, Told>,
    told: Told,
    is_old: bool,
}

impl Listener {
    async fn over_stdio(platform: &TestPlatform, principal: Arc<dyn Principal>, revision: ClientLifecycleMode) -> Self {
        let (told, is_old) = (Told::default(), matches!(revision, ClientLifecycleMode::Initialize));
        let (session, _server) = over_stdio(app(platform, Settings::default()), principal, revision, told.clone()).await;
        Self { session, told, is_old }
    }

    async fn over_http(served: &Served, token: &str, revision: ClientLifecycleMode) -> Self {
        let (told, is_old) = (Told::default(), matches!(revision, ClientLifecycleMode::Initialize));
        let config = StreamableHttpClientTransportConfig::with_uri(format!("http://{}/mcp", served.address)).auth_header(token);
        let transport = StreamableHttpClientTransport::with_client(http(), config);
        Self { session: told.clone().serve_with_lifecycle(transport, revision).await.unwrap(), told, is_old }
    }

    /// Subscribes to resources; the error of the first that cannot be subscribed to.
    async fn subscribe(&self, uris: &[&String]) -> Result<(), ServiceError> {
        if self.is_old {
            for uri in uris {
                #[expect(deprecated, reason = "hosts of the older revision subscribe so")]
                self.session.subscribe(SubscribeRequestParams::new((*uri).clone())).await?;
            }
            return Ok(());
        }
        let filter = SubscriptionFilter::builder().resource_subscriptions(uris.iter().map(|uri| (*uri).clone())).build();
        let mut listening = self.session.listen(filter).await?;
        let told = Arc::clone(&self.told.0);
        // An error follows at once where there is one.
        match tokio::time::timeout(Duration::from_millis(700), listening.next()).await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(_)) => panic!("it was told before anything happened"),
            Err(_) => {
                tokio::spawn(async move { note_all(&mut listening, &told).await });
                Ok(())
            }
        }
    }
}

async fn note_all(listening: &mut Subscription, told: &Mutex<Vec<String>>) {
    while let Ok(Some(notification)) = listening.next().await {
        if let ServerNotification::ResourceUpdatedNotification(updated) = notification {
            told.lock().unwrap().push(updated.params.uri);
        }
    }
}

fn refused(result: Result<(), ServiceError>) -> String {
    match result.unwrap_err() {
        ServiceError::McpError(error) => serde_json::to_string(&error).unwrap(),
        other => panic!("{other}"),
    }
}

fn uri(path: &str, id: &str) -> String {
    format!("flowmaster://{path}/{id}")
}

/// A process of one approval by the owner, published.
async fn process(platform: &TestPlatform) -> Value {
    let owner = platform.owner();
    let nodes = json!([{ "id": "ask", "type": "human_task", "config": { "assignee": "user-owner", "title": "Approve" } }]);
    let id = platform.post("/processes/designs", &owner, json!({ "name": "Approval", "nodes": nodes })).await.ok()["id"].clone();
    platform.post(&format!("/processes/{}/publish", id.as_str().unwrap()), &owner, json!({})).await.ok();
    id
}

/// Starts an execution; its id and the id of its task.
async fn start(platform: &TestPlatform, process: &Value) -> (String, String) {
    let started = platform.post("/executions", &platform.owner(), json!({ "processId": process })).await.ok();
    let execution = started["executionId"].as_str().unwrap().to_owned();
    let tasks = platform.get(&format!("/tasks?executionId={execution}"), &platform.owner()).await.ok();
    (execution, tasks["items"][0]["taskId"].as_str().unwrap().to_owned())
}

async fn answer(platform: &TestPlatform, task: &str) {
    platform.put(&format!("/tasks/{task}/respond"), &platform.owner(), json!({ "decision": "approve" })).await.ok();
}

#[tokio::test]
async fn a_subscriber_is_told_of_exactly_what_changed() {
    let platform = TestPlatform::start().await;
    let process = process(&platform).await;
    let served = serve(app(&platform, Settings::default()), admission(&platform, Duration::from_mins(1)), |_| {}).await;
    let inbox = "flowmaster://tasks/inbox".to_owned();
    for over_http in [false, true] {
        for revision in revisions() {
            let (execution, task) = start(&platform, &process).await;
            let (other, others_task) = start(&platform, &process).await;
            let listener = if over_http {
                Listener::over_http(&served, &platform.owner(), revision).await
            } else {
                Listener::over_stdio(&platform, owner(), revision).await
            };
            let [one, history, another] =
                [uri("executions", &execution), uri("executions", &format!("{execution}/history")), uri("executions", &other)];
            listener.subscribe(&[&one, &history, &another, &inbox]).await.unwrap();
            answer(&platform, &task).await;
            listener.told.becomes(&[&one, &history, &inbox]).await;
            if listener.is_old {
                #[expect(deprecated, reason = "hosts of the older revision unsubscribe so")]
                listener.session.unsubscribe(UnsubscribeRequestParams::new(inbox.clone())).await.unwrap();
                listener.told.0.lock().unwrap().clear();
                answer(&platform, &others_task).await;
                listener.told.becomes(&[&another]).await;
                let twice = UnsubscribeRequestParams::new(inbox.clone());
                #[expect(deprecated, reason = "hosts of the older revision unsubscribe so")]
                let again = listener.session.unsubscribe(twice).await.map(drop);
                assert!(refused(again).contains("FM-MCP-NOT-SUBSCRIBED"));
            }
        }
    }
}

#[tokio::test]
async fn who_may_not_read_is_refused_and_never_told() {
    let platform = TestPlatform::start().await;
    let process = process(&platform).await;
    let every = ["execution:view", "task:view", "event:view", "subscription:create", "subscription:delete"];
    let stranger = platform.signed_in("globex", "eve@globex.example", &every).await;
    let clerk = platform.signed_in("tenant-local", "bob@acme.example", &["task:view", "event:view", "subscription:create"]).await;
    let deaf = platform.signed_in("tenant-local", "carl@acme.example", &["execution:view"]).await;
    let services = "flowmaster://services".to_owned();
    let unknown = "flowmaster://nothing/here".to_owned();
    for revision in revisions() {
        let (execution, task) = start(&platform, &process).await;
        let mine = uri("executions", &execution);
        let mut hosts = Vec::new();
        for (token, uri, named) in [
            (&stranger, &mine, "there is no resource"),
            (&clerk, &mine, "there is no resource"),
            (&deaf, &mine, "subscription:create"),
            (&stranger, &unknown, "there is no resource"),
            (&stranger, &services, "FM-MCP-NOT-SUBSCRIBABLE"),
        ] {
            let caller: Arc<Caller> = Arc::new(Caller::of_unverified_token(token.clone().into(), None).unwrap());
            let host = Listener::over_stdio(&platform, Arc::new(caller), revision.clone()).await;
            let why = refused(host.subscribe(&[uri]).await);
            assert!(why.contains(named), "{named}: {why}");
            hosts.push(host);
        }
        answer(&platform, &task).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(hosts.iter().all(|host| host.told.all().is_empty()));
    }
}

#[tokio::test]
async fn subscriptions_are_bounded_and_say_so() {
    let platform = TestPlatform::start().await;
    let process = process(&platform).await;
    for revision in revisions() {
        let listener = Listener::over_stdio(&platform, owner(), revision).await;
        let mut uris = Vec::new();
        for _ in 0..65 {
            uris.push(uri("executions", &start(&platform, &process).await.0));
        }
        let why = refused(listener.subscribe(&uris.iter().collect::<Vec<_>>()).await);
        assert!(why.contains("FM-MCP-SUBSCRIPTIONS") && why.contains("64"), "{why}");
    }
}

#[tokio::test]
async fn a_right_that_is_taken_away_ends_the_messages() {
    let platform = TestPlatform::start().await;
    let process = process(&platform).await;
    let boss = platform.owner();
    let rights = ["execution:view", "event:view", "subscription:create", "subscription:delete"];
    let role = json!({ "name": "watcher", "permissions": rights });
    let role = platform.post("/roles", &boss, role).await.ok()["roleId"].as_str().unwrap().to_owned();
    platform.user("tenant-local", "wanda@acme.example", &["watcher"], &[]).await;
    let token = platform.login("tenant-local", "wanda@acme.example").await;
    let served = serve(app(&platform, Settings::default()), admission(&platform, Duration::from_secs(1)), |_| {}).await;
    for revision in revisions() {
        platform.put(&format!("/roles/{role}/permissions"), &boss, json!({ "permissions": rights })).await.ok();
        let (execution, task) = start(&platform, &process).await;
        let listener = Listener::over_http(&served, &token, revision).await;
        listener.subscribe(&[&uri("executions", &execution)]).await.unwrap();
        let fewer = json!({ "permissions": ["event:view", "subscription:create", "subscription:delete"] });
        platform.put(&format!("/roles/{role}/permissions"), &boss, fewer).await.ok();
        answer(&platform, &task).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(listener.told.all(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_logout_of_its_caller() {
    let platform = TestPlatform::start().await;
    let process = process(&platform).await;
    let rights = ["execution:view", "event:view", "subscription:create", "subscription:delete"];
    let token = platform.signed_in("tenant-local", "wanda@acme.example", &rights).await;
    let served = serve(app(&platform, Settings::default()), admission(&platform, Duration::from_secs(1)), |options| {
        options.validate_interval = Duration::from_secs(1);
    })
    .await;
    let (execution, task) = start(&platform, &process).await;
    let params = json!({ "notifications": { "resourceSubscriptions": [uri("executions", &execution)] } });
    let stream = served.modern(&token, "subscriptions/listen", &params).send().await.unwrap();
    assert!(stream.status().is_success());
    platform.post("/auth/logout", &token, json!({})).await;
    let text = tokio::time::timeout(Duration::from_secs(20), stream.text()).await.expect("the stream ends").unwrap_or_default();
    assert!(text.contains("notifications/subscriptions/acknowledged"), "{text}");
    answer(&platform, &task).await;
    assert!(!text.contains("notifications/resources/updated"), "{text}");
    // The server asks about a token once a second.
    for _ in 0..100 {
        let again = served.modern(&token, "subscriptions/listen", &params).send().await.unwrap();
        if again.status() == 401 {
            return;
        }
        let text = again.text().await.unwrap_or_default();
        assert!(!text.contains("notifications/resources/updated"), "{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the token is still accepted");
}

#[tokio::test]
async fn a_process_with_a_cache_reads_what_another_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let cached = [("FLOWMASTER_CACHE_SIZE", "16")];
    for (number, revision) in REVISIONS.into_iter().enumerate() {
        let mut reader = Host::start_with(&data, revision, Some("accept"), &cached).await;
        let mut writer = Host::start_with(&data, Revision::V2025_11_25, Some("accept"), &cached).await;
        let kind = format!("customer-{number}");
        writer.good("entities_define", json!({ "entityType": kind })).await;
        let record = writer.good("entities_insert", json!({ "type": kind, "data": { "name": "Acme" } })).await;
        let of = json!({ "type": kind, "id": record["id"] });
        let address = format!("flowmaster://entities/{kind}/{}", record["id"].as_str().unwrap());
        if revision == Revision::V2025_11_25 {
            reader.request("resources/subscribe", json!({ "uri": address })).await["result"].as_object().unwrap();
        } else {
            reader.listen(json!({ "resourceSubscriptions": [address] })).await;
        }
        let began = std::time::Instant::now();
        assert_eq!(reader.good("entities_get", of.clone()).await["data"]["name"], "Acme");
        let changed = json!({ "type": kind, "id": record["id"], "data": { "name": "Globex" } });
        writer.good("entities_update", changed).await;
        let told = reader.receive().await;
        assert_eq!((&told["method"], &told["params"]["uri"]), (&json!("notifications/resources/updated"), &json!(address)), "{told}");
        assert_eq!(reader.good("entities_get", of).await["data"]["name"], "Globex");
        assert!(began.elapsed() < Duration::from_secs(25), "a kept record is good for 30 seconds");
        // A stream that is open does not keep a server from its end.
        let ending = std::time::Instant::now();
        assert!(reader.end().await.success() && ending.elapsed() < Duration::from_secs(4), "{:?}", ending.elapsed());
        assert!(writer.end().await.success());
    }
}

#[tokio::test]
async fn a_session_with_a_subscription_outlives_its_idle_time() {
    let platform = TestPlatform::start().await;
    let process = process(&platform).await;
    let token = platform.owner();
    let served = serve(app(&platform, Settings::default()), admission(&platform, Duration::from_mins(1)), |_| {}).await;
    let [old, _] = revisions();
    let (execution, task) = start(&platform, &process).await;
    let subscribed = Listener::over_http(&served, &token, old).await;
    let idle = served.open(&token).await;
    let address = uri("executions", &execution);
    subscribed.subscribe(&[&address]).await.unwrap();
    // Twelve minutes, of which a session may be idle for ten.
    for _ in 0..3 {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(4 * 60 + 1)).await;
        tokio::time::resume();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    subscribed.told.0.lock().unwrap().clear();
    answer(&platform, &task).await;
    subscribed.told.becomes(&[&address]).await;
    let ended = served.legacy(&token, &idle, "tools/list", &json!({})).send().await.unwrap();
    assert_eq!(ended.status(), 404, "a session without subscriptions has ended");
}
