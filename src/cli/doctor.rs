//! `doctor`: what is set up, what works, and what to do about the rest.

mod events;
mod services;
mod settings;
mod traces;
mod webhooks;

use std::sync::Arc;

use serde_json::{Value, json};

use self::settings::Row;
use super::Outcome;
use super::setup::connection::{Connection, access, selection};
use super::setup::credentials::Credentials;
use super::setup::discovery;
use super::setup::http_auth;
use super::setup::identity::Identity;
use super::setup::{kafka, name_of, telemetry, upstream};
use super::terminal::{Paint, plain, say, wrap};
use crate::api::{FieldError, audit, catalogue};
use crate::auth::Caller;
use crate::client::{Client, Fixed, Origin};
use crate::config::{Config, Fallback, PolicyRule, SECRETS, slips_in};
use crate::error::{Error, Kind, Result};
use crate::server::{Limits, Policy, Secrets, Tally};
use crate::telemetry::metrics::Metrics;

/// An address that is never asked.
const NOWHERE: &str = "http://127.0.0.1:1";
/// Rules of the policy whose faults are looked for one by one.
const MAX_RULES: usize = 200;
/// Columns of where a value comes from.
const ORIGIN_WIDTH: usize = "environment".len();

/// How it is shown.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Shows every setting with its value, not only those that were set.
    #[arg(long)]
    all: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    Care,
    Bad,
}

/// One thing that was looked at.
struct Finding {
    name: &'static str,
    state: State,
    text: String,
    hint: Option<String>,
}

impl Finding {
    fn good(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, state: State::Good, text: text.into(), hint: None }
    }

    fn care(name: &'static str, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, state: State::Care, text: text.into(), hint: Some(hint.into()) }
    }

    fn bad(name: &'static str, error: &Error) -> Self {
        let hint = error.next_step().map(str::to_owned);
        Self { name, state: State::Bad, text: format!("{} ({})", error.message(), error.code()), hint }
    }

    /// A finding for each field that an error names, else one for the error.
    fn each(name: &'static str, error: &Error) -> Vec<Self> {
        if error.fields().is_empty() {
            return vec![Self::bad(name, error)];
        }
        let text = |field: &FieldError| {
            format!("{}: {} {} ({})", error.message(), field.pointer.trim_start_matches('/'), field.detail, error.code())
        };
        error.fields().iter().map(|field| Self { name, state: State::Bad, text: text(field), hint: None }).collect()
    }
}

pub(super) async fn run(arguments: &Arguments, config: &Config, faults: &[Error]) -> Result<Outcome> {
    let mut findings = vec![settings(config)];
    findings.extend(faults.iter().flat_map(|error| Finding::each("settings", error)));
    findings.extend(contradictions(config));
    findings.extend(slips());
    findings.extend(exposed(config));
    if !config.data_dir.as_os_str().is_empty() {
        findings.push(Finding::good("data folder", config.data_dir.display().to_string()));
    }
    // With a fault among them the settings might lead to another platform than the one that is meant.
    let standing = if findings.iter().any(|finding| finding.state == State::Bad) {
        findings.push(Finding::care("platform", "not asked, since a setting is wrong", "Correct the settings, then run it again."));
        None
    } else {
        match Connection::new(config) {
            Ok(connection) => {
                let standing = look_at_platform(&connection, config, &mut findings).await;
                if let Some(standing) = standing.as_ref().filter(|standing| standing.unconfirmed.is_none()) {
                    findings.push(events::of_platform(&connection, config, &standing.caller).await);
                }
                findings.extend(services::met(&connection));
                findings.extend(services::of_server(config).await);
                findings.extend(keys(config, &connection).await);
                connection.close().await;
                standing
            }
            Err(error) => {
                findings.push(Finding::bad("login", &error));
                None
            }
        }
    };
    findings.extend(policy(config));
    findings.extend(secrets(config));
    findings.extend(offer(config));
    findings.push(confirmation(config));
    findings.push(match (http_auth::about(config), http_auth::advice(config)) {
        (Ok(text), None) => Finding::good("http", text),
        (Ok(text), Some(advice)) => Finding::care("http", text, advice),
        (Err(error), _) => Finding::bad("http", &error),
    });
    findings.extend(webhooks::of_folder(config));
    findings.push(record(config));
    findings.extend(traces::exported());

    let healthy = findings.iter().all(|finding| finding.state != State::Bad);
    let rows = settings::rows(config, arguments.all);
    if arguments.json {
        print_json(&findings, standing.as_ref(), config, &rows, healthy);
    } else {
        print(&findings, &rows, arguments.all);
    }
    Ok(if healthy { Outcome::Done } else { Outcome::Failed })
}

fn settings(config: &Config) -> Finding {
    let file = match (&config.file, config.file_found) {
        (Some(path), true) => format!("file {}", path.display()),
        (Some(path), false) => format!("no file at {}", path.display()),
        (None, _) => "no file".to_owned(),
    };
    Finding::good("settings", format!("{} set; {file}", config.sources.len()))
}

/// What each setting says by itself, and the settings together do not: every fault that keeps the server from starting.
fn contradictions(config: &Config) -> Vec<Finding> {
    let mut errors = Vec::new();
    let mut login = None;
    errors.extend(access(config).err());
    errors.extend(selection(config).err());
    errors.extend(Limits::new(&config.limits).err());
    errors.extend(telemetry::page(config).err());
    errors.extend(config.url.as_ref().and_then(|url| upstream::check_encryption(config, url, "FLOWMASTER_URL").err()));
    errors.extend(discovery::discovery(config).err());
    errors.extend(kafka::bus(config, &Metrics::default()).err());
    let origin = match idle(config.url.as_deref().unwrap_or(NOWHERE)) {
        Err(error) => {
            errors.push(error);
            idle(NOWHERE)
        }
        good => good,
    };
    match origin {
        Ok(origin) => {
            errors.extend(upstream::upstream(config, &origin, false).err());
            // Nothing is read or asked yet. That nobody is signed in is told later, where nothing is wrong with the settings.
            let chosen = Credentials::choose(config, Client::builder(origin).build());
            login = chosen.err().filter(|error| !["FM-CONFIG-NO-TOKEN", "FM-MCP-URL"].contains(&error.code()));
        }
        Err(error) => errors.push(error),
    }
    let login = login.iter().flat_map(|error| Finding::each("login", error));
    errors.iter().flat_map(|error| Finding::each("settings", error)).chain(login).collect()
}

/// A platform that is not asked.
fn idle(base: &str) -> Result<Arc<dyn Origin>> {
    Fixed::new(base).map(|origin| Arc::new(origin) as Arc<dyn Origin>)
}

fn slips() -> Vec<Finding> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    slips_in(names)
        .into_iter()
        .map(|(name, meant)| Finding::care("settings", format!("{name} is not a setting"), format!("Was {meant} meant?")))
        .collect()
}

/// A file with a secret that others may read, or a token that travels in the clear.
fn exposed(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    #[cfg(unix)]
    if let (Some(file), Some((secret, _))) = (
        &config.file,
        config.sources.iter().find(|(setting, source)| {
            let is_secret = SECRETS.contains(&setting.as_str()) || setting.starts_with("service.tokens");
            is_secret && **source == crate::config::Source::File
        }),
    ) {
        use std::os::unix::fs::PermissionsExt as _;
        if std::fs::metadata(file).is_ok_and(|about| about.permissions().mode() & 0o077 != 0) {
            let file = file.display();
            findings.push(Finding::care("settings", format!("{file} holds {secret}, and others can read it"), format!("chmod 600 {file}")));
        }
    }
    if upstream::is_exposed(config) {
        findings.push(Finding::care(
            "platform",
            "tokens go to the platform unencrypted",
            "Use https:// where the network is not yours alone.",
        ));
    }
    findings
}

/// The published keys that sign no tokens here, each with the reason, where tokens of hosts are verified.
async fn keys(config: &Config, connection: &Connection) -> Vec<Finding> {
    match http_auth::unusable_keys(config, connection).await {
        Ok(reasons) => reasons.into_iter().map(|reason| Finding::care("keys", reason, "Tokens that it signs are rejected.")).collect(),
        Err(error) => vec![Finding::bad("keys", &error)],
    }
}

async fn look_at_platform(connection: &Connection, config: &Config, findings: &mut Vec<Finding>) -> Option<Identity> {
    let standing = match Identity::find(connection).await {
        Ok(standing) => standing,
        // A login was requested.
        Err(error) if error.kind() == Kind::Unauthenticated => {
            findings.push(Finding::good("platform", format!("{} answers", name_of(config))));
            findings.push(Finding::bad("login", &error));
            return None;
        }
        Err(error) => {
            let name = if error.code().starts_with("FM-MCP-LOGIN") { "login" } else { "platform" };
            findings.push(Finding::bad(name, &error));
            return None;
        }
    };
    match &standing.unconfirmed {
        None => findings.push(Finding::good("platform", format!("{} answers", name_of(config)))),
        Some(error) => findings.push(Finding::bad("platform", error)),
    }
    let text = format!("{}, {}, by {}", standing.who(), standing.until(), standing.credential);
    findings.push(Finding::good("login", text));
    findings.push(Finding::good("rights", standing.may()));
    if config.url.is_none() {
        findings.push(trail(connection, &standing.caller).await);
    }
    Some(standing)
}

/// The embedded platform's audit chain, as its compliance report judges it.
async fn trail(connection: &Connection, caller: &Arc<Caller>) -> Finding {
    let request = audit::ComplianceReport { standard: audit::Standard::Soc2, from: None, to: None };
    match connection.client.send(caller, &request).await {
        Ok(report) => {
            let rows = report.chain.get("rows").and_then(Value::as_u64).unwrap_or_default();
            if report.chain.get("verified") == Some(&Value::Bool(true)) {
                Finding::good("audit trail", format!("{rows} rows, the chain holds"))
            } else {
                Finding {
                    name: "audit trail",
                    state: State::Bad,
                    text: format!("the chain of {rows} rows is broken: somebody changed the file"),
                    hint: Some("Keep the data folder as it is and compare it with a backup.".to_owned()),
                }
            }
        }
        Err(error) => Finding::bad("audit trail", &error),
    }
}

/// Where rows of what is called and refused go, and how many wait.
fn record(config: &Config) -> Finding {
    match upstream::about_record(config) {
        Ok((text, None)) => Finding::good("audit", text),
        Ok((text, Some(advice))) => Finding::care("audit", text, advice),
        Err(error) => Finding::bad("audit", &error),
    }
}

/// What the rules come to, for a caller who may do everything and holds no role that a rule names; or what is wrong with
/// each of them.
fn policy(config: &Config) -> Vec<Finding> {
    let Ok(policy) = Policy::new(&config.policy) else {
        return faults_of_rules(&config.policy).iter().flat_map(|error| Finding::each("policy", error)).collect();
    };
    let Tally { rules, allowed, confirmed, denied } = policy.tally();
    let by = match rules {
        0 => "no rules, the effect decides".to_owned(),
        1 => "1 rule".to_owned(),
        _ => format!("{rules} rules"),
    };
    let roles = if config.policy.iter().any(|rule| !rule.roles.is_empty()) { "; roles may change that" } else { "" };
    vec![Finding::good("policy", format!("{by}: {allowed} tools are called freely, {confirmed} ask a person, {denied} are denied{roles}"))]
}

/// Which secrets calls may name, and which of them have no value.
fn secrets(config: &Config) -> Option<Finding> {
    if config.secrets.is_empty() {
        return None;
    }
    let secrets = match Secrets::new(&config.secrets) {
        Ok(secrets) => secrets,
        Err(error) => return Some(Finding::bad("secrets", &error)),
    };
    let unset: Vec<&str> = secrets.states().filter(|(_, is_set)| !is_set).map(|(name, _)| name).collect();
    let all = config.secrets.len();
    Some(if unset.is_empty() {
        Finding::good("secrets", format!("calls may name {all}, each with a value"))
    } else {
        Finding::care("secrets", format!("of {all} these have no value: {}", unset.join(", ")), "Set the file or the variable of each.")
    })
}

/// Which tools are offered to hosts.
fn offer(config: &Config) -> Option<Finding> {
    let selection = selection(config).ok()?;
    let all = catalogue().tools().count();
    let offered = catalogue().tools().filter(|entry| selection.holds(entry)).count();
    Some(Finding::good("tools", format!("hosts are offered {}: {offered} of {all}; over HTTP they may choose fewer", selection.about())))
}

/// The first fault of each rule; rules before it count as good, so that it is named by its number.
fn faults_of_rules(rules: &[PolicyRule]) -> Vec<Error> {
    let fault = |(index, rule): (usize, &PolicyRule)| {
        let good = PolicyRule { tools: Vec::new(), services: Vec::new(), effects: Vec::new(), roles: Vec::new(), decision: rule.decision };
        let mut probe = vec![good; index];
        probe.push(rule.clone());
        Policy::new(&probe).err()
    };
    rules.iter().enumerate().take(MAX_RULES).filter_map(fault).collect()
}

fn confirmation(config: &Config) -> Finding {
    let text = match config.fallback {
        Fallback::Refuse => "a host that can ask its user does; any other is refused until `flowmaster-mcp confirm` approves the call",
        Fallback::Host => "a host that can ask its user does; any other decides by its own approval dialog",
        Fallback::Terminal => "no host is asked; each call waits until `flowmaster-mcp confirm` approves it",
    };
    let (other, effect) = match config.fallback {
        Fallback::Refuse => ("host", "let its own dialog decide"),
        Fallback::Host => ("refuse", "refuse instead"),
        Fallback::Terminal => ("refuse", "let hosts ask"),
    };
    Finding {
        name: "confirmation",
        state: State::Good,
        text: text.to_owned(),
        hint: Some(format!("Claude Desktop: to {effect}, add \"env\": {{ \"FLOWMASTER_CONFIRM\": \"{other}\" }} to the server's entry.")),
    }
}

fn print(findings: &[Finding], rows: &[Row], all: bool) {
    let paint = Paint;
    say(paint.strong(format_args!("flowmaster-mcp {}", env!("CARGO_PKG_VERSION"))));
    for finding in findings {
        let mark = match finding.state {
            State::Good => paint.good("ok  "),
            State::Care => paint.care("care"),
            State::Bad => paint.bad("bad "),
        };
        say(wrap(format_args!("{mark}  {:<13} {}", finding.name, finding.text), 20));
        if let Some(hint) = &finding.hint {
            say(wrap(format_args!("{:20}{}", "", paint.note(hint)), 20));
        }
    }
    say("");
    let variable = |row: &Row| row.variable.unwrap_or("the file alone");
    let widest = |text: &dyn Fn(&Row) -> usize| rows.iter().map(text).max().unwrap_or_default();
    let names = widest(&|row| row.setting.len());
    let variables = widest(&|row| variable(row).len());
    for row in rows {
        let setting = row.setting;
        let origin = if row.source.is_some() { paint.strong(row.origin()) } else { paint.note(row.origin()) };
        let origin = format!("{origin}{:1$}", "", ORIGIN_WIDTH.saturating_sub(row.origin().len()));
        say(format_args!(
            "  {setting:<names$} {} {origin} {}",
            paint.note(format_args!("{:<variables$}", variable(row))),
            plain(&row.text())
        ));
    }
    if !all {
        say(paint.note("`flowmaster-mcp doctor --all` shows every setting with its value."));
    }
}

fn print_json(findings: &[Finding], standing: Option<&Identity>, config: &Config, rows: &[Row], healthy: bool) {
    let checks: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let state = match finding.state {
                State::Good => "ok",
                State::Care => "care",
                State::Bad => "bad",
            };
            json!({ "name": finding.name, "state": state, "text": finding.text, "hint": finding.hint })
        })
        .collect();
    let sources: serde_json::Map<String, Value> =
        config.sources.iter().map(|(setting, source)| (setting.clone(), source.to_string().into())).collect();
    say(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ok": healthy,
        "checks": checks,
        "caller": standing.map(Identity::json),
        "dataDir": config.data_dir.display().to_string(),
        "url": config.url,
        "confirm": config.fallback,
        "set": sources,
        "settings": settings::json(rows),
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn a_token_that_leaves_the_machine_unencrypted_is_worth_a_word() {
        let cares = |url: &str| {
            let flags = Settings { url: Some(url.to_owned()), ..Settings::default() };
            let config = Config::load(&flags, None, &|name| (name == "HOME").then(|| "/home/x".to_owned())).unwrap();
            exposed(&config).iter().any(|finding| finding.text.contains("unencrypted"))
        };
        for here in ["http://localhost:8320", "http://127.0.0.1/api", "http://[::1]:1", "https://flowmaster.example"] {
            assert!(!cares(here), "{here}");
        }
        for elsewhere in
            ["http://flowmaster.example", "http://localhost.evil.example", "http://127.evil.example/", "HTTP://flowmaster.example"]
        {
            assert!(cares(elsewhere), "{elsewhere}");
        }
    }
}
