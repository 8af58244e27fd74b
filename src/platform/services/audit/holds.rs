//! Legal holds: persons whose records must not be deleted. Beyond the contract, which speaks of no way to place one.

use rusqlite::Connection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::arguments::quote;
use crate::api::{Done, Effect, Operation, Permission, Spec, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;
use crate::platform::http::context::Cx;

/// Keeps the records of a person from being deleted.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct CreateHold {
    /// The person, as a deletion request would name them.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) subject: String,
    /// Why.
    #[schemars(length(min = 1, max = 1000))]
    pub(crate) reason: String,
}

/// A legal hold.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Hold {
    /// The hold.
    #[serde(rename = "holdId")]
    pub(crate) id: String,
    /// The person.
    pub(crate) subject: String,
    /// When it was placed.
    pub(crate) created_at: Timestamp,
}

impl Operation for CreateHold {
    type Output = Hold;
    const SPEC: Spec = Spec::post("legal_holds_create", "/legal-holds", Effect::Grant)
        .titled("Place a legal hold")
        .requires(Permission::RECORD_DELETE)
        .internal()
        .answers(201);
}

/// Releases a legal hold.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ReleaseHold {
    /// The hold.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) id: String,
}

impl Operation for ReleaseHold {
    type Output = Done;
    const SPEC: Spec = Spec::delete("legal_holds_release", "/legal-holds/{id}", Effect::Destroy)
        .titled("Release a legal hold")
        .requires(Permission::RECORD_DELETE)
        .internal();
}

pub(super) async fn create(cx: Cx, request: CreateHold) -> Result<Hold> {
    cx.write(move |tx| {
        let id = tx.mint("hold");
        let subject = request.subject.trim().to_owned();
        tx.prepare_cached("INSERT INTO audit_holds (id, tenant_id, subject, reason, created_at) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute((&id, tx.tenant(), &subject, &request.reason, tx.now().millis()))?;
        tx.audit("legal_hold.placed", "legal_hold", &id, None)?;
        Ok(Hold { id, subject, created_at: tx.now() })
    })
    .await
}

pub(super) async fn release(cx: Cx, request: ReleaseHold) -> Result<Done> {
    cx.write(move |tx| {
        let released = tx
            .prepare_cached("UPDATE audit_holds SET released_at = ?3 WHERE tenant_id = ?1 AND id = ?2 AND released_at IS NULL")?
            .execute((tx.tenant(), &request.id, tx.now().millis()))?;
        if released == 0 {
            return Err(Error::new(Kind::NotFound, "FM-ACS-NO-HOLD", format!("there is no legal hold {}", quote(&request.id)))
                .hint("Placing a hold answers its id."));
        }
        tx.audit("legal_hold.released", "legal_hold", &request.id, None)?;
        Ok(Done::default())
    })
    .await
}

/// Whether a hold keeps a person's records, by any name of theirs.
pub(super) fn on_any(tx: &Tx<'_>, names: &[String]) -> Result<bool> {
    any_of(tx, tx.tenant(), names)
}

/// The same, where nothing is written.
pub(super) fn any_of(connection: &Connection, tenant: &str, names: &[String]) -> Result<bool> {
    exists(connection, tenant, names, "AND released_at IS NULL")
}

/// Whether there ever was a hold on a person.
pub(super) fn named(connection: &Connection, tenant: &str, names: &[String]) -> Result<bool> {
    exists(connection, tenant, names, "")
}

fn exists(connection: &Connection, tenant: &str, names: &[String], and: &str) -> Result<bool> {
    let names = serde_json::to_string(names).map_err(Error::internal)?;
    let sql =
        format!("SELECT 1 FROM audit_holds WHERE tenant_id = ?1 AND lower(subject) IN (SELECT lower(value) FROM json_each(?2)) {and}");
    Ok(connection.prepare_cached(&sql)?.exists((tenant, names))?)
}
