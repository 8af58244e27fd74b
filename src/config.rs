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

pub use layers::{ENVIRONMENT, environment_of, slips_in};

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
    /// The tenant that the token must belong to; another one is refused.
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
    #[schemars(range(min = 1, max = 3600))]
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
    /// The tenant that the token must belong to.
    pub tenant: Option<String>,
    /// The embedded platform's folder.
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
            url,
            token: settings.token,
            tenant: settings.tenant,
            data_dir,
            log: settings.log,
            log_format: settings.log_format.unwrap_or_default(),
            confirm_timeout: Duration::from_secs(settings.confirm.timeout.unwrap_or(300)),
            call_timeout: Duration::from_secs(settings.call.timeout.unwrap_or(60)),
            answer_limit: settings.call.answer_limit.unwrap_or(32 * 1024),
            listen: listen_address(settings.http.listen.as_deref().unwrap_or(DEFAULT_LISTEN))?,
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
