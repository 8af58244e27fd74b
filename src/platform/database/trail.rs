//! Appending to the audit trail: each row is chained to the one before it, in the transaction that it tells of.
//!
//! The hash of a row covers salted digests of what may name a person (who, what thing, before and after), not the
//! text itself. Text and salt can be removed on request; the chain still verifies.

use rusqlite::OptionalExtension as _;
use serde_json::Value;

use super::Tx;
use crate::api::audit::{AuditEntry, Changes, Log};
use crate::api::ids;
use crate::error::{Error, Result};
use crate::platform::{keys, vocabulary};

/// The part of a row that is hashed, in its canonical order.
#[derive(Debug)]
pub(crate) struct Link<'a> {
    /// The hash of the row before; of the tenant's name for the first.
    pub(crate) previous: &'a str,
    /// The row.
    pub(crate) id: &'a str,
    /// The tenant.
    pub(crate) tenant: &'a str,
    /// Its place in the chain.
    pub(crate) sequence: i64,
    /// When it happened.
    pub(crate) timestamp: i64,
    /// When it was written.
    pub(crate) recorded_at: i64,
    /// What was done.
    pub(crate) action: &'a str,
    /// The kind of thing.
    pub(crate) resource_type: &'a str,
    /// The request.
    pub(crate) request_id: Option<&'a str>,
    /// The digests of actor, recorder, thing and changes.
    pub(crate) digests: [&'a str; 4],
    /// Whether a caller claimed the row; nothing in rows of before that was told apart, whose hash does not cover it.
    pub(crate) claimed: Option<bool>,
}

impl Link<'_> {
    /// The row's hash. A JSON array is canonical: every text has one way to be written.
    pub(crate) fn hash(&self) -> String {
        let mut canonical = vec![
            Value::from(self.previous),
            Value::from(self.id),
            Value::from(self.tenant),
            Value::from(self.sequence),
            Value::from(self.timestamp),
            Value::from(self.recorded_at),
            Value::from(self.action),
            Value::from(self.resource_type),
            Value::from(self.request_id),
            Value::from(self.digests.to_vec()),
        ];
        canonical.extend(self.claimed.map(Value::from));
        keys::sha256(Value::from(canonical).to_string().as_bytes())
    }

    /// What the first row of a tenant is chained to.
    pub(crate) fn genesis(tenant: &str) -> String {
        keys::sha256(format!("flowmaster/audit/{tenant}").as_bytes())
    }

    /// The digest of a text that may name a person.
    pub(crate) fn digest(salt: &[u8], text: &str) -> String {
        keys::sha256(&[salt, text.as_bytes()].concat())
    }
}

/// Whether rows of an action are kept for seven years: decisions, rights, releases and what was destroyed.
pub(crate) fn is_critical(action: &str) -> bool {
    const RESOURCES: [&str; 9] = ["user", "role", "service_token", "records", "legal_hold", "audit", "task", "contract", "approval_chain"];
    let (resource, verb) = action.split_once('.').unwrap_or((action, ""));
    match resource {
        "user" => !matches!(verb, "signed_in" | "signed_out"),
        "task" => matches!(verb, "responded" | "completed" | "approved"),
        resource if RESOURCES.contains(&resource) => true,
        _ => matches!(verb, "published" | "deleted" | "cancelled" | "compensated"),
    }
}

impl Tx<'_> {
    /// Appends a row to the tenant's audit trail.
    pub(crate) fn audit(&mut self, action: &str, resource_type: &str, resource_id: &str, changes: Option<Changes>) -> Result<AuditEntry> {
        debug_assert!(
            vocabulary::ACTIONS.contains(&action) && vocabulary::RESOURCE_TYPES.contains(&resource_type),
            "{action} {resource_type}"
        );
        let actor = self.scope.actor.clone();
        let log = Log {
            actor,
            action: action.to_owned(),
            resource_type: resource_type.to_owned(),
            resource_id: resource_id.to_owned(),
            changes,
            timestamp: None,
        };
        self.append(log, false, None)
    }

    /// Appends a row that says what a caller claims: who, what and when are its own words.
    pub(crate) fn audit_claim(&mut self, claim: Log) -> Result<AuditEntry> {
        self.append(claim, true, None)
    }

    /// Appends a row that a caller claims, unless it did so before under the same id.
    pub(crate) fn audit_claim_once(&mut self, id: &str, claim: Log) -> Result<Option<AuditEntry>> {
        let is_known =
            self.prepare_cached("SELECT 1 FROM audit_log WHERE tenant_id = ?1 AND claim_id = ?2")?.exists((self.tenant(), id))?;
        if is_known { Ok(None) } else { self.append(claim, true, Some(id)).map(Some) }
    }

    fn append(&mut self, log: Log, claimed: bool, claim_id: Option<&str>) -> Result<AuditEntry> {
        let Log { actor, action, resource_type, resource_id, changes, timestamp } = log;
        let timestamp = timestamp.unwrap_or(self.now);
        let (tenant, recorded_by, request_id) = (self.scope.tenant.clone(), self.scope.recorded_by.clone(), self.scope.request_id.clone());
        let id = ids::mint("audit", self.now);
        let (previous_sequence, previous) = self.trail_head()?;
        let sequence = previous_sequence + 1;
        let text = changes.as_ref().map(serde_json::to_string).transpose().map_err(Error::internal)?;
        let values = [actor.as_str(), recorded_by.as_str(), resource_id.as_str(), text.as_deref().unwrap_or_default()];
        let salts: [[u8; 16]; 4] = [keys::random()?, keys::random()?, keys::random()?, keys::random()?];
        let digests: Vec<String> = salts.iter().zip(values).map(|(salt, value)| Link::digest(salt, value)).collect();
        let hash = Link {
            previous: &previous,
            id: &id,
            tenant: tenant.as_str(),
            sequence,
            timestamp: timestamp.millis(),
            recorded_at: self.now.millis(),
            action: &action,
            resource_type: &resource_type,
            request_id: request_id.as_deref(),
            digests: [&digests[0], &digests[1], &digests[2], &digests[3]],
            claimed: Some(claimed),
        }
        .hash();
        self.prepare_cached(
            "INSERT INTO audit_log (tenant_id, sequence, id, timestamp, recorded_at, action, critical, resource_type, request_id,
                 actor, actor_salt, actor_digest, recorded_by, recorded_by_salt, recorded_by_digest,
                 resource_id, resource_id_salt, resource_id_digest, changes, changes_salt, changes_digest, previous_hash, hash, claimed,
                 claim_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25)",
        )?
        .execute(rusqlite::params![
            tenant.as_str(),
            sequence,
            id,
            timestamp.millis(),
            self.now.millis(),
            action,
            is_critical(&action),
            resource_type,
            request_id,
            actor,
            salts[0],
            digests[0],
            recorded_by,
            salts[1],
            digests[1],
            resource_id,
            salts[2],
            digests[2],
            values[3],
            salts[3],
            digests[3],
            previous,
            hash,
            claimed,
            claim_id,
        ])?;
        self.trail_head = Some((sequence, hash.clone()));
        Ok(AuditEntry {
            id: id.into(),
            sequence: sequence.unsigned_abs(),
            timestamp,
            actor,
            recorded_by,
            action,
            resource_type,
            resource_id,
            changes,
            tenant_id: Some(tenant),
            request_id,
            hash,
            claimed: Some(claimed),
        })
    }

    /// The last row's place and hash; where all rows were retired, the last checkpoint's.
    fn trail_head(&self) -> Result<(i64, String)> {
        if let Some(head) = &self.trail_head {
            return Ok(head.clone());
        }
        let tenant = self.tenant();
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let last = self
            .prepare_cached("SELECT sequence, hash FROM audit_log WHERE tenant_id = ?1 ORDER BY sequence DESC LIMIT 1")?
            .query_row([tenant], row)
            .optional()?;
        let checkpoint = self
            .prepare_cached("SELECT last, last_hash FROM audit_checkpoints WHERE tenant_id = ?1 ORDER BY last DESC LIMIT 1")?
            .query_row([tenant], row)
            .optional()?;
        Ok(match (last, checkpoint) {
            (Some(last), Some(checkpoint)) => std::cmp::max_by_key(last, checkpoint, |head: &(i64, String)| head.0),
            (Some(head), None) | (None, Some(head)) => head,
            (None, None) => (0, Link::genesis(tenant)),
        })
    }
}
