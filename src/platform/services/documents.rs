//! Document Intelligence: documents, their text and values, their types, search and embeddings (contract, section 10).

mod classifier;
mod content;
mod embedding;
mod extraction;
mod list;
mod ocr;
mod pdf;
mod reading;
mod search;
mod store;

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::api::FieldError;
use crate::api::audit::Changes;
use crate::api::documents::{
    Classification, Classify, Document, DocumentEmbeddings, Embeddings, Extract, ExtractionConfig, TypeScore, Upload,
};
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;
use crate::platform::full_text;
use crate::platform::http::context::{Answer, Cx};
use crate::platform::http::routes::Routes;
use crate::platform::keys;
use crate::platform::turns::gate::{Gate, Pass};

use content::File;
use reading::Reading;
use store::Stored;

/// Largest metadata of a document, in bytes of JSON.
const MAX_METADATA: usize = 16 * 1024;
/// The metadata that a file has by itself, its title aside.
const FACTS: [&str; 7] = ["mediaType", "size", "sha256", "pages", "characters", "ocr", "truncated"];
/// How long a request waits until its document is read.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// The operations of the service.
pub(crate) fn routes() -> Routes {
    Routes::new().on(upload).on(extract).on(classify).on(search::search).on(embeddings).on(list::list)
}

async fn upload(cx: Cx, request: Upload) -> Result<Answer<Document>> {
    let config = request.extraction_config;
    check_config(config.as_ref())?;
    let metadata = request.metadata.unwrap_or_default();
    check_metadata(&metadata)?;
    let file = cx.compute(move || content::decode(&request.document)).await??;
    let reading = content::read(&cx, &file, config.as_ref().and_then(|config| config.include_ocr)).await?;
    let given = request.document_type.as_deref().map(kind_of);
    let content = std::sync::Arc::clone(&file.bytes);
    let (mut document, words, missing) = cx
        .compute(move || {
            let mut document = described(&file, &reading, metadata);
            document.text = reading.text;
            let words = analyse(&mut document, given);
            let missing = config.map(|config| fill(&mut document, config.entities.as_deref())).unwrap_or_default();
            (document, words, missing)
        })
        .await?;
    let document = cx
        .write(move |tx| {
            store::insert(tx, &mut document, &content, &words)?;
            record(tx, "document.uploaded", &document)?;
            if !document.extracted.is_empty() {
                record(tx, "document.extracted", &document)?;
            }
            Ok(document)
        })
        .await?;
    let embedding = embedding::view(&document.embedding);
    Ok(Answer::from(Document { embedding, not_found: missing, ..document.view() }))
}

async fn extract(cx: Cx, request: Extract) -> Result<Document> {
    let config = request.extraction_config.unwrap_or_default();
    check_config(Some(&config))?;
    let (tenant, id) = (cx.tenant(), request.id.clone());
    let document = cx.read(move |connection| store::find(connection, tenant.as_str(), id.as_str())).await?;
    let (mut document, is_new) = with_text(&cx, document, config.include_ocr).await?;
    let given = request.document_type.as_deref().map(kind_of);
    let (document, words, missing) = cx
        .compute(move || {
            let kind = given.or_else(|| document.certainty.is_none().then(|| document.kind.clone()));
            let words = analyse(&mut document, kind);
            let missing = fill(&mut document, config.entities.as_deref());
            (document, words, missing)
        })
        .await?;
    let document = cx
        .write(move |tx| {
            store::update(tx, &document, is_new.then_some(words.as_str()))?;
            record(tx, "document.extracted", &document)?;
            Ok(document)
        })
        .await?;
    Ok(Document { not_found: missing, ..document.view() })
}

async fn classify(cx: Cx, request: Classify) -> Result<Classification> {
    let (document_id, text) = match (request.document, request.document_id) {
        (Some(document), None) => {
            let file = cx.compute(move || content::decode(&document)).await??;
            let reading = content::read(&cx, &file, None).await?;
            if reading.text.is_empty() {
                return Err(no_text());
            }
            (None, reading.text)
        }
        (None, Some(id)) => {
            let (tenant, wanted) = (cx.tenant(), id.clone());
            let document = cx.read(move |connection| store::find(connection, tenant.as_str(), wanted.as_str())).await?;
            (Some(id), with_text(&cx, document, None).await?.0.text)
        }
        (one, _) => {
            let why = if one.is_some() { "are given both" } else { "are missing both" };
            return Err(Error::new(Kind::Invalid, "FM-DOC-SOURCE", format!("the document and its id {why}"))
                .hint("Give either `document` or `documentId`.")
                .field("/documentId", "exclusive", "is given in place of `document`"));
        }
    };
    let mut scored = cx.compute(move || classifier::classify(&text)).await?.into_iter();
    let best = scored.next();
    Ok(Classification {
        document_id,
        kind: best.as_ref().map(|best| best.kind.to_owned()),
        confidence: best.as_ref().map(|best| best.confidence),
        evidence: best.iter().flat_map(|best| &best.evidence).map(|phrase| (*phrase).to_owned()).collect(),
        alternatives: scored.map(|other| TypeScore { kind: other.kind.to_owned(), confidence: Some(other.confidence) }).collect(),
    })
}

async fn embeddings(cx: Cx, request: Embeddings) -> Result<DocumentEmbeddings> {
    let (tenant, id) = (cx.tenant(), request.id.clone());
    let document = cx.read(move |connection| store::find(connection, tenant.as_str(), id.as_str())).await?;
    Ok(DocumentEmbeddings {
        document_id: request.id,
        embedding: embedding::view(&document.embedding),
        model: Some(embedding::MODEL.to_owned()),
        dimensions: u32::try_from(embedding::DIMENSIONS).ok(),
    })
}

/// A type as it is stored: in lower case, with `_` between words.
fn kind_of(name: &str) -> String {
    name.split(|letter: char| letter.is_whitespace() || letter == '_' || letter == '-')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect::<Vec<_>>()
        .join("_")
}

fn check_config(config: Option<&ExtractionConfig>) -> Result<()> {
    config.and_then(|config| config.entities.as_deref()).map_or(Ok(()), extraction::check_names)
}

fn check_metadata(metadata: &Map<String, Value>) -> Result<()> {
    let size = Value::Object(metadata.clone()).to_string().len();
    if size <= MAX_METADATA {
        return Ok(());
    }
    let detail = format!("has {size} bytes; at most {MAX_METADATA} are allowed");
    Err(Error::new(Kind::Invalid, "FM-DOC-METADATA", "the metadata is too large")
        .hint("Keep what describes the document, such as a file name and a sender.")
        .with_fields(vec![FieldError::new("/metadata", "size", detail)]))
}

/// A document with what its file says of itself; what the sender says goes before it.
fn described(file: &File, reading: &Reading, metadata: Map<String, Value>) -> Stored {
    let digest = keys::sha256(&file.bytes);
    let mut facts = Map::new();
    facts.insert("mediaType".to_owned(), json!(file.media.name()));
    facts.insert("size".to_owned(), json!(file.bytes.len()));
    facts.insert("sha256".to_owned(), json!(digest));
    describe(&mut facts, reading);
    facts.extend(metadata);
    Stored { digest, metadata: facts, ..Stored::default() }
}

fn describe(facts: &mut Map<String, Value>, reading: &Reading) {
    let known = [
        ("pages", reading.pages.map(Value::from)),
        ("title", reading.title.clone().map(Value::from)),
        ("characters", Some(Value::from(reading.text.chars().count()))),
        ("ocr", reading.by_ocr.then_some(Value::Bool(true))),
        ("truncated", reading.truncated.then_some(Value::Bool(true))),
    ];
    facts.extend(known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
}

/// Gives a document its type and its vector, and returns its words for the index.
fn analyse(document: &mut Stored, given: Option<String>) -> String {
    if let Some(kind) = given {
        document.kind = kind;
        document.certainty = None;
    } else {
        let best = classifier::classify(&document.text).into_iter().next();
        document.certainty = Some(best.as_ref().map_or(0.0, |best| best.confidence));
        best.map_or(classifier::OTHER, |best| best.kind).clone_into(&mut document.kind);
    }
    document.confidence = document.certainty;
    words_of(document)
}

/// Gives a document its vector, and returns its words for the index.
fn words_of(document: &mut Stored) -> String {
    document.embedding = embedding::embed(&full_text::words_of(&Value::from(document.text.as_str())));
    // The file's own facts, such as its size, are in every document.
    let told: Vec<&Value> = document.metadata.iter().filter(|(name, _)| !FACTS.contains(&name.as_str())).map(|(_, value)| value).collect();
    full_text::words_of(&json!([document.text, told]))
}

/// Extracts values into a document and returns the names of those that it does not show.
fn fill(document: &mut Stored, names: Option<&[String]>) -> Vec<String> {
    let found = extraction::extract(&document.text, &document.kind, names);
    document.extracted = found.values;
    // Both must be right: the type, and what was read because of it.
    document.confidence = Some((found.confidence * document.certainty.unwrap_or(1.0) * 100.0).round() / 100.0);
    found.missing
}

/// The document with text: its own, or what text recognition reads in its file. Tells whether the text is new.
async fn with_text(cx: &Cx, mut document: Stored, with_ocr: Option<bool>) -> Result<(Stored, bool)> {
    if !document.text.is_empty() {
        return Ok((document, false));
    }
    if with_ocr == Some(false) {
        return Err(no_text());
    }
    let (tenant, digest) = (cx.tenant(), document.digest.clone());
    let bytes = cx.read(move |connection| store::file_of(connection, tenant.as_str(), &digest)).await?;
    let reading = content::read(cx, &content::of_bytes(bytes)?, with_ocr).await?;
    if reading.text.is_empty() {
        return Err(no_text());
    }
    describe(&mut document.metadata, &reading);
    document.text = reading.text;
    Ok((document, true))
}

fn no_text() -> Error {
    Error::new(Kind::Invalid, "FM-DOC-NO-TEXT", "no text can be read in the document")
        .hint("Send a document with text, or allow text recognition by `includeOcr: true` if it is a scan.")
        .field("/extractionConfig/includeOcr", "text", "the document has no text without it")
}

/// Event and audit row of a document. They name values and never hold them: those may be personal, and a trail is forever.
fn record(tx: &mut Tx<'_>, what: &str, document: &Stored) -> Result<()> {
    let fields: Vec<&String> = document.extracted.keys().collect();
    let facts = json!({ "documentId": document.id, "documentType": document.kind, "fields": fields, "confidence": document.confidence });
    tx.emit(what, &document.id, facts)?;
    let after = Map::from_iter([("type".to_owned(), json!(document.kind)), ("fields".to_owned(), json!(fields))]);
    tx.audit(what, "document", &document.id, Some(Changes { before: None, after: Some(after) }))?;
    Ok(())
}

/// Passes the gate of a bounded kind of work; a request that would wait too long hears when to come again.
async fn pass(gate: &Gate, cx: &Cx) -> Result<Pass> {
    gate.pass(cx.caller.tenant.as_str(), MAX_WAIT).await?.ok_or_else(|| {
        Error::new(Kind::RateLimited, "FM-DOC-BUSY", "too many documents are read at once").retry_after(Duration::from_secs(10))
    })
}

/// Reads a document's words again whose text was changed otherwise; its file, which was not, goes.
pub(crate) fn reindex_without_file(tx: &crate::platform::database::Tx<'_>, number: i64) -> Result<()> {
    let mut document = store::find_by_number(tx, tx.tenant(), number)?;
    let words = words_of(&mut document);
    store::update(tx, &document, Some(&words))?;
    store::empty_file(tx, &document.digest)
}
