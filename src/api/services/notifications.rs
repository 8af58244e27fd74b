//! Notification Service: e-mail, SMS and push notifications from templates (contract, section 18).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::ids::{NotificationId, TemplateId, UserId};
use crate::api::open_enum::open_enum;
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::service::{Id, Layer, Lister, Resource};
use crate::api::{Effect, Operation, Permission, Service, Spec, Timestamp};

/// Notification Service.
pub const SERVICE: Service =
    Service::new("notification", "notifications", "NS", "Sends e-mail, SMS and push notifications from templates, with retries.")
        .layer(Layer::Support)
        .operations(operations![Send, Get, List, CreateTemplate, ListTemplates])
        .finder("`templates_list` shows the templates and their ids; `notifications_list` shows the notifications and their ids, and the ids of the templates in use.")
        .ids(&[
            Id::of("notificationId", "notification").listed(Lister::new("notifications_list", &[], "notificationId")),
            Id::of("templateId", "template").listed(Lister::new("templates_list", &[], "templateId").named("name")),
        ])
        .resources(&[Resource::new(
            "notifications/{id}",
            "notifications_get",
            "notification",
            "Notification",
            "A notification: its recipient, template, status and delivery attempts.",
        )
        .takes(&[("id", "notification")])])
        .shown(&["templateId", "recipient", "channels", "status", "createdAt", "sentAt"]);

open_enum! {
    /// The ways by which a notification reaches a person.
    NotificationChannel {
        /// E-mail.
        Email = "email",
        /// Text message.
        Sms = "sms",
        /// Alert of an app.
        Push = "push",
    }
}

open_enum! {
    /// The states of a notification or of one of its deliveries.
    NotificationStatus {
        /// Accepted, not sent yet; retries included.
        Queued = "queued",
        /// Accepted by a provider.
        Sent = "sent",
        /// Given up after the last retry.
        Failed = "failed",
    }
}

/// The recipient of a notification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recipient {
    /// E-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 254))]
    pub email: Option<String>,
    /// User id; needed for push.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// Phone number for SMS, such as +14155550100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 32))]
    pub phone: Option<String>,
}

/// The delivery of a notification by one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelDelivery {
    /// Channel of the delivery.
    pub channel: NotificationChannel,
    /// State of the delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<NotificationStatus>,
    /// Number of attempts so far.
    #[serde(default)]
    pub attempts: u32,
    /// Provider of the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Time of success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// Time of the next attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    /// Cause of the last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A notification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Id of the notification.
    pub notification_id: NotificationId,
    /// State of the notification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<NotificationStatus>,
    /// Template of the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_id: Option<TemplateId>,
    /// Recipient of the notification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<Recipient>,
    /// Values of the template's placeholders.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub variables: Map<String, Value>,
    /// Channels asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<NotificationChannel>,
    /// Delivery by each channel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deliveries: Vec<ChannelDelivery>,
    /// Time of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// Time of the first delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
}

/// Sends a person an e-mail, SMS or push alert from a template (notification).
///
/// Remind or email guests that we are closing, let the guard or manager know by phone, use the welcome letter or
/// invitation, notify the technician, or inform users about the deadline or fire drill tomorrow.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Send {
    /// Template of the text, such as `task-assigned`.
    pub template_id: TemplateId,
    /// E-mail address, user id or phone number at least.
    pub recipient: Recipient,
    /// Placeholder values: `{"taskTitle": "Budget"}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variables: Option<Map<String, Value>>,
    /// Channels, all used; else the template's, the next where one fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<NotificationChannel>>,
}

impl Operation for Send {
    type Output = Notification;
    const SPEC: Spec = Spec::post("notifications_send", "/notifications/send", Effect::Send)
        .titled("Send a reminder mail or alert")
        .requires(Permission::NOTIFICATION_SEND)
        .answers(202)
        .evicts(&["notifications"])
        .essential();
}

/// Tells what became of one e-mail, SMS or push alert (notification, notif-…).
///
/// Was my reminder sent, did the email reach him or has it failed and bounced, is the fire alert still in the queue or
/// was its delivery retried, and why was the welcome message not delivered?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// The notification.
    pub id: NotificationId,
}

impl Operation for Get {
    type Output = Notification;
    const SPEC: Spec = Spec::get("notifications_get", "/notifications/{id}", Effect::Read)
        .titled("Did a mail or alert get through, its status")
        .requires(Permission::NOTIFICATION_VIEW)
        .cached(2);
}

/// Lists the mails, reminders and push alerts that were sent (notifications).
///
/// Which emails went out today or last week, which ones bounced, what is still outgoing, and what history of notices
/// did a customer get?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct List {
    /// User id, e-mail address or phone number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// In one of these states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Vec<NotificationStatus>>,
    /// Requested after this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_after: Option<Timestamp>,
    /// Requested before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_before: Option<Timestamp>,
    /// createdAt or -createdAt (default).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for List {
    type Output = Page<Notification>;
    const SPEC: Spec = Spec::get("notifications_list", "/notifications", Effect::Read)
        .titled("Show all mails and alerts sent, any failed")
        .requires(Permission::NOTIFICATION_VIEW)
        .cached(2)
        .essential();
}

/// Writes a new standard text for mails, SMS or push alerts, to reuse with names filled in (notification template).
///
/// Make a boilerplate letter or email, add a notice of an appointment, save the wording of a welcome or confirmation,
/// prepare a deadline reminder for a task, or have a fixed message ready that we need.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateTemplate {
    /// Id such as `task-assigned`; generated if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_id: Option<TemplateId>,
    /// Name for people.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// Subject line of an e-mail, title of a push alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500))]
    pub subject: Option<String>,
    /// Text with placeholders: `Please finish {{taskTitle}} by {{deadline}}`.
    #[schemars(length(min = 1, max = 100_000))]
    pub body: String,
    /// Channels by preference where a notification names none; default email.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<NotificationChannel>>,
}

/// A template of notifications.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// Id of the template.
    pub template_id: TemplateId,
    /// Name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Subject line of an e-mail, title of a push alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Text with placeholders.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// Channels by preference, where a notification names none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<NotificationChannel>,
    /// Names of the placeholders in subject and body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<String>,
    /// Time of creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
}

impl Operation for CreateTemplate {
    type Output = Template;
    const SPEC: Spec = Spec::post("templates_create", "/templates", Effect::Write)
        .titled("Write a standard mail or reminder")
        .requires(Permission::TEMPLATE_CREATE)
        .answers(201);
}

/// Lists the standard mails and texts that are ready to use (notification templates).
///
/// Is there a welcome letter, what email or push notices do we have in stock, and which canned reminder or prepared
/// boilerplate exists?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListTemplates {
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for ListTemplates {
    type Output = Page<Template>;
    const SPEC: Spec = Spec::get("templates_list", "/templates", Effect::Read)
        .titled("Find any standard mail, form or text")
        .requires(Permission::NOTIFICATION_VIEW)
        .extension()
        .essential();
}
