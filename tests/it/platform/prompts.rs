//! Prompt Engineering over HTTP: drafts, validation, typed assembly, publication and its contract of samples.

use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use crate::support::platform::{Reply, TestPlatform};

/// The contract's example, as it stands there.
pub fn contract_example() -> Value {
    json!({
        "name": "Customer Analysis",
        "template": "Analyze the following customer data: {{customer_data}}. Provide recommendations for {{interaction_type}}.",
        "variables": [
            { "name": "customer_data", "type": "object", "required": true },
            { "name": "interaction_type", "type": "string", "required": true }
        ],
        "tags": ["analysis", "customer_engagement"]
    })
}

/// Creates a prompt and answers its path.
pub async fn create(bench: &TestPlatform, prompt: Value) -> String {
    let created = bench.post("/prompts", &bench.owner(), prompt).await.ok();
    format!("/prompts/{}", created["promptId"].as_str().unwrap())
}

/// Posts to a route below a prompt.
async fn post(bench: &TestPlatform, prompt: &str, verb: &str, body: Value) -> Reply {
    bench.post(&format!("{prompt}/{verb}"), &bench.owner(), body).await
}

/// Creates and publishes a prompt, and answers its path.
pub async fn published(bench: &TestPlatform, prompt: Value) -> String {
    let path = create(bench, prompt).await;
    post(bench, &path, "publish", json!({})).await.ok();
    path
}

fn codes(findings: &Value) -> Vec<(&str, &str)> {
    findings.as_array().unwrap().iter().map(|f| (f["code"].as_str().unwrap(), f["variable"].as_str().unwrap_or_default())).collect()
}

fn faults(problem: &Value) -> Vec<(&str, &str)> {
    problem["errors"].as_array().unwrap().iter().map(|f| (f["pointer"].as_str().unwrap(), f["code"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn the_contracts_prompt_is_created_published_and_assembled() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let created = bench.post("/prompts", &owner, contract_example()).await;
    assert_eq!(created.status, 201, "{:#}", created.body);
    let path = format!("/prompts/{}", created.body["promptId"].as_str().unwrap());
    assert_eq!((&created.headers["location"], &created.headers["etag"]), (&path.parse().unwrap(), &"\"1.0.0-draft\"".parse().unwrap()));
    assert_eq!((&created.body["version"], &created.body["status"]), (&json!("1.0.0"), &json!("draft")));
    let checked = post(&bench, &path, "validate", json!({})).await.ok();
    assert_eq!((&checked["valid"], &checked["errors"], &checked["warnings"]), (&json!(true), &json!([]), &json!([])));

    let values = json!({ "customer_data": { "name": "Ada", "tier": 1 }, "interaction_type": "upsell" });
    post(&bench, &path, "assemble", json!({ "variables": values })).await.refused(409, "FM-PES-NOT-PUBLISHED");
    let published = post(&bench, &path, "publish", json!({ "version": "1.2.0" })).await.ok();
    assert_eq!((&published["version"], &published["status"]), (&json!("1.2.0"), &json!("published")));
    assert!(published["publishedAt"].is_string() && published["changes"].is_null(), "{published:#}");
    let assembled = post(&bench, &path, "assemble", json!({ "variables": values })).await.ok();
    assert_eq!(
        assembled,
        json!({
            "promptId": created.body["promptId"], "version": "1.2.0", "variables": values,
            "assembled": "Analyze the following customer data: {\"name\":\"Ada\",\"tier\":1}. Provide recommendations for upsell.",
        })
    );
    let events = bench.get("/events/replay?topic=prompt.*", &owner).await.ok();
    assert_eq!(events["items"][0]["data"]["version"], "1.2.0", "{events:#}");
    assert_eq!(events["items"][0]["source"], "/services/prompt-engineering");
    let trail = bench.get(&format!("/audit-logs?resourceId={}", created.body["promptId"].as_str().unwrap()), &owner).await.ok();
    let actions: Vec<&str> = trail["items"].as_array().unwrap().iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["prompt.published", "prompt.created"]);
}

#[tokio::test]
async fn declared_types_decide_which_values_are_inserted() {
    let bench = TestPlatform::start().await;
    let path = published(
        &bench,
        json!({
            "name": "Offer", "template": "{{ who }}|{{count}}|{{rate}}|{{urgent}}|{{items}}|{{note}}",
            "variables": [
                { "name": "who", "type": "string" }, { "name": "count", "type": "integer" }, { "name": "rate", "type": "number" },
                { "name": "urgent", "type": "boolean" }, { "name": "items", "type": "array" }, { "name": "note", "required": false }
            ]
        }),
    )
    .await;
    let values = json!({ "who": "{{count}}", "count": 3, "rate": 0.5, "urgent": true, "items": [1, { "a": "b" }], "note": null });
    let text = post(&bench, &path, "assemble", json!({ "variables": values })).await.ok();
    assert_eq!(text["assembled"], "{{count}}|3|0.5|true|[1,{\"a\":\"b\"}]|", "values are never read as templates");

    let wrong = json!({ "who": 5, "count": 3.5, "rate": "half", "items": {}, "count_": 1, "urgent": null });
    let refused = post(&bench, &path, "assemble", json!({ "variables": wrong })).await.refused(422, "FM-PES-VARIABLES");
    let told = [
        ("/variables/urgent", "required"),
        ("/variables/who", "type"),
        ("/variables/count", "type"),
        ("/variables/rate", "type"),
        ("/variables/items", "type"),
        ("/variables/count_", "unknown"),
    ];
    assert_eq!(faults(&refused), told, "{refused:#}");
    let checked = post(&bench, &path, "validate", json!({ "variables": wrong })).await.ok();
    assert_eq!(checked["valid"], false);
    assert_eq!(codes(&checked["errors"])[0], ("MISSING_VALUE", "urgent"));
    assert_eq!(codes(&checked["errors"])[5], ("UNKNOWN_VALUE", "count_"));
}

#[tokio::test]
async fn a_prompt_with_faults_is_kept_as_draft_and_never_published() {
    let bench = TestPlatform::start().await;
    let draft = json!({
        "name": "Broken", "template": "Hello {{name}}\n{{greeting}} {{nmae}} {{first name}}\n{{open",
        "variables": [{ "name": "name" }, { "name": "unused" }, { "name": "name" }, { "name": "a b" }],
        "blocks": { "greeting": "{{greeting}} {{missing}}", "idle": "text" },
        "samples": [{ "name": "Ada" }]
    });
    let path = create(&bench, draft).await;
    let checked = post(&bench, &path, "validate", json!({})).await.ok();
    assert_eq!(checked["valid"], false);
    let expected = [
        ("DUPLICATE_NAME", "name"),
        ("INVALID_NAME", "a b"),
        ("INVALID_NAME", ""),
        ("BROKEN_BRACES", ""),
        ("UNDECLARED_VARIABLE", "nmae"),
        ("UNDECLARED_VARIABLE", "missing"),
        ("RECURSIVE_BLOCK", "greeting"),
    ];
    assert_eq!(codes(&checked["errors"]), expected, "{checked:#}");
    let lines: Vec<&Value> = checked["errors"].as_array().unwrap().iter().map(|finding| &finding["line"]).collect();
    assert_eq!(lines, [&Value::Null, &Value::Null, &json!(2), &json!(3), &json!(2), &json!(1), &Value::Null]);
    for (verb, body) in [("publish", json!({})), ("assemble", json!({ "version": "1.0.0", "variables": { "name": "Ada" } }))] {
        let refused = post(&bench, &path, verb, body).await.refused(422, "FM-PES-INVALID-PROMPT");
        assert!(faults(&refused).contains(&("/template", "UNDECLARED_VARIABLE")), "{refused:#}");
        assert!(faults(&refused).contains(&("/blocks/greeting", "RECURSIVE_BLOCK")), "{refused:#}");
    }
    assert_eq!(bench.get(&path, &bench.owner()).await.ok()["status"], "draft");
    // A corrected wording is published in the draft's place.
    // An unused variable that is required would still be missing in the sample.
    let mended = json!({ "template": "Hello {{name}}", "variables": [{ "name": "name" }, { "name": "spare", "required": false }], "blocks": { "idle": "x" } });
    let done = post(&bench, &path, "publish", mended).await.ok();
    assert_eq!((&done["version"], &done["template"]), (&json!("1.0.0"), &json!("Hello {{name}}")));
    let doubts = post(&bench, &path, "validate", json!({})).await.ok();
    assert_eq!(codes(&doubts["warnings"]), [("UNUSED_VARIABLE", "spare"), ("UNUSED_BLOCK", "idle")]);
}

#[tokio::test]
async fn blocks_compose_a_prompt_and_cannot_explode() {
    let bench = TestPlatform::start().await;
    let path = published(
        &bench,
        json!({
            "name": "Letter", "template": "{{opening}}\n{{body}}\n{{closing}}",
            "variables": [{ "name": "who", "type": "string" }, { "name": "body", "type": "string" }],
            "blocks": { "opening": "Dear {{who}},", "closing": "{{tone}} regards to {{who}}", "tone": "Kind" }
        }),
    )
    .await;
    let text = post(&bench, &path, "assemble", json!({ "variables": { "who": "Ada", "body": "Hi." } })).await.ok();
    assert_eq!(text["assembled"], "Dear Ada,\nHi.\nKind regards to Ada");

    let mut blocks = Map::from_iter([("b0".to_owned(), json!("lol"))]);
    for level in 1..30 {
        blocks.insert(format!("b{level}"), json!(format!("{{{{b{}}}}}", level - 1).repeat(10)));
    }
    let bomb = create(&bench, json!({ "name": "Bomb", "template": "{{b29}}", "blocks": blocks })).await;
    let refused = post(&bench, &bomb, "publish", json!({})).await.refused(422, "FM-PES-INVALID-PROMPT");
    assert_eq!(faults(&refused), [("/template", "TOO_LARGE")]);

    let wide = published(&bench, json!({ "name": "Wide", "template": "{{text}}".repeat(50), "variables": [{ "name": "text" }] })).await;
    let large = json!({ "variables": { "text": "x".repeat(20_000) } });
    post(&bench, &wide, "assemble", large).await.refused(413, "FM-PES-ASSEMBLY-TOO-LARGE");
}

#[tokio::test]
async fn publication_reports_samples_that_come_out_differently() {
    let bench = TestPlatform::start().await;
    let path = create(
        &bench,
        json!({
            "name": "Mood", "template": "{{text}}{{emphasis}}",
            "variables": [{ "name": "text", "type": "string" }, { "name": "emphasis", "type": "string", "required": false }],
            "samples": [{ "text": "a" }, { "text": "b", "emphasis": "!" }]
        }),
    )
    .await;
    let first = post(&bench, &path, "publish", json!({})).await.ok();
    assert_eq!(first["changes"], Value::Null, "a first version differs from nothing");
    post(&bench, &path, "publish", json!({})).await.refused(409, "FM-PES-UNCHANGED");
    let second = post(&bench, &path, "publish", json!({ "template": "{{text}}{{emphasis}}{{emphasis}}" })).await.ok();
    assert_eq!(second["version"], "1.1.0");
    assert_eq!(second["changes"], json!([{ "sample": 2, "before": "b!", "after": "b!!" }]));
    // A sample that the version before could not assemble has no text before.
    let third = json!({
        "template": "{{text}} {{tone}}", "variables": [{ "name": "text", "type": "string" }, { "name": "tone", "type": "string" }],
        "samples": [{ "text": "c", "tone": "kindly" }], "version": "2.0.0"
    });
    let third = post(&bench, &path, "publish", third).await.ok();
    assert_eq!(third["changes"], json!([{ "sample": 1, "after": "c kindly" }]));
    // A sample that cannot be assembled keeps the version from being published.
    let refused = post(&bench, &path, "publish", json!({ "samples": [{ "text": 5 }] })).await.refused(422, "FM-PES-INVALID-PROMPT");
    assert_eq!(faults(&refused), [("/samples/0/tone", "MISSING_VALUE"), ("/samples/0/text", "WRONG_TYPE")]);
}

#[tokio::test]
async fn a_published_version_stays_as_it_is_across_a_restart() {
    let mut bench = TestPlatform::start().await;
    let path = published(&bench, json!({ "name": "Greeting", "template": "Hello" })).await;
    for (wording, version) in [("Hi", json!(null)), ("Hey", json!("3.0.0-beta.1")), ("Yo", json!("3.0.0"))] {
        let mut body = json!({ "template": wording });
        if version.is_string() {
            body["version"] = version;
        }
        post(&bench, &path, "publish", body).await.ok();
    }
    for (version, code, status) in [
        ("3.0.0", "FM-PES-VERSION-EXISTS", 409),
        ("2.9.0", "FM-PES-VERSION-EXISTS", 409),
        ("3.0.0+build", "FM-PES-VERSION-EXISTS", 409),
        ("3.0.0-rc.1", "FM-PES-VERSION-EXISTS", 409),
        ("3.1", "FM-PES-VERSION", 422),
        ("v4.0.0", "FM-PES-VERSION", 422),
        ("", "FM-PES-VERSION", 422),
    ] {
        post(&bench, &path, "publish", json!({ "template": "New", "version": version })).await.refused(status, code);
    }
    bench = bench.restart().await;
    let owner = bench.owner();
    let page = bench.get(&format!("{path}/versions?limit=3"), &owner).await.ok();
    let rest = bench.get(&format!("{path}/versions?cursor={}", page["nextCursor"].as_str().unwrap()), &owner).await.ok();
    let told = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|item| format!("{} {}", item["version"], item["template"])).collect()
    };
    let all = [told(&page), told(&rest)].concat();
    assert_eq!(all, [r#""3.0.0" "Yo""#, r#""3.0.0-beta.1" "Hey""#, r#""1.1.0" "Hi""#, r#""1.0.0" "Hello""#]);
    assert_eq!(rest["nextCursor"], Value::Null);
    for (version, text) in [(json!("1.0.0"), "Hello"), (json!("1.1.0"), "Hi")] {
        let assembled = post(&bench, &path, "assemble", json!({ "variables": {}, "version": version })).await.ok();
        assert_eq!(assembled["assembled"], text);
    }
    assert_eq!(post(&bench, &path, "assemble", json!({ "variables": {} })).await.ok()["assembled"], "Yo");
    post(&bench, &path, "assemble", json!({ "variables": {}, "version": "9.9.9" })).await.refused(404, "FM-PES-VERSION-NOT-FOUND");
    // Not even SQL changes or removes a published version.
    let file = rusqlite::Connection::open(bench.folder.path().join("data/platform.db")).unwrap();
    for (sql, why) in [
        ("UPDATE prompt_versions SET content = '{}'", "a published version never changes"),
        ("DELETE FROM prompt_versions", "a published version is never removed"),
    ] {
        assert_eq!(file.execute(sql, []).unwrap_err().to_string(), why);
    }
}

#[tokio::test]
async fn publications_at_once_give_each_version_once() {
    let bench = TestPlatform::start().await;
    let path = published(&bench, json!({ "name": "Race", "template": "0" })).await;
    let all = join_all((1..=8).map(|n| post(&bench, &path, "publish", json!({ "template": n.to_string() })))).await;
    let won = all.iter().filter(|reply| reply.status == 200).count();
    assert!(won >= 1, "one of them is first");
    for lost in all.iter().filter(|reply| reply.status != 200) {
        assert_eq!((lost.status, lost.code()), (409, "FM-PES-PUBLISHED-MEANWHILE"), "{:#}", lost.body);
    }
    let versions = bench.get(&format!("{path}/versions"), &bench.owner()).await.ok();
    assert_eq!(versions["items"].as_array().unwrap().len(), won + 1);
}

#[tokio::test]
async fn a_publication_over_another_change_is_refused_by_its_etag() {
    let bench = TestPlatform::start().await;
    let path = published(&bench, json!({ "name": "Etag", "template": "0" })).await;
    let seen = bench.get(&path, &bench.owner()).await.headers["etag"].clone();
    let publish = async |template: &str| {
        let request = bench.request(reqwest::Method::POST, &format!("{path}/publish"), &bench.owner());
        bench.send(request.header("If-Match", seen.clone()).json(&json!({ "template": template }))).await
    };
    publish("1").await.ok();
    publish("2").await.refused(412, "FM-AGS-CHANGED");
}

#[tokio::test]
async fn a_prompt_beyond_its_bounds_is_refused_by_field() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    let prompt = |field: &str, value: Value| {
        let mut prompt = json!({ "name": "Large", "template": "x" });
        prompt[field] = value;
        prompt
    };
    let variables: Vec<Value> = (0..101).map(|n| json!({ "name": format!("v{n}") })).collect();
    let blocks: Map<String, Value> = (0..51).map(|n| (format!("b{n}"), json!("x"))).collect();
    for (field, value, pointer, code) in [
        ("variables", json!(variables), "/variables", "length"),
        ("blocks", Value::Object(blocks), "/blocks", "length"),
        ("blocks", json!({ "a": 5 }), "/blocks/a", "type"),
        ("samples", json!(vec![json!({}); 21]), "/samples", "length"),
        ("tags", json!(vec!["t"; 21]), "/tags", "length"),
        ("tags", json!(["ok", "x".repeat(51)]), "/tags/1", "length"),
        ("template", json!(""), "/template", "length"),
        ("variables", json!([{ "name": "a", "type": "text" }]), "/variables/0/type", "enum"),
        ("colour", json!("red"), "/colour", "unknown"),
    ] {
        let refused = bench.post("/prompts", &owner, prompt(field, value)).await.refused(422, "FM-PES-INVALID");
        assert!(faults(&refused).contains(&(pointer, code)), "{field}: {refused:#}");
    }
    let large = prompt("blocks", json!({ "a": "x".repeat(600_000) }));
    bench.post("/prompts", &owner, large).await.refused(413, "FM-PES-TOO-LARGE");
    assert_eq!(bench.get("/prompts", &owner).await.ok()["items"], json!([]));
}

#[tokio::test]
async fn pages_of_large_versions_end_early_and_lose_none() {
    let bench = TestPlatform::start().await;
    let owner = bench.owner();
    for n in 0..4 {
        create(&bench, json!({ "name": format!("p{n}"), "template": "x", "blocks": { "a": "x".repeat(400_000) } })).await;
    }
    let (mut names, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    while pages < 5 {
        let page = bench.get(&format!("/prompts?limit=4{cursor}"), &owner).await.ok();
        names.extend(page["items"].as_array().unwrap().iter().map(|prompt| prompt["name"].as_str().unwrap().to_owned()));
        pages += 1;
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!((names, pages), (vec!["p3".into(), "p2".into(), "p1".into(), "p0".into()], 2));
}

#[tokio::test]
async fn a_tenants_prompts_are_its_own() {
    let bench = TestPlatform::start().await;
    let path = published(&bench, contract_example()).await;
    let stranger = bench.signed_in("tenant-b", "eve", &["prompt:*"]).await;
    bench.get(&path, &stranger).await.refused(404, "FM-PES-NOT-FOUND");
    bench.get(&format!("{path}/versions"), &stranger).await.refused(404, "FM-PES-NOT-FOUND");
    for (verb, body) in [("assemble", json!({ "variables": {} })), ("validate", json!({})), ("publish", json!({ "template": "x" }))] {
        bench.post(&format!("{path}/{verb}"), &stranger, body).await.refused(404, "FM-PES-NOT-FOUND");
    }
    assert_eq!(bench.get("/prompts", &stranger).await.ok()["items"], json!([]));
    assert_eq!(bench.get("/prompts", &bench.owner()).await.ok()["items"].as_array().unwrap().len(), 1);
    let viewer = bench.signed_in("tenant-local", "vera", &["prompt:view"]).await;
    bench.get(&path, &viewer).await.ok();
    bench.post(&format!("{path}/publish"), &viewer, json!({})).await.refused(403, "FM-AAS-FORBIDDEN");
}
