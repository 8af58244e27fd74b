//! Working through lists over HTTP: scripts, people and runs below, one after another and several at a time.

use std::time::Duration;

use serde_json::{Value, json};

use crate::platform::executions::{decide, human, open_tasks, publish, start};
use crate::support::platform::TestPlatform;

fn script(id: &str, expression: &str, output: &str) -> Value {
    json!({ "id": id, "type": "script", "config": { "expression": expression, "output": output } })
}

fn each(mut node: Value, list: &str) -> Value {
    node["config"]["forEach"] = json!(list);
    node
}

async fn read(bench: &TestPlatform, execution: &Value) -> Value {
    bench.get(&format!("/executions/{}", execution["executionId"].as_str().unwrap()), &bench.owner()).await.ok()
}

async fn until(bench: &TestPlatform, execution: &Value, status: &str) -> Value {
    for _ in 0..1_000 {
        let now = read(bench, execution).await;
        if now["status"] == status {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not become {status}: {}", read(bench, execution).await["error"])
}

async fn answer(bench: &TestPlatform, task: &Value, decision: &str) {
    let path = format!("/tasks/{}/respond", task["taskId"].as_str().unwrap());
    bench.put(&path, &bench.owner(), json!({ "decision": decision })).await.ok();
}

#[tokio::test]
async fn a_script_gives_a_result_for_each_item() {
    let bench = TestPlatform::start().await;
    let lines = each(script("sums", "each.item.price * each.item.pieces + each.index * 100", "sums"), "variables.lines");
    let process = publish(&bench, json!([lines, script("count", "size(nodes.sums)", "count")]), json!([])).await;
    let given = json!({ "lines": [{ "price": 2, "pieces": 3 }, { "price": 5, "pieces": 1 }] });
    let ended = start(&bench, &process, given).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    assert_eq!((&ended["state"]["variables"]["sums"], &ended["state"]["variables"]["count"]), (&json!([6, 105]), &json!(2)));
    let nothing = start(&bench, &process, json!({ "lines": [] })).await;
    assert_eq!((&nothing["status"], &nothing["state"]["variables"]["sums"]), (&json!("completed"), &json!([])));
}

#[tokio::test]
async fn people_are_asked_for_each_item_one_after_another_or_several_at_a_time() {
    let bench = TestPlatform::start().await;
    for (parallel, open) in [(1, 1), (2, 2)] {
        let mut check = each(human("check"), "variables.names");
        check["config"]["title"] = json!("Check {{each.item}}");
        check["config"]["parallel"] = json!(parallel);
        let process = publish(&bench, json!([check, script("all", "nodes.check.map(answer, answer.decision)", "all")]), json!([])).await;
        let execution = start(&bench, &process, json!({ "names": ["a", "b", "c"] })).await;
        assert_eq!(open_tasks(&bench, &execution).await.len(), open);
        for left in (0..3_usize).rev() {
            let tasks = open_tasks(&bench, &execution).await;
            assert_eq!(tasks.len(), open.min(left + 1));
            // The last that was asked answers first.
            let task = tasks.iter().max_by_key(|task| task["title"].as_str().unwrap().to_owned()).unwrap();
            answer(&bench, task, task["title"].as_str().unwrap().trim_start_matches("Check ")).await;
        }
        let ended = read(&bench, &execution).await;
        assert_eq!((&ended["status"], &ended["state"]["variables"]["all"]), (&json!("completed"), &json!(["a", "b", "c"])), "{ended:#}");
    }
}

#[tokio::test]
async fn a_run_below_for_each_item_goes_on_after_a_restart() {
    let bench = TestPlatform::start().await;
    let below = publish(&bench, json!([human("ask"), script("double", "variables.n * 2", "n")]), json!([])).await;
    let sub = json!({ "id": "sub", "type": "subprocess", "config": { "processId": below, "variables": { "n": "=each.item" } } });
    let total = script("total", "nodes.sub.map(run, run.n)", "all");
    let process = publish(&bench, json!([each(sub, "variables.numbers"), total]), json!([])).await;
    let execution = start(&bench, &process, json!({ "numbers": [1, 20] })).await;
    let bench = bench.restart().await;
    for _ in 0..2 {
        let inner = bench.get(&format!("/executions?processId={below}&status=waiting"), &bench.owner()).await.ok()["items"][0].clone();
        decide(&bench, &inner, "yes").await;
    }
    assert_eq!(read(&bench, &execution).await["state"]["variables"]["all"], json!([2, 40]));
}

#[tokio::test]
async fn a_long_list_is_worked_through_in_several_transactions() {
    let bench = TestPlatform::start().await;
    let process = publish(&bench, json!([each(script("double", "each.item * 2", "doubled"), "variables.numbers")]), json!([])).await;
    let numbers: Vec<usize> = (0..2_500).collect();
    let execution = start(&bench, &process, json!({ "numbers": numbers })).await;
    let ended = until(&bench, &execution, "completed").await;
    let doubled: Vec<usize> = serde_json::from_value(ended["state"]["variables"]["doubled"].clone()).unwrap();
    assert_eq!(doubled, (0..2_500).map(|number| number * 2).collect::<Vec<_>>());
}

#[tokio::test]
async fn each_item_is_undone_with_its_own_data() {
    let bench = TestPlatform::start().await;
    let mut book = each(script("book", "'b-' + each.item", "booked"), "variables.names");
    book["config"]["compensate"] =
        json!({ "type": "script", "expression": "variables.log + [nodes.book + ' of ' + each.item]", "output": "log" });
    let process = publish(&bench, json!([book]), json!([])).await;
    let execution = start(&bench, &process, json!({ "names": ["x", "y"], "log": [] })).await;
    assert_eq!(execution["state"]["variables"]["booked"], json!(["b-x", "b-y"]), "{execution:#}");
    let path = format!("/executions/{}/compensate", execution["executionId"].as_str().unwrap());
    let undone = bench.post(&path, &bench.owner(), json!({})).await.ok();
    assert_eq!((&undone["status"], &undone["state"]["variables"]["log"]), (&json!("compensated"), &json!(["b-y of y", "b-x of x"])));
}

#[tokio::test]
async fn a_list_that_is_none_too_long_or_changes_fails_with_a_code() {
    let bench = TestPlatform::start().await;
    let process = publish(&bench, json!([each(script("a", "each.item", "b"), "variables.list")]), json!([])).await;
    for (list, code) in [(json!("abc"), "FM-EES-NOT-A-LIST"), (json!(vec![1; 10_001]), "FM-EES-TOO-MANY-ITEMS")] {
        let failed = start(&bench, &process, json!({ "list": list })).await;
        assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!(code)));
    }
    let fork = json!({ "id": "fork", "type": "gateway", "config": { "mode": "and" } });
    let nodes = json!([fork, each(human("check"), "variables.list"), human("other"), script("set", "[3]", "list")]);
    let edges = json!([{ "from": "fork", "to": "check" }, { "from": "fork", "to": "other" }, { "from": "other", "to": "set" }]);
    let process = publish(&bench, nodes, edges).await;
    let execution = start(&bench, &process, json!({ "list": [1, 2] })).await;
    for node in ["other", "check"] {
        let task = open_tasks(&bench, &execution).await.into_iter().find(|task| task["nodeId"] == node).unwrap();
        answer(&bench, &task, "yes").await;
    }
    let failed = read(&bench, &execution).await;
    assert_eq!((&failed["error"]["code"], &failed["error"]["nodeId"]), (&json!("FM-EES-LIST-CHANGED"), &json!("check")), "{failed:#}");
}

#[tokio::test]
async fn an_item_that_fails_is_retried_or_ends_the_list_by_its_error_way() {
    let bench = TestPlatform::start().await;
    let rate = each(script("rate", "each.item / variables.by", "rates"), "variables.list");
    let process = publish(&bench, json!([rate]), json!([])).await;
    let execution = start(&bench, &process, json!({ "list": [10, 20], "by": 0 })).await;
    assert_eq!((&execution["status"], &execution["error"]["nodeId"]), (&json!("failed"), &json!("rate")));
    let path = format!("/executions/{}/resume", execution["executionId"].as_str().unwrap());
    let mended = bench.put(&path, &bench.owner(), json!({ "variables": { "by": 10 } })).await.ok();
    assert_eq!((&mended["status"], &mended["state"]["variables"]["rates"]), (&json!("completed"), &json!([1, 2])), "{mended:#}");

    let mut check = each(human("check"), "variables.list");
    check["config"]["parallel"] = json!(3);
    check["config"]["title"] = json!("Check {{each.item.name}}");
    check["config"]["onError"] = json!("mend");
    let nodes = json!([check, human("mend"), { "id": "end", "type": "end" }]);
    let process = publish(&bench, nodes, json!([{ "from": "check", "to": "end" }, { "from": "mend", "to": "end" }])).await;
    let execution = start(&bench, &process, json!({ "list": [{ "name": "a" }, { "name": "b" }, {}] })).await;
    let tasks = open_tasks(&bench, &execution).await;
    assert_eq!(tasks.iter().map(|task| task["nodeId"].as_str().unwrap()).collect::<Vec<_>>(), ["mend"], "{tasks:#?}");
    decide(&bench, &execution, "done").await;
    assert_eq!(read(&bench, &execution).await["status"], "completed");
}

#[tokio::test]
async fn a_list_is_rehearsed_and_checked_beforehand() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let design = async |nodes: Value| {
        let design = json!({ "name": "List", "nodes": nodes, "variables": [{ "name": "count", "type": "number" }] });
        let id = bench.post("/processes/designs", &owner, design).await.ok()["id"].as_str().unwrap().to_owned();
        format!("/processes/{id}")
    };
    let path = design(json!([each(human("check"), "variables.names"), script("all", "nodes.check.map(a, a.decision)", "all")])).await;
    let asked = json!({ "variables": { "names": ["a", "b"] }, "answers": { "check": ["yes", "no"] } });
    let trial = bench.post(&format!("{path}/sandbox"), &owner, asked).await.ok();
    assert_eq!((&trial["status"], &trial["state"]["variables"]["all"]), (&json!("completed"), &json!(["yes", "no"])), "{trial:#}");

    let mut pausing = json!({ "id": "nap", "type": "timer", "config": { "seconds": 1 } });
    pausing["config"]["forEach"] = json!("[1]");
    let mut crowded = each(human("crowd"), "variables.names");
    crowded["config"]["parallel"] = json!(0);
    for (node, code) in [
        (each(human("a"), "variables.count"), "NOT_A_LIST"),
        (script("b", "each.item", "x"), "UNKNOWN_ITEM"),
        (each(script("c", "each.itm", "x"), "variables.names"), "UNKNOWN_ITEM"),
        (pausing, "CONFIG"),
        (crowded, "CONFIG"),
    ] {
        let path = design(json!([node])).await;
        let found = bench.post(&format!("{path}/validate"), &owner, json!({})).await.ok();
        assert_eq!(found["errors"][0]["code"], code, "{found:#}");
    }
}
