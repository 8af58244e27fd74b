//! Numbers in JSON text that neither a 64-bit integer nor a double keeps exactly.
//!
//! `serde_json` rounds them in silence. A request that holds one is therefore rejected before it is read, and an answer
//! carries it as text.

use std::borrow::Cow;
use std::ops::Range;

/// A number that would be rounded: the JSON pointer to it, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inexact {
    pub(crate) pointer: String,
    pub(crate) number: String,
}

impl Inexact {
    /// The fault of the field, for its sender.
    pub(crate) fn fault(&self) -> String {
        let shown: String = self.number.chars().take(40).collect();
        format!("{shown} has more digits than a number keeps here (64-bit integers, double precision); send it as text")
    }
}

/// Returns the first number of a JSON text that would be rounded. The text may be broken; the parser says so then.
pub(crate) fn first_inexact(json: &[u8]) -> Option<Inexact> {
    let mut found = None;
    Scan::new(json).run(|scan, token| {
        found = Some(Inexact { pointer: scan.pointer(), number: text(&json[token]).to_owned() });
        false
    });
    found
}

/// Puts the numbers of a JSON text that would be rounded into quotes.
pub(crate) fn quote_inexact(json: &[u8]) -> Cow<'_, [u8]> {
    let mut quoted = Vec::new();
    let mut copied = 0;
    Scan::new(json).run(|_, token| {
        quoted.extend_from_slice(&json[copied..token.start]);
        quoted.push(b'"');
        quoted.extend_from_slice(&json[token.clone()]);
        quoted.push(b'"');
        copied = token.end;
        true
    });
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    quoted.extend_from_slice(&json[copied..]);
    Cow::Owned(quoted)
}

/// The place of a value within its array or object.
enum Step {
    Item(usize),
    Field(Range<usize>),
}

/// One pass over a JSON text.
struct Scan<'a> {
    json: &'a [u8],
    path: Vec<Step>,
    at: usize,
}

impl<'a> Scan<'a> {
    const fn new(json: &'a [u8]) -> Self {
        Self { json, path: Vec::new(), at: 0 }
    }

    /// Tells of each inexact number until it is told to stop.
    fn run(&mut self, mut tell: impl FnMut(&Self, Range<usize>) -> bool) {
        while let Some(byte) = self.json.get(self.at) {
            match byte {
                b'"' => {
                    let text = self.text();
                    // Only a name is followed by a colon, which stands before any value.
                    if self.json[self.at..].trim_ascii_start().first() == Some(&b':')
                        && let Some(Step::Field(name)) = self.path.last_mut()
                    {
                        *name = text;
                    }
                    continue;
                }
                b'{' => self.path.push(Step::Field(0..0)),
                b'[' => self.path.push(Step::Item(0)),
                b'}' | b']' => drop(self.path.pop()),
                b',' => {
                    if let Some(Step::Item(place)) = self.path.last_mut() {
                        *place += 1;
                    }
                }
                b'-' | b'0'..=b'9' => {
                    let rest = &self.json[self.at..];
                    let length = rest.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
                    let token = self.at..self.at + length.unwrap_or(rest.len());
                    self.at = token.end;
                    if !is_exact(text(&self.json[token.clone()])) && !tell(self, token) {
                        return;
                    }
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    /// Passes over a text and returns what stands between its quotes.
    fn text(&mut self) -> Range<usize> {
        let start = self.at + 1;
        let mut end = start;
        while let Some(byte) = self.json.get(end) {
            match byte {
                b'"' => break,
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        let end = end.min(self.json.len());
        self.at = (end + 1).min(self.json.len());
        start..end
    }

    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.path {
            pointer.push('/');
            match step {
                Step::Item(place) => pointer.push_str(&place.to_string()),
                Step::Field(name) => pointer.push_str(&text(&self.json[name.clone()]).replace('~', "~0").replace('/', "~1")),
            }
        }
        pointer
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Whether a number is read as what it says: an integer of 64 bits, or a fraction whose shortest form as a double has
/// the same digits. A token that is not a number is left to the parser.
fn is_exact(token: &str) -> bool {
    // Any number so short is exact.
    if token.len() <= 15 && !token.contains(['e', 'E']) {
        return true;
    }
    if !token.contains(['.', 'e', 'E']) {
        return token.parse::<i64>().is_ok() || token.parse::<u64>().is_ok();
    }
    let Ok(read) = token.parse::<f64>() else { return true };
    read.is_finite() && digits(token) == digits(&format!("{read:e}"))
}

/// The significant digits of a number and the power of ten of the first of them.
fn digits(number: &str) -> Option<(String, i64)> {
    let number = number.trim_start_matches(['-', '+']);
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0');
    let first = i64::try_from(whole.len()).ok()? - i64::try_from(all.len() - significant.len()).ok()?;
    let significant = significant.trim_end_matches('0');
    if significant.is_empty() {
        return Some((String::new(), 0));
    }
    Some((significant.to_owned(), first.checked_add(exponent.parse::<i64>().ok()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_exact_if_it_is_read_as_it_is_written() {
        for exact in [
            "0",
            "-0",
            "19.5",
            "1.10",
            "100e-2",
            "9223372036854775807",
            "-9223372036854775808",
            "18446744073709551615",
            "0.30000000000000004",
            "1e22",
            "1E+2",
            "0.000",
            "5e-324",
            "1.7976931348623157e308",
            "0.0e10",
            "123456789012345.6",
        ] {
            assert!(is_exact(exact), "{exact}");
        }
        for rounded in [
            "18446744073709551616",
            "-9223372036854775809",
            "12345678901234567890123",
            "3.14159265358979323846",
            "1e400",
            "1e-400",
            "0.1234567890123456789",
            "9007199254740993.0",
        ] {
            assert!(!is_exact(rounded), "{rounded}");
        }
    }

    #[test]
    fn the_field_of_a_rounded_number_is_named() {
        let json = br#"{"a": "1,2\"[", "b/c": [1, {"12345678901234567890123": 12345678901234567890123}], "d": 1e999}"#;
        let found = first_inexact(json).unwrap();
        assert_eq!(found.pointer, "/b~1c/1/12345678901234567890123");
        assert_eq!(found.number, "12345678901234567890123");
        assert!(first_inexact(br#"{"a": [1.5, -2], "b": "12345678901234567890123"}"#).is_none());
        for broken in [&b"\"\\"[..], b"]}", b"{\"a", b"-", b"[1e", b"\xff"] {
            first_inexact(broken);
        }
    }

    #[test]
    fn rounded_numbers_of_an_answer_become_text() {
        let quoted = quote_inexact(br#"{"n":12345678901234567890123,"m":[1,0.1234567890123456789]}"#);
        assert_eq!(&*quoted, br#"{"n":"12345678901234567890123","m":[1,"0.1234567890123456789"]}"#);
        assert!(matches!(quote_inexact(b"[1,2.5]"), Cow::Borrowed(_)));
    }
}
