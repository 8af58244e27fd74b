//! What is answered from memory, what is asked again, and what is never shared.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::*;
use crate::api::Permissions;
use crate::auth::Caller;
use crate::client::call::CallOptions;
use crate::client::layer::Transport;
use crate::client::layers::scripted::{call, list, user};

/// A platform that numbers its answers: reads take 100 ms, writes 10 ms.
#[derive(Default)]
struct Numbered {
    requests: AtomicUsize,
    /// The versions that were named as known.
    known: Mutex<Vec<String>>,
    /// What it says instead.
    refusal: Mutex<Option<Error>>,
    /// Characters of an answer.
    size: usize,
}

impl Transport for Numbered {
    fn send(&self, call: Call) -> BoxFuture<'_, Result<Reply>> {
        Box::pin(async move {
            let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
            if let Some(version) = call.headers.get(IF_NONE_MATCH) {
                self.known.lock().unwrap().push(version.to_str().unwrap().to_owned());
            }
            let is_read = call.entry.spec.effect == Effect::Read;
            tokio::time::sleep(Duration::from_millis(if is_read { 100 } else { 10 })).await;
            if let Some(refusal) = &*self.refusal.lock().unwrap() {
                return Err(refusal.again());
            }
            let body = json!({ "number": number, "text": "x".repeat(self.size) });
            Ok(Reply { status: 200, etag: Some(format!("\"{number}\"")), body })
        })
    }
}

struct Bench {
    layers: [Arc<dyn Layer>; 1],
    cache: Arc<Cache>,
    platform: Numbered,
}

impl Bench {
    fn new() -> Self {
        Self::of(CacheSettings { bytes: 1 << 20, ..CacheSettings::default() }, Numbered::default())
    }

    fn of(settings: CacheSettings, platform: Numbered) -> Self {
        let cache = Arc::new(Cache::new(settings).unwrap());
        Self { layers: [Arc::clone(&cache) as Arc<dyn Layer>], cache, platform }
    }

    async fn run(&self, call: Call) -> Result<Reply> {
        Next::new(&self.layers, &self.platform).run(call).await
    }

    /// The number of the answer that a caller gets of a task.
    async fn read(&self, caller: &Arc<Caller>) -> Value {
        self.run(task(caller)).await.unwrap().body["number"].clone()
    }

    async fn write(&self, caller: &Arc<Caller>) {
        self.run(call(caller, "tasks_create", &json!({ "title": "Check" }), CallOptions::default())).await.unwrap();
    }

    fn requests(&self) -> usize {
        self.platform.requests.load(Ordering::SeqCst)
    }

    fn refuse(&self, error: Option<Error>) {
        *self.platform.refusal.lock().unwrap() = error;
    }
}

fn task(caller: &Arc<Caller>) -> Call {
    call(caller, "tasks_get", &json!({ "id": "task-1" }), CallOptions::default())
}

fn away() -> Error {
    Error::new(Kind::Unavailable, "FM-MCP-CIRCUIT-OPEN", "no").conclusive()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_equal_reads_at_once_are_one_request() {
    let (bench, anna) = (Bench::new(), user("anna", &[]));
    let numbers = join_all((0..1_000).map(|_| bench.read(&anna))).await;
    assert!(numbers.iter().all(|number| *number == 1));
    assert_eq!((bench.read(&anna).await, bench.requests()), (json!(1), 1));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!((bench.read(&anna).await, bench.requests()), (json!(2), 2), "two seconds are over");
}

#[tokio::test(start_paused = true)]
async fn a_read_after_a_write_sees_it() {
    let (bench, anna) = (Bench::new(), user("anna", &[]));
    bench.read(&anna).await;
    let other = Arc::new(Caller { tenant: "tenant-2".into(), ..(*anna).clone() });
    bench.write(&other).await;
    assert_eq!(bench.read(&anna).await, 1, "another tenant's write evicts nothing");
    bench.write(&user("bert", &[])).await;
    assert_eq!(bench.read(&anna).await, 4);
    bench.refuse(Some(away()));
    bench.run(call(&anna, "tasks_create", &json!({ "title": "Check" }), CallOptions::default())).await.unwrap_err();
    bench.refuse(None);
    assert_eq!(bench.read(&anna).await, 6, "a write that failed may have happened");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_ends_after_a_later_write_is_answered_and_not_kept() {
    let (bench, anna) = (Bench::new(), user("anna", &[]));
    let late = bench.read(&anna);
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        bench.write(&anna).await;
        // The first read is still under way, and nobody who asks now waits for it.
        bench.read(&anna).await
    };
    assert_eq!(tokio::join!(late, meanwhile), (json!(1), json!(3)));
    assert_eq!((bench.read(&anna).await, bench.requests()), (json!(3), 3));
}

#[tokio::test(start_paused = true)]
async fn tenants_callers_and_rights_are_kept_apart() {
    let (bench, anna) = (Bench::new(), user("anna", &["task:view"]));
    let with = |change: fn(&mut Caller)| {
        let mut caller = (*anna).clone();
        change(&mut caller);
        Arc::new(caller)
    };
    let callers = [
        Arc::clone(&anna),
        user("bert", &["task:view"]),
        with(|caller| caller.tenant = "tenant-2".into()),
        with(|caller| caller.permissions = Some(Permissions::all())),
        with(|caller| caller.roles = vec!["approver".to_owned()]),
        with(|caller| caller.permissions = None),
    ];
    for _ in 0..2 {
        for (index, caller) in callers.iter().enumerate() {
            assert_eq!(bench.read(caller).await, index + 1);
        }
    }
    let versions = |caller| call(caller, "processes_versions", &json!({ "id": "process-1" }), CallOptions::default());
    let before = bench.requests();
    for caller in &callers[..2] {
        let versions = versions(caller);
        assert!(versions.entry.spec.shared_in_tenant);
        bench.run(versions).await.unwrap();
    }
    assert_eq!(bench.requests() - before, 1, "what cannot depend on who asks is shared");
}

#[tokio::test(start_paused = true)]
async fn a_known_version_is_asked_about_and_true_for_another_while() {
    let (bench, anna) = (Bench::new(), user("anna", &[]));
    bench.read(&anna).await;
    tokio::time::advance(Duration::from_secs(3)).await;
    bench.refuse(Some(Error::new(Kind::BadAnswer, NOT_MODIFIED, "unchanged")));
    for _ in 0..3 {
        let reply = bench.run(task(&anna)).await.unwrap();
        assert_eq!((&reply.body["number"], reply.body.get("stale")), (&json!(1), None));
    }
    assert_eq!((bench.requests(), &*bench.platform.known.lock().unwrap()), (2, &vec!["\"1\"".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn while_a_service_is_away_the_error_says_what_is_still_served() {
    let (bench, anna) = (Bench::new(), user("anna", &[]));
    bench.read(&anna).await;
    bench.refuse(Some(away()));
    let told = async |call: Call| bench.run(call).await.unwrap_err().next_step().map(str::to_owned);
    let served = "What you read a moment ago is still served from the cache: tasks_get.";
    assert_eq!(told(list(&anna)).await.as_deref(), Some(served));
    assert_eq!(told(list(&user("bert", &[]))).await, None, "another caller has read nothing");
    assert_eq!(told(call(&anna, "processes_list", &json!({}), CallOptions::default())).await, None, "of another service");
    let write = || call(&anna, "tasks_create", &json!({ "title": "Check" }), CallOptions::default());
    bench.refuse(Some(Error::new(Kind::NotFound, "X", "gone")));
    assert_eq!(told(list(&anna)).await, None, "the service is not away");
    bench.refuse(Some(away()));
    bench.refuse(Some(away().unsent()));
    assert_eq!(told(write()).await.as_deref(), Some(served), "what was never sent changed nothing");
    bench.refuse(Some(away()));
    assert_eq!(told(write()).await, None, "what may have been written is read again");
    bench.refuse(None);
    bench.read(&anna).await;
    bench.refuse(Some(away()));
    tokio::time::advance(Duration::from_mins(2)).await;
    assert_eq!(told(list(&anna)).await, None, "it is too old");
}

#[tokio::test(start_paused = true)]
async fn while_a_service_is_away_an_older_answer_says_so_for_a_time() {
    let (bench, anna) = (Bench::new(), user("anna", &[]));
    bench.read(&anna).await;
    bench.refuse(Some(away()));
    tokio::time::advance(Duration::from_secs(12)).await;
    for _ in 0..2 {
        let reply = bench.run(task(&anna)).await.unwrap();
        assert_eq!(reply.body["number"], 1);
        assert_eq!(reply.body["stale"]["because"], "FM-MCP-CIRCUIT-OPEN");
        assert!(reply.body["stale"]["ageSeconds"].as_u64().is_some_and(|age| (12..14).contains(&age)), "{}", reply.body);
    }
    bench.refuse(Some(Error::new(Kind::NotFound, "X", "gone")));
    assert_eq!(bench.run(task(&anna)).await.unwrap_err().code(), "X", "an answer of the service counts");
    bench.refuse(None);
    bench.read(&anna).await;
    bench.refuse(Some(away()));
    tokio::time::advance(Duration::from_mins(2)).await;
    assert_eq!(bench.run(task(&anna)).await.unwrap_err().code(), "FM-MCP-CIRCUIT-OPEN", "too old");
    bench.refuse(None);
    bench.read(&anna).await;
    bench.write(&anna).await;
    bench.refuse(Some(away()));
    bench.run(task(&anna)).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn failures_are_not_kept_and_a_call_may_ask_for_the_present_state() {
    let (bench, anna) = (Bench::new(), user("anna", &[]));
    bench.refuse(Some(Error::new(Kind::NotFound, "X", "no")));
    let failed = join_all((0..10).map(|_| bench.run(task(&anna)))).await;
    assert!(failed.iter().all(|failed| failed.as_ref().is_err_and(|error| error.code() == "X")));
    assert_eq!(bench.requests(), 1);
    bench.refuse(None);
    assert_eq!(bench.read(&anna).await, 2);
    let fresh = CallOptions { is_fresh: true, ..CallOptions::default() };
    let fresh = bench.run(call(&anna, "tasks_get", &json!({ "id": "task-1" }), fresh)).await.unwrap();
    assert_eq!(fresh.body["number"], 3);
    for _ in 0..2 {
        bench.run(call(&anna, "tasks_history", &json!({ "id": "task-1" }), CallOptions::default())).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_keeps_a_quarter_at_most() {
    let settings = CacheSettings { bytes: 400_000, ..CacheSettings::default() };
    let bench = Bench::of(settings, Numbered { size: 10_000, ..Numbered::default() });
    let anna = user("anna", &[]);
    let read = |index: usize| bench.run(call(&anna, "prompts_get", &json!({ "id": format!("prompt-{index}") }), CallOptions::default()));
    for index in 0..50 {
        read(index).await.unwrap();
    }
    bench.cache.answers.run_pending_tasks().await;
    let kept = bench.cache.shares.of("tenant-1");
    assert!((50_000..=100_000).contains(&kept), "{kept}");
    let before = bench.requests();
    read(0).await.unwrap();
    assert_eq!(bench.requests(), before, "what was kept first is still there");
    bench.cache.answers.invalidate_all();
    bench.cache.answers.run_pending_tasks().await;
    assert_eq!(bench.cache.shares.of("tenant-1"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_of_the_platform_evicts_what_it_tells_of() {
    let (bench, anna) = (Bench::new(), user("anna", &[]));
    let event = |topic: &str, source: &str| -> Event {
        serde_json::from_value(json!({ "id": "evt-1", "type": topic, "source": source, "data": { "taskId": "task-1" } })).unwrap()
    };
    assert_eq!(bench.read(&anna).await, 1);
    for (topic, source) in [("task.imagined", "/users/eve"), ("order.opened", "/services/shop"), ("schedule.fired", "/services/scheduler")]
    {
        bench.cache.evict(&anna.tenant, Some(&event(topic, source)));
        assert_eq!(bench.read(&anna).await, 1, "{topic} evicts nothing");
    }
    bench.cache.evict(&"tenant-2".into(), Some(&event("task.responded", "")));
    assert_eq!(bench.read(&anna).await, 1, "an event of another tenant evicts nothing");
    bench.cache.evict(&anna.tenant, Some(&event("task.responded", "")));
    assert_eq!(bench.read(&anna).await, 2);
    bench.cache.evict(&anna.tenant, Some(&event("task.sla_breached", "/services/human-task")));
    assert_eq!(bench.read(&anna).await, 3);
    bench.cache.evict(&anna.tenant, None);
    assert_eq!(bench.read(&anna).await, 4);
}
