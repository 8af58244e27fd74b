//! Service Registry (contract, section 17).

use serde_json::{Value, json};

use super::target::{Target, column, items, refused, says};

fn instance(target: &Target, name: &str, port: u16) -> Value {
    json!({
        "serviceName": target.named("billing"), "instanceId": target.named(name), "host": "127.0.0.1", "port": port, "version": "1.2.0",
        "metadata": { "region": "us-west", "capacity": 100 },
    })
}

async fn found(target: &Target) -> Value {
    target.get(&format!("/services/{}", target.named("billing"))).await.ok()
}

/// **Heartbeat registration**: an instance is found from its registration on, a repeat renews it, and it is gone when it leaves.
#[tokio::test]
async fn an_instance_is_found_renewed_and_removed() {
    let target = Target::open().await;
    let request = instance(&target, "billing-1", 3001);
    let first = target.post("/services/register", request.clone()).await.ok();
    let again = target.post("/services/register", request).await.ok();
    assert!(again["lastHeartbeatAt"].as_str() >= first["lastHeartbeatAt"].as_str(), "{again:#}");
    assert_eq!(column(&found(&target).await, "instanceId"), [target.named("billing-1")]);
    let path = format!("/services/{}", target.named("billing-1"));
    assert_eq!(target.delete(&path).await.status, 204);
    refused(&target.delete(&path).await, &[404]);
    refused(&target.get(&format!("/services/{}", target.named("billing"))).await, &[404]);
}

/// **Health checks**: an instance is asked, and what it says counts.
#[tokio::test]
async fn a_check_tells_what_runs_from_what_does_not() {
    let target = Target::open().await;
    let Some(server) = target.outside(async |_| says(200, json!({}))).await else { return };
    let port = server.url.rsplit(':').next().unwrap().parse().unwrap();
    target.post("/services/register", instance(&target, "up", port)).await.ok();
    target.post("/services/register", instance(&target, "down", 1)).await.ok();
    for (name, status) in [("up", "healthy"), ("down", "unhealthy")] {
        let checked = target.post(&format!("/health/{}", target.named(name)), json!({})).await.ok();
        assert_eq!(checked["status"], status, "{checked:#}");
    }
    refused(&target.post("/health/nobody", json!({})).await, &[404]);
}

/// **Metadata**: attributes of an instance come back as they were given.
#[tokio::test]
async fn attributes_come_back_as_they_were_given() {
    let target = Target::open().await;
    let request = instance(&target, "billing-1", 3001);
    target.post("/services/register", request.clone()).await.ok();
    let found = found(&target).await;
    for (field, value) in request.as_object().unwrap() {
        assert_eq!(&items(&found)[0][field], value, "{field}");
    }
}

/// **Load balancing**: the instances that take calls best are named first, and the platform's own services are listed.
#[tokio::test]
async fn healthy_instances_are_named_first() {
    let target = Target::open().await;
    for (name, health) in [("a", "unhealthy"), ("b", "degraded"), ("c", "healthy")] {
        target.post("/services/register", instance(&target, name, 3001)).await.ok();
        target.post(&format!("/health/{}", target.named(name)), json!({ "status": health })).await.ok();
    }
    assert_eq!(column(&found(&target).await, "instanceId"), ["c", "b", "a"].map(|name| target.named(name)));
    let listed = target.get("/services?limit=200").await.ok();
    for service in ["process-design", "execution-engine", "human-task"] {
        assert!(column(&listed, "serviceName").iter().any(|name| name.starts_with(service)), "{service} in {listed:#}");
    }
}
