//! The queue: deliveries with their next attempt, in the database, so that a restart loses none.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Map, Value, json};

use super::recipient;
use crate::api::Timestamp;
use crate::api::audit::Changes;
use crate::api::ids::UserId;
use crate::api::notifications::{NotificationChannel, Recipient};
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;

/// Most deliveries of a tenant that wait.
const MAX_QUEUED: i64 = 10_000;
/// The time in which the notifications of a recipient are counted, in seconds.
const WINDOW_SECONDS: f64 = 3600.0;

/// A notification as it goes into the queue.
pub(super) struct New {
    pub(super) template_id: String,
    pub(super) recipient: Recipient,
    pub(super) variables: Map<String, Value>,
    /// Channels that are sent to at once.
    pub(super) channels: Vec<NotificationChannel>,
    /// Channels that are left if those before fail.
    pub(super) fallbacks: Vec<NotificationChannel>,
    pub(super) subject: String,
    pub(super) body: String,
}

/// A delivery that is due.
#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) tenant: String,
    pub(super) notification: String,
    pub(super) place: i64,
    pub(super) channel: NotificationChannel,
    pub(super) attempts: u32,
    pub(super) recipient: Recipient,
    pub(super) subject: String,
    pub(super) body: String,
    pub(super) created_at: Timestamp,
}

impl Due {
    /// The address that the delivery goes to.
    pub(super) fn address(&self) -> &str {
        recipient::address(&self.recipient, &self.channel).unwrap_or_default()
    }

    /// What names the delivery among all: the same at every attempt, so that a receiver can drop repeats.
    pub(super) fn message_id(&self) -> String {
        format!("{}.{}", self.notification, self.channel)
    }
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A provider took the message.
    Sent {
        /// The provider.
        provider: String,
    },
    /// None took it, and it is tried again at a time.
    Retry(Failure, Timestamp),
    /// None took it, and none will.
    GivenUp(Failure),
}

/// Why a message was not taken.
#[derive(Debug)]
pub(super) struct Failure {
    /// The provider that was asked last.
    pub(super) provider: String,
    /// The cause, for people.
    pub(super) reason: String,
    /// Whether the same message would be refused again.
    pub(super) is_permanent: bool,
}

/// Rejects a notification to a recipient who got as many as there may be within the hour, by any of their addresses.
pub(super) fn check_throttle(connection: &Connection, tenant: &str, now: Timestamp, recipient: &Recipient, most: u32) -> Result<()> {
    let Some(last_counted) = most.checked_sub(1) else { return Ok(()) };
    let addresses = [
        ("email", recipient.email.as_deref()),
        ("user_id", recipient.user_id.as_ref().map(UserId::as_str)),
        ("phone", recipient.phone.as_deref()),
    ];
    for (column, address) in addresses {
        let Some(address) = address else { continue };
        // The newest that may still be within the hour; ids sort by time.
        let sql = format!("SELECT created_at FROM notifications WHERE tenant_id = ? AND {column} = ? ORDER BY id DESC LIMIT 1 OFFSET ?");
        let counted: Option<i64> =
            connection.prepare_cached(&sql)?.query_row((tenant, address, last_counted), |row| row.get(0)).optional()?;
        let Some(free) = counted.map(|at| Timestamp::from_millis(at).plus_seconds(WINDOW_SECONDS)).filter(|free| *free > now) else {
            continue;
        };
        let wait = free.seconds_since(now);
        return Err(Error::new(Kind::RateLimited, "FM-NS-THROTTLED", format!("the recipient got {most} notifications within an hour"))
            .field(format!("/recipient/{}", if column == "user_id" { "userId" } else { column }), "throttled", "gets no more for now")
            .hint("Wait, or put several messages into one.")
            .retry_after(std::time::Duration::from_secs_f64(wait)));
    }
    Ok(())
}

/// Rejects a notification where too many wait.
pub(super) fn check_room(connection: &Connection, tenant: &str) -> Result<()> {
    let queued: i64 = connection
        .prepare_cached("SELECT count(*) FROM notification_deliveries WHERE tenant_id = ? AND next_attempt_at IS NOT NULL")?
        .query_row([tenant], |row| row.get(0))?;
    if queued < MAX_QUEUED {
        return Ok(());
    }
    Err(Error::new(Kind::RateLimited, "FM-NS-QUEUE-FULL", format!("{MAX_QUEUED} deliveries wait already"))
        .hint("Wait until some are sent; notifications_list with status queued shows them."))
}

/// Appends a notification with a delivery for each of its channels.
pub(super) fn add(tx: &mut Tx<'_>, id: &str, new: &New) -> Result<()> {
    let New { template_id, recipient, variables, channels, fallbacks, subject, body } = new;
    let text = |channels: &[NotificationChannel]| serde_json::to_string(channels).map_err(Error::internal);
    tx.prepare_cached(
        "INSERT INTO notifications (tenant_id, id, template_id, email, user_id, phone, variables, channels, fallbacks, subject, body,
             status, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 'queued', ?12)",
    )?
    .execute(params![
        tx.tenant(),
        id,
        template_id,
        recipient.email,
        recipient.user_id.as_ref().map(UserId::as_str),
        recipient.phone,
        serde_json::to_string(variables).map_err(Error::internal)?,
        text(&[channels.as_slice(), fallbacks.as_slice()].concat())?,
        text(fallbacks)?,
        subject,
        body,
        tx.now().millis(),
    ])?;
    for channel in channels {
        enqueue(tx, id, channel)?;
    }
    // Neither text nor address: what names a person stays where it can be erased.
    let after = json!({ "templateId": template_id, "channels": channels, "fallbacks": fallbacks });
    tx.audit("notification.queued", "notification", id, Some(Changes { before: None, after: after.as_object().cloned() }))?;
    Ok(())
}

fn enqueue(tx: &Tx<'_>, notification: &str, channel: &NotificationChannel) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO notification_deliveries (tenant_id, notification_id, place, channel, status, next_attempt_at)
         VALUES (?1, ?2, (SELECT count(*) FROM notification_deliveries WHERE tenant_id = ?1 AND notification_id = ?2), ?3, 'queued', ?4)",
    )?
    .execute((tx.tenant(), notification, channel.as_str(), tx.now().millis()))?;
    Ok(())
}

/// A delivery that waits, by the id of its job: the notification and the delivery's place.
pub(super) fn load(connection: &Connection, tenant: &str, job: &str) -> Result<Option<Due>> {
    let Some((notification, place)) = job.split_once('/') else { return Ok(None) };
    let mut statement = connection.prepare_cached(
        "SELECT place, channel, attempts, email, user_id, phone, subject, body, created_at
         FROM notification_deliveries AS delivery
         JOIN notifications ON notifications.tenant_id = delivery.tenant_id AND id = notification_id
         WHERE delivery.tenant_id = ?1 AND notification_id = ?2 AND place = CAST(?3 AS INTEGER) AND next_attempt_at IS NOT NULL",
    )?;
    let due = |row: &Row<'_>| {
        Ok(Due {
            tenant: tenant.to_owned(),
            notification: notification.to_owned(),
            place: row.get(0)?,
            channel: row.get::<_, String>(1)?.as_str().into(),
            attempts: row.get(2)?,
            recipient: Recipient { email: row.get(3)?, user_id: row.get::<_, Option<String>>(4)?.map(Into::into), phone: row.get(5)? },
            subject: row.get(6)?,
            body: row.get(7)?,
            created_at: Timestamp::from_millis(row.get(8)?),
        })
    };
    Ok(statement.query_row((tenant, notification, place), due).optional()?)
}

/// Keeps how an attempt ended, and queues the next channel where this one was given up.
pub(super) fn keep(tx: &mut Tx<'_>, due: &Due, outcome: &Outcome) -> Result<()> {
    let (status, provider, sent_at, next, error) = match outcome {
        Outcome::Sent { provider } => ("sent", provider, Some(tx.now()), None, None),
        Outcome::Retry(failure, at) => ("queued", &failure.provider, None, Some(*at), Some(&failure.reason)),
        Outcome::GivenUp(failure) => ("failed", &failure.provider, None, None, Some(&failure.reason)),
    };
    let updated = tx
        .prepare_cached(
            "UPDATE notification_deliveries SET status = ?4, attempts = ?5, provider = ?6, sent_at = ?7, next_attempt_at = ?8, error = ?9
             WHERE tenant_id = ?1 AND notification_id = ?2 AND place = ?3 AND status = 'queued'",
        )?
        .execute(params![
            tx.tenant(),
            due.notification,
            due.place,
            status,
            due.attempts + 1,
            provider,
            sent_at.map(Timestamp::millis),
            next.map(Timestamp::millis),
            error,
        ])?;
    // It was erased meanwhile.
    if updated == 0 {
        return Ok(());
    }
    let told = json!({ "channel": due.channel, "provider": provider, "attempts": due.attempts + 1, "error": error });
    let changes = Changes { before: None, after: told.as_object().cloned() };
    match outcome {
        Outcome::Retry(..) => return Ok(()),
        Outcome::Sent { .. } => {
            tx.prepare_cached(
                "UPDATE notifications SET status = 'sent', sent_at = coalesce(sent_at, ?3) WHERE tenant_id = ?1 AND id = ?2",
            )?
            .execute((tx.tenant(), &due.notification, tx.now().millis()))?;
            tx.audit("notification.sent", "notification", &due.notification, Some(changes))?;
        }
        Outcome::GivenUp(_) => {
            fall_back(tx, &due.notification)?;
            tx.audit("notification.failed", "notification", &due.notification, Some(changes))?;
        }
    }
    Ok(())
}

/// Queues the next channel of a notification. Without one, and with nothing sent or queued, the notification has failed.
fn fall_back(tx: &Tx<'_>, id: &str) -> Result<()> {
    let fallbacks: String = tx
        .prepare_cached("SELECT fallbacks FROM notifications WHERE tenant_id = ?1 AND id = ?2")?
        .query_row((tx.tenant(), id), |row| row.get(0))?;
    let fallbacks: Vec<NotificationChannel> = serde_json::from_str(&fallbacks).map_err(Error::internal)?;
    if let Some((channel, rest)) = fallbacks.split_first() {
        let rest = serde_json::to_string(rest).map_err(Error::internal)?;
        tx.prepare_cached("UPDATE notifications SET fallbacks = ?3 WHERE tenant_id = ?1 AND id = ?2")?.execute((tx.tenant(), id, rest))?;
        return enqueue(tx, id, channel);
    }
    tx.prepare_cached(
        "UPDATE notifications SET status = 'failed' WHERE tenant_id = ?1 AND id = ?2 AND NOT EXISTS (
             SELECT 1 FROM notification_deliveries
             WHERE tenant_id = ?1 AND notification_id = ?2 AND status <> 'failed')",
    )?
    .execute((tx.tenant(), id))?;
    Ok(())
}

/// Makes a notification unreadable; what is queued of it is not sent any more.
pub(super) fn erase(tx: &Tx<'_>, id: &str) -> Result<()> {
    tx.prepare_cached(
        "UPDATE notification_deliveries SET status = CASE status WHEN 'queued' THEN 'failed' ELSE status END,
             next_attempt_at = NULL, error = 'erased' WHERE tenant_id = ?1 AND notification_id = ?2",
    )?
    .execute((tx.tenant(), id))?;
    tx.prepare_cached(
        "UPDATE notifications SET email = NULL, user_id = NULL, phone = NULL, variables = '{}', subject = '', body = '',
             fallbacks = '[]', status = CASE status WHEN 'queued' THEN 'failed' ELSE status END WHERE tenant_id = ?1 AND id = ?2",
    )?
    .execute((tx.tenant(), id))?;
    Ok(())
}
