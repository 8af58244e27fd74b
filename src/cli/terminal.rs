//! What people read: results on stdout, everything else on stderr, colours on a terminal alone.

use std::fmt::Display;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};

use crate::api::Effect;
use crate::api::arguments::quote;
use crate::error::Error;

/// The widest that text is read well, and the narrowest that it is broken to, in columns.
const WIDEST: usize = 120;
const NARROWEST: usize = 20;

/// Writes a line to stdout. A reader that went away is not a failure of ours.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(anstream::stdout().lock(), "{line}");
}

/// Writes a line to stdout, and tells whether anybody reads it.
pub(crate) fn try_say(line: impl Display) -> io::Result<()> {
    writeln!(anstream::stdout().lock(), "{line}")
}

/// Writes the beginning of a line to stdout, seen at once.
#[cfg(feature = "platform")]
pub(crate) fn begin(text: impl Display) {
    let mut stdout = anstream::stdout().lock();
    let _ = write!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// Writes a line to stderr.
pub(crate) fn tell(line: impl Display) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// Says what went wrong and what to do next.
pub(crate) fn complain(error: &Error) {
    let tell = |text: String, indent| tell(wrap_at(&text, io::stderr().is_terminal().then(textwrap::termwidth), indent));
    tell(format!("{}: {} ({})", Paint.bad("error"), error.message(), error.code()), 2);
    for field in error.fields() {
        let name = field.pointer.trim_start_matches('/');
        tell(format!("  {}{}{}", Paint.strong(name), if name.is_empty() { "" } else { " " }, field.detail), 4);
    }
    if let Some(hint) = error.next_step() {
        tell(format!("  {hint}"), 2);
    }
}

/// Whether a person sits at stdin and stderr.
pub(crate) fn is_attended() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a person; anything but yes is no.
pub(crate) fn ask(question: &str) -> bool {
    let paint = Paint;
    tell("");
    for line in question.lines() {
        tell(format_args!("{} {}", paint.note("│"), line));
    }
    let _ = write!(anstream::stderr().lock(), "{} Yes or no? [y/N] ", paint.note("│"));
    let _ = anstream::stderr().flush();
    let mut answer = String::new();
    let _ = io::stdin().lock().read_line(&mut answer);
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// Colours; a stream that is not a terminal, or must not have them, leaves them out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint;

#[expect(clippy::unused_self, reason = "a text is painted by `Paint.good(text)`")]
impl Paint {
    /// What matters.
    pub(crate) fn strong(self, text: impl Display) -> String {
        paint(Style::new().bold(), text)
    }

    /// What is only beside.
    pub(crate) fn note(self, text: impl Display) -> String {
        paint(Style::new().dimmed(), text)
    }

    /// What went well.
    pub(crate) fn good(self, text: impl Display) -> String {
        paint(AnsiColor::Green.on_default(), text)
    }

    /// What wants care.
    pub(crate) fn care(self, text: impl Display) -> String {
        paint(AnsiColor::Yellow.on_default(), text)
    }

    /// What went wrong.
    pub(crate) fn bad(self, text: impl Display) -> String {
        paint(AnsiColor::Red.on_default().bold(), text)
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
}

fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Breaks a text for people at the width of the terminal, further lines indented. Where stdout is not a terminal, a line
/// stays one.
pub(crate) fn wrap(text: impl Display, indent: usize) -> String {
    wrap_at(&text.to_string(), io::stdout().is_terminal().then(textwrap::termwidth), indent)
}

fn wrap_at(text: &str, width: Option<usize>, indent: usize) -> String {
    // In less room than that an indent does not help.
    let Some(width) = width.filter(|width| *width >= indent + NARROWEST) else { return text.to_owned() };
    let indent = " ".repeat(indent);
    textwrap::fill(text, textwrap::Options::new(width.min(WIDEST)).subsequent_indent(&indent).break_words(false))
}

/// Text of the platform for a terminal: one line, without what would steer the terminal.
pub(crate) fn plain(text: &str) -> String {
    let text: String = text.chars().map(|c| if c == '\n' || c == '\t' { ' ' } else { c }).filter(|c| !c.is_control()).collect();
    if text.chars().count() > 400 { quote(&text) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_at_the_width_and_colours_take_no_room() {
        let text = format!("ok    name   {} and so on until the line is full", Paint.good("a word"));
        let wrapped = wrap_at(&text, Some(40), 13);
        let lines: Vec<&str> = wrapped.lines().collect();
        assert_eq!(lines.len(), 2, "{wrapped}");
        assert!(lines[1].starts_with(&" ".repeat(13)) && lines[1].trim_start() == "line is full", "{wrapped}");
        assert_eq!(wrap_at(&text, None, 13), text, "what no terminal shows stays one line");
        assert_eq!(wrap_at(&text, Some(25), 13), text);
    }
}
