//! The settings as they are in force: each with its value, by default or set, and where that comes from.

use serde_json::{Map, Value, json};

use crate::auth::Access;
use crate::cli::setup::bounds::bounds;
use crate::cli::setup::discovery;
use crate::cli::setup::http_auth;
use crate::cli::setup::upstream;
use crate::config::{Config, ENVIRONMENT, FILE_ONLY, SECRETS, Source, environment_of};
use crate::server::HttpOptions;

/// A setting in force.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) setting: &'static str,
    /// The variable; none where the file alone can hold it.
    pub(super) variable: Option<&'static str>,
    /// The value; null where there is none. A secret is not shown.
    pub(super) value: Value,
    /// Where it comes from; a default if absent.
    pub(super) source: Option<Source>,
}

impl Row {
    /// The value for people.
    pub(super) fn text(&self) -> String {
        match &self.value {
            Value::Null => "none".to_owned(),
            Value::String(text) => text.clone(),
            Value::Array(items) if items.is_empty() => "none".to_owned(),
            Value::Array(items) => {
                items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect::<Vec<_>>().join(", ")
            }
            other => other.to_string(),
        }
    }

    /// Where the value comes from.
    pub(super) fn origin(&self) -> String {
        self.source.map_or_else(|| "default".to_owned(), |source| source.to_string())
    }
}

/// Returns the settings that were set, or all of them.
pub(super) fn rows(config: &Config, all: bool) -> Vec<Row> {
    let names = ENVIRONMENT.iter().map(|(setting, _)| *setting).chain(FILE_ONLY.iter().copied());
    let rows = names.map(|setting| Row {
        setting,
        variable: environment_of(setting),
        value: value(config, setting),
        source: source(config, setting),
    });
    rows.filter(|row| all || row.source.is_some()).collect()
}

/// The rows as JSON, by the name of the setting.
pub(super) fn json(rows: &[Row]) -> Value {
    let fields = rows.iter().map(|row| (row.setting.to_owned(), json!({ "value": row.value, "source": row.origin() })));
    Value::Object(fields.collect::<Map<_, _>>())
}

/// Where a setting comes from; a table of the file counts where it holds anything.
fn source(config: &Config, setting: &str) -> Option<Source> {
    let below = |name: &str| name.strip_prefix(setting).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    config.sources.iter().find(|(name, _)| below(name)).map(|(_, source)| *source)
}

/// The value in force.
fn value(config: &Config, setting: &str) -> Value {
    if SECRETS.contains(&setting) || setting == "service.tokens" {
        return source(config, setting).map_or(Value::Null, |_| "set, not shown".into());
    }
    let (auth, upstream, http) = (&config.auth, &config.upstream, &config.http);
    let bounds = bounds(config, Access::default());
    match setting {
        "url" => json!(crate::cli::setup::name_of(config)),
        "username" => json!(config.username),
        "tenant" => json!(config.tenant),
        "data_dir" => json!(config.data_dir.display().to_string()),
        "allow_dir" => json!(config.allow_dir.as_ref().map(|path| path.display().to_string())),
        "log" => json!(config.log.as_deref().unwrap_or("by command: warn for serve on stdio")),
        "log_format" => json!(config.log_format),
        "confirm.fallback" => json!(config.fallback),
        "confirm.timeout" => json!(config.confirm_timeout.as_secs()),
        "call.timeout" => json!(config.call_timeout.as_secs()),
        "call.attempts" => json!(bounds.attempts),
        "call.connect_timeout" => json!(bounds.timeouts.connect.as_secs()),
        "call.first_byte_timeout" => json!(bounds.timeouts.first_byte.as_secs()),
        "call.idle_timeout" => json!(bounds.timeouts.idle.as_secs()),
        "call.cache_size" => json!(bounds.cache.bytes >> 20),
        "call.cache_stale" => json!(bounds.cache.stale.as_secs()),
        "call.answer_limit" => json!(config.answer_limit),
        "http.listen" => json!(config.listen.to_string()),
        "http.public_url" => json!(http.public_url),
        "http.allowed_hosts" => json!(http.allowed_hosts),
        "http.allowed_origins" => json!(http.allowed_origins),
        "http.sessions_per_tenant" => json!(http.sessions_per_tenant.unwrap_or(HttpOptions::SESSIONS_PER_TENANT)),
        "http.initializations_per_minute" => json!(http.initializations_per_minute.unwrap_or(HttpOptions::INITIALIZATIONS_PER_MINUTE)),
        "auth.mode" => json!(auth.mode),
        "auth.jwks_url" => json!(http_auth::jwks_url(config)),
        "auth.key_file" => json!(auth.key_file.as_ref().map(|path| path.display().to_string())),
        "auth.issuers" => json!(auth.issuers),
        "auth.audiences" => json!(http_auth::audiences(config)),
        "auth.authorization_servers" => json!(auth.authorization_servers),
        "auth.validate_interval" => json!(auth.validate_interval.unwrap_or(http_auth::VALIDATED.as_secs())),
        "upstream.mode" => json!(upstream::chosen(config)),
        "upstream.token_url" => json!(upstream.token_url),
        "upstream.client_id" => json!(upstream.client_id),
        "upstream.audience" => json!(upstream::audience(config)),
        "upstream.on_behalf_of" => json!(upstream::on_behalf_of(config)),
        "upstream.extensions" => json!(config.upstream.extensions),
        "upstream.gateway_request" => json!(upstream.gateway_request.unwrap_or_default()),
        "upstream.idempotency_keys" => json!(bounds.idempotency_keys),
        "upstream.slow_call" => json!(bounds.breaker.slow_call.as_secs()),
        "upstream.breaker_wait" => json!(bounds.breaker.wait.as_secs()),
        "upstream.max_in_flight" => json!(bounds.in_flight),
        "upstream.allow_plain_http" => json!(upstream.allow_plain_http.unwrap_or_default()),
        "permissions.filter" => json!(config.filter),
        "permissions.names" if config.permission_names.is_empty() => Value::Null,
        "permissions.names" => json!(config.permission_names),
        "policy" if config.policy.is_empty() => Value::Null,
        "policy" => json!(config.policy),
        "secrets" if config.secrets.is_empty() => Value::Null,
        "secrets" => json!(config.secrets),
        "toolsets" if config.toolsets.is_empty() && config.tools.is_empty() => json!(["all"]),
        "toolsets" => json!(config.toolsets),
        "tools" => json!(config.tools),
        "exclude_tools" => json!(config.exclude_tools),
        "read_only" => json!(config.read_only),
        "discovery.mode" => json!(config.discovery.mode.unwrap_or_default()),
        "discovery.services" if config.discovery.services.is_empty() => Value::Null,
        "discovery.services" => json!(config.discovery.services),
        "discovery.allowed_hosts" => json!(config.discovery.allowed_hosts),
        "discovery.prefer" if config.discovery.prefer.is_empty() => Value::Null,
        "discovery.prefer" => json!(config.discovery.prefer),
        "discovery.refresh" => json!(discovery::refresh(config).as_secs()),
        "limits.caller" if config.limits.caller.is_empty() => Value::Null,
        "limits.caller" => json!(config.limits.caller),
        "limits.tenant" if config.limits.tenant.is_empty() => Value::Null,
        "limits.tenant" => json!(config.limits.tenant),
        "events.error_numbers" => json!(config.events.error_numbers.unwrap_or_default()),
        "events.webhooks.allowed_hosts" => json!(config.events.webhooks.allowed_hosts),
        "events.kafka.brokers" => json!(config.events.kafka.brokers),
        "events.kafka.topic_prefix" => json!(config.events.kafka.topic_prefix),
        "events.kafka.topics" if config.events.kafka.topics.is_empty() => Value::Null,
        "events.kafka.topics" => json!(config.events.kafka.topics),
        "events.kafka.tls" => json!(config.events.kafka.tls.unwrap_or_default()),
        "events.kafka.ca_file" => json!(config.events.kafka.ca_file.as_ref().map(|path| path.display().to_string())),
        "events.kafka.sasl" => json!(config.events.kafka.sasl),
        "events.kafka.username" => json!(config.events.kafka.username),
        "telemetry.metrics_listen" => json!(config.telemetry.metrics_listen),
        "telemetry.metrics_token_file" => json!(config.telemetry.metrics_token_file.as_ref().map(|path| path.display().to_string())),
        "telemetry.tenant_label" => json!(config.telemetry.tenant_label.unwrap_or_default()),
        "audit.platform" => json!(upstream::platform_records(config)),
        "audit.file" => json!(config.audit.file.as_ref().map(|path| path.display().to_string())),
        "embedded.hosts" => json!(config.embedded.hosts),
        "embedded.routes" if config.embedded.routes.is_empty() => Value::Null,
        "embedded.routes" => json!(config.embedded.routes),
        "agents.calls_per_minute" => json!(config.agents.calls_per_minute.unwrap_or(60)),
        "agents.tokens_per_day" => json!(config.agents.tokens_per_day.unwrap_or(2_000_000)),
        "agents.providers" if config.agents.providers.is_empty() => Value::Null,
        "agents.providers" => json!(config.agents.providers),
        "audit.bodies" => json!(upstream::records_bodies(config)),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn config(variables: &[(&str, &str)]) -> Config {
        let look_up = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            found.or_else(|| (name == "HOME").then(|| "/home/x".to_owned()))
        };
        Config::load(&Settings::default(), None, &look_up).unwrap()
    }

    #[test]
    fn every_setting_has_its_value_and_only_set_ones_are_short() {
        let embedded = config(&[("FLOWMASTER_CALL_TIMEOUT", "30"), ("FLOWMASTER_TOKEN", "topsecret")]);
        let rows_of = |all| rows(&embedded, all);
        let set: Vec<_> = rows_of(false).iter().map(|row| (row.setting, row.text(), row.origin())).collect();
        let expected = [("token", "set, not shown"), ("call.timeout", "30")];
        assert_eq!(set, expected.map(|(setting, value)| (setting, value.to_owned(), "environment".to_owned())));
        let all = rows_of(true);
        assert_eq!(all.len(), ENVIRONMENT.len() + FILE_ONLY.len());
        let by_default = |setting: &str| all.iter().find(|row| row.setting == setting).unwrap().text();
        // What has no default of its own; everything else is told by its value.
        let none: Vec<_> = all.iter().filter(|row| row.text() == "none").map(|row| row.setting).collect();
        let may_be_absent = [
            "refresh_token",
            "username",
            "password",
            "tenant",
            "allow_dir",
            "http.public_url",
            "http.allowed_hosts",
            "http.allowed_origins",
            "auth.mode",
            "auth.jwks_url",
            "auth.key_file",
            "auth.secret",
            "auth.issuers",
            "auth.authorization_servers",
            "upstream.token_url",
            "upstream.client_id",
            "upstream.client_secret",
            "upstream.extensions",
            "discovery.allowed_hosts",
            "service.token",
            "tools",
            "exclude_tools",
            "events.webhooks.allowed_hosts",
            "events.kafka.brokers",
            "events.kafka.topic_prefix",
            "events.kafka.ca_file",
            "events.kafka.sasl",
            "events.kafka.username",
            "events.kafka.password",
            "telemetry.metrics_listen",
            "telemetry.metrics_token_file",
            "audit.file",
            "embedded.hosts",
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
        assert_eq!(none, may_be_absent);
        assert_eq!(by_default("http.sessions_per_tenant"), "64");
        assert_eq!((by_default("confirm.fallback"), by_default("permissions.filter")), ("host".to_owned(), "strict".to_owned()));
    }

    #[test]
    fn a_default_follows_from_what_is_set() {
        let real = config(&[("FLOWMASTER_URL", "https://flowmaster.example/api")]);
        let all = rows(&real, true);
        let of = |setting: &str| all.iter().find(|row| row.setting == setting).unwrap().text();
        assert_eq!((of("confirm.fallback"), of("permissions.filter")), ("refuse".to_owned(), "off".to_owned()));
        assert_eq!(of("auth.jwks_url"), "https://flowmaster.example/api/.well-known/jwks.json");
        assert_eq!(of("audit.platform"), "false", "without an account nothing goes to the platform");
    }
}
