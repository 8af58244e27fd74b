//! Requests to delete personal data: 30 days' notice, what a request would reach, and where it is. `erasure` carries it out.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::erasure::Counts;
use super::erasure::person::Person;
use super::erasure::places::{PLACES, STEP_ROWS};
use super::{ERASED, holds};
use crate::api::Timestamp;
use crate::api::arguments::quote;
use crate::api::audit::{DELETION_COVERS, DeleteRecords, DeletionPreview, DeletionRequest, GetDeletion, PreviewDeletion};
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::Cx;

/// The notice, in seconds.
const NOTICE_SECONDS: f64 = 30.0 * 24.0 * 3600.0;
/// How many rows a preview looks at; the request itself looks at all.
const MAX_LOOKED_AT: usize = 200_000;

pub(super) async fn request(cx: Cx, request: DeleteRecords) -> Result<DeletionRequest> {
    let (person, subject) = person_of(&cx, &request.subject).await?;
    if holds_of(&cx, &person).await? {
        return Err(on_hold());
    }
    if !person.has_account && !is_named(&cx, &person).await? {
        return Err(unknown(&subject));
    }
    cx.write(move |tx| {
        if holds::on_any(tx, &person.names)? {
            return Err(on_hold());
        }
        // Asking twice, by whichever name, does not begin the notice again.
        for name in &person.names {
            if let Some(pending) = find(tx, tx.tenant(), "lower(subject) = lower(?2) AND status <> 'done'", name)? {
                return Ok(pending);
            }
        }
        let id = tx.mint("erase");
        let (requested_at, due_at) = (tx.now(), tx.now().plus_seconds(NOTICE_SECONDS));
        tx.prepare_cached(
            "INSERT INTO audit_deletions (id, tenant_id, subject, reason, requested_by, requested_at, due_at, status, names, pseudonym)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'pending', ?8, ?9)",
        )?
        .execute((
            &id,
            tx.tenant(),
            &subject,
            &request.reason,
            &tx.scope().actor,
            requested_at.millis(),
            due_at.millis(),
            serde_json::to_string(&person.names).map_err(Error::internal)?,
            &person.pseudonym,
        ))?;
        tx.audit("records.deletion_requested", "deletion_request", &id, None)?;
        find(tx, tx.tenant(), "id = ?2", &id)?.ok_or_else(|| Error::internal("a request is gone"))
    })
    .await
}

/// What a request would reach.
pub(super) async fn preview(cx: Cx, request: PreviewDeletion) -> Result<DeletionPreview> {
    let (person, subject) = person_of(&cx, &request.subject).await?;
    let (counts, partial) = count(&cx, &person, MAX_LOOKED_AT, false).await?;
    let held = holds_of(&cx, &person).await?;
    let of = |kind: &str| counts.get(kind).copied().unwrap_or_default();
    let (entries, records) = (of("entries"), of("records"));
    if !person.has_account && counts.is_empty() && !partial && !held && !is_named(&cx, &person).await? {
        return Err(unknown(&subject));
    }
    Ok(DeletionPreview {
        account: person.has_account,
        entries,
        records,
        texts: counts.values().sum::<u64>() - entries - records,
        counts,
        covers: DELETION_COVERS.to_owned(),
        due_at: cx.now().plus_seconds(NOTICE_SECONDS),
        held,
        partial,
        names: person.names,
        pseudonym: person.pseudonym,
        subject,
    })
}

/// Where a request is.
pub(super) async fn get(cx: Cx, request: GetDeletion) -> Result<DeletionRequest> {
    let (tenant, id) = (cx.tenant(), request.id.to_string());
    cx.read(move |connection| {
        find(connection, tenant.as_str(), "id = ?2", &id)?.ok_or_else(|| {
            Error::new(Kind::NotFound, "FM-ACS-NO-REQUEST", format!("there is no deletion request {}", quote(&id)))
                .hint("records_delete answers the id of the request that it files.")
        })
    })
    .await
}

async fn person_of(cx: &Cx, subject: &str) -> Result<(Person, String)> {
    let (tenant, subject, platform) = (cx.tenant(), subject.trim().to_owned(), cx.platform.clone());
    cx.read(move |connection| Ok((Person::find(connection, platform.keys(), tenant.as_str(), &subject)?, subject))).await
}

async fn holds_of(cx: &Cx, person: &Person) -> Result<bool> {
    let (tenant, names) = (cx.tenant(), person.names.clone());
    cx.read(move |connection| holds::any_of(connection, tenant.as_str(), &names)).await
}

/// Whether anything in the tenant names the person, or a hold did.
async fn is_named(cx: &Cx, person: &Person) -> Result<bool> {
    let (tenant, names) = (cx.tenant(), person.names.clone());
    if cx.read(move |connection| holds::named(connection, tenant.as_str(), &names)).await? {
        return Ok(true);
    }
    let (counts, partial) = count(cx, person, MAX_LOOKED_AT, true).await?;
    Ok(partial || !counts.is_empty())
}

/// Counts the rows that name a person, page by page, since readers are shared; true if there are more than are looked at.
async fn count(cx: &Cx, person: &Person, most: usize, is_one_enough: bool) -> Result<(Counts, bool)> {
    let person = Arc::new(person.clone());
    let (mut counts, mut looked_at) = (Counts::new(), 0);
    for place in PLACES {
        let mut after = None;
        loop {
            let (tenant, whose, from) = (cx.tenant(), Arc::clone(&person), after.take());
            let seen = cx.read(move |connection| place.look(connection, tenant.as_str(), &whose, from.as_deref())).await?;
            if !seen.hits.is_empty() {
                *counts.entry(place.kind.to_owned()).or_default() += seen.hits.len() as u64;
                if is_one_enough {
                    return Ok((counts, false));
                }
            }
            let Some(last) = seen.last else { break };
            looked_at += STEP_ROWS;
            if looked_at >= most {
                return Ok((counts, true));
            }
            after = Some(last);
        }
    }
    Ok((counts, false))
}

fn find(connection: &Connection, tenant: &str, condition: &str, value: &str) -> Result<Option<DeletionRequest>> {
    let sql = format!(
        "SELECT id, status, subject, pseudonym, requested_at, due_at, counts, completed_at FROM audit_deletions
         WHERE tenant_id = ?1 AND {condition} ORDER BY requested_at LIMIT 1"
    );
    let read = |row: &Row<'_>| {
        let counts: String = row.get(6)?;
        let subject: Option<String> = row.get(2)?;
        let pseudonym: Option<String> = row.get(3)?;
        Ok(DeletionRequest {
            request_id: row.get::<_, String>(0)?.into(),
            status: row.get(1)?,
            // Who it was is not known any more, once it is done.
            subject: subject.or(pseudonym).unwrap_or_else(|| ERASED.to_owned()),
            requested_at: Timestamp::from_millis(row.get(4)?),
            due_at: Timestamp::from_millis(row.get(5)?),
            completed_at: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_millis),
            erased: serde_json::from_str(&counts).unwrap_or_default(),
            covers: DELETION_COVERS.to_owned(),
        })
    };
    Ok(connection.prepare_cached(&sql)?.query_row((tenant, value), read).optional()?)
}

fn on_hold() -> Error {
    Error::new(Kind::Conflict, "FM-ACS-LEGAL-HOLD", "a legal hold keeps the records of this person")
        .hint("Ask the person who placed the hold; the request can be repeated once the hold is released.")
}

fn unknown(subject: &str) -> Error {
    Error::new(Kind::Invalid, "FM-ACS-SUBJECT-UNKNOWN", format!("{} is no account, and nothing that is kept names it", quote(subject)))
        .field("/subject", "unknown", "must name a person whom the tenant knows, by an account, an id or an e-mail address, in full")
        .hint("GET /users lists the accounts; entities_search and audit_query find other people.")
}
