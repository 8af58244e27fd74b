//! API Gateway: any path of the platform (contract, section 14), for routes that no other tool covers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::operation::operations;
use crate::api::service::Layer;
use crate::api::{Method, Operation, Permission, Service, Spec};

/// API Gateway.
pub const SERVICE: Service = Service::new("api-gateway", "gateway", "AGS", "The other services are called through it.")
    .layer(Layer::Foundation)
    .composites(operations![Request])
    .finder("The platform names its routes in its document, which GET /openapi.json reads.");

/// Calls a path of the API directly through the gateway, where no tool fits. GET only reads; every other method counts
/// as destroying and asks a person.
///
/// Hit our own backend endpoint /v1/label directly with a raw GET, post to a custom route, or send DELETE or PUT with a
/// JSON header.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// The HTTP method.
    pub method: RequestMethod,
    /// The path, such as /warehouses/7, without host and query.
    #[schemars(length(min = 1, max = 2048))]
    pub path: String,
    /// The query's parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
    /// The JSON body; not with GET.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Map<String, Value>>,
}

/// A method that a caller may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum RequestMethod {
    /// Reads.
    Get,
    /// Creates or runs.
    Post,
    /// Replaces.
    Put,
    /// Removes.
    Delete,
}

impl From<RequestMethod> for Method {
    fn from(method: RequestMethod) -> Self {
        match method {
            RequestMethod::Get => Self::Get,
            RequestMethod::Post => Self::Post,
            RequestMethod::Put => Self::Put,
            RequestMethod::Delete => Self::Delete,
        }
    }
}

/// What the platform answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Answered {
    /// The HTTP status, 200 to 299.
    pub status: u16,
    /// The answer; a list is its `items`, any other value its `value`.
    #[serde(default)]
    pub body: Map<String, Value>,
}

impl Operation for Request {
    type Output = Answered;
    const SPEC: Spec = Spec::any_route("gateway_request").titled("Call another route").requires(Permission::GATEWAY_REQUEST).evicts(&[""]);
}
