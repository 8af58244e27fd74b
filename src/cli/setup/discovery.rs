//! From settings to where the services of a platform are found.

use std::time::Duration;

use super::upstream;
use crate::api::auth;
use crate::client::{Discovery, Fixed, RegistryRules, service_named};
use crate::config::{Config, DiscoveryMode};
use crate::error::{Error, Kind, Result};

/// How old a list of the registry may be, in seconds.
const REFRESH_SECONDS: u64 = 15;

/// How old a list of the registry may be.
pub(crate) fn refresh(config: &Config) -> Duration {
    Duration::from_secs(config.discovery.refresh.unwrap_or(REFRESH_SECONDS))
}

/// Where the service is found that a login asks: no registry, which answers none without a token.
pub(crate) fn of_login(config: &Config) -> Result<Discovery> {
    discovery(config).map(|found| if matches!(found, Discovery::Registry(_)) { Discovery::Gateway } else { found })
}

/// Where the service is that signs tokens: at a URL of its own, or behind the origin.
pub(crate) fn place_of_auth(config: &Config) -> Result<Option<Fixed>> {
    let Discovery::Services(places) = discovery(config)? else { return Ok(None) };
    Ok(places.into_iter().find(|(service, _)| *service == auth::SERVICE.name).map(|(_, place)| place))
}

/// Where services are found.
pub(crate) fn discovery(config: &Config) -> Result<Discovery> {
    let settings = &config.discovery;
    let mode = settings.mode.unwrap_or_default();
    let unused = |what: &str, needs: &str| {
        Err(Error::configuration(Kind::Invalid, "FM-CONFIG-DISCOVERY", format!("{what}, but discovery.mode is not {needs}"))
            .hint(format!("Set discovery.mode (FLOWMASTER_DISCOVERY) to {needs}, or leave it out.")))
    };
    if mode != DiscoveryMode::Gateway && config.url.is_none() {
        return Err(Error::configuration(Kind::Invalid, "FM-CONFIG-DISCOVERY", "discovery.mode is for a platform with FLOWMASTER_URL")
            .hint("Set FLOWMASTER_URL, or leave discovery.mode out: the embedded platform is one place."));
    }
    if mode != DiscoveryMode::Services && !settings.services.is_empty() {
        return unused("discovery.services names URLs", "services");
    }
    if mode != DiscoveryMode::Registry && (settings.allowed_hosts.is_some() || !settings.prefer.is_empty()) {
        return unused("discovery.allowed_hosts or discovery.prefer is set", "registry");
    }
    Ok(match mode {
        DiscoveryMode::Gateway => Discovery::Gateway,
        DiscoveryMode::Services if settings.services.is_empty() => {
            return Err(Error::configuration(Kind::Invalid, "FM-CONFIG-DISCOVERY", "discovery.mode is services, but none has a URL")
                .hint("Name them in the file: [discovery.services], human-task = \"https://tasks.internal\"."));
        }
        DiscoveryMode::Services => {
            let place = |(name, url): (&String, &String)| {
                upstream::check_encryption(config, url, &format!("discovery.services.{name}"))?;
                Ok((service_named(name)?.name, Fixed::new(url)?))
            };
            Discovery::Services(settings.services.iter().map(place).collect::<Result<_>>()?)
        }
        DiscoveryMode::Registry => Discovery::Registry(RegistryRules {
            allowed_hosts: settings.allowed_hosts.clone().unwrap_or_default(),
            plain_http: config.upstream.allow_plain_http.unwrap_or_default(),
            prefer: settings.prefer.clone(),
            refresh: refresh(config),
        }),
    })
}
