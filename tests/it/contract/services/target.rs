//! The platform that the suite speaks to: the embedded one, or a real one that two variables name.
//!
//! `FLOWMASTER_CONTRACT_URL` is the base of its routes and `FLOWMASTER_CONTRACT_TOKEN` the token of a user who may do everything.
//! `FLOWMASTER_CONTRACT_OTHER_TOKEN`, of another tenant, has the isolation of tenants checked too. Names are new in each run, and
//! what is made stays.

use std::env;
use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use flowmaster_mcp::api::{Timestamp, ids};
use flowmaster_mcp::platform::{Options, SystemClock};
use http::StatusCode;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::platform::{Reply, TestPlatform, http};
use crate::support::standin::{Asked, StandIn};

/// A platform and who calls it.
pub struct Target {
    pub url: String,
    pub token: String,
    http: reqwest::Client,
    /// What makes names unique.
    run: String,
    embedded: Option<TestPlatform>,
}

/// What the embedded platform is started with: real time, and short waits between attempts.
fn quick(options: &mut Options) {
    options.clock = std::sync::Arc::new(SystemClock);
    options.integrations.first_delay = Duration::from_millis(5);
    options.webhooks.first_delay = Duration::from_millis(5);
    options.webhooks.longest_delay = Duration::from_millis(20);
    options.webhooks.attempts = 3;
}

impl Target {
    /// The platform that the variables name, or an embedded one of the test's own.
    pub async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    /// The same; the embedded one has options of its own.
    pub async fn open_with(change: impl FnOnce(&mut Options)) -> Self {
        let run = ids::mint("run", Timestamp::now()).rsplit('-').next().unwrap_or_default().to_owned();
        let (embedded, url, token) = if let Ok(url) = env::var("FLOWMASTER_CONTRACT_URL") {
            let token = env::var("FLOWMASTER_CONTRACT_TOKEN").expect("FLOWMASTER_CONTRACT_TOKEN is set beside the URL");
            (None, url.trim_end_matches('/').to_owned(), token)
        } else {
            let platform = TestPlatform::start_with(|options| {
                quick(options);
                change(options);
            })
            .await;
            let (url, token) = (platform.running.url(), platform.owner());
            (Some(platform), url.trim_end_matches('/').to_owned(), token)
        };
        Self { url, token, http: http(), run, embedded }
    }

    /// Whether the platform is a real one.
    pub fn is_real(&self) -> bool {
        self.embedded.is_none()
    }

    /// The embedded platform, for what the contract has no route to prepare. Of a real one the test says why it ends here.
    pub fn embedded(&self, reason: &str) -> Option<&TestPlatform> {
        if self.is_real() {
            eprintln!("skipped at {}: {reason}", self.url);
        }
        self.embedded.as_ref()
    }

    /// A name that no run had before.
    pub fn named(&self, what: &str) -> String {
        format!("{what}-{}", self.run)
    }

    /// The same in the letters that types, topics and channels are written with.
    pub fn word(&self, what: &str) -> String {
        format!("{what}{}", self.run)
    }

    /// A request with the token and the headers of the contract's authentication pattern.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_as(&self.token, method, path)
    }

    pub fn request_as(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(token)
    }

    pub async fn get(&self, path: &str) -> Reply {
        Reply::to(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        Reply::to(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Reply {
        Reply::to(self.request(Method::PUT, path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        Reply::to(self.request(Method::DELETE, path)).await
    }

    /// The token of another tenant, as far as there is one.
    pub async fn stranger(&self) -> Option<String> {
        match &self.embedded {
            Some(platform) => Some(platform.signed_in("tenant-other", "eve@other.example", &["*"]).await),
            None => env::var("FLOWMASTER_CONTRACT_OTHER_TOKEN").map_err(|_| eprintln!("skipped: no FLOWMASTER_CONTRACT_OTHER_TOKEN")).ok(),
        }
    }

    /// The claims of the token.
    pub async fn claims(&self) -> Value {
        self.get("/auth/validate").await.ok()["claims"].clone()
    }

    /// A system outside of the platform that answers as the function says; none where the platform cannot reach this machine.
    pub async fn outside<F>(&self, answer: impl Fn(Asked) -> F + Send + Sync + 'static) -> Option<StandIn>
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let host = reqwest::Url::parse(&self.url).unwrap().host_str().unwrap_or_default().to_owned();
        if !["localhost", "127.0.0.1", "[::1]"].contains(&host.as_str()) {
            eprintln!("skipped at {}: it does not reach a server on this machine", self.url);
            return None;
        }
        Some(StandIn::start(answer).await)
    }

    /// Stops the embedded platform and starts it on its folder again. A real one goes on.
    pub async fn restarted(self) -> Self {
        self.stopped_for(async || {}).await
    }

    /// The same; what happens meanwhile finds it stopped.
    pub async fn stopped_for(self, meanwhile: impl AsyncFnOnce()) -> Self {
        let Some(platform) = self.embedded else { return self };
        let TestPlatform { running, folder, .. } = platform;
        running.shutdown().await;
        meanwhile().await;
        let platform = TestPlatform::start_in_with(folder, quick).await;
        let (url, token) = (platform.running.url().trim_end_matches('/').to_owned(), platform.owner());
        Self { url, token, embedded: Some(platform), ..self }
    }

    /// Reads a path until its answer is as it should be, at most twenty seconds.
    #[track_caller]
    pub fn until<'t>(&'t self, path: &'t str, holds: impl Fn(&Value) -> bool + 't) -> impl Future<Output = Value> + 't {
        let at = std::panic::Location::caller();
        async move {
            let mut seen = Value::Null;
            for _ in 0..1_000 {
                seen = self.get(path).await.ok();
                if holds(&seen) {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            panic!("{at}: {path} did not become so: {seen:#}");
        }
    }

    /// Designs and publishes a process, and answers its id.
    pub async fn publish(&self, nodes: Value) -> String {
        let id = self.design(json!({ "name": self.named("Process"), "nodes": nodes })).await;
        self.post(&format!("/processes/{id}/publish"), json!({})).await.ok();
        id
    }

    /// Designs a process, and answers its id.
    pub async fn design(&self, design: Value) -> String {
        self.post("/processes/designs", design).await.ok()["id"].as_str().unwrap().to_owned()
    }

    /// Starts a process, and answers the execution's path.
    pub async fn start(&self, process: &str, variables: Value) -> String {
        let started = self.post("/executions", json!({ "processId": process, "variables": variables })).await.ok();
        format!("/executions/{}", started["executionId"].as_str().unwrap())
    }

    /// The data of the events of a topic that tell of a thing, once there are so many.
    pub async fn events(&self, topic: &str, field: &str, id: &str, count: usize) -> Vec<Value> {
        let mut found = Vec::new();
        for _ in 0..1_000 {
            found.clear();
            let mut cursor = String::new();
            loop {
                let page = self.get(&format!("/events/replay?topic={topic}&limit=200{cursor}")).await.ok();
                found.extend(items(&page).iter().map(|event| event["data"].clone()).filter(|data| data[field] == id));
                let Some(next) = page["nextCursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            if found.len() >= count {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("of {id} on {topic} there are only {found:#?}");
    }
}

/// The items of a page.
#[track_caller]
pub fn items(page: &Value) -> &Vec<Value> {
    page["items"].as_array().unwrap_or_else(|| panic!("no page: {page:#}"))
}

/// A field of each item.
pub fn column<'p>(page: &'p Value, field: &str) -> Vec<&'p str> {
    items(page).iter().map(|item| item[field].as_str().unwrap_or_default()).collect()
}

/// An id in an answer.
#[track_caller]
pub fn id_in(answer: &Value, field: &str) -> String {
    answer[field].as_str().unwrap_or_else(|| panic!("no {field}: {answer:#}")).to_owned()
}

/// Holds an answer to be a refusal of one of these statuses.
#[track_caller]
pub fn refused(reply: &Reply, statuses: &[u16]) {
    assert!(statuses.contains(&reply.status), "{} {:#}", reply.status, reply.body);
}

/// An answer of a system outside.
pub fn says(status: u16, body: Value) -> Response {
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

/// A node that waits for a person.
pub fn human(id: &str, assignee: &str) -> Value {
    json!({ "id": id, "type": "human_task", "config": { "assignee": assignee } })
}
