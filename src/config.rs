//! The settings: flags over `FLOWMASTER_*` over a TOML file over defaults.
//!
//! A setting is one field here: its comment is the flag's help, the schema's description and the README's row.

mod agents;
mod audit;
mod auth;
mod calls;
mod discovery;
mod embedded;
mod events;
mod http;
mod kafka;
mod layers;
mod limits;
mod permissions;
mod places;
mod policy;
mod secrets;
mod telemetry;
mod upstream;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

pub use agents::{AgentSettings, ProviderForm, ProviderSettings};
pub use audit::AuditSettings;
pub use auth::{AuthMode, AuthSettings};
pub use calls::{CallSettings, ConfirmSettings, Fallback};
pub use discovery::{DiscoveryMode, DiscoverySettings};
pub use embedded::{EmbeddedSettings, RouteSettings};
pub use events::{ErrorNumbers, EventSettings, WebhookSettings};
pub use http::{DEFAULT_LISTEN, HttpSettings, listen_address};
pub use kafka::{KafkaSasl, KafkaSettings};
pub use layers::{ENVIRONMENT, FILE_ONLY, SECRETS, environment_of, slips_in};
pub use limits::LimitSettings;
pub use permissions::{PermissionFilter, PermissionSettings};
pub use policy::{PolicyDecision, PolicyRule};
pub use secrets::SecretEntry;
pub use telemetry::TelemetrySettings;
pub use upstream::{ServiceSettings, UpstreamMode, UpstreamSettings};

/// Seconds that a question waits for its answer.
const DEFAULT_CONFIRM_SECONDS: u64 = 300;
/// Seconds that a tool may take.
const DEFAULT_CALL_SECONDS: u64 = 60;
/// Bytes that an answer may have.
const DEFAULT_ANSWER_BYTES: usize = 32 * 1024;

/// What can be set, in a file by these names.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The address of a FlowMaster platform; without it the embedded one is used.
    #[arg(long, global = true, value_name = "URL", help_heading = "Settings")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// An access token of that platform. There is no flag for it: other users of a machine can read command lines.
    #[arg(skip)]
    #[serde(skip_serializing)]
    #[schemars(with = "Option<String>")]
    pub token: Option<SecretString>,
    /// The refresh token that came with it: renews the access token before it ends.
    #[arg(skip)]
    #[serde(skip_serializing)]
    #[schemars(with = "Option<String>")]
    pub refresh_token: Option<SecretString>,
    /// The user to sign in as, where there is neither a token nor a stored login.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// That user's password.
    #[arg(skip)]
    #[serde(skip_serializing)]
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// The tenant to sign in to, which the token must belong to; another one is refused.
    #[arg(long, global = true, value_name = "TENANT", help_heading = "Settings")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The embedded platform's folder; the user's data folder if absent.
    #[arg(long = "data", global = true, value_name = "DIR", help_heading = "Settings")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// A folder from which calls on stdio may name files in place of their content, as `file:reports/march.pdf`.
    #[arg(long = "allow-dir", global = true, value_name = "DIR", help_heading = "Settings")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_dir: Option<PathBuf>,
    /// What is logged to stderr, such as `info` or `warn,flowmaster_mcp=debug`.
    #[arg(long, global = true, value_name = "FILTER", help_heading = "Settings")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// How it is logged.
    #[arg(long, global = true, value_name = "FORMAT", help_heading = "Settings")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,
    /// What happens before a call that deletes, decides or grants.
    #[command(flatten)]
    pub confirm: ConfirmSettings,
    /// The bounds of one call.
    #[command(flatten)]
    pub call: CallSettings,
    /// MCP over HTTP.
    #[command(flatten)]
    pub http: HttpSettings,
    /// How callers over HTTP prove themselves.
    #[command(flatten)]
    pub auth: AuthSettings,
    /// How calls go on to the platform.
    #[command(flatten)]
    pub upstream: UpstreamSettings,
    /// Where the services of a platform are found.
    #[command(flatten)]
    pub discovery: DiscoverySettings,
    /// The server's own account at the platform.
    #[command(flatten)]
    pub service: ServiceSettings,
    /// What permissions mean.
    #[command(flatten)]
    pub permissions: PermissionSettings,
    /// Rules by which calls are allowed, confirmed or denied; the first that fits decides.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policy: Vec<PolicyRule>,
    /// Secrets that calls may name, `[secrets.NAME]`.
    #[arg(skip)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretEntry>,
    /// Toolsets that are offered, such as `essentials` or `tasks`; all tools if neither these nor single tools are named.
    #[arg(long, global = true, value_name = "NAMES", value_delimiter = ',', help_heading = "Settings")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub toolsets: Vec<String>,
    /// Single tools that are offered, beside those of the toolsets; a `*` at the end stands for any rest.
    #[arg(long, global = true, value_name = "NAMES", value_delimiter = ',', help_heading = "Settings")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// Tools that are not offered, whatever else names them; a `*` at the end stands for any rest.
    #[arg(long, global = true, value_name = "NAMES", value_delimiter = ',', help_heading = "Settings")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_tools: Vec<String>,
    /// Whether only tools that change nothing are offered; false if absent.
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Settings")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// How many calls a minute callers may make.
    #[command(flatten)]
    pub limits: LimitSettings,
    /// What happens on the platform, told to hosts by MCP Events.
    #[command(flatten)]
    pub events: EventSettings,
    /// The page of figures that Prometheus reads.
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
    /// The record of what was called and refused.
    #[command(flatten)]
    pub audit: AuditSettings,
    /// What the embedded platform may do.
    #[command(flatten)]
    pub embedded: EmbeddedSettings,
    /// How agents of the embedded platform reach language models.
    #[command(flatten)]
    pub agents: AgentSettings,
}

/// How it is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people, coloured on a terminal.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Where a setting came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The TOML file.
    File,
    /// A `FLOWMASTER_*` variable.
    Environment,
    /// A flag.
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flag => "flag",
        })
    }
}

/// The settings in force, checked and with their defaults.
#[derive(Debug, Clone)]
pub struct Config {
    /// A real platform's address; the embedded one if absent.
    pub url: Option<String>,
    /// The token that is passed on.
    pub token: Option<SecretString>,
    /// The refresh token that came with it.
    pub refresh_token: Option<SecretString>,
    /// The user to sign in as.
    pub username: Option<String>,
    /// That user's password.
    pub password: Option<SecretString>,
    /// The tenant to sign in to, which the token must belong to.
    pub tenant: Option<String>,
    /// The embedded platform's folder; logins, questions and audit rows wait there too.
    pub data_dir: PathBuf,
    /// The folder that calls on stdio may name files of.
    pub allow_dir: Option<PathBuf>,
    /// What is logged; each command has a default of its own.
    pub log: Option<String>,
    /// How it is logged.
    pub log_format: LogFormat,
    /// The rule for a host that cannot ask.
    pub fallback: Fallback,
    /// How long a question waits.
    pub confirm_timeout: Duration,
    /// How long a tool may take.
    pub call_timeout: Duration,
    /// How long an answer may be, in bytes.
    pub answer_limit: usize,
    /// The bounds of one call, as they were set.
    pub call: CallSettings,
    /// Where `--http` listens.
    pub listen: SocketAddr,
    /// MCP over HTTP, as it was set.
    pub http: HttpSettings,
    /// How callers over HTTP prove themselves, as it was set.
    pub auth: AuthSettings,
    /// How calls go on to the platform, as it was set.
    pub upstream: UpstreamSettings,
    /// Where the services of a platform are found, as it was set.
    pub discovery: DiscoverySettings,
    /// The server's own account, as it was set.
    pub service: ServiceSettings,
    /// Whether permissions are looked at on this side.
    pub filter: PermissionFilter,
    /// What the platform calls permissions.
    pub permission_names: BTreeMap<String, String>,
    /// The rules of the policy, in their order.
    pub policy: Vec<PolicyRule>,
    /// The secrets that calls may name.
    pub secrets: BTreeMap<String, SecretEntry>,
    /// Toolsets that are offered.
    pub toolsets: Vec<String>,
    /// Single tools that are offered beside them.
    pub tools: Vec<String>,
    /// Tools that are not offered.
    pub exclude_tools: Vec<String>,
    /// Whether only tools that change nothing are offered.
    pub read_only: bool,
    /// How many calls a minute callers may make.
    pub limits: LimitSettings,
    /// MCP Events, as they were set.
    pub events: EventSettings,
    /// The page of figures, as it was set.
    pub telemetry: TelemetrySettings,
    /// The record of calls, as it was set.
    pub audit: AuditSettings,
    /// What the embedded platform may do, as it was set.
    pub embedded: EmbeddedSettings,
    /// How agents of the embedded platform reach language models, as it was set.
    pub agents: AgentSettings,
    /// The file that was looked for.
    pub file: Option<PathBuf>,
    /// Whether it was there.
    pub file_found: bool,
    /// Where each setting came from; what is not listed is a default.
    pub sources: BTreeMap<String, Source>,
    marks: BTreeMap<&'static str, u64>,
}

impl Config {
    /// Reads all layers. `file` is the one that a flag names, `environment` looks a variable up.
    ///
    /// # Errors
    /// An unknown key, a value that makes no sense, or a named file that cannot be read.
    pub fn load(flags: &Settings, file: Option<&Path>, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let (config, faults) = Self::examine(flags, file, environment);
        faults.into_iter().next().map_or(Ok(config), Err)
    }

    /// Reads all layers and leaves out what is wrong: the settings that are good, and every fault.
    #[must_use]
    pub fn examine(flags: &Settings, file: Option<&Path>, environment: &dyn Fn(&str) -> Option<String>) -> (Self, Vec<Error>) {
        let layers::Layers { settings, file, file_found, sources, marks, mut faults } = layers::read(flags, file, environment);
        let url = settings.url;
        let data_dir = match settings.data_dir {
            Some(folder) => places::named_folder(folder, environment),
            None => places::data_folder(environment),
        };
        let listen = settings.http.listen.as_deref().map_or(Ok(DEFAULT_LISTEN), listen_address);
        let config = Self {
            fallback: settings.confirm.fallback.unwrap_or(if url.is_some() { Fallback::Refuse } else { Fallback::Host }),
            filter: settings.permissions.filter.unwrap_or({
                // As the server's own account every caller would have its rights.
                let platform_judges = url.is_some() && settings.upstream.mode != Some(UpstreamMode::Service);
                if platform_judges { PermissionFilter::Off } else { PermissionFilter::Strict }
            }),
            permission_names: settings.permissions.names,
            url,
            token: settings.token,
            refresh_token: settings.refresh_token,
            username: settings.username,
            password: settings.password,
            tenant: settings.tenant,
            data_dir: sound(data_dir, &mut faults).unwrap_or_default(),
            allow_dir: settings.allow_dir,
            log: settings.log,
            log_format: settings.log_format.unwrap_or_default(),
            confirm_timeout: Duration::from_secs(settings.confirm.timeout.unwrap_or(DEFAULT_CONFIRM_SECONDS)),
            call_timeout: Duration::from_secs(settings.call.timeout.unwrap_or(DEFAULT_CALL_SECONDS)),
            answer_limit: settings.call.answer_limit.unwrap_or(DEFAULT_ANSWER_BYTES),
            call: settings.call,
            listen: sound(listen, &mut faults).unwrap_or(DEFAULT_LISTEN),
            http: settings.http,
            auth: settings.auth,
            upstream: settings.upstream,
            discovery: settings.discovery,
            service: settings.service,
            policy: settings.policy,
            secrets: settings.secrets,
            toolsets: settings.toolsets,
            tools: settings.tools,
            exclude_tools: settings.exclude_tools,
            read_only: settings.read_only.unwrap_or_default(),
            limits: settings.limits,
            events: settings.events,
            telemetry: settings.telemetry,
            audit: settings.audit,
            embedded: settings.embedded,
            agents: settings.agents,
            file,
            file_found,
            sources,
            marks,
        };
        (config, faults)
    }

    /// The settings that were set to something else than before, or are not set any more.
    pub(crate) fn changed_since(&self, before: &Self) -> Vec<&'static str> {
        let names = ENVIRONMENT.iter().map(|(setting, _)| *setting).chain(FILE_ONLY.iter().copied());
        names.filter(|setting| self.marks.get(setting) != before.marks.get(setting)).collect()
    }
}

/// The value, or nothing and its fault among the others.
fn sound<T>(value: Result<T>, faults: &mut Vec<Error>) -> Option<T> {
    value.map_err(|error| faults.push(error)).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn load(file: &str, environment: &[(&str, &str)], flags: &Settings) -> Result<Config> {
        let mut toml = tempfile::NamedTempFile::new().unwrap();
        toml.write_all(file.as_bytes()).unwrap();
        let look_up = |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Config::load(flags, Some(toml.path()), &look_up)
    }

    #[test]
    fn flags_win_over_the_environment_over_the_file_over_defaults() {
        let file = "tenant = 'file'\nlog = 'info'\nurl = 'https://file.example/'\n[call]\ntimeout = 7\n";
        let environment = [("FLOWMASTER_TENANT", "env"), ("FLOWMASTER_LOG", "debug"), ("FLOWMASTER_URL", ""), ("HOME", "/home/x")];
        let flags = Settings { tenant: Some("flag".to_owned()), ..Settings::default() };
        let config = load(file, &environment, &flags).unwrap();
        assert_eq!(config.tenant.as_deref(), Some("flag"));
        assert_eq!(config.log.as_deref(), Some("debug"));
        assert_eq!(config.url.as_deref(), Some("https://file.example/"), "an empty variable says nothing");
        assert_eq!(config.call_timeout, Duration::from_secs(7));
        assert_eq!(config.confirm_timeout, Duration::from_mins(5));
        assert_eq!(config.fallback, Fallback::Refuse, "a real platform asks a person");
        assert_eq!(config.sources["tenant"], Source::Flag);
        assert_eq!(config.sources["call.timeout"], Source::File);
        assert!(!config.sources.contains_key("confirm.timeout"));
    }

    #[test]
    fn the_embedded_platform_takes_the_hosts_word() {
        let config = load("", &[("HOME", "/home/x")], &Settings::default()).unwrap();
        assert_eq!((config.url, config.fallback), (None, Fallback::Host));
        assert!(config.data_dir.ends_with("flowmaster"), "{:?}", config.data_dir);
    }

    #[test]
    fn what_is_unknown_is_refused_with_the_nearest_known() {
        let error = load("[http]\nlisten_on = '1'\n", &[], &Settings::default()).unwrap_err();
        assert_eq!(error.code(), "FM-CONFIG-KEY");
        assert!(error.to_string().contains("http.listen_on") && error.to_string().contains("`listen`"), "{error}");
        let error = load("tenat = 'x'\n", &[], &Settings::default()).unwrap_err();
        assert!(error.to_string().contains("`tenant`"), "{error}");
    }

    #[test]
    fn a_value_that_makes_no_sense_is_named_with_its_source() {
        let error = load("", &[("FLOWMASTER_CALL_TIMEOUT", "soon")], &Settings::default()).unwrap_err();
        assert!(error.to_string().contains("FLOWMASTER_CALL_TIMEOUT"), "{error}");
        let error = load("", &[("FLOWMASTER_CONFIRM", "ask")], &Settings::default()).unwrap_err();
        assert!(error.to_string().contains("refuse"), "{error}");
        assert!(load("url = [", &[], &Settings::default()).is_err());
    }

    #[test]
    fn every_fault_of_every_layer_is_found_and_the_rest_is_in_force() {
        let file = "tenant = 'acme'\ntenat = 'x'\n[call]\ntimeout = 'soon'\nanswer_limit = 4096\n[http]\nlisten = 'nowhere'\n\
            [[policy]]\ntools = ['tasks_*']\ndecision = 'perhaps'\n";
        let mut toml = tempfile::NamedTempFile::new().unwrap();
        toml.write_all(file.as_bytes()).unwrap();
        let environment = [("FLOWMASTER_CONFIRM", "ask"), ("FLOWMASTER_DATA_DIR", "data"), ("HOME", "/home/x")];
        let look_up = |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let (config, faults) = Config::examine(&Settings::default(), Some(toml.path()), &look_up);
        let told = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        for part in ["tenat", "call.timeout", "policy.0.decision", "FLOWMASTER_CONFIRM", "the data folder data is relative", "nowhere"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert_eq!((config.tenant.as_deref(), config.answer_limit), (Some("acme"), 4096));
        assert_eq!((config.call_timeout, config.listen, config.policy.len()), (Duration::from_mins(1), DEFAULT_LISTEN, 0));
        assert!(!config.sources.contains_key("call.timeout") && config.sources.contains_key("call.answer_limit"));
    }

    #[test]
    fn a_file_that_is_not_toml_leaves_the_other_layers() {
        let mut toml = tempfile::NamedTempFile::new().unwrap();
        toml.write_all(b"url = [").unwrap();
        let look_up = |name: &str| ["HOME", "FLOWMASTER_TENANT"].contains(&name).then(|| "/acme".to_owned());
        let (config, faults) = Config::examine(&Settings::default(), Some(toml.path()), &look_up);
        assert_eq!((faults.len(), faults[0].code()), (1, "FM-CONFIG-FILE"));
        assert_eq!((config.tenant.as_deref(), config.file_found), (Some("/acme"), true));
    }

    #[test]
    fn a_token_is_never_shown() {
        let config = load("token = 'topsecret'", &[("HOME", "/home/x")], &Settings::default()).unwrap();
        assert!(config.token.is_some());
        assert!(!format!("{config:?}").contains("topsecret"));
        let error = load("token = ['topsecret']", &[], &Settings::default()).unwrap_err();
        assert!(!error.to_string().contains("topsecret"), "{error}");
        let error = load("token = 'topsecret", &[], &Settings::default()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("topsecret"), "{error:?}");
    }
}
