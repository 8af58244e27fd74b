//! Operations as tools: built once, handed out in shared parts, found by name in one look-up.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use rmcp::model::{MetaObject, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

use super::App;
use crate::api::{Effect, Entry, Permissions, catalogue};
use crate::auth::Caller;
use crate::auth::Filter;

/// How many sets of permissions have their list kept; beyond that a list is built anew.
const SETS: usize = 64;

/// A list and the permissions that it is for.
type List = (Option<Permissions>, Arc<[Tool]>);

/// The lists that were built, by what the caller may do.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    lists: Mutex<Vec<List>>,
}

impl App {
    /// The tools that a caller sees, in the contract's order.
    pub(super) fn tools_of(&self, caller: &Caller) -> Arc<[Tool]> {
        let key = match self.client.access().filter() {
            Filter::Strict => caller.permissions.as_ref(),
            Filter::Off => None,
        };
        let mut lists = self.shelf.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, list)) = lists.iter().find(|(held, _)| held.as_ref() == key) {
            return Arc::clone(list);
        }
        let list: Arc<[Tool]> =
            catalogue().tools().filter(|entry| self.may(caller, entry)).filter_map(|entry| tool(entry.spec.name).cloned()).collect();
        if lists.len() < SETS {
            lists.push((key.cloned(), Arc::clone(&list)));
        }
        list
    }
}

/// The tool of that name.
pub(super) fn tool(name: &str) -> Option<&'static Tool> {
    static TOOLS: LazyLock<HashMap<&'static str, Tool>> =
        LazyLock::new(|| catalogue().tools().map(|entry| (entry.spec.name, build(entry))).collect());
    TOOLS.get(name)
}

/// The operation behind a tool's name; what is no tool is not found.
pub(super) fn find(name: &str) -> Option<&'static Entry> {
    catalogue().get(name).filter(|entry| entry.spec.tool)
}

/// What tools/list answers to a caller who may do everything: `{"tools": [...]}`.
#[must_use]
pub fn list_tools_json() -> Value {
    let tools: Vec<&Tool> = catalogue().tools().filter_map(|entry| tool(entry.spec.name)).collect();
    json!({ "tools": tools })
}

fn build(entry: &'static Entry) -> Tool {
    let spec = &entry.spec;
    let mut meta = Map::new();
    meta.insert("flowmaster/service".to_owned(), entry.service.name.into());
    meta.insert("flowmaster/route".to_owned(), format!("{} {}", spec.method.name(), spec.path).into());
    if let Some(permission) = spec.permission {
        meta.insert("flowmaster/permission".to_owned(), permission.name().into());
    }
    Tool::new(spec.name, entry.shape.description.as_str(), Arc::new(entry.shape.input.clone()))
        .with_title(spec.title)
        .with_raw_output_schema(Arc::new(entry.shape.output.clone()))
        .with_annotations(annotations(spec.effect, spec.idempotent))
        .with_meta(MetaObject(meta))
}

/// The hints that a host's approval dialog goes by follow from the effect, never from the HTTP method.
fn annotations(effect: Effect, idempotent: bool) -> ToolAnnotations {
    ToolAnnotations::from_raw(None, Some(effect == Effect::Read), Some(effect.asks()), Some(idempotent), Some(effect == Effect::Send))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_follow_the_effect() {
        for entry in catalogue().tools() {
            let tool = tool(entry.spec.name).unwrap();
            let hints = tool.annotations.clone().unwrap();
            assert_eq!(hints.read_only_hint, Some(entry.spec.effect == Effect::Read), "{}", entry.spec.name);
            assert_eq!(
                hints.destructive_hint,
                Some(matches!(entry.spec.effect, Effect::Decide | Effect::Grant | Effect::Destroy)),
                "{}",
                entry.spec.name
            );
            assert!(tool.title.is_some() && tool.output_schema.is_some() && tool.meta.is_some(), "{}", entry.spec.name);
        }
    }

    #[test]
    fn logins_are_no_tools() {
        assert!(find("auth_login").is_none() && tool("auth_login").is_none());
        assert!(find("auth_refresh").is_none() && tool("auth_refresh").is_none());
        assert!(!list_tools_json().to_string().contains("\"password\""));
    }

    #[test]
    fn a_tool_costs_few_tokens() {
        let tools: Vec<&Tool> = catalogue().tools().filter_map(|entry| tool(entry.spec.name)).collect();
        let bytes: usize = tools
            .iter()
            .map(|tool| json!({ "name": tool.name, "description": tool.description, "inputSchema": tool.input_schema }).to_string().len())
            .sum();
        let average = bytes / 4 / tools.len();
        assert!(average <= 180, "a tool takes {average} tokens on average");
    }
}
