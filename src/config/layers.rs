//! The layers of settings, each checked by the one schema and then laid over the one below.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::{Settings, Source, places};
use crate::api::arguments::{Reading, check};
use crate::api::near::nearest;
use crate::api::{FieldError, schema};
use crate::error::{Error, Kind, Result};

/// Each setting with its variable.
pub const ENVIRONMENT: &[(&str, &str)] = &[
    ("url", "FLOWMASTER_URL"),
    ("token", "FLOWMASTER_TOKEN"),
    ("refresh_token", "FLOWMASTER_REFRESH_TOKEN"),
    ("username", "FLOWMASTER_USERNAME"),
    ("password", "FLOWMASTER_PASSWORD"),
    ("tenant", "FLOWMASTER_TENANT"),
    ("data_dir", "FLOWMASTER_DATA_DIR"),
    ("allow_dir", "FLOWMASTER_ALLOW_DIR"),
    ("log", "FLOWMASTER_LOG"),
    ("log_format", "FLOWMASTER_LOG_FORMAT"),
    ("confirm.fallback", "FLOWMASTER_CONFIRM"),
    ("confirm.timeout", "FLOWMASTER_CONFIRM_TIMEOUT"),
    ("call.timeout", "FLOWMASTER_CALL_TIMEOUT"),
    ("call.attempts", "FLOWMASTER_CALL_ATTEMPTS"),
    ("call.connect_timeout", "FLOWMASTER_CONNECT_TIMEOUT"),
    ("call.first_byte_timeout", "FLOWMASTER_FIRST_BYTE_TIMEOUT"),
    ("call.idle_timeout", "FLOWMASTER_IDLE_TIMEOUT"),
    ("call.cache_size", "FLOWMASTER_CACHE_SIZE"),
    ("call.cache_stale", "FLOWMASTER_CACHE_STALE"),
    ("call.answer_limit", "FLOWMASTER_ANSWER_LIMIT"),
    ("http.listen", "FLOWMASTER_HTTP_LISTEN"),
    ("http.public_url", "FLOWMASTER_PUBLIC_URL"),
    ("http.allowed_hosts", "FLOWMASTER_ALLOWED_HOSTS"),
    ("http.allowed_origins", "FLOWMASTER_ALLOWED_ORIGINS"),
    ("http.sessions_per_tenant", "FLOWMASTER_SESSIONS_PER_TENANT"),
    ("http.initializations_per_minute", "FLOWMASTER_INITIALIZATIONS_PER_MINUTE"),
    ("auth.mode", "FLOWMASTER_AUTH_MODE"),
    ("auth.jwks_url", "FLOWMASTER_JWKS_URL"),
    ("auth.key_file", "FLOWMASTER_AUTH_KEY_FILE"),
    ("auth.secret", "FLOWMASTER_AUTH_SECRET"),
    ("auth.issuers", "FLOWMASTER_AUTH_ISSUERS"),
    ("auth.audiences", "FLOWMASTER_AUTH_AUDIENCES"),
    ("auth.authorization_servers", "FLOWMASTER_AUTHORIZATION_SERVERS"),
    ("auth.validate_interval", "FLOWMASTER_VALIDATE_INTERVAL"),
    ("upstream.mode", "FLOWMASTER_UPSTREAM_MODE"),
    ("upstream.token_url", "FLOWMASTER_UPSTREAM_TOKEN_URL"),
    ("upstream.client_id", "FLOWMASTER_UPSTREAM_CLIENT_ID"),
    ("upstream.client_secret", "FLOWMASTER_UPSTREAM_CLIENT_SECRET"),
    ("upstream.audience", "FLOWMASTER_UPSTREAM_AUDIENCE"),
    ("upstream.on_behalf_of", "FLOWMASTER_UPSTREAM_ON_BEHALF_OF"),
    ("upstream.idempotency_keys", "FLOWMASTER_IDEMPOTENCY_KEYS"),
    ("upstream.slow_call", "FLOWMASTER_SLOW_CALL"),
    ("upstream.breaker_wait", "FLOWMASTER_BREAKER_WAIT"),
    ("upstream.max_in_flight", "FLOWMASTER_MAX_IN_FLIGHT"),
    ("upstream.extensions", "FLOWMASTER_UPSTREAM_EXTENSIONS"),
    ("upstream.gateway_request", "FLOWMASTER_GATEWAY_REQUEST"),
    ("upstream.allow_plain_http", "FLOWMASTER_UPSTREAM_ALLOW_PLAIN_HTTP"),
    ("discovery.mode", "FLOWMASTER_DISCOVERY"),
    ("discovery.allowed_hosts", "FLOWMASTER_DISCOVERY_HOSTS"),
    ("discovery.refresh", "FLOWMASTER_DISCOVERY_REFRESH"),
    ("service.token", "FLOWMASTER_SERVICE_TOKEN"),
    ("permissions.filter", "FLOWMASTER_PERMISSIONS_FILTER"),
    ("toolsets", "FLOWMASTER_TOOLSETS"),
    ("tools", "FLOWMASTER_TOOLS"),
    ("exclude_tools", "FLOWMASTER_EXCLUDE_TOOLS"),
    ("read_only", "FLOWMASTER_READ_ONLY"),
    ("events.error_numbers", "FLOWMASTER_EVENTS_ERROR_NUMBERS"),
    ("events.webhooks.allowed_hosts", "FLOWMASTER_EVENTS_WEBHOOK_HOSTS"),
    ("events.kafka.brokers", "FLOWMASTER_KAFKA_BROKERS"),
    ("events.kafka.topic_prefix", "FLOWMASTER_KAFKA_TOPIC_PREFIX"),
    ("events.kafka.tls", "FLOWMASTER_KAFKA_TLS"),
    ("events.kafka.ca_file", "FLOWMASTER_KAFKA_CA_FILE"),
    ("events.kafka.sasl", "FLOWMASTER_KAFKA_SASL"),
    ("events.kafka.username", "FLOWMASTER_KAFKA_USERNAME"),
    ("events.kafka.password", "FLOWMASTER_KAFKA_PASSWORD"),
    ("telemetry.metrics_listen", "FLOWMASTER_METRICS_LISTEN"),
    ("telemetry.metrics_token_file", "FLOWMASTER_METRICS_TOKEN_FILE"),
    ("telemetry.tenant_label", "FLOWMASTER_METRICS_TENANT_LABEL"),
    ("audit.platform", "FLOWMASTER_AUDIT_PLATFORM"),
    ("audit.file", "FLOWMASTER_AUDIT_FILE"),
    ("audit.bodies", "FLOWMASTER_AUDIT_BODIES"),
    ("embedded.hosts", "FLOWMASTER_EMBEDDED_HOSTS"),
    ("agents.calls_per_minute", "FLOWMASTER_AGENT_CALLS_PER_MINUTE"),
    ("agents.tokens_per_day", "FLOWMASTER_AGENT_TOKENS_PER_DAY"),
];

/// Settings that the file alone can hold: tables and lists of a company's own.
pub const FILE_ONLY: &[&str] = &[
    "discovery.services",
    "discovery.prefer",
    "service.tokens",
    "permissions.names",
    "policy",
    "secrets",
    "limits.caller",
    "limits.tenant",
    "events.kafka.topics",
    "embedded.routes",
    "agents.providers",
];

/// Settings whose values are never shown.
pub const SECRETS: &[&str] =
    &["token", "refresh_token", "password", "auth.secret", "upstream.client_secret", "service.token", "events.kafka.password"];

/// The variable of a setting.
#[must_use]
pub fn environment_of(setting: &str) -> Option<&'static str> {
    ENVIRONMENT.iter().find(|(known, _)| *known == setting).map(|(_, variable)| *variable)
}

/// Variables that look like a slip of the pen, each with the one that was likely meant. They are not an error: a company
/// may have `FLOWMASTER_` variables of its own, and secrets that calls name.
pub fn slips_in(names: impl Iterator<Item = String>) -> Vec<(String, &'static str)> {
    let known: Vec<&str> = ENVIRONMENT.iter().map(|(_, variable)| *variable).chain(["FLOWMASTER_CONFIG"]).collect();
    names
        .filter(|name| name.starts_with("FLOWMASTER_") && !name.starts_with("FLOWMASTER_SECRET_") && !known.contains(&name.as_str()))
        .filter_map(|name| nearest(&name, &known).map(|meant| (name, meant)))
        .collect()
}

/// What all layers together say.
pub(super) struct Layers {
    pub(super) settings: Settings,
    pub(super) file: Option<PathBuf>,
    pub(super) file_found: bool,
    pub(super) sources: BTreeMap<String, Source>,
    /// What tells two values of a setting apart, and nothing of a value.
    pub(super) marks: BTreeMap<&'static str, u64>,
    /// What is wrong with them, a layer after the other; the settings are without it.
    pub(super) faults: Vec<Error>,
}

/// Reads all layers. A setting with a fault is left out, so that the others can be looked at.
pub(super) fn read(flags: &Settings, named: Option<&Path>, environment: &dyn Fn(&str) -> Option<String>) -> Layers {
    let schema = schema::of::<Settings>();
    let mut merged = Map::new();
    let mut sources = BTreeMap::new();
    let mut faults = Vec::new();
    let set = |name: &str| environment(name).filter(|value| !value.is_empty());

    let named = named.map(Path::to_path_buf).or_else(|| set("FLOWMASTER_CONFIG").map(PathBuf::from));
    let file = named.clone().or_else(|| places::config_file(environment));
    let mut file_found = false;
    if let Some(path) = &file {
        match read_file(path, named.is_some()) {
            Ok(None) => {}
            Ok(Some(layer)) => {
                file_found = true;
                let layer = sound(&schema, layer, Reading::Strict, |found| faults.push(fault_of_file(path, found)));
                lay(&mut merged, layer, "", Source::File, &mut sources);
            }
            Err(error) => {
                file_found = path.exists();
                faults.push(error);
            }
        }
    }

    let mut layer = Value::Object(Map::new());
    for (setting, variable) in ENVIRONMENT {
        if let Some(value) = set(variable) {
            put(&mut layer, setting, from_environment(&schema, setting, value));
        }
    }
    let layer = sound(&schema, layer, Reading::Lenient, |found| faults.push(fault_of_environment(found)));
    lay(&mut merged, layer, "", Source::Environment, &mut sources);

    let layer = serde_json::to_value(flags).unwrap_or_else(|error| {
        faults.push(Error::internal(error));
        Value::Null
    });
    let layer = sound(&schema, layer, Reading::Lenient, |found| faults.push(fault("a flag", found)));
    lay(&mut merged, layer, "", Source::Flag, &mut sources);

    let marks = marks(&merged);
    let settings = serde_json::from_value(Value::Object(merged)).unwrap_or_else(|error| {
        faults.push(Error::internal(error));
        Settings::default()
    });
    Layers { settings, file, file_found, sources, marks, faults }
}

/// The marks of all settings that are set. Their key is the process's own, so that a mark of a secret tells nobody anything.
fn marks(merged: &Map<String, Value>) -> BTreeMap<&'static str, u64> {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let names = ENVIRONMENT.iter().map(|(setting, _)| *setting).chain(FILE_ONLY.iter().copied());
    let value = |setting: &str| {
        let mut parts = setting.split('.');
        parts.next().and_then(|table| parts.try_fold(merged.get(table)?, |place, name| place.get(name)))
    };
    names.filter_map(|setting| Some((setting, KEY.hash_one(value(setting)?.to_string())))).collect()
}

/// A layer without the settings that have a fault; `tell` gets the faults.
fn sound(schema: &Map<String, Value>, mut layer: Value, reading: Reading, tell: impl FnOnce(Vec<FieldError>)) -> Value {
    let Err(found) = check(schema, &mut layer, reading) else { return layer };
    for fault in &found {
        leave_out(&mut layer, &fault.pointer);
    }
    tell(found);
    // A fault that belongs to no setting in particular leaves nothing of the layer.
    if check(schema, &mut layer, reading).is_err() { Value::Null } else { layer }
}

/// Removes the setting that a pointer leads into; of a list, such as the policy, nothing remains.
fn leave_out(layer: &mut Value, pointer: &str) {
    let unescaped = |part: &str| part.replace("~1", "/").replace("~0", "~");
    let parts: Vec<String> = pointer.trim_start_matches('/').split('/').map(unescaped).collect();
    let mut place = layer;
    for (index, part) in parts.iter().enumerate() {
        let Value::Object(fields) = place else { return };
        let goes_on = index + 1 < parts.len() && fields.get(part).is_some_and(Value::is_object);
        if !goes_on {
            fields.shift_remove(part);
            return;
        }
        let Some(next) = fields.get_mut(part) else { return };
        place = next;
    }
}

/// Reads the file. The default file may be absent.
fn read_file(path: &Path, named: bool) -> Result<Option<Value>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => return Ok(None),
        Err(error) => {
            return Err(Error::configuration(
                Kind::Invalid,
                "FM-CONFIG-FILE",
                format!("the configuration {} cannot be read: {error}", path.display()),
            )
            .hint("Name a file that is there with --config or FLOWMASTER_CONFIG."));
        }
    };
    let table: toml::Table = toml::from_str(&text).map_err(|error: toml::de::Error| {
        // The error's own text quotes the line, which may hold a token.
        let line = error.span().map_or(1, |span| 1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count());
        Error::configuration(Kind::Invalid, "FM-CONFIG-FILE", format!("{} line {line} is not TOML: {}", path.display(), error.message()))
    })?;
    serde_json::to_value(table).map(Some).map_err(Error::internal)
}

/// A list is written with commas.
fn from_environment(schema: &Map<String, Value>, setting: &str, value: String) -> Value {
    let mut place = schema.get("properties");
    for part in setting.split('.') {
        place = place.map(|place| place.get("properties").unwrap_or(place)).and_then(|place| place.get(part));
    }
    let is_list = place.and_then(|place| place.get("type")).is_some_and(|kind| kind == "array");
    if is_list && !value.trim_start().starts_with('[') {
        return value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect();
    }
    Value::String(value)
}

fn put(layer: &mut Value, setting: &str, value: Value) {
    let mut place = layer;
    for part in setting.split('.') {
        let Value::Object(fields) = place else { return };
        place = fields.entry(part).or_insert_with(|| Value::Object(Map::new()));
    }
    *place = value;
}

/// Lays one layer over what is there, and remembers who said what.
fn lay(below: &mut Map<String, Value>, layer: Value, prefix: &str, source: Source, sources: &mut BTreeMap<String, Source>) {
    let Value::Object(fields) = layer else { return };
    for (name, value) in fields {
        let setting = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        if value.is_object() {
            if let Value::Object(inner) = below.entry(name).or_insert_with(|| Value::Object(Map::new())) {
                lay(inner, value, &setting, source, sources);
            }
        } else {
            below.insert(name, value);
            sources.insert(setting, source);
        }
    }
}

fn fault_of_file(path: &Path, faults: Vec<FieldError>) -> Error {
    fault(&format!("the configuration {}", path.display()), faults)
}

fn fault_of_environment(faults: Vec<FieldError>) -> Error {
    fault("the environment", faults)
}

fn fault(where_: &str, faults: Vec<FieldError>) -> Error {
    let unknown = faults.iter().filter(|fault| fault.code == "unknown").count();
    let (code, what) = match unknown {
        0 => ("FM-CONFIG-INVALID", "has a wrong value"),
        count if count == faults.len() => ("FM-CONFIG-KEY", "has a key that is unknown"),
        _ => ("FM-CONFIG-KEY", "has unknown keys and wrong values"),
    };
    let faults = faults
        .into_iter()
        .map(|fault| {
            let setting = fault.pointer.trim_start_matches('/').replace('/', ".");
            let variable = environment_of(&setting).filter(|_| where_ == "the environment");
            // What a token looks like stays untold.
            let detail = if SECRETS.iter().any(|secret| setting.starts_with(secret)) { "must be text".to_owned() } else { fault.detail };
            FieldError::new(variable.map_or(setting, str::to_owned), fault.code, detail)
        })
        .collect();
    Error::configuration(Kind::Invalid, code, format!("{where_} {what}"))
        .with_fields(faults)
        .hint("`flowmaster-mcp doctor` shows every fault; with --all it lists the settings.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_variable() {
        fn leaves(prefix: &str, schema: &Map<String, Value>, into: &mut Vec<String>) {
            for (name, property) in schema["properties"].as_object().unwrap() {
                let setting = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                match property.as_object().filter(|property| property.contains_key("properties")) {
                    Some(section) => leaves(&setting, section, into),
                    None => into.push(setting),
                }
            }
        }
        let mut settings = Vec::new();
        leaves("", &schema::of::<Settings>(), &mut settings);
        settings.retain(|setting| !FILE_ONLY.contains(&setting.as_str()));
        assert_eq!(settings, ENVIRONMENT.iter().map(|(setting, _)| (*setting).to_owned()).collect::<Vec<_>>());
    }

    #[test]
    fn a_slip_of_the_pen_is_seen() {
        let names = ["FLOWMASTER_TOKN", "FLOWMASTER_BILLING_ACCOUNT_OF_THE_COMPANY", "FLOWMASTER_URL", "HOME"];
        let slips = slips_in(names.into_iter().map(str::to_owned));
        assert_eq!(slips, [("FLOWMASTER_TOKN".to_owned(), "FLOWMASTER_TOKEN")]);
    }
}
