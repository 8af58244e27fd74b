//! Search: documents by the words of a query (bm25) and by the likeness of their vectors (cosine), half and half.

use std::collections::HashMap;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params_from_iter};
use serde_json::{Value, json};

use super::{embedding, store};
use crate::api::documents::{Match, Search};
use crate::api::{Page, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::platform::full_text;
use crate::platform::http::context::Cx;

/// Least cosine of a document that has none of the query's words. Two unrelated texts reach about a third of it.
const MIN_COSINE: f64 = 0.25;
/// Most documents that are ranked by their words.
const MAX_RANKED: usize = 1_000;
/// Longest passage of an answer, in characters.
const MAX_EXCERPT: usize = 300;

/// A document's place in the index, and its score.
type Scored = (i64, f64);

pub(super) async fn search(cx: Cx, request: Search) -> Result<Page<Match>> {
    let Some(words) = full_text::any_of(&request.query) else {
        return Err(Error::new(Kind::Invalid, "FM-DOC-QUERY", "the query has no word to search for")
            .hint("Search for words, names, numbers or a sentence on the content.")
            .field("/query", "words", "holds neither a letter nor a digit"));
    };
    let kind = request.document_type.as_deref().map(super::kind_of);
    let after = place(&cx, &request)?;
    let (tenant, most) = (cx.tenant(), request.page.size() + 1);
    let query = full_text::words_of(&Value::String(request.query.clone()));
    let found = cx
        .read(move |connection| {
            let ranked = rank(connection, tenant.as_str(), &query, words, kind)?;
            let page = ranked.into_iter().filter(|scored| after.is_none_or(|after| comes_after(*scored, after))).take(most);
            page.map(|scored| Ok((scored, view(store::find_by_number(connection, tenant.as_str(), scored.0)?, &query, scored.1))))
                .collect::<Result<Vec<_>>>()
        })
        .await?;
    let page = cx.page_of(found, &request.page, |((number, score), _)| json!([number, score.to_bits()]).to_string());
    Ok(Page { items: page.items.into_iter().map(|(_, found)| found).collect(), next_cursor: page.next_cursor })
}

/// The result behind which the page begins.
fn place(cx: &Cx, request: &Search) -> Result<Option<Scored>> {
    let Some(text) = cx.cursor(&request.page)? else { return Ok(None) };
    let (number, bits): (i64, u64) = serde_json::from_str(&text).map_err(Error::internal)?;
    Ok(Some((number, f64::from_bits(bits))))
}

/// The order of results: the best first, of equals the newest first.
fn comes_after(one: Scored, other: Scored) -> bool {
    other.1.total_cmp(&one.1).then(other.0.cmp(&one.0)).is_gt()
}

fn rank(connection: &Connection, tenant: &str, query: &str, words: String, kind: Option<String>) -> Result<Vec<Scored>> {
    let by_words = by_words(connection, tenant, words, kind.as_deref())?;
    let vector = embedding::embed(query);
    let mut sql = "SELECT number, embedding FROM documents WHERE tenant_id = ?".to_owned();
    let mut values = vec![Sql::Text(tenant.to_owned())];
    if let Some(kind) = kind {
        sql.push_str(" AND type = ?");
        values.push(Sql::Text(kind));
    }
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut ranked: Vec<Scored> = Vec::new();
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        let cosine = embedding::cosine(&vector, &embedding::of_bytes(row.get_ref(1)?.as_blob().map_err(Error::internal)?)).max(0.0);
        let lexical = by_words.get(&number).copied();
        if lexical.is_some() || cosine >= MIN_COSINE {
            let score = lexical.unwrap_or_default().midpoint(cosine);
            ranked.push((number, (score * 1e4).round() / 1e4));
        }
    }
    ranked.sort_by(|one, other| other.1.total_cmp(&one.1).then(other.0.cmp(&one.0)));
    Ok(ranked)
}

/// The bm25 of documents that have words of the query, as a share of the best.
fn by_words(connection: &Connection, tenant: &str, words: String, kind: Option<&str>) -> Result<HashMap<i64, f64>> {
    let mut sql = "SELECT documents.number, rank FROM document_words JOIN documents ON documents.number = document_words.rowid
                   WHERE document_words MATCH ? AND tenant_id = ?"
        .to_owned();
    let mut values = vec![Sql::Text(words), Sql::Text(tenant.to_owned())];
    if let Some(kind) = kind {
        sql.push_str(" AND type = ?");
        values.push(Sql::Text(kind.to_owned()));
    }
    sql.push_str(" ORDER BY rank LIMIT ?");
    values.push(Sql::Integer(i64::try_from(MAX_RANKED).unwrap_or(i64::MAX)));
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found: Vec<Scored> = rows.collect::<rusqlite::Result<_>>()?;
    // FTS5 gives the best document the lowest rank, below zero.
    let best = found.first().map(|(_, rank)| rank.abs()).filter(|best| *best > 0.0);
    Ok(found.into_iter().map(|(number, rank)| (number, best.map_or(1.0, |best| rank.abs() / best))).collect())
}

fn view(stored: store::Stored, query: &str, score: f64) -> Match {
    Match {
        excerpt: excerpt(&stored.text, query),
        document_id: stored.id.into(),
        kind: Some(stored.kind),
        score: Some(score),
        extracted_data: stored.extracted,
        metadata: stored.metadata,
        created_at: Some(Timestamp::from_millis(stored.created_at)),
    }
}

/// The line of a text with most of the query's words, and what follows it, as far as it fits.
fn excerpt(text: &str, query: &str) -> Option<String> {
    let wanted: Vec<String> = embedding::terms(query).collect();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let score = |line: &str| {
        let plain = full_text::words_of(&Value::from(line)).to_lowercase();
        wanted.iter().filter(|word| plain.contains(word.as_str())).count()
    };
    // Of equals the first: `max_by_key` takes the last.
    let best = lines.iter().enumerate().rev().max_by_key(|(_, line)| score(line)).map(|(place, _)| place)?;
    let passage = lines.get(best..)?.join(" ");
    let start = wanted.iter().filter_map(|word| passage.to_ascii_lowercase().find(word.as_str())).min().unwrap_or_default();
    // A long line is shown from a little before the first word that was looked for.
    let start = if start > MAX_EXCERPT / 2 { start - 60 } else { 0 };
    let start = (start..passage.len()).find(|place| passage.is_char_boundary(*place)).unwrap_or_default();
    let mut shown: String = passage.get(start..)?.chars().take(MAX_EXCERPT).collect();
    if start > 0 {
        shown.insert(0, '…');
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_begins_with_the_line_that_fits_best() {
        let text = "Lease\nThe rent is due monthly.\n\nThe notice period is three months.\nSigned in Bonn.";
        assert_eq!(excerpt(text, "notice period").unwrap(), "The notice period is three months. Signed in Bonn.");
        assert_eq!(excerpt("", "x"), None);
        let long = format!("{} needle and more", "hay ".repeat(500));
        let shown = excerpt(&long, "needle").unwrap();
        assert!(shown.starts_with('…') && shown.contains("needle and more") && shown.chars().count() <= MAX_EXCERPT + 1, "{shown}");
    }

    #[test]
    fn results_are_in_one_order() {
        assert!(comes_after((1, 0.5), (2, 0.7)) && comes_after((1, 0.5), (2, 0.5)));
        assert!(!comes_after((2, 0.5), (2, 0.5)) && !comes_after((3, 0.5), (2, 0.5)));
    }
}
