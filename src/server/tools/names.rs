//! Names in place of ids: where a call names a thing that people call by a name, its exact name does as well, if one thing
//! alone has it.
//!
//! It is looked up as the caller, in the list that shows such things, if that is offered. What cannot be looked up goes to the platform as it is,
//! which says what is wrong with it. What is destroyed or granted takes ids alone.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::api::service::{Id, Lister, Named};
use crate::api::{Effect, Entry, SERVICES, catalogue};
use crate::error::{Error, Kind, Result};
use crate::server::known_ids::IdKind;
use crate::server::request::Request;

/// How many things of a list a name is looked for among.
const MAX_LOOKED_AT: usize = 2_000;
/// How many of them come at once.
const PAGE: u32 = 200;
/// How many things of one name an error lists.
const MAX_LISTED: usize = 10;

/// An argument that names a thing, and where things of its kind are listed.
#[derive(Clone, Copy)]
struct Argument {
    name: &'static str,
    kind: &'static str,
    lister: Lister,
    named: Named,
}

impl Request {
    /// The arguments of a call with ids in place of names.
    pub(super) async fn resolve_names(&self, entry: &Entry, mut arguments: Map<String, Value>) -> Result<Map<String, Value>> {
        for argument in arguments_of(entry) {
            let Some(given) = arguments.get(argument.name).and_then(Value::as_str).filter(|given| self.may_be_name(argument, given)) else {
                continue;
            };
            if let Some(id) = self.id_of(entry, argument, given).await? {
                arguments.insert(argument.name.to_owned(), id.into());
            }
        }
        Ok(arguments)
    }

    /// Whether a text is worth looking for: not if it has the form of an id, or is one that the caller has met.
    fn may_be_name(&self, argument: &Argument, given: &str) -> bool {
        let is_met = || self.app.seen.has_met(&self.caller, IdKind { kind: argument.kind, of: "" }, given);
        !has_form_of_id(given) && given.contains(argument.named.holds) && !is_met()
    }

    /// The id of the one thing that has a name; none where it cannot be told.
    async fn id_of(&self, entry: &Entry, argument: &Argument, name: &str) -> Result<Option<String>> {
        let audit = &self.app.audit;
        let note = audit.begin_reading(&self.caller, self.transport(), "name", &format!("{}#{}", entry.spec.name, argument.name));
        let found = self.things_called(argument, name).await;
        audit.end_reading(note, found.as_ref().err().map(Error::code));
        // A list that fails is no reason to fail the call.
        let mut ids = found.unwrap_or_default();
        if ids.len() < 2 {
            return Ok(ids.pop());
        }
        let count = ids.len();
        ids.truncate(MAX_LISTED);
        Err(Error::new(Kind::Invalid, "FM-MCP-NAME-AMBIGUOUS", format!("{count} things have this name"))
            .field(format!("/{}", argument.name), "ambiguous", format!("is the name of {}", ids.join(", ")))
            .hint("Give the id of the one that is meant."))
    }

    /// The ids of the things that have a name; the text itself if it is an id after all, nothing if there are too many things.
    async fn things_called(&self, argument: &Argument, name: &str) -> Result<Vec<String>> {
        let Argument { lister, named, .. } = argument;
        let mut asked: Map<String, Value> = lister.arguments.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        asked.insert("limit".to_owned(), PAGE.into());
        if let Some(filter) = named.filter {
            asked.insert(filter.to_owned(), name.into());
        }
        let (mut ids, mut looked_at) = (Vec::new(), 0);
        loop {
            let reply = self.read(lister.operation, asked.clone(), usize::MAX).await?;
            let items = reply.body.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            for item in items {
                let Some(id) = item.get(lister.field).and_then(Value::as_str) else { continue };
                if id == name {
                    return Ok(vec![id.to_owned()]);
                }
                if item.get(named.field).and_then(Value::as_str) == Some(name) {
                    ids.push(id.to_owned());
                }
            }
            looked_at += items.len();
            let Some(next) = reply.body.get("nextCursor").filter(|next| next.is_string()) else { return Ok(ids) };
            if looked_at >= MAX_LOOKED_AT {
                return Ok(Vec::new());
            }
            asked.insert("cursor".to_owned(), next.clone());
        }
    }
}

/// The arguments of an operation that may hold a name.
fn arguments_of(entry: &Entry) -> &'static [Argument] {
    static BY_OPERATION: LazyLock<HashMap<&'static str, Vec<Argument>>> = LazyLock::new(|| {
        let by_name = catalogue().iter().filter(|entry| !matches!(entry.spec.effect, Effect::Destroy | Effect::Grant));
        by_name.map(|entry| (entry.spec.name, find_arguments(entry))).filter(|(_, found)| !found.is_empty()).collect()
    });
    BY_OPERATION.get(entry.spec.name).map_or(&[], Vec::as_slice)
}

fn find_arguments(entry: &'static Entry) -> Vec<Argument> {
    let properties = entry.shape.input.get("properties").and_then(Value::as_object);
    let ids = || SERVICES.iter().flat_map(|service| service.ids);
    let users = entry.spec.users.iter().filter_map(|name| Some((*name, ids().find(|id| id.kind == "user")?)));
    let fields = ids().filter(|id| !id.own && properties.is_some_and(|properties| properties.contains_key(id.field)));
    // `/agents/{id}/invoke` names what `GET /agents` lists.
    let placed = ids().filter_map(|id| {
        let path = catalogue().get(id.lister?.operation)?.spec.path;
        let (name, _) = entry.spec.path.strip_prefix(path)?.strip_prefix("/{")?.split_once('}')?;
        Some((name, id))
    });
    let all = users.chain(fields.map(|id| (id.field, id))).chain(placed);
    let mut found: Vec<Argument> = all
        .filter_map(|(name, id): (&'static str, &'static Id)| {
            let lister = id.lister?;
            Some(Argument { name, kind: id.kind, lister, named: lister.named? })
        })
        .collect();
    found.dedup_by_key(|argument| argument.name);
    found
}

/// Whether a text has the form of an id: a UUID or a number, mostly after a word that says what it names.
fn has_form_of_id(text: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let tail = text.split_once('-').map_or(text, |(_, tail)| tail);
    [text, tail].into_iter().any(|text| number(text) || Uuid::try_parse(text).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(operation: &str) -> Vec<(&'static str, &'static str)> {
        let entry = catalogue().get(operation).unwrap();
        arguments_of(entry).iter().map(|argument| (argument.name, argument.kind)).collect()
    }

    #[test]
    fn what_is_named_follows_from_route_and_field_and_never_where_it_is_destroyed_or_granted() {
        assert_eq!(named("executions_start"), [("initiator", "user"), ("processId", "process")]);
        assert_eq!(named("processes_get"), [("id", "process")]);
        assert_eq!(named("agents_invoke"), [("id", "agent")]);
        assert_eq!(named("integrations_execute"), [("id", "integration")]);
        assert_eq!(named("notifications_send"), [("templateId", "template")]);
        assert_eq!(named("users_get"), [("id", "user")]);
        assert_eq!(named("tasks_assign"), [("assignee", "user")]);
        for operation in ["roles_assign_permissions", "users_assign_roles", "entities_delete", "schedules_delete", "tasks_get"] {
            assert_eq!(named(operation), [], "{operation}");
        }
    }

    #[test]
    fn ids_are_told_from_names_by_their_form() {
        for id in ["proc-01a2125a-3042-74d1-b444-43878025a4e1", "01a2125a-3042-74d1-b444-43878025a4e1", "user-123", "42"] {
            assert!(has_form_of_id(id), "{id}");
        }
        for name in ["Invoice approval", "task-assigned", "ada@acme.example", "Q3-2026 close", "", "-"] {
            assert!(!has_form_of_id(name), "{name}");
        }
    }
}
