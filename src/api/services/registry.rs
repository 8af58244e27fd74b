//! Service Registry: the platform's own services, their instances and health (contract, section 17).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::ids::InstanceId;
use crate::api::open_enum::open_enum;
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::service::{Id, Layer, Lister, Resource};
use crate::api::{Done, Effect, Operation, Permission, Service, Spec, Timestamp};

/// Service Registry.
pub const SERVICE: Service = Service::new(
    "service-registry",
    "registry",
    "SR",
    "The own services of the platform: which servers run them, where, and their health.",
)
.layer(Layer::Foundation)
.operations(operations![Register, Deregister, Discover, List, Check])
.finder("`services_list` shows the services there are, their names and the ids of their instances.")
.ids(&[
    Id::of("instanceId", "instance").listed(Lister::new("services_list", &[], "instanceId")),
    Id::own("serviceName", "service").listed(Lister::new("services_list", &[], "serviceName")),
])
.resources(&[Resource::new(
    "services/{name}",
    "services_discover",
    "service",
    "Service",
    "The instances of one service of the platform: host, port, version, health.",
)
.takes(&[("name", "service")])])
.shown(&["serviceName", "instanceId", "host", "port", "version", "status", "lastHeartbeatAt"]);

open_enum! {
    /// The health of an instance.
    Health {
        /// It takes calls.
        Healthy = "healthy",
        /// It takes calls, slower or in part.
        Degraded = "degraded",
        /// It gets no calls.
        Unhealthy = "unhealthy",
    }
}

/// An instance of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// The instance.
    pub instance_id: InstanceId,
    /// The service that it runs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service_name: String,
    /// Its host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Its version, semantic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Attributes for routing, such as `region` and `capacity`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// Its health.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Health>,
    /// When it was registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<Timestamp>,
    /// When it last gave a sign of life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_heartbeat_at: Option<Timestamp>,
    /// When it is removed unless it gives another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Adds a server to the service registry, so that others find it (instance).
///
/// A fresh backend is up on 10.0.2.5 port 7000, so put it in, add a second node or machine of the engine, or make
/// another internal microservice known and findable in the directory.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Register {
    /// Service that it runs, such as process-design-service.
    #[schemars(length(min = 1, max = 200))]
    pub service_name: String,
    /// Its own id, such as pds-1; a repeat renews it.
    pub instance_id: InstanceId,
    /// Host name or IP address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// TCP port.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,
    /// Semantic version, such as 1.2.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub version: Option<String>,
    /// For routing, such as `{"region": "us-west"}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

impl Operation for Register {
    type Output = Instance;
    const SPEC: Spec = Spec::post("services_register", "/services/register", Effect::Grant)
        .titled("Add a server")
        .requires(Permission::SERVICE_REGISTER)
        .answers(201)
        .repeatable()
        .id_alias("serviceId")
        .evicts(&["services"]);
}

/// Takes a server out of the service registry, so that it gets no more requests or traffic (instance).
///
/// Remove the dead node from discovery, delete or withdraw the registration of the old backend, drop a test container
/// off the list, unlist or unregister a broken host before maintenance, or decommission a machine for good.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Deregister {
    /// The instance, such as pds-1.
    pub id: InstanceId,
}

impl Operation for Deregister {
    type Output = Done;
    const SPEC: Spec = Spec::delete("services_deregister", "/services/{id}", Effect::Destroy)
        .titled("Take an old, retired server out of service")
        .requires(Permission::SERVICE_DEREGISTER)
        .evicts(&["services"]);
}

/// Finds where one service runs: address, IP and version of its instances.
///
/// Somebody asks on which machine or server the engine is, where to reach the microservice for the event bus, or how
/// many nodes a backend has.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Discover {
    /// Service name, such as process-design-service.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for Discover {
    type Output = Page<Instance>;
    const SPEC: Spec = Spec::get("services_discover", "/services/{name}", Effect::Read)
        .titled("Endpoint of a service: its host and port")
        .requires(Permission::SERVICE_VIEW)
        .id_alias("serviceId")
        .cached(5)
        .shared_in_tenant();
}

/// Lists all services of the platform with their health.
///
/// How many backends and microservices does the registry know, which components are registered or down, and what names
/// and versions are there?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct List {
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for List {
    type Output = Page<Instance>;
    const SPEC: Spec = Spec::get("services_list", "/services", Effect::Read)
        .titled("Overview of every service and its health, what is running")
        .requires(Permission::SERVICE_VIEW)
        .id_alias("serviceId")
        .cached(5)
        .shared_in_tenant();
}

/// Checks the health of one server (service instance), or sends its heartbeat.
///
/// Is the engine alive, is the document node ok, does the machine respond if we ping it, is the backend slow, down or
/// dead, and is it still up when we test or probe it?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The instance, such as pds-1.
    pub service_id: InstanceId,
    /// Health that the instance reports; probed if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Health>,
}

impl Operation for Check {
    type Output = Instance;
    const SPEC: Spec = Spec::post("services_check", "/health/{serviceId}", Effect::Write)
        .titled("See whether a server is healthy")
        .requires(Permission::SERVICE_CHECK)
        .repeatable()
        .id_alias("serviceId")
        .evicts(&["services"]);
}
