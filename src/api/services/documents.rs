//! Document Intelligence Service: documents, their extracted data, types, search and embeddings (contract, section 10).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::ids::DocumentId;
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::service::{Change, Id, Layer, Lister, Resource};
use crate::api::{Effect, Operation, Permission, Service, Spec, Timestamp};

/// Document Intelligence Service.
pub const SERVICE: Service =
    Service::new("document-intelligence", "documents", "DOC", "Stores documents, extracts data from them, classifies and searches them.")
        .layer(Layer::Intelligence)
        .operations(operations![Upload, Extract, Classify, Search, Embeddings, List])
        .finder("`documents_search` finds documents by their content and shows their ids; `documents_list` shows the newest.")
        .ids(&[Id::of("documentId", "document").listed(Lister::new("documents_list", &[], "documentId"))])
        .resources(&[Resource::new(
            "documents/{id}/embeddings",
            "documents_embeddings",
            "document-embeddings",
            "Embeddings of a document",
            "The vector that stands for a document's content.",
        )
        .takes(&[("id", "document")])
        .changed_by(&[Change::new("document.*", &["documentId"])])])
        .shown(&["type", "extractedData", "confidence", "createdAt"])
        .topics(&["document.*"]);

/// What to extract from a document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtractionConfig {
    /// Names such as `invoice_number`; usual ones if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entities: Option<Vec<String>>,
    /// Whether to read scanned pages (OCR).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_ocr: Option<bool>,
}

/// A stored document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Id of the document.
    pub document_id: DocumentId,
    /// Type, such as invoice or contract.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Extracted values by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extracted_data: Map<String, Value>,
    /// Names of values that were asked for and that the document does not show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_found: Vec<String>,
    /// Vector of the content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub embedding: Vec<f64>,
    /// Confidence in type and values, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Metadata read from the document or stored with it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// Time of the upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
}

/// Files a document in the archive: a PDF, scan, photo or attachment of 25 MB at most.
///
/// Store the signed contract, put the attached invoice or receipt into the system, keep my certificate, add the sick
/// note, or take and submit it to the platform.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Upload {
    /// File in base64, 25 MB at most: PDF, text, Markdown, scan.
    #[schemars(length(min = 1, max = 34_952_536))]
    pub document: String,
    /// Type, such as invoice; predicted if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub document_type: Option<String>,
    /// Values to extract on upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extraction_config: Option<ExtractionConfig>,
    /// Anything to keep with it, such as a file name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

impl Operation for Upload {
    type Output = Document;
    const SPEC: Spec = Spec::post("documents_upload", "/documents/upload", Effect::Write)
        .titled("File or archive a document")
        .requires(Permission::DOCUMENT_UPLOAD)
        .answers(201)
        .with_file()
        .works_long()
        .evicts(&["documents"]);
}

/// Reads the values out of a stored document (doc-…), also from a scan (OCR).
///
/// Pull the VAT and IBAN off the invoice, get the number, amount and date from the PDF file, take the vendor from a
/// receipt, the notice period and sum of a contract, the name out of a CV, or copy the fields of an uploaded form or
/// delivery sheet.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Extract {
    /// The document.
    pub id: DocumentId,
    /// Type, such as invoice; the stored one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub document_type: Option<String>,
    /// Values to extract.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extraction_config: Option<ExtractionConfig>,
}

impl Operation for Extract {
    type Output = Document;
    const SPEC: Spec = Spec::post("documents_extract", "/documents/{id}/extract", Effect::Write)
        .titled("Read what is written in a document")
        .requires(Permission::DOCUMENT_EXTRACT)
        .works_long()
        .evicts(&["documents"]);
}

/// Tells what type of document an uploaded scan, PDF or attachment is (classification).
///
/// Is the attached file a quote, a reminder or just a form, what sort of letter or prescription came by post, in which
/// category is the slip, and can you determine, predict, decide or guess if it is a contract or not?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Classify {
    /// File in base64, 25 MB at most; or give `documentId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 34_952_536))]
    pub document: Option<String>,
    /// A stored document, in place of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_id: Option<DocumentId>,
}

/// The predicted type of a document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Classification {
    /// The stored document, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_id: Option<DocumentId>,
    /// Most likely type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Confidence in the type, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Phrases of the document that speak for the type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// Other types, likeliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<TypeScore>,
}

/// A type that a document may have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TypeScore {
    /// The type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Confidence, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
}

impl Operation for Classify {
    type Output = Classification;
    const SPEC: Spec = Spec::post("documents_classify", "/documents/classify", Effect::Read)
        .titled("Label what kind of paper or invoice this is")
        .requires(Permission::DOCUMENT_VIEW)
        .with_file()
        .works_long()
        .repeatable();
}

/// Finds documents by what they say (semantic search).
///
/// Is there a file on fire safety, which letter or minutes are concerning noise, what contract mentions a penalty or
/// late notice, where do our scans and PDFs talk about warranty or the roof, does any explain damage like a manual, and
/// which agreements are similar?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Search {
    /// Words or a sentence on the content.
    #[schemars(length(min = 1, max = 500))]
    pub query: String,
    /// Only documents of this type, such as contract.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub document_type: Option<String>,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

/// A document that a search found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// Id of the document.
    pub document_id: DocumentId,
    /// Type, such as invoice or contract.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Similarity to the query; greater is nearer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Passage that fits best.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<String>,
    /// Extracted values by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extracted_data: Map<String, Value>,
    /// Metadata stored with it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// Time of the upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
}

impl Operation for Search {
    type Output = Page<Match>;
    const SPEC: Spec = Spec::post("documents_search", "/documents/search", Effect::Read)
        .titled("Look for papers by what they are about")
        .requires(Permission::DOCUMENT_VIEW)
        .repeatable()
        .always_loaded();
}

/// Returns the vector of a document (embedding, doc-…): the floats that represent its meaning.
///
/// Somebody wants the raw array of an uploaded manual, certificate or PDF file, to compute clusters or similarity.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Embeddings {
    /// The document.
    pub id: DocumentId,
}

/// The vector of a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DocumentEmbeddings {
    /// Id of the document.
    pub document_id: DocumentId,
    /// Vector of the content.
    #[serde(default)]
    pub embedding: Vec<f64>,
    /// Model that computed the vector, such as lexical.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Length of the vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<u32>,
}

impl Operation for Embeddings {
    type Output = DocumentEmbeddings;
    const SPEC: Spec = Spec::get("documents_embeddings", "/documents/{id}/embeddings", Effect::Read)
        .titled("A document as a semantic, numeric vector")
        .requires(Permission::DOCUMENT_VIEW)
        .cached(30);
}

/// Lists the files in the archive by type and date (documents).
///
/// Give an overview of which papers came in or were uploaded since Monday, what did we scan or put in this week, what
/// is stored already, and how many PDFs, insurance invoices and contracts were filed or signed today or not yet?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct List {
    /// Of this type alone, such as invoice.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub document_type: Option<String>,
    /// Stored after this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_after: Option<Timestamp>,
    /// Stored before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_before: Option<Timestamp>,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for List {
    type Output = Page<Document>;
    const SPEC: Spec = Spec::get("documents_list", "/documents", Effect::Read)
        .titled("All documents in the archive, newest first")
        .requires(Permission::DOCUMENT_VIEW)
        .extension();
}
