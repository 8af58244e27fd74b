//! The kind of channel that a person wants to be written to: said with a conversation's context or by a message of theirs,
//! as `preferredChannel` among its data.

use rusqlite::{Connection, OptionalExtension as _};
use serde_json::{Map, Value};

use crate::api::communication::ChannelKind;
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;

const NAME: &str = "preferredChannel";

/// The preference that data holds.
pub(super) fn read(data: Option<&Map<String, Value>>) -> Result<Option<ChannelKind>> {
    let Some(value) = data.and_then(|data| data.get(NAME)).filter(|value| !value.is_null()) else { return Ok(None) };
    match value.as_str().map(ChannelKind::from) {
        None | Some(ChannelKind::Other(_)) => Err(Error::new(
            Kind::Invalid,
            "FM-COMMS-PREFERENCE",
            "the preferred channel is not one that there is",
        )
        .field(format!("/data/{NAME}"), "unknown", "is whatsapp, telegram, slack or sms")),
        kind => Ok(kind),
    }
}

/// Keeps the preference of a person.
pub(super) fn keep(tx: &Tx<'_>, participant: &str, kind: &ChannelKind) -> Result<()> {
    tx.prepare_cached("INSERT OR REPLACE INTO channel_preferences (tenant_id, participant, kind, updated_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute((tx.tenant(), participant, kind.as_str(), tx.now().millis()))?;
    Ok(())
}

/// What a person prefers.
pub(super) fn of(connection: &Connection, tenant: &str, participant: &str) -> Result<Option<ChannelKind>> {
    let found: Option<String> = connection
        .prepare_cached("SELECT kind FROM channel_preferences WHERE tenant_id = ?1 AND participant = ?2")?
        .query_row((tenant, participant), |row| row.get(0))
        .optional()?;
    Ok(found.as_deref().map(ChannelKind::from))
}
