//! Registered instances as they are stored, each with a lease that heartbeats renew.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Map, Value, json};

use crate::api::Timestamp;
use crate::api::arguments::quote;
use crate::api::audit::Changes;
use crate::api::registry::{Health, Instance, Register};
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;

/// How long an instance stays without a sign of life, in seconds: three heartbeats of half a minute.
const LEASE_SECONDS: f64 = 90.0;
/// Most instances of a tenant.
const MAX_PER_TENANT: i64 = 1_000;
const COLUMNS: &str = "instance_id, service_name, host, port, version, metadata, health, registered_at, last_heartbeat_at, expires_at";

/// Stores an announced instance; a repeat renews its lease and takes over what changed.
pub(super) fn register(tx: &mut Tx<'_>, request: Register) -> Result<Instance> {
    let (id, now) = (request.instance_id.0, tx.now());
    // An instance whose lease has run out is gone, whether the worker has come by or not.
    tx.prepare_cached("DELETE FROM service_instances WHERE tenant_id = ?1 AND instance_id = ?2 AND expires_at <= ?3")?.execute(params![
        tx.tenant(),
        id,
        now.millis()
    ])?;
    let before = look_up(tx, tx.tenant(), &id, now)?;
    match &before {
        Some(other) if other.service_name != request.service_name => return Err(taken(other)),
        Some(_) => {}
        None => check_room(tx)?,
    }
    tx.prepare_cached(
        "INSERT INTO service_instances (tenant_id, instance_id, service_name, host, port, version, metadata, health, registered_at,
             last_heartbeat_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?8, ?9)
         ON CONFLICT (tenant_id, instance_id) DO UPDATE SET host = ?4, port = ?5, version = ?6, metadata = ?7, health = 0,
             last_heartbeat_at = ?8, expires_at = ?9",
    )?
    .execute(params![
        tx.tenant(),
        id,
        request.service_name,
        request.host,
        request.port,
        request.version,
        serde_json::to_string(&request.metadata.unwrap_or_default()).map_err(Error::internal)?,
        now.millis(),
        now.plus_seconds(LEASE_SECONDS).millis(),
    ])?;
    let after = find(tx, tx.tenant(), &id, now)?;
    let changes = (before.as_ref().map(described), described(&after));
    // A renewal alone is a heartbeat, of which there are too many to keep each in the audit log.
    if changes.0.as_ref() != Some(&changes.1) {
        tx.audit("service.registered", "service", &id, Some(Changes { before: changes.0, after: Some(changes.1) }))?;
    }
    Ok(after)
}

/// Removes an instance.
pub(super) fn remove(tx: &mut Tx<'_>, id: &str, action: &str) -> Result<()> {
    let instance = find(tx, tx.tenant(), id, tx.now())?;
    delete(tx, id)?;
    tx.audit(action, "service", id, Some(Changes { before: Some(described(&instance)), after: None }))?;
    Ok(())
}

/// Removes an instance if its lease has run out.
pub(super) fn expire(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    if look_up(tx, tx.tenant(), id, tx.now())?.is_none() && delete(tx, id)? > 0 {
        tx.audit("service.expired", "service", id, None)?;
    }
    Ok(())
}

fn delete(tx: &Tx<'_>, id: &str) -> Result<usize> {
    Ok(tx.prepare_cached("DELETE FROM service_instances WHERE tenant_id = ?1 AND instance_id = ?2")?.execute((tx.tenant(), id))?)
}

/// Takes a sign of life with the health that goes with it. Only an instance that takes calls renews its lease by it.
pub(super) fn heartbeat(tx: &mut Tx<'_>, id: &str, health: &Health) -> Result<Instance> {
    let instance = set_health(tx, id, health)?;
    let expires_at = match health {
        Health::Healthy | Health::Degraded => Some(tx.now().plus_seconds(LEASE_SECONDS)),
        _ => instance.expires_at,
    };
    tx.prepare_cached(
        "UPDATE service_instances SET last_heartbeat_at = ?3, expires_at = coalesce(?4, expires_at) WHERE tenant_id = ?1 AND instance_id = ?2",
    )?
    .execute((tx.tenant(), id, tx.now().millis(), expires_at.map(Timestamp::millis)))?;
    Ok(Instance { last_heartbeat_at: Some(tx.now()), expires_at, ..instance })
}

/// Keeps the health of an instance.
pub(super) fn set_health(tx: &mut Tx<'_>, id: &str, health: &Health) -> Result<Instance> {
    let instance = find(tx, tx.tenant(), id, tx.now())?;
    if instance.status.as_ref() != Some(health) {
        tx.prepare_cached("UPDATE service_instances SET health = ?3 WHERE tenant_id = ?1 AND instance_id = ?2")?.execute((
            tx.tenant(),
            id,
            rank(Some(health)),
        ))?;
        let status = |health: Option<&Health>| json!({ "status": health.map(Health::as_str) }).as_object().cloned();
        let changes = Changes { before: status(instance.status.as_ref()), after: status(Some(health)) };
        tx.audit("service.health_changed", "service", id, Some(changes))?;
    }
    Ok(Instance { status: Some(health.clone()), ..instance })
}

/// Finds an instance of the tenant whose lease runs.
pub(super) fn find(connection: &Connection, tenant: &str, id: &str, now: Timestamp) -> Result<Instance> {
    look_up(connection, tenant, id, now)?.ok_or_else(|| {
        Error::new(Kind::NotFound, "FM-SR-NOT-FOUND", format!("there is no instance {}", quote(id)))
            .hint("services_list shows the instances that there are; one that sends no heartbeat is removed.")
    })
}

fn look_up(connection: &Connection, tenant: &str, id: &str, now: Timestamp) -> Result<Option<Instance>> {
    let sql = format!("SELECT {COLUMNS} FROM service_instances WHERE tenant_id = ?1 AND instance_id = ?2 AND expires_at > ?3");
    Ok(connection.prepare_cached(&sql)?.query_row((tenant, id, now.millis()), of_row).optional()?)
}

/// All instances of a service, by either of its names; a tenant has a thousand at most.
pub(super) fn of_service(connection: &Connection, tenant: &str, names: &[String; 2], now: Timestamp) -> Result<Vec<Instance>> {
    let sql = format!("SELECT {COLUMNS} FROM service_instances WHERE tenant_id = ?1 AND service_name IN (?2, ?3) AND expires_at > ?4");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map((tenant, &names[0], &names[1], now.millis()), of_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Instances by service and id, after a place.
pub(super) fn list(connection: &Connection, tenant: &str, after: &(String, String), now: Timestamp, most: usize) -> Result<Vec<Instance>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM service_instances WHERE tenant_id = ?1 AND (service_name, instance_id) > (?2, ?3) AND expires_at > ?4
         ORDER BY service_name, instance_id LIMIT ?5"
    );
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map((tenant, &after.0, &after.1, now.millis(), most), of_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The place of a health in the order of discovery.
pub(super) fn rank(health: Option<&Health>) -> u8 {
    match health {
        Some(Health::Healthy) => 0,
        Some(Health::Degraded) => 1,
        _ => 2,
    }
}

fn check_room(tx: &Tx<'_>) -> Result<()> {
    let count: i64 =
        tx.prepare_cached("SELECT count(*) FROM service_instances WHERE tenant_id = ?1")?.query_row([tx.tenant()], |row| row.get(0))?;
    if count < MAX_PER_TENANT {
        return Ok(());
    }
    Err(Error::new(Kind::Conflict, "FM-SR-TOO-MANY", format!("{MAX_PER_TENANT} instances are registered already"))
        .hint("Deregister one that does not run any more, or wait until its lease has run out."))
}

fn taken(other: &Instance) -> Error {
    let (id, service) = (quote(other.instance_id.as_str()), quote(&other.service_name));
    Error::new(Kind::Conflict, "FM-SR-INSTANCE-TAKEN", format!("the instance {id} runs the service {service}"))
        .field("/serviceName", "mismatch", format!("the instance was registered for {service}"))
        .hint("Choose another instance id, or deregister the instance first.")
}

/// What the audit log shows of an instance.
fn described(instance: &Instance) -> Map<String, Value> {
    let shown = json!({
        "serviceName": instance.service_name,
        "host": instance.host,
        "port": instance.port,
        "version": instance.version,
        "metadata": instance.metadata,
        "status": instance.status,
    });
    shown.as_object().cloned().unwrap_or_default()
}

fn of_row(row: &Row<'_>) -> rusqlite::Result<Instance> {
    let metadata: String = row.get(5)?;
    let health = match row.get::<_, u8>(6)? {
        0 => Health::Healthy,
        1 => Health::Degraded,
        _ => Health::Unhealthy,
    };
    let moment = |column: usize| Ok::<_, rusqlite::Error>(Some(Timestamp::from_millis(row.get(column)?)));
    Ok(Instance {
        instance_id: row.get::<_, String>(0)?.into(),
        service_name: row.get(1)?,
        host: row.get(2)?,
        port: row.get(3)?,
        version: row.get(4)?,
        metadata: serde_json::from_str(&metadata).unwrap_or_default(),
        status: Some(health),
        registered_at: moment(7)?,
        last_heartbeat_at: moment(8)?,
        expires_at: moment(9)?,
    })
}
