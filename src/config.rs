//! The settings: flags over `FLOWMASTER_*` over a TOML file over defaults.
//!
//! A setting is one field here: its comment is the flag's help, the schema's description and the README's row.

mod layers;
mod places;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

pub use layers::{ENVIRONMENT, FILE_ONLY, SECRETS, environment_of, slips_in};

/// Where `--http` listens unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8321";

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
    /// The record of what was called and refused.
    #[command(flatten)]
    pub audit: AuditSettings,
}

/// What happens before a call that deletes, decides or grants.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct ConfirmSettings {
    /// What holds for a host that cannot ask its user: refuse on a real platform, host on the embedded one if absent.
    #[arg(long = "confirm", id = "confirm.fallback", global = true, value_name = "RULE", help_heading = "Settings")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// Seconds that a question waits for its answer; 300 if absent.
    #[arg(skip)]
    #[schemars(range(min = 1, max = 300))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

/// The bounds of one call.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct CallSettings {
    /// Seconds that a tool may take; 60 if absent.
    #[arg(skip)]
    #[schemars(range(min = 1, max = 3600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Bytes that an answer may have before it is cut by whole items; 32768 if absent.
    #[arg(skip)]
    #[schemars(range(min = 1024, max = 1_048_576))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_limit: Option<usize>,
}

/// MCP over HTTP.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Where `--http` without an address listens; 127.0.0.1:8321 if absent.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// The URL of the endpoint as hosts see it, such as `https://mcp.example.com/mcp`; it names the server in tokens and metadata.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// Names that hosts may call the server by, beyond loopback, the address itself and the public URL's.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_hosts: Vec<String>,
    /// Web pages' origins that may call, beyond loopback's, such as `https://app.example.com`.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<String>,
    /// Sessions of the older protocol that a tenant may have open at once; 64 if absent.
    #[arg(skip)]
    #[schemars(range(min = 1, max = 100_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions_per_tenant: Option<u32>,
    /// Sessions that a tenant may begin a minute; 120 if absent.
    #[arg(skip)]
    #[schemars(range(min = 1, max = 100_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initializations_per_minute: Option<u32>,
}

/// How callers over HTTP prove themselves.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSettings {
    /// What this server is to a real platform: `serve --http` needs the choice.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<AuthMode>,
    /// Where the keys that sign tokens are published; `/.well-known/jwks.json` of the platform if absent.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// A PEM file with the public key that signs tokens, in place of published keys.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The shared secret of tokens signed with HS256, at least 32 bytes; only then is HS256 taken.
    #[arg(skip)]
    #[serde(skip_serializing)]
    #[schemars(with = "Option<String>")]
    pub secret: Option<SecretString>,
    /// Who may issue tokens, as `iss` names them; resource-server needs it.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<String>,
    /// What a token's `aud` may name: in resource-server `http.public_url` if absent, in first-party `flowmaster` and `flowmaster-mcp`.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// The authorization servers that hosts get tokens from, told to them by RFC 9728 metadata.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorization_servers: Vec<String>,
    /// Seconds after which the platform is asked again whether a token is still good; 60 if absent, 0 for never.
    #[arg(skip)]
    #[schemars(range(min = 0, max = 86_400))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validate_interval: Option<u64>,
}

/// What this server is to a real platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum AuthMode {
    /// One of FlowMaster's own services: it takes the platform's tokens.
    FirstParty,
    /// A resource of its own, by MCP's authorization: tokens must name it as their audience.
    ResourceServer,
}

/// How calls go on to the platform.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamSettings {
    /// By which token; propagate if absent, but resource-server needs the choice.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<UpstreamMode>,
    /// The token endpoint of the exchange (RFC 8693).
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_url: Option<String>,
    /// The server's client id at the token endpoint.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The server's client secret there.
    #[arg(skip)]
    #[serde(skip_serializing)]
    #[schemars(with = "Option<String>")]
    pub client_secret: Option<SecretString>,
    /// The platform's audience: what exchanged and propagated tokens must name; flowmaster if absent.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// Whether the platform honours X-On-Behalf-Of; until it is said, decisions are refused in the mode service.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<bool>,
}

/// By which token calls go on to the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamMode {
    /// The caller's own.
    Propagate,
    /// One that the caller's is exchanged for.
    Exchange,
    /// The server's own account, on behalf of the caller.
    Service,
}

/// The server's own account at the platform.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceSettings {
    /// The account's token, for audit rows and the upstream mode service; the embedded platform gives its own.
    #[arg(skip)]
    #[serde(skip_serializing)]
    #[schemars(with = "Option<String>")]
    pub token: Option<SecretString>,
    /// A token for each tenant, where one does not do for all: `tenant-123 = "..."`.
    #[arg(skip)]
    #[serde(skip_serializing)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub tokens: BTreeMap<String, SecretString>,
}

/// What permissions mean.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct PermissionSettings {
    /// Whether callers see and call only what their permissions name; strict if absent, but off where a real platform judges by the caller's own token.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<PermissionFilter>,
    /// What the platform calls a permission: `"task:approve" = "workitem:decide"`.
    #[arg(skip)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, String>,
}

/// Whether permissions are looked at on this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PermissionFilter {
    /// What the token does not permit is neither listed nor called.
    Strict,
    /// Everything is listed, and the platform judges.
    Off,
}

/// A rule by which calls are allowed, confirmed or denied. It fits where everything fits that it names.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyRule {
    /// Tools by name; a `*` at the end stands for any rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// Services, such as `human-task`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// Effects: read, write, send, decide, grant, destroy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<String>,
    /// Roles of which the caller holds one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// What happens.
    pub decision: PolicyDecision,
}

/// What a policy rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PolicyDecision {
    /// The call goes through.
    Allow,
    /// A person is asked first.
    Confirm,
    /// The call is refused, and the tool is not listed.
    Deny,
}

/// The record of what was called and refused.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSettings {
    /// Whether rows go to the platform's audit service; true if absent.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<bool>,
    /// A file that rows are added to as well, one JSON object a line.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Whether rows hold arguments and answers themselves, secrets taken out; false if absent.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bodies: Option<bool>,
}

/// The rule for a host that cannot ask its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// The call is refused and can be approved with `flowmaster-mcp confirm`.
    Refuse,
    /// The host's own approval dialog counts.
    Host,
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
    /// Where `--http` listens.
    pub listen: SocketAddr,
    /// MCP over HTTP, as it was set.
    pub http: HttpSettings,
    /// How callers over HTTP prove themselves, as it was set.
    pub auth: AuthSettings,
    /// How calls go on to the platform, as it was set.
    pub upstream: UpstreamSettings,
    /// The server's own account, as it was set.
    pub service: ServiceSettings,
    /// Whether permissions are looked at on this side.
    pub filter: PermissionFilter,
    /// What the platform calls permissions.
    pub permission_names: BTreeMap<String, String>,
    /// The rules of the policy, in their order.
    pub policy: Vec<PolicyRule>,
    /// The record of calls, as it was set.
    pub audit: AuditSettings,
    /// The file that was looked for.
    pub file: Option<PathBuf>,
    /// Whether it was there.
    pub file_found: bool,
    /// Where each setting came from; what is not listed is a default.
    pub sources: BTreeMap<String, Source>,
}

impl Config {
    /// Reads all layers. `file` is the one that a flag names, `environment` looks a variable up.
    ///
    /// # Errors
    /// An unknown key, a value that makes no sense, or a named file that cannot be read.
    pub fn load(flags: &Settings, file: Option<&Path>, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let layers = layers::read(flags, file, environment)?;
        let settings = layers.settings;
        let url = settings.url;
        let data_dir = match settings.data_dir {
            Some(folder) => std::path::absolute(&folder).map_err(|error| {
                Error::new(Kind::Invalid, "FM-CONFIG-INVALID", "the data folder's name is no path")
                    .hint("Name a folder with --data or FLOWMASTER_DATA_DIR.")
                    .caused_by(error)
            })?,
            None => places::data_folder(environment)?,
        };
        Ok(Self {
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
            data_dir,
            log: settings.log,
            log_format: settings.log_format.unwrap_or_default(),
            confirm_timeout: Duration::from_secs(settings.confirm.timeout.unwrap_or(300)),
            call_timeout: Duration::from_secs(settings.call.timeout.unwrap_or(60)),
            answer_limit: settings.call.answer_limit.unwrap_or(32 * 1024),
            listen: listen_address(settings.http.listen.as_deref().unwrap_or(DEFAULT_LISTEN))?,
            http: settings.http,
            auth: settings.auth,
            upstream: settings.upstream,
            service: settings.service,
            policy: settings.policy,
            audit: settings.audit,
            file: layers.file,
            file_found: layers.file_found,
            sources: layers.sources,
        })
    }
}

/// Reads where to listen: an address with a port, or a port of the loopback interface.
///
/// # Errors
/// Text that is neither.
pub fn listen_address(text: &str) -> Result<SocketAddr> {
    let loopback = |port: &str| port.parse().ok().map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port)));
    let named = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
    text.parse().ok().or_else(|| loopback(named)).ok_or_else(|| {
        Error::new(Kind::Invalid, "FM-CONFIG-LISTEN", format!("{text:?} is no address to listen on"))
            .hint(format!("Write an address with a port, such as {DEFAULT_LISTEN}, or a port alone."))
    })
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
    fn a_token_is_never_shown() {
        let config = load("token = 'topsecret'", &[("HOME", "/home/x")], &Settings::default()).unwrap();
        assert!(config.token.is_some());
        assert!(!format!("{config:?}").contains("topsecret"));
        let error = load("token = ['topsecret']", &[], &Settings::default()).unwrap_err();
        assert!(!error.to_string().contains("topsecret"), "{error}");
        let error = load("token = 'topsecret", &[], &Settings::default()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("topsecret"), "{error:?}");
    }

    #[test]
    fn a_port_alone_is_one_of_the_loopback_interface() {
        for text in ["9000", ":9000", "localhost:9000", "127.0.0.1:9000"] {
            assert_eq!(listen_address(text).unwrap().to_string(), "127.0.0.1:9000");
        }
        assert!(listen_address("example.com:80").is_err());
    }
}
