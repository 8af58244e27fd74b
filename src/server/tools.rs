//! Operations as tools: built once, handed out in shared parts, found by name in one look-up.

pub(crate) mod call;
mod names;

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use moka::Equivalent;
use moka::sync::Cache;
use rmcp::model::{MetaObject, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

use super::App;
use super::toolsets::{Mask, Offer, Toolset};
use crate::api::{Effect, Entry, Permissions, catalogue};
use crate::auth::{Caller, Credential, Filter};
use crate::config::PolicyDecision;
use crate::error::Error;

/// How many tools the kept lists hold together; beyond that the least used list is built again when it is wanted. Hosts
/// choose toolsets, and with them keys, as they like.
const MAX_CACHED_TOOLS: u64 = 32 * 1024;

/// The lists that were built, by what decides over them.
#[derive(Debug)]
pub(super) struct ListCache {
    lists: Cache<ListKey, Arc<[Tool]>>,
}

/// All that a list depends on: callers who agree in it share one list.
#[derive(Debug, PartialEq, Eq)]
struct ListKey {
    permissions: Option<Permissions>,
    roles: Vec<Arc<str>>,
    token: Token,
    extensions: bool,
    offered: Option<Mask>,
}

/// What the way upstream goes by: whether the caller has a token of its own, and whether that names permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Token {
    own: bool,
    speaks: bool,
}

/// A key that is looked for, before anything is copied.
struct ListKeyRef<'a> {
    permissions: Option<&'a Permissions>,
    roles: &'a [Arc<str>],
    token: Token,
    /// Whether it is known which operations beyond the contract there are.
    extensions: bool,
    /// The operations that the request's selections hold.
    offered: Option<&'a Mask>,
}

impl Hash for ListKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { permissions, roles, token, extensions, offered } = self;
        ListKeyRef { permissions: permissions.as_ref(), roles, token: *token, extensions: *extensions, offered: offered.as_ref() }
            .hash(state);
    }
}

impl Hash for ListKeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.permissions.hash(state);
        self.roles.hash(state);
        self.token.hash(state);
        self.extensions.hash(state);
        self.offered.hash(state);
    }
}

impl Equivalent<ListKey> for ListKeyRef<'_> {
    fn equivalent(&self, key: &ListKey) -> bool {
        self.permissions == key.permissions.as_ref()
            && self.roles == key.roles
            && self.token == key.token
            && self.extensions == key.extensions
            && self.offered == key.offered.as_ref()
    }
}

impl Default for ListCache {
    fn default() -> Self {
        let weigh = |_: &ListKey, list: &Arc<[Tool]>| u32::try_from(list.len()).unwrap_or(u32::MAX).max(1);
        Self { lists: Cache::builder().weigher(weigh).max_capacity(MAX_CACHED_TOOLS).build() }
    }
}

/// A tool with what `tools/list` decides about it.
#[derive(Debug)]
pub struct Listed {
    /// The operation.
    pub entry: &'static Entry,
    /// The tool as the caller gets it, or would get it.
    pub tool: Tool,
    /// Why the caller is not offered it.
    pub withheld: Option<Error>,
}

impl App {
    /// Returns every tool in the contract's order, those that `tools/list` withholds from a caller with the reason.
    #[must_use]
    pub fn listing(&self, caller: &Caller) -> Vec<Listed> {
        let offer = self.offer();
        let offered: HashMap<String, Tool> =
            self.tools_of(caller, &offer).iter().map(|tool| (tool.name.to_string(), tool.clone())).collect();
        catalogue()
            .tools()
            .filter_map(|entry| {
                let (tool, withheld) = match offered.get(entry.spec.name) {
                    Some(offered) => (offered.clone(), None),
                    None => (tool(entry.spec.name)?.clone(), offer.check(entry).and_then(|()| self.authorise(caller, entry)).err()),
                };
                Some(Listed { entry, tool, withheld })
            })
            .collect()
    }

    /// The tools that a caller sees of those that are offered, in the contract's order.
    pub(super) fn tools_of(&self, caller: &Caller, offer: &Offer) -> Arc<[Tool]> {
        let in_force = self.rules();
        let permissions = match in_force.access.filter() {
            Filter::Strict => caller.permissions.as_ref(),
            Filter::Off => None,
        };
        let roles = in_force.policy.roles_of(caller);
        let token = Token { own: matches!(caller.credential, Credential::Bearer(_)), speaks: caller.permissions.is_some() };
        let extensions = self.client.extensions().are_known();
        let offered = offer.mask();
        if let Some(list) =
            in_force.lists.lists.get(&ListKeyRef { permissions, roles: &roles, token, extensions, offered: offered.as_ref() })
        {
            return list;
        }
        in_force.lists.lists.get_with(ListKey { permissions: permissions.cloned(), roles, token, extensions, offered }, || {
            catalogue().tools().filter(|entry| self.may(caller, offer, entry)).filter_map(|entry| self.tool_for(caller, entry)).collect()
        })
    }

    /// A tool as a caller sees it. What the policy has confirmed counts as destructive: a host's own dialog goes by that.
    fn tool_for(&self, caller: &Caller, entry: &Entry) -> Option<Tool> {
        let tool = tool(entry.spec.name)?.clone();
        let asks = self.rules().policy.decide(caller, &entry.spec) == PolicyDecision::Confirm;
        if !asks || entry.spec.effect.asks() {
            return Some(tool);
        }
        let mut hints = tool.annotations.clone().unwrap_or_default();
        (hints.read_only_hint, hints.destructive_hint) = (Some(false), Some(true));
        Some(tool.with_annotations(hints))
    }
}

/// The tool of that name.
pub(super) fn tool(name: &str) -> Option<&'static Tool> {
    static TOOLS: LazyLock<HashMap<&'static str, Tool>> =
        LazyLock::new(|| catalogue().tools().map(|entry| (entry.spec.name, build(entry))).collect());
    TOOLS.get(name)
}

/// The operation behind a tool's name; what is not a tool is not found.
pub(super) fn find(name: &str) -> Option<&'static Entry> {
    catalogue().get(name).filter(|entry| entry.spec.tool)
}

/// What a tool costs a model: name, description and input schema as compact JSON, four bytes a token.
fn tokens(tool: &Tool) -> usize {
    json!({ "name": tool.name, "description": tool.description, "inputSchema": tool.input_schema }).to_string().len() / 4
}

/// What the tools of a toolset cost a model, in tokens.
#[must_use]
pub fn tokens_of(toolset: &Toolset) -> usize {
    toolset.tools().filter_map(|entry| tool(entry.spec.name)).map(tokens).sum()
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
    if !spec.is_composite() {
        meta.insert("flowmaster/route".to_owned(), format!("{} {}", spec.method.name(), spec.path).into());
    }
    if let Some(permission) = spec.permission {
        meta.insert("flowmaster/permission".to_owned(), permission.name().into());
    }
    if spec.always_loaded {
        meta.insert("anthropic/alwaysLoad".to_owned(), true.into());
    }
    Tool::new(spec.name, entry.shape.description.as_str(), Arc::new(entry.shape.listed.clone()))
        .with_title(spec.title)
        .with_raw_output_schema(Arc::new(entry.shape.outline.clone()))
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
    use crate::server::toolsets::{Selection, toolsets};

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
    fn a_key_is_found_by_its_look_and_by_no_other() {
        let held = Permissions::from(vec!["task:view".to_owned()]);
        let (roles, token) = ([Arc::from("clerk")], Token { own: true, speaks: true });
        let all = Offer { operator: Arc::default(), session: None, request: None };
        let offered = Selection::of_host(&[("", vec!["tasks"])], false).map(|tasks| Offer { request: Some(Arc::new(tasks)), ..all }.mask());
        let offered = offered.unwrap();
        let key = ListKey { permissions: Some(held.clone()), roles: roles.to_vec(), token, extensions: true, offered: offered.clone() };
        let shelf = ListCache::default();
        shelf.lists.insert(key, Arc::from([]));
        let found = |look: ListKeyRef<'_>| shelf.lists.get(&look).is_some();
        let look = || ListKeyRef { permissions: Some(&held), roles: &roles, token, extensions: true, offered: offered.as_ref() };
        assert!(found(look()));
        for other in [
            ListKeyRef { permissions: None, ..look() },
            ListKeyRef { permissions: Some(&Permissions::all()), ..look() },
            ListKeyRef { roles: &[], ..look() },
            ListKeyRef { token: Token { own: false, ..token }, ..look() },
            ListKeyRef { extensions: false, ..look() },
            ListKeyRef { offered: None, ..look() },
        ] {
            assert!(!found(other));
        }
    }

    #[test]
    fn hosts_that_choose_again_and_again_fill_no_memory() {
        let shelf = ListCache::default();
        let tools: Arc<[Tool]> = catalogue().tools().filter_map(|entry| tool(entry.spec.name)).cloned().collect();
        for role in 0..2 * MAX_CACHED_TOOLS / u64::try_from(tools.len()).unwrap() {
            let token = Token { own: true, speaks: true };
            let key = ListKey { permissions: None, roles: vec![Arc::from(role.to_string())], token, extensions: true, offered: None };
            shelf.lists.insert(key, Arc::clone(&tools));
        }
        shelf.lists.run_pending_tasks();
        assert!((1..=MAX_CACHED_TOOLS).contains(&shelf.lists.weighted_size()), "{}", shelf.lists.weighted_size());
    }

    #[test]
    fn logins_are_no_tools() {
        assert!(find("auth_login").is_none() && tool("auth_login").is_none());
        assert!(find("auth_refresh").is_none() && tool("auth_refresh").is_none());
        assert!(!list_tools_json().to_string().contains("\"password\""));
    }

    #[test]
    fn the_essentials_are_few_and_short() {
        let essentials = toolsets().iter().find(|toolset| toolset.name == "essentials").unwrap();
        let (count, tokens) = (essentials.tools().count(), tokens_of(essentials));
        assert!(count <= 20 && tokens <= 5000, "{count} tools take {tokens} tokens");
    }

    #[test]
    fn a_tool_costs_few_tokens() {
        let tools: Vec<&Tool> = catalogue().tools().filter_map(|entry| tool(entry.spec.name)).collect();
        let average = tools.iter().copied().map(tokens).sum::<usize>() / tools.len();
        assert!(average <= 180, "a tool takes {average} tokens on average");
    }
}
