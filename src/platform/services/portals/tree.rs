//! The tree of companies: a company has one parent at most, and none is above itself.

use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::api::Timestamp;
use crate::api::arguments::quote;
use crate::api::portals::Company;
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;

/// How many levels a tree may have.
pub(super) const MAX_DEPTH: i64 = 16;
/// The columns that [`of_row`] reads, in its order.
pub(super) const COLUMNS: &str = "id, name, parent_id, approval_chains, created_at, updated_at, version";

/// A company with its version.
pub(super) type Versioned = (Company, i64);

/// Finds a company of the tenant.
pub(super) fn find(connection: &Connection, tenant: &str, id: &str) -> Result<Versioned> {
    look_up(connection, tenant, id)?.ok_or_else(|| {
        Error::new(Kind::NotFound, "FM-PMS-COMPANY-NOT-FOUND", format!("there is no company {}", quote(id)))
            .hint("companies_list shows the companies there are and their ids.")
    })
}

fn look_up(connection: &Connection, tenant: &str, id: &str) -> Result<Option<Versioned>> {
    let sql = format!("SELECT {COLUMNS} FROM companies WHERE tenant_id = ? AND id = ?");
    Ok(connection.prepare_cached(&sql)?.query_row((tenant, id), of_row).optional()?)
}

/// Rejects a place in the tree for a company, or for a new one: the parent must exist, must not be below the company, and the
/// tree must not become too deep.
pub(super) fn check_place(tx: &Tx<'_>, company: Option<&str>, parent: &str) -> Result<()> {
    if look_up(tx, tx.tenant(), parent)?.is_none() {
        return Err(Error::new(Kind::Invalid, "FM-PMS-PARENT-UNKNOWN", "the company above is not known").field(
            "/parentCompanyId",
            "unknown",
            format!("there is no company {}", quote(parent)),
        ));
    }
    let above = chain_above(tx, parent)?;
    if let Some(company) = company.filter(|company| above.iter().any(|id| id == company)) {
        return Err(Error::new(Kind::Conflict, "FM-PMS-CYCLE", format!("the company {} would be above itself", quote(company)))
            .field("/parentCompanyId", "cycle", format!("{} is the company itself or below it", quote(parent)))
            .hint("Choose a parent outside the company's own subtree."));
    }
    let height = company.map_or(Ok(1), |company| height(tx, company))?;
    let depth = i64::try_from(above.len()).unwrap_or(i64::MAX).saturating_add(height);
    if depth > MAX_DEPTH {
        return Err(Error::new(Kind::Conflict, "FM-PMS-TREE-DEPTH", format!("the tree of companies would have {depth} levels"))
            .field("/parentCompanyId", "depth", format!("the tree has at most {MAX_DEPTH} levels"))
            .hint("Choose a parent nearer to the top."));
    }
    Ok(())
}

/// A company and those above it, up to the top.
fn chain_above(tx: &Tx<'_>, id: &str) -> Result<Vec<String>> {
    // Bounded beyond the deepest tree, so that a damaged file cannot make it run on.
    let mut statement = tx.prepare_cached(
        "WITH RECURSIVE above (id, level) AS (
             VALUES (?2, 1)
             UNION ALL
             SELECT companies.parent_id, level + 1 FROM companies JOIN above USING (id)
             WHERE tenant_id = ?1 AND companies.parent_id IS NOT NULL AND level <= ?3
         ) SELECT id FROM above",
    )?;
    let rows = statement.query_map((tx.tenant(), id, MAX_DEPTH), |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// How many levels a company and those below it have.
fn height(tx: &Tx<'_>, id: &str) -> Result<i64> {
    Ok(tx
        .prepare_cached(
            "WITH RECURSIVE below (id, level) AS (
                 VALUES (?2, 1)
                 UNION ALL
                 SELECT companies.id, level + 1 FROM companies JOIN below ON companies.parent_id = below.id
                 WHERE tenant_id = ?1 AND level <= ?3
             ) SELECT max(level) FROM below",
        )?
        .query_row((tx.tenant(), id, MAX_DEPTH), |row| row.get(0))?)
}

/// A row as a company, with its version.
pub(super) fn of_row(row: &Row<'_>) -> rusqlite::Result<Versioned> {
    let chains: String = row.get(3)?;
    let company = Company {
        company_id: row.get::<_, String>(0)?.into(),
        name: row.get(1)?,
        parent_company_id: row.get::<_, Option<String>>(2)?.map(Into::into),
        approval_chains: serde_json::from_str(&chains).unwrap_or_default(),
        created_at: Some(Timestamp::from_millis(row.get(4)?)),
        updated_at: Some(Timestamp::from_millis(row.get(5)?)),
    };
    Ok((company, row.get(6)?))
}
