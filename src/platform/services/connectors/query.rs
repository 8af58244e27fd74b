//! The query of a database source: a caller's own SQL or a table, and the place of the watermark in it.
//!
//! A query runs as one prepared statement in a read-only transaction, within a SELECT of the platform's. So it can neither
//! hold a second statement nor change anything. The watermark is written in as a literal: its type is then the column's.

use super::refusal::fault;
use crate::error::Result;

/// Largest row that is read, as JSON, in bytes.
pub(super) const MAX_ROW: usize = 256 * 1024;

/// A query that can be run.
#[derive(Debug, Clone)]
pub(super) struct Query {
    text: String,
    changes: Option<Changes>,
    table: Option<String>,
    /// The table as it is written in SQL, where no query says what is read.
    written: Option<String>,
}

/// How changed rows are told from others.
#[derive(Debug, Clone)]
struct Changes {
    /// Where the watermark goes in the text.
    place: usize,
    /// The column of the result that it is taken from.
    column: String,
    /// What it is before the first run.
    initial: String,
}

impl Query {
    /// Reads a query or the name of a table.
    pub(super) fn read(
        query: Option<String>,
        table: Option<String>,
        column: Option<String>,
        initial: Option<String>,
        cdc: bool,
    ) -> Result<Self> {
        let written = table.as_deref().map(quoted).transpose()?;
        let text = match (query, &written) {
            (Some(query), None) => query.trim_end_matches([';', ' ', '\n', '\t', '\r']).to_owned(),
            (None, Some(name)) => match column.as_deref().filter(|_| cdc) {
                Some(column) => format!("SELECT * FROM {name} WHERE {} > ?", identifier(column)),
                None => format!("SELECT * FROM {name}"),
            },
            (Some(_), Some(_)) => return Err(fault("table", "exclusive", "is given beside `query`; one of them says what is read")),
            (None, None) => return Err(fault("query", "required", "or `table` says what is read; one of them is needed")),
        };
        let table = table.or_else(|| after_from(&text));
        if !cdc {
            return Ok(Self { text, changes: None, table, written });
        }
        let [place] = placeholders(&text)[..] else {
            let detail = "must hold one `?` for the watermark where cdcEnabled is true, such as `WHERE updated_at > ?`";
            return Err(if text.contains('?') || column.is_some() {
                fault("query", "watermark", detail)
            } else {
                fault(
                    "query",
                    "watermark",
                    &format!("{detail}; with `table`, name the column as `watermarkColumn`, or set cdcMode `logical`"),
                )
            });
        };
        let column = column.or_else(|| compared(&text[..place])).ok_or_else(|| {
            fault("watermarkColumn", "required", "names the column that `?` is compared with, which the query does not tell")
        })?;
        let initial = initial.unwrap_or_else(|| "-infinity".to_owned());
        Ok(Self { text, changes: Some(Changes { place, column, initial }), table, written })
    }

    /// The table that it reads first, in the letters that a record type can have.
    pub(super) fn table_name(&self) -> Option<String> {
        let last = self.table.as_ref()?.rsplit('.').next()?.trim_matches('"').to_ascii_lowercase();
        Some(last).filter(|name| !name.is_empty())
    }

    /// The table as it is written in SQL, where no query says what is read.
    pub(super) fn written_table(&self) -> Option<&str> {
        self.written.as_deref()
    }

    /// Reads the rows as JSON, each with its size; a row beyond the bound has no text.
    pub(super) fn rows(&self, watermark: Option<&str>) -> String {
        format!(
            "SELECT CASE WHEN octet_length(r.t) <= {MAX_ROW} THEN r.t END, octet_length(r.t) \
             FROM (SELECT row_to_json(q)::text AS t FROM ({}\n) AS q OFFSET 0) AS r",
            self.with(watermark)
        )
    }

    /// Reads the highest watermark of the same rows, where there is one.
    pub(super) fn highest(&self, watermark: Option<&str>) -> Option<String> {
        let column = identifier(&self.changes.as_ref()?.column);
        Some(format!("SELECT max(q.{column})::text FROM ({}\n) AS q", self.with(watermark)))
    }

    /// Reads nothing, and has the query's columns.
    pub(super) fn columns(&self) -> String {
        format!("SELECT * FROM ({}\n) AS q LIMIT 0", self.with(None))
    }

    fn with(&self, watermark: Option<&str>) -> String {
        let Some(changes) = &self.changes else { return self.text.clone() };
        let (before, after) = (&self.text[..changes.place], &self.text[changes.place + 1..]);
        format!("{before}{}{after}", literal(watermark.unwrap_or(&changes.initial)))
    }
}

/// A literal without a type of its own. The session has standard strings: only the quote itself is special.
pub(super) fn literal(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The name of a table as it is written in SQL.
fn quoted(table: &str) -> Result<String> {
    let parts: Vec<&str> = table.split('.').collect();
    if parts.len() > 2 || parts.iter().any(|part| part.is_empty() || part.len() > 63) {
        return Err(fault("table", "name", "must be the name of a table, such as `customers` or `sales.customers`"));
    }
    Ok(parts.into_iter().map(identifier).collect::<Vec<_>>().join("."))
}

/// The name after the first FROM.
fn after_from(text: &str) -> Option<String> {
    let mut words = text.split_whitespace().skip_while(|word| !word.eq_ignore_ascii_case("from"));
    let name = words.nth(1)?.trim_end_matches([',', ';', ')']);
    name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '"')).then(|| name.to_owned())
}

/// The last name of what stands before a comparison.
fn compared(before: &str) -> Option<String> {
    let before = before.trim_end();
    let before = before.strip_suffix(">=").or_else(|| before.strip_suffix('>'))?.trim_end();
    let start = before.rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '"'))).map_or(0, |place| place + 1);
    let name = before.get(start..)?.rsplit('.').next()?.trim_matches('"');
    (!name.is_empty()).then(|| name.to_owned())
}

/// Where question marks stand outside of texts, quoted names and comments.
fn placeholders(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let skip_to = |from: usize, end: &str| text.get(from..).and_then(|rest| rest.find(end)).map_or(bytes.len(), |at| from + at + end.len());
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        at = match (byte, bytes.get(at + 1)) {
            (b'\'', _) => skip_to(at + 1, "'"),
            (b'"', _) => skip_to(at + 1, "\""),
            (b'-', Some(b'-')) => skip_to(at + 2, "\n"),
            (b'/', Some(b'*')) => skip_to(at + 2, "*/"),
            (b'$', Some(b'$')) => skip_to(at + 2, "$$"),
            (b'?', _) => {
                found.push(at);
                at + 1
            }
            _ => at + 1,
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str, column: Option<&str>) -> Result<Query> {
        Query::read(Some(text.to_owned()), None, column.map(str::to_owned), None, true)
    }

    #[test]
    fn the_contracts_query_compares_with_its_watermark() {
        let read = query("SELECT * FROM customers WHERE updated_at > ?;", None).unwrap();
        assert_eq!(read.with(None), "SELECT * FROM customers WHERE updated_at > '-infinity'");
        assert_eq!(read.with(Some("x'; DROP TABLE y; --")), "SELECT * FROM customers WHERE updated_at > 'x''; DROP TABLE y; --'");
        assert!(read.highest(None).unwrap().starts_with("SELECT max(q.\"updated_at\")::text"));
        assert_eq!(read.table_name().as_deref(), Some("customers"));
    }

    #[test]
    fn a_question_mark_in_a_text_or_a_comment_is_not_a_place() {
        let text = "SELECT '?', \"a?\" /* ? */ FROM s.t -- ?\nWHERE c.\"At\" >= ?";
        assert_eq!(placeholders(text), [text.len() - 1]);
        assert!(query(text, None).unwrap().highest(None).unwrap().contains("q.\"At\""));
        assert_eq!(query("SELECT 1 WHERE '?' = ''", None).unwrap_err().fields()[0].pointer, "/sourceConfig/query");
        let untold = query("SELECT * FROM t WHERE f(?)", None).unwrap_err();
        assert_eq!(untold.fields()[0].pointer, "/sourceConfig/watermarkColumn");
        query("SELECT * FROM t WHERE f(?)", Some("at")).unwrap();
    }

    #[test]
    fn a_table_is_quoted_and_named() {
        let read = Query::read(None, Some("sales.Cust\"omers".to_owned()), Some("at".to_owned()), None, true).unwrap();
        assert_eq!(read.with(Some("5")), "SELECT * FROM \"sales\".\"Cust\"\"omers\" WHERE \"at\" > '5'");
        assert!(Query::read(None, Some("a.b.c".to_owned()), None, None, false).is_err());
    }
}
