//! A platform of its own for a test, and the way to call it over HTTP as its owner.

use flowmaster_mcp::platform::{Options, Platform, Running};
use secrecy::ExposeSecret as _;
use serde_json::Value;

/// A platform on a folder that ends with the test.
pub(crate) struct Bench {
    pub(crate) running: Running,
    folder: tempfile::TempDir,
    client: reqwest::Client,
}

/// What the platform answered; no body is null.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Bench {
    pub(crate) async fn start(change: impl FnOnce(&mut Options)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let running = run(&folder, change).await;
        Self { running, folder, client: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    /// Ends the platform and starts another on its folder.
    pub(crate) async fn restart(self, change: impl FnOnce(&mut Options)) -> Self {
        let Self { running, folder, client } = self;
        running.shutdown().await;
        let running = run(&folder, change).await;
        Self { running, folder, client }
    }

    /// Calls as the owner.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>, headers: &[(&str, &str)]) -> Reply {
        self.call_as(self.running.owner_token().expose_secret(), method, path, body, headers).await
    }

    /// Calls with a token.
    pub(crate) async fn call_as(&self, token: &str, method: &str, path: &str, body: Option<Value>, headers: &[(&str, &str)]) -> Reply {
        let mut request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.running.url())).bearer_auth(token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        Reply { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }
}

async fn run(folder: &tempfile::TempDir, change: impl FnOnce(&mut Options)) -> Running {
    let mut options = Options::new(folder.path().join("data"));
    change(&mut options);
    Platform::start(options).await.unwrap()
}
