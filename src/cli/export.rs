//! `export`: what the outside sees, as files; the project keeps them as goldens.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::Outcome;
use super::terminal::say;
use crate::api::events::payloads::PAYLOADS;
use crate::api::{Event, Problem, SERVICES, catalogue, schema};
use crate::config::{Settings, environment_of};
use crate::error::{Error, Kind, Result};
use crate::server::list_tools_json;

/// Where they go.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder; a README.md in it gets its generated tables again.
    folder: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome> {
    let mut files = files()?;
    let readme = arguments.folder.join("README.md");
    if let Ok(text) = std::fs::read_to_string(&readme) {
        files.insert(PathBuf::from("README.md"), fill_in(&text));
    }
    for (path, text) in &files {
        write(&arguments.folder.join(path), text)?;
    }
    say(format_args!("{} files in {}", files.len(), arguments.folder.display()));
    Ok(Outcome::Done)
}

fn write(path: &Path, text: &str) -> Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(path, text)).map_err(|error| {
        Error::configuration(Kind::Internal, "FM-CLI-EXPORT", format!("{} cannot be written: {error}", path.display()))
            .hint("Name a folder that you may write to.")
    })
}

/// The files by their path: the tools as a host lists them, and the schemas with all that the contract says.
///
/// # Errors
/// None in practice: schemas are JSON.
pub fn files() -> Result<BTreeMap<PathBuf, String>> {
    let mut files = BTreeMap::new();
    let mut put = |path: String, value: &Value| -> Result<()> {
        let mut text = serde_json::to_string_pretty(value).map_err(Error::internal)?;
        text.push('\n');
        files.insert(PathBuf::from(path), text);
        Ok(())
    };
    let mut all = list_tools_json();
    let all = all.get_mut("tools").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
    for service in SERVICES {
        let mine = |tool: &&Value| service.operations.iter().chain(service.composites).any(|operation| tool["name"] == operation.spec.name);
        put(format!("tools/{}.json", service.module), &json!({ "tools": all.iter().filter(mine).collect::<Vec<_>>() }))?;
        let shapes: Map<String, Value> = catalogue()
            .iter()
            .filter(|entry| entry.service.name == service.name)
            .map(|entry| (entry.spec.name.to_owned(), json!({ "request": entry.shape.input, "answer": entry.shape.answer })))
            .collect();
        put(format!("schemas/{}.json", service.module), &Value::Object(shapes))?;
    }
    put("schemas/config.json".to_owned(), &Value::Object(schema::of::<Settings>()))?;
    put("schemas/event.json".to_owned(), &Value::Object(schema::of::<Event>()))?;
    let payloads: Map<String, Value> = PAYLOADS.iter().map(|topic| (topic.name.to_owned(), Value::Object(topic.payload()))).collect();
    put("schemas/event_payloads.json".to_owned(), &Value::Object(payloads))?;
    put("schemas/problem.json".to_owned(), &Value::Object(schema::of::<Problem>()))?;
    Ok(files)
}

/// A README with its generated tables as they are now.
#[must_use]
pub fn fill_in(readme: &str) -> String {
    between(&between(readme, "tools", &tools_table()), "settings", &settings_table())
}

/// Replaces what stands between `<!-- NAME -->` and `<!-- /NAME -->`.
fn between(text: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    match text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1))) {
        Some((before, after)) => format!("{before}{begin}{table}{end}{after}"),
        None => text.to_owned(),
    }
}

fn tools_table() -> String {
    let mut table = "| tool | effect | what it does |\n|---|---|---|\n".to_owned();
    for entry in catalogue().tools() {
        let about = entry.shape.description.lines().next().unwrap_or_default();
        let effect = entry.spec.effect;
        let asks = if effect.asks() { ", asks" } else { "" };
        let _ = writeln!(table, "| `{}` | {}{asks} | {} |", entry.spec.name, effect.name(), about.replace('|', "\\|"));
    }
    table
}

fn settings_table() -> String {
    let mut table = "| in the file | variable | what it does |\n|---|---|---|\n".to_owned();
    rows("", &schema::of::<Settings>(), &mut table);
    table
}

fn rows(section: &str, schema: &Map<String, Value>, table: &mut String) {
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let Some(property) = property.as_object() else { continue };
        let setting = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
        if property.contains_key("properties") {
            rows(&setting, property, table);
            continue;
        }
        let about = property.get("description").and_then(Value::as_str).unwrap_or_default();
        let variable = environment_of(&setting).map_or_else(|| "the file alone".to_owned(), |variable| format!("`{variable}`"));
        let _ = writeln!(table, "| `{setting}` | {variable} | {} |", about.replace('|', "\\|"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        assert_eq!(between("a\n<!-- x -->\nold\n<!-- /x -->\nb", "x", "new\n"), "a\n<!-- x -->\nnew\n<!-- /x -->\nb");
        assert_eq!(between("a", "x", "new"), "a");
    }
}
