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

/// Sets up a place to keep a new kind of record: make, define or build a table or register for keys, tools, rooms,
/// equipment, spare parts, defects, trainers, volunteers or pets, with name and columns.
///
/// Also: none of which we store yet and want to manage, such as an asset or object with its holder.
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

/// Enters a new record: put, save or register another client, guest, supplier, article, contact, machine or room that
/// we bought or got, into the inventory.
///
/// Also: create his entry with phone, a dog, a car with its plate, 20 seats.
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

/// Displays one entry: open or bring up the card or sheet of a customer, client, supplier, vehicle or product, what we
/// have on file about the guest, such as address and phone, in full.
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
        .titled("Show what is on file: the details of one record, entity with number, address and phone")
        .requires(Permission::ENTITY_VIEW)
        .id_alias("entityId")
        .cached(30)
        .essential();
}

/// Edits an entity: the client or supplier moved, married or has a new phone, e-mail, street, owner, surname or contact
/// person, a name is spelt wrong, fix a typo, the birthday, price, region or seats.
///
/// Also: the status of a vehicle now in another hall; amend or replace.
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

/// Deletes an entity for good: entered twice, a duplicate, a test, an old contact, a sold, scrapped or discontinued
/// product, tool or room.
///
/// Also: take it off, throw it out, strike it from the inventory, get rid of, clear or erase the supplier or customer.
/// Refused while others refer to it.
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

/// Shows all records that fit, sorted: customers and clients of a city or in the north, suppliers rated below three,
/// products more expensive or cheaper than, machines in the hall, tools bought before.
///
/// Also: rooms on a floor, employees in sales, guests by arrival, the ten newest or dearest, turnover over a million.
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
        .titled("Filter and sort a table: all customers of a region, products above or longer than")
        .requires(Permission::ENTITY_VIEW)
        .id_alias("entityId")
        .cached(30)
        .essential();
}

/// Finds any record in which something is mentioned: where is a name, surname, street, wording, serial or phone number,
/// does anything or anybody anywhere in our data contain a keyword.
///
/// Also: look across all tables, no idea whether supplier or customer. Full-text search for asthma or a firm.
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
        .titled("Search all records everywhere for a name, word or number: where it is mentioned")
        .requires(Permission::ENTITY_VIEW)
        .repeatable()
        .id_alias("entityId")
        .always_loaded();
}

/// Lists tables, registers and lists: what data do we keep and store here, how is the supplier, car, guest or employee
/// record structured or built, which columns.
///
/// Also: attributes and mandatory fields there are, is there a place for a tax number in the data hub.
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
        .titled("What can be stored here: the tables, columns, fields and structure of records that exist")
        .requires(Permission::ENTITY_VIEW)
        .extension()
        .essential();
}

/// Extends a type: it should also have a field or column such as birthday, weight, colour, insurance, location or tax
/// number, for the supplier, patient, guest or bicycle.
///
/// Also: phone or postcode are mandatory (compulsory) now, drop the fax, allow or restrict a status, rework it. Refused
/// where stored records do not fit.
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
