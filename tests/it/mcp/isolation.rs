//! Many tenants with many callers each, all calling at once in both revisions: not one answer crosses a tenant or a caller.
//!
//! Small by default; `FLOWMASTER_ISOLATION=whole` runs 1,000 tenants of 10 callers and 200,000 calls, and
//! `FLOWMASTER_ISOLATION=100x10x20000` as much as it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flowmaster_mcp::auth::{KeySet, Mode, OwnerToken, Rules, Verifier};
use flowmaster_mcp::client::{Client, PlatformKeys, TokenStatus};
use flowmaster_mcp::server::{Authentication, Settings};
use futures_util::StreamExt as _;
use futures_util::stream;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::support::mcp;
use crate::support::platform::TestPlatform;
use crate::support::raw::{Answer, Served, answer, serve};

/// How many calls run at once.
const AT_ONCE: u64 = 32;
/// How long after its last use a session is surely there still; it ends by itself after ten idle minutes.
const FRESH: Duration = Duration::from_mins(8);
/// What callers may do, in turn; the first of a tenant defines its records.
const POWERS: [&[&str]; 3] = [&["entity:*"], &["entity:view", "entity:insert"], &["entity:view", "entity:insert", "task:view"]];

/// How much is called.
struct Scale {
    tenants: usize,
    callers: usize,
    calls: u64,
}

impl Scale {
    fn chosen() -> Self {
        let chosen = std::env::var("FLOWMASTER_ISOLATION").unwrap_or_default();
        let numbers: Vec<usize> = match chosen.as_str() {
            "" => vec![20, 3, 600],
            "whole" => vec![1000, 10, 200_000],
            numbers => numbers.split('x').map(|number| number.parse().unwrap()).collect(),
        };
        let [tenants, callers, calls] = numbers[..] else { panic!("FLOWMASTER_ISOLATION is TENANTSxCALLERSxCALLS") };
        Self { tenants, callers, calls: calls as u64 }
    }
}

/// A caller: its token, what it may do, the record that it wrote, and its session of the old revision with its last use.
struct Person {
    tenant: usize,
    subject: String,
    token: String,
    powers: usize,
    record: String,
    session: Mutex<Option<(String, Instant)>>,
}

impl Person {
    fn tenant_id(&self) -> String {
        tenant_id(self.tenant)
    }

    /// What its record holds and nobody else's.
    fn mark(&self) -> String {
        format!("mark-{}-{}-end", self.tenant, self.subject)
    }
}

fn tenant_id(tenant: usize) -> String {
    format!("tenant-{tenant:04}")
}

/// All that runs.
struct Stage {
    served: Served,
    people: Vec<Person>,
    scale: Scale,
    ids: AtomicU64,
}

/// What a seed gives next.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_answer_crosses_a_tenant_or_a_caller() {
    let scale = Scale::chosen();
    let platform = TestPlatform::start().await;
    let served = serve(mcp::app(&platform, Settings::default()), admission(&platform), |options| {
        options.sessions = 20_000;
        options.initializations_per_minute = 1000;
    })
    .await;
    let began = Instant::now();
    let people = people(&platform, &served, &scale).await;
    let (tenants, callers, calls) = (scale.tenants, scale.callers, scale.calls);
    eprintln!("{tenants} tenants of {callers} callers are there after {:?}", began.elapsed());

    let began = Instant::now();
    let stage = Arc::new(Stage { served, people, scale, ids: AtomicU64::new(1000) });
    let mut running = tokio::task::JoinSet::new();
    for worker in 0..AT_ONCE {
        let stage = Arc::clone(&stage);
        let share = calls / AT_ONCE + u64::from(worker < calls % AT_ONCE);
        running.spawn(async move {
            let mut dice = Dice(worker + 1);
            for _ in 0..share {
                stage.call(&mut dice).await;
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    eprintln!("{calls} calls took {:?}", began.elapsed());
}

/// Tokens are verified as they are in earnest.
fn admission(platform: &TestPlatform) -> Authentication {
    let origin = mcp::origin(platform);
    let mut rules = Rules::new(Mode::FirstParty);
    rules.audiences_any = vec!["flowmaster".to_owned()];
    let verifier = Verifier::new(rules, KeySet::published(Arc::new(PlatformKeys::new(Arc::clone(&origin)))))
        .confirmed_by(Arc::new(TokenStatus::new(Client::builder(origin).build())), Duration::from_mins(1));
    Authentication::Bearer(Arc::new(OwnerToken::new(&platform.owner().into(), Some(Arc::new(verifier)))))
}

/// Makes the callers, each with a record of its own.
async fn people(platform: &TestPlatform, served: &Served, scale: &Scale) -> Vec<Person> {
    let callers = scale.callers;
    let made = stream::iter(0..scale.tenants).map(|tenant| async move {
        let mut people = Vec::new();
        for number in 0..callers {
            people.push(person(platform, served, tenant, number).await);
        }
        people
    });
    made.buffered(32).concat().await
}

async fn person(platform: &TestPlatform, served: &Served, tenant: usize, number: usize) -> Person {
    let powers = number % POWERS.len();
    let (tenant_id, name) = (tenant_id(tenant), format!("caller-{number}"));
    // A password takes long to derive: a few people are users, and all others services.
    let (token, subject) = if tenant < 3 && number == 1 {
        let id = platform.user(&tenant_id, &name, &[], POWERS[powers]).await;
        (platform.login(&tenant_id, &name).await, id)
    } else {
        let service = json!({ "name": name, "permissions": POWERS[powers], "tenantId": tenant_id });
        let made = platform.post("/service-tokens", &platform.owner(), service).await.ok();
        (made["token"].as_str().unwrap().to_owned(), format!("service-{name}"))
    };
    let mut person = Person { tenant, subject, token, powers, record: String::new(), session: Mutex::default() };
    let call =
        |tool: &str, arguments: Value| answer(served.modern(&person.token, "tools/call", &json!({ "name": tool, "arguments": arguments })));
    if number == 0 {
        call("entities_define", json!({ "entityType": "note" })).await.result();
    }
    let written = call("entities_insert", json!({ "type": "note", "data": { "mark": person.mark() } })).await;
    person.record.push_str(written.result()["structuredContent"]["id"].as_str().unwrap());
    person
}

impl Stage {
    fn someone(&self, dice: &mut Dice) -> &Person {
        &self.people[usize::try_from(dice.roll(self.people.len() as u64)).unwrap()]
    }

    /// One call of anybody's, in an revision that chance gives, and all that its answer must hold.
    async fn call(&self, dice: &mut Dice) {
        let person = self.someone(dice);
        match dice.roll(8) {
            0 => {
                let answer = self.tool(person, dice, "auth_validate", json!({})).await;
                let claims = &answer.result()["structuredContent"]["claims"];
                assert_eq!((&claims["sub"], &claims["tenantId"]), (&json!(person.subject), &json!(person.tenant_id())), "{claims:#}");
            }
            1 => {
                let answer = self.tool(person, dice, "entities_get", json!({ "type": "note", "id": person.record })).await;
                assert_eq!(answer.result()["structuredContent"]["data"]["mark"], person.mark());
            }
            2 => {
                let answer = self.tool(person, dice, "entities_query", json!({ "type": "note", "limit": 50 })).await;
                let items = answer.result()["structuredContent"]["items"].as_array().unwrap();
                assert_eq!(items.len(), self.scale.callers, "{items:#?}");
            }
            3 => {
                let other = self.someone(dice);
                let answer = self.tool(person, dice, "entities_get", json!({ "type": "note", "id": other.record })).await;
                assert_eq!(answer.result()["isError"], json!(other.tenant != person.tenant), "{:#}", answer.body);
            }
            4 => {
                let answer = self.ask(person, dice, "tools/list", json!({})).await;
                let listed = answer.result()["tools"].as_array().unwrap();
                let has = |name: &str| listed.iter().any(|tool| tool["name"] == name);
                assert_eq!((has("entities_delete"), has("tasks_list")), (person.powers == 0, person.powers == 2), "{}", person.subject);
                assert!(has("entities_get"));
            }
            5 => {
                let uri = format!("flowmaster://entities/note/{}", person.record);
                let answer = self.ask(person, dice, "resources/read", json!({ "uri": uri })).await;
                assert!(answer.result()["contents"].to_string().contains(&person.mark()), "{:#}", answer.body);
            }
            6 => {
                let params = json!({
                    "ref": { "type": "ref/resource", "uri": "flowmaster://entities/{type}/{id}" },
                    "argument": { "name": "id", "value": "" }, "context": { "arguments": { "type": "note" } },
                });
                let answer = self.ask(person, dice, "completion/complete", params).await;
                let own = |id: &Value| self.of_tenant(person.tenant).iter().any(|other| *id == other.record);
                let values = answer.result()["completion"]["values"].as_array().unwrap();
                assert!(values.contains(&json!(person.record)) && values.iter().all(own), "{values:#?}");
            }
            _ => self.foreign_session(person, dice).await,
        }
    }

    /// A person's session of the old revision, about to be used.
    async fn session_of(&self, person: &Person) -> String {
        let mut session = person.session.lock().await;
        match &mut *session {
            Some((id, used)) if used.elapsed() < FRESH => {
                *used = Instant::now();
                id.clone()
            }
            none => {
                let id = self.served.open(&person.token).await;
                *none = Some((id.clone(), Instant::now()));
                id
            }
        }
    }

    fn of_tenant(&self, tenant: usize) -> &[Person] {
        &self.people[tenant * self.scale.callers..(tenant + 1) * self.scale.callers]
    }

    async fn tool(&self, person: &Person, dice: &mut Dice, tool: &str, arguments: Value) -> Answer {
        self.ask(person, dice, "tools/call", json!({ "name": tool, "arguments": arguments })).await
    }

    /// Asks in either revision. Whatever comes back is the answer to this request and holds nothing of another tenant.
    async fn ask(&self, person: &Person, dice: &mut Dice, method: &str, params: Value) -> Answer {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let request = if dice.roll(2) == 0 {
            let session = self.session_of(person).await;
            self.served.legacy_numbered(id, &person.token, &session, method, &params)
        } else {
            self.served.modern_numbered(id, &person.token, method, &params)
        };
        let answer = answer(request).await;
        assert_eq!((answer.status, &answer.body["id"]), (200, &json!(id)), "{method} of {}: {:#}", person.subject, answer.body);
        let text = answer.body.to_string();
        let own = format!("{}-", person.tenant);
        for (at, _) in text.match_indices("mark-") {
            assert!(text[at + 5..].starts_with(&own), "{method} of {} in {}: {text}", person.subject, person.tenant_id());
        }
        answer
    }

    /// Somebody else's session is not there, whoever asks.
    async fn foreign_session(&self, person: &Person, dice: &mut Dice) {
        let other = self.someone(dice);
        if other.token == person.token {
            return;
        }
        // Only its owner's requests keep a session from ending, so this one is not counted as a use.
        let session = other.session.lock().await.as_ref().filter(|(_, used)| used.elapsed() < FRESH).map(|(id, _)| id.clone());
        let Some(session) = session else { return };
        let request = match dice.roll(3) {
            0 => self.served.legacy_numbered(1, &person.token, &session, "tools/list", &json!({})),
            1 => self.served.on_session(Method::GET, &person.token, &session),
            _ => self.served.on_session(Method::DELETE, &person.token, &session),
        };
        assert_eq!(answer(request).await.status, 404);
    }
}
