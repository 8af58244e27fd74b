//! Lists by declared fields, which are read by their keys, beside the same lists of a type without a schema, which are not.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::platform::TestPlatform;

/// The records: values of all kinds in the fields that are filtered and sorted by.
fn records() -> Vec<Value> {
    let long = "x".repeat(300);
    let values = [
        json!(5),
        json!(5.0),
        json!("5"),
        json!(true),
        json!("true"),
        json!(false),
        json!(1),
        Value::Null,
        json!("null"),
        json!(""),
        json!("ab"),
        json!("abc"),
        json!("aé"),
        json!("b"),
        json!("nul\u{0}b"),
        json!([1, "x"]),
        json!({ "a": 1 }),
        json!(-7),
        json!(1e300),
        json!(i64::MIN),
        json!(0.1),
        json!(-0.0),
        json!("\u{10ffff}z"),
    ];
    let count = values.len();
    let record = |number: usize| {
        let state = ["open", "closed", "held"][number % 3];
        json!({ "value": values[number % count], "state": state, "rank": number * 7 % 11, "n": number })
    };
    let mut records: Vec<Value> = (0..3 * count).map(record).collect();
    records.extend([json!({ "n": 100 }), json!({ "n": 101, "state": "open" }), json!({ "text": long, "n": 102 })]);
    records.extend([json!({ "text": "short", "n": 103 }), json!({ "text": format!("{long}y"), "state": "open", "n": 104 })]);
    records
}

/// What is asked of both types.
fn queries() -> Vec<String> {
    let filters = [
        "",
        "filter.value=5",
        "filter.value=5.0",
        "filter.value=true",
        "filter.value=1",
        "filter.value=null",
        "filter.value=",
        "filter.value=nobody",
        r#"filter.value={"gt":0}"#,
        r#"filter.value={"gt":"0"}"#,
        r#"filter.value={"gte":-7,"lt":"5"}"#,
        r#"filter.value={"lte":"abc"}"#,
        r#"filter.value={"ne":5}"#,
        r#"filter.value={"startsWith":"a"}"#,
        r#"filter.value={"startsWith":"a","gt":"ab"}"#,
        r#"filter.value={"startsWith":""}"#,
        r#"filter.value={"startsWith":"􏿿"}"#,
        r#"filter.value={"exists":true}"#,
        r#"filter.value={"contains":"x"}"#,
        r#"filter.value=[5,"abc",null,"5",true]"#,
        "filter.state=open",
        r#"filter.state=["open","held"]"#,
        r#"filter.state={"ne":"open"}"#,
        "filter.state=open&filter.value=5",
        r#"filter.state=open&filter.rank={"gt":3}"#,
        r#"filter.state=closed&filter.rank={"gt":3}&filter.value={"exists":true}"#,
        r#"filter.rank={"gt":2,"lte":8}"#,
        "filter.text=short",
        r#"filter.text={"startsWith":"xx"}"#,
        r#"filter.text={"gt":"t"}"#,
        r#"filter.n={"gte":60}"#,
    ];
    let sorts =
        ["", "sort=-createdAt", "sort=value", "sort=-value", "sort=rank", "sort=-rank", "sort=text", "sort=-state,rank", "sort=updatedAt"];
    filters.iter().flat_map(|filter| sorts.iter().map(move |sort| format!("{filter}&{sort}"))).collect()
}

/// All pages of a list, record by record: its own number, with what the page says of it.
async fn walk(bench: &TestPlatform, kind: &str, query: &str) -> Vec<Value> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    let encoded = query.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
    for _ in 0..200 {
        let page = bench.get(&format!("/entities/{kind}?limit=23&{encoded}{cursor}"), &bench.owner()).await.ok();
        seen.extend(page["items"].as_array().unwrap().iter().map(|record| record["data"].clone()));
        let Some(next) = page["nextCursor"].as_str() else { return seen };
        cursor = format!("&cursor={next}");
    }
    panic!("{query} does not end");
}

async fn compare(bench: &TestPlatform, when: &str, step: usize) {
    for query in queries().into_iter().step_by(step) {
        let (keyed, plain) = (walk(bench, "keyed", &query).await, walk(bench, "plain", &query).await);
        assert_eq!(keyed, plain, "{when}: {query}");
    }
}

fn database(bench: &TestPlatform) -> Connection {
    Connection::open(bench.folder.path().join("data/platform.db")).unwrap()
}

/// Waits until no field is under way, and holds the keys to the records.
async fn settled(bench: &TestPlatform, when: &str) {
    let connection = database(bench);
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    while count("SELECT count(*) FROM entity_fields WHERE state <> 'ready'") > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let expected = "SELECT entity_fields.id, number, ifnull(json_extract(data, path), 0) AS value FROM entities JOIN entity_fields USING (tenant_id, type)";
    let wrong = format!(
        "SELECT count(*) FROM (SELECT field, number, value FROM entity_keys EXCEPT {expected}) AS extra WHERE value <> ''
         UNION ALL SELECT count(*) FROM ({expected} EXCEPT SELECT field, number, value FROM entity_keys) AS missing
         WHERE typeof(value) <> 'text' OR octet_length(value) <= 200"
    );
    let wrong: Vec<i64> = connection.prepare(&wrong).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(wrong, [0, 0], "{when}");
    assert_eq!(count("SELECT count(*) FROM entity_keys"), count(&format!("SELECT count(*) FROM ({expected})")), "{when}");
}

fn schema() -> Value {
    json!({ "properties": { "value": {}, "state": { "type": "string" }, "rank": { "type": "integer" }, "text": { "type": "string" } } })
}

/// Changes and deletes some records of both types alike.
async fn change(bench: &TestPlatform) {
    bench.clock.advance(1.0);
    for kind in ["keyed", "plain"] {
        let page = bench.get(&format!("/entities/{kind}?limit=200"), &bench.owner()).await.ok();
        for (place, record) in page["items"].as_array().unwrap().iter().enumerate() {
            let path = format!("/entities/{kind}/{}", record["id"].as_str().unwrap());
            match place % 9 {
                1 => drop(bench.put(&path, &bench.owner(), json!({ "data": { "value": "abc", "rank": null } })).await.ok()),
                3 => drop(bench.put(&path, &bench.owner(), json!({ "data": { "state": "closed", "value": 5 } })).await.ok()),
                5 => drop(bench.delete(&path, &bench.owner(), None).await),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn lists_by_keys_are_the_lists_without_them() {
    let bench = TestPlatform::start().await;
    bench.post("/entities", &bench.owner(), json!({ "entityType": "keyed", "schema": schema() })).await.ok();
    for kind in ["keyed", "plain"] {
        for (number, data) in records().into_iter().enumerate() {
            bench.post(&format!("/entities/{kind}"), &bench.owner(), json!({ "data": data })).await.ok();
            if number % 5 == 0 {
                bench.clock.advance(1.0);
            }
        }
    }
    settled(&bench, "inserted").await;
    compare(&bench, "inserted", 1).await;
    change(&bench).await;
    settled(&bench, "changed").await;
    compare(&bench, "changed", 4).await;
    // A record that is older than its number says: a clock was put back.
    database(&bench)
        .execute_batch(
            "INSERT INTO entities (tenant_id, id, type, data, version, created_at, updated_at)
             SELECT tenant_id, 'entity-old-' || name, name, '{\"n\":200,\"state\":\"open\",\"value\":5}', 1, 1000, 1000
             FROM entity_types WHERE name IN ('keyed', 'plain')",
        )
        .unwrap();
    settled(&bench, "out of order").await;
    compare(&bench, "out of order", 2).await;
}

#[tokio::test]
async fn fields_that_are_declared_late_are_read_from_the_records_and_those_that_go_leave_no_keys() {
    let bench = TestPlatform::start().await;
    for kind in ["keyed", "plain"] {
        for data in records() {
            bench.post(&format!("/entities/{kind}"), &bench.owner(), json!({ "data": data })).await.ok();
        }
    }
    let connection = database(&bench);
    // More than are read at once, and all at one moment.
    connection
        .execute_batch(
            "WITH RECURSIVE counter (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < 600)
             INSERT INTO entities (tenant_id, id, type, data, version, created_at, updated_at)
             SELECT tenant_id, 'entity-' || name || n, name, json_object('n', 1000 + n, 'state', 'held', 'rank', n % 13), 1, created_at, created_at
             FROM counter CROSS JOIN entity_types WHERE name IN ('keyed', 'plain') ORDER BY n",
        )
        .unwrap();
    bench.post("/entities", &bench.owner(), json!({ "entityType": "keyed", "schema": schema() })).await.ok();
    change(&bench).await;
    settled(&bench, "declared").await;
    let fields =
        |connection: &Connection| connection.query_row("SELECT count(*) FROM entity_fields", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(fields(&connection), 4);
    for query in ["filter.state=open&sort=-createdAt", "sort=rank", "sort=-value", r#"filter.state=held&filter.rank={"gt":5}"#] {
        assert_eq!(walk(&bench, "keyed", query).await, walk(&bench, "plain", query).await, "{query}");
    }
    // What changed in the moment of a redefinition is read within it, and that may not be many.
    bench.clock.advance(1.0);
    let fewer = json!({ "properties": { "rank": { "type": "integer" }, "n": {} } });
    bench.put("/entities/keyed", &bench.owner(), json!({ "schema": fewer })).await.ok();
    let bench = bench.restart().await;
    settled(&bench, "redefined").await;
    let connection = database(&bench);
    assert_eq!(fields(&connection), 2);
    for query in ["filter.state=open&sort=-n", "sort=rank", "sort=-value", "filter.n=1005"] {
        assert_eq!(walk(&bench, "keyed", query).await, walk(&bench, "plain", query).await, "{query}");
    }
}
