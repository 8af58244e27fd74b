//! What a cache before the real platform saves, and what it must never show.

use std::sync::Arc;

use flowmaster_mcp::api::{catalogue, tasks};
use flowmaster_mcp::auth::Caller;
use flowmaster_mcp::client::{CacheSettings, CallOptions, Client, Fixed, Settings};
use flowmaster_mcp::platform::Faults;
use futures_util::future::join_all;
use serde_json::{Map, json};

use crate::support::platform::TestPlatform;

const TASKS: &str = "human-task";

#[tokio::test]
async fn equal_reads_are_one_request_and_a_write_is_seen_at_once() {
    let faults = Faults::default();
    let platform = TestPlatform::start_with(|options| options.faults = faults.clone()).await;
    let mut callers = Vec::new();
    for (tenant, name) in [("tenant-1", "anna"), ("tenant-1", "bert"), ("tenant-2", "anna")] {
        let token = platform.signed_in(tenant, name, &["*"]).await;
        callers.push(Arc::new(Caller::of_unverified_token(token.into(), None).unwrap()));
    }
    let cache = CacheSettings { bytes: 16 << 20, ..CacheSettings::default() };
    let origin = Arc::new(Fixed::new(&platform.running.url()).unwrap());
    let client = Client::builder(origin).settings(Settings { cache, ..Settings::default() }).build();
    let list = catalogue().get("tasks_list").unwrap();
    let read = async |caller: &Arc<Caller>| {
        let reply = client.call(caller, list, Map::new(), CallOptions::default()).await.unwrap();
        (reply.body["items"].as_array().unwrap().len(), reply.body["stale"]["because"].as_str().map(str::to_owned))
    };

    // No rules: the platform counts.
    faults.set(1, []);
    let answers = join_all((0..100).map(|_| read(&callers[0]))).await;
    assert!(answers.iter().all(|answer| *answer == (0, None)));
    assert_eq!(faults.requests(TASKS), 1);
    for caller in &callers {
        assert_eq!(read(caller).await, (0, None));
    }
    assert_eq!(faults.requests(TASKS), 3, "one for each tenant and caller");

    let create: tasks::Create = serde_json::from_value(json!({ "title": "Check the invoice" })).unwrap();
    client.send(&callers[0], &create).await.unwrap();
    assert_eq!((read(&callers[0]).await, read(&callers[1]).await), ((1, None), (1, None)));

    // Two seconds are over, and the service is away.
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    faults.set(1, ["human-task:cut".parse().unwrap()]);
    assert_eq!(read(&callers[0]).await, (1, Some("FM-MCP-UNREACHABLE".to_owned())));
    assert!(client.call(&callers[0], catalogue().get("tasks_get").unwrap(), id("task-1"), CallOptions::default()).await.is_err());
}

fn id(id: &str) -> Map<String, serde_json::Value> {
    Map::from_iter([("id".to_owned(), id.into())])
}
