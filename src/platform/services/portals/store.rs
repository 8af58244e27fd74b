//! Portals as they are stored; each change counts its version.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Map, Value, json};

use super::features;
use crate::api::Timestamp;
use crate::api::arguments::quote;
use crate::api::audit::Changes;
use crate::api::portals::{Branding, Portal};
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;
use crate::platform::http::context;

/// Most portals of a tenant.
const MAX_PER_TENANT: i64 = 1_000;
const COLUMNS: &str = "id, name, logo, primary_color, custom_domain, features, created_at, updated_at, version";

/// A portal with its version.
pub(super) type Versioned = (Portal, i64);

/// Stores a new portal.
pub(super) fn create(tx: &mut Tx<'_>, name: &str, branding: &Branding, features: &Map<String, Value>) -> Result<Versioned> {
    let count: i64 = tx.prepare_cached("SELECT count(*) FROM portals WHERE tenant_id = ?")?.query_row([tx.tenant()], |row| row.get(0))?;
    if count >= MAX_PER_TENANT {
        return Err(Error::new(Kind::Conflict, "FM-PMS-TOO-MANY", format!("there are {MAX_PER_TENANT} portals already"))
            .hint("Change one that there is."));
    }
    let id = tx.mint("portal");
    check_domain(tx, &id, branding)?;
    tx.prepare_cached(
        "INSERT INTO portals (tenant_id, id, name, logo, primary_color, custom_domain, features, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)",
    )?
    .execute(params![
        tx.tenant(),
        id,
        name,
        branding.logo,
        branding.primary_color,
        branding.custom_domain,
        serde_json::to_string(features).map_err(Error::internal)?,
        tx.now().millis(),
    ])?;
    let after = json!({ "name": name, "branding": branding, "features": features });
    tx.audit("portal.created", "portal", &id, Some(Changes { before: None, after: after.as_object().cloned() }))?;
    find(tx, tx.tenant(), &id)
}

/// Changes the look of a portal; what is absent stays.
pub(super) fn update_branding(tx: &mut Tx<'_>, id: &str, branding: &Branding, if_match: Option<&str>) -> Result<Versioned> {
    let (before, version) = find(tx, tx.tenant(), id)?;
    context::matches(if_match, &version.to_string())?;
    check_domain(tx, id, branding)?;
    tx.prepare_cached(
        "UPDATE portals SET logo = coalesce(?3, logo), primary_color = coalesce(?4, primary_color),
             custom_domain = coalesce(?5, custom_domain), version = version + 1, updated_at = ?6
         WHERE tenant_id = ?1 AND id = ?2",
    )?
    .execute(params![tx.tenant(), id, branding.logo, branding.primary_color, branding.custom_domain, tx.now().millis()])?;
    let (after, version) = find(tx, tx.tenant(), id)?;
    let fields = |portal: &Portal| json!(portal.branding).as_object().cloned();
    let changes = Changes { before: fields(&before), after: fields(&after) };
    tx.audit("portal.branding_changed", "portal", id, Some(changes))?;
    Ok((after, version))
}

/// Switches flags of a portal; what is absent stays.
pub(super) fn set_features(tx: &mut Tx<'_>, id: &str, flags: Map<String, Value>, if_match: Option<&str>) -> Result<Versioned> {
    let (before, version) = find(tx, tx.tenant(), id)?;
    context::matches(if_match, &version.to_string())?;
    let after = features::merged(before.features.clone(), flags)?;
    tx.prepare_cached("UPDATE portals SET features = ?3, version = version + 1, updated_at = ?4 WHERE tenant_id = ?1 AND id = ?2")?
        .execute(params![tx.tenant(), id, serde_json::to_string(&after).map_err(Error::internal)?, tx.now().millis()])?;
    tx.audit("portal.features_changed", "portal", id, Some(Changes { before: Some(before.features), after: Some(after) }))?;
    find(tx, tx.tenant(), id)
}

/// Finds a portal of the tenant.
pub(super) fn find(connection: &Connection, tenant: &str, id: &str) -> Result<Versioned> {
    let sql = format!("SELECT {COLUMNS} FROM portals WHERE tenant_id = ? AND id = ?");
    connection.prepare_cached(&sql)?.query_row((tenant, id), of_row).optional()?.ok_or_else(|| {
        Error::new(Kind::NotFound, "FM-PMS-NOT-FOUND", format!("there is no portal {}", quote(id)))
            .hint("portals_list shows the portals there are and their ids.")
    })
}

/// The tenant's portals, newest first.
pub(super) fn list(connection: &Connection, tenant: &str, before: Option<&str>, most: usize) -> Result<Vec<Portal>> {
    let sql = format!("SELECT {COLUMNS} FROM portals WHERE tenant_id = ?1 AND id < coalesce(?2, char(1114111)) ORDER BY id DESC LIMIT ?3");
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map((tenant, before, most), |row| Ok(of_row(row)?.0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Rejects a host name that another portal has. Host names are the world's, so portals of all tenants count.
fn check_domain(tx: &Tx<'_>, id: &str, branding: &Branding) -> Result<()> {
    let Some(domain) = &branding.custom_domain else { return Ok(()) };
    let is_taken = tx.prepare_cached("SELECT 1 FROM portals WHERE custom_domain = ?1 AND NOT (tenant_id = ?2 AND id = ?3)")?.exists((
        domain,
        tx.tenant(),
        id,
    ))?;
    if !is_taken {
        return Ok(());
    }
    Err(Error::new(Kind::Conflict, "FM-PMS-DOMAIN-TAKEN", format!("another portal has the host name {}", quote(domain)))
        .hint("Choose another host name."))
}

fn of_row(row: &Row<'_>) -> rusqlite::Result<Versioned> {
    let features: String = row.get(5)?;
    let portal = Portal {
        portal_id: row.get::<_, String>(0)?.into(),
        name: row.get(1)?,
        branding: Branding { logo: row.get(2)?, primary_color: row.get(3)?, custom_domain: row.get(4)? },
        features: serde_json::from_str(&features).unwrap_or_default(),
        created_at: Some(Timestamp::from_millis(row.get(6)?)),
        updated_at: Some(Timestamp::from_millis(row.get(7)?)),
    };
    Ok((portal, row.get(8)?))
}
