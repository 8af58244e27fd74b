//! Subscriptions: to a webhook, with a signing secret that is shown once, or to a channel; listed with their health, ended.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;

use crate::api::arguments::quote;
use crate::api::audit::Changes;
use crate::api::events::{Delivery, ListSubscriptions, RotateSigningSecret, Subscribe, Subscription, Unsubscribe};
use crate::api::{Done, Page, Timestamp};
use crate::error::{Error, Kind, Result};
use crate::io::standard_webhooks::new_secret;
use crate::platform::database::Tx;
use crate::platform::http::context::{Answer, Cx};
use crate::platform::outbound::Target;

use super::topics;

/// Most webhooks of a tenant: each event is looked at for each of them.
const MAX_WEBHOOKS: i64 = 100;
/// Most channels of a tenant.
const MAX_CHANNELS: i64 = 256;
/// How long a channel's subscription is kept that nobody listens to, in milliseconds: its client is gone.
const UNHEARD_FOR: i64 = 60 * 60 * 1000;

const SELECT: &str = "SELECT id, topic, url, created_at, attempts,
    given_up, delivery FROM subscriptions";

pub(super) async fn subscribe(cx: Cx, request: Subscribe) -> Result<Answer<Subscription>> {
    topics::check_pattern(&request.topic)?;
    let Delivery::Webhook { url } = &request.delivery else { return subscribe_channel(cx, request.topic).await };
    let target = Target::examine(&cx.platform, url).await.map_err(refused)?;
    let secret = new_secret()?;
    let (platform, plain) = (cx.platform.clone(), secret.clone());
    let mut subscription = cx
        .write(move |tx| {
            check_room(tx, "webhook", MAX_WEBHOOKS)?;
            let id = tx.mint("sub");
            let sealed = platform.keys().seal(&id, plain.as_bytes())?;
            // What happened before is for replay; a subscription begins with the next event.
            tx.execute(
                "INSERT INTO subscriptions (id, tenant_id, topic, url, secret, created_by, created_at, position)
                 VALUES (?, ?, ?, ?, ?, ?, ?, (SELECT coalesce(max(position), 0) FROM events))",
                params![id, tx.tenant(), request.topic, target.as_str(), sealed, tx.scope().actor, tx.now().millis()],
            )?;
            let after = json!({ "topic": request.topic, "url": target.as_str() });
            tx.audit("subscription.created", "subscription", &id, Some(Changes { before: None, after: after.as_object().cloned() }))?;
            find(tx, tx.tenant(), &id)
        })
        .await?;
    subscription.signing_secret = Some(secret.into());
    Ok(subscription.into())
}

/// Subscribes a channel of the WebSocket gateway, which has the subscription's id as its name.
async fn subscribe_channel(cx: Cx, topic: String) -> Result<Answer<Subscription>> {
    let listened = cx.platform.realtime().listened(cx.caller.tenant.as_str());
    let subscription = cx
        .write(move |tx| {
            remove_unheard(tx, &listened)?;
            check_room(tx, "channel", MAX_CHANNELS)?;
            let id = tx.mint("sub");
            tx.execute(
                "INSERT INTO subscriptions (id, tenant_id, topic, url, secret, created_by, created_at, position, delivery, listened_at)
                 VALUES (?1, ?2, ?3, '', x'', ?4, ?5, (SELECT coalesce(max(position), 0) FROM events), 'channel', ?5)",
                params![id, tx.tenant(), topic, tx.scope().actor, tx.now().millis()],
            )?;
            let after = json!({ "topic": topic, "channel": id });
            tx.audit("subscription.created", "subscription", &id, Some(Changes { before: None, after: after.as_object().cloned() }))?;
            find(tx, tx.tenant(), &id)
        })
        .await?;
    Ok(subscription.into())
}

/// Removes the channels' subscriptions that nobody listened to for long.
fn remove_unheard(tx: &mut Tx<'_>, listened: &HashSet<String>) -> Result<()> {
    let before = tx.now().millis() - UNHEARD_FOR;
    let unheard: Vec<String> = tx
        .prepare_cached("SELECT id FROM subscriptions WHERE tenant_id = ? AND delivery = 'channel' AND listened_at < ?")?
        .query_map(params![tx.tenant(), before], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for id in unheard.iter().filter(|id| !listened.contains(*id)) {
        tx.execute("DELETE FROM subscriptions WHERE tenant_id = ? AND id = ?", params![tx.tenant(), id])?;
        tx.audit("subscription.deleted", "subscription", id, None)?;
    }
    Ok(())
}

fn check_room(tx: &Tx<'_>, delivery: &str, most: i64) -> Result<()> {
    let count: i64 =
        tx.query_row("SELECT count(*) FROM subscriptions WHERE tenant_id = ? AND delivery = ?", params![tx.tenant(), delivery], |row| {
            row.get(0)
        })?;
    if count < most {
        return Ok(());
    }
    Err(Error::new(Kind::Conflict, "FM-EBS-TOO-MANY-SUBSCRIPTIONS", format!("there are {most} subscriptions by {delivery} already"))
        .hint("End one that is not needed any more."))
}

/// Finds the topics of a channel's subscription, and the position after which its stream begins.
pub(crate) fn find_channel(connection: &Connection, tenant: &str, id: &str) -> Result<(String, i64)> {
    connection
        .prepare_cached("SELECT topic, position FROM subscriptions WHERE tenant_id = ? AND id = ? AND delivery = 'channel'")?
        .query_row(params![tenant, id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .ok_or_else(|| {
            Error::new(Kind::NotFound, "FM-WGS-NOT-FOUND", format!("there is no channel {}", quote(id)))
                .hint("Subscribe with delivery by channel: POST /subscriptions answers the channel.")
        })
}

/// Whether a subscription still exists.
pub(crate) fn exists(connection: &Connection, tenant: &str, id: &str) -> Result<bool> {
    Ok(connection.prepare_cached("SELECT 1 FROM subscriptions WHERE tenant_id = ? AND id = ?")?.exists(params![tenant, id])?)
}

/// Notes that a listener of a channel came or went.
pub(crate) fn listened(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    let now = tx.now().millis();
    tx.execute("UPDATE subscriptions SET listened_at = ? WHERE tenant_id = ? AND id = ?", params![now, tx.tenant(), id])?;
    Ok(())
}

fn refused(detail: String) -> Error {
    Error::new(Kind::Invalid, "FM-EBS-WEBHOOK-URL", "events cannot be delivered to this address")
        .hint("Give the http or https address of a receiver on this machine, such as http://127.0.0.1:9000/hook.")
        .field("/delivery/url", "url", detail)
}

pub(super) async fn list(cx: Cx, request: ListSubscriptions) -> Result<Page<Subscription>> {
    let (tenant, after) = (cx.tenant(), cx.cursor(&request.page)?.unwrap_or_default());
    let limit = i64::try_from(request.page.size()).unwrap_or_default() + 1;
    let found = cx
        .read(move |connection| {
            let sql = format!("{SELECT} WHERE tenant_id = ? AND id > ? ORDER BY id LIMIT ?");
            let mut subscriptions = connection.prepare_cached(&sql)?;
            let found = subscriptions.query_map(params![tenant.as_str(), after, limit], of_row)?.collect::<rusqlite::Result<Vec<_>>>()?;
            Ok(found)
        })
        .await?;
    Ok(cx.page_of(found, &request.page, |subscription| subscription.subscription_id.to_string()))
}

/// Gives a webhook a new signing secret; what is delivered from now on is signed with it.
pub(super) async fn rotate_signing_secret(cx: Cx, request: RotateSigningSecret) -> Result<Subscription> {
    let secret = new_secret()?;
    let (platform, plain) = (cx.platform.clone(), secret.clone());
    let mut subscription = cx
        .write(move |tx| {
            let id = request.id.as_str();
            let subscription = find(tx, tx.tenant(), id)?;
            if matches!(subscription.delivery, Delivery::Channel) {
                return Err(Error::new(Kind::Conflict, "FM-EBS-NOT-A-WEBHOOK", "what goes to a channel is not signed")
                    .hint("subscriptions_list shows which subscriptions go to a webhook."));
            }
            let sealed = platform.keys().seal(id, plain.as_bytes())?;
            tx.execute("UPDATE subscriptions SET secret = ? WHERE tenant_id = ? AND id = ?", params![sealed, tx.tenant(), id])?;
            tx.audit("subscription.secret_replaced", "subscription", id, None)?;
            Ok(subscription)
        })
        .await?;
    subscription.signing_secret = Some(secret.into());
    Ok(subscription)
}

pub(super) async fn unsubscribe(cx: Cx, request: Unsubscribe) -> Result<Done> {
    cx.write(move |tx| {
        let id = request.id.as_str();
        let subscription = find(tx, tx.tenant(), id)?;
        tx.execute("DELETE FROM dead_letters WHERE subscription_id = ?", [id])?;
        tx.execute("DELETE FROM subscriptions WHERE tenant_id = ? AND id = ?", params![tx.tenant(), id])?;
        let before = json!({ "topic": subscription.topic, "deadLetters": subscription.dead_letters });
        tx.audit("subscription.deleted", "subscription", id, Some(Changes { before: before.as_object().cloned(), after: None }))?;
        Ok(Done::default())
    })
    .await
}

/// Finds a subscription of the tenant.
pub(super) fn find(connection: &Connection, tenant: &str, id: &str) -> Result<Subscription> {
    connection
        .prepare_cached(&format!("{SELECT} WHERE tenant_id = ? AND id = ?"))?
        .query_row(params![tenant, id], of_row)
        .optional()?
        .ok_or_else(|| {
            Error::new(Kind::NotFound, "FM-EBS-NOT-FOUND", format!("there is no subscription {}", quote(id)))
                .hint("subscriptions_list shows those that there are.")
        })
}

fn of_row(row: &Row<'_>) -> rusqlite::Result<Subscription> {
    let failing = row.get::<_, i64>(4)? > 0;
    let id: String = row.get(0)?;
    let (delivery, channel) = match row.get::<_, String>(6)?.as_str() {
        "channel" => (Delivery::Channel, Some(id.clone())),
        _ => (Delivery::Webhook { url: row.get(2)? }, None),
    };
    Ok(Subscription {
        subscription_id: id.into(),
        topic: row.get(1)?,
        delivery,
        channel,
        created_at: Timestamp::from_millis(row.get(3)?),
        status: Some(if failing { "failing" } else { "active" }.to_owned()),
        dead_letters: row.get::<_, i64>(5)?.unsigned_abs(),
        signing_secret: None,
    })
}
