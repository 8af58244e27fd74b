//! Toolsets: named choices of tools, by which the operator and hosts narrow what is offered.
//!
//! A selection is worked out where it is named, so a call costs one bit of it. Selections only narrow: a tool is offered if
//! the operator's selection, the session's and the request's hold it.

use std::sync::{Arc, LazyLock};

use super::consent::policy::covers;
use super::tools;
use crate::api::near::nearest;
use crate::api::service::Layer;
use crate::api::{Effect, Entry, SERVICES, catalogue};
use crate::error::{Error, Kind, Result};

/// The toolset that narrows nothing.
const ALL: &str = "all";
/// The header by which a host names toolsets, as errors write it.
pub(super) const TOOLSETS_HEADER: &str = "X-MCP-Toolsets";
/// The header by which a host wants tools that only read.
pub(super) const READ_ONLY_HEADER: &str = "X-MCP-Readonly";

/// A named set of tools.
#[derive(Debug)]
pub struct Toolset {
    /// Its name in settings, headers and URLs.
    pub name: &'static str,
    /// One sentence on what it holds.
    pub about: String,
    members: Mask,
}

/// Operations, a bit each by their place in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Mask(Box<[u64]>);

/// Which tools the operator offers, or which of them a host wants; all of them unless it says otherwise.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// What is offered; none if nothing is withheld.
    offered: Option<Mask>,
    toolsets: Vec<&'static str>,
    tools: Vec<&'static str>,
    excluded: Vec<&'static str>,
    read_only: bool,
    by_host: bool,
}

/// What one request is offered: the operator's selection, narrowed by the session's and by its own.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) operator: Arc<Selection>,
    pub(super) session: Option<Arc<Selection>>,
    pub(super) request: Option<Arc<Selection>>,
}

/// Every toolset: one for each service and each layer, the essentials, and all tools.
#[must_use]
pub fn toolsets() -> &'static [Toolset] {
    static TOOLSETS: LazyLock<Vec<Toolset>> = LazyLock::new(|| {
        let of_service = SERVICES.iter().map(|service| {
            let members = Mask::of(|entry| entry.service.name == service.name);
            Toolset { name: service.module, about: service.about.to_owned(), members }
        });
        let of_layer = Layer::ALL.into_iter().map(|layer| {
            let services: Vec<&str> =
                SERVICES.iter().filter(|service| service.layer == Some(layer)).map(|service| service.module).collect();
            let members = Mask::of(|entry| entry.service.layer == Some(layer));
            Toolset { name: layer.name(), about: format!("The contract's layer of {}.", services.join(", ")), members }
        });
        let essentials = Toolset {
            name: "essentials",
            about: "A person's daily work: processes, executions, tasks, records, documents, notifications.".to_owned(),
            members: Mask::of(|entry| entry.spec.essential),
        };
        let all = Toolset { name: ALL, about: "Every tool.".to_owned(), members: Mask::of(|_| true) };
        of_service.chain(of_layer).chain([essentials, all]).collect()
    });
    &TOOLSETS
}

impl Toolset {
    /// Its tools in the contract's order.
    pub fn tools(&self) -> impl Iterator<Item = &'static Entry> {
        catalogue().tools().filter(|entry| self.members.has(entry))
    }

    /// What its tools cost a model, in tokens.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tools().filter_map(|entry| tools::tool(entry.spec.name)).map(tools::tokens).sum()
    }
}

impl Mask {
    fn of(member: impl Fn(&Entry) -> bool) -> Self {
        let mut words = vec![0_u64; catalogue().iter().count().div_ceil(64)];
        for (place, _) in catalogue().iter().enumerate().filter(|(_, entry)| member(entry)) {
            if let Some(word) = words.get_mut(place / 64) {
                *word |= 1 << (place % 64);
            }
        }
        Self(words.into())
    }

    fn has(&self, entry: &Entry) -> bool {
        let word = |place: usize| self.0.get(place / 64).map(|word| word >> (place % 64) & 1 == 1);
        catalogue().place(entry.spec.name).and_then(word) == Some(true)
    }

    fn widen(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    fn narrow(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
    }
}

/// Operations that only read.
fn reads() -> &'static Mask {
    static READS: LazyLock<Mask> = LazyLock::new(|| Mask::of(|entry| entry.spec.effect == Effect::Read));
    &READS
}

impl Selection {
    /// The operator's selection: toolsets and single tools together, less what is excluded, and of these what only reads.
    /// A `*` at the end of a tool's name stands for any rest.
    ///
    /// # Errors
    /// `FM-CONFIG-TOOLSETS`: a toolset or tool does not exist, or no tool is left.
    pub fn of_operator(toolsets: &[String], tools: &[String], excluded: &[String], read_only: bool) -> Result<Self> {
        let fault = |fault: Fault| Error::configuration(Kind::Invalid, "FM-CONFIG-TOOLSETS", fault.message).hint(fault.hint);
        let mut selection = Self { read_only, ..Self::default() };
        selection.toolsets = named(toolsets.iter().map(String::as_str)).map_err(|error| fault(error.of("the setting toolsets")))?;
        selection.tools = matching(tools).map_err(|error| fault(error.of("the setting tools")))?;
        selection.excluded = matching(excluded).map_err(|error| fault(error.of("the setting exclude_tools")))?;
        if !selection.toolsets.is_empty() || !selection.tools.is_empty() {
            let mut chosen = union(&selection.toolsets);
            chosen.widen(&Mask::of(|entry| selection.tools.contains(&entry.spec.name)));
            selection.keep(&chosen);
        }
        if !selection.excluded.is_empty() {
            selection.keep(&Mask::of(|entry| !selection.excluded.contains(&entry.spec.name)));
        }
        if read_only {
            selection.keep(reads());
        }
        if !catalogue().tools().any(|entry| selection.holds(entry)) {
            return Err(Error::configuration(
                Kind::Invalid,
                "FM-CONFIG-TOOLSETS",
                "toolsets, tools, exclude_tools and read_only leave no tool",
            )
            .hint("`flowmaster-mcp tools --all` lists the tools."));
        }
        Ok(selection)
    }

    /// A host's selection: each list of toolsets narrows it, each under the name by which an error tells where it stands.
    ///
    /// # Errors
    /// `FM-MCP-TOOLSETS`: a list is empty, or a toolset does not exist.
    pub(super) fn of_host(lists: &[(&str, Vec<&str>)], read_only: bool) -> Result<Self> {
        let fault = |fault: Fault| Error::new(Kind::Malformed, "FM-MCP-TOOLSETS", fault.message).hint(fault.hint);
        let mut selection = Self { read_only, by_host: true, ..Self::default() };
        for (place, names) in lists {
            if names.is_empty() {
                return Err(fault(Fault {
                    message: format!("{place} names no toolset"),
                    hint: format!("Leave it out, or name some. {}", there_are()),
                }));
            }
            let toolsets = named(names.iter().copied()).map_err(|error| fault(error.of(place)))?;
            selection.keep(&union(&toolsets));
            let further: Vec<_> = toolsets.into_iter().filter(|name| !selection.toolsets.contains(name)).collect();
            selection.toolsets.extend(further);
        }
        if read_only {
            selection.keep(reads());
        }
        Ok(selection)
    }

    fn keep(&mut self, members: &Mask) {
        match &mut self.offered {
            Some(offered) => offered.narrow(members),
            None => self.offered = Some(members.clone()),
        }
    }

    /// Whether it holds an operation.
    #[must_use]
    pub fn holds(&self, entry: &Entry) -> bool {
        self.offered.as_ref().is_none_or(|offered| offered.has(entry))
    }

    /// Whether anything is withheld.
    #[must_use]
    pub const fn narrows(&self) -> bool {
        self.offered.is_some()
    }

    /// What is chosen, for people, such as `the toolsets tasks and documents, read-only`.
    #[must_use]
    pub fn about(&self) -> String {
        let mut chosen = Vec::new();
        match self.toolsets.as_slice() {
            [] if self.tools.is_empty() => chosen.push("all tools".to_owned()),
            [] => {}
            [one] => chosen.push(format!("the toolset {one}")),
            several => chosen.push(format!("the toolsets {}", several.join(", "))),
        }
        match self.tools.as_slice() {
            [] => {}
            [one] => chosen.push(format!("the tool {one}")),
            several => chosen.push(format!("the tools {}", several.join(", "))),
        }
        let mut about = chosen.join(" and ");
        if !self.excluded.is_empty() {
            about.push_str(&format!(" without {}", self.excluded.join(", ")));
        }
        if self.read_only {
            about.push_str(", read-only");
        }
        about
    }

    /// Why an operation is withheld.
    fn refusal(&self, entry: &Entry) -> Error {
        let tool = entry.spec.name;
        let held_by = || {
            let names: Vec<&str> = toolsets().iter().filter(|set| set.name != ALL && set.members.has(entry)).map(|set| set.name).collect();
            format!("{tool} is in {}", names.join(", "))
        };
        let more_than_reads = self.read_only && entry.spec.effect != Effect::Read;
        let (message, hint) = if self.by_host {
            let message = if more_than_reads {
                format!("this connection chose tools that only read ({READ_ONLY_HEADER} or ?readonly=1), and {tool} does more")
            } else {
                format!("this connection chose {} ({TOOLSETS_HEADER} or ?toolsets=), and {}", self.about(), held_by())
            };
            (
                message,
                "The host's configuration decides about it: tell the person which toolset is missing, and go on with the tools of tools/list.",
            )
        } else {
            let message = if self.excluded.contains(&tool) {
                format!("the operator of this server excludes {tool}")
            } else if more_than_reads {
                format!("this server is read-only, and {tool} does more than read")
            } else {
                format!("the operator of this server offers {}, and {}", self.about(), held_by())
            };
            (message, "The operator decides about it: tell the person, and go on with the tools of tools/list.")
        };
        Error::new(Kind::Forbidden, "FM-MCP-TOOLSET", message).hint(hint)
    }
}

impl Offer {
    fn selections(&self) -> impl Iterator<Item = &Selection> {
        [Some(&self.operator), self.session.as_ref(), self.request.as_ref()].into_iter().flatten().map(|selection| &**selection)
    }

    /// Whether all selections hold an operation.
    pub(super) fn holds(&self, entry: &Entry) -> bool {
        self.selections().all(|selection| selection.holds(entry))
    }

    /// Refuses an operation that a selection withholds.
    ///
    /// # Errors
    /// `FM-MCP-TOOLSET`, which says whose selection it is.
    pub(super) fn check(&self, entry: &Entry) -> Result<()> {
        self.selections().find(|selection| !selection.holds(entry)).map_or(Ok(()), |selection| Err(selection.refusal(entry)))
    }

    /// The operations that all selections hold; none if nothing is withheld.
    pub(super) fn mask(&self) -> Option<Mask> {
        self.selections().filter_map(|selection| selection.offered.as_ref()).fold(None, |mask: Option<Mask>, offered| match mask {
            None => Some(offered.clone()),
            Some(mut mask) => {
                mask.narrow(offered);
                Some(mask)
            }
        })
    }
}

/// What is wrong with a list of names, and what to do about it.
struct Fault {
    message: String,
    hint: String,
}

impl Fault {
    fn of(self, place: &str) -> Self {
        Self { message: format!("{place} {}", self.message), ..self }
    }
}

fn union(names: &[&str]) -> Mask {
    let mut members = Mask::of(|_| false);
    for toolset in toolsets().iter().filter(|toolset| names.contains(&toolset.name)) {
        members.widen(&toolset.members);
    }
    members
}

/// The toolsets of these names.
fn named<'a>(names: impl Iterator<Item = &'a str>) -> std::result::Result<Vec<&'static str>, Fault> {
    let mut found: Vec<&'static str> = Vec::new();
    for name in names {
        let Some(toolset) = toolsets().iter().find(|toolset| toolset.name == name) else {
            let known: Vec<&str> = toolsets().iter().map(|toolset| toolset.name).collect();
            return Err(Fault { message: unknown("toolset", name, &known), hint: there_are() });
        };
        if !found.contains(&toolset.name) {
            found.push(toolset.name);
        }
    }
    Ok(found)
}

/// The tools of these names, or of names that begin so.
fn matching(patterns: &[String]) -> std::result::Result<Vec<&'static str>, Fault> {
    let names: Vec<&'static str> = catalogue().tools().map(|entry| entry.spec.name).collect();
    let mut found: Vec<&'static str> = Vec::new();
    for pattern in patterns {
        let before = found.len();
        let known = found.clone();
        let covered = |name: &&&'static str| covers(pattern, name);
        found.extend(names.iter().filter(covered).filter(|name| !known.contains(name)));
        if found.len() == before && !names.iter().any(|name| covered(&name)) {
            return Err(Fault {
                message: unknown("tool", pattern, &names),
                hint: "`flowmaster-mcp tools --all` lists the tools.".to_owned(),
            });
        }
    }
    Ok(found)
}

fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let shown: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
    let meant = nearest(name.trim_end_matches('*'), known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    format!("names the {what} `{shown}`, which does not exist{meant}")
}

fn there_are() -> String {
    let names: Vec<&str> = toolsets().iter().map(|toolset| toolset.name).collect();
    format!("There are {}.", names.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn operator(toolsets: &[&str], tools: &[&str], excluded: &[&str], read_only: bool) -> Result<Selection> {
        Selection::of_operator(&list(toolsets), &list(tools), &list(excluded), read_only)
    }

    fn held(selection: &Selection) -> Vec<&'static str> {
        catalogue().tools().filter(|entry| selection.holds(entry)).map(|entry| entry.spec.name).collect()
    }

    #[test]
    fn every_tool_is_in_its_services_toolset_and_its_layers() {
        let mut names = HashSet::new();
        assert!(toolsets().iter().all(|toolset| names.insert(toolset.name) && toolset.tools().next().is_some()));
        assert!(SERVICES.iter().all(|service| service.layer.is_some()), "a service says no layer");
        for entry in catalogue().tools() {
            let of: Vec<&str> = toolsets().iter().filter(|toolset| toolset.members.has(entry)).map(|toolset| toolset.name).collect();
            assert!(of.contains(&entry.service.module) && of.contains(&entry.service.layer.unwrap().name()) && of.contains(&ALL), "{of:?}");
            assert_eq!(of.len(), 3 + usize::from(entry.spec.essential), "{}: {of:?}", entry.spec.name);
        }
    }

    #[test]
    fn the_essentials_are_few_and_short_and_hold_what_is_always_loaded() {
        let essentials = toolsets().iter().find(|toolset| toolset.name == "essentials").unwrap();
        let (count, tokens) = (essentials.tools().count(), essentials.tokens());
        assert!(count <= 20 && tokens <= 5000, "{count} tools take {tokens} tokens");
        let loaded: Vec<&str> = catalogue().iter().filter(|entry| entry.spec.always_loaded).map(|entry| entry.spec.name).collect();
        assert!((5..=8).contains(&loaded.len()), "{loaded:?}");
        for entry in catalogue().iter().filter(|entry| entry.spec.essential || entry.spec.always_loaded) {
            assert!(entry.spec.essential && entry.spec.tool, "{}", entry.spec.name);
        }
    }

    #[test]
    fn an_operator_adds_excludes_and_reads_only() {
        assert!(!Selection::default().narrows() && !operator(&[], &[], &[], false).unwrap().narrows());
        assert_eq!(held(&operator(&["all"], &[], &[], false).unwrap()).len(), catalogue().tools().count());
        let chosen = operator(&["registry"], &["tasks_g*", "tasks_get"], &["services_register"], false).unwrap();
        assert_eq!(held(&chosen), ["tasks_get", "services_deregister", "services_discover", "services_list", "services_check"]);
        assert_eq!(chosen.about(), "the toolset registry and the tool tasks_get without services_register");
        let reads = operator(&["registry"], &["tasks_respond"], &[], true).unwrap();
        assert_eq!(held(&reads), ["services_discover", "services_list"]);
        let excluded = operator(&[], &[], &["tasks_*"], false).unwrap();
        assert_eq!(held(&excluded).len(), catalogue().tools().filter(|entry| entry.service.module != "tasks").count());
    }

    #[test]
    fn what_does_not_exist_is_refused_with_what_does() {
        for (refused, says) in [
            (operator(&["task"], &[], &[], false), "did you mean tasks?"),
            (operator(&["payroll"], &[], &[], false), "payroll"),
            (operator(&[], &["task_list"], &[], false), "did you mean tasks_list?"),
            (operator(&[], &[], &["nothing_*"], false), "exclude_tools"),
            (operator(&[], &["auth_login"], &[], false), "auth_login"),
            (operator(&["tasks"], &[], &["tasks_*"], false), "leave no tool"),
        ] {
            let error = refused.unwrap_err();
            assert!(error.code() == "FM-CONFIG-TOOLSETS" && error.to_string().contains(says), "{error}");
            assert!(error.next_step().is_some());
        }
        for (lists, says) in
            [(("X-MCP-Toolsets", vec!["essential"]), "did you mean essentials?"), (("the URL", vec![]), "names no toolset")]
        {
            let error = Selection::of_host(&[lists], false).unwrap_err();
            assert!(error.code() == "FM-MCP-TOOLSETS" && error.to_string().contains(says), "{error}");
            assert!(error.next_step().unwrap().contains("essentials"), "{error:?}");
        }
    }

    #[test]
    fn selections_only_narrow_one_another_and_say_whose_they_are() {
        let host = |toolsets: &[&str], read_only| {
            let lists: Vec<(&str, Vec<&str>)> = if toolsets.is_empty() { vec![] } else { vec![("", toolsets.to_vec())] };
            Some(Arc::new(Selection::of_host(&lists, read_only).unwrap()))
        };
        let offer = |session, request| {
            let operator = Arc::new(operator(&["core"], &[], &["tasks_escalate"], false).unwrap());
            Offer { operator, session, request }
        };
        let offered = |offer: &Offer| -> Vec<&'static str> {
            let mask = offer.mask().unwrap();
            let names: Vec<&str> = catalogue().tools().filter(|entry| mask.has(entry)).map(|entry| entry.spec.name).collect();
            let one_by_one: Vec<&str> = catalogue().tools().filter(|entry| offer.holds(entry)).map(|entry| entry.spec.name).collect();
            assert_eq!(names, one_by_one);
            names
        };
        let narrowed = offer(host(&["tasks", "documents"], false), host(&[], true));
        assert_eq!(offered(&narrowed), ["tasks_get", "tasks_list", "tasks_history"]);
        let why = |tool: &str| narrowed.check(catalogue().get(tool).unwrap()).unwrap_err().to_string();
        assert!(why("tasks_escalate").contains("excludes tasks_escalate"), "{}", why("tasks_escalate"));
        assert!(why("documents_list").contains("offers the toolset core"), "{}", why("documents_list"));
        assert!(why("entities_get").contains("chose the toolsets tasks, documents"), "{}", why("entities_get"));
        assert!(why("tasks_assign").contains("only read"), "{}", why("tasks_assign"));
        narrowed.check(catalogue().get("tasks_get").unwrap()).unwrap();
        assert!(offered(&offer(host(&["documents"], false), None)).is_empty(), "what the operator withholds nobody gets back");
        let both = Selection::of_host(&[("", vec!["core"]), ("", vec!["essentials"])], false).unwrap();
        assert!(held(&both).iter().all(|name| catalogue().get(name).is_some_and(|entry| entry.spec.essential)));
    }
}
