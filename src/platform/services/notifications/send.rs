//! Sending: which channels a notification goes by, what it says, and its place in the queue.
//!
//! Channels that the caller names are all sent to. The template's own are alternatives in their order: the next one is
//! taken where the one before was given up.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::recipient;
use super::templates;
use super::text;
use super::{history, queue};
use crate::api::FieldError;
use crate::api::arguments::quote;
use crate::api::ids::{TenantId, UserId};
use crate::api::notifications::{Notification, NotificationChannel, Recipient, Send, Template};
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::http::context::Cx;
use crate::platform::identity::users;

/// Longest body as it is sent, in characters.
const MAX_BODY: usize = 200_000;
/// Longest subject as it is sent, in characters.
const MAX_SUBJECT: usize = 500;
/// Longest text message, in characters: ten parts.
const MAX_SMS: usize = 1_600;
/// The name that takes the name of the user's account where the caller gives no value.
const USER_NAME: &str = "userName";

pub(super) async fn send(cx: Cx, request: Send) -> Result<Notification> {
    let new = prepare(&cx.platform, &cx.tenant(), request).await?;
    let per_recipient = cx.platform.notifications().per_recipient;
    let notification = cx
        .write(move |tx| {
            queue::check_throttle(tx, tx.tenant(), tx.now(), &new.recipient, per_recipient)?;
            queue::check_room(tx, tx.tenant())?;
            let id = tx.mint("notif");
            queue::add(tx, &id, &new)?;
            history::find(tx, tx.tenant(), &id)
        })
        .await?;
    cx.platform.notifications_notify().notify_one();
    Ok(notification)
}

/// The notification of a request, checked and with its texts filled in.
pub(super) async fn prepare(platform: &Platform, tenant: &TenantId, request: Send) -> Result<queue::New> {
    let mut recipient = recipient::checked(request.recipient)?;
    if let Some(channels) = &request.channels {
        templates::check_channels(channels)?;
    }
    let (template, user) = look_up(platform, tenant, request.template_id.0, recipient.user_id.clone()).await?;
    recipient::complete(&mut recipient, user.as_ref());
    let variables = request.variables.unwrap_or_default();
    let (channels, fallbacks) = match request.channels {
        Some(named) => (usable(platform, &recipient, named)?, Vec::new()),
        None => alternatives(platform, &recipient, &template)?,
    };
    let values = values_of(&template, &variables, user.as_ref())?;
    let (subject, body) = wording(&template, &values)?;
    if channels.iter().chain(&fallbacks).any(|channel| *channel == NotificationChannel::Sms) && body.chars().count() > MAX_SMS {
        return Err(too_long("a text message", MAX_SMS));
    }
    Ok(queue::New { template_id: template.template_id.0, recipient, variables, channels, fallbacks, subject, body })
}

/// The template, and the account of the recipient where there is one.
async fn look_up(platform: &Platform, tenant: &TenantId, template: String, user: Option<UserId>) -> Result<(Template, Option<users::Row>)> {
    let (database, tenant) = (platform.database(), tenant.clone());
    let of = tenant.clone();
    let reading = database.read_for(of.as_str(), move |connection| {
        let found = templates::find(connection, tenant.as_str(), &template)?.ok_or_else(|| {
            Error::new(Kind::Invalid, "FM-NS-TEMPLATE-UNKNOWN", format!("there is no template {}", quote(&template)))
                .field("/templateId", "unknown", "is not the id of a template")
                .hint("Create it with templates_create.")
        })?;
        let user = user.map(|user| users::find(connection, tenant.as_str(), user.as_str())).transpose()?.flatten();
        Ok((found, user))
    });
    reading.await
}

/// Rejects channels of the caller's that cannot be sent to.
fn usable(platform: &Platform, recipient: &Recipient, named: Vec<NotificationChannel>) -> Result<Vec<NotificationChannel>> {
    for (place, channel) in named.iter().enumerate() {
        if !platform.notifications().offers(channel) {
            return Err(unavailable(channel).field(format!("/channels/{place}"), "unavailable", "has no gateway on this platform"));
        }
        if recipient::address(recipient, channel).is_none() {
            let field = recipient::field(channel);
            return Err(Error::new(Kind::Invalid, "FM-NS-RECIPIENT", format!("{channel} does not reach the recipient"))
                .field(format!("/recipient/{field}"), "required", format!("is needed for {channel}"))
                .hint("Give the address, or leave the channel out."));
        }
    }
    Ok(named)
}

/// The first of the template's channels that reaches the recipient, and those after it.
fn alternatives(
    platform: &Platform,
    recipient: &Recipient,
    template: &Template,
) -> Result<(Vec<NotificationChannel>, Vec<NotificationChannel>)> {
    let offered: Vec<_> = template.channels.iter().filter(|channel| platform.notifications().offers(channel)).collect();
    let Some(first) = offered.first() else {
        let first = template.channels.first().cloned().unwrap_or(NotificationChannel::Email);
        return Err(unavailable(&first).field("/templateId", "unavailable", "names channels alone that have no gateway on this platform"));
    };
    let mut reached = offered.iter().filter(|channel| recipient::address(recipient, channel).is_some()).map(|channel| (*channel).clone());
    let Some(channel) = reached.next() else {
        let field = recipient::field(first);
        return Err(Error::new(Kind::Invalid, "FM-NS-RECIPIENT", "no channel of the template reaches the recipient")
            .field(format!("/recipient/{field}"), "required", format!("is needed for {first}"))
            .hint("Give an address of one of the template's channels, or name others in `channels`."));
    };
    Ok((vec![channel], reached.collect()))
}

fn unavailable(channel: &NotificationChannel) -> Error {
    Error::new(Kind::Invalid, "FM-NS-CHANNEL-UNAVAILABLE", format!("this platform cannot send by {channel}"))
        .hint("Send by email, or have the operator configure a gateway.")
}

/// The values of the template's names as text.
fn values_of(template: &Template, variables: &Map<String, Value>, user: Option<&users::Row>) -> Result<BTreeMap<String, String>> {
    let (mut values, mut missing, mut wrong) = (BTreeMap::new(), Vec::new(), Vec::new());
    for name in &template.variables {
        let pointer = format!("/variables/{name}");
        match variables.get(name) {
            Some(Value::String(text)) => drop(values.insert(name.clone(), text.clone())),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => drop(values.insert(name.clone(), value.to_string())),
            Some(_) => wrong.push(FieldError::new(pointer, "type", "must be a text, a number or a boolean")),
            None => match user.filter(|_| name == USER_NAME) {
                Some(user) => drop(values.insert(name.clone(), user.username.clone())),
                None => missing.push(FieldError::new(pointer, "required", "is a place of the template without a value")),
            },
        }
    }
    if !wrong.is_empty() {
        return Err(Error::new(Kind::Invalid, "FM-NS-VARIABLE-TYPE", "a value cannot be written into the text").with_fields(wrong));
    }
    if !missing.is_empty() {
        return Err(Error::new(Kind::Invalid, "FM-NS-VARIABLE-MISSING", "the template has places without a value")
            .with_fields(missing)
            .hint("Give each of them in `variables`."));
    }
    Ok(values)
}

/// Subject and body as they are sent; a template without a subject goes by its name.
fn wording(template: &Template, values: &BTreeMap<String, String>) -> Result<(String, String)> {
    let render = |source: &str| text::read(source).map(|pieces| text::render(&pieces, values)).map_err(Error::internal);
    let subject = match &template.subject {
        Some(subject) => text::one_line(&render(subject)?),
        None => text::one_line(&template.name),
    };
    let body = render(&template.body)?;
    if subject.chars().count() > MAX_SUBJECT {
        return Err(too_long("a subject", MAX_SUBJECT));
    }
    if body.chars().count() > MAX_BODY {
        return Err(too_long("a message", MAX_BODY));
    }
    Ok((subject, body))
}

fn too_long(what: &str, most: usize) -> Error {
    Error::new(Kind::Invalid, "FM-NS-TOO-LONG", "the text is too long once it is filled in")
        .field("/variables", "length", format!("{what} has at most {most} characters"))
        .hint("Give shorter values, or use a shorter template.")
}
