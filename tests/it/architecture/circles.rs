//! Circles of files: a file that is used, over others, by what it uses.
//!
//! A module and the modules inside it belong together, so an edge between them does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{code_of, sources};

type Module = Vec<String>;
type Graph = BTreeMap<Module, BTreeSet<Module>>;

/// The module of a file below `src`.
fn module_of(path: &Path) -> Module {
    path.with_extension("").components().map(|part| part.as_os_str().to_str().unwrap().to_owned()).collect()
}

/// The paths of a `use` tree, one each.
fn flattened(tree: &str, before: &[String], found: &mut Vec<Module>) {
    let (path, group) = tree.split_once('{').map_or((tree, None), |(path, group)| (path, group.rsplit_once('}').map(|(group, _)| group)));
    let path = path.split(" as ").next().unwrap_or_default();
    let mut whole = before.to_vec();
    whole.extend(path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty() && part != "self"));
    let Some(group) = group else { return found.push(whole) };
    let (mut depth, mut start) = (0, 0);
    for (index, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let one = group[start..index].trim();
                if !one.is_empty() {
                    flattened(one, &whole, found);
                }
                start = index + 1;
            }
            _ => {}
        }
    }
}

/// Where a path leads that is written in a module.
fn resolved(path: Module, module: &[String], files: &BTreeSet<Module>) -> Option<Module> {
    let mut names = path.into_iter().peekable();
    let mut whole: Module = match names.peek().map(String::as_str) {
        Some("crate") => Vec::new(),
        Some("super") => module.to_vec(),
        _ => return None,
    };
    for name in names {
        match name.as_str() {
            "crate" => {}
            "super" => drop(whole.pop()),
            _ => whole.push(name),
        }
    }
    while !whole.is_empty() && !files.contains(&whole) {
        whole.pop();
    }
    (!whole.is_empty()).then_some(whole)
}

/// The files that each file names in its `use` lines, tests left out.
fn graph(files: &[(Module, String)]) -> Graph {
    let known: BTreeSet<Module> = files.iter().map(|(module, _)| module.clone()).collect();
    let uses = |module: &Module, text: &str| {
        let code = code_of(text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default());
        let mut paths = Vec::new();
        for statement in code.split(';') {
            let Some(at) = statement.rfind("use ").filter(|at| statement[..*at].ends_with(['\n', ' ']) || *at == 0) else { continue };
            flattened(&statement[at + 4..], &[], &mut paths);
        }
        let targets = paths.into_iter().filter_map(|path| resolved(path, module, &known));
        targets.filter(|target| !target.starts_with(module) && !module.starts_with(target)).collect()
    };
    files.iter().map(|(module, text)| (module.clone(), uses(module, text))).collect()
}

/// The first circle that is found, as a way from a file back to itself.
fn circle(graph: &Graph) -> Option<Vec<Module>> {
    fn walk(at: &Module, graph: &Graph, way: &mut Vec<Module>, done: &mut BTreeSet<Module>) -> Option<Vec<Module>> {
        if let Some(start) = way.iter().position(|module| module == at) {
            return Some(way[start..].iter().chain([at]).cloned().collect());
        }
        if done.contains(at) {
            return None;
        }
        way.push(at.clone());
        let found = graph.get(at).into_iter().flatten().find_map(|next| walk(next, graph, way, done));
        way.pop();
        done.insert(at.clone());
        found
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|module| walk(module, graph, &mut Vec::new(), &mut done))
}

#[test]
fn no_files_of_a_module_use_each_other_in_a_circle() {
    for top in ["api", "auth", "cli", "client", "io", "platform", "server", "state"] {
        let files: Vec<_> = sources()
            .into_iter()
            .filter(|source| source.module == top && !source.path.ends_with("tests.rs"))
            .map(|source| (module_of(&source.path), source.text))
            .collect();
        assert!(files.len() > 2, "{top} has files");
        let found = circle(&graph(&files)).map(|way| way.iter().map(|module| module.join("/")).collect::<Vec<_>>().join(" -> "));
        assert_eq!(found, None, "a circle in {top}");
    }
}

#[test]
fn a_circle_is_found_over_groups_and_super() {
    let file = |path: &str, text: &str| (path.split('/').map(str::to_owned).collect(), text.to_owned());
    let mut files = vec![
        file("a", "mod b;\npub use b::B;"),
        file("a/b", "use super::{A, c::{self, C}};"),
        file("a/c", "use crate::a::d::D;"),
        file("a/d", "use super::A;\n#[cfg(test)]\nmod tests { use super::super::b; }"),
    ];
    assert_eq!(circle(&graph(&files)), None, "a parent and its children are not a circle, nor is a test");
    files[3].1 = "use crate::a::{\n    x,\n    b::B as Other,\n};".to_owned();
    let way: Vec<String> = circle(&graph(&files)).unwrap().iter().map(|module| module.join("/")).collect();
    assert_eq!(way, ["a/b", "a/c", "a/d", "a/b"]);
}
