//! Full-text search: which words of a record are found, and a person's words as a query that cannot be syntax.

use serde_json::Value;

/// Most text of one record that is indexed, in bytes.
const MAX_TEXT: usize = 256 * 1024;
/// Most words of a query that count.
const MAX_TERMS: usize = 32;

/// The text of a record that search looks at: its values, not the names of its fields.
pub(super) fn text_of(data: &Value) -> String {
    let mut text = String::new();
    collect(data, &mut text);
    text
}

fn collect(value: &Value, text: &mut String) {
    if text.len() >= MAX_TEXT {
        return;
    }
    match value {
        Value::String(value) => push(text, value),
        Value::Number(value) => push(text, &value.to_string()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, text)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, text)),
        Value::Null | Value::Bool(_) => {}
    }
}

fn push(text: &mut String, value: &str) {
    text.push_str(value);
    // An end of line keeps words of different fields from being read as one phrase by people; the index ignores it.
    text.push('\n');
}

/// How the words of a query are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// As whole words.
    Whole,
    /// As beginnings of words, when nothing was found by whole ones.
    Beginnings,
}

/// The query as FTS5 reads it: each word a quoted phrase, all of which must occur. `None` when nothing can be searched for.
pub(super) fn query_of(query: &str, reading: Reading) -> Option<String> {
    let terms: Vec<String> = query
        .split_whitespace()
        // A term without a letter or a digit has no token; FTS5 would find nothing for it, or everything.
        .filter(|term| term.chars().any(char::is_alphanumeric))
        .take(MAX_TERMS)
        .map(|term| {
            let quoted = format!("\"{}\"", term.replace('\0', " ").replace('"', "\"\""));
            if reading == Reading::Beginnings { quoted + "*" } else { quoted }
        })
        .collect();
    (!terms.is_empty()).then(|| terms.join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_words_and_names_are_not() {
        assert_eq!(text_of(&json!({ "name": "Acme", "tags": ["a", { "deep": 5 }], "active": true })), "Acme\na\n5\n");
    }

    #[test]
    fn a_query_is_never_syntax() {
        assert_eq!(query_of("acme OR \"corp NEAR(a", Reading::Whole).unwrap(), r#""acme" "OR" """corp" "NEAR(a""#);
        assert_eq!(query_of("acm*", Reading::Beginnings).unwrap(), r#""acm*"*"#);
        assert_eq!(query_of(" \" * - ", Reading::Whole), None);
    }
}
