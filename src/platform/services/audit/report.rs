//! Compliance reports: each control of a standard with the rows of the trail that speak to it.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::verify;
use crate::api::Timestamp;
use crate::api::audit::{ComplianceReport, Control, Report, Standard};
use crate::api::ids::ReportId;
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::Cx;

/// The period where none is given, in seconds.
const PERIOD: f64 = 90.0 * 24.0 * 3600.0;
/// How many rows are named for a control.
const NAMED: i64 = 20;

/// A control: its name, what it asks for, and the actions that speak to it, as GLOB patterns.
type Template = (&'static str, &'static str, &'static [&'static str]);

const GDPR: &[Template] = &[
    ("Art. 5(2)", "Accountability: what was done with data is recorded", &["*"]),
    ("Art. 17", "Right to erasure: requests and what became of them", &["records.*", "legal_hold.*"]),
    ("Art. 25", "Data protection by design: definitions of what is stored and who may", &["entity.defined", "entity_type.*", "role.*"]),
    ("Art. 30", "Records of processing: changes of stored data", &["entity.*", "execution.*"]),
    ("Art. 32", "Security of processing: logins and their failures", &["user.*", "service_token.*"]),
];

const SOC2: &[Template] = &[
    (
        "CC6.1",
        "Logical access: logins, tokens and their ends",
        &["user.signed_in", "user.signed_out", "user.refresh_reused", "service_token.*"],
    ),
    ("CC6.2", "Registration of users", &["user.created", "user.password_set"]),
    ("CC6.3", "Roles and rights, and their changes", &["role.*", "user.roles_assigned"]),
    ("CC7.2", "Monitoring: anomalies of access", &["user.attempts_exhausted", "user.refresh_reused"]),
    ("CC7.3", "Evaluation of failures", &["execution.failed", "execution.compensate*"]),
    ("CC8.1", "Change management: processes are changed and published on record", &["process.*"]),
    ("PI1.4", "Processing is complete and authorised: decisions of people", &["task.*"]),
    ("C1.2", "Disposal of confidential information", &["records.*", "audit.segment_closed", "entity.deleted"]),
];

const HIPAA: &[Template] = &[
    ("164.308(a)(1)(ii)(D)", "Review of system activity", &["*"]),
    ("164.308(a)(3)", "Workforce clearance: users and roles", &["user.created", "user.roles_assigned", "role.*"]),
    ("164.308(a)(5)(ii)(C)", "Log-in monitoring", &["user.signed_in", "user.attempts_exhausted"]),
    ("164.312(a)(1)", "Access control: rights as they were granted", &["role.*", "user.roles_assigned", "service_token.*"]),
    ("164.312(b)", "Audit controls: changes of data are recorded", &["entity.*", "execution.*", "task.*"]),
    ("164.312(c)(1)", "Integrity: what was deleted, by whom", &["entity.deleted", "records.*", "audit.segment_closed"]),
    ("164.312(d)", "Authentication of persons", &["user.signed_in", "user.signed_out", "user.refresh_reused"]),
];

pub(super) async fn make(cx: Cx, request: ComplianceReport) -> Result<Report> {
    let now = cx.now();
    let to = request.to.unwrap_or(now);
    let from = request.from.unwrap_or_else(|| to.plus_seconds(-PERIOD));
    if from > to {
        return Err(Error::new(Kind::Invalid, "FM-ACS-PERIOD", "the period ends before it begins")
            .field("/from", "range", format!("is {from}; `to` is {to}"))
            .hint("Give `from` before `to`, or leave both out for the last 90 days."));
    }
    let templates = match request.standard {
        Standard::Gdpr => GDPR,
        Standard::Soc2 => SOC2,
        Standard::Hipaa => HIPAA,
    };
    let (tenant, platform) = (cx.tenant(), cx.platform.clone());
    let (chain, controls) = cx
        .read(move |connection| {
            let mut chain = verify::verify(connection, platform.keys(), tenant.as_str(), now)?.to_fields();
            chain.insert("erasures".to_owned(), erasures(connection, tenant.as_str())?);
            let controls = templates
                .iter()
                .map(|template| control(connection, tenant.as_str(), template, from.millis(), to.millis()))
                .collect::<Result<Vec<_>>>()?;
            Ok((chain, controls))
        })
        .await?;
    Ok(Report { report_id: ReportId::mint(now), standard: request.standard, from, to, generated_at: now, chain, controls })
}

/// What deletion requests took out of the trail and of everything else, newest first.
fn erasures(connection: &Connection, tenant: &str) -> Result<Value> {
    let mut statement = connection.prepare_cached(
        "SELECT id, status, pseudonym, counts, completed_at FROM audit_deletions
         WHERE tenant_id = ?1 AND status IN ('erasing', 'done') ORDER BY requested_at DESC LIMIT ?2",
    )?;
    let rows = statement.query_map((tenant, NAMED), |row| {
        let counts: String = row.get(3)?;
        Ok(json!({
            "requestId": row.get::<_, String>(0)?,
            "status": row.get::<_, String>(1)?,
            "pseudonym": row.get::<_, Option<String>>(2)?,
            "erased": serde_json::from_str::<Value>(&counts).unwrap_or_default(),
            "completedAt": row.get::<_, Option<i64>>(4)?.map(Timestamp::from_millis),
        }))
    })?;
    Ok(Value::Array(rows.collect::<rusqlite::Result<_>>()?))
}

fn control(connection: &Connection, tenant: &str, template: &Template, from: i64, to: i64) -> Result<Control> {
    let (control, title, patterns) = *template;
    let any = serde_json::to_string(patterns).map_err(Error::internal)?;
    let found = "FROM audit_log WHERE tenant_id = ?1 AND timestamp BETWEEN ?2 AND ?3
                 AND EXISTS (SELECT 1 FROM json_each(?4) WHERE audit_log.action GLOB json_each.value)";
    // What a caller logged proves nothing, whatever it says; what nobody knows the writer of is no better.
    let (count, claimed): (i64, i64) = connection
        .prepare_cached(&format!("SELECT count(*) FILTER (WHERE claimed IS 0), count(*) FILTER (WHERE claimed IS NOT 0) {found}"))?
        .query_row((tenant, from, to, &any), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let evidence = connection
        .prepare_cached(&format!("SELECT id {found} AND claimed IS 0 ORDER BY sequence DESC LIMIT ?5"))?
        .query_map((tenant, from, to, &any, NAMED), |row| Ok(row.get::<_, String>(0)?.into()))?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Control {
        control: control.to_owned(),
        title: title.to_owned(),
        status: if count > 0 { "evidence" } else { "no_evidence" }.to_owned(),
        count: count.unsigned_abs(),
        claimed: claimed.unsigned_abs(),
        evidence,
    })
}
