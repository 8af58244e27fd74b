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

/// Sets up a new kind of record (entity type) with its fields, for things that have no place yet.
///
/// We need something like a mileage log, so create a table for it; make a list of tools or volunteers with name or
/// date, start a register of keys or plates and who holds them, store permits with a number, or a structure for spare
/// parts.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Define {
    /// Lower-case letters, digits, `_` and `-`; `search` is reserved.
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

/// Adds a new record to a table (entity): a customer, supplier, machine or vehicle.
///
/// Enter a new client with phone and VAT number, store a patient born in 1980, register the van or drill by its serial
/// or plate, put one more room or permit into the list, or save a supplier as contact.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Insert {
    /// The type's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// The record's fields.
    pub data: Map<String, Value>,
    /// Related ids by relation: `{"contacts": ["entity-1"]}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relationships: Option<Map<String, Value>>,
}

impl Operation for Insert {
    type Output = Entity;
    const SPEC: Spec = Spec::post("entities_insert", "/entities/{type}", Effect::Write)
        .titled("Put a new record on a list")
        .requires(Permission::ENTITY_INSERT)
        .answers(201)
        .repeats(&[("entityType", "type")])
        .id_alias("entityId")
        .evicts(&["entities"]);
}

/// Shows one record of known id or number (entity), with all that is stored about it.
///
/// Fetch the data of a customer, what address or phone is on the card of a supplier, read or display the entry of the
/// van, and can you pull up or open the saved file?
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
        .titled("One record as it is on file, with details")
        .requires(Permission::ENTITY_VIEW)
        .id_alias("entityId")
        .cached(30)
        .essential();
}

/// Corrects a record (entity) by putting new values into its fields.
///
/// Fix the surname; the supplier moved to another street, the customer has got a new phone or email, a number or date
/// is wrong, or the van is now in the other hall or room, so set it or mark it as broken.
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

/// Removes one record from a table for good (entity). Refused while others refer to it.
///
/// Take the sold van out, erase a test entry, get rid of a wrong or duplicate product, strike the lost key, or drop a
/// contact or customer who was entered twice by mistake or no longer exists.
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

/// Lists the records of a table that meet conditions, sorted (entities).
///
/// Which customers are in a city, which machines are older than 2 years or over 500 hours, which contracts end this
/// quarter, how many suppliers have more than one, and which keys or tools are out at the moment?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Query {
    /// The type's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// Values to match: `{"region": "US-WEST", "amount": {"gt": 100}}`; eq ne gt gte lt lte in contains startsWith
    /// exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Map<String, Value>>,
    /// Fields, `createdAt` or `updatedAt`, with commas; `-` in front: descending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for Query {
    type Output = Page<Entity>;
    const SPEC: Spec = Spec::get("entities_query", "/entities/{type}", Effect::Read)
        .titled("All records of a table, filtered and sorted")
        .requires(Permission::ENTITY_VIEW)
        .id_alias("entityId")
        .cached(30)
        .essential();
}

/// Finds any record that mentions a name, word or number (entities, full text), in whatever table it is stored.
///
/// Look everywhere where a customer or supplier appears of whom I only know the surname, find anything about penicillin
/// across our data, see which master records contain a serial or phone, or whether a street does occur anywhere.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Search {
    /// Words to find, all of them. The best come first; beyond 1,000 hits, the newest.
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
        .titled("Search all records for a name or word")
        .requires(Permission::ENTITY_VIEW)
        .repeatable()
        .id_alias("entityId")
        .always_loaded();
}

/// Tells what kinds of records can be stored (entity types), and with which fields.
///
/// What data do we keep here in the hub, which lists and registers exist, is there a place for vans already, how is a
/// supplier built, which objects, attributes or columns are mandatory, and what does the whole model show?
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
        .titled("Kinds of records, their tables and fields")
        .requires(Permission::ENTITY_VIEW)
        .extension()
        .essential();
}

/// Changes the structure of a record type (entity type). Refused where stored data does not fit.
///
/// The supplier should also have an attribute for the birthday, it lacks a second price that we need, so extend it; add
/// a colour or more text to the machine, the tax number must now be mandatory, drop the fax column, rename a field, or
/// make the date or email optional.
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
        .titled("Give a table a new column or change one")
        .requires(Permission::ENTITY_DEFINE)
        .repeats(&[("entityType", "type")])
        .evicts(&["entities"])
        .extension();
}
