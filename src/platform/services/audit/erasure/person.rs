//! A person as a deletion request finds them: by whole ids and whole addresses, never by a part of a word.

use rusqlite::{Connection, OptionalExtension as _};
use serde_json::Value;

use crate::error::{Error, Kind, Result};
use crate::platform::keys::Keys;
use crate::platform::services::audit::ERASED;

/// The longest address (RFC 5321), in bytes.
const MAX_ADDRESS: usize = 254;
/// Prefixes of ids that this platform gives to things; a number behind one of them is no person's.
const THINGS: [&str; 14] =
    ["proc", "exec", "task", "int", "agent", "prompt", "doc", "msg", "tenant", "evt", "audit", "erase", "hold", "stok"];
/// Fields whose address says whom the other fields beside it are about.
const ADDRESS_FIELDS: [&str; 3] = ["email", "emailaddress", "mail"];
/// Fields that say so in a record as a whole.
const RECORD_FIELDS: [&str; 3] = ["userid", "personid", "username"];

/// A person: the names, and what stands in their place.
#[derive(Debug, Clone)]
pub(in crate::platform::services::audit) struct Person {
    /// Ids, addresses and names of accounts, in lower case where letters of another case mean the same.
    pub(in crate::platform::services::audit) names: Vec<String>,
    /// The same for the same person in everything of the tenant.
    pub(in crate::platform::services::audit) pseudonym: String,
    /// Whether the tenant has an account of theirs.
    pub(in crate::platform::services::audit) has_account: bool,
}

/// How much of a JSON value is about things and not about the person, however it names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::platform::services::audit) enum About {
    /// A record: its fields are the person's where one of them names the person.
    Record,
    /// Objects down to this depth hold what others decided and did; in them the name alone goes.
    Things(usize),
}

impl Person {
    /// Finds the person of a subject: an account by its id or name, an id, or an e-mail address.
    pub(in crate::platform::services::audit) fn find(connection: &Connection, keys: &Keys, tenant: &str, subject: &str) -> Result<Self> {
        let account: Option<(String, String)> = connection
            .prepare_cached("SELECT id, username FROM users WHERE tenant_id = ?1 AND status = 'active' AND (id = ?2 OR username = ?3)")?
            .query_row((tenant, subject, subject.to_lowercase()), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if account.is_none() && !is_id(subject) && !is_address(subject) {
            return Err(Error::new(Kind::Invalid, "FM-ACS-SUBJECT", "the subject is not a person")
                .field("/subject", "subject", "must be an account of the tenant, a person's id such as user-123, or an e-mail address")
                .hint("GET /users lists the accounts; `records_preview` shows what a request would reach."));
        }
        let has_account = account.is_some();
        let (id, username) = account.unwrap_or_else(|| (plain(subject), plain(subject)));
        let pseudonym = keys.pseudonym(tenant, &id);
        let mut names = vec![id, username, plain(subject)];
        names.sort_unstable();
        names.dedup();
        Ok(Self { names, pseudonym, has_account })
    }

    /// A person whose names were kept.
    pub(in crate::platform::services::audit) fn kept(names: &str, pseudonym: String) -> Result<Self> {
        Ok(Self { names: serde_json::from_str(names).map_err(Error::internal)?, pseudonym, has_account: false })
    }

    /// The person as a column has them that holds nothing else: the pseudonym, if it is theirs.
    pub(in crate::platform::services::audit) fn in_column(&self, value: &str) -> Option<String> {
        self.is_name(value).then(|| self.pseudonym.clone())
    }

    fn is_name(&self, value: &str) -> bool {
        let value = value.trim();
        self.names.iter().any(|name| name == value || (is_address(name) && name.eq_ignore_ascii_case(value)))
    }

    /// A text without the person's ids and addresses, if it had any.
    pub(in crate::platform::services::audit) fn in_text(&self, text: &str) -> Option<String> {
        let mut changed: Option<String> = None;
        for name in self.names.iter().filter(|name| is_id(name) || is_address(name)) {
            let now = changed.as_deref().unwrap_or(text);
            if let Some(without) = replaced(now, name, &self.pseudonym) {
                changed = Some(without);
            }
        }
        changed
    }

    /// A JSON text without the person, if they were in it.
    pub(in crate::platform::services::audit) fn in_json(&self, text: &str, about: About) -> Option<String> {
        let Ok(mut value) = serde_json::from_str::<Value>(text) else { return self.in_text(text) };
        self.in_value(&mut value, about, 0).then(|| value.to_string())
    }

    fn in_value(&self, value: &mut Value, about: About, depth: usize) -> bool {
        match value {
            Value::String(text) => match self.in_text(text) {
                Some(without) => {
                    *text = without;
                    true
                }
                None => false,
            },
            Value::Array(items) => self.in_each(items.iter_mut(), about, depth + 1),
            Value::Object(fields) => {
                let is_theirs = fields
                    .iter()
                    .any(|(name, value)| value.as_str().is_some_and(|value| self.is_name(value) && says_whose(name, about, depth)));
                if is_theirs {
                    fields.values_mut().for_each(|value| self.blank(value));
                    return true;
                }
                let mut changed = self.in_each(fields.values_mut(), about, depth + 1);
                let named: Vec<String> = fields.keys().filter(|name| self.in_text(name).is_some()).cloned().collect();
                for name in named {
                    if let (Some(without), Some(value)) = (self.in_text(&name), fields.remove(&name)) {
                        fields.insert(without, value);
                        changed = true;
                    }
                }
                changed
            }
            _ => false,
        }
    }

    fn in_each<'a>(&self, values: impl Iterator<Item = &'a mut Value>, about: About, depth: usize) -> bool {
        let mut changed = false;
        for value in values {
            changed |= self.in_value(value, about, depth);
        }
        changed
    }

    /// Makes everything in a value unreadable; the person's own names become the pseudonym.
    fn blank(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.in_column(text).unwrap_or_else(|| ERASED.to_owned()),
            Value::Array(items) => items.iter_mut().for_each(|item| self.blank(item)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.blank(value)),
            other => *other = Value::Null,
        }
    }
}

/// Whether a field with the person's name makes the fields beside it theirs.
fn says_whose(name: &str, about: About, depth: usize) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let is_address = ADDRESS_FIELDS.contains(&plain.as_str());
    match about {
        About::Record => is_address || (depth == 0 && RECORD_FIELDS.contains(&plain.as_str())),
        About::Things(deepest) => is_address && depth > deepest,
    }
}

/// A name as it is compared: addresses in lower case.
fn plain(subject: &str) -> String {
    if is_address(subject) { subject.to_lowercase() } else { subject.to_owned() }
}

/// Whether a text is written as an e-mail address.
pub(in crate::platform::services::audit) fn is_address(text: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.chars().all(|c| is_inner(c) || is_joint(c));
    text.len() <= MAX_ADDRESS
        && text.split_once('@').is_some_and(|(local, domain)| is_part(local) && is_part(domain) && !domain.contains('@'))
}

/// Whether a text is written as an id: a word, a hyphen and something with a digit in it.
pub(in crate::platform::services::audit) fn is_id(text: &str) -> bool {
    let Some((word, number)) = text.split_once('-') else { return false };
    let is_word = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let is_thing = THINGS.contains(&word) && uuid::Uuid::try_parse(number).is_ok();
    is_word
        && !is_thing
        && number.chars().any(|c| c.is_ascii_digit())
        && number.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// What ids and addresses are made of.
fn is_inner(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '%'
}

/// What ids and addresses hold between such characters, and sentences at their end.
const fn is_joint(c: char) -> bool {
    matches!(c, '-' | '.' | '+' | '\'')
}

/// A text with another one for each place where a name stands as a whole.
fn replaced(text: &str, name: &str, by: &str) -> Option<String> {
    let fold = |text: &str| if is_address(name) { text.to_ascii_lowercase() } else { text.to_owned() };
    let (searched, wanted) = (fold(text), fold(name));
    let (mut result, mut done) = (String::new(), 0);
    let mut from = 0;
    while let Some(found) = searched.get(from..).and_then(|rest| rest.find(&wanted)) {
        let (start, end) = (from + found, from + found + wanted.len());
        from = end;
        let before = text.get(..start).unwrap_or_default();
        let after = text.get(end..).unwrap_or_default();
        if joins(before.chars().rev()) || joins(after.chars()) {
            continue;
        }
        result.push_str(text.get(done..start).unwrap_or_default());
        result.push_str(by);
        done = end;
    }
    (done > 0).then(|| {
        result.push_str(text.get(done..).unwrap_or_default());
        result
    })
}

/// Whether what stands beside a name belongs to the same word, so that it is a part of another name.
fn joins(mut beside: impl Iterator<Item = char>) -> bool {
    match beside.next() {
        Some(c) if is_inner(c) || c == '@' => true,
        Some(c) if is_joint(c) => beside.next().is_some_and(is_inner),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn person(names: &[&str]) -> Person {
        Person { names: names.iter().map(|name| (*name).to_owned()).collect(), pseudonym: "erased-1".to_owned(), has_account: true }
    }

    #[test]
    fn names_are_found_as_wholes_alone() {
        let person = person(&["user-12", "jo@b.c"]);
        for (text, without) in [
            ("for jo@b.c only", "for erased-1 only"),
            ("Ask JO@B.C.", "Ask erased-1."),
            ("<mailto:jo@b.c>, user-12; user-12", "<mailto:erased-1>, erased-1; erased-1"),
            ("/users/user-12", "/users/erased-1"),
        ] {
            assert_eq!(person.in_text(text).as_deref(), Some(without), "{text}");
        }
        for other in ["anjo@b.c", "x.jo@b.c", "jo@b.ch", "jo@b.c.uk", "user-123", "super-user-12", "user-12-a", "user-12@x.y", "User-12"] {
            assert_eq!(person.in_text(other), None, "{other}");
        }
    }

    #[test]
    fn words_are_no_subjects() {
        for word in ["assign", "task.assigned", "system", "", "a b@c", "@", "task-0198c9a0-0000-7000-8000-000000000000", "jo@b@c"] {
            assert!(!is_id(word) && !is_address(word), "{word}");
        }
        assert!(is_id("user-77") && is_id("manager-123") && is_address("contact@acme.com"));
        // The name of an account that is a word is looked for where people are named, and in no text.
        assert_eq!(person(&["assign"]).in_text("assign"), None);
        assert_eq!(person(&["assign"]).in_column("assign").as_deref(), Some("erased-1"));
    }

    #[test]
    fn a_record_of_a_person_goes_as_a_whole_and_a_decision_keeps_what_was_decided() {
        let person = person(&["jo@b.c", "user-12"]);
        let record = json!({ "name": "Jo", "email": "Jo@b.c", "age": 7, "tags": ["x"] }).to_string();
        let blanked: Value = serde_json::from_str(&person.in_json(&record, About::Record).unwrap()).unwrap();
        assert_eq!(blanked, json!({ "name": "erased", "email": "erased-1", "age": null, "tags": ["erased"] }));
        let decided =
            json!({ "decision": "approve", "email": "jo@b.c", "by": { "email": "jo@b.c", "name": "Jo" }, "user-12": 1 }).to_string();
        let kept: Value = serde_json::from_str(&person.in_json(&decided, About::Things(0)).unwrap()).unwrap();
        assert_eq!(
            kept,
            json!({ "decision": "approve", "email": "erased-1", "by": { "email": "erased-1", "name": "erased" }, "erased-1": 1 })
        );
        assert_eq!(person.in_json(&json!({ "email": "other@b.c" }).to_string(), About::Record), None);
    }
}
