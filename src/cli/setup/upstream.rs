//! From settings to the way that calls go on, to the server's own account, and to where its record goes.

use std::sync::Arc;

#[cfg(feature = "platform")]
use crate::cli::embedded::service_account::Given;
use crate::client::{Configured, Exchange, Extensions, Mode, Origin, ServiceAccounts, TokenEndpoint, Upstream};
use crate::config::{AuthMode, Config, PermissionFilter, UpstreamMode};
use crate::error::{Error, Kind, Result};
use crate::io::outbound;
use crate::server::audit::{self, Backlog};

/// What the platform is called in the audience of a token, unless the operator says otherwise.
const AUDIENCE: &str = "flowmaster";

/// Whether tokens, passwords and signing keys would travel unencrypted beyond this machine.
pub(crate) fn is_exposed(config: &Config) -> bool {
    config.url.iter().chain(config.discovery.services.values()).any(|url| travels_plainly(url))
}

fn travels_plainly(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| url.scheme() == "http" && !outbound::is_loopback(&url))
}

/// Rejects an address that is called unencrypted, unless the operator allows it.
pub(crate) fn check_encryption(config: &Config, url: &str, setting: &str) -> Result<()> {
    if !travels_plainly(url) || config.upstream.allow_plain_http == Some(true) {
        return Ok(());
    }
    Err(Error::configuration(
        Kind::Invalid,
        "FM-CONFIG-PLAIN-HTTP",
        format!("{setting} is http:// beyond this machine: tokens, passwords and signing keys would travel unencrypted"),
    )
    .hint("Use https://. Where the network is yours alone, set upstream.allow_plain_http (FLOWMASTER_UPSTREAM_ALLOW_PLAIN_HTTP) to true."))
}

/// The way that calls go on. `verified` says whether callers' tokens were verified on this side.
pub(crate) fn upstream(config: &Config, origin: &Arc<dyn Origin>, verified: bool) -> Result<Upstream> {
    let mode = match config.upstream.mode {
        None | Some(UpstreamMode::Propagate) => Mode::Propagate,
        Some(UpstreamMode::Exchange) => Mode::Exchange(Exchange::new(endpoint(config)?)?),
        Some(UpstreamMode::Service) if !has_configured(config) => {
            return Err(Error::configuration(
                Kind::Invalid,
                "FM-CONFIG-SERVICE-TOKEN",
                "upstream.mode is service, but this server has no account",
            )
            .hint("Set FLOWMASTER_SERVICE_TOKEN, or [service.tokens] in the configuration file."));
        }
        // The platform sees the server's rights alone: a caller without the permission is rejected here, or nowhere.
        Some(UpstreamMode::Service) if config.filter == PermissionFilter::Off => {
            return Err(Error::configuration(
                Kind::Invalid,
                "FM-CONFIG-SERVICE-FILTER",
                "upstream.mode is service, where the platform cannot judge what callers may do, but permissions.filter is off",
            )
            .hint("Leave permissions.filter out, or set it to strict; map the names under [permissions.names]."));
        }
        // Only the platform can verify the token on stdio: the token itself is sent there.
        Some(UpstreamMode::Service) if !verified => Mode::Propagate,
        Some(UpstreamMode::Service) => Mode::Service { on_behalf_of: on_behalf_of(config) },
    };
    Ok(Upstream::new(mode, accounts(config, origin)?))
}

/// The mode that is in force; a resource server must choose.
pub(crate) fn chosen(config: &Config) -> Option<UpstreamMode> {
    let is_resource = config.auth.mode == Some(AuthMode::ResourceServer);
    config.upstream.mode.or_else(|| (!is_resource).then_some(UpstreamMode::Propagate))
}

/// What the platform is called in the audience of a token.
pub(crate) fn audience(config: &Config) -> &str {
    config.upstream.audience.as_deref().unwrap_or(AUDIENCE)
}

/// Whether the platform honours on whose behalf the server's account calls.
pub(crate) fn on_behalf_of(config: &Config) -> bool {
    config.upstream.on_behalf_of.unwrap_or(config.url.is_none())
}

/// Whether entries of the audit log go to the platform.
pub(crate) fn platform_records(config: &Config) -> bool {
    config.audit.platform.unwrap_or(true) && has_account(config)
}

/// Whether entries hold arguments and answers.
pub(crate) fn records_bodies(config: &Config) -> bool {
    config.audit.bodies.unwrap_or(false)
}

/// Which operations beyond the contract the platform has. The embedded one has them all.
pub(crate) fn extensions(config: &Config, origin: &Arc<dyn Origin>) -> Result<Extensions> {
    match &config.upstream.extensions {
        Some(names) => Extensions::named(names),
        None if config.url.is_none() => Ok(Extensions::default()),
        None => Ok(Extensions::asked(Arc::clone(origin))),
    }
}

fn endpoint(config: &Config) -> Result<TokenEndpoint> {
    let needed = |value: &Option<String>, setting: &str| {
        value.clone().ok_or_else(|| {
            Error::configuration(Kind::Invalid, "FM-CONFIG-EXCHANGE", format!("upstream.mode is exchange, but {setting} is not set"))
                .hint("Set upstream.token_url and upstream.client_id, and upstream.client_secret where the client has one.")
        })
    };
    Ok(TokenEndpoint {
        url: needed(&config.upstream.token_url, "upstream.token_url")?,
        client_id: needed(&config.upstream.client_id, "upstream.client_id")?,
        client_secret: config.upstream.client_secret.clone(),
        audience: audience(config).to_owned(),
    })
}

fn has_configured(config: &Config) -> bool {
    config.service.token.is_some() || !config.service.tokens.is_empty()
}

fn has_account(config: &Config) -> bool {
    has_configured(config) || (cfg!(feature = "platform") && config.url.is_none())
}

fn accounts(config: &Config, origin: &Arc<dyn Origin>) -> Result<Option<Arc<dyn ServiceAccounts>>> {
    if let Some(configured) = Configured::new(config.service.token.clone(), config.service.tokens.clone())? {
        return Ok(Some(Arc::new(configured)));
    }
    #[cfg(feature = "platform")]
    if config.url.is_none() {
        return Ok(Some(Arc::new(Given::new(&config.data_dir, Arc::clone(origin)))));
    }
    let _ = origin;
    Ok(None)
}

/// Where the audit log goes; nowhere where there is neither an account nor a file.
pub(crate) fn record(config: &Config) -> Result<Option<audit::Options>> {
    if config.audit.platform == Some(true) && !has_account(config) {
        return Err(Error::configuration(
            Kind::Invalid,
            "FM-CONFIG-AUDIT",
            "audit.platform is set, but this server has no account at the platform",
        )
        .hint("Set FLOWMASTER_SERVICE_TOKEN, or [service.tokens] in the configuration file."));
    }
    let platform = platform_records(config);
    if !platform && config.audit.file.is_none() {
        return Ok(None);
    }
    Ok(Some(audit::Options {
        platform,
        file: config.audit.file.clone(),
        bodies: records_bodies(config),
        ..audit::Options::new(&config.data_dir)
    }))
}

/// The default token for audit entries.
const NO_ACCOUNT: &str =
    "On a real platform entries need a service token with audit:log: set FLOWMASTER_SERVICE_TOKEN, or audit.file for a file of your own.";
/// What helps where the platform does not take entries.
const NOT_TAKEN: &str = "A tenant's entries need a token of that tenant in [service.tokens], of an account that holds audit:log. \
    What waits is tried again by itself; `flowmaster-mcp audit --dead` lists dead letters with their reasons, --resend sends them again.";

/// Says where entries of the audit log go, what waits, and what to do about it.
pub(crate) fn about_record(config: &Config) -> Result<(String, Option<&'static str>)> {
    let Some(options) = record(config)? else {
        return Ok(("nothing is recorded of what is called and refused".to_owned(), Some(NO_ACCOUNT)));
    };
    let mut places = Vec::new();
    if options.platform {
        places.push("the platform's audit service".to_owned());
    }
    if let Some(file) = &options.file {
        places.push(file.display().to_string());
    }
    let bodies = if options.bodies { ", arguments and answers with them" } else { "" };
    let Backlog { waiting, backing_off, dead, lost } = audit::backlog(&config.data_dir)?;
    let count = |count: u64, what: &str| if count == 0 { String::new() } else { format!("{count} {what}") };
    let backing_off = match backing_off {
        0 => String::new(),
        count => format!(" ({count} of them of tenants whose entries the platform does not take now)"),
    };
    let more = [count(dead, "are dead letters"), count(lost, "were lost for want of room")];
    let more: String = more.iter().filter(|text| !text.is_empty()).flat_map(|text| [", ", text]).collect();
    let text = format!("entries go to {}{bodies}; {waiting} wait{backing_off}{more}", places.join(" and "));
    let advice = match (dead > 0 || !backing_off.is_empty(), options.platform) {
        (false, _) => None,
        (true, true) => Some(NOT_TAKEN),
        (true, false) => Some(NO_ACCOUNT),
    };
    Ok((text, advice))
}
