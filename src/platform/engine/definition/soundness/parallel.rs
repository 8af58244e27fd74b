//! Which connections can have tokens at the same time: the least relation that forks begin and nodes carry on.

use std::collections::HashMap;

use super::net::{Gives, Net, Takes};

/// The relation, as a square of flags.
#[derive(Debug)]
pub(super) struct Parallel {
    count: usize,
    flags: Vec<bool>,
}

impl Parallel {
    fn holds(&self, one: usize, other: usize) -> bool {
        self.flags[one * self.count + other]
    }

    fn set(&mut self, one: usize, other: usize) -> bool {
        let before = std::mem::replace(&mut self.flags[one * self.count + other], true);
        self.flags[other * self.count + one] = true;
        !before
    }

    /// The nodes at which tokens that run side by side come together without a join.
    pub(super) fn merges(&self, net: &Net) -> Vec<usize> {
        let meets = |node: &usize| {
            let ways = &net.entering[*node];
            net.takes[*node] == Takes::Each
                && ways.iter().enumerate().any(|(place, one)| {
                    !self.holds(*one, *one) && ways[..place].iter().any(|other| !self.holds(*other, *other) && self.holds(*one, *other))
                })
        };
        (0..net.entering.len()).filter(meets).collect()
    }

    /// The forks whose branches can have several tokens.
    pub(super) fn again(&self, net: &Net) -> Vec<usize> {
        let repeats = |node: &usize| net.gives[*node] != Gives::One && net.leaving[*node].iter().any(|way| self.holds(*way, *way));
        (0..net.leaving.len()).filter(repeats).collect()
    }
}

/// The relation of a net.
pub(super) fn of(net: &Net) -> Parallel {
    let (count, nodes) = (net.to.len(), net.leaving.len());
    let mut parallel = Parallel { count, flags: vec![false; count * count] };
    let mut fresh: Vec<(usize, usize)> = Vec::new();
    for node in (0..nodes).filter(|node| net.gives[*node] != Gives::One) {
        let ways = &net.leaving[node];
        for (place, one) in ways.iter().enumerate() {
            fresh.extend(ways[..place].iter().filter(|other| parallel.set(*one, **other)).map(|other| (*one, *other)).collect::<Vec<_>>());
        }
    }
    // How many connections of a node run beside a connection, and whether the node was gone through for it.
    let mut beside = vec![0_usize; count * nodes];
    let mut done = vec![false; count * nodes];
    let mut towards: HashMap<usize, Vec<bool>> = HashMap::new();
    while let Some((one, other)) = fresh.pop() {
        let both = [(one, other), (other, one)];
        for (stays, moves) in both.into_iter().take(if one == other { 1 } else { 2 }) {
            let node = net.to[moves];
            let cell = stays * nodes + node;
            beside[cell] += 1;
            let passes = match net.takes[node] {
                Takes::Each => true,
                Takes::All => beside[cell] == net.entering[node].len(),
                Takes::Present => !towards.entry(node).or_insert_with(|| net.towards(node))[stays],
            };
            if passes && !std::mem::replace(&mut done[cell], true) {
                for way in &net.leaving[node] {
                    if parallel.set(stays, *way) {
                        fresh.push((stays, *way));
                    }
                }
            }
        }
    }
    parallel
}
