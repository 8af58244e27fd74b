//! Where tokens can come to stand for good: the markings of a net, explored up to a bound.
//!
//! One token is moved at a time, the one that has come furthest. Which one does not matter for where they end up standing,
//! since no move takes a token from another node; so branches are not explored in every mixture of their steps.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::net::{Gives, Net, Takes};

/// Most markings that are looked at.
const MAX_MARKINGS: usize = 20_000;
/// Most tokens of all markings together that are looked at.
const MAX_WORK: usize = 4_000_000;
/// Most tokens on one connection: a loop that makes more of them makes any number.
const MAX_ON_ONE: usize = 2;

/// Most connections of an inclusive choice of which every combination is looked at.
const MAX_CHOICES: usize = 6;

/// The connections with tokens, in order; one with two tokens is there twice.
type Marking = Vec<usize>;

/// What the exploration saw.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// The joins at which tokens stand when none can move.
    pub(super) stuck: BTreeSet<usize>,
    /// The joins that were complete at some time.
    pub(super) complete: BTreeSet<usize>,
    /// Whether every marking was looked at.
    pub(super) is_whole: bool,
}

/// Moves tokens from the entry on in every way.
pub(super) fn explore(net: &Net) -> Moved {
    let ranks = ranks(net);
    let mut moved = Moved { is_whole: true, ..Moved::default() };
    let mut seen: HashSet<Marking> = HashSet::new();
    let mut ahead: Vec<Marking> = vec![vec![net.begin()]];
    let mut work = 0;
    while let Some(marking) = ahead.pop() {
        if marking.is_empty() || !seen.insert(marking.clone()) {
            continue;
        }
        work += marking.len();
        if seen.len() > MAX_MARKINGS || work > MAX_WORK {
            moved.is_whole = false;
            break;
        }
        let Some(token) = movable(net, &ranks, &marking) else {
            moved.stuck.extend(marking.iter().map(|way| net.to[*way]));
            continue;
        };
        let node = net.to[token];
        let mut rest = marking;
        match net.takes[node] {
            Takes::Each => remove(&mut rest, token),
            Takes::Present => rest.retain(|way| net.to[*way] != node),
            Takes::All => {
                moved.complete.insert(node);
                net.entering[node].iter().for_each(|way| remove(&mut rest, *way));
            }
        }
        let ways = &net.leaving[node];
        let outcomes: Vec<Marking> = match net.gives[node] {
            _ if ways.is_empty() => vec![rest],
            Gives::All => vec![with(&rest, ways)],
            Gives::Some if ways.len() > MAX_CHOICES => {
                moved.is_whole = false;
                vec![with(&rest, ways)]
            }
            Gives::Some => (1..1_usize << ways.len())
                .map(|chosen| {
                    let some = ways.iter().enumerate().filter(|(place, _)| (chosen >> place) & 1 == 1);
                    with(&rest, &some.map(|(_, way)| *way).collect::<Vec<_>>())
                })
                .collect(),
            Gives::One => ways.iter().map(|way| with(&rest, &[*way])).collect(),
        };
        for outcome in outcomes {
            if outcome.windows(MAX_ON_ONE + 1).any(|several| several.first() == several.last()) {
                moved.is_whole = false;
            } else {
                ahead.push(outcome);
            }
        }
    }
    moved
}

/// The token that can move and has come furthest.
fn movable(net: &Net, ranks: &[usize], marking: &Marking) -> Option<usize> {
    let mut sides: HashMap<usize, usize> = HashMap::new();
    let mut before = None;
    for way in marking {
        if before != Some(way) {
            *sides.entry(net.to[*way]).or_default() += 1;
        }
        before = Some(way);
    }
    let moves = |way: &&usize| {
        let node = net.to[**way];
        match net.takes[node] {
            Takes::Each => true,
            Takes::All => sides.get(&node) == Some(&net.entering[node].len()),
            Takes::Present => false,
        }
    };
    let first = marking.iter().filter(moves).max_by_key(|way| ranks[net.to[**way]]).copied();
    // Nothing else moves: what could still come to it would.
    first.or_else(|| {
        let waits = |way: &&usize| net.takes[net.to[**way]] == Takes::Present;
        marking.iter().filter(waits).copied().find(|way| {
            let node = net.to[*way];
            let towards = net.towards(node);
            marking.iter().all(|other| net.to[*other] == node || !towards[*other])
        })
    })
}

fn remove(marking: &mut Marking, way: usize) {
    if let Ok(place) = marking.binary_search(&way) {
        marking.remove(place);
    }
}

fn with(marking: &Marking, ways: &[usize]) -> Marking {
    let mut more = marking.clone();
    more.extend(ways);
    more.sort_unstable();
    more
}

/// How far a node is from the entry: after all that lead to it, loops aside.
fn ranks(net: &Net) -> Vec<usize> {
    let mut ranks = vec![0; net.leaving.len()];
    let mut reached = vec![false; net.leaving.len()];
    let mut rank = net.leaving.len();
    let entry = net.to[net.begin()];
    reached[entry] = true;
    // The node, and how many of its connections were followed.
    let mut path = vec![(entry, 0)];
    while let Some((node, followed)) = path.last_mut() {
        if let Some(way) = net.leaving[*node].get(*followed) {
            *followed += 1;
            let to = net.to[*way];
            if !reached[to] {
                reached[to] = true;
                path.push((to, 0));
            }
        } else {
            ranks[*node] = rank;
            rank -= 1;
            path.pop();
        }
    }
    ranks
}
