//! A running platform in a temporary folder, spoken to over HTTP as anybody would.

use std::path::Path;
use std::sync::Arc;

use flowmaster_mcp::platform::{Clock, ManualClock, Options, Platform, Running};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A platform and its folder.
pub struct TestPlatform {
    pub running: Running,
    pub folder: TempDir,
    pub clock: Arc<ManualClock>,
    http: reqwest::Client,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Reply {
    /// Sends a request and reads the answer.
    pub async fn to(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        let body = if body == "" { Value::Null } else { body };
        Self { status, headers, body }
    }

    /// The stable code of a problem.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// The body of a call that succeeded; anything else fails the test and shows why.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{} {:#}", self.status, self.body);
        self.body
    }

    /// Holds the answer to be a problem of a status and a code.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Value {
        assert_eq!((self.status, self.code()), (status, code), "{:#}", self.body);
        self.body
    }
}

/// Options of a platform in a folder, on a clock that stands at the present until it is moved.
pub fn options(folder: &Path, clock: &Arc<ManualClock>) -> Options {
    let mut options = Options::new(folder.join("data"));
    options.clock = Arc::clone(clock) as Arc<dyn Clock>;
    options
}

/// A client that neither asks a proxy nor keeps anything.
pub fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

impl TestPlatform {
    /// A new platform.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A platform on the `data` of a folder that is there already.
    pub async fn start_in(folder: TempDir) -> Self {
        Self::start_in_with(folder, |_| {}).await
    }

    /// A new platform with options of its own.
    pub async fn start_with(change: impl FnOnce(&mut Options)) -> Self {
        Self::start_in_with(tempfile::tempdir().unwrap(), change).await
    }

    /// The same with options of its own.
    pub async fn start_in_with(folder: TempDir, change: impl FnOnce(&mut Options)) -> Self {
        let clock = Arc::new(ManualClock::new(flowmaster_mcp::api::Timestamp::now()));
        let mut options = options(folder.path(), &clock);
        change(&mut options);
        let running = Platform::start(options).await.unwrap();
        Self { running, folder, clock, http: http() }
    }

    /// Ends it and starts it again on the same folder.
    pub async fn restart(self) -> Self {
        self.restart_with(|_| {}).await
    }

    /// Ends it and starts it again on the same folder with options of its own.
    pub async fn restart_with(self, change: impl FnOnce(&mut Options)) -> Self {
        let Self { running, folder, clock, http } = self;
        running.shutdown().await;
        let mut options = options(folder.path(), &clock);
        change(&mut options);
        let running = Platform::start(options).await.unwrap();
        Self { running, folder, clock, http }
    }

    /// The owner's token.
    pub fn owner(&self) -> String {
        self.running.owner_token().expose_secret().to_owned()
    }

    /// A request, for what the helpers below do not do.
    pub fn request(&self, method: Method, path: &str, token: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.running.url()));
        if token.is_empty() { request } else { request.bearer_auth(token) }
    }

    /// Sends a request and reads the answer.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        Reply::to(request).await
    }

    /// GET with a token.
    pub async fn get(&self, path: &str, token: &str) -> Reply {
        self.send(self.request(Method::GET, path, token)).await
    }

    /// POST of JSON with a token.
    pub async fn post(&self, path: &str, token: &str, body: Value) -> Reply {
        self.send(self.request(Method::POST, path, token).json(&body)).await
    }

    /// PUT of JSON with a token.
    pub async fn put(&self, path: &str, token: &str, body: Value) -> Reply {
        self.send(self.request(Method::PUT, path, token).json(&body)).await
    }

    /// DELETE with a token, and with a body where there is one.
    pub async fn delete(&self, path: &str, token: &str, body: Option<Value>) -> Reply {
        let request = self.request(Method::DELETE, path, token);
        self.send(if let Some(body) = body { request.json(&body) } else { request }).await
    }

    /// Makes a user of a tenant, and answers its id.
    pub async fn user(&self, tenant: &str, username: &str, roles: &[&str], permissions: &[&str]) -> String {
        let user = json!({
            "username": username, "password": PASSWORD, "tenantId": tenant, "roles": roles, "permissions": permissions,
        });
        self.post("/users", &self.owner(), user).await.ok()["id"].as_str().unwrap().to_owned()
    }

    /// Signs a user in, and answers the access token.
    pub async fn login(&self, tenant: &str, username: &str) -> String {
        self.login_as(tenant, username, PASSWORD).await.ok()["accessToken"].as_str().unwrap().to_owned()
    }

    /// Tries to sign a user in with a password.
    pub async fn login_as(&self, tenant: &str, username: &str, password: &str) -> Reply {
        self.post("/auth/login", "", json!({ "username": username, "password": password, "tenantId": tenant })).await
    }

    /// Makes a user and signs it in.
    pub async fn signed_in(&self, tenant: &str, username: &str, permissions: &[&str]) -> String {
        self.user(tenant, username, &[], permissions).await;
        self.login(tenant, username).await
    }
}

/// The password of every test's user.
pub const PASSWORD: &str = "a long enough secret";
