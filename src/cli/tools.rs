//! `tools`: what a host of this caller gets, with `--all` why it does not get the rest, and the toolsets there are.

mod parameters;
mod toolsets;

use rmcp::model::Tool;
use serde_json::{Value, json};

use self::parameters::Parameter;
use super::Outcome;
use super::setup::connection::Connection;
use super::terminal::{Paint, plain, say, wrap};
use crate::api::{Entry, SERVICES, arguments, catalogue, near};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::server::{Listed, list_tools_json};

/// The member of a tool's `_meta` that says why it is not offered.
const WITHHELD: &str = "flowmaster/notOffered";

/// Which tools, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// One tool with its arguments.
    name: Option<String>,
    /// Shows the tools that this caller is not offered as well, with the reason.
    #[arg(long)]
    all: bool,
    /// Prints what tools/list answers, and the toolsets.
    #[arg(long)]
    json: bool,
}

/// A tool as it is shown.
struct Shown {
    entry: &'static Entry,
    tool: Value,
    /// Why it is not offered.
    withheld: Option<String>,
}

pub(super) async fn run(arguments: &Arguments, config: &Config) -> Result<Outcome> {
    let named = arguments.name.as_deref().map(find).transpose()?;
    let mut tools = match offered(config).await {
        Ok(tools) => tools,
        // A host that starts this program gets no list at all then.
        Err(error) if arguments.all || named.is_some() => withheld_for(&error)?,
        Err(error) => {
            let next = error.next_step().map(|step| format!("{step} ")).unwrap_or_default();
            return Err(error.hint(format!("{next}`flowmaster-mcp tools --all` lists every tool.")));
        }
    };
    if let Some(entry) = named {
        let Some(tool) = tools.into_iter().find(|tool| tool.entry.spec.name == entry.spec.name) else {
            return Err(Error::internal(format!("{} is not listed", entry.spec.name)));
        };
        if arguments.json {
            say(tool.json());
        } else {
            show(&tool);
        }
        return Ok(Outcome::Done);
    }
    let withheld = tools.iter().filter(|tool| tool.withheld.is_some()).count();
    if !arguments.all {
        tools.retain(|tool| tool.withheld.is_none());
    }
    if arguments.json {
        say(json!({ "tools": tools.iter().map(Shown::json).collect::<Vec<_>>(), "toolsets": toolsets::json() }));
    } else {
        list(&tools, withheld, arguments.all);
        toolsets::list();
    }
    Ok(Outcome::Done)
}

impl Shown {
    fn new(listed: Listed) -> Result<Self> {
        let withheld = listed.withheld.map(|error| plain(error.message()));
        Ok(Self { entry: listed.entry, tool: of(&listed.tool)?, withheld })
    }

    /// The tool as `tools/list` has it; one that is not offered says so in its `_meta`.
    fn json(&self) -> Value {
        let mut tool = self.tool.clone();
        if let (Some(why), Some(meta)) = (&self.withheld, tool.get_mut("_meta").and_then(Value::as_object_mut)) {
            meta.insert(WITHHELD.to_owned(), why.as_str().into());
        }
        tool
    }
}

fn of(tool: &Tool) -> Result<Value> {
    serde_json::to_value(tool).map_err(Error::internal)
}

/// Every tool with what the server decides for whom this process speaks for.
async fn offered(config: &Config) -> Result<Vec<Shown>> {
    let connection = Connection::new(config)?;
    let listed = async {
        let caller = connection.caller().await?;
        connection.client.extensions().learn().await;
        Ok::<_, Error>(connection.app()?.listing(&caller))
    }
    .await;
    connection.close().await;
    listed?.into_iter().map(Shown::new).collect()
}

/// Every tool where there is no caller, and why there is none.
fn withheld_for(error: &Error) -> Result<Vec<Shown>> {
    let mut all = list_tools_json();
    let tools = all.get_mut("tools").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
    let why = plain(error.message());
    tools
        .into_iter()
        .map(|tool| Ok(Shown { entry: find(tool["name"].as_str().unwrap_or_default())?, tool, withheld: Some(why.clone()) }))
        .collect()
}

/// The tool of that name, or the nearest.
pub(super) fn find(name: &str) -> Result<&'static Entry> {
    if let Some(entry) = catalogue().get(name).filter(|entry| entry.spec.tool) {
        return Ok(entry);
    }
    let names: Vec<&str> = catalogue().tools().map(|entry| entry.spec.name).collect();
    let error = Error::configuration(Kind::NotFound, "FM-CLI-TOOL", format!("there is no tool {}", arguments::quote(name)));
    Err(match near::nearest(name, &names) {
        Some(meant) => error.hint(format!("Did you mean {meant}? `flowmaster-mcp tools --all` lists them all.")),
        None => error.hint("`flowmaster-mcp tools --all` lists them all."),
    })
}

fn list(tools: &[Shown], withheld: usize, all: bool) {
    let paint = Paint;
    for service in SERVICES {
        let mut of_service = tools.iter().filter(|tool| tool.entry.service.name == service.name).peekable();
        if of_service.peek().is_none() {
            continue;
        }
        say(wrap(format_args!("{}  {}", paint.strong(service.name), paint.note(service.about)), 2));
        for Shown { entry, withheld, .. } in of_service {
            let about = entry.shape.description.lines().next().unwrap_or_default();
            say(wrap(format_args!("  {:<26} {} {about}", entry.spec.name, paint.effect(entry.spec.effect)), 37));
            if let Some(why) = withheld {
                say(wrap(format_args!("{:37}{} {why}", "", paint.care("not offered:")), 37));
            }
        }
        say("");
    }
    let hidden = match withheld {
        0 => String::new(),
        count if all => format!("{count} of these tools are not offered to this caller. "),
        count => format!("{count} further tools are not offered to this caller; `flowmaster-mcp tools --all` shows them with the reason. "),
    };
    let next = "A person is asked before what decides, grants or destroys. `flowmaster-mcp tools NAME` shows a tool's arguments.";
    say(wrap(paint.note(format_args!("{hidden}{next}")), 0));
}

fn show(tool: &Shown) {
    let paint = Paint;
    let entry = tool.entry;
    let spec = &entry.spec;
    say(format_args!("{}  {}", paint.strong(spec.name), spec.title));
    say(format_args!("{}\n", wrap(&entry.shape.description, 0)));
    if !spec.is_composite() {
        say(format_args!("  route       {} {}", spec.method.name(), spec.path));
    }
    let asks = tool.tool["annotations"]["destructiveHint"] == true;
    say(format_args!("  effect      {}{}", spec.effect.name(), if asks { ", a person is asked" } else { "" }));
    if let Some(permission) = spec.permission {
        say(format_args!("  permission  {permission}"));
    }
    if let Some(why) = &tool.withheld {
        say(wrap(format_args!("  {} {why}", paint.care("not offered:")), 14));
    }
    let (parameters, whole) = parameters::of(&entry.shape.input);
    if parameters.is_empty() {
        return;
    }
    say("\nArguments:");
    for Parameter { depth, name, kind, required, about } in parameters {
        let indent = 2 + 2 * depth;
        let note = if required { paint.care(format_args!("{kind}, required")) } else { paint.note(kind) };
        let width = 14_usize.saturating_sub(2 * depth);
        let about = if about.is_empty() { String::new() } else { format!(": {about}") };
        say(wrap(format_args!("{:indent$}{name:<width$} {note}{about}", ""), indent + width + 1));
    }
    if !whole {
        say(paint.note(format_args!("  and more, which `flowmaster-mcp tools {} --json` has", spec.name)));
    }
}
