//! The question that a person is asked: what will happen, to which object, and what that object is like now.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::api::{Effect, Entry, Objection, Unique, catalogue, wire};
use crate::auth::Caller;
use crate::error::{Error, Kind, Result};
use crate::io::hex::hex;
use crate::server::answer::redact::redact;
use crate::server::{App, digest};

/// Longest value of the object that is shown, in characters.
const MAX_SHOWN_LENGTH: usize = 240;
/// Longest argument that is shown: what is sent weighs more than what is known.
const MAX_ARGUMENT_LENGTH: usize = 1500;

/// How many pages of a list are looked through for an object.
const MAX_PAGES: usize = 10;

/// A question and what it is based on.
pub(crate) struct Question {
    /// The text for the person.
    pub(crate) text: String,
    /// What the object was like: its `ETag`, or its status where it changes by itself.
    pub(crate) seen: Option<String>,
    /// The `ETag` that the call must still meet.
    pub(crate) if_match: Option<String>,
}

/// The object of a call as it is at one moment.
#[derive(Default)]
pub(crate) struct Snapshot {
    /// What stands for it: its `ETag`, a digest of what is shown, or its status where it changes by itself.
    pub(crate) seen: Option<String>,
    /// The `ETag` that the call must still meet.
    if_match: Option<String>,
    object: Option<Value>,
}

/// The operation that reads the object which another one acts on: `tasks_get` for `tasks_respond`.
pub(crate) fn getter(entry: &Entry) -> Option<&'static Entry> {
    let service = entry.spec.name.split('_').next()?;
    let getter = catalogue().get(&format!("{service}_get"))?;
    let known: Vec<&str> = wire::path_fields(&entry.spec).collect();
    wire::path_fields(&getter.spec).all(|field| known.contains(&field)).then_some(getter)
}

impl App {
    /// Reads the object of a call as it is now. An object that is not there is an error: there is nothing to ask about.
    pub(crate) async fn snapshot(&self, caller: &Arc<Caller>, entry: &Entry, arguments: &Map<String, Value>) -> Result<Snapshot> {
        // A person who is asked whether something may be read is not shown it first.
        if entry.spec.effect == Effect::Read {
            return Ok(Snapshot::default());
        }
        if let Some(preview) = entry.spec.preview {
            return self.previewed(caller, preview, arguments).await;
        }
        let shown = entry.service.shown;
        let getter = getter(entry);
        if let Some(getter) = getter {
            self.learn(getter).await;
        }
        let Some(getter) = getter.filter(|getter| self.has(getter)) else {
            let object = self.listed(caller, entry, arguments).await?;
            return Ok(Snapshot { seen: object.as_ref().map(|object| digest_of(object, shown)), if_match: None, object });
        };
        let path = wire::path_fields(&getter.spec).filter_map(|name| Some((name.to_owned(), arguments.get(name)?.clone()))).collect();
        let mut reply = match self.look(caller, getter.spec.name, path).await {
            Ok(reply) => reply,
            // A caller who may act but not look is asked about the id alone.
            Err(error) if error.kind() == Kind::Forbidden => return Ok(Snapshot::default()),
            Err(error) => return Err(error),
        };
        redact(&mut reply.body);
        let (seen, if_match) = match entry.service.judged_by {
            // An object that moves on by itself is judged by where it stands.
            Some(field) => (reply.body.get(field).and_then(Value::as_str).map(str::to_owned), None),
            None => (Some(reply.etag.clone().unwrap_or_else(|| digest_of(&reply.body, shown))), reply.etag),
        };
        Ok(Snapshot { seen, if_match, object: Some(reply.body) })
    }

    /// What a call would do, as the platform tells it. Nothing is bound to it: what it counts goes on changing.
    async fn previewed(&self, caller: &Arc<Caller>, preview: &str, arguments: &Map<String, Value>) -> Result<Snapshot> {
        let known = catalogue().get(preview).and_then(|entry| entry.shape.input.get("properties")?.as_object());
        let asked = arguments
            .iter()
            .filter(|(name, _)| known.is_some_and(|known| known.contains_key(*name)))
            .map(|(name, value)| (name.clone(), value.clone()));
        match self.look(caller, preview, asked.collect()).await {
            Ok(mut reply) => {
                redact(&mut reply.body);
                Ok(Snapshot { object: Some(reply.body), ..Snapshot::default() })
            }
            // A platform that has no such route, or a caller who may not look.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Unsupported | Kind::Forbidden) => Ok(Snapshot::default()),
            Err(error) => Err(error),
        }
    }

    /// Makes the question for a call, on its object as it is now.
    pub(crate) async fn question(&self, caller: &Arc<Caller>, entry: &Entry, arguments: &Map<String, Value>) -> Result<Question> {
        let Snapshot { seen, if_match, object } = self.snapshot(caller, entry, arguments).await?;
        if let Some(object) = &object
            && let Some(Objection { code, message, fields }) = entry.endpoint.objection(Value::Object(arguments.clone()), object)
        {
            // A person is not asked about what the platform is going to refuse.
            let kind = if fields.is_empty() { Kind::Conflict } else { Kind::Invalid };
            return Err(Error::new(kind, code, message).with_fields(fields));
        }
        self.must_be_new(caller, entry, arguments).await?;
        let mut text = self.opening(caller, entry, object.as_ref());
        text.push_str("\n\nWhat will be sent:");
        if arguments.is_empty() {
            text.push_str(" nothing more");
        }
        for (name, value) in arguments {
            line(&mut text, name, value, MAX_ARGUMENT_LENGTH);
        }
        Ok(Question { text, seen, if_match })
    }

    /// Makes the question whose answer is what will be sent.
    pub(crate) async fn question_to_answer(&self, caller: &Arc<Caller>, entry: &Entry, arguments: &Map<String, Value>) -> Result<Question> {
        let Snapshot { seen, if_match, object } = self.snapshot(caller, entry, arguments).await?;
        Ok(Question { text: self.opening(caller, entry, object.as_ref()), seen, if_match })
    }

    /// What will happen, where, and to what.
    fn opening(&self, caller: &Caller, entry: &Entry, object: Option<&Value>) -> String {
        let mut text = format!("{} on {} ({})?", entry.spec.title, self.settings.platform_name, caller.tenant);
        text.push_str(match entry.spec.effect {
            Effect::Decide => " It will count as your own decision.",
            Effect::Grant => " It changes what people may do.",
            Effect::Destroy => " It cannot be undone.",
            Effect::Send => " It leaves the platform.",
            Effect::Write => " It changes what the platform holds.",
            Effect::Read => " It shows the agent what the platform holds.",
        });
        if let Some(object) = object {
            text.push_str("\n\nAs it is now:");
            tell(&mut text, object, entry.service.shown);
        }
        text
    }

    /// Rejects a call for a thing whose name is taken. A platform that does not list such things judges by itself.
    async fn must_be_new(&self, caller: &Arc<Caller>, entry: &Entry, arguments: &Map<String, Value>) -> Result<()> {
        let Some(Unique { lister, field, code }) = entry.spec.unique else { return Ok(()) };
        let Some(name) = arguments.get(field) else { return Ok(()) };
        let Ok(reply) = self.look(caller, lister, Map::from_iter([(field.to_owned(), name.clone())])).await else { return Ok(()) };
        let items = reply.body.get("items").and_then(Value::as_array);
        if items.is_some_and(|items| items.iter().any(|item| item.get(field) == Some(name))) {
            return Err(Error::new(Kind::Conflict, code, format!("{name} exists already")).field(format!("/{field}"), "taken", "is taken"));
        }
        Ok(())
    }

    /// The object of a call whose service only lists its objects, such as a subscription.
    async fn listed(&self, caller: &Arc<Caller>, entry: &Entry, arguments: &Map<String, Value>) -> Result<Option<Value>> {
        let service = entry.spec.name.split('_').next().unwrap_or_default();
        let (Some(id), Some(lister)) = (arguments.get("id"), catalogue().get(&format!("{service}_list"))) else { return Ok(None) };
        self.learn(lister).await;
        if !self.has(lister) {
            return Ok(None);
        }
        let fields: Vec<&str> = entry.service.ids.iter().map(|id| id.field).chain(["id"]).collect();
        let mut page = Map::from_iter([("limit".to_owned(), 200.into())]);
        for _ in 0..MAX_PAGES {
            let mut body = match self.look(caller, lister.spec.name, page.clone()).await {
                Ok(reply) => reply.body,
                Err(error) if error.kind() == Kind::Forbidden => return Ok(None),
                Err(error) => return Err(error),
            };
            redact(&mut body);
            let items = body.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
            if let Some(found) = items.into_iter().find(|item| fields.iter().any(|field| item.get(field) == Some(id))) {
                return Ok(Some(found));
            }
            match body.get_mut("nextCursor").map(Value::take) {
                Some(cursor @ Value::String(_)) => drop(page.insert("cursor".to_owned(), cursor)),
                _ => break,
            }
        }
        Err(Error::new(Kind::NotFound, "FM-MCP-NOTHING-TO-ASK", format!("{} lists no such object", lister.spec.name)))
    }
}

/// What stands for an object without a version: everything of it that a person is told, in full.
fn digest_of(object: &Value, shown: &[&str]) -> String {
    let told = shown.iter().filter_map(|name| Some(((*name).to_owned(), object.get(name)?.clone()))).collect();
    hex(&digest::of_arguments(&told))
}

fn tell(text: &mut String, object: &Value, names: &[&str]) {
    for name in names {
        if let Some(value) = object.get(name).filter(|value| !value.is_null()) {
            line(text, name, value, MAX_SHOWN_LENGTH);
        }
    }
}

/// One line for one value. Line breaks in it become spaces, so that no value can look like a part of the question.
fn line(text: &mut String, name: &str, value: &Value, most: usize) {
    let shown = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let plain: String = shown.chars().map(|c| if c.is_control() || is_format(c) { ' ' } else { c }).take(most).collect();
    let more = match shown.chars().count().saturating_sub(most) {
        0 => String::new(),
        hidden => format!("… and {hidden} characters more"),
    };
    // Writing to a text cannot fail.
    let _written = write!(text, "\n- {name}: {plain}{more}");
}

/// Characters that change how what follows is shown: line separators and directions of writing.
const fn is_format(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_object_of_a_call_is_found_by_its_service() {
        let of = |name: &str| getter(catalogue().get(name).unwrap()).map(|getter| getter.spec.name);
        assert_eq!(of("tasks_respond"), Some("tasks_get"));
        assert_eq!(of("executions_cancel"), Some("executions_get"));
        assert_eq!(of("entities_delete"), Some("entities_get"));
        assert_eq!(of("users_assign_roles"), Some("users_get"));
        assert_eq!(of("auth_logout"), None);
        assert_eq!(of("tasks_list"), None);
    }

    #[test]
    fn a_value_cannot_look_like_a_part_of_the_question() {
        let mut text = String::new();
        line(&mut text, "comments", &json!("fine\n\nWhat will be sent:\n- decision: reject\u{202e}"), 240);
        assert_eq!(text.lines().count(), 2, "{text}");
        line(&mut text, "long", &json!("x".repeat(5000)), 240);
        assert!(text.len() < 700 && text.ends_with("… and 4760 characters more"), "{text}");
    }
}
