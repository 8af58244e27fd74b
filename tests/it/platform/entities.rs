//! The Internal Data Hub over HTTP: types, records, relationships, queries and search.

use serde_json::{Value, json};

use crate::support::platform::{Reply, TestPlatform};

/// Calls as the owner.
async fn call(bench: &TestPlatform, method: &str, path: &str, body: Option<Value>, headers: &[(&str, &str)]) -> Reply {
    let mut request = bench.request(method.parse().unwrap(), path, &bench.owner());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    bench.send(if let Some(body) = body { request.json(&body) } else { request }).await
}

async fn post(bench: &TestPlatform, path: &str, body: Value) -> (u16, Value) {
    let reply = call(bench, "POST", path, Some(body), &[]).await;
    (reply.status, reply.body)
}

async fn get(bench: &TestPlatform, path: &str) -> (u16, Value) {
    let reply = call(bench, "GET", path, None, &[]).await;
    (reply.status, reply.body)
}

async fn put(bench: &TestPlatform, path: &str, body: Value) -> (u16, Value) {
    let reply = call(bench, "PUT", path, Some(body), &[]).await;
    (reply.status, reply.body)
}

/// Inserts a record and answers its id.
async fn insert(bench: &TestPlatform, kind: &str, body: Value) -> String {
    let (status, entity) = post(bench, &format!("/entities/{kind}"), body).await;
    assert_eq!(status, 201, "{entity}");
    entity["id"].as_str().unwrap().to_owned()
}

fn code(body: &Value) -> &str {
    body["code"].as_str().unwrap_or_default()
}

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["data"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_contracts_example_is_inserted_and_read_back() {
    let bench = TestPlatform::start().await;
    let data = json!({ "name": "Acme Corp", "email": "contact@acme.com", "region": "US-WEST" });
    let reply = call(&bench, "POST", "/entities/customer", Some(json!({ "entityType": "customer", "data": data })), &[]).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    let id = reply.body["id"].as_str().unwrap();
    assert!(id.starts_with("entity-"));
    assert_eq!(reply.headers["location"], format!("/entities/customer/{id}"));
    assert_eq!(reply.headers["etag"], "\"1\"");
    assert_eq!(reply.body["tenantId"], "tenant-local");
    let (status, read) = get(&bench, &format!("/entities/customer/{id}")).await;
    assert_eq!((status, &read), (200, &reply.body));
    assert_eq!(read["data"], data);

    let (status, refused) = post(&bench, "/entities/customer", json!({ "entityType": "order", "data": {} })).await;
    assert_eq!(status, 422, "{refused}");
    let (status, _) = get(&bench, &format!("/entities/order/{id}")).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_defined_type_checks_every_change_of_its_records() {
    let bench = TestPlatform::start().await;
    let schema = json!({
        "type": "object",
        "properties": { "name": { "type": "string" }, "amount": { "type": "number", "minimum": 0 } },
        "required": ["name"],
        "additionalProperties": false,
    });
    let (status, defined) = post(&bench, "/entities", json!({ "entityType": "invoice", "schema": schema })).await;
    assert_eq!((status, &defined["schema"]), (201, &schema));
    let (status, again) = post(&bench, "/entities", json!({ "entityType": "invoice" })).await;
    assert_eq!((status, code(&again)), (409, "FM-IDHS-TYPE-EXISTS"));

    let (status, refused) = post(&bench, "/entities/invoice", json!({ "data": { "amount": -1, "color": "red" } })).await;
    assert_eq!((status, code(&refused)), (422, "FM-IDHS-RECORD-INVALID"));
    let mut pointers: Vec<_> = refused["errors"].as_array().unwrap().iter().map(|fault| fault["pointer"].as_str().unwrap()).collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/data", "/data", "/data/amount"]);

    let id = insert(&bench, "invoice", json!({ "data": { "name": "A", "amount": 5 } })).await;
    let path = format!("/entities/invoice/{id}");
    let (status, changed) = put(&bench, &path, json!({ "data": { "amount": null } })).await;
    assert_eq!((status, &changed["data"], &changed["version"]), (200, &json!({ "name": "A" }), &json!(2)));
    let (status, refused) = put(&bench, &path, json!({ "data": { "name": null } })).await;
    assert_eq!((status, code(&refused)), (422, "FM-IDHS-RECORD-INVALID"));
    assert_eq!(get(&bench, &path).await.1, changed, "a refused change leaves nothing behind");
}

#[tokio::test]
async fn a_schema_comes_late_only_if_the_records_keep_to_it() {
    let bench = TestPlatform::start().await;
    let id = insert(&bench, "part", json!({ "data": { "weight": "heavy" } })).await;
    let schema = json!({ "properties": { "weight": { "type": "number" } } });
    let (status, refused) = post(&bench, "/entities", json!({ "entityType": "part", "schema": schema })).await;
    assert_eq!((status, code(&refused)), (409, "FM-IDHS-RECORDS-DO-NOT-FIT"));
    assert!(refused["detail"].as_str().unwrap().contains(&id));
    put(&bench, &format!("/entities/part/{id}"), json!({ "data": { "weight": 5 } })).await;
    let (status, defined) = post(&bench, "/entities", json!({ "entityType": "part", "schema": schema })).await;
    assert_eq!(status, 201, "{defined}");
    let (status, _) = post(&bench, "/entities/part", json!({ "data": { "weight": "light" } })).await;
    assert_eq!(status, 422);
}

#[tokio::test]
async fn names_and_schemas_that_cannot_be_are_refused() {
    let bench = TestPlatform::start().await;
    for name in ["search", "Customer", "a b", "1a", "a/b", "é", "_a", "-"] {
        let (status, refused) = post(&bench, "/entities", json!({ "entityType": name })).await;
        assert_eq!((status, code(&refused)), (422, "FM-IDHS-TYPE-NAME"), "{name}");
    }
    let (status, refused) = post(&bench, "/entities/Not%20A%20Type", json!({ "data": {} })).await;
    assert_eq!((status, code(&refused)), (422, "FM-IDHS-TYPE-NAME"));
    for (schema, pointer) in [
        (json!({ "properties": { "a": { "$ref": "http://127.0.0.1:1/schema.json" } } }), "/schema/properties/a/$ref"),
        (json!({ "properties": { "a": { "type": "strng" } } }), "/schema/properties/a/type"),
        (json!({ "properties": { "child": { "$ref": "#" } } }), "/schema/properties/child/$ref"),
    ] {
        let (status, refused) = post(&bench, "/entities", json!({ "entityType": "thing", "schema": schema })).await;
        assert_eq!((status, code(&refused)), (422, "FM-IDHS-SCHEMA"), "{schema}");
        assert_eq!(refused["errors"][0]["pointer"], pointer);
    }
    let (status, refused) = get(&bench, "/entities/thing").await;
    assert_eq!((status, code(&refused)), (404, "FM-IDHS-TYPE-NOT-FOUND"), "a refused definition leaves nothing behind");
    insert(&bench, "customer", json!({ "data": {} })).await;
    let (_, refused) = get(&bench, "/entities/custmer").await;
    assert!(refused["detail"].as_str().unwrap().contains("Did you mean `customer`?"), "{refused}");
}

#[tokio::test]
async fn a_stale_writer_is_refused() {
    let bench = TestPlatform::start().await;
    let id = insert(&bench, "customer", json!({ "data": { "name": "A" } })).await;
    let path = format!("/entities/customer/{id}");
    let first = call(&bench, "PUT", &path, Some(json!({ "data": { "name": "B" } })), &[("if-match", "\"1\"")]).await;
    assert_eq!((first.status, &first.headers["etag"]), (200, &"\"2\"".parse().unwrap()));
    let stale = call(&bench, "PUT", &path, Some(json!({ "data": { "name": "C" } })), &[("if-match", "\"1\"")]).await;
    assert_eq!(stale.status, 412);
    assert_eq!(call(&bench, "DELETE", &path, None, &[("if-match", "\"1\"")]).await.status, 412);
    let same = call(&bench, "PUT", &path, Some(json!({ "data": { "name": "B" } })), &[]).await;
    assert_eq!((same.status, &same.body["version"]), (200, &json!(2)), "what changes nothing is not a version");
    assert_eq!(call(&bench, "DELETE", &path, None, &[("if-match", "\"2\"")]).await.status, 204);
    assert_eq!(get(&bench, &path).await.0, 404);
    let (status, refused) = put(&bench, &path, json!({})).await;
    assert_eq!((status, code(&refused)), (422, "FM-IDHS-NOTHING-TO-CHANGE"));
}

#[tokio::test]
async fn what_is_referred_to_exists_and_stays() {
    let bench = TestPlatform::start().await;
    let anna = insert(&bench, "person", json!({ "data": { "name": "Anna" } })).await;
    let ben = insert(&bench, "person", json!({ "data": { "name": "Ben" } })).await;
    let acme = insert(&bench, "customer", json!({ "data": {}, "relationships": { "contacts": [anna, ben], "owner": anna } })).await;
    let path = format!("/entities/customer/{acme}");
    assert_eq!(get(&bench, &path).await.1["relationships"], json!({ "contacts": [anna, ben], "owner": [anna] }));

    let (status, refused) = put(&bench, &path, json!({ "relationships": { "owner": [ben, "entity-none"] } })).await;
    assert_eq!((status, code(&refused)), (422, "FM-IDHS-RELATIONSHIP"));
    assert_eq!(refused["errors"][0]["pointer"], "/relationships/owner/1");
    let (status, refused) = post(&bench, "/entities/customer", json!({ "data": {}, "relationships": { "x": "entity-none" } })).await;
    assert_eq!((status, code(&refused)), (422, "FM-IDHS-RELATIONSHIP"));
    let (_, all) = get(&bench, "/entities/customer").await;
    assert_eq!(all["items"].as_array().unwrap().len(), 1, "a refused record leaves nothing behind");

    let refused = call(&bench, "DELETE", &format!("/entities/person/{anna}"), None, &[]).await;
    assert_eq!((refused.status, code(&refused.body)), (409, "FM-IDHS-REFERENCED"));
    assert!(refused.body["detail"].as_str().unwrap().contains(&acme));
    let (status, changed) = put(&bench, &path, json!({ "relationships": { "contacts": [ben], "owner": null } })).await;
    assert_eq!((status, &changed["relationships"]), (200, &json!({ "contacts": [ben] })));
    assert_eq!(call(&bench, "DELETE", &format!("/entities/person/{anna}"), None, &[]).await.status, 204);

    put(&bench, &path, json!({ "relationships": { "contacts": [], "self": acme } })).await;
    assert_eq!(call(&bench, "DELETE", &path, None, &[]).await.status, 204, "a record that only refers to itself is free");
    assert_eq!(call(&bench, "DELETE", &format!("/entities/person/{ben}"), None, &[]).await.status, 204);
}

#[tokio::test]
async fn records_are_found_by_the_values_of_their_fields() {
    let bench = TestPlatform::start().await;
    for data in [
        json!({ "name": "a", "region": "US-WEST", "size": 5, "active": true, "address": { "city": "Bonn" } }),
        json!({ "name": "b", "region": "EU", "size": "5", "active": "true" }),
        json!({ "name": "c", "region": "EU", "size": 50, "active": false, "note": "x=1&y,z" }),
    ] {
        insert(&bench, "customer", json!({ "data": data })).await;
    }
    for (query, expected) in [
        ("", vec!["a", "b", "c"]),
        ("filter.region=EU", vec!["b", "c"]),
        ("filter.size=5", vec!["a", "b"]),
        ("filter.size=5.0", vec!["a"]),
        ("filter.active=true", vec!["a", "b"]),
        ("filter.active=false", vec!["c"]),
        ("filter.region=EU&filter.size=50", vec!["c"]),
        ("filter.address.city=Bonn", vec!["a"]),
        ("filter.note=x%3D1%26y%2Cz", vec!["c"]),
        ("filter.note=null", vec!["a", "b"]),
        ("filter.region=%27%20OR%201%3D1--", vec![]),
        ("filter.nothing=1", vec![]),
    ] {
        let (status, page) = get(&bench, &format!("/entities/customer?{query}")).await;
        assert_eq!((status, names(&page)), (200, expected), "{query}");
    }
    let (status, refused) = get(&bench, "/entities/customer?filter.a%22b=1").await;
    assert_eq!((status, code(&refused)), (422, "FM-IDHS-QUERY"));
}

#[tokio::test]
async fn lists_are_sorted_and_paged_without_gaps() {
    let bench = TestPlatform::start().await;
    for (name, rank) in
        [("a", json!(10)), ("b", json!("ten")), ("c", json!(9.5)), ("d", Value::Null), ("e", json!(10)), ("f", json!("nine"))]
    {
        insert(&bench, "item", json!({ "data": { "name": name, "rank": rank } })).await;
    }
    for (sort, expected) in [
        ("rank", ["d", "c", "a", "e", "f", "b"]),
        ("-rank", ["b", "f", "e", "a", "c", "d"]),
        ("name", ["a", "b", "c", "d", "e", "f"]),
        ("-createdAt", ["f", "e", "d", "c", "b", "a"]),
        ("updatedAt", ["a", "b", "c", "d", "e", "f"]),
        ("rank,-name", ["d", "c", "e", "a", "f", "b"]),
        ("-rank,name", ["b", "f", "a", "e", "c", "d"]),
    ] {
        let mut seen: Vec<String> = Vec::new();
        let mut cursor = String::new();
        loop {
            let (status, page) = get(&bench, &format!("/entities/item?limit=2&sort={sort}{cursor}")).await;
            assert_eq!(status, 200, "{page}");
            seen.extend(names(&page).into_iter().map(str::to_owned));
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, expected, "{sort}");
    }
    let (_, page) = get(&bench, "/entities/item?limit=2&sort=name").await;
    let cursor = page["nextCursor"].as_str().unwrap();
    let (status, refused) = get(&bench, &format!("/entities/item?limit=2&sort=rank&cursor={cursor}")).await;
    assert_eq!((status, code(&refused)), (422, "FM-AGS-CURSOR"));
    let (status, refused) = get(&bench, "/entities/item?cursor=bm9uc2Vuc2U").await;
    assert_eq!((status, code(&refused)), (422, "FM-AGS-CURSOR"));
}

#[tokio::test]
async fn words_are_found_whatever_they_look_like() {
    let bench = TestPlatform::start().await;
    let acme = insert(
        &bench,
        "customer",
        json!({ "data": { "name": "Acme Corp", "email": "contact@acme.com", "deep": [{ "note": "Café 42" }] } }),
    )
    .await;
    insert(&bench, "supplier", json!({ "data": { "name": "Bolt NEAR \"Acme\" OR", "email": "x@bolt.io" } })).await;
    let found = async |body: Value| {
        let (status, page) = post(&bench, "/entities/search", body).await;
        assert_eq!(status, 200, "{page}");
        names(&page).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(found(json!({ "query": "contact@acme.com" })).await, ["Acme Corp"]);
    assert_eq!(found(json!({ "query": "corp acme" })).await, ["Acme Corp"]);
    assert_eq!(found(json!({ "query": "cafe 42" })).await, ["Acme Corp"]);
    assert_eq!(found(json!({ "query": "acme bolt" })).await, ["Bolt NEAR \"Acme\" OR"]);
    assert_eq!(found(json!({ "query": "acme", "entityTypes": ["supplier"] })).await, ["Bolt NEAR \"Acme\" OR"]);
    assert_eq!(found(json!({ "query": "cont" })).await, ["Acme Corp"], "beginnings count where no whole word does");
    assert!(found(json!({ "query": "acme missing" })).await.is_empty());
    for syntax in
        ["acme AND (", "\"", "a* OR", "words:acme", "NEAR(acme corp)", "^acme", "acme -corp", "{words} : x", "'; DROP TABLE entities;--"]
    {
        let (status, _) = post(&bench, "/entities/search", json!({ "query": syntax })).await;
        assert!(status == 200 || status == 422, "{syntax}");
    }
    let (status, refused) = post(&bench, "/entities/search", json!({ "query": "\"*" })).await;
    assert_eq!((status, code(&refused)), (422, "FM-IDHS-QUERY"));

    put(&bench, &format!("/entities/customer/{acme}"), json!({ "data": { "name": "Zenith", "email": null } })).await;
    assert!(found(json!({ "query": "contact@acme.com" })).await.is_empty(), "words that are gone are not found");
    assert_eq!(found(json!({ "query": "zenith" })).await, ["Zenith"]);
    call(&bench, "DELETE", &format!("/entities/customer/{acme}"), None, &[]).await;
    assert!(found(json!({ "query": "zenith" })).await.is_empty());
}

#[tokio::test]
async fn words_are_found_in_every_script_and_without_diacritics() {
    let bench = TestPlatform::start().await;
    for (name, text) in [
        ("zh", "北京测试有限公司用于全文搜索"),
        ("ja", "サンドボックス修正テスト"),
        ("ko", "대한민국 주식회사"),
        ("th", "การทดสอบภาษาไทย"),
        ("el", "Ελληνικά κείμενο"),
        ("vi", "Nguyễn Văn"),
    ] {
        insert(&bench, "note", json!({ "data": { "name": name, "text": text } })).await;
    }
    for (query, found) in [
        ("测试", "zh"),
        ("搜索", "zh"),
        ("修正", "ja"),
        ("テスト", "ja"),
        ("민국", "ko"),
        ("ทดสอบ", "th"),
        ("ελληνικα", "el"),
        ("ΚΕΊΜΕΝΟ", "el"),
        ("nguyen", "vi"),
    ] {
        let (_, answer) = post(&bench, "/entities/search", json!({ "query": query })).await;
        assert_eq!(names(&answer), [found], "{query}");
    }
    let (_, answer) = post(&bench, "/entities/search", json!({ "query": "试测" })).await;
    assert!(names(&answer).is_empty(), "letters are found in their order");
}

#[tokio::test]
async fn a_number_that_would_be_rounded_is_rejected() {
    let bench = TestPlatform::start().await;
    let body = r#"{"data":{"n":12345678901234567890123}}"#;
    let request = bench.request(reqwest::Method::POST, "/entities/t", &bench.owner()).header("content-type", "application/json").body(body);
    let refused = bench.send(request).await;
    assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("/data/n")), "{refused:?}");
}

#[tokio::test]
async fn a_search_is_paged() {
    let bench = TestPlatform::start().await;
    for number in 0..5 {
        insert(&bench, "note", json!({ "data": { "name": format!("n{number}"), "text": "the same words" } })).await;
    }
    let (_, first) = post(&bench, "/entities/search", json!({ "query": "same", "limit": 3 })).await;
    let cursor = first["nextCursor"].as_str().unwrap();
    let (_, second) = post(&bench, "/entities/search", json!({ "query": "same", "limit": 3, "cursor": cursor })).await;
    let mut all = [names(&first), names(&second)].concat();
    all.sort_unstable();
    assert_eq!(all, ["n0", "n1", "n2", "n3", "n4"]);
    assert_eq!(second["nextCursor"], Value::Null);
}

#[tokio::test]
async fn of_very_many_records_with_a_word_the_newest_come_first_and_all_are_reached() {
    let bench = TestPlatform::start().await;
    for name in ["a", "b", "c"] {
        let text = if name == "b" { "common rare rare rare" } else { "common rare among other words" };
        insert(&bench, "note", json!({ "data": { "name": name, "text": text } })).await;
    }
    let connection = rusqlite::Connection::open(bench.folder.path().join("data/platform.db")).unwrap();
    connection
        .execute_batch(
            "CREATE TEMP TABLE numbers AS WITH RECURSIVE counter (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < 1100) SELECT n FROM counter;
             INSERT INTO entities (number, tenant_id, id, type, data, version, created_at, updated_at)
             SELECT 1000 + n, tenant_id, 'entity-' || n, type, json_object('name', 'n' || n), 1, created_at, updated_at
             FROM numbers CROSS JOIN (SELECT * FROM entities LIMIT 1) ORDER BY n;
             INSERT INTO entity_words (rowid, scope, words)
             SELECT 1000 + n, 't' || hex(tenant_id) || ' k' || hex(type), 'common' FROM numbers CROSS JOIN (SELECT * FROM entities LIMIT 1);",
        )
        .unwrap();
    let walk = async |words: &str, kind: Option<&str>| {
        let (mut seen, mut cursor) = (Vec::new(), Value::Null);
        loop {
            let mut body = json!({ "query": words, "limit": 200 });
            if let Some(kind) = kind {
                body["entityTypes"] = json!([kind]);
            }
            if !cursor.is_null() {
                body["cursor"] = cursor;
            }
            let (status, page) = post(&bench, "/entities/search", body).await;
            assert_eq!(status, 200, "{page}");
            seen.extend(names(&page).into_iter().map(str::to_owned));
            cursor = page["nextCursor"].clone();
            if cursor.is_null() {
                return seen;
            }
        }
    };
    let newest: Vec<String> = (1..=1100).rev().map(|n| format!("n{n}")).chain(["c", "b", "a"].map(str::to_owned)).collect();
    assert_eq!(walk("common", None).await, newest);
    assert_eq!(walk("common", Some("note")).await, newest);
    assert_eq!(walk("common rare", None).await, ["b", "a", "c"]);
    // What other tenants and types have does not count.
    insert(&bench, "memo", json!({ "data": { "name": "m", "text": "common" } })).await;
    assert_eq!(walk("common", Some("memo")).await, ["m"]);
    let stranger = bench.signed_in("tenant-b", "eve", &["entity:*"]).await;
    for text in ["common and more words", "common common"] {
        bench.post("/entities/note", &stranger, json!({ "data": { "name": text } })).await.ok();
    }
    let found = bench.post("/entities/search", &stranger, json!({ "query": "common" })).await.ok();
    assert_eq!(names(&found), ["common common", "common and more words"]);
}

#[tokio::test]
async fn whatever_json_holds_is_kept_as_it_came() {
    let bench = TestPlatform::start().await;
    let data = json!({
        "": 1, "a.b": { "c": [null, true, 1.5e300, -0.25, i64::MIN, u64::MAX] }, "nul": "a\u{0}b", "quote\"d": "\\", "name": "\u{1F600} é",
    });
    let id = insert(&bench, "odd", json!({ "data": data })).await;
    assert_eq!(get(&bench, &format!("/entities/odd/{id}")).await.1["data"], data);
    let (status, page) = post(&bench, "/entities/search", json!({ "query": "\u{1F600} é a\u{0}b" })).await;
    assert_eq!(status, 200, "{page}");
    for id in ["entity-1%2F..", "..%2F..", "%2e%2e", "a%20b", "%00", &"x".repeat(10_000)] {
        let status = get(&bench, &format!("/entities/odd/{id}")).await.0;
        assert!((400..500).contains(&status), "{id}: {status}");
    }
}

#[tokio::test]
async fn a_tenants_records_are_its_own() {
    let bench = TestPlatform::start().await;
    let id = insert(&bench, "customer", json!({ "data": { "name": "Acme Corp" } })).await;
    let (_, page) = get(&bench, "/entities/customer?limit=1").await;
    assert_eq!(names(&page), ["Acme Corp"]);
    insert(&bench, "customer", json!({ "data": { "name": "Other" } })).await;
    let cursor = text(&get(&bench, "/entities/customer?limit=1").await.1["nextCursor"]);

    let stranger = bench.signed_in("tenant-b", "eve", &["entity:*"]).await;
    let path = format!("/entities/customer/{id}");
    bench.get("/entities/customer", &stranger).await.refused(404, "FM-IDHS-TYPE-NOT-FOUND");
    let own = bench.post("/entities/customer", &stranger, json!({ "data": { "name": "Mine" } })).await.ok();
    assert_eq!(own["tenantId"], "tenant-b");
    bench.get(&path, &stranger).await.refused(404, "FM-IDHS-NOT-FOUND");
    bench.put(&path, &stranger, json!({ "data": { "name": "X" } })).await.refused(404, "FM-IDHS-NOT-FOUND");
    bench.delete(&path, &stranger, None).await.refused(404, "FM-IDHS-NOT-FOUND");
    let link = json!({ "data": {}, "relationships": { "parent": id } });
    bench.post("/entities/customer", &stranger, link).await.refused(422, "FM-IDHS-RELATIONSHIP");
    assert_eq!(names(&bench.get("/entities/customer", &stranger).await.ok()), ["Mine"]);
    let found = bench.post("/entities/search", &stranger, json!({ "query": "acme" })).await.ok();
    assert_eq!(found["items"], json!([]));
    bench.get(&format!("/entities/customer?limit=1&cursor={cursor}"), &stranger).await.refused(422, "FM-AGS-CURSOR");
    let foreign = json!({ "data": {}, "tenantId": "tenant-local" });
    bench.post("/entities/customer", &stranger, foreign).await.refused(403, "FM-AAS-TENANT-MISMATCH");

    let reader = bench.signed_in("tenant-b", "rob", &["entity:view"]).await;
    bench.post("/entities/customer", &reader, json!({ "data": {} })).await.refused(403, "FM-AAS-FORBIDDEN");
}

#[tokio::test]
async fn a_change_leaves_an_event_and_a_row_that_name_fields_and_no_values() {
    let bench = TestPlatform::start().await;
    let id = insert(&bench, "person", json!({ "data": { "name": "Anna Secret", "mail": "anna@secret.example" } })).await;
    put(&bench, &format!("/entities/person/{id}"), json!({ "data": { "mail": null, "phone": "555-0199" } })).await;
    bench.delete(&format!("/entities/person/{id}"), &bench.owner(), None).await;
    let (_, page) = get(&bench, &format!("/audit-logs?resourceId={id}")).await;
    let mut rows: Vec<&Value> = page["items"].as_array().unwrap().iter().collect();
    rows.sort_by_key(|row| row["sequence"].as_u64());
    let told: Vec<_> = rows.iter().map(|row| (row["action"].as_str().unwrap(), &row["changes"])).collect();
    assert_eq!(
        told,
        [
            ("entity.inserted", &json!({ "after": { "version": 1, "fields": ["name", "mail"] } })),
            ("entity.updated", &json!({ "before": { "version": 1, "fields": ["mail"] }, "after": { "version": 2, "fields": ["phone"] } })),
            ("entity.deleted", &json!({ "before": { "version": 2, "fields": ["name", "phone"] } })),
        ]
    );
    let (_, events) = get(&bench, "/events/replay?topic=entity.*").await;
    let topics: Vec<_> = events["items"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(topics, ["entity.inserted", "entity.updated", "entity.deleted"]);
    for value in ["Secret", "secret.example", "555-0199"] {
        assert!(!page.to_string().contains(value) && !events.to_string().contains(value), "{value}");
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn fields_that_a_closed_schema_lacks_are_not_filtered_or_sorted_by() {
    let bench = TestPlatform::start().await;
    let schema = json!({ "type": "object", "properties": { "name": { "type": "string" }, "address": { "type": "object" } }, "additionalProperties": false });
    let (status, made) = post(&bench, "/entities", json!({ "entityType": "customer", "schema": schema })).await;
    assert_eq!(status, 201, "{made}");
    insert(&bench, "customer", json!({ "data": { "name": "Acme", "address": { "city": "Rome" } } })).await;
    for query in ["filter.nmae=Acme", "sort=-nmae", "sort=name,city"] {
        let (status, refused) = get(&bench, &format!("/entities/customer?{query}")).await;
        assert_eq!(status, 422, "{query}: {refused}");
        assert!(refused["errors"][0]["detail"].as_str().unwrap().contains("Its fields are name, address"), "{refused}");
    }
    let (status, page) = get(&bench, "/entities/customer?filter.address.city=Rome&sort=name,-createdAt").await;
    assert_eq!((status, page["items"].as_array().unwrap().len()), (200, 1), "{page}");
}

#[tokio::test]
async fn a_record_that_costs_too_much_against_its_schema_is_refused() {
    let bench = TestPlatform::start().await;
    let alternatives: Vec<Value> = (0..2_000).map(|number| json!({ "const": number })).collect();
    let schema = json!({ "properties": { "list": { "items": { "anyOf": alternatives } } } });
    let (status, answer) = post(&bench, "/entities", json!({ "entityType": "many", "schema": schema })).await;
    assert_eq!(status, 201, "{answer}");
    let (status, answer) = post(&bench, "/entities/many", json!({ "data": { "list": vec!["x"; 9_000] } })).await;
    assert_eq!((status, code(&answer)), (422, "FM-IDHS-RECORD-COSTLY"), "{answer}");
    let (status, answer) = post(&bench, "/entities/many", json!({ "data": { "list": ["x", "y"] } })).await;
    assert_eq!((status, code(&answer), &answer["errors"][0]["pointer"]), (422, "FM-IDHS-RECORD-INVALID", &json!("/data/list/0")));
    insert(&bench, "many", json!({ "data": { "list": [5, 7] } })).await;
}

#[tokio::test]
async fn a_body_of_too_many_values_is_refused() {
    let bench = TestPlatform::start().await;
    let (status, answer) = post(&bench, "/entities/customer", json!({ "data": { "list": vec![0; 300_000] } })).await;
    assert_eq!((status, code(&answer)), (413, "FM-AGS-TOO-LARGE"));
    assert!(answer.to_string().contains("JSON values"), "{answer}");
}

#[tokio::test]
async fn a_page_of_large_records_ends_early_and_goes_on() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    for number in 0..6 {
        let data = json!({ "number": number, "text": format!("word {}", "x".repeat(400_000)) });
        platform.post("/entities/sheet", &owner, json!({ "data": data })).await.ok();
    }
    let numbers = |page: &Value| -> Vec<u64> {
        page["items"].as_array().unwrap().iter().map(|record| record["data"]["number"].as_u64().unwrap()).collect()
    };
    let (mut seen, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let page = platform.get(&format!("/entities/sheet?sort=number&limit=200{cursor}"), &owner).await.ok();
        seen.extend(numbers(&page));
        pages += 1;
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!((seen, pages), ((0..6).collect::<Vec<_>>(), 3));
    let found = platform.post("/entities/search", &owner, json!({ "query": "word", "limit": 200 })).await.ok();
    assert_eq!(numbers(&found).len(), 2);
    assert!(found["nextCursor"].is_string(), "there are more");
}
