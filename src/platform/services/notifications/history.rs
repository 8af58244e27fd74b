//! Notifications as they are read: their state and each delivery, and the list of them.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension as _, Row, params_from_iter};

use crate::api::arguments::quote;
use crate::api::notifications::{ChannelDelivery, Get, List, Notification, Recipient};
use crate::api::{Page, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::Cx;

const COLUMNS: &str = "id, status, template_id, email, user_id, phone, variables, channels, created_at, sent_at";

pub(super) async fn get(cx: Cx, request: Get) -> Result<Notification> {
    let tenant = cx.tenant();
    cx.read(move |connection| find(connection, tenant.as_str(), request.id.as_str())).await
}

pub(super) async fn list(cx: Cx, request: List) -> Result<Page<Notification>> {
    let (sql, values) = query_of(&cx, &request)?;
    let tenant = cx.tenant();
    let found = cx
        .read(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let mut found = statement.query_map(params_from_iter(values), of_row)?.collect::<rusqlite::Result<Vec<_>>>()?;
            for notification in &mut found {
                notification.deliveries = deliveries(connection, tenant.as_str(), notification.notification_id.as_str())?;
            }
            Ok(found)
        })
        .await?;
    Ok(cx.page_of(found, &request.page, |notification| notification.notification_id.0.clone()))
}

/// Finds a notification of the tenant with its deliveries.
pub(super) fn find(connection: &Connection, tenant: &str, id: &str) -> Result<Notification> {
    let sql = format!("SELECT {COLUMNS} FROM notifications WHERE tenant_id = ? AND id = ?");
    let found = connection.prepare_cached(&sql)?.query_row((tenant, id), of_row).optional()?;
    let mut notification = found.ok_or_else(|| {
        Error::new(Kind::NotFound, "FM-NS-NOT-FOUND", format!("there is no notification {}", quote(id)))
            .hint("notifications_list shows the notifications that there are.")
    })?;
    notification.deliveries = deliveries(connection, tenant, id)?;
    Ok(notification)
}

fn deliveries(connection: &Connection, tenant: &str, id: &str) -> Result<Vec<ChannelDelivery>> {
    let mut statement = connection.prepare_cached(
        "SELECT channel, status, attempts, provider, sent_at, next_attempt_at, error FROM notification_deliveries
         WHERE tenant_id = ? AND notification_id = ? ORDER BY place",
    )?;
    let rows = statement.query_map((tenant, id), |row| {
        Ok(ChannelDelivery {
            channel: row.get::<_, String>(0)?.as_str().into(),
            status: Some(row.get::<_, String>(1)?.as_str().into()),
            attempts: row.get(2)?,
            provider: row.get(3)?,
            sent_at: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_millis),
            next_attempt_at: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_millis),
            error: row.get(6)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The SQL of a list with its values.
fn query_of(cx: &Cx, request: &List) -> Result<(String, Vec<Sql>)> {
    let mut sql = format!("SELECT {COLUMNS} FROM notifications WHERE tenant_id = ?");
    let mut values: Vec<Sql> = vec![cx.tenant().0.into()];
    let mut and = |condition: &str, given: Vec<Sql>| {
        sql.push_str(" AND ");
        sql.push_str(condition);
        values.extend(given);
    };
    if let Some(recipient) = &request.recipient {
        let wanted: Sql = recipient.clone().into();
        and("(email = ? OR user_id = ? OR phone = ?)", vec![wanted.clone(), wanted.clone(), wanted]);
    }
    if let Some(status) = &request.status {
        and("status IN (SELECT value FROM json_each(?))", vec![serde_json::to_string(status).map_err(Error::internal)?.into()]);
    }
    if let Some(after) = request.created_after {
        and("created_at > ?", vec![after.millis().into()]);
    }
    if let Some(before) = request.created_before {
        and("created_at < ?", vec![before.millis().into()]);
    }
    let (beyond, order) = match request.sort.as_deref() {
        None | Some("-createdAt") => ("id < ?", "DESC"),
        Some("createdAt") => ("id > ?", "ASC"),
        Some(other) => {
            let detail = format!("is {}; allowed are createdAt, -createdAt", quote(other));
            return Err(
                Error::new(Kind::Invalid, "FM-NS-INVALID", "notifications cannot be sorted like that").field("/sort", "enum", detail)
            );
        }
    };
    if let Some(place) = cx.cursor(&request.page)? {
        and(beyond, vec![place.into()]);
    }
    let most = request.page.size() + 1;
    Ok((format!("{sql} ORDER BY id {order} LIMIT {most}"), values))
}

fn of_row(row: &Row<'_>) -> rusqlite::Result<Notification> {
    let (status, variables, channels): (String, String, String) = (row.get(1)?, row.get(6)?, row.get(7)?);
    Ok(Notification {
        notification_id: row.get::<_, String>(0)?.into(),
        status: Some(status.as_str().into()),
        template_id: Some(row.get::<_, String>(2)?.into()),
        recipient: Some(Recipient { email: row.get(3)?, user_id: row.get::<_, Option<String>>(4)?.map(Into::into), phone: row.get(5)? }),
        variables: serde_json::from_str(&variables).unwrap_or_default(),
        channels: serde_json::from_str(&channels).unwrap_or_default(),
        deliveries: Vec::new(),
        created_at: Some(Timestamp::from_millis(row.get(8)?)),
        sent_at: row.get::<_, Option<i64>>(9)?.map(Timestamp::from_millis),
    })
}
