//! The ways out of a node beside its connections: when its time is over, and when it fails.

use super::Definition;
use crate::api::processes::{Edge, Node, NodeKind};

/// Why a node is left by another way than a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// The time of its task is over.
    TimedOut,
    /// It failed.
    Failed,
}

/// A way out of a node.
#[derive(Debug, Clone)]
pub struct Way {
    /// When it is taken.
    pub exit: Exit,
    /// From where to where.
    pub edge: Edge,
    /// Where the definition says so, below the node.
    pub pointer: &'static str,
}

/// Whether a node waits for somebody, and may do so up to a time.
pub(super) fn waits_for_people(kind: &NodeKind) -> bool {
    matches!(kind, NodeKind::HumanTask | NodeKind::Message)
}

/// The ways out of a node that its configuration names.
#[must_use]
pub fn exits_of(node: &Node) -> Vec<Way> {
    let timeout = node.config.get("timeout").filter(|_| waits_for_people(&node.kind)).and_then(|timeout| timeout.get("to"));
    let works = !matches!(node.kind, NodeKind::Start | NodeKind::End | NodeKind::Gateway);
    // One that leads to its own step is an error, and no way.
    let failed = node.config.get("onError").filter(|to| works && to.as_str() != Some(&node.id));
    [(Exit::TimedOut, timeout, "/config/timeout/to"), (Exit::Failed, failed, "/config/onError")]
        .into_iter()
        .filter_map(|(exit, to, pointer)| {
            let edge = Edge { from: node.id.clone(), to: to?.as_str()?.to_owned(), condition: None };
            Some(Way { exit, edge, pointer })
        })
        .collect()
}

impl Definition {
    /// The ways out of all nodes beside the connections.
    pub fn exits(&self) -> impl Iterator<Item = Way> {
        self.nodes.iter().flat_map(exits_of)
    }
}
