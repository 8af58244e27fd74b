//! Compliance reports: each control of a standard with the rows of the trail that speak to it.

use std::collections::{HashMap, VecDeque};
use std::ops::RangeInclusive;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::verify::{Told, Verdict, Walk};
use crate::api::Timestamp;
use crate::api::audit::{ComplianceReport, Control, Report, Standard};
use crate::api::ids::ReportId;
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::Cx;
use crate::platform::keys::Keys;

/// The period where none is given, in seconds.
const PERIOD: f64 = 90.0 * 24.0 * 3600.0;
/// How many rows are named for a control.
const NAMED: usize = 20;

/// A control: its name, what it asks for, and the actions that speak to it; a star stands for any end.
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
    let pass = Pass::begin(&cx, templates, from, to).await?;
    let pass = pass.in_portions(&cx).await?;
    // What changes the trail meanwhile, such as retention, can look like a fault; in one view of the file it does not.
    let (verdict, controls) = match pass.end() {
        (verdict, _) if !verdict.verified => Pass::at_once(&cx, templates, from, to).await?.end(),
        whole => whole,
    };
    let tenant = cx.tenant();
    let mut chain = verdict.to_fields();
    chain.insert("erasures".to_owned(), cx.read(move |connection| erasures(connection, tenant.as_str())).await?);
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

/// One pass over the trail, which verifies it and gathers what speaks to each control.
struct Pass {
    walk: Walk,
    tallies: Vec<Tally>,
    /// Which controls an action speaks to, by their places.
    spoken_to: HashMap<String, Vec<usize>>,
    period: RangeInclusive<i64>,
}

/// What speaks to a control.
struct Tally {
    template: &'static Template,
    written: u64,
    claimed: u64,
    /// The last entries that the platform wrote.
    evidence: VecDeque<String>,
}

impl Pass {
    async fn begin(cx: &Cx, templates: &'static [Template], from: Timestamp, to: Timestamp) -> Result<Self> {
        let (tenant, platform, now) = (cx.tenant(), cx.platform.clone(), cx.now());
        let walk = cx.read(move |connection| Walk::begin(connection, platform.keys(), tenant.as_str(), now)).await?;
        Ok(Self::of(walk, templates, from, to))
    }

    fn of(walk: Walk, templates: &'static [Template], from: Timestamp, to: Timestamp) -> Self {
        let tallies = templates.iter().map(|template| Tally { template, written: 0, claimed: 0, evidence: VecDeque::new() });
        Self { walk, tallies: tallies.collect(), spoken_to: HashMap::new(), period: from.millis()..=to.millis() }
    }

    /// Reads the trail portion by portion, so that no reader holds the write-ahead log for long.
    async fn in_portions(mut self, cx: &Cx) -> Result<Self> {
        loop {
            let platform = cx.platform.clone();
            let (pass, more) = cx
                .read(move |connection| {
                    let more = self.read(connection, platform.keys())?;
                    Ok((self, more))
                })
                .await?;
            if !more {
                return Ok(pass);
            }
            self = pass;
        }
    }

    /// Reads the whole trail in one view.
    async fn at_once(cx: &Cx, templates: &'static [Template], from: Timestamp, to: Timestamp) -> Result<Self> {
        let (tenant, platform, now) = (cx.tenant(), cx.platform.clone(), cx.now());
        cx.read(move |connection| {
            let mut pass = Self::of(Walk::begin(connection, platform.keys(), tenant.as_str(), now)?, templates, from, to);
            while pass.read(connection, platform.keys())? {}
            Ok(pass)
        })
        .await
    }

    fn read(&mut self, connection: &Connection, keys: &Keys) -> Result<bool> {
        let Self { walk, tallies, spoken_to, period } = self;
        walk.read(connection, keys, |row| {
            if !period.contains(&row.timestamp) {
                return;
            }
            if !spoken_to.contains_key(row.action) {
                let places = tallies.iter().enumerate().filter(|(_, tally)| speaks_to(row.action, tally.template));
                spoken_to.insert(row.action.to_owned(), places.map(|(place, _)| place).collect());
            }
            for place in spoken_to.get(row.action).into_iter().flatten() {
                if let Some(tally) = tallies.get_mut(*place) {
                    tally.add(row);
                }
            }
        })
    }

    fn end(self) -> (Verdict, Vec<Control>) {
        (self.walk.end(), self.tallies.into_iter().map(Tally::into_control).collect())
    }
}

/// Whether an action is one of a control's, which may be named by how they begin.
fn speaks_to(action: &str, template: &Template) -> bool {
    template.2.iter().any(|pattern| pattern.strip_suffix('*').map_or(action == *pattern, |beginning| action.starts_with(beginning)))
}

impl Tally {
    /// Counts a row. What a caller logged proves nothing, whatever it says; what nobody knows the writer of is no better.
    fn add(&mut self, row: &Told<'_>) {
        if !row.is_written {
            self.claimed += 1;
            return;
        }
        self.written += 1;
        if self.evidence.len() == NAMED {
            self.evidence.pop_front();
        }
        self.evidence.push_back(row.id.to_owned());
    }

    fn into_control(self) -> Control {
        let (control, title, _) = self.template;
        Control {
            control: (*control).to_owned(),
            title: (*title).to_owned(),
            status: if self.written > 0 { "evidence" } else { "no_evidence" }.to_owned(),
            count: self.written,
            claimed: self.claimed,
            evidence: self.evidence.into_iter().rev().map(Into::into).collect(),
        }
    }
}
