//! Channels: how they are registered, stored and found.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::json;

use super::credentials::{self, Secrets};
use crate::api::arguments::quote;
use crate::api::audit::Changes;
use crate::api::communication::{Channel, ChannelKind, ListChannels, Register};
use crate::api::{FieldError, Page, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::io::standard_webhooks;
use crate::platform::Platform;
use crate::platform::database::Tx;
use crate::platform::http::context::Cx;
use crate::platform::outbound::{self, Target};

/// Most channels of a tenant.
const MAX_PER_TENANT: i64 = 1_000;
const COLUMNS: &str = "id, kind, name, account, base_url, status, created_at";

/// A channel.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) kind: ChannelKind,
    pub(super) name: Option<String>,
    pub(super) account: Option<String>,
    pub(super) base_url: String,
    pub(super) status: String,
    pub(super) created_at: Timestamp,
}

pub(super) async fn register(cx: Cx, request: Register) -> Result<Channel> {
    let refused = |faults| Error::new(Kind::Invalid, "FM-COMMS-INVALID", "the channel cannot be as it is described").with_fields(faults);
    let url = request.base_url.as_deref().ok_or_else(|| {
        Error::new(Kind::Invalid, "FM-COMMS-BASE-URL", "the embedded platform knows no provider's public address")
            .field("/baseUrl", "required", "is the address that messages are posted to, such as http://127.0.0.1:9000/messages")
            .hint("Give the address of a provider or gateway that takes the platform's messages.")
    })?;
    outbound::parse(url).map_err(|detail| refused(vec![FieldError::new("/baseUrl", "format", detail)]))?;
    let target = Target::read(&cx.platform, url).map_err(|detail| {
        Error::new(Kind::Forbidden, "FM-COMMS-HOST-NOT-ALLOWED", format!("baseUrl {detail}"))
            .field("/baseUrl", "host", detail)
            .hint("Use an address of this machine, or have the operator allow the host.")
    })?;
    for (field, text) in [("name", &request.name), ("account", &request.account)] {
        if text.as_deref().is_some_and(|text| text.chars().any(char::is_control)) {
            return Err(refused(vec![FieldError::new(format!("/{field}"), "format", "holds no control characters")]));
        }
    }
    let mut secrets = credentials::read(&request.credentials.unwrap_or_default()).map_err(refused)?;
    let given: Vec<String> = secrets.keys().cloned().collect();
    // Without a key of the provider's own the channel gets one, which is shown this once.
    let signing_secret = if secrets.contains_key(credentials::WEBHOOK_SECRET) { None } else { Some(standard_webhooks::new_secret()?) };
    if let Some(secret) = &signing_secret {
        secrets.insert(credentials::WEBHOOK_SECRET.to_owned(), secret.clone().into());
    }
    let record = Record {
        id: String::new(),
        kind: request.channel,
        name: request.name,
        account: request.account,
        base_url: target.as_str().to_owned(),
        status: "active".to_owned(),
        created_at: cx.now(),
    };
    let (platform, set) = (cx.platform.clone(), given.clone());
    let record = cx.write(move |tx| create(tx, &platform, record, &secrets, &set)).await?;
    Ok(Channel { signing_secret: signing_secret.map(Into::into), ..record.view(&cx.platform, given) })
}

pub(super) async fn list(cx: Cx, request: ListChannels) -> Result<Page<Channel>> {
    let (tenant, after, most) = (cx.tenant(), cx.cursor(&request.page)?.unwrap_or_default(), request.page.size() + 1);
    let platform = cx.platform.clone();
    let found = cx
        .read(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM channels WHERE tenant_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params![tenant.as_str(), after, i64::try_from(most).unwrap_or(i64::MAX)], from_row)?;
            let view = |record: Record| {
                let set = credentials::set_names(connection, tenant.as_str(), &record.id)?;
                Ok(record.view(&platform, set))
            };
            rows.map(|row| view(row?)).collect::<Result<Vec<_>>>()
        })
        .await?;
    Ok(cx.page_of(found, &request.page, |channel| channel.channel_id.to_string()))
}

impl Record {
    /// The channel as answers show it.
    fn view(self, platform: &Platform, credentials_set: Vec<String>) -> Channel {
        Channel {
            webhook_url: Some(format!("http://{}/channels/{}/webhook", platform.address(), self.id)),
            channel_id: self.id.into(),
            channel: Some(self.kind),
            name: self.name,
            account: self.account,
            base_url: Some(self.base_url),
            credentials_set,
            status: Some(self.status),
            signing_secret: None,
            created_at: Some(self.created_at),
        }
    }
}

fn create(tx: &mut Tx<'_>, platform: &Platform, mut record: Record, secrets: &Secrets, given: &[String]) -> Result<Record> {
    let sql = "SELECT count(*) FROM channels WHERE tenant_id = ?";
    let count: i64 = tx.prepare_cached(sql)?.query_row([tx.tenant()], |row| row.get(0))?;
    if count >= MAX_PER_TENANT {
        return Err(Error::new(Kind::Conflict, "FM-COMMS-TOO-MANY", format!("there are {MAX_PER_TENANT} channels already"))
            .hint("Use one of them; channels_list shows them."));
    }
    (record.id, record.created_at) = (tx.mint("chan"), tx.now());
    tx.prepare_cached(
        "INSERT INTO channels (tenant_id, id, kind, name, account, base_url, status, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        tx.tenant(),
        record.id,
        record.kind.as_str(),
        record.name,
        record.account,
        record.base_url,
        record.status,
        record.created_at.millis(),
    ])?;
    credentials::store(tx, platform, &record.id, secrets)?;
    let after = json!({
        "channel": record.kind, "name": record.name, "account": record.account, "baseUrl": record.base_url, "credentialsSet": given,
    });
    tx.audit("channel.registered", "channel", &record.id, Some(Changes { before: None, after: after.as_object().cloned() }))?;
    Ok(record)
}

/// Finds a channel of a tenant.
pub(super) fn find(connection: &Connection, tenant: &str, id: &str) -> Result<Record> {
    let sql = format!("SELECT {COLUMNS} FROM channels WHERE tenant_id = ?1 AND id = ?2");
    connection.prepare_cached(&sql)?.query_row((tenant, id), from_row).optional()?.ok_or_else(|| {
        Error::new(Kind::NotFound, "FM-COMMS-NOT-FOUND", format!("there is no channel {}", quote(id)))
            .hint("channels_list shows the channels and their ids.")
    })
}

/// The newest channel of a kind; one that messages go through comes first.
pub(super) fn of_kind(connection: &Connection, tenant: &str, kind: &ChannelKind) -> Result<Option<Record>> {
    let sql = format!("SELECT {COLUMNS} FROM channels WHERE tenant_id = ?1 AND kind = ?2 ORDER BY status = 'active' DESC, id DESC LIMIT 1");
    Ok(connection.prepare_cached(&sql)?.query_row((tenant, kind.as_str()), from_row).optional()?)
}

/// Whose channel it is that a provider names.
pub(super) fn tenant_of(connection: &Connection, id: &str) -> Result<Option<String>> {
    Ok(connection.prepare_cached("SELECT tenant_id FROM channels WHERE id = ?1")?.query_row([id], |row| row.get(0)).optional()?)
}

/// Notes whether messages go through.
pub(super) fn note(tx: &Tx<'_>, id: &str, is_active: bool) -> Result<()> {
    let status = if is_active { "active" } else { "failing" };
    tx.prepare_cached("UPDATE channels SET status = ?3 WHERE tenant_id = ?1 AND id = ?2")?.execute((tx.tenant(), id, status))?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        id: row.get(0)?,
        kind: ChannelKind::from(row.get_ref(1)?.as_str()?),
        name: row.get(2)?,
        account: row.get(3)?,
        base_url: row.get(4)?,
        status: row.get(5)?,
        created_at: Timestamp::from_millis(row.get(6)?),
    })
}
