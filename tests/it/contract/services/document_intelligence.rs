//! Document Intelligence Service (contract, section 10).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::target::{Target, column, id_in};

const INVOICE: &str = "Supplier Inc.\nINVOICE\nInvoice Number: INV-2025-001\nInvoice date: 7 February 2025\nTotal due: $1,500.00";
const LETTER: &str = "# Notice\n\nDear Ms Novak,\nthe agreement ends after the notice period.\n\nYours sincerely";

async fn upload(target: &Target, text: &str, mut more: Value) -> Value {
    more["document"] = json!(STANDARD.encode(text));
    target.post("/documents/upload", more).await.ok()
}

/// **Multi-document type support**: the kind of a document is predicted, and its entities are extracted by it.
#[tokio::test]
async fn kinds_of_documents_are_told_apart_and_read() {
    let target = Target::open().await;
    let config = json!({ "entities": ["invoice_number", "amount", "vendor"], "includeOcr": true });
    let invoice = upload(&target, INVOICE, json!({ "documentType": "invoice", "extractionConfig": config })).await;
    assert_eq!(invoice["extractedData"], json!({ "invoiceNumber": "INV-2025-001", "amount": 1500.0, "vendor": "Supplier Inc." }));
    for (text, kind) in [(INVOICE, "invoice"), (LETTER, "letter")] {
        let predicted = target.post("/documents/classify", json!({ "document": STANDARD.encode(text) })).await.ok();
        assert_eq!(predicted["type"], kind, "{predicted:#}");
    }
    let id = id_in(&upload(&target, INVOICE, json!({})).await, "documentId");
    let extracted = target.post(&format!("/documents/{id}/extract"), json!({})).await.ok();
    assert_eq!(extracted["extractedData"]["invoiceNumber"], "INV-2025-001");
    target.events("document.extracted", "documentId", &id, 1).await;
}

/// **Streaming processing**: a document far larger than other bodies is taken.
#[tokio::test]
async fn a_large_document_is_taken() {
    let target = Target::open().await;
    let text = format!("{INVOICE}\n{}", "One line more of the small print.\n".repeat(150_000));
    let stored = upload(&target, &text, json!({ "documentType": "invoice", "extractionConfig": { "entities": ["invoice_number"] } })).await;
    assert_eq!(stored["extractedData"]["invoiceNumber"], "INV-2025-001", "{}", text.len());
}

/// **Semantic search**: a document is found by what it is about, in other forms of the words, and has its vector.
#[tokio::test]
async fn a_document_is_found_by_what_it_is_about() {
    let target = Target::open().await;
    let word = target.word("zebra");
    let lease = id_in(&upload(&target, &format!("Lease of {word}. The notice period is three months."), json!({})).await, "documentId");
    upload(&target, &format!("Cake for {word}. Cherries and chocolate."), json!({})).await;
    let found = target.post("/documents/search", json!({ "query": format!("noticed periods of the lease {word}") })).await.ok();
    assert_eq!(column(&found, "documentId")[0], lease, "{found:#}");
    let vector = target.get(&format!("/documents/{lease}/embeddings")).await.ok()["embedding"].clone();
    let length: f64 = vector.as_array().unwrap().iter().map(|value| value.as_f64().unwrap().powi(2)).sum();
    assert!((length - 1.0).abs() < 0.01, "{length}");
}

/// **OCR integration**: a scan is read, or refused as one that cannot be read; it is never taken for an empty text.
#[tokio::test]
async fn a_scan_is_read_or_refused() {
    let target = Target::open().await;
    let scan = json!({ "document": STANDARD.encode(b"\x89PNG\r\n\x1a\n0000"), "extractionConfig": { "includeOcr": true } });
    let reply = target.post("/documents/upload", scan).await;
    assert!(matches!(reply.status, 400 | 415 | 422), "a broken image is refused: {} {:#}", reply.status, reply.body);
}
