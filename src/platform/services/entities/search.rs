//! Records by words, the best first, so that a word that stands everywhere costs no more than another.
//!
//! What a word is worth for the order takes counting all that have it, and each record that is ranked is read. So there are bounds
//! for both: a word that stands in very many records does not count for the order, and of very many records the newest come first.

use rusqlite::Connection;
use rusqlite::types::Value as Sql;
use serde_json::Value;

use super::lists::{Found, Portion, one_more, page_of, place, rows, sql_of};
use super::{store, types};
use crate::api::entities::{Entity, Search};
use crate::api::{Page, PageRequest};
use crate::error::{Error, Kind, Result};
use crate::io::hex::hex;
use crate::platform::full_text::{self, Reading};
use crate::platform::http::context::Cx;

/// How many records are ranked.
const MAX_RANKED: usize = 1_000;
/// In how many records of the platform a word stands that counts for the order.
const MAX_COUNTED: usize = 10_000;
/// How many types the index is asked for; beyond them the records are.
const MAX_TYPES: usize = 16;

pub(super) async fn search(cx: Cx, request: Search) -> Result<Page<Entity>> {
    let (tenant, after) = (cx.tenant(), place(&cx, &request.page)?);
    let (found, page) = cx.read(move |connection| run(connection, tenant.as_str(), &request, after.as_deref())).await?;
    Ok(page_of(&cx, found, &page))
}

fn run(connection: &Connection, tenant: &str, request: &Search, after: Option<&[Value]>) -> Result<Portion> {
    for kind in request.entity_types.iter().flatten() {
        types::must_exist(connection, tenant, kind)?;
    }
    let readings: &[Reading] = match after.and_then(|keys| keys.first()?.as_str()) {
        Some("whole") => &[Reading::Whole],
        Some(_) => &[Reading::Beginnings],
        None => &[Reading::Whole, Reading::Beginnings],
    };
    for reading in readings {
        let Some(terms) = full_text::terms_of(&request.query, *reading) else {
            return Err(Error::new(Kind::Invalid, "FM-IDHS-QUERY", "the query has no word to search for")
                .hint("Search for words, names, numbers or e-mail addresses.")
                .field("/query", "words", "holds neither a letter nor a digit"));
        };
        let words = Words { tenant, kinds: request.entity_types.as_deref(), terms };
        let (mut found, page, counted) = words.page(connection, request, after)?;
        if !found.is_empty() {
            let name = if *reading == Reading::Whole { "whole" } else { "beginnings" };
            for (_, keys) in &mut found {
                keys.splice(0..0, [Value::from(name), Value::from(counted)]);
            }
            return Ok((found, page));
        }
    }
    Ok((Vec::new(), request.page.clone()))
}

/// What is searched for.
struct Words<'a> {
    tenant: &'a str,
    kinds: Option<&'a [String]>,
    terms: Vec<String>,
}

impl Words<'_> {
    /// A page, and which of the words count for its order: a bit for each, none where the newest come first.
    fn page(&self, connection: &Connection, request: &Search, after: Option<&[Value]>) -> Result<(Vec<Found>, PageRequest, u64)> {
        let (counted, found, behind) = if let Some([_, counted, rank, number]) = after {
            // What the first page was ordered by, the others are.
            let counted = counted.as_u64().unwrap_or_default();
            let found = if counted == 0 { Vec::new() } else { self.matching(connection, usize::MAX)? };
            (counted, found, Some((sql_of(rank), sql_of(number))))
        } else {
            let found = self.matching(connection, MAX_RANKED + 1)?;
            if found.is_empty() {
                return Ok((Vec::new(), request.page.clone(), 0));
            }
            let counted = if found.len() > MAX_RANKED { 0 } else { self.counted(connection)? };
            (counted, found, None)
        };
        let page = if counted == 0 {
            self.newest(connection, request, behind.map(|(_, number)| number))
        } else {
            self.best(connection, request, counted, found, behind)
        };
        let (found, page) = page?;
        Ok((found, page, counted))
    }

    /// The words as the index reads them, of the tenant's records and those of the types.
    fn wanted(&self) -> String {
        let kinds = self.kinds.filter(|kinds| (1..=MAX_TYPES).contains(&kinds.len())).map(|kinds| {
            let kinds: Vec<String> = kinds.iter().map(|kind| format!("\"k{}\"", hex(kind.as_bytes()))).collect();
            format!(" AND scope : ({})", kinds.join(" OR "))
        });
        let (tenant, terms) = (hex(self.tenant.as_bytes()), self.terms.join(" "));
        format!("scope : \"t{tenant}\"{} AND words : ({terms})", kinds.unwrap_or_default())
    }

    /// The numbers of the first records that have all words.
    fn matching(&self, connection: &Connection, most: usize) -> Result<Vec<i64>> {
        let mut statement = connection.prepare_cached("SELECT rowid FROM entity_words WHERE entity_words MATCH ? LIMIT ?")?;
        let numbers = statement.query_map((self.wanted(), i64::try_from(most).unwrap_or(i64::MAX)), |row| row.get(0))?;
        Ok(numbers.collect::<rusqlite::Result<_>>()?)
    }

    /// The words that stand in few enough records to count for the order. Others are passed over at the bound, not counted.
    fn counted(&self, connection: &Connection) -> Result<u64> {
        let mut statement = connection.prepare_cached("SELECT 1 FROM entity_words WHERE entity_words MATCH ? LIMIT 1 OFFSET ?")?;
        let mut counted = 0;
        for (place, term) in self.terms.iter().enumerate() {
            if !statement.exists((format!("words : {term}"), MAX_COUNTED))? {
                counted |= 1 << place;
            }
        }
        Ok(counted)
    }

    /// Those of some records that rank best by the words that count.
    fn best(
        &self,
        connection: &Connection,
        request: &Search,
        counted: u64,
        found: Vec<i64>,
        behind: Option<(Sql, Sql)>,
    ) -> Result<Portion> {
        let terms: Vec<&str> =
            self.terms.iter().enumerate().filter(|(place, _)| counted & (1 << place) != 0).map(|(_, term)| term.as_str()).collect();
        let mut values = vec![Sql::Text(format!("words : ({})", terms.join(" "))), Sql::Text(Value::from(found).to_string())];
        let mut sql = "MATCH ? AND +entity_words.rowid IN (SELECT value FROM json_each(?))".to_owned();
        self.add_kinds(&mut sql, &mut values);
        if let Some((rank, number)) = behind {
            sql.push_str(" AND (rank, number) > (?, ?)");
            values.extend([rank, number]);
        }
        // Sorted by itself, the index would rank all that have the words.
        self.rows(connection, request, "rank", &format!("{sql} ORDER BY +rank, number"), values)
    }

    /// The newest records that have all words.
    fn newest(&self, connection: &Connection, request: &Search, before: Option<Sql>) -> Result<Portion> {
        let (mut sql, mut values) = ("MATCH ?".to_owned(), vec![Sql::Text(self.wanted())]);
        if let Some(before) = before {
            sql.push_str(" AND entity_words.rowid < ?");
            values.push(before);
        }
        self.add_kinds(&mut sql, &mut values);
        self.rows(connection, request, "NULL", &format!("{sql} ORDER BY entity_words.rowid DESC"), values)
    }

    fn add_kinds(&self, sql: &mut String, values: &mut Vec<Sql>) {
        sql.push_str(" AND tenant_id = ?");
        values.push(Sql::Text(self.tenant.to_owned()));
        if let Some(kinds) = self.kinds {
            sql.extend([" AND type IN (", &vec!["?"; kinds.len()].join(", "), ")"]);
            values.extend(kinds.iter().cloned().map(Sql::Text));
        }
    }

    fn rows(&self, connection: &Connection, request: &Search, rank: &str, conditions: &str, mut values: Vec<Sql>) -> Result<Portion> {
        let sql = format!(
            "SELECT {}, {rank}, number FROM entity_words CROSS JOIN entities ON entities.number = entity_words.rowid
             WHERE entity_words {conditions} LIMIT ?",
            store::COLUMNS
        );
        values.push(one_more(&request.page));
        rows(connection, self.tenant, &sql, values, 2, &request.page)
    }
}
