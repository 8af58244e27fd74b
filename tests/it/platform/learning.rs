//! Learning Management over HTTP: feedback on versions, datasets, retraining jobs and drift.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use flowmaster_mcp::api::Timestamp;
use serde_json::{Value, json};

use crate::platform::executions::start;
use crate::platform::prompts::create;

pub mod school;

use school::{School, school_prompt};

fn items(page: &Value) -> &Vec<Value> {
    page["items"].as_array().unwrap()
}

#[tokio::test]
async fn the_contracts_feedback_is_bound_to_the_prompts_version() {
    let school = School::open().await;
    let execution = start(&school.bench, &school.process, json!({ "complaint": "late" })).await;
    let mut example = json!({
        "executionId": execution["executionId"], "agentId": "agent-gpt4", "promptId": school.prompt,
        "feedback": {
            "accuracy": 0.92, "userSatisfaction": 4.5, "expectedOutput": "...", "actualOutput": "...", "notes": "Excellent analysis"
        },
    });
    let first = school.post("/feedback", example.clone()).await;
    assert_eq!(first.status, 201, "{:#}", first.body);
    let first = first.body;
    assert!(first["feedbackId"].as_str().unwrap().starts_with("feedback-"));
    assert_eq!((&first["promptVersion"], &first["feedback"]), (&json!("1.0.0"), &example["feedback"]));
    assert_eq!((&first["submittedBy"], &first["executionId"]), (&json!("user-owner"), &execution["executionId"]));

    // Later feedback is on the version that is in use then; the first stays with its own.
    school.post(&format!("/prompts/{}/publish", school.prompt), json!({ "template": "Reply to: {{complaint}}" })).await.ok();
    let second = school.post("/feedback", example.clone()).await.ok();
    example["promptVersion"] = json!("1.0.0");
    let third = school.post("/feedback", example).await.ok();
    assert_eq!((&second["promptVersion"], &third["promptVersion"]), (&json!("1.1.0"), &json!("1.0.0")));
    let listed = school.get(&format!("/feedback?agentId=agent-gpt4&promptId={}", school.prompt)).await.ok();
    assert_eq!(listed["items"], json!([third, second, first]));
    let events = school.get("/events/replay?topic=feedback.submitted").await.ok();
    assert_eq!(events["items"][0]["source"], "/services/learning-management");
    assert_eq!(events["items"][1]["data"]["promptVersion"], "1.1.0", "{events:#}");
    assert!(!events.to_string().contains("Excellent"), "an event holds no texts of feedback");
}

#[tokio::test]
async fn feedback_on_what_there_is_not_is_refused_by_field() {
    let school = School::open().await;
    let draft = create(&school.bench, json!({ "name": "Draft", "template": "x" })).await;
    let draft = draft.trim_start_matches("/prompts/");
    let good = json!({ "agentId": "agent-a", "promptId": school.prompt, "feedback": { "accuracy": 1 } });
    for (field, value, code, pointer) in [
        ("promptId", json!("prompt-none"), "FM-LMS-UNKNOWN-PROMPT", "/promptId"),
        ("promptVersion", json!("9.9.9"), "FM-LMS-UNKNOWN-VERSION", "/promptVersion"),
        ("promptId", json!(draft), "FM-LMS-UNKNOWN-VERSION", "/promptVersion"),
        ("agentId", json!("gpt4"), "FM-LMS-UNKNOWN-AGENT", "/agentId"),
        ("agentId", json!("agent-a b"), "FM-LMS-UNKNOWN-AGENT", "/agentId"),
        ("executionId", json!("exec-none"), "FM-LMS-UNKNOWN-EXECUTION", "/executionId"),
        ("feedback", json!({}), "FM-LMS-EMPTY", "/feedback"),
        ("feedback", json!({ "notes": "  " }), "FM-LMS-EMPTY", "/feedback"),
        ("feedback", json!({ "accuracy": 1.1 }), "FM-LMS-INVALID", "/feedback/accuracy"),
        ("feedback", json!({ "userSatisfaction": -1 }), "FM-LMS-INVALID", "/feedback/userSatisfaction"),
        ("feedback", json!({ "stars": 4 }), "FM-LMS-INVALID", "/feedback/stars"),
        ("feedback", json!({ "notes": "x".repeat(4_001) }), "FM-LMS-TOO-LONG", "/feedback/notes"),
        ("feedback", json!({ "actualOutput": "x".repeat(20_001) }), "FM-LMS-TOO-LONG", "/feedback/actualOutput"),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let refused = school.post("/feedback", body).await.refused(422, code);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused:#}");
    }
    let named = json!({ "agentId": "agent-a", "promptId": draft, "promptVersion": "1.0.0", "feedback": { "accuracy": 1 } });
    school.post("/feedback", named).await.refused(422, "FM-LMS-UNKNOWN-VERSION");
    assert_eq!(school.get("/feedback").await.ok()["items"], json!([]), "what is refused is not kept");
}

#[tokio::test]
async fn feedback_is_paged_by_agent_and_by_prompt() {
    let school = School::open().await;
    for n in 0..5 {
        school.rate(if n == 3 { "agent-b" } else { "agent-a" }, json!({ "notes": n.to_string() })).await;
    }
    let notes =
        |page: &Value| -> Vec<String> { items(page).iter().map(|item| item["feedback"]["notes"].as_str().unwrap().to_owned()).collect() };
    let first = school.get("/feedback?agentId=agent-a&limit=3").await.ok();
    let rest = school.get(&format!("/feedback?agentId=agent-a&limit=3&cursor={}", first["nextCursor"].as_str().unwrap())).await.ok();
    assert_eq!(
        (notes(&first), notes(&rest), &rest["nextCursor"]),
        (vec!["4".into(), "2".into(), "1".into()], vec!["0".into()], &Value::Null)
    );
    assert_eq!(notes(&school.get(&format!("/feedback?promptId={}&agentId=agent-b", school.prompt)).await.ok()), ["3"]);
    assert_eq!(notes(&school.get("/feedback?promptId=prompt-none").await.ok()), Vec::<String>::new());
}

#[tokio::test]
async fn a_dataset_is_a_snapshot_with_the_digest_of_its_lines() {
    let school = School::open().await;
    let id = school.dataset().await;
    school.rate_answer("after the snapshot", json!({ "accuracy": 1, "actualOutput": "too late" })).await;
    let dataset = school.get(&format!("/datasets/{id}")).await.ok();
    assert_eq!((&dataset["records"], &dataset["format"], &dataset["name"]), (&json!(6), &json!("jsonl"), &json!("Complaints")));
    let page = school.get(&format!("/datasets/{id}/records?limit=4")).await.ok();
    let rest = school.get(&format!("/datasets/{id}/records?cursor={}", page["nextCursor"].as_str().unwrap())).await.ok();
    let records = [items(&page).clone(), items(&rest).clone()].concat();
    assert_eq!(records.len(), 6);
    assert_eq!(records[1]["input"], "Answer this complaint: broken lamp", "the execution's variables fill in the prompt");
    assert_eq!((&records[1]["output"], &records[1]["expected"]), (&json!("no idea"), &json!("send a new lamp")));
    let file = rusqlite::Connection::open(school.bench.folder.path().join("data/platform.db")).unwrap();
    let mut statement = file.prepare("SELECT line FROM dataset_lines WHERE dataset_id = ? ORDER BY place").unwrap();
    let lines: Vec<String> = statement.query_map([&id], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let content = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>();
    let hex = digest(&SHA256, content.as_bytes()).as_ref().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    assert_eq!(dataset["digest"], hex);
    let parsed: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(parsed, records);
    assert!(file.execute("UPDATE dataset_lines SET line = '{}'", []).unwrap_err().to_string().contains("never changes"));
    // Another snapshot has the answer that came later, and a digest of its own.
    let later = school.post("/datasets", json!({ "name": "Later", "promptId": school.prompt, "agentId": "agent-gpt4" })).await.ok();
    assert_eq!(later["records"], 7);
    assert_ne!(later["digest"], dataset["digest"]);
    assert_eq!(items(&school.get("/datasets").await.ok()).last().unwrap(), &dataset);
}

#[tokio::test]
async fn a_dataset_takes_the_answers_of_its_period_alone() {
    let school = School::open().await;
    let mut times: Vec<String> = Vec::new();
    for n in 0..3 {
        let feedback = school.rate(["agent-a", "agent-b", "agent-a"][n], json!({ "accuracy": 1, "notes": n.to_string() })).await;
        times.push(feedback["createdAt"].as_str().unwrap().to_owned());
        school.bench.clock.advance(60.0);
    }
    let records = async |filter: Value| {
        let mut body = json!({ "name": "Part" });
        body.as_object_mut().unwrap().extend(filter.as_object().unwrap().clone());
        school.post("/datasets", body).await
    };
    assert_eq!(records(json!({})).await.ok()["records"], 3);
    assert_eq!(records(json!({ "agentId": "agent-a" })).await.ok()["records"], 2);
    assert_eq!(records(json!({ "createdAfter": times[0] })).await.ok()["records"], 2);
    assert_eq!(records(json!({ "createdAfter": times[0], "createdBefore": times[2] })).await.ok()["records"], 1);
    assert_eq!(records(json!({ "createdBefore": times[2], "agentId": "agent-a" })).await.ok()["records"], 1);
    records(json!({ "createdAfter": times[2] })).await.refused(422, "FM-LMS-DATASET-EMPTY");
    records(json!({ "createdAfter": times[2], "createdBefore": times[0] })).await.refused(422, "FM-LMS-PERIOD");
    records(json!({ "agentId": "agent-none" })).await.refused(422, "FM-LMS-UNKNOWN-AGENT");
    records(json!({ "promptId": "prompt-none" })).await.refused(422, "FM-LMS-UNKNOWN-PROMPT");
}

#[tokio::test]
async fn a_dataset_beyond_its_bounds_is_refused_whole() {
    let school = School::open().await;
    let feedback = school.rate("agent-a", json!({ "notes": "x".repeat(4_000) })).await;
    let file = rusqlite::Connection::open(school.bench.folder.path().join("data/platform.db")).unwrap();
    file.busy_timeout(Duration::from_secs(10)).unwrap();
    file.execute_batch(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
         INSERT INTO feedback (tenant_id, id, agent_id, prompt_id, prompt_version, accuracy, submitted_by, created_at, notes)
         SELECT f.tenant_id, f.id || '-' || i, f.agent_id, f.prompt_id, f.prompt_version, 1, f.submitted_by, f.created_at, f.notes
         FROM feedback AS f, n WHERE f.id = '{}'",
        feedback["feedbackId"].as_str().unwrap()
    ))
    .unwrap();
    school.post("/datasets", json!({ "name": "All" })).await.refused(413, "FM-LMS-DATASET-TOO-LARGE");
    assert_eq!(school.get("/datasets").await.ok()["items"], json!([]));
}

#[tokio::test]
async fn a_retraining_makes_a_scored_few_shot_set() {
    let school = School::open().await;
    let dataset = school.dataset().await;
    let job = school.schedule(&dataset, json!({})).await;
    assert_eq!((job.status, &job.body["status"]), (202, &json!("pending")), "{:#}", job.body);
    let done = school.ended(&job.body).await;
    assert_eq!((&done["status"], &done["progress"]), (&json!("completed"), &json!(100.0)), "{done:#}");
    assert!(done["startedAt"].is_string() && done["completedAt"].is_string());
    // Of six, the poor one that nobody corrected is of no use; the fifth of the rest is held out.
    assert_eq!((&done["metrics"]["usableExamples"], &done["metrics"]["heldOutExamples"]), (&json!(5), &json!(1)));
    let (before, after) = (done["metrics"]["similarityBefore"].as_f64().unwrap(), done["metrics"]["similarityAfter"].as_f64().unwrap());
    assert!(before < after && after > 0.99, "the set suggests the answer that is wanted: {done:#}");
    let artifact = &done["artifact"];
    assert_eq!((&artifact["kind"], &artifact["sets"][0]["promptId"]), (&json!("few-shot"), &json!(school.prompt)));
    let chosen = artifact["sets"][0]["examples"].as_array().unwrap();
    let told: Vec<(&str, &str)> = chosen.iter().map(|it| (it["input"].as_str().unwrap(), it["output"].as_str().unwrap())).collect();
    assert_eq!(
        told,
        [
            ("Answer this complaint: rude driver", "call the depot"),
            ("Answer this complaint: broken lamp", "send a new lamp"),
            ("Answer this complaint: late parcel", "apologise and track the parcel"),
        ]
    );
    let scores: Vec<f64> = chosen.iter().map(|it| it["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|one, other| one >= other) && scores.iter().all(|score| (0.0..=1.0).contains(score)), "{scores:?}");
    let events = school.get("/events/replay?topic=retraining.*").await.ok();
    assert_eq!((&events["items"][0]["type"], &events["items"][0]["data"]["jobId"]), (&json!("retraining.completed"), &done["jobId"]));
    // The same dataset gives the same artefact.
    let again = school.ended(&school.schedule(&dataset, json!({ "promptId": school.prompt })).await.ok()).await;
    assert_eq!((&again["artifact"], &again["metrics"]), (artifact, &done["metrics"]));
    let listed = school.get("/retraining/jobs?limit=1").await.ok();
    assert_eq!((&listed["items"], listed["nextCursor"].is_string()), (&json!([again]), true));
}

#[tokio::test]
async fn a_job_that_could_not_learn_is_refused_at_once() {
    let school = School::open().await;
    let dataset = school.dataset().await;
    school.rate("agent-b", json!({ "accuracy": 1, "actualOutput": "no execution, so the question is unknown" })).await;
    let other = school.post("/datasets", json!({ "name": "Other", "agentId": "agent-b" })).await.ok();
    let other = other["datasetId"].as_str().unwrap();
    let second = school_prompt(&school.bench).await;
    let (past, far) = (school.at(-600.0), school.at(367.0 * 86_400.0));
    for (dataset, more, code) in [
        ("dataset-none", json!({}), "FM-LMS-UNKNOWN-DATASET"),
        (&dataset, json!({ "agentId": "agent-none" }), "FM-LMS-UNKNOWN-AGENT"),
        (&dataset, json!({ "promptId": "prompt-none" }), "FM-LMS-UNKNOWN-PROMPT"),
        (&dataset, json!({ "promptId": second }), "FM-LMS-NOTHING-TO-LEARN"),
        (&dataset, json!({ "agentId": "agent-b" }), "FM-LMS-NOTHING-TO-LEARN"),
        (other, json!({ "agentId": "agent-b" }), "FM-LMS-NOTHING-TO-LEARN"),
        (&dataset, json!({ "scheduledAt": past }), "FM-LMS-SCHEDULED-AT"),
        (&dataset, json!({ "scheduledAt": far }), "FM-LMS-SCHEDULED-AT"),
    ] {
        school.schedule(dataset, more).await.refused(422, code);
    }
    assert_eq!(school.get("/retraining/jobs").await.ok()["items"], json!([]));
    school.get("/retraining/jobs/retrain-none").await.refused(404, "FM-LMS-NOT-FOUND");
}

#[tokio::test]
async fn a_job_for_later_waits_for_its_time_across_a_restart() {
    let mut school = School::open().await;
    let dataset = school.dataset().await;
    let at = school.at(3_600.0);
    let job = school.schedule(&dataset, json!({ "scheduledAt": at })).await.ok();
    assert_eq!((&job["status"], &job["scheduledAt"], &job["progress"]), (&json!("pending"), &json!(at), &json!(0.0)));
    school = school.restart_with(|_| {}).await;
    school.bench.clock.advance(3_599.0);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let path = format!("/retraining/jobs/{}", job["jobId"].as_str().unwrap());
    assert_eq!(school.get(&path).await.ok()["status"], "pending");
    school.bench.clock.advance(1.0);
    assert_eq!(school.ended(&job).await["status"], "completed");
}

#[tokio::test]
async fn a_job_that_a_crash_interrupted_runs_again_or_is_given_up() {
    for (attempts, status, code) in [(1, "completed", Value::Null), (3, "failed", json!("FM-LMS-INTERRUPTED"))] {
        let mut school = School::open().await;
        let dataset = school.dataset().await;
        let at = school.at(3_600.0);
        let job = school.schedule(&dataset, json!({ "scheduledAt": at })).await.ok();
        let now = Timestamp::now().millis();
        school = school
            .restart_with(|options| {
                // As a killed process leaves it.
                let file = rusqlite::Connection::open(options.data_dir.join("platform.db")).unwrap();
                let sql = "UPDATE retraining_jobs SET status = 'running', attempts = ?, scheduled_at = ? - 60000";
                assert_eq!(file.execute(sql, [attempts, now]).unwrap(), 1);
            })
            .await;
        let ended = school.ended(&job).await;
        assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!(status), &code), "{ended:#}");
    }
}

#[tokio::test]
async fn drift_tells_a_fall_of_the_ratings_from_noise() {
    let school = School::open().await;
    school.get("/agents/agent-none/metrics/drift").await.refused(404, "FM-LMS-NOT-FOUND");
    for n in 0..24 {
        let accuracy = if n % 2 == 0 { 0.9 } else { 0.8 };
        school.rate("agent-a", json!({ "accuracy": accuracy, "userSatisfaction": 4 })).await;
        if n == 10 {
            let few = school.get("/agents/agent-a/metrics/drift").await.ok();
            assert_eq!((&few["drifted"], &few["metrics"][0]["drift"]), (&Value::Null, &Value::Null), "too few ratings: {few:#}");
        }
    }
    let steady = school.get("/agents/agent-a/metrics/drift").await.ok();
    assert_eq!((&steady["drifted"], &steady["agentId"]), (&json!(false), &json!("agent-a")), "{steady:#}");
    for n in 0..24 {
        school.rate("agent-a", json!({ "accuracy": if n % 2 == 0 { 0.6 } else { 0.5 } })).await;
    }
    let fallen = school.get("/agents/agent-a/metrics/drift").await.ok();
    let accuracy = &fallen["metrics"][0];
    assert_eq!((&fallen["drifted"], &accuracy["metric"]), (&json!(true), &json!("accuracy")));
    assert_eq!((&accuracy["baseline"], &accuracy["recent"]), (&json!(0.85), &json!(0.55)));
    assert_eq!((&accuracy["baselineSamples"], &accuracy["recentSamples"]), (&json!(24), &json!(24)));
    assert!(accuracy["drift"].as_f64().unwrap() < -3.0);
    assert_eq!(fallen["metrics"][1]["recentSamples"], 12, "each score counts its own ratings");
}

#[tokio::test]
async fn a_tenants_feedback_datasets_and_jobs_are_its_own() {
    let school = School::open().await;
    let dataset = school.dataset().await;
    let job = school.ended(&school.schedule(&dataset, json!({})).await.ok()).await;
    let rights = ["feedback:*", "dataset:*", "retraining:*", "agent:view"];
    let stranger = school.bench.signed_in("tenant-b", "eve", &rights).await;
    for path in ["/feedback", "/feedback?agentId=agent-gpt4", "/datasets", "/retraining/jobs"] {
        assert_eq!(school.bench.get(path, &stranger).await.ok()["items"], json!([]), "{path}");
    }
    let job = job["jobId"].as_str().unwrap();
    for path in [
        format!("/datasets/{dataset}"),
        format!("/datasets/{dataset}/records"),
        format!("/retraining/jobs/{job}"),
        "/agents/agent-gpt4/metrics/drift".to_owned(),
    ] {
        school.bench.get(&path, &stranger).await.refused(404, "FM-LMS-NOT-FOUND");
    }
    let post = async |path: &str, body: Value| school.bench.post(path, &stranger, body).await;
    let feedback = json!({ "agentId": "agent-gpt4", "promptId": school.prompt, "feedback": { "accuracy": 1 } });
    post("/feedback", feedback).await.refused(422, "FM-LMS-UNKNOWN-PROMPT");
    post("/datasets", json!({ "name": "Theirs" })).await.refused(422, "FM-LMS-DATASET-EMPTY");
    let theirs = json!({ "agentId": "agent-gpt4", "datasetId": dataset });
    post("/retraining/jobs", theirs).await.refused(422, "FM-LMS-UNKNOWN-DATASET");
    let reader = school.bench.signed_in("tenant-local", "rob", &["feedback:view"]).await;
    let theirs = json!({ "agentId": "agent-gpt4", "promptId": school.prompt, "feedback": { "accuracy": 1 } });
    school.bench.post("/feedback", &reader, theirs).await.refused(403, "FM-AAS-FORBIDDEN");
}

#[tokio::test]
async fn agents_known_by_feedback_alone_are_registered_with_it() {
    let school = School::open().await;
    school.rate("agent-a", json!({ "accuracy": 1 })).await;
    let data = school.bench.folder.path().join("data/platform.db");
    // The folder as it was before agents were registered, and the step that registers them.
    let step = include_str!("../../../src/platform/database/migrations/0016_agents.sql");
    let school = school
        .restart_with(move |_| {
            let file = rusqlite::Connection::open(data).unwrap();
            file.execute_batch("DROP TABLE agents; DROP TABLE agent_calls; DROP TABLE agent_totals;").unwrap();
            file.execute_batch(step).unwrap();
        })
        .await;
    let known = school.get("/agents/agent-a").await.ok();
    assert_eq!((&known["name"], &known["version"]), (&json!("agent-a"), &json!("1")));
    school.get("/agents/agent-b").await.refused(404, "FM-AIS-NOT-FOUND");
    assert_eq!(items(&school.get("/feedback?agentId=agent-a").await.ok()).len(), 1);
    school.get("/agents/agent-a/metrics/drift").await.ok();
    school.rate("agent-a", json!({ "accuracy": 1 })).await;
}
