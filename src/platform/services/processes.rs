//! Process Design: drafts that can be changed, published versions that cannot, and what can be said of them beforehand.

mod lists;
mod store;

use std::collections::HashMap;

use rusqlite::{Connection, params};
use semver::Version;
use serde_json::{Map, Value, json};

use crate::api::FieldError;
use crate::api::Page;
use crate::api::arguments::quote;
use crate::api::audit::Changes;
use crate::api::processes::{
    Create, NodeKind, Process, ProcessStatus, ProcessVersion, Publish, Sandbox, Trial, Update, Validate, Validation, Versions,
};
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;
use crate::platform::engine::definition::findings::Findings;
use crate::platform::engine::definition::validate::validate;
use crate::platform::engine::definition::{Definition, MAX_EDGES, MAX_NODES};
use crate::platform::engine::runtime::rehearsal;
use crate::platform::http::context::{Answer, Cx, matches};
use crate::platform::http::routes::Routes;
use crate::platform::identity::directory;
use crate::platform::services::data;

pub(crate) use store::reindex;
use store::{COLUMNS, Stored, find, from_row, has_published, insert, latest, store};

/// Most people and roles of a process that are looked up.
const MAX_PEOPLE: usize = 100;

/// The routes of the service.
pub(crate) fn routes() -> Routes {
    Routes::new().on(create).on(versions).on(update).on(publish).on(check).on(sandbox).on(lists::list).on(lists::get)
}

async fn create(cx: Cx, request: Create) -> Result<Answer<Process>> {
    let version = version_of(request.version.as_deref().unwrap_or("1.0.0"))?;
    let definition =
        Definition { nodes: request.nodes, edges: request.edges.unwrap_or_default(), variables: request.variables.unwrap_or_default() };
    check_size(&definition)?;
    cx.write(move |tx| {
        let stored = Stored {
            process: tx.mint("proc"),
            ordinal: 1,
            version: version.to_string(),
            status: ProcessStatus::Draft,
            name: request.name,
            definition,
            metadata: request.metadata.unwrap_or_default(),
            revision: 1,
            created_at: tx.now(),
            published_at: None,
        };
        tx.prepare_cached("INSERT INTO processes (tenant_id, id, created_at, created_by) VALUES (?1, ?2, ?3, ?4)")?.execute(params![
            tx.tenant(),
            stored.process,
            tx.now().millis(),
            tx.scope().actor
        ])?;
        insert(tx, &stored)?;
        audit(tx, "process.created", None, &stored)?;
        let place = format!("/processes/{}/versions", stored.process);
        Ok(stored.answer().location(place))
    })
    .await
}

async fn versions(cx: Cx, request: Versions) -> Result<Answer<Page<ProcessVersion>>> {
    let before = cx.cursor_number(&request.page)?.unwrap_or(i64::MAX);
    let (tenant, id, most) = (cx.tenant(), request.id.0, request.page.size() + 1);
    let found = cx
        .read(move |connection| {
            latest(connection, tenant.as_str(), &id)?;
            let mut statement = connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM process_versions WHERE tenant_id = ?1 AND process_id = ?2 AND ordinal < ?3 ORDER BY ordinal DESC LIMIT ?4"))?;
            let rows = statement.query_map(params![tenant.as_str(), id, before, i64::try_from(most).unwrap_or_default()], from_row)?;
            rows.map(|row| row?).collect::<Result<Vec<_>>>()
        })
        .await?;
    let etag = found.first().filter(|_| before == i64::MAX).map(Stored::etag);
    let page = cx.page_of(found, &request.page, |stored| stored.ordinal.to_string());
    let items = page.items.into_iter().map(lists::whole).collect();
    let answer = Answer::from(Page { items, next_cursor: page.next_cursor });
    Ok(match etag {
        Some(etag) => answer.etag(etag),
        None => answer,
    })
}

async fn update(cx: Cx, request: Update) -> Result<Answer<Process>> {
    let if_match = cx.if_match.clone();
    cx.write(move |tx| {
        let before = latest(tx, tx.tenant(), request.id.as_str())?;
        matches(if_match.as_deref(), &before.etag())?;
        let definition = Definition {
            nodes: request.nodes.unwrap_or_else(|| before.definition.nodes.clone()),
            edges: request.edges.unwrap_or_else(|| before.definition.edges.clone()),
            variables: request.variables.unwrap_or_else(|| before.definition.variables.clone()),
        };
        check_size(&definition)?;
        let version = match &request.version {
            Some(version) => version_of(version)?.to_string(),
            None if before.is_draft() => before.version.clone(),
            None => next_minor(&before.version)?,
        };
        if version != before.version || !before.is_draft() {
            check_new(tx, &before, &version)?;
        }
        let mut after = Stored {
            name: request.name.unwrap_or_else(|| before.name.clone()),
            metadata: request.metadata.unwrap_or_else(|| before.metadata.clone()),
            process: before.process.clone(),
            status: ProcessStatus::Draft,
            published_at: None,
            version,
            definition,
            ..before
        };
        if before.is_draft() {
            after.revision += 1;
            store(tx, &after)?;
        } else {
            after.ordinal += 1;
            after.revision = 1;
            after.created_at = tx.now();
            insert(tx, &after)?;
        }
        emit(tx, "process.updated", &after)?;
        audit(tx, "process.updated", Some((&before.version, &before.status)), &after)?;
        Ok(after.answer())
    })
    .await
}

async fn publish(cx: Cx, request: Publish) -> Result<Answer<Process>> {
    let if_match = cx.if_match.clone();
    let (tenant, id, version) = (cx.tenant(), request.id.clone(), request.version.clone());
    let checked = cx.read(move |connection| find(connection, tenant.as_str(), id.as_str(), version.as_deref())).await?;
    let (etag, findings) = cx.compute(move || (checked.etag(), validate(&checked.definition))).await?;
    cx.write(move |tx| {
        let mut stored = find(tx, tx.tenant(), request.id.as_str(), request.version.as_deref())?;
        matches(if_match.as_deref(), &stored.etag())?;
        if !stored.is_draft() {
            return Err(Error::new(
                Kind::Conflict,
                "FM-PDS-PUBLISHED",
                format!("version {} of process {} is published already", stored.version, stored.process),
            )
            .hint("A published version never changes. processes_update opens a new draft, which can be published."));
        }
        // Somebody changed the draft while it was looked at.
        matches(Some(&etag), &stored.etag())?;
        if !findings.errors.is_empty() {
            return Err(Error::new(
                Kind::Invalid,
                "FM-PDS-INVALID-PROCESS",
                format!("version {} of process {} has faults and cannot be published", stored.version, stored.process),
            )
            .with_fields(findings.as_fields())
            .hint("Mend them with processes_update; processes_validate shows them again."));
        }
        let first = !has_published(tx, &stored.process)?;
        stored.status = ProcessStatus::Published;
        stored.published_at = Some(tx.now());
        stored.revision += 1;
        store(tx, &stored)?;
        emit(tx, if first { "process.created" } else { "process.updated" }, &stored)?;
        audit(tx, "process.published", Some((&stored.version, &ProcessStatus::Draft)), &stored)?;
        Ok(stored.answer())
    })
    .await
}

async fn check(cx: Cx, request: Validate) -> Result<Validation> {
    let tenant = cx.tenant();
    let reading = tenant.clone();
    let stored = cx.read(move |connection| find(connection, reading.as_str(), request.id.as_str(), request.version.as_deref())).await?;
    let (stored, mut findings) = cx
        .compute(move || {
            let findings = validate(&stored.definition);
            (stored, findings)
        })
        .await?;
    cx.read(move |connection| {
        warn_of_unknown_processes(connection, tenant.as_str(), &stored.definition, &mut findings);
        warn_of_unknown_people(connection, tenant.as_str(), &stored.definition, &mut findings)?;
        let suggested_mappings = data::suggest_for_process(connection, tenant.as_str(), &stored.definition)?;
        Ok(Validation {
            valid: findings.errors.is_empty(),
            version: stored.version,
            errors: findings.errors,
            warnings: findings.warnings,
            suggested_mappings,
        })
    })
    .await
}

/// A subprocess may be designed later than what runs it, so this is not a fault.
fn warn_of_unknown_processes(connection: &Connection, tenant: &str, definition: &Definition, findings: &mut Findings) {
    let mut known: HashMap<&str, bool> = HashMap::new();
    for (place, node) in definition.nodes.iter().enumerate().filter(|(_, node)| node.kind == NodeKind::Subprocess) {
        let Some(process) = node.config.get("processId").and_then(Value::as_str) else { continue };
        if !*known.entry(process).or_insert_with(|| store::latest(connection, tenant, process).is_ok()) {
            let pointer = format!("/nodes/{place}/config/processId");
            findings.warning("UNKNOWN_PROCESS", Some(node), pointer, format!("there is no process {} yet", quote(process)));
        }
    }
}

/// A role may be created later than the process that names it, so this is not a fault. What is computed is known at run only.
fn warn_of_unknown_people(connection: &Connection, tenant: &str, definition: &Definition, findings: &mut Findings) -> Result<()> {
    let mut known: HashMap<&str, Option<FieldError>> = HashMap::new();
    for (place, node) in definition.nodes.iter().enumerate().filter(|(_, node)| node.kind == NodeKind::HumanTask) {
        let named = node.config.get("assignee");
        let assignee = named.and_then(|value| Some((value.as_str()?, "/assignee".to_owned())));
        let candidates = named.and_then(Value::as_array).into_iter().flatten().enumerate();
        let candidates = candidates.filter_map(|(index, value)| Some((value.as_str()?, format!("/assignee/{index}"))));
        let chain = node.config.get("escalationChain").and_then(Value::as_array).into_iter().flatten().enumerate();
        let chain = chain.filter_map(|(index, value)| Some((value.as_str()?, format!("/escalationChain/{index}"))));
        for (who, pointer) in
            assignee.into_iter().chain(candidates).chain(chain).filter(|(who, _)| !who.starts_with('=') && !who.contains("{{"))
        {
            if !known.contains_key(who) {
                // A wrong name is compared with everybody's.
                if known.len() >= MAX_PEOPLE {
                    return Ok(());
                }
                known.insert(who, directory::fault_of(connection, tenant, who, "")?);
            }
            if let Some(Some(fault)) = known.get(who) {
                findings.warning("UNKNOWN_ASSIGNEE", Some(node), format!("/nodes/{place}/config{pointer}"), fault.detail.clone());
            }
        }
    }
    Ok(())
}

async fn sandbox(cx: Cx, request: Sandbox) -> Result<Trial> {
    cx.rehearse(move |tx| {
        let stored = find(tx, tx.tenant(), request.id.as_str(), request.version.as_deref())?;
        if let Some(answers) = &request.answers {
            let known: Vec<&str> = stored.definition.nodes.iter().map(|node| node.id.as_str()).collect();
            let calls_others = stored.definition.nodes.iter().any(|node| node.kind == NodeKind::Subprocess);
            if let Some(unknown) = answers.keys().find(|id| !known.contains(&id.as_str()) && !calls_others) {
                return Err(Error::new(Kind::Invalid, "FM-PDS-INVALID", "an answer is for a node that there is not").field(
                    format!("/answers/{unknown}"),
                    "unknown",
                    format!("there is no node {}; there are {}", quote(unknown), known.join(", ")),
                ));
            }
        }
        rehearsal::rehearse(tx, Sandbox { version: Some(stored.version), ..request })
    })
    .await
}

fn version_of(text: &str) -> Result<Version> {
    Version::parse(text).map_err(|error| {
        Error::new(Kind::Invalid, "FM-PDS-VERSION", format!("{} is not a semantic version: {error}", quote(text))).field(
            "/version",
            "format",
            "must be a semantic version such as 1.2.0",
        )
    })
}

fn next_minor(version: &str) -> Result<String> {
    let version = Version::parse(version).map_err(Error::internal)?;
    Ok(Version::new(version.major, version.minor + 1, 0).to_string())
}

/// A draft's version is new, and later than all that are published.
fn check_new(tx: &Tx<'_>, process: &Stored, version: &str) -> Result<()> {
    let mut statement = tx.prepare_cached("SELECT version, status FROM process_versions WHERE tenant_id = ?1 AND process_id = ?2")?;
    let rows =
        statement.query_map(params![tx.tenant(), process.process], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let known: Vec<(String, String)> = rows.collect::<rusqlite::Result<_>>()?;
    let refused = |message: String| {
        Err(Error::new(Kind::Conflict, "FM-PDS-VERSION-EXISTS", message)
            .hint("Give a higher version, or none: the next minor one is taken."))
    };
    if known.iter().any(|(known, _)| known == version) {
        return refused(format!("process {} has a version {version} already", process.process));
    }
    let published = known.iter().filter(|(_, status)| status == "published").filter_map(|(version, _)| Version::parse(version).ok()).max();
    match published.zip(Version::parse(version).ok()) {
        Some((published, wanted)) if wanted <= published => {
            refused(format!("version {version} is not later than {published}, which is published"))
        }
        _ => Ok(()),
    }
}

fn check_size(definition: &Definition) -> Result<()> {
    if definition.nodes.len() <= MAX_NODES && definition.edges.len() <= MAX_EDGES {
        return Ok(());
    }
    Err(Error::new(Kind::TooLarge, "FM-PDS-TOO-LARGE", format!("a process has at most {MAX_NODES} nodes and {MAX_EDGES} edges"))
        .hint("Split it: a node of the type subprocess runs another process."))
}

fn emit(tx: &mut Tx<'_>, topic: &str, stored: &Stored) -> Result<()> {
    let data = json!({ "processId": stored.process, "name": stored.name, "version": stored.version, "status": stored.status });
    tx.emit(topic, &stored.process, data)?;
    Ok(())
}

fn audit(tx: &mut Tx<'_>, action: &str, before: Option<(&String, &ProcessStatus)>, after: &Stored) -> Result<()> {
    let fields = |version: &String, status: &ProcessStatus| {
        Map::from_iter([("version".to_owned(), json!(version)), ("status".to_owned(), json!(status))])
    };
    let changes =
        Changes { before: before.map(|(version, status)| fields(version, status)), after: Some(fields(&after.version, &after.status)) };
    tx.audit(action, "process", &after.process, Some(changes))?;
    Ok(())
}
