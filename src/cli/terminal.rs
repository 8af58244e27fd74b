//! What people read: results on stdout, everything else on stderr, colours on a terminal alone.

use std::fmt::Display;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};

use crate::api::Effect;
use crate::api::arguments::quote;
use crate::error::Error;

/// Writes a line to stdout. A reader that went away is no failure of ours.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Writes the beginning of a line to stdout, seen at once.
#[cfg(feature = "platform")]
pub(crate) fn begin(text: impl Display) {
    let mut stdout = io::stdout().lock();
    let _ = write!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// Writes a line to stderr.
pub(crate) fn tell(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Says what went wrong and what to do next.
pub(crate) fn complain(error: &Error) {
    let paint = Paint::stderr();
    tell(format_args!("{}: {} ({})", paint.bad("error"), error.message(), error.code()));
    for field in error.fields() {
        let name = field.pointer.trim_start_matches('/');
        tell(format_args!("  {}{}{}", paint.strong(name), if name.is_empty() { "" } else { " " }, field.detail));
    }
    if let Some(hint) = error.next_step() {
        tell(format_args!("  {hint}"));
    }
}

/// Whether a person sits at stdin and stderr.
pub(crate) fn is_attended() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a person; anything but yes is no.
pub(crate) fn ask(question: &str) -> bool {
    let paint = Paint::stderr();
    tell("");
    for line in question.lines() {
        tell(format_args!("{} {}", paint.note("│"), line));
    }
    let _ = write!(io::stderr().lock(), "{} Yes or no? [y/N] ", paint.note("│"));
    let _ = io::stderr().flush();
    let mut answer = String::new();
    let _ = io::stdin().lock().read_line(&mut answer);
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// For what goes to stdout.
    pub(crate) fn stdout() -> Self {
        Self { on: wanted() && io::stdout().is_terminal() }
    }

    /// For what goes to stderr.
    pub(crate) fn stderr() -> Self {
        Self { on: wanted() && io::stderr().is_terminal() }
    }

    /// What matters.
    pub(crate) fn strong(self, text: impl Display) -> String {
        self.paint(Style::new().bold(), text)
    }

    /// What is only beside.
    pub(crate) fn note(self, text: impl Display) -> String {
        self.paint(Style::new().dimmed(), text)
    }

    /// What went well.
    pub(crate) fn good(self, text: impl Display) -> String {
        self.paint(AnsiColor::Green.on_default(), text)
    }

    /// What wants care.
    pub(crate) fn care(self, text: impl Display) -> String {
        self.paint(AnsiColor::Yellow.on_default(), text)
    }

    /// What went wrong.
    pub(crate) fn bad(self, text: impl Display) -> String {
        self.paint(AnsiColor::Red.on_default().bold(), text)
    }

    /// What an operation does to the world.
    pub(crate) fn effect(self, effect: Effect) -> String {
        let name = format!("{:<7}", effect.name());
        match effect {
            Effect::Read => self.note(name),
            Effect::Write | Effect::Send => name,
            Effect::Decide | Effect::Grant | Effect::Destroy => self.care(name),
        }
    }

    fn paint(self, style: Style, text: impl Display) -> String {
        if self.on { format!("{style}{text}{style:#}") } else { text.to_string() }
    }
}

/// See no-color.org; a dumb terminal shows the codes themselves.
fn wanted() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb")
}

/// Text of the platform for a terminal: one line, without what would steer the terminal.
pub(crate) fn plain(text: &str) -> String {
    let text: String = text.chars().map(|c| if c == '\n' || c == '\t' { ' ' } else { c }).filter(|c| !c.is_control()).collect();
    if text.chars().count() > 400 { quote(&text) } else { text }
}
