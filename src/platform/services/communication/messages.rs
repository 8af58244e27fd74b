//! Messages: what was written in a conversation, and the queue of what is still to be sent, so that a restart loses none.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Value, json};

use super::channels;
use super::credentials;
use super::provider::{Failure, Outgoing};
use crate::api::Timestamp;
use crate::api::audit::Changes;
use crate::api::communication::{ChannelKind, Direction, Message, MessageStatus};
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::database::Tx;

/// Most messages of a tenant that wait.
const MAX_QUEUED: i64 = 10_000;
/// How long after its time an attempt counts as lost, in seconds.
const LOST_AFTER: f64 = 30.0;
const COLUMNS: &str = "position, message.id, message.status, kind, sent_at, read_at, conversation_id, direction, sender, recipient, body";
const TABLES: &str = "conversation_messages AS message JOIN channels
    ON channels.tenant_id = message.tenant_id AND channels.id = message.channel_id";

/// A message as it is kept first.
pub(super) struct New<'m> {
    pub(super) conversation: &'m str,
    pub(super) channel: &'m str,
    pub(super) direction: Direction,
    pub(super) sender: &'m str,
    pub(super) recipient: &'m str,
    pub(super) body: &'m str,
    pub(super) data: Option<String>,
    pub(super) external_id: Option<&'m str>,
    pub(super) webhook_id: Option<&'m str>,
    pub(super) sent_at: Option<Timestamp>,
}

/// Appends a message, and answers its id. One that goes out waits to be sent.
pub(super) fn add(tx: &mut Tx<'_>, new: &New<'_>) -> Result<String> {
    let id = tx.mint("msg");
    let is_outbound = new.direction == Direction::Outbound;
    if is_outbound {
        let queued: i64 = tx
            .prepare_cached("SELECT count(*) FROM conversation_messages WHERE tenant_id = ? AND next_attempt_at IS NOT NULL")?
            .query_row([tx.tenant()], |row| row.get(0))?;
        if queued >= MAX_QUEUED {
            return Err(Error::new(Kind::RateLimited, "FM-COMMS-QUEUE-FULL", format!("{MAX_QUEUED} messages wait already"))
                .hint("Wait until some are sent; conversations_get shows where a message stands."));
        }
    }
    let status = if is_outbound { MessageStatus::Queued } else { MessageStatus::Received };
    let next = is_outbound.then(|| tx.now().millis());
    tx.prepare_cached(
        "INSERT INTO conversation_messages (tenant_id, id, conversation_id, channel_id, direction, sender, recipient, body, data, status,
             external_id, webhook_id, next_attempt_at, sent_at, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?
    .execute(params![
        tx.tenant(),
        id,
        new.conversation,
        new.channel,
        new.direction.as_str(),
        new.sender,
        new.recipient,
        new.body,
        new.data,
        status.as_str(),
        new.external_id,
        new.webhook_id,
        next,
        new.sent_at.map(Timestamp::millis),
        tx.now().millis(),
    ])?;
    tell(tx, if is_outbound { "message.queued" } else { "message.received" }, &id, new.conversation, new.channel, &json!({}))?;
    Ok(id)
}

/// Audits what happened to a message. Neither text nor address: what names a person stays where it can be erased.
fn tell(tx: &mut Tx<'_>, action: &str, id: &str, conversation: &str, channel: &str, more: &Value) -> Result<()> {
    let mut after = json!({ "messageId": id, "channelId": channel }).as_object().cloned().unwrap_or_default();
    after.extend(more.as_object().cloned().unwrap_or_default());
    tx.audit(action, "conversation", conversation, Some(Changes { before: None, after: Some(after) })).map(drop)
}

/// Takes a due message for an attempt; nothing where it was taken or ended meanwhile. Should the attempt be lost, the
/// message is due again later.
pub(super) fn claim(tx: &Tx<'_>, platform: &Platform, id: &str) -> Result<Option<Outgoing>> {
    let until = tx.now().plus_seconds(platform.integrations().timeout.as_secs_f64() + LOST_AFTER);
    let taken = tx
        .prepare_cached(
            "UPDATE conversation_messages SET next_attempt_at = ?3
             WHERE tenant_id = ?1 AND id = ?2 AND status = 'queued' AND next_attempt_at <= ?4",
        )?
        .execute((tx.tenant(), id, until.millis(), tx.now().millis()))?;
    if taken == 0 {
        return Ok(None);
    }
    let sql = format!(
        "SELECT conversation_id, channel_id, kind, account, base_url, recipient, body, attempts FROM {TABLES}
         WHERE message.tenant_id = ?1 AND message.id = ?2"
    );
    let mut outgoing = tx.prepare_cached(&sql)?.query_row((tx.tenant(), id), |row| {
        Ok(Outgoing {
            id: id.to_owned(),
            conversation: row.get(0)?,
            channel: row.get(1)?,
            kind: row.get(2)?,
            account: row.get(3)?,
            base_url: row.get(4)?,
            recipient: row.get(5)?,
            body: row.get(6)?,
            attempts: row.get(7)?,
            secrets: credentials::Secrets::new(),
        })
    })?;
    outgoing.secrets = credentials::open(tx, platform, tx.tenant(), &outgoing.channel)?;
    Ok(Some(outgoing))
}

/// Keeps how an attempt ended: sent, queued again a bounded number of times, or failed.
pub(super) fn keep(tx: &mut Tx<'_>, platform: &Platform, message: &Outgoing, ended: &Result<(), Failure>) -> Result<Message> {
    let policy = platform.integrations();
    let attempts = message.attempts.saturating_add(1);
    let (status, next) = match ended {
        Ok(()) => (MessageStatus::Sent, None),
        Err(failure) if failure.is_permanent || attempts >= policy.queued_attempts => (MessageStatus::Failed, None),
        Err(failure) => {
            let pause = failure.pause.unwrap_or_default().max(policy.queued_delay(attempts));
            (MessageStatus::Queued, Some(tx.now().plus_seconds(pause.as_secs_f64()).millis()))
        }
    };
    let error = ended.as_ref().err().map(|failure| failure.reason.as_str());
    let updated = tx
        .prepare_cached(
            "UPDATE conversation_messages SET status = ?3, attempts = ?4, next_attempt_at = ?5, error = ?6, sent_at = ?7
             WHERE tenant_id = ?1 AND id = ?2 AND status = 'queued'",
        )?
        .execute(params![
            tx.tenant(),
            message.id,
            status.as_str(),
            attempts,
            next,
            error,
            (status == MessageStatus::Sent).then(|| tx.now().millis()),
        ])?;
    channels::note(tx, &message.channel, ended.is_ok())?;
    // It was erased meanwhile, or another attempt ended first.
    if updated > 0 && status != MessageStatus::Queued {
        let action = if ended.is_ok() { "message.sent" } else { "message.failed" };
        tell(tx, action, &message.id, &message.conversation, &message.channel, &json!({ "attempts": attempts, "error": error }))?;
        let data = json!({
            "messageId": message.id, "conversationId": message.conversation, "channelId": message.channel,
            "channel": message.kind, "status": status,
        });
        tx.emit(action, &message.conversation, data)?;
    }
    find(tx, tx.tenant(), &message.id)
}

/// The message of a channel that came with an id of the provider's, or by a delivery.
pub(super) fn repeated(connection: &Connection, tenant: &str, channel: &str, column: Came, id: &str) -> Result<Option<Message>> {
    let column = match column {
        Came::As => "external_id",
        Came::By => "webhook_id",
    };
    let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE message.tenant_id = ?1 AND message.channel_id = ?2 AND message.{column} = ?3");
    let found = connection.prepare_cached(&sql)?.query_row((tenant, channel, id), from_row).optional()?;
    Ok(found.map(|(_, message)| message))
}

/// What tells a repeat of an inbound message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Came {
    /// The provider's id of it.
    As,
    /// The delivery that it came by.
    By,
}

/// A message of a tenant.
pub(super) fn find(connection: &Connection, tenant: &str, id: &str) -> Result<Message> {
    let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE message.tenant_id = ?1 AND message.id = ?2");
    Ok(connection.prepare_cached(&sql)?.query_row((tenant, id), from_row)?.1)
}

/// The messages of a conversation before a position, newest first, each with its position.
pub(super) fn of_conversation(
    connection: &Connection,
    tenant: &str,
    conversation: &str,
    before: i64,
    most: usize,
) -> Result<Vec<(i64, Message)>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM {TABLES} WHERE message.tenant_id = ?1 AND conversation_id = ?2 AND position < ?3
         ORDER BY position DESC LIMIT ?4"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map((tenant, conversation, before, i64::try_from(most).unwrap_or(i64::MAX)), from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<(i64, Message)> {
    let time = |place: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(place)?.map(Timestamp::from_millis));
    let message = Message {
        message_id: row.get::<_, String>(1)?.into(),
        status: Some(MessageStatus::from(row.get_ref(2)?.as_str()?)),
        channel: Some(ChannelKind::from(row.get_ref(3)?.as_str()?)),
        sent_at: time(4)?,
        read_at: time(5)?,
        conversation_id: Some(row.get::<_, String>(6)?.into()),
        direction: Some(Direction::from(row.get_ref(7)?.as_str()?)),
        sender_id: row.get(8)?,
        recipient_id: row.get(9)?,
        message: row.get(10)?,
    };
    Ok((row.get(0)?, message))
}

/// Makes the messages of a person's conversations unreadable, and what they wrote elsewhere nobody's.
pub(super) fn erase(tx: &Tx<'_>, participant: &str) -> Result<()> {
    tx.prepare_cached(
        "UPDATE conversation_messages SET body = '', data = NULL, sender = 'erased', recipient = 'erased', external_id = NULL,
             next_attempt_at = NULL, error = NULL, status = CASE status WHEN 'queued' THEN 'failed' ELSE status END
         WHERE tenant_id = ?1 AND conversation_id IN (SELECT id FROM conversations WHERE tenant_id = ?1 AND participant = ?2)",
    )?
    .execute((tx.tenant(), participant))?;
    tx.prepare_cached("UPDATE conversation_messages SET sender = 'erased' WHERE tenant_id = ?1 AND sender = ?2")?
        .execute((tx.tenant(), participant))?;
    Ok(())
}
