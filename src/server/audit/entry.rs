//! One entry of the audit log, as it is written to files and carried by the platform's audit log.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::{Timestamp, ids};
use crate::auth::{Caller, CallerKind};
use crate::error::{Error, Result};
use crate::server::answer::redact;
use crate::state::NewLetter;

/// The most that an entry holds of arguments or of an answer, in bytes.
pub(super) const LARGEST_BODY: usize = 16 * 1024;
/// How many names of fields an entry holds.
const MOST_FIELDS: usize = 50;
/// The longest name that an entry holds, in bytes.
const LONGEST_NAME: usize = 200;

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Action {
    /// A call that was let through, whatever came of it.
    #[serde(rename = "mcp.called")]
    Called,
    /// A call or request that was not let through.
    #[serde(rename = "mcp.refused")]
    Refused,
    /// Entries that could not be kept.
    #[serde(rename = "mcp.lost")]
    Lost,
}

impl Action {
    /// The action as the audit log has it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Called => "mcp.called",
            Self::Refused => "mcp.refused",
            Self::Lost => "mcp.lost",
        }
    }
}

/// By which way a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::server) enum Transport {
    /// A host that started the server.
    Stdio,
    /// A request over HTTP.
    Http,
}

/// What was decided about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::server) enum Decision {
    /// It needed no consent.
    Allowed,
    /// A person was asked by the host and agreed.
    Confirmed,
    /// A person approved it outside the model.
    Approved,
    /// The host's own approval dialog counted.
    Host,
    /// The question went out; the call comes again with the answer.
    Asked,
    /// It waits for a person, or a person said no.
    Declined,
    /// Arguments, permission, policy or the lack of a caller were against it.
    Denied,
}

impl Decision {
    pub(super) const fn is_refusal(self) -> bool {
        matches!(self, Self::Declined | Self::Denied)
    }
}

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuditEntry {
    /// The entry; sent twice it counts once.
    pub(super) id: String,
    pub(super) at: Timestamp,
    pub(super) action: Action,
    /// The caller's tenant; absent where the caller is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tenant: Option<String>,
    pub(super) subject: String,
    /// user, service, owner or unknown.
    pub(super) kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) transport: Option<Transport>,
    /// tool, endpoint or audit.
    pub(super) resource_type: String,
    pub(super) resource: String,
    /// HMAC-SHA256 over the digest of the arguments, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) arguments: Option<String>,
    /// The same of what the model was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) answer: Option<String>,
    /// Names of the fields that a write names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) fields: Vec<String>,
    pub(super) decision: Decision,
    /// `ok`, `asked`, or the code of what was against it.
    pub(super) outcome: String,
    #[serde(default)]
    pub(super) duration_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trace: Option<String>,
    /// How many such requests the entry stands for, where that is not one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) arguments_body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) answer_body: Option<String>,
}

/// An entry whose digests still lack the key, which is read in the background.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) entry: AuditEntry,
    /// Whether it is about a read that was let through: those lose their room first.
    pub(super) is_read: bool,
    pub(super) arguments: Option<[u8; 32]>,
    pub(super) answer: Option<[u8; 32]>,
}

impl From<AuditEntry> for Draft {
    fn from(entry: AuditEntry) -> Self {
        Self { entry, is_read: false, arguments: None, answer: None }
    }
}

impl AuditEntry {
    /// Returns an entry that stands for lost entries of a tenant.
    pub(super) fn lost(tenant: Option<String>, count: u64) -> Self {
        let mut entry = Self::new(Action::Lost, None, Transport::Stdio, "audit", "entries");
        (entry.tenant, entry.transport, entry.count) = (tenant, None, Some(count));
        (entry.subject, entry.kind, entry.outcome) = ("flowmaster-mcp".to_owned(), "service".to_owned(), "lost".to_owned());
        entry
    }

    pub(super) fn new(action: Action, caller: Option<&Caller>, transport: Transport, resource_type: &str, resource: &str) -> Self {
        let at = Timestamp::now();
        let kind = match caller.map(|caller| caller.kind) {
            Some(CallerKind::User) => "user",
            Some(CallerKind::Service) => "service",
            Some(CallerKind::Owner) => "owner",
            None => "unknown",
        };
        Self {
            id: ids::mint("call", at),
            at,
            action,
            tenant: caller.map(|caller| caller.tenant.to_string()),
            subject: caller.map_or_else(|| "anonymous".to_owned(), |caller| name(&caller.subject)),
            kind: kind.to_owned(),
            transport: Some(transport),
            resource_type: resource_type.to_owned(),
            resource: name(resource),
            arguments: None,
            answer: None,
            fields: Vec::new(),
            decision: Decision::Denied,
            outcome: String::new(),
            duration_ms: 0,
            trace: None,
            count: None,
            arguments_body: None,
            answer_body: None,
        }
    }
}

impl AuditEntry {
    /// The entry as a letter of the outbox; its body is the line of the operator's file.
    pub(super) fn into_letter(self, is_read: bool) -> Result<NewLetter> {
        let body = serde_json::to_string(&self).map_err(Error::internal)?;
        let stands_for = self.count.filter(|_| self.action == Action::Lost).unwrap_or(1);
        Ok(NewLetter { id: self.id, tenant: self.tenant.unwrap_or_default(), caller: self.subject, is_read, stands_for, body })
    }
}

/// A tool with the route that its call names.
pub(super) fn route(tool: &str, arguments: &Map<String, Value>) -> String {
    let text = |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or("?");
    format!("{tool} {} {}", text("method"), text("path"))
}

/// The names of the fields that a write changes; one level into what is free-form.
pub(super) fn fields(arguments: &Map<String, Value>) -> Vec<String> {
    let mut names = Vec::new();
    for (name, value) in arguments {
        match value {
            Value::Object(inner) if matches!(name.as_str(), "data" | "variables") => {
                names.extend(inner.keys().take(MOST_FIELDS).map(|key| bounded(&format!("{name}.{key}"), LONGEST_NAME)));
            }
            _ => names.push(bounded(name, LONGEST_NAME)),
        }
        if names.len() >= MOST_FIELDS {
            names.truncate(MOST_FIELDS);
            break;
        }
    }
    names
}

/// Arguments or an answer as text, secrets taken out. Text, since an entry must not be nested deeper than a platform takes.
pub(super) fn body(mut value: Value) -> String {
    redact::redact(&mut value);
    bounded(&value.to_string(), LARGEST_BODY)
}

/// A name as an entry has it. Audit services take none that is empty, and a caller may ask for what has none.
fn name(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { bounded(text, LONGEST_NAME) }
}

/// The beginning of a text, by whole characters.
pub(super) fn bounded(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_names_fields_and_not_what_is_in_them() {
        let arguments = json!({ "type": "customer", "data": { "name": "Acme", "tax": { "id": "7" } }, "note": { "deep": 1 } });
        assert_eq!(fields(arguments.as_object().unwrap()), ["type", "data.name", "data.tax", "note"]);
        let many: Map<String, Value> = (0..500).map(|index| (format!("{index}-{}", "n".repeat(1000)), Value::Null)).collect();
        let names = fields(&many);
        assert!(names.len() == MOST_FIELDS && names.iter().all(|name| name.len() <= LONGEST_NAME));
    }

    #[test]
    fn a_body_is_bounded_and_holds_no_secret() {
        let text = body(json!({ "password": "hunter2", "note": "ä".repeat(20_000) }));
        assert!(!text.contains("hunter2"));
        assert!(text.len() <= LARGEST_BODY && text.ends_with('ä'));
    }
}
