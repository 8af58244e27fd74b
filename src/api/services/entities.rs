//! Internal Data Hub Service: the tenant's own record types and records (contract, section 5).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::ids::{EntityId, TenantId};
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::service::{Change, Id, Layer, Lister, Resource};
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
        .takes(&[("type", "type"), ("id", "record")])
        .changed_by(&[Change::new("entity.*", &["entityType", "entityId"])])])
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

/// Prepares a structure to keep a new kind of data (entity type): a table, list, register or category of suppliers,
/// rooms, tools, equipment or company cars, with its columns.
///
/// A place or category for things that was missing.
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
        .titled("Set up a table for a new kind of data")
        .requires(Permission::ENTITY_DEFINE)
        .answers(201)
        .evicts(&["entities"]);
}

/// Adds a new record to a table or list (inserts an entity): save, enter or register a new client, supplier, contact,
/// product, car or room with its name and details.
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
        .titled("Put a new record on a list or into an inventory")
        .requires(Permission::ENTITY_INSERT)
        .answers(201)
        .repeats(&[("entityType", "type")])
        .id_alias("entityId")
        .evicts(&["entities"]);
}

/// Displays one record or entry by its id (entity) with everything on file about a client, supplier or contact: what we
/// know, full details, address, phone number.
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
        .titled("Open one record")
        .requires(Permission::ENTITY_VIEW)
        .id_alias("entityId")
        .cached(30)
        .essential();
}

/// Corrects or changes a record (entity): a client moved, now has a new phone number, street or contact person, a price
/// or region is now different, a name or date has a typo to fix.
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
        .titled("Update a record whose details have changed")
        .requires(Permission::ENTITY_UPDATE)
        .not_idempotent()
        .repeats(&[("entityType", "type")])
        .id_alias("entityId")
        .evicts(&["entities"]);
}

/// Removes or erases a record from our data for good (deletes an entity): it was entered twice, a duplicate, a mistake
/// or a test, or the car was sold, the machine scrapped, the supplier closed.
///
/// To get rid of an entry; refused while others refer to it.
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
        .titled("Delete a record, take it off a list")
        .requires(Permission::ENTITY_DELETE)
        .evicts(&["entities"]);
}

/// Lists the records of one table that fit a condition (entity query), ordered by name or date: all clients in the
/// north, products with a price above 100, ratings below three, the ten newest.
///
/// Lists those with at least ten, from one region, biggest first.
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
        .titled("Filter and sort the records of a table")
        .requires(Permission::ENTITY_VIEW)
        .id_alias("entityId")
        .cached(30)
        .essential();
}

/// Searches all records everywhere for a word or name (full-text search): where a street, number or e-mail address
/// occurs, is there any record that mentions it, have we something on a firm.
///
/// Finds everything or anybody with that name in our data, whatever the table.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Search {
    /// The words to find; all must occur. The best come first, but of more than 1,000 records that have all words the newest.
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
        .titled("Find where a word is mentioned in all records")
        .requires(Permission::ENTITY_VIEW)
        .repeatable()
        .id_alias("entityId")
        .always_loaded();
}

/// Shows which kinds of records have been set up (entity types): what information, tables, lists and registers we keep
/// or store, and which fields, columns or attributes each has.
///
/// What sorts of details the platform holds, is there a place for something.
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
        .titled("See what can be stored, with which fields")
        .requires(Permission::ENTITY_VIEW)
        .extension()
        .essential();
}

/// Adds a field or column to an existing table (schema of an entity type) or changes its structure: suppliers also need
/// a tax number, an e-mail must always be filled in, a rating is a number.
///
/// Refused where stored records do not fit.
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
        .titled("Give a table a new attribute or change a column")
        .requires(Permission::ENTITY_DEFINE)
        .repeats(&[("entityType", "type")])
        .evicts(&["entities"])
        .extension();
}
