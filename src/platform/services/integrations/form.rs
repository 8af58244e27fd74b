//! What may be registered: the kind of connector, the address, the sign-in with its credentials, and the mapping.

use serde_json::{Map, Value};

use super::credentials::{self, Changes};
use super::mapping::Mapping;
use super::store::{Record, Settings};
use crate::api::FieldError;
use crate::api::integrations::{AuthType, ConnectorType, Create, Update};
use crate::error::{Error, Kind, Result};
use crate::io::outbound::is_loopback;
use crate::platform::outbound;

/// Reads the settings of a new integration.
pub(super) fn new(request: Create) -> Result<(Settings, Changes)> {
    let settings = Settings {
        name: request.name,
        connector: request.connector_type,
        base_url: request.base_url.unwrap_or_default(),
        auth: request.auth_type.unwrap_or(AuthType::None),
        mapping: request.mapping.unwrap_or_default(),
    };
    checked(settings, &request.credentials.unwrap_or_default())
}

/// Reads the settings of an integration that is changed; what is absent stays.
pub(super) fn changed(before: &Record, request: Update) -> Result<(Settings, Changes)> {
    let old = before.settings.clone();
    let settings = Settings {
        name: request.name.unwrap_or(old.name),
        connector: request.connector_type.unwrap_or(old.connector),
        base_url: request.base_url.unwrap_or(old.base_url),
        auth: request.auth_type.unwrap_or(old.auth),
        mapping: request.mapping.unwrap_or(old.mapping),
    };
    checked(settings, &request.credentials.unwrap_or_default())
}

fn checked(mut settings: Settings, given: &Map<String, Value>) -> Result<(Settings, Changes)> {
    check_connector(&settings.connector)?;
    let mut faults = Vec::new();
    let name = settings.name.trim().to_owned();
    settings.name = name;
    if settings.name.is_empty() || settings.name.chars().any(char::is_control) {
        faults.push(FieldError::new("/name", "format", "is a name for people, such as Salesforce CRM"));
    }
    match address(&settings) {
        Ok(url) => settings.base_url = url,
        Err(detail) => faults.push(FieldError::new("/baseUrl", "url", detail)),
    }
    if let Err(wrong) = Mapping::read(&settings.mapping) {
        faults.extend(wrong);
    }
    let credentials = credentials::read(&settings.connector, &settings.auth, given).unwrap_or_else(|wrong| {
        faults.extend(wrong);
        Changes::new()
    });
    if faults.is_empty() {
        return Ok((settings, credentials));
    }
    Err(Error::new(Kind::Invalid, "FM-IHS-INVALID", "the integration cannot be as it is described").with_fields(faults))
}

fn check_connector(connector: &ConnectorType) -> Result<()> {
    if matches!(connector, ConnectorType::RestApi | ConnectorType::Webhook) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Unsupported,
        "FM-IHS-CONNECTOR-UNSUPPORTED",
        format!("this platform does not speak {connector} yet: it calls rest_api and webhook"),
    )
    .hint("Register the system's HTTP interface as rest_api, or use a platform that has the connector.")
    .field("/connectorType", "unsupported", "must be rest_api or webhook here"))
}

/// The address as it is kept. Whether it may be called is judged when it is: the operator may allow its host later.
fn address(settings: &Settings) -> Result<String, String> {
    if settings.base_url.is_empty() {
        let what = match settings.connector {
            ConnectorType::Webhook => "is missing: a webhook is sent to it. The contract has no route for webhooks that come in",
            _ => "is missing: the address of the system, such as https://api.example.com/v1",
        };
        return Err(what.to_owned());
    }
    let url = outbound::parse(&settings.base_url)?;
    let signs_in = settings.auth != AuthType::None;
    if signs_in && url.scheme() == "http" && !is_loopback(&url) {
        return Err("must begin with https://: the credentials would go over the network in the clear".to_owned());
    }
    Ok(url.into())
}

/// Rejects a change that would send credentials, unseen, to another place than they were given for.
pub(super) fn check_place(before: &Record, settings: &Settings, stored: &[String], given: &Changes) -> Result<()> {
    let origin = |url: &str| outbound::parse(url).map(|url| url.origin()).ok();
    let moved = origin(&before.settings.base_url) != origin(&settings.base_url);
    let token_moved = given.contains_key("tokenUrl") && stored.iter().any(|name| name == "tokenUrl");
    let (known, _) = credentials::names(&settings.connector, &settings.auth);
    let kept =
        stored.iter().find(|name| credentials::is_secret(name) && known.contains(&name.as_str()) && !given.contains_key(name.as_str()));
    let Some(kept) = kept.filter(|_| moved || token_moved) else { return Ok(()) };
    let place = if moved { "baseUrl" } else { "tokenUrl" };
    Err(Error::new(
        Kind::Invalid,
        "FM-IHS-CREDENTIALS-REQUIRED",
        format!("{place} leads to another place, and the stored {kept} was not given for it"),
    )
    .field(format!("/credentials/{kept}"), "required", format!("give it again, or null to remove it, whenever {place} changes its host"))
    .hint("Repeat the change with the credentials for the new address."))
}
