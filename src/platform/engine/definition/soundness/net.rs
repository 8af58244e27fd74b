//! A process as places and transitions: each connection is a place for tokens, each node moves them.

use std::collections::HashMap;

use crate::platform::engine::definition::Definition;
use crate::platform::engine::definition::config::{self, Mode};

/// How a node takes the tokens that come to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// One by one.
    Each,
    /// One of each connection, together.
    All,
    /// All that there are, once no other can come.
    Present,
}

/// How a node passes a token on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    /// To one of its connections.
    One,
    /// To all of them.
    All,
    /// To any of them, at least one.
    Some,
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
        for edge in definition.connections().into_iter().chain(definition.exits().map(|way| way.edge)) {
            if let (Some(from), Some(to)) = (places.get(edge.from.as_str()), places.get(edge.to.as_str())) {
                net.leaving[*from].push(net.to.len());
                net.connect(*to);
            }
        }
        if let Some(entry) = definition.entries().first().and_then(|node| places.get(node.id.as_str())) {
            net.connect(*entry);
        }
        for (place, node) in definition.nodes.iter().enumerate() {
            let (gives, takes) = match config::mode_of(node) {
                Some(Mode::All) => (Gives::All, Takes::All),
                Some(Mode::Some) => (Gives::Some, Takes::Present),
                _ => continue,
            };
            net.gives[place] = gives;
            if net.entering[place].len() > 1 {
                net.takes[place] = takes;
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
        self.takes.iter().any(|takes| *takes != Takes::Each)
            || self.gives.iter().zip(&self.leaving).any(|(gives, ways)| *gives != Gives::One && ways.len() > 1)
    }

    /// The connections by which a token can still come to a node.
    pub(super) fn towards(&self, node: usize) -> Vec<bool> {
        let mut from = vec![0; self.to.len()];
        for (place, ways) in self.leaving.iter().enumerate() {
            for way in ways {
                from[*way] = place;
            }
        }
        let mut found = vec![false; self.to.len()];
        let mut next: Vec<usize> = self.entering[node].clone();
        while let Some(way) = next.pop() {
            if !std::mem::replace(&mut found[way], true) && way != self.begin() && from[way] != node {
                next.extend(&self.entering[from[way]]);
            }
        }
        found
    }
}
