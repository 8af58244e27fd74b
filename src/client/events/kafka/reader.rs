//! The consumer: which partitions are read from which offsets, and what becomes of each record.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{Consumer as _, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use tokio::sync::{broadcast, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;

use super::lock;
use super::record::{Dropped, Record, read};
use super::topics::Topics;
use crate::api::Timestamp;
use crate::api::ids::TenantId;
use crate::client::events::backoff::{self, LONGEST_WAIT};
use crate::client::events::bus::Told;
use crate::telemetry::metrics::Metrics;

/// Events of a tenant that wait for its slowest stream; one further behind replays what it missed.
const RING: usize = 2048;
/// How long a question to the brokers may take.
const ANSWER: Duration = Duration::from_secs(3);
const FIRST_WAIT: Duration = Duration::from_millis(200);

type Consumer = StreamConsumer<Context>;
/// The next offset to read, by Kafka topic and partition.
type Offsets = HashMap<String, BTreeMap<i32, i64>>;

/// What reading needs and leaves behind, whichever reader does it.
pub(super) struct Reading {
    config: ClientConfig,
    topics: Topics,
    look_every: Duration,
    metrics: Metrics,
    dropped: [AtomicU64; Dropped::ALL.len()],
    trouble: Arc<Mutex<Trouble>>,
}

/// Why the brokers cannot be read.
#[derive(Default)]
struct Trouble {
    now: Option<String>,
    /// The last line of the log of librdkafka, which says more than a code.
    line: Option<String>,
}

/// A consumer at work. Dropped, it ends.
pub(super) struct Reader {
    told: Arc<Listeners>,
    stop: CancellationToken,
}

/// Those who hear of it.
struct Listeners {
    tenants: Mutex<HashMap<TenantId, broadcast::Sender<Told>>>,
    stands: watch::Sender<bool>,
}

impl Reading {
    pub(super) fn new(config: ClientConfig, topics: Topics, look_every: Duration, metrics: Metrics) -> Self {
        Self { config, topics, look_every, metrics, dropped: Default::default(), trouble: Arc::default() }
    }

    pub(super) fn dropped(&self) -> BTreeMap<&'static str, u64> {
        Dropped::ALL.iter().zip(&self.dropped).map(|(dropped, count)| (dropped.reason(), count.load(Ordering::Relaxed))).collect()
    }

    pub(super) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).now.clone()
    }

    fn is_in_trouble(&self, error: &KafkaError) {
        let mut trouble = lock(&self.trouble);
        let text = trouble.line.as_ref().map_or_else(|| error.to_string(), |line| format!("{error}: {line}"));
        if trouble.now.replace(text.clone()).is_none() {
            tracing::warn!("Apache Kafka cannot be read, and is tried again: {text}");
        }
    }

    fn is_well(&self) {
        let mut trouble = lock(&self.trouble);
        trouble.line = None;
        if trouble.now.take().is_some() {
            tracing::info!("Apache Kafka is read again");
        }
    }
}

impl Reader {
    /// Begins to read, from where the partitions end then.
    pub(super) fn start(reading: &Arc<Reading>) -> Self {
        let told = Arc::new(Listeners { tenants: Mutex::default(), stands: watch::Sender::new(false) });
        let stop = CancellationToken::new();
        let job = Job { reading: Arc::clone(reading), told: Arc::clone(&told), offsets: Offsets::new(), has_looked: false };
        tokio::spawn(job.run(stop.clone()));
        Self { told, stop }
    }

    pub(super) fn join(&self, tenant: &TenantId) -> broadcast::Receiver<Told> {
        lock(&self.told.tenants).entry(tenant.clone()).or_insert_with(|| broadcast::Sender::new(RING)).subscribe()
    }

    pub(super) fn stands(&self) -> watch::Receiver<bool> {
        self.told.stands.subscribe()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Listeners {
    fn tell(&self, tenant: &TenantId, told: Told) {
        let mut tenants = lock(&self.tenants);
        if tenants.get(tenant).is_some_and(|listeners| listeners.send(told).is_err()) {
            tenants.remove(tenant);
        }
    }

    fn tell_all(&self, told: &Told) {
        lock(&self.tenants).retain(|_, listeners| listeners.send(told.clone()).is_ok());
    }
}

/// The work of a reader.
struct Job {
    reading: Arc<Reading>,
    told: Arc<Listeners>,
    /// Kept over consumers, so that the next one goes on where the last one was.
    offsets: Offsets,
    /// Whether the partitions were found once: those found later are read from their beginning.
    has_looked: bool,
}

/// What the brokers say of the partitions.
struct Looked {
    offsets: Offsets,
    is_new: bool,
    has_gap: bool,
}

impl Job {
    async fn run(mut self, stop: CancellationToken) {
        let mut waits = backoff::waits(FIRST_WAIT);
        while !stop.is_cancelled() {
            let began = Instant::now();
            let context = Context(Arc::clone(&self.reading.trouble));
            let ended = match self.reading.config.create_with_context::<_, Consumer>(context) {
                Ok(consumer) => {
                    let consumer = Arc::new(consumer);
                    let ended = tokio::select! {
                        biased;
                        () = stop.cancelled() => None,
                        ended = self.read(&consumer) => ended.err(),
                    };
                    // The end of a consumer waits for its threads.
                    let _ = spawn_blocking(move || drop(consumer)).await;
                    ended
                }
                Err(error) => Some(error),
            };
            let Some(error) = ended else { continue };
            self.reading.is_in_trouble(&error);
            if began.elapsed() > LONGEST_WAIT {
                waits = backoff::waits(FIRST_WAIT);
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(waits.next().unwrap_or(LONGEST_WAIT)) => {}
            }
        }
    }

    /// Reads until the consumer cannot go on.
    async fn read(&mut self, consumer: &Arc<Consumer>) -> KafkaResult<()> {
        self.look(consumer, true).await?;
        self.told.stands.send_replace(true);
        let every = self.reading.look_every;
        let mut look = interval_at(Instant::now() + every, every);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let failure = tokio::select! {
                _ = look.tick() => self.look(consumer, false).await.err(),
                message = consumer.recv() => match message {
                    Ok(message) => {
                        self.take(&message);
                        None
                    }
                    Err(error) => Some(error),
                },
            };
            let Some(error) = failure else { continue };
            match error.rdkafka_error_code() {
                // The broker does not have the next record, or not any more.
                Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                    tracing::debug!("an offset of Apache Kafka is out of range");
                    self.look(consumer, true).await?;
                    sleep(FIRST_WAIT).await;
                }
                _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => return Err(error),
                Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::Authentication) => self.reading.is_in_trouble(&error),
                // The consumer goes on by itself.
                _ => tracing::debug!("Apache Kafka: {error}"),
            }
        }
    }

    /// Finds the partitions there are. New ones, or all of them, are read from their offsets from here on.
    async fn look(&mut self, consumer: &Arc<Consumer>, assigns_all: bool) -> KafkaResult<()> {
        let (asked, reading) = (Arc::clone(consumer), Arc::clone(&self.reading));
        let (known, from_end) = (self.offsets.clone(), !self.has_looked);
        let looking = spawn_blocking(move || look(&asked, &reading.topics, known, from_end, assigns_all));
        let looked = looking.await.map_err(|_| KafkaError::Canceled)??;
        self.offsets = looked.offsets;
        self.has_looked = true;
        self.reading.is_well();
        if looked.is_new || assigns_all {
            consumer.assign(&assignment(&self.offsets)?)?;
        }
        if looked.has_gap {
            tracing::warn!("Apache Kafka has dropped records that were not read yet; what they told is replayed");
            self.told.tell_all(&Told::Gap);
        }
        Ok(())
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) {
        let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
        let Some(next) = self.offsets.get_mut(topic).and_then(|partitions| partitions.get_mut(&partition)) else { return };
        if offset < *next {
            return;
        }
        *next = offset + 1;
        self.reading.is_well();
        let headers: Vec<_> = message.headers().into_iter().flat_map(|headers| headers.iter()).collect();
        let headers: Vec<_> = headers.iter().filter_map(|header| Some((header.key, std::str::from_utf8(header.value?).ok()?))).collect();
        let time = message.timestamp().to_millis().map(Timestamp::from_millis);
        match read(&Record { kafka_topic: topic, payload: message.payload(), headers: &headers, time }, &self.reading.topics) {
            Ok((tenant, told)) => self.told.tell(&tenant, told),
            Err(dropped) => {
                let reason = dropped.reason();
                tracing::debug!(topic, partition, offset, reason, "dropped a record of Apache Kafka");
                self.reading.metrics.count_dropped_event(reason);
                if let Some((_, count)) = Dropped::ALL.iter().zip(&self.reading.dropped).find(|(known, _)| **known == dropped) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

/// Asks the brokers for the partitions, and holds what is known against what they still have.
fn look(consumer: &Consumer, topics: &Topics, mut offsets: Offsets, from_end: bool, checks_all: bool) -> KafkaResult<Looked> {
    let (mut is_new, mut has_gap) = (false, false);
    let metadata = consumer.fetch_metadata(None, ANSWER)?;
    for topic in metadata.topics().iter().filter(|topic| topics.are_in(topic.name())) {
        let partitions = offsets.entry(topic.name().to_owned()).or_default();
        for partition in topic.partitions() {
            let known = partitions.get(&partition.id()).copied();
            if known.is_some() && !checks_all {
                continue;
            }
            let (first, end) = consumer.fetch_watermarks(topic.name(), partition.id(), ANSWER)?;
            let next = match known {
                Some(next) if (first..=end).contains(&next) => next,
                // Its log was cut off, or is another one.
                Some(_) => {
                    has_gap = true;
                    first
                }
                None => {
                    is_new = true;
                    if from_end { end } else { first }
                }
            };
            partitions.insert(partition.id(), next);
        }
    }
    Ok(Looked { offsets, is_new, has_gap })
}

fn assignment(offsets: &Offsets) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (topic, partitions) in offsets {
        for (partition, next) in partitions {
            list.add_partition_offset(topic, *partition, Offset::Offset(*next))?;
        }
    }
    Ok(list)
}

/// Keeps what librdkafka says out of the program's own log, but for its last word on a failure.
struct Context(Arc<Mutex<Trouble>>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        tracing::debug!(facility, "librdkafka: {line}");
        if matches!(level, RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error) {
            // It begins with the name of a thread.
            let said = line.split_once("]: ").map_or(line, |(_, said)| said);
            lock(&self.0).line = Some(said.to_owned());
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("librdkafka: {error}: {reason}");
    }
}

impl ConsumerContext for Context {}
