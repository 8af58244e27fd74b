//! Events as the log keeps them.

use rusqlite::Row;

use crate::api::{Event, Timestamp};
use crate::error::{Error, Result};

/// The columns that [`event_of`] reads, in its order.
pub(crate) const COLUMNS: &str = "position, id, tenant_id, topic, sequence, source, subject, correlation_id, time, data";

/// A row as an event, with its position.
pub(crate) fn event_of(row: &Row<'_>) -> Result<(i64, Event)> {
    let data: String = row.get(9)?;
    let event = Event {
        specversion: "1.0".to_owned(),
        id: row.get::<_, String>(1)?.into(),
        source: row.get(5)?,
        topic: row.get(3)?,
        time: Some(Timestamp::from_millis(row.get(8)?)),
        subject: row.get(6)?,
        tenantid: Some(row.get::<_, String>(2)?.into()),
        correlationid: row.get(7)?,
        sequence: Some(row.get::<_, i64>(4)?.unsigned_abs()),
        data: serde_json::from_str(&data).map_err(Error::internal)?,
    };
    Ok((row.get(0)?, event))
}

/// How many bytes the data of a row's event have.
pub(crate) fn size_in(row: &Row<'_>) -> rusqlite::Result<usize> {
    Ok(row.get_ref(9)?.as_bytes().map_or(0, <[u8]>::len))
}
