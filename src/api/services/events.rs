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

/// Announces an event on the bus, so that other systems that subscribed to the topic know.
///
/// Send out that an order was shipped, broadcast or raise a signal that the price or stock changed, post the message
/// that a batch or execution is complete or a room is free, or emit, fire or push an integration update with its
/// payload to the stream.
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

/// Lists the event subscriptions and subscribers: which listener or consumer follows what topic on the bus.
///
/// Which systems listen already, what are we signed up for, where do all our webhooks and feeds go, and who is informed
/// when an execution failed?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListSubscriptions {
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for ListSubscriptions {
    type Output = Page<Subscription>;
    const SPEC: Spec = Spec::get("subscriptions_list", "/subscriptions", Effect::Read)
        .titled("Who is subscribed to which events, who listens")
        .requires(Permission::SUBSCRIPTION_VIEW)
        .cached(30);
}

/// Subscribes a server to the events of a topic, so that its https URL is called each time.
///
/// We want to hear whenever an execution failed, inform the ERP about every sync or new task, hook up a webhook that
/// should receive when a document was extracted, let a consumer listen for what was delivered, or sign up permanently
/// to follow from today.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Subscribe {
    /// A topic or a pattern such as `execution.*`.
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

/// Ends a subscription, so that a server receives no more events.
///
/// Stop telling us about failed executions, unsubscribe the dead webhook from the topic, take the consumer or listener
/// off the bus, we do not want to get any task or update that we signed up for, it no longer needs to follow, or drop
/// the feed.
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

/// Plays past events of a topic again from some time on (replay).
///
/// The service was down, so resend the messages that were missed since yesterday noon, get back what was lost last
/// week, rewind or reprocess the stream from the start, or repeat what was delivered once more.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Replay {
    /// A topic or a pattern such as `execution.*`.
    pub topic: String,
    /// A time, or an offset from 1; the beginning if absent.
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
        .titled("Past events over again, after an outage")
        .requires(Permission::EVENT_VIEW)
        .id_alias("eventId");
}
