//! Toolsets: named choices of tools, by which the operator and hosts narrow what is offered.
//!
//! A selection is worked out where it is named, so a call costs one bit of it. Selections only narrow: a tool is offered if
//! the operator's selection, the session's and the request's hold it.

mod offer;
mod selection;

use std::sync::LazyLock;

use crate::api::service::Layer;
use crate::api::{Entry, SERVICES, catalogue};

pub(super) use offer::Offer;
pub use selection::Selection;

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
}

impl Mask {
    fn none() -> Self {
        Self(vec![0; catalogue().entries().len().div_ceil(64)].into())
    }

    fn of(member: impl Fn(&Entry) -> bool) -> Self {
        let Self(mut words) = Self::none();
        for (place, _) in catalogue().entries().enumerate().filter(|(_, entry)| member(entry)) {
            if let Some(word) = words.get_mut(place / 64) {
                *word |= 1 << (place % 64);
            }
        }
        Self(words)
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

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
    fn what_is_always_loaded_is_essential_and_a_tool() {
        let loaded: Vec<&str> = catalogue().entries().filter(|entry| entry.spec.always_loaded).map(|entry| entry.spec.name).collect();
        assert!((5..=8).contains(&loaded.len()), "{loaded:?}");
        for entry in catalogue().entries().filter(|entry| entry.spec.essential || entry.spec.always_loaded) {
            assert!(entry.spec.essential && entry.spec.tool, "{}", entry.spec.name);
        }
    }
}
