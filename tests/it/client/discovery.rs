//! Services at places of their own: by URL, and as a registry lists them, which may be away, wrong or lie.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use flowmaster_mcp::api::{registry, tasks};
use flowmaster_mcp::auth::Caller;
use flowmaster_mcp::client::{CircuitState, Client, Discovery, Fixed, RegistryRules, service_named};
use flowmaster_mcp::error::{Kind, Result};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::platform::TestPlatform;

fn rules(allowed: &[&str]) -> RegistryRules {
    RegistryRules {
        allowed_hosts: allowed.iter().map(|host| (*host).to_owned()).collect(),
        plain_http: false,
        prefer: [("region".to_owned(), "west".to_owned())].into(),
        refresh: Duration::from_millis(50),
    }
}

fn client(url: &str, discovery: Discovery) -> Client {
    Client::builder(Arc::new(Fixed::new(url).unwrap())).discovery(discovery).build()
}

fn caller(platform: &TestPlatform) -> Arc<Caller> {
    Arc::new(Caller::of_unverified_token(platform.owner().into(), None).unwrap())
}

async fn list(client: &Client, caller: &Arc<Caller>) -> Result<usize> {
    client.send(caller, &tasks::List::default()).await.map(|page| page.items.len())
}

/// A registry that lists what it is told, and counts who asks and with which token.
#[derive(Default)]
struct Listing {
    instances: Mutex<Vec<Value>>,
    away: Mutex<bool>,
    asked: AtomicUsize,
}

impl Listing {
    async fn start(self: &Arc<Self>) -> String {
        async fn answer(State(listing): State<Arc<Listing>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
            listing.asked.fetch_add(1, Ordering::SeqCst);
            assert!(headers.contains_key("authorization") && name.starts_with("human-task"));
            if *listing.away.lock().unwrap() {
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
            let found = if name.ends_with("-service") { listing.instances.lock().unwrap().clone() } else { Vec::new() };
            axum::Json(json!({ "items": found })).into_response()
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/services/{name}", axum::routing::get(answer)).with_state(Arc::clone(self));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn list(&self, instances: &[(&str, u16, Value)]) {
        let instance = |(host, port, metadata): &(&str, u16, Value)| json!({ "instanceId": format!("{host}-{port}"), "serviceName": "human-task", "host": host, "port": port, "status": "healthy", "metadata": metadata });
        *self.instances.lock().unwrap() = instances.iter().map(instance).collect();
    }
}

fn port_of(platform: &TestPlatform) -> u16 {
    platform.running.url().rsplit_once(':').unwrap().1.parse().unwrap()
}

/// A port at which nothing listens.
async fn dead_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn the_platforms_own_registry_leads_to_its_services() {
    let platform = TestPlatform::start().await;
    let client = client(&platform.running.url(), Discovery::Registry(rules(&[])));
    assert_eq!(list(&client, &caller(&platform)).await.unwrap(), 0);
    let services = client.send(&caller(&platform), &registry::List::default()).await.unwrap();
    assert!(services.items.len() >= 22);
    let known = client.health().into_iter().find(|health| health.instance.is_some()).unwrap();
    assert_eq!((known.service, known.instance.as_deref()), ("human-task", platform.running.url().strip_prefix("http://")));
}

#[tokio::test]
async fn a_service_with_a_url_of_its_own_is_called_there_and_the_others_at_the_gateway() {
    let (platform, gateway) = (TestPlatform::start().await, dead_port().await);
    let place = Fixed::new(&platform.running.url()).unwrap();
    let tasks = service_named("human-task-service").unwrap().name;
    let client = client(&format!("http://127.0.0.1:{gateway}"), Discovery::Services(vec![(tasks, place)]));
    assert_eq!(list(&client, &caller(&platform)).await.unwrap(), 0);
    let refused = client.send(&caller(&platform), &registry::List::default()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unavailable);
    assert_eq!(service_named("tasks").unwrap_err().code(), "FM-CONFIG-SERVICE");
}

#[tokio::test]
async fn a_dead_instance_is_passed_over_and_the_last_list_is_kept_while_the_registry_is_away() {
    let (platform, listing) = (TestPlatform::start().await, Arc::new(Listing::default()));
    let (url, dead) = (listing.start().await, dead_port().await);
    listing.list(&[("127.0.0.1", dead, json!({})), ("127.0.0.1", port_of(&platform), json!({}))]);
    let client = client(&url, Discovery::Registry(rules(&[])));
    let anna = caller(&platform);
    for _ in 0..30 {
        assert_eq!(list(&client, &anna).await.unwrap(), 0);
    }
    let dead = format!("127.0.0.1:{dead}");
    let known = client.health().into_iter().find(|health| health.instance.as_deref() == Some(&dead)).unwrap();
    assert!(matches!(known.circuit, CircuitState::Open(_)), "{known:?}");
    *listing.away.lock().unwrap() = true;
    tokio::time::sleep(Duration::from_millis(60)).await;
    let before = listing.asked.load(Ordering::SeqCst);
    for _ in 0..5 {
        assert_eq!(list(&client, &anna).await.unwrap(), 0);
    }
    for _ in 0..200 {
        if listing.asked.load(Ordering::SeqCst) > before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(listing.asked.load(Ordering::SeqCst) > before, "it was asked again");
    assert_eq!(list(&client, &anna).await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_preferred_is_called_as_long_as_it_is_there() {
    let (west, east, listing) = (TestPlatform::start().await, dead_port().await, Arc::new(Listing::default()));
    let url = listing.start().await;
    listing.list(&[("127.0.0.1", east, json!({ "region": "east" })), ("127.0.0.1", port_of(&west), json!({ "region": "west" }))]);
    let client = client(&url, Discovery::Registry(rules(&[])));
    for _ in 0..10 {
        assert_eq!(list(&client, &caller(&west)).await.unwrap(), 0);
    }
    let east = format!("127.0.0.1:{east}");
    assert!(client.health().iter().all(|health| health.instance.as_deref() != Some(&east)), "it was called");
}

#[tokio::test]
async fn a_registry_that_lies_gets_nobody_a_token() {
    let (platform, listing) = (TestPlatform::start().await, Arc::new(Listing::default()));
    let url = listing.start().await;
    let port = port_of(&platform);
    let refused = async |allowed: &[&str], host: &str, metadata: Value| {
        listing.list(&[(host, port, metadata)]);
        let client = client(&url, Discovery::Registry(rules(allowed)));
        list(&client, &caller(&platform)).await.map_or_else(|error| error.code().to_owned(), |_| "called".to_owned())
    };
    for host in ["evil.example", "127.0.0.1@evil.example", "evil.example/127.0.0.1", "evil.example#", "169.254.169.254", "0.0.0.0", "10.1"]
    {
        assert_eq!(refused(&[], host, json!({})).await, "FM-MCP-DISCOVERY-HOST", "{host}");
    }
    for allowed in [["tasks.internal"], ["*.127.0.0.1"]] {
        assert_eq!(refused(&allowed, "127.0.0.1", json!({})).await, "FM-MCP-DISCOVERY-HOST");
    }
    for host in ["xtasks.internal", "tasks.internal.evil.example", "*.internal"] {
        assert_eq!(refused(&["*.tasks.internal"], host, json!({})).await, "FM-MCP-DISCOVERY-HOST", "{host}");
    }
    // Allowed, and yet not without encryption.
    assert_eq!(refused(&["tasks.internal"], "tasks.internal", json!({ "scheme": "http" })).await, "FM-MCP-DISCOVERY-HOST");
    // One address, however it is written.
    for host in ["127.0.0.1", "127.1", "0x7f000001", "LOCALHOST"] {
        assert_eq!(refused(&[], host, json!({})).await, "called", "{host}");
    }
    listing.list(&[("127.0.0.1", port, json!({}))]);
    let moved = client(&url, Discovery::Registry(rules(&[])));
    assert_eq!(list(&moved, &caller(&platform)).await.unwrap(), 0);
    moved.replace_allowed_hosts(vec!["tasks.internal".to_owned()]);
    assert_eq!(list(&moved, &caller(&platform)).await.unwrap_err().code(), "FM-MCP-DISCOVERY-HOST", "a known list is judged again");
    moved.replace_allowed_hosts(vec!["127.0.0.1".to_owned()]);
    assert_eq!(list(&moved, &caller(&platform)).await.unwrap(), 0);
    listing.list(&[]);
    let client = client(&url, Discovery::Registry(rules(&[])));
    assert_eq!(list(&client, &caller(&platform)).await.unwrap_err().code(), "FM-MCP-NO-INSTANCE");
    *listing.away.lock().unwrap() = true;
    assert_eq!(list(&client, &caller(&platform)).await.unwrap_err().code(), "FM-MCP-DISCOVERY");
}
