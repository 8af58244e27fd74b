//! Conversations: one with each person on a channel, and what it is about.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Map, Value, json};

use super::preference;
use crate::api::arguments::quote;
use crate::api::audit::Changes;
use crate::api::communication::{ChannelKind, Context, Conversation, Link, ListConversations};
use crate::api::ids::TaskId;
use crate::api::{Page, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;
use crate::platform::engine::runtime::run;
use crate::platform::http::context::{self, Cx};

/// Most that is kept with a link or a message, in bytes.
const MAX_DATA: usize = 16 * 1024;
const COLUMNS: &str = "conversations.id, channel_id, kind, participant, execution_id, task_id, data, version, conversations.created_at,
    updated_at";
const CHANNELS: &str = "channels ON channels.tenant_id = conversations.tenant_id AND channels.id = channel_id";

/// A conversation.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: String,
    channel: String,
    kind: ChannelKind,
    participant: String,
    pub(super) execution: Option<String>,
    pub(super) task: Option<String>,
    data: Map<String, Value>,
    pub(super) version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Record {
    /// The conversation as answers show it.
    pub(super) fn view(self) -> Conversation {
        let context = Context { execution_id: self.execution.map(Into::into), task_id: self.task.map(Into::into), data: self.data };
        Conversation {
            conversation_id: self.id.into(),
            channel: Some(self.kind),
            channel_id: Some(self.channel.into()),
            participant_id: Some(self.participant),
            context: Some(context),
            created_at: Some(self.created_at),
            updated_at: Some(self.updated_at),
        }
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Record> {
    let data: String = row.get(6)?;
    Ok(Record {
        id: row.get(0)?,
        channel: row.get(1)?,
        kind: ChannelKind::from(row.get_ref(2)?.as_str()?),
        participant: row.get(3)?,
        execution: row.get(4)?,
        task: row.get(5)?,
        data: serde_json::from_str(&data).unwrap_or_default(),
        version: row.get(7)?,
        created_at: Timestamp::from_millis(row.get(8)?),
        updated_at: Timestamp::from_millis(row.get(9)?),
    })
}

fn select(connection: &Connection, condition: &str, values: &[&str]) -> Result<Option<Record>> {
    let sql = format!("SELECT {COLUMNS} FROM conversations CROSS JOIN {CHANNELS} WHERE conversations.tenant_id = ?1 AND {condition}");
    Ok(connection.prepare_cached(&sql)?.query_row(rusqlite::params_from_iter(values), from_row).optional()?)
}

/// Finds a conversation of a tenant.
pub(super) fn find(connection: &Connection, tenant: &str, id: &str) -> Result<Record> {
    select(connection, "conversations.id = ?2", &[tenant, id])?.ok_or_else(|| {
        Error::new(Kind::NotFound, "FM-COMMS-CONVERSATION-NOT-FOUND", format!("there is no conversation {}", quote(id)))
            .hint("conversations_list shows the conversations and their ids.")
    })
}

pub(super) async fn list(cx: Cx, request: ListConversations) -> Result<Page<Conversation>> {
    let (tenant, before, most) = (cx.tenant(), cx.cursor(&request.page)?, request.page.size() + 1);
    let page = request.page.clone();
    let found = cx
        .read(move |connection| {
            // Each has the order of the list; by what the planner knows it may walk all conversations of the tenant instead.
            let index = match (&request.channel_id, &request.participant_id) {
                (Some(_), Some(_)) => "conversations INDEXED BY conversations_of",
                (Some(_), None) => "conversations INDEXED BY conversations_by_channel",
                (None, Some(_)) => "conversations INDEXED BY conversations_with",
                (None, None) => "conversations",
            };
            let mut sql = format!("SELECT {COLUMNS} FROM {index} CROSS JOIN {CHANNELS} WHERE conversations.tenant_id = ?");
            let mut values = vec![tenant.to_string()];
            let filters = [
                (" AND channel_id = ?", request.channel_id.map(|id| id.0)),
                (" AND participant = ?", request.participant_id),
                (" AND conversations.id < ?", before),
            ];
            for (condition, value) in filters {
                if let Some(value) = value {
                    sql.push_str(condition);
                    values.push(value);
                }
            }
            sql.extend([" ORDER BY conversations.id DESC LIMIT ", &most.to_string()]);
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(rusqlite::params_from_iter(values), from_row)?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
        })
        .await?;
    let found = cx.page_of(found, &page, |record| record.id.clone());
    Ok(Page { items: found.items.into_iter().map(Record::view).collect(), next_cursor: found.next_cursor })
}

/// The conversation with a person on a channel; a first message begins it.
pub(super) fn with(tx: &Tx<'_>, channel: &str, participant: &str) -> Result<Record> {
    let now = tx.now().millis();
    let updated = tx
        .prepare_cached("UPDATE conversations SET updated_at = ?4 WHERE tenant_id = ?1 AND channel_id = ?2 AND participant = ?3")?
        .execute((tx.tenant(), channel, participant, now))?;
    if updated == 0 {
        tx.prepare_cached(
            "INSERT INTO conversations (tenant_id, id, channel_id, participant, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
        )?
        .execute(params![tx.tenant(), tx.mint("conv"), channel, participant, now])?;
    }
    select(tx, "channel_id = ?2 AND participant = ?3", &[tx.tenant(), channel, participant])?
        .ok_or_else(|| Error::internal("a conversation that was just begun is not there"))
}

/// Ties a conversation to an execution, and to a task of it.
pub(super) fn link(tx: &mut Tx<'_>, request: &Link, if_match: Option<&str>) -> Result<Record> {
    let before = find(tx, tx.tenant(), request.id.as_str())?;
    context::matches(if_match, &before.version.to_string())?;
    let unknown = |field: &str, what: &str, id: &str| {
        Error::new(Kind::Invalid, "FM-COMMS-LINK", format!("there is no {what} {}", quote(id))).field(
            format!("/{field}"),
            "unknown",
            format!("is not the id of an {what} of the tenant"),
        )
    };
    if run::read(tx, tx.tenant(), request.execution_id.as_str())?.is_none() {
        return Err(
            unknown("executionId", "execution", request.execution_id.as_str()).hint("executions_start answers the id of a new one.")
        );
    }
    if let Some(task) = &request.task_id {
        let of: Option<Option<String>> = tx
            .prepare_cached("SELECT execution_id FROM tasks WHERE tenant_id = ?1 AND id = ?2")?
            .query_row((tx.tenant(), task.as_str()), |row| row.get(0))
            .optional()?;
        if of.flatten().as_deref() != Some(request.execution_id.as_str()) {
            return Err(
                unknown("taskId", "open or closed task of the execution", task.as_str()).hint("tasks_list shows the tasks there are.")
            );
        }
    }
    let preferred = preference::read(request.data.as_ref())?;
    let data = text(request.data.as_ref())?.unwrap_or_else(|| "{}".to_owned());
    tx.prepare_cached(
        "UPDATE conversations SET execution_id = ?3, task_id = ?4, data = ?5, updated_at = ?6, version = version + 1
         WHERE tenant_id = ?1 AND id = ?2",
    )?
    .execute(params![
        tx.tenant(),
        before.id,
        request.execution_id.as_str(),
        request.task_id.as_ref().map(TaskId::as_str),
        data,
        tx.now().millis(),
    ])?;
    if let Some(kind) = preferred {
        preference::keep(tx, &before.participant, &kind)?;
    }
    let told = |execution: Option<&str>, task: Option<&str>| json!({ "executionId": execution, "taskId": task }).as_object().cloned();
    let changes = Changes {
        before: told(before.execution.as_deref(), before.task.as_deref()),
        after: told(Some(request.execution_id.as_str()), request.task_id.as_ref().map(TaskId::as_str)),
    };
    tx.audit("conversation.linked", "conversation", &before.id, Some(changes))?;
    find(tx, tx.tenant(), &before.id)
}

/// Data as it is kept; refused where it is too large.
pub(super) fn text(data: Option<&Map<String, Value>>) -> Result<Option<String>> {
    let Some(data) = data else { return Ok(None) };
    let text = serde_json::to_string(data).map_err(Error::internal)?;
    if text.len() > MAX_DATA {
        return Err(Error::new(Kind::Invalid, "FM-COMMS-DATA", "there is more data than is kept").field(
            "/data",
            "size",
            format!("has at most {MAX_DATA} bytes as JSON"),
        ));
    }
    Ok(Some(text))
}

/// Forgets a person: their conversations have no name any more.
pub(super) fn erase(tx: &Tx<'_>, participant: &str) -> Result<()> {
    tx.prepare_cached("DELETE FROM channel_preferences WHERE tenant_id = ?1 AND participant = ?2")?.execute((tx.tenant(), participant))?;
    tx.prepare_cached(
        "UPDATE conversations SET participant = 'erased ' || id, data = '{}', version = version + 1
         WHERE tenant_id = ?1 AND participant = ?2",
    )?
    .execute((tx.tenant(), participant))?;
    Ok(())
}
