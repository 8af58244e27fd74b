//! The wording of a template or a block: text with `{{name}}` where a variable or a block is inserted.

/// A part of a wording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    /// Text as written.
    Text(&'t str),
    /// The name of what is inserted, and its line, from 1.
    Name(&'t str, u32),
}

/// A fault of a wording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) line: u32,
    pub(super) message: String,
}

/// Longest name of a variable or block, in characters.
const MAX_NAME: usize = 100;
/// How a name is written, for messages.
pub(super) const NAMES: &str = "a name has up to 100 letters, digits, `_` and `-`, and begins with a letter or `_`";

/// Reads a wording. Values are inserted as they are and never read again, so a value cannot smuggle in another name.
///
/// `{{` always opens a name, and the next `}}` closes it. `}}` alone is text, as the end of JSON is.
pub(super) fn read(source: &str) -> (Vec<Piece<'_>>, Vec<Fault>) {
    let (mut pieces, mut faults) = (Vec::new(), Vec::new());
    let (mut rest, mut line) = (source, 1);
    while let Some((before, after)) = rest.split_once("{{") {
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        line += lines(before);
        let Some((inside, behind)) = after.split_once("}}") else {
            let message = "a `{{` has no `}}`; a text that holds `{{` itself goes in as the value of a variable".to_owned();
            faults.push(Fault { code: "BROKEN_BRACES", line, message });
            return (pieces, faults);
        };
        let name = inside.trim();
        if is_name(name) {
            pieces.push(Piece::Name(name, line));
        } else {
            let message = format!("{} between `{{{{` and `}}}}` is not a name; {NAMES}", crate::api::arguments::quote(inside));
            faults.push(Fault { code: "INVALID_NAME", line, message });
        }
        line += lines(inside);
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    (pieces, faults)
}

/// Whether a text can name a variable or a block.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
        && text.chars().count() <= MAX_NAME
}

/// A name that came from outside as a part of a JSON pointer: escaped and bounded.
pub(super) fn segment(name: &str) -> String {
    short(name).replace('~', "~0").replace('/', "~1")
}

/// A name that came from outside, bounded.
pub(super) fn short(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}

fn lines(text: &str) -> u32 {
    u32::try_from(text.matches('\n').count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wording_is_text_and_names_with_their_lines() {
        let (pieces, faults) = read("Dear {{ name }},\n{\"a\": {\"b\": {{value}}}}\n{{Größe}}");
        assert_eq!(faults, []);
        assert_eq!(
            pieces,
            [
                Piece::Text("Dear "),
                Piece::Name("name", 1),
                Piece::Text(",\n{\"a\": {\"b\": "),
                Piece::Name("value", 2),
                Piece::Text("}}\n"),
                Piece::Name("Größe", 3)
            ]
        );
    }

    #[test]
    fn broken_braces_and_wrong_names_are_told_with_their_line() {
        let codes = |source: &str| read(source).1.iter().map(|fault| (fault.code, fault.line)).collect::<Vec<_>>();
        assert_eq!(codes("a\n{{name"), [("BROKEN_BRACES", 2)]);
        assert_eq!(
            codes("{{}}\n{{a b}}{{1a}}\n{{{x}}}"),
            [("INVALID_NAME", 1), ("INVALID_NAME", 2), ("INVALID_NAME", 2), ("INVALID_NAME", 3)]
        );
        assert_eq!(codes(&format!("{{{{{}}}}}", "x".repeat(101))), [("INVALID_NAME", 1)]);
        assert_eq!(codes("no names, }} and { } are text"), []);
    }
}
