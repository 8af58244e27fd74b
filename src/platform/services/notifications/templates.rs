//! Templates: created once and never changed; beyond the contract they can be read and listed.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::text;
use crate::api::arguments::quote;
use crate::api::audit::Changes;
use crate::api::ids::TemplateId;
use crate::api::notifications::{CreateTemplate, ListTemplates, NotificationChannel, Template};
use crate::api::{Effect, FieldError, Operation, Page, Permission, Spec, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::{Answer, Cx};

/// Most templates of a tenant.
const MAX_PER_TENANT: i64 = 1_000;
/// Most names in a template.
const MAX_NAMES: usize = 100;
const COLUMNS: &str = "id, name, subject, body, channels, variables, created_at";

/// Shows a template of notifications.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Get {
    /// The template.
    id: TemplateId,
}

impl Operation for Get {
    type Output = Template;
    const SPEC: Spec = Spec::get("templates_get", "/templates/{id}", Effect::Read)
        .titled("Show a notification template")
        .requires(Permission::NOTIFICATION_VIEW);
}

pub(super) async fn create(cx: Cx, request: CreateTemplate) -> Result<Template> {
    let variables = names_of(request.subject.as_deref().unwrap_or_default(), &request.body)?;
    if let Some(id) = &request.template_id {
        check_id(id.as_str())?;
    }
    // E-mail needs nothing beyond the platform, so it is the channel of a template that names none.
    let channels = request.channels.unwrap_or_else(|| vec![NotificationChannel::Email]);
    check_channels(&channels)?;
    cx.write(move |tx| {
        let count: i64 = tx
            .prepare_cached("SELECT count(*) FROM notification_templates WHERE tenant_id = ?")?
            .query_row([tx.tenant()], |row| row.get(0))?;
        if count >= MAX_PER_TENANT {
            let message = format!("there are {MAX_PER_TENANT} templates already");
            return Err(Error::new(Kind::Conflict, "FM-NS-TOO-MANY", message).hint("Use a template that there is."));
        }
        let id = request.template_id.map_or_else(|| tx.mint("tmpl"), |id| id.0);
        let added = tx
            .prepare_cached(
                "INSERT INTO notification_templates (tenant_id, id, name, subject, body, channels, variables, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (tenant_id, id) DO NOTHING",
            )?
            .execute(params![
                tx.tenant(),
                id,
                request.name,
                request.subject,
                request.body,
                serde_json::to_string(&channels).map_err(Error::internal)?,
                serde_json::to_string(&variables).map_err(Error::internal)?,
                tx.now().millis(),
            ])?;
        if added == 0 {
            return Err(Error::new(Kind::Conflict, "FM-NS-TEMPLATE-EXISTS", format!("there is a template {}", quote(&id)))
                .field("/templateId", "taken", "is the id of a template that there is")
                .hint("Choose another id; a template is not changed, since notifications were sent from it."));
        }
        let after = json!({ "name": request.name, "subject": request.subject, "channels": channels, "variables": variables });
        tx.audit("template.created", "template", &id, Some(Changes { before: None, after: after.as_object().cloned() }))?;
        find(tx, tx.tenant(), &id)?.ok_or_else(|| not_found(&id))
    })
    .await
}

pub(super) async fn get(cx: Cx, request: Get) -> Result<Answer<Template>> {
    let tenant = cx.tenant();
    let found = cx
        .read(move |connection| {
            let id = request.id.as_str();
            find(connection, tenant.as_str(), id)?.ok_or_else(|| not_found(id))
        })
        .await?;
    Ok(found.into())
}

pub(super) async fn list(cx: Cx, request: ListTemplates) -> Result<Page<Template>> {
    let (tenant, after) = (cx.tenant(), cx.cursor(&request.page)?.unwrap_or_default());
    let most = i64::try_from(request.page.size() + 1).unwrap_or(i64::MAX);
    let found = cx
        .read(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM notification_templates WHERE tenant_id = ? AND id > ? ORDER BY id LIMIT ?");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map((tenant.as_str(), after, most), of_row)?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
        })
        .await?;
    Ok(cx.page_of(found, &request.page, |template| template.template_id.0.clone()))
}

/// Finds a template of the tenant.
pub(super) fn find(connection: &Connection, tenant: &str, id: &str) -> Result<Option<Template>> {
    let sql = format!("SELECT {COLUMNS} FROM notification_templates WHERE tenant_id = ? AND id = ?");
    Ok(connection.prepare_cached(&sql)?.query_row((tenant, id), of_row).optional()?)
}

/// Rejects an empty list of channels and one that names a channel twice.
pub(super) fn check_channels(channels: &[NotificationChannel]) -> Result<()> {
    let is_repeated = |(place, channel): (usize, &NotificationChannel)| channels.iter().take(place).any(|other| other == channel);
    if channels.is_empty() || channels.iter().enumerate().any(is_repeated) {
        return Err(Error::new(Kind::Invalid, "FM-NS-CHANNELS", "the channels are not valid")
            .field("/channels", "items", format!("names each of {} at most once, and one at least", NotificationChannel::ALL.join(", ")))
            .hint("Leave `channels` out for the usual ones."));
    }
    Ok(())
}

/// The names in subject and body, each once.
fn names_of(subject: &str, body: &str) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut names = BTreeSet::new();
    for (pointer, source) in [("/subject", subject), ("/body", body)] {
        match text::read(source) {
            Ok(pieces) => names.extend(text::names(&pieces).map(str::to_owned)),
            Err(fault) => faults.push(FieldError::new(pointer, "template", fault)),
        }
    }
    if names.len() > MAX_NAMES {
        faults.push(FieldError::new("/body", "template", format!("has {} names; {MAX_NAMES} are allowed", names.len())));
    }
    if faults.is_empty() {
        return Ok(names.into_iter().collect());
    }
    Err(Error::new(Kind::Invalid, "FM-NS-TEMPLATE", "the template's text cannot be filled in").with_fields(faults))
}

fn check_id(id: &str) -> Result<()> {
    let is_id = id.len() <= 100
        && id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if is_id {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, "FM-NS-TEMPLATE-ID", "the template's id is not valid").field(
        "/templateId",
        "format",
        "has at most 100 letters, digits and `-_.`, such as task-assigned",
    ))
}

fn not_found(id: &str) -> Error {
    Error::new(Kind::NotFound, "FM-NS-TEMPLATE-NOT-FOUND", format!("there is no template {}", quote(id)))
        .hint("templates_list shows the templates there are and their ids.")
}

fn of_row(row: &Row<'_>) -> rusqlite::Result<Template> {
    let (channels, variables): (String, String) = (row.get(4)?, row.get(5)?);
    Ok(Template {
        template_id: row.get::<_, String>(0)?.into(),
        name: row.get(1)?,
        subject: row.get(2)?,
        body: row.get(3)?,
        channels: serde_json::from_str(&channels).unwrap_or_default(),
        variables: serde_json::from_str(&variables).unwrap_or_default(),
        created_at: Some(Timestamp::from_millis(row.get(6)?)),
    })
}
