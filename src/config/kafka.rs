//! The platform's Apache Kafka, whose topics the server can read itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// The platform's Apache Kafka, read in place of the WebSocket gateway.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSettings {
    /// Brokers of the platform's Apache Kafka, such as `kafka-1.example.com:9092`, whose topics are read in place of the WebSocket gateway; needs a build with the feature `kafka`; none if absent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub brokers: Vec<String>,
    /// What stands before a platform topic in the name of its Kafka topic, such as `flowmaster.`; then every Kafka topic with it is read, otherwise the contract's ten; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_prefix: Option<String>,
    /// Kafka topics of another name, by platform topic or pattern: `"execution.*" = "executions"`, or `"*"` for one Kafka topic that has all.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub topics: BTreeMap<String, String>,
    /// Whether the brokers are reached over TLS; false if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
    /// PEM file of the authorities that sign the brokers' certificates; the system's if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How the server signs in at the brokers by SASL; not at all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sasl: Option<KafkaSasl>,
    /// The user that signs in there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// That user's password.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
}

impl KafkaSettings {
    /// Whether anything is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        let Self { brokers, topic_prefix, topics, tls, ca_file, sasl, username, password } = self;
        !brokers.is_empty()
            || !topics.is_empty()
            || topic_prefix.is_some()
            || tls.is_some()
            || ca_file.is_some()
            || sasl.is_some()
            || username.is_some()
            || password.is_some()
    }
}

/// A SASL mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KafkaSasl {
    /// The password itself, which needs TLS beyond this machine.
    #[serde(rename = "plain")]
    Plain,
    /// SCRAM with SHA-256.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// SCRAM with SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}
