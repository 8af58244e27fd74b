//! A process as places and transitions: each connection is a place for tokens, each node moves them.

use std::collections::HashMap;

use crate::api::processes::{Node, NodeKind};
use crate::platform::engine::definition::Definition;

/// How a node takes the tokens that come to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// One by one.
    Each,
    /// One of each connection, together.
    All,
}

/// How a node passes a token on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    /// To one of its connections.
    One,
    /// To all of them.
    All,
}

/// The connections by their numbers; the last one leads to the entry from outside.
#[derive(Debug)]
pub(super) struct Net {
    /// The node that a connection leads to.
    pub(super) to: Vec<usize>,
    /// The connections that lead to a node.
    pub(super) entering: Vec<Vec<usize>>,
    /// The connections that leave a node.
    pub(super) leaving: Vec<Vec<usize>>,
    pub(super) takes: Vec<Takes>,
    pub(super) gives: Vec<Gives>,
}

impl Net {
    pub(super) fn of(definition: &Definition) -> Self {
        let places: HashMap<&str, usize> = definition.nodes.iter().enumerate().map(|(place, node)| (node.id.as_str(), place)).collect();
        let count = definition.nodes.len();
        let mut net = Self {
            to: Vec::new(),
            entering: vec![Vec::new(); count],
            leaving: vec![Vec::new(); count],
            takes: vec![Takes::Each; count],
            gives: vec![Gives::One; count],
        };
        for edge in definition.connections() {
            if let (Some(from), Some(to)) = (places.get(edge.from.as_str()), places.get(edge.to.as_str())) {
                net.leaving[*from].push(net.to.len());
                net.connect(*to);
            }
        }
        if let Some(entry) = definition.entries().first().and_then(|node| places.get(node.id.as_str())) {
            net.connect(*entry);
        }
        for (place, node) in definition.nodes.iter().enumerate() {
            if is_and(node) {
                net.gives[place] = Gives::All;
                if net.entering[place].len() > 1 {
                    net.takes[place] = Takes::All;
                }
            }
        }
        net
    }

    fn connect(&mut self, to: usize) {
        self.entering[to].push(self.to.len());
        self.to.push(to);
    }

    /// The connection by which an execution begins.
    pub(super) fn begin(&self) -> usize {
        self.to.len() - 1
    }

    /// Whether any branch divides, or any node waits for several.
    pub(super) fn divides(&self) -> bool {
        self.takes.contains(&Takes::All) || self.gives.iter().zip(&self.leaving).any(|(gives, ways)| *gives == Gives::All && ways.len() > 1)
    }
}

fn is_and(node: &Node) -> bool {
    node.kind == NodeKind::Gateway && node.config.get("mode").is_some_and(|mode| mode == "and")
}
