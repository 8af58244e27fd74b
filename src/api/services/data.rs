//! Data Intelligence Service: schemas, field mappings, data quality and test data (contract, section 9).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::processes::SuggestedMapping;
use crate::api::ids::{IntegrationId, SchemaId};
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::service::{Id, Layer, Lister};
use crate::api::{Effect, Operation, Permission, Service, Spec, Timestamp};

/// Data Intelligence Service.
pub const SERVICE: Service =
    Service::new("data-intelligence", "data", "DIS", "Discovers schemas, suggests mappings, scores data quality, generates test data.")
        .layer(Layer::Intelligence)
        .operations(operations![DiscoverSchema, SuggestMappings, ListSchemas, ScoreQuality, GenerateSynthetic])
        .finder("`schemas_list` shows the discovered schemas and their ids.")
        .ids(&[Id::of("schemaId", "discovered-schema").listed(Lister::new("schemas_list", &[], "schemaId"))])
        .shown(&["sourceType", "sourceId", "fields", "dataQuality", "discoveredAt"]);

/// A field that was discovered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchemaField {
    /// Name in the source.
    pub name: String,
    /// Type of the values, such as string, number or timestamp.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Confidence in the type, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Format within the type, such as email or date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Share of records without a value, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub null_rate: Option<f64>,
}

/// The schema of a source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fields {
    /// Fields in the order of the source.
    #[serde(default)]
    pub fields: Vec<SchemaField>,
}

/// The parts of a data quality score.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quality {
    /// Share of values that are present, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completeness: Option<f64>,
    /// Share of values that fit type and format, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validity: Option<f64>,
    /// Share of records that are not duplicates, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uniqueness: Option<f64>,
    /// Faults that lower the score; they name fields and places, never values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<QualityFault>,
}

/// A fault of the data.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QualityFault {
    /// The field; absent for a fault of whole records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Kind of fault: missing, type, format, duplicate-record, duplicate-id, missing-field, new-field.
    pub code: String,
    /// Number of records with the fault.
    #[serde(default)]
    pub count: u32,
    /// The fault in words, with the first records that have it.
    #[serde(default)]
    pub detail: String,
}

/// The result of an analysis; each operation fills its part.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// Id under which the discovered schema is listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_id: Option<SchemaId>,
    /// Fields of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovered_schema: Option<Fields>,
    /// Proposals which field of the source fills which target field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suggested_mappings: Vec<SuggestedMapping>,
    /// Quality score, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_quality: Option<f64>,
    /// Parts of the quality score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
}

/// Works out how unknown data is built (schema): its fields, columns and types.
///
/// What is in this strange CSV or database table, which attributes can one detect in a JSON dump or derive from these
/// rows, what do the columns of an export mean, or what does a supplier file look like that nobody knows, to inspect or
/// figure out?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiscoverSchema {
    /// Kind of source, such as `csv`.
    #[schemars(length(min = 1, max = 100))]
    pub source_type: String,
    /// Samples; needed without `sourceId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub sample_data: Option<Vec<Map<String, Value>>>,
    /// The integration it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_id: Option<IntegrationId>,
}

impl Operation for DiscoverSchema {
    type Output = Analysis;
    const SPEC: Spec = Spec::post("schemas_discover", "/analyze/schema", Effect::Read)
        .titled("Analyse how unknown rows are structured")
        .requires(Permission::SCHEMA_VIEW)
        .repeatable()
        .evicts(&["schemas"]);
}

/// Suggests which source field goes to which of ours (mapping).
///
/// Where should a customer number belong, which pair would be best between the old and new system, how does their file
/// line up, and what corresponds to the supplier heading?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuggestMappings {
    /// Kind of source, such as `csv`.
    #[schemars(length(min = 1, max = 100))]
    pub source_type: String,
    /// Samples; needed without `sourceId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub sample_data: Option<Vec<Map<String, Value>>>,
    /// The integration it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_id: Option<IntegrationId>,
    /// Record type of the data hub to fill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_type: Option<String>,
    /// Names of the fields to fill, in place of `targetType`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_fields: Option<Vec<String>>,
}

impl Operation for SuggestMappings {
    type Output = Analysis;
    const SPEC: Spec = Spec::post("mappings_suggest", "/analyze/mappings", Effect::Read)
        .titled("Propose how their columns match our fields")
        .requires(Permission::SCHEMA_VIEW)
        .repeatable();
}

/// Lists the data structures that were discovered earlier (schemas).
///
/// Which layouts have we already found or recognised, did an analysis detect the structure of the bank file before, and
/// how many sources do we know the format of?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListSchemas {
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

/// A schema that was discovered earlier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiscoveredSchema {
    /// Id of the schema.
    pub schema_id: SchemaId,
    /// Kind of source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_type: Option<String>,
    /// Integration that the data came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_id: Option<IntegrationId>,
    /// Fields in the order of the source.
    #[serde(default)]
    pub fields: Vec<SchemaField>,
    /// Quality score of the data, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_quality: Option<f64>,
    /// Time of the discovery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovered_at: Option<Timestamp>,
}

impl Operation for ListSchemas {
    type Output = Page<DiscoveredSchema>;
    const SPEC: Spec = Spec::get("schemas_list", "/discovered-schemas", Effect::Read)
        .titled("Data structures analysed so far")
        .requires(Permission::SCHEMA_VIEW)
        .cached(30);
}

/// Rates the quality of data with a score, such as before an import.
///
/// How many customer or product records are invalid, empty, missing or bad, are there gaps, duplicates and wrong values
/// in the table or export, can we trust the addresses as reliable, are the CSV rows dirty or clean enough, and can you
/// assess it as a percentage?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScoreQuality {
    /// Kind of source, such as `csv`.
    #[schemars(length(min = 1, max = 100))]
    pub source_type: String,
    /// Records; needed without `sourceId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub sample_data: Option<Vec<Map<String, Value>>>,
    /// The integration it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_id: Option<IntegrationId>,
}

impl Operation for ScoreQuality {
    type Output = Analysis;
    const SPEC: Spec = Spec::post("data_quality_score", "/analyze/data-quality", Effect::Read)
        .titled("Check how good and complete a list of data is")
        .requires(Permission::SCHEMA_VIEW)
        .repeatable();
}

/// Makes up fake records that look real (synthetic data), so that no true person is needed for a test or demo.
///
/// Produce dummy mock invoices to practise with, give developers random rows like ours, create pretend orders for
/// training, or fabricate artificial but realistic people.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GenerateSynthetic {
    /// Kind of source to imitate, such as `csv`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub source_type: Option<String>,
    /// Records to imitate; their values are never copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub sample_data: Option<Vec<Map<String, Value>>>,
    /// Integration whose data to imitate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_id: Option<IntegrationId>,
    /// Discovered schema to follow, in place of samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_id: Option<SchemaId>,
    /// Number of records; 10 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub count: Option<u32>,
}

/// Generated test data.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyntheticData {
    /// Generated records.
    #[serde(default)]
    pub records: Vec<Map<String, Value>>,
    /// Schema that the records follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovered_schema: Option<Fields>,
}

impl Operation for GenerateSynthetic {
    type Output = SyntheticData;
    const SPEC: Spec = Spec::post("synthetic_data_generate", "/generate/synthetic-data", Effect::Read)
        .titled("Invent fake data for tests")
        .requires(Permission::SCHEMA_VIEW)
        .repeatable();
}
