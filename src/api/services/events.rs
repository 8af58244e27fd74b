//! Event Bus Service: publishing, subscriptions and replay (contract, section 15).

pub mod payloads;
mod since;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::cloud_event::Event;
use crate::api::ids::SubscriptionId;
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::service::{Id, Layer, Lister};
use crate::api::{Done, Effect, Operation, Permission, Secret, Service, Spec, Timestamp};

pub use since::{News, Since, Wait, Waited};

/// Event Bus Service.
pub const SERVICE: Service = Service::new("event-bus", "events", "EBS", "Events by topic: publish, subscribe, replay.")
    .layer(Layer::Foundation)
    .operations(operations![Publish, ListSubscriptions, Subscribe, RotateSigningSecret, Unsubscribe, Replay, Since])
    .composites(operations![Wait])
    .finder("`subscriptions_list` shows the subscriptions there are and their ids.")
    .ids(&[Id::of("subscriptionId", "subscription").listed(Lister::new("subscriptions_list", &[], "subscriptionId"))])
    .shown(&["topic", "delivery", "status", "data", "createdAt"]);

/// Puts a signal on the bus for other programs: raise, emit or announce that an order was shipped or cancelled, a
/// payment paid, goods or a container arrived, stock or inventory counted.
///
/// Also: the price changed, a delivery, shipment or batch left, a shift is over. Makes it known to all connected
/// systems.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Publish {
    /// A topic of your own, such as `invoice.received`.
    #[schemars(length(min = 1, max = 200))]
    pub topic: String,
    /// What happened.
    pub event: Map<String, Value>,
    /// When; now if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
}

impl Operation for Publish {
    type Output = Event;
    const SPEC: Spec = Spec::post("events_publish", "/events", Effect::Write)
        .titled("Inform all linked systems of something")
        .requires(Permission::EVENT_PUBLISH)
        .answers(201)
        .id_alias("eventId");
}

/// A subscription to a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// The subscription.
    pub subscription_id: SubscriptionId,
    /// The topic or pattern.
    pub topic: String,
    /// Where its events go.
    pub delivery: Delivery,
    /// The channel to listen on, for delivery by channel: `/channels/{channel}/subscribe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// active, or failing while deliveries are being repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// How many events could not be delivered and are kept as dead letters.
    #[serde(default)]
    pub dead_letters: u64,
    /// The key of the webhook's signatures, shown once, to the one who subscribes or replaces it; never to a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<Secret>,
}

/// How events are delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Delivery {
    /// Over the WebSocket gateway.
    Channel,
    /// By signed HTTP POST.
    Webhook {
        /// The address for a webhook.
        url: String,
    },
}

/// Shows who is subscribed to what: which topics do we listen to, which webhooks and applications like the ERP receive
/// events, are notified or informed, being told automatically.
///
/// Also: ids of streams, active or failing.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListSubscriptions {
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for ListSubscriptions {
    type Output = Page<Subscription>;
    const SPEC: Spec = Spec::get("subscriptions_list", "/subscriptions", Effect::Read)
        .titled("What are we subscribed to: topics and events we follow, webhooks that hear from us")
        .requires(Permission::SUBSCRIPTION_VIEW)
        .cached(30);
}

/// Subscribes to events on a topic: from now on notify, inform or call our URL (https), webhook, server or ERP each
/// time or whenever a task is created, an execution failed or completes, data is synced.
///
/// Also: an agent invoked, a payment comes; follow, listen, sign up for future updates.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Subscribe {
    /// A topic such as `task.created`, or a pattern such as `execution.*`.
    #[schemars(length(min = 1, max = 200))]
    pub topic: String,
    /// Where the events go.
    pub delivery: Delivery,
}

impl Operation for Subscribe {
    type Output = Subscription;
    const SPEC: Spec = Spec::post("subscriptions_create", "/subscriptions", Effect::Send)
        .titled("Have a server called when something happens")
        .requires(Permission::SUBSCRIPTION_CREATE)
        .answers(201)
        .evicts(&["subscriptions"]);
}

/// Gives a webhook's deliveries a new key of signatures. A person does so at a terminal; it is not a tool.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RotateSigningSecret {
    /// The subscription.
    pub id: SubscriptionId,
}

impl Operation for RotateSigningSecret {
    type Output = Subscription;
    const SPEC: Spec = Spec::post("subscriptions_rotate_secret", "/subscriptions/{id}/signing-secret", Effect::Grant)
        .titled("Replace a signing secret")
        .requires(Permission::SUBSCRIPTION_CREATE)
        .internal()
        .extension()
        .evicts(&["subscriptions"]);
}

/// Ends a subscription: stop following a topic, no longer send the old server or webhook events, we do not want to hear
/// about it any more; remove, drop, quit or cancel the delivery, sign off, no updates.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Unsubscribe {
    /// The subscription.
    pub id: SubscriptionId,
}

impl Operation for Unsubscribe {
    type Output = Done;
    const SPEC: Spec = Spec::delete("subscriptions_delete", "/subscriptions/{id}", Effect::Destroy)
        .titled("End a subscription")
        .requires(Permission::SUBSCRIPTION_DELETE)
        .evicts(&["subscriptions"]);
}

/// Repeats old events: what we missed or lost during the outage, while a server was down, offline or crashed, since
/// yesterday or Monday noon, between two hours, last week.
///
/// Also: go back, rewind, resend, recover, rebuild, catch up from the past. Replays a topic, from an offset too.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Replay {
    /// A topic or a pattern such as `execution.*`.
    pub topic: String,
    /// A time, or an offset in the topic from 1; the beginning if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// A time or an offset, inclusive; the end if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for Replay {
    type Output = Page<Event>;
    const SPEC: Spec = Spec::get("events_replay", "/events/replay", Effect::Read)
        .titled("Play back past events again: everything missed from a time on, after an outage")
        .requires(Permission::EVENT_VIEW)
        .id_alias("eventId");
}
