//! Everyday requests find their tool by what tools/list says of it: hosts with many tools search them.
//!
//! `finding/requests.txt` has the requests: a line with a tool's name, then indented lines with one request each. They were
//! written without sight of the descriptions. No description is fitted to one of them, since people will use other words.

mod bm25;

use std::cmp::Reverse;

use bm25::Index;
use flowmaster_mcp::api::catalogue;
use serde_json::Value;

const REQUESTS: &str = include_str!("finding/requests.txt");
/// Least share of requests whose tool comes first: the aim, which is just reached.
const FIRST: f64 = 0.65;
/// Least share of requests whose tool is among the first three: the aim, which is just reached.
const AMONG_THREE: f64 = 0.85;
/// Least number of requests for a tool.
const REQUESTS_OF_A_TOOL: usize = 3;

/// The tools of the file, each with its requests.
fn requests() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut tools: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in REQUESTS.lines().filter(|line| !line.trim().is_empty()) {
        if line.starts_with(char::is_whitespace) {
            tools.last_mut().expect("a request follows its tool").1.push(line.trim());
        } else {
            tools.push((line.trim(), Vec::new()));
        }
    }
    tools
}

/// The words by which a host can find each tool: its name, title and description, and the names of its parameters.
fn index() -> Index {
    Index::new(catalogue().tools().map(|entry| {
        let parameters = entry.shape.listed.get("properties").and_then(Value::as_object).into_iter().flatten();
        let parameters: Vec<&str> = parameters.map(|(name, _)| name.as_str()).collect();
        (entry.spec.name, [entry.spec.name, entry.spec.title, &entry.shape.description, &parameters.join(" ")].join(" "))
    }))
}

#[test]
fn every_tool_has_three_requests_and_no_request_is_for_another() {
    let requests = requests();
    for (name, _) in &requests {
        assert!(catalogue().get(name).is_some_and(|entry| entry.spec.tool), "there is no tool {name}");
    }
    for entry in catalogue().tools() {
        let count: usize = requests.iter().filter(|(name, _)| *name == entry.spec.name).map(|(_, requests)| requests.len()).sum();
        assert!(count >= REQUESTS_OF_A_TOOL, "{} has {count} requests", entry.spec.name);
    }
}

#[test]
fn an_everyday_request_finds_its_tool_first_or_among_three() {
    let index = index();
    let (mut all, mut first, mut among_three) = (0, 0, 0);
    let mut worst = Vec::new();
    for (name, requests) in requests() {
        let places: Vec<usize> = requests.iter().map(|request| index.place(request, name)).collect();
        let within = |most: usize| places.iter().filter(|place| **place <= most).count();
        (all, first, among_three) = (all + places.len(), first + within(1), among_three + within(3));
        worst.push(((within(3), within(1)), format!("{name}: places {places:?}")));
    }
    worst.sort_by_key(|(within, line)| (*within, Reverse(line.clone())));
    let number = |count: usize| f64::from(u32::try_from(count).unwrap());
    let share = |count| number(count) / number(all);
    let worst: Vec<&str> = worst.iter().take(10).map(|(_, line)| line.as_str()).collect();
    assert!(
        share(first) >= FIRST && share(among_three) >= AMONG_THREE,
        "{first} of {all} requests find their tool first ({:.3}, least {FIRST}), {among_three} among three ({:.3}, least {AMONG_THREE}); \
         the worst tools:\n{}",
        share(first),
        share(among_three),
        worst.join("\n"),
    );
}
