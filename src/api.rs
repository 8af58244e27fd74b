//! The platform's contract as types: operations, ids, pages, permissions, events and problems.
//!
//! Everything that is said of an operation (tool, schema, permission, route, command line, documentation and the
//! embedded platform's handler) derives from its type here. This module uses nothing else of the crate.

pub mod answers;
pub mod arguments;
mod catalogue;
pub mod cloud_event;
pub mod ids;
pub mod long_work;
pub mod near;
mod open_enum;
pub mod operation;
pub mod page;
pub mod permission;
pub mod problem;
pub mod route;
pub mod schema;
pub mod secret;
pub mod service;
pub mod services;
pub mod time;
pub mod wire;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use catalogue::{Catalogue, Entry, catalogue, undecodable};
pub use cloud_event::Event;
pub use operation::{Effect, Endpoint, Method, Objection, Operation, Spec, Unique};
pub use page::{Page, PageRequest};
pub use permission::{Permission, Permissions};
pub use problem::{FieldError, Problem};
pub use secret::Secret;
pub use service::Service;
pub use services::*;
pub use time::Timestamp;

/// The answer of an operation that has nothing to say but that it was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    /// What was done.
    #[serde(default)]
    pub done: String,
}
