//! A stand-in that notes what it is asked, for what only the other side of the wire can see.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::Response;
use flowmaster_mcp::error::Result;
use futures_util::future::BoxFuture;
use http::HeaderMap;

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: http::Method,
    pub path: String,
    /// The query, empty where there is none.
    pub query: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Asked {
    /// A header's text, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

type Answering = Arc<dyn Fn(Asked) -> BoxFuture<'static, Response> + Send + Sync>;

/// See the module.
#[derive(Clone)]
pub struct StandIn {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl StandIn {
    /// Listens, and answers each request by a function.
    pub async fn start<F>(answering: impl Fn(Asked) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let answering: Answering = Arc::new(move |asked| Box::pin(answering(asked)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(note).with_state((Arc::clone(&asked), answering));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, asked }
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn note(State((noted, answering)): State<(Arc<Mutex<Vec<Asked>>>, Answering)>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, 1 << 24).await.unwrap();
    let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().unwrap_or_default().to_owned());
    let asked = Asked { method: parts.method, path, query, headers: parts.headers, body: String::from_utf8_lossy(&body).into_owned() };
    noted.lock().unwrap().push(asked.clone());
    answering(asked).await
}

/// Whether something becomes true within ten seconds.
pub async fn becomes(what: impl Fn() -> bool) -> Result<(), &'static str> {
    for _ in 0..1000 {
        if what() {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    Err("it did not become true within ten seconds")
}
