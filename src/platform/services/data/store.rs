//! Discovered schemas in the database: kept once for each source and shape, the oldest dropped beyond a bound.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Map, json};

use super::profile::Profile;
use crate::api::Timestamp;
use crate::api::arguments::quote;
use crate::api::audit::Changes;
use crate::api::data::DiscoveredSchema;
use crate::api::ids::SchemaId;
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;
use crate::platform::keys;

/// Most schemas of a tenant.
const MAX_SCHEMAS: i64 = 2_000;

/// A schema as it is stored.
pub(super) struct Stored {
    pub(super) id: String,
    source_type: String,
    source_id: Option<String>,
    pub(super) profile: Profile,
    quality: f64,
    discovered_at: i64,
}

const COLUMNS: &str = "id, source_type, nullif(source_id, ''), profile, quality, discovered_at";

fn stored_of(row: &Row<'_>) -> rusqlite::Result<Result<Stored>> {
    let profile: String = row.get(3)?;
    let (id, source_type, source_id) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (quality, discovered_at) = (row.get(4)?, row.get(5)?);
    Ok(serde_json::from_str(&profile)
        .map(|profile| Stored { id, source_type, source_id, profile, quality, discovered_at })
        .map_err(Error::internal))
}

impl Stored {
    /// The schema as the list shows it.
    pub(super) fn view(self) -> DiscoveredSchema {
        DiscoveredSchema {
            schema_id: self.id.into(),
            source_type: Some(self.source_type),
            source_id: self.source_id.map(Into::into),
            fields: self.profile.view().fields,
            data_quality: Some(self.quality),
            discovered_at: Some(Timestamp::from_millis(self.discovered_at)),
        }
    }
}

/// What tells data of the same fields and types from other data.
pub(super) fn shape_of(profile: &Profile) -> String {
    let fields: Vec<_> = profile.fields.iter().map(|field| json!([field.path, field.kind, field.format])).collect();
    keys::sha256(json!(fields).to_string().as_bytes())
}

/// A profile that is to be kept.
pub(super) struct Discovery {
    pub(super) source_type: String,
    pub(super) source_id: String,
    pub(super) profile: Profile,
    pub(super) quality: f64,
}

/// Keeps a profile and returns its schema's id; the same source and shape keep theirs.
pub(super) fn keep(tx: &mut Tx<'_>, found: &Discovery) -> Result<SchemaId> {
    let profile = serde_json::to_string(&found.profile).map_err(Error::internal)?;
    let (tenant, now, shape) = (tx.tenant().to_owned(), tx.now().millis(), shape_of(&found.profile));
    let known: Option<String> = tx
        .prepare_cached("SELECT id FROM discovered_schemas WHERE tenant_id = ? AND source_type = ? AND source_id = ? AND shape = ?")?
        .query_row(params![tenant, found.source_type, found.source_id, shape], |row| row.get(0))
        .optional()?;
    let (id, action) = match known {
        Some(id) => (id, "schema.profiled"),
        None => (tx.mint("schema"), "schema.discovered"),
    };
    tx.prepare_cached(
        "INSERT INTO discovered_schemas (tenant_id, id, source_type, source_id, shape, profile, quality, discovered_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET profile = excluded.profile, quality = excluded.quality, discovered_at = excluded.discovered_at",
    )?
    .execute(params![tenant, id, found.source_type, found.source_id, shape, profile, found.quality, now])?;
    tx.prepare_cached(
        "DELETE FROM discovered_schemas WHERE tenant_id = ?1 AND id IN (
             SELECT id FROM discovered_schemas WHERE tenant_id = ?1 ORDER BY discovered_at DESC, id DESC LIMIT -1 OFFSET ?2)",
    )?
    .execute(params![tenant, MAX_SCHEMAS])?;
    audit(tx, action, &id, found.profile.fields.len())?;
    Ok(id.into())
}

/// Keeps the newest quality of a source with the schema that it was judged by.
pub(super) fn keep_quality(tx: &mut Tx<'_>, id: &str, quality: f64) -> Result<()> {
    let tenant = tx.tenant().to_owned();
    tx.prepare_cached("UPDATE discovered_schemas SET quality = ? WHERE tenant_id = ? AND id = ?")?.execute(params![quality, tenant, id])?;
    tx.audit("schema.scored", "discovered_schema", id, None)?;
    Ok(())
}

fn audit(tx: &mut Tx<'_>, action: &str, id: &str, fields: usize) -> Result<()> {
    let after = Map::from_iter([("fields".to_owned(), json!(fields))]);
    tx.audit(action, "discovered_schema", id, Some(Changes { before: None, after: Some(after) }))?;
    Ok(())
}

/// Finds a schema of the tenant.
pub(super) fn find(connection: &Connection, tenant: &str, id: &str) -> Result<Stored> {
    let sql = format!("SELECT {COLUMNS} FROM discovered_schemas WHERE tenant_id = ? AND id = ?");
    connection.prepare_cached(&sql)?.query_row(params![tenant, id], stored_of).optional()?.unwrap_or_else(|| {
        Err(Error::new(Kind::NotFound, "FM-DIS-SCHEMA-NOT-FOUND", format!("there is no discovered schema {}", quote(id)))
            .hint("schemas_list shows the discovered schemas and their ids."))
    })
}

/// The newest schema of a source, if it was ever discovered.
pub(super) fn latest_of(connection: &Connection, tenant: &str, source: &str) -> Result<Option<Stored>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM discovered_schemas WHERE tenant_id = ? AND source_id = ? ORDER BY discovered_at DESC, id DESC LIMIT 1"
    );
    connection.prepare_cached(&sql)?.query_row(params![tenant, source], stored_of).optional()?.transpose()
}

/// The tenant's schemas before an id, the newest first.
pub(super) fn list(connection: &Connection, tenant: &str, before: Option<&str>, most: usize) -> Result<Vec<Stored>> {
    let sql =
        format!("SELECT {COLUMNS} FROM discovered_schemas WHERE tenant_id = ?1 AND (?2 IS NULL OR id < ?2) ORDER BY id DESC LIMIT ?3");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![tenant, before, i64::try_from(most).unwrap_or(i64::MAX)], stored_of)?;
    rows.map(|row| row?).collect()
}
