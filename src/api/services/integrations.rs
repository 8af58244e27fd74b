//! Integration Hub Service: outside systems, their connection, mapping and calls (contract, section 4).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::ids::IntegrationId;
use crate::api::open_enum::open_enum;
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::service::{Change, Id, Layer, Lister, Resource};
use crate::api::{Effect, Operation, Permission, Service, Spec, Timestamp};

/// Integration Hub Service.
pub const SERVICE: Service = Service::new(
    "integration-hub",
    "integrations",
    "IHS",
    "Outside systems: their address and sign-in, field mappings, and calls of them.",
)
.layer(Layer::Core)
.operations(operations![Create, List, Get, Update, Connect, Transform, Execute])
.finder("`integrations_list` shows the integrations and their ids; `audit_query` with resourceType integration names those there are.")
.ids(&[Id::of("integrationId", "integration").listed(Lister::new("integrations_list", &[], "integrationId").named("name"))])
.resources(&[Resource::new(
    "integrations/{id}",
    "integrations_get",
    "integration",
    "Integration",
    "An outside system: its address, kind of sign-in, field mapping, status and last sync.",
)
.takes(&[("id", "integration")])
.changed_by(&[Change::new("integration.*", &["integrationId"])])])
.shown(&["name", "connectorType", "baseUrl", "authType", "status", "lastSyncAt", "createdAt"])
.topics(&["integration.*"]);

open_enum! {
    /// The kinds of connectors.
    ConnectorType {
        /// HTTP with JSON.
        RestApi = "rest_api",
        /// SOAP over HTTP.
        Soap = "soap",
        /// A SQL or NoSQL database.
        Database = "database",
        /// A file server by FTP.
        Ftp = "ftp",
        /// A file server by SFTP.
        Sftp = "sftp",
        /// Webhooks, inbound or outbound.
        Webhook = "webhook",
    }
}

open_enum! {
    /// How the platform signs in to an outside system.
    AuthType {
        /// Without sign-in.
        None = "none",
        /// A key in a header.
        ApiKey = "api_key",
        /// HTTP Basic authentication.
        Basic = "basic",
        /// A token that does not expire, in the header Authorization.
        Bearer = "bearer",
        /// OAuth 2.0 client credentials.
        Oauth2 = "oauth2",
    }
}

open_enum! {
    /// The states of an integration.
    IntegrationStatus {
        /// Registered, not tested yet.
        Registered = "registered",
        /// The last test or call succeeded.
        Connected = "connected",
        /// The last test or call failed.
        Failed = "failed",
    }
}

open_enum! {
    /// The HTTP methods of a call to an outside system.
    HttpMethod {
        /// Reads.
        Get = "GET",
        /// Creates or runs.
        Post = "POST",
        /// Replaces.
        Put = "PUT",
        /// Changes in part.
        Patch = "PATCH",
        /// Deletes.
        Delete = "DELETE",
    }
}

/// An outside system as the platform knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Integration {
    /// The integration.
    pub integration_id: IntegrationId,
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The kind of connector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connector_type: Option<ConnectorType>,
    /// The address of the outside system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The kind of sign-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_type: Option<AuthType>,
    /// The names of the credentials that are set; values are never shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials_set: Vec<String>,
    /// Target field to source field.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub mapping: Map<String, Value>,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<IntegrationStatus>,
    /// The state of its circuit breaker: closed, open or half_open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker: Option<String>,
    /// When data last came over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sync_at: Option<Timestamp>,
    /// When it was registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When it last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
}

/// Connects a new outside system with ours for the first time (integration), by its API address and login.
///
/// We have a new external bookkeeping software and need a link, so hook up the bank or tax office, set up a new
/// interface to the insurance, make Salesforce or Shopify known, or plug a new shipping service into our platform by
/// key or webhook.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Create {
    /// Name for people, such as Salesforce CRM.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// Kind of connector.
    pub connector_type: ConnectorType,
    /// Absent for an inbound webhook only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2000))]
    pub base_url: Option<String>,
    /// Kind of sign-in; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_type: Option<AuthType>,
    /// Values for the sign-in by name, such as clientId.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Map<String, Value>>,
    /// Target to source field: `{"external_id": "id"}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Map<String, Value>>,
}

impl std::fmt::Debug for Create {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Create").field("name", &self.name).field("connector_type", &self.connector_type).finish_non_exhaustive()
    }
}

impl Operation for Create {
    type Output = Integration;
    const SPEC: Spec = Spec::post("integrations_create", "/integrations", Effect::Write)
        .titled("Add a connection to an outside provider")
        .requires(Permission::INTEGRATION_CREATE)
        .answers(201)
        .id_alias("id")
        .evicts(&["integrations"]);
}

/// Lists the external systems, partners and third-party software that we are linked to (integrations) with their state.
///
/// What programs are hooked up, is there any connection to the bank already, which APIs talk SOAP or OAuth, do all
/// interfaces and connectors work, and can you give an overview?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct List {
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for List {
    type Output = Page<Integration>;
    const SPEC: Spec = Spec::get("integrations_list", "/integrations", Effect::Read)
        .titled("Which outside systems we are connected to")
        .requires(Permission::INTEGRATION_VIEW)
        .extension()
        .cached(30);
}

/// Shows how one connection to an outside system is configured (integration, int-…).
///
/// Open the configuration of the API: to what URL or address does the interface point, which login and mapping did we
/// give the connector, key or OAuth, how is the link to Salesforce set up, and can I see its setup and last sync in
/// detail?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// The integration.
    pub id: IntegrationId,
}

impl Operation for Get {
    type Output = Integration;
    const SPEC: Spec = Spec::get("integrations_get", "/integrations/{id}", Effect::Read)
        .titled("Settings of one connection")
        .requires(Permission::INTEGRATION_VIEW)
        .id_alias("id")
        .cached(30);
}

/// Changes the connection to an outside system (integration, int-…).
///
/// The API key, client secret or certificate expired or was rotated, so put in the new one; the bank moved to a second
/// server, so correct the address; the tax office link should switch to OAuth; set a timeout or fields, or rename the
/// interface of the shop.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Update {
    /// The integration.
    pub id: IntegrationId,
    /// New name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub name: Option<String>,
    /// Kind of connector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connector_type: Option<ConnectorType>,
    /// New address of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2000))]
    pub base_url: Option<String>,
    /// Kind of sign-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_type: Option<AuthType>,
    /// Values for the sign-in to replace, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Map<String, Value>>,
    /// Target field to source field, old ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Map<String, Value>>,
}

impl std::fmt::Debug for Update {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Update").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Operation for Update {
    type Output = Integration;
    const SPEC: Spec = Spec::put("integrations_update", "/integrations/{id}", Effect::Write)
        .titled("Change the connection to an outside provider")
        .requires(Permission::INTEGRATION_UPDATE)
        .id_alias("id")
        .evicts(&["integrations"]);
}

/// Tests whether an outside system can be reached with our login (integration, int-…).
///
/// Does the connection to the bank or Salesforce still work, does the interface answer a ping, is the connector alive
/// and reachable if we try, check before we go live that we get through by the link, and verify that our key and
/// credentials are accepted.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Connect {
    /// The integration.
    pub id: IntegrationId,
}

/// How a connection test went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// The integration.
    pub integration_id: IntegrationId,
    /// Whether the test succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<IntegrationStatus>,
    /// When data last came over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sync_at: Option<Timestamp>,
    /// The status code of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    /// Seconds until the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<f64>,
    /// Why the test failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Operation for Connect {
    type Output = Connection;
    const SPEC: Spec = Spec::post("integrations_connect", "/integrations/{id}/connect", Effect::Send)
        .titled("See if an outside provider can be reached")
        .requires(Permission::INTEGRATION_CONNECT)
        .repeatable()
        .id_alias("id")
        .evicts(&["integrations"]);
}

/// Converts records of an outside system into our own fields by a mapping (integration connector, int-…); nothing is
/// sent.
///
/// Translate the order of a shop or bank into ours, rewrite or reshape a payload that comes through, take these rows or
/// lines over in our layout, or apply the rules to a ticket in JSON or XML.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transform {
    /// The integration.
    pub id: IntegrationId,
    /// Record as the outside system writes it.
    pub data: Map<String, Value>,
    /// Mapping to try; the integration's own if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Map<String, Value>>,
}

/// Mapped data of an outside system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transformation {
    /// The integration.
    pub integration_id: IntegrationId,
    /// Where the integration stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<IntegrationStatus>,
    /// When data last came over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sync_at: Option<Timestamp>,
    /// The data in the target's field names.
    #[serde(default)]
    pub transformed_data: Map<String, Value>,
    /// What the validation rejects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

impl Operation for Transform {
    type Output = Transformation;
    const SPEC: Spec = Spec::post("integrations_transform", "/integrations/{id}/transform", Effect::Read)
        .titled("Convert a record into our format")
        .requires(Permission::INTEGRATION_VIEW)
        .repeatable()
        .id_alias("id");
}

/// Calls an outside system through its API (integration, int-…), to get or send something. With `async` the call is
/// queued.
///
/// Fetch or look up an account in the CRM, charge 20 euros to a card, post an invoice over the interface to DATEV, push
/// a customs declaration, order a parcel pickup via the carrier or its tracking number, create a contact in Salesforce,
/// open a ticket, or ask for the weather tomorrow.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Execute {
    /// The integration.
    pub id: IntegrationId,
    /// HTTP method; GET if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
    /// Path below the base URL, such as `/contacts/42`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2000))]
    pub path: Option<String>,
    /// Query parameters by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<Map<String, Value>>,
    /// JSON body of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Map<String, Value>>,
    /// Whether to queue the call for guaranteed delivery.
    #[serde(rename = "async", skip_serializing_if = "Option::is_none")]
    pub queued: Option<bool>,
}

/// What a call of an outside system gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The integration.
    pub integration_id: IntegrationId,
    /// Where the integration stands after the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<IntegrationStatus>,
    /// When data last came over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sync_at: Option<Timestamp>,
    /// The answer of the system after mapping.
    #[serde(default)]
    pub transformed_data: Map<String, Value>,
    /// The status code of the answer; absent for a queued call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    /// How many attempts were made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The queued call, for `async`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
}

impl Operation for Execute {
    type Output = Outcome;
    const SPEC: Spec = Spec::post("integrations_execute", "/integrations/{id}/execute", Effect::Send)
        .titled("Retrieve from or send to an outside provider")
        .requires(Permission::INTEGRATION_EXECUTE)
        .id_alias("id")
        .evicts(&["integrations"]);
}
