//! How many calls go to the platform at once and within a time, and whom a flood of one tenant costs something.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::response::IntoResponse as _;
use flowmaster_mcp::api::tasks;
use flowmaster_mcp::auth::Caller;
use flowmaster_mcp::client::{Client, Fixed, Settings};
use flowmaster_mcp::error::Kind;
use flowmaster_mcp::platform::Faults;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::platform::TestPlatform;
use crate::support::raw::user;
use crate::support::standin::StandIn;

#[tokio::test]
async fn a_limit_that_the_platform_teaches_is_kept_per_tenant() {
    let platform = StandIn::start(|_| async {
        ([("RateLimit-Policy", "\"default\";q=3;w=3600"), ("RateLimit", "\"default\";r=2;t=3600")], Json(json!({ "items": [] })))
            .into_response()
    })
    .await;
    let client = Client::builder(Arc::new(Fixed::new(&platform.url).unwrap())).build();
    let asked = |tenant: &str| platform.asked().iter().filter(|asked| asked.header("x-tenant-id") == tenant).count();
    let (one, two) = (Arc::new(user("tenant-1", "anna", &["*"])), Arc::new(user("tenant-2", "anna", &["*"])));
    let mut refused = Vec::new();
    for _ in 0..10 {
        refused.extend(client.send(&one, &tasks::List::default()).await.err());
    }
    // The first answer taught the limit.
    assert_eq!((asked("tenant-1"), refused.len()), (4, 6));
    let error = &refused[0];
    assert_eq!((error.code(), error.kind()), ("FM-MCP-RATE-LIMITED", Kind::RateLimited));
    assert!(error.when_to_retry().is_some_and(|wait| wait > Duration::from_mins(1)), "{error}");
    client.send(&two, &tasks::List::default()).await.unwrap();
    assert_eq!(asked("tenant-2"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_one_tenant_refuses_no_call_of_another() {
    let faults = Faults::default();
    let platform = TestPlatform::start_with(|options| options.faults = faults.clone()).await;
    let mut callers = Vec::new();
    for tenant in ["tenant-1", "tenant-2"] {
        let token = platform.signed_in(tenant, "anna", &["*"]).await;
        callers.push(Arc::new(Caller::of_unverified_token(token.into(), None).unwrap()));
    }
    faults.set(1, ["human-task:latency=100ms".parse().unwrap()]);
    let settings = Settings { in_flight: 8, ..Settings::default() };
    let client = Client::builder(Arc::new(Fixed::new(&platform.running.url()).unwrap())).settings(settings).build();
    let flood = join_all((0..100).map(|_| async { client.send(&callers[0], &tasks::List::default()).await }));
    let other = async {
        for _ in 0..10 {
            client.send(&callers[1], &tasks::List::default()).await.unwrap();
        }
    };
    let (flooded, ()) = tokio::join!(flood, other);
    let refused: Vec<_> = flooded.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 100 - 6 - 16, "six run and sixteen wait");
    assert!(refused.iter().all(|error| error.code() == "FM-MCP-SERVICE-BUSY" && error.is_unsent()), "{:?}", refused[0]);
}
