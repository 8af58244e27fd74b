//! Internal Data Hub Service: the tenant's own record types and records (contract, section 5).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::ids::{EntityId, TenantId};
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::service::{Id, Layer, Lister, Resource};
use crate::api::{Done, Effect, Operation, Permission, Service, Spec, Timestamp};

/// Internal Data Hub Service.
pub const SERVICE: Service =
    Service::new("internal-data-hub", "entities", "IDHS", "Record types and records of the company's data, with search and relationships.")
        .layer(Layer::Core)
        .operations(operations![Define, Insert, Get, Update, Delete, Query, Search, Types, Redefine])
        .finder("`entities_query` lists the records of a type; `entities_search` finds them by words; `entities_types` shows the types.")
        .ids(&[
            Id::of("entityType", "type"),
            Id::of("id", "record").beside("entityType").listed(Lister::new("entities_query", &[], "id").within("type")),
        ])
        .resources(&[Resource::new(
            "entities/{type}/{id}",
            "entities_get",
            "record",
            "Record",
            "A record of the data hub with its fields and relationships.",
        )
        .takes(&[("type", "type"), ("id", "record")])])
        .shown(&["entityType", "data", "version", "createdAt"])
        .topics(&["entity.*"]);

/// A type of records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntityType {
    /// The type's name.
    pub entity_type: String,
    /// The JSON Schema that its records keep to; absent: any object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Map<String, Value>>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entity {
    /// The record.
    pub id: EntityId,
    /// Its type.
    pub entity_type: String,
    /// The tenant it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
    /// Its fields.
    pub data: Map<String, Value>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
    /// Counts its changes, from 1.
    #[serde(default)]
    pub version: u64,
    /// Ids of related records by the relation's name.
    #[serde(default)]
    pub relationships: Map<String, Value>,
}

/// Defines a new type of records: a table, collection or kind of data with an optional schema.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Define {
    /// The type's name: lower-case letters, digits, `_` and `-`; `search` is reserved.
    #[schemars(length(min = 1, max = 64))]
    pub entity_type: String,
    /// A JSON Schema for the records; without remote references.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Map<String, Value>>,
}

impl Operation for Define {
    type Output = EntityType;
    const SPEC: Spec = Spec::post("entities_define", "/entities", Effect::Write)
        .titled("Define a record type")
        .requires(Permission::ENTITY_DEFINE)
        .answers(201)
        .evicts(&["entities"]);
}

/// Adds a record of a type to the data hub: store, save or create a row, an item, a master-data entry.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Insert {
    /// The type's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// The record's fields.
    pub data: Map<String, Value>,
    /// Ids of related records by the relation's name: `{"contacts": ["entity-1"]}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relationships: Option<Map<String, Value>>,
}

impl Operation for Insert {
    type Output = Entity;
    const SPEC: Spec = Spec::post("entities_insert", "/entities/{type}", Effect::Write)
        .titled("Add a record")
        .requires(Permission::ENTITY_INSERT)
        .answers(201)
        .repeats(&[("entityType", "type")])
        .id_alias("entityId")
        .evicts(&["entities"]);
}

/// Shows one record of the data hub with its fields and relationships.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// The type's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// The record.
    pub id: EntityId,
}

impl Operation for Get {
    type Output = Entity;
    const SPEC: Spec = Spec::get("entities_get", "/entities/{type}/{id}", Effect::Read)
        .titled("Show a record")
        .requires(Permission::ENTITY_VIEW)
        .id_alias("entityId")
        .cached(30)
        .essential();
}

/// Changes fields or relationships of a record: edit, correct, set. Fields left out keep their values.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Update {
    /// The type's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// The record.
    pub id: EntityId,
    /// The fields to change; null removes one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Map<String, Value>>,
    /// The relations to replace, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relationships: Option<Map<String, Value>>,
}

impl Operation for Update {
    type Output = Entity;
    const SPEC: Spec = Spec::put("entities_update", "/entities/{type}/{id}", Effect::Write)
        .titled("Change a record")
        .requires(Permission::ENTITY_UPDATE)
        .not_idempotent()
        .repeats(&[("entityType", "type")])
        .id_alias("entityId")
        .evicts(&["entities"]);
}

/// Deletes a record for good: remove, erase, drop. Refused while other records refer to it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Delete {
    /// The type's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// The record.
    pub id: EntityId,
}

impl Operation for Delete {
    type Output = Done;
    const SPEC: Spec = Spec::delete("entities_delete", "/entities/{type}/{id}", Effect::Destroy)
        .titled("Delete a record")
        .requires(Permission::ENTITY_DELETE)
        .evicts(&["entities"]);
}

/// Lists records of one type, filtered by field values: look up, browse, find all that match.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Query {
    /// The type's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// Field values that must match, such as `{"region": "US-WEST", "amount": {"gt": 100}}`; operators: eq ne gt gte lt lte in
    /// contains startsWith exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Map<String, Value>>,
    /// Fields, `createdAt` or `updatedAt`, with commas; with `-` in front, descending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for Query {
    type Output = Page<Entity>;
    const SPEC: Spec = Spec::get("entities_query", "/entities/{type}", Effect::Read)
        .titled("List records")
        .requires(Permission::ENTITY_VIEW)
        .id_alias("entityId")
        .cached(30)
        .essential();
}

/// Searches the text of all records: full-text search by words, names, e-mail addresses.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Search {
    /// The words to find; all must occur.
    #[schemars(length(min = 1, max = 500))]
    pub query: String,
    /// Only these types.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_types: Option<Vec<String>>,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for Search {
    type Output = Page<Entity>;
    const SPEC: Spec = Spec::post("entities_search", "/entities/search", Effect::Read)
        .titled("Search records")
        .requires(Permission::ENTITY_VIEW)
        .repeatable()
        .id_alias("entityId")
        .always_loaded();
}

/// Shows which kinds of data (record types) the company keeps, such as customers, and the fields of each.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Types {
    /// One type's name; all types if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub entity_type: Option<String>,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for Types {
    type Output = Page<EntityType>;
    const SPEC: Spec = Spec::get("entities_types", "/entities", Effect::Read)
        .titled("List record types")
        .requires(Permission::ENTITY_VIEW)
        .extension()
        .essential();
}

/// Changes which fields a kind of data (record type) has or must have, where all that is stored already fits.
///
/// Otherwise nothing changes, and the answer names the records that do not fit.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Redefine {
    /// The type's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// The whole new JSON Schema, old fields included.
    pub schema: Map<String, Value>,
}

impl Operation for Redefine {
    type Output = EntityType;
    const SPEC: Spec = Spec::put("entities_redefine", "/entities/{type}", Effect::Write)
        .titled("Change a record type")
        .requires(Permission::ENTITY_DEFINE)
        .repeats(&[("entityType", "type")])
        .evicts(&["entities"])
        .extension();
}
