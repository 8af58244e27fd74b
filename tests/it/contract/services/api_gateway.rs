//! API Gateway Service (contract, section 14).

use flowmaster_mcp::platform::RouteLimit;
use reqwest::Method;
use serde_json::json;

use super::target::{Target, id_in, refused};
use crate::support::platform::Reply;

/// **Dynamic routing**: what has a route is served and nothing else, and the registry says who serves it.
#[tokio::test]
async fn what_has_no_route_is_refused() {
    let target = Target::open().await;
    refused(&target.get("/no/such/route").await, &[404]);
    refused(&target.delete("/tasks").await, &[404, 405]);
    let gateway = target.get("/services?limit=200").await.ok();
    assert!(gateway.to_string().contains("gateway"), "{gateway:#}");
}

/// **Tenant-aware**: a call for another tenant than the token's is refused before anything else is looked at.
#[tokio::test]
async fn a_call_for_another_tenant_is_refused() {
    let target = Target::open().await;
    let tenant = id_in(&target.claims().await, "tenantId");
    let call =
        |tenant: &str| target.request(Method::POST, "/tasks").header("x-tenant-id", tenant).json(&json!({ "title": target.named("T") }));
    assert_eq!(Reply::to(call(&tenant)).await.status, 201);
    refused(&Reply::to(call("tenant-of-somebody-else")).await, &[403]);
    // Requests are held to the document of routes, field by field.
    for body in [json!({}), json!({ "title": 5 }), json!({ "title": "x", "colour": "red" })] {
        let refused = target.post("/tasks", body).await;
        assert!(matches!(refused.status, 400 | 422) && refused.body["errors"][0]["pointer"].is_string(), "{:#}", refused.body);
    }
}

/// **API versioning**: the routes are served with their version and without, side by side.
#[tokio::test]
async fn routes_are_served_with_their_version_and_without() {
    let target = Target::open().await;
    if target.embedded("below which prefix a real platform has its versions is the operator's setting").is_none() {
        return;
    }
    let task = target.post("/tasks", json!({ "title": target.named("T") })).await.ok();
    let path = format!("/tasks/{}", id_in(&task, "taskId"));
    for prefix in ["", "/api", "/v1", "/api/v1"] {
        assert_eq!(target.get(&format!("{prefix}{path}")).await.ok()["taskId"], task["taskId"], "{prefix}");
    }
    for prefix in ["/v2", "/api/v2", "/v1/v1", "/v1/api"] {
        refused(&target.get(&format!("{prefix}{path}")).await, &[404]);
    }
}

/// **Request transformation**: headers lead to the answer and to what comes of the call, and the caller's tenant is filled in.
#[tokio::test]
async fn headers_lead_to_the_answer_and_to_events() {
    let target = Target::open().await;
    let (request, correlation) = (target.named("request"), target.named("correlation"));
    let topic = format!("{}.opened", target.word("order"));
    let call = target.request(Method::POST, "/events").header("x-request-id", &request).header("x-correlation-id", &correlation);
    let reply = Reply::to(call.json(&json!({ "topic": topic, "event": {} }))).await;
    assert_eq!((reply.headers["x-request-id"].to_str().unwrap(), &reply.body["correlationid"]), (request.as_str(), &json!(correlation)));
    assert_eq!(reply.ok()["tenantid"], target.claims().await["tenantId"]);
}

/// The limits of routes: so many calls of a tenant in a minute, as the contract's configuration writes them.
#[tokio::test]
async fn a_route_takes_so_many_calls_of_a_tenant() {
    let limit = RouteLimit { path: "/api/tasks".to_owned(), limit: "3/min".to_owned() };
    let target = Target::open_with(|options| options.route_limits = vec![limit]).await;
    let Some(platform) = target.embedded("the limits of routes are the operator's setting") else { return };
    for left in [2, 1, 0] {
        let reply = target.get("/tasks").await;
        assert_eq!(reply.headers["ratelimit-policy"], "\"/tasks\";q=3;w=60");
        let said = reply.headers["ratelimit"].to_str().unwrap().to_owned();
        assert!(said.starts_with(&format!("\"/tasks\";r={left};t=")), "{said}");
        reply.ok();
    }
    let refused = target.get("/api/tasks").await;
    assert!(refused.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() <= 60);
    refused.refused(429, "FM-AGS-RATE-LIMITED");
    target.get("/processes").await.ok();
    let other = platform.signed_in("tenant-other", "eve@other.example", &["*"]).await;
    Reply::to(target.request_as(&other, Method::GET, "/tasks")).await.ok();
}
