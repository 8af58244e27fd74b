//! Integrations as they are stored, with how their last calls ended and what that makes of the breaker.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Map, Value, json};

use super::credentials::{self, Changes as Credentials};
use crate::api::Timestamp;
use crate::api::arguments::quote;
use crate::api::audit::Changes;
use crate::api::integrations::{AuthType, ConnectorType, Integration, IntegrationStatus};
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::database::Tx;

/// Most integrations of a tenant.
const MAX_PER_TENANT: i64 = 1_000;
const COLUMNS: &str = "id, name, connector_type, base_url, auth_type, mapping, status, open_until, last_sync_at, version,
    created_at, updated_at";

/// What an integration is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    pub(super) name: String,
    pub(super) connector: ConnectorType,
    pub(super) base_url: String,
    pub(super) auth: AuthType,
    pub(super) mapping: Map<String, Value>,
}

/// An integration.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) settings: Settings,
    pub(super) status: IntegrationStatus,
    pub(super) open_until: Option<Timestamp>,
    pub(super) last_sync_at: Option<Timestamp>,
    pub(super) version: i64,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
}

impl Record {
    /// The integration as answers show it.
    pub(super) fn view(self, credentials_set: Vec<String>, now: Timestamp) -> Integration {
        let breaker = match self.open_until {
            None => "closed",
            Some(until) if until > now => "open",
            Some(_) => "half_open",
        };
        let Settings { name, connector, base_url, auth, mapping } = self.settings;
        Integration {
            integration_id: self.id.into(),
            name,
            connector_type: Some(connector),
            base_url: Some(base_url),
            auth_type: Some(auth),
            credentials_set,
            mapping,
            status: Some(self.status),
            breaker: Some(breaker.to_owned()),
            last_sync_at: self.last_sync_at,
            created_at: Some(self.created_at),
            updated_at: Some(self.updated_at),
        }
    }
}

fn record_of(row: &Row<'_>) -> rusqlite::Result<(Record, String)> {
    let time = |place: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(place)?.map(Timestamp::from_millis));
    let settings = Settings {
        name: row.get(1)?,
        connector: ConnectorType::from(row.get_ref(2)?.as_str()?),
        base_url: row.get(3)?,
        auth: AuthType::from(row.get_ref(4)?.as_str()?),
        mapping: Map::new(),
    };
    let record = Record {
        id: row.get(0)?,
        settings,
        status: IntegrationStatus::from(row.get_ref(6)?.as_str()?),
        open_until: time(7)?,
        last_sync_at: time(8)?,
        version: row.get(9)?,
        created_at: Timestamp::from_millis(row.get(10)?),
        updated_at: Timestamp::from_millis(row.get(11)?),
    };
    Ok((record, row.get(5)?))
}

/// Finds an integration of a tenant.
pub(super) fn find(connection: &Connection, tenant: &str, id: &str) -> Result<Record> {
    let sql = format!("SELECT {COLUMNS} FROM integrations WHERE tenant_id = ?1 AND id = ?2");
    let found = connection.prepare_cached(&sql)?.query_row((tenant, id), record_of).optional()?;
    with_mapping(found.ok_or_else(|| {
        Error::new(Kind::NotFound, "FM-IHS-NOT-FOUND", format!("there is no integration {}", quote(id)))
            .hint("integrations_list shows the integrations and their ids.")
    })?)
}

/// The integrations of a tenant after one, by their ids.
pub(super) fn list(connection: &Connection, tenant: &str, after: &str, most: usize) -> Result<Vec<Record>> {
    let sql = format!("SELECT {COLUMNS} FROM integrations WHERE tenant_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![tenant, after, i64::try_from(most).unwrap_or(i64::MAX)], record_of)?;
    rows.map(|row| with_mapping(row?)).collect()
}

fn with_mapping((mut record, mapping): (Record, String)) -> Result<Record> {
    record.settings.mapping = serde_json::from_str(&mapping).map_err(Error::internal)?;
    Ok(record)
}

/// Stores a new integration.
pub(super) fn create(tx: &mut Tx<'_>, platform: &Platform, settings: &Settings, given: &Credentials) -> Result<Record> {
    let sql = "SELECT count(*) FROM integrations WHERE tenant_id = ?";
    let count: i64 = tx.prepare_cached(sql)?.query_row([tx.tenant()], |row| row.get(0))?;
    if count >= MAX_PER_TENANT {
        return Err(Error::new(Kind::Conflict, "FM-IHS-TOO-MANY", format!("there are {MAX_PER_TENANT} integrations already"))
            .hint("Change one that is not needed any more with integrations_update."));
    }
    let (id, now) = (tx.mint("int"), tx.now().millis());
    tx.prepare_cached(
        "INSERT INTO integrations (tenant_id, id, name, connector_type, base_url, auth_type, mapping, status, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)",
    )?
    .execute(params![
        tx.tenant(),
        id,
        settings.name,
        settings.connector.as_str(),
        settings.base_url,
        settings.auth.as_str(),
        text(&settings.mapping)?,
        IntegrationStatus::Registered.as_str(),
        now,
    ])?;
    credentials::store(tx, platform, &id, credentials::names(&settings.connector, &settings.auth).0, given)?;
    let after = told(tx, &id, settings, given)?;
    tx.audit("integration.created", "integration", &id, Some(Changes { before: None, after }))?;
    find(tx, tx.tenant(), &id)
}

/// Stores changed settings. What was learned of the system before does not count for them.
pub(super) fn update(tx: &mut Tx<'_>, platform: &Platform, before: &Record, settings: &Settings, given: &Credentials) -> Result<Record> {
    let id = &before.id;
    let told_before = told(tx, id, &before.settings, &Credentials::new())?;
    tx.prepare_cached(
        "UPDATE integrations SET name = ?3, connector_type = ?4, base_url = ?5, auth_type = ?6, mapping = ?7, updated_at = ?8,
             version = version + 1 WHERE tenant_id = ?1 AND id = ?2",
    )?
    .execute(params![
        tx.tenant(),
        id,
        settings.name,
        settings.connector.as_str(),
        settings.base_url,
        settings.auth.as_str(),
        text(&settings.mapping)?,
        tx.now().millis(),
    ])?;
    let is_elsewhere = settings.base_url != before.settings.base_url || settings.auth != before.settings.auth;
    if is_elsewhere || !given.is_empty() {
        tx.prepare_cached("UPDATE integrations SET status = ?3, failures = 0, open_until = NULL WHERE tenant_id = ?1 AND id = ?2")?
            .execute((tx.tenant(), id, IntegrationStatus::Registered.as_str()))?;
    }
    credentials::store(tx, platform, id, credentials::names(&settings.connector, &settings.auth).0, given)?;
    let after = told(tx, id, settings, given)?;
    tx.audit("integration.updated", "integration", id, Some(Changes { before: told_before, after }))?;
    find(tx, tx.tenant(), id)
}

/// What the audit trail says of settings: which credentials are set and were given, never a value.
fn told(tx: &Tx<'_>, id: &str, settings: &Settings, given: &Credentials) -> Result<Option<Map<String, Value>>> {
    let mut said = json!({
        "name": settings.name, "connectorType": settings.connector, "baseUrl": settings.base_url, "authType": settings.auth,
        "mapping": settings.mapping, "credentialsSet": credentials::set_names(tx, tx.tenant(), id)?,
    });
    if !given.is_empty() {
        said["credentialsGiven"] = json!(given.keys().collect::<Vec<_>>());
    }
    Ok(said.as_object().cloned())
}

fn text(mapping: &Map<String, Value>) -> Result<String> {
    serde_json::to_string(mapping).map_err(Error::internal)
}

/// Lets a call through the breaker, or answers when it may be tried again. A half-open breaker lets one call through: it is
/// open to the others for as long again, so a call that never ends does not keep it half open.
pub(super) fn pass(tx: &Tx<'_>, platform: &Platform, record: &Record) -> Result<Option<Timestamp>> {
    match record.open_until {
        None => Ok(None),
        Some(until) if until > tx.now() => Ok(Some(until)),
        Some(_) => {
            let until = tx.now().plus_seconds(platform.integrations().breaker_pause.as_secs_f64());
            tx.prepare_cached("UPDATE integrations SET open_until = ?3 WHERE tenant_id = ?1 AND id = ?2")?.execute((
                tx.tenant(),
                &record.id,
                until.millis(),
            ))?;
            Ok(None)
        }
    }
}

/// How an attempt ended, as far as the integration is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The system did what it was asked for.
    Well,
    /// The system is there and refused.
    Refused,
    /// The system is away or fails.
    Away,
    /// Nothing was sent.
    Unsent,
}

/// Notes how an attempt ended; a failure too many opens the breaker.
pub(super) fn note(tx: &Tx<'_>, platform: &Platform, id: &str, ended: Ended, is_sync: bool) -> Result<()> {
    let now = tx.now();
    match ended {
        Ended::Well => {
            tx.prepare_cached(
                "UPDATE integrations SET status = 'connected', failures = 0, open_until = NULL,
                     last_sync_at = CASE WHEN ?3 THEN ?4 ELSE last_sync_at END WHERE tenant_id = ?1 AND id = ?2",
            )?
            .execute((tx.tenant(), id, is_sync, now.millis()))?;
        }
        Ended::Refused => {
            tx.prepare_cached(
                "UPDATE integrations SET status = 'failed', failures = 0, open_until = NULL WHERE tenant_id = ?1 AND id = ?2",
            )?
            .execute((tx.tenant(), id))?;
        }
        Ended::Away => {
            let policy = platform.integrations();
            let until = now.plus_seconds(policy.breaker_pause.as_secs_f64());
            tx.prepare_cached(
                "UPDATE integrations SET status = 'failed', failures = failures + 1,
                     open_until = CASE WHEN open_until IS NOT NULL OR failures + 1 >= ?3 THEN ?4 END WHERE tenant_id = ?1 AND id = ?2",
            )?
            .execute((tx.tenant(), id, policy.breaker_failures.max(1), until.millis()))?;
        }
        Ended::Unsent => {
            tx.prepare_cached("UPDATE integrations SET status = 'failed' WHERE tenant_id = ?1 AND id = ?2")?.execute((tx.tenant(), id))?;
        }
    }
    Ok(())
}
