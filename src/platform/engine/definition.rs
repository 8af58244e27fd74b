//! A process definition as it is stored, and as the engine walks it.

pub mod agent;
pub mod config;
pub mod findings;
pub mod flow;
pub mod graph;
pub mod integration;
mod reader;
mod soundness;
pub mod validate;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::api::processes::{Edge, Node, NodeKind, Variable};

/// Most nodes of a process.
pub const MAX_NODES: usize = 500;
/// Most edges of a process.
pub const MAX_EDGES: usize = 2000;
/// Most branches of an execution that run side by side.
pub const MAX_BRANCHES: usize = 1000;

/// What a version of a process consists of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// Its steps.
    pub nodes: Vec<Node>,
    /// Its connections; none: the nodes run in order.
    #[serde(default)]
    pub edges: Vec<Edge>,
    /// The variables it declares.
    #[serde(default)]
    pub variables: Vec<Variable>,
}

impl Definition {
    /// Its connections, those that the order of the nodes stands for included.
    #[must_use]
    pub fn connections(&self) -> Vec<Edge> {
        if !self.edges.is_empty() {
            return self.edges.clone();
        }
        let follow = |pair: &[Node]| Edge { from: pair[0].id.clone(), to: pair[1].id.clone(), condition: None };
        self.nodes.windows(2).map(follow).collect()
    }

    /// The nodes where it can begin: those of the type start, or else those that nothing leads to.
    #[must_use]
    pub fn entries(&self) -> Vec<&Node> {
        let started: Vec<&Node> = self.nodes.iter().filter(|node| node.kind == NodeKind::Start).collect();
        if !started.is_empty() {
            return started;
        }
        if self.edges.is_empty() {
            return self.nodes.first().into_iter().collect();
        }
        self.nodes.iter().filter(|node| !self.edges.iter().any(|edge| edge.to == node.id)).collect()
    }
}

/// A definition made ready for walking.
#[derive(Debug)]
pub struct Plan {
    nodes: HashMap<String, Node>,
    edges: Vec<Edge>,
    /// The places of the edges that leave a node.
    leaving: HashMap<String, Vec<usize>>,
    /// The places of the edges that lead to a node.
    entering: HashMap<String, Vec<usize>>,
    entry: Option<String>,
    kinds: HashMap<String, String>,
}

impl Plan {
    /// Makes a definition ready.
    #[must_use]
    pub fn new(definition: &Definition) -> Self {
        let edges = definition.connections();
        let places_by = |end: fn(&Edge) -> &String| {
            let mut places: HashMap<String, Vec<usize>> = HashMap::new();
            for (place, edge) in edges.iter().enumerate() {
                places.entry(end(edge).clone()).or_default().push(place);
            }
            places
        };
        Self {
            leaving: places_by(|edge| &edge.from),
            entering: places_by(|edge| &edge.to),
            edges,
            kinds: definition.variables.iter().filter_map(|variable| Some((variable.name.clone(), variable.kind.clone()?))).collect(),
            entry: definition.entries().first().map(|node| node.id.clone()),
            nodes: definition.nodes.iter().map(|node| (node.id.clone(), node.clone())).collect(),
        }
    }

    /// Where an execution begins.
    #[must_use]
    pub fn entry(&self) -> Option<&str> {
        self.entry.as_deref()
    }

    /// The type that a variable is declared with.
    #[must_use]
    pub fn kind_of(&self, variable: &str) -> Option<&str> {
        self.kinds.get(variable).map(String::as_str)
    }

    /// A node by its id.
    #[must_use]
    pub fn node(&self, id: &str) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// The connections that leave a node, in the order written, each with its place.
    pub fn leaving(&self, id: &str) -> impl Iterator<Item = (usize, &Edge)> {
        self.leaving.get(id).into_iter().flatten().filter_map(|place| Some((*place, self.edges.get(*place)?)))
    }

    /// The places of the connections that lead to a node.
    #[must_use]
    pub fn entering(&self, id: &str) -> &[usize] {
        self.entering.get(id).map_or(&[], Vec::as_slice)
    }
}
