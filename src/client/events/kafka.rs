//! Apache Kafka as the bus: the topics of the platform, read by one consumer for all tenants of this process.
//!
//! The consumer is in no group, so every process reads everything. It begins where each partition ends when it opens, keeps its
//! offsets itself, and goes on by them after any cut. A record whose tenant nobody follows is dropped at once.

mod reader;
mod record;
mod topics;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use secrecy::{ExposeSecret as _, SecretString};

use self::reader::{Reader, Reading};
use self::topics::Topics;
use super::bus::{Bus, Joined};
use crate::api::ids::TenantId;
use crate::telemetry::metrics::Metrics;

/// Bytes of records that wait in the consumer, in all and of one partition in one answer.
const MAX_QUEUED: usize = 16 << 20;
const MAX_FETCHED: usize = 8 << 20;

/// How Kafka is reached, and which of its topics are read.
#[derive(Debug, Clone)]
pub struct Options {
    /// The brokers, each with its port.
    pub brokers: Vec<String>,
    /// What stands before a platform topic in the name of its Kafka topic.
    pub topic_prefix: String,
    /// Kafka topics of another name, by platform topic or pattern.
    pub topics: BTreeMap<String, String>,
    /// Whether the brokers are reached over TLS.
    pub tls: bool,
    /// The authorities that sign their certificates; the system's if absent.
    pub ca_file: Option<PathBuf>,
    /// How the server signs in.
    pub sasl: Option<Sasl>,
    /// How often new topics and partitions are looked for.
    pub look_every: Duration,
    /// How often the platform is asked whether a caller may still read events.
    pub check_every: Duration,
}

/// How the server signs in at the brokers.
#[derive(Debug, Clone)]
pub struct Sasl {
    /// The mechanism, as SASL names it: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: &'static str,
    /// The user.
    pub username: String,
    /// The user's password.
    pub password: SecretString,
}

impl Options {
    /// The topics of the contract under their own names, without TLS and without a login.
    #[must_use]
    pub fn new(brokers: Vec<String>) -> Self {
        Self {
            brokers,
            topic_prefix: String::new(),
            topics: BTreeMap::new(),
            tls: false,
            ca_file: None,
            sasl: None,
            look_every: Duration::from_secs(30),
            check_every: Duration::from_secs(30),
        }
    }

    /// The settings of librdkafka.
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.brokers.join(","))
            .set("client.id", "flowmaster-mcp")
            // An assignment by hand needs the name of a group, which the consumer does not join.
            .set("group.id", "flowmaster-mcp")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // What the broker has dropped is told, not passed over.
            .set("auto.offset.reset", "error")
            .set("reconnect.backoff.max.ms", "2000")
            .set("socket.keepalive.enable", "true")
            .set("queued.max.messages.kbytes", (MAX_QUEUED >> 10).to_string())
            .set("fetch.message.max.bytes", record::MAX_BYTES.to_string())
            .set("fetch.max.bytes", MAX_FETCHED.to_string())
            .set("security.protocol", self.protocol())
            .set_log_level(RDKafkaLogLevel::Warning);
        if let Some(file) = &self.ca_file {
            config.set("ssl.ca.location", file.display().to_string());
        }
        if let Some(sasl) = &self.sasl {
            config
                .set("sasl.mechanism", sasl.mechanism)
                .set("sasl.username", &sasl.username)
                .set("sasl.password", sasl.password.expose_secret());
        }
        config
    }

    const fn protocol(&self) -> &'static str {
        match (self.tls, self.sasl.is_some()) {
            (false, false) => "plaintext",
            (false, true) => "sasl_plaintext",
            (true, false) => "ssl",
            (true, true) => "sasl_ssl",
        }
    }
}

/// See the module. Nothing is connected before somebody joins.
pub struct Kafka {
    reading: Arc<Reading>,
    check_every: Duration,
    /// The reader, for as long as somebody hears of it.
    running: Mutex<Weak<Reader>>,
}

impl Kafka {
    /// Kafka by its options; records that are dropped are counted in the figures.
    #[must_use]
    pub fn new(options: &Options, metrics: Metrics) -> Self {
        let topics = Topics::new(options.topic_prefix.clone(), &options.topics);
        let reading = Arc::new(Reading::new(options.config(), topics, options.look_every, metrics));
        Self { reading, check_every: options.check_every, running: Mutex::default() }
    }

    /// How many records were dropped, by the reason.
    #[must_use]
    pub fn dropped(&self) -> BTreeMap<&'static str, u64> {
        self.reading.dropped()
    }
}

impl Bus for Kafka {
    fn join(&self, tenant: &TenantId) -> Joined {
        let mut running = lock(&self.running);
        let reader = running.upgrade().unwrap_or_else(|| {
            let reader = Arc::new(Reader::start(&self.reading));
            *running = Arc::downgrade(&reader);
            reader
        });
        Joined { told: reader.join(tenant), stands: reader.stands(), check_every: self.check_every, _reading: reader }
    }

    fn trouble(&self) -> Option<String> {
        self.reading.trouble()
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
