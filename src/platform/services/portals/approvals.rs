//! Approval chains: who approves a kind of matter in a company, in order. A company without a chain of its own for a matter
//! goes by that of the nearest company above it which has one.

use std::collections::HashSet;

use rusqlite::{Connection, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::tree::{self, MAX_DEPTH};
use crate::api::arguments::quote;
use crate::api::audit::Changes;
use crate::api::ids::CompanyId;
use crate::api::portals::{ApprovalChain, ApprovalStep, Company, ConfigureApprovals};
use crate::api::{Effect, FieldError, Operation, Page, Permission, Spec};
use crate::auth::{OWNER_SUBJECT, OWNER_TENANT};
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::{self, Answer, Cx};
use crate::platform::identity::roles::ADMIN;

const MAX_CHAINS: usize = 50;
const MAX_STEPS: usize = 20;

/// Shows the approval chains that hold for a company: its own, and those of the companies above it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct InForce {
    /// The company.
    id: CompanyId,
}

/// An approval chain with the company that it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChainInForce {
    /// The chain.
    #[serde(flatten)]
    chain: ApprovalChain,
    /// The company that set it up.
    company_id: CompanyId,
}

impl Operation for InForce {
    type Output = Page<ChainInForce>;
    const SPEC: Spec = Spec::get("companies_approvals", "/companies/{id}/approvals", Effect::Read)
        .titled("Show the approval chains that hold")
        .requires(Permission::PORTAL_VIEW);
}

pub(super) async fn configure(cx: Cx, request: ConfigureApprovals) -> Result<Answer<Company>> {
    let faults = faults_of(&request.approval_chains);
    if !faults.is_empty() {
        return Err(Error::new(Kind::Invalid, "FM-PMS-CHAIN", "the approval chains are not valid").with_fields(faults));
    }
    let (tenant, id, chains) = (cx.tenant(), request.id.clone(), request.approval_chains.clone());
    cx.read(move |connection| {
        tree::find(connection, tenant.as_str(), id.as_str())?;
        check_names(connection, tenant.as_str(), &chains)
    })
    .await?;
    let if_match = cx.if_match.clone();
    let (company, version) = cx
        .write(move |tx| {
            let id = request.id.as_str();
            let (before, version) = tree::find(tx, tx.tenant(), id)?;
            context::matches(if_match.as_deref(), &version.to_string())?;
            let chains = serde_json::to_string(&request.approval_chains).map_err(Error::internal)?;
            tx.prepare_cached(
                "UPDATE companies SET approval_chains = ?3, version = version + 1, updated_at = ?4 WHERE tenant_id = ?1 AND id = ?2",
            )?
            .execute(params![tx.tenant(), id, chains, tx.now().millis()])?;
            let fields = |chains: &[ApprovalChain]| json!({ "approvalChains": chains }).as_object().cloned();
            let changes = Changes { before: fields(&before.approval_chains), after: fields(&request.approval_chains) };
            tx.audit("approval_chain.configured", "company", id, Some(changes))?;
            tree::find(tx, tx.tenant(), id)
        })
        .await?;
    Ok(Answer::from(company).etag(version))
}

pub(super) async fn in_force(cx: Cx, request: InForce) -> Result<Page<ChainInForce>> {
    let tenant = cx.tenant();
    cx.read(move |connection| {
        tree::find(connection, tenant.as_str(), request.id.as_str())?;
        chains_of(connection, tenant.as_str(), request.id.as_str()).map(Page::only)
    })
    .await
}

/// The chains of a company and of those above it; the nearest of a name counts.
fn chains_of(connection: &Connection, tenant: &str, id: &str) -> Result<Vec<ChainInForce>> {
    let mut statement = connection.prepare_cached(
        "WITH RECURSIVE above (id, parent_id, chains, level) AS (
             SELECT id, parent_id, approval_chains, 0 FROM companies WHERE tenant_id = ?1 AND id = ?2
             UNION ALL
             SELECT companies.id, companies.parent_id, approval_chains, level + 1
             FROM companies JOIN above ON companies.id = above.parent_id WHERE tenant_id = ?1 AND level < ?3
         ) SELECT id, chains FROM above ORDER BY level",
    )?;
    let mut rows = statement.query((tenant, id, MAX_DEPTH))?;
    let mut found: Vec<ChainInForce> = Vec::new();
    while let Some(row) = rows.next()? {
        let (company, text): (String, String) = (row.get(0)?, row.get(1)?);
        let chains: Vec<ApprovalChain> = serde_json::from_str(&text).map_err(Error::internal)?;
        for chain in chains {
            if found.iter().all(|nearer| nearer.chain.name != chain.name) {
                found.push(ChainInForce { chain, company_id: company.as_str().into() });
            }
        }
    }
    Ok(found)
}

/// What is wrong with chains by themselves.
fn faults_of(chains: &[ApprovalChain]) -> Vec<FieldError> {
    let mut faults = Vec::new();
    if chains.len() > MAX_CHAINS {
        faults.push(FieldError::new("/approvalChains", "length", format!("has {} chains; {MAX_CHAINS} are allowed", chains.len())));
        return faults;
    }
    let mut names = HashSet::new();
    for (place, chain) in chains.iter().enumerate() {
        let at = format!("/approvalChains/{place}");
        if chain.name.trim().is_empty() || chain.name.chars().any(char::is_control) {
            faults.push(FieldError::new(format!("{at}/name"), "format", "names a kind of matter, such as purchase"));
        } else if !names.insert(&chain.name) {
            faults.push(FieldError::new(format!("{at}/name"), "duplicate", format!("{} has a chain already", quote(&chain.name))));
        }
        if chain.steps.is_empty() || chain.steps.len() > MAX_STEPS {
            faults.push(FieldError::new(format!("{at}/steps"), "length", format!("has 1 to {MAX_STEPS} approvers")));
            continue;
        }
        for (step, again) in repeated(&chain.steps) {
            let detail = format!("{} approves in this chain already", quote(again));
            faults.push(FieldError::new(format!("{at}/steps/{step}/approver"), "duplicate", detail));
        }
    }
    faults
}

/// Steps whose approver stands in an earlier step: the second signature would be the first one's.
fn repeated(steps: &[ApprovalStep]) -> impl Iterator<Item = (usize, &str)> {
    let mut seen = HashSet::new();
    let mut is_new = move |step: &ApprovalStep| seen.insert((step.approver.clone(), step.company_id.clone()));
    steps.iter().enumerate().filter(move |(_, step)| !is_new(step)).map(|(place, step)| (place, step.approver.as_str()))
}

/// Rejects approvers and companies that the tenant does not have.
fn check_names(connection: &Connection, tenant: &str, chains: &[ApprovalChain]) -> Result<()> {
    let steps = || chains.iter().flat_map(|chain| &chain.steps);
    let approvers: HashSet<&str> = steps().map(|step| step.approver.as_str()).collect();
    let companies: HashSet<&str> = steps().filter_map(|step| step.company_id.as_ref().map(CompanyId::as_str)).collect();
    // A role may be a name that users have, without permissions of its own.
    let known_approvers = known(
        connection,
        "SELECT value FROM json_each(?2) AS wanted
         WHERE EXISTS (SELECT 1 FROM users WHERE tenant_id = ?1 AND id = wanted.value AND status = 'active')
            OR EXISTS (SELECT 1 FROM roles WHERE tenant_id = ?1 AND name = wanted.value)
            OR wanted.value IN (SELECT held.value FROM users, json_each(users.roles) AS held WHERE users.tenant_id = ?1)",
        tenant,
        &approvers,
    )?;
    let known_companies = known(
        connection,
        "SELECT value FROM json_each(?2) AS wanted WHERE EXISTS (SELECT 1 FROM companies WHERE tenant_id = ?1 AND id = wanted.value)",
        tenant,
        &companies,
    )?;
    let is_known =
        |approver: &str| known_approvers.contains(approver) || approver == ADMIN || (approver == OWNER_SUBJECT && tenant == OWNER_TENANT);
    let (mut strangers, mut nowhere) = (Vec::new(), Vec::new());
    for (chain, steps) in chains.iter().map(|chain| &chain.steps).enumerate() {
        for (place, step) in steps.iter().enumerate() {
            let at = format!("/approvalChains/{chain}/steps/{place}");
            if !is_known(&step.approver) {
                let detail = format!("{} is neither a user id nor a role", quote(&step.approver));
                strangers.push(FieldError::new(format!("{at}/approver"), "unknown", detail));
            }
            if let Some(company) = step.company_id.as_ref().filter(|company| !known_companies.contains(company.as_str())) {
                nowhere.push(FieldError::new(
                    format!("{at}/companyId"),
                    "unknown",
                    format!("there is no company {}", quote(company.as_str())),
                ));
            }
        }
    }
    if !strangers.is_empty() {
        return Err(Error::new(Kind::Invalid, "FM-PMS-APPROVER-UNKNOWN", "an approver is not known")
            .with_fields(strangers)
            .hint("Name a user by the id that users_list shows, or a role that someone has."));
    }
    if !nowhere.is_empty() {
        return Err(Error::new(Kind::Invalid, "FM-PMS-COMPANY-UNKNOWN", "an approver's company is not known").with_fields(nowhere));
    }
    Ok(())
}

/// Those of some names that a query finds.
fn known(connection: &Connection, sql: &str, tenant: &str, wanted: &HashSet<&str>) -> Result<HashSet<String>> {
    let wanted = serde_json::to_string(wanted).map_err(Error::internal)?;
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map((tenant, wanted), |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
