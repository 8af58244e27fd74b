//! Portal Management over HTTP: branding, feature flags, the tree of companies and its approval chains.

use serde_json::{Value, json};

use crate::support::platform::{Reply, TestPlatform};

/// The contract's example.
fn example() -> Value {
    json!({
        "tenantId": "tenant-local",
        "name": "Acme Portal",
        "branding": { "logo": "https://acme.com/logo.png", "primaryColor": "#FF6B35", "customDomain": "portal.acme.com" },
        "features": { "processDesigner": true, "documentProcessing": true, "aiAgents": true },
    })
}

fn id_of(object: &Value, name: &str) -> String {
    object[name].as_str().unwrap().to_owned()
}

async fn company(platform: &TestPlatform, name: &str, parent: Option<&str>) -> String {
    let mut request = json!({ "name": name });
    if let Some(parent) = parent {
        request["parentCompanyId"] = json!(parent);
    }
    id_of(&platform.post("/companies", &platform.owner(), request).await.ok(), "companyId")
}

async fn relocate(platform: &TestPlatform, id: &str, parent: &str) -> Reply {
    platform.put(&format!("/companies/{id}/parent"), &platform.owner(), json!({ "parentCompanyId": parent })).await
}

/// Chains of one name with these steps.
fn chain(name: &str, steps: &Value) -> Value {
    json!({ "approvalChains": [{ "name": name, "steps": steps }] })
}

#[tokio::test]
async fn the_contracts_portal_is_created_and_restyled() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let created = platform.post("/portals", &owner, example()).await;
    assert_eq!(created.status, 201, "{created:?}");
    let id = id_of(&created.body, "portalId");
    assert_eq!(created.headers["location"], format!("/portals/{id}"));
    for field in ["name", "branding", "features"] {
        assert_eq!(created.body[field], example()[field], "{field}");
    }
    let first = platform.get(&format!("/portals/{id}"), &owner).await;
    assert_eq!((&first.body, &first.headers["etag"]), (&created.body, &"\"1\"".parse().unwrap()));

    let path = format!("/portals/{id}/branding");
    let change = json!({ "primaryColor": "#00aa00", "customDomain": "My.Acme.COM" });
    let restyled = platform.send(platform.request(reqwest::Method::PUT, &path, &owner).header("if-match", "\"1\"").json(&change)).await;
    let expected = json!({ "logo": "https://acme.com/logo.png", "primaryColor": "#00aa00", "customDomain": "my.acme.com" });
    assert_eq!(restyled.ok()["branding"], expected, "what is left out stays");
    let late = platform.send(platform.request(reqwest::Method::PUT, &path, &owner).header("if-match", "\"1\"").json(&change)).await;
    late.refused(412, "FM-AGS-CHANGED");
    let platform = platform.restart().await;
    assert_eq!(platform.get(&format!("/portals/{id}"), &owner).await.ok()["branding"], expected);
    let entries = platform.get("/audit-logs?action=portal.branding_changed", &owner).await.ok();
    let changes = &entries["items"][0]["changes"];
    assert_eq!((&changes["before"], &changes["after"]), (&example()["branding"], &expected));
}

#[tokio::test]
async fn a_look_that_no_browser_could_show_is_refused() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let id = id_of(&platform.post("/portals", &owner, example()).await.ok(), "portalId");
    for (field, value, code) in [
        ("primaryColor", "orange1", "FM-PMS-COLOR"),
        ("primaryColor", "#FF6B3G", "FM-PMS-COLOR"),
        ("primaryColor", "#FFF", "FM-PMS-INVALID"),
        ("logo", "http://acme.com/logo.png", "FM-PMS-LOGO"),
        ("logo", "javascript:alert(1)", "FM-PMS-LOGO"),
        ("logo", "https://user:secret@acme.com/logo.png", "FM-PMS-LOGO"),
        ("customDomain", "https://portal.acme.com", "FM-PMS-DOMAIN"),
        ("customDomain", "127.0.0.1", "FM-PMS-DOMAIN"),
        ("customDomain", "localhost", "FM-PMS-DOMAIN"),
        ("customDomain", "portal..acme.com", "FM-PMS-DOMAIN"),
    ] {
        let refused = platform.put(&format!("/portals/{id}/branding"), &owner, json!({ field: value })).await.refused(422, code);
        assert_eq!(refused["errors"][0]["pointer"], format!("/{field}"), "{value}");
        let refused = platform.post("/portals", &owner, json!({ "name": "x", "branding": { field: value } })).await.refused(422, code);
        assert_eq!(refused["errors"][0]["pointer"], format!("/branding/{field}"), "{value}");
    }
    platform.put(&format!("/portals/{id}/branding"), &owner, json!({})).await.refused(422, "FM-PMS-NOTHING");
    platform.post("/portals", &owner, json!({ "name": "  " })).await.refused(422, "FM-PMS-NAME");
    platform.get("/portals/portal-none", &owner).await.refused(404, "FM-PMS-NOT-FOUND");
    assert_eq!(platform.get(&format!("/portals/{id}"), &owner).await.ok()["branding"], example()["branding"]);
}

#[tokio::test]
async fn features_are_off_until_they_are_switched_on() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let id = id_of(&platform.post("/portals", &owner, json!({ "name": "Plain", "features": { "darkMode": true } })).await.ok(), "portalId");
    let path = format!("/portals/{id}/feature-flags");
    let flags = platform.get(&path, &owner).await.ok();
    let expected = json!({ "processDesigner": false, "documentProcessing": false, "aiAgents": false, "darkMode": true });
    assert_eq!((&flags["features"], &flags["portalId"]), (&expected, &json!(id)));
    platform.put(&path, &owner, json!({ "features": { "aiAgents": true, "darkMode": false } })).await.ok();
    let flags = platform.get(&path, &owner).await.ok();
    let expected = json!({ "processDesigner": false, "documentProcessing": false, "aiAgents": true, "darkMode": false });
    assert_eq!(flags["features"], expected);
    let many: serde_json::Map<String, Value> = (0..98).map(|n| (format!("f{n}"), json!(true))).collect();
    for features in [json!({ "Dark Mode": true }), json!({ "": true }), json!(many)] {
        platform.put(&path, &owner, json!({ "features": features })).await.refused(422, "FM-PMS-FEATURE");
    }
    platform.post("/portals", &owner, json!({ "name": "x", "features": { "aiAgents": "yes" } })).await.refused(422, "FM-PMS-INVALID");
}

#[tokio::test]
async fn a_host_name_leads_to_one_portal() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let stranger = platform.signed_in("tenant-b", "eve", &["portal:*"]).await;
    let id = id_of(&platform.post("/portals", &owner, example()).await.ok(), "portalId");
    let mut same = example();
    same["tenantId"] = json!("tenant-b");
    platform.post("/portals", &stranger, same).await.refused(409, "FM-PMS-DOMAIN-TAKEN");
    let own = platform.put(&format!("/portals/{id}/branding"), &owner, json!({ "customDomain": "portal.acme.com" })).await;
    own.ok();
    platform.put(&format!("/portals/{id}/branding"), &owner, json!({ "customDomain": "new.acme.com" })).await.ok();
    platform.post("/portals", &stranger, json!({ "name": "x", "branding": { "customDomain": "portal.acme.com" } })).await.ok();
}

#[tokio::test]
async fn a_tree_of_companies_has_no_circle() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let top = company(&platform, "Acme", None).await;
    let middle = company(&platform, "Acme Europe", Some(&top)).await;
    let bottom = company(&platform, "Acme Italy", Some(&middle)).await;
    for parent in [&top, &middle, &bottom] {
        let refused = relocate(&platform, &top, parent).await.refused(409, "FM-PMS-CYCLE");
        assert_eq!(refused["errors"][0]["pointer"], "/parentCompanyId");
    }
    assert_eq!(relocate(&platform, &bottom, &top).await.ok()["parentCompanyId"], top);
    assert_eq!(relocate(&platform, &middle, &bottom).await.ok()["parentCompanyId"], bottom, "it is above no more");
    relocate(&platform, &bottom, &middle).await.refused(409, "FM-PMS-CYCLE");
    let to_top = platform.put(&format!("/companies/{bottom}/parent"), &owner, json!({})).await.ok();
    assert_eq!(to_top["parentCompanyId"], Value::Null);
    relocate(&platform, &top, &middle).await.ok();

    let below = platform.get(&format!("/companies?parentCompanyId={middle}"), &owner).await.ok();
    assert_eq!(below["items"].as_array().unwrap().len(), 1);
    assert_eq!(below["items"][0]["companyId"], top);
    let first = platform.get("/companies?limit=2", &owner).await.ok();
    let rest = platform.get(&format!("/companies?limit=2&cursor={}", first["nextCursor"].as_str().unwrap()), &owner).await.ok();
    assert_eq!((first["items"].as_array().unwrap().len(), rest["items"].as_array().unwrap().len()), (2, 1));
}

#[tokio::test]
async fn a_tree_of_companies_has_a_deepest_level() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let mut ids = vec![company(&platform, "level 1", None).await];
    for level in 2..=16 {
        ids.push(company(&platform, &format!("level {level}"), ids.last().map(String::as_str)).await);
    }
    let deepest = json!({ "name": "level 17", "parentCompanyId": ids[15] });
    platform.post("/companies", &owner, deepest).await.refused(409, "FM-PMS-TREE-DEPTH");
    let other = company(&platform, "other", None).await;
    let below = company(&platform, "below", Some(&other)).await;
    relocate(&platform, &other, &ids[14]).await.refused(409, "FM-PMS-TREE-DEPTH");
    relocate(&platform, &other, &ids[13]).await.ok();
    relocate(&platform, &below, &ids[15]).await.refused(409, "FM-PMS-TREE-DEPTH");
    let unknown = json!({ "name": "x", "parentCompanyId": "company-none" });
    platform.post("/companies", &owner, unknown).await.refused(422, "FM-PMS-PARENT-UNKNOWN");
    relocate(&platform, &other, "company-none").await.refused(422, "FM-PMS-PARENT-UNKNOWN");
    relocate(&platform, "company-none", &other).await.refused(404, "FM-PMS-COMPANY-NOT-FOUND");
    platform.post("/companies", &owner, json!({ "name": "\u{7}" })).await.refused(422, "FM-PMS-NAME");
}

#[tokio::test]
async fn a_company_goes_by_the_nearest_approval_chain_above_it() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let anna = platform.user("tenant-local", "anna", &["finance"], &[]).await;
    let top = company(&platform, "Acme", None).await;
    let below = company(&platform, "Acme Europe", Some(&top)).await;
    let chains = json!({ "approvalChains": [
        { "name": "purchase", "steps": [{ "approver": anna }, { "approver": "admin", "companyId": below }] },
        { "name": "contract", "steps": [{ "approver": "user-owner" }] },
    ] });
    let set = platform.put(&format!("/companies/{top}/approvals"), &owner, chains.clone()).await.ok();
    assert_eq!(set["approvalChains"], chains["approvalChains"]);
    platform.put(&format!("/companies/{below}/approvals"), &owner, chain("purchase", &json!([{ "approver": "finance" }]))).await.ok();
    let platform = platform.restart().await;
    let in_force = platform.get(&format!("/companies/{below}/approvals"), &owner).await.ok();
    let from: Vec<_> = in_force["items"].as_array().unwrap().iter().map(|item| (&item["name"], &item["companyId"])).collect();
    assert_eq!(from, [(&json!("purchase"), &json!(below)), (&json!("contract"), &json!(top))]);
    assert_eq!(in_force["items"][0]["steps"], json!([{ "approver": "finance" }]));
    let none = platform.put(&format!("/companies/{below}/approvals"), &owner, json!({ "approvalChains": [] })).await.ok();
    assert_eq!(none["approvalChains"], Value::Null);
    let in_force = platform.get(&format!("/companies/{below}/approvals"), &owner).await.ok();
    assert_eq!(in_force["items"][0]["companyId"], top);
}

#[tokio::test]
async fn approval_chains_that_nobody_could_follow_are_refused() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let foreign = platform.user("tenant-b", "eve", &["outsiders"], &[]).await;
    let id = company(&platform, "Acme", None).await;
    let path = format!("/companies/{id}/approvals");
    let admin = json!({ "approver": "admin" });
    let long: Vec<Value> = (0..21).map(|n| json!({ "approver": format!("role-{n}") })).collect();
    for (request, code, pointer) in [
        (chain("purchase", &json!([])), "FM-PMS-CHAIN", "/approvalChains/0/steps"),
        (chain("purchase", &json!(long)), "FM-PMS-CHAIN", "/approvalChains/0/steps"),
        (chain(" ", &json!([admin])), "FM-PMS-CHAIN", "/approvalChains/0/name"),
        (chain("purchase", &json!([admin, admin])), "FM-PMS-CHAIN", "/approvalChains/0/steps/1/approver"),
        (
            json!({ "approvalChains": [{ "name": "a", "steps": [admin] }, { "name": "a", "steps": [admin] }] }),
            "FM-PMS-CHAIN",
            "/approvalChains/1/name",
        ),
        (chain("purchase", &json!([admin, { "approver": "nobody" }])), "FM-PMS-APPROVER-UNKNOWN", "/approvalChains/0/steps/1/approver"),
        (chain("purchase", &json!([{ "approver": foreign }])), "FM-PMS-APPROVER-UNKNOWN", "/approvalChains/0/steps/0/approver"),
        (chain("purchase", &json!([{ "approver": "outsiders" }])), "FM-PMS-APPROVER-UNKNOWN", "/approvalChains/0/steps/0/approver"),
        (
            chain("purchase", &json!([{ "approver": "admin", "companyId": "company-none" }])),
            "FM-PMS-COMPANY-UNKNOWN",
            "/approvalChains/0/steps/0/companyId",
        ),
    ] {
        let refused = platform.put(&path, &owner, request).await.refused(422, code);
        assert_eq!(refused["errors"][0]["pointer"], pointer);
    }
    let unknown = platform.put("/companies/company-none/approvals", &owner, chain("purchase", &json!([admin]))).await;
    unknown.refused(404, "FM-PMS-COMPANY-NOT-FOUND");
}

#[tokio::test]
async fn portals_and_companies_of_a_tenant_are_its_own() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let stranger = platform.signed_in("tenant-b", "eve", &["portal:*", "company:*"]).await;
    let portal = id_of(&platform.post("/portals", &owner, example()).await.ok(), "portalId");
    let top = company(&platform, "Acme", None).await;
    for path in [format!("/portals/{portal}"), format!("/portals/{portal}/feature-flags")] {
        platform.get(&path, &stranger).await.refused(404, "FM-PMS-NOT-FOUND");
    }
    let restyled = platform.put(&format!("/portals/{portal}/branding"), &stranger, json!({ "primaryColor": "#000000" })).await;
    restyled.refused(404, "FM-PMS-NOT-FOUND");
    let below = platform.post("/companies", &stranger, json!({ "name": "x", "parentCompanyId": top })).await;
    below.refused(422, "FM-PMS-PARENT-UNKNOWN");
    let chains = platform.put(&format!("/companies/{top}/approvals"), &stranger, chain("a", &json!([{ "approver": "admin" }]))).await;
    chains.refused(404, "FM-PMS-COMPANY-NOT-FOUND");
    for path in ["/portals", "/companies"] {
        assert_eq!(platform.get(path, &stranger).await.ok()["items"], json!([]), "{path}");
        assert_eq!(platform.get(path, &owner).await.ok()["items"].as_array().unwrap().len(), 1, "{path}");
    }
    let reader = platform.signed_in("tenant-local", "rob", &["portal:view"]).await;
    platform.post("/companies", &reader, json!({ "name": "x" })).await.refused(403, "FM-AAS-FORBIDDEN");
}
