//! A line of `test_decoding`, PostgreSQL's own decoder of its log: which row of a table it is about, by the row's key.
//!
//! `table s.t: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 name[text]:'O''Hara'`

/// Separates the parts of a line: in front of a tuple's columns, and the new tuple from the old key.
const OLD_KEY: &str = "old-key: ";
const NEW_TUPLE: &str = "new-tuple:";

/// A key column as the log writes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyColumn<'a> {
    pub(super) name: &'a str,
    /// The name of its type, without a length.
    pub(super) type_name: &'a str,
}

/// What stands for a column.
#[derive(Debug, PartialEq, Eq)]
enum Written {
    Null,
    /// A large value that the change left as it was.
    Unchanged,
    Text(String),
}

/// A column of a tuple.
struct Column<'a> {
    name: String,
    type_name: &'a str,
    value: Written,
}

/// The keys of the rows that a line is about, of the table that a prefix names; a key that is null is none.
/// Answers nothing where the line does not tell: a truncation, a row without its key, a type that is another by now. A line
/// that was cut off must end where a space was.
pub(super) fn keys(line: &str, prefix: &str, key: KeyColumn<'_>) -> Option<Vec<Option<String>>> {
    let (what, rest) = line.strip_prefix(prefix)?.split_once(": ")?;
    let mut keys = Vec::new();
    let tuple = match (what, rest.strip_prefix(OLD_KEY)) {
        ("UPDATE", Some(mut old)) => {
            let mut is_told = false;
            while !old.starts_with(NEW_TUPLE) {
                let (column, after) = column(old)?;
                if column.name == key.name {
                    column.add_key(key, &mut keys)?;
                    is_told = true;
                }
                old = after;
            }
            if !is_told {
                return None;
            }
            old.strip_prefix(NEW_TUPLE)?.strip_prefix(' ')?
        }
        ("INSERT" | "UPDATE" | "DELETE", None) => rest,
        _ => return None,
    };
    add_key_of(tuple, key, &mut keys)?;
    keys.dedup();
    Some(keys)
}

/// Adds the key among the columns of a tuple, and reads no further.
fn add_key_of(mut tuple: &str, key: KeyColumn<'_>, keys: &mut Vec<Option<String>>) -> Option<()> {
    loop {
        let (column, after) = column(tuple)?;
        if column.name == key.name {
            return column.add_key(key, keys);
        }
        tuple = after;
    }
}

impl Column<'_> {
    /// Adds the value, if it is of the key's type. A key so large that a change does not repeat it is that of no record.
    fn add_key(self, key: KeyColumn<'_>, keys: &mut Vec<Option<String>>) -> Option<()> {
        match self.value {
            _ if self.type_name != key.type_name => return None,
            Written::Null => keys.push(None),
            Written::Text(text) => keys.push(Some(text)),
            Written::Unchanged => {}
        }
        Some(())
    }
}

/// The first column, and what follows.
fn column(text: &str) -> Option<(Column<'_>, &str)> {
    let (name, rest) = identifier(text)?;
    let (type_name, rest) = bracketed(rest)?;
    let (value, rest) = value(rest.strip_prefix(':')?)?;
    Some((Column { name, type_name, value }, rest.strip_prefix(' ').unwrap_or(rest)))
}

/// A name, which is quoted where it needs to be, and what follows.
fn identifier(text: &str) -> Option<(String, &str)> {
    match text.strip_prefix('"') {
        Some(quoted) => until_quote(quoted, '"'),
        None => text.find('[').map(|end| (text[..end].to_owned(), &text[end..])),
    }
}

/// What stands in brackets, which may hold brackets and quoted names itself.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('[')?;
    let (mut depth, mut is_quoted) = (1_u32, false);
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'[' if !is_quoted => depth += 1,
            b']' if !is_quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&inner[..at], &inner[at + 1..]));
        }
    }
    None
}

/// A value: a text in quotes, bits, or a word such as a number.
fn value(text: &str) -> Option<(Written, &str)> {
    if let Some(quoted) = text.strip_prefix('\'').or_else(|| text.strip_prefix("B'")) {
        return until_quote(quoted, '\'').map(|(value, rest)| (Written::Text(value), rest));
    }
    let end = text.find(' ').unwrap_or(text.len());
    let written = match &text[..end] {
        "" => return None,
        "null" => Written::Null,
        "unchanged-toast-datum" => Written::Unchanged,
        word => Written::Text(word.to_owned()),
    };
    Some((written, &text[end..]))
}

/// A text up to its closing quote, in which a quote is written twice.
fn until_quote(text: &str, quote: char) -> Option<(String, &str)> {
    let (mut value, mut rest) = (String::new(), text);
    loop {
        let end = rest.find(quote)?;
        value.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(quote) {
            Some(after) => {
                value.push(quote);
                rest = after;
            }
            None => return Some((value, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "table public.t: ";
    const ID: KeyColumn<'_> = KeyColumn { name: "id", type_name: "integer" };

    fn told(line: &str, key: KeyColumn<'_>) -> Option<Vec<String>> {
        let keys = keys(&format!("{PREFIX}{line}"), PREFIX, key)?;
        Some(keys.into_iter().map(|key| key.unwrap_or_else(|| "NULL".to_owned())).collect())
    }

    #[test]
    fn keys_are_found_among_values_of_all_kinds() {
        for (line, expected) in [
            ("INSERT: id[integer]:1 name[text]:'a''b]c: id[integer]:7 '", &["1"][..]),
            ("INSERT: a[integer[]]:'{1,2}' \"na\"\"me id\"[\"we\"\"ird]: type\"]:null b[boolean]:true id[integer]:-5", &["-5"]),
            ("INSERT: bits[bit]:B'101' n[numeric]:NaN id[integer]:2 j[jsonb]:'{\"id\": 3}'", &["2"]),
            ("UPDATE: id[integer]:1 big[text]:unchanged-toast-datum", &["1"]),
            ("UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 t[text]:' new-tuple: '", &["1", "2"]),
            ("UPDATE: old-key: id[integer]:1 t[text]:'x' new-tuple: id[integer]:1 t[text]:'y'", &["1"]),
            ("UPDATE: old-key: \"new-tuple\"[text]:'' id[integer]:1 new-tuple: \"new-tuple\"[text]:'' id[integer]:2", &["1", "2"]),
            ("DELETE: id[integer]:3", &["3"]),
            ("DELETE: id[integer]:null v[text]:'ä\nü'", &["NULL"]),
        ] {
            assert_eq!(told(line, ID).as_deref(), Some(expected.iter().map(ToString::to_string).collect::<Vec<_>>()).as_deref(), "{line}");
        }
        let weird = KeyColumn { name: "we\"ird", type_name: "character varying" };
        assert_eq!(told("DELETE: \"we\"\"ird\"[character varying]:'it''s'", weird), Some(vec!["it's".to_owned()]));
        assert_eq!(told("UPDATE: \"we\"\"ird\"[character varying]:unchanged-toast-datum", weird), Some(vec![]));
    }

    #[test]
    fn a_line_that_does_not_tell_the_row_is_told_apart() {
        for line in [
            "DELETE: (no-tuple-data)",
            "TRUNCATE: (no-flags)",
            "INSERT: id[bigint]:1",
            "INSERT: other[integer]:1",
            "INSERT: name[text]:'cut of",
            "INSERT: name[te",
            "UPDATE: old-key: id[integer]:1 new-tup",
            "UPDATE: old-key: id[integer]:1",
            "UPDATE: old-key: a[integer]:1 new-tuple: id[integer]:1 a[integer]:2",
            "MERGE: id[integer]:1",
            "",
        ] {
            assert_eq!(told(line, ID), None, "{line}");
        }
        assert_eq!(keys("table public.t, public.u: TRUNCATE: (no-flags)", PREFIX, ID), None);
    }

    #[test]
    fn a_line_that_is_cut_off_tells_no_wrong_key() {
        let line =
            format!("{PREFIX}UPDATE: old-key: id[integer]:1 new-tuple: \"ä\"[a[]]:'ö''' b[bit]:B'1' id[integer]:2 c[text]:'of''f and on'");
        for (end, _) in line.match_indices(' ') {
            if let Some(found) = keys(&line[..end], PREFIX, ID) {
                assert_eq!(found, [Some("1".to_owned()), Some("2".to_owned())], "{}", &line[..end]);
            }
        }
        let cut = line.rsplit_once(' ').unwrap().0;
        assert_eq!(told(cut.strip_prefix(PREFIX).unwrap(), ID).unwrap(), ["1", "2"]);
        assert_eq!(told(line.strip_prefix(PREFIX).unwrap(), ID).unwrap(), ["1", "2"]);
    }
}
