//! The Service Registry over HTTP: leases, health, probes of a server of the test's own, and the platform's own services.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::platform::TestPlatform;

/// The contract's example.
fn example() -> Value {
    json!({
        "serviceName": "process-design-service", "instanceId": "pds-1", "host": "pds-1.internal", "port": 3001, "version": "1.2.0",
        "metadata": { "region": "us-west", "capacity": 100 },
    })
}

/// The example with a field of another value.
fn with(field: &str, value: Value) -> Value {
    let mut request = example();
    request[field] = value;
    request
}

fn ids(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|item| item["instanceId"].as_str().unwrap().to_owned()).collect()
}

/// Serves a health page on loopback that answers with a status, and answers its port.
async fn server(status: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().route("/livez", get(move || std::future::ready(StatusCode::from_u16(status).unwrap())));
    tokio::spawn(async move { axum::serve(listener, app).await });
    port
}

#[tokio::test]
async fn the_contracts_instance_is_registered_found_and_removed() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let registered = platform.post("/services/register", &owner, example()).await;
    assert_eq!((registered.status, &registered.headers["location"]), (201, &"/services/process-design-service".parse().unwrap()));
    let instance = registered.body;
    for (field, value) in example().as_object().unwrap() {
        assert_eq!(&instance[field], value, "{field}");
    }
    assert_eq!(instance["status"], "healthy");
    assert!(instance["expiresAt"].as_str() > instance["registeredAt"].as_str(), "{instance}");
    let found = platform.get("/services/process-design-service", &owner).await.ok();
    assert_eq!(ids(&found), ["embedded-process-design", "pds-1"], "both spellings name one service");
    assert_eq!(found["items"][1], instance);
    platform.delete("/services/pds-1", &owner, None).await.ok();
    platform.delete("/services/pds-1", &owner, None).await.refused(404, "FM-SR-NOT-FOUND");
    let actions = platform.get("/audit-logs?resourceType=service", &owner).await.ok();
    let actions: Vec<&str> = actions["items"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["service.deregistered", "service.registered"]);
}

#[tokio::test]
async fn the_platform_lists_its_22_services_with_their_state() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let all = platform.get("/services?limit=200", &owner).await.ok();
    let all = all["items"].as_array().unwrap();
    assert_eq!(all.len(), 22);
    for service in all {
        let is_embedded = service["metadata"]["embedded"].as_bool().unwrap();
        assert_eq!(service["status"], if is_embedded { "healthy" } else { "unhealthy" }, "{service}");
        assert_eq!(service["port"].as_u64(), is_embedded.then(|| u64::from(platform.running.address().port())), "{service}");
    }
    let state = |name: &str| all.iter().find(|service| service["serviceName"] == name).unwrap()["metadata"]["embedded"].clone();
    for name in ["service-registry", "human-task", "api-gateway"] {
        assert_eq!(state(name), true, "{name}");
    }
    // A service is embedded exactly if its routes are served.
    let analytics = platform.get("/kpis", &owner).await;
    assert_eq!(state("analytics"), analytics.status != 501);

    let checked = platform.post("/health/embedded-human-task", &owner, json!({})).await.ok();
    assert_eq!((&checked["status"], &checked["serviceName"]), (&json!("healthy"), &json!("human-task")));
    let claimed = platform.post("/health/embedded-human-task", &owner, json!({ "status": "unhealthy" })).await;
    claimed.refused(409, "FM-SR-EMBEDDED");
    platform.delete("/services/embedded-human-task", &owner, None).await.refused(409, "FM-SR-EMBEDDED");
    let taken = platform.post("/services/register", &owner, with("instanceId", json!("embedded-human-task"))).await;
    taken.refused(409, "FM-SR-EMBEDDED");
}

#[tokio::test]
async fn a_heartbeat_renews_a_lease_and_silence_ends_it() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    platform.post("/services/register", &owner, with("serviceName", json!("billing"))).await.ok();
    platform.clock.advance(80.0);
    platform.post("/health/pds-1", &owner, json!({ "status": "healthy" })).await.ok();
    platform.clock.advance(80.0);
    let renewed = platform.post("/services/register", &owner, with("serviceName", json!("billing"))).await.ok();
    assert!(renewed["registeredAt"].as_str() < renewed["lastHeartbeatAt"].as_str(), "a repeat is a heartbeat: {renewed}");
    platform.clock.advance(80.0);
    assert_eq!(ids(&platform.get("/services/billing", &owner).await.ok()), ["pds-1"]);
    let platform = platform.restart().await;
    assert_eq!(ids(&platform.get("/services/billing", &owner).await.ok()), ["pds-1"], "a restart keeps the instance");
    platform.clock.advance(11.0);
    platform.get("/services/billing", &owner).await.refused(404, "FM-SR-SERVICE-NOT-FOUND");
    platform.post("/health/pds-1", &owner, json!({ "status": "healthy" })).await.refused(404, "FM-SR-NOT-FOUND");
    // The worker keeps it in the audit log, however long that takes.
    let mut entries = Value::Null;
    for _ in 0..500 {
        entries = platform.get("/audit-logs?action=service.expired", &owner).await.ok();
        if entries["items"] != json!([]) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!((&entries["items"][0]["resourceId"], &entries["items"][0]["actor"]), (&json!("pds-1"), &json!("system")), "{entries}");
}

#[tokio::test]
async fn instances_that_take_calls_best_are_found_first() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    for (id, health) in [("a", "unhealthy"), ("b", "degraded"), ("c", "healthy"), ("d", "degraded")] {
        let request = json!({ "serviceName": "billing", "instanceId": id, "host": "10.0.0.1", "port": 80 });
        platform.post("/services/register", &owner, request).await.ok();
        platform.post(&format!("/health/{id}"), &owner, json!({ "status": health })).await.ok();
    }
    let first = platform.get("/services/billing?limit=3", &owner).await.ok();
    let cursor = first["nextCursor"].as_str().unwrap();
    let rest = platform.get(&format!("/services/billing?limit=3&cursor={cursor}"), &owner).await.ok();
    assert_eq!([ids(&first), ids(&rest)].concat(), ["c", "b", "d", "a"]);
    assert_eq!(rest["nextCursor"], Value::Null);

    let mut listed = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = platform.get(&format!("/services?limit=5{cursor}"), &owner).await.ok();
        listed.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| (item["serviceName"].as_str().unwrap().to_owned(), item["instanceId"].as_str().unwrap().to_owned())),
        );
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(listed.len(), 26);
    assert!(listed.is_sorted(), "{listed:?}");
}

#[tokio::test]
async fn an_unhealthy_instance_is_removed_unless_it_recovers() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    platform.post("/services/register", &owner, with("serviceName", json!("billing"))).await.ok();
    for _ in 0..8 {
        platform.clock.advance(10.0);
        platform.post("/health/pds-1", &owner, json!({ "status": "unhealthy" })).await.ok();
    }
    platform.clock.advance(11.0);
    let gone = platform.post("/health/pds-1", &owner, json!({ "status": "unhealthy" })).await;
    gone.refused(404, "FM-SR-NOT-FOUND");
}

#[tokio::test]
async fn a_probe_tells_a_server_that_runs_from_one_that_does_not() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed_port = closed.local_addr().unwrap().port();
    drop(closed);
    for (port, status) in [(server(200).await, "healthy"), (server(503).await, "degraded"), (closed_port, "unhealthy")] {
        let request = json!({ "serviceName": "billing", "instanceId": status, "host": "127.0.0.1", "port": port });
        let before = platform.post("/services/register", &owner, request).await.ok();
        platform.clock.advance(10.0);
        let checked = platform.post(&format!("/health/{status}"), &owner, json!({})).await.ok();
        assert_eq!(checked["status"], status);
        assert_eq!(checked["expiresAt"].as_str() > before["expiresAt"].as_str(), status != "unhealthy", "{checked}");
    }
    let page = json!({ "serviceName": "billing", "instanceId": "x", "host": "127.0.0.1", "port": server(500).await,
                       "metadata": { "healthPath": "/no/such/page" } });
    platform.post("/services/register", &owner, page).await.ok();
    assert_eq!(platform.post("/health/x", &owner, json!({})).await.ok()["status"], "healthy", "it answers");
}

#[tokio::test]
async fn a_probe_goes_nowhere_it_should_not() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let own = platform.running.address().port();
    for (host, port) in [("127.0.0.1", own), ("localhost", own), ("10.0.0.1", 80), ("169.254.169.254", 80), ("no-such-host.invalid", 80)] {
        let request = json!({ "serviceName": "billing", "instanceId": "x", "host": host, "port": port });
        platform.post("/services/register", &owner, request).await.ok();
        platform.post("/health/x", &owner, json!({})).await.refused(422, "FM-SR-PROBE-ADDRESS");
    }
}

#[tokio::test]
async fn what_cannot_be_an_instance_is_refused_by_its_field() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let many: serde_json::Map<String, Value> = (0..65).map(|n| (format!("a{n}"), json!(n))).collect();
    for (request, code) in [
        (with("serviceName", json!("Process Design")), "FM-SR-SERVICE-NAME"),
        (with("instanceId", json!("pds/1")), "FM-SR-INSTANCE-ID"),
        (with("host", json!("http://pds-1.internal")), "FM-SR-HOST"),
        (with("host", json!("pds-1.internal:3001")), "FM-SR-HOST"),
        (with("host", json!("10.0.0.300")), "FM-SR-HOST"),
        (with("version", json!("latest")), "FM-SR-VERSION"),
        (with("metadata", json!(many)), "FM-SR-METADATA"),
        (with("metadata", json!({ "note": "x".repeat(9_000) })), "FM-SR-METADATA"),
        (with("metadata", json!({ "healthPath": "livez" })), "FM-SR-METADATA"),
        (with("port", json!(0)), "FM-SR-INVALID"),
        (with("port", json!(65_536)), "FM-SR-INVALID"),
        (with("unknown", json!(1)), "FM-SR-INVALID"),
    ] {
        platform.post("/services/register", &owner, request).await.refused(422, code);
    }
    platform.post("/services/register", &owner, example()).await.ok();
    let other = platform.post("/services/register", &owner, with("serviceName", json!("billing"))).await;
    other.refused(409, "FM-SR-INSTANCE-TAKEN");
    platform.post("/health/pds-1", &owner, json!({ "status": "tired" })).await.refused(422, "FM-SR-INVALID");
    platform.get("/services/no-such-service", &owner).await.refused(404, "FM-SR-SERVICE-NOT-FOUND");
}

#[tokio::test]
async fn a_tenants_instances_are_its_own() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let stranger = platform.signed_in("tenant-b", "eve", &["service:*"]).await;
    platform.post("/services/register", &owner, with("serviceName", json!("billing"))).await.ok();
    platform.get("/services/billing", &stranger).await.refused(404, "FM-SR-SERVICE-NOT-FOUND");
    platform.delete("/services/pds-1", &stranger, None).await.refused(404, "FM-SR-NOT-FOUND");
    platform.post("/health/pds-1", &stranger, json!({ "status": "unhealthy" })).await.refused(404, "FM-SR-NOT-FOUND");
    assert_eq!(platform.get("/services?limit=200", &stranger).await.ok()["items"].as_array().unwrap().len(), 22);
    platform.post("/services/register", &stranger, with("serviceName", json!("payroll"))).await.ok();
    assert_eq!(ids(&platform.get("/services/billing", &owner).await.ok()), ["pds-1"]);
    let reader = platform.signed_in("tenant-local", "rob", &["service:view"]).await;
    platform.post("/services/register", &reader, example()).await.refused(403, "FM-AAS-FORBIDDEN");
}
