//! A selection of tools: the operator's, or that of a host.

use std::sync::LazyLock;

use super::{ALL, Mask, READ_ONLY_HEADER, TOOLSETS_HEADER, toolsets};
use crate::api::near::nearest;
use crate::api::{Effect, Entry, catalogue};
use crate::error::{Error, Kind, Result};
use crate::server::consent::policy::covers;

/// Which tools the operator offers, or which of them a host wants; all of them unless it says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// What is offered; none if nothing is withheld.
    pub(super) offered: Option<Mask>,
    toolsets: Vec<&'static str>,
    tools: Vec<&'static str>,
    excluded: Vec<&'static str>,
    read_only: bool,
    by_host: bool,
    /// Whether the operator opened routes that no tool covers.
    any_route: bool,
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
        let is_left = |entry: &Entry| selection.offered.as_ref().is_none_or(|offered| offered.has(entry));
        if !catalogue().tools().any(is_left) {
            return Err(Error::configuration(
                Kind::Invalid,
                "FM-CONFIG-TOOLSETS",
                "toolsets, tools, exclude_tools and read_only leave no tool",
            )
            .hint("`flowmaster-mcp tools --all` lists the tools."));
        }
        Ok(selection)
    }

    /// The same selection, with the tool that calls routes which no other tool covers; it is off unless that is said.
    #[must_use]
    pub const fn with_any_route(mut self, is_open: bool) -> Self {
        self.any_route = is_open;
        self
    }

    /// A host's selection: each list of toolsets narrows it, each under the name by which an error tells where it stands.
    ///
    /// # Errors
    /// `FM-MCP-TOOLSETS`: a list is empty, or a toolset does not exist.
    pub(in crate::server) fn of_host(lists: &[(&str, Vec<&str>)], read_only: bool) -> Result<Self> {
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
        self.opens(entry) && self.offered.as_ref().is_none_or(|offered| offered.has(entry))
    }

    /// Whether an operation is on as far as this selection decides about it.
    const fn opens(&self, entry: &Entry) -> bool {
        !entry.spec.names_route || self.any_route || self.by_host
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
            about = format!("{about} without {}", self.excluded.join(", "));
        }
        if self.read_only {
            about.push_str(", read-only");
        }
        about
    }

    /// Why an operation is withheld.
    pub(super) fn refusal(&self, entry: &Entry) -> Error {
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
            let message = if !self.opens(entry) {
                format!("{tool} is off unless the operator of this server sets upstream.gateway_request")
            } else if self.excluded.contains(&tool) {
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
    let mut members = Mask::none();
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
    if patterns.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&'static str> = catalogue().tools().map(|entry| entry.spec.name).collect();
    let mut found: Vec<&'static str> = Vec::new();
    for pattern in patterns {
        let mut covered = names.iter().filter(|name| covers(pattern, name)).peekable();
        if covered.peek().is_none() {
            return Err(Fault {
                message: unknown("tool", pattern, &names),
                hint: "`flowmaster-mcp tools --all` lists the tools.".to_owned(),
            });
        }
        for name in covered {
            if !found.contains(name) {
                found.push(name);
            }
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
    fn an_operator_adds_excludes_and_reads_only() {
        assert!(!Selection::default().narrows() && !operator(&[], &[], &[], false).unwrap().narrows());
        let all = operator(&["all"], &[], &[], false).unwrap();
        assert_eq!(held(&all).len() + 1, catalogue().tools().count(), "routes that no tool covers are off");
        assert_eq!(held(&all.with_any_route(true)).len(), catalogue().tools().count());
        let chosen = operator(&["registry"], &["tasks_g*", "tasks_get"], &["services_register"], false).unwrap();
        assert_eq!(held(&chosen), ["tasks_get", "services_deregister", "services_discover", "services_list", "services_check"]);
        assert_eq!(chosen.about(), "the toolset registry and the tool tasks_get without services_register");
        let reads = operator(&["registry"], &["tasks_respond"], &[], true).unwrap();
        assert_eq!(held(&reads), ["services_discover", "services_list"]);
        let excluded = operator(&[], &[], &["tasks_*"], false).unwrap().with_any_route(true);
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
    fn the_lists_of_a_host_narrow_each_other() {
        let both = Selection::of_host(&[("", vec!["core"]), ("", vec!["essentials"])], false).unwrap();
        assert!(held(&both).iter().all(|name| catalogue().get(name).is_some_and(|entry| entry.spec.essential)));
    }
}
