//! Authentication & Authorization over HTTP: logins, tokens, roles, and who is refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::platform::{PASSWORD, TestPlatform};

const TENANT: &str = "tenant-123";

fn claims(token: &str) -> Value {
    let part = |index: usize| URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap();
    serde_json::from_slice(&part(1)).unwrap()
}

fn login(username: &str, password: &str) -> Value {
    json!({ "username": username, "password": password, "tenantId": TENANT })
}

#[tokio::test]
async fn a_login_gives_a_token_of_the_contracts_shape() {
    let platform = TestPlatform::start().await;
    let user = platform.user(TENANT, "user@company.com", &["manager", "approver"], &["task:approve", "process:view"]).await;
    let tokens = platform.post("/auth/login", "", login("User@Company.com", PASSWORD)).await.ok();
    assert_eq!(tokens["expiresIn"], 3600);
    assert_eq!(
        tokens["user"],
        json!({ "id": user, "email": "user@company.com", "roles": ["approver", "manager"], "permissions": ["process:view", "task:approve"] })
    );
    let token = tokens["accessToken"].as_str().unwrap();
    let said = claims(token);
    assert_eq!((&said["sub"], &said["tenantId"]), (&json!(user), &json!(TENANT)));
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 3600);
    assert!(["iss", "aud", "jti"].iter().all(|name| said[*name].is_string()), "{said}");

    // The signature is good by the published key, and by nothing of ours but that.
    let keys = platform.get("/.well-known/jwks.json", "").await.ok();
    let header = jsonwebtoken::decode_header(token).unwrap();
    assert_eq!(json!(header.kid), keys["keys"][0]["kid"]);
    let key: jsonwebtoken::jwk::Jwk = serde_json::from_value(keys["keys"][0].clone()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
    validation.set_audience(&["flowmaster"]);
    jsonwebtoken::decode::<Value>(token, &jsonwebtoken::DecodingKey::from_jwk(&key).unwrap(), &validation).unwrap();

    let validity = platform.get("/auth/validate", token).await.ok();
    assert_eq!(validity["valid"], true);
    assert_eq!(validity["claims"]["iat"], said["iat"]);
    assert_eq!(platform.get("/permissions", token).await.ok()["userId"], json!(user));
}

#[tokio::test]
async fn every_cause_of_a_401_reads_the_same() {
    let platform = TestPlatform::start().await;
    let token = platform.signed_in(TENANT, "a@b.c", &["audit:view"]).await;
    let mut seen = vec![
        platform.post("/auth/login", "", login("a@b.c", "wrong")).await,
        platform.post("/auth/login", "", login("nobody@b.c", PASSWORD)).await,
        platform.post("/auth/login", "", json!({ "username": "a@b.c", "password": PASSWORD, "tenantId": "tenant-other" })).await,
        platform.post("/auth/refresh", "", json!({ "refreshToken": "fmr_x" })).await,
        platform.get("/permissions", "").await,
        platform.get("/permissions", "garbage").await,
    ];
    let (head, payload) = (token.split('.').next().unwrap(), token.split('.').nth(1).unwrap());
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    seen.push(platform.get("/permissions", &format!("{none}.{payload}.")).await);
    seen.push(platform.get("/permissions", &format!("{head}.{payload}.{}", URL_SAFE_NO_PAD.encode([0; 64]))).await);
    let mut other = claims(&token);
    other["tenantId"] = json!("tenant-other");
    let forged = URL_SAFE_NO_PAD.encode(other.to_string());
    seen.push(platform.get("/permissions", &format!("{head}.{forged}.{}", token.split('.').nth(2).unwrap())).await);
    platform.clock.advance(3601.0);
    seen.push(platform.get("/permissions", &token).await);
    let first = seen[0].body["detail"].clone();
    for reply in seen {
        assert_eq!(reply.headers["www-authenticate"], "Bearer");
        assert_eq!(reply.refused(401, "FM-AAS-UNAUTHENTICATED")["detail"], first);
    }
}

#[tokio::test]
async fn the_fifth_failure_locks_and_time_unlocks() {
    let platform = TestPlatform::start().await;
    platform.user(TENANT, "a@b.c", &[], &[]).await;
    let attempts = (0..8).map(|_| platform.post("/auth/login", "", login("a@b.c", "not the password")));
    for reply in futures_util::future::join_all(attempts).await {
        reply.refused(401, "FM-AAS-UNAUTHENTICATED");
    }
    platform.post("/auth/login", "", login("a@b.c", PASSWORD)).await.refused(401, "FM-AAS-UNAUTHENTICATED");
    platform.clock.advance(15.0 * 60.0 + 1.0);
    platform.post("/auth/login", "", login("a@b.c", PASSWORD)).await.ok();
    for _ in 0..4 {
        platform.post("/auth/login", "", login("a@b.c", "not the password")).await.refused(401, "FM-AAS-UNAUTHENTICATED");
    }
    platform.post("/auth/login", "", login("a@b.c", PASSWORD)).await.ok();
}

#[tokio::test]
async fn an_address_that_guesses_at_many_names_waits() {
    let platform = TestPlatform::start().await;
    platform.user(TENANT, "a@b.c", &[], &[]).await;
    for n in 0..30 {
        platform.post("/auth/login", "", login(&format!("guess-{n}@b.c"), "wrong")).await.refused(401, "FM-AAS-UNAUTHENTICATED");
    }
    for known in ["a@b.c", "guess-31@b.c"] {
        platform.post("/auth/login", "", login(known, PASSWORD)).await.refused(429, "FM-AAS-THROTTLED");
    }
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_its_reuse_ends_the_login() {
    let platform = TestPlatform::start().await;
    platform.user(TENANT, "a@b.c", &[], &[]).await;
    let first = platform.post("/auth/login", "", login("a@b.c", PASSWORD)).await.ok();
    let refresh = |tokens: &Value| platform.post("/auth/refresh", "", json!({ "refreshToken": tokens["refreshToken"] }));
    // It is not an access token.
    platform.get("/auth/validate", first["refreshToken"].as_str().unwrap()).await.refused(401, "FM-AAS-UNAUTHENTICATED");
    platform.clock.advance(4000.0);
    let second = refresh(&first).await.ok();
    let token = second["accessToken"].as_str().unwrap();
    platform.get("/auth/validate", token).await.ok();
    refresh(&first).await.refused(401, "FM-AAS-UNAUTHENTICATED");
    platform.get("/auth/validate", token).await.refused(401, "FM-AAS-UNAUTHENTICATED");
    refresh(&second).await.refused(401, "FM-AAS-UNAUTHENTICATED");
    let rows =
        platform.get("/audit-logs?action=user.refresh_reused", &platform.signed_in(TENANT, "x@b.c", &["audit:view"]).await).await.ok();
    assert_eq!(rows["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn signing_out_ends_the_token_at_once_and_across_a_restart() {
    let platform = TestPlatform::start().await;
    let token = platform.signed_in(TENANT, "a@b.c", &[]).await;
    let other = platform.login(TENANT, "a@b.c").await;
    assert_eq!(platform.post("/auth/logout", &token, json!({})).await.status, 204);
    let platform = platform.restart().await;
    platform.get("/auth/validate", &token).await.refused(401, "FM-AAS-UNAUTHENTICATED");
    platform.get("/auth/validate", &other).await.ok();
    platform.post("/auth/logout", &platform.owner(), json!({})).await.refused(409, "FM-AAS-NO-LOGIN");
}

#[tokio::test]
async fn a_role_permits_what_it_says_and_only_while_its_condition_holds() {
    let platform = TestPlatform::start().await;
    let admin = platform.signed_in(TENANT, "admin@b.c", &["*"]).await;
    let user = platform.user(TENANT, "a@b.c", &[], &[]).await;
    let token = platform.login(TENANT, "a@b.c").await;
    let refused = platform.get("/audit-logs", &token).await.refused(403, "FM-AAS-FORBIDDEN");
    assert!(refused["detail"].as_str().unwrap().contains("audit:view"), "{refused}");

    let role =
        json!({ "name": "auditor", "permissions": ["audit:*"], "condition": "resource.type == 'audit' && user.username == 'a@b.c'" });
    let made = platform.post("/roles", &admin, role.clone()).await;
    assert_eq!((made.status, made.headers["etag"].to_str().unwrap()), (201, "\"1\""));
    let id = made.body["roleId"].as_str().unwrap().to_owned();
    platform.put(&format!("/users/{user}/roles"), &admin, json!({ "roles": ["auditor"] })).await.ok();
    platform.get("/audit-logs", &token).await.ok();
    platform.post("/roles", &admin, role).await.refused(409, "FM-AAS-ROLE-EXISTS");

    let path = format!("/roles/{id}/permissions");
    let never = json!({ "permissions": ["audit:view"], "condition": "env.hour > 24" });
    let put = |version: &'static str, body: Value| {
        platform.send(platform.request(Method::PUT, &path, &admin).header("if-match", version).json(&body))
    };
    put("\"7\"", never.clone()).await.refused(412, "FM-AGS-CHANGED");
    put("\"1\"", never).await.ok();
    platform.get("/audit-logs", &token).await.refused(403, "FM-AAS-FORBIDDEN");
    // A condition that is left out stays.
    assert_eq!(platform.put(&path, &admin, json!({ "permissions": ["audit:view"] })).await.ok()["condition"], "env.hour > 24");
    platform.get("/audit-logs", &token).await.refused(403, "FM-AAS-FORBIDDEN");
    platform.put("/roles/role-none/permissions", &admin, json!({ "permissions": [] })).await.refused(404, "FM-AAS-NO-ROLE");
}

#[tokio::test]
async fn bad_roles_and_bombs_are_refused_by_name() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let bomb = format!("{}1{} == 1", "(".repeat(60), ")".repeat(60));
    for (body, code) in [
        (json!({ "name": "r", "permissions": ["everything"] }), "FM-AAS-PERMISSION"),
        (json!({ "name": "r", "permissions": ["*:view"] }), "FM-AAS-PERMISSION"),
        (json!({ "name": "r", "condition": "env.hour >" }), "FM-AAS-CONDITION"),
        (json!({ "name": "r", "condition": "secret == 1" }), "FM-AAS-CONDITION"),
        (json!({ "name": "r", "condition": "[1].all(a, [1].all(b, [1].all(c, a == b)))" }), "FM-AAS-CONDITION"),
        (json!({ "name": "r", "condition": bomb }), "FM-AAS-CONDITION"),
    ] {
        platform.post("/roles", &owner, body).await.refused(422, code);
    }
    platform.post("/roles", &owner, json!({ "name": "admin" })).await.refused(409, "FM-AAS-ROLE-RESERVED");
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_hold() {
    let platform = TestPlatform::start().await;
    let token = platform.signed_in(TENANT, "clerk@b.c", &["user:create", "role:create", "task:view"]).await;
    let user = |roles: Value, permissions: Value| json!({ "username": "new@b.c", "password": PASSWORD, "roles": roles, "permissions": permissions });
    platform.post("/roles", &token, json!({ "name": "r", "permissions": ["*"] })).await.refused(403, "FM-AAS-GRANT");
    platform.post("/users", &token, user(json!(["admin"]), json!([]))).await.refused(403, "FM-AAS-GRANT");
    platform.post("/users", &token, user(json!([]), json!(["audit:view"]))).await.refused(403, "FM-AAS-GRANT");
    platform.post("/users", &token, user(json!([]), json!(["task:view"]))).await.ok();
    platform.post("/users", &token, user(json!([]), json!([]))).await.refused(409, "FM-AAS-USER-EXISTS");
    let elsewhere = json!({ "username": "n@b.c", "password": PASSWORD, "tenantId": "tenant-other" });
    platform.post("/users", &token, elsewhere).await.refused(403, "FM-AAS-TENANT-MISMATCH");
    platform.get("/permissions?userId=user-x", &token).await.refused(403, "FM-AAS-FORBIDDEN");
}

#[tokio::test]
async fn a_service_speaks_for_a_user_of_its_tenant_and_nobody_else_does() {
    let platform = TestPlatform::start().await;
    let user = platform.user(TENANT, "a@b.c", &["approver"], &[]).await;
    let token = platform.login(TENANT, "a@b.c").await;
    let request = json!({ "name": "gateway", "permissions": ["audit:*"], "tenantId": TENANT });
    platform.post("/service-tokens", &token, request.clone()).await.refused(403, "FM-AAS-OWNER-ONLY");
    let service = platform.post("/service-tokens", &platform.owner(), request).await.ok()["token"].as_str().unwrap().to_owned();
    assert_eq!(claims(&service)["typ"], "service");

    let on_behalf =
        |token: &str, user: &str, method: Method, path: &str| platform.request(method, path, token).header("x-on-behalf-of", user);
    let said = platform.send(on_behalf(&service, &user, Method::GET, "/auth/validate")).await.ok();
    assert_eq!((&said["claims"]["sub"], &said["claims"]["roles"]), (&json!(user), &json!(["approver"])));
    let row = json!({ "actor": user, "action": "a.b", "resourceType": "x", "resourceId": "1" });
    let row = platform.send(on_behalf(&service, &user, Method::POST, "/audit-logs").json(&row)).await.ok();
    assert_eq!(row["recordedBy"], "service-gateway");
    platform.send(on_behalf(&service, "user-unknown", Method::GET, "/auth/validate")).await.refused(403, "FM-AAS-ON-BEHALF-OF");
    platform.send(on_behalf(&token, "user-somebody", Method::GET, "/auth/validate")).await.refused(403, "FM-AAS-ON-BEHALF-OF");
    platform.clock.advance(24.0 * 3600.0 + 1.0);
    platform.get("/auth/validate", &service).await.refused(401, "FM-AAS-UNAUTHENTICATED");
}
