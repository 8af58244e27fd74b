//! Documents by type and time of upload, newest first.

use rusqlite::types::Value as Sql;
use rusqlite::{Row, params_from_iter};

use crate::api::documents::{Document, List};
use crate::api::{Page, Timestamp};
use crate::error::{Error, Result};
use crate::platform::http::context::{Cx, within_bytes};

/// Neither the text nor the vector: both are long, and a list shows none of them.
const COLUMNS: &str = "created_at, number, id, type, extracted, confidence, metadata";

/// A document with its place in the list, and its size.
type Found = (Document, (i64, i64), usize);

pub(super) async fn list(cx: Cx, request: List) -> Result<Page<Document>> {
    let mut sql = format!("SELECT {COLUMNS} FROM documents WHERE tenant_id = ?");
    let mut values: Vec<Sql> = vec![cx.tenant().0.into()];
    let mut and = |condition: &str, given: Vec<Sql>| {
        sql.extend([" AND ", condition]);
        values.extend(given);
    };
    if let Some(kind) = request.document_type.as_deref().map(super::kind_of) {
        and("type = ?", vec![kind.into()]);
    }
    if let Some(after) = request.created_after.map(Timestamp::millis) {
        and("created_at > ?", vec![after.into()]);
    }
    if let Some(before) = request.created_before.map(Timestamp::millis) {
        and("created_at < ?", vec![before.into()]);
    }
    if let Some(text) = cx.cursor(&request.page)? {
        let (at, number): (i64, i64) = serde_json::from_str(&text).map_err(Error::internal)?;
        and("(created_at, number) < (?, ?)", vec![at.into(), number.into()]);
    }
    let page = request.page;
    let sql = format!("{sql} ORDER BY created_at DESC, number DESC LIMIT {}", page.size() + 1);
    let (found, page) = cx
        .read(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params_from_iter(values), of_row)?;
            within_bytes(rows.map(|row| row?), &page, |(_, _, bytes)| *bytes)
        })
        .await?;
    let page = cx.page_of(found, &page, |(_, (at, number), _)| format!("[{at},{number}]"));
    Ok(Page { items: page.items.into_iter().map(|(document, ..)| document).collect(), next_cursor: page.next_cursor })
}

fn of_row(row: &Row<'_>) -> rusqlite::Result<Result<Found>> {
    let (at, number): (i64, i64) = (row.get(0)?, row.get(1)?);
    let (extracted, metadata): (String, String) = (row.get(4)?, row.get(6)?);
    let document = Document {
        document_id: row.get::<_, String>(2)?.into(),
        kind: row.get(3)?,
        extracted_data: serde_json::Map::new(),
        not_found: Vec::new(),
        embedding: Vec::new(),
        confidence: row.get(5)?,
        metadata: serde_json::Map::new(),
        created_at: Some(Timestamp::from_millis(at)),
    };
    let object = |text: &str| serde_json::from_str(text).map_err(Error::internal);
    let read = || Ok(Document { extracted_data: object(&extracted)?, metadata: object(&metadata)?, ..document });
    Ok(read().map(|document| (document, (at, number), extracted.len() + metadata.len())))
}
