//! Imports of PostgreSQL, from a server of the test's own.

use serde_json::{Value, json};

use super::{counts, create, data, run, start, until, until_is};
use crate::support::platform::TestPlatform;
use crate::support::postgres::{PASSWORD, Postgres};

pub(super) fn config(server: &Postgres, mut read: Value) -> Value {
    for (name, value) in [("host", json!("127.0.0.1")), ("port", json!(server.port)), ("database", json!("postgres"))] {
        read[name] = value;
    }
    read
}

pub(super) fn job(server: &Postgres, read: Value) -> Value {
    json!({
        "sourceType": "postgresql", "sourceConfig": config(server, read), "destination": "internal-data-hub",
        "credentials": { "username": "tester", "password": PASSWORD },
    })
}

#[tokio::test]
async fn the_contracts_query_copies_changed_rows_alone() {
    let Some(server) = Postgres::start() else { return };
    let bench = TestPlatform::start().await;
    server.sql(
        "CREATE TABLE customers (id int PRIMARY KEY, name text, rate numeric, note text, updated_at timestamptz NOT NULL);
         INSERT INTO customers VALUES (1, 'Acme', 0.25, NULL, '2026-01-01T10:00:00.123456Z'), (2, 'Globex', 12345678901234567890.5, 'x', '2026-01-02Z')",
    );
    let mut request = job(&server, json!({ "query": "SELECT * FROM customers WHERE updated_at > ?" }));
    request["cdcEnabled"] = json!(true);
    request["schedule"] = json!("0 0 * * *");
    let job = create(&bench, request).await;
    assert_eq!(bench.get(&job, &bench.owner()).await.ok()["entityType"], "customers");
    let first = run(&bench, &job).await;
    assert_eq!((counts(&first), &first["reconciled"]), ((2, 2, 0), &json!(true)));
    assert_eq!(first["watermark"], "2026-01-02 00:00:00+00");
    let found = data(&bench, "customers").await;
    assert_eq!((&found[0]["rate"], &found[0]["note"]), (&json!(0.25), &Value::Null));
    assert_eq!(found[1]["rate"], "12345678901234567890.5", "a number that would be rounded stays a text");
    server.sql(
        "UPDATE customers SET name = 'Acme Corp', updated_at = '2026-01-03Z' WHERE id = 1;
         INSERT INTO customers VALUES (3, 'Initech', 1, NULL, '2026-01-04T00:00:00.5Z')",
    );
    let second = run(&bench, &job).await;
    assert_eq!((counts(&second), &second["watermark"]), ((2, 2, 0), &json!("2026-01-04 00:00:00.5+00")));
    let names: Vec<Value> = data(&bench, "customers").await.iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names, ["Acme Corp", "Globex", "Initech"]);
    assert_eq!(counts(&run(&bench, &job).await), (0, 0, 0));
}

#[tokio::test]
async fn a_database_is_read_only_by_its_sign_in_and_one_statement() {
    let Some(server) = Postgres::start() else { return };
    let bench = TestPlatform::start().await;
    server.sql(
        "CREATE TABLE orders (id int, total int); INSERT INTO orders SELECT g, g FROM generate_series(1, 1200) g;
         INSERT INTO orders VALUES (NULL, 5); CREATE SEQUENCE counter",
    );
    let all = create(&bench, job(&server, json!({ "table": "orders" }))).await;
    let stats = run(&bench, &all).await;
    assert_eq!((counts(&stats), &stats["reconciled"]), ((1201, 1200, 1), &json!(true)));

    for (query, code) in [
        ("SELECT nextval('counter') AS id", "FM-DCS-SOURCE"),
        ("SELECT 1 AS id) AS q; DROP TABLE orders; --", "FM-DCS-SOURCE"),
        ("DELETE FROM orders RETURNING id", "FM-DCS-SOURCE"),
        ("SELECT id FROM nothing", "FM-DCS-SOURCE"),
    ] {
        let mut request = job(&server, json!({ "query": query }));
        request["entityType"] = json!("attempt");
        let attempt = create(&bench, request).await;
        start(&bench, &attempt).await;
        until_is(&bench, &attempt, "failed").await;
        let shown = bench.get(&attempt, &bench.owner()).await.ok();
        assert!(shown["error"].as_str().unwrap().starts_with(&format!("{code}: ")), "{query}: {}", shown["error"]);
    }
    assert_eq!(server.sql("SELECT count(*) FROM orders"), "1201");
    assert_eq!(server.sql("SELECT is_called FROM counter"), "f");

    let test = json!({
        "sourceType": "postgresql", "sourceConfig": config(&server, json!({ "query": "SELECT id, total FROM orders" })),
        "credentials": { "username": "tester", "password": PASSWORD },
    });
    let tried = bench.post("/ingest/test-connection", &bench.owner(), test.clone()).await.ok();
    assert_eq!((&tried["connected"], &tried["columns"]), (&json!(true), &json!(["id", "total"])));
    let mut wrong = test.clone();
    wrong["credentials"]["password"] = json!("another-word");
    let tried = bench.post("/ingest/test-connection", &bench.owner(), wrong).await.ok();
    assert_eq!(tried["connected"], false);
    let said = tried["error"].as_str().unwrap();
    assert!(said.starts_with("FM-DCS-CREDENTIALS") && !said.contains("another-word"), "{said}");

    server.stop();
    start(&bench, &all).await;
    let put_off = |shown: &Value, _: &Value| shown["error"].as_str().is_some_and(|error| error.starts_with("FM-DCS-SOURCE-UNAVAILABLE"));
    until(&bench, &all, "put off", put_off).await;
}

#[tokio::test]
async fn a_host_that_the_operator_allows_is_accepted() {
    let example = json!({
        "sourceType": "postgresql",
        "sourceConfig": {
            "host": "db.example.com", "database": "sales_db", "query": "SELECT * FROM customers WHERE updated_at > ?",
        },
        "destination": "internal-data-hub", "schedule": "0 0 * * *", "cdcEnabled": true,
    });
    let bench = TestPlatform::start().await;
    bench.post("/ingest/jobs", &bench.owner(), example.clone()).await.refused(422, "FM-DCS-HOST");
    let bench = TestPlatform::start_with(|options| options.webhooks.hosts = vec!["db.example.com".to_owned()]).await;
    let created = bench.post("/ingest/jobs", &bench.owner(), example.clone()).await;
    assert_eq!(created.status, 201);
    for (field, value) in example.as_object().unwrap() {
        assert_eq!(&created.body[field], value, "{field}");
    }
}
