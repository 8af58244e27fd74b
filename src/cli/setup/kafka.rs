//! From settings to the topics of the platform's Apache Kafka.

use std::net::IpAddr;
use std::sync::Arc;

use crate::client::events::Bus;
use crate::config::{Config, KafkaSasl, KafkaSettings};
use crate::error::{Error, Kind, Result};
use crate::telemetry::metrics::Metrics;

/// Longest name of a Kafka topic.
const MAX_TOPIC: usize = 249;

/// The bus that event streams read, where Kafka is set.
pub(crate) fn bus(config: &Config, metrics: &Metrics) -> Result<Option<Arc<dyn Bus>>> {
    let kafka = &config.events.kafka;
    if !kafka.is_set() {
        return Ok(None);
    }
    check(config, kafka)?;
    #[cfg(feature = "kafka")]
    {
        Ok(Some(build(kafka, metrics)))
    }
    #[cfg(not(feature = "kafka"))]
    {
        let _ = metrics;
        Err(not_built())
    }
}

#[cfg(feature = "kafka")]
fn build(kafka: &KafkaSettings, metrics: &Metrics) -> Arc<dyn Bus> {
    use crate::client::events::kafka::{Kafka, Options, Sasl};
    let sasl = match (kafka.sasl, &kafka.username, &kafka.password) {
        (Some(mechanism), Some(username), Some(password)) => Some(Sasl {
            mechanism: match mechanism {
                KafkaSasl::Plain => "PLAIN",
                KafkaSasl::ScramSha256 => "SCRAM-SHA-256",
                KafkaSasl::ScramSha512 => "SCRAM-SHA-512",
            },
            username: username.clone(),
            password: password.clone(),
        }),
        _ => None,
    };
    let options = Options {
        topic_prefix: kafka.topic_prefix.clone().unwrap_or_default(),
        topics: kafka.topics.clone(),
        tls: kafka.tls == Some(true),
        ca_file: kafka.ca_file.clone(),
        sasl,
        ..Options::new(kafka.brokers.clone())
    };
    Arc::new(Kafka::new(&options, metrics.clone()))
}

#[cfg(not(feature = "kafka"))]
fn not_built() -> Error {
    Error::configuration(Kind::Unsupported, "FM-CONFIG-KAFKA", "events.kafka is set, but this build cannot read Apache Kafka").hint(
        "Build it with `cargo install --path . --profile dist --features kafka`, which needs make, a C++ compiler and OpenSSL's headers, or leave events.kafka out.",
    )
}

/// Rejects what does not go together.
fn check(config: &Config, kafka: &KafkaSettings) -> Result<()> {
    if kafka.brokers.is_empty() {
        return Err(invalid("events.kafka is set without events.kafka.brokers", "Name the brokers, or leave events.kafka out."));
    }
    if config.url.is_none() {
        return Err(invalid(
            "events.kafka.brokers is set, but the embedded platform does not use Apache Kafka",
            "Set FLOWMASTER_URL to the FlowMaster whose event bus these brokers are, or leave events.kafka out.",
        ));
    }
    if let Some(broker) = kafka.brokers.iter().find(|broker| host_of(broker).is_none()) {
        return Err(invalid(
            format!("events.kafka.brokers names `{broker}`, which is not a host and a port"),
            "Write each broker as HOST:PORT, such as kafka-1.example.com:9092.",
        ));
    }
    let prefix = kafka.topic_prefix.iter().map(|prefix| ("events.kafka.topic_prefix", prefix));
    let topics = kafka.topics.values().map(|topic| ("events.kafka.topics", topic));
    if let Some((setting, name)) = prefix.chain(topics).find(|(_, name)| !is_topic(name)) {
        return Err(invalid(
            format!("{setting} has `{name}`, which cannot be in the name of a Kafka topic"),
            format!("Kafka topics have 1 to {MAX_TOPIC} letters, digits, dots, dashes and underscores."),
        ));
    }
    if kafka.ca_file.is_some() && kafka.tls != Some(true) {
        return Err(invalid("events.kafka.ca_file is set without events.kafka.tls", "Set events.kafka.tls to true, or leave ca_file out."));
    }
    if let Some(file) = kafka.ca_file.as_ref().filter(|file| !file.is_file()) {
        return Err(invalid(format!("events.kafka.ca_file is {}, which is not a file", file.display()), "Name the authorities' PEM file."));
    }
    let login = [kafka.sasl.is_some(), kafka.username.is_some(), kafka.password.is_some()];
    if login.contains(&true) && login.contains(&false) {
        return Err(invalid(
            "events.kafka has a part of a login alone",
            "Set events.kafka.sasl, events.kafka.username and events.kafka.password together (FLOWMASTER_KAFKA_PASSWORD), or none.",
        ));
    }
    if kafka.sasl == Some(KafkaSasl::Plain) && kafka.tls != Some(true) && !is_local(kafka) {
        return Err(invalid(
            "events.kafka.sasl is plain without events.kafka.tls: the password would travel unencrypted beyond this machine",
            "Set events.kafka.tls to true, or events.kafka.sasl to scram-sha-512.",
        ));
    }
    Ok(())
}

fn invalid(message: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::configuration(Kind::Invalid, "FM-CONFIG-KAFKA", message).hint(hint)
}

/// The host of a broker; none where it is not one with a port.
fn host_of(broker: &str) -> Option<&str> {
    let (host, port) = broker.rsplit_once(':')?;
    let is_whole = port.parse::<u16>().is_ok_and(|port| port > 0);
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_name = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte));
    (is_whole && is_name).then_some(host)
}

/// Whether all brokers are on this machine.
pub(crate) fn is_local(kafka: &KafkaSettings) -> bool {
    let is_here = |host: &str| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    kafka.brokers.iter().all(|broker| host_of(broker).is_some_and(is_here))
}

fn is_topic(name: &str) -> bool {
    (1..=MAX_TOPIC).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn bus_of(url: Option<&str>, variables: &[(&str, &str)]) -> Result<Option<Arc<dyn Bus>>> {
        let flags = Settings { url: url.map(str::to_owned), ..Settings::default() };
        let look_up = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            found.or_else(|| (name == "HOME").then(|| "/home/x".to_owned()))
        };
        bus(&Config::load(&flags, None, &look_up).unwrap(), &Metrics::default())
    }

    #[test]
    fn kafka_is_set_whole_or_refused() {
        let (url, brokers) = (Some("https://flowmaster.example"), ("FLOWMASTER_KAFKA_BROKERS", "kafka-1:9092, 10.0.0.2:9092"));
        let refused = |url, variables: &[(&str, &str)], part: &str| {
            let error = bus_of(url, variables).unwrap_err();
            assert!(error.code() == "FM-CONFIG-KAFKA" && error.message().contains(part), "{error}");
            assert!(error.next_step().is_some(), "{error}");
        };
        assert!(bus_of(url, &[]).unwrap().is_none());
        refused(url, &[("FLOWMASTER_KAFKA_TLS", "true")], "without events.kafka.brokers");
        refused(None, &[brokers], "embedded");
        for wrong in ["kafka-1", "kafka-1:", ":9092", "kafka-1:0", "kafka-1:99999", "http://kafka-1:9092", "a b:1"] {
            refused(url, &[("FLOWMASTER_KAFKA_BROKERS", wrong)], "not a host and a port");
        }
        refused(url, &[brokers, ("FLOWMASTER_KAFKA_TOPIC_PREFIX", "a/b")], "topic_prefix");
        refused(url, &[brokers, ("FLOWMASTER_KAFKA_CA_FILE", "/nowhere")], "without events.kafka.tls");
        refused(url, &[brokers, ("FLOWMASTER_KAFKA_TLS", "true"), ("FLOWMASTER_KAFKA_CA_FILE", "/nowhere")], "not a file");
        refused(url, &[brokers, ("FLOWMASTER_KAFKA_USERNAME", "mcp")], "a part of a login");
        let login = [("FLOWMASTER_KAFKA_SASL", "plain"), ("FLOWMASTER_KAFKA_USERNAME", "mcp"), ("FLOWMASTER_KAFKA_PASSWORD", "topsecret")];
        refused(url, &[&[brokers], &login[..]].concat(), "unencrypted");

        let good = [
            bus_of(url, &[brokers]),
            bus_of(url, &[&[brokers, ("FLOWMASTER_KAFKA_TLS", "true")], &login[..]].concat()),
            bus_of(url, &[&[("FLOWMASTER_KAFKA_BROKERS", "localhost:1,[::1]:9092")], &login[..]].concat()),
        ];
        for found in good {
            if cfg!(feature = "kafka") {
                let shown = format!("{:?}", found.unwrap().unwrap());
                assert!(!shown.contains("topsecret"), "{shown}");
            } else {
                let error = found.unwrap_err();
                assert_eq!((error.kind(), error.code()), (Kind::Unsupported, "FM-CONFIG-KAFKA"));
                assert!(error.next_step().unwrap().contains("--features kafka"), "{error}");
            }
        }
    }
}
