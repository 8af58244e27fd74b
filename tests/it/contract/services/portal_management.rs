//! Portal Management Service (contract, section 19).

use reqwest::Method;
use serde_json::{Value, json};

use super::target::{Target, id_in, refused};
use crate::support::platform::Reply;

/// Creates the contract's portal, and answers its path.
async fn portal(target: &Target) -> String {
    let request = json!({
        "tenantId": target.claims().await["tenantId"],
        "name": target.named("Acme Portal"),
        "branding": { "logo": "https://acme.com/logo.png", "primaryColor": "#FF6B35", "customDomain": format!("{}.acme.com", target.word("p")) },
        "features": { "processDesigner": true, "documentProcessing": true, "aiAgents": false },
    });
    format!("/portals/{}", id_in(&target.post("/portals", request).await.ok(), "portalId"))
}

async fn company(target: &Target, name: &str, parent: Option<&str>) -> String {
    let mut request = json!({ "name": target.named(name) });
    if let Some(parent) = parent {
        request["parentCompanyId"] = json!(parent);
    }
    id_in(&target.post("/companies", request).await.ok(), "companyId")
}

/// **Multi-tenant isolation**: a portal has its look, is for its tenant alone, and is never made for another.
#[tokio::test]
async fn a_portal_is_for_its_tenant_alone() {
    let target = Target::open().await;
    let path = portal(&target).await;
    let restyled = target.put(&format!("{path}/branding"), json!({ "primaryColor": "#00AA00" })).await.ok();
    assert_eq!(
        (&restyled["branding"]["primaryColor"], &restyled["branding"]["logo"]),
        (&json!("#00AA00"), &json!("https://acme.com/logo.png"))
    );
    refused(&target.put(&format!("{path}/branding"), json!({ "primaryColor": "orange" })).await, &[400, 422]);
    let foreign = json!({ "tenantId": "tenant-of-somebody-else", "name": "x" });
    refused(&target.post("/portals", foreign).await, &[403, 422]);
    let Some(stranger) = target.stranger().await else { return };
    refused(&Reply::to(target.request_as(&stranger, Method::GET, &path)).await, &[404]);
}

/// **Feature flags**: a portal says which functions it has.
#[tokio::test]
async fn a_portal_says_which_functions_it_has() {
    let target = Target::open().await;
    let flags = target.get(&format!("{}/feature-flags", portal(&target).await)).await.ok();
    assert_eq!(flags["features"], json!({ "processDesigner": true, "documentProcessing": true, "aiAgents": false }));
}

/// **Sub-companies**: a company is below another, at several levels, and below none that there is not.
#[tokio::test]
async fn companies_are_below_others() {
    let target = Target::open().await;
    let top = company(&target, "Acme", None).await;
    let middle = company(&target, "Acme Europe", Some(&top)).await;
    let request = json!({ "name": target.named("Acme Berlin"), "parentCompanyId": middle });
    assert_eq!(target.post("/companies", request).await.ok()["parentCompanyId"], middle);
    let dangling = json!({ "name": target.named("x"), "parentCompanyId": "company-none" });
    refused(&target.post("/companies", dangling).await, &[404, 422]);
}

/// **Inter-tenant approvals**: a chain of approvers reaches over companies, and names nobody who is not there.
#[tokio::test]
async fn a_chain_of_approvers_reaches_over_companies() {
    let target = Target::open().await;
    let me = id_in(&target.claims().await, "sub");
    let top = company(&target, "Acme", None).await;
    let below = company(&target, "Acme Europe", Some(&top)).await;
    let path = format!("/companies/{below}/approvals");
    let chain = |steps: Value| json!({ "approvalChains": [{ "name": "purchase", "steps": steps }] });
    let steps = json!([{ "approver": "admin" }, { "approver": me, "companyId": top }]);
    let set = target.put(&path, chain(steps.clone())).await.ok();
    assert_eq!(set["approvalChains"][0]["steps"], steps);
    refused(&target.put(&path, chain(json!([{ "approver": "nobody-at-all" }]))).await, &[404, 422]);
    refused(&target.put(&path, chain(json!([{ "approver": "admin", "companyId": "company-none" }]))).await, &[404, 422]);
}
