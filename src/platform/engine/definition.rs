//! A process definition as it is stored, and as the engine walks it.

pub mod agent;
mod circles;
pub mod config;
pub mod exits;
pub mod findings;
pub mod flow;
pub mod graph;
pub mod integration;
mod meaning;
pub mod notification;
mod reader;
mod soundness;
pub mod validate;

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use self::exits::Exit;
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
        let led_to: HashSet<String> = self.edges.iter().cloned().chain(self.exits().map(|way| way.edge)).map(|edge| edge.to).collect();
        self.nodes.iter().filter(|node| !led_to.contains(&node.id)).collect()
    }
}

/// A definition made ready for walking.
#[derive(Debug)]
pub struct Plan {
    nodes: HashMap<String, Node>,
    /// The connections, and after them the other ways out of nodes.
    edges: Vec<Edge>,
    /// The places of the connections that leave a node.
    leaving: HashMap<String, Vec<usize>>,
    /// The places of the other ways out of a node.
    exits: HashMap<(String, Exit), usize>,
    /// The places of the edges that lead to a node.
    entering: HashMap<String, Vec<usize>>,
    entry: Option<String>,
    variables: Vec<Variable>,
    kinds: HashMap<String, String>,
}

impl Plan {
    /// Makes a definition ready.
    #[must_use]
    pub fn new(definition: &Definition) -> Self {
        let mut edges = definition.connections();
        let mut leaving: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, edge) in edges.iter().enumerate() {
            leaving.entry(edge.from.clone()).or_default().push(place);
        }
        let mut exits = HashMap::new();
        for way in definition.exits() {
            exits.insert((way.edge.from.clone(), way.exit), edges.len());
            edges.push(way.edge);
        }
        let mut entering: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, edge) in edges.iter().enumerate() {
            entering.entry(edge.to.clone()).or_default().push(place);
        }
        Self {
            leaving,
            exits,
            entering,
            edges,
            variables: definition.variables.clone(),
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

    /// The variables that are declared.
    #[must_use]
    pub fn variables(&self) -> &[Variable] {
        &self.variables
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

    /// The way out of a node beside its connections, with its place.
    #[must_use]
    pub fn exit(&self, id: &str, exit: Exit) -> Option<(usize, &str)> {
        let place = *self.exits.get(&(id.to_owned(), exit))?;
        Some((place, &self.edges.get(place)?.to))
    }

    /// The nodes from which one can be reached, that one aside.
    #[must_use]
    pub fn before(&self, id: &str) -> HashSet<&str> {
        let mut found: HashSet<&str> = HashSet::new();
        let mut next = vec![id];
        while let Some(node) = next.pop() {
            for edge in self.entering(node).iter().filter_map(|place| self.edges.get(*place)) {
                if edge.from != id && found.insert(&edge.from) {
                    next.push(&edge.from);
                }
            }
        }
        found
    }

    /// The places of the connections that lead to a node.
    #[must_use]
    pub fn entering(&self, id: &str) -> &[usize] {
        self.entering.get(id).map_or(&[], Vec::as_slice)
    }
}
