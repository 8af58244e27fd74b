//! Apache Kafka as the source of events: `cargo test --features kafka --test it client::events::kafka`.
//!
//! The brokers are those of librdkafka's mock cluster, which speak the protocol on loopback and can be cut. The tests that cut
//! nothing run against a real broker as well, each on topics of its own, where `FLOWMASTER_KAFKA_BROKERS` names one, such as
//! `127.0.0.1:9092` after either of these:
//!
//! ```sh
//! # Apache Kafka 4, in its folder
//! bin/kafka-storage.sh format --standalone -t "$(bin/kafka-storage.sh random-uuid)" -c config/server.properties
//! bin/kafka-server-start.sh config/server.properties
//!
//! # Tansu, another broker of the protocol, in memory
//! tansu broker --listener-url tcp://127.0.0.1:9092 --advertised-listener-url tcp://127.0.0.1:9092
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flowmaster_mcp::api::{Event, Timestamp};
use flowmaster_mcp::auth::Principal;
use flowmaster_mcp::client::events::kafka::{Kafka, Options};
use flowmaster_mcp::client::events::{Bus, EventStream, Hub, Notice, Source};
use flowmaster_mcp::client::{Client, Fixed};
use flowmaster_mcp::error::Kind;
use flowmaster_mcp::telemetry::metrics::Metrics;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{WAIT, caller, events, next, started, subscriptions};
use crate::support::platform::{TestPlatform, http};

/// Aggregates whose events are told apart.
const AGGREGATES: u64 = 5;

/// Brokers, and a producer that writes as the platform's event bus does.
struct Brokers {
    mock: Option<MockCluster<'static, DefaultProducerContext>>,
    address: String,
    producer: FutureProducer,
    /// What stands before the topics of this test.
    prefix: String,
}

impl Brokers {
    /// Brokers of the mock cluster.
    fn mock() -> Self {
        let mock = MockCluster::new(3).unwrap();
        let address = mock.bootstrap_servers();
        Self::at(Some(mock), address)
    }

    /// Those that the environment names, or the mock cluster's.
    fn any() -> Self {
        match std::env::var("FLOWMASTER_KAFKA_BROKERS") {
            Ok(address) if !address.is_empty() => Self::at(None, address),
            _ => Self::mock(),
        }
    }

    fn at(mock: Option<MockCluster<'static, DefaultProducerContext>>, address: String) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &address).set("enable.idempotence", "true").set("message.max.bytes", "4000000");
        config.set("reconnect.backoff.ms", "10").set("reconnect.backoff.max.ms", "100").set("retry.backoff.ms", "10");
        config.set("linger.ms", "0");
        let producer = config.create().unwrap();
        let prefix = format!("it-{}-{}.", std::process::id(), Timestamp::now().millis());
        Self { mock, address, producer, prefix }
    }

    async fn create(&self, topic: &str, partitions: i32) {
        let name = format!("{}{topic}", self.prefix);
        if let Some(mock) = &self.mock {
            return mock.create_topic(&name, partitions, 3).unwrap();
        }
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", &self.address).create().unwrap();
        let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        admin.create_topics([&topic], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    }

    fn options(&self) -> Options {
        Options {
            topic_prefix: self.prefix.clone(),
            look_every: Duration::from_millis(300),
            check_every: Duration::from_millis(300),
            ..Options::new(vec![self.address.clone()])
        }
    }

    async fn send(&self, topic: &str, key: &str, payload: &[u8], headers: &[(&str, &str)]) {
        let topic = format!("{}{topic}", self.prefix);
        let headers = headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
        let record = FutureRecord::to(&topic).key(key).payload(payload).headers(headers);
        self.producer.send(record, WAIT).await.unwrap();
    }

    /// Takes all brokers away for a moment.
    async fn cut(&self, gone: Duration) {
        let mock = self.mock.as_ref().unwrap();
        mock.broker_down(-1).unwrap();
        sleep(gone).await;
        mock.broker_up(-1).unwrap();
    }
}

/// A client of a platform whose events come from Kafka.
fn client(url: &str, kafka: &Arc<Kafka>) -> Client {
    let bus: Arc<dyn Bus> = Arc::clone(kafka) as _;
    Client::builder(Arc::new(Fixed::new(url).unwrap())).bus(Some(bus)).build()
}

fn stream(url: &str, kafka: &Arc<Kafka>, token: &str, since: Option<Timestamp>) -> EventStream {
    let principal: Arc<dyn Principal> = Arc::new(caller(token));
    EventStream::open(client(url, kafka), principal, "*", since)
}

fn kafka(options: &Options) -> Arc<Kafka> {
    Arc::new(Kafka::new(options, Metrics::default()))
}

/// Has the platform log a numbered event of an aggregate.
async fn log(url: &str, token: &str, n: u64) -> Value {
    let topic = ["order.opened", "order.paid", "order.closed"][usize::try_from(n % 3).unwrap()];
    let body = json!({ "topic": topic, "event": { "n": n, "orderId": format!("order-{}", n % AGGREGATES) } });
    let sent = http().post(format!("{url}/events")).bearer_auth(token).json(&body).send().await.unwrap();
    assert_eq!(sent.status(), 201);
    sent.json().await.unwrap()
}

/// Has the platform log numbered events, and writes them to Kafka by their aggregates, as its event bus does.
async fn publish(brokers: &Brokers, kafka_topic: &str, url: &str, token: &str, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let event = log(url, token, n).await;
        brokers.send(kafka_topic, event["data"]["orderId"].as_str().unwrap(), event.to_string().as_bytes(), &[]).await;
        // At least once, as the event bus delivers.
        if n.is_multiple_of(7) {
            brokers.send(kafka_topic, event["data"]["orderId"].as_str().unwrap(), event.to_string().as_bytes(), &[]).await;
        }
    }
}

fn numbers(events: &[Arc<Event>]) -> Vec<u64> {
    events.iter().map(|event| event.data["n"].as_u64().unwrap()).collect()
}

/// Holds numbers to be whole: each once, those of an aggregate in their order.
fn hold_whole(came: &[u64], range: std::ops::Range<u64>) {
    for aggregate in 0..AGGREGATES {
        let of_it: Vec<u64> = came.iter().copied().filter(|n| n % AGGREGATES == aggregate).collect();
        assert!(of_it.is_sorted(), "order-{aggregate} is out of order: {of_it:?}");
    }
    let mut sorted = came.to_vec();
    sorted.sort_unstable();
    assert_eq!(sorted, range.collect::<Vec<_>>());
}

/// Holds the next notices to tell of no event for a while.
async fn hold_silent(stream: &mut EventStream) {
    while let Ok(Some(notice)) = timeout(Duration::from_secs(1), stream.next()).await {
        assert!(!matches!(notice, Ok(Notice::Event(_))), "{notice:?}");
    }
}

#[tokio::test]
async fn a_stream_over_brokers_that_are_cut_loses_and_repeats_nothing() {
    let (platform, brokers) = (TestPlatform::start().await, Brokers::mock());
    let (url, owner) = (platform.running.url(), platform.owner());
    brokers.create("orders", 4).await;
    let topics = BTreeMap::from([("*".to_owned(), format!("{}orders", brokers.prefix))]);
    let options = Options { topics, ..brokers.options() };
    publish(&brokers, "orders", &url, &owner, 0..3).await;

    let reading = kafka(&options);
    let mut followed = stream(&url, &reading, &owner, None);
    assert_eq!(started(&mut followed).await, Source::Kafka);
    assert!(subscriptions(&platform).await.is_empty(), "nothing is subscribed to at the platform");
    let cutting = async {
        for n in 0..20 {
            sleep(Duration::from_millis(40 + 17 * (n % 5))).await;
            brokers.cut(Duration::from_millis(5 + 10 * (n % 4))).await;
        }
    };
    let publishing = publish(&brokers, "orders", &url, &owner, 3..203);
    let (came, (), ()) = tokio::join!(events(&mut followed, 200), publishing, cutting);
    hold_whole(&numbers(&came), 3..203);

    // The server ends, and starts again later.
    let last = came.iter().filter_map(|event| event.time).max();
    followed.close().await;
    drop(reading);
    publish(&brokers, "orders", &url, &owner, 203..213).await;
    let reading = kafka(&options);
    let mut followed = stream(&url, &reading, &owner, last);
    let mut came = Vec::new();
    while came.last() != Some(&212) {
        let event = events(&mut followed, 1).await.remove(0);
        came.push(event.data["n"].as_u64().unwrap());
    }
    // The moment of the last event is told again.
    came.retain(|n| *n >= 203);
    publish(&brokers, "orders", &url, &owner, 213..233).await;
    came.extend(numbers(&events(&mut followed, 20).await));
    hold_whole(&came, 203..233);
    assert!(reading.dropped().values().all(|count| *count == 0), "{:?}", reading.dropped());
    followed.close().await;
}

#[tokio::test]
async fn records_of_other_tenants_and_no_events_reach_nobody() {
    let (platform, brokers) = (TestPlatform::start().await, Brokers::any());
    let (url, owner) = (platform.running.url(), platform.owner());
    let stranger = platform.signed_in("globex", "eve@globex.example", &["event:view"]).await;
    brokers.create("order.opened", 1).await;
    let metrics = Metrics::kept(false).unwrap();
    let reading = Arc::new(Kafka::new(&brokers.options(), metrics.clone()));
    let (mut own, mut foreign) = (stream(&url, &reading, &owner, None), stream(&url, &reading, &stranger, None));
    assert_eq!((started(&mut own).await, started(&mut foreign).await), (Source::Kafka, Source::Kafka));

    let event = |id: &str, more: Value| {
        let mut event = json!({ "id": id, "type": "order.opened", "data": { "n": 1 } });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event.to_string().into_bytes()
    };
    for (payload, headers) in [
        (event("evt-none", json!({})), &[][..]),
        (event("evt-empty", json!({ "tenantid": "" })), &[]),
        (event("evt-two", json!({ "tenantid": "tenant-local" })), &[("x-tenant-id", "globex")]),
        (event("evt-forged", json!({ "tenantid": "tenant-local", "type": "task.created" })), &[]),
        (b"{".to_vec(), &[("ce_tenantid", "tenant-local")]),
        (event("evt-large", json!({ "tenantid": "tenant-local", "data": { "text": "x".repeat(1_300_000) } })), &[]),
        (event("evt-elsewhere", json!({ "tenantid": "initech" })), &[]),
        (event("evt-foreign", json!({ "tenantid": "globex" })), &[]),
        (event("evt-own", json!({ "tenantid": "tenant-local" })), &[]),
    ] {
        brokers.send("order.opened", "order-1", &payload, headers).await;
    }
    let heard = (events(&mut own, 1).await.remove(0), events(&mut foreign, 1).await.remove(0));
    assert_eq!((heard.0.id.as_str(), heard.1.id.as_str()), ("evt-own", "evt-foreign"));
    assert_eq!(heard.0.tenantid.as_ref().unwrap().as_str(), "tenant-local");
    let dropped = BTreeMap::from([("malformed", 3), ("no_tenant", 2), ("too_large", 1)]);
    assert_eq!(reading.dropped(), dropped);
    for (reason, count) in dropped {
        let line = format!("flowmaster_mcp_events_dropped_total{{reason=\"{reason}\"}} {count}");
        assert!(metrics.page().contains(&line), "{line}\n{}", metrics.page());
    }
    brokers.send("order.opened", "order-1", br#"{ "tenantId": "tenant-local", "event": {} }"#, &[]).await;
    assert!(matches!(next(&mut own).await, Ok(Notice::Hint)), "a record without an id says to read again");
    hold_silent(&mut own).await;
    hold_silent(&mut foreign).await;
}

#[tokio::test]
async fn the_platform_decides_who_hears_of_kafka() {
    let (platform, brokers) = (TestPlatform::start().await, Brokers::any());
    let url = platform.running.url();
    brokers.create("order.opened", 1).await;
    let reading = kafka(&brokers.options());
    let without = platform.signed_in("tenant-local", "bob@acme.example", &["task:view"]).await;
    let refused = next(&mut stream(&url, &reading, &without, None)).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Forbidden, "{refused}");
    let ada = platform.signed_in("tenant-local", "ada@acme.example", &["event:view"]).await;
    let refused = next(&mut stream(&url, &reading, &of_another_tenant(&ada), None)).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unauthenticated, "{refused}");

    let mut followed = stream(&url, &reading, &ada, None);
    assert_eq!(started(&mut followed).await, Source::Kafka);
    platform.post("/auth/logout", &ada, json!({})).await.ok();
    let ended = next(&mut followed).await.unwrap_err();
    assert_eq!(ended.kind(), Kind::Unauthenticated, "{ended}");
    assert!(followed.next().await.is_none());
}

/// A token with another tenant in its claims, which nobody has signed so.
fn of_another_tenant(token: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let parts: Vec<&str> = token.split('.').collect();
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    claims["tenantId"] = json!("globex");
    format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2])
}

#[tokio::test]
async fn a_kafka_topic_that_is_new_is_read_from_its_beginning() {
    let (platform, brokers) = (TestPlatform::start().await, Brokers::any());
    let (url, owner) = (platform.running.url(), platform.owner());
    brokers.create("order.opened", 1).await;
    let hub = Hub::new(client(&url, &kafka(&brokers.options())));
    let mut follower = hub.follow(&caller(&owner));
    timeout(WAIT, follower.stands()).await.unwrap().unwrap();
    brokers.create("order.shipped", 2).await;
    let headers = [("ce_specversion", "1.0"), ("ce_id", "evt-1"), ("ce_type", "order.shipped"), ("ce_tenantid", "tenant-local")];
    brokers.send("order.shipped", "order-1", br#"{ "n": 1 }"#, &headers).await;
    let event = loop {
        if let Some(Notice::Event(event)) = timeout(WAIT, follower.next()).await.unwrap() {
            break event;
        }
    };
    assert_eq!((event.id.as_str(), event.topic.as_str(), &event.data["n"]), ("evt-1", "order.shipped", &json!(1)));
    hub.close().await;
}

#[tokio::test]
async fn what_kafka_has_dropped_is_told_and_replayed() {
    let (platform, brokers) = (TestPlatform::start().await, Brokers::mock());
    let (url, owner) = (platform.running.url(), platform.owner());
    brokers.create("orders", 1).await;
    let topics = BTreeMap::from([("*".to_owned(), format!("{}orders", brokers.prefix))]);
    let reading = kafka(&Options { topics, ..brokers.options() });
    let mut followed = stream(&url, &reading, &owner, None);
    assert_eq!(started(&mut followed).await, Source::Kafka);
    publish(&brokers, "orders", &url, &owner, 0..2).await;
    let mut came = numbers(&events(&mut followed, 2).await);

    // The consumer gets nothing while the partition, which keeps 5 MiB, goes on.
    let mock = brokers.mock.as_ref().unwrap();
    mock.request_errors(RDKafkaApiKey::Fetch, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT; 500]);
    sleep(Duration::from_secs(1)).await;
    publish(&brokers, "orders", &url, &owner, 2..8).await;
    for _ in 0..12 {
        brokers.send("orders", "filler", &vec![b'x'; 900_000], &[]).await;
    }
    mock.clear_request_errors(RDKafkaApiKey::Fetch);
    let mut is_told = false;
    while came.len() < 8 {
        match next(&mut followed).await.unwrap() {
            Notice::Hint => is_told = true,
            Notice::Event(event) => came.push(event.data["n"].as_u64().unwrap()),
            Notice::Started(_) => {}
        }
    }
    assert!(is_told, "a gap says to read again");
    publish(&brokers, "orders", &url, &owner, 8..14).await;
    came.extend(numbers(&events(&mut followed, 6).await));
    hold_whole(&came, 0..14);
    followed.close().await;
}
