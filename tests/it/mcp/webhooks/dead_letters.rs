//! Events that a receiver did not take: the operator sees how many and why, and has them sent again or dropped.

use std::time::Duration;

use flowmaster_mcp::client::Client;
use flowmaster_mcp::server::{
    App, EventOptions, MetricsOptions, Options, Settings, dead_deliveries, drop_deliveries, metrics_page, resend_deliveries,
};
use flowmaster_mcp::telemetry::metrics::Metrics;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{ask, publish};
use crate::support::mcp::{admission, origin};
use crate::support::platform::{TestPlatform, http};
use crate::support::program::program;
use crate::support::raw::serve;
use crate::support::receiver::{Behaviour, Receiver};

#[tokio::test]
async fn dead_letters_are_counted_sent_again_and_dropped() {
    let (platform, folder) = (TestPlatform::start().await, tempfile::tempdir().unwrap());
    let receiver = Receiver::listen([413], Behaviour::default()).await;
    let data = folder.path().join("data");
    assert!(dead_deliveries(&data).unwrap().is_empty() && !data.exists(), "a folder that is looked at is not created");
    let events = EventOptions { allowed_hosts: vec![receiver.address.to_string()], ..EventOptions::default() };
    let settings = Settings { events, data_dir: Some(data.clone()), ..Settings::default() };
    let client = Client::builder(origin(&platform)).metrics(Metrics::kept(false).unwrap()).build();
    let app = App::new(Options { client, settings }).unwrap();
    let stop = CancellationToken::new();
    let options = MetricsOptions { listen: "127.0.0.1:0".parse().unwrap(), token: None };
    let (page, serving) = metrics_page(&app, options, stop.clone()).await.unwrap();
    let _stop = stop.drop_guard();
    tokio::spawn(serving);
    let served = serve(app, admission(&platform, Duration::from_secs(1)), |_| {}).await;
    let begun = ask(&served, &platform.owner(), "events/subscribe", &receiver.params()).await.result().clone();
    let id = begun["id"].as_str().unwrap();

    // The first is refused for good, the second is too large to be sent, the third is taken.
    publish(&platform, 1..=1).await;
    let large = json!({ "topic": "order.received", "event": { "number": 2, "text": "x".repeat(300_000) } });
    platform.post("/events", &platform.owner(), large).await.ok();
    publish(&platform, 3..=3).await;
    receiver.hears(&[1, 3]).await;
    let dead = dead_deliveries(&data).unwrap();
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert_eq!((dead[0].subscription.as_str(), dead[0].tenant.as_str()), (id, "tenant-local"));
    assert_eq!(
        (dead[0].receiver.as_str(), dead[0].reason.as_str(), dead[0].count),
        (&*format!("http://{}", receiver.address), "http_4xx", 2)
    );
    let figures = http().get(format!("http://{page}/metrics")).send().await.unwrap().text().await.unwrap();
    for line in ["flowmaster_mcp_webhook_dead_letters{reason=\"http_4xx\"} 2", "flowmaster_mcp_webhook_dead_letters{reason=\"timeout\"} 0"]
    {
        assert!(figures.contains(line), "{line}: {figures}");
    }

    let operator = |arguments: &[&str]| {
        let mut program = program(folder.path());
        let output = program.env("FLOWMASTER_DATA_DIR", &data).args(arguments).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    };
    let shown = operator(&["webhooks", "--json"]);
    assert_eq!((&shown["items"][0]["count"], &shown["items"][0]["reason"]), (&json!(2), &json!("http_4xx")), "{shown}");
    assert!(!shown.to_string().contains("/hook"), "the path of an address may hold a secret: {shown}");
    let checks = operator(&["doctor", "--json"])["checks"].clone();
    let check = checks.as_array().unwrap().iter().find(|check| check["name"] == "webhooks").unwrap();
    assert!(check["state"] == "care" && check["text"].as_str().unwrap().contains("2 http_4xx"), "{check}");

    assert_eq!(resend_deliveries(&data, Some("sub_other")).unwrap_err().code(), "FM-MCP-WEBHOOK-DEAD-LETTER");
    assert_eq!(operator(&["webhooks", "--json", "--resend", id])["resent"], 2);
    receiver.hears(&[1, 3, 1]).await;
    for _ in 0..200 {
        if !dead_deliveries(&data).unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(dead_deliveries(&data).unwrap()[0].count, 1, "what is too large is given up again");
    assert_eq!(drop_deliveries(&data, None).unwrap(), 1);
    assert!(dead_deliveries(&data).unwrap().is_empty() && drop_deliveries(&data, None).unwrap() == 0);
    publish(&platform, 4..=4).await;
    receiver.hears(&[1, 3, 1, 4]).await;
}
