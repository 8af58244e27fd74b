//! What calls cost: a page of each list, with each of its filters, and a change of an execution take as many steps in the
//! database at 20,000 rows as at 1,000.

mod filling;
mod steps;

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use self::steps::Steps;
use crate::platform::executions::{human, publish, start};
use crate::support::platform::TestPlatform;
use crate::support::program::binary;

/// Values of arguments that are neither a choice nor a time: one that there is, as SQL.
const VALUES: [(&str, &str, &str); 27] = [
    ("processes_versions", "id", "SELECT min(process_id) FROM process_versions"),
    ("processes_list", "name", "SELECT 'invoice'"),
    ("executions_list", "processId", "SELECT min(process_id) FROM executions"),
    ("executions_history", "id", "SELECT min(execution_id) FROM execution_history"),
    ("tasks_list", "assignee", "SELECT min(assignee) FROM tasks"),
    ("tasks_list", "executionId", "SELECT min(execution_id) FROM tasks"),
    ("tasks_list", "sort", "SELECT 'createdAt'"),
    ("tasks_history", "id", "SELECT min(task_id) FROM task_history"),
    ("entities_types", "entityType", "SELECT min(name) FROM entity_types"),
    ("entities_query", "type", "SELECT type FROM entities ORDER BY number DESC LIMIT 1"),
    ("entities_query", "sort", "SELECT '-updatedAt'"),
    ("prompts_versions", "id", "SELECT min(prompt_id) FROM prompt_versions"),
    ("feedback_query", "agentId", "SELECT min(agent_id) FROM feedback"),
    ("feedback_query", "promptId", "SELECT min(prompt_id) FROM feedback"),
    ("documents_list", "documentType", "SELECT min(type) FROM documents"),
    ("conversations_list", "channelId", "SELECT min(channel_id) FROM conversations"),
    ("conversations_list", "participantId", "SELECT min(participant) FROM conversations"),
    ("conversations_get", "id", "SELECT min(conversation_id) FROM conversation_messages"),
    ("roles_list", "name", "SELECT min(name) FROM roles"),
    ("users_list", "username", "SELECT min(username) FROM users"),
    ("users_list", "startsWith", "SELECT 'a'"),
    ("notifications_list", "recipient", "SELECT min(coalesce(email, user_id, phone)) FROM notifications"),
    ("notifications_list", "sort", "SELECT 'createdAt'"),
    ("companies_list", "parentCompanyId", "SELECT min(parent_id) FROM companies"),
    ("datasets_records", "id", "SELECT min(dataset_id) FROM dataset_lines"),
    ("subscriptions_dead_letters", "id", "SELECT min(subscription_id) FROM dead_letters"),
    ("schedules_runs", "id", "SELECT min(schedule_id) FROM schedule_fires"),
];

/// The same of the audit log, whose filters are columns.
const AUDIT: [(&str, &str); 4] =
    [("actor", "actor"), ("action", "action"), ("resourceType", "resource_type"), ("resourceId", "resource_id")];

/// Lists of what a tenant has few of, by a bound of its own, and those that other tests look at.
const OTHERS: [&str; 6] =
    ["entities_search", "documents_search", "services_discover", "services_list", "metrics_query", "ingest_jobs_dead_letters"];

/// Requests of lists that need arguments together.
const TOGETHER: [&str; 32] = [
    "/entities/ledger?filter.state=open",
    "/entities/ledger?filter.state=open&sort=-createdAt",
    "/entities/ledger?filter.state=%5B%22open%22,%22closed%22%5D",
    "/entities/ledger?filter.name=name77",
    "/entities/ledger?filter.name=nobody&sort=-updatedAt",
    "/entities/ledger?filter.state=null",
    "/entities/ledger?sort=amount",
    "/entities/ledger?sort=-name",
    "/entities/ledger?filter.amount=%7B%22gt%22:900%7D&sort=amount",
    "/entities/ledger?filter.name=%7B%22startsWith%22:%22name9%22%7D&sort=-name",
    "/entities/ledger?filter.state=open&sort=-amount",
    "/entities/ledger?filter.state=open&filter.name=name78",
    "/events/replay?topic=execution.*",
    "/events/replay?topic=*",
    "/events/replay?topic=task.created",
    "/events/replay?topic=task.created&from=1000100",
    "/events/replay?topic=execution.*&from=5&to=9",
    "/events/replay?topic=execution.*&to=2",
    "/events/since?topic=execution.*",
    "/tasks?assignee=me&status=created,assigned,escalated",
    "/tasks?assignee=me&status=cancelled",
    "/tasks?status=completed&sla=breached",
    "/tasks?status=completed,cancelled&sla=ok",
    "/tasks?assignee=me&status=completed&sla=breached",
    "/tasks?assignee=me&status=completed&sla=ok&sort=createdAt",
    "/tasks?assignee=nobody&sla=due_soon",
    "/tasks?assignee=manager&createdBefore=1970-01-01T00:00:00Z",
    "/tasks?status=completed&createdAfter=2999-01-01T00:00:00Z&sort=createdAt",
    "/executions?status=failed,cancelled&createdBefore=1970-01-01T00:00:00Z",
    "/notifications?status=failed&createdBefore=1970-01-01T00:00:00Z",
    "/audit-logs?action=task.created&createdBefore=1970-01-01T00:00:00Z",
    "/audit-logs?actor=system&createdAfter=2999-01-01T00:00:00Z",
];

/// A folder that a company works in.
async fn company() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut command = binary(&folder.path().join("data"));
    let mut program = command.args(["platform", "--demo", "--listen", "0"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    assert!(lines.next_line().await.unwrap().unwrap().starts_with("http://"));
    program.kill().await.unwrap();
    folder
}

fn database(folder: &TempDir) -> Connection {
    Connection::open(folder.path().join("data/platform.db")).unwrap()
}

/// The paths of a page of each list, with each of its arguments.
fn paths(document: &Value, connection: &Connection) -> Vec<String> {
    let mut paths: Vec<String> = TOGETHER.iter().map(|path| (*path).to_owned()).collect();
    for (path, operation) in document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| methods.as_object().unwrap().values().map(move |operation| (path, operation)))
    {
        let name = operation["operationId"].as_str().unwrap();
        let parameters = operation["parameters"].as_array().unwrap();
        if !parameters.iter().any(|parameter| parameter["name"] == "cursor") || OTHERS.contains(&name) {
            continue;
        }
        let known = |parameter: &Value| value_of(connection, name, parameter);
        let in_path = |parameter: &&Value| parameter["in"] == "path";
        let base = parameters.iter().filter(in_path).fold(path.clone(), |path, parameter| {
            path.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), &known(parameter)[0])
        });
        if !parameters.iter().any(|parameter| parameter["required"] == true && !in_path(&parameter)) {
            paths.push(base.clone());
        }
        // By the state of its deadline, a task is looked for among all that are open.
        let filters = |parameter: &&Value| {
            !in_path(parameter)
                && !["cursor", "limit", "topic", "from", "to", "filter", "tenantId", "sla"].contains(&parameter["name"].as_str().unwrap())
        };
        for parameter in parameters.iter().filter(filters) {
            paths.extend(known(parameter).into_iter().map(|value| format!("{base}?{}={value}", parameter["name"].as_str().unwrap())));
        }
    }
    paths
}

/// Values of an argument, among them one that nothing has.
fn value_of(connection: &Connection, operation: &str, parameter: &Value) -> Vec<String> {
    let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
    if let Some(choices) = schema["enum"].as_array().or_else(|| schema["items"]["enum"].as_array()) {
        return choices.iter().map(|choice| choice.as_str().unwrap().to_owned()).collect();
    }
    if schema["format"] == "date-time" {
        return ["1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z"].map(str::to_owned).to_vec();
    }
    let of_audit = AUDIT.iter().filter(|_| operation == "audit_query").find(|(argument, _)| *argument == name);
    let sql = of_audit
        .map(|(_, column)| format!("SELECT {column} FROM audit_log ORDER BY sequence DESC LIMIT 1"))
        .or_else(|| VALUES.iter().find(|(list, argument, _)| (*list, *argument) == (operation, name)).map(|(.., sql)| (*sql).to_owned()));
    let sql = sql.unwrap_or_else(|| panic!("VALUES lacks `{name}` of {operation}"));
    let present: String = connection.query_row(&sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"));
    if name == "sort" { vec![present] } else { vec![present, "nobody".to_owned()] }
}

/// How often a cost is taken that looks grown: what the platform does by itself meanwhile is not the list's.
const TAKEN: usize = 40;

/// What may be taken where `few` was at 1,000 rows.
fn allowed(few: i64) -> i64 {
    few * 5 / 4 + 500
}

/// The steps of a page at each path, taken twice, or until they are `enough`.
async fn walk(bench: &TestPlatform, steps: &Steps, paths: &[String], enough: impl Fn(&str) -> Option<i64>) -> BTreeMap<String, i64> {
    let mut costs = BTreeMap::new();
    for path in paths {
        let mut least = i64::MAX;
        let enough = enough(path);
        for taken in 0..TAKEN {
            if least <= enough.unwrap_or(if taken < 2 { 0 } else { i64::MAX }) {
                break;
            }
            if taken >= 2 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let before = steps.so_far();
            let reply = bench.get(&format!("{path}{}limit=20", if path.contains('?') { '&' } else { '?' }), &bench.owner()).await;
            assert!(reply.status < 500, "{path}: {} {:#}", reply.status, reply.body);
            least = least.min(steps.so_far() - before);
        }
        costs.insert(path.clone(), least);
    }
    costs
}

/// The steps of an execution's start, and of its end by a cancellation, taken twice, or until they are `enough`.
async fn run(bench: &TestPlatform, steps: &Steps, process: &str, enough: Option<[i64; 2]>) -> [i64; 2] {
    let mut least = [i64::MAX; 2];
    for taken in 0..TAKEN {
        let enough = enough.unwrap_or([if taken < 2 { 0 } else { i64::MAX }; 2]);
        if least[0] <= enough[0] && least[1] <= enough[1] {
            break;
        }
        let before = steps.so_far();
        let execution = start(bench, process, json!({})).await;
        let started = steps.so_far();
        let path = format!("/executions/{}/cancel", execution["executionId"].as_str().unwrap());
        bench.put(&path, &bench.owner(), json!({ "reason": "no longer needed" })).await.ok();
        least = [least[0].min(started - before), least[1].min(steps.so_far() - started)];
    }
    least
}

#[tokio::test]
async fn a_page_of_a_list_costs_the_same_whatever_lies_behind_it() {
    let folder = company().await;
    let steps = Steps::listen(folder.path());
    let bench = TestPlatform::start_in(folder).await;
    let fields = json!({ "name": { "type": "string" }, "amount": { "type": "number" }, "state": { "type": "string" } });
    bench.post("/entities", &bench.owner(), json!({ "entityType": "ledger", "schema": { "properties": fields } })).await.ok();
    bench.post("/entities/ledger", &bench.owner(), json!({ "data": {} })).await.ok();
    filling::fill(&database(&bench.folder), 0, 1_000);
    let bench = bench.restart().await;
    let document = bench.get("/openapi.json", "").await.ok();
    let paths = paths(&document, &database(&bench.folder));
    assert!(paths.len() > 100, "{paths:#?}");
    let process = publish(&bench, json!([human("ask")]), json!([])).await;
    let [started, cancelled] = run(&bench, &steps, &process, None).await;
    let few = walk(&bench, &steps, &paths, |_| None).await;
    filling::fill(&database(&bench.folder), 1_000, 20_000);
    let bench = bench.restart().await;
    let [started_later, cancelled_later] = run(&bench, &steps, &process, Some([started + 500, cancelled + 500])).await;
    assert!(
        started_later <= started + 500 && cancelled_later <= cancelled + 500,
        "start {started} {started_later}, cancellation {cancelled} {cancelled_later}\n{}",
        steps.dearest(&database(&bench.folder))
    );
    let many = walk(&bench, &steps, &paths, |path| Some(allowed(few[path]))).await;
    let grown: Vec<_> = paths.iter().filter(|path| many[*path] > allowed(few[*path])).map(|path| (path, few[path], many[path])).collect();
    assert!(
        grown.is_empty(),
        "pages that cost more at 20,000 rows than at 1,000, and their steps: {grown:#?}\n{}",
        steps.dearest(&database(&bench.folder))
    );
}
