//! Requests to delete personal data: 30 days' notice, then what names the person is made unreadable.
//!
//! In the trail the texts and their salts go, so that the digests which remain tell nothing; the account goes too.

use std::path::Path;

use rusqlite::OptionalExtension as _;

use super::ERASED;
use super::holds;
use crate::api::Timestamp;
use crate::api::audit::{DeleteRecords, DeletionRequest};
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;
use crate::platform::http::context::Cx;
use crate::platform::services::{auth, notifications};

/// The notice, in seconds.
const NOTICE_SECONDS: f64 = 30.0 * 24.0 * 3600.0;
/// Texts shorter than this are looked for as whole values only: inside of others they could be anybody's.
const SHORTEST_PART: usize = 6;

pub(super) async fn request(cx: Cx, request: DeleteRecords) -> Result<DeletionRequest> {
    let subject = request.subject.trim().to_owned();
    if subject.is_empty() || subject == "system" {
        return Err(Error::new(Kind::Invalid, "FM-ACS-SUBJECT", "the subject is not a person").field(
            "/subject",
            "subject",
            "must name a person: a user id, or another name of theirs in the audit trail",
        ));
    }
    cx.write(move |tx| {
        if holds::on(tx, &subject)? {
            return Err(Error::new(Kind::Conflict, "FM-ACS-LEGAL-HOLD", "a legal hold keeps the records of this person")
                .hint("Ask the person who placed the hold; the request can be repeated once the hold is released."));
        }
        let pending = tx
            .prepare_cached(
                "SELECT id, status, requested_at, due_at FROM audit_deletions
                 WHERE tenant_id = ?1 AND subject = ?2 AND status IN ('pending', 'held')",
            )?
            .query_row((tx.tenant(), &subject), |row| {
                Ok(DeletionRequest {
                    request_id: row.get::<_, String>(0)?.into(),
                    status: row.get(1)?,
                    subject: subject.clone(),
                    requested_at: Timestamp::from_millis(row.get(2)?),
                    due_at: Timestamp::from_millis(row.get(3)?),
                })
            })
            .optional()?;
        // Asking twice does not begin the notice again.
        if let Some(pending) = pending {
            return Ok(pending);
        }
        let id = tx.mint("erase");
        let (requested_at, due_at) = (tx.now(), tx.now().plus_seconds(NOTICE_SECONDS));
        tx.prepare_cached(
            "INSERT INTO audit_deletions (id, tenant_id, subject, reason, requested_by, requested_at, due_at, status)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'pending')",
        )?
        .execute((&id, tx.tenant(), &subject, &request.reason, &tx.scope().actor, requested_at.millis(), due_at.millis()))?;
        tx.audit("records.deletion_requested", "deletion_request", &id, None)?;
        Ok(DeletionRequest { request_id: id.into(), status: "pending".to_owned(), subject, requested_at, due_at })
    })
    .await
}

/// Carries out the requests of the tenant that are due.
pub(super) fn carry_out(tx: &mut Tx<'_>, data_dir: &Path) -> Result<()> {
    let due: Vec<(String, String)> = tx
        .prepare_cached("SELECT id, subject FROM audit_deletions WHERE tenant_id = ?1 AND status IN ('pending', 'held') AND due_at <= ?2")?
        .query_map((tx.tenant(), tx.now().millis()), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (id, subject) in due {
        if holds::on(tx, &subject)? {
            set_status(tx, &id, "held")?;
            continue;
        }
        set_status(tx, &id, "erasing")?;
        for name in names(tx, &subject)? {
            erase_in_trail(tx, &id, &name)?;
            notifications::erase(tx, data_dir, &name)?;
        }
        auth::erase_user(tx, &subject)?;
        tx.prepare_cached("UPDATE audit_deletions SET status = 'done', subject = NULL, reason = NULL WHERE id = ?1")?.execute([&id])?;
        tx.audit("records.erased", "deletion_request", &id, None)?;
    }
    Ok(())
}

fn set_status(tx: &Tx<'_>, id: &str, status: &str) -> Result<()> {
    tx.prepare_cached("UPDATE audit_deletions SET status = ?2 WHERE id = ?1")?.execute((id, status))?;
    Ok(())
}

/// What a person goes by: the subject, and the id and the name of the account that has either.
fn names(tx: &Tx<'_>, subject: &str) -> Result<Vec<String>> {
    let mut names = vec![subject.to_owned()];
    let account: Option<(String, String)> = tx
        .prepare_cached("SELECT id, username FROM users WHERE tenant_id = ?1 AND (id = ?2 OR username = lower(?2))")?
        .query_row((tx.tenant(), subject), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    names.extend(account.into_iter().flat_map(|(id, username)| [id, username]));
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn erase_in_trail(tx: &Tx<'_>, request: &str, name: &str) -> Result<()> {
    for column in ["actor", "recorded_by", "resource_id"] {
        let sql =
            format!("UPDATE audit_log SET {column} = NULL, {column}_salt = NULL, erased_by = ?1 WHERE tenant_id = ?2 AND {column} = ?3");
        tx.prepare_cached(&sql)?.execute((request, tx.tenant(), name))?;
    }
    // As it stands in JSON: with its quotes, or within a longer text where it is long enough to be unique.
    let quoted = serde_json::to_string(name).map_err(Error::internal)?;
    let part = if name.len() >= SHORTEST_PART { quoted.trim_matches('"') } else { &quoted };
    tx.prepare_cached(
        "UPDATE audit_log SET changes = NULL, changes_salt = NULL, erased_by = ?1 WHERE tenant_id = ?2 AND instr(changes, ?3) > 0",
    )?
    .execute((request, tx.tenant(), part))?;
    // Earlier requests of the person named them as the one who asked.
    tx.prepare_cached("UPDATE audit_deletions SET requested_by = ?3 WHERE tenant_id = ?1 AND requested_by = ?2")?.execute((
        tx.tenant(),
        name,
        ERASED,
    ))?;
    Ok(())
}
