//! Prompt Engineering: templates with typed variables and blocks, versions that never change, and their assembly.

mod assembly;
mod content;
mod findings;
mod publish;
mod store;
mod template;
mod validate;
mod values;

use rusqlite::{Connection, params};
use serde_json::{Map, Value};

use crate::api::prompts::{Assemble, Assembly, Create, Get, List, Prompt, PromptStatus, Publish, Validate, Validation, Versions};
use crate::api::{Operation as _, Page};
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::{Answer, Cx, within_bytes};
use crate::platform::http::routes::Routes;

use assembly::{Assembler, MAX_ASSEMBLED};
use content::Content;
use findings::{Findings, Found};
use store::{COLUMNS, from_row};
pub(crate) use store::{Stored, exists, find, published_version};

/// The version that a prompt begins with.
const FIRST_VERSION: &str = "1.0.0";

/// The routes of the service.
pub(crate) fn routes() -> Routes {
    Routes::new().on(create).on(get).on(versions).on(assemble).on(check).on(publish::publish).on(list)
}

/// Stores a draft. It may have faults, which a validation shows; only what has none is published.
async fn create(cx: Cx, request: Create) -> Result<Answer<Prompt>> {
    let content = Content {
        template: request.template,
        variables: request.variables.unwrap_or_default(),
        tags: request.tags.unwrap_or_default(),
        blocks: request.blocks.unwrap_or_default(),
        samples: request.samples.unwrap_or_default(),
    };
    let text = content.admit()?;
    cx.write(move |tx| {
        let stored = Stored {
            prompt: tx.mint("prompt"),
            ordinal: 1,
            version: FIRST_VERSION.to_owned(),
            status: PromptStatus::Draft,
            name: request.name,
            bytes: text.len(),
            content,
            created_at: tx.now(),
            published_at: None,
        };
        tx.prepare_cached("INSERT INTO prompts (tenant_id, id, created_at, created_by) VALUES (?1, ?2, ?3, ?4)")?.execute(params![
            tx.tenant(),
            stored.prompt,
            tx.now().millis(),
            tx.scope().actor
        ])?;
        store::insert(tx, &stored, &text)?;
        tx.audit("prompt.created", "prompt", &stored.prompt, None)?;
        Ok(stored.answer())
    })
    .await
}

async fn get(cx: Cx, request: Get) -> Result<Answer<Prompt>> {
    let tenant = cx.tenant();
    let stored = cx.read(move |connection| store::latest(connection, tenant.as_str(), request.id.as_str())).await?;
    Ok(stored.answer())
}

async fn versions(cx: Cx, request: Versions) -> Result<Page<Prompt>> {
    let before = cx.cursor_number(&request.page)?.unwrap_or(i64::MAX);
    let (tenant, id, page) = (cx.tenant(), request.id.0, request.page);
    let (found, page) = cx
        .read(move |connection| {
            store::latest(connection, tenant.as_str(), &id)?;
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM prompt_versions WHERE tenant_id = ?1 AND prompt_id = ?2 AND ordinal < ?3 ORDER BY ordinal DESC LIMIT ?4"
            ))?;
            let most = i64::try_from(page.size() + 1).unwrap_or_default();
            let rows = statement.query_map(params![tenant.as_str(), id, before, most], from_row)?;
            within_bytes(rows.map(|row| row?), &page, |stored| stored.bytes)
        })
        .await?;
    Ok(view(cx.page_of(found, &page, |stored| stored.ordinal.to_string())))
}

async fn list(cx: Cx, request: List) -> Result<Page<Prompt>> {
    let before = cx.cursor(&request.page)?;
    let (tenant, page) = (cx.tenant(), request.page);
    let (found, page) = cx
        .read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM (SELECT id FROM prompts WHERE tenant_id = ?1 AND id < coalesce(?2, char(1114111)) ORDER BY id DESC LIMIT ?3) \
                 CROSS JOIN prompt_versions AS v ON v.tenant_id = ?1 AND prompt_id = id \
                 AND ordinal = (SELECT max(ordinal) FROM prompt_versions AS o WHERE o.tenant_id = ?1 AND o.prompt_id = v.prompt_id) \
                 ORDER BY id DESC"
            ))?;
            let most = i64::try_from(page.size() + 1).unwrap_or_default();
            let rows = statement.query_map(params![tenant.as_str(), before, most], from_row)?;
            within_bytes(rows.map(|row| row?), &page, |stored| stored.bytes)
        })
        .await?;
    Ok(view(cx.page_of(found, &page, |stored| stored.prompt.clone())))
}

fn view(page: Page<Stored>) -> Page<Prompt> {
    Page { items: page.items.into_iter().map(Stored::view).collect(), next_cursor: page.next_cursor }
}

async fn assemble(cx: Cx, request: Assemble) -> Result<Assembly> {
    let tenant = cx.tenant();
    cx.read(move |connection| {
        let stored = store::find_in_use(connection, tenant.as_str(), request.id.as_str(), request.version.as_deref())?;
        let assembled = fill(&stored, &request.variables)?;
        Ok(Assembly { prompt_id: request.id, version: stored.version, assembled, variables: request.variables })
    })
    .await
}

/// Puts a version together with values, or says why that cannot be.
fn fill(stored: &Stored, given: &Map<String, Value>) -> Result<String> {
    let mut findings = Findings::default();
    let assembler = Assembler::read(&stored.content, &mut findings);
    if !findings.errors.is_empty() {
        let message = format!("version {} of prompt {} has faults and cannot be assembled", stored.version, stored.prompt);
        return Err(Error::new(Kind::Invalid, "FM-PES-INVALID-PROMPT", message)
            .with_fields(findings.as_fields())
            .hint(format!("{} with a corrected template, variables or blocks mends it.", Publish::SPEC.name)));
    }
    let faults = values::faults(&stored.content.variables, given);
    if !faults.is_empty() {
        let message = format!("the values are not those that version {} of prompt {} declares", stored.version, stored.prompt);
        return Err(Error::new(Kind::Invalid, "FM-PES-VARIABLES", message)
            .with_fields(faults.iter().map(|fault| fault.below("/variables")).collect())
            .hint(format!("{} shows the variables with their types.", Get::SPEC.name)));
    }
    assembler.fill(given).map_err(|_| {
        Error::new(Kind::TooLarge, "FM-PES-ASSEMBLY-TOO-LARGE", format!("the assembled prompt has more than {} KiB", MAX_ASSEMBLED / 1024))
            .hint("Give shorter values.")
    })
}

/// The version in use of a prompt, put together with those of the given values that it declares, as an agent is told it.
pub(crate) fn instructions(
    connection: &Connection,
    tenant: &str,
    id: &str,
    version: Option<&str>,
    given: &Map<String, Value>,
) -> Result<(String, String)> {
    let stored = store::find_in_use(connection, tenant, id, version)?;
    let declared = stored.content.variables.iter().filter_map(|variable| Some((variable.name.clone(), given.get(&variable.name)?.clone())));
    let assembled = fill(&stored, &declared.collect())?;
    Ok((stored.version, assembled))
}

/// Puts a version together with those of the given values that it declares, where they fit.
pub(crate) fn assemble_with(stored: &Stored, given: &Map<String, Value>) -> Option<String> {
    let declared = stored.content.variables.iter().filter_map(|variable| Some((variable.name.clone(), given.get(&variable.name)?.clone())));
    fill(stored, &declared.collect()).ok()
}

async fn check(cx: Cx, request: Validate) -> Result<Validation> {
    let tenant = cx.tenant();
    cx.read(move |connection| {
        let stored = store::find(connection, tenant.as_str(), request.id.as_str(), request.version.as_deref())?;
        let mut findings = validate::validate(&stored.content);
        if let Some(given) = &request.variables {
            findings.values("/variables", "", &values::faults(&stored.content.variables, given));
        }
        Ok(Validation {
            valid: findings.errors.is_empty(),
            prompt_id: Some(request.id),
            version: stored.version,
            errors: findings.errors.into_iter().map(|Found { finding, .. }| finding).collect(),
            warnings: findings.warnings,
        })
    })
    .await
}
