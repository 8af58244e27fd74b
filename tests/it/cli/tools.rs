//! `tools`: the list is the one that a host of the same caller gets.

use serde_json::{Value, json};

use crate::support::home::{Home, stderr, stdout};

fn names(listed: &Value) -> Vec<&str> {
    listed["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_list_is_what_a_host_of_the_same_caller_gets() {
    let home = Home::new().await;
    home.login().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[[policy]]\ntools = ['tasks_history']\ndecision = 'deny'\n").unwrap();
    let settings = [("FLOWMASTER_PERMISSIONS_FILTER", "strict"), ("FLOWMASTER_CONFIG", file.path().to_str().unwrap())];
    let shown: Value = serde_json::from_str(&stdout(&home.run(&["tools", "--json"], &settings, "").await)).unwrap();
    let mut host = home.host(&settings).await;
    let got = host.request("tools/list", json!({})).await["result"]["tools"].clone();
    assert_eq!(shown["tools"], got);
    assert!(names(&shown).contains(&"tasks_list"), "{:?}", names(&shown));
    for withheld in ["tasks_history", "processes_create"] {
        assert!(!names(&shown).contains(&withheld), "{withheld}");
    }

    let all: Value = serde_json::from_str(&stdout(&home.run(&["tools", "--all", "--json"], &settings, "").await)).unwrap();
    assert_eq!(names(&all), names(&flowmaster_mcp::server::list_tools_json()));
    for tool in all["tools"].as_array().unwrap() {
        let name = tool["name"].as_str().unwrap();
        let why = tool["_meta"]["flowmaster/notOffered"].as_str();
        assert_eq!(why.is_none(), names(&shown).contains(&name), "{name}: {why:?}");
        match name {
            "tasks_history" => assert!(why.unwrap().contains("policy"), "{why:?}"),
            "processes_create" => assert!(why.unwrap().contains("process:create"), "{why:?}"),
            _ => {}
        }
    }
    let text = stdout(&home.run(&["tools"], &settings, "").await);
    assert!(text.contains("tasks_list") && !text.contains("processes_create") && text.contains("further tools"), "{text}");
    let text = stdout(&home.run(&["tools", "--all"], &settings, "").await);
    assert!(text.contains("processes_create") && text.contains("not offered: processes_create needs"), "{text}");
    let one = stdout(&home.run(&["tools", "tasks_history"], &settings, "").await);
    assert!(one.contains("not offered: the policy"), "{one}");
}

#[tokio::test]
async fn without_a_login_all_tools_are_marked_as_withheld() {
    let home = Home::new().await;
    let refused = home.run(&["tools"], &[], "").await;
    assert_eq!(refused.status.code(), Some(2));
    let told = stderr(&refused);
    assert!(told.contains("FM-CONFIG-NO-TOKEN") && told.contains("flowmaster-mcp login") && told.contains("--all"), "{told}");
    let all: Value = serde_json::from_str(&stdout(&home.run(&["tools", "--all", "--json"], &[], "").await)).unwrap();
    assert!(all["tools"].as_array().unwrap().iter().all(|tool| tool["_meta"]["flowmaster/notOffered"].is_string()));
    assert!(home.run(&["tools", "tasks_list"], &[], "").await.status.success());
}

#[test]
fn a_tool_is_shown_with_its_nested_arguments() {
    let home = tempfile::tempdir().unwrap();
    let shown = stdout(&crate::support::program::program(home.path()).args(["tools", "processes_create"]).output().unwrap());
    let line = |start: &str| shown.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {shown}"));
    assert!(line("  name ").contains("string, 1 to 200 characters, required"), "{shown}");
    assert!(line("  nodes ").contains("array of object, required"), "{shown}");
    assert!(line("    type ").contains("one of start, end, human_task"), "{shown}");
    assert!(shown.find("  nodes ").unwrap() < shown.find("    config ").unwrap(), "{shown}");
    let listed = stdout(&crate::support::program::program(home.path()).args(["tools", "tasks_list"]).output().unwrap());
    assert!(listed.contains("integer, 1 to 200"), "{listed}");
}

#[tokio::test]
async fn the_tour_without_a_login_says_how_to_get_one() {
    let home = Home::new().await;
    let output = home.run(&["tour"], &[], "").await;
    assert_eq!(output.status.code(), Some(2));
    let (said, told) = (stdout(&output), stderr(&output));
    assert!(said.contains(&format!("flowmaster-mcp login --url {}", home.url())) && said.contains("a platform of its own"), "{said}");
    assert!(told.contains("FM-CONFIG-NO-TOKEN") && !told.contains("FM-MCP-CONNECT"), "{told}");
}
