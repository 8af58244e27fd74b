//! Texts with places such as `{{taskTitle}}`, which take the values of a notification.

use std::collections::BTreeMap;

/// Longest name of a place.
const MAX_NAME: usize = 64;

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    /// As written.
    Literal(&'t str),
    /// The value of a name.
    Place(&'t str),
}

/// Reads a text; the failure says what is wrong with a place.
pub(crate) fn read(source: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("{{") {
        let (inside, behind) = after.split_once("}}").ok_or("has a `{{` without `}}`")?;
        let name = inside.trim();
        if !is_name(name) {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
            return Err(format!("has the place `{shown}`; a name has letters, digits and `_`, such as taskTitle"));
        }
        if !before.is_empty() {
            pieces.push(Piece::Literal(before));
        }
        pieces.push(Piece::Place(name));
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest));
    }
    Ok(pieces)
}

/// The names of the places.
pub(crate) fn names<'t>(pieces: &[Piece<'t>]) -> impl Iterator<Item = &'t str> {
    pieces.iter().filter_map(|piece| match piece {
        Piece::Place(name) => Some(*name),
        Piece::Literal(_) => None,
    })
}

/// Fills a text in; a name without a value leaves nothing. A value is never read as a text with places.
pub(crate) fn render(pieces: &[Piece<'_>], values: &BTreeMap<String, String>) -> String {
    let text = |piece: &Piece<'_>| match piece {
        Piece::Literal(literal) => (*literal).to_owned(),
        Piece::Place(name) => values.get(*name).cloned().unwrap_or_default(),
    };
    pieces.iter().map(text).collect()
}

/// A text as one line, for a subject: a line break in it would end the header.
pub(crate) fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_control()).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_take_their_values_once() {
        let pieces = read("Dear {{ userName }}: {{task_1}}{{task_1}} {x} }}").unwrap();
        assert_eq!(names(&pieces).collect::<Vec<_>>(), ["userName", "task_1", "task_1"]);
        let values = [("userName", "{{task_1}}"), ("task_1", "t")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(render(&pieces, &BTreeMap::from(values)), "Dear {{task_1}}: tt {x} }}");
    }

    #[test]
    fn what_is_not_a_name_is_no_place() {
        for source in ["{{", "{{a", "{{}}", "{{1a}}", "{{a.b}}", "{{a b}}", "{{{a}}}", "{{a|b}}"] {
            assert!(read(source).is_err(), "{source}");
        }
        assert!(read(&format!("{{{{{}}}}}", "a".repeat(65))).is_err());
    }

    #[test]
    fn a_subject_is_one_line() {
        assert_eq!(one_line("Approve\r\nBcc: eve@example.com\n"), "Approve Bcc: eve@example.com");
    }
}
