//! Authentication & Authorization Service (contract, section 13).

use reqwest::Method;
use serde_json::json;

use super::target::{Target, id_in, items, refused};
use crate::support::platform::{PASSWORD, Reply, http};

/// **Tenant isolation**: a token is for its tenant alone, and is believed with its signature alone.
#[tokio::test]
async fn a_token_is_for_its_tenant_alone() {
    let target = Target::open().await;
    let claims = target.claims().await;
    assert!(claims["sub"].is_string() && claims["roles"].is_array() && claims["permissions"].is_array(), "{claims:#}");
    let named = |tenant: &str| Reply::to(target.request(Method::GET, "/permissions").header("x-tenant-id", tenant));
    named(claims["tenantId"].as_str().unwrap()).await.ok();
    refused(&named("tenant-of-somebody-else").await, &[403]);
    // The owner's token of the embedded platform is not a JWT.
    let token = match target.stranger().await {
        Some(token) => token,
        None => target.token.clone(),
    };
    let (head, signature) = token.rsplit_once('.').unwrap_or((&token, &token));
    for forged in [format!("{head}.{}", "A".repeat(signature.len())), format!("{head}."), "garbage".to_owned()] {
        refused(&Reply::to(target.request_as(&forged, Method::GET, "/permissions")).await, &[401]);
    }
    refused(&Reply::to(http().get(format!("{}/permissions", target.url))).await, &[401]);
}

/// **Service-level access**: a service's token has its own permissions, and may publish on the contract's topics.
#[tokio::test]
async fn a_services_token_may_do_what_it_says() {
    let target = Target::open().await;
    let Some(platform) = target.embedded("a service's token is made by an extension") else { return };
    let request = json!({ "name": "execution-engine", "permissions": ["event:publish"] });
    let service = platform.post("/service-tokens", &target.token, request).await.ok();
    let token = service["token"].as_str().unwrap();
    let event = json!({ "topic": "execution.completed", "event": { "executionId": "exec-789", "status": "completed" } });
    let call = target.request_as(token, Method::POST, "/events").header("x-service-name", "execution-engine");
    assert_eq!(Reply::to(call.json(&event)).await.status, 201);
    refused(&target.post("/events", event).await, &[403]);
    refused(&Reply::to(target.request_as(token, Method::GET, "/tasks")).await, &[403]);
}

/// **Token refresh**: a login is renewed without its password, each refresh token counts once, and a logout ends it.
#[tokio::test]
async fn a_login_is_renewed_and_ended() {
    let target = Target::open().await;
    let Some(platform) = target.embedded("a user with a password is made by an extension") else { return };
    platform.user("tenant-123", "user@company.com", &["manager"], &["process:view", "task:approve"]).await;
    platform.login_as("tenant-123", "user@company.com", "wrong").await.refused(401, "FM-AAS-UNAUTHENTICATED");
    let login = platform.login_as("tenant-123", "user@company.com", PASSWORD).await.ok();
    assert_eq!((&login["user"]["roles"], &login["user"]["permissions"]), (&json!(["manager"]), &json!(["process:view", "task:approve"])));
    let refresh = json!({ "refreshToken": login["refreshToken"] });
    let renewed = platform.post("/auth/refresh", "", refresh.clone()).await.ok();
    let token = id_in(&renewed, "accessToken");
    assert_eq!(platform.get("/auth/validate", &token).await.ok()["valid"], true);
    assert_eq!(platform.post("/auth/logout", &token, json!({})).await.status, 204);
    refused(&platform.get("/auth/validate", &token).await, &[401]);
    refused(&platform.post("/auth/refresh", "", refresh).await, &[401]);
}

/// The models of authorization: a role has permissions, which are changed under it, and rights to a node are its own.
#[tokio::test]
async fn a_role_has_permissions_and_a_node_its_own() {
    let target = Target::open().await;
    let role = json!({ "name": target.named("approver"), "permissions": ["task:view"] });
    let role = target.post("/roles", role).await.ok();
    let changed = target
        .put(&format!("/roles/{}/permissions", id_in(&role, "roleId")), json!({ "permissions": ["task:view", "task:approve"] }))
        .await
        .ok();
    assert_eq!(changed["permissions"].as_array().unwrap().len(), 2, "{changed:#}");
    refused(&target.post("/roles", json!({ "name": target.named("odd"), "permissions": ["everything"] })).await, &[400, 422]);
    let Some(platform) = target.embedded("a second user is made by an extension") else { return };
    let clerk = platform.user("tenant-local", "clerk@company.com", &[], &["task:view", "task:approve"]).await;
    let node = json!({ "id": "sign", "type": "human_task", "config": { "assignee": clerk, "requires": "contract:sign" } });
    let execution = target.start(&target.publish(json!([node])).await, json!({})).await;
    let tasks = target.get(&format!("/tasks?executionId={}", execution.trim_start_matches("/executions/"))).await.ok();
    let path = format!("/tasks/{}/respond", id_in(&items(&tasks)[0], "taskId"));
    let token = platform.login("tenant-local", "clerk@company.com").await;
    let respond = target.request_as(&token, Method::PUT, &path).json(&json!({ "decision": "approve" }));
    refused(&Reply::to(respond).await, &[403]);
}
