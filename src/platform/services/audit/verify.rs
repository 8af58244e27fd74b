//! Verifying the trail: every row's digests, hash and link, every closed segment's signature, every erasure's reason.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Map, Value, json};

use super::erasure;
use super::retention::{Checkpoint, DETAIL_SECONDS};
use crate::api::Timestamp;
use crate::error::{Error, Result};
use crate::platform::database::{self, Link, is_critical};
use crate::platform::folder;
use crate::platform::keys::Keys;

/// How many rows are read at once.
const PORTION: i64 = 2_000;

/// What verifying a tenant's trail found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The tenant.
    pub tenant: String,
    /// Whether the trail is whole.
    pub verified: bool,
    /// How many rows it has.
    pub rows: u64,
    /// How many rows were retired into signed checkpoints.
    pub retired: u64,
    /// How many rows have texts that were erased.
    pub erased: u64,
    /// The hash of the last row; a trail that was cut off has another one than an earlier report says.
    pub head: String,
    /// What was found wrong first.
    pub fault: Option<String>,
}

impl Verdict {
    /// The verdict as a report shows it.
    pub(super) fn to_fields(&self) -> Map<String, Value> {
        let mut fields = Map::from_iter([
            ("verified".to_owned(), json!(self.verified)),
            ("rows".to_owned(), json!(self.rows)),
            ("retired".to_owned(), json!(self.retired)),
            ("erased".to_owned(), json!(self.erased)),
            ("head".to_owned(), json!(self.head)),
        ]);
        if let Some(fault) = &self.fault {
            fields.insert("fault".to_owned(), json!(fault));
        }
        fields
    }
}

/// Verifies the trails of all tenants of a data folder, whether a platform runs on it or not.
///
/// # Errors
/// The folder cannot be read.
pub fn verify_trails(data_dir: &Path) -> Result<Vec<Verdict>> {
    let file = folder::database_file(data_dir);
    if !file.exists() {
        return Ok(Vec::new());
    }
    let keys = folder::folder_keys(data_dir)?;
    let mut connection = database::open_reader(&file)?;
    let view = connection.transaction()?;
    let tenants: Vec<String> = view
        .prepare("SELECT tenant_id FROM audit_log UNION SELECT tenant_id FROM audit_checkpoints")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    tenants.iter().map(|tenant| verify(&view, &keys, tenant, Timestamp::now())).collect()
}

/// Verifies the trail of one tenant.
fn verify(connection: &Connection, keys: &Keys, tenant: &str, now: Timestamp) -> Result<Verdict> {
    let mut walk = Walk::begin(connection, keys, tenant, now)?;
    while walk.read(connection, keys, |_| ())? && !walk.is_broken {}
    Ok(walk.end())
}

/// What a walk tells of each row.
pub(super) struct Told<'a> {
    pub(super) id: &'a str,
    pub(super) action: &'a str,
    pub(super) timestamp: i64,
    /// Whether the platform wrote it; callers claimed the others, or nobody knows.
    pub(super) is_written: bool,
}

/// A walk over the rows that a trail has at its beginning, some at a time.
pub(super) struct Walk {
    tenant: String,
    now: Timestamp,
    anchor: i64,
    sequence: i64,
    head: String,
    rows: u64,
    erased: u64,
    kept: HashMap<i64, (String, i64)>,
    erasures: HashSet<String>,
    fault: Option<String>,
    /// Whether a row was found wrong, behind which none is looked at.
    is_broken: bool,
    /// The last row that was read, and the last that will be.
    last: i64,
    until: i64,
}

impl Walk {
    pub(super) fn begin(connection: &Connection, keys: &Keys, tenant: &str, now: Timestamp) -> Result<Self> {
        let until = connection
            .prepare_cached("SELECT coalesce(max(sequence), 0) FROM audit_log WHERE tenant_id = ?1")?
            .query_row([tenant], |row| row.get(0))?;
        let mut walk = Self {
            tenant: tenant.to_owned(),
            now,
            anchor: 0,
            sequence: 0,
            head: Link::genesis(tenant),
            rows: 0,
            erased: 0,
            kept: HashMap::new(),
            erasures: HashSet::new(),
            fault: None,
            is_broken: false,
            last: i64::MIN,
            until,
        };
        for checkpoint in Checkpoint::all(connection, tenant)? {
            let follows = checkpoint.first == walk.anchor + 1 && checkpoint.first_previous_hash == walk.head;
            if !follows || !checkpoint.is_signed_by(keys) {
                walk.fault = Some(format!("the checkpoint at {} is not one that this platform signed", checkpoint.last));
                break;
            }
            walk.anchor = checkpoint.last;
            walk.head = checkpoint.last_hash;
            walk.kept.extend(checkpoint.kept.into_iter().map(|(sequence, hash, until)| (sequence, (hash, until))));
        }
        walk.sequence = walk.anchor;
        // An erasure is itself a row of the trail, written by the platform.
        walk.erasures = connection
            .prepare_cached(
                "SELECT resource_id FROM audit_log WHERE tenant_id = ?1 AND action = 'records.erased' AND recorded_by = 'system'
                     AND coalesce(claimed, 0) = 0
                 UNION SELECT id FROM audit_deletions WHERE tenant_id = ?1 AND status IN ('erasing', 'held')",
            )?
            .query_map([tenant], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(walk)
    }

    /// Reads the next rows and tells of each; false behind the last.
    pub(super) fn read(&mut self, connection: &Connection, keys: &Keys, mut told: impl FnMut(&Told<'_>)) -> Result<bool> {
        let mut statement = connection.prepare_cached(
            "SELECT sequence, id, timestamp, recorded_at, action, resource_type, request_id, previous_hash, hash, erased_by, critical,
                 actor, actor_salt, actor_digest, recorded_by, recorded_by_salt, recorded_by_digest,
                 resource_id, resource_id_salt, resource_id_digest, changes, changes_salt, changes_digest, claimed, replaced
             FROM audit_log WHERE tenant_id = ?1 AND sequence > ?2 AND sequence <= ?3 ORDER BY sequence LIMIT ?4",
        )?;
        let mut rows = statement.query((&self.tenant, self.last, self.until, PORTION))?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            (count, self.last) = (count + 1, row.get(0)?);
            let text = |column: usize| row.get_ref(column)?.as_str().map_err(Error::internal);
            let is_written = row.get::<_, Option<bool>>(23)? == Some(false);
            told(&Told { id: text(1)?, action: text(4)?, timestamp: row.get(2)?, is_written });
            if !self.is_broken
                && let Err(fault) = self.step(row, keys)?
            {
                self.fault.get_or_insert(fault);
                self.is_broken = true;
            }
        }
        Ok(count == PORTION)
    }

    fn is_replaced(&self, keys: &Keys, replaced: &Map<String, Value>, sequence: i64, name: &str, value: &str) -> bool {
        let signature = replaced.get(name).and_then(Value::as_str);
        signature.is_some_and(|signature| erasure::is_signed(keys, &self.tenant, sequence, name, value, signature))
    }

    /// Looks at one row; the inner error is what is wrong with it.
    fn step(&mut self, row: &rusqlite::Row<'_>, keys: &Keys) -> Result<Result<(), String>> {
        let sequence: i64 = row.get(0)?;
        let (id, action, resource_type): (String, String, String) = (row.get(1)?, row.get(4)?, row.get(5)?);
        let (timestamp, recorded_at): (i64, i64) = (row.get(2)?, row.get(3)?);
        let request_id: Option<String> = row.get(6)?;
        let (previous, hash): (String, String) = (row.get(7)?, row.get(8)?);
        let erased_by: Option<String> = row.get(9)?;
        let critical: bool = row.get(10)?;
        let replaced: Option<String> = row.get(24)?;
        let replaced: Map<String, Value> = replaced.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let mut digests = Vec::with_capacity(4);
        let mut missing = Vec::new();
        for (index, name) in ["actor", "recorded_by", "resource_id", "changes"].into_iter().enumerate() {
            let column = 11 + index * 3;
            let (value, salt): (Option<String>, Option<Vec<u8>>) = (row.get(column)?, row.get(column + 1)?);
            let digest: String = row.get(column + 2)?;
            match (value, salt) {
                (Some(value), Some(salt)) if Link::digest(&salt, &value) == digest => {}
                // A pseudonym stands in it, which the platform put there in the course of a request.
                (Some(value), None) if self.is_replaced(keys, &replaced, sequence, name, &value) => missing.push(name),
                (None, None) => missing.push(name),
                _ => return Ok(Err(format!("row {sequence}: its {name} is not what was recorded"))),
            }
            digests.push(digest);
        }
        if !missing.is_empty() {
            self.erased += 1;
            let by_request = erased_by.as_deref().is_some_and(|by| self.erasures.contains(by));
            let aged = self.now.plus_seconds(-DETAIL_SECONDS).millis() >= recorded_at;
            let by_retention = missing == ["changes"] && !critical && aged && erased_by.is_some();
            if !by_request && !by_retention {
                return Ok(Err(format!("row {sequence}: its {} was erased without a deletion request", missing.join(", "))));
            }
        }
        if critical != is_critical(&action) {
            return Ok(Err(format!("row {sequence}: how long it is kept was changed")));
        }
        let link = Link {
            previous: &previous,
            id: &id,
            tenant: &self.tenant,
            sequence,
            timestamp,
            recorded_at,
            action: &action,
            resource_type: &resource_type,
            request_id: request_id.as_deref(),
            digests: [&digests[0], &digests[1], &digests[2], &digests[3]],
            claimed: row.get(23)?,
        };
        if link.hash() != hash {
            return Ok(Err(format!("row {sequence}: it does not have the hash of its content")));
        }
        self.rows += 1;
        if sequence <= self.anchor {
            return Ok(match self.kept.remove(&sequence) {
                Some((kept, _)) if kept == hash => Ok(()),
                _ => Err(format!("row {sequence}: the checkpoint that covers it does not know it")),
            });
        }
        if sequence != self.sequence + 1 || previous != self.head {
            return Ok(Err(format!("row {sequence}: it does not follow row {}", self.sequence)));
        }
        self.sequence = sequence;
        self.head = hash;
        Ok(Ok(()))
    }

    /// What was found.
    pub(super) fn end(mut self) -> Verdict {
        let gone = self.kept.iter().filter(|(_, (_, until))| *until > self.now.millis()).map(|(sequence, _)| *sequence).min();
        if let Some(sequence) = gone {
            self.fault.get_or_insert(format!("row {sequence}: it is gone before its time"));
        }
        let in_segments = u64::try_from(self.anchor).unwrap_or_default();
        let beyond = u64::try_from(self.sequence - self.anchor).unwrap_or_default();
        Verdict {
            verified: self.fault.is_none(),
            tenant: self.tenant,
            rows: self.rows,
            retired: in_segments.saturating_sub(self.rows.saturating_sub(beyond)),
            erased: self.erased,
            head: self.head,
            fault: self.fault,
        }
    }
}

impl Checkpoint {
    /// The checkpoints of a tenant in their order.
    pub(super) fn all(connection: &Connection, tenant: &str) -> Result<Vec<Self>> {
        let mut statement = connection.prepare_cached(
            "SELECT first, last, first_previous_hash, last_hash, kept, created_at, signature
             FROM audit_checkpoints WHERE tenant_id = ?1 ORDER BY last",
        )?;
        let mut rows = statement.query([tenant])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            let kept: String = row.get(4)?;
            all.push(Self {
                tenant: tenant.to_owned(),
                first: row.get(0)?,
                last: row.get(1)?,
                first_previous_hash: row.get(2)?,
                last_hash: row.get(3)?,
                kept: serde_json::from_str(&kept).map_err(Error::internal)?,
                created_at: row.get(5)?,
                signature: row.get(6)?,
            });
        }
        Ok(all)
    }
}
