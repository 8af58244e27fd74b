//! What is new since a cursor, at once or waited for: for hosts that are told of nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::cloud_event::Event;
use crate::api::page::PageRequest;
use crate::api::{Effect, Operation, Permission, Spec};

/// Reads new events after the last cursor: has anything further happened or come in meanwhile, in the meantime,
/// something I have not seen, what did I miss since then or minutes ago, continue the feed.
///
/// Also: the next batch only. Polls; without a cursor it begins now.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Since {
    /// A topic or a pattern such as `execution.*`.
    #[schemars(length(min = 1, max = 200))]
    pub topic: String,
    /// How much to answer, and after which cursor.
    #[serde(flatten)]
    pub page: PageRequest,
}

/// Events since a cursor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct News {
    /// The events, in their order.
    pub items: Vec<Event>,
    /// Where the next call goes on.
    pub cursor: String,
    /// Whether there are more already.
    #[serde(default)]
    pub more: bool,
}

impl Operation for Since {
    type Output = News;
    const SPEC: Spec = Spec::get("events_since", "/events/since", Effect::Read)
        .titled("Anything new since I last looked: fresh events after the last one")
        .requires(Permission::EVENT_VIEW)
        .id_alias("eventId")
        .extension();
}

/// Stays until an event happens: wait for the next failure, payment, shipped goods, execution or warehouse signal to
/// arrive, watch and listen, let me know as soon as it comes or appears.
///
/// Also: or till the minutes given are over.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    /// A topic or a pattern such as `task.*`.
    #[schemars(length(min = 1, max = 200))]
    pub topic: String,
    /// The cursor of the answer before, so that nothing between two calls is missed; from now on if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Longest wait in seconds; 50 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 300))]
    pub timeout_seconds: Option<u32>,
}

/// How a wait for events ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Waited {
    /// Whether something happened; if not, wait again with the cursor.
    pub reached: bool,
    /// The events, in their order.
    pub items: Vec<Event>,
    /// Where the next call goes on.
    pub cursor: String,
    /// Whether there are more already.
    #[serde(default)]
    pub more: bool,
}

impl Operation for Wait {
    type Output = Waited;
    const SPEC: Spec = Spec::composite("events_wait")
        .titled("Wait until something happens: the next event that comes in on a topic, hold on")
        .requires(Permission::EVENT_VIEW)
        .made_of_extension("events_since");
}
