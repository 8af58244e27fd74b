//! From settings to the way that calls go on, to the server's own account, and to where its record goes.

use std::sync::Arc;

#[cfg(feature = "platform")]
use crate::cli::embedded::service_account::Given;
use crate::client::{Configured, Exchange, Mode, Origin, ServiceAccounts, TokenEndpoint, Upstream};
use crate::config::{Config, PermissionFilter, UpstreamMode};
use crate::error::{Error, Kind, Result};
use crate::server::audit;

/// What the platform is called in the audience of a token, unless the operator says otherwise.
const AUDIENCE: &str = "flowmaster";

/// The way that calls go on. `verified` says whether callers' tokens were verified on this side.
pub(crate) fn upstream(config: &Config, origin: &Arc<dyn Origin>, verified: bool) -> Result<Upstream> {
    let mode = match config.upstream.mode {
        None | Some(UpstreamMode::Propagate) => Mode::Propagate,
        Some(UpstreamMode::Exchange) => Mode::Exchange(Exchange::new(endpoint(config)?)?),
        Some(UpstreamMode::Service) if !has_configured(config) => {
            return Err(Error::new(Kind::Invalid, "FM-CONFIG-SERVICE-TOKEN", "upstream.mode is service, but this server has no account")
                .hint("Set FLOWMASTER_SERVICE_TOKEN, or [service.tokens] in the configuration file."));
        }
        // The platform sees the server's rights alone: whoever may not is told so here, or nowhere.
        Some(UpstreamMode::Service) if config.filter == PermissionFilter::Off => {
            return Err(Error::new(
                Kind::Invalid,
                "FM-CONFIG-SERVICE-FILTER",
                "upstream.mode is service, where the platform cannot judge what callers may do, but permissions.filter is off",
            )
            .hint("Leave permissions.filter out, or set it to strict; map the names under [permissions.names]."));
        }
        // Nobody but the platform can tell whether the token on stdio is what it says: it goes there itself.
        Some(UpstreamMode::Service) if !verified => Mode::Propagate,
        Some(UpstreamMode::Service) => Mode::Service { on_behalf_of: config.upstream.on_behalf_of.unwrap_or(config.url.is_none()) },
    };
    Ok(Upstream::new(mode, accounts(config, origin)?))
}

fn endpoint(config: &Config) -> Result<TokenEndpoint> {
    let needed = |value: &Option<String>, setting: &str| {
        value.clone().ok_or_else(|| {
            Error::new(Kind::Invalid, "FM-CONFIG-EXCHANGE", format!("upstream.mode is exchange, but {setting} is not set"))
                .hint("Set upstream.token_url and upstream.client_id, and upstream.client_secret where the client has one.")
        })
    };
    Ok(TokenEndpoint {
        url: needed(&config.upstream.token_url, "upstream.token_url")?,
        client_id: needed(&config.upstream.client_id, "upstream.client_id")?,
        client_secret: config.upstream.client_secret.clone(),
        audience: config.upstream.audience.clone().unwrap_or_else(|| AUDIENCE.to_owned()),
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

/// Where the record goes; nowhere where there is neither an account nor a file.
pub(crate) fn record(config: &Config) -> Result<Option<audit::Options>> {
    if config.audit.platform == Some(true) && !has_account(config) {
        return Err(Error::new(Kind::Invalid, "FM-CONFIG-AUDIT", "audit.platform is set, but this server has no account at the platform")
            .hint("Set FLOWMASTER_SERVICE_TOKEN, or [service.tokens] in the configuration file."));
    }
    let platform = config.audit.platform.unwrap_or(true) && has_account(config);
    if !platform && config.audit.file.is_none() {
        return Ok(None);
    }
    Ok(Some(audit::Options {
        platform,
        file: config.audit.file.clone(),
        bodies: config.audit.bodies.unwrap_or(false),
        ..audit::Options::new(&config.data_dir)
    }))
}

/// What the platform takes rows with, where nobody has said.
const NO_ACCOUNT: &str =
    "On a real platform rows need a service token with audit:log: set FLOWMASTER_SERVICE_TOKEN, or audit.file for a file of your own.";
/// What the platform takes rows with that it does not take now.
const NOT_TAKEN: &str = "A tenant's rows need a token of that tenant in [service.tokens], of an account that holds audit:log. \
    What waits apart is tried again by itself; what was not taken stays in the file, each row with its reason.";

/// Where rows of the record go and what waits, in words, and what to do about it.
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
    let waiting = audit::waiting(&config.data_dir);
    let parked = match waiting.parked {
        0 => String::new(),
        count => format!(" ({count} of them apart, for tenants whose rows the platform does not take now)"),
    };
    let undelivered = match waiting.undelivered {
        0 => String::new(),
        count => format!(", {count} were not taken and are in audit/undelivered.jsonl of the data folder"),
    };
    let text = format!("rows go to {}{bodies}; {} wait{parked}{undelivered}", places.join(" and "), waiting.rows);
    let advice = match waiting.undelivered + waiting.parked {
        0 => None,
        _ if options.platform => Some(NOT_TAKEN),
        _ => Some(NO_ACCOUNT),
    };
    Ok((text, advice))
}
