//! Callers of a running platform before a server over HTTP: each with a token that the platform itself gave.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use flowmaster_mcp::auth::{Admit, Caller};
use flowmaster_mcp::error::{Error, Kind, Result};
use flowmaster_mcp::server::Authentication;
use futures_util::future::BoxFuture;
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;

use super::mcp::{Host, Session};
use super::platform::{TestPlatform, http};
use super::raw::Served;

/// Whoever was let in so far; what is known of a caller can change between two requests.
#[derive(Clone, Default)]
pub struct Callers(Arc<Mutex<HashMap<String, Arc<Caller>>>>);

impl Callers {
    /// Makes a user of the platform, and lets it in with roles of its own.
    pub async fn make(&self, platform: &TestPlatform, tenant: &str, name: &str, roles: &[&str], permissions: &[&str]) -> String {
        let token = platform.signed_in(tenant, name, permissions).await;
        let caller = Caller::of_unverified_token(token.clone().into(), None).unwrap();
        self.change(&token, Caller { roles: roles.iter().map(|role| (*role).to_owned()).collect(), ..caller });
        token
    }

    /// What is known of a caller.
    pub fn known(&self, token: &str) -> Arc<Caller> {
        Arc::clone(&self.0.lock().unwrap()[token])
    }

    /// Lets a caller in as another one from now on.
    pub fn change(&self, token: &str, caller: Caller) {
        self.0.lock().unwrap().insert(token.to_owned(), Arc::new(caller));
    }

    pub fn admission(&self) -> Authentication {
        Authentication::Bearer(Arc::new(self.clone()))
    }
}

impl Admit for Callers {
    fn admit<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Arc<Caller>>> {
        let known = self.0.lock().unwrap().get(token).cloned();
        Box::pin(std::future::ready(known.ok_or_else(|| Error::new(Kind::Unauthenticated, "FM-MCP-TOKEN-SIGNATURE", "not known"))))
    }
}

/// A host over HTTP with a caller's token.
pub async fn connect(served: &Served, token: &str, revision: ClientLifecycleMode, host: Host) -> Session {
    let config = StreamableHttpClientTransportConfig::with_uri(format!("http://{}/mcp", served.address)).auth_header(token);
    host.serve_with_lifecycle(StreamableHttpClientTransport::with_client(http(), config), revision).await.unwrap()
}
