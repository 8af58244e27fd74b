//! Notifications as they are read: their state and each delivery, and the list of them.

use std::collections::BTreeSet;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::api::arguments::quote;
use crate::api::notifications::{ChannelDelivery, Get, List, Notification, Recipient};
use crate::api::{Page, Timestamp, ids};
use crate::error::{Error, Kind, Result};
use crate::platform::database::first_of;
use crate::platform::engine::runtime::run::size_of;
use crate::platform::http::context::{Cx, within_bytes};

const COLUMNS: &str = "id, status, template_id, email, user_id, phone, variables, channels, created_at, sent_at";

pub(super) async fn get(cx: Cx, request: Get) -> Result<Notification> {
    let tenant = cx.tenant();
    cx.read(move |connection| find(connection, tenant.as_str(), request.id.as_str())).await
}

pub(super) async fn list(cx: Cx, request: List) -> Result<Page<Notification>> {
    let (query, tenant) = (Query::of(&cx, &request)?, cx.tenant());
    let (found, page) = cx
        .read(move |connection| {
            let ids = query.ids(connection)?;
            let notifications = ids.iter().map(|id| find(connection, tenant.as_str(), id));
            within_bytes(notifications, &request.page, |notification| size_of(&notification.variables))
        })
        .await?;
    Ok(cx.page_of(found, &page, |notification| notification.notification_id.0.clone()))
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

/// A list of notifications: each way to name the recipient and each state is a range of an index.
struct Query {
    tenant: String,
    recipient: Option<String>,
    statuses: Option<Vec<String>>,
    conditions: String,
    values: Vec<Sql>,
    descending: bool,
    most: usize,
}

impl Query {
    fn of(cx: &Cx, request: &List) -> Result<Self> {
        let descending = match request.sort.as_deref() {
            None | Some("-createdAt") => true,
            Some("createdAt") => false,
            Some(other) => {
                let detail = format!("is {}; allowed are createdAt, -createdAt", quote(other));
                return Err(
                    Error::new(Kind::Invalid, "FM-NS-INVALID", "notifications cannot be sorted like that").field("/sort", "enum", detail)
                );
            }
        };
        let (mut conditions, mut values) = (String::new(), Vec::<Sql>::new());
        let mut and = |condition: &str, given: Vec<Sql>| {
            conditions.extend([" AND ", condition]);
            values.extend(given);
        };
        // Ids sort by the time they were made, so the index leads to the time as well.
        if let Some(after) = request.created_after.map(Timestamp::millis) {
            and("created_at > ? AND id >= ?", vec![after.into(), ids::first_at("notif", after).into()]);
        }
        if let Some(before) = request.created_before.map(Timestamp::millis) {
            and("created_at < ? AND id < ?", vec![before.into(), ids::first_at("notif", before).into()]);
        }
        if let Some(place) = cx.cursor(&request.page)? {
            and(if descending { "id < ?" } else { "id > ?" }, vec![place.into()]);
        }
        let statuses = request.status.as_ref().map(|wanted| wanted.iter().map(|status| status.as_str().to_owned()).collect());
        let (tenant, recipient, most) = (cx.tenant().0, request.recipient.clone(), request.page.size() + 1);
        Ok(Self { tenant, recipient, statuses, conditions, values, descending, most })
    }

    /// The ids of the page's notifications, in order, and of one more.
    fn ids(&self, connection: &Connection) -> Result<Vec<String>> {
        let mut found = BTreeSet::new();
        let recipients: &[&str] = match &self.recipient {
            Some(_) => &[" AND email = ?", " AND user_id = ?", " AND phone = ?"],
            None => &[""],
        };
        let and_status = if self.statuses.is_some() { " AND status = ?" } else { "" };
        let statuses = self.statuses.as_ref().map_or_else(|| vec![None], |statuses| statuses.iter().map(Some).collect());
        for and_recipient in recipients {
            let sql = format!(
                "SELECT id FROM notifications WHERE tenant_id = ?{and_recipient}{and_status}{} ORDER BY id {} LIMIT {}",
                self.conditions,
                if self.descending { "DESC" } else { "ASC" },
                self.most
            );
            let ranges = statuses.iter().map(|status| {
                let named = [Some(&self.tenant), self.recipient.as_ref(), *status].into_iter().flatten();
                named.cloned().map(Sql::Text).chain(self.values.iter().cloned()).collect()
            });
            first_of(connection, &sql, ranges, &mut found)?;
        }
        let ids = found.into_iter();
        Ok(if self.descending { ids.rev().take(self.most).collect() } else { ids.take(self.most).collect() })
    }
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
