//! Full-text search: which words of a record are found, and a person's words as a query that cannot be syntax.

use serde_json::Value;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Most text of one record that is indexed, in bytes.
const MAX_TEXT: usize = 256 * 1024;
/// Most words of a query that count.
const MAX_TERMS: usize = 32;

/// The words of a record: those of its values, not the names of its fields.
pub(crate) fn words_of(data: &Value) -> String {
    let mut text = String::new();
    collect(data, &mut text);
    words(&text)
}

/// Text as the index reads it, without diacritics.
///
/// Where a script puts no spaces between words, each letter is a word: a query's letters are then found as a phrase,
/// wherever they stand.
fn words(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    for letter in text.nfd().filter(|letter| !is_combining_mark(*letter) || is_unspaced(*letter)).nfc() {
        if is_unspaced(letter) {
            words.extend([' ', letter, ' ']);
        } else {
            words.push(letter);
        }
    }
    words
}

/// Whether a letter belongs to a script that puts no spaces between words: Thai, Lao, Burmese, Khmer, Hangul with its
/// endings, kana and Han.
const fn is_unspaced(letter: char) -> bool {
    matches!(letter,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{1100}'..='\u{11ff}'
        | '\u{2e80}'..='\u{2fdf}' | '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}'
        | '\u{20000}'..='\u{3ffff}')
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
pub(crate) enum Reading {
    /// As whole words.
    Whole,
    /// As beginnings of words, when nothing was found by whole ones.
    Beginnings,
}

/// The query as FTS5 reads it: each word a quoted phrase, all of which must occur. `None` when nothing can be searched for.
pub(crate) fn query_of(query: &str, reading: Reading) -> Option<String> {
    Some(terms_of(query, reading)?.join(" "))
}

/// The query as FTS5 reads it, of whose words any may occur. `None` when nothing can be searched for.
pub(crate) fn any_of(query: &str) -> Option<String> {
    Some(terms_of(query, Reading::Whole)?.join(" OR "))
}

/// The words of a query as FTS5 reads them, each a quoted phrase. `None` when nothing can be searched for.
pub(crate) fn terms_of(query: &str, reading: Reading) -> Option<Vec<String>> {
    let terms: Vec<String> = query
        .split_whitespace()
        // A term without a letter or a digit has no token; FTS5 would find nothing for it, or everything.
        .filter(|term| term.chars().any(char::is_alphanumeric))
        .take(MAX_TERMS)
        .map(|term| {
            let quoted = format!("\"{}\"", words(term).replace('\0', " ").replace('"', "\"\"").trim());
            if reading == Reading::Beginnings { quoted + "*" } else { quoted }
        })
        .collect();
    (!terms.is_empty()).then_some(terms)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_words_and_names_are_not() {
        assert_eq!(words_of(&json!({ "name": "Acme", "tags": ["a", { "deep": 5 }], "active": true })), "Acme\na\n5\n");
    }

    #[test]
    fn letters_of_unspaced_scripts_are_words_and_diacritics_are_none() {
        assert_eq!(words("Ελληνικά Çağrı Đà"), "Ελληνικα Cagrı Đa");
        assert_eq!(words("測試ok"), " 測  試 ok");
        assert_eq!(query_of("测试", Reading::Whole).unwrap(), "\"测  试\"");
        // Thai vowel signs are marks of combining, and belong to the word.
        assert_eq!(words("ที่").split_whitespace().count(), 3);
    }

    #[test]
    fn a_query_is_never_syntax() {
        assert_eq!(query_of("acme OR \"corp NEAR(a", Reading::Whole).unwrap(), r#""acme" "OR" """corp" "NEAR(a""#);
        assert_eq!(query_of("acm*", Reading::Beginnings).unwrap(), r#""acm*"*"#);
        assert_eq!(query_of(" \" * - ", Reading::Whole), None);
        assert_eq!(any_of("notice OR period").unwrap(), r#""notice" OR "OR" OR "period""#);
    }
}
