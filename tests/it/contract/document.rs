//! The contract as text: its routes and its JSON examples, each with the section it stands in.

use serde_json::Value;

const CONTRACT: &str = include_str!("flowmaster-backend.md");

/// Endpoints that are not operations: the gateway serves every path, and WebSockets are not calls.
const NOT_OPERATIONS: [&str; 4] = ["*", "WS /connect", "WS /channels/{id}/subscribe", "WS /channels/{id}/publish"];

/// A JSON block of the contract.
#[derive(Debug)]
pub struct Example {
    /// The number of its section, or the heading where it has none.
    pub section: &'static str,
    /// The caption before it, such as `Request Format`.
    pub caption: &'static str,
    /// The block without its elisions.
    pub json: Value,
}

/// The method and the path of every REST route, in the contract's order.
pub fn routes() -> Vec<(&'static str, &'static str)> {
    let mut routes = Vec::new();
    let mut listed = false;
    for line in CONTRACT.lines() {
        match line.strip_prefix("**") {
            Some(caption) => listed = caption.starts_with("Key Endpoints"),
            None if listed => {
                let Some(endpoint) = line.strip_prefix("- `").and_then(|line| line.split('`').next()) else { continue };
                if !NOT_OPERATIONS.contains(&endpoint) {
                    routes.push(endpoint.split_once(' ').unwrap_or_else(|| panic!("not a route: {line}")));
                }
            }
            None => {}
        }
    }
    routes
}

/// The heading of each service's section and the names of its important patterns, in the contract's order.
pub fn services() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut services: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut listed = false;
    for line in CONTRACT.lines() {
        if let Some(heading) = line.strip_prefix("### ").filter(|heading| heading.starts_with(|first: char| first.is_ascii_digit())) {
            services.push((heading, Vec::new()));
        } else if line.starts_with("**") || line.starts_with('#') {
            listed = line.starts_with("**Important Patterns");
        } else if let (true, Some(bullet), Some((_, patterns))) = (listed, line.strip_prefix("- "), services.last_mut()) {
            let bold = bullet.strip_prefix("**").and_then(|bold| bold.split("**").next());
            patterns.push(bold.unwrap_or_else(|| bullet.split(" — ").next().unwrap_or(bullet)).trim_end_matches(':'));
        }
    }
    services
}

/// Every JSON block, in the contract's order.
pub fn examples() -> Vec<Example> {
    let (mut section, mut caption) = ("", "");
    let mut examples = Vec::new();
    let mut lines = CONTRACT.lines();
    while let Some(line) = lines.next() {
        if let Some(heading) = line.strip_prefix("### ").or_else(|| line.strip_prefix("## ")) {
            section = heading.split_once(". ").map_or(heading, |(number, _)| number);
        } else if let Some(bold) = line.strip_prefix("**").and_then(|line| line.split(":**").next()) {
            caption = bold;
        } else if line == "```json" {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let json = serde_json::from_str(&without_elisions(&block.join("\n")));
            examples.push(Example { section, caption, json: json.unwrap_or_else(|error| panic!("{section} {caption}: {error}")) });
        }
    }
    examples
}

/// A block as JSON: the contract writes `{...}` for any object and `, ...` for more items.
fn without_elisions(block: &str) -> String {
    block.replace("{...}", "{}").replace(", ...]", "]")
}
