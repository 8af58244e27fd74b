//! The toolsets, by which an operator and hosts choose tools: what each holds and costs a model.

use serde_json::{Value, json};

use crate::cli::terminal::{Paint, say, wrap};
use crate::server::{Toolset, tokens_of, toolsets};

/// The toolsets as a table for people.
pub(super) fn list() {
    let paint = Paint;
    say(paint.strong("Toolsets"));
    for toolset in toolsets() {
        let cost = format!("{} tools, {} tokens", toolset.tools().count(), tokens_of(toolset));
        say(wrap(format_args!("  {:<14} {} {}", toolset.name, paint.note(format_args!("{cost:<24}")), toolset.about), 42));
    }
    say(wrap(
        paint.note("`--toolsets NAMES`, `--tools NAMES`, `--exclude-tools NAMES` and `--read-only` choose what hosts are offered.\n"),
        0,
    ));
}

/// The toolsets for programs.
pub(super) fn json() -> Value {
    let one = |toolset: &Toolset| {
        let names: Vec<&str> = toolset.tools().map(|entry| entry.spec.name).collect();
        json!({ "name": toolset.name, "about": toolset.about, "tools": names, "tokens": tokens_of(toolset) })
    };
    toolsets().iter().map(one).collect()
}
