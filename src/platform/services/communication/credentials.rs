//! Credentials of channels: how a provider is signed in to and how its messages are signed. Sealed, and never shown.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use rusqlite::{Connection, params};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use crate::api::FieldError;
use crate::api::near::nearest;
use crate::error::{Error, Result};
use crate::io::standard_webhooks;
use crate::platform::Platform;
use crate::platform::database::Tx;

/// Longest value, in bytes.
const MAX_VALUE: usize = 8 * 1024;
/// The names that a channel knows.
const NAMES: [&str; 6] = ["apiKey", "header", "prefix", "username", "password", WEBHOOK_SECRET];
/// The key of the signatures, of what is sent and of what comes in.
pub(super) const WEBHOOK_SECRET: &str = "webhookSecret";
/// Headers that a message itself sets.
const TAKEN_HEADERS: [&str; 10] = [
    "connection",
    "content-length",
    "content-type",
    "host",
    "idempotency-key",
    "transfer-encoding",
    "user-agent",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
];

/// Credentials by name, opened.
pub(super) type Secrets = BTreeMap<String, SecretString>;

/// Reads credentials as they are given.
pub(super) fn read(given: &Map<String, Value>) -> Result<Secrets, Vec<FieldError>> {
    let (mut secrets, mut faults) = (Secrets::new(), Vec::new());
    for (name, value) in given.iter().take(50) {
        let pointer = format!("/credentials/{}", name.replace('~', "~0").replace('/', "~1"));
        if !NAMES.contains(&name.as_str()) {
            let near = nearest(name, &NAMES).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            faults.push(FieldError::new(
                pointer,
                "unknown",
                format!("is not a credential of a channel, which takes {}{near}", NAMES.join(", ")),
            ));
            continue;
        }
        match value {
            Value::String(text) if !text.is_empty() && text.len() <= MAX_VALUE && HeaderValue::from_str(text).is_ok() => {
                match check(name, text) {
                    Ok(()) => drop(secrets.insert(name.clone(), text.clone().into())),
                    Err(detail) => faults.push(FieldError::new(pointer, "format", detail)),
                }
            }
            _ => faults.push(FieldError::new(pointer, "type", format!("is text of 1 to {MAX_VALUE} bytes that a header can carry"))),
        }
    }
    let has = |name: &str| secrets.contains_key(name);
    if faults.is_empty() {
        if has("username") != has("password") {
            faults.push(FieldError::new("/credentials/username", "required", "goes with password; give both or neither"));
        }
        if has("apiKey") && has("password") {
            faults.push(FieldError::new("/credentials/password", "conflict", "is another sign-in than apiKey; give one of them"));
        }
        if !has("apiKey") && (has("header") || has("prefix")) {
            faults.push(FieldError::new("/credentials/apiKey", "required", "is what header and prefix are for"));
        }
    }
    if faults.is_empty() { Ok(secrets) } else { Err(faults) }
}

fn check(name: &str, value: &str) -> Result<(), String> {
    match name {
        "header" => match HeaderName::from_bytes(value.as_bytes()) {
            Ok(header) if !TAKEN_HEADERS.contains(&header.as_str()) => Ok(()),
            Ok(header) => Err(format!("is {header}, which the message sets itself")),
            Err(_) => Err("is the name of a header, such as X-API-Key".to_owned()),
        },
        WEBHOOK_SECRET => standard_webhooks::key_of(value).map(drop).map_err(|detail| format!("the webhook {detail}")),
        _ => Ok(()),
    }
}

/// The names of the credentials of a channel.
pub(super) fn set_names(connection: &Connection, tenant: &str, channel: &str) -> Result<Vec<String>> {
    let sql = "SELECT name FROM channel_secrets WHERE tenant_id = ?1 AND channel_id = ?2 ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let names = statement.query_map((tenant, channel), |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

/// The header that signs in to the provider, where there is one: an API key as a bearer token, or in the header that is named.
pub(super) fn sign_in(secrets: &Secrets) -> Result<Option<(HeaderName, HeaderValue)>> {
    let get = |name: &str| secrets.get(name).map(ExposeSecret::expose_secret);
    let (name, value) = match (get("apiKey"), get("username"), get("password")) {
        (Some(key), _, _) => {
            let name = get("header").map_or(Ok(AUTHORIZATION), |name| HeaderName::from_bytes(name.as_bytes())).map_err(Error::internal)?;
            let prefix = get("prefix").unwrap_or(if get("header").is_none() { "Bearer" } else { "" });
            (name, [prefix, key].join(" ").trim().to_owned())
        }
        (None, Some(user), Some(password)) => (AUTHORIZATION, format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))),
        _ => return Ok(None),
    };
    let mut value = HeaderValue::from_str(&value).map_err(Error::internal)?;
    value.set_sensitive(true);
    Ok(Some((name, value)))
}

/// Stores the credentials of a new channel.
pub(super) fn store(tx: &Tx<'_>, platform: &Platform, channel: &str, secrets: &Secrets) -> Result<()> {
    for (name, value) in secrets {
        let sealed = platform.keys().seal(&about(tx.tenant(), channel, name), value.expose_secret().as_bytes())?;
        tx.prepare_cached("INSERT INTO channel_secrets (tenant_id, channel_id, name, sealed) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![tx.tenant(), channel, name, sealed])?;
    }
    Ok(())
}

/// Opens the credentials of a channel.
pub(super) fn open(connection: &Connection, platform: &Platform, tenant: &str, channel: &str) -> Result<Secrets> {
    let mut statement = connection.prepare_cached("SELECT name, sealed FROM channel_secrets WHERE tenant_id = ?1 AND channel_id = ?2")?;
    let rows = statement.query_map((tenant, channel), |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
    rows.map(|row| {
        let (name, sealed) = row?;
        let plain = platform.keys().open(&about(tenant, channel, &name), &sealed)?;
        Ok((name, SecretString::from(String::from_utf8(plain).map_err(Error::internal)?)))
    })
    .collect()
}

/// What a sealed value belongs to: it opens for no other tenant, channel or name.
fn about(tenant: &str, channel: &str, name: &str) -> String {
    format!("channel\0{tenant}\0{channel}\0{name}")
}
