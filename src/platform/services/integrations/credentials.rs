//! Credentials of integrations: which there are by kind of sign-in, sealed in the database and opened for a call alone.

use std::collections::BTreeMap;

use reqwest::header::{HeaderName, HeaderValue};
use rusqlite::{Connection, params};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use crate::api::FieldError;
use crate::api::arguments::quote;
use crate::api::integrations::{AuthType, ConnectorType};
use crate::api::near::nearest;
use crate::error::{Error, Result};
use crate::io::standard_webhooks;
use crate::platform::Platform;
use crate::platform::database::Tx;
use crate::platform::outbound;

/// Longest value, in bytes.
const MAX_VALUE: usize = 8 * 1024;
/// Headers that the call itself sets.
const TAKEN_HEADERS: [&str; 11] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "idempotency-key",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Credentials by name, opened.
pub(super) type Secrets = BTreeMap<String, SecretString>;

/// What a request changes of the credentials: new values, and none for what is removed.
pub(super) type Changes = BTreeMap<String, Option<SecretString>>;

/// The names that a kind of sign-in knows, those that it needs first and how many they are.
pub(super) fn names(connector: &ConnectorType, auth: &AuthType) -> (&'static [&'static str], usize) {
    match (connector, auth) {
        // A webhook is signed where it has a key.
        (ConnectorType::Webhook, AuthType::None) => (&["secret"], 0),
        (_, AuthType::ApiKey) => (&["apiKey", "header", "prefix"], 1),
        (_, AuthType::Basic) => (&["username", "password"], 2),
        (_, AuthType::Bearer) => (&["token"], 1),
        (_, AuthType::Oauth2) => (&["clientId", "clientSecret", "tokenUrl", "scope", "audience", "clientAuthentication"], 3),
        _ => (&[], 0),
    }
}

/// The names whose values must never be seen in an answer.
pub(super) fn is_secret(name: &str) -> bool {
    matches!(name, "apiKey" | "password" | "token" | "clientSecret" | "secret")
}

/// Reads credentials as they are given.
pub(super) fn read(connector: &ConnectorType, auth: &AuthType, given: &Map<String, Value>) -> Result<Changes, Vec<FieldError>> {
    let (known, _) = names(connector, auth);
    let (mut changes, mut faults) = (Changes::new(), Vec::new());
    for (name, value) in given.iter().take(50) {
        let pointer = format!("/credentials/{}", name.replace('~', "~0").replace('/', "~1"));
        if !known.contains(&name.as_str()) {
            let near = nearest(name, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            let list = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            faults.push(FieldError::new(
                pointer,
                "unknown",
                format!("is not a credential of {auth}, which takes {list}{near} Set authType to the kind of sign-in."),
            ));
            continue;
        }
        match value {
            Value::Null => {
                changes.insert(name.clone(), None);
            }
            Value::String(text) if !text.is_empty() && text.len() <= MAX_VALUE && !text.contains(['\r', '\n', '\0']) => {
                match check(name, text) {
                    Ok(()) => drop(changes.insert(name.clone(), Some(text.clone().into()))),
                    Err(detail) => faults.push(FieldError::new(pointer, "format", detail)),
                }
            }
            _ => faults.push(FieldError::new(
                pointer,
                "type",
                format!("is text of 1 to {MAX_VALUE} bytes in one line, or null to remove it"),
            )),
        }
    }
    if faults.is_empty() { Ok(changes) } else { Err(faults) }
}

fn check(name: &str, value: &str) -> Result<(), String> {
    match name {
        "header" => match HeaderName::from_bytes(value.as_bytes()) {
            Ok(header) if !TAKEN_HEADERS.contains(&header.as_str()) => Ok(()),
            Ok(header) => Err(format!("is {header}, which the call sets itself")),
            Err(_) => Err("is the name of a header, such as X-API-Key".to_owned()),
        },
        "tokenUrl" => {
            let url = outbound::parse(value)?;
            if url.scheme() == "http" && !crate::io::outbound::is_loopback(&url) {
                return Err("must begin with https://: the secret would go over the network in the clear".to_owned());
            }
            Ok(())
        }
        "clientAuthentication" if !matches!(value, "basic" | "body") => {
            Err(format!("is {}; allowed are basic (a header) and body (form fields)", quote(value)))
        }
        "secret" => standard_webhooks::key_of(value).map(drop).map_err(|detail| format!("the webhook {detail}")),
        "apiKey" | "token" | "prefix" if HeaderValue::from_str(value).is_err() => {
            Err("holds characters that a header cannot carry".to_owned())
        }
        _ => Ok(()),
    }
}

/// Stores changes. Names that the kind of sign-in does not know any more are removed.
pub(super) fn store(tx: &Tx<'_>, platform: &Platform, id: &str, known: &[&str], changes: &Changes) -> Result<()> {
    for name in set_names(tx, tx.tenant(), id)? {
        if !known.contains(&name.as_str()) || changes.get(&name).is_some_and(Option::is_none) {
            tx.prepare_cached("DELETE FROM integration_secrets WHERE tenant_id = ?1 AND integration_id = ?2 AND name = ?3")?.execute((
                tx.tenant(),
                id,
                &name,
            ))?;
        }
    }
    for (name, value) in changes {
        let Some(value) = value else { continue };
        let sealed = platform.keys().seal(&about(tx.tenant(), id, name), value.expose_secret().as_bytes())?;
        tx.prepare_cached("INSERT OR REPLACE INTO integration_secrets (tenant_id, integration_id, name, sealed) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![tx.tenant(), id, name, sealed])?;
    }
    Ok(())
}

/// The names of the credentials that are set.
pub(super) fn set_names(connection: &Connection, tenant: &str, id: &str) -> Result<Vec<String>> {
    let mut statement =
        connection.prepare_cached("SELECT name FROM integration_secrets WHERE tenant_id = ?1 AND integration_id = ?2 ORDER BY name")?;
    Ok(statement.query_map((tenant, id), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// Opens the credentials of an integration.
pub(super) fn open(connection: &Connection, platform: &Platform, tenant: &str, id: &str) -> Result<Secrets> {
    let mut statement =
        connection.prepare_cached("SELECT name, sealed FROM integration_secrets WHERE tenant_id = ?1 AND integration_id = ?2")?;
    let rows = statement.query_map((tenant, id), |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
    rows.map(|row| {
        let (name, sealed) = row?;
        let plain = platform.keys().open(&about(tenant, id, &name), &sealed)?;
        let value = String::from_utf8(plain).map_err(Error::internal)?;
        Ok((name, SecretString::from(value)))
    })
    .collect()
}

/// What a sealed value belongs to: it opens for no other tenant, integration or name.
fn about(tenant: &str, id: &str, name: &str) -> String {
    format!("integration\0{tenant}\0{id}\0{name}")
}
