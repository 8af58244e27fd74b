//! What is new since a cursor, at once or waited for: for hosts that are told of nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::cloud_event::Event;
use crate::api::page::PageRequest;
use crate::api::{Effect, Operation, Permission, Spec};

/// Reads what is newer on a topic than the last event seen (cursor), without waiting.
///
/// What happened in the meantime or since this morning, is there anything new on the bus or stream, what came just
/// after the one I read, can you catch me up, and did something arrive while I was at lunch?
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
        .titled("New events in the meantime, since one last looked")
        .requires(Permission::EVENT_VIEW)
        .id_alias("eventId")
        .extension();
}

/// Waits until the next event of a topic comes, for some minutes at most.
///
/// Wake me, watch the bus till the first payment, listen for a failed execution, block or hold on for a document or an
/// order, or stay until a signal or an update appears.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    /// A topic or a pattern such as `task.*`.
    #[schemars(length(min = 1, max = 200))]
    pub topic: String,
    /// Cursor of the answer before; from now on if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Longest wait in seconds; default 50.
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
        .titled("Wait for the next event, as soon as it comes")
        .requires(Permission::EVENT_VIEW)
        .made_of_extension("events_since");
}
