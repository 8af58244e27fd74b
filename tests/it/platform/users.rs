//! Users of a tenant over HTTP: who manages them, what a new password ends, and names that there are not.

use serde_json::{Value, json};

use crate::support::platform::{PASSWORD, TestPlatform};

const TENANT: &str = "tenant-123";
const ANOTHER: &str = "another long enough secret";

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|user| user["email"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn users_are_listed_by_name_page_by_page_within_their_tenant() {
    let platform = TestPlatform::start().await;
    for name in ["cy@b.c", "ada@b.c", "bob@b.c"] {
        platform.user(TENANT, name, &["clerk"], &["task:view"]).await;
    }
    platform.user("tenant-other", "eve@b.c", &[], &[]).await;
    let admin = platform.signed_in(TENANT, "admin@b.c", &["user:view"]).await;
    let first = platform.get("/users?limit=3", &admin).await.ok();
    assert_eq!(names(&first), ["ada@b.c", "admin@b.c", "bob@b.c"]);
    assert_eq!((&first["items"][0]["roles"], &first["items"][0]["permissions"]), (&json!(["clerk"]), &json!(["task:view"])));
    let rest = platform.get(&format!("/users?limit=3&cursor={}", first["nextCursor"].as_str().unwrap()), &admin).await.ok();
    assert_eq!((names(&rest), rest.get("nextCursor")), (vec!["cy@b.c"], None));
    assert_eq!(names(&platform.get("/users?username=Bob@b.c", &admin).await.ok()), ["bob@b.c"]);
    platform.get("/users?tenantId=tenant-other", &admin).await.refused(403, "FM-AAS-TENANT-MISMATCH");
    assert_eq!(names(&platform.get("/users?tenantId=tenant-other", &platform.owner()).await.ok()), ["eve@b.c"]);
    let clerk = platform.login(TENANT, "ada@b.c").await;
    platform.get("/users", &clerk).await.refused(403, "FM-AAS-FORBIDDEN");
    let foreign = platform.get("/events/replay?topic=*&limit=1", &platform.owner()).await.ok();
    if let Some(cursor) = foreign["nextCursor"].as_str() {
        platform.get(&format!("/users?cursor={cursor}"), &platform.owner()).await.refused(422, "FM-AGS-CURSOR");
    }
}

#[tokio::test]
async fn roles_are_set_by_whom_holds_what_they_give() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let ada = platform.user("tenant-local", "ada@b.c", &[], &[]).await;
    platform.post("/roles", &owner, json!({ "name": "auditor", "permissions": ["audit:view"] })).await.ok();
    let set = |token: String, roles: Value| {
        let (platform, path) = (&platform, format!("/users/{ada}/roles"));
        async move { platform.put(&path, &token, json!({ "roles": roles })).await }
    };
    let given = set(owner.clone(), json!(["auditor", "night-shift", "auditor"])).await.ok();
    assert_eq!((&given["roles"], &given["permissions"]), (&json!(["auditor", "night-shift"]), &json!(["audit:view"])));
    let ada_token = platform.login("tenant-local", "ada@b.c").await;
    platform.get("/audit-logs", &ada_token).await.ok();

    let granter = platform.signed_in("tenant-local", "granter@b.c", &["role:grant"]).await;
    set(granter.clone(), json!(["admin"])).await.refused(403, "FM-AAS-GRANT");
    set(granter.clone(), json!(["auditor"])).await.refused(403, "FM-AAS-GRANT");
    for (wrong, meant) in [("auditr", "auditor"), ("Admin", "admin")] {
        let refused = set(owner.clone(), json!([wrong])).await.refused(422, "FM-AAS-ROLE-UNKNOWN");
        assert_eq!(refused["errors"][0]["pointer"], "/roles/0");
        assert!(refused["errors"][0]["detail"].as_str().unwrap().contains(&format!("did you mean {meant}?")), "{refused}");
    }
    for empty in ["", " ", "a\u{7}b"] {
        set(owner.clone(), json!([empty])).await.refused(422, "FM-AAS-ROLE-NAME");
    }
    set(owner.clone(), json!([])).await.ok();
    platform.get("/audit-logs", &ada_token).await.refused(403, "FM-AAS-FORBIDDEN");
    let by_name = platform.put("/users/ada@b.c/roles", &owner, json!({ "roles": [] })).await.refused(404, "FM-AAS-NO-USER");
    assert!(by_name.to_string().contains(&ada), "{by_name}");
    let stranger = platform.signed_in("tenant-other", "x@b.c", &["*"]).await;
    platform.put(&format!("/users/{ada}/roles"), &stranger, json!({ "roles": [] })).await.refused(404, "FM-AAS-NO-USER");
    let rows = platform.get(&format!("/audit-logs?action=user.roles_assigned&resourceId={ada}"), &owner).await.ok();
    assert_eq!(rows["items"].as_array().unwrap().len(), 2, "{rows}");
}

#[tokio::test]
async fn nobody_is_called_as_erased_people_are() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    for name in ["erased", "erased-7", "Erased-0198c9a0", " ERASED-x "] {
        let user = json!({ "username": name, "password": PASSWORD, "tenantId": "tenant-local" });
        let refused = platform.post("/users", &owner, user).await.refused(422, "FM-AAS-USERNAME");
        assert_eq!(
            (&refused["errors"][0]["pointer"], &refused["errors"][0]["code"]),
            (&json!("/username"), &json!("reserved")),
            "{refused}"
        );
        let role = json!({ "name": name, "permissions": [] });
        let refused = platform.post("/roles", &owner, role).await.refused(422, "FM-AAS-ROLE-NAME");
        assert_eq!((&refused["errors"][0]["pointer"], &refused["errors"][0]["code"]), (&json!("/name"), &json!("reserved")), "{refused}");
        // Nor does a role come into being with a user who brings it.
        let user = json!({ "username": "ann@b.c", "password": PASSWORD, "tenantId": "tenant-local", "roles": [name] });
        platform.post("/users", &owner, user).await.refused(422, "FM-AAS-ROLE-NAME");
    }
    platform.user("tenant-local", "erasedine@b.c", &["eraser"], &[]).await;
}

#[tokio::test]
async fn a_new_password_ends_the_users_logins_and_unlocks() {
    let platform = TestPlatform::start().await;
    let ada = platform.user(TENANT, "ada@b.c", &[], &["task:view"]).await;
    let bob = platform.signed_in(TENANT, "bob@b.c", &["task:view"]).await;
    let tokens = platform.login_as(TENANT, "ada@b.c", PASSWORD).await.ok();
    let path = format!("/users/{ada}/password");
    let owned = |password: &str| json!({ "password": password, "tenantId": TENANT });
    platform.put(&path, &bob, json!({ "password": ANOTHER })).await.refused(403, "FM-AAS-FORBIDDEN");
    platform.put(&path, &platform.owner(), owned("short")).await.refused(422, "FM-AAS-INVALID");
    for _ in 0..5 {
        platform.login_as(TENANT, "ada@b.c", "not the password").await.refused(401, "FM-AAS-UNAUTHENTICATED");
    }
    let set = platform.put(&path, &platform.owner(), owned(ANOTHER)).await;
    assert_eq!((set.status, &set.body), (204, &Value::Null));
    platform.get("/auth/validate", tokens["accessToken"].as_str().unwrap()).await.refused(401, "FM-AAS-UNAUTHENTICATED");
    let refresh = json!({ "refreshToken": tokens["refreshToken"] });
    platform.post("/auth/refresh", "", refresh).await.refused(401, "FM-AAS-UNAUTHENTICATED");
    platform.login_as(TENANT, "ada@b.c", PASSWORD).await.refused(401, "FM-AAS-UNAUTHENTICATED");
    platform.login_as(TENANT, "ada@b.c", ANOTHER).await.ok();
    platform.get("/auth/validate", &bob).await.ok();

    // Whoever sets a password can sign in as the user: it takes all that the user may do.
    let manager = platform.signed_in(TENANT, "manager@b.c", &["user:update"]).await;
    platform.put(&path, &manager, json!({ "password": ANOTHER })).await.refused(403, "FM-AAS-GRANT");
    let stranger = platform.signed_in("tenant-other", "x@b.c", &["*"]).await;
    platform.put(&path, &stranger, json!({ "password": ANOTHER })).await.refused(404, "FM-AAS-NO-USER");
    let auditor = platform.signed_in(TENANT, "auditor@b.c", &["audit:view"]).await;
    let rows = platform.get("/audit-logs?action=user.password_set", &auditor).await.ok();
    assert_eq!(rows["items"].as_array().unwrap().len(), 1);
    assert!(!rows.to_string().contains(ANOTHER));
}

#[tokio::test]
async fn a_permission_that_is_almost_one_is_refused() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    for (wrong, meant) in [("task:aprove", "task:approve"), ("tasks:approve", "task:approve"), ("task:sign", "task:assign")] {
        let role = json!({ "name": format!("role-{}", wrong.replace(':', "-")), "permissions": [wrong] });
        let refused = platform.post("/roles", &owner, role).await.refused(422, "FM-AAS-PERMISSION-UNKNOWN");
        assert!(refused.to_string().contains(&format!("Did you mean {meant}?")), "{refused}");
        let user = json!({ "username": "x@b.c", "password": PASSWORD, "permissions": [wrong] });
        platform.post("/users", &owner, user).await.refused(422, "FM-AAS-PERMISSION-UNKNOWN");
        let token = json!({ "name": "robot", "permissions": [wrong] });
        platform.post("/service-tokens", &owner, token).await.refused(422, "FM-AAS-PERMISSION-UNKNOWN");
    }
    let role = platform.post("/roles", &owner, json!({ "name": "payer", "permissions": ["invoice:approve", "task:*"] })).await.ok();
    let path = format!("/roles/{}/permissions", role["roleId"].as_str().unwrap());
    platform.put(&path, &owner, json!({ "permissions": ["task:aprove"] })).await.refused(422, "FM-AAS-PERMISSION-UNKNOWN");
    // What a process's node requires is a permission of the tenant's own.
    let node = json!({ "id": "a", "type": "human_task", "config": { "assignee": "admin", "requires": "task:sign" } });
    platform.post("/processes/designs", &owner, json!({ "name": "Contract", "nodes": [node] })).await.ok();
    platform.put(&path, &owner, json!({ "permissions": ["task:sign"] })).await.ok();
}

#[tokio::test]
async fn an_assignee_who_is_nobody_is_refused_with_whom_was_meant() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let task = |assignee: &str| json!({ "title": "x", "assignee": assignee });
    // The contract's ids are accepted, and a word that may be a role to come; a person's name is neither.
    let id = platform.post("/tasks", &owner, task("manager-123")).await.ok()["taskId"].as_str().unwrap().to_owned();
    platform.post("/tasks", &owner, task("Bob Miller")).await.refused(422, "FM-HTS-ASSIGNEE-UNKNOWN");

    let bob = platform.user("tenant-local", "bob.miller@b.c", &["approver"], &[]).await;
    let other = platform.user("tenant-other", "ann@b.c", &[], &[]).await;
    platform.post("/tasks", &owner, task(&other)).await.refused(422, "FM-HTS-ASSIGNEE-UNKNOWN");
    platform.post("/roles", &owner, json!({ "name": "auditor" })).await.ok();
    for known in [bob.as_str(), "approver", "auditor", "admin", "user-owner"] {
        let given = platform.put(&format!("/tasks/{id}/assign"), &owner, json!({ "assignee": known })).await.ok();
        assert_eq!(given["assignedTo"], known);
    }
    let gone = "user-0198c9a0-0000-7000-8000-000000000000";
    let wrong = [
        ("Bob Miller", bob.as_str()),
        ("bob.miller@b.c", bob.as_str()),
        ("bob.miller", bob.as_str()),
        ("aprover", "approver"),
        (gone, ""),
        ("Zoe Z", ""),
    ];
    for (wrong, meant) in wrong {
        let refused = platform
            .put(&format!("/tasks/{id}/assign"), &owner, json!({ "assignee": wrong }))
            .await
            .refused(422, "FM-HTS-ASSIGNEE-UNKNOWN");
        assert_eq!(refused["errors"][0]["pointer"], "/assignee");
        assert!(refused["errors"][0]["detail"].as_str().unwrap().contains(meant), "{wrong}: {refused}");
    }
    let chain = json!({ "title": "x", "assignee": "approver", "escalationChain": ["admin", "Bob Miller"] });
    let refused = platform.post("/tasks", &owner, chain).await.refused(422, "FM-HTS-ASSIGNEE-UNKNOWN");
    assert_eq!(refused["errors"][0]["pointer"], "/escalationChain/1");

    // A process may be designed before its people are there: validation tells.
    let node = json!({ "id": "a", "type": "human_task", "config": { "assignee": "Bob Miller", "escalationChain": ["aprover", "admin"] } });
    let process = platform.post("/processes/designs", &owner, json!({ "name": "Approval", "nodes": [node] })).await.ok();
    let found = platform.post(&format!("/processes/{}/validate", process["id"].as_str().unwrap()), &owner, json!({})).await.ok();
    let places: Vec<&Value> = found["warnings"].as_array().unwrap().iter().map(|finding| &finding["pointer"]).collect();
    assert_eq!(found["valid"], true);
    assert_eq!(places, ["/nodes/0/config/assignee", "/nodes/0/config/escalationChain/0"], "{found}");
}

#[tokio::test]
async fn a_record_of_a_type_almost_like_another_is_refused() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    platform.post("/entities/customers", &owner, json!({ "data": { "name": "Acme" } })).await.ok();
    let refused = platform.post("/entities/customer", &owner, json!({ "data": {} })).await.refused(404, "FM-IDHS-TYPE-NOT-FOUND");
    assert!(refused.to_string().contains("Did you mean `customers`?"), "{refused}");
    platform.post("/entities/invoice", &owner, json!({ "data": {} })).await.ok();
    platform.post("/entities", &owner, json!({ "entityType": "customer" })).await.ok();
    platform.post("/entities/customer", &owner, json!({ "data": {} })).await.ok();
}
