//! Who is let in over HTTP: by which tokens, as the operator chose, and from where.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::connection::Connection;
use super::{discovery, name_of};
use crate::auth::{Admit, Caller, Confirm, Credential, HttpKeys, KeySet, Mode, OwnerToken, Rules, Verifier};
use crate::client::{Client, Fixed, JWKS_PATH, Origin, PlatformKeys, TokenStatus};
use crate::config::{AuthMode, Config, UpstreamMode};
use crate::error::{Error, Kind, Result};
use crate::server::{Authentication, HttpOptions};

/// How often the platform is asked whether it still takes a token, unless the operator says otherwise.
pub(crate) const VALIDATED: Duration = Duration::from_mins(1);
/// What tokens of the contract's shape name as their audience.
const AUDIENCES: [&str; 2] = ["flowmaster", "flowmaster-mcp"];

/// Who is let in, read from the settings. Nothing is opened or asked yet.
pub(crate) enum HttpAuth {
    /// Every program on this machine, with the owner's rights.
    Everybody,
    /// The bearer of a valid token.
    Tokens(Tokens),
}

/// By which tokens.
pub(crate) struct Tokens {
    rules: Rules,
    keys: Keys,
    interval: Duration,
}

/// Which keys sign them.
enum Keys {
    /// Those that the platform publishes.
    Platform,
    /// Those that somebody publishes at a URL.
    Url(String),
    /// The one in a file.
    File(PathBuf),
    /// A shared secret.
    Secret(SecretString),
}

impl HttpAuth {
    /// Reads what the operator chose.
    ///
    /// # Errors
    /// What is missing or contradicts itself, with the setting to change.
    pub(crate) fn read(config: &Config, no_token: bool) -> Result<Self> {
        if no_token {
            return if config.url.is_none() { Ok(Self::Everybody) } else { Err(open_to_a_real_platform()) };
        }
        let mode = match (config.auth.mode, &config.url) {
            (Some(AuthMode::FirstParty), _) | (None, None) => Mode::FirstParty,
            (Some(AuthMode::ResourceServer), _) => Mode::ResourceServer,
            (None, Some(_)) => return Err(no_mode()),
        };
        Ok(Self::Tokens(Tokens {
            rules: rules(config, mode)?,
            keys: keys(config)?,
            interval: config.auth.validate_interval.map_or(VALIDATED, Duration::from_secs),
        }))
    }

    /// Refuses an address that other machines reach, unless callers prove themselves and hosts have a name for it.
    ///
    /// # Errors
    /// `FM-CLI-HTTP-ADDRESS`.
    pub(crate) fn check_address(&self, config: &Config, listen: SocketAddr) -> Result<()> {
        let named = config.http.public_url.is_some() || !config.http.allowed_hosts.is_empty();
        match self {
            _ if listen.ip().is_loopback() => Ok(()),
            Self::Tokens(_) if named => Ok(()),
            Self::Tokens(_) => Err(from_elsewhere(listen).hint(
                "Set FLOWMASTER_PUBLIC_URL to the endpoint as hosts see it, and put a proxy before it that speaks TLS; or listen on 127.0.0.1.",
            )),
            Self::Everybody => Err(from_elsewhere(listen).hint("Leave --no-token out, or listen on 127.0.0.1.")),
        }
    }

    /// What the HTTP server is to do.
    ///
    /// # Errors
    /// A key or a URL that is none, or a data folder that cannot be used.
    pub(crate) fn options(self, config: &Config, connection: &Connection, listen: SocketAddr) -> Result<HttpOptions> {
        let interval = match &self {
            Self::Everybody => Duration::ZERO,
            Self::Tokens(tokens) => tokens.interval,
        };
        let admission = match self {
            Self::Everybody => Authentication::Open(Arc::new(Caller::owner(Credential::Owner))),
            Self::Tokens(tokens) => {
                let verifier: Arc<dyn Admit> = Arc::new(tokens.verifier(config, connection)?);
                match &config.url {
                    Some(_) => Authentication::Bearer(verifier),
                    None => Authentication::Bearer(Arc::new(OwnerToken::new(&owner_token(config)?, Some(verifier)))),
                }
            }
        };
        let mut options = HttpOptions::new(listen, admission);
        options.public_url.clone_from(&config.http.public_url);
        options.authorization_servers.clone_from(&config.auth.authorization_servers);
        options.validate_interval = interval;
        options.sessions_per_tenant = config.http.sessions_per_tenant.unwrap_or(options.sessions_per_tenant);
        options.initializations_per_minute = config.http.initializations_per_minute.unwrap_or(options.initializations_per_minute);
        Ok(options)
    }

    /// How it is, in words.
    fn about(&self, config: &Config) -> String {
        let Self::Tokens(tokens) = self else { return "everybody on this machine is let in".to_owned() };
        let mode = match tokens.rules.mode {
            Mode::FirstParty => "first-party",
            Mode::ResourceServer => "resource-server",
        };
        let whose = if config.url.is_none() { "the owner's token, and " } else { "" };
        let keys = match &tokens.keys {
            Keys::Platform => format!("keys of {}", name_of(config)),
            Keys::Url(url) => format!("keys of {url}"),
            Keys::File(path) => format!("the key in {}", path.display()),
            Keys::Secret(_) => "the shared secret".to_owned(),
        };
        let asked = if !tokens.is_confirmed(config) {
            "good until they end: they are not meant for the platform, so a revocation is not seen".to_owned()
        } else if tokens.interval.is_zero() {
            "revocations are not asked for".to_owned()
        } else {
            format!("asked about every {} s", tokens.interval.as_secs())
        };
        let issuers = if tokens.rules.issuers.is_empty() { ", whatever issuer they name" } else { "" };
        format!("{mode}: {whose}tokens for {} by {keys}{issuers}, {asked}", tokens.rules.audiences_any.join(" or "))
    }
}

/// What the audience of a token may be.
pub(crate) fn audiences(config: &Config) -> Vec<String> {
    let mode = if config.auth.mode == Some(AuthMode::ResourceServer) { Mode::ResourceServer } else { Mode::FirstParty };
    rules(config, mode).map_or_else(|_| config.auth.audiences.clone(), |rules| rules.audiences_any)
}

/// Where the keys of tokens are published, if they are.
pub(crate) fn jwks_url(config: &Config) -> Option<String> {
    match keys(config).ok()? {
        Keys::Platform => {
            let place = discovery::place_of_auth(config).ok()?;
            let url = place.as_ref().map(Fixed::base).or(config.url.as_deref())?;
            Some(format!("{}{JWKS_PATH}", url.trim_end_matches('/')))
        }
        Keys::Url(url) => Some(url),
        Keys::File(_) | Keys::Secret(_) => None,
    }
}

/// What an operator had better set, where `doctor` finds nothing wrong: the keys of a real platform's tokens may sign for
/// others too. The embedded one signs for itself alone.
pub(crate) fn advice(config: &Config) -> Option<&'static str> {
    let open = matches!(HttpAuth::read(config, false), Ok(HttpAuth::Tokens(tokens)) if tokens.rules.issuers.is_empty());
    (open && config.url.is_some()).then_some("Set auth.issuers (FLOWMASTER_AUTH_ISSUERS) to what `iss` is in the platform's tokens.")
}

/// What `doctor` says of it.
///
/// # Errors
/// What `serve --http` would refuse to start with; a missing choice is none, since hosts on stdio need none.
pub(crate) fn about(config: &Config) -> Result<String> {
    match HttpAuth::read(config, false) {
        Err(error) if error.code() == "FM-CONFIG-AUTH-MODE" => {
            Ok("not set up: `serve --http` before a real platform needs auth.mode (FLOWMASTER_AUTH_MODE)".to_owned())
        }
        choice => {
            let choice = choice?;
            if let HttpAuth::Tokens(tokens) = &choice {
                // A key that cannot be read is found here rather than at the start.
                drop(tokens.configured_keys()?);
            }
            Ok(choice.about(config))
        }
    }
}

/// What is published beside the keys that verify tokens, and why each is of no use.
///
/// # Errors
/// The keys cannot be fetched, or none serves.
pub(crate) async fn unusable_keys(config: &Config, connection: &Connection) -> Result<Vec<String>> {
    match HttpAuth::read(config, false) {
        Ok(HttpAuth::Tokens(tokens)) => tokens.keys(config, connection)?.inspect().await,
        // What is wrong with the settings is told elsewhere.
        _ => Ok(Vec::new()),
    }
}

impl Tokens {
    fn verifier(self, config: &Config, connection: &Connection) -> Result<Verifier> {
        let keys = self.keys(config, connection)?;
        let confirm = self.is_confirmed(config).then(|| self.confirm(config, connection)).transpose()?;
        let verifier = Verifier::new(self.rules, keys);
        Ok(match confirm {
            Some(confirm) => verifier.confirmed_by(confirm, self.interval),
            None => verifier,
        })
    }

    fn keys(&self, config: &Config, connection: &Connection) -> Result<KeySet> {
        if let Some(configured) = self.configured_keys()? {
            return Ok(configured);
        }
        let origin: Arc<dyn Origin> = match discovery::place_of_auth(config)? {
            Some(place) => Arc::new(place),
            None => Arc::clone(&connection.origin),
        };
        Ok(KeySet::published(Arc::new(PlatformKeys::new(origin))))
    }

    /// The keys, where they are not the platform's.
    fn configured_keys(&self) -> Result<Option<KeySet>> {
        match &self.keys {
            Keys::Platform => Ok(None),
            Keys::Url(url) => Ok(Some(KeySet::published(Arc::new(HttpKeys::new(url)?)))),
            Keys::Secret(secret) => KeySet::of_secret(secret).map(Some),
            Keys::File(path) => {
                let pem = std::fs::read(path).map_err(|error| {
                    Error::configuration(
                        Kind::Invalid,
                        "FM-CONFIG-AUTH-KEY",
                        format!("the key of tokens in {} cannot be read: {error}", path.display()),
                    )
                    .hint("Name a PEM file with auth.key_file or FLOWMASTER_AUTH_KEY_FILE.")
                })?;
                KeySet::of_pem(&pem).map(Some)
            }
        }
    }

    /// Whether the platform can be asked about callers' tokens: not where it never sees them.
    fn is_confirmed(&self, config: &Config) -> bool {
        self.rules.mode == Mode::FirstParty || config.upstream.mode != Some(UpstreamMode::Service)
    }

    /// Asks by the caller's own token where the platform takes that, else by what it is exchanged for.
    fn confirm(&self, config: &Config, connection: &Connection) -> Result<Arc<dyn Confirm>> {
        let exchanged = self.rules.mode == Mode::ResourceServer && config.upstream.mode == Some(UpstreamMode::Exchange);
        let client = if exchanged {
            connection.client.clone()
        } else {
            Client::builder(Arc::clone(&connection.origin)).discovery(discovery::of_login(config)?).build()
        };
        Ok(Arc::new(TokenStatus::new(client)))
    }
}

fn rules(config: &Config, mode: Mode) -> Result<Rules> {
    let mut rules = Rules::new(mode);
    rules.issuers.clone_from(&config.auth.issuers);
    rules.audiences_any.clone_from(&config.auth.audiences);
    let own = config.http.public_url.clone();
    match mode {
        Mode::FirstParty if rules.audiences_any.is_empty() => {
            rules.audiences_any = AUDIENCES.into_iter().map(str::to_owned).chain(own).collect();
        }
        Mode::FirstParty => {}
        Mode::ResourceServer => {
            let own = own.ok_or_else(|| missing("FM-CONFIG-PUBLIC-URL", "http.public_url, which names this server in tokens"))?;
            if rules.issuers.is_empty() {
                return Err(missing("FM-CONFIG-AUTH-ISSUERS", "auth.issuers, the authorization servers whose tokens are taken"));
            }
            if rules.audiences_any.is_empty() {
                rules.audiences_any.push(own);
            }
            match config.upstream.mode {
                None => return Err(missing("FM-CONFIG-UPSTREAM-MODE", "upstream.mode: exchange, service or propagate")),
                // A server that passes a token on must be an audience of it together with the platform.
                Some(UpstreamMode::Propagate) => {
                    rules.audiences_all.push(config.upstream.audience.clone().unwrap_or_else(|| AUDIENCES[0].to_owned()));
                }
                Some(UpstreamMode::Exchange | UpstreamMode::Service) => {}
            }
        }
    }
    Ok(rules)
}

fn keys(config: &Config) -> Result<Keys> {
    let auth = &config.auth;
    match (&auth.jwks_url, &auth.key_file, &auth.secret) {
        (None, None, None) => Ok(Keys::Platform),
        (Some(url), None, None) => Ok(Keys::Url(url.clone())),
        (None, Some(path), None) => Ok(Keys::File(path.clone())),
        (None, None, Some(secret)) => Ok(Keys::Secret(secret.clone())),
        _ => Err(Error::configuration(
            Kind::Invalid,
            "FM-CONFIG-AUTH-KEY",
            "there is more than one of auth.jwks_url, auth.key_file and auth.secret",
        )
        .hint("Keep the one by which tokens are signed.")),
    }
}

#[cfg(feature = "platform")]
fn owner_token(config: &Config) -> Result<SecretString> {
    crate::platform::folder::owner_token(&config.data_dir)
}

#[cfg(not(feature = "platform"))]
fn owner_token(_: &Config) -> Result<SecretString> {
    Err(Error::configuration(Kind::Unsupported, "FM-CLI-NO-PLATFORM", "this build has no embedded platform to serve over HTTP"))
}

fn no_mode() -> Error {
    Error::configuration(Kind::Invalid, "FM-CONFIG-AUTH-MODE", "how callers over HTTP prove themselves to this server is not set").hint(
        "Set FLOWMASTER_AUTH_MODE to first-party (it takes the platform's own tokens and passes them on) or resource-server (MCP's authorization).",
    )
}

fn open_to_a_real_platform() -> Error {
    Error::configuration(Kind::Invalid, "FM-CLI-NO-TOKEN", "--no-token would lend one login to every program on this machine")
        .hint("Leave --no-token out: callers bring tokens of their own. It is for the embedded platform.")
}

fn from_elsewhere(listen: SocketAddr) -> Error {
    Error::configuration(Kind::Invalid, "FM-CLI-HTTP-ADDRESS", format!("{listen} can be reached from other machines"))
}

fn missing(code: &'static str, what: &str) -> Error {
    Error::configuration(Kind::Invalid, code, format!("auth.mode is resource-server, and there is no {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn config(settings: &[(&str, &str)]) -> Config {
        let look_up = |name: &str| {
            let found = settings.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            found.or_else(|| (name == "HOME").then(|| "/home/x".to_owned()))
        };
        Config::load(&Settings::default(), None, &look_up).unwrap()
    }

    fn code(settings: &[(&str, &str)]) -> String {
        HttpAuth::read(&config(settings), false).err().map_or_else(|| "taken".to_owned(), |error| error.code().to_owned())
    }

    const URL: (&str, &str) = ("FLOWMASTER_URL", "https://flowmaster.example");
    const RESOURCE: (&str, &str) = ("FLOWMASTER_AUTH_MODE", "resource-server");
    const PUBLIC: (&str, &str) = ("FLOWMASTER_PUBLIC_URL", "https://mcp.example/mcp");
    const ISSUER: (&str, &str) = ("FLOWMASTER_AUTH_ISSUERS", "https://login.example");

    #[test]
    fn before_a_real_platform_the_operator_chooses() {
        assert_eq!(code(&[]), "taken", "the embedded platform's tokens are known");
        assert_eq!(code(&[URL]), "FM-CONFIG-AUTH-MODE");
        assert_eq!(code(&[URL, ("FLOWMASTER_AUTH_MODE", "first-party")]), "taken");
        assert_eq!(code(&[URL, RESOURCE]), "FM-CONFIG-PUBLIC-URL");
        assert_eq!(code(&[URL, RESOURCE, PUBLIC]), "FM-CONFIG-AUTH-ISSUERS");
        assert_eq!(code(&[URL, RESOURCE, PUBLIC, ISSUER]), "FM-CONFIG-UPSTREAM-MODE");
        assert_eq!(code(&[URL, RESOURCE, PUBLIC, ISSUER, ("FLOWMASTER_UPSTREAM_MODE", "exchange")]), "taken");
        let two = [("FLOWMASTER_AUTH_SECRET", "x"), ("FLOWMASTER_JWKS_URL", "https://login.example/keys")];
        assert_eq!(code(&two), "FM-CONFIG-AUTH-KEY");
        let open = HttpAuth::read(&config(&[URL]), true).err().map(|error| error.code().to_owned());
        assert_eq!(open.as_deref(), Some("FM-CLI-NO-TOKEN"));
    }

    #[test]
    fn a_token_that_is_passed_on_must_name_this_server_and_the_platform() {
        let rules = |upstream| {
            let config = config(&[URL, RESOURCE, PUBLIC, ISSUER, ("FLOWMASTER_UPSTREAM_MODE", upstream)]);
            let HttpAuth::Tokens(tokens) = HttpAuth::read(&config, false).unwrap() else { panic!("everybody") };
            (tokens.rules.audiences_any.clone(), tokens.rules.audiences_all.clone(), tokens.is_confirmed(&config))
        };
        let own = vec!["https://mcp.example/mcp".to_owned()];
        assert_eq!(rules("propagate"), (own.clone(), vec!["flowmaster".to_owned()], true));
        assert_eq!(rules("exchange"), (own.clone(), Vec::new(), true));
        assert_eq!(rules("service"), (own, Vec::new(), false));
    }

    #[test]
    fn other_machines_come_with_tokens_and_by_a_name() {
        let elsewhere: SocketAddr = "0.0.0.0:8321".parse().unwrap();
        let check = |settings: &[(&str, &str)], no_token| {
            let config = config(settings);
            let choice = HttpAuth::read(&config, no_token).unwrap();
            assert!(choice.check_address(&config, "127.0.0.1:0".parse().unwrap()).is_ok());
            choice.check_address(&config, elsewhere).is_ok()
        };
        assert!(check(&[PUBLIC], false));
        assert!(check(&[("FLOWMASTER_ALLOWED_HOSTS", "mcp.example")], false));
        assert!(!check(&[], false));
        assert!(!check(&[PUBLIC], true));
    }

    #[test]
    fn doctor_tells_the_choice_and_no_secret() {
        let told = about(&config(&[("FLOWMASTER_AUTH_SECRET", "a secret of thirty-two bytes and more")])).unwrap();
        assert!(told.starts_with("first-party: the owner's token") && !told.contains("thirty"), "{told}");
        let before = [URL, RESOURCE, PUBLIC, ISSUER];
        let about_upstream = |mode| about(&config(&[&before[..], &[("FLOWMASTER_UPSTREAM_MODE", mode)]].concat())).unwrap();
        assert!(about_upstream("service").ends_with("a revocation is not seen"), "{}", about_upstream("service"));
        for mode in ["exchange", "propagate"] {
            assert!(about_upstream(mode).ends_with("asked about every 60 s"), "{}", about_upstream(mode));
        }
        assert!(about(&config(&[URL])).unwrap().starts_with("not set up"));
        let first_party = [URL, ("FLOWMASTER_AUTH_MODE", "first-party")];
        let named = [&first_party[..], &[ISSUER]].concat();
        let (open, named) = (config(&first_party), config(&named));
        assert!(about(&open).unwrap().contains("whatever issuer they name") && advice(&open).is_some());
        assert!(!about(&named).unwrap().contains("issuer") && advice(&named).is_none());
        // The embedded platform's keys belong to it alone.
        assert!(advice(&config(&[])).is_none() && advice(&config(&[URL])).is_none());
        assert_eq!(about(&config(&[("FLOWMASTER_AUTH_SECRET", "short")])).unwrap_err().code(), "FM-CONFIG-AUTH-SECRET");
        assert_eq!(about(&config(&[("FLOWMASTER_AUTH_KEY_FILE", "/nowhere")])).unwrap_err().code(), "FM-CONFIG-AUTH-KEY");
        for keys in ["ftp://x", "http://login.example/keys"] {
            assert_eq!(about(&config(&[("FLOWMASTER_JWKS_URL", keys)])).unwrap_err().code(), "FM-CONFIG-JWKS-URL");
        }
    }
}
