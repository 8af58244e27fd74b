//! The operator's choice of tools before the real program on stdio, in both revisions, and what the command line tells of it.

use flowmaster_mcp::api::{Effect, catalogue};
use flowmaster_mcp::server::toolsets;
use serde_json::{Value, json};

use crate::support::home::{run, stderr, stdout};
use crate::support::program::{Host, REVISIONS};

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_operator_offers_essentials_that_only_read() {
    let expected: Vec<&str> = catalogue()
        .tools()
        .filter(|entry| entry.spec.essential && entry.spec.effect == Effect::Read && entry.spec.name != "users_list")
        .map(|entry| entry.spec.name)
        .collect();
    let settings =
        [("FLOWMASTER_TOOLSETS", "essentials"), ("FLOWMASTER_READ_ONLY", "true"), ("FLOWMASTER_EXCLUDE_TOOLS", "users_*, roles_list")];
    for revision in REVISIONS {
        let folder = tempfile::tempdir().unwrap();
        let mut host = Host::start_with(&folder.path().join("data"), revision, None, &settings).await;
        let list = host.request("tools/list", json!({})).await["result"]["tools"].clone();
        assert_eq!(names(&list), expected);
        for tool in list.as_array().unwrap() {
            let name = tool["name"].as_str().unwrap();
            let loaded = catalogue().get(name).unwrap().spec.always_loaded;
            assert_eq!(tool["_meta"]["anthropic/alwaysLoad"] == true, loaded, "{name}");
        }
        host.good("tasks_list", json!({})).await;
        for (tool, says) in [
            ("tasks_assign", "this server is read-only, and tasks_assign does more than read"),
            ("users_list", "excludes users_list"),
            ("agents_list", "offers the toolset essentials without users_"),
        ] {
            let refused = host.request("tools/call", json!({ "name": tool, "arguments": {} })).await;
            let message = refused["error"]["message"].as_str().unwrap_or_else(|| panic!("{refused}"));
            assert!(refused["error"]["code"] == -32602 && message.contains(says), "{message}");
        }
        assert!(host.end().await.success());
    }
}

#[tokio::test]
async fn the_command_line_shows_toolsets_and_refuses_unknown_ones() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let shown = run(&data, &["tools", "--json", "--toolsets", "tasks", "--tools", "documents_list,documents_s*"], &[], "").await;
    let shown: Value = serde_json::from_str(&stdout(&shown)).unwrap();
    let of_tasks = catalogue().tools().filter(|entry| entry.service.module == "tasks").map(|entry| entry.spec.name);
    let expected: Vec<&str> = of_tasks.chain(["documents_search", "documents_list"]).collect();
    assert_eq!(names(&shown["tools"]), expected);
    assert_eq!(names(&shown["toolsets"]), toolsets().iter().map(|toolset| toolset.name).collect::<Vec<_>>());
    for toolset in shown["toolsets"].as_array().unwrap() {
        assert!(toolset["tools"].as_array().is_some_and(|tools| !tools.is_empty()) && toolset["tokens"].as_u64() > Some(50), "{toolset}");
    }
    let all = stdout(&run(&data, &["tools", "--all", "--read-only", "--toolsets=essentials"], &[], "").await);
    assert!(all.contains("essentials") && all.contains("tokens"), "{all}");
    let one = stdout(&run(&data, &["tools", "tasks_assign", "--read-only"], &[], "").await);
    assert!(one.contains("not offered: this server is read-only"), "{one}");
    let report = run(&data, &["doctor", "--json", "--read-only", "--exclude-tools", "audit_*"], &[], "").await;
    let report: Value = serde_json::from_str(&stdout(&report)).unwrap();
    let told = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "tools").unwrap();
    assert!(told["text"].as_str().unwrap().contains("all tools without audit_log"), "{told}");

    for (arguments, says) in [
        (["tools", "--toolsets", "task"], "did you mean tasks?"),
        (["serve", "--toolsets", "payroll"], "essentials"),
        (["tools", "--tools", "task_list"], "did you mean tasks_list?"),
        (["doctor", "--exclude-tools", "nothing_*"], "nothing_*"),
    ] {
        let refused = run(&data, &arguments, &[], "").await;
        let told = stderr(&refused) + &stdout(&refused);
        let status = if arguments[0] == "doctor" { 1 } else { 2 };
        assert!(
            refused.status.code() == Some(status) && told.contains("FM-CONFIG-TOOLSETS") && told.contains(says),
            "{arguments:?}: {told}"
        );
    }
}
