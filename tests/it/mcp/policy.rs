//! The operator's policy over HTTP, in both revisions: what a rule denies is neither seen nor done, what it has confirmed is
//! asked about, and what it allows is not.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use flowmaster_mcp::api::{Effect, catalogue};
use flowmaster_mcp::config::PolicyRule;
use flowmaster_mcp::server::{Policy, Settings};
use rmcp::model::{ElicitationAction, GetPromptRequestParams, ReadResourceRequestParams};
use serde_json::{Value, json};

use crate::support::callers::{Callers, connect};
use crate::support::mcp::{self, Host, Session, call, ok, revisions, text};
use crate::support::platform::TestPlatform;
use crate::support::program::program;
use crate::support::raw::serve;

/// A rule as it stands in a configuration file.
fn rule(text: Value) -> PolicyRule {
    serde_json::from_value(text).unwrap()
}

fn settings(rules: &[Value]) -> Settings {
    let rules: Vec<PolicyRule> = rules.iter().cloned().map(rule).collect();
    Settings { policy: Arc::new(Policy::new(&rules).unwrap()), ..Settings::default() }
}

async fn tools(session: &Session) -> Vec<String> {
    session.list_all_tools().await.unwrap().into_iter().map(|tool| tool.name.into_owned()).collect()
}

async fn insert(session: &Session) -> String {
    ok(call(session, "entities_insert", json!({ "type": "customer", "data": { "name": "Acme" } })).await)["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn rules_decide_by_tool_service_effect_and_role() {
    let platform = TestPlatform::start().await;
    let callers = Callers::default();
    let clerk = callers.make(&platform, "tenant-1", "clerk", &["clerk"], &["*"]).await;
    let trainee = callers.make(&platform, "tenant-1", "trainee", &["other", "trainee"], &["*"]).await;
    let settings = settings(&[
        json!({ "tools": ["tasks_a*"], "decision": "deny" }),
        json!({ "services": ["audit-compliance"], "effects": ["read", "write"], "decision": "deny" }),
        json!({ "roles": ["trainee", "intern"], "effects": ["write"], "services": ["internal-data-hub"], "decision": "confirm" }),
        json!({ "roles": ["trainee"], "effects": ["destroy"], "decision": "deny" }),
        json!({ "tools": ["entities_delete"], "decision": "allow" }),
    ]);
    let served = serve(mcp::app(&platform, settings), callers.admission(), |_| {}).await;
    for revision in revisions() {
        let (of_clerk, of_trainee) = (Host::new(ElicitationAction::Accept), Host::new(ElicitationAction::Accept));
        let clerk = connect(&served, &clerk, revision.clone(), of_clerk.clone()).await;
        let trainee = connect(&served, &trainee, revision, of_trainee.clone()).await;

        let (seen, less) = (tools(&clerk).await, tools(&trainee).await);
        for denied in ["tasks_assign", "audit_log", "audit_query", "audit_report"] {
            assert!(!seen.contains(&denied.to_owned()) && !less.contains(&denied.to_owned()), "{denied}");
        }
        assert!(seen.contains(&"records_delete".to_owned()), "of that service, but of another effect");
        let missing: Vec<&str> = seen.iter().filter(|name| !less.contains(name)).map(String::as_str).collect();
        let destroys = catalogue().tools().filter(|entry| entry.spec.effect == Effect::Destroy && !entry.spec.names_route);
        let destroys: Vec<&str> = destroys.map(|entry| entry.spec.name).collect();
        assert_eq!(missing, destroys);
        let refused = call(&clerk, "tasks_assign", json!({ "id": "task-1", "assignee": "x" })).await;
        assert!(
            refused.is_error == Some(true) && text(&refused).starts_with("FM-MCP-POLICY: the policy of this server's operator"),
            "{refused:?}"
        );

        let id = insert(&clerk).await;
        assert!(of_clerk.asked().is_empty());
        let refused = call(&trainee, "entities_delete", json!({ "type": "customer", "id": id })).await;
        assert!(text(&refused).starts_with("FM-MCP-POLICY"), "{}", text(&refused));
        insert(&trainee).await;
        assert_eq!(of_trainee.asked().len(), 1, "{:?}", of_trainee.asked());
        assert!(of_trainee.asked()[0].contains("Acme"), "{:?}", of_trainee.asked());
        ok(call(&clerk, "entities_delete", json!({ "type": "customer", "id": id })).await);
        assert!(of_clerk.asked().is_empty(), "what a rule allows is not asked about");

        let hints =
            |tools: Vec<rmcp::model::Tool>| tools.into_iter().find(|tool| tool.name == "entities_insert").unwrap().annotations.unwrap();
        let (plain, asks) = (hints(clerk.list_all_tools().await.unwrap()), hints(trainee.list_all_tools().await.unwrap()));
        assert_eq!((plain.read_only_hint, plain.destructive_hint), (Some(false), Some(false)));
        assert_eq!((asks.read_only_hint, asks.destructive_hint), (Some(false), Some(true)), "a host's own dialog goes by it");
    }
}

#[tokio::test]
async fn what_is_no_tool_keeps_to_the_policy_too() {
    let platform = TestPlatform::start().await;
    let callers = Callers::default();
    let token = callers.make(&platform, "tenant-1", "anna", &[], &["*"]).await;
    let settings =
        settings(&[json!({ "tools": ["tasks_list"], "decision": "deny" }), json!({ "tools": ["entities_get"], "decision": "confirm" })]);
    let served = serve(mcp::app(&platform, settings), callers.admission(), |_| {}).await;
    for revision in revisions() {
        let host = Host::new(ElicitationAction::Accept);
        let session = connect(&served, &token, revision, host.clone()).await;
        let id = insert(&session).await;
        let templates: Vec<String> =
            session.list_all_resource_templates().await.unwrap().iter().map(|template| template.uri_template.clone()).collect();
        assert!(templates.iter().any(|template| template.contains("tasks/{id}")));
        assert!(!templates.iter().any(|template| template.contains("entities")), "{templates:?}");
        assert!(session.list_all_resources().await.unwrap().iter().all(|resource| resource.uri != "flowmaster://tasks"));
        for uri in ["flowmaster://tasks".to_owned(), format!("flowmaster://entities/customer/{id}")] {
            assert!(session.read_resource(ReadResourceRequestParams::new(uri.clone())).await.is_err(), "{uri}");
        }
        assert!(session.list_all_prompts().await.unwrap().iter().all(|prompt| prompt.name != "approve-inbox"));
        assert!(session.get_prompt(GetPromptRequestParams::new("approve-inbox")).await.is_err());
        let offered = session.complete_resource_simple("flowmaster://entities/{type}/{id}", "type", "").await.unwrap();
        assert!(offered.is_empty(), "{offered:?}");
        assert!(host.asked().is_empty());
        let read = ok(call(&session, "entities_get", json!({ "type": "customer", "id": id })).await);
        assert_eq!((read["data"]["name"].as_str(), host.asked().len()), (Some("Acme"), 1));
        assert!(!host.asked()[0].contains("Acme"), "it was shown before anybody agreed: {:?}", host.asked());
    }
}

/// The binary with a configuration file.
fn start(home: &Path, config: &str, arguments: &[&str]) -> Output {
    let file = home.join("config.toml");
    std::fs::write(&file, config).unwrap();
    program(home).env("FLOWMASTER_CONFIG", &file).env("FLOWMASTER_DATA_DIR", home.join("data")).args(arguments).output().unwrap()
}

#[test]
fn a_rule_that_could_never_fit_refuses_the_start() {
    let home = tempfile::tempdir().unwrap();
    for (config, says) in [
        ("[[policy]]\ntools = ['task_respond']\ndecision = 'deny'\n", "tasks_respond"),
        ("[[policy]]\nservices = ['human-tasks']\ndecision = 'deny'\n", "human-task"),
        ("[[policy]]\neffects = ['delete']\ndecision = 'deny'\n", "destroy"),
    ] {
        let output = start(home.path(), config, &["serve"]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("FM-CONFIG-POLICY") && told.contains(says), "{told}");
    }
    for config in ["[[policy]]\ndecision = 'perhaps'\n", "[[policy]]\ntool = ['tasks_get']\ndecision = 'deny'\n"] {
        assert_eq!(start(home.path(), config, &["serve"]).status.code(), Some(2), "{config}");
    }
    assert!(!home.path().join("data").exists(), "nothing is made for what is refused");
    let denied = start(home.path(), "[[policy]]\ntools = ['auth_*']\ndecision = 'deny'\n", &["call", "auth_validate"]);
    assert!(String::from_utf8_lossy(&denied.stderr).contains("FM-MCP-POLICY"), "{denied:?}");
}
