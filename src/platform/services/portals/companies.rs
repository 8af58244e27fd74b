//! Companies: created in the tree, and beyond the contract listed, read and moved in it.

use rusqlite::params;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::tree::{self, COLUMNS, of_row};
use crate::api::audit::Changes;
use crate::api::ids::CompanyId;
use crate::api::portals::{Company, CreateCompany, ListCompanies};
use crate::api::{Effect, Operation, Page, Permission, Spec};
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::{self, Answer, Cx};

/// Most companies of a tenant.
const MAX_PER_TENANT: i64 = 10_000;

/// Shows a company with its own approval chains.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Get {
    /// The company.
    id: CompanyId,
}

impl Operation for Get {
    type Output = Company;
    const SPEC: Spec =
        Spec::get("companies_get", "/companies/{id}", Effect::Read).titled("Show a company").requires(Permission::PORTAL_VIEW);
}

/// Moves a company, and all below it, under another one or to the top.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Move {
    /// The company.
    id: CompanyId,
    /// The company above from now on; none for the top.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_company_id: Option<CompanyId>,
}

impl Operation for Move {
    type Output = Company;
    const SPEC: Spec = Spec::put("companies_move", "/companies/{id}/parent", Effect::Write)
        .titled("Move a company in the tree")
        .requires(Permission::COMPANY_CONFIGURE);
}

pub(super) async fn create(cx: Cx, request: CreateCompany) -> Result<Answer<Company>> {
    let name = request.name.trim().to_owned();
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Error::new(Kind::Invalid, "FM-PMS-NAME", "the company's name is blank or holds control characters").field(
            "/name",
            "format",
            "is a name for people, such as Acme Europe",
        ));
    }
    let (company, version) = cx
        .write(move |tx| {
            let count: i64 =
                tx.prepare_cached("SELECT count(*) FROM companies WHERE tenant_id = ?")?.query_row([tx.tenant()], |row| row.get(0))?;
            if count >= MAX_PER_TENANT {
                let message = format!("there are {MAX_PER_TENANT} companies already");
                return Err(Error::new(Kind::Conflict, "FM-PMS-TOO-MANY", message).hint("Use a company that there is."));
            }
            let parent = request.parent_company_id.as_ref().map(CompanyId::as_str);
            parent.map_or(Ok(()), |parent| tree::check_place(tx, None, parent))?;
            let id = tx.mint("company");
            tx.prepare_cached(
                "INSERT INTO companies (tenant_id, id, name, parent_id, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
            )?
            .execute(params![tx.tenant(), id, name, parent, tx.now().millis()])?;
            let after = json!({ "name": name, "parentCompanyId": parent });
            tx.audit("company.created", "company", &id, Some(Changes { before: None, after: after.as_object().cloned() }))?;
            tree::find(tx, tx.tenant(), &id)
        })
        .await?;
    Ok(Answer::from(company).etag(version))
}

pub(super) async fn get(cx: Cx, request: Get) -> Result<Answer<Company>> {
    let tenant = cx.tenant();
    let (company, version) = cx.read(move |connection| tree::find(connection, tenant.as_str(), request.id.as_str())).await?;
    Ok(Answer::from(company).etag(version))
}

pub(super) async fn list(cx: Cx, request: ListCompanies) -> Result<Page<Company>> {
    let (tenant, after) = (cx.tenant(), cx.cursor(&request.page)?.unwrap_or_default());
    let most = i64::try_from(request.page.size() + 1).unwrap_or(i64::MAX);
    let parent = request.parent_company_id;
    let found = cx
        .read(move |connection| {
            let (index, below) = if parent.is_some() { ("INDEXED BY companies_parent", "parent_id = ?2") } else { ("", "?2 IS NULL") };
            let sql = format!("SELECT {COLUMNS} FROM companies {index} WHERE tenant_id = ?1 AND {below} AND id > ?3 ORDER BY id LIMIT ?4");
            let mut statement = connection.prepare_cached(&sql)?;
            let parent = parent.as_ref().map(CompanyId::as_str);
            let rows = statement.query_map((tenant.as_str(), parent, after, most), |row| Ok(of_row(row)?.0))?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
        })
        .await?;
    Ok(cx.page_of(found, &request.page, |company| company.company_id.0.clone()))
}

pub(super) async fn relocate(cx: Cx, request: Move) -> Result<Answer<Company>> {
    let if_match = cx.if_match.clone();
    let (company, version) = cx
        .write(move |tx| {
            let id = request.id.as_str();
            let (before, version) = tree::find(tx, tx.tenant(), id)?;
            context::matches(if_match.as_deref(), &version.to_string())?;
            let parent = request.parent_company_id.as_ref().map(CompanyId::as_str);
            parent.map_or(Ok(()), |parent| tree::check_place(tx, Some(id), parent))?;
            tx.prepare_cached(
                "UPDATE companies SET parent_id = ?3, version = version + 1, updated_at = ?4 WHERE tenant_id = ?1 AND id = ?2",
            )?
            .execute(params![tx.tenant(), id, parent, tx.now().millis()])?;
            let place = |parent: Option<&CompanyId>| json!({ "parentCompanyId": parent }).as_object().cloned();
            let changes = Changes { before: place(before.parent_company_id.as_ref()), after: place(request.parent_company_id.as_ref()) };
            tx.audit("company.moved", "company", id, Some(changes))?;
            tree::find(tx, tx.tenant(), id)
        })
        .await?;
    Ok(Answer::from(company).etag(version))
}
