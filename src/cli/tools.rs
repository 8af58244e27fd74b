//! `tools`: what hosts see.

use serde_json::Value;

use super::Outcome;
use super::terminal::{Paint, say, wrap};
use crate::api::{Entry, SERVICES, arguments, catalogue, near};
use crate::error::{Error, Kind, Result};
use crate::server::list_tools_json;

/// Which tools, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// One tool with its arguments.
    name: Option<String>,
    /// Prints what tools/list answers.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome> {
    match (&arguments.name, arguments.json) {
        (None, true) => say(list_tools_json()),
        (None, false) => list(),
        (Some(name), json) => {
            let entry = find(name)?;
            if json { say(json_of(name)) } else { show(entry) }
        }
    }
    Ok(Outcome::Done)
}

/// The tool of that name, or the nearest.
pub(super) fn find(name: &str) -> Result<&'static Entry> {
    if let Some(entry) = catalogue().get(name).filter(|entry| entry.spec.tool) {
        return Ok(entry);
    }
    let names: Vec<&str> = catalogue().tools().map(|entry| entry.spec.name).collect();
    let error = Error::configuration(Kind::NotFound, "FM-CLI-TOOL", format!("there is no tool {}", arguments::quote(name)));
    Err(match near::nearest(name, &names) {
        Some(meant) => error.hint(format!("Did you mean {meant}? `flowmaster-mcp tools` lists them all.")),
        None => error.hint("`flowmaster-mcp tools` lists them all."),
    })
}

fn json_of(name: &str) -> Value {
    let mut all = list_tools_json();
    let tools = all.get_mut("tools").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
    tools.into_iter().find(|tool| tool["name"] == name).unwrap_or_default()
}

fn list() {
    let paint = Paint;
    for service in SERVICES {
        say(wrap(format_args!("{}  {}", paint.strong(service.name), paint.note(service.about)), 2));
        for entry in catalogue().tools().filter(|entry| entry.service.name == service.name) {
            let about = entry.shape.description.lines().next().unwrap_or_default();
            say(wrap(format_args!("  {:<26} {} {about}", entry.spec.name, paint.effect(entry.spec.effect)), 37));
        }
        say("");
    }
    say(wrap(
        paint.note("A person is asked before what decides, grants or destroys. `flowmaster-mcp tools NAME` shows a tool's arguments."),
        0,
    ));
}

fn show(entry: &Entry) {
    let paint = Paint;
    let spec = &entry.spec;
    say(format_args!("{}  {}", paint.strong(spec.name), spec.title));
    say(format_args!("{}\n", wrap(&entry.shape.description, 0)));
    say(format_args!("  route       {} {}", spec.method.name(), spec.path));
    say(format_args!("  effect      {}{}", spec.effect.name(), if spec.effect.asks() { ", a person is asked" } else { "" }));
    if let Some(permission) = spec.permission {
        say(format_args!("  permission  {permission}"));
    }
    let Some(properties) = entry.shape.input.get("properties").and_then(Value::as_object).filter(|all| !all.is_empty()) else {
        return;
    };
    let required = entry.shape.input.get("required").and_then(Value::as_array);
    say("\nArguments:");
    for (name, property) in properties {
        let needed = required.is_some_and(|required| required.iter().any(|needed| needed == name));
        let kind = property.get("type").and_then(Value::as_str).unwrap_or_default();
        let about = property.get("description").and_then(Value::as_str).unwrap_or_default();
        let note = if needed { paint.care(format_args!("{kind}, required")) } else { paint.note(kind) };
        say(wrap(format_args!("  {name:<14} {note}: {about}"), 17));
    }
}
